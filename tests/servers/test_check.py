"""`check` with real servers: one that is away, and a job that is never started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.examples import CRITICAL, OK, UNKNOWN, WARNING, ago, check, make_synced
from tests.harness.job import HOUR, TABLE, Job

if TYPE_CHECKING:
    from tests.harness.servers import Server
    from tests.harness.yt_proxy import YtProxy


def test_a_server_that_is_away_is_unknown(server_job: Job, server: Server) -> None:
    make_synced(server_job)
    server.kill()

    result = check(server_job)

    assert result.code == UNKNOWN
    assert "dict (" in result.out
    assert "shard 4 (" in result.out


def test_a_job_that_never_starts_is_seen_and_one_chain_mends_it(server_job: Job, yt: YtProxy) -> None:
    server_job.settle_off({1: 1, 2: 2})
    server_job.settle({3: 3})
    server_job.keep_list_in(yt)
    yt.write(TABLE, ids=[1, 2], modified=ago(72 * HOUR))
    assert server_job.chain().code == 0
    assert check(server_job).code == OK

    seen = []
    for lag in (HOUR, 3 * HOUR, 23 * HOUR, 25 * HOUR):
        yt.overwrite(TABLE, ids=[1, 3], modified=ago(lag))
        seen.append(check(server_job).code)

    assert seen == [OK, WARNING, WARNING, CRITICAL]
    assert server_job.off() == {1, 2}
    assert server_job.chain().code == 0
    assert check(server_job, "--drift").code == OK
    assert server_job.off() == {1, 3}
