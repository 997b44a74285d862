"""set-modtime on a real server that refuses a statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.examples import plan_some

if TYPE_CHECKING:
    from tests.harness.job import Job
    from tests.harness.servers import Server
    from tests.harness.wire import Wired


def test_a_shard_that_can_not_be_asked_leaves_it_where_it_is(wired_job: Job, wired: Wired) -> None:
    plan_some(wired_job).apply()
    wired.wires["ppc3"].refuse("FROM clients_features", 1142, "SELECT command denied")

    result = wired_job.set_modtime()

    assert result.code == 1
    assert result.err.startswith("chatsync: shard 3 (127.0.0.1:")
    assert wired_job.property() is None


def test_a_database_that_can_not_be_written_leaves_it_where_it_is(wired_job: Job, wired: Wired) -> None:
    plan_some(wired_job).apply()
    wired.wires["ppcdict"].refuse("^INSERT", 1142, "INSERT command denied")

    result = wired_job.set_modtime()

    assert result.code == 1
    assert "cannot move the mod-time on: INSERT command denied (1142)" in result.err
    assert wired_job.property() is None


def test_the_operators_word_on_a_read_only_server(server_job: Job, server: Server) -> None:
    server_job.configure(run={"retry_timeout": "1s"})
    server.sql("SET GLOBAL read_only = 1")
    try:
        result = server_job.run("set-modtime", "--disable")
    finally:
        server.sql("SET GLOBAL read_only = 0")

    assert result.code == 1
    assert "cannot set the mod-time" in result.err
    assert server_job.property() is None
