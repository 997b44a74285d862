"""What a command of the chain leaves behind when it ends: metrics, and a line in the step log."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from chatsync.config.settings import Traces
from chatsync.core.client_sets import total
from chatsync.core.plan import Plan
from chatsync.core.times import format_time
from chatsync.errors import DatabaseError
from chatsync.monitoring import metrics
from chatsync.monitoring.metrics import CHANGES, MISSING, Facts
from chatsync.sync.step_log import Step, StepLog, current_user


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a command of the chain ended, and what it learnt.

    `is_step` is false for what an operator did for other ends: an undo, or a mod-time set by hand.
    """

    method: str
    is_step: bool
    trace_id: str
    code: int
    seconds: float
    error: Exception | None
    message: str | None
    plan: Plan | None
    facts: Sequence[Facts]
    modtime: datetime | None = None
    reason: str | None = None
    ended: datetime = field(default_factory=lambda: datetime.now(UTC))


def leave_traces(ending: Ending, traces: Traces) -> None:
    """Write the metrics and the step log. Never raises an expected error: what goes wrong is a warning."""
    if traces.metrics.textfile:
        facts = list(ending.facts)
        if isinstance(ending.error, DatabaseError) and ending.error.database:
            facts.append(metrics.of_failure(ending.error.database))
        step = ending.method if ending.is_step else None
        metrics.record(traces.metrics.textfile, facts, step=step, code=ending.code, seconds=ending.seconds)
    StepLog(traces.records).append(_step(ending, traces.feature.name))


def _step(ending: Ending, feature: str) -> Step:
    return Step(
        time=format_time(ending.ended),
        step=ending.method,
        trace_id=ending.trace_id,
        feature=feature,
        exit_code=ending.code,
        seconds=round(ending.seconds, 3),
        user=current_user(),
        host=socket.gethostname(),
        message=ending.message,
        verdict=ending.plan.verdict.value if ending.plan else None,
        counts={**_planned(ending.plan), **_done(ending.facts)},
        by_hand=not ending.is_step,
        modtime=format_time(ending.modtime) if ending.modtime else None,
        reason=ending.reason,
    )


def _planned(plan: Plan | None) -> Mapping[str, int]:
    if plan is None or not plan.was_read:
        return {}
    return {
        "turn_off": total(plan.turn_off),
        "turn_on": total(plan.turn_on),
        "unknown": len(plan.unknown),
        "rejected": plan.exclusions.rejected_count,
    }


def _done(facts: Sequence[Facts]) -> Mapping[str, int]:
    """Return what an apply changed and what is missing, as its metrics say; nothing for other commands."""
    learnt = metrics.merge({}, *facts)
    if CHANGES not in learnt:
        return {}
    changed = {
        f"{action.replace('turn_', 'turned_')}": int(
            sum(count for (kind, _), count in learnt[CHANGES].items() if kind == action)
        )
        for action in ("turn_off", "turn_on")
    }
    return {**changed, "missing": int(sum(learnt.get(MISSING, {}).values()))}
