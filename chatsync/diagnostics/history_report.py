"""How recorded runs are shown: a table for people, JSON and CSV for programs."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from chatsync.core.results import Action
from chatsync.core.times import short_span
from chatsync.diagnostics.history import ClientChange
from chatsync.sync.records import Outcome, Record

Shown = tuple[Record, ClientChange | None]

_COLUMNS = (
    "run", "outcome", "exit_code", "started", "ended", "turned_off", "turned_on", "already", "missing",
    "user", "host", "pid", "command", "trace_id", "undo_of", "feature", "list", "list_modified", "error",
)  # fmt: skip
_CLIENT_COLUMNS = ("client_action", "client_certain")
_TABLE = ("run", "outcome", "turned off", "turned on", "missing", "took", "by", "undo of")


def history_report(runs: Sequence[Shown], *, more: int, client: int | None, output_format: str) -> str:
    """Show runs, the newest first. `more` says how many others there are that are not shown."""
    if output_format == "json":
        return json.dumps([_document(run) for run in runs], ensure_ascii=False)
    if output_format == "csv":
        return _csv(runs, client)
    if not runs:
        return "No recorded run." if client is None else f"No recorded run changed client {client}."
    table = tabulate(
        [_table_row(run, client) for run in runs],
        headers=_TABLE if client is None else (f"client {client}", *_TABLE),
        tablefmt="simple",
        disable_numparse=True,
        colalign=["left"] * (client is not None) + ["left", "left", "right", "right", "right", "right", "left", "left"],
    )
    notes = [f"{record.id}: {record.error}" for record, _ in runs if record.error]
    if any(record.is_open for record, _ in runs):
        notes.append("started: the run is under way, or was killed; what it changed of its plan is not known")
    if more:
        notes.append(f"… and {more} more (--limit {len(runs) + more} shows all)")
    return "\n\n".join([table, *notes])


def change_in_words(change: ClientChange) -> str:
    """Say what was done to a client: `turned off`, `perhaps turned on`."""
    words = change.action.value.replace("turn_", "turned ")
    return words if change.certain else f"perhaps {words}"


def took(record: Record) -> str:
    """Say how long a run took; empty while nobody knows."""
    return short_span(record.finished - record.began) if record.finished else ""


def _table_row(run: Shown, client: int | None) -> list[object]:
    record, change = run
    about = [] if client is None else [change_in_words(change) if change else ""]
    return [*about, record.id, record.outcome.value, *_counts(record), took(record), _who(record), record.undo_of or ""]


def _who(record: Record) -> str:
    return f"{record.user}@{record.host}"


def _counts(record: Record) -> tuple[object, object, object]:
    if record.outcome is Outcome.STARTED:
        return "?", "?", "?"
    return len(record.changed(Action.TURN_OFF)), len(record.changed(Action.TURN_ON)), record.count("failed")


def _flat(run: Shown) -> dict[str, Any]:
    record, change = run
    off, on, missing = (None if count == "?" else count for count in _counts(record))
    values = {
        "run": record.id,
        "outcome": record.outcome.value,
        "exit_code": record.exit_code,
        "started": record.started,
        "ended": record.ended,
        "turned_off": off,
        "turned_on": on,
        "already": None if record.is_open else record.count("already"),
        "missing": missing,
        "user": record.user,
        "host": record.host,
        "pid": record.pid,
        "command": record.command,
        "trace_id": record.trace_id,
        "undo_of": record.undo_of,
        "feature": record.plan.feature.name,
        "list": None if record.undo_of else record.plan.exclusions.source,
        "list_modified": None if record.undo_of else record.plan.exclusions.modification_time,
        "error": record.error,
    }
    if change:
        values |= {"client_action": change.action.value, "client_certain": change.certain}
    return values


def _document(run: Shown) -> dict[str, Any]:
    """Describe a run without its clients, which its record and `--client` name."""
    record = run[0]
    shards = {
        str(number): {
            action.value: {
                "planned": shard.of(action).planned,
                "changed": len(shard.of(action).changed),
                "already": shard.of(action).already,
                "failed": shard.of(action).failed,
            }
            for action in Action
        }
        | {"error": shard.error}
        for number, shard in record.shards.items()
    }
    return {**_flat(run), "shards": shards}


def _csv(runs: Sequence[Shown], client: int | None) -> str:
    out = io.StringIO()
    columns = _COLUMNS if client is None else _COLUMNS + _CLIENT_COLUMNS
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_flat(run) for run in runs)
    return out.getvalue().removesuffix("\n")
