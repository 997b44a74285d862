"""SQLAlchemy engines for MySQL, MariaDB and SQLite, and the setup of new sessions.

The setup of a session goes with its first statement: a round trip of its own would be one for each shard in each run.
"""

import contextlib
import os
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from chatsync.config.database_url import DatabaseUrl
from chatsync.databases.packed_ids import GROUP_CONCAT_MAX_LEN
from chatsync.errors import DatabaseError

_CONNECT_SECONDS = 10

# After this time without a statement the server ends a session with its locks and its transaction. Without this, a
# machine that crashed would hold them for the default of 8 hours. A writing session is idle at most while the dict
# database is asked about the commit.
IDLE_SECONDS = 600
IDLE_SECONDS_IN_TRANSACTION = 120

# Settings that could change an answer or refuse a write do not depend on the server's defaults: a small
# sql_select_limit cuts answers off without an error. A comment with a number is only for MySQL, one with an M only for
# MariaDB. LEAST of two kinds of integer is a decimal in MySQL, which refuses it here: therefore the CAST.
_SET_SESSION = f"""SET SESSION group_concat_max_len = {GROUP_CONCAT_MAX_LEN}, time_zone = '+00:00',
    sql_mode = 'STRICT_ALL_TABLES', sql_select_limit = 18446744073709551615, wait_timeout = {{idle_seconds}},
    innodb_lock_wait_timeout = CAST(LEAST(@@global.innodb_lock_wait_timeout, 50) AS UNSIGNED)
    /*!50720 , max_execution_time = 0, transaction_read_only = 0, transaction_isolation = 'READ-COMMITTED' */
    /*M! , max_statement_time = 0, tx_read_only = 0, tx_isolation = 'READ-COMMITTED' */"""
# Once more, for MySQL before 5.7.20.
_ISOLATION = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"

sa.dialects.registry.register("mysql.chatsync", "chatsync.databases.mysql_dialect", "Dialect")


def new_engine(url: DatabaseUrl, *, writable: bool, patience: int, idle_seconds: int | None = None) -> sa.Engine:
    """Make the engine of one database; no connection is opened yet.

    Without `writable` it is in autocommit mode, because a COMMIT would be a useless round trip.
    `patience` is how many seconds a statement may take without sending a byte, `idle_seconds`
    how long the server keeps a session that sends none.
    """
    if url.is_sqlite:
        return _sqlite_engine(url, writable=writable)
    idle = idle_seconds or (IDLE_SECONDS_IN_TRANSACTION if writable else IDLE_SECONDS)
    engine = sa.create_engine(
        sa.URL.create(
            "mysql+chatsync",
            username=url.user or None,
            password=url.password.reveal() if url.password else None,
            host=url.host or None,
            port=url.port or None,
            database=url.database,
        ),
        # Last, so that the URL can't override them: in autocommit mode a batch could not be rolled back.
        connect_args={
            **_driver_options(url, patience=patience),
            **({"unix_socket": url.unix_socket} if url.unix_socket else {}),
            "autocommit": not writable,
            "allow_local_infile": False,
        },
        poolclass=NullPool,
        pool_reset_on_return=None,  # connections are not used again, and a lost one can't be rolled back
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def set_session(connection: Any, _record: object) -> None:
        if "ssl_ca" in url.options and url.options.get("ssl_verify_identity") is False:
            _refuse_plain_text(connection, url)
        connection.set_up = [*connection.set_up, _SET_SESSION.format(idle_seconds=idle)]
        if writable:
            connection.set_up.append(_ISOLATION)

    return engine


def _refuse_plain_text(connection: Any, url: DatabaseUrl) -> None:
    """Raise DatabaseError without TLS: with ssl_verify_identity=false the driver accepts a server without TLS."""
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        row = cursor.fetchone()
    if not row or not row[1]:
        raise DatabaseError("the server does not speak TLS, but its URL in [databases] has ssl_ca", where=str(url))


def _driver_options(url: DatabaseUrl, *, patience: int) -> dict[str, Any]:
    options: dict[str, Any] = {
        "connection_timeout": _CONNECT_SECONDS,
        "read_timeout": patience,
        "write_timeout": patience,
        # MariaDB does not know the driver's default collation; every server has this one.
        "charset": "utf8mb4",
        "collation": "utf8mb4_general_ci",
    }
    if "ssl_ca" in url.options:
        # Both, unless the URL says otherwise. With them the driver demands TLS, the right authority and the right
        # host before it sends the login; with a CA alone it would log in to a server that offers no TLS.
        options |= {"ssl_verify_cert": True, "ssl_verify_identity": True}
    return {**options, **url.options}


class _BitXor:
    """BIT_XOR for SQLite, which lacks it: the XOR of whole numbers, NULL for no rows."""

    def __init__(self) -> None:
        self._value = 0

    def step(self, number: int) -> None:
        self._value ^= number

    def finalize(self) -> int:
        return self._value


def _sqlite_engine(url: DatabaseUrl, *, writable: bool) -> sa.Engine:
    engine = sa.create_engine(
        # mode=rw: a missing file is an error, instead of a new empty database.
        sa.URL.create(
            "sqlite", database=f"file:{quote(os.fsencode(url.database))}", query={"mode": "rw", "uri": "true"}
        ),
        # No cache of statements: those that hold ids never come again, and each takes 0.3 MB.
        connect_args={"check_same_thread": False, "cached_statements": 0},
        poolclass=NullPool,
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        connection.create_aggregate("BIT_XOR", 1, _BitXor)

    if writable:

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
