"""The exclusion list in a file: CSV with a header, or one id on each line. Its modification time is the file's."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO

from chatsync.cancel_scope import CancelScope, format_seconds
from chatsync.config.settings import Exclusions
from chatsync.core import NEVER, ExclusionList, Keep, ListVersion
from chatsync.errors import SourceError
from chatsync.exclusions.client_ids import IdCollector
from chatsync.exclusions.csv_file import RowReader, find_header

_MOST_LINKS = 40  # the limit of the operating system
_NANOSECONDS = 1_000_000_000


class ListFile:
    """One version of a list in a file, open for reading."""

    def __init__(self, file: IO[bytes], section: Exclusions, scope: CancelScope) -> None:
        """Take an open file; its current state is the version of the list."""
        self._file = file
        self._column = section.column
        self.cluster = None
        self._scope = scope
        self._as_opened = self._stamp()
        modified_ns = self._as_opened[0]
        self.version = ListVersion(
            source=section.file,
            modified=NEVER + timedelta(microseconds=max(modified_ns, self._links_time(section.file)) // 1000),
            revision=None,
            rows=None,
        )
        self._settle = section.settle
        self._is_settled = abs(time.time() - modified_ns / _NANOSECONDS) >= section.settle

    def __str__(self) -> str:
        """Return the name of the place for error messages."""
        return f"list {self.version.source}"

    def _stamp(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_mtime_ns, status.st_size

    def _links_time(self, path: str) -> int:
        """Return when the newest link in the path was made; 0 without links. Raises SourceError if one changed."""
        latest = _latest_link(path)
        if latest and not os.path.samestat(os.stat(path), os.fstat(self._file.fileno())):  # noqa: PTH116  # its pair
            raise SourceError(f"the links to {path} changed while it was opened", way_out="the next run reads it")
        return latest

    def kind(self) -> str:
        """Return the kind of the source for a message."""
        return "a file"

    def warnings(self) -> list[str]:
        """Return warnings: none."""
        return []

    def check_column(self) -> None:
        """Check the header. Raises SourceError if it lacks the column, or names it twice.

        A file that has just changed is not checked, because it may be half of an upload.
        """
        if self._is_settled:
            find_header(self._file, self._column, where=str(self))

    def read(self, progress: Callable[[int], None], keep: Keep | None = None) -> ExclusionList:
        """Read every row except blank lines; the number of a row is its line number.

        Raises SourceError if the column is missing, if the file is not CSV, if it changes while it is
        read, or if it changed within the last `exclusions.settle`.
        """
        if not self._is_settled:
            span = f"{format_seconds(self._settle)} (exclusions.settle)"
            what = f"it changed within the last {span} and may not be complete yet"
            raise SourceError(what, where=str(self), way_out="the next run reads it")
        header = find_header(self._file, self._column, where=str(self))
        collector = IdCollector(keep)
        rows = RowReader(header, collector, where=str(self), check=self._scope.check, progress=progress)
        rows.read(self._file)
        if self._stamp() != self._as_opened:
            raise SourceError("it changed while it was read", where=str(self), way_out="the next run reads it again")
        return collector.finish(self.version)


def _latest_link(path: str) -> int:
    """Return when the newest link in a path was made, in nanoseconds; 0 if there is none.

    Owners may switch a link from one file to another; switching back to an older file makes a new list.
    """
    latest = 0
    for _ in range(_MOST_LINKS):
        steps = [Path(path), *Path(path).parents]
        link = next((step for step in reversed(steps) if step.is_symlink()), None)
        if link is None:
            break
        latest = max(latest, link.lstat().st_mtime_ns)
        path = str(link.parent / link.readlink() / Path(path).relative_to(link))
    return latest


@contextmanager
def open_file(section: Exclusions, scope: CancelScope) -> Iterator[ListFile]:
    """Open the file inside the block. Raises SourceError when it can't be read."""
    try:
        with Path(section.file).open("rb") as file:
            yield ListFile(file, section, scope)
    except OSError as error:
        why = f"cannot read the list {section.file}: {error.strerror or error}"
        raise SourceError(why, way_out="see exclusions.file") from None
