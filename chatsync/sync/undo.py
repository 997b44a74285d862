"""Undo: a plan that puts back what one recorded run changed, and nothing else.

It is told from what that run noted client by client, not from the list. A client that somebody
changed since is left alone. What a run turned off by adding a row is put back by turning that row
on: rows are never deleted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core.client_sets import total, union
from chatsync.core.modtime import DictState
from chatsync.core.plan import Plan, PlanExclusions, PlanFeature, Verdict, fingerprint
from chatsync.core.times import format_time
from chatsync.databases.dict_database import DictDatabase
from chatsync.databases.shard_database import ShardDatabase, on_every_shard
from chatsync.errors import OutOfDateError, RecordError
from chatsync.sync.record import Record


@dataclass(frozen=True, kw_only=True)
class ShardNow:
    """A shard as it is now: everybody who is off, and who of those that the run turned on is still on."""

    off: BitMap64
    still_on: BitMap64


@dataclass(frozen=True, kw_only=True)
class Undo:
    """What is put back, as a plan, and who is left alone, by shard: those that changed since the run."""

    plan: Plan
    left: Mapping[int, BitMap64]


def make_undo(record: Record, settings: Settings, scope: CancelScope, *, trace_id: str) -> tuple[Undo, DictState]:
    """Read how things are now and plan the way back to how they were before the recorded run.

    Raises RecordError for a run that never noted what it changed, OutOfDateError for one on
    other databases or for another feature.
    """
    _check(record, settings)
    with DictDatabase(settings, scope) as dict_database:
        state = dict_database.state()

    def read(shard: ShardDatabase) -> ShardNow:
        did = record.shards.get(shard.number)
        rows = shard.rows_among(state.feature_id, did.turn_on.touched) if did else {}
        off, _ = shard.read_off_and_place(state.feature_id)
        return ShardNow(off=off, still_on=BitMap64([client for client, on in rows.items() if on]))

    now = on_every_shard(settings, scope, read).results(scope)
    return put_back(record, dict(sorted(now.items())), state=state, trace_id=trace_id), state


def _check(record: Record, settings: Settings) -> None:
    if record.is_open:
        msg = (
            f"run {record.id} never noted what it changed: it is under way, or it was killed; "
            "its record holds its plan, and `chatsync diff` shows what the databases lack now"
        )
        raise RecordError(msg)
    plan = record.plan
    if plan.feature.name != settings.feature.name or plan.target != fingerprint(settings.databases):
        way_out = "use the configuration that it ran with"
        raise OutOfDateError(f"run {record.id} was for another feature or other databases", way_out=way_out)


def put_back(record: Record, now: Mapping[int, ShardNow], *, state: DictState, trace_id: str) -> Undo:
    """Turn on whom the run turned off, and off whom it turned on, where its doing still stands."""
    turn_off, turn_on, left = {}, {}, {}
    for shard, here in now.items():
        did = record.shards.get(shard)
        turned_off = did.turn_off.touched if did else BitMap64()
        turned_on = did.turn_on.touched if did else BitMap64()
        turn_on[shard] = turned_off & here.off
        turn_off[shard] = turned_on & here.still_on
        left[shard] = (turned_off | turned_on) - turn_on[shard] - turn_off[shard]
    plan = Plan(
        created_at=format_time(datetime.now(UTC)),
        verdict=Verdict.CHANGES if total(turn_off) + total(turn_on) else Verdict.IN_SYNC,
        feature=PlanFeature(name=record.plan.feature.name, id=state.feature_id),
        # No list: the databases' own time stands for its, so that no mod-time can be later.
        exclusions=PlanExclusions(
            source=f"undo of {record.id}", modification_time=format_time(state.now), revision=None, rows=None
        ),
        modtime=format_time(state.modtime) if state.modtime else None,
        off_now=len(union({shard: here.off for shard, here in now.items()})),
        turn_off=turn_off,
        turn_on=turn_on,
        unknown=BitMap64(),
        target=record.plan.target,
        trace_id=trace_id,
        undo_of=record.id,
    )
    return Undo(plan=plan, left=left)
