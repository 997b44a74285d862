"""The exclusion list in YTsaurus: one version of a table, read through the real client.

Everything happens inside one transaction: a snapshot lock pins the table's version, and
attributes and rows are read from the locked node, never by path, so that they belong together
whatever is written meanwhile (YTsaurus docs, "Transactions" and "Locks").
"""

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any

import yt.logger
import yt.wrapper
from yt.common import YtError, YtResponseError
from yt.wrapper.errors import YtChunkUnavailable, YtTokenError
from yt.wrapper.format import SchemafulDsvFormat, YsonFormat
from yt.wrapper.http_helpers import get_retriable_errors

from chatsync.core import ExclusionList, ListVersion
from chatsync.errors import ChatsyncError, SourceAwayError, SourceError
from chatsync.ids import IdCollector
from chatsync.modtime import parse_time
from chatsync.run import Run
from chatsync.settings import Exclusions

Advance = Callable[[int], None]

_ATTRIBUTES = ("type", "row_count", "modification_time", "revision", "schema", "dynamic")
_INTEGERS = frozenset({"int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"})
# How schemaful_dsv is to spell a missing value: a backslash of the data is always doubled, so
# this can't be confused with any cell (YTsaurus docs, "Formats").
_NULL = b"\\N"

# An id a line, this much is parsed at once.
_BLOCK_SIZE = 4 * 1024 * 1024

# The client's own retries have no total time; ours go around whole steps and are bounded.
_NO_RETRIES = {"enable": False, "count": 1}
_CONFIG: Mapping[str, Any] = {
    "api_version": "v4",  # whose `lock` names the locked node
    "apply_remote_patch_at_start": None,  # one more request, which may hang for a whole timeout
    "ping_failed_mode": "pass",  # the default raises KeyboardInterrupt in the main thread
    "transaction_sleep_period": 20,
    "read_buffer_size": _BLOCK_SIZE,
    "proxy": {
        "retries": _NO_RETRIES,
        "connect_timeout": 5_000,  # these three in milliseconds, for each read of the socket
        "request_timeout": 20_000,
        "heavy_request_timeout": 30_000,
        "accept_encoding": "identity",  # ids in text shrink to a half, and unpacking costs ten times the reading
        "commands_with_framing": [],  # keep-alive frames would keep a stuck read alive for ever
    },
    # Its transaction and lock stay: without them a read without retries leaves our transaction.
    "read_retries": _NO_RETRIES,
}
_TRANSACTION_MARGIN = 60.0
_ROWS_A_STEP = 10_000

logger = logging.getLogger(__name__)


def is_transient(error: BaseException) -> bool:
    """Tell whether trying again may help: a proxy away or busy, a timeout, a body cut short."""
    return isinstance(error, (*get_retriable_errors(), YtChunkUnavailable)) and not isinstance(error, YtTokenError)


def describe(error: BaseException) -> str:
    """Put an error of the client, dozens of lines with the request in them, on one line."""
    innermost = error
    while isinstance(innermost, YtError) and innermost.inner_errors:
        inner = innermost.inner_errors[0]
        if not isinstance(inner, dict):
            innermost = inner
            continue
        return _one_line(str(inner.get("message", "")))
    return _one_line(getattr(innermost, "message", "") or str(innermost))


def _one_line(text: str) -> str:
    """Keep the first line, and of a failure to connect only what the operating system says of it."""
    first = text.strip().splitlines()[0] if text.strip() else "no message"
    system = re.search(r"\[Errno -?\d+\] ([^'\")]+)", first)
    return system[1] if system else first[:300]


def find_token(section: Exclusions) -> tuple[str, str]:
    """Find the token and say where: $YT_TOKEN, else ~/.yt/token, else `exclusions.token_file`.

    Both texts are empty where there is none: a cluster may do without.
    """
    if os.environ.get("YT_TOKEN"):
        return os.environ["YT_TOKEN"].strip(), "$YT_TOKEN"
    for path in (Path("~/.yt/token").expanduser(), Path(section.token_file)):
        try:
            if path.is_file():
                return path.read_text(encoding="utf-8").strip(), str(path)
        except OSError as error:
            msg = f"cannot read the YT token in {path}: {error.strerror}"
            raise SourceError(msg) from None
    if section.token_file:
        msg = f"exclusions.token_file: there is no file {section.token_file}"
        raise SourceError(msg)
    return "", ""


def _client(section: Exclusions) -> yt.wrapper.YtClient:
    """Make a client of our own: the global configuration is left alone."""
    token, _ = find_token(section)
    config = {**_CONFIG, "enable_token": bool(token)}
    return yt.wrapper.YtClient(proxy=section.proxy, token=token or None, config=config)


