"""The lag of a shard's replica: no batch is written while it is over `apply.max_lag`."""

import logging
import time
from collections.abc import Callable
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.databases.connection import Database
from chatsync.databases.faults import is_no_admin_grant, is_unknown_statement
from chatsync.errors import DatabaseError

_POLL_SECONDS = 1.0

logger = logging.getLogger(__name__)


class ReplicaLag:
    """The replica of one shard, and the wait while it lags."""

    def __init__(self, settings: Settings, shard: int, scope: CancelScope) -> None:
        """Open no connection yet; without `max_lag` or a replica there is nothing to wait for."""
        self._apply = settings.apply
        self._scope = scope
        url = settings.databases.replicas.get(shard)
        self._database = None
        if url is not None and settings.apply.max_lag is not None:
            self._database = Database(url, name=f"replica of shard {shard}", scope=scope)

    def __enter__(self) -> Self:
        """Return self; the `with` block closes the connection."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close the connection."""
        if self._database is not None:
            self._database.close()

    def wait(self, *, before: Callable[[], None]) -> None:
        """Wait until the replica lags by `max_lag` seconds or less; call `before` first if it must wait.

        Raises DatabaseError if it still lags, or does not replicate, after `max_lag_wait`.
        """
        if self._database is None or self._apply.max_lag is None:
            return
        waited = False
        give_up = time.monotonic() + self._apply.max_lag_wait
        while True:
            lag = self._database.do(seconds_behind, what="read the replication lag")
            if lag is not None and lag <= self._apply.max_lag:
                return
            shown = "does not replicate" if lag is None else f"lags {lag:g} s"
            if time.monotonic() >= give_up:
                limit = f"apply.max_lag = {self._apply.max_lag:g} s"
                patience = f"apply.max_lag_wait = {self._apply.max_lag_wait:g} s"
                raise DatabaseError(f"{self._database} {shown}, over {limit}, and did so for {patience}")
            logger.info("%s %s, waiting", self._database, shown, extra={"lag": lag})
            if not waited:
                before()
            waited = True
            self._scope.wait(_POLL_SECONDS)


def seconds_behind(connection: sa.Connection) -> float | None:
    """Return the lag in seconds; None if replication is stopped or the server is not a replica."""
    row = _replica_status(connection)
    if row is None:
        return None
    lag = row.get("Seconds_Behind_Source", row.get("Seconds_Behind_Master"))
    return None if lag is None else float(lag)


def is_replica(connection: sa.Connection) -> bool:
    """Return whether the server is configured as a replica, running or stopped; False for a user who may not see it.

    The primary of a MySQL group is none: its channels are not among those that this shows.
    """
    try:
        return _replica_status(connection) is not None
    except DBAPIError as error:
        if is_no_admin_grant(error):
            return False
        raise


def _replica_status(connection: sa.Connection) -> Any:
    try:
        return connection.execute(sa.text("SHOW REPLICA STATUS")).mappings().first()
    except DBAPIError as error:
        if not is_unknown_statement(error):
            raise
        # MySQL before 8.0.22 knows only the old name of the statement.
        return connection.execute(sa.text("SHOW SLAVE STATUS")).mappings().first()
