"""The third step of the job: move the mod-time after all of a plan was written, or when an operator sets it."""

import logging
from datetime import datetime

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import (
    ModTimeState,
    Plan,
    counted,
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
    """Write a mod-time that an operator asked for, with any value; return the dict database's clock."""
    with DictDatabase(settings, scope, writable=True) as dict_database:
        now = dict_database.set_modtime(value)
    logger.info("mod-time set to %s by hand", format_time(value), extra={"modtime": format_time(value)})
    return now


def mark_synced(plan: Plan, settings: Settings, scope: CancelScope) -> bool:
    """Move the mod-time to the time of the plan's list; return whether it had to be moved.

    The job's lock is held, so that no apply writes at the same time. Raises OutOfDateError if a shard or
    a client's home is not as the plan expects, or if the mod-time or the feature is not what `diff` saw.
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
    changes = counted(plan.changes, "change")
    logger.info("%s: %s in place, %s", settings.modtime.property, changes, done, extra=event)
    return moved