class Table:
    """One version of the table, locked: its attributes are known, its rows wait to be read."""

    def __init__(self, section: Exclusions, run: Run) -> None:
        """Lock the table and read its attributes. Raises the client's own errors."""
        self._section = section
        self._run = run
        self._column_seen = False
        self._client = _client(section)
        seconds = run.remaining + _TRANSACTION_MARGIN
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
        if about["type"] != "table":
            msg = f"{self} is a {about['type']}, not a table; check exclusions.path"
            raise SourceError(msg)
        if about.get("dynamic"):
            msg = f"{self} is a dynamic table, whose rows can't be held against a count; a static one is needed"
            raise SourceError(msg)
        return ListVersion(
            source=str(self),
            modified=parse_time(about["modification_time"], timezone=UTC),
            revision=int(about["revision"]),  # the client's integers are no plain ones
            rows=int(about["row_count"]),
        )

    def close(self) -> None:
        """End the transaction. A cluster that is away ends it by itself after its timeout."""
        try:
            self._transaction.__exit__(YtError, None, None)
        except (YtError, OSError) as error:
            logger.info("%s: the transaction was left to time out: %s", self, describe(error))

    def check_column(self) -> None:
        """Ask the schema. Raises SourceError when it lacks the column."""
        self.column_type()

    def read(self, progress: Advance) -> ExclusionList:
        """Read the column of every row, each piece again from where it broke off.

        Raises SourceError when the column is missing, or when the rows read are not as many as
        this version holds: a short read is never a shorter list.
        """
        with _explained(self._section):
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
        self._run.retry(
            partial(read, collector, progress),
            what=f"{self}: read the rows",
            is_transient=is_transient,
            describe=describe,
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
            self._run.check()
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
                self._run.check()
                progress(_ROWS_A_STEP)
        if collector.rows and not self._column_seen:
            raise self._no_column("no row holds it")


def _whole_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Gather pieces into blocks of whole lines; what came before a fault is kept.

    In small pieces the ids would take several times as long to put into a set.
    """
    gathered = bytearray()
    try:
        for piece in pieces:
            gathered += piece
            if len(gathered) >= _BLOCK_SIZE:
                end = gathered.rfind(b"\n") + 1
                yield bytes(gathered[:end])
                del gathered[:end]
    except Exception:
        yield bytes(gathered[: gathered.rfind(b"\n") + 1])
        raise
    yield bytes(gathered[: gathered.rfind(b"\n") + 1])


def place(section: Exclusions) -> str:
    """Name the table: `hahn://home/...`."""
    return f"{section.proxy.removeprefix('http://').removeprefix('https://')}:{section.path}"


@contextmanager
def open_table(section: Exclusions, run: Run) -> Iterator[Table]:
    """Lock one version of the table for the length of a block.

    Raises SourceError that tells apart a missing table, no permission, a wrong token and a
    cluster that is away.
    """
    _quiet_the_client()
    with _explained(section):
        what = f"{place(section)}: lock the table"
        table = run.retry(partial(Table, section, run), what=what, is_transient=is_transient, describe=describe)
    try:
        yield table
    finally:
        table.close()


@contextmanager
def _explained(section: Exclusions) -> Iterator[None]:
    """Turn the client's errors into ours."""
    try:
        yield
    except ChatsyncError:
        raise
    except (YtError, OSError) as error:
        raise _explain(error, section) from error


def _quiet_the_client() -> None:
    """Send the client's log where ours goes: by itself it writes to standard error."""
    yt.logger.LOGGER.handlers[:] = []
    yt.logger.LOGGER.parent = logger
    yt.logger.LOGGER.propagate = True
    # Its own level lets through what ours would not, since a parent's level binds no child.
    yt.logger.LOGGER.setLevel(logging.DEBUG if logger.isEnabledFor(logging.DEBUG) else logging.WARNING)


def _explain(error: BaseException, section: Exclusions) -> SourceError:
    """Say which of the ways in which a list can't be read this is, and what to do."""
    where, why = place(section), describe(error)
    if isinstance(error, YtTokenError) or (isinstance(error, YtError) and error.is_authentication_error()):
        return SourceError(f"{where}: the YT token is wrong or missing: {why}; see exclusions.token_file")
    if isinstance(error, YtError) and error.is_access_denied():
        return SourceError(f"{where}: no permission to read the table: {why}; ask its owners for read access")
    if isinstance(error, YtError) and error.is_resolve_error():
        return SourceError(f"{where}: there is no such table: {why}; ask its owners, or mend exclusions.path")
    if is_transient(error):
        return SourceAwayError(
            f"{where}: the cluster is away or too busy: {why}; it was tried again until run.retry_timeout"
        )
    return SourceError(f"{where}: cannot read the list: {why}")
