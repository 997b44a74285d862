"""`status`: the whole page, each thing that needs a person, and what is left when a part is down."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chatsync.core.times import format_time
from tests.harness.examples import ANY_LIST, exported, make_known
from tests.harness.job import FEATURE_ID, RECORDS, TABLE, Job, SqliteFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_mock import MockerFixture

    from tests.harness.job import Databases
    from tests.harness.yt_proxy import YtProxy


@pytest.fixture
def known(job: Job) -> Job:
    return make_known(job)


def document(job: Job) -> dict[str, Any]:
    found: dict[str, Any] = job.run("status", "--format", "json").json
    return found


def test_a_full_disk_is_not_taken_for_a_job_that_is_well(known: Job, mocker: MockerFixture) -> None:
    """No step can write that it failed, so the step log still ends with the last good one."""
    known.configure(records=RECORDS)
    assert known.chain().code == 0
    assert "All is well." in known.run("status").out
    usage = shutil.disk_usage(known.folder)

    mocker.patch("shutil.disk_usage", return_value=usage._replace(free=4096))

    out = known.run("status").out
    assert f"the disk of {known.records_folder} is full (4 KiB free): runs can't be recorded and will fail" in out
    assert "All is well." not in out


def test_the_whole_page(any_databases: Databases, tmp_path: Path) -> None:
    job = make_known(Job(tmp_path, any_databases))
    assert job.chain().code == 0
    before = job.rows(), job.property()

    result = job.run("status")

    modified = datetime.fromtimestamp(job.list_file.stat().st_mtime, UTC)
    (run,) = job.records()
    by = f"{run['user']}@{run['host']}"
    assert (result.code, result.err) == (0, "")
    assert (
        re.sub(r"\d+ s\b", "… s", result.out)
        == f"""\
list      {job.list_file}
          modified {modified:%Y-%m-%d %H:%M:%S} UTC, 3 h 0 min ago
          2 clients in 3 rows: 1 duplicate, 0 rejected
feature   checked_support_chat (id {FEATURE_ID})
mod-time  {modified:%Y-%m-%d %H:%M:%S} UTC: synced, set … s ago
last run  set-modtime, exit 0, … s ago

shard      off    to turn off    to turn on
-------  -----  -------------  ------------
1            1              0             0
2            0              0             0
3            1              0             0
4            0              0             0
total        2              0             0

run              outcome      turned    turned    took  by
                                 off        on
---------------  ---------  --------  --------  ------  {"-" * len(by)}
{run["id"][:15]}  done              1         1     … s  {by}

