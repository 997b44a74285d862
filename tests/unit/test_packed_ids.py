"""Ids packed in text: read whole, or found to be broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsync.databases.packed_ids import parse_lines, unpack
from chatsync.errors import DatabaseError

BELOW_THE_LARGEST = 2**63 - 2
ids = st.integers(1, BELOW_THE_LARGEST) | st.integers(1, 2**32 - 1)
stored = st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([2**31 - 1, 2**31, 2**32 - 1]), unique=True)


def pack(numbers: list[int]) -> bytes:
    """Pack as a server does with GROUP_CONCAT and CHAR."""
    return b"".join(bytes([number >> 31]) + (number | 2**31).to_bytes(4, "big") for number in numbers)


@given(stored)
def test_packed_ids_come_back_as_a_set(numbers: list[int]) -> None:
    assert list(unpack(len(numbers), pack(numbers), where="shard 1")) == sorted(numbers)
    assert list(unpack(len(numbers), pack(numbers).hex(), where="shard 1")) == sorted(numbers)


def test_no_row_is_no_id() -> None:
    assert not unpack(0, None, where="shard 1")


@given(stored.filter(bool), st.integers(0), st.booleans())
def test_packed_ids_cut_anywhere_are_an_error(numbers: list[int], cut: int, as_hex: bool) -> None:
    whole = pack(numbers).hex() if as_hex else pack(numbers)

    with pytest.raises(DatabaseError, match=rf"shard 1: packed ids .* {len(numbers)} announced.*max_allowed_packet"):
        unpack(len(numbers), whole[: cut % len(whole)], where="shard 1")


def test_an_id_too_large_to_be_packed_is_an_error() -> None:
    too_large = f"{2**39 >> 31:02x}{2**39 | 2**31:08x}"  # SQLite keeps what it is given

    with pytest.raises(DatabaseError, match="shard 1: packed ids"):
        unpack(1, too_large, where="shard 1")


@given(st.lists(ids, max_size=50))
def test_lines_come_back_with_doubles_counted(numbers: list[int]) -> None:
    packed = parse_lines(b"".join(b"%d\n" % number for number in numbers))

    assert packed is not None
    assert (set(packed.ids), packed.total) == (set(numbers), len(numbers))


@pytest.mark.parametrize("lines", [b"7\n008\n3\n", b"3\n7\n8\n7\n"])
def test_leading_zeros_order_and_doubles_do_not_matter(lines: bytes) -> None:
    packed = parse_lines(lines)

    assert packed is not None
    assert list(packed.ids) == [3, 7, 8]


@pytest.mark.parametrize(
    "line",
    [
        b"0",
        b"-1",
        b"+1",
        b"1.5",
        b"1e3",
        b"",
        b" 1",
        b"1 ",
        b"1\r",
        b"\\N",
        b"1,2",
        b"0x1f",
        b"9223372036854775807",  # 2^63 - 1 is an id, but numpy makes the same of all that is larger
        b"9223372036854775808",
        b"18446744073709551617",  # 20 digits: 2^64 + 1
        "\N{ARABIC-INDIC DIGIT ONE}".encode(),
    ],
)
@pytest.mark.parametrize("where", ["%b\n4\n", "3\n%b\n4\n", "3\n%b\n"])
def test_one_line_that_may_be_no_id_gives_all_lines_back(line: bytes, where: str) -> None:
    assert parse_lines(where.encode() % line) is None
