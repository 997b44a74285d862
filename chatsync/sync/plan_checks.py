"""Checks of a plan against the databases: the homes of clients, and the off rows of every shard.

Before an apply, a shard that is as expected sends no rows: its server counts and hashes them in one statement.
Before a list is marked as synced, all off rows are read (packed) to check that their clients live there.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

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
    union_of,
)
from chatsync.databases.homes import read_homes
from chatsync.databases.shard_database import Placed, ShardDatabase, ask_placed
from chatsync.errors import ChatsyncError, OutOfDateError
from chatsync.sync.from_export import check_changes_before, undone_after

_AGAIN = "the mod-time was not moved; run `chatsync diff` and `chatsync apply` again"


@dataclass(frozen=True, kw_only=True)
class _ShardNow:
    """A shard that is not as expected: how its off rows differ, and which of the plan's clients are off now."""

    rows: OffRows
    off_now: BitMap64
    deviation: Deviation


def check_homes(plan: Plan, settings: Settings, scope: CancelScope) -> None:
    """Refuse a plan if one of its clients now lives on another shard: only the row on the home shard counts."""
    changed = {shard: numbers_of(off, plan.turn_on[shard]) for shard, off in plan.turn_off.items()}
    sides = Sides(BitMap64(), changed)
    pieces = read_homes(settings, scope, sides, sides.away)
    _check_are_at_home({shard: union_of(piece[shard] for piece in pieces) for shard in changed})


def _check_are_at_home(elsewhere: IdsByShard) -> None:
    for shard, moved in elsewhere.items():
        if moved:
            which = f"{counted(len(moved), 'client')} to change on shard {shard} ({some(moved)})"
            raise OutOfDateError(f"{which} no longer live there")


def check_before_apply(
    plan: Plan, settings: Settings, scope: CancelScope, *, lifting: Collection[str]
) -> Mapping[int, ChatsyncError]:
    """Before the first write, refuse a plan if the shards are no longer as its `diff` saw them.

    The plan's own clients may be changed already or not, so that the same plan can be applied again after
    a failure. Then the limits apply to the remaining changes, with the current numbers. Returns the errors
    of the shards that could not be asked: nothing may be written on these shards, but on all others. Half
    of the remaining time is for the answers of the shards, the other half is for writing.
    """
    if plan.state_from is not None:
        return check_changes_before(plan, settings, scope, lifting=lifting)
    within = scope.remaining / 2

    def count(shard: ShardDatabase) -> Placed[OffRows]:
        return shard.count_off_rows(plan.feature.id)

    differing, unasked = _differing(plan, settings, scope, look=count, expected=plan.before, within=within)
    others = [f"shard {shard}: {now.deviation}" for shard, now in differing.items() if now.deviation.are_others]
    if others:
        raise OutOfDateError(f"the off rows have changed since `diff`, {' | '.join(others)}")
    if differing:
        raise_first(limit_objections(_rest(plan, differing), settings.limits, lifting=lifting))
    return unasked


def check_after_apply(plan: Plan, settings: Settings, scope: CancelScope) -> None:
    """Refuse to mark a list as synced unless the off rows of every shard are as they must be after its plan.

    Their clients must also still live there: a client that was off already is not named in the plan, and
    if it has moved since, its row stayed on the old shard. Homes are looked up after the rows were read,
    so that no move in between is missed. Of a plan from an export, only its own changes can be checked.
    """
    if plan.state_from is not None:
        check_homes(plan, settings, scope)
        if undone := undone_after(plan, settings, scope):
            raise OutOfDateError(_missing(plan, undone), way_out=_AGAIN)
        return
    off: dict[int, Ids] = {}

    def read(shard: ShardDatabase) -> Placed[OffRows]:
        off[shard.number], place = shard.read_off_and_place(plan.feature.id)
        return OffRows.of(off[shard.number]), place

    differing, unasked = _differing(plan, settings, scope, look=read, expected=plan.after)
    for error in unasked.values():
        raise error
    sides = Sides(plan.unknown, off, plan.changed, with_list=False)
    pieces = read_homes(settings, scope, sides, sides.compare)
    _check_are_at_home({shard: ids & plan.changed[shard] for shard, ids in sides.elsewhere(pieces).items()})
    undone = {shard: now.deviation.undone for shard, now in differing.items() if now.deviation.undone}
    others = [f"shard {shard}: {now.deviation}" for shard, now in differing.items() if now.deviation.are_others]
    reasons = [_missing(plan, undone)] if undone else []
    if others:
        reasons.append(f"the off rows are not those expected after it, {' | '.join(others)}")
    reasons += _moves(plan, sides.strays(pieces), still_unknown=sides.unknown(pieces))
    if reasons:
        raise OutOfDateError("; ".join(reasons), way_out=_AGAIN)


