"""Reports of plans and results: tables for people, JSON and CSV for programs."""

import csv
import io
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from pyroaring import BitMap64
from tabulate import tabulate

from chatsync.core import (
    DEFAULT_LIMIT,
    Action,
    Objection,
    Plan,
    ShardResult,
    StoredModTime,
    Verdict,
    counted,
    distance,
    json_text,
    modtime_meaning,
    short_time,
    to_document,
    total,
)

_REJECTED_SHOWN = _UNKNOWN_SHOWN = 5
_VALUE_SHOWN = 40
# Up to this many shards without a change have a row each.
_IDLE_SHOWN = 8


def diff_report(
    plan: Plan, *, objections: Sequence[Objection], modtime: StoredModTime, output_format: str, limit: int | None
) -> str:
    """Return the report of a plan, with whether `apply` would accept it."""
    if output_format == "json":
        return json_text({**to_document(plan), "apply": _answer_document(objections)})
    if output_format == "csv":
        return _csv(plan, limit)
    parts = [_heading(plan, modtime)]
    if plan.was_read:
        parts += [totals_table(plan), *client_tables(plan, DEFAULT_LIMIT if limit is None else limit), *_left_out(plan)]
    parts.append(answer_line(plan, objections))
    return "\n\n".join(parts)


def _heading(plan: Plan, modtime: StoredModTime) -> str:
    listed = plan.exclusions
    rows = "rows not counted" if listed.rows is None else counted(listed.rows, "row")
    if plan.was_read:
        clients, duplicates = counted(listed.clients or 0, "client"), counted(listed.duplicates or 0, "duplicate")
        rows = f"{clients} in {rows}: {duplicates}, {listed.rejected_count} rejected"
    off = f"{counted(plan.off_now or 0, 'client')} off now" if plan.was_read else "state not read"
    meaning = modtime_meaning(modtime, list_time=plan.list_time)
    state = [("state" if not at else "", line) for at, line in enumerate(_state_lines(plan, modtime))]
    return tabulate(
        [
            ("list", listed.source),
            ("", f"modified {short_time(plan.list_time)}, {distance(plan.list_time, now=modtime.now)}"),
            ("", rows),
            *state,
            ("feature", f"{plan.feature.name} (id {plan.feature.id}), {off}"),
            ("mod-time", f"{short_time(plan.seen_modtime)}: {meaning}" if plan.seen_modtime else meaning),
        ],
        tablefmt="plain",
        disable_numparse=True,
    )


def _state_lines(plan: Plan, modtime: StoredModTime) -> Iterator[str]:
    """Yield where the feature state came from, if an export is configured."""
    if not plan.export:
        return
    export = plan.export
    if export.unused is not None:
        yield f"the databases, because {export.unused}"
        return
    yield f"{export.source}, {counted(sum(export.rows.values()), 'row')}, compared by {export.compared_by}"
    differences = counted(export.confirmed + export.contradicted, "difference")
    found = f"{export.confirmed} of {differences} confirmed in the databases, {export.contradicted} were already so"
    yield f"as of {short_time(export.time)}, {distance(export.time, now=modtime.now)}; {found}"


def fold_shards(shards: Iterable[int], *, idle: Collection[int]) -> tuple[list[int], list[int]]:
    """Return the shards that get a row each in a table, and those without a change that share one row."""
    if len(idle) <= _IDLE_SHOWN:
        return list(shards), []
    return [shard for shard in shards if shard not in idle], list(idle)


def without_a_change(shards: Collection[int]) -> str:
    """Return the name of the row that these shards share."""
    return f"{len(shards)} unchanged"


def totals_table(plan: Plan) -> str:
    """Return a table of how many clients are turned off and on, per shard and in total."""
    idle = [shard for shard in plan.turn_off if not plan.turn_off[shard] and not plan.turn_on[shard]]
    shown, folded = fold_shards(plan.turn_off, idle=idle)
    rows = [(str(shard), len(plan.turn_off[shard]), len(plan.turn_on[shard])) for shard in shown]
    if folded:
        rows.append((without_a_change(folded), 0, 0))
    rows.append(("total", total(plan.turn_off), total(plan.turn_on)))
    return tabulate(rows, headers=("shard", "turn off", "turn on"), tablefmt="simple")


def _client_rows(plan: Plan) -> Iterator[tuple[str, int, int]]:
    for action, sets in (("turn_off", plan.turn_off), ("turn_on", plan.turn_on)):
        for shard, ids in sets.items():
            for client in ids:
                yield action, shard, client


def _first(plan: Plan, limit: int | None) -> list[tuple[str, int, int]]:
    rows = _client_rows(plan)
    return [row for row, _ in zip(rows, range(plan.changes if limit is None else limit), strict=False)]


def client_tables(plan: Plan, limit: int) -> Iterator[str]:
    """Yield tables of the first `limit` changes, and how many more there are; nothing if there are no changes."""
    rows = _first(plan, limit)
    if rows:
        shown = [(action.replace("_", " "), shard, client) for action, shard, client in rows]
        yield tabulate(shown, headers=("action", "shard", "client"), tablefmt="simple")
    if plan.changes > len(rows):
        yield f"… and {plan.changes - len(rows)} more (--limit {plan.changes} shows all)"


