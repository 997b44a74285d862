"""The tables that the job works on, and a database user with exactly the grants that it needs."""

from __future__ import annotations

import functools
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.harness.servers import Server

USER = "chatsync"
PASSWORD = "p@ss:w/rd#%?"

MYSQL_DICT = {
    "features": """CREATE TABLE features (feature_id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT,
        feature_text_id VARCHAR(100) NOT NULL UNIQUE, feature_public_name VARCHAR(255) NOT NULL, settings TEXT)""",
    "ppc_properties": """CREATE TABLE ppc_properties (name VARCHAR(100) PRIMARY KEY, value TEXT,
        last_change TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)""",
    "shard_client_id": """CREATE TABLE shard_client_id (ClientID INT UNSIGNED PRIMARY KEY,
        shard TINYINT UNSIGNED NOT NULL)""",
}
MYSQL_SHARD = {
    "clients_features": """CREATE TABLE clients_features (ClientID INT UNSIGNED NOT NULL,
        feature_id INT UNSIGNED NOT NULL, is_enabled TINYINT(1) NOT NULL,
        PRIMARY KEY (ClientID, feature_id), KEY (feature_id))""",
}
GRANTS = {
    "features": "SELECT",
    "ppc_properties": "SELECT, INSERT, UPDATE",
    "shard_client_id": "SELECT",
    "clients_features": "SELECT, INSERT, UPDATE",
}

SQLITE_DICT = """
CREATE TABLE features (feature_id INTEGER PRIMARY KEY AUTOINCREMENT, feature_text_id VARCHAR(100) NOT NULL UNIQUE,
    feature_public_name VARCHAR(255) NOT NULL, settings TEXT);
CREATE TABLE ppc_properties (name VARCHAR(100) NOT NULL PRIMARY KEY, value TEXT,
    last_change TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE shard_client_id (ClientID INTEGER PRIMARY KEY, shard INTEGER NOT NULL);
"""
SQLITE_SHARD = """
CREATE TABLE clients_features (ClientID INTEGER NOT NULL, feature_id INTEGER NOT NULL, is_enabled INTEGER NOT NULL,
    PRIMARY KEY (ClientID, feature_id));
CREATE INDEX feature_id ON clients_features (feature_id);
"""


@dataclass(frozen=True)
class World:
    """Databases `ppcdict` and `ppc1` to `ppcN`, on one server or spread over several."""

    servers: Sequence[Server]
    shards: int

    def server(self, database: str) -> Server:
        """Return the server that holds a database; `ppcdict` is on the first."""
        shard = 0 if database == "ppcdict" else int(database.removeprefix("ppc"))
        return self.servers[shard % len(self.servers)]

    def url(self, database: str) -> str:
        """Return the address of a database for chatsync's own user."""
        return self.server(database).url(database, USER, PASSWORD)

    @property
    def dict_url(self) -> str:
        """The address of `ppcdict`."""
        return self.url("ppcdict")

    @property
    def shard_urls(self) -> dict[str, str]:
        """The address of each shard, by its name in the configuration."""
        return {str(shard): self.url(f"ppc{shard}") for shard in range(1, self.shards + 1)}

    def sql(self, database: str, statement: str, *args: object) -> list[tuple[Any, ...]]:
        """Run one statement as the administrator."""
        return self.server(database).sql(statement, database=database, args=args)

    def tables(self) -> dict[str, dict[str, str]]:
        """Return the tables of each database, with their definitions."""
        return {"ppcdict": MYSQL_DICT} | {f"ppc{shard}": MYSQL_SHARD for shard in range(1, self.shards + 1)}

    def clear(self) -> None:
        """Empty all tables and close the connections that chatsync's user left open.

        With DELETE, as TRUNCATE of a small table takes longer.
        """
        for server in self.servers:
            server.disconnect(USER)
        for database, tables in self.tables().items():
            with closing(self.server(database).connect(database)) as connection, closing(connection.cursor()) as cursor:
                for table in tables:
                    cursor.execute(f"DELETE FROM {table}")


def create_world(*servers: Server, shards: int = 4) -> World:
    """Create the databases, their tables, and the user with its grants. Existing ones are dropped first."""
    world = World(servers, shards)
    for server in servers:
        server.sql(f"CREATE USER IF NOT EXISTS {USER} IDENTIFIED BY %s", args=[PASSWORD])
    for database, tables in world.tables().items():
        server = world.server(database)
        server.sql(f"DROP DATABASE IF EXISTS {database}")
        server.sql(f"CREATE DATABASE {database}")
        for table, definition in tables.items():
            server.sql(definition, database=database)
            server.sql(f"GRANT {GRANTS[table]} ON {database}.{table} TO {USER}")
    return world


def open_sqlite(file: Path) -> sqlite3.Connection:
    """Connect without waiting for the disk at each commit: a test's world need not outlive the machine."""
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def create_sqlite(folder: Path, shards: int = 4) -> dict[str, Path]:
    """Create the same tables in SQLite files, `ppcdict.db` and `ppc1.db` to `ppcN.db`; return the files by database."""
    names = ["ppcdict", *(f"ppc{shard}" for shard in range(1, shards + 1))]
    files = {database: folder / f"{database}.db" for database in names}
    for database, file in files.items():
        file.write_bytes(_empty_sqlite(SQLITE_DICT if database == "ppcdict" else SQLITE_SHARD))
    return files


@functools.cache
def _empty_sqlite(script: str) -> bytes:
    """Make the tables once and copy them: their definitions take longer than most tests with them."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script)
        return connection.serialize()
