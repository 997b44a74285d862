"""The mod-time: what it means for a list at a given moment, and the messages about it. Pure."""

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from chatsync.core.times import format_time, parse_time, short_span, short_time
from chatsync.errors import DisabledError, OutOfDateError, PropertyError

NEVER = datetime(1970, 1, 1, tzinfo=UTC)

DISABLED_FOREVER = datetime(9999, 12, 31, tzinfo=UTC)

# `ppc_properties.last_change` is a TIMESTAMP: the second in which the row was written, without its fraction.
_LAST_CHANGE_PRECISION = timedelta(seconds=1)

_RESET = "`chatsync set-modtime --reset` lets the next run sync it"


class ModTimeState(enum.Enum):
    """What the mod-time means for a list at a given moment."""

    LIST_IS_NEWER = "list is newer"  # also when no list was ever synced, and after a switch-off that has expired
    SYNCED = "synced"
    LIST_IS_OLDER = "list is older"  # a later list was synced: this one is applied only after a --reset
    DISABLED = "disabled"


def is_disabled(modtime: datetime | None, *, now: datetime) -> bool:
    """Decide whether a mod-time disables the job: the kill switch is a time in the future.

    This is the only place that compares a mod-time with a clock.
    """
    return modtime is not None and modtime > now


@dataclass(frozen=True, kw_only=True)
class StoredModTime:
    """The mod-time in the dict database and that database's clock, read in one statement.

    `last_change` is the second in which the value was written. It is None if there is no value, or
    if the time of writing is unknown.
    """

    modtime: datetime | None
    last_change: datetime | None
    now: datetime

    @property
    def is_disabled(self) -> bool:
        """Whether the job is disabled now."""
        return is_disabled(self.modtime, now=self.now)

    @property
    def is_expired_switch(self) -> bool:
        """Whether the value disabled the job when it was written, and no longer does.

        Such a value says nothing about what was synced. The job itself never writes a time ahead of
        the database's clock, so a value a whole second later than `last_change` is an operator's.
        """
        if self.modtime is None or self.last_change is None or self.is_disabled:
            return False
        return self.modtime >= self.last_change + _LAST_CHANGE_PRECISION


@dataclass(frozen=True, kw_only=True)
class DictState(StoredModTime):
    """The feature, the mod-time and the clock of the dict database, read in one statement."""

    feature_id: int


def parse_property(raw: str | None, *, name: str, where: str, timezone: tzinfo) -> datetime:
    """Read the stored mod-time.

    Raises PropertyError when it is not a time. Reading that as "never synced" would switch the job
    on again after an operator mistyped the date that was to switch it off.
    """
    try:
        return parse_time(raw or "", timezone=timezone)
    except ValueError:
        shown = "NULL" if raw is None else repr(raw[:60])
        raise PropertyError(
            f"property {name} in {where} holds {shown}, which is not a time; "
            f"put one there with `chatsync set-modtime TIME` (or --reset to sync again)"
        ) from None


def list_is_newer(list_time: datetime, modtime: datetime | None) -> bool:
    """Whether a list of that time waits to be synced; None is "never synced"."""
    return modtime is None or modtime < list_time


def modtime_state(stored: StoredModTime, *, list_time: datetime) -> ModTimeState:
    """Decide what the mod-time means for a list that was modified at `list_time`."""
    if stored.is_disabled:
        return ModTimeState.DISABLED
    if stored.is_expired_switch or list_is_newer(list_time, stored.modtime):
        return ModTimeState.LIST_IS_NEWER
    return ModTimeState.SYNCED if stored.modtime == list_time else ModTimeState.LIST_IS_OLDER


def waiting_since(stored: StoredModTime, *, list_time: datetime) -> datetime:
    """Return since when a newer list has been waiting: since it was modified, or since the switch-off expired."""
    if stored.modtime is not None and stored.is_expired_switch:
        return max(list_time, stored.modtime)
    return list_time


def until(modtime: datetime) -> str:
    """Return until when a mod-time in the future disables the job: `until 2099-01-01`."""
    return "until further notice" if modtime >= DISABLED_FOREVER else f"until {short_time(modtime)}"


def modtime_meaning(stored: StoredModTime, *, list_time: datetime) -> str:
    """Return a short text about what the mod-time means for a list."""
    state, modtime = modtime_state(stored, list_time=list_time), stored.modtime
    if modtime is None:
        return "not set: no list was ever synced"
    if modtime == NEVER:
        return "reset: the next run syncs the list, whatever its time"
    if state is ModTimeState.DISABLED:
        return f"the job is disabled {until(modtime)}"
    if stored.is_expired_switch:
        return "a switch-off that has expired: the list counts as newer"
    if state is ModTimeState.SYNCED:
        return "synced"
    return f"{state.value} by {short_span(list_time - modtime)}"


def effect(modtime: datetime, *, now: datetime) -> str:
    """Return the effect on the job of a mod-time that an operator has set."""
    if is_disabled(modtime, now=now):
        return f"the job is off {until(modtime)}"
    if modtime == NEVER:
        return "the job is on: the next run syncs the list, whatever its time"
    return (
        f"the job is ON, as this time is {short_span(now - modtime)} ago: the next run syncs a list that was modified "
        "after it; a list of exactly this time counts as synced"
    )


def disabled_message(modtime: datetime) -> str:
    """Return the message that the job is disabled, until when, and how to enable it."""
    return (
        f"the job is disabled {until(modtime)} by its mod-time, {format_time(modtime)}; "
        "`chatsync set-modtime --reset` switches it on again"
    )


def older_message(stored: StoredModTime, *, list_time: datetime) -> str:
    """Return the message about a list that is older than the synced one: what happens, and the way out."""
    synced = format_time(stored.modtime) if stored.modtime else "not set"
    return (
        f"the list of {format_time(list_time)} is older than the one that was synced, mod-time {synced}: "
        f"a run with --if-modified skips it and apply refuses it; if it is the right list, {_RESET}"
    )


def check_enabled(stored: StoredModTime) -> None:
    """Raise DisabledError while the mod-time disables the job."""
    if stored.modtime is not None and stored.is_disabled:
        raise DisabledError(disabled_message(stored.modtime))


def check_modtime(*, seen: datetime | None, state: StoredModTime, list_time: datetime) -> None:
    """Check that the mod-time is still the one that `diff` saw, and that no later list was synced.

    Raises DisabledError for a mod-time later than the dict database's clock, and OutOfDateError for
    one that has changed since `diff` or is later than the plan's list.
    """
    check_enabled(state)
    if state.modtime != seen:
        was, now = (format_time(value) if value else "not set" for value in (seen, state.modtime))
        raise OutOfDateError(f"the mod-time was {was} and is now {now}")
    if state.modtime and modtime_state(state, list_time=list_time) is ModTimeState.LIST_IS_OLDER:
        listed, synced = format_time(list_time), format_time(state.modtime)
        raise OutOfDateError(
            f"its list is of {listed}, but a later one, of {synced}, was synced already",
            way_out=f"if the older list is the right one, {_RESET}",
        )
