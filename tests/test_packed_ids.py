"""Ids packed in text: read whole, or found to be broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsync.errors import DatabaseError
from chatsync.packed_ids import parse_lines, parse_packed

BELOW_THE_LARGEST = 2**63 - 2
ids = st.integers(1, BELOW_THE_LARGEST) | st.integers(1, 2**32 - 1)


def pack(numbers: list[int]) -> tuple[int, int, str]:
    """Pack as a server does with COUNT, SUM and GROUP_CONCAT."""
    return len(numbers), sum(numbers), ",".join(map(str, numbers))


@given(st.lists(st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=50), min_size=1, max_size=5))
def test_packs_come_back_as_one_set(packs: list[list[int]]) -> None:
    assert set(parse_packed(map(pack, packs), where="shard 1")) == {number for numbers in packs for number in numbers}


@given(st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=8, unique=True), st.integers(0))
def test_a_pack_cut_anywhere_is_an_error(numbers: list[int], cut: int) -> None:
    count, total, text = pack(numbers)
    whole = pack([5, 7])

    with pytest.raises(DatabaseError, match=r"shard 1: packed ids came cut or broken.*max_allowed_packet"):
        parse_packed([whole, (count, total, text[: cut % len(text)])], where="shard 1")


def test_a_pack_cut_inside_its_last_number_has_the_right_count_and_is_an_error() -> None:
    with pytest.raises(DatabaseError, match="3 announced, 3 readable"):
        parse_packed([(3, 1 + 2 + 345, "1,2,34")], where="shard 1")


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
