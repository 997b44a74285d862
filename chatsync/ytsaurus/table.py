"""One locked version of a table: its attributes are read at once, its rows on demand.

Everything happens inside one transaction: a snapshot lock fixes the table's version, and attributes
and rows are read from the locked node, never by path, so that they belong to the same version even if
somebody writes meanwhile (YTsaurus docs, "Transactions" and "Locks").
"""

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import yt.wrapper
from yt.common import YtError
from yt.wrapper.driver import make_formatted_request

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Exclusions
from chatsync.errors import DeadlineError, SourceError, StoppedError
from chatsync.parallel import off_main_thread
from chatsync.ytsaurus.client import Cluster, quiet_the_client
from chatsync.ytsaurus.columns import Advance, RowTaker, read_rows, read_text
from chatsync.ytsaurus.faults import describe, explained, is_refused_format, is_transient, understanding
from chatsync.ytsaurus.links import LinksMovedError, follow, time_of
from chatsync.ytsaurus.session import AnswerError

_ATTRIBUTES = ("type", "path", "row_count", "modification_time", "revision", "schema", "dynamic")
_INTEGERS = frozenset({"int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"})
_TRANSACTION_MARGIN = 60.0

logger = logging.getLogger(__name__)


class Table:
    """One version of a table: its attributes are known, its rows are not read yet."""

    def __init__(self, cluster: Cluster, path: str, scope: CancelScope, *, key: str) -> None:
        """Lock the table and read its attributes; `key` is the configuration key that names it.

        Raises the client's own errors.
        """
        self._cluster = cluster
        self._path = path
        self._key = key
        self._scope = scope
        self._client = cluster.client
        with understanding():
            started = _start_transaction(self._client, seconds=scope.remaining + _TRANSACTION_MARGIN)
            self._transaction = self._client.Transaction(transaction_id=started, acquire=True, ping=False)
            self._transaction.__enter__()
        try:
            with understanding():
                self._lock()
        except BaseException:
            self.close()
            raise

    @property
    def cluster(self) -> Cluster:
        """The cluster that holds the table."""
        return self._cluster

    def __str__(self) -> str:
        """Name the table as an error message does."""
        return self._cluster.place(self._path)

    def _lock(self) -> None:
        """Lock the table, then follow the links in its path, if there are any."""
        self.node = "#" + self._client.lock(self._path, mode="snapshot")["node_id"]
        self._about = self._client.get(self.node + "/@", attributes=list(_ATTRIBUTES))
        self._check_kind()
        self.row_count = self._integer("row_count")
        self.revision = None if self._about.get("revision") is None else self._integer("revision")
        modified = time_of(self._about, "modification_time")
        # The time of a list is that of the table, or of a link to it that is newer.
        self.modified = modified if self._about.get("path") == self._path else self._with_links(modified)

    def _check_kind(self) -> None:
        kind = self._about.get("type", "table")
        if kind != "table":
            raise SourceError(f"{self} is a {kind}, not a table", way_out=f"check {self._key}")
        if self._about.get("dynamic"):
            raise SourceError(
                f"{self} is a dynamic table, whose rows cannot be compared with a count", way_out="use a static one"
            )

    def _integer(self, name: str) -> int:
        value = self._about.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise AnswerError(f"the attribute {name} is missing or not a number: {value!r}")
        return int(value)  # the client has its own type of integers

    def _with_links(self, modified: datetime) -> datetime:
        """Return the latest time of the table and of the links on the way to it, as they were at one moment.

        The links are locked after the table. If they still lead to this table, and it has not
        changed, then both were as they are here when the links were locked.
        """
        way = follow(self._client, self._path)
        if way.latest is None:
            return modified
        with self._client.Transaction(
            transaction_id="0-0-0-0"
        ):  # outside of our transaction, which would see the locked version
            now = self._client.get(way.target + "/@", attributes=["id", "modification_time"])
        if "#" + str(now.get("id")) != self.node or time_of(now, "modification_time") != modified:
            raise LinksMovedError(f"the links on the way to {self._path}, or its table, changed while it was locked")
        return max(modified, way.latest)

    def close(self) -> None:
        """End the transaction. If the cluster is away, the transaction ends after its timeout.

        After a signal or the deadline it is left to the timeout as well, because a cluster that does not
        answer would make the command wait once more.
        """
        if isinstance(self._scope.reason, (StoppedError, DeadlineError)):
            return
        try:
            with understanding():
                self._transaction.__exit__(YtError, None, None)
        except (YtError, OSError, AnswerError) as error:
            logger.info("%s: the transaction was left to time out: %s", self, describe(error))

    def column_type(self, column: str) -> str | None:
        """Return the column's type; None when the schema does not mention it.

        Raises SourceError when the schema says that there is no such column.
        """
        schema = self._about.get("schema")
        schema = schema if isinstance(schema, list) else []
        columns = {one.get("name"): one.get("type") for one in schema if isinstance(one, Mapping)}
        strict = getattr(schema, "attributes", {}).get("strict", bool(columns))
        if strict and columns and column not in columns:
            raise self._no_column(column, f"it has {', '.join(sorted(map(str, columns))[:10])}")
        kind = columns.get(column)
        return str(kind) if isinstance(kind, str) else None

    def _no_column(self, column: str, what_there_is: str) -> SourceError:
        key = self._key.rpartition(".")[0] + ".column"
        return SourceError(f"{self} has no column {column!r}: {what_there_is}", way_out=f"check {key}")

    def read(self, column: str, taker: RowTaker, progress: Advance) -> None:
        """Hand a column of every row to `taker`; after a fault that may pass, from where it broke off.

        Raises SourceError when the column is missing, or when the rows read are not as many as
        this version holds: a short read is never a shorter table.
        """
        with explained(self._cluster, self._path, self._key, self._scope):
            self._read(column, taker, progress)
        if taker.rows != self.row_count:
            raise SourceError(
                f"read only {taker.rows} of {self.row_count} rows; an incomplete table is not used",
                where=str(self),
                way_out="the next run reads it again",
            )

    def _read(self, column: str, taker: RowTaker, progress: Advance) -> None:
        if self.column_type(column) in _INTEGERS:
            try:
                self._retry(read_text, column, taker, progress)
            except YtError as error:
                if taker.rows or not is_refused_format(error):
                    raise
                # A cluster may have switched the format off; the general one is always there.
                logger.warning("%s: reading row by row, as schemaful_dsv was refused: %s", self, describe(error))
            else:
                return
        has_column = self._retry(read_rows, column, taker, progress)
        if taker.rows and not has_column:
            raise self._no_column(column, "no row holds it")

    def _retry(self, read: Any, column: str, taker: RowTaker, progress: Advance) -> Any:
        """Read until the last row; an attempt goes on where the one before broke off."""

        def check() -> None:
            self._scope.check()
            if taker.rows > self.row_count:
                raise AnswerError(f"more rows than the {self.row_count} of this version")

        def attempt() -> Any:
            rest = yt.wrapper.TablePath(self.node, columns=[column], start_index=taker.rows)
            return read(self._client, rest, taker, progress, check=check)

        return self._scope.retry(
            partial(off_main_thread, attempt),
            what=f"{self}: read the rows",
            is_transient=is_transient,
            describe=describe,
            mark=lambda: taker.rows,
        )


