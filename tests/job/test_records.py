"""Every apply that changed something leaves a record of what it really changed."""

from __future__ import annotations

import getpass
import json
import os
import re
import signal
import socket
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chatsync.cancel_scope import CancelScope
from chatsync.config.durations import Seconds
from chatsync.config.settings import Records as Section
from chatsync.core import json_text
from chatsync.errors import RecordError, StoppedError
from chatsync.sync.record import from_document, run_id, to_document
from chatsync.sync.records import Records
from chatsync.sync.step_log import command_line
from tests.harness.examples import action
from tests.harness.job import RECORDS, Job

if TYPE_CHECKING:
    from datetime import tzinfo
    from pathlib import Path

    from tests.harness.job import Databases

LIMITS = {"unknown_percent": 100}


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


NOTHING = action(0, [])


def test_a_run_that_changes_nothing_leaves_no_record(recorded: Job) -> None:
    recorded.list([1, 4])

    assert recorded.run("apply", "--yes").code == 0
    assert recorded.records() == []


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
    (file,) = job.records_folder.glob("*.json")
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
    assert json.loads(json_text(to_document(from_document(whole)))) == whole


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


def test_a_signal_between_the_last_batch_and_the_record_is_a_wish() -> None:
    run = CancelScope(deadline=60, retry_timeout=1)

    with run.watching(), run.shielded():
        with run.shielded():
            pass
        signal.raise_signal(signal.SIGTERM)
        written = True

    assert written
    assert isinstance(run.reason, StoppedError)


# -- records that can't be written --


@pytest.mark.parametrize("plan", [True, False])
def test_a_record_that_cannot_be_started_stops_the_run_before_its_first_write(recorded: Job, plan: bool) -> None:
    recorded.configure(records={"dir": "missing/records"}, limits=LIMITS)
    before = recorded.rows()
    recorded.diff()

    result = recorded.apply() if plan else recorded.run("apply", "--yes", "--format", "json")

    assert (result.code, result.out, recorded.rows()) == (1, "", before)
    last = result.err.splitlines()[-1]
    assert re.fullmatch(
        r"chatsync: the record of this run can't be written: cannot write .*/missing/records/\S+\.json: "
        "No such file or directory; nothing was written to any shard; make records.dir writable for this user",
        last,
    )
    assert result.err.count("missing/records") == 1


def test_a_plan_without_changes_needs_no_record(recorded: Job) -> None:
    recorded.configure(records={"dir": "missing/records"}, limits=LIMITS)
    recorded.list([1, 4])

    assert recorded.chain().code == 0


# -- the folder --


def test_old_records_are_pruned_and_nothing_else(recorded: Job) -> None:
    recorded.records_folder.mkdir()
    now = datetime.now(UTC)
    old, young = (run_id(now - timedelta(days=days), "0123abcd") for days in (91, 89))
    for name in (f"{old}.json", f"{young}.json", "notes.json", "20200101T000000.000000Z-x.txt"):
        (recorded.records_folder / name).touch()

    recorded.run("apply", "--yes")

    names = {path.name for path in recorded.records_folder.iterdir()} - {"runs.jsonl"}
    (new,) = names - {f"{young}.json", "notes.json", "20200101T000000.000000Z-x.txt"}
    assert new[:8] == f"{now:%Y%m%d}"
    assert len(names) == 4


def test_what_killed_runs_left_behind_is_removed(recorded: Job) -> None:
    recorded.records_folder.mkdir()
    name = f"{run_id(datetime.now(UTC), '0123abcd')}.json"
    old, young, other = (
        recorded.records_folder / text for text in (f".{name}.abcd1234", f".{name}.efgh5678", ".x.swp")
    )
    plans = [recorded.folder / text for text in (".plan.json.abcd_234", ".plan.json.swp")]
    for path in (old, young, other, *plans):
        path.touch()
    for path in (old, other, *plans):
        os.utime(path, (0, 0))

    recorded.diff()
    assert recorded.apply().code == 0

    assert [path.exists() for path in (old, young, other, *plans)] == [False, True, True, False, True]


def test_a_clock_that_has_jumped_makes_no_record_old(recorded: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is a year ahead by this machine's clock; the dict database's has not moved."""
    recorded.records_folder.mkdir()
    now = datetime.now(UTC)
    young = recorded.records_folder / f"{run_id(now - timedelta(days=89), '0123abcd')}.json"
    young.touch()

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(days=365)

    monkeypatch.setattr("chatsync.sync.recorder.datetime", Ahead)
    assert recorded.run("apply", "--yes").code == 0

    (new,) = set(recorded.records_folder.glob("*.json")) - {young}
    assert new.name[:8] in (f"{now:%Y%m%d}", f"{datetime.now(UTC):%Y%m%d}")
    assert young.exists()


@pytest.mark.parametrize(("workers", "code"), [(0, 1), (1, 0)])
def test_fewer_threads_than_wanted(recorded: Job, monkeypatch: pytest.MonkeyPatch, workers: int, code: int) -> None:
    """As at the limit on tasks. One thread does the work of all; without any, no record says that the run had begun."""
    recorded.diff()
    before = recorded.rows()
    started: Counter[object] = Counter()
    start = threading.Thread.start

    def start_few(thread: threading.Thread) -> None:
        if "(_work)" in thread.name:
            task = vars(thread)["_target"].__self__
            started[task] += 1
            if started[task] > workers:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    result = recorded.apply()

    assert result.code == code
    if code:
        assert (recorded.rows(), recorded.records()) == (before, [])
        assert "no thread can be started: can't start new thread; raise the limits on tasks and memory" in result.err
        assert "Traceback" not in result.err
    else:
        assert recorded.off() == {1, 2, 3}


def test_runs_are_found_by_either_end(tmp_path: Path) -> None:
    names = ["20261123T103000.123456Z-aaaa1111", "20261123T110000.000000Z-bbbb2222"]
    for name in names:
        (tmp_path / f"{name}.json").write_text("{", encoding="utf-8")
    records = Records(Section(dir=str(tmp_path), keep=Seconds(1)))

    assert records.runs() == names[::-1]
    for text in (names[0], "20261123T103", "aaaa1111"):
        with pytest.raises(RecordError, match=f"record .*{names[0]}.json was cut short or edited, or is not a record"):
            records.find(text)


@pytest.mark.parametrize("trace_id", ["../../etc/passwd", "", "x" * 100])
def test_a_run_id_is_a_plain_name(trace_id: str) -> None:
    assert re.fullmatch(
        r"20261123T103000\.000001Z-[0-9a-zA-Z]{0,8}", run_id(datetime(2026, 11, 23, 10, 30, 0, 1, UTC), trace_id)
    )


def test_no_password_in_the_command_line() -> None:
    line = command_line(["/usr/bin/chatsync", "-c", "mysql://anna:s3c@ret@ppc1.example/ppc", "apply"])

    assert line == "chatsync -c mysql://anna:***@ppc1.example/ppc apply"
