"""Write or read a plan file of many changes: `python -m bench.plan_file write|read FILE CLIENTS SHARDS`.

Only that is timed, not the imports and not the making of the plan: it prints the seconds as JSON.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from pyroaring import BitMap64

from chatsync.core import OffRows, Plan, PlanExclusions, PlanFeature, Verdict, bitmap_of, rows_after
from chatsync.sync import plan_file

NOW = "2026-11-23T10:30:00.000000Z"
HIGHEST = 4_000_000_000


def make_plan(clients: int, shards: int, *, seed: int = 1) -> Plan:
    """Make the plan of a first fill: all clients are to be turned off, and their ids are sparse."""
    ids = np.unique(np.random.default_rng(seed).integers(1, HIGHEST, clients).astype(np.uint32))
    turn_off = {shard: bitmap_of(ids[ids % shards == shard - 1]) for shard in range(1, shards + 1)}
    none = {shard: BitMap64() for shard in turn_off}
    before = {shard: OffRows.of(BitMap64()) for shard in turn_off}
    return Plan(
        created_at=NOW,
        verdict=Verdict.CHANGES,
        feature=PlanFeature(name="checked_support_chat", id=217),
        exclusions=PlanExclusions(source="list", modification_time=NOW, revision=None, rows=len(ids)),
        modtime=None,
        off_now=0,
        turn_off=turn_off,
        turn_on=none,
        unknown=BitMap64(),
        off_before=before,
        off_after=rows_after(before, turn_off=turn_off, turn_on=none),
        target="sha256:0",
        trace_id="bench",
    )


def main() -> None:
    """Write a plan that is there, or read a file."""
    action, file, clients, shards = sys.argv[1:]
    plan = make_plan(int(clients), int(shards)) if action == "write" else None
    began, used = time.perf_counter(), time.process_time()
    if plan is not None:
        plan_file.save(plan, Path(file))
    else:
        plan_file.load(Path(file))
    cost = {"wall": time.perf_counter() - began, "cpu": time.process_time() - used}
    sys.stdout.write(json.dumps(cost) + "\n")


if __name__ == "__main__":
    main()
