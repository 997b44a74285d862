"""How often the job logs in: a login with TLS is dearer than the statements after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.job import Job, Result
    from tests.harness.servers import Server


def logins(server: Server, run: Callable[[], Result]) -> int:
    """Return how often a run of the job logged in to the server."""

    def count() -> int:
        return int(server.sql("SHOW GLOBAL STATUS LIKE 'Connections'")[0][1])

    before = count()
    assert run().code == 0
    return count() - before - 1  # the second count logged in as well


def test_a_run_with_nothing_to_do_logs_in_once(server_job: Job, server: Server) -> None:
    server_job.settle({1: 1, 2: 2})
    server_job.list([1, 2])
    assert server_job.run("sync").code == 0

    assert logins(server, lambda: server_job.run("sync")) == 1


def test_sync_logs_in_as_often_as_the_three_steps(server_job: Job, server: Server) -> None:
    """Each step looks with new connections: after a failover the server of the step before may be the wrong one."""
    server_job.settle({1: 1, 2: 2, 3: 3, 4: 4})
    server_job.list([1, 2, 3, 4])
    assert server_job.run("sync").code == 0
    server_job.list([1, 2])
    three = logins(server, server_job.chain)
    server_job.list([1, 2, 3, 4])

    assert logins(server, lambda: server_job.run("sync")) == three
