"""Checks of a plan against the databases: the homes of clients, and the off rows of every shard.

Before an apply no row travels for a shard that is as expected: the server counts and hashes them in one
statement. Before a list is marked as synced, every off row is read, packed, to see that its client lives there.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter

import msgspec
from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import (
    Deviation,
    Ids,
    IdsByShard,
    OffRows,
    Plan,
    Sides,
    counted,
    deviation,
    limit_objections,
    numbers_of,
    raise_first,
    some,
)
from chatsync.databases.homes import read_homes
from chatsync.databases.off_rows import count_off_rows
from chatsync.databases.places import Place, check_are_different
from chatsync.databases.shard_database import ShardDatabase, on_every_shard
from chatsync.errors import ChatsyncError, DatabaseError, DeadlineError, OutOfDateError
from chatsync.sync.export_checks import check_changes_before, undone_after

_AGAIN = "the mod-time was not moved; run `chatsync diff` and `chatsync apply` again"


@dataclass(frozen=True, kw_only=True)
class _ShardNow:
    """A shard that is not as expected: its off rows, and which of the plan's clients are off now."""

    rows: OffRows
    off_now: BitMap64
    deviation: Deviation


def check_homes(plan: Plan, settings: Settings, scope: CancelScope) -> None:
    """Refuse a plan one of whose clients lives on another shard by now: only the row at home counts."""
    sides = Sides(BitMap64(), {shard: numbers_of(ids) for shard, ids in plan.changed.items()})
    _check_are_at_home(sides.strays(read_homes(settings, scope, sides, sides.compare)))


def _check_are_at_home(elsewhere: IdsByShard) -> None:
    for shard, moved in elsewhere.items():
        if moved:
            which = f"{counted(len(moved), 'client')} to change on shard {shard} ({some(moved)})"
            raise OutOfDateError(f"{which} no longer live there")


def check_before_apply(
    plan: Plan, settings: Settings, scope: CancelScope, *, lifting: Collection[str]
) -> Mapping[int, ChatsyncError]:
    """Refuse a plan whose shards are no longer as its `diff` saw them, before the first write.

    The plan's own clients may be in either state, so that the same plan can be applied again after a
    failure. Then the limits hold for what is left to do, counted from what the servers say now. Returns
    the errors of the shards that could not be asked: nothing may be written there, but on the others.
    A shard that hangs is waited for until half of the remaining time has passed; the rest is for writing.
    """
    if plan.state_from is not None:
        return check_changes_before(plan, settings, scope, lifting=lifting)
    within = scope.remaining / 2

    def count(shard: ShardDatabase) -> tuple[OffRows, Place]:
        return count_off_rows(shard.database, plan.feature.id)

    differing, unasked = _differing(plan, settings, scope, look=count, expected=plan.before, within=within)
    others = [f"shard {shard}: {now.deviation}" for shard, now in differing.items() if now.deviation.are_others]
    if others:
        raise OutOfDateError(f"other clients are off now than `diff` saw, {' | '.join(others)}")
    if differing:
        raise_first(limit_objections(_rest(plan, differing), settings.limits, lifting=lifting))
    return unasked


def check_after_apply(plan: Plan, settings: Settings, scope: CancelScope) -> None:
    """Refuse to mark a list as synced unless the off rows of every shard are those that its plan leads to.

    The same ones have to be at home: a client that was off already is not named in the plan, and one that
    has moved since left its row behind. Homes are looked up after the rows were read, so that no move
    between the two is missed. Of a plan from an export, its own changes alone can be checked.
    """
    if plan.state_from is not None:
        check_homes(plan, settings, scope)
        if undone := undone_after(plan, settings, scope):
            raise OutOfDateError(_missing(plan, undone), way_out=_AGAIN)
        return
    off: dict[int, Ids] = {}

    def read(shard: ShardDatabase) -> tuple[OffRows, Place]:
        off[shard.number], place = shard.read_off_and_place(plan.feature.id)
        return OffRows.of(off[shard.number]), place

    differing, unasked = _differing(plan, settings, scope, look=read, expected=plan.after)
    for error in unasked.values():
        raise error
    sides = Sides(plan.unknown, off, plan.changed)
    pieces = read_homes(settings, scope, sides, sides.compare)
    _check_are_at_home({shard: ids & plan.changed[shard] for shard, ids in sides.elsewhere(pieces).items()})
    undone = {shard: now.deviation.undone for shard, now in differing.items() if now.deviation.undone}
    others = [f"shard {shard}: {now.deviation}" for shard, now in differing.items() if now.deviation.are_others]
    reasons = [_missing(plan, undone)] if undone else []
    if others:
        reasons.append(f"other clients are off than it leads to, {' | '.join(others)}")
    reasons += _moves(plan, sides.strays(pieces), still_unknown=sides.unknown(pieces))
    if reasons:
        raise OutOfDateError("; ".join(reasons), way_out=_AGAIN)