All is well.
"""
    )
    assert (job.rows(), job.property()) == before


def test_the_same_for_programs(known: Job) -> None:
    assert known.chain().code == 0

    found = document(known)

    modified = format_time(datetime.fromtimestamp(known.list_file.stat().st_mtime, UTC))
    (run,) = found.pop("runs")
    steps = found.pop("steps")
    assert {name: step["exit_code"] for name, step in steps.items()} == {"diff": 0, "apply": 0, "set-modtime": 0}
    set_at = found["modtime"].pop("set_at")
    assert datetime.now(UTC) - datetime.fromisoformat(set_at) < timedelta(minutes=1)
    assert re.fullmatch(r"synced, set \d+ s ago", found["modtime"].pop("meaning"))
    assert (run["run"], run["outcome"]) == (known.records()[0]["id"], "done")
    assert found == {
        "list": {
            "source": str(known.list_file),
            "modified": modified,
            "rows": 3,
            "clients": 2,
            "duplicates": 1,
            "rejected": [],
            "rejected_count": 0,
        },
        "feature": {"name": "checked_support_chat", "id": FEATURE_ID},
        "modtime": {"value": modified, "state": "synced"},
        "off": {"1": 1, "2": 0, "3": 1, "4": 0},
        "off_now": 2,
        "strays": {},
        "unknown": 0,
        "state_from": "databases",
        "next_state_from": None,
        "changes": {"turn_off": 0, "turn_on": 0},
        "warnings": [],
        "waiting": None,
        "errors": {},
    }


def test_a_job_that_never_ran(job: Job) -> None:
    job.list([1])

    result = job.run("status")

    assert result.code == 0
    assert "mod-time  not set: no list was ever synced\n" in result.out
    assert "The last runs are not recorded: records.dir is not set." in result.out


def test_a_list_that_is_newer(known: Job) -> None:
    moment = datetime.fromtimestamp(known.list_file.stat().st_mtime, UTC) - timedelta(hours=3, minutes=12)
    known.set_property(format_time(moment))

    assert "UTC: list is newer by 3 h 12 min, set " in known.run("status").out


# -- what needs a person -------------------------------------------------------------------------------------------


def stop_at_first_batch(job: Job) -> None:
    job.diff()
    (job.folder / "ppc2.db").rename(job.folder / "away")
    assert job.apply().code == 1
    (job.folder / "away").rename(job.folder / "ppc2.db")


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        pytest.param(lambda job: job.list([1]), None, id="a list just written"),
        pytest.param(
            lambda _: None, "the list has been waiting to be synced for 3 h 0 min: does the job run?", id="waiting"
        ),
        pytest.param(
            lambda job: job.list([]),
            "apply would refuse a plan made now: the exclusion list {list} holds no client (0 rows): "
            "all 2 that are off would be turned on; --allow-empty overrides it",
            id="empty",
        ),
        pytest.param(
            lambda job: job.list([1, "n/a", "-3"]),
            "the list has 2 rows without a client id (row 3: 'n/a', not an integer); "
            "`chatsync diff --left-out FILE.csv` writes all of them for the owners of the list",
            id="rejected rows",
        ),
        pytest.param(
            lambda job: (job.list([1]), job.configure(limits={"must_contain": [7, 8]})),
            "apply would refuse a plan made now: the list lacks 2 clients of limits.must_contain (7, 8): "
            "it is the wrong list; no option overrides it",
            id="wrong list",
        ),
        pytest.param(
            lambda job: (job.list([1], modified=1_990_000_000.0), None),
            "the list is from the future of the dict database's clock: 2033-01-22 09:46:40 UTC",
            id="future",
        ),
        pytest.param(
            lambda job: (job.settle(dict.fromkeys(range(5, 40), 1)), job.list([1, 2, *range(5, 40)])),
            "apply would refuse a plan made now: turning off 35 clients (5, 6, 7, …) is 1750 % of the 2 that are "
            "off now, over limits.turn_off_percent = 30; --force overrides it",
            id="over a limit",
        ),
        pytest.param(
            lambda job: (job.chain(), job.settle_off({4: 4})),
            "synced by the mod-time, but 0 clients must be turned off and 1 on; a run without --if-modified does "
            "it, `chatsync diff` shows them",
            id="drift",
        ),
    ],
)
def test_what_needs_a_person(known: Job, change: Callable[[Job], object], warning: str | None) -> None:
    change(known)
    warning = warning and warning.format(list=known.list_file)

    result = known.run("status")

    assert result.code == 0
    assert document(known)["warnings"] == ([warning] if warning else [])
    assert (f"  ! {warning}\n" in result.out) == bool(warning)
    assert "All is well." not in result.out  # each of these is a list that was never synced, or worse


def test_a_run_that_failed(known: Job) -> None:
    stop_at_first_batch(known)
    known.list([1, 3])

    (warning,) = document(known)["warnings"]

    assert re.match(r"apply failed \d+ s ago, exit 1: 1 change failed on shard 2: ", warning)


def without_the_step_log(job: Job) -> Job:
    """As after an upgrade: the records are there, the step log is not."""
    (job.records_folder / "runs.jsonl").unlink()
    return job


def test_a_run_that_failed_by_its_record(known: Job) -> None:
    stop_at_first_batch(known)
    known.list([1, 3])

    (warning,) = document(without_the_step_log(known))["warnings"]

    name = known.records()[0]["id"][:15]
    assert warning.startswith(f"the last run that changed anything, {name}, failed: 1 change failed")


def killed(job: Job) -> Job:
    """The record of the last run is one that never came to its end."""
    job.chain()
    (record,) = job.records()
    job.records_folder.joinpath(f"{record['id']}.json").write_text(
        json.dumps(record | {"outcome": "started", "ended": None, "exit_code": None, "shards": {}})
    )
    return job


def test_a_run_that_was_killed_says_what_to_do(known: Job) -> None:
    without_the_step_log(killed(known)).row(4, 4, 0)
    known.settle({4: 4})

    _, warning = document(known)["warnings"]

    assert warning.endswith(
        ", is still running or was killed: `chatsync diff` shows what is left, and the next run does it"
    )


def test_a_run_that_was_killed_is_overcome_by_a_later_sync(known: Job) -> None:
    killed(known)

    assert document(known)["warnings"] == []
    assert "All is well." in known.run("status").out


# -- the steps, whether or not they changed anything -------------------------------------------------------------------


def fail(job: Job) -> None:
    job.list_file.rename(job.folder / "away")
    assert job.diff().code == 1
    (job.folder / "away").rename(job.list_file)


def test_all_is_not_well_while_the_last_attempt_failed(known: Job) -> None:
    known.chain()
    fail(known)
    fail(known)

    result = known.run("status")

    (warning,) = document(known)["warnings"]
    assert re.match(r"diff failed \d+ s ago, exit 1: cannot read the list .*; 2 times in a row since 20", warning)
    assert "All is well." not in result.out
    assert "last run  diff, exit 1, " in result.out


def test_a_failure_that_was_overcome_is_not_told(known: Job) -> None:
    fail(known)
    known.chain()

    assert document(known)["warnings"] == []
    assert "All is well." in known.run("status").out


def test_a_refusal_is_told_with_its_reason_and_outlasts_the_next_diff(known: Job) -> None:
    known.configure(records={"dir": "records"}, limits={"must_contain": [7]})
    known.chain()
    known.diff()

    warnings = document(known)["warnings"]

    assert re.match(r"apply was refused \d+ s ago, exit 3: refused, nothing was written: the list lacks", warnings[1])
    assert "the next run would be refused by a limit (the last one was " in known.run("status").out


def test_what_the_next_run_does_and_when_it_is_due(known: Job) -> None:
    log = known.records_folder / "runs.jsonl"
    known.diff()
    known.diff()
    first, second = (json.loads(line) for line in log.read_text().splitlines())
    for line, minutes in ((first, 42), (second, 12)):
        line["time"] = (datetime.now(UTC) - timedelta(minutes=minutes, seconds=-1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    log.write_text(json.dumps(first) + "\n" + json.dumps(second) + "\n")

    waiting = document(known)["waiting"]

    assert re.fullmatch(
        r"No list was ever synced; the next run makes 2 changes "
        r"\(the last one was 1\d min \d+ s ago, so it is due in 1\d min \d+ s\)\.",
        waiting,
    )
    assert known.run("status").out.endswith(waiting + "\n")


def test_who_switched_it_off_and_why(known: Job) -> None:
    known.run("set-modtime", "--disable", "--reason", "INC-7: wrong list")

    (warning,) = document(known)["warnings"]

    assert re.search(r"switches it on again; set by \S+@\S+ \d+ s ago: INC-7: wrong list$", warning)

    known.set_property("2099-01-01")  # by other means: then the step log does not know
    assert "set by" not in document(known)["warnings"][0]


# -- a part that is down -------------------------------------------------------------------------------------------


def test_without_the_list(known: Job) -> None:
    known.chain()
    known.list_file.unlink()

    result = known.run("status")

    assert result.code == 1
    assert result.out.startswith("list      not known, see below\n")
    assert "its meaning is not known without the list, set " in result.out
    assert "total        2      not known     not known\n" in result.out
    assert f"  ! cannot read the list {known.list_file}: No such file or directory" in result.out
    assert result.err.startswith("chatsync: not all could be seen: list; cannot read the list ")
    assert document(known)["list"] is None


def test_without_a_cluster(known: Job, yt: YtProxy) -> None:
    yt.write(TABLE, ids=[1])
    known.exclusions = {"proxy": yt.url, "path": TABLE}
    known.configure(run={"retry_timeout": "0.1s"})
    yt.stop()

    found = document(known)

    assert found["off_now"] == 2
    assert list(found["errors"]) == ["list"]
    assert "the cluster is away or too busy" in found["errors"]["list"]


def test_without_a_shard(known: Job) -> None:
    known.chain()
    (known.folder / "ppc2.db").unlink()

    result = known.run("status")
    found = document(known)

    assert result.code == 1
    assert "2        not known      not known     not known\n" in result.out
    assert "total    not known      not known     not known\n" in result.out
    assert (found["off"], found["off_now"]) == ({"1": 1, "2": None, "3": 1, "4": 0}, None)
    assert list(found["errors"]) == ["shard 2"]
    assert result.err.startswith("chatsync: not all could be seen: shard 2; shard 2 (")


def test_a_wrong_list_is_told_also_without_a_shard(known: Job) -> None:
    known.list([])
    known.configure(records=RECORDS, run={"retry_timeout": "0.1s"}, limits={"must_contain": [7, 8]})
    (known.folder / "ppc2.db").unlink()

    _, empty, lacking = document(known)["warnings"]

    assert empty == "the list holds no client (0 rows); apply refuses that without --allow-empty"
    assert lacking == "the list lacks 2 clients of limits.must_contain (7): it is the wrong list"


def test_a_shard_that_is_not_configured_is_named(known: Job) -> None:
    known.dict_sql("INSERT INTO shard_client_id VALUES (5, 9)")
    known.list([1, 5])

    result = known.run("status")

    assert result.code == 1
    assert "  ! shard 9 is missing from databases.shards, and 1 client, listed or off (5) live on it" in result.out


def test_without_a_mod_time_that_is_a_time_the_shards_are_counted(known: Job) -> None:
    known.set_property("tomorrow")

    result = known.run("status")

    assert result.code == 1
    assert "total        2      not known     not known\n" in result.out
    assert result.err.startswith("chatsync: not all could be seen: mod-time; property ")


def test_without_the_records(known: Job) -> None:
    known.chain()
    records = known.folder / "records"
    (records / "20261123T103000.000000Z-x.json").write_text("{")

    result = known.run("status")

    assert result.code == 0
    assert "was cut short" in result.err
    assert known.records_folder == records


def test_nothing_is_written(known: Job) -> None:
    known.chain()
    before = {path: path.stat().st_mtime_ns for path in known.folder.rglob("*")}

    assert known.run("status").code == 0

    assert {path: path.stat().st_mtime_ns for path in known.folder.rglob("*")} == before


def test_many_shards_without_a_change_share_a_row(tmp_path: Path) -> None:
    job = Job(tmp_path, SqliteFiles(tmp_path, shards=12))
    job.settle_off({1: 1, 2: 2, 3: 12})
    job.settle({4: 5})
    job.list([1, 2, 3, 4])

    for result, row in (
        (job.run("status"), r"11 unchanged +3 +0 +0"),
        (job.diff(), r"11 unchanged +0 +0"),
        (job.apply(), r"11 unchanged +0 +0 +0 +0 +0"),
    ):
        table = result.out.partition("\nshard ")[2] or result.out
        assert re.search(rf"\n5 +.*1.*\n{row}\ntotal ", table)
        assert max(map(len, table.splitlines())) <= 80


# -- rows on shards where their clients do not live ------------------------------------------------------------------


@pytest.fixture
def strayed(known: Job) -> Job:
    """Client 1 is listed and off at home; its old row on shard 3 and one of a client of no shard say off, too."""
    known.chain()
    known.row(3, 1, 0)
    known.row(4, 99, 0)
    return known


STRAYS = "2 off rows of clients that live elsewhere, 1 on shard 3, 1 on shard 4: they are ignored and never"


def test_strays_are_counted_and_count_for_nothing(strayed: Job) -> None:
    result = strayed.run("status")
    found = document(strayed)

    assert "All is well." in result.out
    assert STRAYS in result.out
    assert (found["off"], found["off_now"], found["strays"]) == ({"1": 1, "2": 0, "3": 1, "4": 0}, 2, {"3": 1, "4": 1})


def test_strays_are_a_warning_of_the_doctor_and_a_metric(strayed: Job) -> None:
    strayed.configure(metrics={"textfile": "chatsync.prom"}, limits=ANY_LIST)
    strayed.diff()

    doctor = strayed.run("doctor")

    assert doctor.code == 0
    assert f"! rows       {STRAYS}" in doctor.out
    strays = {labels: value for (name, labels), value in exported(strayed).items() if name == "chatsync_stray_rows"}
    assert strays == {("1",): 0, ("2",): 0, ("3",): 1, ("4",): 1}


def test_a_client_whose_old_row_says_off_is_turned_off_at_home(known: Job) -> None:
    known.chain()
    known.settle({5: 2})
    known.row(4, 5, 0)
    known.list([1, 3, 5])

    (told,) = known.run("explain", "5", "--format", "json").json

    assert (told["chat"], told["next_run"]["outcome"]) == ("on", "change")
    assert known.chain().code == 0
    assert (2, 5, FEATURE_ID, 0) in known.rows()
    assert known.run("explain", "5", "--format", "json").json[0]["chat"] == "off"
