"""The doctor's checks of the databases: whether they answer, have the tables, and the right grants."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import mysql.connector
import sqlalchemy as sa

from chatsync.cancel_scope import CancelScope
from chatsync.config.database_url import DatabaseUrl
from chatsync.config.settings import Settings
from chatsync.core import parse_time, short_span
from chatsync.databases.connection import Database
from chatsync.databases.faults import NOT_REACHED_HINT, is_no_schema, is_wrong_login
from chatsync.databases.replica_lag import seconds_behind
from chatsync.databases.tables import clients_features, features, ppc_properties, shard_client_id, utc_now
from chatsync.diagnostics.doctor import Line, bad, good, in_words, warning
from chatsync.diagnostics.grants import Grants, Need, how_to_create, parse_grants
from chatsync.errors import ChatsyncError
from chatsync.parallel import SideBySide

_WORKERS = 16
_OLDEST = {"MariaDB": (10, 5), "MySQL": (5, 7)}
_CLOCK_TOLERANCE = timedelta(seconds=30)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Needed on a replica, or on the server from which it replicates its accounts.
_FOR_LAG = frozenset({"REPLICATION CLIENT", "SLAVE MONITOR", "REPLICA MONITOR"})

# What the job reads and writes, column by column: interface, section 2.
_USES: dict[str, dict[sa.Table, dict[str, tuple[str, ...]]]] = {
    "dict": {
        features: {"SELECT": ("feature_id", "feature_text_id")},
        ppc_properties: {
            "SELECT": ("name", "value", "last_change"),
            "INSERT": ("name", "value"),
            "UPDATE": ("value", "last_change"),
        },
        shard_client_id: {"SELECT": ("ClientID", "shard")},
    },
    "shard": {
        clients_features: {
            "SELECT": ("ClientID", "feature_id", "is_enabled"),
            "INSERT": ("ClientID", "feature_id", "is_enabled"),
            "UPDATE": ("is_enabled",),
        }
    },
}
_SERVER = sa.select(
    sa.func.version().label("version"),
    sa.func.current_user().label("account"),
    sa.literal_column("@@global.read_only").label("read_only"),
    utc_now().label("now"),
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """One database of the configuration; `kind` is dict, shard or replica."""

    part: str
    kind: str
    url: DatabaseUrl

    def needs(self) -> list[Need]:
        """List the privileges that the job needs here."""
        return [
            Need(privilege=privilege, database=self.url.database, table=table.name, columns=lower)
            for table, uses in _USES.get(self.kind, {}).items()
            for privilege, columns in uses.items()
            for lower in [frozenset(map(str.lower, columns))]
        ]


def check_databases(settings: Settings, scope: CancelScope) -> Iterator[Line]:
    """Check the dict database, all shards and their replicas at the same time; the lines keep this order."""
    urls = settings.databases
    places = [Place(part="dict", kind="dict", url=urls.dict)]
    places += [Place(part=f"shard {shard}", kind="shard", url=url) for shard, url in urls.shards.items()]
    replicas = [Place(part=f"replica {shard}", kind="replica", url=url) for shard, url in urls.replicas.items()]
    tasks = {place.part: partial(_examine, place, places, scope) for place in [*places, *replicas]}
    outcomes = dict(SideBySide(tasks, workers=_WORKERS).outcomes(scope))
    for place in [*places, *replicas]:
        outcome = outcomes[place.part]
        if outcome.error is not None and not isinstance(outcome.error, ChatsyncError):
            raise outcome.error
        yield from outcome.value or [bad(place.part, f"{place.url}: {outcome.error}")]


def check_driver(settings: Settings) -> Iterator[Line]:
    """Check that the MySQL driver runs at full speed, where it is used."""
    if all(url.is_sqlite for url in (settings.databases.dict, *settings.databases.shards.values())):
        return
    version = f"mysql-connector-python {mysql.connector.__version__}"
    if mysql.connector.HAVE_CEXT:
        yield good("driver", f"{version} with its C extension")
    else:
        yield warning("driver", f"{version} without its C extension reads ten times as slowly; install a binary wheel")


def _examine(place: Place, places: list[Place], scope: CancelScope) -> list[Line]:
    lines: list[Line] = []
    with Database(place.url, name=place.part, scope=scope) as database:
        try:
            look = _look_at_replica(place, database) if place.kind == "replica" else _look(place, places, database)
            for line in look:
                lines.append(line)  # noqa: PERF402  # lines before a failure are kept
        except ChatsyncError as error:
            if is_no_schema(error.__cause__):
                place.url.hide_database()
            create = how_to_create(place.url.user, place.needs()) if is_wrong_login(error.__cause__) else ""
            lines.append(bad(place.part, in_words(error, hint=NOT_REACHED_HINT, where=str(place.url)) + create))
    return lines


def _look_at_replica(place: Place, database: Database) -> Iterator[Line]:
    """Check that the lag, for which `apply` waits, can be read; a replica should be read-only."""
    yield from describe(place, replace(_ask(database), read_only=False))
    lag = database.do(seconds_behind, what="read the replication lag")
    if lag is None:
        way_out = "repair it, or correct databases.replicas"
        yield bad(place.part, f"it does not replicate, so apply would wait until it gives up; {way_out}")
    else:
        yield good(place.part, f"it lags {lag:g} s")


def _look(place: Place, places: list[Place], database: Database) -> Iterator[Line]:
    if database.is_sqlite:
        yield from _look_at_file(place, database)
        grants, account = None, ""
    else:
        server = _ask(database)
        yield from describe(place, server)
        grants, account = server.grants, server.account
    missing = grants.missing(place.needs()) if grants else []
    for need in missing:
        yield bad(place.part, f"{account} lacks a grant: GRANT {need} TO {account}")
    broken = list(_tables(place, database, {need.table for need in missing if need.privilege == "SELECT"}))
    yield from broken
    if grants:
        yield from _surplus(place, places, grants, account)
    if not missing and not broken:
        yield good(place.part, f"the tables {'and grants ' if grants else ''}that the job needs are there")


def _look_at_file(place: Place, database: Database) -> Iterator[Line]:
    (row,) = database.rows(sa.select(sa.func.sqlite_version().label("version")), {}, what="open it")
    file = Path(place.url.database)
    yield good(place.part, f"{file}: SQLite {row.version}")
    if not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)):
        yield bad(place.part, f"this user may not write {file} or into its folder; run as another user, or chown it")


@dataclass(frozen=True, kw_only=True)
class Server:
    """Facts about a server. `ahead` is its clock minus ours; `tls` is empty without TLS."""

    version: str
    account: str
    read_only: bool
    ahead: timedelta
    tls: str
    grants: Grants

    @property
    def product(self) -> str:
        """MariaDB or MySQL."""
        return "MariaDB" if "mariadb" in self.version.lower() else "MySQL"


def _ask(database: Database) -> Server:
    began = datetime.now(UTC)
    (row,) = database.rows(_SERVER, {}, what="connect")
    half_way = began + (datetime.now(UTC) - began) / 2
    user, _, host = row.account.rpartition("@")
    tls = database.do(_tls_version, what="see whether the connection is encrypted")
    # A line may hold the hash of a password, so lines are never shown.
    lines = database.do(_show_grants, what="read the grants (SHOW GRANTS)")
    return Server(
        version=row.version,
        account=f"'{user}'@'{host}'",
        read_only=str(row.read_only) not in ("0", "OFF"),
        ahead=parse_time(row.now, timezone=UTC) - half_way,
        tls=tls,
        grants=parse_grants(lines),
    )


def _tls_version(connection: sa.Connection) -> str:
    row = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Ssl_version'").first()
    return str(row[1]) if row else ""


def _show_grants(connection: sa.Connection) -> list[str]:
    return [str(row[0]) for row in connection.exec_driver_sql("SHOW GRANTS")]


def describe(place: Place, server: Server) -> Iterator[Line]:
    """Return the lines about version, clock, TLS and read-only mode."""
    apart = short_span(server.ahead)
    clock = f"{apart} {'ahead of' if server.ahead > timedelta(0) else 'behind'} this machine's"
    about = f"{server.product} {server.version.partition('-')[0]}, {server.tls or 'no TLS'}, clock {clock}"
    yield good(place.part, f"{place.url}: {about}")
    oldest = _OLDEST[server.product]
    if tuple(int(number) for number in re.findall(r"\d+", server.version)[:2]) < oldest:
        yield bad(place.part, f"the first {server.product} that works is {oldest[0]}.{oldest[1]}; upgrade this one")
    if server.read_only:
        yield bad(place.part, "the server is read-only: is it a replica? name the primary in [databases]")
    if abs(server.ahead) > _CLOCK_TOLERANCE:
        yield warning(place.part, f"the clocks are {apart} apart: check NTP on this machine and there")
    is_remote = not place.url.unix_socket and place.url.host not in _LOOPBACK
    if is_remote and not server.tls:
        yield warning(place.part, "passwords and ids are sent without TLS; add ?ssl_ca=FILE to the URL")
    elif is_remote and "ssl_ca" not in place.url.options:
        yield warning(place.part, "a machine in the middle can get the password; add ?ssl_ca=FILE to the URL")
    if place.url.password and not place.url.password.is_hidden:
        yield warning(place.part, "the password is a word, a number or too short: only in URLs is it shown as ***")
    if place.url.options.get("ssl_verify_identity") is False:
        yield warning(place.part, "ssl_verify_identity=false: the login goes to any host, also without TLS; remove it")


def _tables(place: Place, database: Database, unreadable: set[str]) -> Iterator[Line]:
    for table, uses in _USES[place.kind].items():
        if table.name in unreadable:
            continue
        columns = {name: table.c[name] for names in uses.values() for name in names}
        try:
            database.rows(sa.select(*columns.values()).where(sa.false()), {}, what=f"read table {table.name}")
        except ChatsyncError as error:
            yield bad(place.part, in_words(error, hint=NOT_REACHED_HINT, where=str(place.url)))


def _surplus(place: Place, places: list[Place], grants: Grants, account: str) -> Iterator[Line]:
    """Warn about grants that the job does not need, once for each server, at its first database."""
    same = [other for other in places if (other.url.server, other.url.user) == (place.url.server, place.url.user)]
    if same[0] is not place:
        return
    needs = [need for other in same for need in other.needs()]
    extra = [str(grant) for grant in grants.surplus(needs) if grant.privilege not in _FOR_LAG]
    if extra:
        shown = ", ".join(extra[:3]) + (f" and {len(extra) - 3} more" if len(extra) > 3 else "")  # noqa: PLR2004  # as many as fit on a line
        yield warning(place.part, f"{account} may do more than the job needs: {shown}; REVOKE what it does not use")
