"""A clique that is away, forbidden, out of memory or cut off: each has its message, and nothing is read instead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.job import TABLE
from tests.harness.yt_faults import HTML, INT64, TOKEN, WEB_PAGE
from tests.harness.yt_http import Cut, Reply
from tests.harness.yt_proxy import FOREVER
from tests.harness.yt_tables import YtFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.harness.export import Exporter

LIVE = "`chatsync diff --live`"


class Stub:
    """A clique that always answers the same."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    def answer(self, _sql: str, _settings: Mapping[str, str], _resolve: Callable[[str], Any]) -> Reply:
        return self.reply


def clickhouse_error(code: int, text: str) -> Reply:
    body = f"Code: {code}. DB::Exception: {text}\n".encode()
    return Reply(500, body, {"X-ClickHouse-Exception-Code": str(code), "Content-Type": "text/plain"})


def cut() -> Iterator[bytes]:
    yield b'["list", 0, 3, [0'
    raise Cut


@pytest.fixture
def asking(exporter: Exporter) -> Exporter:
    """A job that asks the clique `chatsync`, which is not there yet."""
    exporter.configure({"run": {"retry_timeout": "0.3s"}}, clique="chatsync")
    exporter.note("2026-01-01")
    for shard in exporter.job.shards:
        exporter.write_shard(shard, [(shard, 217, 0)])
    exporter.yt.write(TABLE, ids=[1, 2, 3], **INT64)
    exporter.yt.tokens = {TOKEN: "robot"}
    exporter.job.environment["YT_TOKEN"] = TOKEN
    exporter.yt.cliques["chatsync"] = Stub(clickhouse_error(241, "Memory limit exceeded"))
    return exporter


def plan_failure(
    exporter: Exporter, message: str, *, inside: str = "", status: int = 400, times: int = FOREVER
) -> None:
    inner = YtFault(1, inside) if inside else None
    exporter.yt._plan("fail", "query", YtFault(1, message, status=status, inner=inner), times)  # noqa: SLF001