def _left_out(plan: Plan) -> Iterator[str]:
    listed = plan.exclusions
    if listed.rejected_count:
        rows = [(item.row, _short(item.value), item.reason) for item in listed.rejected[:_REJECTED_SHOWN]]
        table = tabulate(rows, headers=("row", "value", "rejected because"), tablefmt="simple", disable_numparse=True)
        more = listed.rejected_count - len(rows)
        hint = "`chatsync diff --left-out FILE.csv` writes all of them for the owners of the list"
        yield table + (f"\n… and {more} more rejected rows; {hint}" if more else "")
    if plan.strays:
        yield strays_line(plan)
    if plan.unknown:
        yield unknown_line(plan)


def _short(value: str) -> str:
    """Cut a cell, so that its row fits into 80 columns; JSON and --left-out have more of it."""
    return value if len(value) <= _VALUE_SHOWN else f"{value[: _VALUE_SHOWN - 1]}…"


def strays_line(plan: Plan) -> str:
    """Return a line with the number of off rows on shards where their clients do not live."""
    where = ", ".join(f"{count} on shard {shard}" for shard, count in plan.stray_counts.items())
    strays = counted(sum(plan.stray_counts.values()), "off row")
    return f"{strays} of clients that live elsewhere, {where}: they are ignored and never written"


def unknown_line(plan: Plan) -> str:
    """Return which listed clients live on no shard."""
    which = "1 listed client is" if len(plan.unknown) == 1 else f"{len(plan.unknown)} listed clients are"
    return f"{which} on no shard and left out: {few(plan.unknown, limit=_UNKNOWN_SHOWN)}"


def few(ids: BitMap64, *, limit: int = DEFAULT_LIMIT) -> str:
    """Format the first ids of a set, and how many more there are."""
    shown = ", ".join(map(str, ids[:limit]))
    more = len(ids) - limit
    return f"{shown} and {more} more" if more > 0 else shown


def answer_line(plan: Plan, objections: Sequence[Objection]) -> str:
    """Return what `apply` will do with the plan, or why it refuses it, and which refusals an option overrides."""
    standing = [f"  exit {item.exit_code}: {item.reason}" for item in objections if not item.is_lifted]
    lifted = [f"  {item.reason}" for item in objections if item.is_lifted]
    lines = ["apply will refuse this:", *standing] if standing else [_outlook(plan)]
    return "\n".join([*lines, *(["over the limits, but overridden by the given options:", *lifted] if lifted else [])])


def _outlook(plan: Plan) -> str:
    return {
        Verdict.CHANGES: f"apply will make {counted(plan.changes, 'change')}.",
        Verdict.IN_SYNC: "In sync: nothing to change.",
        Verdict.NOT_MODIFIED: "The list was not modified since the last sync: nothing to do.",
        Verdict.DISABLED: "Disabled: nothing to do.",
    }[plan.verdict]


def _answer_document(objections: Sequence[Objection]) -> dict[str, Any]:
    return {
        "exit_code": objections[0].exit_code if objections else 0,
        "objections": [{"exit_code": item.exit_code, "reason": item.reason} for item in objections],
    }


def _csv(plan: Plan, limit: int | None) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("action", "shard", "client_id"))
    writer.writerows(_first(plan, limit))
    return out.getvalue().removesuffix("\n")


def results_report(results: Sequence[ShardResult], *, output_format: str) -> str:
    """Return the report of what was done on each shard."""
    if output_format == "json":
        return json.dumps(results_document(results))
    idle = [result.shard for result in results if not any(tally.planned for tally in result.tallies.values())]
    shown, folded = fold_shards([result.shard for result in results], idle=idle)
    rows = [_result_row(str(result.shard), [result]) for result in results if result.shard in shown]
    if folded:
        rows.append(_result_row(without_a_change(folded), []))
    rows.append(_result_row("total", results))
    headers = ("shard", "planned", "turned off", "turned on", "already so", "failed")
    refused = [f"refused by the server on shard {item.shard}: {few(item.refused)}" for item in results if item.refused]
    return "\n".join([*refused, *([""] if refused else []), tabulate(rows, headers=headers, tablefmt="simple")])


def _result_row(name: str, results: Sequence[ShardResult]) -> tuple[str, int, int, int, int, int]:
    def count(field: str, *actions: Action) -> int:
        return sum(len(getattr(result.tallies[action], field)) for result in results for action in actions)

    return (
        name,
        count("planned", *Action),
        count("changed", Action.TURN_OFF),
        count("changed", Action.TURN_ON),
        count("already", *Action),
        sum(result.failed for result in results),
    )


def results_document(results: Sequence[ShardResult]) -> dict[str, Any]:
    """Return what was done as JSON values: for each shard and action the four counts and the refused clients."""
    return {"shards": {str(result.shard): _result_document(result) for result in results}}


def _result_document(result: ShardResult) -> dict[str, Any]:
    actions = {
        action.value: {
            "planned": len(tally.planned),
            "changed": len(tally.changed),
            "already": len(tally.already),
            "failed": tally.failed,
        }
        for action, tally in result.tallies.items()
    }
    totals = {
        key: sum(counts[key] for counts in actions.values()) for key in ("planned", "changed", "already", "failed")
    }
    return {**totals, **actions, "refused": list(result.refused), "error": str(result.error) if result.error else None}
