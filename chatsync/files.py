"""Files that others read while we write them: whole or absent, never half."""

import contextlib
import os
import tempfile
from pathlib import Path

from chatsync.errors import OutputError


def write_whole(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file beside `path` and move it there once it is on the disk.

    Raises OutputError naming the path when that can't be done; an older file then stays.
    """
    temporary = None
    try:
        if path.exists() and not path.is_file():
            # A device or a pipe would be moved out of the way, /dev/stdout as well as /dev/null.
            raise OutputError(f"cannot write {path}: it is there and is no regular file; name another one")
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}; nothing was written there"
        raise OutputError(msg) from None
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                Path(temporary).unlink()
