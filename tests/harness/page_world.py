"""A job with a history of some weeks, for the page: real runs, whose records then get earlier times."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from pyroaring import BitMap64

from chatsync.core import Plan, json_text, read_time, rows_after
from chatsync.sync.record import ActionRecord, Record, ShardRecord, from_document, run_id, to_document
from tests.harness.job import FEATURE_ID, MODIFIED, RECORDS, Job, SqliteFiles

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LIMITS = {"rejected_percent": 5, "unknown_percent": 20, "turn_on_percent": 90, "turn_off_percent": 90}
SCRIPT = "<script>alert('from a cell')</script>"
REJECTED = [
    "client 8811606",
    SCRIPT,
    "=2+5",
    "1072237.0",
    "-4",
    "0",
    '""',
    '"1,2"',
    "12345678901234567890123",
    "x" * 200,
]
UNKNOWN = [9000001, 9000002, 9000003]


def date_back(job: Job, when: datetime) -> None:
    """Give this time to the newest record and to those lines of the step log that were not changed yet."""
    file = job.records_folder / "runs.jsonl"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    new = [line for line in lines if not line.get("dated")]
    traces = {line["trace_id"] for line in new}
    for at, line in enumerate(new):
        line |= {"time": stamp(when + timedelta(seconds=2 + at)), "dated": True, "user": "cron", "host": "jobs1"}
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    for record in job.records():
        if record["trace_id"] in traces:
            (job.records_folder / f"{record['id']}.json").unlink()
            began, ended = stamp(when + timedelta(seconds=2)), stamp(when + timedelta(seconds=3))
            identifier = f"{when:%Y%m%dT%H%M%S.%f}Z-{record['trace_id'][:8]}"
            document = record | {"id": identifier, "started": began, "ended": record["ended"] and ended}
            (job.records_folder / f"{identifier}.json").write_text(json.dumps(document), encoding="utf-8")


def stamp(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S.%f}Z"


def build(folder: Path, *, days: int = 24, clients: int = 400, now: datetime | None = None) -> Job:
    """A first fill, then a change on most days, runs with nothing to do in between, and a list with errors."""
    now = (now or datetime.now(UTC)).replace(microsecond=0)
    chance = random.Random(15)  # noqa: S311  # the same history each time
    job = Job(folder, SqliteFiles(folder))
    job.configure(records=RECORDS, limits=LIMITS)
    job.settle({client: 1 + client % 4 for client in range(1000, 1000 + 2 * clients)})
    listed = set(range(1000, 1000 + clients))
    for day in range(days, -1, -1):
        when = now - timedelta(days=day, hours=3)
        job.list([*sorted(listed), *UNKNOWN, *REJECTED], modified=when.timestamp() - 600)
        assert job.chain("--force").code == 0
        date_back(job, when)
        for later in (30, 60, 90):
            assert job.chain().code == 0
            date_back(job, when + timedelta(minutes=later))
        left, new = chance.sample(sorted(listed), chance.randrange(6)), chance.randrange(9)
        listed = listed - set(left) | set(chance.sample(range(1000, 1000 + 2 * clients), new))
    return job


def build_large(folder: Path, *, clients: int, runs: int) -> Job:
    """A first fill of many clients, then a record and three lines of the step log for each of many later runs.

    Each later run turned one client off and another one on.
    """
    job = Job(folder, SqliteFiles(folder))
    job.configure(records={**RECORDS, "keep": "36500d"})
    everyone = range(1000, 1000 + clients + runs)
    _insert(
        job, "ppcdict", "INSERT INTO shard_client_id VALUES (?, ?)", [(client, _home(client)) for client in everyone]
    )
    job.list(everyone[:clients], modified=MODIFIED)
    assert job.chain("--force").code == 0
    (document,) = job.records()
    file = job.records_folder / "runs.jsonl"
    steps = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    record = from_document(document)
    plan = msgspec.structs.replace(record.plan, off_before=record.plan.after, off_now=clients)
    with file.open("a", encoding="utf-8") as log:
        for at in range(1, runs):
            plan = _next_plan(plan, left=999 + at, new=999 + clients + at)
            later = _later(record, plan, read_time(record.started) + timedelta(minutes=30 * at))
            text = json_text(to_document(later))
            (job.records_folder / f"{later.id}.json").write_text(text, encoding="utf-8")
            log.writelines(
                json.dumps({**step, "time": later.started, "trace_id": later.trace_id}) + "\n" for step in steps
            )
    for number in job.shards:
        turned = [(client, 1) for client in everyone[: runs - 1]] + [(client, 0) for client in everyone[clients:-1]]
        rows = [(client, FEATURE_ID, enabled) for client, enabled in turned if _home(client) == number]
        _insert(job, f"ppc{number}", "REPLACE INTO clients_features VALUES (?, ?, ?)", rows)
    job.list(everyone[runs - 1 : -1], modified=MODIFIED)
    return job


def _home(client: int) -> int:
    return client % 4 + 1


def _insert(job: Job, database: str, statement: str, rows: Iterable[tuple[int, ...]]) -> None:
    assert isinstance(job.databases, SqliteFiles)
    with closing(sqlite3.connect(job.databases.files[database])) as connection, connection:
        connection.executemany(statement, rows)


def _next_plan(plan: Plan, *, left: int, new: int) -> Plan:
    """Make the plan of the next run: one client is turned on, one off; as many as before are off."""
    none = {number: BitMap64() for number in plan.turn_off}
    turn_off, turn_on = none | {_home(new): BitMap64([new])}, none | {_home(left): BitMap64([left])}
    before = plan.after
    after = rows_after(before, turn_off=turn_off, turn_on=turn_on)
    return msgspec.structs.replace(plan, turn_off=turn_off, turn_on=turn_on, off_before=before, off_after=after)


def _later(record: Record, plan: Plan, when: datetime) -> Record:
    """Make the record of a run that did what its plan says."""
    done = {
        number: ShardRecord(turn_off=_done(plan.turn_off[number]), turn_on=_done(plan.turn_on[number]), error=None)
        for number in plan.turn_off
    }
    trace_id, started = f"{when.timestamp():032.0f}", stamp(when)
    return msgspec.structs.replace(
        record,
        id=run_id(when, trace_id[::-1]),
        trace_id=trace_id,
        started=started,
        ended=started,
        shards=done,
        plan=plan,
    )


def _done(ids: BitMap64) -> ActionRecord:
    return ActionRecord(planned=len(ids), changed=ids, already=0, failed=0)
