"""What holds for a feature state that comes from an export: when it may be used, and what refuses a plan of it. Pure.

A stale export causes no wrong change, since the list alone decides both ways. It makes a diff miss changes that
`apply` made after it: so the last of these must be older than the export. `apply` notes its time in a property.
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
    """What `apply` notes: until when it may have committed, and the trace id of its plan.

    While it is under way that is the latest time at which it can, and later the time of its end.
    """

    time: datetime
    trace_id: str = ""

    def __str__(self) -> str:
        """Write it as it stands in the property."""
        return f"{format_time(self.time)} {self.trace_id}".strip()


def parse_last_apply(raw: str | None, *, name: str, where: str, timezone: tzinfo) -> LastApply:
    """Read the property. Raises PropertyError when it holds no time: that is not "nothing was ever applied"."""
    parts = (raw or "").strip().split(" ")
    trace_id = parts.pop() if _TRACE_ID.fullmatch(parts[-1]) else ""
    moment = " ".join(parts)
    try:
        return LastApply(time=parse_time(moment, timezone=timezone), trace_id=trace_id)
    except ValueError:
        shown = "NULL" if raw is None else repr(raw[:60])
        raise PropertyError(
            f"property {name} in {where} holds {shown}, which is not the time of the last apply, so that no export "
            "can be used",
            way_out=f"{_LIVE}, and the next apply writes the property again",
        ) from None


def why_unusable(as_of: datetime, *, last_apply: LastApply | None, now: datetime, limits: Limits) -> str:
    """Return why an export must not be used; empty where it may. `now` is the dict database's clock."""
    if age := _too_old(as_of, now=now, limits=limits):
        return age
    if as_of > now:
        return f"{_as_of(as_of)}, ahead of the clock of the dict database, {short_time(now)}"
    if last_apply is None:
        return "no apply has noted its time yet, so that changes may be younger than the export"
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
    """Return the error for an export that may not be used where nothing else may be either."""
    return RefusedError(why, way_out=f'{_LIVE}; export.when_stale = "refuse" forbids it without that option')


def export_objections(plan: Plan, *, now: datetime, limits: Limits) -> Iterator[ChatsyncError]:
    """List what speaks against a plan from an export: its age by now, and how much of it was not true."""
    if (export := plan.state_from) is None:
        return
    if age := _too_old(export.time, now=now, limits=limits):
        yield RefusedError(age, way_out=_LIVE)
    if contradicted := _contradicted(export, limits):
        yield RefusedError(contradicted, way_out=f"{_LIVE}; no option lifts this")


def _contradicted(export: PlanExport, limits: Limits) -> str:
    """Return that the databases contradict too much: an export of another feature, an old one, or a part of one."""
    count, differences = export.contradicted, export.confirmed + export.contradicted
    if count <= limits.free or count * 100 <= limits.contradicted_percent * differences:
        return ""
    share = f"{count * 100 / differences:.3g} %"
    return (
        f"the databases contradict {count} of {differences} differences between the list and the export, {share}, over "
        f"limits.contradicted_percent = {limits.contradicted_percent:g}: is {export.source} whole, and the right one?"
    )


def check_last_apply(plan: Plan, last_apply: LastApply | None) -> None:
    """Refuse a plan from an export once anything else was applied since its `diff`. Raises OutOfDateError."""
    if (export := plan.state_from) is None:
        return
    if last_apply is None:
        raise OutOfDateError("the time of the last apply, which its `diff` saw, is gone")
    if str(last_apply) != export.last_apply and last_apply.trace_id != plan.trace_id:
        since = f"another apply wrote at {short_time(last_apply.time)}"
        raise OutOfDateError(f"{since}, and the export that it was made from is as of {short_time(export.time)}")
