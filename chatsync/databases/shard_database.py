"""What chatsync asks of and tells one shard: who is off there, and turn these off or on."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import sqlalchemy as sa
from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core.client_sets import chunks
from chatsync.core.results import Action, Written
from chatsync.databases.connection import STATEMENT_SECONDS, Database
from chatsync.databases.engines import GROUP_CONCAT_MAX_LEN
from chatsync.databases.packed_ids import PACKED_SIZE, unpack
from chatsync.databases.tables import clients_features, packed_ids

# How many packed ids fit into one value.
_IDS_A_VALUE = GROUP_CONCAT_MAX_LEN // PACKED_SIZE
_LOOKUP_SIZE = 5000
# A scan of a large shard sends nothing before it is done.
_SCAN_SECONDS = 300

_OFF = 0
_ON = 1

Check = Callable[[], None]

_client = clients_features.c.ClientID
_IS_OFF = (clients_features.c.feature_id == sa.bindparam("feature"), clients_features.c.is_enabled == _OFF)
_OFF_PACKED = sa.select(sa.func.count(), packed_ids()).select_from(clients_features).where(*_IS_OFF)
_BOUNDS = sa.select(sa.func.min(_client), sa.func.max(_client))
# `+ 0` keeps the optimizer from the index on feature_id, which it would read whole for each range.
_OFF_BETWEEN = (
    sa.select(sa.func.count(), packed_ids())
    .select_from(clients_features)
    .where(
        clients_features.c.feature_id + sa.literal_column("0") == sa.bindparam("feature"),
        clients_features.c.is_enabled == _OFF,
        _client.between(sa.bindparam("first"), sa.bindparam("last")),
    )
)
_ANY = sa.select(_client).limit(1)

# Where clients are named one by one, the primary key is the way to their rows: `+ 0` keeps the
# optimizer from the index on feature_id, over which it would also lock rows of other clients.
_OFF_AMONG = """SELECT ClientID FROM clients_features
    WHERE feature_id + 0 = {mark} AND ClientID IN ({marks}) AND is_enabled = 0"""
# FOR UPDATE: between looking and writing nobody else changes these rows. Under READ COMMITTED it
# locks the rows alone and no gaps between them, so that other writers are left in peace.
_ROWS = """SELECT ClientID, is_enabled FROM clients_features
    WHERE feature_id + 0 = {mark} AND ClientID IN ({marks}){for_update}"""
_UPDATE = "UPDATE clients_features SET is_enabled = {enabled} WHERE feature_id + 0 = {mark} AND ClientID IN ({marks})"
_INSERT = "INSERT INTO clients_features (ClientID, feature_id, is_enabled) VALUES {rows}"


class ShardDatabase:
    """One shard, asked in the job's own words."""

    def __init__(self, settings: Settings, shard: int, scope: CancelScope, *, writable: bool = False) -> None:
        """Describe it; nothing is opened yet. Only a writable one may change rows."""
        url = settings.databases.shards[shard]
        patience = STATEMENT_SECONDS if writable else _SCAN_SECONDS
        self.database = Database(url, name=f"shard {shard}", scope=scope, writable=writable, patience=patience)
        self._mark = "?" if url.is_sqlite else "%s"

    def __enter__(self) -> Self:
        """Be closed at the end of a block."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close the connection."""
        self.database.close()

    def read_off(self, feature_id: int) -> BitMap64:
        """Read who is off here, packed by the server: in one value, or in more when they are too many for one."""
        return self.database.do(partial(self._read_off, feature_id=feature_id), what="read who is off")

    def _read_off(self, connection: sa.Connection, *, feature_id: int) -> BitMap64:
        count, packed = connection.execute(_OFF_PACKED, {"feature": feature_id}).one()
        if count <= _IDS_A_VALUE:
            return unpack(count, packed, where=self.database)
        first, last = connection.execute(_BOUNDS).one()
        clients = range(first or 0, (last or 0) + 1)  # null where all rows have gone since
        return self._read_parts(connection, clients, count, feature_id=feature_id)

    def _read_parts(self, connection: sa.Connection, clients: range, count: int, *, feature_id: int) -> BitMap64:
        """Read a range of clients in parts of about three quarters of a value; too dense ones are parted again."""
        off = BitMap64()
        step = len(clients) * _IDS_A_VALUE * 3 // (4 * count) + 1
        for start in range(clients.start, clients.stop, step):
            self.database.scope.check()
            part = range(start, min(start + step, clients.stop))
            values = {"feature": feature_id, "first": part[0], "last": part[-1]}
            count, packed = connection.execute(_OFF_BETWEEN, values).one()
            if count <= _IDS_A_VALUE:
                off |= unpack(count, packed, where=self.database)
            else:
                off |= self._read_parts(connection, part, count, feature_id=feature_id)
        return off

    def probe(self) -> None:
        """See that the shard answers and its table may be read."""
        self.database.rows(_ANY, {}, what="read clients_features")

    def off_among(self, feature_id: int, ids: BitMap64) -> BitMap64:
        """Say which of these clients are off here, by asking for them alone."""
        off = BitMap64()
        for chunk in chunks(ids, _LOOKUP_SIZE):
            ask = partial(self._on_these, statement=_OFF_AMONG, feature_id=feature_id, ids=chunk)
            off.update(client for (client,) in self.database.do(ask, what="see who is off"))
        return off

    def rows_among(self, feature_id: int, ids: BitMap64) -> dict[int, bool]:
        """Read the rows of these clients: whether each says on. A client without a row is not in the answer."""
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

        Rows that are already so are left alone. After a connection that was lost during the
        commit, the next attempt finds out whether it went through. `may_begin` is asked before
        every attempt and `may_commit` after the rows were written, as either may have waited long
        for a server or for a lock on a row; what they raise ends the batch with nothing written.

        `committing` is filled with whom a commit was asked for: where this raises, they are in doubt.
        """
        change = self._turn_off if action is Action.TURN_OFF else self._turn_on

        def batch(connection: sa.Connection) -> BitMap64:
            may_begin()
            rows = self._on_these(connection, statement=_ROWS, feature_id=feature_id, ids=ids, lock=True)
            todo = change(connection, feature_id, ids, dict(rows))
            committing.difference_update(todo)  # an earlier commit of theirs did not go through
            may_commit()
            committing.update(todo)
            return todo

        todo = self.database.do(batch, what=f"write a batch of {len(ids)} clients")
        # What an earlier attempt wrote and this one found done was changed by us all the same.
        changed = todo | committing
        return Written(changed=changed, already=ids - changed)

    def _turn_off(self, connection: sa.Connection, feature_id: int, ids: BitMap64, enabled: dict[int, int]) -> BitMap64:
        """Update the rows that are on, insert those that are missing, and say whose these were."""
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
        """Update the rows that are off, and say whose these were; who has no row is on."""
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
        """Execute a statement on the rows of these clients, every id bound; return the rows it answers with.

        As text: building a construct of a thousand values takes longer than the server needs for them.
        """
        marks = ", ".join([self._mark] * len(ids))
        for_update = " FOR UPDATE" if lock and not self.database.is_sqlite else ""
        sql = statement.format(mark=self._mark, marks=marks, enabled=enabled, for_update=for_update)
        result = connection.exec_driver_sql(sql, (feature_id, *ids))
        return result.all() if result.returns_rows else []
