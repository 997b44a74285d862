"""The plan file's target on a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.harness.job import Job


def test_the_target_is_the_databases_and_no_password(server_job: Job) -> None:
    assert server_job.diff().code == 0
    target = server_job.plan()["target"]

    moved = dict(server_job.databases.shard_urls)
    moved["3"], moved["4"] = moved["4"], moved["3"]
    for url, same in ((moved, False), (server_job.databases.shard_urls, True)):
        server_job.configure(databases={"shards": url})
        assert server_job.diff().code == 0
        assert (server_job.plan()["target"] == target) is same
