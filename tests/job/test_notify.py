"""`[notify] command`: told when the state changes, bounded in time, never the chain's failure."""

from __future__ import annotations

import json
import sys
import time
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


@pytest.mark.parametrize(
    ("command", "keys", "problem"),
    [
        (["no-such-program"], {}, "No such file or directory: 'no-such-program'"),
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
