"""The result for monitoring: whether the list is synced to the databases, however the job is run.

Pure. Status and performance data are those of the Monitoring Plugins guidelines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from chatsync.core import (
    DictState,
    ModTimeState,
    counted,
    disabled_message,
    modtime_state,
    older_message,
    short_span,
    short_time,
    waiting_since,
)
from chatsync.errors import ChatsyncError, CheckStatus, PropertyError, SourceAwayError, SourceError

# A known problem is worse than an unknown state.
_WEIGHT = (CheckStatus.OK, CheckStatus.WARNING, CheckStatus.UNKNOWN, CheckStatus.CRITICAL)
_COUNTS = ("turn_off", "turn_on", "unknown", "rejected")


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """After which waiting time there is a warning, and when it is critical; how many changes are not yet drift."""

    warning: timedelta
    critical: timedelta
    drift: int


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A list that is newer than the mod-time, and since when it has been newer.

    The list may be written again and again while it is not synced. So the time counts from when it was
    first newer than this mod-time, not from its last write.
    """

    source: str
    modtime: datetime | None
    since: datetime


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The status, why it is so, and how long the list has been waiting (None: not known).

    `counts` are those of a real diff, by name; empty where none was made.
    """

    status: CheckStatus
    message: str
    lag: timedelta | None = None
    counts: Mapping[str, int] | None = None


def waiting(*, source: str, modified: datetime, state: DictState, former: Waiting | None) -> Waiting | None:
    """Return since when the list has been waiting; None while it is synced or the job disabled.

    `former` is the answer of an earlier check; it counts while it is about the same mod-time.
    """
    if modtime_state(state, list_time=modified) is not ModTimeState.LIST_IS_NEWER:
        return None
    same = former is not None and (former.source, former.modtime) == (source, state.modtime)
    since = waiting_since(state, list_time=modified)
    if former is not None and same:
        since = min(since, former.since)
    return Waiting(source=source, modtime=state.modtime, since=since)


def judge(
    *,
    source: str,
    modified: datetime,
    state: DictState,
    since: Waiting | None,
    why: str,
    counts: Mapping[str, int] | None,
    thresholds: Thresholds,
) -> Finding:
    """Return the finding for the list's version, the mod-time, and the `counts` of a real diff or None.

    `why` is the text from the step log about a list that waits or a job that is off.
    """
    because = f"; {why}" if why else ""
    if state.modtime is not None and state.is_disabled:
        message = disabled_message(state.modtime) + because
        return Finding(status=CheckStatus.WARNING, message=message, counts=counts)
    if modtime_state(state, list_time=modified) is ModTimeState.LIST_IS_OLDER:
        return Finding(status=CheckStatus.WARNING, message=older_message(state, list_time=modified), counts=counts)
    if since is not None:
        finding = _judge_waiting(since, modified=modified, now=state.now, counts=counts, thresholds=thresholds)
        return replace(finding, message=finding.message + because)
    synced = f"{source} of {short_time(modified)} is synced"
    changes = counts["turn_off"] + counts["turn_on"] if counts else 0
    if counts and changes > thresholds.drift:
        message = (
            f"{source} of {short_time(modified)} is synced by the mod-time, but "
            f"{counted(counts['turn_off'], 'client')} must be turned off and {counts['turn_on']} on, over "
            f"monitoring.drift_tolerance = {thresholds.drift}; "
            "a run without --if-modified does that, unless a limit refuses it: see `chatsync diff`"
        )
        return Finding(status=CheckStatus.CRITICAL, message=message, lag=timedelta(0), counts=counts)
    return Finding(status=CheckStatus.OK, message=synced, lag=timedelta(0), counts=counts)


def _judge_waiting(
    since: Waiting, *, modified: datetime, now: datetime, counts: Mapping[str, int] | None, thresholds: Thresholds
) -> Finding:
    if modified - now > thresholds.warning:
        ahead = f"{since.source} is dated {short_span(modified - now)} ahead of the dict database's clock"
        return Finding(
            status=CheckStatus.WARNING,
            message=f"{ahead}: no run marks it as synced; its owners must correct its time",
            counts=counts,
        )
    lag = max(now - since.since, timedelta(0))
    last = f"mod-time {short_time(since.modtime)}" if since.modtime else "no list was ever synced"
    message = (
        f"{since.source} has been waiting to be synced for {short_span(lag)} (modified {short_time(modified)}, {last})"
    )
    status = CheckStatus.OK
    if lag >= thresholds.critical:
        status = CheckStatus.CRITICAL
    elif lag >= thresholds.warning:
        status = CheckStatus.WARNING
    return Finding(status=status, message=message, lag=lag, counts=counts)


def failure(error: ChatsyncError) -> Finding:
    """Return the finding for an error.

    A list or a mod-time that can't be read is CRITICAL, because no run can sync it. With a source that does
    not answer, a wrong configuration or any other error, the state is UNKNOWN.
    """
    unreadable = isinstance(error, (SourceError, PropertyError)) and not isinstance(error, SourceAwayError)
    return Finding(status=CheckStatus.CRITICAL if unreadable else CheckStatus.UNKNOWN, message=str(error))


def worst(findings: Sequence[Finding]) -> Finding:
    """Join findings into one: the worst status, and every message that is not OK."""
    ranked = sorted(findings, key=lambda finding: _WEIGHT.index(finding.status), reverse=True)
    bad = [finding.message for finding in ranked if finding.status is not CheckStatus.OK]
    return Finding(
        status=ranked[0].status,
        message="; ".join(bad) or ranked[0].message,
        lag=next((finding.lag for finding in ranked if finding.lag is not None), None),
        counts=next((finding.counts for finding in ranked if finding.counts is not None), None),
    )


def nagios_line(finding: Finding, thresholds: Thresholds) -> str:
    """Return the line that a plugin prints: `CHATSYNC OK - text | 'label'=value[unit];warn;crit;min`.

    An unknown lag is `U`. Source: Monitoring Plugins guidelines, "Performance data".
    """
    seconds = "U" if finding.lag is None else f"{finding.lag.total_seconds():.0f}s"
    data = [f"lag={seconds};{thresholds.warning.total_seconds():.0f};{thresholds.critical.total_seconds():.0f};0"]
    data += [f"{name}={finding.counts[name]};;;0" for name in _COUNTS if finding.counts]
    text = " ".join(finding.message.replace("|", "/").split())
    return f"CHATSYNC {finding.status.name} - {text} | {' '.join(data)}"


def monrun_line(finding: Finding) -> str:
    """Return the line that monrun reads: `code;text`, with 0 for OK, 1 for a warning, 2 for critical.

    There is no code for "unknown"; a warning is visible, but does not wake anyone.
    """
    unknown = finding.status is CheckStatus.UNKNOWN
    code = CheckStatus.WARNING if unknown else finding.status
    text = " ".join(finding.message.replace(";", ",").split())
    return f"{int(code)};{'unknown: ' if unknown else ''}{text}"


def document(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON values; `lag` is in seconds, null if it is not known."""
    return {
        "status": finding.status.name,
        "exit_code": int(finding.status),
        "message": finding.message,
        "lag": None if finding.lag is None else finding.lag.total_seconds(),
        **(finding.counts or {}),
    }
