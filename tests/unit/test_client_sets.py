"""Sets of client ids, made of numbers and compared."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap64

from chatsync.core import Gathered, bitmap_of, client_sets, some
from chatsync.core.client_sets import are_disjoint, count_of, some_of

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


@given(st.lists(st.sets(near), max_size=4))
def test_ids_of_several_sets_are_counted_once_and_the_first_are_named(sets: list[set[int]]) -> None:
    by_shard = {shard: BitMap64(ids) for shard, ids in enumerate(sets)}

    assert count_of(by_shard) == len(set().union(*sets))
    assert some_of(by_shard) == some(BitMap64().union(*by_shard.values()))


@given(st.lists(near, unique=True), st.data())
def test_gathered_ids_are_those_that_were_added_and_not_dropped(ids: list[int], data: st.DataObject) -> None:
    gathered, expected = Gathered(), set[int]()
    for client in ids:
        gathered.add(np.array([client], np.uint32))
        expected.add(client)
        if gone := data.draw(st.sets(near)):
            before = gathered.copy()
            gathered.drop(np.array(sorted(gone), np.uint32))
            assert set(before.as_set()) == expected
            expected -= gone

    some_ids = data.draw(st.sets(near))
    assert (len(gathered), set(gathered.as_set())) == (len(expected), expected)
    assert set(gathered.among(np.array(sorted(some_ids), np.uint32)).tolist()) == expected & some_ids
