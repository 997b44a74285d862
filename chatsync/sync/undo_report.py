"""The report of an undo before it is applied."""

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from chatsync.core import DEFAULT_LIMIT, Action, Objection, counted, short_time, total
from chatsync.sync.record import Record
from chatsync.sync.report import answer_line, client_tables, few, totals_table
from chatsync.sync.undo import Undo


def undo_report(undo: Undo, record: Record, *, objections: Sequence[Objection]) -> str:
    """Return what an undo takes back, which clients it does not change, and that the next sync will redo it."""
    parts = [_heading(undo, record), totals_table(undo.plan), *client_tables(undo.plan, DEFAULT_LIMIT), *_left(undo)]
    parts.append(answer_line(undo.plan, objections))
    if undo.plan.changes and not record.undo_of:
        parts.append(
            "A sync makes these changes again when the list is modified or a full diff is applied. Have the list\n"
            "corrected first, or switch the job off right after this: `chatsync set-modtime --disable`"
        )
    return "\n\n".join(parts)


def _heading(undo: Undo, record: Record) -> str:
    off, on = (len(record.changed(action)) for action in (Action.TURN_OFF, Action.TURN_ON))
    did = f"turned {off} off and {on} on"
    if record.is_open:
        off, on = (len(record.planned(action)) for action in (Action.TURN_OFF, Action.TURN_ON))
        did = f"planned to turn {off} off and {on} on, but its record does not say what it did; the rows show it"
    listed = record.plan.exclusions
    source = listed.source if record.undo_of else f"{listed.source} as modified {listed.modification_time}"
    feature = undo.plan.feature
    rows = [
        ("undo of", record.id),
        ("", f"{short_time(record.began)}, by {record.user}@{record.host}: {record.command}"),
        ("", f"{did}, from {source}"),
        ("feature", f"{feature.name} (id {feature.id}), {counted(undo.plan.off_now or 0, 'client')} off now"),
    ]
    return tabulate(rows, tablefmt="plain", disable_numparse=True)


def _left(undo: Undo) -> Iterator[str]:
    left = total(undo.left)
    if left:
        rows = [(str(shard), len(ids), few(ids)) for shard, ids in undo.left.items() if ids]
        table = tabulate(rows, headers=("shard", "left", "clients"), tablefmt="simple", disable_numparse=True)
        verb = "is" if left == 1 else "are"
        yield f"{counted(left, 'client')} {verb} no longer as that run left them and not changed:\n\n{table}"
