"""`apply --undo` puts back exactly what one run changed, where that still stands."""

from __future__ import annotations

import fcntl
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness.job import DAY, DISABLED, FEATURE_ID, RECORDS, Job, SqliteFiles

if TYPE_CHECKING:
    from tests.harness.job import Databases

WIDE = {"turn_on_percent": 1000, "turn_off_percent": 1000, "unknown_percent": 100, "rejected_percent": 100}
MODIFIED = 1_700_000_000


@pytest.fixture
def done(job: Job) -> Job:
    """A run turned 2 (whose row says on) and 3 (who has none) off, and 4 on."""
    return make_run(job)


def make_run(job: Job, **sections: Any) -> Job:
    job.configure(**{"records": RECORDS, **sections})
    job.settle_off({1: 1, 4: 1})
    job.settle({2: 1, 3: 2, 5: 3})
    job.row(1, 2, 1)
    job.list([1, 2, 3], modified=MODIFIED)
    result = job.chain()
    assert (result.code, result.err) == (0, "")
    return job


def the_run(job: Job) -> str:
    identifier: str = job.records()[0]["id"]
    return identifier


def test_puts_everything_back(any_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> None:
    job = make_run(Job(tmp_path_factory.mktemp("job"), any_databases))
    run, modtime = the_run(job), job.property()

    result = job.run("apply", "--undo", run, "--yes", "--format", "json")

    assert result.code == 0
    assert job.rows() == {
        (1, 1, FEATURE_ID, 0),
        (1, 2, FEATURE_ID, 1),
        (1, 4, FEATURE_ID, 0),
        (2, 3, FEATURE_ID, 1),  # the row that the run added stays: nothing is ever deleted
    }
    assert [result.json["shards"]["1"][key] for key in ("planned", "changed", "failed")] == [2, 2, 0]
    assert "`chatsync set-modtime --disable`" in result.err
    assert job.property() == modtime
    undo, undone = job.records()
    assert (undo["undo_of"], undone["undo_of"]) == (run, None)
    assert undo["plan"]["undo_of"] == run
    assert undo["outcome"] == "done"
    assert {shard: did["turn_on"]["changed"] for shard, did in undo["shards"].items()} == {
        "1": [2], "2": [3], "3": [], "4": [],
    }  # fmt: skip
    assert undo["shards"]["1"]["turn_off"]["changed"] == [4]


def test_the_next_full_sync_does_it_again(done: Job) -> None:
    done.run("apply", "--undo", the_run(done), "--yes")

    assert done.diff("--if-modified").code == 0
    assert done.plan()["verdict"] == "not-modified"
    assert done.run("apply", "--yes").code == 0
    assert done.off() == {1, 2, 3}


def test_what_changed_since_is_listed_and_left(done: Job) -> None:
    done.row(1, 2, 1)
    done.shard_sql(1, "DELETE FROM clients_features WHERE ClientID = 4")

    result = done.run("apply", "--undo", the_run(done), "--yes")

    assert result.code == 0
    assert "2 clients are no longer as that run left them and not changed" in result.err
    assert "\n1        2       2, 4\n" in result.err
    assert done.rows() == {(1, 1, FEATURE_ID, 0), (1, 2, FEATURE_ID, 1), (2, 3, FEATURE_ID, 1)}


def test_what_other_runs_changed_is_left(done: Job) -> None:
    run = the_run(done)
    done.list([1, 2, 3, 5], modified=MODIFIED + DAY)
    assert done.chain().code == 0

    assert done.run("apply", "--undo", run, "--yes").code == 0

    assert done.off() == {1, 4, 5}


def test_an_undo_can_be_undone(done: Job) -> None:
    after = done.rows()
    done.run("apply", "--undo", the_run(done), "--yes")

    result = done.run("apply", "--undo", the_run(done), "--yes")

    assert result.code == 0
    assert done.rows() == after
    assert "--disable" not in result.err


def test_nothing_left_to_put_back(done: Job) -> None:
    run = the_run(done)
    done.run("apply", "--undo", run, "--yes")
    before = done.rows()

    result = done.run("apply", "--undo", run)

    assert result.code == 0
    assert "In sync: nothing to change." in result.err
    assert done.rows() == before
    assert len(done.records()) == 2


def test_is_shown_and_asked_for(done: Job) -> None:
    before = done.rows()

    result = done.run("apply", "--undo", the_run(done), stdin="n\n")

    assert result.code == 1
    assert f"undo of  {the_run(done)}" in result.err
    assert "turned 2 off and 1 on" in result.err
    assert result.err.endswith("Apply these changes? [y/N]: chatsync: not confirmed, nothing was written\n")
    assert done.rows() == before


def test_a_row_where_its_client_does_not_live_is_never_written(job: Job) -> None:
    """Neither by the run, nor by its undo."""
    job.configure(records=RECORDS, limits=WIDE)
    job.settle_off({1: 1, 2: 1})
    job.row(3, 2, 0)
    job.list([1])
    before = job.rows()
    assert job.run("apply", "--yes").code == 0
    assert (3, 2, FEATURE_ID, 0) in job.rows()

    assert job.run("apply", "--undo", the_run(job), "--yes").code == 0
    assert job.rows() == before
    assert job.run("history").out.count("done") == 2


def test_a_client_that_has_moved_since_is_left_alone(job: Job) -> None:
    job.configure(records=RECORDS, limits=WIDE)
    job.settle_off({1: 1, 2: 2})
    job.list([])
    assert job.run("apply", "--yes", "--allow-empty").code == 0
    job.dict_sql("UPDATE shard_client_id SET shard = 3 WHERE ClientID = 2")

    result = job.run("apply", "--undo", the_run(job), "--yes")

    assert result.code == 0
    assert job.off() == {1}
    assert "1 client is no longer as that run left them and not changed" in result.err


def test_rows_that_count_for_nothing_are_not_among_those_that_are_off(job: Job) -> None:
    """Or else many of them would open the limits on an undo."""
    job.configure(records=RECORDS, limits={"free": 0})
    job.settle_off({1: 1})
    job.settle(dict.fromkeys(range(2, 5), 2))
    job.list(range(1, 5))
    assert job.run("apply", "--yes", "--force").code == 0
    for client in range(100, 120):
        job.row(3, client, 0)

    result = job.run("apply", "--undo", the_run(job), "--yes")

    assert (result.code, job.off() & {1, 2, 3, 4}) == (3, {1, 2, 3, 4})
    assert "turning on 3 clients (2, 3, 4) is 75 % of the 4 that are off now" in result.err


# -- refused, each with nothing written --


def refused(job: Job, *arguments: str, code: int, because: str) -> None:
    before, records = job.rows(), job.records()

    result = job.run("apply", *arguments, "--yes")

    assert result.code == code
    assert because in result.err.splitlines()[-1]
    assert job.rows() == before
    assert job.records() == records


def test_with_a_plan(done: Job) -> None:
    plan = str(done.plan_file)
    refused(done, "--undo", the_run(done), "--plan", plan, code=2, because="give only one of --plan and --undo")


def test_an_unknown_run(done: Job) -> None:
    refused(done, "--undo", "nonsense", code=2, because=f"there are: {the_run(done)}")


def test_an_empty_name_is_no_run_and_no_word_for_a_whole_sync(done: Job) -> None:
    refused(done, "--undo", "", code=2, because="there is no run ''")
    refused(done, "--undo", "", "--plan", str(done.plan_file), code=2, because="give only one of --plan and --undo")


def test_an_ambiguous_run(done: Job) -> None:
    done.run("apply", "--undo", the_run(done), "--yes")
    undo, run = (record["id"] for record in done.records())

    refused(done, "--undo", "2", code=2, because=f"2 runs match '2' in {done.records_folder}; there are: {undo}, {run}")


def test_without_records(done: Job) -> None:
    done.configure()
    refused(done, "--undo", "2026", code=2, because="records.dir is not set")


def test_over_a_limit_and_forced(job: Job) -> None:
    make_run(job, limits={"free": 0, **WIDE})
    job.configure(records=RECORDS, limits={"free": 0})
    run = the_run(job)

    refused(job, "--undo", run, code=3, because="turning on 2 clients (2, 3) is 66.7 % of the 3 that are off now")
    assert job.run("apply", "--undo", run, "--yes", "--force").code == 0
    assert job.off() == {1, 4}


def test_the_limits_on_the_list_ask_nothing(done: Job) -> None:
    done.configure(records=RECORDS, limits={"must_contain": [5], "rejected_percent": 0, "unknown_percent": 0})
    done.list([])

    assert done.run("apply", "--undo", the_run(done), "--yes").code == 0
    assert done.off() == {1, 4}


def test_the_kill_switch(done: Job) -> None:
    done.set_property(DISABLED)
    refused(done, "--undo", the_run(done), "--force", code=5, because="the job is disabled until further notice")


def test_while_another_apply_is_running(done: Job) -> None:
    with (done.folder / "ppcdict.db.chatsync-lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(done, "--undo", the_run(done), code=6, because="another apply is running")


def test_other_databases(done: Job) -> None:
    shards = {number: url for number, url in done.databases.shard_urls.items() if number != "4"}
    done.configure(records=RECORDS, databases={"shards": shards})
    refused(done, "--undo", the_run(done), code=4, because="was for another feature or other databases")


def killed(job: Job, *done: tuple[int, int, int]) -> str:
    """Leave the record and the rows of a run that was killed after these rows: (shard, client, is_enabled)."""
    before = job.rows()
    assert job.run("apply", "--yes").code == 0
    record = job.records()[0] | {"outcome": "started", "shards": {}, "ended": None, "exit_code": None}
    rewrite(job, record)
    for shard in job.shards:
        job.shard_sql(shard, "DELETE FROM clients_features")
    for shard, client, feature, enabled in before:
        job.row(shard, client, enabled, feature=feature)
    for shard, client, enabled in done:
        job.row(shard, client, enabled)
    return str(record["id"])


@pytest.fixture
def killed_job(job: Job) -> Job:
    """Clients 1, 2 and 3 are to be turned off, 4 and 5 on."""
    job.configure(records=RECORDS, limits=WIDE)
    job.settle({1: 1, 2: 1, 3: 2})
    job.settle_off({4: 1, 5: 2})
    job.list([1, 2, 3])
    return job


def test_a_run_that_was_killed_is_undone_as_far_as_the_rows_show(killed_job: Job) -> None:
    run = killed(killed_job, (1, 1, 0), (1, 4, 1))
    assert killed_job.off() == {1, 5}

    result = killed_job.run("apply", "--undo", run, "--yes")

    assert result.code == 0
    assert killed_job.off() == {4, 5}
    assert "planned to turn 3 off and 2 on, but its record does not say what it did; the rows show it" in result.err
    assert "takes back what the rows show of it" in killed_job.run("history").out


def test_what_the_next_run_did_is_not_undone_with_it(killed_job: Job) -> None:
    run = killed(killed_job, (1, 1, 0), (1, 4, 1))
    assert killed_job.run("apply", "--yes").code == 0  # does the rest
    assert killed_job.off() == {1, 2, 3}

    assert killed_job.run("apply", "--undo", run, "--yes").code == 0

    assert killed_job.off() == {2, 3, 4}


def test_a_killed_run_whose_successor_cannot_be_read_is_not_undone(killed_job: Job) -> None:
    run = killed(killed_job, (1, 1, 0))
    assert killed_job.run("apply", "--yes").code == 0
    newest = max(killed_job.records_folder.glob("*.json"))
    newest.write_text("{", encoding="utf-8")

    before = killed_job.rows()

    result = killed_job.run("apply", "--undo", run, "--yes", "--force")

    assert (result.code, killed_job.rows()) == (1, before)
    assert "was cut short or edited, or is not a record" in result.err


def test_a_record_that_names_other_clients(done: Job) -> None:
    record = done.records()[0]
    record["shards"]["3"]["turn_off"]["changed"] = [5]
    rewrite(done, record)
    refused(done, "--undo", record["id"], code=1, because="shard 3 changed clients that are not in the plan")


def rewrite(job: Job, record: dict[str, Any]) -> None:
    (job.records_folder / f"{record['id']}.json").write_text(json.dumps(record), encoding="utf-8")


@pytest.mark.parametrize("command", ["apply", "set-modtime"])
def test_the_plan_of_an_undo_is_not_taken_from_a_file(done: Job, command: str) -> None:
    run = the_run(done)
    done.run("apply", "--undo", run, "--yes")
    done.plan_file.write_text(json.dumps(done.records()[0]["plan"]), encoding="utf-8")
    modtime = done.property()

    result = done.run(command, "--plan", str(done.plan_file))

    assert result.code == 4
    assert f"`chatsync apply --undo {run}`" in result.err
    assert done.property() == modtime


# -- whatever the world --

CLIENTS = st.sets(st.integers(1, 12))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    homes=st.lists(st.integers(1, 2), min_size=12, max_size=12),
    on=CLIENTS,
    off=CLIENTS,
    listed=CLIENTS,
    by_hand=CLIENTS,
)
def test_undo_is_the_way_back(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    homes: list[int],
    on: set[int],
    off: set[int],
    listed: set[int],
    by_hand: set[int],
) -> None:
    """Who is off after the undo is who was off before the run, but for those changed by hand between."""
    folder = tmp_path_factory.mktemp("job")
    job = Job(folder, SqliteFiles(folder, shards=2))
    job.configure(records=RECORDS, limits=WIDE)
    home = dict(enumerate(homes, start=1))
    job.settle(home)
    for client in on | off:
        job.row(home[client], client, 0 if client in off else 1)
    job.list(listed, modified=MODIFIED)
    assert job.run("apply", "--yes", "--allow-empty").code == 0
    if not job.records():
        return
    for client in by_hand:
        job.row(home[client], client, 1 if client in listed else 0)

    assert job.run("apply", "--undo", the_run(job), "--yes").code == 0

    changed = off ^ listed
    assert job.off() == {
        client
        for client in home
        if (client in off if client in changed - by_hand else (client in listed) != (client in by_hand))
    }
