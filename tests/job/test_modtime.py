"""The mod-time as it is stored, read and set by the commands."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.harness.job import PROPERTY

if TYPE_CHECKING:
    from tests.harness.job import Job

LIST_TIME = datetime(2026, 10, 23, 10, 15, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

SAME_MOMENT = [
    ("2026-10-23T10:15:00Z", "UTC"),
    ("2026-10-23T10:15:00.000000Z", "UTC"),
    ("2026-10-23 13:15:00+03:00", "UTC"),
    ("2026-10-23 13:15:00+0300", "Asia/Tokyo"),
    ("2026-10-23T04:15:00-06:00", "UTC"),
    ("2026-10-23 10:15:00", "UTC"),
    ("2026-10-23 13:15", "Europe/Moscow"),
    ("20261023T101500Z", "UTC"),
    ("  2026-10-23T10:15:00Z\n", "UTC"),
]
NO_TIMES = ["", "never", "0", "2026-13-01", "2026-10-23T25:00:00Z", "23.10.2026", "9999-12-31T", "2026-10-23T10:15:00Y"]


def shifted(text: str, by: timedelta) -> str:
    """The same time a little later, in the same zone: text with a fraction sorts before text without."""
    moment = datetime.fromisoformat(text.strip()) + by
    return moment.isoformat(sep=" ")


@pytest.mark.parametrize(("text", "zone"), SAME_MOMENT)
def test_times_are_compared_as_times(job: Job, text: str, zone: str) -> None:
    job.configure(modtime={"timezone": zone})

    for value, modified, verdict in (
        (text, LIST_TIME, "not-modified"),
        (text, LIST_TIME - MICROSECOND, "not-modified"),
        (text, LIST_TIME + MICROSECOND, "in-sync"),
        (shifted(text, -MICROSECOND), LIST_TIME, "in-sync"),
        (shifted(text, MICROSECOND), LIST_TIME, "not-modified"),
    ):
        job.set_property(value)
        job.list([], modified=modified.timestamp())
        assert job.diff("--if-modified").code == 0
        assert (job.plan()["verdict"], value) == (verdict, value)


@pytest.mark.parametrize("text", [None, *NO_TIMES])
def test_a_property_that_is_no_time_is_an_error_and_never_never_synced(job: Job, text: str | None) -> None:
    job.settle_off({1: 1})
    job.list([1])
    assert job.diff().code == 0
    job.dict_sql("INSERT INTO ppc_properties (name, value) VALUES (%s, %s)", PROPERTY, text)

    for result in (job.run("diff"), job.run("diff", "--if-modified"), job.apply(), job.set_modtime()):
        shown = "NULL" if text is None else repr(text)
        assert (result.code, result.out) == (1, "")
        assert f"property {PROPERTY} in dict" in result.err
        assert f"holds {shown}, which is not a time; put one there with `chatsync set-modtime TIME`" in result.err
        assert result.err.count("\n") == 1
    assert job.property() == text


def test_no_property_is_never_synced(job: Job) -> None:
    job.settle_off({1: 1})
    job.list([1])

    assert job.chain().code == 0
    assert job.plan()["modtime"] is None
    assert job.property() == job.plan()["exclusions"]["modification_time"]


@pytest.mark.parametrize(
    ("argument", "zone", "stored"),
    [
        ("2026-10-23T10:15:00.123456Z", "UTC", "2026-10-23T10:15:00.123456Z"),
        ("2026-10-23T10:15:00+03:00", "UTC", "2026-10-23T07:15:00.000000Z"),
        ("2026-10-23", "UTC", "2026-10-23T00:00:00.000000Z"),
        ("2026-10-23", "Europe/Moscow", "2026-10-22T21:00:00.000000Z"),
        ("2026-10-23 10:15", "Europe/Moscow", "2026-10-23T07:15:00.000000Z"),
        ("2099-01-01", "UTC", "2099-01-01T00:00:00.000000Z"),
        ("--disable", "UTC", "9999-12-31T00:00:00.000000Z"),
        ("--reset", "UTC", "1970-01-01T00:00:00.000000Z"),
    ],
)
@pytest.mark.parametrize("before", [None, "9999-12-31", "not a time"])
def test_an_operators_word_is_written_whatever_stood_there(
    job: Job, argument: str, zone: str, stored: str, before: str | None
) -> None:
    job.configure(modtime={"timezone": zone})
    job.set_property(before)

    result = job.run("set-modtime", argument)

    assert (result.code, result.out.splitlines()[0], result.err) == (0, f"mod-time set to {stored}", "")
    assert job.property() == stored


@pytest.mark.parametrize(
    ("argument", "effect"),
    [
        ("--disable", "the job is off until further notice"),
        ("2099-01-01", "the job is off until 2099-01-01"),
        ("--reset", "the job is on: the next run syncs the list, whatever its time"),
        (
            "2025-12-31",
            r"the job is ON, as this time is \d+ d \d+ h ago: the next run syncs a list that",
        ),
    ],
)
def test_what_was_set_says_its_effect(job: Job, argument: str, effect: str) -> None:
    """A mistyped year is seen at once."""
    assert re.match(effect, job.run("set-modtime", argument).out.splitlines()[1])


def test_a_reason_is_for_a_time_set_by_hand(job: Job) -> None:
    job.list([1], modified=LIST_TIME.timestamp())
    job.diff()

    assert job.run("set-modtime", "--plan", str(job.plan_file), "--reason", "x").code == 2


def test_a_time_of_zeros_does_not_switch_the_job_off(job: Job) -> None:
    job.list([], modified=LIST_TIME.timestamp())
    job.configure(modtime={"timezone": "Europe/Moscow"})

    assert job.run("set-modtime", "0001-01-01").out.startswith("mod-time set to 0001-01-01T00:00:00.000000Z\n")
    assert job.diff("--if-modified").code == 0
    assert job.plan()["verdict"] == "in-sync"
    job.set_property("0001-01-01 00:00:00")
    assert job.diff("--if-modified").code == 0
    assert job.plan()["verdict"] == "in-sync"
