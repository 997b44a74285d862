"""One apply at a time for a feature, across machines.

On a MySQL server: an advisory lock (GET_LOCK) on a connection of its own, which the server frees
whichever way the connection ends. With SQLite: a lock on a file beside the dict database, which
the operating system frees in the same way. The lock is never waited for.
"""

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import socket
import stat
from pathlib import Path
from typing import IO, Protocol, Self

import sqlalchemy as sa

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core.modtime import DictState
from chatsync.databases.dict_database import DictDatabase
from chatsync.errors import BusyError, DatabaseError, LockLostError, OutputError

logger = logging.getLogger(__name__)

_MAX_NAME = 64  # MySQL's limit for the name of a lock

_GET = sa.text("SELECT GET_LOCK(:name, 0)")
_HOLDER = sa.text("SELECT id, user, host, time FROM information_schema.processlist WHERE id = IS_USED_LOCK(:name)")


class JobLock(Protocol):
    """A lock that is held from the start of a `with` block to its end."""

    def __enter__(self) -> Self:
        """Take the lock; BusyError says who holds it."""

    def __exit__(self, *exception: object) -> None:
        """Free the lock."""

    def check(self) -> DictState:
        """Say what the dict database holds while the lock is held; raise LockLostError once it is not."""


def job_lock(settings: Settings, scope: CancelScope) -> JobLock:
    """Choose the lock that fits the dict database."""
    if settings.databases.dict.is_sqlite:
        return FileLock(settings, scope)
    return ServerLock(settings, scope)


class ServerLock:
    """GET_LOCK on the dict database's server."""

    def __init__(self, settings: Settings, scope: CancelScope) -> None:
        """Open nothing yet."""
        self._dict = DictDatabase(settings, scope)
        self._database = self._dict.database
        self._schema = settings.databases.dict.database
        self._values = {"name": ""}  # once the feature's id is known
        # Idle between two checks for as long as a batch and its retries take.
        self._idle_seconds = int(scope.deadline) + 3600

    def __enter__(self) -> Self:
        """Take the lock at once or raise BusyError; a server that refuses locks is a DatabaseError."""
        self._values = {"name": lock_name(self._schema, self._dict.feature_id())}
        got = self._database.do(self._get, what="take the lock of the job (GET_LOCK)")
        if got is None:
            raise DatabaseError(f"{self._database}: GET_LOCK failed; without it two applies could run at once")
        if not got:
            raise BusyError(f"another apply is running: {self._holder()}; nothing was written")
        logger.info("lock taken: %s on %s", self._values["name"], self._database)
        return self

    def __exit__(self, *_exception: object) -> None:
        """Free the lock by closing its connection."""
        self._database.close()

    def check(self) -> DictState:
        """Ask the server over the very connection that holds the lock; never reconnect."""
        try:
            state = self._dict.state_if_locked(self._values["name"])
            reason = f"{self._database}: the lock of the job is not held any more"
        except DatabaseError as error:
            state, reason = None, str(error)
        if state is None:
            raise LockLostError(f"{reason}; stopped before the next batch")
        return state

    def _get(self, connection: sa.Connection) -> int | None:
        connection.execute(sa.text("SET SESSION wait_timeout = :seconds"), {"seconds": self._idle_seconds})
        return connection.execute(_GET, self._values).scalar()

    def _holder(self) -> str:
        rows = self._database.rows(_HOLDER, self._values, what="see who holds the lock of the job")
        if not rows:
            return "its connection is not visible to this user, or has just ended"
        row = rows[0]
        return f"connection {row.id} of {row.user} from {row.host}, in this state for {row.time} s"


def lock_name(schema: str, feature_id: int) -> str:
    """Name the lock, readable where it fits into 64 characters, else with a hash at its end.

    By the id: the server takes names for equal that differ in case, accents or trailing blanks.
    """
    name = f"chatsync/{schema}/{feature_id}"
    if len(name) <= _MAX_NAME:
        return name
    return name[: _MAX_NAME - 17] + "/" + hashlib.sha256(name.encode()).hexdigest()[:16]


class FileLock:
    """flock on a file beside an SQLite dict database; the file says who holds it."""

    def __init__(self, settings: Settings, scope: CancelScope) -> None:
        """Describe the lock; nothing is opened yet."""
        self._dict = DictDatabase(settings, scope)
        self._path = Path(settings.databases.dict.database + ".chatsync-lock")
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        """Take the lock at once or raise BusyError."""
        try:
            file = self._open()
        except OSError as error:
            raise OutputError(f"cannot open the lock file {self._path}: {error.strerror}") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "an unnamed process"
            file.close()
            raise BusyError(f"another apply is running: {holder} holds {self._path}; nothing was written") from None
        except OSError as error:
            file.close()
            raise OutputError(f"cannot lock the file {self._path}: {error.strerror}") from None
        with contextlib.suppress(OSError):  # on a full disk: who holds it is then not told
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
        self._file = file
        logger.info("lock taken: %s", self._path)
        return self

    def _open(self) -> IO[str]:
        """Open the lock file, which is a file of its own: a link would lead to one that is not ours to write."""
        number = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        file = os.fdopen(number, "r+", encoding="utf-8", errors="replace")
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            file.close()
            raise OSError(errno.ELOOP, "it is a link or no regular file; remove it")
        return file

    def __exit__(self, *_exception: object) -> None:
        """Free the lock by closing its file."""
        self._dict.database.close()
        if self._file is not None:
            self._file.close()

    def check(self) -> DictState:
        """Ask the database alone: a file lock can't be lost while its file is open."""
        return self._dict.state()
