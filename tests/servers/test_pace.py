"""How fast is written: batches, pauses, shards side by side, and waiting for replicas."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.harness.replication import Replication
from tests.harness.schema import PASSWORD, USER
from tests.harness.servers import Server
from tests.harness.wire import COMMIT, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.job import Job
    from tests.harness.wire import Wired

OPEN = "SELECT trx_id FROM information_schema.innodb_trx WHERE trx_rows_locked + trx_rows_modified > 0"


def plan_seven(job: Job, **apply: object) -> Job:
    """Turn off clients 1 to 7 on shard 1 and 11 to 17 on shard 2."""
    job.configure(apply=apply)
    job.settle({1 + number + 10 * shard: shard + 1 for shard in range(2) for number in range(7)})
    job.list([*range(1, 8), *range(11, 18)])
    job.diff()
    return job


@pytest.mark.parametrize(("size", "batches"), [(1, 7), (2, 4), (3, 3), (6, 2), (7, 1), (8, 1)])
def test_batches(wired_job: Job, wired: Wired, size: int, batches: int) -> None:
    plan_seven(wired_job, batch_size=size)

    assert wired_job.apply().code == 0

    statements = wired.wires["ppc1"].statements
    looks = [re.findall(r"ClientID IN \(([\d, ]+)\)", text)[0] for text in statements if text.endswith("FOR UPDATE")]
    assert len(looks) == batches
    assert max(look.count(",") + 1 for look in looks) == min(size, 7)
    assert len([text for text in statements if re.search(COMMIT, text)]) >= batches


def test_no_transaction_is_open_during_a_pause(wired_job: Job, wired: Wired, server: Server) -> None:
    plan_seven(wired_job, batch_size=4, pause=0.3, parallel_shards=1)
    seen: list[list[tuple[object, ...]]] = []
    # Before a batch begins, at the end of a pause: whatever were left open would still be open.
    for wire in (wired.wires["ppc1"], wired.wires["ppc2"]):
        wire.before("FOR UPDATE", lambda: seen.append(server.sql(OPEN)), times=2)

    result = wired_job.apply()

    assert result.code == 0
    assert seen == [[], [], [], []]


def test_the_pause_is_between_batches_and_not_after_the_last(server_job: Job) -> None:
    """A pause longer than the deadline: one batch a shard needs none, two batches never come to the second."""
    plan_seven(server_job, batch_size=7, pause=60)
    assert server_job.apply().code == 0

    server_job.list([])
    server_job.configure(apply={"batch_size": 4, "pause": 60}, run={"deadline": "2s"})
    server_job.diff()
    result = server_job.apply("--force", "--allow-empty")

    assert result.code == 1
    assert "8 of 14 changes are in place" in result.err
    assert "the deadline passed: run.deadline = 2s" in result.err


@pytest.mark.parametrize(("workers", "at_once"), [(1, False), (2, True)])
def test_shards_side_by_side(wired_job: Job, wired: Wired, workers: int, at_once: bool) -> None:
    """Shard 1's batch is held until shard 2 is heard of, or until it is clear that it won't be."""
    plan_seven(wired_job, parallel_shards=workers)
    begun: list[str] = []
    for name in ("ppc1", "ppc2"):
        wired.wires[name].before("FOR UPDATE", lambda name=name: begun.append(name))  # type: ignore[misc]  # a bound loop variable
    wired.wires["ppc1"].before("^INSERT", lambda: wait_until(lambda: "ppc2" in begun) if at_once else None)
    wired.wires["ppc1"].after(COMMIT, lambda: begun.append("ppc1 done"))

    assert wired_job.apply().code == 0

    assert (begun.index("ppc2") < begun.index("ppc1 done")) == at_once


# -- replicas --


@pytest.fixture
def replication(second_server: Server) -> Iterator[Replication]:
    second_server.sql(f"CREATE USER IF NOT EXISTS {USER} IDENTIFIED BY %s", args=[PASSWORD])
    right = "SLAVE MONITOR" if second_server.is_mariadb else "REPLICATION CLIENT"
    second_server.sql(f"GRANT {right} ON *.* TO {USER}")
    second_server.sql("CREATE DATABASE IF NOT EXISTS lagging")
    second_server.sql(f"GRANT SELECT ON lagging.* TO {USER}")
    with Server("--server-id=4710", "--log-bin=log") as primary:
        replication = Replication(second_server, primary)
        yield replication
        replication.forget()
    second_server.sql("DROP DATABASE lagging")
    second_server.sql(f"REVOKE {right} ON *.* FROM {USER}")
    second_server.sql(f"REVOKE SELECT ON lagging.* FROM {USER}")


def test_the_grant_to_read_the_lag(server_job: Job, server: Server) -> None:
    """Without it the message names it; with it the server answers, here that it is nobody's replica."""
    plan_seven(server_job)
    replica = {"databases": {"replicas": {"1": server_job.databases.shard_urls["1"]}}}
    server_job.configure(apply={"max_lag": 1, "max_lag_wait": "0.1s"}, **replica)
    wrong, right = ("REPLICATION CLIENT", "REPLICA MONITOR") if server.is_mariadb else ("PROCESS", "REPLICATION CLIENT")

    told = {}
    for grant in (wrong, right):
        server.sql(f"GRANT {grant} ON *.* TO {USER}")
        told[grant] = server_job.apply().err, server_job.run("doctor").out
        server.sql(f"REVOKE {grant} ON *.* FROM {USER}")

    assert "cannot read the replication lag" in told[wrong][0]
    assert "grant REPLICA MONITOR (MariaDB 10.5+) or REPLICATION CLIENT (MySQL) on *.*" in told[wrong][0]
    assert "replica 1  " in told[wrong][1]
    assert "grant REPLICA MONITOR" in told[wrong][1]
    assert "does not replicate" in told[right][0]
    assert "it does not replicate" in told[right][1]
    assert "may do more than the job needs" not in told[right][1]


