"""The step log: lines that don't mix, are kept for a time, and survive a cut."""

from __future__ import annotations

import fcntl
import os
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from chatsync.config.durations import Seconds
from chatsync.config.settings import Records
from chatsync.core.modtime import DISABLED_FOREVER
from chatsync.errors import OutputError, RecordError
from chatsync.sync import step_log
from chatsync.sync.step_log import Step, StepLog, failure_in_words, standing_failures, switched_by

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)


def step(minutes: float = 0, *, code: int = 0, name: str = "diff", **fields: object) -> Step:
    """A step that ended so many minutes before NOW."""
    return Step(
        time=NOW - timedelta(minutes=minutes),
        step=name,
        trace_id="3f2a9c1d",
        feature="chat",
        exit_code=code,
        seconds=0.5,
        user="anna",
        host="cron1",
        **fields,  # type: ignore[arg-type]
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "records"


@pytest.fixture
def log(folder: Path) -> StepLog:
    return StepLog(Records(dir=str(folder), keep=Seconds.parse("7d")))


def test_without_a_folder_nothing_is_kept_and_nothing_found() -> None:
    log = StepLog(Records())
    log.append(step())
    assert log.newest(feature="chat") == []


def test_lines_come_back_the_newest_first_and_by_feature(log: StepLog, folder: Path) -> None:
    assert log.newest(feature="chat") == []

    log.append(step(2, verdict="changes", counts={"turn_off": 3}))
    log.append(step(1, code=3, name="apply", message="refused"))

    assert [found.step for found in log.newest(feature="chat")] == ["apply", "diff"]
    assert log.newest(feature="other") == []
    assert (folder / "runs.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_long_message_is_cut_and_a_password_hidden(log: StepLog) -> None:
    log.append(step(code=1, message="mysql://u:secret@h/ " + "x" * 10_000))

    (found,) = log.newest(feature="chat")
    assert found.message is not None
    assert found.message.startswith("mysql://u:***@h/ x")
    assert len(found.message) <= 2000


def test_many_writers_do_not_mix(log: StepLog, folder: Path) -> None:
    def write() -> None:
        for number in range(50):
            log.append(step(message=f"{number} " + "x" * 500))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(log.newest(feature="chat")) == 200
    assert len((folder / "runs.jsonl").read_bytes().splitlines()) == 200


def test_a_writer_that_holds_the_file_holds_up_nobody_for_long(
    log: StepLog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_log, "_LOCK_PAUSE_SECONDS", 0)
    log.append(step(1))
    with (folder / "runs.jsonl").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        log.append(step())

    assert len(log.newest(feature="chat")) == 2


def test_a_line_that_was_cut_short_spoils_no_other(log: StepLog, folder: Path) -> None:
    log.append(step(2))
    with (folder / "runs.jsonl").open("ab") as file:
        file.write(b'{"time": "2026-11')

    log.append(step(1))

    assert len(log.newest(feature="chat")) == 2


def test_old_lines_go_once_they_are_a_day_too_old(log: StepLog) -> None:
    day = 24 * 60
    log.append(step(8 * day + 10))
    log.append(step(7 * day + 10))
    log.append(step(day))
    assert len(log.newest(feature="chat")) == 3  # the first is less than a day beyond the seven

    log.append(step(0))
    assert [found.time for found in log.newest(feature="chat")] == [step(0).time, step(day).time]


def test_what_cannot_be_written_is_named(log: StepLog, folder: Path) -> None:
    folder.write_text("in the way")

    with pytest.raises(OutputError, match=r"cannot write .*runs.jsonl: .*; this step is missing in it"):
        log.append(step())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_root_leaves_it_to_the_user_of_the_job(log: StepLog, folder: Path) -> None:
    os.chown(folder.parent, 12345, 12345)

    log.append(step(1))
    log.append(step())

    assert {path.stat().st_uid for path in (folder, folder / "runs.jsonl")} == {12345}


def test_what_cannot_be_read_is_named(log: StepLog, folder: Path) -> None:
    (folder / "runs.jsonl").mkdir(parents=True)

    with pytest.raises(RecordError, match=r"cannot read .*runs.jsonl: Is a directory"):
        log.newest(feature="chat")


def test_failures_that_stand() -> None:
    steps = [
        step(0, code=1, message="away"),
        step(30, code=3, name="apply"),
        step(31),
        step(60, code=1),
        step(70, name="apply"),
        step(90, code=1, name="set-modtime"),
        step(91, code=5),
    ]

    standing = standing_failures(steps)

    assert [(failure.last.step, failure.last.exit_code, failure.count) for failure in standing] == [
        ("diff", 1, 1),
        ("apply", 3, 1),
        ("set-modtime", 1, 1),
    ]
    assert standing_failures([step(0), *steps])[0].last.step == "apply"  # overcome
    assert [failure.count for failure in standing_failures([step(0, code=1), step(30, code=2), step(60)])] == [2]
    assert standing_failures([step(0, code=5)]) == []  # disabled is no failure
    assert standing_failures([step(0, code=1, by_hand=True)]) == []
    assert standing_failures([step(0, code=10)]) == []


def test_a_failure_in_words() -> None:
    once, often = step(2, code=1, message="away"), [step(2, code=3, name="apply"), step(32, code=3, name="apply")]

    (first,), (second,) = standing_failures([once]), standing_failures(often)

    assert failure_in_words(first, now=NOW) == "diff failed 2 min 0 s ago, exit 1: away"
    assert failure_in_words(second, now=NOW) == (
        "apply was refused 2 min 0 s ago, exit 3: no message was logged; 2 times in a row since 2026-11-23 09:58:00 UTC"
    )


def test_who_set_a_mod_time() -> None:
    by_hand = step(5, name="set-modtime", by_hand=True, modtime=DISABLED_FOREVER, reason="INC-7")
    steps = [step(1, name="set-modtime"), step(2, name="set-modtime", by_hand=True, code=1), by_hand]

    assert switched_by(steps, DISABLED_FOREVER, now=NOW) == "set by anna@cron1 5 min 0 s ago: INC-7"
    assert switched_by(steps, NOW, now=NOW) == ""
    assert switched_by(steps[:2], DISABLED_FOREVER, now=NOW) == ""


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: (_ for _ in ()).throw(KeyError()))

    assert step_log.current_user() == str(os.getuid())
