"""Reports from the run records: which runs there were, and what they did to a client."""

import csv
import io
import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from os.path import commonprefix
from typing import Any

import msgspec
from pyroaring import BitMap64
from tabulate import tabulate

from chatsync.core import Action, Verdict, counted, harmless, short_span, short_time
from chatsync.sync.record import Outcome, Record
from chatsync.sync.step_log import SET_MODTIME, Step


@dataclass(frozen=True, kw_only=True)
class ClientChange:
    """What one run did to one client; not `certain` if the run was killed or the answer to a commit was lost."""

    record: Record
    action: Action
    certain: bool


def client_changes(records: Iterable[Record], asked: BitMap64) -> dict[int, list[ClientChange]]:
    """Return what the runs did to each of these clients, in the order of the runs; without unchanged clients."""
    found: dict[int, list[ClientChange]] = {}
    for record in records:
        for action in Action:
            certain = record.changed(action)
            perhaps = (record.planned(action) if record.is_open else record.touched(action)) - certain
            for ids, is_certain in ((certain, True), (perhaps, False)):
                change = ClientChange(
                    record=record, action=action, certain=is_certain
                )  # one for all: there may be many
                for client in asked & ids:
                    found.setdefault(client, []).append(change)
    return found


Since = Mapping[int, Record]
"""For each client the run since which it has been listed."""


def listed_since(records: Iterable[Record], asked: BitMap64) -> Since:
    """Return for each client the first run since which it has always been listed, as far as plans show.

    `records` start with the newest run. A client that a plan turns off or that is unknown was listed; one that
    it turns on was not. A plan shows nothing about other clients, and an undo shows nothing about any client.
    """
    since: dict[int, Record] = {}
    undecided = asked
    for record in records:
        if record.undo_of:
            continue
        undecided = undecided - record.planned(Action.TURN_ON)
        listed = record.plan.unknown | record.planned(Action.TURN_OFF)
        since.update(dict.fromkeys(undecided & listed, record))
    return since


Shown = tuple[Record, ClientChange | None]

_COLUMNS = (
    "run", "outcome", "exit_code", "started", "ended", "turned_off", "turned_on", "already", "failed",
    "user", "host", "pid", "command", "trace_id", "undo_of", "feature", "list", "list_modified", "error",
)  # fmt: skip
_CLIENT_COLUMNS = ("client_action", "client_certain")
_TABLE = ("run", "outcome", "turned\noff", "turned\non", "failed", "took", "by", "undo of")
_NUMBERS = ("turned\noff", "turned\non", "failed", "took")
# Left out of the table if no run has a value.
_OPTIONAL = ("failed", "undo of")
# So that a line of the table of steps fits into 80 columns.
_TEXT_WIDTH, _TEXT_LINES = 34, 3
_TO_THE_SECOND = len("20261123T103000")


def history_report(
    runs: Sequence[Shown], *, known: Iterable[str], more: int, client: int | None, output_format: str
) -> str:
    """Return the report of runs, the newest first.

    `known` are the ids of all runs; the shown short ids are unique among them. `more` is how many runs are
    not shown.
    """
    if output_format == "json":
        return json.dumps([_document(run) for run in runs], ensure_ascii=False)
    if output_format == "csv":
        return _csv(runs, client)
    if not runs:
        return "No recorded run." if client is None else f"No recorded run changed client {client}."
    names = short_names(known)
    notes = [f"{names.get(record.id, record.id)}: {record.error}" for record, _ in runs if record.error]
    if any(record.is_open for record, _ in runs):
        notes.append(
            "started: the run is at work, or was killed; how much of its plan it wrote is not known\n"
            "(`chatsync apply --undo RUN` takes back what the rows show of it)"
        )
    if more:
        notes.append(f"… and {more} more (--limit {len(runs) + more} shows all)")
    return "\n\n".join([_table(runs, names, client), *notes])


def short_names(known: Iterable[str]) -> dict[str, str]:
    """Return for each run the shortest unique start of its id: its time, to the second or more precise."""
    ordered = sorted(known)
    shared = [0, *(len(commonprefix(pair)) for pair in pairwise(ordered)), 0]  # noqa: RUF071  # of texts
    lengths = (max(_TO_THE_SECOND, before + 1, after + 1) for before, after in pairwise(shared))
    return {run: run[:length] for run, length in zip(ordered, lengths, strict=True)}


