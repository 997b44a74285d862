"""One table of an export, locked in the transaction in which the list is locked, and its rows as numbers.

Integers and booleans are read in the format skiff, in which a row of whole numbers has one size: numpy takes a block
of rows as it comes (YTsaurus docs, "Skiff"). Strings, and tables with empty cells, are read row by row.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import yt.wrapper
import yt.yson
from yt.common import YtError
from yt.wrapper.format import SkiffFormat, YsonFormat

from chatsync.cancel_scope import CancelScope
from chatsync.errors import SourceError
from chatsync.parallel import off_main_thread
from chatsync.ytsaurus.client import Cluster
from chatsync.ytsaurus.faults import describe, explained, is_refused_format, is_transient, understanding
from chatsync.ytsaurus.links import time_of

Numbers = npt.NDArray[np.integer[Any] | np.bool_]
Take = Callable[[Sequence[Numbers]], None]
"""Takes a column after the other, each with the same rows."""

_ATTRIBUTES = ("id", "type", "row_count", "revision", "content_revision", "schema", "dynamic", "sorted")
_WIRE = {
    **dict.fromkeys(("int64", "int32", "int16", "int8"), ("int64", "<i8")),
    **dict.fromkeys(("uint64", "uint32", "uint16", "uint8"), ("uint64", "<u8")),
    "boolean": ("boolean", "?"),
}
_IS_THERE = 1  # the tag of a value that is not null
_WORDS = {b"true": 1, b"false": 0}
_MOST_DIGITS = 40
_FAR = 2**62  # stands for every number that is further from zero
_ROWS_A_STEP = 10_000

logger = logging.getLogger(__name__)


class OddCellError(Exception):
    """A cell that is no number, with its row and column."""

    def __init__(self, row: int, column: str, value: Any) -> None:
        """Take where it is and what it holds."""
        shown = "null" if value is None else repr(value)[:60]
        super().__init__(f"row {row} has {shown} in {column}")


class ExportTable:
    """A locked version of a table; `kinds` are the types of the columns that were asked for, None where unknown."""

    def __init__(
        self, cluster: Cluster, path: str, scope: CancelScope, *, columns: Sequence[str], time_attribute: str
    ) -> None:
        """Lock the table in the client's transaction. Raises SourceError."""
        self._cluster, self.path, self._scope = cluster, path, scope
        self._columns = columns
        with explained(cluster, path, "export.path", scope):
            lock = partial(self._lock, time_attribute)
            scope.retry(lock, what=f"{self}: lock the table", is_transient=is_transient, describe=describe)

    def __str__(self) -> str:
        """Name the table as an error message does."""
        return self._cluster.place(self.path)

    def _lock(self, time_attribute: str) -> None:
        client = self._cluster.client
        with understanding():
            self.node = str(client.lock(self.path, mode="snapshot")["node_id"])
            about = client.get(f"#{self.node}/@", attributes=[*_ATTRIBUTES, time_attribute])
        self._check_kind(about, time_attribute)
        self.is_dynamic = bool(about.get("dynamic"))
        self.row_count = None if self.is_dynamic else _integer(about, "row_count")
        self.revision = None if about.get("revision") is None else _integer(about, "revision")
        self.content_revision = about.get("content_revision")
        self.modified = time_of(about, time_attribute)
        self.kinds = {column: self._kind(about.get("schema"), column) for column in self._columns}

    def is_still_the_same(self) -> bool:
        """Tell whether the path still leads to the locked table, and its rows have not been written since."""
        client = self._cluster.client

        def look() -> Any:
            # Outside of our transaction, which sees the locked version.
            with understanding(), client.Transaction(transaction_id="0-0-0-0"):
                return client.get(self.path + "/@", attributes=["id", "content_revision"])

        with explained(self._cluster, self.path, "export.path", self._scope):
            now = self._scope.retry(look, what=f"{self}: look again", is_transient=is_transient, describe=describe)
        return str(now.get("id")) == self.node and now.get("content_revision") == self.content_revision

    def _check_kind(self, about: Any, time_attribute: str) -> None:
        if about.get("type", "table") != "table":
            raise SourceError(f"{self} is a {about['type']}, not a table", way_out="check export.path")
        if about.get("dynamic") and not about.get("sorted"):
            raise SourceError(f"{self} is a queue of changes, not a state", way_out="name an export of all rows")
        if about.get("dynamic") and time_attribute == "modification_time":
            raise SourceError(
                f"{self} is a dynamic table, whose modification time says nothing about its rows",
                way_out="set export.time to the attribute in which its writer stores the time of the rows",
            )
        if time_attribute not in about:
            raise SourceError(f"{self} has no attribute {time_attribute}", way_out="check export.time")

    def _kind(self, schema: Any, column: str) -> str | None:
        types = {one.get("name"): one.get("type") for one in schema} if isinstance(schema, list) else {}
        strict = getattr(schema, "attributes", {}).get("strict", bool(types))
        if strict and types and column not in types:
            there = ", ".join(sorted(map(str, types))[:10])
            raise SourceError(f"{self} has no column {column!r}: it has {there}", way_out="check the keys of [export]")
        kind = types.get(column)
        if isinstance(kind, str) and kind not in {*_WIRE, "string", "utf8", "any"}:
            raise SourceError(f"{self}: column {column!r} is of type {kind}", way_out="use integers or strings")
        return str(kind) if isinstance(kind, str) else None

    def read(self, begin: Callable[[], Take], progress: Callable[[int], None]) -> int:
        """Hand every row to what `begin` returns, and return how many there were.

        A static table is read on from where a fault broke it off; a dynamic one from its start, with a new
        `begin`. Raises SourceError for a table that is not whole, and OddCellError for a cell that is no number.
        """
        with explained(self._cluster, self.path, "export.path", self._scope):
            rows = self._read(begin, progress)
        if self.row_count is not None and rows != self.row_count:
            raise SourceError(
                f"read {rows} of {self.row_count} rows; an incomplete export is not used", where=str(self)
            )
        return rows

    def _read(self, begin: Callable[[], Take], progress: Callable[[int], None]) -> int:
        if all(kind in _WIRE for kind in self.kinds.values()):
            try:
                return self._retry(_read_skiff, begin, progress)
            except _NullsError:
                logger.info("%s: reading row by row, as it has empty cells", self)
            except YtError as error:
                if not is_refused_format(error):
                    raise
                logger.warning("%s: reading row by row, as skiff was refused: %s", self, describe(error))
        return self._retry(_read_rows, begin, progress)

    def _retry(self, read: Any, begin: Callable[[], Take], progress: Callable[[int], None]) -> int:
        rows, take = 0, begin()

        def count(numbers: Sequence[Numbers]) -> None:
            nonlocal rows
            self._scope.check()
            take(numbers)
            rows += len(numbers[0])
            progress(len(numbers[0]))

        def attempt() -> None:
            nonlocal rows, take
            if self.is_dynamic and rows:
                rows, take = 0, begin()
            path = yt.wrapper.TablePath(
                f"#{self.node}", columns=list(self._columns), start_index=None if self.is_dynamic else rows
            )
            read(self._cluster.client, path, self.kinds, count, first=rows)

        what = f"{self}: read the rows"
        self._scope.retry(
            partial(off_main_thread, attempt),
            what=what,
            is_transient=is_transient,
            describe=describe,
            mark=lambda: rows,
        )
        return rows