def _missing(plan: Plan, undone: Mapping[int, int]) -> str:
    where = ", ".join(f"{count} on shard {shard}" for shard, count in undone.items())
    verb = "is" if sum(undone.values()) == 1 else "are"
    return f"{sum(undone.values())} of its {counted(plan.changes, 'change')} {verb} missing, {where}"


def _moves(plan: Plan, strays: IdsByShard, *, still_unknown: BitMap64) -> Iterator[str]:
    """Return in which way clients that the plan leaves as they are live elsewhere than `diff` saw."""
    for shard, here in strays.items():
        if (OffRows.of(here) if here else None) != plan.strays.get(shard):
            saw = plan.stray_counts.get(shard, 0)
            which = f"{counted(len(here), 'stray row')}{f' ({some(here)})' if here else ''}"
            seen = "as many, but not the same ones" if len(here) == saw else saw
            yield f"clients have moved, shard {shard}: {which}, `diff` saw {seen}"
    settled = plan.unknown - still_unknown
    if settled:
        yield f"{counted(len(settled), 'listed client')} ({some(settled)}) lived on no shard for `diff`, and on one now"


def _differing(
    plan: Plan,
    settings: Settings,
    scope: CancelScope,
    *,
    look: Callable[[ShardDatabase], tuple[OffRows, Place]],
    expected: Mapping[int, OffRows],
    within: float | None = None,
) -> tuple[Mapping[int, _ShardNow], Mapping[int, ChatsyncError]]:
    """Look at the off rows of every shard; return the shards that are not as expected, and those that failed."""

    def ask(shard: ShardDatabase) -> tuple[Place, _ShardNow | None]:
        number = shard.number
        rows, place = look(shard)
        if rows == expected[number]:
            return place, None
        off_now = shard.off_among(plan.feature.id, plan.changed[number])
        turn_off, turn_on = plan.turn_off[number], plan.turn_on[number]
        found = deviation(before=plan.before[number], now=rows, turn_off=turn_off, turn_on=turn_on, off_now=off_now)
        return place, _ShardNow(rows=rows, off_now=off_now, deviation=found)

    places, differing, unasked = {}, {}, {}
    outcomes = on_every_shard(settings, scope, ask).outcomes(scope, within=within)
    for shard, outcome in sorted(outcomes, key=itemgetter(0)):
        if isinstance(outcome.error, (DatabaseError, DeadlineError)):
            unasked[shard] = outcome.error
            continue
        places[shard], now = outcome.unwrap()
        if now is not None:
            differing[shard] = now
    check_are_different(settings, scope, places)
    return differing, unasked


def _rest(plan: Plan, differing: Mapping[int, _ShardNow]) -> Plan:
    """Return the plan as far as it is not done yet, with the number of clients that are off now."""
    off_now = {shard: differing[shard].off_now if shard in differing else ids for shard, ids in plan.turn_on.items()}
    rows = {shard: differing[shard].rows if shard in differing else rows for shard, rows in plan.before.items()}
    rest = msgspec.structs.replace(
        plan,
        turn_off={shard: ids - off_now[shard] for shard, ids in plan.turn_off.items()},
        turn_on={shard: ids & off_now[shard] for shard, ids in plan.turn_on.items()},
        off_before=rows,
    )
    return msgspec.structs.replace(rest, off_now=sum(rest.off_by_shard.values()))
