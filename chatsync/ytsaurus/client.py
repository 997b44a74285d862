"""The YTsaurus client as this program uses it: its configuration, its token, and what its errors mean."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yt.logger
import yt.wrapper
from yt.common import YtError
from yt.wrapper.errors import YtChunkUnavailable, YtTokenError
from yt.wrapper.http_helpers import get_retriable_errors

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Exclusions
from chatsync.errors import ChatsyncError, SourceAwayError, SourceError
from chatsync.redaction import keep_secret, without_secrets

READ_BUFFER = 4 * 1024 * 1024

# The client's own retries have no total time; ours go around whole steps and are bounded.
_NO_RETRIES = {"enable": False, "count": 1}
_CONFIG: Mapping[str, Any] = {
    "api_version": "v4",  # whose `lock` names the locked node
    "apply_remote_patch_at_start": None,  # one more request, which may hang for a whole timeout
    "ping_failed_mode": "pass",  # the default raises KeyboardInterrupt in the main thread
    "transaction_sleep_period": 20,
    "read_buffer_size": READ_BUFFER,
    "proxy": {
        "retries": _NO_RETRIES,
        "connect_timeout": 5_000,  # these three in milliseconds, for each read of the socket
        "request_timeout": 20_000,
        "heavy_request_timeout": 30_000,
        "accept_encoding": "identity",  # ids in text shrink to a half, and unpacking costs ten times the reading
        "commands_with_framing": [],  # keep-alive frames would keep a stuck read alive for ever
    },
    # Its transaction and lock stay: without them a read without retries leaves our transaction.
    "read_retries": _NO_RETRIES,
}

logger = logging.getLogger(__name__)


def is_transient(error: BaseException) -> bool:
    """Tell whether trying again may help: a proxy away or busy, a timeout, a body cut short."""
    return isinstance(error, (*get_retriable_errors(), YtChunkUnavailable)) and not isinstance(error, YtTokenError)


def describe(error: BaseException) -> str:
    """Put an error of the client, dozens of lines with the request in them, on one line."""
    innermost = error
    while isinstance(innermost, YtError) and innermost.inner_errors:
        inner = innermost.inner_errors[0]
        if not isinstance(inner, dict):
            innermost = inner
            continue
        return _one_line(str(inner.get("message", "")))
    return _one_line(getattr(innermost, "message", "") or str(innermost))


def _one_line(text: str) -> str:
    """Keep the first line, and of a failure to connect only what the operating system says of it."""
    first = text.strip().splitlines()[0] if text.strip() else "no message"
    system = re.search(r"\[Errno -?\d+\] ([^'\")]+)", first)
    return system[1] if system else without_secrets(first)[:300]  # cleaned first: half a secret is not known again


def find_token(section: Exclusions) -> tuple[str, str]:
    """Find the token and say where: $YT_TOKEN, else ~/.yt/token, else `exclusions.token_file`.

    Both texts are empty where there is none: a cluster may do without.
    """
    if os.environ.get("YT_TOKEN"):
        keep_secret(os.environ["YT_TOKEN"].strip())
        return os.environ["YT_TOKEN"].strip(), "$YT_TOKEN"
    for path in (Path(os.path.expanduser("~/.yt/token")), Path(section.token_file)):  # noqa: PTH111  # no home, no error
        try:
            if path.is_file():
                token = path.read_text(encoding="ascii").strip()
                keep_secret(token)
                return token, str(path)
        except OSError as error:
            msg = f"cannot read the YT token in {path}: {error.strerror}"
            raise SourceError(msg) from None
        except UnicodeDecodeError:
            msg = f"cannot read the YT token in {path}: it is no text; put the token alone there"
            raise SourceError(msg) from None
    if section.token_file:
        msg = f"exclusions.token_file: there is no file {section.token_file}"
        raise SourceError(msg)
    return "", ""


def new_client(section: Exclusions) -> yt.wrapper.YtClient:
    """Make a client of our own: the global configuration is left alone."""
    token, _ = find_token(section)
    config = {**_CONFIG, "enable_token": bool(token)}
    return yt.wrapper.YtClient(proxy=section.proxy, token=token or None, config=config)


def quiet_the_client() -> None:
    """Send the client's log where ours goes: by itself it writes to standard error."""
    yt.logger.LOGGER.handlers[:] = []
    yt.logger.LOGGER.parent = logger
    yt.logger.LOGGER.propagate = True
    # Whatever fails is raised as well, and told by us on one line; its own words, tracebacks of a
    # ping that is not needed any more among them, are for who asks for everything.
    yt.logger.LOGGER.setLevel(logging.DEBUG if logger.isEnabledFor(logging.DEBUG) else logging.CRITICAL)


def place(section: Exclusions) -> str:
    """Name the table: `hahn://home/...`."""
    return f"{section.proxy.removeprefix('http://').removeprefix('https://')}:{section.path}"


@contextmanager
def explained(section: Exclusions, scope: CancelScope) -> Iterator[None]:
    """Turn the client's errors into ours."""
    try:
        yield
    except ChatsyncError:
        raise
    except (YtError, OSError) as error:
        raise _explain(error, section, scope) from error


def _explain(error: BaseException, section: Exclusions, scope: CancelScope) -> SourceError:
    """Say which of the ways in which a list can't be read this is, and what to do."""
    where, why = place(section), describe(error)
    if isinstance(error, YtTokenError) or (isinstance(error, YtError) and error.is_authentication_error()):
        return SourceError(f"{where}: the YT token is wrong or missing: {why}; {_about_token(section)}")
    if isinstance(error, YtError) and error.is_access_denied():
        return SourceError(f"{where}: no permission to read the table: {why}; ask its owners for read access")
    if isinstance(error, YtError) and error.is_resolve_error():
        return SourceError(f"{where}: there is no such table: {why}; ask its owners, or mend exclusions.path")
    if is_transient(error):
        return SourceAwayError(f"the cluster is away or too busy: {why}", where=where, gave_up=scope.gave_up)
    return SourceError(f"{where}: cannot read the list: {why}")


def _about_token(section: Exclusions) -> str:
    """Say which token the cluster did not take."""
    _, found_in = find_token(section)
    if found_in:
        return f"it was the one in {found_in}, put a new one there"
    return "there is none, put one into $YT_TOKEN, ~/.yt/token or exclusions.token_file"
