"""The state of the job, and what in it needs a person: the list, the mod-time, the shards, the last runs.

Writes nothing.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from chatsync.core import (
    ModTimeState,
    counted,
    disabled_message,
    distance,
    limit_objections,
    older_message,
    short_span,
    short_time,
    total,
    waiting_since,
)
from chatsync.diagnostics.history import short_names
from chatsync.diagnostics.survey import Survey
from chatsync.errors import RecordError
from chatsync.sync.record import Outcome, Record
from chatsync.sync.step_log import DIFF, Step, StepLog, failure_in_words, standing_failures, switched_by

_LAST_RUNS = _PARTS_SHOWN = 5
# As long as `check` waits before it warns.
_LONG = timedelta(hours=2)
# Bytes: less than a plan, a record and a line need.
_LITTLE = 1 << 20


@dataclass(kw_only=True)
class Status(Survey):
    """What was seen, with the last runs by their records, and the step log, its newest step first."""

    steps: list[Step] = field(default_factory=list)

    def read_runs(self) -> None:
        """Read the records of the last runs."""
        self.read_records(_LAST_RUNS)

    def gather(self) -> Self:
        """Read every part, and compare the list with the shards if both could be read completely."""
        self.read_runs()
        self.look()
        self.look_at_export()
        self.compare()
        try:
            self.steps = StepLog(self.settings.records).newest(feature=self.settings.feature.name)
        except RecordError as error:
            self.errors["records"] = error
        return self


def warnings(status: Status, *, now: datetime) -> list[str]:
    """List what needs a person, the most serious first. `now` is this machine's clock, as that of the step log."""
    return [
        *failed_parts(status),
        *_about_modtime(status, now),
        *(failure_in_words(failure, now=now) for failure in standing_failures(status.steps)),
        *_about_disk(status),
        *_about_silence(status, now),
        *_about_list(status),
        *(_about_changes(status) if status.plan else _about_list_alone(status)),
        *_about_runs(status),
    ]


def failed_parts(status: Status) -> list[str]:
    """Say what could not be read and why; of very many, only the names of the later ones."""
    more = list(status.errors)[_PARTS_SHOWN:]
    names = [f"{counted(len(more), 'more part')} could not be read: {', '.join(more)}"] if more else []
    return [*map(str, list(status.errors.values())[:_PARTS_SHOWN]), *names]


def waiting(status: Status, *, now: datetime) -> str | None:
    """Return what the next run will do for a list that waits, and when it is due; None when no list waits."""
    if status.meaning is not ModTimeState.LIST_IS_NEWER or status.plan is None:
        return None
    expired = status.state is not None and status.state.is_expired_switch
    never = "No list was ever synced" if status.plan.modtime is None else "The list waits to be synced"
    since = "The switch-off has expired" if expired else never
    changes = counted(status.plan.changes, "change") if status.plan.changes else "no change"
    refused = limit_objections(status.plan, status.settings.limits)
    what = "would be refused by a limit" if refused else f"makes {changes}"
    return f"{since}; the next run {what}{_due(status.steps, now)}."


def _due(steps: Sequence[Step], now: datetime) -> str:
    """Return when the next run is due, from the time between the last two; empty if that is not known."""
    ends = [step.time for step in steps if step.step == "diff"][:2]
    if not ends:
        return ""
    ended = f" (the last one was {distance(ends[0], now=now)}"
    due = ends[0] + (ends[0] - ends[-1])
    return f"{ended}, so it is due in {short_span(due - now)})" if due > now else f"{ended})"


def _about_modtime(status: Status, now: datetime) -> Iterator[str]:
    state, meaning = status.state, status.meaning
    if state is None:
        return
    if meaning is ModTimeState.DISABLED and state.modtime is not None:
        by = switched_by(status.steps, state.modtime, now=now)
        yield f"{disabled_message(state.modtime)}{f'; {by}' if by else ''}"
    if meaning is ModTimeState.LIST_IS_OLDER and status.version is not None:
        yield older_message(state, list_time=status.version.modified)
    if meaning is ModTimeState.LIST_IS_NEWER and status.version is not None:
        time = state.now - waiting_since(state, list_time=status.version.modified)
        if time >= _LONG:
            question = "" if standing_failures(status.steps) else ": does the job run?"
            yield f"the list has been waiting to be synced for {short_span(time)}{question}"


