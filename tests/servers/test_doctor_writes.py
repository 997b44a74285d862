"""What `doctor` says where a run could not write, or would write in the wrong place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.harness.haproxy import HaProxy
from tests.harness.job import Job
from tests.harness.schema import create_world
from tests.harness.servers import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def sound(server_job: Job) -> Job:
    """Each shard has a client that is off, one that is on by its row, and one without a row of the feature."""
    for shard in server_job.shards:
        server_job.settle({10 * shard + number: shard for number in range(3)})
        server_job.row(shard, 10 * shard, 0)
        server_job.row(shard, 10 * shard + 1, 1)
        server_job.row(shard, 10 * shard + 2, 1, feature=42)
    server_job.list([10])
    return server_job


@pytest.fixture
def altered(server: Server) -> Iterator[Callable[..., None]]:
    """Change a database as its administrator, and take it back at the end."""
    undo: list[tuple[str, str]] = []

    def alter(statement: str, *, undo_by: str, database: str = "ppc1") -> None:
        undo.append((undo_by, database))
        server.sql(statement, database=database)

    yield alter
    for statement, database in reversed(undo):
        server.sql(statement, database=database)


def complaints(job: Job) -> list[str]:
    return [line[2:] for line in job.run("doctor").out.splitlines() if line.startswith("✗")]


def test_a_write_is_tried_in_each_database_and_leaves_nothing_behind(sound: Job) -> None:
    before = sound.rows(), sound.property()

    result = sound.run("doctor")

    assert result.code == 0
    assert "✓ writes     what the job writes was tried and rolled back: dict and 4 of 4 shards\n" in result.out
    assert (sound.rows(), sound.property()) == before


SIGNAL = "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'closed by the DBA'"
PARTITIONS = "PARTITION BY LIST (ClientID * 1000 + feature_id) (PARTITION few VALUES IN (10217, 11217, 12042))"
SHARD_FAULTS = {
    "a column that has no default": (
        "ALTER TABLE clients_features ADD COLUMN why VARCHAR(9) NOT NULL",
        "ALTER TABLE clients_features DROP COLUMN why",
        "'why' doesn't have a default value (1364)",
    ),
    "a trigger": (
        f"CREATE TRIGGER no_more BEFORE INSERT ON clients_features FOR EACH ROW {SIGNAL}",
        "DROP TRIGGER no_more",
        "closed by the DBA (1644)",
    ),
    "a trigger that writes elsewhere": (
        "CREATE TRIGGER copy AFTER UPDATE ON clients_features FOR EACH ROW INSERT INTO nowhere VALUES (1)",
        "DROP TRIGGER copy",
        "Table 'ppc1.nowhere' doesn't exist (1146)",
    ),
    "a missing partition": (
        f"ALTER TABLE clients_features {PARTITIONS}",
        "ALTER TABLE clients_features REMOVE PARTITIONING",
        "Table has no partition for value 12217 (1526)",
    ),
    "MyISAM": (
        "ALTER TABLE clients_features ENGINE = MyISAM",
        "ALTER TABLE clients_features ENGINE = InnoDB",
        "clients_features (MyISAM) has no transactions",
    ),
}


@pytest.mark.parametrize("fault", SHARD_FAULTS)
def test_a_shard_where_no_write_can_succeed(sound: Job, altered: Callable[..., None], fault: str) -> None:
    statement, undo_by, told = SHARD_FAULTS[fault]
    altered(statement, undo_by=undo_by)

    (line,) = complaints(sound)

    assert line.startswith("shard 1    127.0.0.1:")
    assert told in line


def test_a_column_that_the_server_computes(sound: Job, altered: Callable[..., None]) -> None:
    altered(
        "ALTER TABLE clients_features CHANGE is_enabled kept TINYINT NOT NULL DEFAULT 1",
        undo_by="ALTER TABLE clients_features CHANGE kept is_enabled TINYINT(1) NOT NULL",
    )
    altered(
        "ALTER TABLE clients_features ADD COLUMN is_enabled TINYINT AS (kept) STORED",
        undo_by="ALTER TABLE clients_features DROP COLUMN is_enabled",
    )

    (line,) = complaints(sound)

    assert "generated column 'is_enabled'" in line


def test_a_binary_log_that_takes_no_write(tmp_path: Path) -> None:
    """The job reads committed rows only, and the log of statements takes no write of such a session."""
    with Server("--log-bin=log", "--server-id=1", "--binlog-format=STATEMENT") as server:
        job = Job(tmp_path, create_world(server))
        job.settle_off({1: 1})

        lines = complaints(job)

    assert any("(1665); set binlog_format to ROW or MIXED on this server" in line for line in lines)


def test_a_view_in_place_of_the_table(sound: Job, altered: Callable[..., None]) -> None:
    altered("RENAME TABLE clients_features TO hidden", undo_by="RENAME TABLE hidden TO clients_features")
    altered("CREATE VIEW clients_features AS SELECT * FROM hidden", undo_by="DROP VIEW clients_features")

    assert any("clients_features (VIEW) has no transactions" in line for line in complaints(sound))


@pytest.mark.parametrize(("kind", "told"), [("VARCHAR(20)", "Data too long for column 'value'"), ("DATETIME", "value")])
def test_a_property_that_cannot_hold_a_time(sound: Job, altered: Callable[..., None], kind: str, told: str) -> None:
    altered(
        f"ALTER TABLE ppc_properties MODIFY value {kind}",
        undo_by="ALTER TABLE ppc_properties MODIFY value TEXT",
        database="ppcdict",
    )

    lines = complaints(sound)

    assert any(line.startswith("dict ") and told in line for line in lines)
    assert any("; check the types of the table's columns" in line for line in lines)


def test_two_shards_whose_urls_are_swapped(sound: Job) -> None:
    for shard in (1, 2):
        sound.settle_off({100 * shard + number: shard for number in range(5)})
    urls = dict(sound.databases.shard_urls)
    sound.configure(databases={"shards": urls | {"1": urls["2"], "2": urls["1"]}})

    (line,) = complaints(sound)

    assert " is not shard 1: " in line
    assert " clients found there live on shard 2 (" in line


def by_socket(url: str, server: Server) -> str:
    """The same database by the server's socket in place of its port."""
    return re.sub(r"@[^/]+/(\w+)", rf"@/\1?unix_socket={server.socket}", url)


