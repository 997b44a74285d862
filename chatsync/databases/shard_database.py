"""One shard, or all of them: which clients are off there, and turning clients off or on."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core.client_sets import chunks
from chatsync.core.results import Action, Written
from chatsync.databases.connection import STATEMENT_SECONDS, Database
from chatsync.databases.engines import GROUP_CONCAT_MAX_LEN
from chatsync.databases.packed_ids import ID_SIZE, Packed, packed_columns, unpack
from chatsync.databases.places import Place, check_may_write, place_columns, place_of
from chatsync.databases.tables import clients_features
from chatsync.parallel import SideBySide

# How many packed ids fit into one value.
_IDS_A_VALUE = GROUP_CONCAT_MAX_LEN // ID_SIZE
_LOOKUP_SIZE = 5000
# A scan of a large shard sends nothing before it is done.
_SCAN_SECONDS = 300
# Enough to hide the time that connections take, and some shards that do not answer, behind the other shards. Each
# costs up to 15 MB for its connection and the value that is being read.
_CONNECTIONS = 8

_LONG_PAUSE_SECONDS = 10

_OFF = 0
_ON = 1

Check = Callable[[], None]
Value = TypeVar("Value")

_PLACE = "SELECT {place}"
_OFF_PACKED = "SELECT {packed}, {place} FROM clients_features WHERE feature_id = {mark} AND is_enabled = 0"
_BOUNDS = "SELECT MIN(ClientID), MAX(ClientID) FROM clients_features"
# `+ 0` keeps the optimizer from the index on feature_id, which it would read whole for each range.
_OFF_BETWEEN = """SELECT {packed} FROM clients_features
    WHERE feature_id + 0 = {mark} AND is_enabled = 0 AND ClientID BETWEEN {mark} AND {mark}"""
_ANY = sa.select(clients_features.c.ClientID).limit(1)

# Where clients are named one by one, the primary key is the way to their rows: `+ 0` keeps the
# optimizer from the index on feature_id, over which it would also lock rows of other clients.
_OFF_AMONG = """SELECT ClientID FROM clients_features
    WHERE feature_id + 0 = {mark} AND ClientID IN ({marks}) AND is_enabled = 0"""
# FOR UPDATE: no other session can change these rows before they are written. Under READ COMMITTED it
# locks only the rows and no gaps between them, so that it does not block other writers.
_ROWS = """SELECT ClientID, is_enabled FROM clients_features
    WHERE feature_id + 0 = {mark} AND ClientID IN ({marks}){for_update}"""
_UPDATE = "UPDATE clients_features SET is_enabled = {enabled} WHERE feature_id + 0 = {mark} AND ClientID IN ({marks})"
_INSERT = "INSERT INTO clients_features (ClientID, feature_id, is_enabled) VALUES {rows}"


class ShardDatabase:
    """Reads and writes the rows of one shard."""

    def __init__(self, settings: Settings, shard: int, scope: CancelScope, *, writable: bool = False) -> None:
        """Open nothing yet. Only a writable one may change rows."""
        self.number = shard
        url = settings.databases.shards[shard]
        patience = STATEMENT_SECONDS if writable else _SCAN_SECONDS
        self.database = Database(url, name=f"shard {shard}", scope=scope, writable=writable, patience=patience)
        self._mark = "?" if url.is_sqlite else "%s"
        self._checked: sa.Connection | None = None

    def __enter__(self) -> Self:
        """Return self; the `with` block closes the connection."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close the connection."""
        self.database.close()

    def read_off(self, feature_id: int) -> BitMap64:
        """Return the clients that are off here, packed by the server into one value, or into several if need be."""
        return self._read_off(feature_id)[0]

    def read_off_and_place(self, feature_id: int) -> tuple[BitMap64, Place]:
        """Return also where they were read. Raises DatabaseError where nothing may be written."""
        off, place = self._read_off(feature_id)
        check_may_write(self.database, place)
        return off, place

    def _read_off(self, feature_id: int) -> tuple[BitMap64, Place]:
        return self.database.do(partial(self._off_and_place, feature_id=feature_id), what="read which clients are off")

    def _off_and_place(self, connection: sa.Connection, *, feature_id: int) -> tuple[BitMap64, Place]:
        row = self._row(connection, _OFF_PACKED, feature_id)
        whole, place = Packed(*row[:4]), place_of(self.database, row[4:])
        if whole.rows <= _IDS_A_VALUE:
            return unpack(whole, where=self.database), place
        first, last = connection.exec_driver_sql(_BOUNDS).one()
        clients = range(first or 0, (last or 0) + 1)  # null where all rows have gone since
        return self._read_parts(connection, clients, whole.rows, feature_id=feature_id), place

    def _read_parts(self, connection: sa.Connection, clients: range, count: int, *, feature_id: int) -> BitMap64:
        """Read a range of clients in parts of about three quarters of a value, and split those with too many."""
        off = BitMap64()
        step = len(clients) * _IDS_A_VALUE * 3 // (4 * count) + 1
        for start in range(clients.start, clients.stop, step):
            self.database.scope.check()
            clients_of_part = range(start, min(start + step, clients.stop))
            part = Packed(*self._row(connection, _OFF_BETWEEN, feature_id, clients_of_part[0], clients_of_part[-1]))
            if part.rows <= _IDS_A_VALUE:
                off |= unpack(part, where=self.database)
            else:
                off |= self._read_parts(connection, clients_of_part, part.rows, feature_id=feature_id)
        return off

    def _row(self, connection: sa.Connection, statement: str, *values: int) -> tuple[Any, ...]:
        columns, place = packed_columns(is_sqlite=self.database.is_sqlite), place_columns(self.database)
        sql = statement.format(packed=columns, place=place, mark=self._mark)
        return tuple(connection.exec_driver_sql(sql, values).one())

    def _check_connection(self, connection: sa.Connection) -> None:
        """Check each new connection once: after a lost one, a proxy may lead to another server."""
        if self._checked is not connection:
            check_may_write(self.database, place_of(self.database, self._row(connection, _PLACE)))
            self._checked = connection

    def wait(self, seconds: float) -> None:
        """Wait between two batches. No connection is idle for long: a proxy would end it, and the batch would fail."""
        if seconds > _LONG_PAUSE_SECONDS:
            self.hang_up()
        self.database.scope.wait(seconds)

    def hang_up(self) -> None:
        """Close the connection; the next batch opens a new one."""
        self.database.close()

    def probe(self) -> None:
        """Check that the shard answers and that its table can be read."""
        self.database.rows(_ANY, {}, what="read clients_features")

    def off_among(self, feature_id: int, ids: BitMap64) -> BitMap64:
        """Return which of these clients are off here; reads only their rows."""
        off = BitMap64()
        for chunk in chunks(ids, _LOOKUP_SIZE):
            ask = partial(self._on_these, statement=_OFF_AMONG, feature_id=feature_id, ids=chunk)
            off.update(client for (client,) in self.database.do(ask, what="see which clients are off"))
        return off

    def rows_among(self, feature_id: int, ids: BitMap64) -> dict[int, bool]:
        """Return for each of these clients that has a row whether its row says on."""
        rows: dict[int, bool] = {}
        for chunk in chunks(ids, _LOOKUP_SIZE):
            ask = partial(self._on_these, statement=_ROWS, feature_id=feature_id, ids=chunk)
            rows.update((client, value != _OFF) for client, value in self.database.do(ask, what="read rows of clients"))
        return rows

    def write(
        self,
        action: Action,
        feature_id: int,
        ids: BitMap64,
        *,
        may_begin: Check,
        may_commit: Check,
        committing: BitMap64,
    ) -> Written:
        """Turn one batch of clients off or on in one transaction.

        Rows that are already so stay untouched. After a connection that was lost during the
        commit, the next attempt finds out whether it went through. `may_begin` is called before
        every attempt and `may_commit` after the rows were written, as both may have waited long
        for a server or for a lock on a row; what they raise ends the batch with nothing written.

        `committing` is an output parameter: the ids whose COMMIT was sent. If this raises, it is
        unknown whether they were written.
        """
        change = self._turn_off if action is Action.TURN_OFF else self._turn_on

        def batch(connection: sa.Connection) -> BitMap64:
            may_begin()
            self._check_connection(connection)
            rows = self._on_these(connection, statement=_ROWS, feature_id=feature_id, ids=ids, lock=True)
            todo = change(connection, feature_id, ids, dict(rows))
            committing.difference_update(todo)  # an earlier commit of theirs did not go through
            committing.update(todo)  # before the check: what is allowed now may be committed at any later moment
            try:
                may_commit()
            except BaseException:
                committing.difference_update(todo)
                raise
            return todo

        todo = self.database.do(batch, what=f"write a batch of {len(ids)} client{'' if len(ids) == 1 else 's'}")
        # Rows that an earlier attempt wrote, and this one found written, count as changed.
        changed = todo | committing
        return Written(changed=changed, already=ids - changed)

    def _turn_off(self, connection: sa.Connection, feature_id: int, ids: BitMap64, enabled: dict[int, int]) -> BitMap64:
        """Update the rows that are on, insert the missing ones, and return their clients."""
        to_update = BitMap64([client for client, value in enabled.items() if value != _OFF])
        to_insert = ids - BitMap64(list(enabled))
        if to_update:
            self._on_these(connection, statement=_UPDATE, feature_id=feature_id, ids=to_update, enabled=_OFF)
        if to_insert:
            rows = ", ".join([f"({self._mark}, {self._mark}, {_OFF})"] * len(to_insert))
            values = tuple(value for client in to_insert for value in (client, feature_id))
            connection.exec_driver_sql(_INSERT.format(rows=rows), values)
        return to_update | to_insert

    def _turn_on(self, connection: sa.Connection, feature_id: int, ids: BitMap64, enabled: dict[int, int]) -> BitMap64:
        """Update the rows that are off, and return their clients; a client without a row is on."""
        to_update = ids & BitMap64([client for client, value in enabled.items() if value == _OFF])
        if to_update:
            self._on_these(connection, statement=_UPDATE, feature_id=feature_id, ids=to_update, enabled=_ON)
        return to_update

    def _on_these(
        self,
        connection: sa.Connection,
        *,
        statement: str,
        feature_id: int,
        ids: BitMap64,
        enabled: int = _OFF,
        lock: bool = False,
    ) -> Sequence[Any]:
        """Execute a statement on the rows of these clients, every id bound, and return the rows of the answer.

        As text: building a construct of a thousand values takes longer than the server needs for them.
        """
        marks = ", ".join([self._mark] * len(ids))
        for_update = " FOR UPDATE" if lock and not self.database.is_sqlite else ""
        sql = statement.format(mark=self._mark, marks=marks, enabled=enabled, for_update=for_update)
        result = connection.exec_driver_sql(sql, (feature_id, *ids))
        return result.all() if result.returns_rows else []


def on_every_shard(
    settings: Settings,
    scope: CancelScope,
    ask: Callable[[ShardDatabase], Value],
    *,
    shards: Collection[int] | None = None,
) -> SideBySide[int, Value]:
    """Start to ask every shard (or these) a question that writes nothing, and return the outcomes to wait for."""

    def task(shard: int) -> Value:
        with ShardDatabase(settings, shard, scope) as database:
            return ask(database)

    asked = settings.databases.shards if shards is None else shards
    return SideBySide({shard: partial(task, shard) for shard in asked}, workers=_CONNECTIONS)
