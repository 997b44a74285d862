"""Which database a URL leads to, and whether the job may write there, as the server says; URLs are not compared.

One server has many names (`localhost`, an address, an alias, a proxy), and a name may lead to a replica. So statements
that read a database also ask which server and schema answered.
"""

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.databases.connection import Database
from chatsync.databases.replica_lag import is_replica
from chatsync.errors import ConfigError, DatabaseError

# Comments with a number below are for MySQL alone, those with an M for MariaDB alone ("Executable Comment Syntax").
# MariaDB has no @@server_uuid, so two servers may give the same answer: see `_is_one_server`.
_SERVER = "CONCAT_WS('/', @@hostname, @@port, @@datadir, @@server_id /*!50700 , @@server_uuid */)"
# The nodes of a Galera cluster are different servers with the same rows: there, the cluster's id names the database.
_CLUSTER = """COALESCE(/*M! (SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS
    WHERE VARIABLE_NAME = 'WSREP_CLUSTER_STATE_UUID'), */ '')"""
SCHEMA = "IF(@@lower_case_table_names, LOWER(DATABASE()), DATABASE())"
# A number or a word, by version.
READ_ONLY = "(@@global.read_only NOT IN ('0', 'OFF') OR @@global.innodb_read_only)"
# Running threads of a replica, on MariaDB. Whether the server is configured as one is shown only to some accounts: to
# ask those that are not costs nothing, as the answer says whether to ask. What a role holds is not listed there.
_REPLICATES = """COALESCE(/*M! (SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS
    WHERE VARIABLE_NAME = 'SLAVES_RUNNING'), */ 0)"""
_MAY_ASK = """(SELECT COUNT(*) FROM information_schema.USER_PRIVILEGES
    WHERE PRIVILEGE_TYPE IN ('SUPER', 'REPLICATION CLIENT', 'SLAVE MONITOR', 'REPLICA MONITOR'))
    /*!80000 + (CURRENT_ROLE() <> 'NONE') */ /*M! + (CURRENT_ROLE() IS NOT NULL) */"""
_ENGINE = """(SELECT CONCAT(COALESCE(t.ENGINE, t.TABLE_TYPE), '/', COALESCE(e.TRANSACTIONS, 'NO'))
    FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
    WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_NAME = 'clients_features')"""
_COLUMNS = (_SERVER, _CLUSTER, SCHEMA, READ_ONLY, _REPLICATES, _MAY_ASK, _ENGINE)
# Rows of any feature: before the first fill no client is off.
_SOME_CLIENTS = """(SELECT GROUP_CONCAT(some_rows.ClientID) FROM
    (SELECT ClientID FROM clients_features LIMIT 100) AS some_rows)"""

_GET_LOCK = sa.text("SELECT GET_LOCK(:name, 0)")
_SEES_LOCK = sa.text("SELECT IS_USED_LOCK(:name) IS NOT NULL")


@dataclass(frozen=True, kw_only=True)
class Place:
    """The identity of a server and of the schema that a connection uses.

    `cluster` is that of Galera, empty where there is none; its nodes hold the same schemas. `engine` is that of
    clients_features, and `clients` are some of those that have a row in it.
    """

    server: str
    schema: str
    cluster: str = ""
    read_only: bool = False
    replicates: bool = False
    engine: str = ""
    transactional: bool = True
    clients: BitMap64 = field(default_factory=BitMap64)

    @property
    def refusal(self) -> str:
        """Why the job must not write here; empty if it may."""
        if self.read_only:
            return "the server is read-only, as a replica or a demoted primary is"
        if self.replicates:
            return "the server is a replica: a row that is written there can stop its replication"
        if not self.transactional:
            return f"clients_features ({self.engine}) has no transactions: part of a stopped batch would stay written"
        return ""

    @property
    def way_out(self) -> str:
        """What to do about the refusal."""
        if self.read_only:
            return "name the primary in [databases]"
        if self.replicates:
            return "name the primary in [databases]; if this one is the primary now, RESET REPLICA ALL ends that there"
        return "ALTER TABLE clients_features ENGINE = InnoDB"


