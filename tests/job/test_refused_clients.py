"""Clients whose row the database refuses to write: they are named, and keep no other client waiting."""

from __future__ import annotations

import pytest

from tests.harness.examples import exported
from tests.harness.job import MODIFIED, RECORDS, Job

MANY = 300
REFUSED = [7, 8, 250]
OTHERS = set(range(1, MANY + 1)) - set(REFUSED)

REFUSE = """CREATE TRIGGER refuse BEFORE {event} ON clients_features WHEN NEW.ClientID {which} AND NEW.feature_id = 217
BEGIN SELECT RAISE(ABORT, 'closed by the DBA'); END"""


def refuse(job: Job, which: str, *, event: str = "INSERT") -> None:
    job.shard_sql(1, REFUSE.format(event=event, which=which))


@pytest.fixture
def refusing(job: Job) -> Job:
    """Shard 1, which all clients live on, refuses three of them."""
    job.settle(dict.fromkeys(range(1, MANY + 1), 1))
    job.list(range(1, MANY + 1), modified=MODIFIED)
    job.configure(records=RECORDS, apply={"batch_size": 200}, limits={"free": 1000})
    refuse(job, f"IN ({', '.join(map(str, REFUSED))})")
    job.diff()
    return job


def test_the_others_are_written_and_these_are_named(refusing: Job) -> None:
    result = refusing.apply()

    assert result.code == 1
    assert refusing.off() == OTHERS
    assert "chatsync: 3 changes failed on shard 1, 3 of them refused by the server (client 7, 8, 250): " in result.err
    assert "cannot write client 7: closed by the DBA" in result.err
    assert result.err.endswith(
        "297 of 300 changes are in place, the mod-time was not moved, the next run tries the rest again\n"
    )
    assert result.out.startswith("refused by the server on shard 1: 7, 8, 250\n\nshard ")


def test_as_json(refusing: Job) -> None:
    shards = refusing.apply("--format", "json").json["shards"]

    assert {shard: counts["refused"] for shard, counts in shards.items()} == {"1": REFUSED, "2": [], "3": [], "4": []}
    assert (shards["1"]["changed"], shards["1"]["failed"]) == (297, 3)
    assert "cannot write client 7" in shards["1"]["error"]


def test_the_list_is_not_called_synced_until_they_are_written(refusing: Job) -> None:
    assert refusing.chain().code == 1
    assert refusing.set_modtime().code == 4
    assert refusing.chain().code == 1
    refusing.shard_sql(1, "DROP TRIGGER refuse")

    assert refusing.chain().code == 0
    assert refusing.off() == OTHERS | set(REFUSED)


def test_a_client_that_leaves_the_list_lets_the_sync_go_on(refusing: Job) -> None:
    refusing.chain()
    refusing.list(OTHERS, modified=MODIFIED + 60)

    assert refusing.chain().code == 0


def test_the_record_names_them_and_repeats_it_for_no_run_that_changes_nothing(refusing: Job) -> None:
    refusing.chain()
    refusing.chain()

    (record,) = refusing.records()
    assert record["shards"]["1"]["turn_off"]["refused"] == REFUSED
    assert (record["outcome"], record["exit_code"]) == ("failed", 1)
    assert set(record["shards"]["1"]["turn_off"]["changed"]) == OTHERS
    assert "refused by the server (client 7, 8, 250)" in refusing.run("history").out
    assert refusing.run("history", "--format", "json").json[0]["shards"]["1"]["turn_off"]["refused"] == REFUSED


def test_a_run_that_changed_nothing_is_recorded_when_it_names_another_client(refusing: Job) -> None:
    refusing.chain()
    refusing.shard_sql(1, "DROP TRIGGER refuse")
    refuse(refusing, "IN (7, 8, 250, 301)")
    refusing.settle({301: 1})
    refusing.list(range(1, 302), modified=MODIFIED + 60)

    refusing.chain()

    assert [record["shards"]["1"]["turn_off"]["refused"] for record in refusing.records()] == [[*REFUSED, 301], REFUSED]


def test_the_changes_are_missing_and_the_database_is_not_failing(refusing: Job) -> None:
    refusing.configure(metrics={"textfile": "chatsync.prom"}, limits={"free": 1000})

    refusing.apply()

    assert exported(refusing)["chatsync_missing_changes", ("1",)] == 3
    assert exported(refusing)["chatsync_database_failing", ("shard 1",)] == 0


def test_an_undo_leaves_them_alone(refusing: Job) -> None:
    refusing.apply()
    refusing.shard_sql(1, "DROP TRIGGER refuse")
    refusing.row(1, 7, 0)  # by another hand: no run did that

    result = refusing.run("apply", "--undo", refusing.records()[0]["id"], "--yes", "--force")

    assert result.code == 0
    assert refusing.off() == {7}
    assert len(refusing.rows()) == 298


def test_explain_says_that_the_server_refuses_the_client(refusing: Job) -> None:
    refusing.chain()

    (explained,) = refusing.run("explain", "7", "--format", "json").json
    text = refusing.run("explain", "7").out

    assert explained["next_run"]["outcome"] == "refused by the server"
    assert f"tries to turn it off, which shard 1 refused in run {refusing.records()[0]['id']}" in text
    assert "closed by the DBA" in text
    assert "the database refuses to turn it off: the operators must find the reason" in text
    assert refusing.run("explain", "9", "--format", "json").json[0]["next_run"]["outcome"] == "nothing to do"
    refusing.shard_sql(1, "DROP TRIGGER refuse")
    refusing.chain()
    assert refusing.run("explain", "7", "--format", "json").json[0]["next_run"]["outcome"] == "nothing to do"


def test_clients_that_are_to_be_turned_on(job: Job) -> None:
    job.settle_off(dict.fromkeys(range(1, 9), 1))
    job.list([1], modified=MODIFIED)
    refuse(job, "= 5", event="UPDATE")
    job.diff()

    result = job.apply("--force")

    assert result.code == 1
    assert job.off() == {1, 5}
    assert "refused by the server (client 5)" in result.err


@pytest.mark.parametrize("batch_size", [1, 2, 1000])
def test_a_shard_that_refuses_everybody_is_given_up(refusing: Job, batch_size: int) -> None:
    refusing.shard_sql(1, "DROP TRIGGER refuse")
    refuse(refusing, "> 20")
    refusing.configure(apply={"batch_size": batch_size}, limits={"free": 1000})

    result = refusing.apply("--format", "json")

    shard = result.json["shards"]["1"]
    assert result.code == 1
    assert shard["refused"] == list(range(21, 121))
    assert (shard["changed"], shard["failed"]) == (20, 280)
    assert "gave up after 100 refused clients, so the cause is not a single one: " in shard["error"]
