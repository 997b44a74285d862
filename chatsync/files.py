"""Writing files that other programs may read at the same time: they see the whole file or none."""

import contextlib
import glob
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from chatsync.errors import OutputError
from chatsync.redaction import without_secrets

# A temporary file of this age belongs to a command that was killed.
_LEFT_BEHIND_SECONDS = 3600
_RANDOM = "????????"  # of mkstemp


def write_whole(path: Path, content: str | Iterable[str | bytes], *, mode: int = 0o600) -> None:
    """Write a text, with secrets hidden, to a temporary file and rename it to `path` after it is on the disk.

    A long text may be given in pieces: texts of whole lines, or bytes that are known to hold no secret. Raises
    OutputError that names the path if this fails; an older file is then unchanged.
    """
    temporary = None
    try:
        if path.exists() and not path.is_file():
            # The rename would replace a device or a pipe with a file, even /dev/null.
            raise OutputError(f"cannot write {path}: it exists and is not a regular file", way_out="name another one")
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            for piece in [content] if isinstance(content, str) else content:
                if isinstance(piece, str):
                    file.write(without_secrets(piece).encode("utf-8", "backslashreplace"))
                else:
                    file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        remove_leftovers(path.parent, glob.escape(path.name))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; nothing was written there") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                Path(temporary).unlink()


class Spool:
    """Lines in a temporary file without a name, until they are read.

    An error of writing is raised when the lines are read, so that it does not stop the code that adds them.
    """

    def __init__(self, folder: Path | None) -> None:
        """Keep the lines in `folder`, or in $TMPDIR; the file is created with the first line."""
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._error: OSError | None = None

    def add(self, line: str) -> None:
        """Add a line, with secrets hidden."""
        if self._error is not None:
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  # closed by `close`
            self._file.write(without_secrets(line).encode("utf-8", "backslashreplace") + b"\n")
        except OSError as error:
            self._error = error

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines from the first one. Raises OutputError if one could not be written."""
        try:
            if self._error is not None:
                raise self._error
            if self._file is not None:
                self._file.seek(0)
                yield from self._file
        except OSError as error:
            what = f"cannot keep rows in a temporary file: {error.strerror}"
            raise OutputError(what, way_out="is the disk full? see also $TMPDIR") from None

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk: reading the lines raises that
                self._file.close()


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove the temporary files of `write_whole` for this pattern whose command was killed."""
    for path in folder.glob(f".{pattern}.{_RANDOM}"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > _LEFT_BEHIND_SECONDS:
                path.unlink()
