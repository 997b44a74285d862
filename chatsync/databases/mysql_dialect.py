"""How SQLAlchemy speaks to MySQL and MariaDB here: over the driver that was asked for, with fewer questions."""

import sqlalchemy as sa
from sqlalchemy.dialects.mysql.mysqlconnector import MySQLDialect_mysqlconnector


class Dialect(MySQLDialect_mysqlconnector):
    """The driver's own dialect, which takes the server for one that can do what all of them can.

    By itself it asks each new server for its version, schema, isolation level, SQL mode and case of
    names: five round trips a shard, for statements that none of ours is.
    """

    supports_statement_cache = True

    def initialize(self, connection: sa.Connection) -> None:
        """Ask nothing."""
