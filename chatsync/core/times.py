"""Reading and formatting times and spans, all in UTC."""

from datetime import UTC, datetime, timedelta, tzinfo

_EARLIEST = datetime.min.replace(tzinfo=UTC)

_LATEST = datetime.max.replace(tzinfo=UTC)

_DAY = 86400

_HOUR = 3600

_MINUTE = 60


def parse_time(text: str, *, timezone: tzinfo) -> datetime:
    """Read an ISO 8601 time (a date alone is midnight) as UTC, to the microsecond.

    A time without an offset is in `timezone`. Raises ValueError for anything else.
    """
    value = datetime.fromisoformat(text.strip())
    if value.tzinfo is None:
        value = value.replace(tzinfo=timezone)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        # 9999-12-31T23:59:59-01:00 and 0001-01-01T00:00+01:00 don't fit into a datetime in UTC.
        return _LATEST if value.year > 1 else _EARLIEST


def read_time(text: str) -> datetime:
    """Read a time that `format_time` wrote to a plan, a record or a state file. Raises ValueError for anything else."""
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"a time without an offset: {text}")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"a time outside the years 1 to 9999: {text}") from None


def format_time(value: datetime) -> str:
    """Format a time for plans and for the property: `2026-11-23T10:15:00.123456Z`."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def short_time(value: datetime) -> str:
    """Format a time for people: whole seconds; at midnight, only the date."""
    text = format_time(value)
    day, clock = text[:10], text[11:19]
    return day if clock == "00:00:00" else f"{day} {clock} UTC"


def distance(moment: datetime, *, now: datetime) -> str:
    """Return how long ago a moment was, or how far ahead it is: `3 h 12 min ago`, `3 h 12 min from now`."""
    return f"{short_span(now - moment)} {'ago' if moment <= now else 'from now'}"


def short_span(span: timedelta) -> str:
    """Format a length of time for people in its two largest units: `3 h 12 min`."""
    seconds = int(abs(span.total_seconds()))
    if seconds >= _DAY:
        return f"{seconds // _DAY} d {seconds % _DAY // _HOUR} h"
    if seconds >= _HOUR:
        return f"{seconds // _HOUR} h {seconds % _HOUR // _MINUTE} min"
    if seconds >= _MINUTE:
        return f"{seconds // _MINUTE} min {seconds % _MINUTE} s"
    return f"{seconds} s"
