"""A switch-off until a time that has passed, and a list older than the one that was synced.

The clock is that of the database, and `last_change` keeps whole seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from chatsync.core.times import format_time
from tests.harness.job import PROPERTY, Databases, Job

if TYPE_CHECKING:
    from pathlib import Path

SWITCHED_OFF, LIST_CHANGED, UNTIL = "2026-09-20 09:00:00", "2026-09-28T12:00:00Z", "2026-10-01T00:00:00Z"


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def written(job: Job, value: str, at: str) -> None:
    """Put the mod-time there as a restored dump does: with the time at which it was written."""
    job.dict_sql("DELETE FROM ppc_properties WHERE name = %s", PROPERTY)
    job.dict_sql("INSERT INTO ppc_properties VALUES (%s, %s, %s)", PROPERTY, value, at)


@pytest.fixture
def switched(any_databases: Databases, tmp_path: Path) -> Job:
    """Client 1 is listed since the list changed, 2 no longer is; the job was off until a time that has passed."""
    job = Job(tmp_path, any_databases)
    job.settle({1: 1})
    job.settle_off({2: 2})
    job.list([1], modified=seconds(LIST_CHANGED))
    written(job, UNTIL, SWITCHED_OFF)
    return job


def test_the_list_that_changed_meanwhile_is_synced(switched: Job) -> None:
    shown = switched.diff("--if-modified")

    assert "a switch-off that has expired: the list counts as newer" in shown.out
    assert switched.plan()["verdict"] == "changes"
    assert switched.apply().code == 0
    result = switched.set_modtime()
    assert (result.code, switched.off()) == (0, {1})
    assert switched.property() == "2026-09-28T12:00:00.000000Z"
    switched.diff("--if-modified")
    assert switched.plan()["verdict"] == "not-modified"


def test_a_list_dated_exactly_as_the_switch_is_synced_too(switched: Job) -> None:
    switched.list([1], modified=seconds(UNTIL))

    assert switched.chain().code == 0
    assert switched.off() == {1}
    switched.diff("--if-modified")
    assert switched.plan()["verdict"] == "not-modified"


def test_an_operator_who_writes_the_time_again_once_it_has_passed_says_that_all_is_synced(switched: Job) -> None:
    assert switched.diff("--if-modified").code == 0
    assert switched.run("set-modtime", UNTIL).code == 0

    assert switched.apply().code == 4
    assert switched.diff("--if-modified").code == 0
    assert (switched.plan()["verdict"], switched.off()) == ("not-modified", {2})


def test_the_job_itself_never_leaves_what_looks_like_a_switch(switched: Job) -> None:
    """A list modified a moment ago is marked within the second of its own time."""
    switched.list([1], modified=(datetime.now(UTC) - timedelta(milliseconds=50)).timestamp())

    assert switched.chain().code == 0
    assert switched.diff("--if-modified").code == 0
    assert switched.plan()["verdict"] == "not-modified"


@pytest.mark.parametrize(("fraction", "verdict"), [("00.999999", "not-modified"), ("01.000000", "changes")])
def test_last_change_is_precise_to_a_second(switched: Job, fraction: str, verdict: str) -> None:
    written(switched, f"2026-10-01T00:00:{fraction}Z", "2026-10-01 00:00:00")

    assert switched.diff("--if-modified").code == 0
    assert switched.plan()["verdict"] == verdict


def test_both_sides_of_now(switched: Job) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    written(switched, format_time(ahead), SWITCHED_OFF)
    assert switched.diff("--if-modified").code == 0
    assert switched.plan()["verdict"] == "disabled"
    assert (switched.apply().code, switched.set_modtime().code) == (5, 5)

    written(switched, format_time(ahead - timedelta(hours=2)), SWITCHED_OFF)
    assert switched.diff("--if-modified").code == 0
    assert switched.plan()["verdict"] == "changes"


def test_a_list_that_was_put_back_is_older_and_never_applied_by_itself(switched: Job) -> None:
    written(switched, UNTIL, "2026-10-05 00:00:00")  # some days later: a list of that time was synced

    assert switched.diff("--if-modified").code == 0
    assert switched.plan()["verdict"] == "not-modified"
    assert (switched.apply().code, switched.set_modtime().code) == (0, 0)
    shown = switched.diff()
    assert "list is older by 2 d 12 h" in shown.out
    assert "apply will refuse this:\n  exit 4: the plan is out of date: its list is of" in shown.out
    for refused in (switched.apply(), switched.set_modtime()):
        assert refused.code == 4
        assert "but a later one, of 2026-10-01T00:00:00.000000Z, was synced already" in refused.err
        assert "if the older list is the right one, `chatsync set-modtime --reset` lets the next run" in refused.err
    assert switched.off() == {2}

    assert switched.run("set-modtime", "--reset").code == 0
    assert (switched.chain().code, switched.off()) == (0, {1})


# -- what people and monitoring are told -------------------------------------------------------------------------------


@pytest.fixture
def older(job: Job) -> Job:
    """The list was put back from a copy: it is an hour older than the one that was synced, and lacks client 1."""
    job.settle({2: 2})
    job.settle_off({1: 1})
    job.list([2], modified=seconds(LIST_CHANGED))
    job.set_property(format_time(datetime.fromisoformat(LIST_CHANGED) + timedelta(hours=1)))
    return job


OLDER = (
    "the list of 2026-09-28T12:00:00.000000Z is older than the one that was synced, mod-time "
    "2026-09-28T13:00:00.000000Z: a run with --if-modified skips it and apply refuses it"
)
WAY_OUT = "`chatsync set-modtime --reset` lets the next run sync it"


def test_a_list_that_is_older_is_a_warning_everywhere(older: Job) -> None:
    checked = older.run("check")
    status = older.run("status")
    (explained,) = older.run("explain", "1", "--format", "json").json
    doctor = older.run("doctor")

    assert checked.code == 1
    assert checked.out.startswith(f"CHATSYNC WARNING - {OLDER}; ")
    for text in (checked.out, status.out, explained["next_run"]["text"], doctor.out):
        assert OLDER in text
        assert WAY_OUT in text
    assert "All is well" not in status.out
    assert explained["next_run"]["outcome"] == "list older"
    assert "would turn it on" in explained["next_run"]["text"]
    assert explained["answer"].endswith(
        "the sync does not use this list, because a later one was synced before: the operators decide whether the "
        "chat is turned on."
    )
    assert older.run("apply", "--yes", "--force").code == 4  # as was told


def test_a_list_that_is_older_is_nothing_to_a_client_that_is_as_listed(older: Job) -> None:
    older.list([1, 2], modified=seconds(LIST_CHANGED))

    (explained,) = older.run("explain", "1", "--format", "json").json

    assert explained["next_run"]["outcome"] == "nothing to do"


def test_after_an_expired_switch_the_list_waits_since_the_switch_ended(switched: Job) -> None:
    """So that the job has its half hour, though the list was modified long before."""
    just_now = datetime.now(UTC) - timedelta(minutes=5)
    written(switched, format_time(just_now), SWITCHED_OFF)

    checked = switched.run("check")
    (explained,) = switched.run("explain", "1", "--format", "json").json

    assert checked.code == 0
    assert "has been waiting to be synced for 5 min" in checked.out
    assert explained["next_run"]["outcome"] == "change"
    assert "a switch-off that has expired: the list counts as newer" in switched.run("status").out

    written(switched, format_time(just_now - timedelta(hours=3)), SWITCHED_OFF)
    assert switched.run("check").code == 1
