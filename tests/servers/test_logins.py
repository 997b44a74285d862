"""How often the job logs in: a login with TLS is dearer than the statements after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.job import LIST_TIME, MODIFIED
from tests.harness.schema import USER
from tests.harness.wire import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.job import Job, Result
    from tests.harness.servers import Server
    from tests.harness.wire import Wired

SHARDS, CHANGED = 4, 2
LOOKS_AT_THE_LOCK = 2  # new connections have to see it


def logins(server: Server, run: Callable[[], Result]) -> int:
    """Return how often a run of the job logged in to the server."""

    def count() -> int:
        return int(server.sql("SHOW GLOBAL STATUS LIKE 'Connections'")[0][1])

    before = count()
    assert run().code == 0
    return count() - before - 1  # the second count logged in as well


@pytest.fixture
def changed_job(server_job: Job) -> Job:
    """A job with one client off on each of the four shards, and a list that turns on those of two."""
    server_job.settle_off({1: 1, 2: 2, 3: 3, 4: 4})
    server_job.list([1, 2])
    return server_job


def test_a_run_with_nothing_to_do_logs_in_once(server_job: Job, server: Server) -> None:
    server_job.settle({1: 1, 2: 2})
    server_job.list([1, 2])
    assert server_job.run("sync").code == 0

    assert logins(server, lambda: server_job.run("sync")) == 1


def test_sync_logs_in_once_for_each_kind_of_session(changed_job: Job, server: Server) -> None:
    """To read and to write: a session that writes has transactions and less patience, so it is another one."""
    dict_database = ["read", "hold the lock", "write"]

    assert logins(server, lambda: changed_job.run("sync")) == (
        len(dict_database) + SHARDS + CHANGED + LOOKS_AT_THE_LOCK * len(["apply", "set-modtime"])
    )


def test_three_steps_log_in_each_for_itself(changed_job: Job, server: Server) -> None:
    diff = 1 + SHARDS
    apply = 2 + LOOKS_AT_THE_LOCK + SHARDS + CHANGED
    set_modtime = 3 + LOOKS_AT_THE_LOCK + SHARDS

    assert logins(server, changed_job.chain) == diff + apply + set_modtime


def test_sync_hands_no_old_connection_on(changed_job: Job, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failover it may lead to the server of before."""
    monkeypatch.setattr("chatsync.databases.kept_connections._MOST_SECONDS", 0)
    in_sync = logins(server, lambda: changed_job.run("sync"))
    changed_job.list([1, 2, 3, 4])

    assert in_sync == logins(server, changed_job.chain)


@pytest.mark.parametrize("refused", [False, True])
def test_no_connection_outlives_sync(changed_job: Job, server: Server, *, refused: bool) -> None:
    if refused:
        changed_job.configure(limits={"turn_on_max": 0})

    assert changed_job.run("sync").code == (3 if refused else 0)
    wait_until(lambda: not server.sql("SELECT 1 FROM information_schema.processlist WHERE user = %s", args=[USER]))


def test_connections_that_are_cut_between_two_steps_are_opened_again(wired_job: Job, wired: Wired) -> None:
    wired_job.settle({1: 1, 2: 2})
    wired_job.list([1, 2], modified=MODIFIED)
    wired.wires["ppcdict"].after("RELEASE_LOCK", wired.wires["ppc1"].hang_up)

    result = wired_job.run("-v", "sync")

    assert (result.code, wired_job.off(), wired_job.property()) == (0, {1, 2}, LIST_TIME)
    assert "attempt 1 failed, trying again" in result.err
    assert "attempt 2 failed" not in result.err


def test_a_shard_that_takes_no_writes_any_more_is_seen_over_a_kept_connection(wired_job: Job, wired: Wired) -> None:
    """As after a switchover between two steps: the connection of `diff` still leads to the old primary."""
    wired_job.settle({1: 1})
    wired_job.list([1], modified=MODIFIED)
    wired.wires["ppcdict"].before("GET_LOCK", lambda: wired.sql("ppc1", "SET GLOBAL read_only = 1"))
    try:
        result = wired_job.run("sync")
    finally:
        wired.sql("ppc1", "SET GLOBAL read_only = 0")

    assert (result.code, wired_job.off(), wired_job.property()) == (1, set(), None)
    assert "read-only" in result.err
