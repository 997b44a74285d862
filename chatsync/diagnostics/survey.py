"""Reading the list, the mod-time and the shards part by part, so that one part that is down does not hide the others.

Writes nothing. `status` and `explain` use it; they read one version of the list, once.
"""

import contextlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TypeVar

from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import (
    DictState,
    ExclusionList,
    Ids,
    IdsByShard,
    ListVersion,
    ModTimeState,
    Plan,
    PlanExport,
    Rejected,
    modtime_state,
)
from chatsync.databases.dict_database import DictDatabase
from chatsync.databases.homes import homes_over
from chatsync.databases.shard_database import ShardDatabase, on_every_shard
from chatsync.errors import ChatsyncError, DeadlineError, PropertyError, RecordError, StoppedError
from chatsync.exclusions import open_list, read_list
from chatsync.parallel import Ended, SideBySide, while_alive
from chatsync.sync.from_export import look_at_export, open_export
from chatsync.sync.planner import compare
from chatsync.sync.record import Record
from chatsync.sync.records import Records

# A person waits for the answer: a part that says nothing for so long counts as away. Its retries end before, so
# that its last error can be told.
_ANSWER_SECONDS, _RETRY_SECONDS = 4.0, 3.0
_LOOK_SECONDS = 0.25
_ROWS_KEPT = 3
_NUMBER = re.compile(r"(?<!\d)\d{1,19}(?!\d)", re.ASCII)

_SILENT = f"no answer within {_ANSWER_SECONDS:g}s"

Value = TypeVar("Value")


