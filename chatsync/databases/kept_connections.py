"""Connections that `sync` hands on from one step to the next, so that not every step logs in again.

A connection is taken by one database at a time, and only by one that would set up its session in the same way.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

# A connection may still lead to the server of before a failover, where a new one would not. So none is handed on that
# is older than the time after which also the lock of the job is looked for over a new connection (`job_lock`).
_MOST_SECONDS = 10.0
_OPENED = "chatsync opened"


@dataclass(kw_only=True)
class _Store:
    are_kept: bool = False
    idle: list[tuple[object, sa.Connection]] = field(default_factory=list)
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def newest(self, kind: object) -> sa.Connection | None:
        with self.one_at_a_time:
            for place in reversed(range(len(self.idle))):
                if self.idle[place][0] == kind:
                    return self.idle.pop(place)[1]
        return None


_store = _Store()


@contextlib.contextmanager
def connections_are_kept() -> Iterator[None]:
    """Inside the block, a connection that is given back can be taken again; at its end all are closed."""
    _store.are_kept = True
    try:
        yield
    finally:
        with _store.one_at_a_time:
            _store.are_kept = False
            idle, _store.idle = _store.idle, []
        for _, connection in idle:
            disconnect(connection)


def note_opened(connection: sa.Connection) -> sa.Connection:
    """Note when a new connection was opened, and return it."""
    connection.info[_OPENED] = time.monotonic()
    return connection


def take(kind: object) -> sa.Connection | None:
    """Return a connection of this kind that was given back and is not too old; None if there is none."""
    while (connection := _store.newest(kind)) is not None:
        if time.monotonic() - connection.info[_OPENED] < _MOST_SECONDS:
            return connection
        disconnect(connection)
    return None


def give_back(kind: object, connection: sa.Connection) -> None:
    """Keep a connection for the next `take` of its kind, or close it where none are kept.

    It must hold no lock and be in no transaction.
    """
    with _store.one_at_a_time:
        if _store.are_kept:
            _store.idle.append((kind, connection))
            return
    disconnect(connection)


def disconnect(connection: sa.Connection) -> None:
    """Close a connection without a round trip: close() alone would roll back first, and wait for a frozen server."""
    with contextlib.suppress(SQLAlchemyError):
        connection.invalidate()
        connection.close()
