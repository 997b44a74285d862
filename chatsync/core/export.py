"""The rules for a feature state from an export: when the export may be used, and when a plan from it is refused. Pure.

A stale export never causes a wrong change, because every difference is confirmed in the databases. But a diff would
miss what `apply` changed after the export was made, so the last apply must be older than the export. `apply` writes
its time into a property.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from chatsync.config.settings import Limits
from chatsync.core.plan import Plan, PlanExport
from chatsync.core.times import format_time, parse_time, short_span, short_time
from chatsync.errors import ChatsyncError, OutOfDateError, PropertyError, RefusedError

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_LIVE = "`chatsync diff --live` reads the databases instead"


@dataclass(frozen=True, kw_only=True)
class LastApply:
    """The time of the last apply, after which it committed nothing, and the trace id of its plan.

    While the apply runs, this is the latest time at which it can commit; at its end, it becomes the end time.
    """

    time: datetime
    trace_id: str = ""

    def __str__(self) -> str:
        """Format the value for the property."""
        return f"{format_time(self.time)} {self.trace_id}".strip()


def parse_last_apply(raw: str | None, *, name: str, where: str, timezone: tzinfo) -> LastApply:
    """Read the property. Raises PropertyError when it is not a time, as that does not mean "nothing was applied"."""
    parts = (raw or "").strip().split(" ")
    trace_id = parts.pop() if _TRACE_ID.fullmatch(parts[-1]) else ""
    moment = " ".join(parts)
    try:
        return LastApply(time=parse_time(moment, timezone=timezone), trace_id=trace_id)
    except ValueError:
        shown = "NULL" if raw is None else repr(raw[:60])
        raise PropertyError(
            f"property {name} in {where} holds {shown}, which is not a time of an apply, so no export can be used",
            way_out=f"{_LIVE}, and the next apply writes the property again",
        ) from None


def why_unusable(as_of: datetime, *, last_apply: LastApply | None, now: datetime, limits: Limits) -> str:
    """Return why an export must not be used; empty if it may be used. `now` is the dict database's clock."""
    if age := _too_old(as_of, now=now, limits=limits):
        return age
    if as_of > now:
        return f"{_as_of(as_of)}, later than the clock of the dict database, {short_time(now)}"
    if last_apply is None:
        return "no apply has written its time yet, so there may be changes later than the export"
    if as_of <= last_apply.time:
        return f"{_as_of(as_of)}, not after the last apply, {short_time(last_apply.time)}"
    return ""


def _as_of(moment: datetime) -> str:
    return f"the export is as of {short_time(moment)}"


def _too_old(as_of: datetime, *, now: datetime, limits: Limits) -> str:
    if now - as_of <= timedelta(seconds=limits.export_max_age):
        return ""
    most = short_span(timedelta(seconds=limits.export_max_age))
    return f"{_as_of(as_of)}, {short_span(now - as_of)} ago, over limits.export_max_age = {most}"


def stale(why: str) -> RefusedError:
    """Return the error for an export that may not be used when export.when_stale is "refuse"."""
    return RefusedError(why, way_out=f'{_LIVE}; export.when_stale = "refuse" forbids it without that option')


def export_objections(plan: Plan, *, now: datetime, limits: Limits) -> Iterator[ChatsyncError]:
    """List the objections to a plan from an export: the export's age, and too many contradicted differences."""
    if (export := plan.state_from) is None:
        return
    if age := _too_old(export.time, now=now, limits=limits):
        yield RefusedError(age, way_out=_LIVE)
    if contradicted := _contradicted(export, limits):
        yield RefusedError(contradicted, way_out=f"{_LIVE}; no option overrides it")


def _contradicted(export: PlanExport, limits: Limits) -> str:
    """Return the message for too many contradictions (wrong feature, old or incomplete export); else empty."""
    count, differences = export.contradicted, export.confirmed + export.contradicted
    if count <= limits.free or count * 100 <= limits.contradicted_percent * differences:
        return ""
    share = f"{count * 100 / differences:.3g} %"
    return (
        f"the databases contradict {count} of {differences} differences between the list and the export, {share}, over "
        f"limits.contradicted_percent = {limits.contradicted_percent:g}: is {export.source} whole, and the right one?"
    )


def check_last_apply(plan: Plan, last_apply: LastApply | None) -> None:
    """Refuse a plan from an export if anything else was applied after its `diff`. Raises OutOfDateError."""
    if (export := plan.state_from) is None:
        return
    if last_apply is None:
        raise OutOfDateError("the time of the last apply, which its `diff` saw, is no longer in the property")
    if str(last_apply) != export.last_apply and last_apply.trace_id != plan.trace_id:
        since = f"another apply wrote at {short_time(last_apply.time)}"
        raise OutOfDateError(f"{since}, and the plan was made from an export as of {short_time(export.time)}")