@pytest.mark.parametrize("way", ["name", "socket", "link to the socket"])
def test_two_numbers_for_one_database(sound: Job, server: Server, way: str, tmp_path: Path) -> None:
    urls = dict(sound.databases.shard_urls)
    link = tmp_path / "mysqld.sock"
    link.symlink_to(server.socket)
    other = {
        "name": urls["1"].replace("127.0.0.1", "localhost"),
        "socket": by_socket(urls["1"], server),
        "link to the socket": by_socket(urls["1"], server).replace(str(server.socket), str(link)),
    }[way]
    sound.configure(databases={"shards": urls | {"3": other}})

    assert any("databases.shards.3: the same database as shard 1" in line for line in complaints(sound))


def test_two_servers_on_one_host_by_their_sockets(sound: Job, server: Server, second_server: Server) -> None:
    """The schema has the same name on both, and each is reached by its socket alone: they are two all the same."""
    create_world(second_server)
    url = sound.databases.shard_urls["1"]
    two = {"1": by_socket(url, server), "3": by_socket(url, second_server)}
    sound.configure(databases={"shards": dict(sound.databases.shard_urls) | two})

    assert [line for line in complaints(sound) if "the same database" in line] == []


def test_a_dict_database_behind_a_proxy_that_deals_connections_out(
    sound: Job, server: Server, second_server: Server
) -> None:
    create_world(second_server)
    with HaProxy(server, second_server, balance="roundrobin") as proxy:
        sound.configure(databases={"dict": proxy.url(server, sound.databases.dict_url)})

        lines = complaints(sound)

    assert any("connections lead to different servers" in line for line in lines)
