"""Sets of client ids, made of numbers and compared."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap64

from chatsync.core import bitmap_of, client_sets
from chatsync.core.client_sets import are_disjoint

LARGEST = 2**32 - 1
near = st.integers(0, 40) | st.integers(2**16 - 20, 2**16 + 20) | st.integers(LARGEST - 20, LARGEST)
runs = st.builds(lambda first, count: range(first, first + count), near, st.integers(0, 60))


@given(st.lists(near | st.integers(0, LARGEST) | st.integers(0, 2**63 - 1), max_size=80), runs, st.integers(1, 30))
def test_a_set_is_made_of_numbers_in_any_order_sparse_or_dense(numbers: list[int], run: range, most: int) -> None:
    numbers += run
    with patch.object(client_sets, "_MOST_IN_AN_ARRAY", most):
        assert bitmap_of(np.array(numbers, np.int64)) == BitMap64(numbers)


def test_more_ids_than_an_array_holds() -> None:
    numbers = [*range(7, 7 + 2 * 5000, 2), 2**20, *range(2**24, 2**24 + 4096)]

    assert bitmap_of(np.array(numbers)) == BitMap64(numbers)


@given(st.lists(st.sets(near), max_size=4))
def test_sets_are_disjoint_where_no_id_is_in_two(sets: list[set[int]]) -> None:
    assert are_disjoint(map(BitMap64, sets)) == (len(set().union(*sets)) == sum(map(len, sets)))
