"""The answer of a clique: used only if it is complete, with nothing cut off, lost or doubled."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pyroaring import BitMap64

from chatsync.ytsaurus.session import AnswerError
from chatsync.ytsaurus.statement import DIFFERENT, EXPORT, LIST, OFF, OURS, PRESENT, REASONS, SUMMARY, TURN_OFF, TURN_ON

_SMALL, _LARGE = 0, 1
_ID_SIZE = 8
_FIELDS = 6
_SIGN = 2**63  # the shard -1, for rows without a shard, arrives as 2^64 - 1


class Row(NamedTuple):
    """One row of the answer."""

    rows: int
    numbers: Sequence[int]
    samples: Sequence[tuple[int, str]]
    ids: BitMap64


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A complete answer. `rejected` counts the rows of the list by reason; `export` has the counts of each shard."""

    list_rows: int
    rejected: Mapping[str, int]
    samples: Sequence[tuple[str, str]]
    listed: int
    off: int
    present: BitMap64
    turn_off: BitMap64
    turn_on: Mapping[int, BitMap64]
    export: Mapping[int, Row]


def read_answer(body: bytes) -> Answer:
    """Read the answer. Raises AnswerError if anything is missing, doubled or not as announced."""
    rows = _rows(body)
    try:
        listed, summary = rows.pop((LIST, 0)), rows.pop((SUMMARY, 0))
        present, turn_off = rows.pop((PRESENT, 0)), rows.pop((TURN_OFF, 0))
    except KeyError as error:
        raise _not_whole(f"there is no line of {error.args[0][0]!r}") from None
    off, to_turn_off, present_count, *by_shard = summary.numbers
    if len(by_shard) % 3:
        raise _not_whole("the counts of a shard are missing")
    names = [number if number < _SIGN else number - 2 * _SIGN for number in by_shard[::3]]
    shards = dict(zip(names, zip(by_shard[1::3], by_shard[2::3], strict=True), strict=True))
    export = {shard: row for (kind, shard), row in rows.items() if kind == EXPORT}
    turn_on = {shard: row for (kind, shard), row in rows.items() if kind == TURN_ON}
    _announced("turn off", to_turn_off, turn_off)
    _announced("must_contain", present_count, present)
    if not shards.keys() == export.keys() == turn_on.keys() or len(rows) != 2 * len(shards):
        raise _not_whole(f"the shards {_few(shards)} were announced, {_few(export)} and {_few(turn_on)} came")
    for shard, (off_count, on_count) in shards.items():
        _announced(f"turn on on shard {shard}", on_count, turn_on[shard])
        numbers = export[shard].numbers
        is_doubled = numbers[OURS] != numbers[DIFFERENT]  # this is reported as a fault of the export
        if off_count != numbers[OFF] and not is_doubled:
            raise _not_whole(f"{numbers[OFF]} rows off on shard {shard}, but {off_count} clients")
    return Answer(
        list_rows=listed.rows,
        rejected=dict(zip(REASONS[1:], listed.numbers, strict=True)),
        samples=[(REASONS[code], text) for code, text in listed.samples],
        listed=summary.rows,
        off=off,
        present=present.ids,
        turn_off=turn_off.ids,
        turn_on={shard: row.ids for shard, row in turn_on.items()},
        export=export,
    )


def _few(shards: Collection[int]) -> str:
    return ", ".join(map(str, sorted(shards)[:20])) or "none"


def _not_whole(what: str) -> AnswerError:
    return AnswerError(f"an incomplete answer is not used: {what}")


def _announced(what: str, count: int, row: Row) -> None:
    if not count == row.rows == len(row.ids):
        raise _not_whole(f"{count} to {what} announced, {len(row.ids)} came")


def _rows(body: bytes) -> dict[tuple[str, int], Row]:
    if not body.endswith(b"\n"):
        raise _not_whole("its last line is cut")
    rows: dict[tuple[str, int], Row] = {}
    for line in body.splitlines():
        if not line:
            continue
        try:
            key, row = _row(json.loads(line))
        except (ValueError, TypeError) as error:
            raise _not_whole(f"a line is broken ({error})"[:200]) from None
        if key in rows:
            raise _not_whole(f"the line of {key[0]!r} came twice")
        rows[key] = row
    return rows


def _row(values: Any) -> tuple[tuple[str, int], Row]:
    if not isinstance(values, list) or len(values) != _FIELDS:
        raise ValueError("it has not six fields")
    kind, shard, rows, numbers, samples, data = values
    shown = [(int(code), str(text)) for code, text in samples]
    row = Row(int(rows), [int(number) for number in numbers], shown, bitmap(bytes.fromhex(data)))
    return (str(kind), int(shard)), row


def bitmap(data: bytes) -> BitMap64:
    """Read a bitmap of ClickHouse: a kind, a length, and either numbers or a portable Roaring64Map.

    Raises ValueError for anything else, and for one that is not of its length.
    """
    if not data:
        raise ValueError("an empty bitmap")
    length, start = _varint(data, 1)
    size = length * _ID_SIZE if data[0] == _SMALL else length
    if data[0] not in (_SMALL, _LARGE) or len(data) != start + size:
        raise ValueError("a bitmap that is not of its length")
    if data[0] == _LARGE:
        return BitMap64.deserialize(data[start:])
    numbers = memoryview(data[start:]).cast("Q") if size else ()
    return BitMap64(numbers)


def _varint(data: bytes, start: int) -> tuple[int, int]:
    number = 0
    for at in range(start, min(start + 9, len(data))):
        number |= (data[at] & 0x7F) << 7 * (at - start)
        if data[at] < 0x80:  # noqa: PLR2004  # the last byte of a number
            return number, at + 1
    raise ValueError("a bitmap without a length")
