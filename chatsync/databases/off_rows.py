"""The off rows of a shard, counted and hashed by its server: one statement, and no row travels."""

import sqlalchemy as sa

from chatsync.core.off_rows import MIX, SPREAD, OffRows
from chatsync.databases.connection import Database

# The same is computed over ids in core.off_rows.
_OFF_ROWS = """SELECT COUNT(*), BIT_XOR(ClientID * {spread}), BIT_XOR(((ClientID * {spread} >> 32) + ClientID) * {mix})
    FROM clients_features WHERE feature_id = {mark} AND is_enabled = 0"""


def count_off_rows(shard: Database, feature_id: int) -> OffRows:
    """Return how many rows say off on a shard, with the hash over their ids."""
    sql = _OFF_ROWS.format(spread=SPREAD, mix=MIX, mark="?" if shard.is_sqlite else "%s")

    def ask(connection: sa.Connection) -> OffRows:
        count, spread, mix = connection.exec_driver_sql(sql, (feature_id,)).one()
        return OffRows.from_xors(count, spread or 0, mix or 0)  # SQLite has NULL for no rows

    return shard.do(ask, what="count the clients that are off")
