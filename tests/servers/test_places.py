"""A URL must lead to its shard, on a server that takes writes and keeps transactions; and to nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chatsync.databases import places
from tests.harness.job import Job
from tests.harness.replication import Replication
from tests.harness.schema import USER
from tests.harness.servers import Server
from tests.harness.wire import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_mock import MockerFixture

    from tests.harness.schema import World
    from tests.harness.wire import Wired


def place(job: Job, shard: str) -> str:
    return job.databases.shard_urls[shard].rpartition("@")[2]


def localhost(url: str) -> str:
    return url.replace("@127.0.0.1:", "@localhost:")


def upper_case_host(url: str) -> str:
    return url.replace("@127.0.0.1:", "@LOCALHOST:")


def another_loopback(url: str) -> str:
    return url.replace("@127.0.0.1:", "@127.0.0.2:")


@pytest.fixture
def planned(server_job: Job) -> Job:
    """Clients 1 and 2 are to be turned off."""
    server_job.settle({1: 1, 2: 2})
    server_job.list([1, 2])
    return server_job


@pytest.mark.parametrize("spelled", [localhost, upper_case_host])
@pytest.mark.parametrize("command", ["diff", "apply"])
def test_two_numbers_are_one_database(planned: Job, spelled: Callable[[str], str], command: str) -> None:
    urls = dict(planned.databases.shard_urls)
    planned.configure(databases={"shards": urls | {"3": spelled(urls["1"])}})

    result = planned.run(command, *(["--yes"] if command == "apply" else []))

    assert result.code == 2
    assert "databases.shards.3: the same database as shard 1, although their URLs differ: " in result.err
    assert planned.rows() == set()


def test_two_shards_on_one_server_are_two_databases(planned: Job) -> None:
    assert planned.chain().code == 0
    assert planned.off() == {1, 2}


def test_two_servers_that_say_the_same_of_themselves_are_two(planned: Job, mocker: MockerFixture) -> None:
    """MariaDB has no identity of a server that is sure to be unique."""
    mocker.patch.object(places, "_SERVER", "'the same everywhere'")
    mocker.patch.object(places, "SCHEMA", "'ppc'")
    mocker.patch.object(places, "_is_one_server", return_value=False)

    assert planned.diff().code == 0


@pytest.fixture
def engine(planned: Job) -> Iterator[Callable[[str], None]]:
    def change(name: str) -> None:
        planned.shard_sql(1, f"ALTER TABLE clients_features ENGINE = {name}")

    yield change
    change("InnoDB")


@pytest.mark.parametrize("name", ["MyISAM", "Aria", "MEMORY"])
@pytest.mark.parametrize("command", ["diff", "apply"])
def test_a_table_without_transactions(
    planned: Job, server: Server, engine: Callable[[str], None], name: str, command: str
) -> None:
    """A batch that the kill switch stopped stayed written, and the run said that it had not been."""
    if name == "Aria" and not server.is_mariadb:
        pytest.skip("MySQL has no Aria")
    plan_made_before = planned.diff()
    engine(name)

    result = planned.diff() if command == "diff" else planned.apply("--force")

    assert (plan_made_before.code, result.code) == (0, 1)
    assert f"clients_features ({name}) has no transactions" in result.err
    assert "ALTER TABLE clients_features ENGINE = InnoDB" in result.err
    assert planned.off() == ({2} if command == "apply" else set())  # the other shards are applied


@pytest.mark.parametrize("command", ["diff", "apply"])
def test_a_server_that_is_read_only(wide_world: World, tmp_path: Path, second_server: Server, command: str) -> None:
    """Whatever the user may do there. After a switchover it may pass, so that apply tries again."""
    planned = Job(tmp_path, wide_world)
    planned.settle({1: 1, 3: 3})
    planned.list([1, 3])
    planned.configure(run={"retry_timeout": "0.3s"})
    plan_made_before = planned.diff()
    second_server.sql("SET GLOBAL read_only = ON")
    try:
        result = planned.diff() if command == "diff" else planned.apply("--force")
    finally:
        second_server.sql("SET GLOBAL read_only = OFF")

    assert (plan_made_before.code, result.code) == (0, 1)
    assert "the server is read-only, as a replica or a demoted primary is; " in result.err
    assert "name the primary in [databases]" in result.err
    assert planned.rows() == set()


@pytest.fixture
def replication(server: Server) -> Iterator[Replication]:
    """The server of all databases replicates from another one, and takes writes all the same."""
    with Server("--server-id=4710", "--log-bin=log") as primary:
        replication = Replication(server, primary)
        replication.start(delay=0)
        wait_until(lambda: replication.lag() is not None)
        yield replication
        replication.forget()


@pytest.fixture
def may_see_it(server: Server) -> Iterator[Callable[[str], None]]:
    """Give the grant by which a user sees whether the server is a replica: to the user, or by a role."""
    undo: list[str] = []

    def grant(how: str) -> None:
        privilege = "REPLICA MONITOR" if server.is_mariadb else "REPLICATION CLIENT"
        if how == "role":
            server.sql("CREATE ROLE watcher")
            undo.append("DROP ROLE watcher")
            server.sql(f"GRANT watcher TO {USER}")
            server.sql(f"SET DEFAULT ROLE watcher {'FOR' if server.is_mariadb else 'TO'} {USER}")
            undo.insert(0, f"SET DEFAULT ROLE NONE {'FOR' if server.is_mariadb else 'TO'} {USER}")
        grantee = "watcher" if how == "role" else USER
        server.sql(f"GRANT {privilege} ON *.* TO {grantee}")
        undo.insert(0, f"REVOKE {privilege} ON *.* FROM {grantee}")

    yield grant
    for statement in undo:
        server.sql(statement)


def test_a_replica_that_takes_writes(
    planned: Job, server: Server, request: pytest.FixtureRequest, may_see_it: Callable[[str], None]
) -> None:
    """The next row that the primary sends may be there already, and replication stops."""
    if not server.is_mariadb:
        may_see_it("user")
    check_refused(planned, request)


@pytest.mark.parametrize("how", ["user", "role"])
def test_a_replica_that_is_stopped(
    planned: Job, request: pytest.FixtureRequest, may_see_it: Callable[[str], None], how: str
) -> None:
    """When it is started again, the rows of its primary meet ours."""
    may_see_it(how)
    check_refused(planned, request, is_stopped=True)


def check_refused(job: Job, request: pytest.FixtureRequest, *, is_stopped: bool = False) -> None:
    """Run each command once the server has become a replica; nothing is written, and the message says why."""
    plan_made_before = job.diff()
    replication: Replication = request.getfixturevalue("replication")
    if is_stopped:
        replication.stop()

    ended = {"apply": job.apply("--force"), "diff": job.diff(), "doctor": job.run("doctor")}

    assert plan_made_before.code == 0
    for command, result in ended.items():
        said = result.out if command == "doctor" else result.err
        assert result.code == 1
        assert "the server is a replica: a row that is written there can stop its replication" in said
        assert "name the primary in [databases]; if this one is the primary now, RESET REPLICA ALL ends that" in said
    assert job.rows() == set()


def test_without_the_grant_mysql_does_not_show_it_and_nothing_more_is_asked(
    wired_job: Job, wired: Wired, server: Server, replication: Replication
) -> None:
    if server.is_mariadb:
        replication.stop()  # one that is running is seen without a grant
    wired_job.settle({1: 1})
    wired_job.list([1])

    assert wired_job.diff().code == 0

    assert [sent for sent in wired.wires["ppc1"].statements if "REPLICA STATUS" in sent] == []


def test_with_the_grant_a_primary_is_not_taken_for_a_replica(
    wired_job: Job, wired: Wired, may_see_it: Callable[[str], None]
) -> None:
    may_see_it("user")
    wired_job.settle({1: 1})
    wired_job.list([1])

    assert wired_job.chain().code == 0

    assert "SHOW REPLICA STATUS" in wired.wires["ppc1"].statements


def test_two_shards_whose_urls_are_swapped(planned: Job) -> None:
    """Each held the other's clients, and rows of all of them were written where nobody reads them."""
    for shard in (1, 2):
        planned.settle_off({100 * shard + number: shard for number in range(5)})
    urls = dict(planned.databases.shard_urls)
    planned.configure(databases={"shards": urls | {"1": urls["2"], "2": urls["1"]}})

    result = planned.diff()

    assert result.code == 2
    assert "databases.shards.1: " in result.err
    assert " is not shard 1: 5 of 5 clients found there live on shard 2 (200, 201, 202, …)" in result.err


def test_before_the_first_fill_rows_of_other_features_tell_a_wrong_shard(planned: Job) -> None:
    for shard in (1, 2):
        for client in range(100 * shard, 100 * shard + 5):
            planned.settle({client: shard})
            planned.row(shard, client, 1, feature=42)
    urls = dict(planned.databases.shard_urls)
    planned.configure(databases={"shards": urls | {"1": urls["2"], "2": urls["1"]}})

    assert planned.diff().code == 2


def test_rows_of_clients_that_moved_away_are_normal(planned: Job) -> None:
    """Also where a shard was emptied."""
    planned.settle_off({100 + number: 1 for number in range(4)})
    planned.settle({300 + number: 2 for number in range(30)})
    for client in range(300, 330):
        planned.row(3, client, 0)
    for client in range(300, 304):
        planned.row(1, client, 0)

    assert planned.diff().code == 0
