"""Reading one shard or all of them: which clients are off, and their rows."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import MIX, SPREAD, Ids, OffRows, chunks, np, spelled
from chatsync.databases.connection import STATEMENT_SECONDS, Database
from chatsync.databases.packed_ids import (
    GROUP_CONCAT_MAX_LEN,
    ID_SIZE,
    SPAN,
    Packed,
    checked_id,
    packed_columns,
    parse_ids,
    unpack,
)
from chatsync.databases.places import Place, check_are_different, check_may_write, place_columns, place_of, read_place
from chatsync.databases.turns import in_turn
from chatsync.errors import ChatsyncError, DatabaseError, DeadlineError
from chatsync.parallel import SideBySide

# How many packed ids fit into one value.
_IDS_A_VALUE = GROUP_CONCAT_MAX_LEN // ID_SIZE
# All shards are asked at once, and a statement with 5000 ids takes 0.7 MB until its answer is there.
_LOOKUP_SIZE = 2000
# A scan of a large shard sends nothing before its end.
_SCAN_SECONDS = 300
# Waiting costs nothing here, so many shards are asked at once: where they are far or slow, that is what takes the time.
_CONNECTIONS = 32

OFF = 0
_READ_OFF = "read which clients are off"

Value = TypeVar("Value")
Placed = tuple[Value, Place]
"""An answer, and which database gave it."""

_OFF_PACKED = "SELECT {packed}, {place} FROM clients_features WHERE feature_id = {mark} AND is_enabled = 0"
# core.off_rows computes the same hash over ids.
_OFF_ROWS = """SELECT COUNT(*), BIT_XOR(ClientID * {spread}), BIT_XOR(((ClientID * {spread} >> 32) + ClientID) * {mix})
    , {place} FROM clients_features WHERE feature_id = {mark} AND is_enabled = 0"""
# `+ 0` prevents the use of the index on feature_id, all of which would be read for each range.
_OFF_BETWEEN = """SELECT {packed} FROM clients_features
    WHERE feature_id + 0 = {mark} AND is_enabled = 0 AND ClientID BETWEEN {mark} AND {mark}"""
_ANY = sa.text("SELECT ClientID FROM clients_features LIMIT 1")

# For single clients the primary key must be used: `+ 0` prevents the use of the index on feature_id,
# which would also lock rows of other clients.
_OFF_AMONG = """SELECT COUNT(*), GROUP_CONCAT(ClientID) FROM clients_features
    WHERE feature_id + 0 = {feature_id} AND ClientID IN ({ids}) AND is_enabled = 0"""
_ROWS_AMONG = """SELECT ClientID, is_enabled FROM clients_features
    WHERE feature_id + 0 = {feature_id} AND ClientID IN ({ids})"""


class ShardDatabase:
    """Reads the rows of one shard; `shard_writer` has the class that also writes."""

    _writable = False

    def __init__(self, settings: Settings, shard: int, scope: CancelScope) -> None:
        """Open nothing yet."""
        self.number = shard
        url = settings.databases.shards[shard]
        patience = STATEMENT_SECONDS if self._writable else _SCAN_SECONDS
        self.database = Database(url, name=f"shard {shard}", scope=scope, writable=self._writable, patience=patience)
        self.mark = "?" if url.is_sqlite else "%s"

    def __enter__(self) -> Self:
        """Return self; the `with` block lets the connection go."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Let the connection go."""
        self.database.let_go()

    def open(self) -> None:
        """Log in, so that `read_off` need not wait for that."""
        self.database.open(what=_READ_OFF)

    def read_off(self, feature_id: int) -> Ids:
        """Return the clients that are off here; the server packs them into one value, or several if necessary."""
        return self._read_off(feature_id)[0]

    def read_off_and_place(self, feature_id: int) -> tuple[Ids, Place]:
        """Return also which database it is. Raises DatabaseError if nothing may be written there."""
        off, place = self._read_off(feature_id)
        check_may_write(self.database, place)
        return off, place

    def _read_off(self, feature_id: int) -> tuple[Ids, Place]:
        return self.database.do(partial(self._off_and_place, feature_id=feature_id), what=_READ_OFF)

    def _off_and_place(self, connection: sa.Connection, *, feature_id: int) -> tuple[Ids, Place]:
        row = self._row(connection, _OFF_PACKED, feature_id)
        whole, place = Packed(*row[:4]), place_of(self.database, connection, row[4:])
        if not whole.rows:
            return unpack(whole, where=self.database), place
        clients = range(*whole.bounds(where=self.database))
        if whole.rows <= _IDS_A_VALUE and clients.stop <= SPAN:
            return unpack(whole, where=self.database), place
        return np.concatenate(self._read_parts(connection, clients, whole.rows, feature_id=feature_id)), place

    def _read_parts(self, connection: sa.Connection, clients: range, count: int, *, feature_id: int) -> list[Ids]:
        """Read a range of clients in parts of about three quarters of a value, and split those with too many."""
        off: list[Ids] = []
        step = min(len(clients) * _IDS_A_VALUE * 3 // (4 * count) + 1, SPAN)
        for start in range(clients.start, clients.stop, step):
            self.database.scope.check()
            clients_of_part = range(start, min(start + step, clients.stop))
            values = (feature_id, clients_of_part[0], clients_of_part[-1])
            part = Packed(*self._row(connection, _OFF_BETWEEN, *values, first=start))
            if part.rows <= _IDS_A_VALUE:
                off.append(unpack(part, where=self.database, first=start))
            else:
                off += self._read_parts(connection, clients_of_part, part.rows, feature_id=feature_id)
        return off

    def _row(self, connection: sa.Connection, statement: str, *values: int, first: int = 0) -> tuple[Any, ...]:
        columns = packed_columns("clients_features", is_sqlite=self.database.is_sqlite, first=first)
        sql = statement.format(packed=columns, place=place_columns(self.database), mark=self.mark)
        # Streamed: it returns when the server begins to send.
        result = connection.exec_driver_sql(sql, values, execution_options={"stream_results": True})
        with in_turn():
            return tuple(result.one())

    def count_off_rows(self, feature_id: int) -> Placed[OffRows]:
        """Return the number of off rows with the hash over their ids, and which database this is; no rows are sent.

        Raises DatabaseError if nothing may be written there.
        """
        sql = _OFF_ROWS.format(spread=SPREAD, mix=MIX, place=place_columns(self.database), mark=self.mark)

        def ask(connection: sa.Connection) -> Placed[OffRows]:
            count, spread, mix, *where = connection.exec_driver_sql(sql, (feature_id,)).one()
            place = place_of(self.database, connection, tuple(where))
            check_may_write(self.database, place)
            return OffRows.from_xors(count, spread or 0, mix or 0), place  # SQLite has NULL for no rows

        return self.database.do(ask, what="count the clients that are off")

    def read_place(self) -> Place:
        """Return which database this shard is. Raises DatabaseError if nothing may be written there."""

        def ask(connection: sa.Connection) -> Place:
            place = read_place(connection, self.database)
            check_may_write(self.database, place)
            return place

        return self.database.do(ask, what="see which server this is")

    def probe(self) -> None:
        """Check that the shard answers and that its table can be read."""
        self.database.rows(_ANY, {}, what="read clients_features")

    def off_among(self, feature_id: int, ids: BitMap64) -> BitMap64:
        """Return which of these clients are off here; reads only their rows."""
        off = BitMap64()
        for chunk in chunks(ids, _LOOKUP_SIZE):
            ask = partial(self._on_these, statement=_OFF_AMONG, feature_id=feature_id, ids=chunk)
            ((count, text),) = self.database.do(ask, what="see which clients are off")
            off |= parse_ids(text or "", count, among=chunk, where=self.database)
        return off

    def rows_among(self, feature_id: int, ids: BitMap64) -> dict[int, bool]:
        """Return, for each of these clients with a row, whether it is on."""
        rows: dict[int, bool] = {}
        for chunk in chunks(ids, _LOOKUP_SIZE):
            ask = partial(self._on_these, statement=_ROWS_AMONG, feature_id=feature_id, ids=chunk)
            for client, value in self.database.do(ask, what="read rows of clients"):
                rows[checked_id(client, where=self.database)] = value != OFF
        return rows

    def _on_these(self, connection: sa.Connection, *, statement: str, feature_id: int, ids: BitMap64) -> Sequence[Any]:
        """Ask about these clients.

        The SQL is text, because building an SQLAlchemy expression of a thousand values takes longer than running it.
        """
        return connection.exec_driver_sql(statement.format(feature_id=feature_id, ids=spelled(ids))).all()


AnyShard = TypeVar("AnyShard", bound=ShardDatabase)


def on_every_shard(
    settings: Settings,
    scope: CancelScope,
    ask: Callable[[AnyShard], Value],
    *,
    shards: Collection[int] | None = None,
    kind: type[AnyShard] = ShardDatabase,  # type: ignore[assignment]  # python/mypy#3737: a default for a type variable
) -> SideBySide[int, Value]:
    """Start the same question to every shard (or these) in threads, and return their outcomes to wait for."""

    def task(shard: int) -> Value:
        with kind(settings, shard, scope) as database:
            return ask(database)

    asked = settings.databases.shards if shards is None else shards
    return SideBySide({shard: partial(task, shard) for shard in asked}, workers=_CONNECTIONS)


def ask_placed(
    settings: Settings,
    scope: CancelScope,
    ask: Callable[[ShardDatabase], Placed[Value]],
    *,
    shards: Collection[int] | None = None,
    within: float | None = None,
) -> tuple[Mapping[int, Placed[Value]], Mapping[int, ChatsyncError]]:
    """Ask every shard (or these); return the answers, and the errors of those that could not be asked.

    Raises ConfigError if two of them are the same database.
    """
    answers, unasked = {}, {}
    outcomes = on_every_shard(settings, scope, ask, shards=shards).outcomes(scope, within=within)
    for shard, outcome in sorted(outcomes, key=itemgetter(0)):
        if isinstance(outcome.error, (DatabaseError, DeadlineError)):
            unasked[shard] = outcome.error
        else:
            answers[shard] = outcome.unwrap()
    check_are_different(settings, scope, {shard: place for shard, (_, place) in answers.items()})
    return answers, unasked
