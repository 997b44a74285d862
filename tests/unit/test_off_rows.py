"""The count and hash of off rows: they add up, and all sides compute the same."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pyroaring import BitMap64

from chatsync.core import off_rows
from chatsync.core.off_rows import MIX, SPREAD, OffRows, deviation

ids = (
    st.integers(0, 60)
    | st.integers(2**31 - 3, 2**31 + 3)
    | st.integers(2**32 - 3, 2**32 - 1)
    | st.integers(0, 2**32 - 1)
)
sets = st.sets(ids, max_size=30).map(BitMap64)


@given(members=sets)
def test_it_is_the_formula_that_the_servers_are_given(members: BitMap64) -> None:
    spread = mix = 0
    for number in members:
        product = number * SPREAD
        spread ^= product
        mix ^= ((product >> 32) + number) * MIX

    assert OffRows.of(members) == OffRows.from_xors(len(members), spread, mix)
    assert OffRows.of(members).hash == f"{spread:016x}{mix:016x}"


def test_no_product_leaves_the_signed_64_bits_of_sqlite() -> None:
    largest = 2**32 - 1

    assert largest * SPREAD < 2**63
    assert ((largest * SPREAD >> 32) + largest) * MIX < 2**63
    assert SPREAD % 2 == MIX % 2 == 1


@given(before=sets, more=sets, fewer=sets)
def test_it_adds_up(before: BitMap64, more: BitMap64, fewer: BitMap64) -> None:
    more, fewer = more - before, fewer & before

    assert OffRows.of(before).plus(more).minus(fewer) == OffRows.of((before | more) - fewer)


def test_many_ids_are_hashed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    many = BitMap64(range(7, 100_000, 13))
    whole = OffRows.of(many)
    monkeypatch.setattr(off_rows, "_CHUNK", 1000)

    assert OffRows.of(many) == whole


@given(one=sets, other=sets)
def test_other_ids_are_told_apart(one: BitMap64, other: BitMap64) -> None:
    assume(one != other)

    assert OffRows.of(one) != OffRows.of(other)


def test_the_sum_of_decimal_checksums_would_not_tell_these_apart() -> None:
    """CRC32 is linear over the text of a number: XOR of CRC32(ClientID) is the same for both pairs."""
    assert OffRows.of(BitMap64([10, 13])) != OffRows.of(BitMap64([11, 12]))


@pytest.mark.parametrize("base", [0, 1, 10_000_000, 2**31 - 20, 2**32 - 40])
def test_small_sets_of_neighbours_never_collide(base: int) -> None:
    """Every set of one, two, three or four of 40 neighbours."""
    numbers = np.arange(base, base + 40, dtype=np.uint64)
    products = numbers * np.uint64(SPREAD)
    mixed = ((products >> np.uint64(32)) + numbers) * np.uint64(MIX)
    for size in (1, 2, 3, 4):
        chosen = np.array(list(combinations(range(40), size)))
        hashes = [np.bitwise_xor.reduce(values[chosen], axis=1) for values in (products, mixed)]

        assert len(set(zip(*(found.tolist() for found in hashes), strict=True))) == len(chosen)


@pytest.mark.parametrize(
    ("off_now", "expected"),
    [
        ({1, 2, 7}, (0, 0, False)),  # as `diff` saw it, with the plan not begun: see `undone`
        ({1, 2, 7, 9}, (0, 1, True)),
        ({1, 2}, (0, -1, True)),
        ({1, 2, 8}, (0, 0, True)),
    ],
)
def test_a_deviation_leaves_the_own_clients_of_the_plan_out(off_now: set[int], expected: tuple[int, int, bool]) -> None:
    """The plan turns 3 off and 1 on; 2 and 7 are off before and after."""
    turn_off, turn_on = BitMap64([3]), BitMap64([1])
    before = OffRows.of(BitMap64([1, 2, 7]))
    for own, undone in (([1], 2), ([1, 3], 1), ([], 1), ([3], 0)):
        rows = (BitMap64(off_now) - turn_on) | BitMap64(own)
        found = deviation(
            before=before, now=OffRows.of(rows), turn_off=turn_off, turn_on=turn_on, off_now=BitMap64(own)
        )

        assert (found.undone, found.surplus, found.are_others) == (undone, *expected[1:])


def test_a_deviation_in_words() -> None:
    def words(before: set[int], now: set[int]) -> str:
        none = BitMap64()
        rows = {"before": OffRows.of(BitMap64(before)), "now": OffRows.of(BitMap64(now))}
        return str(deviation(**rows, turn_off=none, turn_on=none, off_now=none))

    assert words({1}, {1, 2}) == "1 other client too many"
    assert words({1, 2, 3}, {1}) == "2 other clients missing"
    assert words({1, 2}, {1, 3}) == "as many other clients, but not the same ones"
