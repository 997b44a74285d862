"""Connections to the databases, and what their errors mean.

MySQL, MariaDB and SQLite behind one face: a unit of work is a function that gets a connection.
It is tried again when the fault may pass, and its error is told with the place it came from.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InvalidRequestError, OperationalError, SQLAlchemyError

from chatsync.cancel_scope import CancelScope
from chatsync.config.urls import DatabaseUrl
from chatsync.databases.engines import new_engine
from chatsync.errors import ChatsyncError, ConfigError, DatabaseError
from chatsync.parallel import off_main_thread

Value = TypeVar("Value")

# Error numbers that may pass by themselves. Server and client error references of MySQL and MariaDB.
# Lock wait timeout, deadlock, and a row that somebody else inserted since we looked.
_CONFLICTS = frozenset({1205, 1213, 1062})
_READ_ONLY = frozenset({1290, 1836})  # --read-only, as on a replica during a failover
_NO_NUMBER = -1  # of the driver's own errors
_SERVER_AWAY = frozenset({
    _NO_NUMBER,  # the driver's own: the connection is not available any more
    1040,  # too many connections
    1053,  # server shutdown in progress
    1158, 1159, 1160, 1161,  # network read and write errors and timeouts, seen by the server
    1203, 1226,  # this user has too many connections
    1927,  # connection was killed (MariaDB)
    2002, 2003, 2005, 2006, 2013, 2055,  # can't connect, unknown host, gone away, lost
    3024,  # the driver's read_timeout, without its C extension
    3169, 4031,  # session was killed, disconnected for inactivity (MySQL)
})  # fmt: skip
_NOT_REACHED = frozenset({2002, 2003, 2005})
_WRONG_LOGIN = frozenset({1045, 1698})
_NO_GRANT = frozenset({1044, 1142, 1143, 1227})
_WRONG_SCHEMA = frozenset({1049, 1054, 1146})  # no such database, column, table
_TRANSIENT = _CONFLICTS | _READ_ONLY | _SERVER_AWAY

# What to look at where no server answers.
NOT_REACHED_HINT = "is the server up, and is its address in [databases] right?"

# No small statement takes this long without sending a byte; a server that is frozen does.
STATEMENT_SECONDS = 60


def error_number(error: BaseException) -> int | None:
    """Read the server's or driver's error number; None when there is none."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "errno", None)


def is_transient(error: BaseException) -> bool:
    """Tell whether trying again may help: a lock conflict, a failover, a server that is away."""
    if isinstance(error, DBAPIError) and getattr(error.orig, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
        return True
    return error_number(error) in _TRANSIENT


def describe(error: BaseException) -> str:
    """Put a driver's error on one line: its number and text, without the statement."""
    original = error.orig if isinstance(error, DBAPIError) else error
    text = getattr(original, "msg", None) or str(original)
    number = error_number(error)
    line = " ".join(str(text).split())
    return f"{line} ({number})" if number is not None and str(number) not in line else line


class Database:
    """One database and the single connection that this program has to it; for one thread at a time."""

    def __init__(
        self,
        url: DatabaseUrl,
        *,
        name: str,
        scope: CancelScope,
        writable: bool = False,
        patience: int = STATEMENT_SECONDS,
    ) -> None:
        """Describe the database; nothing is opened yet.

        `name` is for people: `shard 2`. `patience` is how many seconds a statement may take
        without sending a byte before the server is taken for dead.
        """
        self.url = url
        self.name = name
        self.scope = scope
        self._writable = writable
        self._engine = new_engine(url, writable=writable, patience=patience)
        self._connection: sa.Connection | None = None
        self._is_busy = False

    def __str__(self) -> str:
        """Name the place as an error message does."""
        return f"{self.name} ({self.url})"

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a file of the embedded default."""
        return self.url.is_sqlite

    def do(self, work: Callable[[sa.Connection], Value], *, what: str) -> Value:
        """Do one unit of work, in a transaction when writable, and again after a passing fault.

        Raises DatabaseError that says where, what and why. Whether the run is to stop is not asked
        here: a batch in hand still has to end.
        """
        with self._explained(what):
            return self.scope.retry(
                partial(self._attempt, work), what=f"{self}: {what}", is_transient=is_transient, describe=describe
            )

    def rows(
        self, statement: sa.Executable, values: Mapping[str, Any], *, what: str
    ) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        """Ask one question and return the whole answer; see `do`."""
        return self.do(lambda connection: connection.execute(statement, values).all(), what=what)

    def do_once(self, work: Callable[[sa.Connection], Value], *, what: str) -> Value:
        """Do a unit of work on the connection that is open, never on another one.

        For what belongs to that one connection, such as a lock.
        """
        with self._explained(what):
            if self._connection is None:
                msg = "the connection was lost"
                raise InvalidRequestError(msg)
            return self._attempt(work)

    def _attempt(self, work: Callable[[sa.Connection], Value]) -> Value:
        def attempt() -> Value:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                if not self._writable:
                    return work(self._connection)  # autocommit: a COMMIT would be a round trip for nothing
                with self._connection.begin():
                    return work(self._connection)
            except BaseException:
                self.close()
                raise
            finally:
                self._is_busy = False

        self._is_busy = True
        return off_main_thread(attempt)

    def _connect(self) -> sa.Connection:
        try:
            return self._engine.connect()
        except Exception as error:
            if not _refuses_an_option(error):
                raise
            msg = f"{self}: {describe(error)}; check the options of its URL in [databases]"
            raise ConfigError(msg) from error

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn the driver's errors into ours, which say where, what, why and what to do."""
        try:
            yield
        except ChatsyncError:
            raise
        except Exception as error:
            # The C extension lets some errors of commit and rollback out in a class of its own.
            if not isinstance(error, SQLAlchemyError) and error_number(error) is None:
                raise
            msg = f"{self}: cannot {what}: {describe(error)}{_advice(error)}"
            failure = DatabaseError(msg)
            failure.database = self.name
            raise failure from error

    def close(self) -> None:
        """Drop the connection; the next unit of work opens a new one."""
        if self._is_busy and threading.current_thread() is threading.main_thread():
            return  # left behind in a thread; a second thread in one connection crashes the driver
        connection, self._connection = self._connection, None
        if connection is not None:
            # invalidate() hangs up; close() alone would roll back first, and wait for a frozen server.
            with contextlib.suppress(SQLAlchemyError):
                connection.invalidate()
                connection.close()

    def __enter__(self) -> Self:
        """Be closed at the end of a block."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close the connection."""
        self.close()


def _refuses_an_option(error: BaseException) -> bool:
    """Tell whether the driver says no to what it was to connect with: a server's no has a number."""
    if isinstance(error, DBAPIError):
        return error_number(error) == _NO_NUMBER and not isinstance(error, OperationalError)  # that one: it was lost
    return isinstance(error, (AttributeError, TypeError, ValueError))


def _advice(error: BaseException) -> str:
    number = error_number(error)
    if number in _WRONG_LOGIN:
        return "; check user and password in [databases]"
    if number in _NO_GRANT:
        return "; the README lists the grants"
    if number in _WRONG_SCHEMA:
        return "; check the schema in [databases]"
    if is_transient(error):
        return "; it was tried again in vain" + (f"; {NOT_REACHED_HINT}" if number in _NOT_REACHED else "")
    return ""
