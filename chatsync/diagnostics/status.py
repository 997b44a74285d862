"""How things stand with the job: the list, the mod-time, the shards, what differs, the last runs. Writes nothing.

Every part is looked at by itself, so that one which is down hides no other.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Limits, Settings
from chatsync.core.client_sets import total
from chatsync.core.diff import ExclusionList
from chatsync.core.modtime import DictState, ModTimeState, disabled_message, modtime_state
from chatsync.core.objections import refusals
from chatsync.core.plan import Plan
from chatsync.core.times import short_span, short_time
from chatsync.databases.dict_database import DictDatabase
from chatsync.databases.shard_database import on_every_shard
from chatsync.errors import ChatsyncError, DeadlineError, PropertyError, StoppedError
from chatsync.exclusions import open_list
from chatsync.parallel import Ended, SideBySide
from chatsync.progress import Progress
from chatsync.sync.planner import compare
from chatsync.sync.records import Outcome, Record, Records

# A person waits for the answer; what doesn't answer by then is down.
_PATIENCE_SECONDS = 5
_LAST_RUNS = 5
# As long as `check` waits before it warns.
_LONG = timedelta(hours=2)

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Status:
    """What was seen; None or nothing where it could not be, and then `errors` says why, by part.

    `off` are the clients that are off, by shard; `set_at` is when the mod-time was written; `plan` is
    what a run without --if-modified would do now, known once all else is.
    """

    listed: ExclusionList | None = None
    feature_id: int | None = None
    state: DictState | None = None
    set_at: datetime | None = None
    off: dict[int, BitMap64] = field(default_factory=dict)
    plan: Plan | None = None
    runs: list[Record] = field(default_factory=list)
    errors: dict[str, ChatsyncError] = field(default_factory=dict)

    @property
    def meaning(self) -> ModTimeState | None:
        """What the mod-time means; None while nobody can tell."""
        if self.state is None:
            return None
        if self.listed is None:
            return ModTimeState.DISABLED if self.state.is_disabled else None
        modified = self.listed.version.modified
        return modtime_state(self.state, list_time=modified)


def gather(settings: Settings, scope: CancelScope, *, trace_id: str, progress: Progress) -> Status:
    """Look at every part, and compare the list with the shards where both could be read whole."""
    scope.retry_timeout = min(scope.retry_timeout, _PATIENCE_SECONDS)
    status = Status()
    dict_task = SideBySide({"dict": partial(_look_at_dict, settings, scope, status)}, workers=1)
    try:
        with open_list(settings, scope) as source, progress("reading the list", source.version.rows or 0) as advance:
            status.listed = source.read(advance)
    except ChatsyncError as error:
        scope.check()
        status.errors["list"] = error
    for name, outcome in dict_task.outcomes(scope):
        _note(status, name, outcome)
    if status.feature_id is not None:
        _read_shards(settings, scope, status, status.feature_id)
    _compare(settings, scope, status, trace_id=trace_id)
    _read_records(settings, status)
    return status


def _look_at_dict(settings: Settings, scope: CancelScope, status: Status) -> None:
    with DictDatabase(settings, scope) as database:
        status.feature_id = database.feature_id()
        status.set_at = database.set_at()
        status.state = database.state()


def _read_shards(settings: Settings, scope: CancelScope, status: Status, feature_id: int) -> None:
    shards = settings.databases.shards
    outcomes = dict(on_every_shard(settings, scope, lambda shard: shard.read_off(feature_id)).outcomes(scope))
    for shard in shards:
        _note(status, f"shard {shard}", outcomes[shard])
        if outcomes[shard].value is not None:
            status.off[shard] = outcomes[shard].unwrap()


def _compare(settings: Settings, scope: CancelScope, status: Status, *, trace_id: str) -> None:
    if status.listed is None or status.state is None or len(status.off) < len(settings.databases.shards):
        return
    try:
        status.plan = compare(settings, scope, status.state, status.listed, status.off, trace_id=trace_id)
    except (StoppedError, DeadlineError):
        raise
    except ChatsyncError as error:
        status.errors["changes"] = error


def _note(status: Status, part: str, outcome: Ended[BitMap64] | Ended[None]) -> None:
    if isinstance(outcome.error, ChatsyncError):
        status.errors["mod-time" if isinstance(outcome.error, PropertyError) else part] = outcome.error
    elif outcome.error is not None:
        raise outcome.error


def _read_records(settings: Settings, status: Status) -> None:
    records = Records(settings.records)
    if records.kept:
        try:
            status.runs = list(islice(records.newest(), _LAST_RUNS))
        except ChatsyncError as error:
            status.errors["records"] = error


def warnings(status: Status, limits: Limits) -> list[str]:
    """List what needs a person, the gravest first."""
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
    if meaning is ModTimeState.LIST_IS_NEWER and status.listed is not None:
        waiting = state.now - status.listed.version.modified
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
        yield f"the list holds no client ({listed.rows} rows); apply refuses that without --allow-empty"
    missing = [client for client in limits.must_contain if client not in listed.ids]
    if missing:
        count = len(missing)
        yield f"the list lacks {count} of the clients of limits.must_contain ({missing[0]}): it is the wrong list"


def _about_changes(status: Status, plan: Plan, limits: Limits) -> Iterator[str]:
    for refusal in refusals(plan, limits):
        yield f"apply would refuse a plan made now: {refusal}"
    if plan.changes and status.meaning is ModTimeState.SYNCED:
        counts = f"{total(plan.turn_off)} clients are to be turned off and {total(plan.turn_on)} on"
        yield f"synced by the mod-time, but {counts}; a run without --if-modified does it, `chatsync diff` shows them"


def _about_runs(status: Status) -> Iterator[str]:
    last = status.runs[0] if status.runs else None
    if last is not None and last.outcome is not Outcome.DONE:
        why = f": {last.error}" if last.error else ""
        ended = {Outcome.STARTED: "is under way or was killed", Outcome.STOPPED: "was stopped"}
        yield f"the last run that changed anything, {last.id}, {ended.get(last.outcome, 'failed')}{why}"
