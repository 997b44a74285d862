"""What the client's errors mean: which are temporary, how each is formatted on one line, and what to do about it."""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from yt.common import YtError, YtResponseError
from yt.packages.requests import exceptions as http
from yt.packages.urllib3 import exceptions as pool
from yt.wrapper.errors import YtIncorrectResponse, YtProxyUnavailable, YtTokenError

from chatsync.cancel_scope import CancelScope
from chatsync.errors import ChatsyncError, SourceAwayError, SourceError
from chatsync.redaction import without_secrets
from chatsync.ytsaurus.client import Cluster
from chatsync.ytsaurus.links import LinksMovedError
from chatsync.ytsaurus.session import AnswerError
from chatsync.ytsaurus.token import WAYS

_CLIENT_ERRORS = (YtError, OSError, HTTPException, pool.HTTPError, AnswerError, LinksMovedError)
# Codes of errors, from the client's own predicates (yt.common, YtError.is_…) and what its HTTP client retries.
_RESOLVE, _AUTHENTICATION, _ACCESS_DENIED, _NO_TRANSACTION = 500, 900, 901, 11000
# Chunk unavailable, and chunk is lost: also the latter is said while the nodes that hold it are restarted.
_CHUNKS_UNAVAILABLE = frozenset({716, 743})
_PASSING_CODES = frozenset({3, 100, 105, 108, 122, 202, 218, 712, 904, 2100, 3302}) | _CHUNKS_UNAVAILABLE
_LASTING_CODES = frozenset({_RESOLVE, _AUTHENTICATION, _ACCESS_DENIED, _NO_TRANSACTION})
_PASSING_ERRORS = (
    http.ConnectionError, http.Timeout, http.ChunkedEncodingError, pool.TimeoutError, pool.ProtocolError,
    HTTPException, ConnectionError, TimeoutError, YtIncorrectResponse, YtProxyUnavailable,
)  # fmt: skip


@contextmanager
def understanding() -> Iterator[None]:
    """Turn an error that the client raises by accident into an AnswerError.

    The client does not check what it reads: an unexpected answer is a KeyError, a TypeError, or
    another error of this kind.
    """
    try:
        yield
    except (*_CLIENT_ERRORS, ChatsyncError):
        raise
    except Exception as error:
        raise AnswerError(f"the answer is not one of a YT proxy ({type(error).__name__})") from error


def is_transient(error: BaseException) -> bool:
    """Decide whether a retry may help: a proxy is away or busy, a timeout, an answer was cut short."""
    if isinstance(error, AnswerError):
        return error.is_passing
    if isinstance(error, LinksMovedError):
        return True
    if isinstance(error, YtTokenError) or _codes(error) & _LASTING_CODES:
        return False
    if _codes(error) & _PASSING_CODES:
        return True
    lasts = _is_web_proxy(error) or _is_certificate(error) or _is_name(error)
    return isinstance(error, _PASSING_ERRORS) and not lasts


def is_refused_format(error: BaseException) -> bool:
    """Decide whether another row format may help: the error is permanent, but not about the table."""
    is_about_rows = isinstance(error, YtResponseError) and "/read_table" in str(error.attributes.get("url"))
    return is_about_rows and not is_transient(error) and not _codes(error) & _LASTING_CODES


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes: `requests` and `urllib3` wrap one error in another."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            yield one
            waiting += [getattr(one, "reason", None), one.__cause__, one.__context__, *one.args]


def _is_web_proxy(error: BaseException) -> bool:
    return any(isinstance(one, http.ProxyError | pool.ProxyError) for one in _causes(error))


def _is_certificate(error: BaseException) -> bool:
    return any(isinstance(one, ssl.SSLCertVerificationError | ssl.CertificateError) for one in _causes(error))


def _is_name(error: BaseException) -> bool:
    """Tell whether the name of the host does not exist. A name server that does not answer is another error."""
    return any(isinstance(one, socket.gaierror) and one.errno == socket.EAI_NONAME for one in _causes(error))


def _errors_inside(error: Any) -> Iterator[Any]:
    """Yield an error of YT and the ones inside it, of whatever type a proxy has put there."""
    waiting, count = [error], 0
    while waiting and count < 1000:  # noqa: PLR2004  # far more than any real error has
        one = waiting.pop(0)
        count += 1
        yield one
        inner = one.get("inner_errors") if isinstance(one, dict) else getattr(one, "inner_errors", None)
        waiting += inner if isinstance(inner, list) else []


def _codes(error: BaseException) -> set[int]:
    if not isinstance(error, YtError):
        return set()
    found = (one.get("code") if isinstance(one, dict) else getattr(one, "code", None) for one in _errors_inside(error))
    return {code for code in found if isinstance(code, int)}


def describe(error: BaseException) -> str:
    """Format an error of the client, which has dozens of lines with the request, as one line."""
    if not isinstance(error, YtError):
        return _one_line(_operating_system(error) or str(error) or type(error).__name__)
    # The client's own errors are wrapped around the one that the cluster sent.
    texts = [text for text in (*messages(error), error.message) if isinstance(text, str) and text.strip()]
    return _one_line(texts[0] if texts else type(error).__name__)


def messages(error: BaseException) -> list[str]:
    """Return what the cluster said in an error and in those inside it, the outermost first."""
    sent = [one.get("message") for one in _errors_inside(error) if isinstance(one, dict)]
    return [_one_line(text) for text in sent if isinstance(text, str) and text.strip()]