def _start_transaction(client: yt.wrapper.YtClient, *, seconds: float) -> str:
    """Start a transaction that outlives the command by itself, so no thread has to ping it and no ping can fail.

    The client's own way says in its attributes where it comes from, too, but runs `lsb_release` and asks DNS for that.
    """
    attributes = {"title": "chatsync", "hostname": socket.gethostname(), "pid": os.getpid()}
    asked = {"timeout": int(seconds * 1000), "attributes": attributes}
    return str(make_formatted_request("start_transaction", asked, None, client=client)["transaction_id"])


@contextmanager
def open_table(section: Exclusions, scope: CancelScope, *, path: str, key: str) -> Iterator[Table]:
    """Lock one version of a table inside the block; `key` is the configuration key that names it.

    Raises SourceError that tells apart a missing table, no permission, a wrong token and a
    cluster that is away.
    """
    quiet_the_client()
    cluster = Cluster(section)
    if cluster.sends_token_openly:
        logger.warning("%s", cluster.open_token_warning)
    with locked(cluster, scope, path=path, key=key) as table:
        yield table


@contextmanager
def locked(cluster: Cluster, scope: CancelScope, *, path: str, key: str) -> Iterator[Table]:
    """Lock one version of a table of a cluster, as `open_table` does."""
    with explained(cluster, path, key, scope):
        lock = partial(Table, cluster, path, scope, key=key)
        what = f"{cluster.place(path)}: lock the table"
        table = scope.retry(lock, what=what, is_transient=is_transient, describe=describe)
    try:
        yield table
    finally:
        table.close()
