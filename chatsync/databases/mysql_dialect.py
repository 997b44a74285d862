"""The SQLAlchemy dialect for MySQL and MariaDB: the driver's own, with fewer round trips."""

import sqlalchemy as sa
from sqlalchemy.dialects.mysql.mysqlconnector import MySQLDialect_mysqlconnector


class Dialect(MySQLDialect_mysqlconnector):
    """The driver's own dialect, without its questions about the server's features.

    Normally it asks each new server for version, schema, isolation level, SQL mode and case of names:
    five round trips for each shard, which our statements do not need.
    """

    supports_statement_cache = True

    def initialize(self, connection: sa.Connection) -> None:
        """Ask nothing."""
