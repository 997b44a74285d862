"""Where clients live: their shards, for three clients or for twelve million.

The server packs ids with their shards into one value of one row, together with its own count and bounds, so that a
part of the answer can't be missing unseen. A few clients are looked up one by one. Many are read by pages: a page is a
range of the primary key with about as many rows as a value holds, whichever other clients live there. Where others are
far more than those asked for, a page ends early, and the rest of its clients are looked up one by one after all.
"""

from collections.abc import Callable, Iterable
from functools import partial

import sqlalchemy as sa
from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import IdsByShard, chunks, storable
from chatsync.databases.connection import Database
from chatsync.databases.packed_ids import Packed, packed_columns, unpack_shards
from chatsync.parallel import SideBySide

# Measured on MariaDB, 2 million rows: a client that is looked up takes 3 µs, a row of a page 0.5 µs.
_IDS_A_LOOKUP = 5000
_IDS_A_PAGE = 50_000
# The value of a page: 1.8 MB, well below group_concat_max_len.
_ROWS_A_PAGE = 300_000
# One server packs for two or three connections at once; each holds one value at a time.
_CONNECTIONS = 4

_LOOK_UP = "SELECT {columns} FROM shard_client_id WHERE ClientID IN ({marks})"
_PAGE = """SELECT {columns} FROM (SELECT ClientID, shard FROM shard_client_id
    WHERE ClientID BETWEEN {mark} AND {mark} ORDER BY ClientID LIMIT {limit}) AS page"""


def find_homes(settings: Settings, scope: CancelScope, ids: BitMap64) -> IdsByShard:
    """Look up the shard of each client over several connections; a client on no shard is in no set of the answer."""
    wanted = storable(ids)
    size, ask = (_IDS_A_PAGE, _read_page) if len(wanted) > _IDS_A_PAGE else (_IDS_A_LOOKUP, _look_up)
    starts = range(0, len(wanted), size)
    workers = min(_CONNECTIONS, len(starts))
    tasks = {
        worker: partial(_ask, settings, scope, ask, wanted, starts=starts[worker::workers], size=size)
        for worker in range(workers)
    }
    return _merged(SideBySide(tasks, workers=workers).results(scope).values())


def homes_over(database: Database, ids: BitMap64) -> IdsByShard:
    """Look up the shards of a few clients over a connection to the dict database that is there already."""
    return _merged(_look_up(database, chunk) for chunk in chunks(storable(ids), _IDS_A_LOOKUP))


def _ask(
    settings: Settings,
    scope: CancelScope,
    ask: Callable[[Database, BitMap64], IdsByShard],
    wanted: BitMap64,
    *,
    starts: range,
    size: int,
) -> IdsByShard:
    found: IdsByShard = {}
    with Database(settings.databases.dict, name="dict", scope=scope) as database:
        for start in starts:
            scope.check()
            found = _merged([found, ask(database, wanted[start : start + size])])
    return found


def _read_page(database: Database, ids: BitMap64) -> IdsByShard:
    """Read the range of these clients, as far as one page goes, and look up those behind its end."""
    columns = packed_columns(is_sqlite=database.is_sqlite, with_shard=True)
    mark = "?" if database.is_sqlite else "%s"
    sql = _PAGE.format(columns=columns, mark=mark, limit=_ROWS_A_PAGE)
    page = _answer(database, sql, (ids[0], ids[-1]))
    shards = unpack_shards(page, where=database)
    here = {shard: found & ids for shard, found in shards.items() if found.intersect(ids)}
    if page.rows < _ROWS_A_PAGE:
        return here
    behind = BitMap64(ids)
    behind.remove_range(0, page.highest + 1)
    return _merged([here, homes_over(database, behind)])


def _look_up(database: Database, ids: BitMap64) -> IdsByShard:
    columns = packed_columns(is_sqlite=database.is_sqlite, with_shard=True)
    # As text: building a construct of thousands of values takes longer than the server needs for them.
    marks = ", ".join(["?" if database.is_sqlite else "%s"] * len(ids))
    found = _answer(database, _LOOK_UP.format(columns=columns, marks=marks), tuple(ids))
    return unpack_shards(found, where=database)


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
