"""A CSV file with a header, or a file of one id a line: its header, and the ids in its rows.

A file with one column is read in large blocks, for speed; other files are read row by row with a CSV
reader. Both follow the same rules: a row with more or fewer cells than the header is rejected, blanks
around a cell are ignored, and blank lines are not rows.
"""

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from chatsync.errors import SourceError
from chatsync.exclusions.client_ids import IdCollector

_PIECE = 4 * 1024 * 1024
# No real cell or line is this long; without a limit, a file without line ends would fill the memory.
_LONGEST = 16 * 1024 * 1024
_MOST_HEADER_LINES = 100
_ROWS_A_STEP = 10_000
_BOM = b"\xef\xbb\xbf"
# A first line that looks like a name is a header; an id, or a broken one such as "n/a", is data.
_NAME = re.compile(r"[A-Za-z_]\w*")
# The first bytes of files that are not CSV in UTF-8, so that a message can name their kind.
_MAGIC = {
    b"\x1f\x8b": ("a gzip file", "unpack it"),
    b"BZh": ("a bzip2 file", "unpack it"),
    b"\xfd7zXZ": ("an xz file", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("a zstd file", "unpack it"),
    b"7z\xbc\xaf": ("a 7z file", "unpack it"),
    b"PK\x03\x04": ("a zip file or an Excel workbook (.xlsx)", "save the sheet as CSV, or unpack it"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook (.xls)", "save the sheet as CSV"),
    b"PAR1": ("a Parquet file", "export it as CSV"),
    b"ORC": ("an ORC file", "export it as CSV"),
    b"%PDF": ("a PDF", "export it as CSV"),
    b"\xff\xfe": ("text in UTF-16", "save it as UTF-8"),
    b"\xfe\xff": ("text in UTF-16", "save it as UTF-8"),
}
_MARKUP = {b"<": "HTML or XML", b"{": "JSON", b"[": "JSON"}
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}

Advance = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Header:
    """The column of the ids, the number of cells of a row, and the offset of the first row in the file."""

    column: int = 0
    width: int = 1
    offset: int
    lines: int


def find_header(file: IO[bytes], column: str, *, where: str) -> Header:
    """Read the header, which may follow blank lines; a file without a header has one id on each line.

    Raises SourceError if the header lacks the column or names it twice, or if the file is not text.
    """
    file.seek(0)
    _check_kind(file.read(_PIECE), where=where)
    file.seek(0)
    offset, blank, first = 0, 0, file.readline(_LONGEST)
    while first and not first.removeprefix(_BOM).strip():
        offset, blank, first = file.tell(), blank + 1, file.readline(_LONGEST)
    reader = csv.reader(_header_lines(first, file, where))
    csv.field_size_limit(_LONGEST)
    try:
        names = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise _not_csv(where, blank + 1, error) from None
    if column in names:
        if names.count(column) > 1:
            raise SourceError(f"{where} has more than one column {column!r}: it is not clear which one holds the ids")
        lines = blank + reader.line_num
        return Header(column=names.index(column), width=len(names), offset=file.tell(), lines=lines)
    _check_no_header(names, first.removeprefix(_BOM).decode("utf-8", "replace").strip(), column, where)
    return Header(offset=offset, lines=blank)


def _header_lines(first: bytes, file: IO[bytes], where: str) -> Iterator[str]:
    """Yield the lines of the header; it can have several, because a quoted name may contain line ends."""
    yield first.removeprefix(_BOM).decode("utf-8", "replace")
    for _ in range(_MOST_HEADER_LINES):
        yield file.readline(_LONGEST).decode("utf-8", "replace")
    raise SourceError(f"{where}, line 1: not CSV: a quote is not closed")


def _check_no_header(names: list[str], first: str, column: str, where: str) -> None:
    """Raise SourceError if the first line is a header without the column."""
    delimiter = _wrong_delimiter(first, column)
    if delimiter:
        raise SourceError(f"{where}: its header is separated by {delimiter}", way_out="save it as CSV with commas")
    if len(names) > 1 or (names and _NAME.fullmatch(names[0])):
        what = f"{where} has no column {column!r}: its header is {first[:100]!r}"
        raise SourceError(what, way_out="check exclusions.column")


def _check_kind(start: bytes, *, where: str) -> None:
    """Check the start of a file. Raises SourceError with its kind, the first bytes and what to do."""
    for magic, (kind, way_out) in _MAGIC.items():
        if start.startswith(magic):
            raise SourceError(f"{where} is {kind} (first bytes {magic.hex(' ')}), not CSV", way_out=way_out)
    if b"\0" in start:
        what = f"{where} holds NUL bytes, as text in UTF-16 does (first bytes {start[:4].hex(' ')}), so it is not CSV"
        raise SourceError(what, way_out="save it as UTF-8")
    markup = _MARKUP.get(start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1])
    if markup:
        raise SourceError(f"{where} looks like {markup}, not CSV", way_out="export it as CSV")