@dataclass(kw_only=True)
class Survey:
    """What was read. A part that could not be read is None or missing, and `errors` says why, by part.

    `homes` are those of the clients `asked` for, and `rejected` the first rejected rows of the list in which
    their number stands. `off` are the clients that are off, by shard; `plan` is what a run without
    --if-modified would do now; `export` is what `diff` takes, or its reason not to; `runs` are the records that were
    read, `known` the ids of all.
    """

    settings: Settings
    scope: CancelScope
    trace_id: str
    asked: BitMap64 = field(default_factory=BitMap64)
    homes: IdsByShard = field(default_factory=dict)
    version: ListVersion | None = None
    listed: ExclusionList | None = None
    rejected: dict[int, list[Rejected]] = field(default_factory=dict)
    feature_id: int | None = None
    state: DictState | None = None
    off: dict[int, Ids] = field(default_factory=dict)
    plan: Plan | None = None
    export: PlanExport | None = None
    known: list[str] = field(default_factory=list)
    runs: list[Record] = field(default_factory=list)
    errors: dict[str, ChatsyncError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Shorten the retries to what a person waits for."""
        self.scope.retry_timeout = min(self.scope.retry_timeout, _RETRY_SECONDS)
        self._heard = time.monotonic()

    @property
    def meaning(self) -> ModTimeState | None:
        """What the mod-time means; None if that is not known. A disabled job is known even without the list."""
        if self.state is None:
            return None
        # Without the list, the latest possible one: a job that is disabled, is so for any list.
        list_time = self.version.modified if self.version else self.state.now
        meaning = modtime_state(self.state, list_time=list_time)
        return meaning if self.version or meaning is ModTimeState.DISABLED else None

    def look(self) -> None:
        """Read the whole list, and meanwhile the feature, the mod-time, and the homes of the clients asked for.

        Sees also which shards answer. What says nothing for a few seconds is noted as away and not waited for;
        a long list is read to its end as long as rows come.
        """
        end = time.monotonic() + _ANSWER_SECONDS
        dict_task = SideBySide({"dict": self._read_dict}, workers=1)
        probes = on_every_shard(self.settings, self.scope, ShardDatabase.probe)
        self._heard = time.monotonic()
        try:
            self.listed = while_alive(
                self._read_list, check=self._check_list_is_alive, every=_LOOK_SECONDS, give_up=lambda: None
            )
        except ChatsyncError as error:
            self.scope.check()
            self.errors["list"] = error
        for name, outcome in dict_task.outcomes(self.scope, within=max(0.1, end - time.monotonic())):
            self._note(name, outcome)
        self._note_shards(dict(probes.outcomes(self.scope, within=max(0.1, end - time.monotonic()))))

    def _read_list(self) -> ExclusionList:
        with open_list(self.settings, self.scope) as source:
            self.version = source.version

            def heard(_rows: int) -> None:
                self._heard = time.monotonic()

            heard(0)
            return read_list(source, self.keep_rejected, heard=heard)

    def _check_list_is_alive(self) -> None:
        if time.monotonic() - self._heard > _ANSWER_SECONDS:
            section = self.settings.exclusions
            cluster = section.proxy.removeprefix("http://").removeprefix("https://").rstrip("/")
            raise DeadlineError(_SILENT, where=section.file or f"{cluster}:{section.path}")

    def keep_rejected(self, row: Rejected) -> None:
        """Keep a rejected row that contains the number of an asked client, such as `client 8811606`."""
        for number in numbers_in(row.value) if self.asked else ():
            if number in self.asked and len(rows := self.rejected.setdefault(number, [])) < _ROWS_KEPT:
                rows.append(row)

    def _read_dict(self) -> None:
        with DictDatabase(self.settings, self.scope) as database:
            self.feature_id = database.feature_id()
            self.homes = homes_over(database.database, self.asked)
            self.state = database.state()

    def ask_shards(self, ask: Callable[[ShardDatabase], Value], *, within: float | None = None) -> dict[int, Value]:
        """Ask each shard that has answered so far; one that can't, or not in time, is noted and left out."""
        alive = [shard for shard in self.settings.databases.shards if f"shard {shard}" not in self.errors]
        asked = on_every_shard(self.settings, self.scope, ask, shards=alive)
        outcomes = dict(asked.outcomes(self.scope, within=within))
        self._note_shards(outcomes)
        return {shard: outcome.unwrap() for shard, outcome in outcomes.items() if outcome.error is None}

    def _note_shards(self, outcomes: Mapping[int, Ended[Value]]) -> None:
        for shard, outcome in sorted(outcomes.items()):
            self._note(f"shard {shard}", outcome)

    def read_records(
        self,
        limit: int | None = None,
        *,
        about: BitMap64 | None = None,
        until: Callable[[Record], bool] = lambda _: False,
    ) -> list[Record]:
        """Read the run records of this feature, the newest first; an unreadable folder is kept as an error.

        With `about`, only those that name one of these clients. The one for which `until` is true is the last.
        """
        records, feature = Records(self.settings.records), self.settings.feature.name
        if not records.kept:
            return []
        try:
            self.known = records.runs()
            for record in islice(records.newest(feature=feature, about=about), limit):
                self.runs.append(record)
                if until(record):
                    break
            if records.denied:
                self.errors["records"] = records.denied
        except RecordError as error:
            self.errors["records"] = error
        return self.runs

    def oldest_record(self) -> datetime | None:
        """Return when the oldest run of this feature with a readable record began; None if there is none."""
        records, feature = Records(self.settings.records), self.settings.feature.name
        for run in reversed(self.known):
            with contextlib.suppress(RecordError):
                record = records.load(run)
                if record.plan.feature.name == feature:
                    return record.began
        return None

    def compare(self) -> None:
        """Read the feature state of every shard and, if both sides are known completely, make the plan."""
        if (feature_id := self.feature_id) is None:
            return
        self.off = self.ask_shards(lambda database: database.read_off(feature_id))
        if self.listed is None or self.state is None or len(self.off) < len(self.settings.databases.shards):
            return
        try:
            self.plan = compare(self.settings, self.scope, self.state, self.listed, self.off, trace_id=self.trace_id)
        except (StoppedError, DeadlineError):
            raise
        except ChatsyncError as error:
            self.errors["changes"] = error

    def look_at_export(self) -> None:
        """See what `diff` compares the list with, if an export is configured. Nothing of it is read."""
        if not self.settings.export.path or self.state is None or "list" in self.errors:
            return
        try:
            with open_list(self.settings, self.scope) as source:
                export = open_export(self.settings, self.scope, source.cluster)
                self.export = look_at_export(export, self.settings, self.scope, now=self.state.now)
        except ChatsyncError as error:
            self.scope.check()
            self.errors["export"] = error

    def _note(self, part: str, outcome: Ended[Value]) -> None:
        if isinstance(outcome.error, DeadlineError):
            self.scope.check()
            urls = self.settings.databases
            url = urls.dict if part == "dict" else urls.shards[int(part.removeprefix("shard "))]
            self.errors[part] = DeadlineError(_SILENT, where=f"{part} ({url})")
        elif isinstance(outcome.error, ChatsyncError):
            self.errors["mod-time" if isinstance(outcome.error, PropertyError) else part] = outcome.error
        elif outcome.error is not None:
            raise outcome.error


def numbers_in(cell: str) -> set[int]:
    """Find the numbers in a cell that holds more than one number alone: one may be that of a client."""
    return {int(digits) for digits in _NUMBER.findall(cell)}