def _about_disk(status: Status) -> Iterator[str]:
    """Tell of a full disk: no step can write its line any more, so that the step log seems to say that all is well."""
    folder = status.settings.records.dir
    if not folder or not Path(folder).is_dir():
        return
    free = shutil.disk_usage(folder).free
    if free < _LITTLE:
        yield f"records.dir: the disk of {folder} is full ({free >> 10} KiB free): runs can't be recorded and will fail"


def _about_silence(status: Status, now: datetime) -> Iterator[str]:
    """Tell of a job that has left no line for much longer than it used to: it does not run, or can't write them."""
    ends = [step.time for step in status.steps if step.step == DIFF and not step.by_hand][:_LAST_RUNS]
    if len(ends) < _LAST_RUNS or now - ends[0] < max(_LONG, 3 * (ends[0] - ends[-1]) / (len(ends) - 1)):
        return
    log = "records.dir"
    yield f"the last diff in the step log ended {distance(ends[0], now=now)}: does the job run, and can it write {log}?"


def _about_list(status: Status) -> Iterator[str]:
    listed = status.listed
    if listed is None:
        return
    if listed.rejected_count:
        first = listed.rejected[0]
        example = f"row {first.row}: {first.value!r}, {first.reason}"
        rows = counted(listed.rejected_count, "row")
        hint = "`chatsync diff --left-out FILE.csv` writes all of them for the owners of the list"
        yield f"the list has {rows} without a client id ({example}); {hint}"
    if status.state is not None and listed.version.modified > status.state.now:
        yield f"the list is from the future of the dict database's clock: {short_time(listed.version.modified)}"


def _about_list_alone(status: Status) -> Iterator[str]:
    """Yield the signs of a wrong list that can be seen without the databases."""
    listed = status.listed
    if listed is None:
        return
    if not listed.ids:
        way_out = "" if listed.rows else " without --allow-empty"
        yield f"the list holds no client ({counted(listed.rows, 'row')}); apply refuses that{way_out}"
    missing = [client for client in status.settings.limits.must_contain if client not in listed.ids]
    if missing:
        count = counted(len(missing), "client")
        yield f"the list lacks {count} of limits.must_contain ({missing[0]}): it is the wrong list"


def _about_changes(status: Status) -> Iterator[str]:
    if (plan := status.plan) is None:
        return
    told = " ".join(failure.last.message or "" for failure in standing_failures(status.steps))
    for objection in limit_objections(plan, status.settings.limits):
        if objection.reason in told:
            continue
        yield f"apply would refuse a plan made now: {objection.reason}"
    if plan.changes and status.meaning is ModTimeState.SYNCED:
        counts = f"{counted(total(plan.turn_off), 'client')} must be turned off and {total(plan.turn_on)} on"
        yield f"synced by the mod-time, but {counts}; a run without --if-modified does it, `chatsync diff` shows them"


def _about_runs(status: Status) -> Iterator[str]:
    """Yield a warning about a last run that did not succeed, unless everything was synced since."""
    last = status.runs[0] if status.runs else None
    if last is None or last.outcome is Outcome.DONE or _is_overcome(status, last):
        return
    name = short_names(status.known).get(last.id, last.id)
    ended = {
        Outcome.STARTED: "is still running or was killed: `chatsync diff` shows what is left, and the next run does it",
        Outcome.STOPPED: "was stopped",
    }
    why = f": {last.error}" if last.error else ""
    yield f"the last run that changed anything, {name}, {ended.get(last.outcome, 'failed')}{why}"


def _is_overcome(status: Status, run: Record) -> bool:
    """Whether a later sync succeeded, or nothing is left to do, or the step log shows the same failure."""
    in_step = status.meaning is ModTimeState.SYNCED and status.plan is not None and not status.plan.changes
    told = any(failure.last.trace_id == run.trace_id for failure in standing_failures(status.steps))
    synced = any(
        step.step == "set-modtime" and step.is_good and not step.by_hand and step.time > run.began
        for step in status.steps
    )
    return in_step or told or synced
