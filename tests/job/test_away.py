"""A part that accepts and says nothing: people are answered all the same, in time, with what there is."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from chatsync.exclusions.file import ListFile
from tests.harness.job import MODIFIED, RECORDS, Job, SqliteFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chatsync.core import ExclusionList
    from tests.harness.job import Result


@pytest.fixture
def hole() -> Iterator[str]:
    """The address of a server that takes every connection and never says a word."""
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(server.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    for connection in kept:
        connection.close()


@pytest.fixture
def known(job: Job) -> Job:
    """Two clients that are off; the job remembers by its records who did it."""
    job.settle({1: 1, 2: 2})
    job.list([1, 2], modified=MODIFIED)
    job.configure(records=RECORDS)
    assert job.chain("--force").code == 0
    return job


def lose(job: Job, part: str, hole: str) -> None:
    """Let a part of the job lead into the hole."""
    url = f"mysql://chatsync:secret-word@{hole}/ppc"
    databases: dict[str, Any] = {"dict": job.databases.dict_url, "shards": dict(job.databases.shard_urls)}
    if part == "list":
        job.exclusions = {"proxy": f"http://{hole}", "path": "//home/list"}
    elif part == "dict":
        databases["dict"] = url
    else:
        databases["shards"]["3"] = url
    job.configure(databases=databases, records=RECORDS)


PARTS = ["list", "dict", "shard 3"]
TURNED_OFF = "this job turned it off at"


def explained(result: Result, part: str) -> None:
    text = result.out
    if part == "dict":
        assert text.startswith(
            "Client 1: its chat is UNKNOWN, because the dict database can't be read, and the client is on"
        )
        assert "the database where it lives can't be read at the moment: please ask again later" in text
    else:
        assert text.startswith("Client 1: the chat is OFF, ")
        assert TURNED_OFF in text
    assert "changed by  run 2" in text


@pytest.mark.parametrize("part", PARTS)
def test_explain_and_status_say_what_there_is(
    known: Job, part: str, hole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatsync.diagnostics.survey._ANSWER_SECONDS", 0.5)
    lose(known, part, hole)

    told, seen = known.run("explain", "1"), known.run("status")

    assert (told.code, seen.code) == (1, 1)
    explained(told, part)
    named = {"list": f"{hole}://home/list", "dict": f"dict ({hole}/ppc)", "shard 3": f"shard 3 ({hole}/ppc)"}
    assert told.err == f"chatsync: {named[part]}: no answer within 4s\n"
    assert seen.err == f"chatsync: not all could be seen: {part}; {named[part]}: no answer within 4s\n"
    assert f"  ! {named[part]}: no answer within 4s" in seen.out
    assert "\n1        " in seen.out
    assert known.records()[0]["id"][:15] in seen.out


def test_a_list_that_stops_in_the_middle_is_not_waited_for(
    known: Job, yt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatsync.diagnostics.survey._ANSWER_SECONDS", 0.5)
    known.keep_list_in(yt)
    yt.write("//home/sales/exclusions", ids=[1, 2])
    yt.hang("read_table")

    told = known.run("explain", "1")

    assert told.code == 1
    assert told.out.startswith("Client 1: the chat is OFF, and the exclusion list can't be read")


def test_a_long_list_is_read_to_its_end(known: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes longer than a silent one is waited for, but its rows keep coming."""
    read, never = ListFile.read, threading.Event()

    def slowly(source: ListFile, progress: Callable[[int], None], keep: Any = None) -> ExclusionList:
        for _ in range(6):
            never.wait(0.2)
            progress(0)
        return read(source, progress, keep)

    monkeypatch.setattr(ListFile, "read", slowly)
    monkeypatch.setattr("chatsync.diagnostics.survey._ANSWER_SECONDS", 0.6)

    told = known.run("explain", "1")

    assert (told.code, told.err) == (0, "")
    assert ": listed" in told.out


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "command", [("explain", "1"), ("status",), ("check",), ("check", "--timeout", "2s")], ids=" ".join
)
def test_ten_seconds_are_enough(known: Job, part: str, command: tuple[str, ...], hole: str) -> None:
    """As people and monitoring meet it: a process of its own, with the default waits."""
    lose(known, part, hole)
    began = time.monotonic()

    result = known.process(*command)

    seconds = time.monotonic() - began
    assert result.code in (1, 3)
    assert seconds < {"check": 15, "check --timeout 2s": 7}.get(
        " ".join(command), 10
    )  # with the start, and a busy machine


def test_of_very_many_parts_the_later_ones_are_named_alone(
    tmp_path: Path, hole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred shards behind one switch that is down must not fill the screen."""
    monkeypatch.setattr("chatsync.diagnostics.survey._ANSWER_SECONDS", 0.3)
    job = Job(tmp_path, SqliteFiles(tmp_path, 12))
    url = f"mysql://chatsync:secret-word@{hole}/ppc"
    shards = {number: url + number if int(number) > 2 else own for number, own in job.databases.shard_urls.items()}
    job.configure(databases={"shards": shards})

    result = job.run("status")

    assert result.out.count(": no answer within 4s") == 5
    assert "  ! 5 more parts could not be read: shard 8, shard 9, shard 10, shard 11, shard 12" in result.out