def _wrong_delimiter(header: str, column: str) -> str:
    """Return the name of the delimiter that a header has instead of commas; empty if it is not such a header."""
    for delimiter, name in _DELIMITERS.items():
        names = [one.strip().strip('"') for one in header.split(delimiter)]
        if len(names) > 1 and column in names:
            return name
    return ""


class RowReader:
    """Passes the cells of every row after the header to a collector of ids."""

    def __init__(
        self, header: Header, collector: IdCollector, *, where: str, check: Callable[[], None], progress: Advance
    ) -> None:
        """Start before the first row. `check` is called regularly and may raise; `progress` gets row counts."""
        self._header = header
        self._collector = collector
        self._where = where
        self._check = check
        self._progress = progress
        self._line = header.lines  # the last line that was read

    def read(self, file: IO[bytes]) -> None:
        """Read to the end of the file. Raises SourceError if it is not CSV."""
        file.seek(self._header.offset)
        blocks = _blocks(file, self._where)
        for block in blocks:
            self._check()
            if self._header.width > 1 or b'"' in block:
                # From here on a cell may contain line ends, so a line is not always a row.
                self._read_csv(itertools.chain([block], blocks))
                return
            before = self._collector.rows
            self._read_lines(block.replace(b"\r\n", b"\n"))
            self._progress(self._collector.rows - before)

    def _read_lines(self, lines: bytes) -> None:
        """Add lines of one cell each."""
        before = self._collector.rows
        if self._collector.add_lines(lines):
            self._line += self._collector.rows - before
            return
        for text in lines.decode("utf-8", "replace").split("\n")[:-1]:
            self._line += 1
            if text.strip():
                self._take(text.split(","), self._line)

    def _read_csv(self, blocks: Iterator[bytes]) -> None:
        texts = (io.StringIO(block.decode("utf-8", "replace"), newline="\n") for block in blocks)
        # Strict, because otherwise all rows after an unclosed quote would be read as one cell.
        reader = csv.reader(itertools.chain.from_iterable(texts), strict=True)
        collector = self._collector
        try:
            for row in reader:
                if not row or (len(row) == 1 and not row[0].strip()):
                    continue
                self._take(row, self._line + reader.line_num)
                if collector.rows % _ROWS_A_STEP == 0:
                    self._check()
                    self._progress(_ROWS_A_STEP)
        except csv.Error as error:
            raise _not_csv(self._where, self._line + reader.line_num, error) from None

    def _take(self, cells: list[str], line: int) -> None:
        """Add one row; it is rejected if its number of cells differs from the header's."""
        if len(cells) == self._header.width:
            self._collector.add(cells[self._header.column].strip(), row=line)
        else:
            cell_count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
            self._collector.reject(",".join(cells), f"{cell_count}, the header has {self._header.width}", row=line)


def _blocks(file: IO[bytes], where: str) -> Iterator[bytes]:
    r"""Yield the rest of a file in blocks of whole lines, all ended by `\n`, without a byte order mark."""
    rest = b""
    while piece := file.read(_PIECE):
        lines, newline, rest = (rest + piece).rpartition(b"\n")
        if newline:
            yield (lines + newline).removeprefix(_BOM)
        if len(rest) > _LONGEST:
            raise SourceError(f"{where}: a line is longer than {_LONGEST >> 20} MB, so this is not a list of ids")
    if rest:
        yield rest.removeprefix(_BOM) + b"\n"


def _not_csv(where: str, line: int, error: csv.Error) -> SourceError:
    return SourceError(f"{where}, line {line}: not CSV: {error}; lines must end in LF or CRLF, the text must be UTF-8")
