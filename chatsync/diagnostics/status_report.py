"""The report of `status`: text for people, JSON for programs."""

import json
from collections.abc import Mapping, Sized
from datetime import datetime
from typing import Any

import msgspec
from tabulate import tabulate

from chatsync.core import counted, distance, format_time, modtime_meaning, short_span, short_time, total
from chatsync.diagnostics.history import history_report
from chatsync.diagnostics.status import Status, waiting, warnings
from chatsync.sync.report import fold_shards, strays_line, unknown_line, without_a_change
from chatsync.sync.step_log import Step

_NOT_KNOWN = "not known"
_DOWN = f"{_NOT_KNOWN}, see below"


def status_report(status: Status, *, now: datetime, output_format: str) -> str:
    """Return what was read, what needs a person, and what a list waits for. `now` is this machine's clock."""
    needs_person, waits = warnings(status, now=now), waiting(status, now=now)
    if output_format == "json":
        return json.dumps({**_document(status), "warnings": needs_person, "waiting": waits}, ensure_ascii=False)
    parts = [_heading(status, now), _shards(status), _last_runs(status)]
    needs = [f"  ! {warning}" for warning in needs_person]
    if needs:
        parts.append("\n".join(["Needs a person:", *needs]))
    if waits or not needs:
        parts.append(waits or "All is well.")
    return "\n\n".join(parts)


def _heading(status: Status, now: datetime) -> str:
    rows = [*_list_rows(status), ("feature", _feature(status)), ("mod-time", _modtime(status))]
    if status.settings.export.path:
        rows.insert(-2, ("state", f"read from the databases; {_next_state(status)}"))
    if status.steps:
        rows.append(("last run", _last_step(status.steps[0], now)))
    return tabulate(rows, tablefmt="plain", disable_numparse=True)


def _next_state(status: Status) -> str:
    """Return what the next `diff` compares the list with."""
    if (export := status.export) is None or status.state is None:
        return f"diff takes the export {status.settings.export.path}, which can't be read"
    if export.unused is not None:
        return f"diff reads them as well, as {export.unused}"
    return f"diff takes the export as of {short_time(export.time)}, {distance(export.time, now=status.state.now)}"


def _last_step(step: Step, now: datetime) -> str:
    by = f", by {step.user}@{step.host}" if step.by_hand else ""
    return f"{step.step}, exit {step.exit_code}, {distance(step.time, now=now)}{by}"


def _list_rows(status: Status) -> list[tuple[str, str]]:
    listed = status.listed
    if listed is None:
        return [("list", _DOWN)]
    modified = listed.version.modified
    ago = f", {distance(modified, now=status.state.now)}" if status.state else ""
    rows = f"{counted(listed.rows, 'row')}: {counted(listed.duplicates, 'duplicate')}, {listed.rejected_count} rejected"
    return [
        ("list", listed.version.source),
        ("", f"modified {short_time(modified)}{ago}"),
        ("", f"{counted(len(listed.ids), 'client')} in {rows}"),
    ]


def _feature(status: Status) -> str:
    if status.feature_id is None:
        return f"{status.settings.feature.name}, {_DOWN}"
    return f"{status.settings.feature.name} (id {status.feature_id})"


def _modtime(status: Status) -> str:
    state = status.state
    if state is None:
        return _DOWN
    shown = f"{short_time(state.modtime)}: " if state.modtime else ""
    return f"{shown}{_meaning(status)}"


def _meaning(status: Status) -> str | None:
    """Return what the mod-time means, as far as that is known; None if the dict database is down."""
    state = status.state
    if state is None:
        return None
    if status.meaning is None:
        text = "its meaning is not known without the list"
    else:
        # Without the list its meaning is known only where the job is disabled, for any list.
        text = modtime_meaning(state, list_time=status.version.modified if status.version else state.now)
    since = f", set {short_span(state.now - state.last_change)} ago" if state.last_change else ""
    return text + since


def _off(status: Status) -> Mapping[int, int]:
    """Return how many clients are off on each shard, without strays if the homes are known."""
    return status.plan.off_by_shard if status.plan else _counts(status.off)


def _counts(sets: Mapping[int, Sized]) -> dict[int, int]:
    return {shard: len(ids) for shard, ids in sets.items()}


def _shards(status: Status) -> str:
    shards, plan = status.settings.databases.shards, status.plan
    off = _off(status)
    columns = (off, _counts(plan.turn_off if plan else {}), _counts(plan.turn_on if plan else {}))
    idle = [shard for shard in shards if plan and not plan.turn_off[shard] and not plan.turn_on[shard]]
    shown, folded = fold_shards(shards, idle=idle)
    rows = [
        (str(shard), *(str(column[shard]) if shard in column else _NOT_KNOWN for column in columns)) for shard in shown
    ]
    if folded:
        rows.append((without_a_change(folded), str(sum(off[shard] for shard in folded)), "0", "0"))
    totals = (str(sum(column.values())) if len(column) == len(shards) else _NOT_KNOWN for column in columns)
    rows.append(("total", *totals))
    table = tabulate(
        rows,
        headers=("shard", "off", "to turn off", "to turn on"),
        tablefmt="simple",
        colalign=("left", "right", "right", "right"),
        disable_numparse=True,
    )
    strays = [strays_line(plan)] if plan and plan.strays else []
    unknown = [unknown_line(plan)] if plan and plan.unknown else []
    return "\n".join([table, *strays, *unknown])


def _last_runs(status: Status) -> str:
    if not status.settings.records.dir:
        return "The last runs are not recorded: records.dir is not set."
    if "records" in status.errors and not status.runs:
        return f"The last runs are {_DOWN}."
    return _runs(status, "table") if status.runs else "No recorded run has changed anything."


def _runs(status: Status, output_format: str) -> str:
    runs = [(record, None) for record in status.runs]
    return history_report(runs, known=status.known, more=0, client=None, output_format=output_format)


def _document(status: Status) -> dict[str, Any]:
    listed, state, meaning = status.listed, status.state, status.meaning
    off = _off(status)
    complete = len(off) == len(status.settings.databases.shards)
    plan = status.plan
    return {
        "list": None
        if listed is None
        else {
            "source": listed.version.source,
            "modified": format_time(listed.version.modified),
            "rows": listed.rows,
            "clients": len(listed.ids),
            "duplicates": listed.duplicates,
            "rejected": msgspec.to_builtins(listed.rejected),
            "rejected_count": listed.rejected_count,
        },
        "feature": {"name": status.settings.feature.name, "id": status.feature_id},
        "modtime": None
        if state is None
        else {
            "value": format_time(state.modtime) if state.modtime else None,
            "state": meaning.value if meaning else None,
            "meaning": _meaning(status),
            "set_at": format_time(state.last_change) if state.last_change else None,
        },
        "state_from": "databases",
        "next_state_from": status.export and status.export.brief,
        "off": {str(shard): off.get(shard) for shard in status.settings.databases.shards},
        "off_now": sum(off.values()) if complete else None,
        "strays": {str(shard): count for shard, count in plan.stray_counts.items()} if plan else None,
        "unknown": len(plan.unknown) if plan else None,
        "changes": {"turn_off": total(plan.turn_off), "turn_on": total(plan.turn_on)} if plan else None,
        "runs": json.loads(_runs(status, "json")),
        "steps": {step.step: msgspec.to_builtins(step) for step in reversed(status.steps)},
        "errors": {part: str(error) for part, error in status.errors.items()},
    }
