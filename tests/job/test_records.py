"""Every apply that changed something leaves a record of what it really changed."""

from __future__ import annotations

import getpass
import json
import os
import re
import resource
import signal
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Records as Section
from chatsync.config.settings import Seconds
from chatsync.errors import RecordError, StoppedError
from chatsync.sync.recorder import command_line
from chatsync.sync.records import Records, from_document, run_id, to_document
from tests.harness.job import UNMEASURED, Job
from tests.harness.wire import COMMIT, FOREVER, wait_until

if TYPE_CHECKING:
    import subprocess

    from tests.harness.job import Databases
    from tests.harness.wire import Wired

RECORDS = {"dir": "records"}
LIMITS = {"unknown_percent": 100}
OFF_FOR_GOOD = "9999-12-31T00:00:00.000000Z"


def settle(job: Job) -> None:
    """Client 1 stays off; 2 and 3 are to be turned off and 4 on, on shards 1, 2 and 1; 99 lives nowhere."""
    job.settle_off({1: 1, 4: 1})
    job.settle({2: 1, 3: 2})
    job.list([1, 2, 3, 99], modified=1_700_000_000.123456)


@pytest.fixture
def recorded(job: Job) -> Job:
    job.configure(records=RECORDS, limits=LIMITS)
    settle(job)
    return job


def action(planned: int, changed: list[int], *, already: int = 0, failed: int = 0) -> dict[str, Any]:
    return {"planned": planned, "changed": changed, "already": already, "failed": failed, "in_doubt": []}


NOTHING = action(0, [])


def test_a_run_that_changes_nothing_leaves_no_record(recorded: Job) -> None:
    recorded.list([1, 4])

    assert recorded.run("apply", "--yes").code == 0
    assert not recorded.records_folder.exists()


def test_without_a_folder_there_is_no_record(recorded: Job) -> None:
    recorded.configure(limits=LIMITS)

    assert recorded.run("apply", "--yes").code == 0
    assert recorded.off() == {1, 2, 3}
    assert not recorded.records_folder.exists()


