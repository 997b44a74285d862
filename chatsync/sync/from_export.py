"""A plan whose feature state comes from an export: made, and checked before and after it is applied.

Only the differences are looked up in the databases, so that limits, counts and records mean the same as for any other
plan. Clients on which export and list agree are not looked up, and the rows of other clients are not known. Instead,
the plan is refused if anything else was applied after `diff`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec
from pyroaring import BitMap64

from chatsync.core import (
    check_last_apply,
    compute_diff,
    counted,
    diff_verdict,
    limit_objections,
    live_elsewhere,
    raise_first,
    short_time,
    some,
    stale,
    total,
    union,
    why_unusable,
)
from chatsync.databases.homes import find_homes
from chatsync.databases.last_apply import read_last_apply
from chatsync.databases.shard_database import Placed, ShardDatabase, ask_placed
from chatsync.errors import ChatsyncError, ConfigError, OutOfDateError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from chatsync.cancel_scope import CancelScope
    from chatsync.config.settings import Settings
    from chatsync.core import DictState, ExclusionList, IdsByShard, Keep, Plan, PlanExport
    from chatsync.export.source import Comparison, ExportSource

logger = logging.getLogger(__name__)


def open_export(settings: Settings, scope: CancelScope, cluster: Any) -> ExportSource:
    """Lock the tables of the export in the transaction of the list, whose `cluster` this is. Raises SourceError."""
    # Late: nine modules and 15 ms of CPU that only an export needs.
    from chatsync.export import on_clique, source

    kind = on_clique.ExportOnClique if settings.export.clique else source.ExportSource
    return kind(settings, scope, cluster)


def plan_from_export(
    unread: Plan,
    export: ExportSource,
    state: DictState,
    read_list: Callable[[], ExclusionList],
    *,
    settings: Settings,
    scope: CancelScope,
    keep: Keep | None,
) -> Plan:
    """Return the plan; or `unread` with the reason why the export is not used and the databases must be read.

    Raises RefusedError instead if export.when_stale is "refuse", and SourceError for an incomplete export.
    """
    part = look_at_export(export, settings, scope, now=state.now)
    if (why := part.unused) is not None:
        if settings.export.when_stale == "refuse":
            raise stale(why)
        logger.info("reading the databases: %s", why, extra={"export": part.source, "as_of": part.as_of})
        return msgspec.structs.replace(unread, export=part)
    found = export.compare(unread.exclusions, read_list, feature_id=state.feature_id)
    if settings.export.clique and keep and found.exclusions.rejected_count:
        read_list()  # a clique returns only the first of them, without row numbers
    part = msgspec.structs.replace(part, rows=found.rows)
    logger.info("%s: as of %s", part.source, short_time(export.as_of), extra={"as_of": part.as_of})
    homes = find_homes(settings, scope, found.turn_off | union(found.turn_on))
    export.check_homes(found.turn_on, homes)
    return _confirmed(unread, settings, scope, part=part, found=found, homes=homes)


def look_at_export(export: ExportSource, settings: Settings, scope: CancelScope, *, now: datetime) -> PlanExport:
    """Describe an export for a plan; `unused` says why `diff` must not use it. No row is read.

    `now` is the dict database's clock.
    """
    last_apply = read_last_apply(settings, scope)
    why = why_unusable(export.as_of, last_apply=last_apply, now=now, limits=settings.limits)
    return msgspec.structs.replace(export.part(last_apply), unused=why or None)


def _confirmed(
    unread: Plan, settings: Settings, scope: CancelScope, *, part: PlanExport, found: Comparison, homes: IdsByShard
) -> Plan:
    """Look up the rows of the differing clients on their home shards, and plan the differences that are confirmed."""
    was_off = union(found.turn_on)
    asked = {shard: ids for shard, ids in homes.items() if shard in settings.databases.shards}
    now_off = _confirm(asked, settings, scope, feature_id=unread.feature.id)
    none = BitMap64()
    strays = {shard: ids - homes.get(shard, none) for shard, ids in found.turn_on.items()}
    off = {shard: now_off.get(shard, none) | strays.get(shard, none) for shard in settings.databases.shards}
    diff = compute_diff(found.turn_off, off, homes)
    already = found.turn_off & union(now_off)
    gone = [(found.turn_on[shard] & homes.get(shard, none)) - now_off.get(shard, none) for shard in found.turn_on]
    turn_on = union(diff.turn_on)
    confirmed = sum(map(len, diff.turn_off.values())) + len(turn_on)
    contradicted = len(already) + sum(map(len, gone))
    return msgspec.structs.replace(
        unread,
        verdict=diff_verdict(diff),
        exclusions=found.exclusions,
        off_now=found.off_count - len(was_off - turn_on) + len(already),
        turn_off=diff.turn_off,
        turn_on=diff.turn_on,
        unknown=diff.unknown,
        strays=diff.strays,
        export=msgspec.structs.replace(part, confirmed=confirmed, contradicted=contradicted),
    )


def _confirm(clients: IdsByShard, settings: Settings, scope: CancelScope, *, feature_id: int) -> IdsByShard:
    """Return which of these clients are off on their shard. Raises ConfigError if a URL leads to another shard."""
    answers, unasked = _ask(clients, settings, scope, feature_id=feature_id)
    for error in unasked.values():
        raise error
    found = {shard: place.clients for shard, (_, place) in answers.items()}
    homes = find_homes(settings, scope, union(found))
    for shard, ids in sorted(found.items()):
        if elsewhere := live_elsewhere(shard, ids, homes):
            url = settings.databases.shards[shard]
            raise ConfigError(f"databases.shards.{shard}: {url} is not shard {shard}: {elsewhere}")
    return {shard: off for shard, (off, _) in answers.items()}


def check_changes_before(
    plan: Plan, settings: Settings, scope: CancelScope, *, lifting: Collection[str]
) -> Mapping[int, ChatsyncError]:
    """Before the first write, refuse a plan if anything else was applied after it, or its rest is over a limit.

    Returns the errors of the shards that could not be asked, as `check_before_apply` does.
    """
    check_last_apply(plan, read_last_apply(settings, scope))
    off, unasked = _off_now(plan, settings, scope, within=scope.remaining / 2)
    turn_off = {shard: ids - off.get(shard, BitMap64()) for shard, ids in plan.turn_off.items()}
    turn_on = {shard: ids & off.get(shard, ids) for shard, ids in plan.turn_on.items()}
    done = total(plan.turn_off) - total(turn_off) - total(plan.turn_on) + total(turn_on)
    left = msgspec.structs.replace(plan, turn_off=turn_off, turn_on=turn_on, off_now=(plan.off_now or 0) + done)
    raise_first(limit_objections(left, settings.limits, lifting=lifting))
    return unasked


def undone_after(plan: Plan, settings: Settings, scope: CancelScope) -> Mapping[int, int]:
    """Return how many of the plan's changes are missing, for each shard with missing changes.

    Raises OutOfDateError if anything else was applied since, or if a client of no shard now lives on one.
    """
    check_last_apply(plan, read_last_apply(settings, scope))
    off, unasked = _off_now(plan, settings, scope)
    for error in unasked.values():
        raise error
    settled = union(find_homes(settings, scope, plan.unknown))
    if settled:
        which = f"{counted(len(settled), 'listed client')} ({some(settled)})"
        raise OutOfDateError(f"{which} lived on no shard when `diff` looked, but live on one now")
    undone = {shard: len(plan.turn_off[shard] - ids) + len(plan.turn_on[shard] & ids) for shard, ids in off.items()}
    return {shard: count for shard, count in sorted(undone.items()) if count}


def _off_now(
    plan: Plan, settings: Settings, scope: CancelScope, *, within: float | None = None
) -> tuple[IdsByShard, Mapping[int, ChatsyncError]]:
    """Return which of the plan's clients are off now, by shard, and the errors of the shards that failed."""
    answers, unasked = _ask(plan.changed, settings, scope, feature_id=plan.feature.id, within=within)
    return {shard: off for shard, (off, _) in answers.items()}, unasked


def _ask(
    clients: IdsByShard, settings: Settings, scope: CancelScope, *, feature_id: int, within: float | None = None
) -> tuple[Mapping[int, Placed[BitMap64]], Mapping[int, ChatsyncError]]:
    """Ask each shard which of these clients are off there; return also the errors of the shards that failed."""

    def ask(shard: ShardDatabase) -> Placed[BitMap64]:
        place = shard.read_place()
        return shard.off_among(feature_id, clients[shard.number]), place

    asked = [shard for shard, ids in clients.items() if ids]
    return ask_placed(settings, scope, ask, shards=asked, within=within)
