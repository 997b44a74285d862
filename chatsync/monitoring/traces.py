"""What a command of the chain writes when it ends: metrics, a line in the step log, and a notification."""

import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from chatsync.config.places import find_config
from chatsync.config.settings import Traces
from chatsync.config.traces import read_traces
from chatsync.core import Action, Plan, ShardResult, list_is_newer
from chatsync.errors import ConfigError, DatabaseError, OutputError, RecordError
from chatsync.monitoring import metrics
from chatsync.monitoring.metrics import Facts
from chatsync.monitoring.notify import notify
from chatsync.sync.step_log import CHAIN, DIFF, Step, StepLog, current_user

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a command of the chain ended, what it found (at `seen_at`) and what it did.

    `plan` was seen by an earlier command if `seen_at` is None; `modtime` is what was set, at `modtime_at`.
    `is_step` is false for a command of an operator that is not part of the job: an undo, a mod-time set by hand.
    """

    method: str
    is_step: bool
    trace_id: str
    code: int
    seconds: float
    error: Exception | None
    message: str | None
    plan: Plan | None
    seen_at: datetime | None
    results: Sequence[ShardResult] | None
    modtime: datetime | None
    modtime_at: datetime | None
    reason: str | None
    ended: datetime = field(default_factory=lambda: datetime.now(UTC))


def leave_traces(ending: Ending, settings: Traces | Path | None) -> None:
    """Write the metrics and the step log of a command of the chain, and notify.

    If the configuration could not be loaded, `settings` is its file or None: even a wrong configuration may name the
    files to write. Never raises an expected error: it becomes a warning.
    """
    if ending.method not in CHAIN:
        return
    try:
        traces = settings if isinstance(settings, Traces) else read_traces(find_config(settings))
    except ConfigError:
        return
    if traces.metrics.textfile:
        step = ending.method if ending.is_step else None
        from chatsync.monitoring import textfile  # late: a job without metrics does not need the time to import it

        textfile.record(
            traces.metrics.textfile,
            _facts(ending),
            feature=traces.feature.name,
            step=step,
            code=ending.code,
            seconds=ending.seconds,
        )
    log, ended = StepLog(traces.records), _step(ending, traces.feature.name)
    unlogged: list[Step] = []
    steps: list[Step] = []
    try:
        log.append(ended)
    except OutputError as error:
        _log(error, ending)
        unlogged = [ended]
    if traces.notify.command:
        try:
            steps = log.newest(feature=traces.feature.name)
        except RecordError as error:
            _log(error, ending)
        # On a full disk the former state is not known: it is better to notify of a failure at every run than never.
        notify(traces.notify, [*unlogged, *steps])


def _log(error: Exception, ending: Ending) -> None:
    """Log what went wrong with the step log. The last line of a command that failed says why it failed."""
    logger.log(logging.INFO if ending.code else logging.WARNING, "%s", error)


def _facts(ending: Ending) -> list[Facts]:
    """Return what the command knows for the metrics."""
    facts = []
    if ending.plan and ending.seen_at:
        facts.append(metrics.of_diff(ending.plan, now=ending.seen_at))
    if ending.plan and ending.results is not None:
        facts.append(metrics.of_apply(ending.plan, ending.results))
    if ending.modtime and ending.modtime_at:
        facts.append(metrics.of_modtime(ending.modtime, now=ending.modtime_at))
    if isinstance(ending.error, DatabaseError) and ending.error.database:
        facts.append(metrics.of_failure(ending.error.database))
    return facts


def _step(ending: Ending, feature: str) -> Step:
    plan = ending.plan
    planned = plan.counts if plan and plan.was_read else {}
    return Step(
        time=ending.ended,
        step=ending.method,
        trace_id=ending.trace_id,
        feature=feature,
        exit_code=ending.code,
        seconds=round(ending.seconds, 3),
        user=current_user(),
        host=socket.gethostname(),
        message=ending.message,
        verdict=plan.verdict.value if plan else None,
        counts={**planned, **_done(ending.results)},
        waits=ending.method == DIFF and plan is not None and list_is_newer(plan.list_time, plan.seen_modtime),
        by_hand=not ending.is_step,
        modtime=None if ending.is_step else ending.modtime,
        reason=ending.reason,
    )


def _done(results: Sequence[ShardResult] | None) -> Mapping[str, int]:
    """Return how much an apply changed and how much is missing; empty for other commands."""
    if results is None:
        return {}
    changed = {
        f"{action.value.replace('turn_', 'turned_')}": sum(len(result.tallies[action].changed) for result in results)
        for action in Action
    }
    return {**changed, "missing": sum(result.failed for result in results)}