FAULTS: dict[str, tuple[Callable[[Exporter], object], str]] = {
    "missing": (
        lambda e: e.yt.cliques.clear(),
        (
            "there is no clique chatsync: Invalid clique specification: Strawberry operation chatsync is not found; "
            "start it (yt clickhouse ctl start chatsync), or correct export.clique"
        ),
    ),
    "forbidden": (
        lambda e: setattr(e.yt, "users_of_cliques", set()),
        (
            'no permission to use the clique chatsync: User "robot" has no access to clique chatsync: Access denied '
            'for user "robot"; ask its owners for "use"'
        ),
    ),
    "suspended": (
        lambda e: plan_failure(e, "Clique chatsync is suspended; resume it to make queries"),
        (
            "the clique chatsync is suspended: Clique chatsync is suspended; resume it to make queries; resume it "
            "(yt clickhouse ctl resume chatsync)"
        ),
    ),
    "no instance": (
        lambda e: plan_failure(e, "Request failed", inside="No instances are running", status=500),
        (
            "clique chatsync is away or too busy: Request failed: No instances are running; gave up after 0.3s of "
            "retries (run.retry_timeout)"
        ),
    ),
    "overload": (
        lambda e: e.yt.overload("query", times=FOREVER),
        "clique chatsync is away or too busy: Too many; gave up after 0.3s of retries (run.retry_timeout)",
    ),
    "memory": (
        lambda _: None,
        (
            "clique chatsync failed the query: Code: 241. DB::Exception: Memory limit exceeded; give it memory "
            f"(max_memory_usage in export.settings), or run {LIVE}"
        ),
    ),
    "timeout": (
        lambda e: e.yt.cliques.update(chatsync=Stub(clickhouse_error(159, "Timeout exceeded"))),
        f"failed the query: Code: 159. DB::Exception: Timeout exceeded; raise export.timeout, or run {LIVE}",
    ),
    "stopped": (
        lambda e: e.yt.cliques.update(chatsync=Stub(clickhouse_error(394, "Query was cancelled"))),
        f"clique chatsync: the query was stopped: Code: 394. DB::Exception: Query was cancelled; run {LIVE}",
    ),
    "too many queries": (
        lambda e: e.yt.cliques.update(chatsync=Stub(clickhouse_error(202, "Too many simultaneous queries"))),
        "clique chatsync is away or too busy: Code: 202. DB::Exception: Too many simultaneous queries; gave up after",
    ),
    "a failure behind a good status": (
        lambda e: e.yt.cliques.update(chatsync=Stub(Reply(200, b'["list", 0\nCode: 241. DB::Exception: Memory\n'))),
        "clique chatsync failed the query: Code: 241. DB::Exception: Memory; give it memory",
    ),
    "an answer that is cut": (
        lambda e: e.yt.cliques.update(chatsync=Stub(Reply(200, b'["list", 0, 3'))),
        "clique chatsync: an incomplete answer is not used: its last line is cut",
    ),
    "no line at all": (
        lambda e: e.yt.cliques.update(chatsync=Stub(Reply(200, b"\n"))),
        "clique chatsync: an incomplete answer is not used: there is no line of 'list'",
    ),
    "a web page": (
        lambda e: e.yt.answer_next("query", Reply(200, HTML, WEB_PAGE), times=FOREVER),
        "HTTP 200 with a web page in place of an answer",
    ),
    "a connection that is cut": (
        lambda e: e.yt.on("query", lambda: e.yt.answer_next("query", Reply(200, cut())), times=FOREVER),
        "the cluster is away or too busy: ",
    ),
    "a wrong token": (
        lambda e: e.yt.on("query", lambda: setattr(e.yt, "tokens", {"other": "robot"})),
        "the YT token is wrong or missing: ",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told_and_nothing_is_read_here_instead(asking: Exporter, fault: str) -> None:
    spoil, text = FAULTS[fault]
    spoil(asking)

    done = asking.job.diff()

    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1), done
    assert re.sub(r"127\.0\.0\.1:\d+", "hahn", done.err).startswith("chatsync: hahn:"), done.err
    assert text in done.err
    assert asking.yt.commands.count("read_table") == 0


def test_a_silent_clique_is_waited_for_no_longer_than_its_timeout(asking: Exporter, mocker: Any) -> None:
    mocker.patch("chatsync.ytsaurus.clique._MARGIN_SECONDS", 0.2)
    asking.configure({"run": {"retry_timeout": "0.1s"}}, clique="chatsync", timeout="1s")
    asking.yt.hang("query", times=FOREVER)

    done = asking.job.diff()

    assert done.code == 1
    assert "clique chatsync: the cluster is away or too busy: " in done.err


def test_a_fault_that_passes_is_not_told(asking: Exporter) -> None:
    plan_failure(asking, "Request failed", inside="No instances are running", status=500, times=1)

    assert "Memory limit exceeded" in asking.job.diff().err
    assert asking.yt.commands.count("query") == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_the_doctor_tells_each_fault_of_the_clique(asking: Exporter, fault: str) -> None:
    """It asks for the comparison of no row, so that a clique that only answers is not taken for one that will do."""
    spoil, text = FAULTS[fault]
    spoil(asking)

    shown = asking.job.run("doctor")

    assert shown.code == 1
    (line,) = [line for line in shown.out.splitlines() if line.startswith("✗ clique")]
    assert text.split("; gave up")[0] in line


def test_live_asks_no_clique(asking: Exporter) -> None:
    assert asking.job.diff("--live").code == 0
    assert asking.yt.commands.count("query") == 0


def test_the_commands_that_stay_live_ask_no_clique(asking: Exporter) -> None:
    assert asking.job.run("status").code == 0
    assert asking.job.run("explain", "1").code == 0
    assert asking.job.run("check").code == 0
    assert asking.yt.commands.count("query") == 0
