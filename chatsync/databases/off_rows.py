"""The off rows of a shard, counted and hashed by its server in one statement, so that no rows are sent."""

import sqlalchemy as sa

from chatsync.core import MIX, SPREAD, OffRows
from chatsync.databases.connection import Database
from chatsync.databases.places import Place, check_may_write, place_columns, place_of

# core.off_rows computes the same hash over ids.
_OFF_ROWS = """SELECT COUNT(*), BIT_XOR(ClientID * {spread}), BIT_XOR(((ClientID * {spread} >> 32) + ClientID) * {mix})
    , {place} FROM clients_features WHERE feature_id = {mark} AND is_enabled = 0"""


def count_off_rows(shard: Database, feature_id: int) -> tuple[OffRows, Place]:
    """Return the number of off rows of a shard with the hash over their ids, and which database it is.

    Raises DatabaseError if nothing may be written to the shard.
    """
    place_sql, mark = place_columns(shard), "?" if shard.is_sqlite else "%s"
    sql = _OFF_ROWS.format(spread=SPREAD, mix=MIX, place=place_sql, mark=mark)

    def ask(connection: sa.Connection) -> tuple[OffRows, Place]:
        count, spread, mix, *where = connection.exec_driver_sql(sql, (feature_id,)).one()
        place = place_of(shard, connection, tuple(where))
        check_may_write(shard, place)
        return OffRows.from_xors(count, spread or 0, mix or 0), place  # SQLite has NULL for no rows

    return shard.do(ask, what="count the clients that are off")
