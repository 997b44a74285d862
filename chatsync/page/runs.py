"""The runs of the job as the page shows them: the last ones in a table, and the numbers for the charts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby

from chatsync.core import NEVER, Action, Verdict, is_disabled
from chatsync.language import Language
from chatsync.page.charts import Change, Point
from chatsync.page.headline import outcome
from chatsync.sync.record import Outcome, Record
from chatsync.sync.step_log import Step

_SHOWN = 15


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run, or `count` similar runs in a row, of which `first` is the oldest. Counts are None if not known."""

    when: datetime
    first: datetime
    outcome: str
    is_good: bool
    off: int | None = 0
    on: int | None = 0
    seconds: float | None = None
    count: int = 1

    def is_like(self, other: "Run") -> bool:
        """Whether both changed nothing and ended in the same way, so that they can share one line."""
        return self.outcome == other.outcome and not (self.off or self.on or other.off or other.on)


def last_runs(steps: Sequence[Step], records: Sequence[Record], language: Language) -> list[Run]:
    """Return the last runs, the newest first; without a step log, those that changed something."""
    if not steps:
        return [_of_record(record, language) for record in records[:_SHOWN]]
    open_traces = {record.trace_id for record in records if record.is_open}
    folded: list[Run] = []
    for run in _chains(steps, open_traces, language):
        if folded and folded[-1].is_like(run):
            last = folded[-1]
            folded[-1] = replace(last, first=run.first, count=last.count + 1, seconds=None)
        elif len(folded) == _SHOWN:
            break
        else:
            folded.append(run)
    return folded


def _chains(steps: Iterable[Step], open_traces: set[str], language: Language) -> Iterator[Run]:
    for (_, by_hand), group in groupby(steps, key=lambda step: (step.trace_id, step.by_hand)):
        chain = list(group)
        yield _by_hand(chain[0], language) if by_hand else _of_chain(chain, open_traces, language)


def _of_chain(chain: Sequence[Step], open_traces: set[str], language: Language) -> Run:
    """Describe one run by its steps, the newest first."""
    last, first = chain[0], chain[-1]
    off, on = (sum(step.counts.get(key, 0) for step in chain) for key in ("turned_off", "turned_on"))
    if not last.is_good:
        text = outcome(last.step, last.exit_code, language)
    elif last.trace_id in open_traces:
        text = language.say("run.open")
    elif last.verdict == Verdict.DISABLED:
        text = language.say("run.disabled")
    elif off or on or last.step != "diff":
        text = language.say("run.done" if off or on else "run.nothing")
    else:
        text = language.say("run.compared" if last.verdict == Verdict.CHANGES else "run.nothing")
    seconds = sum(step.seconds for step in chain)
    began = first.time - timedelta(seconds=first.seconds)
    return Run(when=began, first=began, outcome=text, is_good=last.is_good, off=off, on=on, seconds=seconds)


def _by_hand(step: Step, language: Language) -> Run:
    if not step.is_good:
        text = outcome(step.step, step.exit_code, language)
    elif step.modtime is None:
        text = language.say("run.undo")
    elif is_disabled(step.modtime, now=step.time):
        text = language.say("run.switched_off", until=language.until(step.modtime))
    elif step.modtime == NEVER:
        text = language.say("run.reset")
    else:
        text = language.say("run.modtime", time=language.moment(step.modtime))
    off, on = step.counts.get("turned_off", 0), step.counts.get("turned_on", 0)
    return Run(when=step.time, first=step.time, outcome=text, is_good=step.is_good, off=off, on=on)


def _of_record(record: Record, language: Language) -> Run:
    key = {
        Outcome.STARTED: "run.open",
        Outcome.STOPPED: "run.stopped",
        Outcome.FAILED: "run.failed.apply",
        Outcome.DONE: "run.undo" if record.undo_of else "run.done",
    }[record.outcome]
    known = not record.is_open
    return Run(
        when=record.began,
        first=record.began,
        outcome=language.say(key),
        is_good=record.outcome is Outcome.DONE,
        off=len(record.changed(Action.TURN_OFF)) if known else None,
        on=len(record.changed(Action.TURN_ON)) if known else None,
        seconds=(record.finished - record.began).total_seconds() if record.finished else None,
    )


def off_over_time(records: Sequence[Record], *, off_now: int | None, now: datetime) -> list[Point]:
    """Return how many clients were off before and after each recorded run, and how many are now; the oldest first.

    The time before a first fill is left out: next to a jump from 0, no other change would be visible.
    """
    points: list[Point] = []
    for record in reversed(records):
        before = record.plan.off_now
        if before is None:
            continue
        points.append((record.began, before))
        if record.finished:
            after = before + len(record.changed(Action.TURN_OFF)) - len(record.changed(Action.TURN_ON))
            points.append((record.finished, after))
    if off_now is not None:
        points.append((now, off_now))
    points.sort(key=lambda point: point[0])
    return points[next((at for at, (_, count) in enumerate(points) if count), 0) :]


def changes_by_run(records: Sequence[Record], language: Language, *, most: int) -> list[Change]:
    """Return the changes of the last runs that changed something, the oldest first."""
    changes = []
    for record in records:
        off, on = len(record.changed(Action.TURN_OFF)), len(record.changed(Action.TURN_ON))
        if off or on:
            about = language.say(
                "chart.change", time=language.moment(record.began), off=language.number(off), on=language.number(on)
            )
            changes.append(Change(when=record.began, off=off, on=on, about=about))
        if len(changes) == most:
            break
    return changes[::-1]
