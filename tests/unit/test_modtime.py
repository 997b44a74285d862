"""The mod-time: a time, compared as one, kept to the microsecond; and the switch that it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsync.core.modtime import ModTimeState, modtime_state
from chatsync.core.times import distance, format_time, parse_time, short_span, short_time

LIST_TIME = datetime(2026, 10, 23, 10, 15, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def test_the_past_by_a_microsecond_is_no_future() -> None:
    now = LIST_TIME + timedelta(days=1)
    for modtime, state in (
        (None, ModTimeState.LIST_IS_NEWER),
        (LIST_TIME - MICROSECOND, ModTimeState.LIST_IS_NEWER),
        (LIST_TIME, ModTimeState.SYNCED),
        (now, ModTimeState.SYNCED),
        (now + MICROSECOND, ModTimeState.DISABLED),
    ):
        assert modtime_state(modtime=modtime, list_time=LIST_TIME, now=now) is state


zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(moment=st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=zones | st.just(ZoneInfo("UTC"))))  # noqa: DTZ001 - the strategy adds the zone
def test_a_time_round_trips_to_the_microsecond(moment: datetime) -> None:
    text = format_time(moment)

    assert parse_time(text, timezone=ZoneInfo("Asia/Tokyo")) == moment
    assert parse_time(moment.isoformat(), timezone=UTC) == moment
    assert len(text) == len("2026-11-23T10:15:00.123456Z")


def test_a_time_past_the_end_of_time_is_the_end_of_time() -> None:
    assert parse_time("9999-12-31T23:59:59-01:00", timezone=UTC) == datetime.max.replace(tzinfo=UTC)
    assert parse_time("0001-01-01", timezone=ZoneInfo("Europe/Moscow")) == datetime.min.replace(tzinfo=UTC)


def test_a_time_ahead_is_not_said_to_be_past() -> None:
    assert distance(LIST_TIME - MICROSECOND, now=LIST_TIME) == "0 s ago"
    assert distance(LIST_TIME + timedelta(days=2), now=LIST_TIME) == "2 d 0 h from now"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (3600, "1 h 0 min"),
        (11520, "3 h 12 min"),
        (-86400 * 4.5, "4 d 12 h"),
    ],
)
def test_spans_for_people(seconds: float, shown: str) -> None:
    assert short_span(timedelta(seconds=seconds)) == shown


def test_times_for_people() -> None:
    assert short_time(LIST_TIME + MICROSECOND) == "2026-10-23 10:15:00 UTC"
    assert short_time(datetime(2099, 1, 1, tzinfo=UTC)) == "2099-01-01"