class _NullsError(Exception):
    """Some cell is empty, so that the rows are not of one size."""


def _read_skiff(client: Any, path: Any, kinds: Mapping[str, str | None], take: Take, *, first: int) -> None:  # noqa: ARG001  # like the others
    """Read rows of whole numbers: a tag of the table, then for each column a tag of what it holds, and the value."""
    wires = {name: _WIRE[kind] for name, kind in kinds.items() if kind}
    columns = [
        {"name": name, "wire_type": "variant8", "children": [{"wire_type": "nothing"}, {"wire_type": wire}]}
        for name, (wire, _) in wires.items()
    ]
    form = SkiffFormat(schemas=[{"wire_type": "tuple", "children": columns}])
    fields = [field for at, (_, kind) in enumerate(wires.values()) for field in ((f"is{at}", "u1"), (f"v{at}", kind))]
    row = np.dtype([("table", "<u2"), *fields])
    with understanding():
        stream = client.read_table(path, format=form, raw=True)
    rest = b""
    for piece in _understood(stream.chunk_iter()):
        block = rest + piece
        whole = len(block) // row.itemsize * row.itemsize
        rest = block[whole:]
        rows = np.frombuffer(block[:whole] if rest else block, dtype=row)
        if any((rows[f"is{at}"] != _IS_THERE).any() for at in range(len(kinds))) or rows["table"].any():
            raise _NullsError
        take([rows[f"v{at}"] for at in range(len(kinds))])
    if rest:
        raise _NullsError  # or cut: reading row by row tells


def _read_rows(client: Any, path: Any, kinds: dict[str, str | None], take: Take, *, first: int) -> None:
    """Read rows of any kind, one Python object each."""
    with understanding():
        stream = client.read_table(path, format=YsonFormat(encoding=None), raw=True)
        rows = YsonFormat(encoding=None).load_rows(stream)
    waiting: list[list[int]] = [[] for _ in kinds]
    names = [(name, name.encode()) for name in kinds]
    for number, row in enumerate(_understood(rows), start=first):
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


def _understood(items: Any) -> Iterator[Any]:
    """Yield what comes from the client; what it can't read raises AnswerError."""
    with understanding():
        yield from items


def _integer(about: Any, name: str) -> int:
    value = about.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise SourceError(f"the attribute {name} of a table is missing or not a number: {value!r}")
    return int(value)
