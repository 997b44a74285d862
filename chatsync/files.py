"""Files that other programs read while we write them: whole or absent, never half."""

import contextlib
import glob
import os
import stat
import tempfile
import time
from pathlib import Path

from chatsync.errors import OutputError
from chatsync.redaction import without_secrets

# A temporary file of this age belongs to a command that was killed.
_LEFT_BEHIND_SECONDS = 3600
_RANDOM = "????????"  # of mkstemp


def write_whole(path: Path, content: str, *, mode: int = 0o600) -> None:
    """Write a text, without the secrets in it, beside `path` and rename it to `path` once it is on the disk.

    Raises OutputError that names the path when this fails; an older file then stays.
    """
    temporary = None
    try:
        if path.exists() and not path.is_file():
            # The rename would replace a device or a pipe, even /dev/stdout and /dev/null.
            raise OutputError(f"cannot write {path}: it exists and is no regular file", way_out="name another one")
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(without_secrets(content).encode("utf-8", "backslashreplace"))
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


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove temporary files that `write_whole` left beside files of this pattern when its command was killed."""
    for path in folder.glob(f".{pattern}.{_RANDOM}"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > _LEFT_BEHIND_SECONDS:
                path.unlink()
