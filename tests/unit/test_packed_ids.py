"""Ids packed in text: read whole, or found to be broken."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap64

from chatsync.databases.packed_ids import SPAN, Packed, parse_ids, unpack, unpack_homes, unpack_rows
from chatsync.errors import DatabaseError

LARGEST = 2**32 - 1
firsts = st.integers(0, LARGEST) | st.sampled_from([0, 2**24 - 1, 2**24, 2**31, LARGEST])


@st.composite
def starting(draw: st.DrawFn) -> tuple[int, list[int]]:
    """An id that is the first possible, and some from it on, no farther than one answer can hold."""
    first = draw(firsts)
    last = min(first + SPAN, 2**32) - 1
    return first, draw(st.lists(st.integers(first, last) | st.sampled_from([first, last]), unique=True))


def pack(numbers: list[int], first: int = 0) -> bytes:
    """Pack as a server does with GROUP_CONCAT and CHAR, which leaves out the zero bytes that a number begins with."""
    packed = [number + 2**24 - first for number in numbers]
    return b"".join(number.to_bytes((number.bit_length() + 7) // 8, "big") for number in packed)


def answer(numbers: list[int], packed: bytes | str | None = None) -> Packed:
    """What a server answers for these ids, or what is left of it."""
    lowest, highest = (min(numbers), max(numbers)) if numbers else (None, None)
    return Packed(rows=len(numbers), lowest=lowest, highest=highest, ids=pack(numbers) if packed is None else packed)


@given(starting())
def test_packed_ids_come_back_as_a_set(ids: tuple[int, list[int]]) -> None:
    first, numbers = ids

    for spelt in (pack(numbers, first), pack(numbers, first).hex()):
        assert list(unpack(answer(numbers, spelt), where="shard 1", first=first)) == sorted(numbers)


@given(starting(), st.data())
def test_packed_homes_come_back_by_shard(ids: tuple[int, list[int]], data: st.DataObject) -> None:
    first, numbers = ids
    home_of = {client: data.draw(st.integers(0, 255)) for client in numbers}
    packed = b"".join(pack([client], first) + bytes([shard]) for client, shard in home_of.items())

    for spelt in (packed, packed.hex()):
        found = unpack_homes(answer(numbers, spelt), where="dict", first=first)

        assert list(zip(found.ids.tolist(), found.shards.tolist(), strict=True)) == sorted(home_of.items())


@given(st.dictionaries(st.integers(0, LARGEST) | st.sampled_from([0, LARGEST]), st.booleans()))
def test_packed_rows_come_back_by_what_they_say(is_off: dict[int, bool]) -> None:
    packed = b"".join(bytes([2 if off else 1]) + client.to_bytes(4, "big") for client, off in is_off.items())

    for spelt in (packed, packed.hex()):
        off, on = unpack_rows(answer([*is_off], spelt), where="shard 1")

        assert off.tolist() == [client for client in is_off if is_off[client]]
        assert on.tolist() == [client for client in is_off if not is_off[client]]


def test_no_row_is_no_id() -> None:
    nothing = Packed(rows=0, lowest=None, highest=None, ids=None)

    assert len(unpack(nothing, where="shard 1")) == 0
    assert unpack_homes(nothing, where="dict").by_shard() == {}


@given(starting().filter(lambda ids: bool(ids[1])), st.integers(0), st.booleans())
def test_packed_ids_cut_anywhere_are_an_error(ids: tuple[int, list[int]], cut: int, as_hex: bool) -> None:
    first, numbers = ids
    whole = pack(numbers, first).hex() if as_hex else pack(numbers, first)

    with pytest.raises(DatabaseError, match=rf"shard 1: packed ids .* {len(numbers)} announced.*max_allowed_packet"):
        unpack(answer(numbers, whole[: cut % len(whole)]), where="shard 1")


@pytest.mark.parametrize("bound", [2**32, 2**33 + 7, -1, "7a", 7.5, None, b"7"])
@pytest.mark.parametrize("at", ["lowest", "highest"])
def test_an_id_that_four_bytes_cannot_hold_is_an_error_and_no_other_client(bound: Any, at: str) -> None:
    odd = answer([7])._replace(**{at: bound})

    with pytest.raises(DatabaseError, match=r"shard 1: ClientID .* is not a whole number from 0 to 4294967295; the"):
        unpack(odd, where="shard 1")


@pytest.mark.parametrize("number", [SPAN, LARGEST])
def test_an_id_too_far_from_the_first_is_an_error(number: int) -> None:
    """The server leaves out zero bytes, so the length is not what the count says."""
    packed = (number + 2**24 - 2**32).to_bytes(3, "big").lstrip(b"\0") or b"\0"

    with pytest.raises(DatabaseError, match="shard 1: packed ids came cut or broken: 1 announced"):
        unpack(answer([number], packed), where="shard 1")


def test_a_shard_that_one_byte_cannot_hold_is_an_error() -> None:
    with pytest.raises(DatabaseError, match="dict: packed ids"):
        unpack_homes(answer([7], pack([7]).hex() + "100"), where="dict")


@given(st.lists(st.integers(0, LARGEST), unique=True), st.sets(st.integers(0, LARGEST)))
def test_ids_joined_with_commas_come_back_as_a_set(numbers: list[int], others: set[int]) -> None:
    text = ",".join(map(str, numbers))

    found = parse_ids(text, len(numbers), among=BitMap64([*numbers, *others]), where="shard 1")

    assert list(found) == sorted(numbers)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("7,8", 3),  # cut between two ids
        ("7,81", 3),
        ("7,8", 2),  # within one
        ("7,", 2),
        ("", 1),
        ("7,7", 2),
        ("7,9", 2),  # not asked for
        ("7,-81", 2),
        ("7,81.0", 2),
        ("7,n/a", 2),
    ],
)
def test_joined_ids_that_are_not_some_of_those_asked_for_are_an_error(text: str, count: int) -> None:
    with pytest.raises(DatabaseError, match=rf"shard 1: ids came cut or broken: {count} announced.*INT UNSIGNED"):
        parse_ids(text, count, among=BitMap64([7, 81, 82]), where="shard 1")
