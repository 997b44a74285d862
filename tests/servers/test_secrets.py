"""Passwords and tokens are in no output, with -vv too, whatever goes wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.harness.job import TABLE, Job, Result
from tests.harness.schema import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.yt_proxy import YtProxy

TOKEN = "y1_AgAAAAD-hunter2"
WRONG_TOKEN = "y1_AgAAAAD-hunter3"
WRONG_PASSWORD = "swordfish-4"
DEBUG = ("-vv", "--log-format", "json")
SECRETS = (TOKEN, WRONG_TOKEN, PASSWORD, quote(PASSWORD, safe=""), WRONG_PASSWORD)


def nothing(_job: Job, _yt: YtProxy) -> None:
    pass


def wrong_password(job: Job, _yt: YtProxy) -> None:
    shards = {
        name: url.replace(quote(PASSWORD, safe=""), WRONG_PASSWORD) for name, url in job.databases.shard_urls.items()
    }
    job.configure(databases={"shards": shards})


def wrong_token(job: Job, _yt: YtProxy) -> None:
    job.environment["YT_TOKEN"] = WRONG_TOKEN


def wrong_url(job: Job, _yt: YtProxy) -> None:
    url = job.databases.dict_url
    job.configure(databases={"dict": url + "?no_such_option=1"})


def unreadable_url(job: Job, _yt: YtProxy) -> None:
    job.configure(databases={"dict": job.databases.dict_url.replace("mysql://", "mysql:/")})


def cluster_away(job: Job, yt: YtProxy) -> None:
    job.configure(run={"retry_timeout": "0.3s"})
    yt.stop()


def no_permission(_job: Job, yt: YtProxy) -> None:
    yt.deny(TABLE)


FAULTS: list[tuple[Callable[[Job, YtProxy], None], int]] = [
    (nothing, 0),
    (wrong_password, 1),
    (wrong_token, 1),
    (wrong_url, 2),
    (unreadable_url, 2),
    (cluster_away, 1),
    (no_permission, 1),
]


@pytest.mark.parametrize(("fault", "code"), FAULTS)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_is_said(
    server_job: Job, yt: YtProxy, fault: Callable[[Job, YtProxy], None], code: int, log_format: str
) -> None:
    server_job.keep_list_in(yt)
    server_job.settle({1: 1})
    yt.write(TABLE, ids=[1])
    yt.tokens = {TOKEN: "robot"}
    server_job.environment["YT_TOKEN"] = TOKEN
    fault(server_job, yt)

    result = server_job.process("-vv", "--log-format", log_format, "diff", "--plan", "plan.json")

    assert result.code == code
    assert len(result.err.splitlines()) > (1 if code != 2 else 0)
    plan = server_job.plan_file.read_text() if server_job.plan_file.exists() else ""
    assert [secret for secret in SECRETS if secret in result.out + result.err + plan] == []


def test_no_secret_is_in_the_arguments_of_the_process(server_job: Job, yt: YtProxy) -> None:
    server_job.keep_list_in(yt)
    server_job.environment["YT_TOKEN"] = TOKEN
    arguments: list[str] = []
    yt.write(TABLE, ids=[])
    yt.on("lock", lambda: arguments.append(Path(f"/proc/{process.pid}/cmdline").read_text()))

    process = server_job.start("diff")
    process.communicate(timeout=60)

    assert len(arguments) == 1
    assert "diff" in arguments[0]
    assert [secret for secret in SECRETS if secret in arguments[0]] == []


def log(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.err.splitlines()]


def test_nothing_secret_is_logged_however_much_is_asked_for(server_job: Job, yt: YtProxy) -> None:
    """The clients' own debug lines, which hold requests with headers, go through our log with -vv."""
    job = server_job
    job.environment["YT_TOKEN"] = TOKEN
    yt.tokens = {TOKEN: "robot"}
    job.keep_list_in(yt)
    job.settle_off({1: 1, 2: 2})
    job.settle({3: 3})
    yt.write(TABLE, ids=[1, 3])

    process = job.process(*DEBUG, "diff")
    chain = [job.run(*DEBUG, command, "--plan", str(job.plan_file)) for command in ("diff", "apply", "set-modtime")]
    results = [process, *chain]
    yt.deny(TABLE)
    results.append(job.run(*DEBUG, "diff"))
    yt.tokens = {"another": "robot"}
    results.append(job.run(*DEBUG, "diff"))

    assert [result.code for result in results] == [0, 0, 0, 0, 1, 1]
    assert any(line["class_name"] == "Yt" for line in log(results[0]))
    (ended,) = [line for line in log(results[-1]) if "exit_code" in line]  # a shard's thread may log after it
    assert "traceback" in ended
    everything = "".join(result.out + result.err for result in results)
    assert TOKEN not in everything
    assert PASSWORD not in everything


def test_a_schema_that_is_the_password_by_a_slip(server_job: Job) -> None:
    """doctor need not show it; that the server knows no such schema is all there is to say."""
    url, _, _ = server_job.databases.dict_url.rpartition("/")
    server_job.configure(databases={"dict": f"{url}/{WRONG_PASSWORD}"})

    result = server_job.process("doctor")

    assert result.code == 1
    assert "***" in result.out
    assert WRONG_PASSWORD not in result.out + result.err
