"""Where clients live: their shards, for three clients or for twelve million.

The server packs ids with their shards into one value of one row, together with its own count and bounds, so that a
missing part of the answer is detected. A few clients are looked up one by one. Many are read by ranges of the primary
key, with other clients between them; if there are far more other clients than wanted ones, the wanted clients of a
range are also looked up one by one.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import TypeVar

import sqlalchemy as sa
from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import MAX_CLIENT_ID, Homes, IdsByShard, Sides, chunks, spelled, storable
from chatsync.databases.connection import Database
from chatsync.databases.packed_ids import (
    GROUP_CONCAT_MAX_LEN,
    ID_AND_SHARD_SIZE,
    SPAN,
    Packed,
    packed_columns,
    unpack_homes,
)
from chatsync.parallel import SideBySide

# Measured on MariaDB, 12 million rows: a client that is looked up takes 3 µs, a row of a range 0.15 µs.
_LOOKUP_COST = 20
_IDS_A_LOOKUP = 5000
# Up to this many entries are looked up one by one, however many other clients are between them.
_FEW = 50_000
# The value of a range: 1.2 MB for what is expected, and less than group_concat_max_len for what may come.
_ROWS_A_RANGE = 200_000
_MOST_ROWS = GROUP_CONCAT_MAX_LEN // ID_AND_SHARD_SIZE
# One server packs for two or three connections at once; each holds one value at a time.
_CONNECTIONS = 4

_LOOK_UP = "SELECT {columns} FROM shard_client_id WHERE ClientID IN ({ids})"
_RANGE = "SELECT {columns} FROM shard_client_id WHERE ClientID BETWEEN {mark} AND {mark}"
_REACH = """SELECT ClientID FROM shard_client_id WHERE ClientID BETWEEN {mark} AND {mark}
    ORDER BY ClientID LIMIT 1 OFFSET {rows}"""

Value = TypeVar("Value")
Take = Callable[[range, Homes], Value]


def read_homes(
    settings: Settings, scope: CancelScope, sides: Sides, take: Take[Value], *, over: Database | None = None
) -> list[Value]:
    """Read the homes of all clients on any side, over several connections, and return what `take` makes of them.

    `over` is an open connection to the dict database; it is the first to be used.

    `take` is called in several threads, with a range of clients and the homes of all those in it that have one, and
    perhaps of others. All clients on any side are in one of the ranges.
    """
    workers = min(_CONNECTIONS, -(-len(sides) // _IDS_A_LOOKUP))
    clients = sides.parts(workers)
    tasks = {worker: partial(_read, settings, scope, sides, take, clients[worker]) for worker in range(workers)}
    if over is not None and tasks:
        tasks[0] = partial(_read_over, over, scope, sides, take, clients[0])
    results = SideBySide(tasks, workers=workers).results(scope)
    return list(chain.from_iterable(results[worker] for worker in sorted(results)))


def find_homes(settings: Settings, scope: CancelScope, ids: BitMap64) -> IdsByShard:
    """Look up the shard of each client; a client on no shard is in no set of the answer."""
    sides = Sides(storable(ids), {})
    return _merged(
        read_homes(settings, scope, sides, lambda clients, homes: homes.among(sides.ids(clients)).by_shard())
    )


def homes_over(database: Database, ids: BitMap64) -> IdsByShard:
    """Look up the shards of a few clients over a connection to the dict database that is there already."""
    return _merged(_look_up(database, list(chunk)).by_shard() for chunk in chunks(storable(ids), _IDS_A_LOOKUP))


def _read(settings: Settings, scope: CancelScope, sides: Sides, take: Take[Value], clients: range) -> list[Value]:
    with Database(settings.databases.dict, name="dict", scope=scope) as database:
        return _read_over(database, scope, sides, take, clients)


def _read_over(database: Database, scope: CancelScope, sides: Sides, take: Take[Value], clients: range) -> list[Value]:
    database.close_if_idle()
    return [take(*found) for found in _Reader(database, sides, scope).read(clients)]


class _Reader:
    """Reads ranges over one connection, and learns from each how large the next one may be."""

    def __init__(self, database: Database, sides: Sides, scope: CancelScope) -> None:
        self._database = database
        self._sides = sides
        self._scope = scope
        self._are_few = len(sides) <= _FEW
        self._rows_each = 1.0  # how many rows of the table there are for each entry of the sides

    def read(self, clients: range) -> Iterator[tuple[range, Homes]]:
        if not self._are_few:
            self._probe(clients)
        start = clients.start
        while start < clients.stop:
            self._scope.check()
            size = _IDS_A_LOOKUP if self._are_few else max(_IDS_A_LOOKUP, int(_ROWS_A_RANGE / self._rows_each))
            stop = min(max(self._sides.cut(size, start=start), start + 1), clients.stop, start + SPAN)
            yield from self._read_range(range(start, stop))
            start = stop

    def _read_range(self, clients: range) -> Iterator[tuple[range, Homes]]:
        size = self._sides.below(clients.stop) - self._sides.below(clients.start)
        if not size:
            return
        if self._are_few or self._rows_each > _LOOKUP_COST:
            yield clients, self._look_up(clients)
            return
        sql = _RANGE.format(columns=_columns(self._database, clients.start), mark=_mark(self._database))
        page = _answer(self._database, sql, (clients[0], clients[-1]))
        self._rows_each = max(1, page.rows) / size
        if page.rows <= _MOST_ROWS:
            yield clients, unpack_homes(page, where=self._database, first=clients.start)
            return
        middle = self._sides.cut(size // 2, start=clients.start)
        yield from self._read_range(range(clients.start, middle))
        yield from self._read_range(range(middle, clients.stop))

    def _look_up(self, clients: range) -> Homes:
        ids = self._sides.ids(clients)
        parts = [ids[start : start + _IDS_A_LOOKUP].tolist() for start in range(0, len(ids), _IDS_A_LOOKUP)]
        homes = Homes.joined([_look_up(self._database, part) for part in parts])
        if not self._are_few:
            self._probe(range(clients.stop, MAX_CLIENT_ID + 1))
        return homes

    def _probe(self, clients: range) -> None:
        """Find the end of a range with as many rows as one value can hold, and count the entries in it."""
        if not clients:
            return
        sql = _REACH.format(mark=_mark(self._database), rows=_ROWS_A_RANGE)

        def ask(connection: sa.Connection) -> int | None:
            return connection.exec_driver_sql(sql, (clients[0], clients[-1])).scalar()

        end = self._database.do(ask, what="look up the shards of clients")
        if end is None:
            self._rows_each = 1.0
        else:
            entries = self._sides.below(int(end)) - self._sides.below(clients.start)
            self._rows_each = _ROWS_A_RANGE / max(1, entries)


def _look_up(database: Database, ids: Sequence[int]) -> Homes:
    """Look up ascending ids, in two statements where they are too far apart for one."""
    if ids[-1] - ids[0] >= SPAN:
        middle = bisect_left(ids, SPAN // 2)
        return Homes.joined([_look_up(database, ids[:middle]), _look_up(database, ids[middle:])])
    found = _answer(database, _LOOK_UP.format(columns=_columns(database, ids[0]), ids=spelled(ids)), ())
    return unpack_homes(found, where=database, first=ids[0])


def _columns(database: Database, first: int) -> str:
    return packed_columns("shard_client_id", is_sqlite=database.is_sqlite, first=first, with_shard=True)


def _mark(database: Database) -> str:
    return "?" if database.is_sqlite else "%s"


def _answer(database: Database, sql: str, values: tuple[int, ...]) -> Packed:
    def ask(connection: sa.Connection) -> Packed:
        return Packed(*connection.exec_driver_sql(sql, values).one())

    return database.do(ask, what="look up the shards of clients")


def _merged(parts: Iterable[IdsByShard]) -> IdsByShard:
    merged: dict[int, BitMap64] = {}
    for part in parts:
        for shard, ids in part.items():
            merged[shard] = merged[shard] | ids if shard in merged else ids
    return merged
