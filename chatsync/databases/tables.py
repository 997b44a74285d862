"""The tables and columns that this program reads and writes. Source: the interface, section 2."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

dict_metadata = sa.MetaData()
shard_metadata = sa.MetaData()

features = sa.Table(
    "features",
    dict_metadata,
    sa.Column("feature_id", sa.Integer, primary_key=True),
    sa.Column("feature_text_id", sa.String(100), nullable=False, unique=True),
    sa.Column("feature_public_name", sa.String(255), nullable=False),
    sa.Column("settings", sa.Text),
)

ppc_properties = sa.Table(
    "ppc_properties",
    dict_metadata,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("value", sa.Text),
    sa.Column("last_change", sa.TIMESTAMP, nullable=False, server_default=sa.func.current_timestamp()),
)

shard_client_id = sa.Table(
    "shard_client_id",
    dict_metadata,
    sa.Column("ClientID", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("shard", sa.SmallInteger, nullable=False),
)

clients_features = sa.Table(
    "clients_features",
    shard_metadata,
    sa.Column("ClientID", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("feature_id", sa.Integer, primary_key=True, autoincrement=False, index=True),
    sa.Column("is_enabled", sa.SmallInteger, nullable=False),
)


class utc_now(FunctionElement[str]):  # noqa: N801  # named like the SQL function it stands for
    """The server's clock in UTC as text, to the microsecond (SQLite: to the millisecond)."""

    type = sa.String()
    inherit_cache = True


@compiles(utc_now, "mysql")
@compiles(utc_now, "mariadb")
def _mysql_now(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return "CAST(UTC_TIMESTAMP(6) AS CHAR)"


@compiles(utc_now, "sqlite")
def _sqlite_now(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f', 'now')"
