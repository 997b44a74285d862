"""Run records: what each apply really changed, one file for each run in the folder `records.dir`.

A run writes its record as `started` before the first batch and replaces it at its end. One that
still says `started` belongs to a run that is under way or was killed: its plan is known, what it
changed of it is not.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
from pyroaring import BitMap64

from chatsync.config.settings import Records as Section
from chatsync.core import plan as plans
from chatsync.core.plan import Plan
from chatsync.core.results import Action
from chatsync.errors import ConfigError, OutputError, RecordError, UnknownRunError
from chatsync.files import write_whole
from chatsync.sync import plan_file

VERSION = 1

_NAME = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)-[0-9A-Za-z]*", re.ASCII)
_TIME = "%Y%m%dT%H%M%S.%fZ"
_SHORT_TRACE = 8
_NAMED = 5

logger = logging.getLogger(__name__)


class Outcome(StrEnum):
    """How a run ended."""

    STARTED = "started"  # it did not say: it is under way, or was killed
    DONE = "done"
    STOPPED = "stopped"  # by a signal, the deadline, the mod-time or a lost lock
    FAILED = "failed"  # on one shard at least


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ActionRecord(_Part, frozen=True, kw_only=True):
    """One action on one shard: `changed` are the clients whose row this run changed.

    `in_doubt` are those of a commit whose answer was lost; they are counted in `failed`.
    """

    planned: int
    changed: BitMap64
    already: int
    failed: int
    in_doubt: BitMap64 = msgspec.field(default_factory=BitMap64)

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
        """Return what was done of one action."""
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
        return datetime.fromisoformat(self.started)

    @property
    def finished(self) -> datetime | None:
        """When the run ended; None while it is `started`."""
        return datetime.fromisoformat(self.ended) if self.ended else None

    @property
    def is_open(self) -> bool:
        """Whether the run never said what it changed."""
        return self.outcome is Outcome.STARTED

    def changed(self, action: Action) -> BitMap64:
        """Join the clients of one action over all shards."""
        return BitMap64().union(*(shard.of(action).changed for shard in self.shards.values()))

    def touched(self, action: Action) -> BitMap64:
        """Join the clients of one action that were changed, or may have been, over all shards."""
        return BitMap64().union(*(shard.of(action).touched for shard in self.shards.values()))

    def count(self, field: str) -> int:
        """Add up `planned`, `already` or `failed` over shards and actions."""
        return sum(getattr(shard.of(action), field) for shard in self.shards.values() for action in Action)

    def planned(self, action: Action) -> BitMap64:
        """Join the clients that the plan had for one action."""
        sets = self.plan.turn_off if action is Action.TURN_OFF else self.plan.turn_on
        return BitMap64().union(*sets.values())


def run_id(started: datetime, trace_id: str) -> str:
    """Name a run so that names sort by time: `20261123T103000.123456Z-3f2a9c1d`. `started` is in UTC."""
    short = re.sub(r"[^0-9A-Za-z]", "", trace_id)[:_SHORT_TRACE]
    return f"{started.strftime(_TIME)}-{short}"


def to_document(record: Record) -> dict[str, Any]:
    """Turn a record into its JSON document; its plan stands there as in the plan file."""
    body = msgspec.to_builtins(record, str_keys=True, enc_hook=list)
    return {"version": body.pop("version"), **body, "plan": plan_file.document(record.plan)}


def from_document(document: Any) -> Record:
    """Check and read the JSON document of a record. Raises ValueError when it is not as written."""
    if not isinstance(document, dict) or document.get("version") != VERSION:
        msg = f"not a record of version {VERSION}"
        raise ValueError(msg)
    plan = plans.from_document(document.get("plan"))
    record = msgspec.convert({**document, "plan": plan}, Record, str_keys=True, dec_hook=plans.id_set)
    _ = record.began, record.finished
    for number, shard in record.shards.items():
        for action, planned in ((Action.TURN_OFF, plan.turn_off), (Action.TURN_ON, plan.turn_on)):
            # The plan's own hash vouches for its ids; a run changes no others.
            if not shard.of(action).touched <= planned.get(number, BitMap64()):
                msg = f"shard {number} changed clients that are not in the plan"
                raise ValueError(msg)
    return record


class Records:
    """The folder of records."""

    def __init__(self, section: Section) -> None:
        """Take the folder from the configuration; without one, nothing is kept and nothing found."""
        self._folder = Path(section.dir) if section.dir else None
        self._keep = timedelta(seconds=section.keep)

    @property
    def kept(self) -> bool:
        """Whether runs leave a record at all."""
        return self._folder is not None

    @property
    def folder(self) -> Path:
        """The folder. Raises ConfigError when none is configured."""
        if self._folder is None:
            msg = "records.dir is not set, so runs leave no record; name a folder in [records] dir"
            raise ConfigError(msg)
        return self._folder

    def path(self, run: str) -> Path:
        """Say where the record of a run is."""
        return self.folder / f"{run}.json"

    def runs(self) -> list[str]:
        """List the ids of the recorded runs, the newest first. Raises ConfigError, RecordError."""
        try:
            names = [
                path.stem for path in self.folder.iterdir() if path.suffix == ".json" and _NAME.fullmatch(path.stem)
            ]
        except FileNotFoundError:  # the first run makes it
            return []
        except OSError as error:
            msg = f"cannot read the records in {self.folder}: {error.strerror}; see records.dir"
            raise RecordError(msg) from None
        return sorted(names, reverse=True)

    def newest(self) -> Iterator[Record]:
        """Yield the records, the newest first; one that can't be read is a warning and left out."""
        for run in self.runs():
            try:
                yield self.load(run)
            except RecordError as error:
                logger.warning("%s; left out", error)

    def load(self, run: str) -> Record:
        """Read one record. Raises RecordError when it is gone, cut short or edited."""
        path = self.path(run)
        try:
            return from_document(json.loads(path.read_bytes()))
        except OSError as error:
            msg = f"cannot read record {path}: {error.strerror}"
        except (ValueError, RecursionError) as error:
            msg = f"record {path} was cut short, edited or is no record ({str(error).splitlines()[0][:200]})"
        raise RecordError(msg)

    def find(self, text: str) -> Record:
        """Find the run whose id is, begins or ends with `text`; UnknownRunError when it isn't just one."""
        known = self.runs()
        alike = [run for run in known if text and (run.startswith(text) or run.endswith(text))]
        found = [text] if text in known else alike
        if len(found) == 1:
            return self.load(found[0])
        there = found or known
        names = ", ".join(there[:_NAMED]) + (", …" if len(there) > _NAMED else "") if there else "none"
        what = f"{len(found)} runs are called {text!r}" if found else f"there is no run {text!r}"
        msg = f"{what} in {self.folder}; there are: {names} (see `chatsync history`)"
        raise UnknownRunError(msg)

    def write(self, record: Record) -> None:
        """Write a record, whole or not at all, for its owner only; the folder is made when missing."""
        path = self.path(record.id)
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            msg = f"cannot write {path}: {error.strerror}; see records.dir"
            raise OutputError(msg) from None
        write_whole(path, plan_file.in_json(to_document(record)))

    def remove(self, run: str) -> None:
        """Remove the record of a run. Raises OutputError."""
        try:
            self.path(run).unlink(missing_ok=True)
        except OSError as error:
            msg = f"cannot remove {self.path(run)}: {error.strerror}"
            raise OutputError(msg) from None

    def prune(self, *, now: datetime) -> None:
        """Remove the records older than `records.keep`."""
        oldest = (now - self._keep).strftime(_TIME)
        for run in self.runs():
            if run.partition("-")[0] < oldest:
                self.remove(run)
