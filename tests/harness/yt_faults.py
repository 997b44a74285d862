"""What the tests of the way to a cluster share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.harness.job import Result
    from tests.harness.yt_proxy import YtProxy

HTML = b"<!DOCTYPE html><html><title>Log in</title></html>"
WEB_PAGE = {"Content-Type": "text/html; charset=utf-8"}
INT64: dict[str, Any] = {"schema": [{"name": "client_id", "type": "int64"}], "strict": True}
COMMANDS = ["api", "start_transaction", "lock", "get", "hosts", "read_table"]
TOKEN = "y1_AQAD-a-token-that-may-not-be-seen"


def assert_one_line(result: Result, *parts: str) -> None:
    assert (result.code, result.out) == (1, ""), result
    assert result.err.startswith("chatsync: ")
    assert result.err.count("\n") == 1
    assert [part for part in parts if part not in result.err] == []


def attempts(yt: YtProxy, command: str) -> int:
    return yt.commands.count(command)
