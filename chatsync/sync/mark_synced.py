"""The third step of the job: mark the list of a plan as synced, once all of the plan is in the databases."""

import logging

from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core.modtime import ModTimeState, modtime_state
from chatsync.core.objections import feature_objections, raise_first, state_objections
from chatsync.core.plan import Plan
from chatsync.core.times import format_time
from chatsync.databases.dict_database import DictDatabase
from chatsync.databases.shard_database import ShardDatabase, on_every_shard
from chatsync.errors import OutOfDateError

logger = logging.getLogger(__name__)


def mark_synced(plan: Plan, settings: Settings, scope: CancelScope) -> bool:
    """Move the mod-time to the time of the plan's list; return whether it had to be moved.

    Raises OutOfDateError when the databases are not as the plan wants them, or when the mod-time or
    the feature is another one than `diff` saw.
    """
    with DictDatabase(settings, scope, writable=True) as dict_database:
        state = dict_database.state()
        is_marked = modtime_state(state, list_time=plan.list_time) is ModTimeState.SYNCED
        raise_first(feature_objections(plan, state) if is_marked else state_objections(plan, state))
        check_changes_are_there(plan, settings, scope)
        moved = dict_database.advance_modtime(plan.list_time, seen=plan.seen_modtime)
    value = format_time(plan.list_time)
    done = f"mod-time {'moved to' if moved else 'is already'} {value}"
    event = {"changes": plan.changes, "modtime": value}
    logger.info("%s: all %d changes are in place, %s", settings.modtime.property, plan.changes, done, extra=event)
    return moved


def check_changes_are_there(plan: Plan, settings: Settings, scope: CancelScope) -> None:
    """Raise OutOfDateError, with how many are missing on which shards, unless all are there."""

    def count_missing(shard: ShardDatabase) -> int:
        to_off = plan.turn_off.get(shard.number, BitMap64())
        to_on = plan.turn_on.get(shard.number, BitMap64())
        off = shard.off_among(plan.feature.id, to_off | to_on)
        return len(to_off - off) + len(to_on & off)

    changed = [shard for shard in settings.databases.shards if plan.turn_off.get(shard) or plan.turn_on.get(shard)]
    missing = on_every_shard(settings, scope, count_missing, shards=changed).results(scope)
    short = [f"{count} on shard {shard}" for shard, count in sorted(missing.items()) if count]
    if short:
        raise OutOfDateError(
            f"{sum(missing.values())} of its {plan.changes} changes are missing, {', '.join(short)}",
            way_out="the mod-time was not moved; run `chatsync diff` and `chatsync apply` again",
        )
