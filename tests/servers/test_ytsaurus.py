"""The whole chain as real processes: a list in YT, databases on a real server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.harness.job import FEATURE_ID, TABLE, Job

if TYPE_CHECKING:
    from tests.harness.yt_proxy import YtProxy


def test_rows_of_real_processes_on_a_real_server(server_job: Job, yt: YtProxy) -> None:
    server_job.keep_list_in(yt)
    server_job.settle({1: 1, 2: 2, 3: 3})
    server_job.row(3, 3, 0)
    yt.write(TABLE, ids=[1, 2, "n/a"], modified=datetime(2026, 10, 23, 10, 15, 0, 123456, tzinfo=UTC))
    yt.tokens = {"token-1": "robot"}
    server_job.environment["YT_TOKEN"] = "token-1"
    plan = str(server_job.plan_file)

    steps = [
        server_job.process("diff", "--plan", plan, "--if-modified"),
        server_job.process("apply", "--plan", plan, "--force"),
        server_job.process("set-modtime", "--plan", plan),
        server_job.process("diff", "--exit-code"),
    ]

    assert [(step.code, step.err) for step in steps] == [(0, "")] * 4
    assert server_job.rows() == {(1, 1, FEATURE_ID, 0), (2, 2, FEATURE_ID, 0), (3, 3, FEATURE_ID, 1)}
    assert server_job.property() == "2026-10-23T10:15:00.123456Z"
