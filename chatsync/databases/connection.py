"""One database and the connection to it, for MySQL, MariaDB and SQLite.

A unit of work is a function that gets a connection. It is retried after a temporary fault. Its error says which
database failed, what failed, why, and what to do.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import InvalidRequestError, SQLAlchemyError

from chatsync.cancel_scope import CancelScope
from chatsync.config.database_url import DatabaseUrl
from chatsync.databases.engines import new_engine
from chatsync.databases.faults import (
    describe,
    error_number,
    is_about_rows,
    is_away,
    passes_once,
    refuses_an_option,
    way_out,
)
from chatsync.databases.kept_connections import disconnect, give_back, note_opened, take
from chatsync.errors import ChatsyncError, ConfigError, DatabaseError
from chatsync.parallel import off_main_thread, while_alive

Value = TypeVar("Value")

# No small statement takes this long without sending a byte; only a frozen server does.
STATEMENT_SECONDS = 60
# After this time without an answer (and at least run.retry_timeout), a new connection checks whether the server is up.
_SILENT_SECONDS = 5.0
_IDLE_SECONDS = 10.0


class Database:
    """One database and a single connection to it; for one thread at a time."""

    def __init__(
        self,
        url: DatabaseUrl,
        *,
        name: str,
        scope: CancelScope,
        writable: bool = False,
        patience: int = STATEMENT_SECONDS,
        idle_seconds: int | None = None,
        fresh: bool = False,
    ) -> None:
        """Open no connection yet; the first unit of work opens it, or takes one that a step of `sync` has kept.

        `name` is for messages: `shard 2`. `patience` is how many seconds a statement may take
        without sending a byte before the server counts as dead, and `idle_seconds` how long the
        server keeps the session without a statement. A `fresh` one is always opened, and not kept.
        """
        self.url = url
        self.name = name
        self.scope = scope
        self._writable = writable
        self._kind = None if fresh or url.is_sqlite else (url, writable, patience, idle_seconds)
        self._engine = new_engine(url, writable=writable, patience=patience, idle_seconds=idle_seconds)
        self._connection: sa.Connection | None = None
        self._is_busy = False
        self._attempt_count = 0
        self._used_at = 0.0

    def __str__(self) -> str:
        """Return name and address for error messages."""
        return f"{self.name} ({self.url})"

    @property
    def is_busy(self) -> bool:
        """Whether a thread is using the connection, perhaps an abandoned one."""
        return self._is_busy

    @property
    def is_sqlite(self) -> bool:
        """Whether this is an SQLite file."""
        return self.url.is_sqlite

    def do(self, work: Callable[[sa.Connection], Value], *, what: str) -> Value:
        """Do one unit of work, in a transaction if writable, and retry it after a temporary fault.

        Raises DatabaseError. It ignores a request to stop, because the current batch must still end.
        """
        may_pass = passes_once()
        with self._explained(what, may_pass=may_pass):
            return self.scope.retry(
                partial(self._attempt, work), what=f"{self}: {what}", is_transient=may_pass, describe=describe
            )

    def open(self, *, what: str) -> None:
        """Log in, so that the first statement, which is to do `what`, need not wait for that. Raises DatabaseError."""
        self.do(lambda _: None, what=what)

    def close_if_idle(self) -> None:
        """Close the connection if it was not used for a while: a proxy may have ended it, and say so late."""
        if time.monotonic() - self._used_at > _IDLE_SECONDS:
            self.close()

    def rows(
        self, statement: sa.Executable, values: Mapping[str, Any], *, what: str
    ) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        """Execute one SELECT and return all rows; see `do`."""
        return self.do(lambda connection: connection.execute(statement, values).all(), what=what)

    def execute_all(self, connection: sa.Connection, statements: Sequence[str]) -> None:
        """Execute statements in one round trip; SQLite has none, and takes one statement at a time."""
        if self.is_sqlite:
            for statement in statements:
                connection.exec_driver_sql(statement)
        elif statements:
            dialect: Any = connection.dialect
            options = {dialect.more: len(statements) - 1}
            connection.exec_driver_sql("; ".join(statements), execution_options=options)

    def do_once(self, work: Callable[[sa.Connection], Value], *, what: str) -> Value:
        """Do a unit of work only on the connection that is open already, never on a new one.

        This is for things that belong to one connection, such as a lock.
        """
        with self._explained(what, may_pass=lambda _: False):
            if self._connection is None:
                raise InvalidRequestError("the connection was lost")
            return self._attempt(work)

    def _attempt(self, work: Callable[[sa.Connection], Value]) -> Value:
        self._attempt_count += 1
        number = self._attempt_count

        def attempt() -> Value:
            try:
                connection = self._open(number)
                if not self._writable:
                    return work(connection)  # autocommit: a COMMIT would be a useless round trip
                with connection.begin():
                    return work(connection)
            except BaseException as error:
                # After a refused row, which was rolled back, the connection is as it was before.
                if number == self._attempt_count and not is_about_rows(error):
                    self.close()
                raise
            finally:
                if number == self._attempt_count:
                    self._is_busy, self._used_at = False, time.monotonic()

        self._is_busy = True
        if self._writable or self.is_sqlite:
            return off_main_thread(attempt)
        # A reading statement may send nothing for minutes, but a server that is gone must not be waited for.
        silence = max(_SILENT_SECONDS, self.scope.retry_timeout)
        return while_alive(attempt, check=self._check_alive, every=silence, give_up=self._leave_behind)

    def _open(self, number: int) -> sa.Connection:
        """Return the connection; open it if there is none."""
        if self._connection is not None:
            return self._connection
        kept = take(self._kind) if self._kind and number == 1 else None  # after a fault, a new one
        connection = kept or note_opened(self._connect())
        if number != self._attempt_count:
            connection.invalidate()
            raise InvalidRequestError("the attempt was given up while it connected")
        self._connection = connection
        return connection

    def _check_alive(self) -> None:
        """Raise the driver's error if the server does not answer a new connection either."""
        try:
            self._engine.connect().close()
        except Exception as error:
            if is_away(error):
                raise

    def _leave_behind(self) -> None:
        """Abandon the connection to the thread that waits in it: two threads in one connection crash the driver."""
        self._attempt_count += 1
        self._connection, self._is_busy = None, False

    def _connect(self) -> sa.Connection:
        try:
            return self._engine.connect()
        except Exception as error:
            if not refuses_an_option(error):
                raise
            advice = "check the options of its URL in [databases]"
            raise ConfigError(describe(error), where=str(self), way_out=advice) from error

    @contextlib.contextmanager
    def _explained(self, what: str, *, may_pass: Callable[[BaseException], bool]) -> Iterator[None]:
        """Turn the driver's errors into a DatabaseError; one that may pass was retried."""
        try:
            yield
        except DatabaseError as error:
            error.gave_up = self.scope.gave_up if may_pass(error) else ""
            raise
        except ChatsyncError:
            raise
        except Exception as error:
            # Some errors of commit and rollback come in the C extension's own class.
            if not isinstance(error, SQLAlchemyError) and error_number(error) is None:
                raise
            gave_up = self.scope.gave_up if may_pass(error) else ""
            reason = f"cannot {what}: {describe(error)}"
            failure = DatabaseError(reason, where=str(self), gave_up=gave_up, way_out=way_out(error))
            failure.database = self.name
            failure.is_about_rows = is_about_rows(error)
            raise failure from error

    def close(self) -> None:
        """Close the connection; the next unit of work opens a new one."""
        if self._is_busy and threading.current_thread() is threading.main_thread():
            return  # an abandoned thread uses it, and two threads in one connection crash the driver
        connection, self._connection = self._connection, None
        if connection is not None:
            disconnect(connection)

    def let_go(self) -> None:
        """Close the connection, or hand it on to the next step of `sync`; after a fault it was closed already."""
        if self._kind is None or self._connection is None or self._is_busy:
            self.close()
            return
        connection, self._connection = self._connection, None
        give_back(self._kind, connection)

    def __enter__(self) -> Self:
        """Return self; the `with` block lets the connection go."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Let the connection go."""
        self.let_go()
