"""What each command of the chain leaves in `runs.jsonl`, however it ended."""

from __future__ import annotations

import getpass
import json
import os
import pty
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.job import Job, SqliteFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODIFIED = 1_700_000_000


@pytest.fixture
def logged(job: Job) -> Job:
    """A job with records: client 1 is to be turned off, 2 on, 9 is on no shard."""
    job.settle({1: 1})
    job.settle_off({2: 2})
    job.list([1, 9, "n/a"], modified=MODIFIED)
    job.configure(records={"dir": "records"}, limits={"unknown_percent": 50, "rejected_percent": 50})
    return job


def lines(job: Job) -> list[dict[str, Any]]:
    """The lines, the oldest first."""
    text = (job.records_folder / "runs.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_whole_chain(logged: Job) -> None:
    began = datetime.now(UTC)

    assert logged.chain().code == 0

    diff, apply, set_modtime = lines(logged)
    assert [line["step"] for line in (diff, apply, set_modtime)] == ["diff", "apply", "set-modtime"]
    planned = {"turn_off": 1, "turn_on": 1, "unknown": 1, "rejected": 1}
    assert diff["counts"] == planned
    assert apply["counts"] == planned | {"turned_off": 1, "turned_on": 1, "missing": 0}
    for line in (diff, apply, set_modtime):
        assert began <= datetime.fromisoformat(line["time"]) <= datetime.now(UTC)
        assert (line["exit_code"], line["verdict"], line["message"]) == (0, "changes", None)
        assert line["trace_id"] == logged.plan()["trace_id"]
        assert (line["feature"], line["by_hand"]) == ("checked_support_chat", False)
        assert (line["user"], line["host"]) == (getpass.getuser(), socket.gethostname())
        assert 0 < line["seconds"] < 60


def test_an_idle_chain(logged: Job) -> None:
    logged.chain()
    logged.chain()

    assert [(line["step"], line["verdict"], line["counts"].get("turned_off")) for line in lines(logged)[3:]] == [
        ("diff", "not-modified", None),
        ("apply", "not-modified", 0),
        ("set-modtime", "not-modified", None),
    ]


def refused(job: Job) -> None:
    job.list([], modified=MODIFIED + 1)
    job.diff()
    job.apply()


def away(job: Job) -> None:
    job.list_file.unlink()
    job.diff()


def misconfigured(job: Job) -> None:
    text = job.config.read_text(encoding="utf-8").replace("unknown_percent", "unknown_percentage")
    job.config.write_text(text, encoding="utf-8")
    job.diff()


def disabled(job: Job) -> None:
    job.set_property("2099-01-01")
    job.diff("--if-modified")
    job.apply()


@pytest.mark.parametrize(
    ("fail", "step", "code", "message"),
    [
        (refused, "apply", 3, "refused, nothing was written: the exclusion list "),
        (away, "diff", 1, "cannot read the list "),
        (misconfigured, "diff", 2, "configuration "),
        (disabled, "apply", 5, "the job is disabled until 2099-01-01"),
        (lambda job: job.diff("--no-such-option"), "diff", 2, "No such option"),
    ],
)
def test_a_step_that_failed_says_why(
    logged: Job, fail: Callable[[Job], object], step: str, code: int, message: str
) -> None:
    fail(logged)

    last = lines(logged)[-1]
    assert (last["step"], last["exit_code"]) == (step, code)
    assert last["message"].startswith(message)


def test_what_an_operator_does_is_no_step_of_the_chain(logged: Job) -> None:
    logged.chain()
    run = logged.records()[0]["id"]

    assert logged.run("apply", "--undo", run, "--yes", "--force").code == 0
    assert logged.run("set-modtime", "--disable", "--reason", "INC-7: wrong list").code == 0

    undo, disable = lines(logged)[3:]
    assert (undo["by_hand"], undo["modtime"], undo["reason"]) == (True, None, None)
    assert (disable["by_hand"], disable["reason"]) == (True, "INC-7: wrong list")
    assert disable["modtime"] == "9999-12-31T00:00:00Z"


def test_an_operator_who_says_no_is_no_failure(logged: Job) -> None:
    assert logged.run("apply", stdin="n\n").code == 1

    (line,) = lines(logged)
    assert (line["step"], line["by_hand"], line["message"]) == ("apply", True, "not confirmed, nothing was written")


@pytest.mark.parametrize("option", ["--no-such-option", "--plan=no/such/folder/plan.json"])
def test_wrong_usage_at_a_terminal_is_no_failure_of_the_job(logged: Job, option: str) -> None:
    """Cron has no terminal: its failures count, and so do all others of an operator."""
    ours, theirs = pty.openpty()
    process = logged.start("diff", option, stdin=theirs)
    _, message = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)

    (line,) = lines(logged)
    assert (line["step"], line["by_hand"]) == ("diff", process.returncode == 2)
    assert line["message"] in message


def test_a_log_that_cannot_be_written_fails_nothing(logged: Job) -> None:
    (logged.records_folder / "runs.jsonl").mkdir(parents=True)

    result = logged.chain()

    assert result.code == 0
    assert "this step is missing in it, see records.dir" in result.err


def test_commands_that_only_look_leave_no_line(logged: Job) -> None:
    for command in (["status"], ["history"], ["explain", "1"], ["check"], ["doctor"], ["diff", "--help"]):
        logged.run(*command)

    assert not (logged.records_folder / "runs.jsonl").exists()


def test_two_features_side_by_side(logged: Job, tmp_path: Path) -> None:
    """Two configurations on one host, with one folder of records and one metrics file, don't mix."""
    shared = {"records": {"dir": str(tmp_path / "shared")}, "metrics": {"textfile": str(tmp_path / "shared.prom")}}
    logged.configure(**shared, limits={"unknown_percent": 50, "rejected_percent": 50})
    logged.records_folder = tmp_path / "shared"
    (tmp_path / "other").mkdir()
    other = Job(tmp_path / "other", SqliteFiles(tmp_path / "other"))
    own = {"feature": {"name": "another_feature"}, "modtime": {"property": "ANOTHER_FEATURE_MOD_TIME"}}
    other.configure(**shared, **own)
    other.list_file.unlink()

    assert logged.chain().code == 0
    assert other.chain().code == 1

    assert [line["feature"] for line in lines(logged)] == ["checked_support_chat"] * 3 + ["another_feature"]
    assert "diff failed" not in logged.run("status").out
    assert "diff failed" in other.run("status").out
    assert other.property() is None
    assert len(logged.records()) == 1
    assert other.run("history").out == "No recorded run.\n"
    assert other.run("history", "--client", "1").out == "No recorded run changed client 1.\n"
    metrics = (tmp_path / "shared.prom").read_text(encoding="utf-8")
    for feature, code in (("checked_support_chat", 0), ("another_feature", 1)):
        assert f'chatsync_last_exit_code{{feature="{feature}",step="diff"}} {code}.0\n' in metrics


def test_old_lines_go_with_the_old_records(logged: Job) -> None:
    logged.chain()
    file = logged.records_folder / "runs.jsonl"
    long_ago = (datetime.now(UTC) - timedelta(days=92)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    first, *others = lines(logged)
    file.write_text("".join(json.dumps(line) + "\n" for line in ({**first, "time": long_ago}, *others)))

    logged.diff()

    assert [line["step"] for line in lines(logged)] == ["apply", "set-modtime", "diff"]
