"""An exclusion list in a file: CSV with a header, or one id a line. Its mod-time is the file's."""

import csv
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Exclusions
from chatsync.core.diff import ExclusionList, ListVersion
from chatsync.core.modtime import NEVER
from chatsync.errors import SourceError
from chatsync.exclusions.client_ids import IdCollector

Advance = Callable[[int], None]

_PIECE = 4 * 1024 * 1024
_ROWS_A_STEP = 10_000
_BOM = b"\xef\xbb\xbf"
# A first line that looks like a name is a header; an id, or a broken one such as "n/a", is data.
_NAME = re.compile(r"[A-Za-z_]\w*")


class ListFile:
    """One version of a list in a file, open for reading."""

    def __init__(self, file: IO[bytes], section: Exclusions, scope: CancelScope) -> None:
        """Take an open file; its version is what the file is now."""
        self._file = file
        self._column = section.column
        self._scope = scope
        self._as_opened = self._stamp()
        self.version = ListVersion(
            source=section.file,
            modified=NEVER + timedelta(microseconds=os.fstat(file.fileno()).st_mtime_ns // 1000),
            revision=None,
            rows=None,
        )

    def __str__(self) -> str:
        """Name the place as an error message does."""
        return f"list {self.version.source}"

    def _stamp(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_mtime_ns, status.st_size

    def kind(self) -> str:
        """Return what the list is kept in, in words."""
        return "a file"

    def check_column(self) -> None:
        """Read the header. Raises SourceError when it lacks the column."""
        self._header(self._file.readline())
        self._file.seek(0)

    def read(self, progress: Advance) -> ExclusionList:
        """Read every row but blank lines; a row's number is that of its line.

        Raises SourceError for a missing column, or for a file that is written to meanwhile.
        """
        first = self._file.readline()
        fields = self._header(first)
        collector = IdCollector()
        if len(fields) > 1:
            self._read_csv(collector, progress, fields.index(self._column))
        else:
            if not fields:
                self._file.seek(0)
            self._read_lines(collector, progress, line=1 if fields else 0)
        if self._stamp() != self._as_opened:
            msg = f"{self} was written to while it was read; the next run reads it again"
            raise SourceError(msg)
        return collector.finish(self.version)

    def _header(self, first: bytes) -> list[str]:
        """Split the header; without one, the file is one id a line and the answer is empty."""
        csv.field_size_limit(sys.maxsize)  # a cell may be long and wrong, and is then shown as such
        text = first.removeprefix(_BOM).decode("utf-8", "replace").strip()
        try:
            fields = [field.strip() for field in next(csv.reader([text]), [])]
        except csv.Error as error:
            msg = f"{self}, line 1: not CSV: {error}; its lines must end in LF or CRLF, its text be UTF-8"
            raise SourceError(msg) from None
        if self._column in fields:
            return fields
        if len(fields) > 1 or (fields and _NAME.fullmatch(fields[0])):
            msg = f"{self} has no column {self._column!r}: its header is {text[:100]!r}; check exclusions.column"
            raise SourceError(msg)
        return []

    def _read_lines(self, collector: IdCollector, progress: Advance, line: int) -> None:
        """Read one column, a piece at a time; only a piece with an oddity is taken line by line."""
        rest = b""
        while piece := self._file.read(_PIECE):
            self._scope.check()
            lines, newline, rest = (rest + piece).replace(b"\r\n", b"\n").rpartition(b"\n")
            line = self._add(collector, lines + newline, progress, line)
        if rest:
            self._add(collector, rest + b"\n", progress, line)

    def _add(self, collector: IdCollector, lines: bytes, progress: Advance, line: int) -> int:
        before = collector.rows
        if collector.add_lines(lines):
            line += collector.rows - before
        else:
            for text in lines.split(b"\n")[:-1]:
                line += 1
                cell = text.removeprefix(_BOM).strip().strip(b'"')
                if cell:
                    collector.add(cell, row=line)
        progress(collector.rows - before)
        return line

    def _read_csv(self, collector: IdCollector, progress: Advance, column: int) -> None:
        text = io.TextIOWrapper(self._file, encoding="utf-8", errors="replace", newline="")
        rows = csv.reader(text, strict=True)  # else a quote that is never closed would swallow the rows after it
        try:
            for row in rows:
                if not row:
                    continue
                cell = row[column].strip() if column < len(row) else None
                collector.add(cell, row=rows.line_num + 1)
                if collector.rows % _ROWS_A_STEP == 0:
                    self._scope.check()
                    progress(_ROWS_A_STEP)
        except csv.Error as error:
            msg = f"{self}, line {rows.line_num + 1}: not CSV: {error}"
            raise SourceError(msg) from None
        finally:
            text.detach()


@contextmanager
def open_file(section: Exclusions, scope: CancelScope) -> Iterator[ListFile]:
    """Open the file for the length of a block. Raises SourceError when it can't be read."""
    try:
        with Path(section.file).open("rb") as file:
            yield ListFile(file, section, scope)
    except OSError as error:
        msg = f"cannot read the list {section.file}: {error.strerror}; see exclusions.file"
        raise SourceError(msg) from None
