"""One apply at a time for a feature, across machines.

On a MySQL server it is an advisory lock (GET_LOCK) on a separate connection. The server frees it when
the connection ends, for any reason. With SQLite it is a lock on a file next to the dict database, which
the operating system frees in the same way. No command waits for the lock.
"""

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import socket
import stat
import threading
from pathlib import Path
from typing import IO, Protocol, Self

import sqlalchemy as sa

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import DictState
from chatsync.databases.dict_database import DictDatabase
from chatsync.errors import BusyError, ChatsyncError, ConfigError, DatabaseError, LockLostError, OutputError
from chatsync.parallel import SideBySide

logger = logging.getLogger(__name__)

_MAX_NAME = 64  # MySQL's limit for the name of a lock
# The server ends the session and frees the lock this long after the last statement, for example after a machine has
# crashed. While the command runs, a thread sends a ping every few seconds, more often than proxies time out.
_IDLE_SECONDS = 60
_PING_SECONDS = 10.0
# Enough connections to reach another server behind a proxy that distributes them.
_OTHER_CONNECTIONS = 2
KEEPER = "keeper of the lock"

_GET = sa.text("SELECT GET_LOCK(:name, 0)")
_SEEN = sa.text("SELECT IS_USED_LOCK(:name)")
_RELEASE = sa.text("SELECT RELEASE_LOCK(:name)")
_PING = sa.text("DO 0")
_HOLDER = sa.text("SELECT id, user, host, time FROM information_schema.processlist WHERE id = IS_USED_LOCK(:name)")


class JobLock(Protocol):
    """A lock that is held from the start of a `with` block to its end."""

    def __enter__(self) -> Self:
        """Take the lock. Raises BusyError with the holder."""

    def __exit__(self, *exception: object) -> None:
        """Free the lock."""

    def check(self) -> DictState:
        """Return the state of the dict database. Raises LockLostError if the lock is no longer held."""


def job_lock(settings: Settings, scope: CancelScope) -> JobLock:
    """Return the lock for this kind of dict database."""
    if settings.databases.dict.is_sqlite:
        return FileLock(settings, scope)
    return ServerLock(settings, scope)


