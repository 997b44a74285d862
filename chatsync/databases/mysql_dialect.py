"""The SQLAlchemy dialect for MySQL and MariaDB: the driver's own, with fewer round trips and a safe start.

After its login a connection sends nothing: what sets up its session goes with its first statement, in one packet.
"""

import contextlib
import logging
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

import mysql.connector
from mysql.connector import HAVE_CEXT, MySQLConnection
from mysql.connector.errors import Error, get_mysql_exception
from sqlalchemy.dialects.mysql.mysqlconnector import MySQLDialect_mysqlconnector

from chatsync.parallel import while_alive

# Those of the driver, which sends them one by one.
_DRIVERS_SET_UP = "SET NAMES '{charset}' COLLATE '{collation}', autocommit = {autocommit:d}"

# The longest that a login takes, in connection timeouts: to be accepted, to be greeted, and TLS with the login itself.
_TIMEOUTS_A_LOGIN = 3
_CR_SERVER_LOST = 2013

_is_set_up: list[bool] = []
_one_at_a_time = threading.Lock()

logger = logging.getLogger(__name__)


class _SetUp:
    """What a connection of ours has in addition: the statements that are still to be sent before any other."""

    set_up: Sequence[str] = ()

    def is_connected(self) -> bool:
        """Say yes. The driver asks before every cursor, with a ping; the statement itself shows if it was lost."""
        return True


class _PureConnection(_SetUp, MySQLConnection):
    """The driver without its C extension; it sends its own set-up after the login."""


if HAVE_CEXT:
    from mysql.connector import CMySQLConnection

    class _Connection(_SetUp, CMySQLConnection):
        """The driver with its C extension."""

        def _post_connection(self) -> None:
            """Send only what the URL asks for. Should the driver no longer call this, there are more round trips."""
            autocommit, charset, collation = self._autocommit, self.charset, self.collation
            self.set_up = [_DRIVERS_SET_UP.format(autocommit=autocommit, charset=charset, collation=collation)]
            if self._init_command:
                self._execute_query(self._init_command)


class _Context(MySQLDialect_mysqlconnector.execution_ctx_cls):  # type: ignore[misc, valid-type]  # untyped
    """A statement with `stream_results` returns when the server begins to send, before the rows are here."""

    def create_server_side_cursor(self) -> Any:
        """Return a cursor that reads rows when they are asked for."""
        return self._dbapi_connection.cursor(buffered=False)


class Dialect(MySQLDialect_mysqlconnector):
    """The driver's own dialect, without its statements that ask for the server's features.

    Normally it asks each new server for version, schema, isolation level, SQL mode and case of names:
    five round trips for each shard, which our statements do not need.
    """

    supports_statement_cache = True
    supports_server_side_cursors = True
    execution_ctx_cls = _Context
    # The execution option that tells how many more statements a text has: the rows are those of the last one.
    more = "chatsync_more"

    @classmethod
    def import_dbapi(cls) -> Any:
        """Return the driver, set up; SQLAlchemy calls this before it makes an engine."""
        set_up_driver()
        return super().import_dbapi()

    def initialize(self, connection: Any) -> None:
        """Ask nothing."""

    def connect(self, *_arguments: Any, use_pure: bool = False, **options: Any) -> Any:
        """Log in. The C extension would wait without end for a server that freezes in the TLS handshake."""
        if use_pure or not HAVE_CEXT:
            return _PureConnection(**options)
        log_in = partial(_Connection, **options)
        seconds = _TIMEOUTS_A_LOGIN * options["connection_timeout"]
        if not seconds:  # the URL says so
            return log_in()

        def too_late() -> NoReturn:
            raise get_mysql_exception(_CR_SERVER_LOST, f"the login was not answered within {seconds} s")

        return while_alive(log_in, check=too_late, every=seconds, give_up=lambda: None)

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        """Execute a statement, after the session's set-up if that is still to be sent."""
        connection = context.root_connection.connection.dbapi_connection
        set_up, connection.set_up = connection.set_up, ()
        cursor.execute("; ".join([*set_up, statement]), parameters)
        for _ in range(len(set_up) + context.execution_options.get(self.more, 0)):
            _next_result(cursor)

    def do_execute_no_params(self, cursor: Any, statement: str, context: Any = None) -> None:
        """Execute a statement as it is."""
        self.do_execute(cursor, statement, (), context)

    def do_executemany(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        """Execute a statement for each set of values; the set-up is sent first."""
        self.do_execute(cursor, "DO 0", (), context)
        super().do_executemany(cursor, statement, parameters, context)  # type: ignore[no-untyped-call]  # untyped

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Roll back what was sent; before the first statement that is nothing."""
        if not dbapi_connection.set_up:
            super().do_rollback(dbapi_connection)  # type: ignore[no-untyped-call]  # untyped


def set_up_driver() -> None:
    """Initialise the driver's C library in one thread, once in a process; warn if the driver runs without it.

    The library initialises itself at its first connection, and crashes (SIGSEGV) if several threads connect at the
    same time. This first connection is to a socket that does not exist, so it fails immediately.
    """
    with _one_at_a_time:
        if _is_set_up:
            return
        _is_set_up.append(True)
        with contextlib.suppress(mysql.connector.Error):
            mysql.connector.connect(unix_socket="/nonexistent/chatsync")
        if not mysql.connector.HAVE_CEXT:
            logger.warning("mysql-connector-python runs without its C extension: reading takes about ten times as long")


def _next_result(cursor: Any) -> None:
    """Go on to the next statement's result. Raises the driver's error, as `execute` does for the first statement."""
    try:
        cursor.nextset()
    except Error:
        raise
    except Exception as error:
        number = getattr(error, "errno", None)
        if number is None:
            raise
        # The C extension has a class of its own for it, which `nextset` does not translate.
        state = getattr(error, "sqlstate", None)
        raise get_mysql_exception(number, getattr(error, "msg", str(error)), state) from error
