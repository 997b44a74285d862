"""The dict database: the feature and the mod-time. The homes of clients are in `homes.py`."""

from datetime import UTC, datetime
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import (
    DISABLED_FOREVER,
    DictState,
    ModTimeState,
    check_enabled,
    check_modtime,
    format_time,
    is_disabled,
    modtime_state,
    parse_property,
    parse_time,
)
from chatsync.databases.connection import Database
from chatsync.databases.places import READ_ONLY, SCHEMA, in_cluster, read_server
from chatsync.databases.tables import features, ppc_properties, shard_client_id, utc_now
from chatsync.errors import ConfigError, DatabaseError, OutOfDateError, SourceError

_PROPERTY = ppc_properties.c.name == sa.bindparam("property")
_FEATURE = features.c.feature_text_id == sa.bindparam("feature")


def _one_of(column: sa.ColumnElement[Any], condition: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    return sa.select(column).where(condition).scalar_subquery()


_LAST_CHANGE = sa.cast(ppc_properties.c.last_change, sa.String(32))
# One statement, so that mod-time and clock are read at the same moment.
_STATE = sa.select(
    _one_of(features.c.feature_id, _FEATURE).label("feature_id"),
    _one_of(sa.func.count(ppc_properties.c.name), _PROPERTY).label("is_set"),
    _one_of(ppc_properties.c.value, _PROPERTY).label("value"),
    _one_of(_LAST_CHANGE, _PROPERTY).label("last_change"),
    utc_now().label("now"),
)
_STATE_IF_LOCKED = _STATE.add_columns(sa.literal_column(READ_ONLY).label("read_only")).where(
    sa.func.is_used_lock(sa.bindparam("lock")) == sa.func.connection_id()
)
_SCHEMA_AND_STATE = _STATE.add_columns(sa.literal_column(SCHEMA).label("schema_name"))
_COUNT_BY_SHARD = sa.select(shard_client_id.c.shard, sa.func.count().label("clients")).group_by(shard_client_id.c.shard)
# last_change is set here too, because SQLite has no ON UPDATE.
_SET = (
    sa.update(ppc_properties)
    .where(_PROPERTY)
    .values(value=sa.bindparam("new"), last_change=sa.func.current_timestamp())
)
_COMPARE_AND_SET = _SET.where(ppc_properties.c.value == sa.bindparam("old"))
_VALUE = sa.select(ppc_properties.c.value).where(_PROPERTY)
_ADD = sa.insert(ppc_properties).values(name=sa.bindparam("property"), value=sa.bindparam("new"))


class DictDatabase:
    """Reads the feature, the mod-time and the clock, and writes the mod-time."""

    def __init__(
        self,
        settings: Settings,
        scope: CancelScope,
        *,
        writable: bool = False,
        idle_seconds: int | None = None,
        fresh: bool = False,
    ) -> None:
        """Open no connection yet. `writable` is needed to set the mod-time. For the others see `Database`."""
        self._settings = settings
        self._feature = settings.feature.name
        self._property = settings.modtime.property
        self._names = {"feature": self._feature, "property": self._property}
        self.database = Database(
            settings.databases.dict,
            name="dict",
            scope=scope,
            writable=writable,
            idle_seconds=idle_seconds,
            fresh=fresh,
        )

    def __enter__(self) -> Self:
        """Return self; the `with` block lets the connection go."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Let the connection go."""
        self.database.let_go()

    def state(self) -> DictState:
        """Read the feature, the mod-time and the clock.

        Raises ConfigError if there is no such feature, PropertyError if the property is not a time.
        """
        return self._parsed(self._row())

    def state_if_locked(self, lock: str) -> DictState | None:
        """Read the state over the connection that holds a lock (GET_LOCK); None if it no longer holds it.

        State and lock are read in one statement, so at the same moment, and never over a new connection.
        Raises DatabaseError if the connection was lost, or if its server has become read-only, because
        then the mod-time is changed on another server.
        """

        def ask(connection: sa.Connection) -> Any:
            return connection.execute(_STATE_IF_LOCKED, {**self._names, "lock": lock}).first()

        row = self.database.do_once(ask, what="see the lock of the job")
        if row is not None and row.read_only:
            raise DatabaseError("the server became read-only, as after a switchover", where=str(self.database))
        return None if row is None else self._parsed(self._checked(row))

    def schema_and_feature(self) -> tuple[str, int]:
        """Return the schema's name on the server, and the feature's id. Raises ConfigError without the feature."""
        (row,) = self.database.rows(_SCHEMA_AND_STATE, self._names, what="read the schema and the feature")
        return str(row.schema_name), int(self._checked(row).feature_id)

    def feature_id(self) -> int:
        """Read the feature's id without the mod-time. Raises ConfigError if there is no such feature."""
        return int(self._row().feature_id)

    def check_enabled(self) -> None:
        """Raise DisabledError if the mod-time is later than this database's clock."""
        check_enabled(self.state())

    def _row(self) -> Any:
        (row,) = self.database.rows(_STATE, self._names, what="read the feature and the mod-time")
        return self._checked(row)

    def _checked(self, row: Any) -> Any:
        if row.feature_id is None:
            raise ConfigError(f"feature.name: {self.database} has no feature {self._feature!r} in table features")
        return row

    def _parsed(self, row: Any) -> DictState:
        modtime = self._parse(row.value) if row.is_set else None
        return DictState(
            feature_id=row.feature_id,
            modtime=modtime,
            last_change=_parse_last_change(row.last_change),
            now=parse_time(row.now, timezone=UTC),
        )

    def _parse(self, raw: str | None) -> datetime:
        where, zone = str(self.database), self._settings.timezone
        return parse_property(raw, name=self._property, where=where, timezone=zone)

    def count_by_shard(self) -> dict[int, int]:
        """Count the clients of each shard, including shards that the configuration lacks."""
        rows = self.database.rows(_COUNT_BY_SHARD, {}, what="count the clients of each shard")
        return {row.shard: row.clients for row in rows}

    def server(self) -> str:
        """Return the identity of the server; not for SQLite."""
        return self.database.do(read_server, what="see which server this is")

    def is_in_cluster(self) -> bool:
        """Return whether the server is a node of a Galera cluster; not for SQLite."""
        return self.database.do(in_cluster, what="see whether it is in a cluster")

    def set_modtime(self, value: datetime) -> datetime:
        """Write a mod-time that an operator asked for, with any value. Returns this database's clock."""
        values = {"property": self._property, "new": format_time(value)}

        def write(connection: sa.Connection) -> datetime:
            if not connection.execute(_SET, values).rowcount:
                connection.execute(_ADD, values)
            return parse_time(connection.execute(sa.select(utc_now())).scalar_one(), timezone=UTC)

        return self.database.do(write, what="set the mod-time")

    def try_set_modtime(self) -> None:
        """Write a mod-time, read it again and roll back. Raises DatabaseError if another value was read."""
        value = format_time(DISABLED_FOREVER)

        def attempt(connection: sa.Connection) -> None:
            written = {"property": self._property, "new": value}
            if not connection.execute(_SET, written).rowcount:
                connection.execute(_ADD, written)
            found = connection.execute(_VALUE, {"property": self._property}).scalar()
            connection.rollback()
            if found != value:
                raise DatabaseError(
                    f"ppc_properties.value made {found!r} of {value!r}",
                    where=str(self.database),
                    way_out="the column must be TEXT, as the README says",
                )

        self.database.do(attempt, what="try to set the mod-time")

    def advance_modtime(self, value: datetime, *, seen: datetime | None) -> bool:
        """Move the mod-time from the value that `diff` saw to `value`; return False if it has this value already.

        This is a compare-and-set in one statement: a value that an operator writes meanwhile is kept. Raises
        DisabledError or OutOfDateError if the mod-time has changed since `diff`, and SourceError for a list
        with a time in the future: as a mod-time it would be the kill switch, which only operators use.
        """
        row = self._row()
        state = self._parsed(row)
        if modtime_state(state, list_time=value) is ModTimeState.SYNCED:
            return False
        check_modtime(seen=seen, state=state, list_time=value)
        if is_disabled(value, now=state.now):
            raise SourceError(
                f"the list is of {format_time(value)}, ahead of the clock of {self.database}, {format_time(state.now)};"
                " the mod-time was not moved, for a time in the future disables the job; the next run tries again"
            )
        values = {"property": self._property, "new": format_time(value), "old": row.value}

        def write(connection: sa.Connection) -> bool:
            if seen is not None:
                return bool(connection.execute(_COMPARE_AND_SET, values).rowcount)
            try:
                return bool(connection.execute(_ADD, values).rowcount)
            except IntegrityError:  # another session inserted it first
                return False

        if not self.database.do(write, what="move the mod-time on") and self.state().modtime != value:
            check_modtime(seen=seen, state=self.state(), list_time=value)
            raise OutOfDateError("the mod-time changed meanwhile")
        return True


def _parse_last_change(raw: str | None) -> datetime | None:
    """Read when a property was written; None if that is missing or the zero date of old servers."""
    try:
        return parse_time(raw or "", timezone=UTC)
    except ValueError:
        return None
