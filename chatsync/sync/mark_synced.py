"""The third step of the job: move the mod-time, once all of a plan is in the databases, or as an operator asks."""

import logging
from datetime import datetime

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import (
    ModTimeState,
    Plan,
    feature_objections,
    format_time,
    modtime_state,
    raise_first,
    state_objections,
)
from chatsync.databases.dict_database import DictDatabase
from chatsync.databases.job_lock import job_lock
from chatsync.sync.plan_checks import check_after_apply

logger = logging.getLogger(__name__)


def set_by_hand(value: datetime, settings: Settings, scope: CancelScope) -> datetime:
    """Write a mod-time that an operator asked for, whatever its value is; return the dict database's clock."""
    with DictDatabase(settings, scope, writable=True) as dict_database:
        now = dict_database.set_modtime(value)
    logger.info("mod-time set to %s by hand", format_time(value), extra={"modtime": format_time(value)})
    return now


def mark_synced(plan: Plan, settings: Settings, scope: CancelScope) -> bool:
    """Move the mod-time to the time of the plan's list; return whether it had to be moved.

    Under the job's lock, so that no apply writes meanwhile. Raises OutOfDateError when a shard or a
    client's home is not as the plan expects, or when the mod-time or the feature is another one than
    `diff` saw.
    """
    with job_lock(settings, scope) as lock, DictDatabase(settings, scope, writable=True) as dict_database:
        state = lock.check()
        is_marked = modtime_state(state, list_time=plan.list_time) is ModTimeState.SYNCED
        raise_first(feature_objections(plan, state) if is_marked else state_objections(plan, state))
        check_after_apply(plan, settings, scope)
        lock.check()
        moved = dict_database.advance_modtime(plan.list_time, seen=plan.seen_modtime)
    value = format_time(plan.list_time)
    done = f"mod-time {'moved to' if moved else 'is already'} {value}"
    event = {"changes": plan.changes, "modtime": value}
    logger.info("%s: all %d changes are in place, %s", settings.modtime.property, plan.changes, done, extra=event)
    return moved
