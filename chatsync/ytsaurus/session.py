"""A wrapper of the client's HTTP session that refuses answers which a YT proxy never gives.

Redirects are not followed, because the token would be sent to the new address. Compressed answers are
refused: none is asked for, and a small one could fill the memory. Answers kept in memory have a size
limit. An error that is not from YT (a web proxy, a balancer, a login page) is reported as such.
"""

import json
from typing import Any
from urllib.parse import urlsplit

import yt.wrapper
from yt.wrapper.http_helpers import _setup_new_session

# Much larger than any answer about one table; rows are streamed and not kept.
_MAX_ANSWER = 16 * 1024 * 1024
_PIECE = 64 * 1024
# So much of the rows is read at once.
READ_BUFFER = 4 * 1024 * 1024
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNAUTHORIZED, _NOT_FOUND, _PROXY_LOGIN = 401, 404, 407


class AnswerError(Exception):
    """An answer that no YT proxy gives. `is_passing` is whether a retry may help."""

    def __init__(self, text: str, *, is_passing: bool = False) -> None:
        """Take the text of the message."""
        super().__init__(text)
        self.is_passing = is_passing
        self.url = ""  # where it came from, if that is known


class WatchedSession:
    """A wrapper between the client and its `requests` session."""

    def __init__(self, session: Any) -> None:
        """Take over the session that the client made."""
        self._session = session
        self._session.headers["Accept-Encoding"] = "identity"
        self.streamed_from = ""  # the host that was last asked for rows

    def request(self, method: str, url: str, *, stream: bool = False, **options: Any) -> Any:
        """Send a request, as the client does through `requests`."""
        if stream:
            self.streamed_from = urlsplit(url).netloc
        response = self._session.request(method, url, **{**options, "stream": True, "allow_redirects": False})
        try:
            _check(response, holds=not stream)
        except BaseException as error:
            response.close()
            if isinstance(error, AnswerError):
                error.url = url
            raise
        return response

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def watch_session(client: yt.wrapper.YtClient) -> WatchedSession:
    """Make the client send everything through a watched session, and return it."""
    session = WatchedSession(_setup_new_session(client))
    client._requests_session = session  # noqa: SLF001  # where it looks for one
    return session


def _check(response: Any, *, holds: bool) -> None:
    """Raise AnswerError for an answer that a YT proxy does not give; `holds`: it will be kept in memory."""
    status, is_good = response.status_code, 200 <= response.status_code < 300  # noqa: PLR2004  # RFC 9110: success
    if response.is_redirect or 300 <= status < 400:  # noqa: PLR2004  # RFC 9110: redirection
        target = urlsplit(response.headers.get("Location", "")).netloc or "elsewhere"
        raise AnswerError(f"HTTP {status}, a redirect to {target}, which is not followed; set exclusions.proxy to it")
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"", "identity"}:
        raise AnswerError(f"HTTP {status} with a body in {encoding}, which was not asked for; is a web proxy between?")
    if holds or not is_good:
        # `response.content` looks there first.
        response._content = read_body(response, most=_MAX_ANSWER)  # noqa: SLF001  # no public way to set it
    if is_good and "text/html" in response.headers.get("Content-Type", ""):
        raise AnswerError(f"HTTP {status} with a web page in place of an answer; is it a login page, or a web proxy's?")
    if not is_good and not _is_of_yt(response) and not _is_of_clickhouse(response):
        raise AnswerError(_about_status(status), is_passing=status in _PASSING)


def read_body(response: Any, *, most: int) -> bytes:
    """Read a body into memory. Raises AnswerError when it has more than `most` bytes."""
    pieces, size = [], 0
    for piece in response.iter_content(_PIECE):
        size += len(piece)
        if size > most:
            raise AnswerError(f"HTTP {response.status_code} with more than {most >> 20} MB in answer")
        pieces.append(piece)
    return b"".join(pieces)


def _is_of_yt(response: Any) -> bool:
    """Tell whether a failure carries an error of YT, in a header or in the body."""
    text = response.headers.get("X-YT-Error") or response.content
    try:
        error = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(error, dict) and isinstance(error.get("code"), int) and isinstance(error.get("message"), str)


def _is_of_clickhouse(response: Any) -> bool:
    """Tell whether a failure carries an error of ClickHouse, which is plain text."""
    return "X-ClickHouse-Exception-Code" in response.headers or response.content.startswith(b"Code: ")


def _about_status(status: int) -> str:
    reasons = {
        _UNAUTHORIZED: "a login is asked for, but not by YT: is a web proxy or balancer between?",
        403: "access is refused, but not by YT: is a web proxy or balancer between?",
        _NOT_FOUND: "there is no YT proxy at this address",
        _PROXY_LOGIN: "the web proxy of $http_proxy or $https_proxy asks for a login",
    }
    return f"HTTP {status} without an error of YT: {reasons.get(status, 'a web proxy or balancer answered for it')}"
