"""How things stand with the job: the list, the mod-time, the shards, what differs, the last runs. Writes nothing.

Every part is looked at by itself, so that one which is down hides no other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Limits, Settings
from chatsync.core.client_sets import total
from chatsync.core.modtime import ModTimeState, disabled_message, older_message, waiting_since
from chatsync.core.objections import limit_objections
from chatsync.core.plan import Plan
from chatsync.core.times import short_span, short_time
from chatsync.diagnostics.survey import Survey
from chatsync.errors import ChatsyncError
from chatsync.progress import Progress
from chatsync.sync.record import Outcome, Record
from chatsync.sync.records import Records

_LAST_RUNS = 5
# As long as `check` waits before it warns.
_LONG = timedelta(hours=2)


@dataclass(kw_only=True)
class Status(Survey):
    """What was seen, the last runs by their records, and the ids of all that are known."""

    runs: list[Record] = field(default_factory=list)
    known: list[str] = field(default_factory=list)


def gather(settings: Settings, scope: CancelScope, *, trace_id: str, progress: Progress) -> Status:
    """Look at every part, and compare the list with the shards where both could be read whole."""
    status = Status(settings=settings, scope=scope)
    status.read_list_and_dict(progress)
    status.compare(trace_id=trace_id)
    records = Records(settings.records)
    if records.kept:
        try:
            status.known = records.runs()
            status.runs = list(islice(records.newest(), _LAST_RUNS))
        except ChatsyncError as error:
            status.errors["records"] = error
    return status


def warnings(status: Status) -> list[str]:
    """List what needs a person, the most serious first."""
    limits = status.settings.limits
    return [
        *(str(error) for error in status.errors.values()),
        *_about_modtime(status),
        *_about_list(status),
        *(_about_changes(status, status.plan, limits) if status.plan else _about_list_alone(status, limits)),
        *_about_runs(status),
    ]


def _about_modtime(status: Status) -> Iterator[str]:
    state, meaning = status.state, status.meaning
    if state is None:
        return
    if meaning is ModTimeState.DISABLED and state.modtime is not None:
        yield disabled_message(state.modtime)
    if meaning is ModTimeState.LIST_IS_OLDER and status.version is not None:
        yield older_message(state, list_time=status.version.modified)
    if meaning is ModTimeState.LIST_IS_NEWER and status.version is not None:
        waiting = state.now - waiting_since(state, list_time=status.version.modified)
        if waiting >= _LONG:
            yield f"the list has been waiting to be synced for {short_span(waiting)}: does the job run?"


def _about_list(status: Status) -> Iterator[str]:
    listed = status.listed
    if listed is None:
        return
    if listed.rejected_count:
        first = listed.rejected[0]
        example = f"row {first.row}: {first.value!r}, {first.reason}"
        yield f"{listed.rejected_count} rows hold no client id ({example}); tell those who keep the list"
    if status.state is not None and listed.version.modified > status.state.now:
        yield f"the list is from the future of the dict database's clock: {short_time(listed.version.modified)}"


def _about_list_alone(status: Status, limits: Limits) -> Iterator[str]:
    """Say what can be told of a wrong list while the databases, which the limits count against, are not known."""
    listed = status.listed
    if listed is None:
        return
    if not listed.ids:
        way_out = "" if listed.rows else " without --allow-empty"
        yield f"the list holds no client ({listed.rows} rows); apply refuses that{way_out}"
    missing = [client for client in limits.must_contain if client not in listed.ids]
    if missing:
        count = len(missing)
        yield f"the list lacks {count} of the clients of limits.must_contain ({missing[0]}): it is the wrong list"


def _about_changes(status: Status, plan: Plan, limits: Limits) -> Iterator[str]:
    for objection in limit_objections(plan, limits):
        yield f"apply would refuse a plan made now: {objection.reason}"
    if plan.changes and status.meaning is ModTimeState.SYNCED:
        counts = f"{total(plan.turn_off)} clients are to be turned off and {total(plan.turn_on)} on"
        yield f"synced by the mod-time, but {counts}; a run without --if-modified does it, `chatsync diff` shows them"


def _about_runs(status: Status) -> Iterator[str]:
    last = status.runs[0] if status.runs else None
    if last is not None and last.outcome is not Outcome.DONE:
        why = f": {last.error}" if last.error else ""
        ended = {Outcome.STARTED: "is under way or was killed", Outcome.STOPPED: "was stopped"}
        yield f"the last run that changed anything, {last.id}, {ended.get(last.outcome, 'failed')}{why}"
