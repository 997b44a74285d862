"""The record of a run: what one apply really changed, as a value and as JSON.

A run writes its record with the outcome `started` before the first batch, and replaces it at its end. A
record that is still `started` belongs to a run that is running or was killed: its plan is known, but not
how many of the changes were made.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from pyroaring import BitMap64

from chatsync.core import Action, Plan, id_set, read_time
from chatsync.core import from_document as plan_from_document
from chatsync.sync import plan_file

VERSION = 1

_RUN_ID = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)-[0-9A-Za-z]*", re.ASCII)
_TIME = "%Y%m%dT%H%M%S.%fZ"
_SHORT_TRACE = 8


class Outcome(StrEnum):
    """How a run ended."""

    STARTED = "started"  # the run is still running, or was killed
    DONE = "done"
    STOPPED = "stopped"  # by a signal, the deadline, the mod-time or a lost lock
    FAILED = "failed"  # on one shard at least


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ActionRecord(_Part, frozen=True, kw_only=True):
    """One action on one shard: `changed` are the clients whose row this run changed.

    `in_doubt` are the clients of a commit whose answer was lost, `refused` those whose row the server
    refused to write; both are included in `failed`.
    """

    planned: int
    changed: BitMap64
    already: int
    failed: int
    in_doubt: BitMap64 = msgspec.field(default_factory=BitMap64)
    refused: BitMap64 = msgspec.field(default_factory=BitMap64)

    @property
    def touched(self) -> BitMap64:
        """The clients whose row this run changed, or may have."""
        return self.changed | self.in_doubt


class ShardRecord(_Part, frozen=True, kw_only=True):
    """What a run did on one shard."""

    turn_off: ActionRecord
    turn_on: ActionRecord
    error: str | None

    def of(self, action: Action) -> ActionRecord:
        """Return the part of the record about one action."""
        return self.turn_off if action is Action.TURN_OFF else self.turn_on


class Record(_Part, frozen=True, kw_only=True):
    """One run of apply. `shards` is empty, `ended` and `exit_code` are null while it is `started`."""

    id: str
    trace_id: str
    undo_of: str | None
    outcome: Outcome
    error: str | None
    exit_code: int | None
    started: str
    ended: str | None
    user: str
    host: str
    pid: int
    command: str
    shards: Mapping[int, ShardRecord]
    plan: Plan
    version: int = VERSION

    @property
    def began(self) -> datetime:
        """When the run began to write."""
        return read_time(self.started)

    @property
    def finished(self) -> datetime | None:
        """When the run ended; None while it is `started`."""
        return read_time(self.ended) if self.ended else None

    @property
    def is_open(self) -> bool:
        """Whether the record does not say what the run changed."""
        return self.outcome is Outcome.STARTED

    def changed(self, action: Action) -> BitMap64:
        """Join the clients of one action over all shards."""
        return BitMap64().union(*(shard.of(action).changed for shard in self.shards.values()))

    def touched(self, action: Action) -> BitMap64:
        """Join the clients of one action that were changed, or may have been, over all shards."""
        return BitMap64().union(*(shard.of(action).touched for shard in self.shards.values()))

    def refused(self, action: Action) -> BitMap64:
        """Join the clients of one action that a server refused, over all shards."""
        return BitMap64().union(*(shard.of(action).refused for shard in self.shards.values()))

    def count(self, field: str) -> int:
        """Add up `planned`, `already` or `failed` over shards and actions."""
        return sum(getattr(shard.of(action), field) for shard in self.shards.values() for action in Action)

    def planned(self, action: Action) -> BitMap64:
        """Join the clients that the plan had for one action."""
        sets = self.plan.turn_off if action is Action.TURN_OFF else self.plan.turn_on
        return BitMap64().union(*sets.values())


def run_id(started: datetime, trace_id: str) -> str:
    """Return the id of a run; ids sort by time: `20261123T103000.123456Z-3f2a9c1d`. `started` is in UTC."""
    short = re.sub(r"[^0-9A-Za-z]", "", trace_id)[:_SHORT_TRACE]
    return f"{run_time(started)}-{short}"


def run_time(moment: datetime) -> str:
    """Format a time in UTC as in a run's id."""
    return moment.strftime(_TIME)


def is_run_id(text: str) -> bool:
    """Whether this is the id of a run."""
    return _RUN_ID.fullmatch(text) is not None


def to_document(record: Record) -> dict[str, Any]:
    """Turn a record into its JSON document; the plan has the same form as in a plan file."""
    body = msgspec.to_builtins(record, str_keys=True, builtin_types=(BitMap64,))
    return {"version": body.pop("version"), **body, "plan": plan_file.document(record.plan)}


def in_json(record: Record) -> Iterator[bytes]:
    """Format a record as a plan file is: JSON without secrets, piece by piece."""
    return plan_file.in_json(to_document(record))


def from_document(document: Any) -> Record:
    """Check and read the JSON document of a record. Raises ValueError when it is not what chatsync wrote."""
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ValueError(f"not a record of version {VERSION}")
    plan = plan_from_document(document.get("plan"))
    record = msgspec.convert({**document, "plan": plan}, Record, str_keys=True, dec_hook=id_set)
    _ = record.began, record.finished
    for number, shard in record.shards.items():
        for action, planned in ((Action.TURN_OFF, plan.turn_off), (Action.TURN_ON, plan.turn_on)):
            # The ids of the plan are protected by its hash; a run changes no other clients.
            did = shard.of(action)
            if not did.touched | did.refused <= planned.get(number, BitMap64()):
                raise ValueError(f"shard {number} changed clients that are not in the plan")
    return record
