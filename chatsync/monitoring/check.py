"""The check for monitoring: it looks at the list and the databases, not at whether the job ran. Writes no database."""

import json
import logging
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import DictState, ListVersion, format_time, read_time
from chatsync.databases.dict_database import DictDatabase
from chatsync.databases.shard_database import ShardDatabase, on_every_shard
from chatsync.errors import ChatsyncError, DeadlineError, OutputError, RecordError
from chatsync.exclusions import open_list
from chatsync.files import write_whole
from chatsync.monitoring.verdict import Finding, Thresholds, Waiting, failure, judge, waiting, worst
from chatsync.parallel import Ended, SideBySide
from chatsync.sync.planner import make_plan
from chatsync.sync.step_log import StepLog, failure_in_words, standing_failures, switched_by

logger = logging.getLogger(__name__)


def look(
    settings: Settings,
    scope: CancelScope,
    *,
    thresholds: Thresholds,
    drift: bool,
    live: bool,
    timeout: float,
    trace_id: str,
) -> Finding:
    """Judge the list's version against the mod-time, and with `drift` the rows themselves.

    A part that has not answered within `timeout` seconds is not waited for.
    """
    # Retries end early enough to report the last error.
    scope.retry_timeout = min(scope.retry_timeout, timeout / 2)
    version, state, failures = _look_at_all(settings, scope, timeout=timeout)
    if version is None or state is None:
        return worst(failures)
    source, modified, counts = version.source, version.modified, None
    if drift and not failures:
        try:
            made = make_plan(settings, scope, trace_id=trace_id, if_modified=False, live=live)
        except ChatsyncError as error:
            failures = [failure(error)]
        else:
            state, modified, counts = made.state, made.plan.list_time, made.plan.counts
    state_file = StateFile(settings.monitoring.state_file)
    since = waiting(source=source, modified=modified, state=state, former=state_file.read())
    state_file.write(since)
    # The step log is needed only for a list that waits, or a job that is disabled.
    why = _why(settings, state.modtime if state.is_disabled else None) if since or state.is_disabled else ""
    seen = judge(
        source=source, modified=modified, state=state, since=since, why=why, counts=counts, thresholds=thresholds
    )
    return worst([seen, *failures])


def _why(settings: Settings, modtime: datetime | None) -> str:
    """Return from the step log why a list waits, or who disabled the job and why; empty if it does not show that."""
    try:
        steps = StepLog(settings.records).newest(feature=settings.feature.name)
    except RecordError:  # monitoring may run as another user
        return ""
    now = datetime.now(UTC)
    if modtime is not None and (by := switched_by(steps, modtime, now=now)):
        return by
    return " | ".join(failure_in_words(failure, now=now) for failure in standing_failures(steps))


def _look_at_all(
    settings: Settings, scope: CancelScope, *, timeout: float
) -> tuple[ListVersion | None, DictState | None, list[Finding]]:
    """Read the list's version and the dict database's state, and see that every shard answers."""
    tasks: dict[str, partial[Any]] = {
        "list": partial(_list_version, settings, scope),
        "dict": partial(_dict_state, settings, scope),
    }
    both = SideBySide(tasks, workers=len(tasks))
    shards = on_every_shard(settings, scope, ShardDatabase.probe)
    began = time.monotonic()
    seen: dict[str, Ended[Any]] = dict(both.outcomes(scope, within=timeout))
    probed = dict(shards.outcomes(scope, within=max(0.0, began + timeout - time.monotonic())))
    failures = []
    ends = [*((part, seen[part]) for part in tasks), *((f"shard {n}", probed[n]) for n in settings.databases.shards)]
    for part, ended in ends:
        error = ended.error
        if isinstance(error, DeadlineError):
            failures.append(failure(DeadlineError(f"{part}: {error} (--timeout {timeout:g}s)")))
        elif isinstance(error, ChatsyncError):
            failures.append(failure(error))
        elif error is not None:
            raise error
    return seen["list"].value, seen["dict"].value, failures


def _list_version(settings: Settings, scope: CancelScope) -> ListVersion:
    with open_list(settings, scope) as source:
        source.check_column()
        return source.version


def _dict_state(settings: Settings, scope: CancelScope) -> DictState:
    with DictDatabase(settings, scope) as database:
        return database.state()


class StateFile:
    """The file `monitoring.state_file`: since when the list has been waiting, as earlier checks saw it."""

    def __init__(self, path: str) -> None:
        """Take the path; empty if no file is configured."""
        self._path = Path(path) if path else None

    def read(self) -> Waiting | None:
        """Read the file; if it can't be read, that is a warning and the same as no file."""
        if self._path is None:
            return None
        try:
            kept = json.loads(self._path.read_bytes())
            modtime = None if kept["modtime"] is None else read_time(kept["modtime"])
            return Waiting(source=kept["list"], modtime=modtime, since=read_time(kept["since"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            logger.warning("%s is not the state file of a check: %s; see monitoring.state_file", self._path, error)
            return None

    def write(self, since: Waiting | None) -> None:
        """Write since when a list waits, or that none does; a file that can't be written is a warning."""
        if self._path is None:
            return
        kept = (
            {
                "list": since.source,
                "modtime": format_time(since.modtime) if since.modtime else None,
                "since": format_time(since.since),
            }
            if since
            else {}
        )
        try:
            if kept:
                write_whole(self._path, json.dumps(kept) + "\n")
            else:
                self._path.unlink(missing_ok=True)
        except (OSError, OutputError) as error:
            logger.warning("%s; see monitoring.state_file", error)
