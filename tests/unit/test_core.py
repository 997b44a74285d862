"""Properties of the rules, on sets of every shape."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap64

from chatsync.core import Homes, Sides, compute_diff, plan_document, sealed
from chatsync.core.client_sets import chunks, numbers_of, storable
from chatsync.core.diff import Diff, ExclusionList, ListVersion, Rejected
from chatsync.core.off_rows import OffRows
from chatsync.core.packed_json import json_text
from chatsync.core.plan import Plan, PlanFeature, diff_verdict, list_part, rows_after
from chatsync.core.plan_document import from_document, to_document
from chatsync.core.times import format_time
from chatsync.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

SHARDS = (1, 2, 3)
NOW = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)

ids = st.integers(1, 60) | st.integers(2**32 - 3, 2**32 - 1)
sets = st.sets(ids, max_size=40)
off_states = st.fixed_dictionaries(dict.fromkeys(SHARDS, sets))
homes_of_all = st.dictionaries(ids, st.sampled_from(SHARDS), max_size=40)


def bitmaps(sets: Mapping[int, set[int]]) -> dict[int, BitMap64]:
    return {shard: BitMap64(sorted(members)) for shard, members in sets.items()}


def diff_of(listed: BitMap64, off: Mapping[int, BitMap64], homes: Mapping[int, int], *, size: int = 7) -> Diff:
    """Compare range by range, each with so many entries of the list and the shards."""
    sides = Sides(listed, {shard: numbers_of(ids) for shard, ids in off.items()})
    pieces, start = [], 0
    while start < 2**32:
        clients = range(start, sides.cut(size, start=start))
        here = sorted(client for client in homes if client in clients)
        ids, shards = np.array(here, np.uint32), np.array([homes[client] for client in here], np.uint8)
        pieces.append(sides.compare(clients, Homes(ids, shards)))
        start = clients.stop
    return sides.diff(pieces)


def plan_of(diff: Diff, listed: BitMap64, rejected: tuple[Rejected, ...] = ()) -> Plan:
    version = ListVersion(source="hahn://home/list", modified=NOW, revision=7, rows=len(listed) + len(rejected))
    read = ExclusionList(
        version=version, rows=version.rows or 0, ids=listed, rejected=rejected, rejected_count=len(rejected)
    )
    return Plan(
        created_at=format_time(NOW),
        verdict=diff_verdict(diff),
        feature=PlanFeature(name="checked_support_chat", id=217),
        exclusions=list_part(version, read, (1, 61)),
        modtime=None,
        off_now=diff.off_now,
        turn_off=diff.turn_off,
        turn_on=diff.turn_on,
        unknown=diff.unknown,
        strays=diff.strays,
        off_before=diff.off_before,
        off_after=rows_after(diff.off_before, turn_off=diff.turn_off, turn_on=diff.turn_on),
        target="sha256:0",
        trace_id="trace",
    )


@given(listed=sets, off=off_states, homes=homes_of_all)
def test_apply_then_diff_is_empty(listed: set[int], off: dict[int, set[int]], homes: dict[int, int]) -> None:
    listed_ids, before = BitMap64(listed), bitmaps(off)
    diff = diff_of(listed_ids, before, homes)

    after = {shard: (before[shard] | diff.turn_off[shard]) - diff.turn_on[shard] for shard in SHARDS}
    again = diff_of(listed_ids, after, homes)

    assert not any([*again.turn_off.values(), *again.turn_on.values()])
    assert (again.unknown, again.strays) == (diff.unknown, diff.strays)
    assert state(after, homes) == set(listed_ids - diff.unknown)
    assert again.off_before == rows_after(diff.off_before, turn_off=diff.turn_off, turn_on=diff.turn_on)


def state(off: Mapping[int, BitMap64], homes: Mapping[int, int]) -> set[int]:
    """The feature state: the clients whose row at home says off."""
    return {client for shard, ids in off.items() for client in ids if homes.get(client) == shard}


@given(listed=sets, off=off_states, homes=homes_of_all)
def test_each_client_changes_at_home_and_nowhere_else(
    listed: set[int], off: dict[int, set[int]], homes: dict[int, int]
) -> None:
    """A row on another shard, left behind when its client moved, is no reason to leave it, and is not written."""
    diff = diff_of(BitMap64(listed), bitmaps(off), homes)
    now = state(bitmaps(off), homes)

    assert set(diff.turn_off) == set(diff.turn_on) == set(SHARDS)
    for shard in SHARDS:
        assert set(diff.turn_off[shard]) == {client for client in listed - now if homes.get(client) == shard}
        assert set(diff.turn_on[shard]) == {client for client in now - listed if homes[client] == shard}
        strays = [client for client in off[shard] if homes.get(client) != shard]
        assert diff.strays.get(shard) == (OffRows.of(BitMap64(strays)) if strays else None)
    assert set(diff.unknown) == {client for client in listed if client not in homes}
    assert diff.off_now == len(now)


@given(sought=sets, off=off_states, found=off_states, homes=homes_of_all)
def test_where_clients_live_is_seen_also_without_a_list(
    sought: set[int], off: dict[int, set[int]], found: dict[int, set[int]], homes: dict[int, int]
) -> None:
    sides, without = (
        Sides(BitMap64(sought), {shard: numbers_of(ids) for shard, ids in bitmaps(off).items()}, bitmaps(found), **kind)
        for kind in ({}, {"with_list": False})
    )
    ids = np.array(sorted(homes), np.uint32)
    known = Homes(ids, np.array([homes[client] for client in sorted(homes)], np.uint8))
    pieces, pieces_without = ([side.compare(range(2**32), known)] for side in (sides, without))

    for seen in (Sides.strays, Sides.elsewhere, Sides.unknown, lambda side, of: list(side.misplaced(of))):
        assert seen(sides, pieces) == seen(without, pieces_without)
    assert pieces[0].at_home.tolist() == pieces_without[0].at_home.tolist()
    assert without.unknown(pieces_without) == BitMap64(sought - homes.keys())
    assert without.strays(pieces_without) == bitmaps(
        {shard: {client for client in off[shard] if homes.get(client) != shard} for shard in SHARDS}
    )


@given(listed=sets, off=off_states, homes=homes_of_all, size=st.integers(1, 50))
def test_a_comparison_in_pieces_is_that_of_the_whole(
    listed: set[int], off: dict[int, set[int]], homes: dict[int, int], size: int
) -> None:
    by_shard = {shard: BitMap64([client for client in homes if homes[client] == shard]) for shard in SHARDS}

    with patch("chatsync.core.comparison._AT_ONCE", size):
        found = compute_diff(BitMap64(listed), bitmaps(off), by_shard)

    assert found == diff_of(BitMap64(listed), bitmaps(off), homes, size=2**32)


def test_the_memory_of_a_comparison_of_many_differences_is_bounded() -> None:
    """As one piece, these took 14 MB."""
    clients = range(10, 2_000_010, 10)
    homes = {shard: BitMap64([client for client in clients if client // 10 % 3 + 1 == shard]) for shard in SHARDS}
    listed = BitMap64(clients[100_000:])
    off = {shard: ids - listed for shard, ids in homes.items()}

    tracemalloc.start()
    try:
        found = compute_diff(listed, off, homes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert sum(map(len, found.turn_off.values())) == sum(map(len, found.turn_on.values())) == 100_000
    assert peak < 8_000_000


@given(listed=sets, off=off_states, homes=homes_of_all, chance=st.randoms(use_true_random=False))
def test_shuffled_input_gives_the_same_bytes(
    listed: set[int], off: dict[int, set[int]], homes: dict[int, int], chance: Random
) -> None:
    def shuffled(members: set[int]) -> BitMap64:
        order = sorted(members)
        chance.shuffle(order)
        return BitMap64(order)

    def document() -> str:
        listed_ids = shuffled(listed)
        shards = list(SHARDS)
        chance.shuffle(shards)
        diff = diff_of(listed_ids, {shard: shuffled(off[shard]) for shard in shards}, homes)
        return json_text(to_document(plan_of(diff, listed_ids)))

    assert document() == document()


@given(
    listed=sets,
    off=off_states,
    homes=homes_of_all,
    rejected=st.lists(st.builds(Rejected, row=st.integers(0), value=st.text(), reason=st.text()), max_size=3),
)
def test_a_plan_file_round_trips(
    listed: set[int], off: dict[int, set[int]], homes: dict[int, int], rejected: list[Rejected]
) -> None:
    listed_ids = BitMap64(listed)
    plan = plan_of(diff_of(listed_ids, bitmaps(off), homes), listed_ids, tuple(rejected))

    text = json_text(to_document(plan))
    again = from_document(json.loads(text))

    assert again == plan
    assert json_text(to_document(again)) == text


def test_an_empty_list_and_no_client_off() -> None:
    none = {shard: BitMap64() for shard in SHARDS}
    empty = dict.fromkeys(SHARDS, OffRows.of(BitMap64()))

    expected = Diff(turn_off=none, turn_on=none, unknown=BitMap64(), strays={}, off_before=empty)

    assert diff_of(BitMap64(), none, {}) == expected
    assert Sides(BitMap64(), {shard: numbers_of(ids) for shard, ids in none.items()}).diff([]) == expected


@pytest.mark.parametrize(("listed", "off"), [([2, 3, 4, 5], []), ([], [2, 3, 4, 5]), ([2, 3], [4, 5])])
def test_a_shard_that_was_forgotten_is_named_with_its_clients(listed: list[int], off: list[int]) -> None:
    """Whether they are listed, or off on another shard, where their rows are strays."""
    homes = dict.fromkeys([2, 3, 4, 5], 7)

    with pytest.raises(ConfigError, match=r"^shard 7 is missing .*, and 4 clients, listed or off \(2, 3, 4, …\) live"):
        diff_of(BitMap64(listed), {1: BitMap64(off)}, homes, size=2)


@given(members=sets, size=st.integers(1, 50))
def test_chunks_cut_without_loss(members: set[int], size: int) -> None:
    pieces = [list(piece) for piece in chunks(BitMap64(members), size)]

    assert [client for piece in pieces for client in piece] == sorted(members)
    assert all(len(piece) == size for piece in pieces[:-1])
    assert all(pieces)


def test_only_what_a_column_holds_is_storable() -> None:
    assert list(storable(BitMap64([1, 2**32 - 1, 2**32, 2**63 - 1]))) == [1, 2**32 - 1]


@pytest.mark.parametrize("few", [0, 500], ids=["many", "few"])
@pytest.mark.parametrize(
    ("part", "ids", "told"),
    [
        ("turn_off", {SHARDS[1]: [1, 2]}, "turned off on two shards"),
        ("turn_on", {SHARDS[1]: [1]}, "turned off and on"),
        ("unknown", [1, 2**40], "changed on a shard and lives on none"),
    ],
)
def test_a_client_in_two_parts_of_a_plan(few: int, part: str, ids: Any, told: str) -> None:
    listed, none = BitMap64([1, 2]), {shard: BitMap64() for shard in SHARDS}
    document = json.loads(
        json_text(to_document(plan_of(diff_of(listed, none, dict.fromkeys([1, 2], SHARDS[0])), listed)))
    )
    changed = {**document[part], **{str(shard): of for shard, of in ids.items()}} if isinstance(ids, dict) else ids

    with patch.object(plan_document, "_FEW", few):
        assert from_document(document)
        with pytest.raises(ValueError, match=told):
            from_document(sealed(document | {part: changed}))
