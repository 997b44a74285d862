"""Ids packed in text: read whole, or found to be broken."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsync.databases.packed_ids import Packed, unpack, unpack_homes
from chatsync.errors import DatabaseError

LARGEST = 2**32 - 1
stored = st.lists(st.integers(0, LARGEST) | st.sampled_from([2**31 - 1, 2**31, LARGEST]), unique=True)
homes = st.dictionaries(st.integers(0, LARGEST), st.integers(0, 255))


def pack(numbers: list[int]) -> bytes:
    """Pack as a server does with GROUP_CONCAT and CHAR."""
    return b"".join(bytes([number >> 31]) + (number | 2**31).to_bytes(4, "big") for number in numbers)


def answer(numbers: list[int], packed: bytes | str | None = None) -> Packed:
    """What a server answers for these ids, or what is left of it."""
    lowest, highest = (min(numbers), max(numbers)) if numbers else (None, None)
    return Packed(rows=len(numbers), lowest=lowest, highest=highest, ids=pack(numbers) if packed is None else packed)


@given(stored)
def test_packed_ids_come_back_as_a_set(numbers: list[int]) -> None:
    assert list(unpack(answer(numbers), where="shard 1")) == sorted(numbers)
    assert list(unpack(answer(numbers, pack(numbers).hex()), where="shard 1")) == sorted(numbers)


@given(homes)
def test_packed_homes_come_back_by_shard(home_of: dict[int, int]) -> None:
    packed = b"".join(pack([client]) + bytes([shard]) for client, shard in home_of.items())

    for spelt in (packed, packed.hex()):
        found = unpack_homes(answer(list(home_of), spelt), where="dict")

        assert list(zip(found.ids.tolist(), found.shards.tolist(), strict=True)) == sorted(home_of.items())


def test_no_row_is_no_id() -> None:
    nothing = Packed(rows=0, lowest=None, highest=None, ids=None)

    assert len(unpack(nothing, where="shard 1")) == 0
    assert unpack_homes(nothing, where="dict").by_shard() == {}


@given(stored.filter(bool), st.integers(0), st.booleans())
def test_packed_ids_cut_anywhere_are_an_error(numbers: list[int], cut: int, as_hex: bool) -> None:
    whole = pack(numbers).hex() if as_hex else pack(numbers)

    with pytest.raises(DatabaseError, match=rf"shard 1: packed ids .* {len(numbers)} announced.*max_allowed_packet"):
        unpack(answer(numbers, whole[: cut % len(whole)]), where="shard 1")


@pytest.mark.parametrize("bound", [2**32, 2**33 + 7, -1, "7a", 7.5, None, b"7"])
@pytest.mark.parametrize("at", ["lowest", "highest"])
def test_an_id_that_five_bytes_cannot_hold_is_an_error_and_no_other_client(bound: Any, at: str) -> None:
    odd = answer([7])._replace(**{at: bound})

    with pytest.raises(DatabaseError, match=r"shard 1: ClientID .* is not a whole number from 0 to 4294967295; the"):
        unpack(odd, where="shard 1")


def test_a_shard_that_one_byte_cannot_hold_is_an_error() -> None:
    with pytest.raises(DatabaseError, match="dict: packed ids"):
        unpack_homes(answer([7], pack([7]).hex() + "100"), where="dict")
