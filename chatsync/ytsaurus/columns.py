"""Reading the rows of one column from a cluster, as blocks of text lines or as values."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import yt.wrapper
import yt.yson
from yt.wrapper.driver import make_request
from yt.wrapper.format import SchemafulDsvFormat, YsonFormat

from chatsync.ytsaurus.faults import understanding
from chatsync.ytsaurus.session import READ_BUFFER, AnswerError

Advance = Callable[[int], None]
Item = TypeVar("Item")

# The text for a missing value in schemaful_dsv. Backslashes in data are always doubled, so this can't
# be confused with a cell (YTsaurus docs, "Formats").
NULL = b"\\N"
_ROWS_A_STEP = 10_000
# An id has about 20 bytes. As Python objects, a row takes up to a hundred times its size.
_LONGEST = 4 * 1024 * 1024


class RowTaker(Protocol):
    """The receiver of the rows. After a fault, reading continues after the rows that it has."""

    @property
    def rows(self) -> int:
        """How many rows were received so far."""

    def take_lines(self, lines: bytes) -> None:
        r"""Take whole lines, one value each, all ended by `\n`; a missing value is NULL."""

    def take(self, value: Any) -> None:
        """Take one value: int, float, bool, bytes, list, dict, None, or another YSON value."""


class WithAttributes:
    """A YSON value with attributes (`<a=1>7`), which is not a plain value."""

    def __init__(self, value: Any) -> None:
        """Keep the value to be shown."""
        self._value = value

    def __str__(self) -> str:
        """Show it as YSON does."""
        return bytes(yt.yson.dumps(self._value, yson_format="text")).decode("utf-8", "replace")


def stream_of(client: Any, path: Any, form: Any) -> Any:
    """Ask for rows in our transaction, which has locked them.

    The client's `read_table` would begin a transaction of its own with a client of its own: four requests and 30 ms of
    CPU more for each table.
    """
    with understanding():
        asked = {"path": path, "output_format": form}
        options = {"return_content": False, "use_heavy_proxy": True, "allow_retries": False}
        stream = make_request("read_table", asked, client=client, **options)
        if stream.response_parameters is None:
            raise AnswerError("rows without X-YT-Response-Parameters")
    return stream


def understood(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the client's items; an answer that it can't read raises AnswerError."""
    with understanding():
        yield from items


def read_text(client: Any, path: Any, taker: RowTaker, progress: Advance, *, check: Callable[[], None]) -> None:
    """Read an integer column as text, which costs no Python object for each row."""
    spelling = {"missing_value_mode": "print_sentinel", "missing_value_sentinel": NULL.decode()}
    form = SchemafulDsvFormat(columns=path.attributes["columns"], attributes=spelling)
    for lines in _whole_lines(understood(stream_of(client, path, form).chunk_iter())):
        check()
        before = taker.rows
        taker.take_lines(lines)
        progress(taker.rows - before)


def read_rows(client: Any, path: Any, taker: RowTaker, progress: Advance, *, check: Callable[[], None]) -> bool:
    """Read a column of any kind, one Python object a row; return whether any row has the column."""
    column = path.attributes["columns"][0].encode()
    has_column = False
    form = YsonFormat(encoding=None)
    stream = _Bounded(stream_of(client, path, form))
    with understanding():
        rows = form.load_rows(stream)
    for row in understood(rows):
        stream.size = 0
        if not isinstance(row, dict):
            raise AnswerError("a row is not a map")
        has_column = has_column or column in row
        taker.take(_plain(row.get(column)))
        if taker.rows % _ROWS_A_STEP == 0:
            check()
            progress(_ROWS_A_STEP)
    return has_column


class _Bounded:
    """A stream of rows in YSON, with a limit on the length of each row."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.size = 0  # bytes read since the last row

    def read(self, length: int) -> bytes:
        """Read up to so many bytes, as the parser of YSON asks for them."""
        data = bytes(self._stream.read(length))
        self.size += len(data)
        _check_length(self.size)
        return data


def _plain(value: Any) -> Any:
    """Turn a YSON value into a plain one. The client's booleans are integers, and its texts may have attributes."""
    if not isinstance(value, yt.yson.YsonType):
        return value
    if value.attributes:
        return WithAttributes(value)
    if isinstance(value, yt.yson.YsonBoolean):
        return bool(value)
    for kind in (int, float, bytes):
        if isinstance(value, kind):
            return kind(value)  # type: ignore[arg-type]  # of the very kind that it is
    return None if isinstance(value, yt.yson.YsonEntity) else value


def _whole_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join pieces into blocks of whole lines; lines that came before a fault are kept.

    Adding the ids to a set in small pieces would take several times as long.
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
                _check_length(size - READ_BUFFER)
    except Exception:
        yield _up_to_last_line(gathered)
        raise
    yield _up_to_last_line(gathered)


def _check_length(size: int) -> None:
    if size > _LONGEST:
        raise AnswerError(f"a row of more than {_LONGEST >> 20} MB where an id is expected")


def _up_to_last_line(pieces: list[bytes]) -> bytes:
    whole = b"".join(pieces)
    return whole[: whole.rfind(b"\n") + 1]
