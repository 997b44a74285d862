"""`sync` does what diff, apply and set-modtime do one after the other, with the same traces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.job import DISABLED, LIST_TIME, MODIFIED, RECORDS, Job, SqliteFiles

if TYPE_CHECKING:
    from pathlib import Path

METRICS = {"textfile": "chatsync.prom"}


def new_job(folder: Path) -> Job:
    """A job with one client to turn off and one to turn on, that leaves all traces."""
    folder.mkdir()
    job = Job(folder, SqliteFiles(folder))
    job.configure(records=RECORDS, metrics=METRICS)
    job.settle_off({1: 1, 2: 2})
    job.settle({3: 3})
    job.list([1, 3], modified=MODIFIED)
    return job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return new_job(tmp_path / "sync")


@pytest.fixture
def twin(tmp_path: Path) -> Job:
    """The same job, to be run in three steps."""
    return new_job(tmp_path / "steps")


def in_steps(job: Job, *options: str) -> list[tuple[int, str, str]]:
    """Run the three commands as cron does and return how each ended."""
    ended = []
    for step in ("diff", "apply", "set-modtime"):
        extra = ("--if-modified",) if step == "diff" and not options else ()
        result = job.run("-v", step, "--plan", str(job.plan_file), *extra)
        ended.append((result.code, result.out, result.err))
        if result.code:
            break
    return ended


def metrics(job: Job) -> dict[str, float]:
    lines = (job.folder / "chatsync.prom").read_text(encoding="utf-8").splitlines()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {
        name: float(value) for name, _, value in samples if not any(word in name for word in ("timestamp", "seconds"))
    }


def words(job: Job, text: str) -> list[str]:
    """Return the lines of output or log without what differs from run to run: times, ids, places."""
    lines = text.replace(str(job.folder), "FOLDER").splitlines()
    return [
        " ".join(word for word in line.split() if not any(char.isdigit() for char in word) or len(word) < 3)
        for line in lines
        if "plan written to" not in line
    ]


def change(job: Job, case: str) -> None:
    """Change the world of a job into that of a case."""
    if case == "in-sync":
        job.list([1, 2], modified=MODIFIED)
    elif case == "not-modified":
        job.set_property(LIST_TIME)
    elif case == "disabled":
        job.set_property(DISABLED)
    elif case == "refused":
        job.configure(records=RECORDS, metrics=METRICS, limits={"turn_off_max": 0})
    elif case == "list gone":
        job.list_file.unlink()
    elif case == "shard gone":
        job.shard_sql(3, "ALTER TABLE clients_features RENAME TO gone")


@pytest.mark.parametrize(
    "case", ["changes", "in-sync", "not-modified", "disabled", "refused", "list gone", "shard gone"]
)
def test_sync_is_the_three_steps(job: Job, twin: Job, case: str) -> None:
    for each in (job, twin):
        change(each, case)

    done = job.run("-v", "sync")
    steps = in_steps(twin)

    assert done.code == steps[-1][0]
    assert words(job, done.out) == words(twin, "".join(out for _, out, _ in steps))
    lines = words(job, done.err), words(twin, "".join(err for _, _, err in steps))
    errors, errors_of_steps = ([line for line in each if line.startswith("ERROR")] for each in lines)
    assert errors == errors_of_steps
    if case == "shard gone":  # what the other shards still log, and when, is a matter of time
        for each in (job, twin):
            each.shard_sql(3, "ALTER TABLE gone RENAME TO clients_features")
    else:
        assert sorted(lines[0]) == sorted(lines[1])  # the shards are read at the same time
        assert (lines[0] or [""])[-1] == (lines[1] or [""])[-1]
    assert (job.rows(), job.property()) == (twin.rows(), twin.property())
    assert metrics(job) == metrics(twin)
    assert [record["changes"] for record in job.records() if "changes" in record] == [
        record["changes"] for record in twin.records() if "changes" in record
    ]
    assert list(job.folder.glob("plan*")) == []


def test_sync_syncs_and_then_has_nothing_to_do(job: Job) -> None:
    assert (job.run("sync").code, job.off(), job.property()) == (0, {1, 3}, LIST_TIME)

    second = job.run("sync")

    assert second.code == 0
    assert "not modified" in second.out


def test_full_repairs_drift_that_the_short_way_cannot_see(job: Job) -> None:
    assert job.run("sync").code == 0
    job.row(1, 1, 1)

    assert (job.run("sync").code, job.off()) == (0, {3})
    assert (job.run("sync", "--full").code, job.off()) == (0, {1, 3})


def test_the_plan_is_kept_where_it_is_asked_for(job: Job) -> None:
    assert job.run("sync", "--plan", str(job.plan_file)).code == 0

    assert (job.plan()["verdict"], job.plan_file.stat().st_mode & 0o777) == ("changes", 0o600)
    assert job.run("show", str(job.plan_file)).code == 0


def test_each_step_has_its_line_in_the_step_log_and_its_span(job: Job) -> None:
    result = job.run("-v", "--log-format", "json", "sync")

    lines: list[dict[str, Any]] = [json.loads(line) for line in result.err.splitlines()]
    assert list(dict.fromkeys(line["step"] for line in lines)) == ["diff", "apply", "set-modtime"]
    assert len({line["span_id"] for line in lines}) == 3
    assert len({line["trace_id"] for line in lines}) == 1


def test_a_wrong_configuration_ends_sync_as_it_ends_diff(job: Job) -> None:
    job.config.write_text(job.config.read_text(encoding="utf-8") + "[limits]\nfree = -1\n")

    assert job.run("sync").code == 2
    assert metrics(job)['chatsync_last_exit_code{feature="checked_support_chat",step="diff"}'] == 2


def test_no_folder_for_the_plan_is_told(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(job.folder / "none"))

    result = job.run("sync")

    assert (result.code, result.err) == (
        1,
        "chatsync: no temporary folder for the plan: No such file or directory; name a file with --plan\n",
    )


def test_sync_stopped_by_a_signal_leaves_no_plan(job: Job, tmp_path: Path) -> None:
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    os.mkfifo(job.folder / "fifo")
    job.configure(exclusions={"file": str(job.folder / "fifo")})
    code = (
        "import os, signal, sys, threading, time\n"
        "from chatsync import cli\n"
        "import chatsync.sync.planner as planner\n"
        "def stop(*args, **kwargs):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    args[1].check()\n"
        "    raise AssertionError('not stopped')\n"
        "import chatsync.commands.diff as diff\n"
        "diff.make_plan = stop\n"
        f"cli.main(['-c', {str(job.config)!r}, 'sync'])\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": str(tmp)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "chatsync: stopped by SIGTERM\n")
    assert list(tmp.iterdir()) == []