def _operating_system(error: BaseException) -> str:
    """Return what the operating system or TLS says about a failed connection; empty if nothing."""
    for one in _causes(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return one.verify_message
        if isinstance(one, OSError) and one.errno and one.strerror and not isinstance(one, http.RequestException):
            return one.strerror
    found = re.search(r"\[Errno -?\d+\] ([^'\")]+)", str(error))
    return found[1] if found else ""


def _one_line(text: str) -> str:
    """Return the first line of a text from outside, cut if it is long."""
    first = without_secrets(text).strip().splitlines()[0] if text.strip() else "no message"  # before it is cut
    return first[:300]


@contextmanager
def explained(cluster: Cluster, path: str, key: str, scope: CancelScope) -> Iterator[None]:
    """Turn the client's errors into ours; `key` is the configuration key that names the table."""
    try:
        yield
    except ChatsyncError:
        raise
    except _CLIENT_ERRORS as error:
        raise (_about_table(error, cluster, path, key) or _about_way(error, cluster, path, scope)) from error


@contextmanager
def explained_write(cluster: Cluster, path: str) -> Iterator[None]:
    """Turn the client's errors of writing the table feedback.path into ours."""
    try:
        with understanding():
            yield
    except _CLIENT_ERRORS as error:
        way_out = ""
        if _ACCESS_DENIED in _codes(error):
            way_out = "it needs `write` on the folder (or on the table, once it exists) and `use` on its account"
        elif _RESOLVE in _codes(error):
            way_out = "create the folder, or correct feedback.path"
        raise SourceError(
            f"cannot write the table: {_why(error, cluster)}", where=cluster.place(path), way_out=way_out
        ) from error


def _about_table(error: BaseException, cluster: Cluster, path: str, key: str) -> SourceError | None:
    """Return what the cluster says about the table or the token; None if it says nothing about them."""
    where, why, codes = cluster.place(path), _why(error, cluster), _codes(error)
    if isinstance(error, YtTokenError) or _AUTHENTICATION in codes:
        return SourceError(f"the YT token is wrong or missing: {why}", where=where, way_out=_about_token(cluster))
    if _ACCESS_DENIED in codes:
        way_out = "ask its owners for read access"
        return SourceError(f"no permission to read the table: {why}", where=where, way_out=way_out)
    if _RESOLVE in codes:
        return SourceError(f"there is no such table: {why}", where=where, way_out=f"ask its owners, or correct {key}")
    return None


def _about_token(cluster: Cluster) -> str:
    """Return which token the cluster refused."""
    if cluster.token:
        return f"the refused token is in {cluster.token_place}, replace it"
    return f"there is none, put one into {WAYS}"


def _about_way(error: BaseException, cluster: Cluster, path: str, scope: CancelScope) -> SourceError:
    """Return what failed between here and the table."""
    where, why = cluster.place(path), _why(error, cluster)
    host = _host_of(error, cluster)
    is_heavy = host != cluster.netloc and not isinstance(error, YtResponseError)
    without_hosts = f"if {host} cannot be reached from here, set exclusions.use_hosts = false" if is_heavy else ""
    if _is_web_proxy(error):
        return SourceError(f"the web proxy of $http_proxy or $https_proxy does not answer: {why}", where=where)
    if _is_certificate(error):
        way_out = "put the authority's certificate into $REQUESTS_CA_BUNDLE, or proxy/ca_bundle_path of ~/.yt/config"
        return SourceError(f"the certificate of {host} is not trusted: {why}", where=where, way_out=way_out)
    if _is_name(error):
        way_out = without_hosts or "check exclusions.proxy; for the short name of a cluster set $YT_PROXY_SUFFIX"
        return SourceError(f"the host {host} is unknown: {why}", where=where, way_out=way_out)
    if not is_transient(error):
        way_out = without_hosts or ("check exclusions.proxy" if isinstance(error, AnswerError) else "")
        return SourceError(f"cannot read the table: {why}", where=where, way_out=way_out)
    if _codes(error) & _CHUNKS_UNAVAILABLE:
        # No attribute tells whether a chunk is lost for good, or its nodes come back.
        what = f"chunks of the table are unavailable, for now or for good: {why}"
        way_out = "ask the cluster's operators (//sys/lost_vital_chunks), or have the table written again"
        return SourceAwayError(what, where=where, gave_up=scope.gave_up, way_out=way_out)
    what = f"the cluster is away or too busy: {why}"
    return SourceAwayError(what, where=where, gave_up=scope.gave_up, way_out=without_hosts)


def _why(error: BaseException, cluster: Cluster) -> str:
    """Return the error on one line, with the heavy proxy that it came from."""
    host = _host_of(error, cluster)
    return describe(error) if host == cluster.netloc else f"{host}: {describe(error)}"


def _host_of(error: BaseException, cluster: Cluster) -> str:
    """Return the host that was asked when the error came up; a stream that breaks off does not name it."""
    for one in _causes(error):
        attributes = one.attributes if isinstance(one, YtError) and isinstance(one.attributes, dict) else {}
        url = attributes.get("url") or getattr(one, "url", "") or getattr(getattr(one, "request", None), "url", "")
        if isinstance(url, str) and "//" in url:
            return urlsplit(url).netloc
    return cluster.rows_host or cluster.netloc
