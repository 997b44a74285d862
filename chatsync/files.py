"""Files that other programs read while we write them: whole or absent, never half."""

import contextlib
import os
import tempfile
from pathlib import Path

from chatsync.errors import OutputError
from chatsync.redaction import without_secrets


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
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; nothing was written there") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                Path(temporary).unlink()
