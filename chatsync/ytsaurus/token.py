"""Where the YT token is. Does not import the YT client, which takes longer to import than everything else."""

import os
from pathlib import Path

from chatsync.config.settings import Exclusions
from chatsync.config.variables import read_small
from chatsync.errors import SourceError
from chatsync.known_secrets import keep_secret

WAYS = "$YT_TOKEN, exclusions.token_file, $YT_TOKEN_PATH or ~/.yt/token"


def find_token(section: Exclusions) -> tuple[str, str]:
    """Find the token and where it is: in $YT_TOKEN, exclusions.token_file, $YT_TOKEN_PATH, ~/.yt/token, in this order.

    Both texts are empty if there is none: some clusters need none. Raises SourceError for a file
    that was named and can't be read, and for a token that can't be one.
    """
    if token := os.environ.get("YT_TOKEN", "").strip():
        return _checked(token, "$YT_TOKEN"), "$YT_TOKEN"
    named = {"exclusions.token_file": section.token_file, "$YT_TOKEN_PATH": os.environ.get("YT_TOKEN_PATH", "")}
    for name, path in named.items():
        if path:
            return _read(os.path.expanduser(path), name), os.path.expanduser(path)  # noqa: PTH111  # no home, no error
    path = os.path.expanduser("~/.yt/token")  # noqa: PTH111  # as above
    return (_read(path, "~/.yt/token"), path) if os.path.lexists(path) else ("", "")


def _read(path: str, name: str) -> str:
    try:
        token = read_small(Path(path), encoding="ascii").strip()
    except FileNotFoundError:
        raise SourceError(f"{name}: there is no file {path}") from None
    except OSError as error:
        raise SourceError(f"{name}: cannot read the YT token in {path}: {error.strerror}") from None
    except ValueError:
        raise SourceError(f"{name}: cannot read the YT token in {path}: it is not text; {_ALONE}") from None
    return _checked(token, f"{name} ({path})")


_ALONE = "put the token there, and nothing else"


def _checked(token: str, where: str) -> str:
    """Return the token, which is hidden from now on. Raises SourceError when an HTTP header can't carry it."""
    keep_secret(token)
    if not all("!" <= letter <= "~" for letter in token):
        raise SourceError(f"{where}: the YT token contains blanks, line breaks or non-ASCII characters; {_ALONE}")
    return token
