"""Queries to a CHYT clique, over HTTP with parts of the YT client.

The client's own `execute` is not used: it treats a timeout in milliseconds as seconds, its time grows with the square
of the length of a line, and it does not notice an error that follows a good status.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from yt.common import YtError, YtResponseError
from yt.wrapper.errors import YtTokenError
from yt.wrapper.http_driver import HeavyProxyProvider, TokenAuth
from yt.wrapper.http_helpers import _raise_for_status, create_response, get_token

from chatsync.cancel_scope import CancelScope
from chatsync.errors import ChatsyncError, SourceAwayError, SourceError
from chatsync.parallel import off_main_thread
from chatsync.ytsaurus.client import Cluster
from chatsync.ytsaurus.faults import describe, explained, is_transient, messages, understanding
from chatsync.ytsaurus.session import AnswerError, read_body

# One consistent version of every table. This must be a setting of the request: in the statement it would be too late.
_LOCKED = {"chyt.execution.table_read_lock_mode": "sync"}
_LONGEST = 1 << 30
_CONNECT_SECONDS, _MARGIN_SECONDS = 5.0, 10.0
_FAILURE = re.compile(rb"Code: (\d+)\.? ?.{0,40}DB::.*", re.DOTALL)
_STOPPED, _BUSY, _TIMEOUT, _MEMORY = 394, 202, 159, 241
_ACCESS_DENIED = 901
_LIVE = "or run `chatsync diff --live`"
_WAYS_OUT = {
    _MEMORY: f"give it memory (max_memory_usage in export.settings), {_LIVE}",
    _TIMEOUT: f"raise export.timeout, {_LIVE}",
    _STOPPED: _LIVE.removeprefix("or "),
}

logger = logging.getLogger(__name__)


class QueryFailedError(Exception):
    """ClickHouse's own error: its number and text."""

    def __init__(self, body: bytes) -> None:
        """Take what ClickHouse sent."""
        found = _FAILURE.search(body)
        text = (found[0] if found else body).decode("utf-8", "replace")
        super().__init__(" ".join(text.split())[:300])
        self.code = int(found[1]) if found else 0


class Clique:
    """The clique that export.clique names."""

    def __init__(
        self, cluster: Cluster, alias: str, scope: CancelScope, *, timeout: float, settings: Mapping[str, Any]
    ) -> None:
        """Ask nothing yet. `timeout` is the longest that a query may take, in seconds."""
        self._cluster = cluster
        self._alias = alias.removeprefix("*")
        self._scope = scope
        self._timeout = timeout
        self._settings = settings

    def ask(self, statement: str, read: Callable[[bytes], Any]) -> Any:
        """Return what `read` makes of the answer: one line for each row, each a JSON array.

        `read` raises AnswerError for an incomplete answer. Temporary faults are retried. Raises SourceError.
        """

        def attempt() -> Any:
            with understanding():
                is_good, body = self._post(statement)
            if not is_good:
                raise QueryFailedError(body)
            if failed := _FAILURE.search(body[-4096:]):
                raise QueryFailedError(failed[0])
            return read(body)

        with self._explained():
            return self._scope.retry(
                partial(off_main_thread, attempt),
                what=f"ask the clique {self._alias}",
                is_transient=_may_pass,
                describe=_why,
            )

    def _post(self, statement: str) -> tuple[bool, bytes]:
        """Return whether ClickHouse reports success, and its answer. Raises the client's errors for a proxy's."""
        client = self._cluster.client
        seconds = max(1, int(min(self._timeout, self._scope.remaining)))
        parameters = {
            **self._settings,
            **_LOCKED,
            "database": self._alias,
            "default_format": "JSONCompactEachRow",
            "wait_end_of_query": 1,  # so that an error comes with a status, not behind half of an answer
            "max_execution_time": seconds,
            "cancel_http_readonly_queries_on_client_close": 1,
        }
        url = f"{HeavyProxyProvider(client)()}/query"
        response = client._requests_session.request(  # noqa: SLF001  # our own watched session
            "POST",
            url,
            params=parameters,
            data=statement.encode(),
            auth=TokenAuth(get_token(client=client)),
            timeout=(_CONNECT_SECONDS, seconds + _MARGIN_SECONDS),
            stream=True,
        )
        with response:
            if response.status_code == 200:  # noqa: PLR2004  # HTTP: OK
                return True, read_body(response, most=_LONGEST)
            if "X-YT-Error" in response.headers:
                about = {"headers": {}, "url": url, "params": {}}
                _raise_for_status(create_response(response, about, "", None, client), about)
            return False, response.content

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors into ours, which say what to do about the clique."""
        with explained(self._cluster, f" clique {self._alias}", "export.clique", self._scope):
            try:
                yield
            except QueryFailedError as error:
                raise self._about_query(error) from error
            except YtTokenError:
                raise
            except YtError as error:
                raise self._about_clique(error) from error
            except AnswerError as error:
                if _may_pass(error):
                    raise
                raise SourceError(f"clique {self._alias}: {error}", where=self._cluster.name) from error

    def _about_query(self, error: QueryFailedError) -> ChatsyncError:
        where, alias = self._cluster.name, self._alias
        if error.code == _BUSY:
            return SourceAwayError(
                f"clique {alias} is away or too busy: {error}", where=where, gave_up=self._scope.gave_up
            )
        what = (
            f"clique {alias}: the query was stopped" if error.code == _STOPPED else f"clique {alias} failed the query"
        )
        return SourceError(
            f"{what}: {error}", where=where, way_out=_WAYS_OUT.get(error.code, _LIVE.removeprefix("or "))
        )

    def _about_clique(self, error: YtError) -> ChatsyncError:
        where, alias, why = self._cluster.name, self._alias, _why(error)
        if _may_pass(error):
            return SourceAwayError(
                f"clique {alias} is away or too busy: {why}", where=where, gave_up=self._scope.gave_up
            )
        if "Invalid clique specification" in str(error):
            way_out = f"start it (yt clickhouse ctl start {alias}), or correct export.clique"
            return SourceError(f"there is no clique {alias}: {why}", where=where, way_out=way_out)
        if "suspended" in str(error):
            way_out = f"resume it (yt clickhouse ctl resume {alias})"
            return SourceError(f"the clique {alias} is suspended: {why}", where=where, way_out=way_out)
        if isinstance(error, YtResponseError) and (error.is_access_denied() or "has no access" in str(error)):
            way_out = 'ask its owners for "use"'
            return SourceError(f"no permission to use the clique {alias}: {why}", where=where, way_out=way_out)
        return SourceError(f"cannot ask the clique {alias}: {why}", where=where)


def _may_pass(error: BaseException) -> bool:
    return error.code == _BUSY if isinstance(error, QueryFailedError) else is_transient(error)


def _why(error: BaseException) -> str:
    """Return the message of a proxy and, if it wraps another error, the reason in that inner error."""
    said = describe(error)
    inside = [text for text in messages(error) if text != said]
    return f"{said}: {inside[-1]}" if inside else said
