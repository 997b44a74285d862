"""set-modtime --plan: moved last of all, and only when every change of the plan is there."""

from __future__ import annotations

import fcntl

import pytest

from tests.harness.examples import plan_some
from tests.harness.job import FEATURE_ID, LIST_TIME, Job


@pytest.fixture(params=["job", pytest.param("server_job", marks=pytest.mark.servers)])
def planned(request: pytest.FixtureRequest) -> Job:
    return plan_some(request.getfixturevalue(request.param))


def missing(count: int, where: str) -> str:
    return f"{count} of its 4 changes {'is' if count == 1 else 'are'} missing, {where}"


def test_after_a_whole_apply(planned: Job) -> None:
    planned.apply()

    result = planned.set_modtime()

    assert (result.code, result.out, result.err) == (0, f"mod-time moved to {LIST_TIME}\n", "")
    assert planned.property() == LIST_TIME


def test_twice_is_as_good_as_once(planned: Job) -> None:
    planned.apply()
    planned.set_modtime()

    result = planned.set_modtime()

    assert (result.code, result.out) == (0, f"mod-time is already {LIST_TIME}\n")


def test_after_a_skipped_apply(planned: Job) -> None:
    result = planned.set_modtime()

    assert result.code == 4
    assert missing(4, "2 on shard 1, 1 on shard 3, 1 on shard 4") in result.err
    assert planned.property() is None


def test_after_a_partial_apply(planned: Job) -> None:
    planned.row(1, 1, 0)
    planned.row(4, 4, 1)

    result = planned.set_modtime()

    assert result.code == 4
    assert missing(2, "1 on shard 1, 1 on shard 3") in result.err
    assert planned.property() is None


@pytest.mark.parametrize(("shard", "client", "enabled"), [(1, 1, 1), (3, 3, 1), (4, 4, 0)])
def test_after_a_row_was_changed_back(planned: Job, shard: int, client: int, enabled: int) -> None:
    planned.apply()
    planned.row(shard, client, enabled)

    result = planned.set_modtime()

    assert result.code == 4
    assert missing(1, f"1 on shard {shard}") in result.err
    assert planned.property() is None


def test_a_row_that_is_gone_is_missing_too(planned: Job) -> None:
    planned.apply()
    planned.shard_sql(1, "DELETE FROM clients_features WHERE ClientID = 1 AND feature_id = %s", FEATURE_ID)

    assert planned.set_modtime().code == 4


def test_for_nothing_to_change_there_is_nothing_to_see(planned: Job) -> None:
    planned.apply()
    planned.diff()
    assert planned.plan()["verdict"] == "in-sync"

    assert planned.set_modtime().code == 0
    assert planned.property() == LIST_TIME


def test_a_list_that_was_not_modified_moves_nothing(planned: Job) -> None:
    planned.set_property("2026-09-22 00:00:00")
    planned.diff("--if-modified")

    result = planned.set_modtime()

    assert (result.code, planned.property()) == (0, "2026-09-22 00:00:00")
    assert result.out == "nothing to mark: the list was not modified since the last sync\n"


def test_the_feature_was_made_anew_since(planned: Job) -> None:
    """Its id is another now, so the rows that were seen are not those that count."""
    planned.apply()
    planned.dict_sql("UPDATE features SET feature_id = 777 WHERE feature_id = %s", FEATURE_ID)

    result = planned.set_modtime()

    assert result.code == 4
    assert f"has id 777, but the plan says {FEATURE_ID}" in result.err
    assert planned.property() is None


def test_while_an_apply_is_running(job: Job) -> None:
    plan_some(job).apply()
    with (job.folder / "ppcdict.db.chatsync-lock").open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        result = job.set_modtime()

    assert (result.code, job.property()) == (6, None)
    assert "another apply is running" in result.err
    assert job.set_modtime().code == 0