def test_a_replica_that_lags_is_waited_for_and_given_up(server_job: Job, replication: Replication) -> None:
    """One replica through all its states, as a start of its primary takes a second."""
    url = replication.replica.url("lagging", USER, PASSWORD)
    plan_seven(server_job)
    server_job.configure(
        databases={"replicas": {"2": url}}, apply={"batch_size": 4, "max_lag": 0, "max_lag_wait": "1s"}
    )
    where = f"replica of shard 2 (127.0.0.1:{replication.replica.port}/lagging)"

    none = server_job.apply()  # the server is nobody's replica yet

    assert none.code == 1
    assert f"{where} does not replicate, over apply.max_lag = 0 s" in none.err
    assert "apply.max_lag_wait = 1 s" in none.err
    assert server_job.off() == set(range(1, 8))  # shard 1 has no replica in the configuration

    replication.start(delay=3600)
    wait_until(lambda: (replication.lag() or 0) >= 1)
    late = server_job.run("-v", "apply", "--plan", str(server_job.plan_file))

    assert late.code == 1
    assert f"{where} lags " in late.err
    assert "s, waiting" in late.err
    assert server_job.off() == set(range(1, 8))

    replication.stop()
    replication.start(delay=0)
    server_job.configure(
        databases={"replicas": {"2": url}}, apply={"batch_size": 4, "max_lag": 0, "max_lag_wait": "30s"}
    )

    assert server_job.apply().code == 0  # once the replica has caught up
    assert server_job.off() == {*range(1, 8), *range(11, 18)}


def test_a_shard_is_asked_for_what_a_diff_needs_and_no_more(wired_job: Job, wired: Wired) -> None:
    """Each statement is a round trip, for each shard of each run."""
    assert wired_job.diff().code == 0

    (said,) = wired.wires["ppc1"].statements
    assert [statement.split()[0] for statement in said.split("; ")] == ["SET", "SET", "SELECT"]
