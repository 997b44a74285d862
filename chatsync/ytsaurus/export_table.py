"""The tables of an export, locked in the transaction in which the list is locked.

One request asks about all of them: 250 requests would take seconds, here and in the network.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import yt.wrapper
from yt.common import YtError
from yt.wrapper.errors import create_response_error
from yt.wrapper.etc_commands import execute_batch

from chatsync.cancel_scope import CancelScope
from chatsync.core import Numbers
from chatsync.errors import ChangedError, SourceError
from chatsync.parallel import off_main_thread
from chatsync.ytsaurus.client import Cluster
from chatsync.ytsaurus.export_rows import WIRE, NullsError, OddCellError, Take, read_rows, read_skiff
from chatsync.ytsaurus.faults import describe, explained, is_refused_format, is_transient, understanding
from chatsync.ytsaurus.links import time_of

_ATTRIBUTES = ("id", "type", "row_count", "revision", "content_revision", "schema", "dynamic", "sorted")
_MOST_REQUESTS = 100  # in one: as many as the client's own batches have (max_batch_size)

Parameters = Mapping[str, Any]

logger = logging.getLogger(__name__)


class ExportTable:
    """A locked version of a table; `kinds` are the types of the columns that were asked for, None where unknown."""

    def __init__(
        self,
        cluster: Cluster,
        path: str,
        scope: CancelScope,
        *,
        columns: Sequence[str],
        time_attribute: str,
        of: str = "",
    ) -> None:
        """Ask nothing yet: `lock_together` locks it. `of` says in messages what the table is."""
        self._cluster, self.path, self._scope = cluster, path, scope
        self._columns, self._time_attribute = columns, time_attribute
        self._of = of

    def __str__(self) -> str:
        """Name the table as an error message does."""
        return f"{self._of}{self._cluster.place(self.path)}"

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn errors into ours, which name the table."""
        try:
            with explained(self._cluster, self.path, "export.path", self._scope):
                yield
        except OddCellError as error:
            raise SourceError(f"{error}; an export with a broken row is not used", where=str(self)) from None
        except SourceError as error:
            error.where = str(self)
            raise

    def take_node(self, answer: Any) -> None:
        """Take what the cluster says of the lock."""
        self.node = str(answer["node_id"])

    @property
    def attributes(self) -> list[str]:
        """The attributes to ask for."""
        return [*_ATTRIBUTES, self._time_attribute]

    def take_attributes(self, answer: Any) -> None:
        """Take the attributes of the locked version. Raises SourceError if it cannot be a table of an export."""
        about, time_attribute = answer["value"], self._time_attribute
        self._check_kind(about, time_attribute)
        self.is_dynamic = bool(about.get("dynamic"))
        self.row_count = None if self.is_dynamic else _integer(about, "row_count")
        self.revision = None if about.get("revision") is None else _integer(about, "revision")
        self.content_revision = about.get("content_revision")
        self.modified = time_of(about, time_attribute)
        self.kinds = {column: self._kind(about.get("schema"), column) for column in self._columns}

    def is_the_same(self, answer: Any) -> bool:
        """Tell whether the path still leads to the locked table, and its rows have not been written since."""
        now = answer["value"]
        return str(now.get("id")) == self.node and now.get("content_revision") == self.content_revision

    def _check_kind(self, about: Any, time_attribute: str) -> None:
        if about.get("type", "table") != "table":
            raise SourceError(f"it is a {about['type']}, not a table", way_out="check export.path")
        if about.get("dynamic") and not about.get("sorted"):
            raise SourceError("it is a queue of changes, not a state", way_out="name an export of all rows")
        if about.get("dynamic") and time_attribute == "modification_time":
            raise SourceError(
                "it is a dynamic table, whose modification time says nothing about its rows",
                way_out="set export.time to the attribute in which its writer stores the time of the rows",
            )
        if time_attribute not in about:
            raise SourceError(f"it has no attribute {time_attribute}", way_out="check export.time")

    def _kind(self, schema: Any, column: str) -> str | None:
        types = {one.get("name"): one.get("type") for one in schema} if isinstance(schema, list) else {}
        strict = getattr(schema, "attributes", {}).get("strict", bool(types))
        if strict and types and column not in types:
            there = ", ".join(sorted(map(str, types))[:10])
            raise SourceError(f"it has no column {column!r}: it has {there}", way_out="check the keys of [export]")
        kind = types.get(column)
        if isinstance(kind, str) and kind not in {*WIRE, "string", "utf8", "any"}:
            raise SourceError(f"its column {column!r} is of type {kind}", way_out="use integers or strings")
        return str(kind) if isinstance(kind, str) else None

    def read(self, begin: Callable[[], Take], progress: Callable[[int], None], *, most: int | None = None) -> int:
        """Pass every row, or the first `most` of a static table, to what `begin` returns; return how many there were.

        After a fault, a static table is read on from where it broke off; a dynamic one from its start, with a new
        `begin`. Raises SourceError for an incomplete table, and for a cell that is not a number.
        """
        with self.explained():
            rows = self._read(begin, progress, most)
        expected = self.row_count if most is None or self.row_count is None else min(most, self.row_count)
        if expected is not None and rows != expected:
            raise SourceError(f"read {rows} of {expected} rows; an incomplete export is not used", where=str(self))
        return rows

    def _read(self, begin: Callable[[], Take], progress: Callable[[int], None], most: int | None) -> int:
        if all(kind in WIRE for kind in self.kinds.values()):
            try:
                return self._retry(read_skiff, begin, progress, most)
            except NullsError:
                logger.info("%s: reading row by row, because it has empty cells", self)
            except YtError as error:
                if not is_refused_format(error):
                    raise
                logger.warning("%s: reading row by row, because skiff was refused: %s", self, describe(error))
        return self._retry(read_rows, begin, progress, most)

    def _retry(self, read: Any, begin: Callable[[], Take], progress: Callable[[int], None], most: int | None) -> int:
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
            limits = {} if self.is_dynamic else {"start_index": rows, "end_index": most}
            path = yt.wrapper.TablePath(f"#{self.node}", columns=list(self._columns), **limits)
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


