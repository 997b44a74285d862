"""Answers that no YT proxy gives: each ends in one line, in bounded time and memory."""

from __future__ import annotations

import json
import random
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from yt import yson

from chatsync.cancel_scope import CancelScope
from chatsync.config.load import load
from chatsync.errors import ChatsyncError
from chatsync.exclusions.table import ListTable
from chatsync.ytsaurus.client import Cluster
from chatsync.ytsaurus.table import locked
from tests.harness.job import TABLE, Job
from tests.harness.memory import bounded_memory
from tests.harness.yt_faults import COMMANDS, HTML, TOKEN, assert_one_line
from tests.harness.yt_http import Reply
from tests.harness.yt_proxy import FOREVER, YtProxy

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def in_bounded_memory() -> Iterator[None]:
    with bounded_memory():
        yield


# -- odd answers ---------------------------------------------------------------------------------------------------

NOT_IDS = [b"<a=1>%true", b'<a=1>"7"', b"<a=1>7", b"<a=1>#", b"%true", b"[7]", b"{a=7}", b'"7 "', b"7.", b"%nan", b"#"]


def test_odd_values_of_a_column_of_any_type_are_rejected_rows(cluster_job: Job, yt: YtProxy) -> None:
    cells = [yson.loads(text, encoding=None) for text in [*NOT_IDS, b"8", b"9u", b'"10"']]
    yt.write(TABLE, ids=cells, schema=[{"name": "client_id", "type": "any"}])
    cluster_job.configure(limits={"rejected_percent": 100})

    assert cluster_job.diff().code == 0

    listed = cluster_job.plan()["exclusions"]
    assert cluster_job.plan()["unknown"] == [8, 9, 10]
    assert listed["rejected_count"] == len(NOT_IDS)
    assert [row["value"] for row in listed["rejected"][:3]] == ['<"a"=1;>%true', '<"a"=1;>"7"', '<"a"=1;>7']


@pytest.mark.slow
@pytest.mark.parametrize("name", ["row_count", "modification_time", "type", "schema", "revision", "path", "dynamic"])
@pytest.mark.parametrize("value", [None, "", "x", -1, True, 1.5, [1], {"a": 1}, 2**63 - 1, "\x1b[2J"])
def test_attributes_of_another_kind_end_in_one_line(cluster_job: Job, yt: YtProxy, name: str, value: Any) -> None:
    yt.cypress.touch(TABLE, **{name: value})

    result = cluster_job.diff()

    assert result.code in {0, 1}
    assert "Traceback" not in result.err
    assert result.err.count("\n") == result.code
    assert "\x1b" not in result.err


@pytest.mark.parametrize("name", ["row_count", "modification_time"])
def test_an_attribute_that_is_missing_is_named(cluster_job: Job, yt: YtProxy, name: str) -> None:
    yt.cypress.touch(TABLE, **{name: None})

    assert_one_line(cluster_job.diff(), TABLE, f"the attribute {name} is missing")


@pytest.mark.slow
def test_a_bomb_is_not_unpacked(cluster_job: Job, yt: YtProxy) -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)  # as gzip
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(512)) + packer.flush()
    for command in COMMANDS:
        yt.heal()
        yt.answer_next(command, Reply(200, bomb, {"Content-Encoding": "gzip"}))

        assert_one_line(cluster_job.diff(), "with a body in gzip, which was not asked for")


ENDLESS = [(b"1", b"1"), (b'{"client_id"="', b"x"), (b'{"client_id"=[', b"1;"), (b"", b"[")]


@pytest.mark.slow
@pytest.mark.parametrize("endless", ENDLESS)
@pytest.mark.parametrize("kind", ["int64", "any"])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_answer_without_an_end_is_not_held_in_memory(
    cluster_job: Job, yt: YtProxy, command: str, kind: str, endless: tuple[bytes, bytes]
) -> None:
    start, more = endless

    def without_end() -> Iterator[bytes]:
        yield start
        while True:
            yield more * (1 << 19)

    yt.overwrite(TABLE, ids=[1], schema=[{"name": "client_id", "type": kind}])
    headers = {"X-YT-Response-Parameters": '{"start_row_index"=0;"approximate_row_count"=3}'}
    yt.answer_next(command, Reply(200, without_end(), headers))

    bounds = {"read_table": "a row of more than 4 MB where an id is expected"}
    stumbled = more == b"[" and kind == "any" and command == "read_table"  # its parser has a limit of its own
    assert_one_line(cluster_job.diff(), TABLE if stumbled else bounds.get(command, "more than 16 MB"))