def _missing(plan: Plan, undone: Mapping[int, int]) -> str:
    where = ", ".join(f"{count} on shard {shard}" for shard, count in undone.items())
    verb = "is" if sum(undone.values()) == 1 else "are"
    return f"{sum(undone.values())} of its {counted(plan.changes, 'change')} {verb} missing, {where}"


def _moves(plan: Plan, strays: IdsByShard, *, still_unknown: BitMap64) -> Iterator[str]:
    """Yield the reasons for clients without a planned change that now live elsewhere than `diff` saw."""
    for shard, here in strays.items():
        if (OffRows.of(here) if here else None) != plan.strays.get(shard):
            saw = plan.stray_counts.get(shard, 0)
            which = f"{counted(len(here), 'stray row')}{f' ({some(here)})' if here else ''}"
            seen = "as many, but of other clients" if len(here) == saw else saw
            yield f"clients have moved, shard {shard}: {which}, `diff` saw {seen}"
    settled = plan.unknown - still_unknown
    if settled:
        which = f"{counted(len(settled), 'listed client')} ({some(settled)})"
        yield f"{which} lived on no shard when `diff` looked, but live on one now"


def _differing(
    plan: Plan,
    settings: Settings,
    scope: CancelScope,
    *,
    look: Callable[[ShardDatabase], Placed[OffRows]],
    expected: Mapping[int, OffRows],
    within: float | None = None,
) -> tuple[Mapping[int, _ShardNow], Mapping[int, ChatsyncError]]:
    """Ask every shard for its off rows; return the shards that are not as expected, and the errors of failed ones."""

    def ask(shard: ShardDatabase) -> Placed[_ShardNow | None]:
        number = shard.number
        rows, place = look(shard)
        if rows == expected[number]:
            return None, place
        off_now = shard.off_among(plan.feature.id, plan.changed[number])
        turn_off, turn_on = plan.turn_off[number], plan.turn_on[number]
        found = deviation(before=plan.before[number], now=rows, turn_off=turn_off, turn_on=turn_on, off_now=off_now)
        return _ShardNow(rows=rows, off_now=off_now, deviation=found), place

    answers, unasked = ask_placed(settings, scope, ask, within=within)
    return {shard: now for shard, (now, _) in answers.items() if now is not None}, unasked


def _rest(plan: Plan, differing: Mapping[int, _ShardNow]) -> Plan:
    """Return the plan with only the changes that are still missing, and the current number of clients that are off."""
    off_now = {shard: differing[shard].off_now if shard in differing else ids for shard, ids in plan.turn_on.items()}
    rows = {shard: differing[shard].rows if shard in differing else rows for shard, rows in plan.before.items()}
    rest = msgspec.structs.replace(
        plan,
        turn_off={shard: ids - off_now[shard] for shard, ids in plan.turn_off.items()},
        turn_on={shard: ids & off_now[shard] for shard, ids in plan.turn_on.items()},
        off_before=rows,
    )
    return msgspec.structs.replace(rest, off_now=sum(rest.off_by_shard.values()))
