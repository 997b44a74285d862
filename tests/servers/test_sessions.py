"""Whatever a server's defaults are, an answer is whole, or it is an error."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from chatsync.cancel_scope import CancelScope
from chatsync.config.load import load
from chatsync.databases.connection import Database
from tests.harness.job import FEATURE_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.harness.job import Job
    from tests.harness.servers import Server

# Each of them makes a wrong answer of a right one, or refuses a write.
ODD: dict[str, object] = {
    "sql_select_limit": 1,
    "group_concat_max_len": 8,
    "sql_mode": "ANSI,PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES",
    "time_zone": "-11:00",
}
ODD_MARIADB = ODD | {"tx_isolation": "READ-UNCOMMITTED", "tx_read_only": 1}
ODD_MYSQL = ODD | {"transaction_isolation": "READ-UNCOMMITTED", "transaction_read_only": 1}


@contextmanager
def defaults(server: Server, odd: Mapping[str, object]) -> Iterator[None]:
    """Change the defaults of a server, for sessions that begin in the block."""
    before = {name: server.sql(f"SELECT @@global.{name}")[0][0] for name in odd}
    with closing(server.connect()) as administrator, closing(administrator.cursor()) as cursor:
        for name, value in odd.items():
            cursor.execute(f"SET GLOBAL {name} = %s", (value,))
        yield
        for name, value in before.items():
            cursor.execute(f"SET GLOBAL {name} = %s", (value,))


def test_a_chain_on_a_server_with_odd_defaults(server_job: Job, server: Server) -> None:
    """With sql_select_limit = 1 clients became "unknown", and the list was marked as synced."""
    server_job.settle_off({9: 1, 10: 2})
    server_job.settle({1: 1, 2: 2, 3: 3, 4: 4})
    server_job.list([1, 2, 3, 4])

    with defaults(server, ODD_MARIADB if server.is_mariadb else ODD_MYSQL):
        chain, explain, doctor = server_job.chain(), server_job.run("explain", "1", "2"), server_job.run("doctor")

    assert (chain.code, chain.err) == (0, "")
    assert server_job.off() == {1, 2, 3, 4}
    assert (explain.code, doctor.code) == (0, 0)


@pytest.mark.parametrize("writable", [False, True])
def test_no_statement_is_cut_off_by_a_default_of_the_server(server_job: Job, server: Server, writable: bool) -> None:
    name, value = ("max_statement_time", 5) if server.is_mariadb else ("max_execution_time", 5000)
    url = load(server_job.config).databases.dict
    scope = CancelScope(deadline=60, retry_timeout=1)

    with defaults(server, {name: value}), Database(url, name="dict", scope=scope, writable=writable) as database:
        ((seconds,),) = database.rows(sa.text(f"SELECT @@session.{name}"), {}, what="look")

    assert seconds == 0


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("VARCHAR(20)", "9", "ClientID '9' is not a whole number from 0 to 4294967295"),
        ("BIGINT", 2**33 + 9, f"ClientID {2**33 + 9} is not a whole number"),
        ("BIGINT", -9, "ClientID -9 is not a whole number"),
    ],
)
@pytest.mark.parametrize("table", ["clients_features", "shard_client_id"])
def test_a_client_id_of_another_type_is_an_error_and_no_other_client(
    server_job: Job, table: str, kind: str, value: Any, told: str
) -> None:
    """2^33 + 9 was read as client 9, who was turned on."""
    server_job.list([1])
    server_job.settle({1: 1})
    execute = server_job.dict_sql if table == "shard_client_id" else lambda *a: server_job.shard_sql(1, *a)
    execute(f"ALTER TABLE {table} MODIFY ClientID {kind} NOT NULL")
    try:
        if table == "shard_client_id":
            execute("DELETE FROM shard_client_id")
            execute("INSERT INTO shard_client_id VALUES (%s, 1)", value)
            server_job.list([9, 1])
        else:
            execute("INSERT INTO clients_features VALUES (%s, %s, 0)", value, FEATURE_ID)
        result = server_job.diff()
    finally:
        execute(f"DELETE FROM {table}")
        execute(f"ALTER TABLE {table} MODIFY ClientID INT UNSIGNED NOT NULL")

    found = table == "clients_features" or kind == "VARCHAR(20)"
    assert result.code == (1 if found else 0)
    assert (told in result.err) == found