def place_columns(database: Database) -> str:
    """Return the columns for `place_of`, which must be the last ones of a SELECT."""
    return _SOME_CLIENTS if database.is_sqlite else ", ".join((_SOME_CLIENTS, *_COLUMNS))


def place_of(database: Database, connection: sa.Connection, values: tuple[Any, ...]) -> Place:
    """Return the place from the values of `place_columns`; an SQLite file is identified by device and inode.

    Only where the account may see whether the server is a replica, one more statement asks for it.
    """
    ids, *others = values
    clients = BitMap64([int(client) for client in str(ids or "").split(",") if client.isdigit()])
    if database.is_sqlite:
        return Place(server="this machine", schema=_file(database.url.database), clients=clients)
    server, cluster, schema, read_only, replicates, may_ask, engine = others
    name, _, transactions = str(engine or "").rpartition("/")
    return Place(
        server=str(server),
        schema=str(schema),
        cluster=str(cluster),
        read_only=bool(int(read_only)),
        replicates=bool(int(replicates)) or (bool(may_ask) and is_replica(connection)),
        engine=name,
        transactional=transactions == "YES" or not name,
        clients=clients,
    )


def _file(path: str) -> str:
    status = os.stat(path)  # noqa: PTH116  # the path is a text
    return f"{status.st_dev}:{status.st_ino}"


def read_place(connection: sa.Connection, database: Database) -> Place:
    """Ask a server only for its place."""
    return place_of(database, connection, tuple(connection.exec_driver_sql(f"SELECT {place_columns(database)}").one()))


def read_server(connection: sa.Connection) -> str:
    """Return the identity of a server; not for SQLite."""
    return str(connection.exec_driver_sql(f"SELECT {_SERVER}").scalar())


def in_cluster(connection: sa.Connection) -> bool:
    """Return whether this server is a node of a Galera cluster."""
    row = connection.exec_driver_sql("SHOW GLOBAL VARIABLES LIKE 'wsrep_on'").first()
    return row is not None and row[1] == "ON"


def check_may_write(database: Database, place: Place) -> None:
    """Raise DatabaseError if nothing may be written there."""
    if place.refusal:
        failure = DatabaseError(place.refusal, where=str(database), way_out=place.way_out)
        failure.database = database.name
        failure.may_pass = place.read_only  # it may be temporary, during a switchover
        raise failure


def check_are_different(settings: Settings, scope: CancelScope, places: Mapping[int, Place]) -> None:
    """Raise ConfigError if two shards are the same database, even with different URLs."""
    first: dict[tuple[str, str], int] = {}
    for shard, place in sorted(places.items()):
        other = first.setdefault((place.cluster or place.server, place.schema), shard)
        if other == shard:
            continue
        urls = settings.databases.shards
        if urls[shard].is_sqlite or place.cluster or _is_one_server(settings, scope, other, shard):
            raise ConfigError(
                f"databases.shards.{shard}: the same database as shard {other}, although their URLs differ: "
                f"{urls[shard]} and {urls[other]} lead to schema {place.schema} on {place.cluster or place.server}",
                way_out="correct one of the two URLs",
            )


def _is_one_server(settings: Settings, scope: CancelScope, first: int, second: int) -> bool:
    """Decide whether two servers with the same identity are one: then a lock taken on one is seen on the other."""
    name = {"name": f"chatsync/{uuid.uuid4().hex}"}
    urls = settings.databases.shards
    with (
        Database(urls[first], name=f"shard {first}", scope=scope, fresh=True) as one,
        Database(urls[second], name=f"shard {second}", scope=scope, fresh=True) as other,
    ):
        one.rows(_GET_LOCK, name, what="take a lock (GET_LOCK)")
        ((is_seen,),) = other.rows(_SEES_LOCK, name, what="look for a lock (IS_USED_LOCK)")
    return bool(is_seen)