def _table(runs: Sequence[Shown], names: Mapping[str, str], client: int | None) -> str:
    rows = [_table_row(run, names) for run in runs]
    kept = _TABLE if client is None else [name for name in _TABLE if name != "took"]  # for 80 columns
    columns = [name for name in kept if name not in _OPTIONAL or any(row[name] not in ("", 0) for row in rows)]
    about = [[] if client is None else [change_in_words(change) if change else ""] for _, change in runs]
    return tabulate(
        [[*first, *(row[name] for name in columns)] for first, row in zip(about, rows, strict=True)],
        headers=[*([] if client is None else [f"client\n{client}"]), *columns],
        tablefmt="simple",
        disable_numparse=True,
        colalign=["left"] * (client is not None) + ["right" if name in _NUMBERS else "left" for name in columns],
    )


def steps_report(steps: Sequence[Step], *, more: int, output_format: str) -> str:
    """Return the report of ended steps, the newest first. `more` is how many steps are not shown."""
    documents = [msgspec.to_builtins(step) for step in steps]
    if output_format == "json":
        return json.dumps(documents, ensure_ascii=False)
    if output_format == "csv":
        out = io.StringIO()
        writer = csv.DictWriter(out, Step.__struct_fields__, lineterminator="\n")
        writer.writeheader()
        writer.writerows(document | {"counts": json.dumps(document["counts"])} for document in documents)
        return out.getvalue().removesuffix("\n")
    if not steps:
        return "No step has ended yet."
    table = tabulate(
        [(short_time(step.time), step.step, step.exit_code, _result(step)) for step in steps],
        headers=("ended", "step", "exit", "result"),
        tablefmt="simple",
        disable_numparse=True,
        colalign=("left", "left", "right", "left"),
    )
    return f"{table}\n\n… and {more} more (--limit {len(steps) + more} shows all)" if more else table


def _result(step: Step) -> str:
    by = f"by {step.user}@{step.host}: " if step.by_hand else ""
    if step.message:
        text = step.message
    elif step.modtime:
        text = f"mod-time {short_time(step.modtime)}" + (f": {step.reason}" if step.reason else "")
    else:
        changed = step.counts.get("turned_off", 0) + step.counts.get("turned_on", 0)
        text = counted(changed, "change") if changed else step.verdict or "done"
        if step.step == SET_MODTIME and step.is_good and step.verdict in (Verdict.CHANGES, Verdict.IN_SYNC):
            text = "list marked as synced"
    return "\n".join(textwrap.wrap(f"{by}{text}", _TEXT_WIDTH, max_lines=_TEXT_LINES, placeholder=" …"))


def change_in_words(change: ClientChange) -> str:
    """Return what was done to a client: `turned off`, `perhaps turned on`."""
    words = change.action.value.replace("turn_", "turned ")
    return words if change.certain else f"perhaps {words}"


def took(record: Record) -> str:
    """Return how long a run took; empty while it is not known."""
    return short_span(record.finished - record.began) if record.finished else ""


def _table_row(run: Shown, names: Mapping[str, str]) -> dict[str, object]:
    record = run[0]
    undone = record.undo_of or ""
    values = (names.get(record.id, record.id), record.outcome.value, *_counts(record), took(record))
    return dict(zip(_TABLE, (*values, f"{record.user}@{record.host}", names.get(undone, undone)), strict=True))


def _counts(record: Record) -> tuple[object, object, object]:
    if record.outcome is Outcome.STARTED:
        return "?", "?", "?"
    return len(record.changed(Action.TURN_OFF)), len(record.changed(Action.TURN_ON)), record.count("failed")


def _flat(run: Shown) -> dict[str, Any]:
    record, change = run
    off, on, failed = (None if count == "?" else count for count in _counts(record))
    values = {
        "run": record.id,
        "outcome": record.outcome.value,
        "exit_code": record.exit_code,
        "started": record.started,
        "ended": record.ended,
        "turned_off": off,
        "turned_on": on,
        "already": None if record.is_open else record.count("already"),
        "failed": failed,
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
    """Return a run as JSON values, without its clients (they are in its record)."""
    record = run[0]
    shards = {
        str(number): {
            action.value: {
                "planned": shard.of(action).planned,
                "changed": len(shard.of(action).changed),
                "already": shard.of(action).already,
                "failed": shard.of(action).failed,
                "refused": list(shard.of(action).refused),
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
    writer.writerows(
        {key: harmless(value) if isinstance(value, str) else value for key, value in _flat(run).items()} for run in runs
    )
    return out.getvalue().removesuffix("\n")
