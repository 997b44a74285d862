"""How often the steps wait for servers in sequence: what counts where they are far away. Logins are not counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.job import MODIFIED, Job
from tests.harness.rounds import Rounds
from tests.harness.schema import create_world
from tests.harness.servers import Server
from tests.harness.wire import Wired

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_mock import MockerFixture

SHARDS, CHANGES = 16, 1000


@pytest.fixture
def wired() -> Iterator[Wired]:
    """Sixteen shards and the dict database, each behind a wire; not on the server that other tests use."""
    with Server() as server, Wired(create_world(server, shards=SHARDS)) as wired:
        yield wired


@pytest.fixture
def job(wired: Wired, tmp_path: Path) -> Job:
    """Four in five of the changes turn off, the others turn on; nothing is planned yet."""
    job = Job(tmp_path, wired)
    job.settle({client: 1 + client % SHARDS for client in range(1, CHANGES + 1)})
    for shard in job.shards:
        job.shard_sql(
            shard,
            f"INSERT INTO clients_features SELECT ClientID, 217, 0 FROM ppcdict.shard_client_id "
            f"WHERE shard = {shard} AND ClientID > {CHANGES * 4 // 5}",
        )
    job.list(range(1, CHANGES * 4 // 5 + 1), modified=MODIFIED)
    return job


@pytest.fixture
def checks_stay_young(mocker: MockerFixture) -> None:
    """Don't check lock and mod-time once more only because this machine is busy, or an answer was held."""
    mocker.patch("chatsync.sync.guard._RECENT_SECONDS", 60)


def rounds(job: Job, wired: Wired, *command: str) -> int:
    with Rounds(wired) as counted:
        result = job.run(*command, "--plan", str(job.plan_file))
    assert (result.code, result.err) == (0, "")
    return counted.count


@pytest.mark.usefixtures("checks_stay_young")
def test_the_chain_waits_seldom(job: Job, wired: Wired) -> None:
    assert rounds(job, wired, "diff") <= 3
    assert len(job.plan()["turn_off"]["1"]) + len(job.plan()["turn_on"]["1"]) == CHANGES // SHARDS
    job.configure(apply={"parallel_shards": SHARDS})
    assert rounds(job, wired, "apply", "--force") <= 20
    assert rounds(job, wired, "set-modtime") <= 13
    assert rounds(job, wired, "diff", "--if-modified") <= 2


@pytest.mark.usefixtures("checks_stay_young")
def test_a_batch_waits_four_times(job: Job, wired: Wired) -> None:
    """Lock and read its rows, write them (some have a row, some have none), check lock and mod-time, commit."""
    waits = [statements_of_apply(job, wired, batches=batches) for batches in (1, 3)]

    assert waits[1] - waits[0] == 2 * 4


def statements_of_apply(job: Job, wired: Wired, *, batches: int) -> int:
    """Count what is sent in sequence for so many batches of ten clients: all are of one shard."""
    job.configure(apply={"batch_size": 10})
    clients = [client for client in range(1, CHANGES + 1) if client % SHARDS == 0][: 10 * batches]
    for shard in job.shards:
        job.shard_sql(shard, "DELETE FROM clients_features")
    for client in clients[::2]:
        job.row(1, client, 1)
    job.list(clients)
    job.diff()
    for wire in wired.wires.values():
        wire.statements.clear()
    assert job.apply("--force").code == 0
    assert len(job.off()) == 10 * batches
    return len(wired.wires["ppcdict"].statements) + len(wired.wires["ppc1"].statements)
