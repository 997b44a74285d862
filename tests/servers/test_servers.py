"""The test servers do what the other tests take for granted."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mysql.connector
import pytest
from mysql.connector import errorcode

from tests.harness.schema import PASSWORD, USER, create_sqlite
from tests.harness.servers import ADDRESS, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.harness.schema import World


def connect(server: Server, **options: Any) -> Any:
    login = {"host": ADDRESS, "port": server.port, "user": USER, "password": PASSWORD, "autocommit": True}
    return mysql.connector.connect(**login | options)


def run(connection: Any, statement: str) -> Any:
    with closing(connection.cursor()) as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_the_user_has_just_the_grants_of_the_interface(world: World, server: Server) -> None:
    grants = {grant.partition(" TO ")[0] for (grant,) in server.sql(f"SHOW GRANTS FOR {USER}")}

    assert grants == {
        "GRANT USAGE ON *.*",
        "GRANT SELECT ON `ppcdict`.`features`",
        "GRANT SELECT, INSERT, UPDATE ON `ppcdict`.`ppc_properties`",
        "GRANT SELECT ON `ppcdict`.`shard_client_id`",
        *(f"GRANT SELECT, INSERT, UPDATE ON `ppc{shard}`.`clients_features`" for shard in world.shard_urls),
    }


def test_other_statements_are_denied(world: World) -> None:
    with closing(connect(world.server("ppc1"), database="ppc1")) as connection:
        with pytest.raises(mysql.connector.Error) as caught:
            run(connection, "DELETE FROM clients_features")
        assert caught.value.errno == errorcode.ER_TABLEACCESS_DENIED_ERROR


def test_only_root_on_the_socket_and_ours_may_log_in(world: World) -> None:
    users = world.servers[0].sql("SELECT user, host FROM mysql.user WHERE user NOT LIKE 'm%.%'")

    assert set(users) == {("root", "localhost"), (USER, "%")}


def test_a_lock_is_seen_and_its_holder_too(world: World) -> None:
    server = world.servers[0]
    with closing(connect(server)) as holder, closing(connect(server)) as other:
        assert run(holder, "SELECT GET_LOCK('apply', 0)") == [(1,)]
        assert run(other, "SELECT GET_LOCK('apply', 0), IS_USED_LOCK('apply')") == [(0, holder.connection_id)]
        seen = run(other, "SELECT id FROM information_schema.processlist")
        assert set(seen) == {(holder.connection_id,), (other.connection_id,)}


def test_every_test_starts_with_empty_tables_and_no_locks(world: World) -> None:
    server = world.servers[0]
    with closing(connect(server, database="ppc1", autocommit=False)) as left_open:
        run(left_open, "INSERT INTO clients_features VALUES (1, 2, 0)")
        world.sql("ppc2", "INSERT INTO clients_features VALUES (1, 2, 0)")
        world.clear()
        assert not left_open.is_connected()

    assert world.sql("ppc1", "SELECT * FROM clients_features") == []
    assert world.sql("ppc2", "SELECT * FROM clients_features") == []


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_restarted_server_has_its_port_and_data(world: World, end: str) -> None:
    server = world.servers[0]
    world.sql("ppc3", "INSERT INTO clients_features VALUES (1, 2, 0)")

    getattr(server, end)()
    with pytest.raises(mysql.connector.Error) as caught:
        connect(server)
    server.start()

    assert caught.value.errno == errorcode.CR_CONN_HOST_ERROR
    with closing(connect(server, database="ppc3")) as connection:
        assert run(connection, "SELECT * FROM clients_features") == [(1, 2, 0)]


def test_a_frozen_server_keeps_quiet_until_it_thaws(world: World) -> None:
    server = world.servers[0]
    server.freeze()
    with pytest.raises(mysql.connector.Error):
        connect(server, connection_timeout=1)
    server.thaw()
    connect(server).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("use_pure", [True, False])
def test_the_certificate_is_good_for_the_right_authority_only(world: World, host: str, use_pure: bool) -> None:
    server = world.servers[0]
    verified = {"host": host, "ssl_verify_cert": True, "ssl_verify_identity": True, "use_pure": use_pure}

    with closing(connect(server, ssl_ca=str(server.ca), **verified)) as connection:
        ((_, cipher),) = run(connection, "SHOW STATUS LIKE 'Ssl_cipher'")
        assert cipher
    with pytest.raises(mysql.connector.Error):
        connect(server, ssl_ca=str(server.wrong_ca), **verified)


def test_two_servers_share_a_world(wide_world: World) -> None:
    wide_world.sql("ppc1", "INSERT INTO clients_features VALUES (1, 2, 0)")

    assert wide_world.server("ppc1") is not wide_world.server("ppc2")
    assert wide_world.sql("ppc1", "SELECT ClientID FROM clients_features") == [(1,)]


def test_a_server_that_does_not_start_shows_its_log() -> None:
    with pytest.raises(RuntimeError, match=r"unknown .*no-such-option"), Server("--no-such-option=1"):
        pass


def test_sqlite_has_the_same_keys(tmp_path: Path) -> None:
    files: Mapping[str, Path] = create_sqlite(tmp_path, shards=2)

    assert sorted(files) == ["ppc1", "ppc2", "ppcdict"]
    with closing(sqlite3.connect(files["ppc1"])) as connection:
        connection.execute("INSERT INTO clients_features VALUES (1, 2, 0)")
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("INSERT INTO clients_features VALUES (1, 2, 1)")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a server outlives a killed parent")
def test_no_server_outlives_a_killed_parent() -> None:
    start = "from tests.harness.servers import Server; s = Server().__enter__()"
    code = f"{start}; print(s.process.pid, s.folder, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout
        server, folder = parent.stdout.readline().split()
        parent.kill()
    deadline = time.monotonic() + 10
    while is_running(server):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    shutil.rmtree(folder)


def is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_nothing_reaches_for_the_network() -> None:
    with pytest.raises(RuntimeError, match="no network"):
        socket.create_connection(("192.0.2.1", 80))
    with pytest.raises(RuntimeError, match="no network"):
        socket.getaddrinfo("example.com", 80)
