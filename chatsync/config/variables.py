"""Values of `${…}` in the configuration: environment variables, or the content of a file."""

import errno
import os
import re
from pathlib import Path
from urllib.parse import unquote

from chatsync.known_secrets import keep_secret

VARIABLE = re.compile(r"\$\{([^}]*)\}")
_FILE = "file:"
_MAX_BYTES = 65_536
_MAX_FILE = 4 * 1024 * 1024


def read_small(path: Path, *, encoding: str = "utf-8-sig") -> str:
    """Read a file that a person writes. Raises ValueError for other text, OSError also for one of more than 4 MiB."""
    with path.open("rb") as file:
        content = file.read(_MAX_FILE + 1)
    if len(content) > _MAX_FILE:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content.decode(encoding)


def value_of(name: str) -> str:
    """Return the value of `${NAME}` or `${file:/PATH}`. Raises ValueError that names what is missing.

    The line end at the end of a file is not part of the value, because editors add it.
    """
    if name.startswith(_FILE):
        return _content(Path(name.removeprefix(_FILE)))
    if name not in os.environ:
        raise ValueError(f"the environment variable {name} is not set")
    return os.environ[name]


def _content(path: Path) -> str:
    where = f"${{{_FILE}{path}}}"
    try:
        path = path.expanduser()
        if not path.is_absolute():
            raise ValueError(f"{where}: expected an absolute path")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{where}: cannot read the file: {error.strerror}") from None
    except RuntimeError:  # "~" with an unknown user
        raise ValueError(f"{where}: there is no such home directory") from None
    if len(content) > _MAX_BYTES:
        raise ValueError(f"{where}: the file is longer than {_MAX_BYTES} bytes")
    try:
        value = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:  # its text is not shown, because it contains part of the file
        raise ValueError(f"{where}: expected text in UTF-8") from None
    keep_secret(value)  # a value in its own file is a secret
    return value


def fill_in(text: str) -> str:
    """Replace each `${…}` by its value. Raises ValueError that names what is missing."""
    return VARIABLE.sub(lambda match: value_of(match[1]), text)


def fill_in_part(text: str) -> str:
    """Fill in one part of a split URL; percent escapes are decoded in the URL, but not in filled-in values."""
    pieces = VARIABLE.split(text)
    return valid_text("".join(value_of(piece) if at % 2 else unquote(piece) for at, piece in enumerate(pieces)))


def valid_text(text: str) -> str:
    """Return the text if files, databases and the cluster can store it. Raises ValueError if not."""
    if "\0" in text or (not text.isascii() and text != text.encode("utf-8", "replace").decode("utf-8")):
        raise ValueError("expected a text without NUL in valid UTF-8")
    return text