def test_the_whole_record(any_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> None:
    job = Job(tmp_path_factory.mktemp("job"), any_databases)
    job.configure(records=RECORDS, limits=LIMITS)
    settle(job)
    job.diff()
    before = datetime.now(UTC)

    result = job.process("apply", "--plan", "plan.json")

    assert (result.code, result.err) == (0, "")
    (record,) = job.records()
    (file,) = job.records_folder.iterdir()
    began, ended = (datetime.fromisoformat(record.pop(key)) for key in ("started", "ended"))
    assert before <= began <= ended <= datetime.now(UTC)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stem == record["id"] == run_id(began, job.plan()["trace_id"])
    assert record.pop("pid") != os.getpid()
    command = f"chatsync -c {job.config} apply --plan plan.json"
    assert record == {
        "version": 1,
        "id": file.stem,
        "trace_id": job.plan()["trace_id"],
        "undo_of": None,
        "outcome": "done",
        "error": None,
        "exit_code": 0,
        "user": getpass.getuser(),
        "host": socket.gethostname(),
        "command": command,
        "shards": {
            "1": {"turn_off": action(1, [2]), "turn_on": action(1, [4]), "error": None},
            "2": {"turn_off": action(1, [3]), "turn_on": NOTHING, "error": None},
            "3": {"turn_off": NOTHING, "turn_on": NOTHING, "error": None},
            "4": {"turn_off": NOTHING, "turn_on": NOTHING, "error": None},
        },
        "plan": job.plan(),
    }
    whole = json.loads(file.read_bytes())
    assert json.loads(json.dumps(to_document(from_document(whole)))) == whole


def test_what_was_so_already_is_not_called_changed(recorded: Job) -> None:
    recorded.diff()
    recorded.row(1, 2, 0)

    recorded.apply()

    (record,) = recorded.records()
    assert record["shards"]["1"]["turn_off"] == action(1, [], already=1)
    assert record["shards"]["1"]["turn_on"] == action(1, [4])


def test_a_run_that_found_all_done_leaves_no_record(recorded: Job) -> None:
    recorded.diff()
    for shard, client, enabled in ((1, 2, 0), (2, 3, 0), (1, 4, 1)):
        recorded.row(shard, client, enabled)

    assert recorded.apply().code == 0
    assert recorded.records() == []


def test_a_refused_plan_leaves_no_record(recorded: Job) -> None:
    recorded.configure(records=RECORDS, limits={"must_contain": [5]})

    assert recorded.run("apply", "--yes").code == 3
    assert recorded.records() == []


def test_a_shard_that_failed(recorded: Job) -> None:
    recorded.diff()
    recorded.shard_sql(2, "DROP TABLE clients_features")

    result = recorded.apply()

    assert result.code == 1
    (record,) = recorded.records()
    assert (record["outcome"], record["exit_code"]) == ("failed", 1)
    assert record["error"] == result.err.removeprefix("chatsync: ").strip()
    assert record["shards"]["1"] == {"turn_off": action(1, [2]), "turn_on": action(1, [4]), "error": None}
    assert record["shards"]["2"]["turn_off"] == action(1, [], failed=1)
    assert "no such table" in record["shards"]["2"]["error"]


# -- runs that were stopped half-way: one client a batch, shard 1 alone --


@pytest.fixture
def half_way(wired_job: Job) -> Job:
    wired_job.configure(records=RECORDS, apply={"batch_size": 1})
    wired_job.settle({1: 1, 2: 1, 3: 1})
    wired_job.list([1, 2, 3])
    wired_job.diff()
    return wired_job


def stopped(job: Job) -> dict[str, Any]:
    """Read the one record of a run that changed client 1 and no other."""
    (record,) = job.records()
    assert record["shards"]["1"]["turn_off"] == action(3, [1], failed=2)
    assert job.off() == {1}
    return record


def test_stopped_by_the_kill_switch(half_way: Job, wired: Wired) -> None:
    wired.wires["ppc1"].after(COMMIT, lambda: half_way.set_property(OFF_FOR_GOOD))

    assert half_way.apply().code == 5
    record = stopped(half_way)
    assert (record["outcome"], record["exit_code"]) == ("stopped", 5)
    assert "the job is disabled until further notice" in record["error"]


def test_stopped_by_a_lost_lock(half_way: Job, wired: Wired) -> None:
    wired.wires["ppc1"].after(COMMIT, wired.wires["ppcdict"].hang_up)

    assert half_way.apply().code == 1
    assert stopped(half_way)["outcome"] == "stopped"


def catches(process: int, number: signal.Signals) -> bool:
    """Tell whether a process has a handler of its own for a signal (proc(5), SigCgt)."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    (mask,) = re.findall(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_by_a_signal(half_way: Job, wired: Wired, number: signal.Signals) -> None:
    started: list[subprocess.Popen[str]] = []

    def stop() -> None:
        started[0].send_signal(number)
        wait_until(lambda: not catches(started[0].pid, number))  # the first one was heard

    wired.wires["ppc1"].after(COMMIT, stop)
    started.append(half_way.start("apply", "--plan", "plan.json"))

    out, _ = started[0].communicate(timeout=60)

    assert started[0].returncode == 128 + number
    assert "failed" in out
    record = stopped(half_way)
    assert (record["outcome"], record["exit_code"]) == ("stopped", 128 + number)


def test_a_run_that_was_killed_is_still_started(half_way: Job, wired: Wired) -> None:
    started: list[subprocess.Popen[str]] = []
    wired.wires["ppc1"].after(COMMIT, lambda: started[0].send_signal(signal.SIGKILL))
    started.append(half_way.start("apply", "--plan", "plan.json"))

    started[0].communicate(timeout=60)

    (record,) = half_way.records()
    assert (record["outcome"], record["ended"], record["exit_code"]) == ("started", None, None)
    assert record["shards"] == {}
    assert record["plan"] == half_way.plan()


def test_a_signal_between_the_last_batch_and_the_record_is_a_wish() -> None:
    run = CancelScope(deadline=60, retry_timeout=1)

    with run.watching(), run.shielded():
        with run.shielded():
            pass
        signal.raise_signal(signal.SIGTERM)
        written = True

    assert written
    assert isinstance(run.reason, StoppedError)


def test_a_commit_that_was_never_heard_of_is_not_forgotten(half_way: Job, wired: Wired) -> None:
    half_way.configure(records=RECORDS, apply={"batch_size": 2}, run={"retry_timeout": "0.1s"})
    half_way.diff()
    wired.wires["ppc1"].lose_answer(COMMIT)
    wired.wires["ppc1"].refuse("FOR UPDATE", 1290, "read-only", skip=1, times=FOREVER)

    result = half_way.apply()

    assert result.code == 1
    assert "3 changes missing on shard 1, 2 of them perhaps done, as the answer to a commit was lost" in result.err
    assert half_way.off() == {1, 2}
    wired.wires["ppc1"].forget()
    (record,) = half_way.records()
    assert (record["outcome"], record["shards"]["1"]["turn_off"]["in_doubt"]) == ("failed", [1, 2])
    assert "may have done that" in half_way.run("explain", "1").out
    assert half_way.run("apply", "--undo", record["id"], "--yes", "--force").code == 0
    assert half_way.off() == set()


def test_the_error_of_one_shard_is_not_the_story_of_all(wired_job: Job, wired: Wired) -> None:
    wired_job.configure(records=RECORDS, apply={"batch_size": 1, "parallel_shards": 1})
    wired_job.settle({1: 1, 2: 1, 3: 2})
    wired_job.list([1, 2, 3])
    wired_job.diff()
    wired.wires["ppc1"].after(COMMIT, lambda: wired_job.set_property(OFF_FOR_GOOD))

    assert wired_job.apply().code == 5

    (record,) = wired_job.records()
    assert "missing on shard" in record["error"]
    assert "missing on shard" not in record["shards"]["1"]["error"]


# -- records that can't be written --


def test_a_record_that_cannot_be_written_hides_nothing(recorded: Job) -> None:
    recorded.configure(records={"dir": "missing/records"}, limits=LIMITS)

    result = recorded.run("apply", "--yes", "--format", "json")

    assert result.code == 1
    assert result.json["shards"]["1"]["changed"] == 2
    last = result.err.splitlines()[-1]
    assert last.startswith("chatsync: all 3 changes are in place, but this run's record is not: cannot write ")
    assert re.search(r"/missing/records/.*\.json: No such file or directory.*; see to records.dir", last)
    assert recorded.off() == {1, 2, 3}


def test_both_failures_are_told(recorded: Job) -> None:
    recorded.configure(records={"dir": "missing/records"}, limits=LIMITS)
    recorded.diff()
    recorded.shard_sql(2, "DROP TABLE clients_features")

    result = recorded.apply()

    assert result.code == 1
    last = result.err.splitlines()[-1]
    assert "1 changes missing on shard 2" in last
    assert "cannot write" in last


def test_a_disk_that_fills_up_half_way(half_way: Job, wired: Wired) -> None:
    started: list[subprocess.Popen[str]] = []
    no_room = (resource.RLIMIT_FSIZE, (500, 500))  # of bytes a file: as good as a full disk
    half_way.environment |= UNMEASURED
    wired.wires["ppc1"].after(COMMIT, lambda: resource.prlimit(started[0].pid, *no_room))
    started.append(half_way.start("apply", "--plan", "plan.json"))

    out, err = started[0].communicate(timeout=60)

    assert started[0].returncode == 1
    assert re.fullmatch(r"chatsync: all 3 changes are in place, but .*\.json: File too large; .*\n", err)
    assert "total            3             3" in out
    assert half_way.off() == {1, 2, 3}
    (record,) = half_way.records()
    assert record["outcome"] == "started"


# -- the folder --


def test_old_records_are_pruned_and_nothing_else(recorded: Job) -> None:
    recorded.records_folder.mkdir()
    now = datetime.now(UTC)
    old, young = (run_id(now - timedelta(days=days), "0123abcd") for days in (91, 89))
    for name in (f"{old}.json", f"{young}.json", "notes.json", "20200101T000000.000000Z-x.txt"):
        (recorded.records_folder / name).touch()

    recorded.run("apply", "--yes")

    names = {path.name for path in recorded.records_folder.iterdir()}
    (new,) = names - {f"{young}.json", "notes.json", "20200101T000000.000000Z-x.txt"}
    assert new[:8] == f"{now:%Y%m%d}"
    assert len(names) == 4


def test_runs_are_found_by_either_end(tmp_path: Path) -> None:
    names = ["20261123T103000.123456Z-aaaa1111", "20261123T110000.000000Z-bbbb2222"]
    for name in names:
        (tmp_path / f"{name}.json").write_text("{", encoding="utf-8")
    records = Records(Section(dir=str(tmp_path), keep=Seconds(1)))

    assert records.runs() == names[::-1]
    for text in (names[0], "20261123T103", "aaaa1111"):
        with pytest.raises(RecordError, match=f"record .*{names[0]}.json was cut short, edited or is no record"):
            records.find(text)


@pytest.mark.parametrize("trace_id", ["../../etc/passwd", "", "x" * 100])
def test_a_run_id_is_a_plain_name(trace_id: str) -> None:
    assert re.fullmatch(
        r"20261123T103000\.000001Z-[0-9a-zA-Z]{0,8}", run_id(datetime(2026, 11, 23, 10, 30, 0, 1, UTC), trace_id)
    )


def test_no_password_in_the_command_line() -> None:
    line = command_line(["/usr/bin/chatsync", "-c", "mysql://anna:s3c@ret@ppc1.example/ppc", "apply"])

    assert line == "chatsync -c mysql://anna:***@ppc1.example/ppc apply"
