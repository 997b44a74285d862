"""The records of runs that were stopped half-way: one client a batch, shard 1 alone."""

from __future__ import annotations

import re
import resource
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.examples import action
from tests.harness.job import DISABLED, RECORDS, UNMEASURED, Job
from tests.harness.wire import COMMIT, FOREVER, wait_until

if TYPE_CHECKING:
    import subprocess

    from tests.harness.wire import Wired


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
    wired.wires["ppc1"].after(COMMIT, lambda: half_way.set_property(DISABLED))

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


def test_a_commit_that_was_never_heard_of_is_not_forgotten(half_way: Job, wired: Wired) -> None:
    half_way.configure(records=RECORDS, apply={"batch_size": 2}, run={"retry_timeout": "0.1s"})
    half_way.diff()
    wired.wires["ppc1"].lose_answer(COMMIT)
    wired.wires["ppc1"].refuse("FOR UPDATE", 1290, "read-only", skip=1, times=FOREVER)

    result = half_way.apply()

    assert result.code == 1
    assert "3 changes failed on shard 1, 2 of them perhaps made, because the answer to a commit was lost" in result.err
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
    wired.wires["ppc1"].after(COMMIT, lambda: wired_job.set_property(DISABLED))

    assert wired_job.apply().code == 5

    (record,) = wired_job.records()
    assert "failed on shard" in record["error"]
    assert "missing on shard" not in record["shards"]["1"]["error"]


def test_a_disk_that_fills_up_half_way(half_way: Job, wired: Wired) -> None:
    started: list[subprocess.Popen[str]] = []
    no_room = (resource.RLIMIT_FSIZE, (500, 500))  # of bytes a file: as good as a full disk
    half_way.environment |= UNMEASURED
    wired.wires["ppc1"].after(COMMIT, lambda: resource.prlimit(started[0].pid, *no_room))
    started.append(half_way.start("apply", "--plan", "plan.json"))

    out, err = started[0].communicate(timeout=60)

    assert started[0].returncode == 1
    assert re.fullmatch(r"chatsync: 3 changes made, but .*\.json: File too large; .*\n", err)
    assert "total            3             3" in out
    assert half_way.off() == {1, 2, 3}
    (record,) = half_way.records()
    assert record["outcome"] == "started"


def break_folder(job: Job) -> None:
    """Put a file in the place of the folder: no record can be written there, by root neither."""
    job.records_folder.rename(job.folder / "former")
    job.records_folder.touch()


def test_a_record_that_cannot_be_ended_hides_nothing(half_way: Job, wired: Wired) -> None:
    wired.wires["ppc1"].after(COMMIT, lambda: break_folder(half_way))

    result = half_way.apply("--format", "json")

    assert (result.code, result.json["shards"]["1"]["changed"]) == (1, 3)
    last = result.err.splitlines()[-1]
    assert last.startswith("chatsync: 3 changes made, but the run's record was not written: cannot write ")
    assert re.search(r"/records/.*\.json: File exists.*; check records.dir", last)
    assert half_way.off() == {1, 2, 3}


def test_both_failures_are_told(half_way: Job, wired: Wired) -> None:
    def disable() -> None:
        break_folder(half_way)
        half_way.set_property(DISABLED)

    wired.wires["ppc1"].after(COMMIT, disable)

    result = half_way.apply()

    assert result.code == 5
    last = result.err.splitlines()[-1]
    assert "2 changes failed on shard 1" in last
    assert "cannot write" in last


@pytest.mark.parametrize(("statement", "in_doubt"), [("^INSERT", []), ("^commit$", [1])])
def test_a_thread_that_was_given_up_commits_nothing_unrecorded(
    half_way: Job, wired: Wired, monkeypatch: pytest.MonkeyPatch, statement: str, in_doubt: list[int]
) -> None:
    """Its server answers again only when the command has ended with what it knew."""
    monkeypatch.setattr("chatsync.parallel._GRACE_SECONDS", 0.1)
    half_way.configure(records=RECORDS, apply={"batch_size": 1}, run={"deadline": "1s"})
    ended = threading.Event()
    before = set(threading.enumerate())
    wired.wires["ppc1"].before(statement, ended.wait)

    result = half_way.apply()

    workers = [thread for thread in threading.enumerate() if thread not in before and "_work" in thread.name]
    ended.set()
    for worker in workers:
        worker.join(60)
    assert (result.code, len(workers)) == (1, 1)
    assert half_way.off() == set(in_doubt)
    assert [record["shards"]["1"]["turn_off"]["in_doubt"] for record in half_way.records()] == [in_doubt] * len(
        in_doubt
    )