class ServerLock:
    """GET_LOCK on the dict database's server, and a thread that keeps its connection alive."""

    def __init__(self, settings: Settings, scope: CancelScope) -> None:
        """Open nothing yet."""
        self._settings = settings
        self._scope = scope
        self._dict = DictDatabase(settings, scope, idle_seconds=_IDLE_SECONDS)
        self._database = self._dict.database
        self._name = ""
        self._one_at_a_time = threading.Lock()
        self._released = threading.Event()
        self._lost: ChatsyncError | None = None

    def __enter__(self) -> Self:
        """Take the lock at once or raise BusyError; a server that refuses locks is a DatabaseError."""
        self._name = lock_name(*self._dict.schema_and_feature())
        ((got,),) = self._database.rows(_GET, {"name": self._name}, what="take the lock of the job (GET_LOCK)")
        if got is None:
            raise DatabaseError("GET_LOCK failed; without it two applies could run at once", where=str(self._database))
        if not got:
            raise BusyError(f"another apply is running: {self._holder()}; nothing was written")
        try:
            looks = dict.fromkeys(range(_OTHER_CONNECTIONS), self._check_is_seen)
            for _, seen in SideBySide(looks, workers=len(looks)).outcomes(self._scope):
                seen.unwrap()
        except BaseException:
            self._database.close()
            raise
        logger.info("lock taken: %s on %s", self._name, self._database)
        threading.Thread(target=self._keep_alive, name=KEEPER, daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Free the lock and let its connection go; one that is stuck in a ping is closed with the process.

        To close it would free the lock too late for the next step. A run that is to end now does not wait.
        """
        self._released.set()
        if not self._one_at_a_time.acquire(timeout=1):
            return
        self._one_at_a_time.release()
        with contextlib.closing(self._database), contextlib.suppress(DatabaseError):
            if not (self._lost or self._database.is_busy or self._scope.reason):
                self._database.do_once(self._release, what="free the lock of the job")
                self._database.let_go()

    def check(self) -> DictState:
        """Ask the server over the connection that holds the lock, never over a new one."""
        reason: object = f"{self._database}: the lock of the job is not held any more"
        with self._one_at_a_time:
            try:
                state = None if self._lost else self._dict.state_if_locked(self._name)
            except DatabaseError as error:
                state, reason = None, error
        if state is None:
            raise LockLostError(f"{self._lost or reason}; another apply may have started since")
        return state

    def _check_is_seen(self) -> None:
        """Raise ConfigError when another connection doesn't see the lock: it leads to another node of a cluster."""
        with DictDatabase(self._settings, self._scope, fresh=True) as other:
            ((holder,),) = other.database.rows(_SEEN, {"name": self._name}, what="look for the lock of the job")
        if holder is not None:
            return
        with self._one_at_a_time:
            is_held = not self._released.is_set() and self._dict.state_if_locked(self._name) is not None
        if is_held:
            url = self._settings.databases.dict
            raise ConfigError(
                f"databases.dict: connections to {url} lead to different servers, and the lock of the job "
                "(GET_LOCK) is known to one of them only; two applies could run at once",
                way_out="name one server there, the same on every machine that runs this job",
            )

    def _keep_alive(self) -> None:
        """Ping until the lock is freed: servers and proxies end a connection that is idle, and free its lock.

        A proxy may also lead new connections to another server meanwhile, where another apply would find
        the lock free; so each time a new connection has to see it.
        """
        while not self._released.wait(_PING_SECONDS):
            if not self._ping() or not self._is_seen():
                return

    def _ping(self) -> bool:
        """Tell whether the lock's connection is alive and still needed."""
        with self._one_at_a_time:
            if self._database.is_busy or self._released.is_set():  # busy: a thread was left behind in it
                return False
            try:
                self._database.do_once(lambda connection: connection.execute(_PING), what="keep the lock of the job")
            except ChatsyncError as error:
                self._lost = error
                return False
        return True

    def _is_seen(self) -> bool:
        """Tell whether a new connection sees the lock. If there can be no new connection, the lock counts as held."""
        try:
            self._check_is_seen()
        except ConfigError as error:
            self._lost = error
            return False
        except ChatsyncError as error:
            logger.debug("cannot see whether other connections see the lock: %s", error)
        return True

    def _release(self, connection: sa.Connection) -> None:
        connection.execute(_RELEASE, {"name": self._name})

    def _holder(self) -> str:
        rows = self._database.rows(_HOLDER, {"name": self._name}, what="see who holds the lock of the job")
        if not rows:
            return "its connection is not visible to this user, or has just ended"
        row = rows[0]
        return f"connection {row.id} of {row.user} from {row.host}, in this state for {row.time} s"


def lock_name(schema: str, feature_id: int) -> str:
    """Return the name of the lock: readable if it fits into 64 characters, else with a hash at its end.

    It contains the feature's id, because servers treat names as equal that differ in case, accents or trailing blanks.
    """
    name = f"chatsync/{schema}/{feature_id}"
    if len(name) <= _MAX_NAME:
        return name
    return name[: _MAX_NAME - 17] + "/" + hashlib.sha256(name.encode()).hexdigest()[:16]


class FileLock:
    """flock on a file next to an SQLite dict database; the file contains the holder."""

    def __init__(self, settings: Settings, scope: CancelScope) -> None:
        """Open nothing yet."""
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
        with contextlib.suppress(OSError):  # on a full disk; the holder is then not shown
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
        self._file = file
        logger.info("lock taken: %s", self._path)
        return self

    def _open(self) -> IO[str]:
        """Open the lock file. A link is refused, because it might lead to a file of another user."""
        number = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        file = os.fdopen(number, "r+", encoding="utf-8", errors="replace")
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            file.close()
            raise OSError(errno.ELOOP, "it is a link or not a regular file; remove it")
        return file

    def __exit__(self, *_exception: object) -> None:
        """Free the lock by closing its file."""
        self._dict.database.close()
        if self._file is not None:
            self._file.close()

    def check(self) -> DictState:
        """Ask only the database: a file lock can't be lost while its file is open."""
        return self._dict.state()
