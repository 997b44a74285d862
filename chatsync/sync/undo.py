"""Undo: a plan that takes back what one recorded run changed, and nothing else.

It is made from the clients in the record of that run, not from the list. A client whose row was changed
since, or that has moved, is not changed. If the run turned a client off by adding a row, the undo turns
that row on: rows are never deleted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from pyroaring import BitMap64
from tabulate import tabulate

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import (
    DEFAULT_LIMIT,
    Action,
    DictState,
    IdsByShard,
    Objection,
    OffRows,
    Plan,
    PlanExclusions,
    PlanFeature,
    Verdict,
    bitmap_of,
    counted,
    fingerprint,
    format_time,
    rows_after,
    short_time,
    strays_of,
    total,
    union,
)
from chatsync.databases.dict_database import DictDatabase
from chatsync.databases.homes import find_homes
from chatsync.databases.shard_database import ShardDatabase, on_every_shard
from chatsync.errors import OutOfDateError, RecordError
from chatsync.sync.record import ActionRecord, Record, ShardRecord
from chatsync.sync.records import Records
from chatsync.sync.report import answer_line, client_tables, few, totals_table


@dataclass(frozen=True, kw_only=True)
class ShardNow:
    """A shard as it is now: which clients are off, and which of those that the run turned on are still on."""

    off: BitMap64
    still_on: BitMap64


@dataclass(frozen=True, kw_only=True)
class Undo:
    """The plan of an undo, the record of the run, and the clients that the undo does not change, by shard."""

    plan: Plan
    record: Record
    left: Mapping[int, BitMap64]


def make_undo(run: str, settings: Settings, scope: CancelScope, *, trace_id: str) -> tuple[Undo, DictState]:
    """Read the feature state and plan to restore what it was before a recorded run.

    `run` is its id, or the start or end of it. Raises UnknownRunError, RecordError if the record does not say what
    the run changed, and OutOfDateError if the run was on other databases or for another feature.
    """
    records = Records(settings.records)
    record = _with_assumed_changes(records.find(run), records)
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


def _with_assumed_changes(record: Record, records: Records) -> Record:
    """Return an open record with the changes in doubt: those of its plan, without what a later run planned again.

    A change that a later plan still contains was not made by this run. A closed record is returned unchanged.
    Raises RecordError when a later record can't be read.
    """
    if not record.is_open:
        return record
    later = [records.load(run) for run in records.runs() if run > record.id]
    alike = [other for other in later if _databases_of(other) == _databases_of(record)]
    shards = {
        shard: ShardRecord(
            turn_off=_in_doubt(record, alike, Action.TURN_OFF, shard),
            turn_on=_in_doubt(record, alike, Action.TURN_ON, shard),
            error=None,
        )
        for shard in record.plan.turn_off
    }
    return msgspec.structs.replace(record, shards=shards)


def _databases_of(record: Record) -> tuple[str, str]:
    return record.plan.target, record.plan.feature.name


def _in_doubt(record: Record, later: list[Record], action: Action, shard: int) -> ActionRecord:
    planned = _planned(record, action).get(shard, BitMap64())
    planned_again = BitMap64().union(*(_planned(other, action).get(shard, BitMap64()) for other in later))
    return ActionRecord(
        planned=len(planned), changed=BitMap64(), already=0, failed=len(planned), in_doubt=planned - planned_again
    )


def _planned(record: Record, action: Action) -> IdsByShard:
    return record.plan.turn_off if action is Action.TURN_OFF else record.plan.turn_on


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
    return Undo(plan=plan, record=record, left=left)


def undo_report(undo: Undo, *, objections: Sequence[Objection]) -> str:
    """Return what an undo takes back, which clients it does not change, and that the next sync will redo it."""
    parts = [_heading(undo), totals_table(undo.plan), *client_tables(undo.plan, DEFAULT_LIMIT), *_left(undo)]
    parts.append(answer_line(undo.plan, objections))
    if undo.plan.changes and not undo.record.undo_of:
        parts.append(
            "A sync makes these changes again when the list is modified or a full diff is applied. Have the list\n"
            "corrected first, or switch the job off right after this: `chatsync set-modtime --disable`"
        )
    return "\n\n".join(parts)


def _heading(undo: Undo) -> str:
    record = undo.record
    off, on = (len(record.changed(action)) for action in (Action.TURN_OFF, Action.TURN_ON))
    did = f"turned {off} off and {on} on"
    if record.is_open:
        off, on = (len(record.planned(action)) for action in (Action.TURN_OFF, Action.TURN_ON))
        did = f"planned to turn {off} off and {on} on, but its record does not say what it did; the rows show it"
    listed = record.plan.exclusions
    source = listed.source if record.undo_of else f"{listed.source} as modified {listed.modification_time}"
    feature = undo.plan.feature
    rows = [
        ("undo of", record.id),
        ("", f"{short_time(record.began)}, by {record.user}@{record.host}: {record.command}"),
        ("", f"{did}, from {source}"),
        ("feature", f"{feature.name} (id {feature.id}), {counted(undo.plan.off_now or 0, 'client')} off now"),
    ]
    return tabulate(rows, tablefmt="plain", disable_numparse=True)


def _left(undo: Undo) -> Iterator[str]:
    left = total(undo.left)
    if left:
        rows = [(str(shard), len(ids), few(ids)) for shard, ids in undo.left.items() if ids]
        table = tabulate(rows, headers=("shard", "left", "clients"), tablefmt="simple", disable_numparse=True)
        verb = "is" if left == 1 else "are"
        yield f"{counted(left, 'client')} {verb} no longer as that run left them and not changed:\n\n{table}"
