"""Ids of a large list: made of text by the megabyte."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsync.core import sorted_ids
from chatsync.core.sorted_ids import IdGatherer, parse_lines

BELOW_THE_LARGEST = 2**63 - 2
ids = st.integers(1, BELOW_THE_LARGEST) | st.integers(1, 2**32 - 1)


@given(st.lists(ids, max_size=50))
def test_lines_come_back_with_doubles_counted(numbers: list[int]) -> None:
    packed = parse_lines(b"".join(b"%d\n" % number for number in numbers))

    assert packed is not None
    assert packed.tolist() == numbers


@pytest.mark.parametrize("lines", [b"7\n008\n3\n", b"3\n7\n8\n7\n"])
def test_leading_zeros_order_and_doubles_do_not_matter(lines: bytes) -> None:
    packed, gatherer = parse_lines(lines), IdGatherer()

    assert packed is not None
    gatherer.add(packed)
    assert list(gatherer.ids().bitmap) == [3, 7, 8]


@given(st.lists(st.lists(ids | st.just(0), max_size=20), max_size=8), st.integers(1, 30))
def test_numbers_are_gathered_whatever_their_order_and_size(parts: list[list[int]], most: int) -> None:
    """With room for so few that they are sorted, and doubles dropped, many times on the way."""
    with patch.object(sorted_ids, "_MOST_GATHERED", most), patch.object(sorted_ids, "_BLOCK", 3):
        gatherer = IdGatherer()
        for part in parts:
            gatherer.add(np.array(part, np.int64))
        gathered, expected = gatherer.ids(), sorted({number for part in parts for number in part})

        assert len(gathered) == len(expected)
        assert list(gathered.bitmap) == expected
        assert [number in gathered for number in (*expected, 0, 2**32, 5)] == [
            number in expected for number in (*expected, 0, 2**32, 5)
        ]


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