@pytest.mark.parametrize("kind", ["int64", "any"])
def test_more_rows_than_there_are_end_the_reading(cluster_job: Job, yt: YtProxy, kind: str) -> None:
    def without_end() -> Iterator[bytes]:
        while True:
            yield (b"7\n" if kind == "int64" else b'{"client_id"=7};') * 100_000

    yt.overwrite(TABLE, ids=[1], schema=[{"name": "client_id", "type": kind}])
    headers = {"X-YT-Response-Parameters": '{"start_row_index"=0;"approximate_row_count"=1}'}
    yt.answer_next("read_table", Reply(200, without_end(), headers))

    assert_one_line(cluster_job.diff(), "more rows than the 1 of this version")


def odd_reply(chance: random.Random, real: bytes) -> Reply:
    """An answer that no proxy gives, or gives seldom."""
    values: list[Any] = [None, True, -1, 1.5, "", "\x1b[2J\r\n", [], {}, [[]], {"value": {}}, {"code": "x"}, 2**70]
    error = {"code": chance.choice(values), "message": chance.choice(values), "inner_errors": chance.choice(values)}
    cut = chance.randrange(len(real) + 1)
    bodies = [
        b"", b"\0", b"{", b"[" * 100_000, b'{"a":' * 10_000, b"\xff\xfe\xfd", HTML, b"1" * 100_000, real[:cut],
        real[:cut] + bytes([chance.randrange(256)]) + real[cut + 1 :], chance.randbytes(chance.randrange(200)),
        json.dumps(chance.choice(values)).encode(), json.dumps(error).encode(),
        json.dumps({"code": 1, "message": "m", "inner_errors": [error, chance.choice(values)]}).encode(),
        yson.dumps(chance.choice([v for v in values if v != 2**70])),
    ]  # fmt: skip
    names = ["X-YT-Error", "X-YT-Response-Code", "X-YT-Response-Parameters", "Content-Type", "Location", "X-YT-Framing"]
    texts = ["", "x", "1", "{", "{}", "[]", '{"code":1,"message":"m"}', "text/html", "application/json", "http://["]
    headers = {name: chance.choice(texts) for name in names if chance.random() < 0.3}
    return Reply(
        chance.choice([200] * 6 + [204, 301, 400, 401, 403, 404, 418, 429, 500, 503]), chance.choice(bodies), headers
    )


def read_list(cluster: Cluster) -> str:
    """Read the list as each command does; what came of it on one line."""
    scope = CancelScope(deadline=20, retry_timeout=0)
    try:
        with locked(cluster, scope, path=TABLE, key="exclusions.path") as table:
            return f"{ListTable(table, 'client_id').read(lambda _: None).rows} rows"
    except ChatsyncError as error:
        return str(error)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_thousand_odd_answers_each_end_in_one_line(
    cluster_job: Job, yt: YtProxy, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YT_TOKEN", TOKEN)
    section = load(cluster_job.config).exclusions
    chance = random.Random(seed)  # noqa: S311 - the same every time
    real = b'{"transaction_id"="1-2-3-4";"lock_id"="1-2-3-5";"node_id"="1-1-10191-5eed0001"}'
    slow, lines = 0.0, []
    for number in range(200):
        if number % 10 == 0:
            cluster = Cluster(section)
        yt.heal()
        command = "api" if number % 10 == 0 else chance.choice(COMMANDS[1:])  # asked for once by each client
        yt.answer_next(command, odd_reply(chance, real), times=chance.choice([1, FOREVER]))
        began = time.monotonic()

        lines.append(read_list(cluster))

        slow = max(slow, time.monotonic() - began)
    assert [line for line in lines if len(line.splitlines()) != 1 or len(line) > 1000] == []
    assert slow < 10
    assert len(set(lines)) > 20
    yt.heal()
    assert read_list(cluster) == "3 rows"
