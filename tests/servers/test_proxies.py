"""The job's lock and kill switch where a proxy stands before the dict database."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from chatsync.databases import job_lock, shard_writer
from tests.harness.haproxy import HaProxy
from tests.harness.job import Job
from tests.harness.schema import PASSWORD, USER, create_world
from tests.harness.wire import COMMIT, Wired, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.harness.schema import World
    from tests.harness.servers import Server

DISABLED = "9999-12-31T00:00:00.000000Z"


@pytest.fixture
def second_world(second_server: Server) -> World:
    """The same databases once more, on another server."""
    return create_world(second_server)


def copy_dict(job: Job, world: World) -> None:
    """Let the second server hold what the dict database holds, as a replica does."""
    for table in ("features", "shard_client_id", "ppc_properties"):
        for row in job.dict_sql(f"SELECT * FROM {table}"):
            world.sql("ppcdict", f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", *row)


def planned(job: Job, **sections: Mapping[str, Any]) -> Job:
    """Clients 1 to 6 of shard 1 are to be turned off, in batches of two."""
    job.settle(dict.fromkeys(range(1, 7), 1))
    job.list(range(1, 7))
    job.configure(**{"apply": {"batch_size": 2}} | sections)
    return job


@pytest.fixture
def switchable(wired: Wired, tmp_path: Path, server: Server, second_world: World) -> Iterator[tuple[Job, HaProxy]]:
    """A job with a plan, and the proxy before its dict database, which can switch to a server with the same rows."""
    job = planned(Job(tmp_path, wired))
    (second,) = second_world.servers
    with HaProxy(server, second) as proxy:
        url = proxy.url(server, server.url("ppcdict", USER, PASSWORD))
        job.configure(apply={"batch_size": 2}, databases={"dict": url})
        assert job.diff().code == 0
        copy_dict(job, second_world)
        yield job, proxy


def test_a_dict_database_that_was_switched_over_ends_the_run(
    switchable: tuple[Job, HaProxy], wired: Wired, server: Server, second_world: World
) -> None:
    """The lock's session lives on at the demoted server, where the kill switch is not seen."""
    job, proxy = switchable

    def switch_over() -> None:
        server.sql("SET GLOBAL read_only = ON")
        proxy.switch()
        assert job.process("set-modtime", "--disable").code == 0

    # The shards are on the same server, and go on to take what this user writes.
    right = "READ_ONLY ADMIN" if server.is_mariadb else "CONNECTION_ADMIN"
    server.sql(f"GRANT {right} ON *.* TO {USER}")
    wired.wires["ppc1"].after(COMMIT, switch_over)
    try:
        result = job.apply()
    finally:
        server.sql("SET GLOBAL read_only = OFF")
        server.sql(f"REVOKE {right} ON *.* FROM {USER}")

    assert second_world.sql("ppcdict", "SELECT value FROM ppc_properties")[0] == (DISABLED,)
    assert result.code == 1
    assert "the server became read-only, as after a switchover" in result.err
    assert job.off() == {1, 2}


def test_a_proxy_that_goes_over_to_another_server_while_the_old_one_still_writes(
    switchable: tuple[Job, HaProxy], wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As between two nodes of a Galera cluster: another apply would find the lock free there."""
    monkeypatch.setattr(job_lock, "_PING_SECONDS", 0.05)
    job, proxy = switchable

    def go_over() -> None:
        proxy.switch()
        wait_until(lambda: job_lock.KEEPER not in {thread.name for thread in threading.enumerate()})

    wired.wires["ppc1"].after(COMMIT, go_over)
    result = job.apply()

    assert result.code == 1
    assert "lead to different servers" in result.err
    assert "another apply may have started since" in result.err
    assert job.off() == {1, 2}


def test_a_proxy_that_deals_connections_out_to_several_servers(
    server_job: Job, server: Server, second_world: World
) -> None:
    """Each server has locks of its own: two applies ran at once, as behind a balancer of a Galera cluster."""
    job = planned(server_job)
    (second,) = second_world.servers
    copy_dict(job, second_world)
    with HaProxy(server, second, balance="roundrobin") as proxy:
        job.configure(databases={"dict": proxy.url(server, job.databases.dict_url)})
        assert job.diff().code == 0

        result = job.apply()

    assert result.code == 2
    assert "lead to different servers, and the lock of the job (GET_LOCK) is known to one of them only" in result.err
    assert job.off() == set()


def test_a_proxy_that_ends_idle_connections_sooner_than_the_pause(
    server_job: Job, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_lock, "_PING_SECONDS", 0.1)
    monkeypatch.setattr(shard_writer, "_LONG_PAUSE_SECONDS", 0.5)
    with HaProxy(server, idle="3s") as proxy:
        urls = server_job.databases
        shards = {name: proxy.url(server, url) for name, url in urls.shard_urls.items()}
        databases = {"dict": proxy.url(server, urls.dict_url), "shards": shards}
        planned(server_job, apply={"batch_size": 3, "pause": 4}, databases=databases)
        assert server_job.diff().code == 0

        result = server_job.run("-v", "apply", "--plan", str(server_job.plan_file))

    assert result.code == 0
    assert "attempt" not in result.err
    assert server_job.off() == set(range(1, 7))


def test_a_proxy_that_ends_the_lock_all_the_same_is_told(
    server_job: Job, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_lock, "_PING_SECONDS", 3600)
    with HaProxy(server, idle="3s") as proxy:
        databases = {"dict": proxy.url(server, server_job.databases.dict_url)}
        planned(server_job, apply={"batch_size": 3, "pause": 4}, databases=databases)
        assert server_job.diff().code == 0

        result = server_job.apply()

    assert result.code == 1
    assert "another apply may have started since" in result.err
    assert "3 of 6 changes are in place" in result.err
