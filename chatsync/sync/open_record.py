"""The changes that a killed run may have made: its record does not say what it changed."""

import msgspec
from pyroaring import BitMap64

from chatsync.core import Action, IdsByShard
from chatsync.sync.record import ActionRecord, Record, ShardRecord
from chatsync.sync.records import Records

_NOBODY = BitMap64()


def with_assumed_changes(record: Record, records: Records) -> Record:
    """Return an open record with the changes in doubt: those of its plan, without what a later run planned again.

    A change that a later plan still contains was not made by this run. A closed record is returned unchanged.
    Raises RecordError when a later record can't be read.
    """
    if not record.is_open:
        return record
    later = [records.load(run) for run in records.runs() if run > record.id]
    alike = [other for other in later if _databases(other) == _databases(record)]
    shards = {
        shard: ShardRecord(
            turn_off=_in_doubt(record, alike, Action.TURN_OFF, shard),
            turn_on=_in_doubt(record, alike, Action.TURN_ON, shard),
            error=None,
        )
        for shard in record.plan.turn_off
    }
    return msgspec.structs.replace(record, shards=shards)


def _databases(record: Record) -> tuple[str, str]:
    return record.plan.target, record.plan.feature.name


def _in_doubt(record: Record, later: list[Record], action: Action, shard: int) -> ActionRecord:
    planned = _planned(record, action).get(shard, _NOBODY)
    planned_again = BitMap64().union(*(_planned(other, action).get(shard, _NOBODY) for other in later))
    return ActionRecord(
        planned=len(planned), changed=BitMap64(), already=0, failed=len(planned), in_doubt=planned - planned_again
    )


def _planned(record: Record, action: Action) -> IdsByShard:
    return record.plan.turn_off if action is Action.TURN_OFF else record.plan.turn_on
