"""Undo: a plan that takes back what one recorded run changed, and nothing else.

It is made from the clients in the record of that run, not from the list. A client whose row was changed
since, or that has moved, is not changed. If the run turned a client off by adding a row, the undo turns
that row on: rows are never deleted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import (
    Action,
    DictState,
    IdsByShard,
    OffRows,
    Plan,
    PlanExclusions,
    PlanFeature,
    Verdict,
    bitmap_of,
    fingerprint,
    format_time,
    rows_after,
    strays_of,
    total,
    union,
)
from chatsync.databases.dict_database import DictDatabase
from chatsync.databases.homes import find_homes
from chatsync.databases.shard_database import ShardDatabase, on_every_shard
from chatsync.errors import OutOfDateError, RecordError
from chatsync.sync.record import Record


@dataclass(frozen=True, kw_only=True)
class ShardNow:
    """A shard as it is now: which clients are off, and which of those that the run turned on are still on."""

    off: BitMap64
    still_on: BitMap64


@dataclass(frozen=True, kw_only=True)
class Undo:
    """The plan of an undo, and the clients that it does not change, by shard."""

    plan: Plan
    left: Mapping[int, BitMap64]


def make_undo(record: Record, settings: Settings, scope: CancelScope, *, trace_id: str) -> tuple[Undo, DictState]:
    """Read the feature state and plan to restore what it was before the recorded run.

    Raises RecordError if the record does not say what the run changed, and OutOfDateError if the run
    was on other databases or for another feature.
    """
    _check(record, settings)
    with DictDatabase(settings, scope) as dict_database:
        state = dict_database.state()

    def read(shard: ShardDatabase) -> ShardNow:
        did = record.shards.get(shard.number)
        rows = shard.rows_among(state.feature_id, did.turn_on.touched) if did else {}
        off, _ = shard.read_off_and_place(state.feature_id)
        return ShardNow(off=bitmap_of(off), still_on=BitMap64([client for client, on in rows.items() if on]))

    now = on_every_shard(settings, scope, read).results(scope)
    off = union({shard: here.off for shard, here in now.items()})
    homes = find_homes(settings, scope, off | record.touched(Action.TURN_OFF) | record.touched(Action.TURN_ON))
    return put_back(record, dict(sorted(now.items())), homes, state=state, trace_id=trace_id), state


def _check(record: Record, settings: Settings) -> None:
    if record.is_open and not record.shards:
        raise RecordError(
            f"the record of run {record.id} does not say what it changed: it is still running, or was killed; "
            "its record holds its plan, and `chatsync diff` shows what the databases lack now"
        )
    plan = record.plan
    if plan.feature.name != settings.feature.name or plan.target != fingerprint(settings.databases):
        way_out = "use the configuration that it ran with"
        raise OutOfDateError(f"run {record.id} was for another feature or other databases", way_out=way_out)


def put_back(
    record: Record, now: Mapping[int, ShardNow], homes: IdsByShard, *, state: DictState, trace_id: str
) -> Undo:
    """Plan to turn on what the run turned off, and to turn off what it turned on.

    Clients whose row has changed since, or that now live on another shard, are not changed.
    """
    turn_off, turn_on, left = {}, {}, {}
    for shard, here in now.items():
        did = record.shards.get(shard)
        turned_off = did.turn_off.touched if did else BitMap64()
        turned_on = did.turn_on.touched if did else BitMap64()
        at_home = homes.get(shard, BitMap64())
        turn_on[shard] = turned_off & here.off & at_home
        turn_off[shard] = turned_on & here.still_on & at_home
        left[shard] = (turned_off | turned_on) - turn_on[shard] - turn_off[shard]
    before = {shard: OffRows.of(here.off) for shard, here in now.items()}
    strays = strays_of({shard: here.off for shard, here in now.items()}, homes)
    plan = Plan(
        created_at=format_time(datetime.now(UTC)),
        verdict=Verdict.CHANGES if total(turn_off) + total(turn_on) else Verdict.IN_SYNC,
        feature=PlanFeature(name=record.plan.feature.name, id=state.feature_id),
        # There is no list: its time is the current time of the databases, so that no mod-time is later.
        exclusions=PlanExclusions(
            source=f"undo of {record.id}", modification_time=format_time(state.now), revision=None, rows=None
        ),
        modtime=format_time(state.modtime) if state.modtime else None,
        off_now=sum(rows.count for rows in before.values()) - sum(rows.count for rows in strays.values()),
        turn_off=turn_off,
        turn_on=turn_on,
        unknown=BitMap64(),
        strays=strays,
        off_before=before,
        off_after=rows_after(before, turn_off=turn_off, turn_on=turn_on),
        target=record.plan.target,
        trace_id=trace_id,
        undo_of=record.id,
    )
    return Undo(plan=plan, left=left)
