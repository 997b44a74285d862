"""The exclusion list in YTsaurus: one version of a table, read through the real client.

Everything happens inside one transaction: a snapshot lock pins the table's version, and
attributes and rows are read from the locked node, never by path, so that they belong together
whatever is written meanwhile (YTsaurus docs, "Transactions" and "Locks").
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from functools import partial

import yt.wrapper
from yt.common import YtError, YtResponseError
from yt.wrapper.format import SchemafulDsvFormat, YsonFormat

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Exclusions
from chatsync.core.diff import ExclusionList, ListVersion
from chatsync.core.times import parse_time
from chatsync.errors import DeadlineError, SourceError, StoppedError
from chatsync.exclusions.client_ids import IdCollector
from chatsync.parallel import off_main_thread
from chatsync.ytsaurus.client import READ_BUFFER, describe, explained, is_transient, new_client, place, quiet_the_client

Advance = Callable[[int], None]

_ATTRIBUTES = ("type", "row_count", "modification_time", "revision", "schema", "dynamic")
_INTEGERS = frozenset({"int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"})
# How schemaful_dsv is to spell a missing value: a backslash of the data is always doubled, so
# this can't be confused with any cell (YTsaurus docs, "Formats").
_NULL = b"\\N"

_TRANSACTION_MARGIN = 60.0
_ROWS_A_STEP = 10_000

logger = logging.getLogger(__name__)


class Table:
    """One version of the table, locked: its attributes are known, its rows wait to be read."""

    def __init__(self, section: Exclusions, scope: CancelScope) -> None:
        """Lock the table and read its attributes. Raises the client's own errors."""
        self._section = section
        self._scope = scope
        self._column_seen = False
        self._client = new_client(section)
        seconds = scope.remaining + _TRANSACTION_MARGIN
        # It outlives the run by itself, so no thread has to ping it and no ping can fail.
        self._transaction = self._client.Transaction(timeout=int(seconds * 1000), ping=False)
        self._transaction.__enter__()
        try:
            lock = self._client.lock(section.path, mode="snapshot")
            self._node = "#" + lock["node_id"]
            self._about = self._client.get(self._node + "/@", attributes=list(_ATTRIBUTES))
            self.version = self._version()
        except BaseException:
            self.close()
            raise

    def __str__(self) -> str:
        """Name the place as an error message does."""
        return place(self._section)

    def _version(self) -> ListVersion:
        about = self._about
        if about.get("type", "table") != "table":
            msg = f"{self} is a {about['type']}, not a table; check exclusions.path"
            raise SourceError(msg)
        if about.get("dynamic"):
            msg = f"{self} is a dynamic table, whose rows can't be held against a count; a static one is needed"
            raise SourceError(msg)
        revision = about.get("revision")
        return ListVersion(
            source=str(self),
            modified=parse_time(about["modification_time"], timezone=UTC),
            revision=None if revision is None else int(revision),  # the client's integers are no plain ones
            rows=int(about["row_count"]),
        )

    def close(self) -> None:
        """End the transaction. A cluster that is away ends it by itself after its timeout.

        It is left to that as well after a signal and past the deadline: a cluster that says nothing
        would keep the run waiting once more.
        """
        if isinstance(self._scope.reason, (StoppedError, DeadlineError)):
            return
        try:
            self._transaction.__exit__(YtError, None, None)
        except (YtError, OSError) as error:
            logger.info("%s: the transaction was left to time out: %s", self, describe(error))

    def kind(self) -> str:
        """Return what the list is kept in, in words, with the column's type."""
        column_type = self.column_type()
        typed = f"of type {column_type}" if column_type else "not in its schema"
        return f"a static table with column {self._section.column} {typed}"

    def check_column(self) -> None:
        """Ask the schema. Raises SourceError when it lacks the column."""
        self.column_type()

    def read(self, progress: Advance) -> ExclusionList:
        """Read the column of every row, each piece again from where it broke off.

        Raises SourceError when the column is missing, or when the rows read are not as many as
        this version holds: a short read is never a shorter list.
        """
        with explained(self._section, self._scope):
            collector = self._collect(progress)
        if collector.rows != self.version.rows:
            msg = (
                f"{self}: read {collector.rows} of {self.version.rows} rows; a list that is not whole "
                "is not used; the next run reads it again"
            )
            raise SourceError(msg)
        return collector.finish(self.version)

    def _collect(self, progress: Advance) -> IdCollector:
        column_type = self.column_type()
        collector = IdCollector()
        if column_type in _INTEGERS:
            try:
                self._read_pieces(collector, self._read_integers, progress)
            except YtResponseError as error:
                if collector.rows or error.is_access_denied() or error.is_resolve_error():
                    raise
                # A cluster may have switched the format off; the general one it always has.
                logger.warning("%s: reading row by row, for schemaful_dsv was refused: %s", self, describe(error))
                self._read_pieces(collector, self._read_rows, progress)
        else:
            self._read_pieces(collector, self._read_rows, progress)
        return collector

    def column_type(self) -> str | None:
        """Read the column's type from the schema; None when the schema doesn't speak of it.

        Raises SourceError when the schema says that there is no such column.
        """
        schema = self._about.get("schema") or []
        columns = {column["name"]: column.get("type") for column in schema}
        strict = getattr(schema, "attributes", {}).get("strict", bool(columns))
        if strict and columns and self._section.column not in columns:
            raise self._no_column(f"it has {', '.join(sorted(columns)[:10])}")
        return columns.get(self._section.column)

    def _no_column(self, what_there_is: str) -> SourceError:
        return SourceError(f"{self} has no column {self._section.column!r}: {what_there_is}; check exclusions.column")

    def _read_pieces(
        self, collector: IdCollector, read: Callable[[IdCollector, Advance], None], progress: Advance
    ) -> None:
        self._scope.retry(
            partial(off_main_thread, partial(read, collector, progress)),
            what=f"{self}: read the rows",
            is_transient=is_transient,
            describe=describe,
            mark=lambda: collector.rows,
        )

    def _rest(self, collector: IdCollector) -> yt.wrapper.TablePath:
        """Select our column of the locked node, from the first row that was not read yet."""
        return yt.wrapper.TablePath(self._node, columns=[self._section.column], start_index=collector.rows)

    def _read_integers(self, collector: IdCollector, progress: Advance) -> None:
        """Read an integer column as text, which costs no Python object for each row."""
        spelling = {"missing_value_mode": "print_sentinel", "missing_value_sentinel": _NULL.decode()}
        form = SchemafulDsvFormat(columns=[self._section.column], attributes=spelling)
        stream = self._client.read_table(self._rest(collector), format=form, raw=True)
        for lines in _whole_lines(stream.chunk_iter()):
            self._scope.check()
            before = collector.rows
            if not collector.add_lines(lines):
                for line in lines.split(b"\n")[:-1]:
                    collector.add(None if line == _NULL else line, row=collector.rows)
            progress(collector.rows - before)

    def _read_rows(self, collector: IdCollector, progress: Advance) -> None:
        """Read a column of any kind, one Python object a row."""
        form = YsonFormat(encoding=None)
        column = self._section.column.encode()
        for row in self._client.read_table(self._rest(collector), format=form):
            self._column_seen = self._column_seen or column in row
            collector.add(row.get(column), row=collector.rows)
            if collector.rows % _ROWS_A_STEP == 0:
                self._scope.check()
                progress(_ROWS_A_STEP)
        if collector.rows and not self._column_seen:
            raise self._no_column("no row holds it")


def _whole_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Gather pieces into blocks of whole lines; what came before a fault is kept.

    In small pieces the ids would take several times as long to put into a set.
    """
    gathered: list[bytes] = []
    size = 0
    try:
        for piece in pieces:
            size += len(piece)
            end = piece.rfind(b"\n") + 1 if size >= READ_BUFFER else 0
            if end:
                yield b"".join([*gathered, piece[:end]])
                gathered, size = [piece[end:]], len(piece) - end
            else:
                gathered.append(piece)
    except Exception:
        yield _up_to_last_line(gathered)
        raise
    yield _up_to_last_line(gathered)


def _up_to_last_line(pieces: list[bytes]) -> bytes:
    whole = b"".join(pieces)
    return whole[: whole.rfind(b"\n") + 1]


@contextmanager
def open_table(section: Exclusions, scope: CancelScope) -> Iterator[Table]:
    """Lock one version of the table for the length of a block.

    Raises SourceError that tells apart a missing table, no permission, a wrong token and a
    cluster that is away.
    """
    quiet_the_client()
    with explained(section, scope):
        what = f"{place(section)}: lock the table"
        table = scope.retry(partial(Table, section, scope), what=what, is_transient=is_transient, describe=describe)
    try:
        yield table
    finally:
        table.close()
