"""The lines about ninety days of records: what people ask, with them and without."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from pyroaring import BitMap64

from bench.contests import CHATSYNC
from bench.measure import Command, Contest
from bench.plan_file import make_plan
from chatsync.config.settings import Records as Section
from chatsync.core import format_time
from chatsync.sync.record import ActionRecord, Outcome, Record, ShardRecord, run_id
from chatsync.sync.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.contests import Contests

RUNS, CHANGES, SHARDS = 4320, 1000, 16
EVERY = timedelta(minutes=30)
MORE_SECONDS = 0.3


def records(lines: Contests) -> Iterator[Contest]:
    """Ask with the records of ninety days, against the same without any."""
    world = lines.worlds.get("recorded", replace(lines.size, clients=10_000, shards=SHARDS, drift=0.01))
    with_records = world.folder / "with-records.toml"
    folder = world.folder / "records"
    section = f'[records]\ndir = {json.dumps(str(folder))}\nkeep = "200d"\n'
    with_records.write_text(f"{world.config.read_text()}{section}", encoding="utf-8")
    with_records.chmod(0o600)
    client = write_records(folder)
    for name, command in {
        "explain": ["explain", str(client)],
        "history --client": ["history", "--client", str(client)],
        "status": ["status"],
        "report": ["report", "--output", str(world.folder / "page.html")],
    }.items():
        ours, theirs = ([CHATSYNC, "-c", str(file), *command] for file in (with_records, world.config))
        yield Contest(
            name="records",
            what=f"{name}, {RUNS} records of {CHANGES} changes",
            against="the same without records",
            ours=Command(argv=ours),
            peer=Command(argv=_whatever_its_code(theirs)),
            goal=None,
            more_goal=MORE_SECONDS,
        )


def _whatever_its_code(command: list[str]) -> list[str]:
    """Without records.dir, `history` is an error of the configuration."""
    return ["bash", "-c", '"$@" || [[ $? -eq 2 ]]', "bash", *command]


def write_records(folder: Path) -> int:
    """Write the records of ninety days, each of other clients; return one that was changed a month ago."""
    kept = Records(Section(dir=str(folder)))
    now, client = datetime.now(UTC), 0
    for number in range(RUNS):
        plan = make_plan(CHANGES, SHARDS, seed=number)
        began = now - EVERY * (RUNS - number)
        shards = {
            shard: ShardRecord(turn_off=_made(ids), turn_on=_made(BitMap64()), error=None)
            for shard, ids in plan.turn_off.items()
        }
        kept.write(
            Record(
                id=run_id(began, f"{number:08x}"),
                trace_id=f"{number:08x}",
                undo_of=None,
                outcome=Outcome.DONE,
                error=None,
                exit_code=0,
                started=format_time(began),
                ended=format_time(began + timedelta(seconds=2)),
                user="chatsync",
                host="bench",
                pid=1,
                command="chatsync apply --plan plan.json",
                shards=shards,
                plan=msgspec.structs.replace(plan, trace_id=f"{number:08x}"),
            )
        )
        if number == RUNS * 2 // 3:
            client = plan.turn_off[1][0]
    return client


def _made(clients: BitMap64) -> ActionRecord:
    return ActionRecord(planned=len(clients), changed=clients, already=0, failed=0)


BY_NAME: dict[str, Callable[[Contests], Iterator[Contest]]] = {"records": records}
