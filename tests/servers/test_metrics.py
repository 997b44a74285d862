"""The metrics when a server is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.examples import exported, make_measured

if TYPE_CHECKING:
    from tests.harness.job import Job
    from tests.harness.servers import Server


def test_a_server_that_is_away_is_named(server_job: Job, server: Server) -> None:
    make_measured(server_job)
    server_job.configure(metrics={"textfile": "chatsync.prom"}, run={"retry_timeout": "0.1s"})
    server.kill()

    assert server_job.diff().code == 1

    assert exported(server_job)["chatsync_database_failing", ("dict",)] == 1
