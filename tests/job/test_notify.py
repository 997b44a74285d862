"""`[notify] command`: told when the state changes, bounded in time, never the chain's failure."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.wire import wait_until

if TYPE_CHECKING:
    from tests.harness.job import Job

KEEP = 'import sys; open("told.jsonl", "a").write(sys.stdin.read())'


@pytest.fixture
def notified(job: Job, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.chdir(job.folder)
    job.settle({1: 1})
    job.list([1], modified=1_700_000_000)
    tell_by(job, [sys.executable, "-c", KEEP])
    return job


def tell_by(job: Job, command: list[str], **keys: Any) -> None:
    job.configure(records={"dir": "records"}, notify={"command": command, **keys})


def told(job: Job) -> list[dict[str, Any]]:
    file = job.folder / "told.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def states(job: Job) -> list[tuple[str, str]]:
    return [(document["before"], document["state"]) for document in told(job)]


def test_it_is_told_when_the_state_changes_and_not_on_every_run(notified: Job) -> None:
    notified.chain()
    assert told(notified) == []

    notified.list_file.rename("away")
    notified.diff()
    notified.diff()
    assert states(notified) == [("well", "failing")]

    (notified.folder / "away").rename(notified.list_file)
    notified.chain()
    assert states(notified)[1:] == [("failing", "well")]

    notified.run("set-modtime", "--disable", "--reason", "INC-7")
    notified.diff("--if-modified")
    notified.apply()
    assert states(notified)[2:] == [("well", "off")]
    assert told(notified)[2]["reason"] == "INC-7"

    notified.run("set-modtime", "--reset")
    notified.list([])
    notified.chain()
    notified.diff()
    assert states(notified)[3:] == [("off", "well"), ("well", "refused")]
    assert "exclusion list" in told(notified)[-1]["text"]
    assert told(notified)[-1]["exit_code"] == 3


def test_what_an_operator_tries_without_success_changes_no_state(notified: Job) -> None:
    notified.chain()
    run = notified.records()[0]["id"]
    notified.run("set-modtime", "--disable")

    assert notified.run("apply", "--undo", run, "--yes", "--force").code == 5
    notified.diff("--if-modified")

    assert states(notified) == [("well", "off")]


@pytest.mark.parametrize(
    ("command", "keys", "problem"),
    [
        (["./no-such-program"], {}, "No such file or directory: './no-such-program'"),
        (["sh", "-c", "echo no mail here >&2; exit 7"], {}, "it ended with exit code 7: no mail here"),
        (["sh", "-c", "sleep 60 & sleep 60"], {"timeout": "0.2s"}, "timed out after"),
    ],
)
def test_what_goes_wrong_there_is_a_warning(
    notified: Job, command: list[str], keys: dict[str, str], problem: str
) -> None:
    tell_by(notified, command, **keys)
    notified.list_file.rename("away")
    began = time.monotonic()

    result = notified.diff()

    assert result.code == 1
    assert "notify.command did not tell that the job is failing: " in result.err
    assert problem in result.err
    assert time.monotonic() - began < 10


def test_what_the_command_leaves_running_is_left_running(notified: Job) -> None:
    """As a mail program does that hands over to its mailer."""
    tell_by(notified, ["sh", "-c", f"cat > got; (sleep 0.3; {sys.executable} -c '{KEEP}' < got) & exit 0"])
    notified.list_file.rename("away")
    began = time.monotonic()

    assert notified.diff().err.count("notify.command") == 0
    assert time.monotonic() - began < 5

    wait_until(lambda: states(notified) == [("well", "failing")])


def test_it_needs_the_step_log(job: Job) -> None:
    job.configure(notify={"command": ["true"]})

    result = job.diff()

    assert result.code == 2
    assert "notify.command: needs records.dir" in result.err


# -- a list that waits too long --


def at(job: Job, *minutes: float) -> None:
    """Let the last lines of the step log be of these minutes ago."""
    file = job.folder / "records" / "runs.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line, ago in zip(lines[-len(minutes) :], minutes, strict=True):
        line["time"] = (datetime.now(UTC) - timedelta(minutes=ago)).isoformat()
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_list_that_waits_too_long_is_told_once_and_so_is_its_end(notified: Job) -> None:
    """The limit refuses; two hours later somebody else may have to know."""
    notified.chain()
    notified.settle_off(dict.fromkeys(range(2, 40), 1))
    notified.list([1], modified=1_700_001_000)
    assert notified.chain().code == 3
    assert states(notified) == [("well", "refused")]
    at(notified, 119, 119)
    notified.chain()
    assert states(notified)[1:] == []
    at(notified, 121, 121, 60, 60)

    notified.chain()
    notified.chain()

    assert states(notified)[1:] == [("refused", "waiting")]
    text = told(notified)[1]["text"]
    assert " is waiting, was refused: the list has not been synced since 20" in text
    assert "; apply was refused 1 h 0 min ago, exit 3: " in text
    assert told(notified)[1]["waiting_since"] < (datetime.now(UTC) - timedelta(hours=2)).isoformat()

    notified.chain("--force")
    notified.chain()
    assert states(notified)[2:] == [("waiting", "well")]


def test_a_chain_that_ends_half_way_is_told_although_nothing_fails(notified: Job) -> None:
    """As with a crontab line that was cut after diff."""
    notified.diff()
    at(notified, 150)

    notified.diff()

    assert states(notified) == [("well", "waiting")]


def test_a_list_that_is_synced_by_the_run_that_sees_it_never_waits(notified: Job) -> None:
    notified.chain()
    at(notified, 600, 600, 600)
    notified.list([1, 5], modified=1_700_001_000)

    notified.chain()

    assert told(notified) == []


def test_how_long_a_list_may_wait_is_configured(notified: Job) -> None:
    tell_by(notified, [sys.executable, "-c", KEEP], waiting="5h")
    notified.diff()
    at(notified, 299)
    notified.diff()
    assert told(notified) == []
    at(notified, 301, 10)

    notified.diff()

    assert states(notified) == [("well", "waiting")]
