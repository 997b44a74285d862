"""Checks of a plan from an export against the databases: only its own clients, and the time of the last apply.

Such a plan does not know the rows of other clients. Instead, it is refused if anything else was applied after `diff`.
"""

from collections.abc import Collection, Mapping

import msgspec
from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import (
    IdsByShard,
    Plan,
    check_last_apply,
    counted,
    limit_objections,
    live_elsewhere,
    raise_first,
    some,
    total,
    union,
)
from chatsync.databases.homes import find_homes
from chatsync.databases.last_apply import read_last_apply
from chatsync.databases.places import Place, check_are_different
from chatsync.databases.shard_database import ShardDatabase, on_every_shard
from chatsync.errors import ChatsyncError, ConfigError, DatabaseError, DeadlineError, OutOfDateError


def confirm(clients: IdsByShard, settings: Settings, scope: CancelScope, *, feature_id: int) -> IdsByShard:
    """Return which of these clients are off on their shard. Raises ConfigError if a URL leads to another shard."""
    answers, unasked = _ask(clients, settings, scope, feature_id=feature_id)
    for error in unasked.values():
        raise error
    found = {shard: place.clients for shard, (place, _) in answers.items()}
    homes = find_homes(settings, scope, union(found))
    for shard, ids in sorted(found.items()):
        if elsewhere := live_elsewhere(shard, ids, homes):
            url = settings.databases.shards[shard]
            raise ConfigError(f"databases.shards.{shard}: {url} is not shard {shard}: {elsewhere}")
    return {shard: off for shard, (_, off) in answers.items()}


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
    return {shard: off for shard, (_, off) in answers.items()}, unasked


def _ask(
    clients: IdsByShard, settings: Settings, scope: CancelScope, *, feature_id: int, within: float | None = None
) -> tuple[Mapping[int, tuple[Place, BitMap64]], Mapping[int, ChatsyncError]]:
    """Ask each shard which of these clients are off there; return also the errors of the shards that failed."""

    def ask(shard: ShardDatabase) -> tuple[Place, BitMap64]:
        return shard.read_place(), shard.off_among(feature_id, clients[shard.number])

    answers, unasked = {}, {}
    asked = [shard for shard, ids in clients.items() if ids]
    for shard, outcome in on_every_shard(settings, scope, ask, shards=asked).outcomes(scope, within=within):
        if isinstance(outcome.error, (DatabaseError, DeadlineError)):
            unasked[shard] = outcome.error
        else:
            answers[shard] = outcome.unwrap()
    check_are_different(settings, scope, {shard: place for shard, (place, _) in answers.items()})
    return answers, unasked
