"""The mod-time: a time, compared as one, kept to the microsecond; and the switch that it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsync.core.modtime import NEVER, ModTimeState, StoredModTime, modtime_meaning, modtime_state
from chatsync.core.times import distance, format_time, parse_time, short_span, short_time

LIST_TIME = datetime(2026, 10, 23, 10, 15, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


NOW = LIST_TIME + timedelta(days=30)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("modtime", "written", "state", "words"),
    [
        (None, None, ModTimeState.LIST_IS_NEWER, "not set: no list was ever synced"),
        (LIST_TIME - SECOND, NOW, ModTimeState.LIST_IS_NEWER, "list is newer by 1 s"),
        (NEVER, NOW, ModTimeState.LIST_IS_NEWER, "reset: the next run syncs the list, whatever its time"),
        (LIST_TIME, NOW, ModTimeState.SYNCED, "synced"),
        (LIST_TIME, None, ModTimeState.SYNCED, "synced"),
        (LIST_TIME + SECOND, NOW, ModTimeState.LIST_IS_OLDER, "list is older by 1 s"),
        (LIST_TIME + SECOND, None, ModTimeState.LIST_IS_OLDER, "list is older by 1 s"),
        (NOW, NOW, ModTimeState.LIST_IS_OLDER, "list is older by 30 d 0 h"),
        (NOW + MICROSECOND, NOW, ModTimeState.DISABLED, "the job is disabled until 2026-11-22 10:15:00 UTC"),
    ],
)
def test_what_a_mod_time_means(
    modtime: datetime | None, written: datetime | None, state: ModTimeState, words: str
) -> None:
    stored = StoredModTime(modtime=modtime, last_change=written, now=NOW)

    assert modtime_state(stored, list_time=LIST_TIME) is state
    assert modtime_meaning(stored, list_time=LIST_TIME) == words


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (LIST_TIME + SECOND - MICROSECOND, ModTimeState.LIST_IS_OLDER),  # perhaps written at that very microsecond
        (LIST_TIME + SECOND, ModTimeState.LIST_IS_NEWER),
        (NOW, ModTimeState.LIST_IS_NEWER),
        (NOW + MICROSECOND, ModTimeState.DISABLED),
    ],
)
def test_a_value_later_than_the_second_it_was_written_in_was_a_switch(value: datetime, state: ModTimeState) -> None:
    stored = StoredModTime(modtime=value, last_change=LIST_TIME, now=NOW)

    assert modtime_state(stored, list_time=LIST_TIME - SECOND) is state
    assert stored.is_expired_switch is (state is ModTimeState.LIST_IS_NEWER)


def test_an_expired_switch_at_the_very_time_of_the_list_is_still_no_sync() -> None:
    stored = StoredModTime(modtime=LIST_TIME, last_change=LIST_TIME - SECOND, now=NOW)

    assert modtime_state(stored, list_time=LIST_TIME) is ModTimeState.LIST_IS_NEWER
    assert modtime_meaning(stored, list_time=LIST_TIME) == "a switch-off that has expired: the list counts as newer"


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
