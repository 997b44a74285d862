"""The mod-time: what the property means, and whether it disables the job. Pure."""

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from chatsync.core.times import format_time, parse_time, short_span, short_time
from chatsync.errors import DisabledError, OutOfDateError, PropertyError

NEVER = datetime(1970, 1, 1, tzinfo=UTC)

DISABLED_FOREVER = datetime(9999, 12, 31, tzinfo=UTC)


class ModTimeState(enum.Enum):
    """What the mod-time means at a given moment, for a given list."""

    LIST_IS_NEWER = "list is newer"
    SYNCED = "synced"
    DISABLED = "disabled"


@dataclass(frozen=True, kw_only=True)
class DictState:
    """What the dict database knows, read in one statement: feature, mod-time and its own clock."""

    feature_id: int
    modtime: datetime | None
    now: datetime


def parse_property(raw: str | None, *, name: str, where: str, timezone: tzinfo) -> datetime:
    """Read the stored mod-time.

    Raises PropertyError when it isn't a time: taking that for "never synced" would switch the
    job on again after somebody mistyped the date that was to switch it off.
    """
    try:
        return parse_time(raw or "", timezone=timezone)
    except ValueError:
        shown = "NULL" if raw is None else repr(raw[:60])
        msg = (
            f"property {name} in {where} holds {shown}, which is not a time; "
            f"put one there with `chatsync set-modtime TIME` (or --reset to sync again)"
        )
        raise PropertyError(msg) from None


def modtime_state(*, modtime: datetime | None, list_time: datetime, now: datetime) -> ModTimeState:
    """Tell what the mod-time means. `now` is the dict database's clock; None is "never synced"."""
    if modtime is not None and modtime > now:
        return ModTimeState.DISABLED
    if modtime is not None and modtime >= list_time:
        return ModTimeState.SYNCED
    return ModTimeState.LIST_IS_NEWER


def until(modtime: datetime) -> str:
    """Say until when a mod-time in the future disables the job: `until 2099-01-01`."""
    return "until further notice" if modtime >= DISABLED_FOREVER else f"until {short_time(modtime)}"


def modtime_meaning(modtime: datetime | None, *, list_time: datetime, now: datetime) -> str:
    """Say in words what the mod-time means right now."""
    state = modtime_state(modtime=modtime, list_time=list_time, now=now)
    if modtime is None:
        return "not set: no list was ever synced"
    if state is ModTimeState.DISABLED:
        return f"the job is disabled {until(modtime)}"
    if state is ModTimeState.SYNCED:
        later = "" if modtime == list_time else f", as it is {short_span(modtime - list_time)} later than the list"
        return f"synced{later}"
    return f"list is newer by {short_span(list_time - modtime)}"


def disabled_message(modtime: datetime) -> str:
    """Say that the job is switched off, until when, and how to switch it on."""
    return (
        f"the job is disabled {until(modtime)} by its mod-time, {format_time(modtime)}; "
        "`chatsync set-modtime --reset` switches it on again"
    )


def check_modtime(*, seen: datetime | None, state: DictState, list_time: datetime) -> None:
    """Let a run go on only while the mod-time is what its `diff` saw.

    Raises DisabledError for a time in the future of the dict database's clock, and
    OutOfDateError when somebody moved the mod-time since, or when a later list than the
    plan's was synced already.
    """
    modtime = state.modtime
    if modtime is not None and modtime > state.now:
        raise DisabledError(disabled_message(modtime))
    if modtime != seen:
        was, now = (format_time(value) if value else "not set" for value in (seen, modtime))
        raise OutOfDateError(f"the mod-time was {was} and is now {now}")
    if modtime is not None and modtime > list_time:
        listed, synced = format_time(list_time), format_time(modtime)
        raise OutOfDateError(
            f"its list is of {listed}, and by the mod-time one of {synced} is synced",
            way_out="if that is wrong, `chatsync set-modtime --reset`",
        )