def lock_together(client: Any, tables: Sequence[ExportTable], scope: CancelScope) -> None:
    """Lock the tables in the client's transaction and take their attributes.

    Raises SourceError for the first table that fails.
    """
    within = {"transaction_id": client.get_current_transaction_id()}

    def lock(table: ExportTable) -> Parameters:
        return {"path": table.path, "mode": "snapshot", **within}

    def about(table: ExportTable) -> Parameters:
        return {"path": f"#{table.node}/@", "attributes": table.attributes, **within}

    _ask(tables, "lock", lock, ExportTable.take_node, client=client, scope=scope, what="lock the table")
    _ask(tables, "get", about, ExportTable.take_attributes, client=client, scope=scope, what="read the attributes")


def check_unchanged(client: Any, tables: Sequence[ExportTable], scope: CancelScope) -> None:
    """Raise ChangedError for a table that was written since it was locked."""

    def look(table: ExportTable) -> Parameters:
        # In no transaction: ours sees the locked version.
        return {"path": table.path + "/@", "attributes": ["id", "content_revision"]}

    def check(table: ExportTable, answer: Any) -> None:
        if not table.is_the_same(answer):
            what = "the table was written while the clique read it, at each attempt"
            raise ChangedError(what, where=str(table), gave_up=scope.gave_up)

    _ask(tables, "get", look, check, client=client, scope=scope, what="look again")


def _ask(
    tables: Sequence[ExportTable],
    command: str,
    request: Callable[[ExportTable], Parameters],
    take: Callable[[ExportTable, Any], None],
    *,
    client: Any,
    scope: CancelScope,
    what: str,
) -> None:
    """Send the same request for each table. An error names its table."""
    at = tables[0]

    def attempt() -> None:
        nonlocal at
        at = tables[0]  # for an error of the request itself
        with understanding():
            answers = _answers(client, command, [request(table) for table in tables])
            for at, answer in zip(tables, answers, strict=True):
                if "error" in answer:
                    raise create_response_error(answer["error"])
                take(at, answer["output"])

    try:
        scope.retry(attempt, what=f"{at}: {what}", is_transient=is_transient, describe=describe)
    except Exception:
        with at.explained():
            raise


def _answers(client: Any, command: str, parameters: Sequence[Parameters]) -> Iterator[Any]:
    """Yield the answer to each request: its `output`, or its `error`."""
    for start in range(0, len(parameters), _MOST_REQUESTS):
        requests = [{"command": command, "parameters": one} for one in parameters[start : start + _MOST_REQUESTS]]
        answers = execute_batch(requests, client=client)["results"]
        yield from (answer for _, answer in zip(requests, answers, strict=True))


def _integer(about: Any, name: str) -> int:
    value = about.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise SourceError(f"the attribute {name} of a table is missing or not a number: {value!r}")
    return int(value)
