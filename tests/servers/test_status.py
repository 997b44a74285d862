"""`status` when a real server, or a part of it, is away."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.harness.examples import make_known
from tests.harness.job import PROPERTY, Job
from tests.harness.wire import FOREVER

if TYPE_CHECKING:
    import pytest

    from tests.harness.servers import Server
    from tests.harness.wire import Wired


def test_since_when_the_job_is_disabled(server_job: Job) -> None:
    make_known(server_job)
    server_job.set_property("2099-01-01")
    four_days_ago = datetime.now(UTC) - timedelta(days=4, minutes=1)
    stamp = four_days_ago.strftime("%Y-%m-%d %H:%M:%S")
    server_job.dict_sql("UPDATE ppc_properties SET last_change = %s WHERE name = %s", stamp, PROPERTY)

    result = server_job.run("status")

    assert result.code == 0
    assert "mod-time  2099-01-01: the job is disabled until 2099-01-01, set 4 d 0 h ago\n" in result.out
    assert "  ! the job is disabled until 2099-01-01 by its mod-time" in result.out


def test_without_the_servers_the_list_and_the_runs_are_shown(server_job: Job, server: Server) -> None:
    make_known(server_job)
    server_job.chain()
    server.kill()

    result = server_job.run("status")

    assert result.code == 1
    assert "2 clients in 3 rows" in result.out
    assert "mod-time  not known, see below\n" in result.out
    assert server_job.records()[0]["id"][:15] in result.out
    assert result.err.startswith("chatsync: not all could be seen: dict, shard 1, shard 2, shard 3, shard 4; dict (")


def test_without_the_homes_the_rest_is_shown(wired_job: Job, wired: Wired) -> None:
    make_known(wired_job)
    wired.wires["ppcdict"].refuse("shard_client_id", 1146, "no such table", times=FOREVER)

    result = wired_job.run("status")

    assert result.code == 1
    assert "total        2      not known     not known\n" in result.out
    assert result.err.startswith("chatsync: not all could be seen: changes; dict (")


def test_a_person_waits_less_than_a_run_does(server_job: Job, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatsync.diagnostics.survey._RETRY_SECONDS", 0.2)
    server_job.configure(run={"retry_timeout": "5m", "deadline": "6m"})
    server.kill()
    began = time.monotonic()

    assert server_job.run("status").code == 1

    assert time.monotonic() - began < 60
