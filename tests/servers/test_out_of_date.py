"""What a plan of a real server's databases is not bound to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.harness.job import Job


def test_another_password_is_the_same_database(server_job: Job) -> None:
    server_job.settle({1: 1})
    server_job.list([1])
    server_job.diff()
    target = server_job.plan()["target"]
    urls = {name: url + "?connection_timeout=5" for name, url in server_job.databases.shard_urls.items()}
    server_job.configure(databases={"shards": urls})

    assert server_job.apply().code == 0
    assert target.startswith("sha256:")
    assert "chatsync:" not in target
