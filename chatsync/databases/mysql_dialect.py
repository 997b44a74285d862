"""The SQLAlchemy dialect for MySQL and MariaDB: the driver's own, with fewer round trips and a safe start."""

import contextlib
import logging
import threading
from typing import Any

import mysql.connector
import sqlalchemy as sa
from sqlalchemy.dialects.mysql.mysqlconnector import MySQLDialect_mysqlconnector

_is_set_up: list[bool] = []
_one_at_a_time = threading.Lock()

logger = logging.getLogger(__name__)


class Dialect(MySQLDialect_mysqlconnector):
    """The driver's own dialect, without its questions about the server's features.

    Normally it asks each new server for version, schema, isolation level, SQL mode and case of names:
    five round trips for each shard, which our statements do not need.
    """

    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Any:
        """Return the driver, set up; SQLAlchemy calls this before it makes an engine."""
        set_up_driver()
        return super().import_dbapi()

    def initialize(self, connection: sa.Connection) -> None:
        """Ask nothing."""


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
