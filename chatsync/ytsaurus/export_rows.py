"""The rows of an export's table as numbers, in blocks of columns.

Integers and booleans are read in the format skiff, in which a row of whole numbers has one size: numpy takes a block
of rows as it comes (YTsaurus docs, "Skiff"). Strings, and tables with empty cells, are read row by row.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yt.yson
from yt.wrapper.format import SkiffFormat, YsonFormat

from chatsync.core import Numbers, np
from chatsync.errors import SourceError
from chatsync.ytsaurus.columns import stream_of, understood
from chatsync.ytsaurus.faults import understanding

Take = Callable[[Sequence[Numbers]], None]
"""Takes the columns of the same rows, one after the other."""

WIRE = {
    **dict.fromkeys(("int64", "int32", "int16", "int8"), ("int64", "<i8")),
    **dict.fromkeys(("uint64", "uint32", "uint16", "uint8"), ("uint64", "<u8")),
    "boolean": ("boolean", "?"),
}
_IS_THERE = 1  # the tag of a value that is not null
_WORDS = {b"true": 1, b"false": 0}
_MOST_DIGITS = 40
_FAR = 2**62  # used for every number that is further from zero
_ROWS_A_STEP = 10_000


class OddCellError(Exception):
    """A cell that is not a number, with its row and column."""

    def __init__(self, row: int, column: str, value: Any) -> None:
        """Take where it is and what it holds."""
        shown = "null" if value is None else repr(value)[:60]
        super().__init__(f"row {row} has {shown} in {column}")


class NullsError(Exception):
    """Some cell is empty, so the rows do not have one size."""


def read_skiff(client: Any, path: Any, kinds: Mapping[str, str | None], take: Take, *, first: int) -> None:  # noqa: ARG001  # like the others
    """Read rows of whole numbers: a tag of the table, then for each column a tag of its type, and the value."""
    wires = {name: WIRE[kind] for name, kind in kinds.items() if kind}
    columns = [
        {"name": name, "wire_type": "variant8", "children": [{"wire_type": "nothing"}, {"wire_type": wire}]}
        for name, (wire, _) in wires.items()
    ]
    form = SkiffFormat(schemas=[{"wire_type": "tuple", "children": columns}])
    fields = [field for at, (_, kind) in enumerate(wires.values()) for field in ((f"is{at}", "u1"), (f"v{at}", kind))]
    row = np.dtype([("table", "<u2"), *fields])
    rest = b""
    for piece in understood(stream_of(client, path, form).chunk_iter()):
        block = rest + piece
        whole = len(block) // row.itemsize * row.itemsize
        rest = block[whole:]
        rows = np.frombuffer(block[:whole] if rest else block, dtype=row)
        if any((rows[f"is{at}"] != _IS_THERE).any() for at in range(len(kinds))) or rows["table"].any():
            raise NullsError
        take([rows[f"v{at}"] for at in range(len(kinds))])
    if rest:
        raise NullsError  # or cut: reading row by row will show it


def read_rows(client: Any, path: Any, kinds: dict[str, str | None], take: Take, *, first: int) -> None:
    """Read rows of any kind, one Python object each."""
    form = YsonFormat(encoding=None)
    stream = stream_of(client, path, form)
    with understanding():
        rows = form.load_rows(stream)
    waiting: list[list[int]] = [[] for _ in kinds]
    names = [(name, name.encode()) for name in kinds]
    for number, row in enumerate(understood(rows), start=first):
        if not isinstance(row, dict):
            raise SourceError("a row is not a map")
        for column, (name, key) in zip(waiting, names, strict=True):
            column.append(_number(row.get(key), row=number, column=name))
        if len(waiting[0]) == _ROWS_A_STEP:
            take([np.array(column) for column in waiting])
            waiting = [[] for _ in kinds]
    if waiting[0]:
        take([np.array(column) for column in waiting])


def _number(value: Any, *, row: int, column: str) -> int:
    """Read a cell: a whole number, a boolean, or a string of one; null is -1, which no column may hold."""
    if value is None:
        return -1
    if isinstance(value, bytes):
        value = int(value) if value.isdigit() and len(value) <= _MOST_DIGITS else _WORDS.get(value.lower(), value)
    if isinstance(value, yt.yson.YsonBoolean | bool):
        return int(bool(value))
    if not isinstance(value, int) or getattr(value, "attributes", None):
        raise OddCellError(row, column, value)
    return max(-_FAR, min(int(value), _FAR))
