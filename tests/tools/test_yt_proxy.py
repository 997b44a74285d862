"""The stand-in keeps its promises to the real ytsaurus-client. No test here is of chatsync."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yt.logger
import yt.wrapper
from yt.common import YtError
from yt.packages.requests import exceptions as requests_errors
from yt.wrapper import JsonFormat, SchemafulDsvFormat, YsonFormat, YtClient
from yt.wrapper.errors import YtNoSuchTransaction, YtProxyUnavailable, YtResolveError, YtTokenError
from yt.wrapper.http_helpers import get_user_name

from tests.harness.yt_proxy import FOREVER, YtProxy
from tests.harness.yt_tables import IdRows

if TYPE_CHECKING:
    from collections.abc import Iterator

LIST = "//home/list"
MOD_TIME = datetime(2026, 11, 23, 10, 15, 0, 123456, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger=yt.logger.LOGGER.name)


@pytest.fixture
def proxy() -> Iterator[YtProxy]:
    with YtProxy() as started:
        yield started


def client(proxy: YtProxy, *, token: str = "secret", retries: bool = False, **proxy_config: Any) -> YtClient:
    at_once = {"policy": "constant_time", "constant_time": 0}
    read_retries = {"enable": retries, "count": 3, "backoff": at_once}
    options = {"retries": {"enable": retries, "count": 3, "backoff": at_once}, "request_timeout": 2000, **proxy_config}
    config = {"api_version": "v4", "proxy": options, "read_retries": read_retries, "transaction_sleep_period": 1}
    return YtClient(proxy=proxy.url, token=token, config=config)


def ids(proxy: YtProxy, path: str = LIST, **options: Any) -> list[int]:
    text = read(client(proxy, **options), path, SchemafulDsvFormat(columns=["client_id"]))
    return [int(line) for line in text.split()]


def read(connected: YtClient, path: Any, form: Any) -> bytes:
    return bytes(connected.read_table(path, format=form, raw=True).read())


# -- snapshots -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["overwrite", "remove"])
def test_a_snapshot_lock_pins_rows_and_attributes(proxy: YtProxy, change: str) -> None:
    proxy.write(LIST, ids=[1, 2, 3], modified=MOD_TIME)
    connected = client(proxy)
    with connected.Transaction():
        node = "#" + connected.lock(LIST, mode="snapshot")["node_id"]
        before = connected.get(node + "/@", attributes=["row_count", "modification_time", "revision"])
        proxy.overwrite(LIST, ids=[9]) if change == "overwrite" else proxy.remove(LIST)
        assert connected.get(node + "/@", attributes=list(before)) == before
        assert read(connected, node, SchemafulDsvFormat(columns=["client_id"])) == b"1\n2\n3\n"
    assert before["row_count"] == 3
    assert before["modification_time"] == "2026-11-23T10:15:00.123456Z"


def test_outside_the_transaction_the_new_version_is_seen(proxy: YtProxy) -> None:
    node = "#" + proxy.write(LIST, ids=[1])
    connected = client(proxy)
    with connected.Transaction():
        connected.lock(LIST, mode="snapshot")
        proxy.overwrite(LIST, ids=[7, 8])
        assert client(proxy).get(node + "/@row_count") == 2
    assert connected.get(node + "/@row_count") == 2
    assert proxy.cypress.live_transactions == []


def test_the_read_without_retries_and_own_transaction_leaves_the_outer_one(proxy: YtProxy) -> None:
    """Of the client, not of the stand-in: heavy_commands.py, FakeTransaction's null id replaces the transaction."""
    proxy.write(LIST, ids=[1])
    connected = client(proxy)
    connected.config["read_retries"]["create_transaction_and_take_snapshot_lock"] = False
    with connected.Transaction():
        node = "#" + connected.lock(LIST, mode="snapshot")["node_id"]
        proxy.overwrite(LIST, ids=[2])
        assert read(connected, node, SchemafulDsvFormat(columns=["client_id"])) == b"2\n"


def test_a_transaction_not_pinged_expires(proxy: YtProxy) -> None:
    proxy.write(LIST, ids=[1])
    connected = client(proxy)
    with pytest.raises(YtNoSuchTransaction), connected.Transaction(timeout=30_000, ping=False):
        proxy.cypress.pass_time(29)
        connected.lock(LIST, mode="snapshot")
        proxy.cypress.pass_time(2)
        connected.get(LIST + "/@row_count")


def test_touch_moves_the_modification_time_and_not_the_content(proxy: YtProxy) -> None:
    proxy.write(LIST, ids=[1], modified=MOD_TIME)
    before = client(proxy).get(LIST + "/@")
    proxy.cypress.touch(LIST, owner_note="x")
    after = client(proxy).get(LIST + "/@")
    assert after["content_revision"] == before["content_revision"]
    assert after["revision"] > before["revision"]
    assert after["modification_time"] > before["modification_time"]


# -- paths ---------------------------------------------------------------------------------------------------------


def test_a_link_by_its_id_and_a_link_on_the_way(proxy: YtProxy) -> None:
    connected = client(proxy)
    proxy.write(LIST, ids=[1])
    link = proxy.link("//home/by name", "//home")
    through = "//home/by name" + LIST.removeprefix("//home")

    assert connected.get(f"#{link}/@type") == "map_node"
    assert connected.get(f"#{link}&/@target_path") == "//home"
    assert connected.get("//home/by name&/@modification_time") == connected.get(f"#{link}&/@creation_time")
    assert connected.get("//home&/@type") == "map_node"  # no link: the ampersand changes nothing
    assert connected.get(through + "/@path") == LIST


def test_a_link_that_is_set_again_is_another_node_and_a_locked_one_stays(proxy: YtProxy) -> None:
    connected = client(proxy)
    proxy.write("//home/other", ids=[2])
    first = proxy.link("//home/link", LIST)

    with connected.Transaction(ping=False):
        node = connected.lock("//home/link&", mode="snapshot")["node_id"]
        second = proxy.link("//home/link", "//home/other")
        locked, by_name = (connected.get(f"{path}&/@target_path") for path in (f"#{node}", "//home/link"))

    assert (node, first == second) == (first, False)
    assert (locked, by_name) == (LIST, "//home/other")


def test_a_link_is_followed_unless_ampersand(proxy: YtProxy) -> None:
    proxy.write(LIST, ids=[1])
    proxy.link("//home/link", LIST)
    connected = client(proxy)
    assert ids(proxy, "//home/link") == [1]
    assert connected.get("//home/link/@type") == "table"
    assert connected.get("//home/link&/@type") == "link"


def test_what_is_not_there(proxy: YtProxy) -> None:
    proxy.write(LIST, ids=[])
    connected = client(proxy)
    assert [connected.exists(p) for p in (LIST, "//home/none", LIST + "/@id", LIST + "/@none")] == [1, 0, 1, 0]
    assert connected.list("//home") == ["list"]
    assert connected.get("//home/@type") == "map_node"
    for path in ("//home/none/@id", LIST + "/@none", "#1-2-3-4/@id"):
        with pytest.raises(YtResolveError):
            connected.get(path)


# -- formats -------------------------------------------------------------------------------------------------------

MIXED: list[dict[str, Any]] = [
    {"client_id": 1, "s": "a\tb\\c\nж"},
    {"client_id": None, "s": b"\xff"},
    {"s": "x", "d": 1.0, "b": True},
]


def test_yson_gives_every_type_back(proxy: YtProxy) -> None:
    rows: list[dict[str, Any]] = [
        {"i": -1, "u": yt.yson.YsonUint64(2**64 - 1), "s": "ж", "d": 0.5, "b": False, "n": None, "a": {"x": [1]}}
    ]
    proxy.write(LIST, rows=rows)
    assert list(client(proxy).read_table(LIST)) == rows
    assert list(client(proxy).read_table(LIST, format=YsonFormat(format="text"))) == rows


def test_a_schema_fills_in_nulls(proxy: YtProxy) -> None:
    schema = [{"name": "client_id", "type": "int64"}, {"name": "note", "type": "string"}]
    proxy.write(LIST, ids=[1], schema=schema, strict=True)
    assert list(client(proxy).read_table(LIST)) == [{"client_id": 1, "note": None}]
    assert client(proxy).get(LIST + "/@schema").attributes["strict"]


def test_json_and_dsv(proxy: YtProxy) -> None:
    proxy.write(LIST, rows=MIXED)
    text = read(client(proxy), LIST, JsonFormat(attributes={"encode_utf8": True})).decode()
    assert [json.loads(line) for line in text.splitlines()][1] == {"client_id": None, "s": "\xff"}
    dsv = read(client(proxy), LIST, yt.wrapper.DsvFormat())
    assert dsv == b"client_id=1\ts=a\\tb\\\\c\\n\xd0\xb6\ns=\xff\ns=x\td=1.\tb=true\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"missing_value_mode": "skip_row"}, b"1\ta\\tb\\\\c\\n\xd0\xb6\n"),
        ({"missing_value_mode": "print_sentinel"}, b"1\ta\\tb\\\\c\\n\xd0\xb6\n\t\xff\n\tx\n"),
        (
            {"missing_value_mode": "print_sentinel", "missing_value_sentinel": "-", "enable_column_names_header": True},
            b"client_id\ts\n1\ta\\tb\\\\c\\n\xd0\xb6\n-\t\xff\n-\tx\n",
        ),
    ],
)
def test_schemaful_dsv(proxy: YtProxy, options: dict[str, Any], expected: bytes) -> None:
    proxy.write(LIST, rows=MIXED)
    form = SchemafulDsvFormat(columns=["client_id", "s"], attributes=options)
    assert read(client(proxy), LIST, form) == expected


def test_schemaful_dsv_fails_on_a_missing_value_also_late(proxy: YtProxy) -> None:
    form = SchemafulDsvFormat(columns=["client_id"])
    for rows in ([{"x": 1}], [{"client_id": 1}] * 1500 + [{}]):  # a plain 400, and an error in the trailers
        proxy.write(LIST, rows=rows)
        with pytest.raises(YtError, match='Column "client_id" is in schema but missing'):
            read(client(proxy), LIST, form)


def test_columns_and_ranges(proxy: YtProxy) -> None:
    proxy.write(LIST, rows=[{"client_id": i, "x": "y"} for i in range(10)])
    found = client(proxy, retries=True).read_table(LIST + "{client_id,none}[#2:#4,#6,#8:]")
    assert list(found) == [{"client_id": i} for i in (2, 3, 6, 8, 9)]


def test_a_disabled_format_is_refused(proxy: YtProxy) -> None:
    proxy.write(LIST, ids=[1])
    proxy.disabled_formats = {"schemaful_dsv"}
    with pytest.raises(YtError) as caught:
        ids(proxy)
    assert caught.value.contains_code(1925)


def test_many_ids_kept_as_text_read_the_same(proxy: YtProxy) -> None:
    proxy.cypress.write(LIST, IdRows("client_id", b"1\n22\n333"))
    assert ids(proxy) == [1, 22, 333]
    assert ids(proxy, LIST + "[#1:]") == [22, 333]
    assert list(client(proxy).read_table(LIST)) == [{"client_id": 1}, {"client_id": 22}, {"client_id": 333}]


# -- users ---------------------------------------------------------------------------------------------------------


def test_tokens_and_permissions(proxy: YtProxy) -> None:
    proxy.tokens = {"secret": "robot", "other": "guest"}
    proxy.write(LIST, ids=[1])
    proxy.deny(LIST, "guest")
    assert ids(proxy) == [1]
    assert get_user_name(client=client(proxy)) == "robot"
    with pytest.raises(YtTokenError) as unknown:
        ids(proxy, token="wrong")
    assert unknown.value.is_authentication_error()
    with pytest.raises(YtError) as denied:
        ids(proxy, token="other")
    assert denied.value.is_access_denied()


# -- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["gzip, identity", "identity"])
@pytest.mark.parametrize("framing", [True, False])
def test_a_body_cut_or_failed_in_the_middle(proxy: YtProxy, encoding: str, framing: bool) -> None:
    proxy.framing = framing
    proxy.write(LIST, ids=range(5000))
    proxy.cut_body_after(10_000)
    with pytest.raises(requests_errors.ChunkedEncodingError):
        ids(proxy, accept_encoding=encoding)
    proxy.fail_body_after(10_000, code=716)
    with pytest.raises(YtError) as caught:
        ids(proxy, accept_encoding=encoding)
    assert caught.value.is_chunk_unavailable()
    assert ids(proxy, accept_encoding=encoding) == list(range(5000))


def test_the_clients_own_read_retries_resume(proxy: YtProxy) -> None:
    proxy.write(LIST, ids=range(5000))
    proxy.cut_body_after(10_000)
    assert ids(proxy, retries=True) == list(range(5000))
    again = [seen for seen in proxy.requests if seen.command == "read_table"][1]
    assert again.params["path"].attributes["lower_limit"]["row_index"] > 0


def test_a_short_reply_is_well_formed(proxy: YtProxy) -> None:
    proxy.write(LIST, ids=range(5000))
    proxy.cut_rows(10)
    assert ids(proxy) == list(range(10))


def test_busy_proxies_are_retried(proxy: YtProxy) -> None:
    proxy.write(LIST, ids=[1])
    for busy in (proxy.ban, proxy.overload, proxy.throttle):
        busy("lock")
        assert ids(proxy, retries=True) == [1]
    proxy.ban("lock")
    with pytest.raises(YtProxyUnavailable):
        ids(proxy)


def test_away_and_back_on_the_same_port(proxy: YtProxy) -> None:
    proxy.write(LIST, ids=[1])
    proxy.stop()
    with pytest.raises(requests_errors.ConnectionError):
        ids(proxy)
    proxy.start()
    assert ids(proxy) == [1]


def test_a_hanging_proxy_times_out(proxy: YtProxy) -> None:
    proxy.write(LIST, ids=[1])
    gate = proxy.hang("lock")
    with pytest.raises(requests_errors.ReadTimeout):
        ids(proxy, request_timeout=50)
    gate.set()


def test_a_callback_runs_before_the_answer(proxy: YtProxy) -> None:
    proxy.write(LIST, ids=[1])
    proxy.on("read_table", lambda: proxy.overwrite(LIST, ids=[2]), times=FOREVER)
    assert ids(proxy) == [1]  # the client's own lock came first
    assert "read_table" in proxy.commands


# -- the rest ------------------------------------------------------------------------------------------------------


def test_api_v3_and_json_headers(proxy: YtProxy) -> None:
    proxy.write(LIST, ids=[1])
    connected = client(proxy, header_format="json")
    connected.config["api_version"] = "v3"
    with connected.Transaction():
        assert isinstance(connected.lock(LIST, mode="snapshot"), str)  # the lock's id: v3 tells no node id
        assert read(connected, LIST, SchemafulDsvFormat(columns=["client_id"])) == b"1\n"


def test_parameters_in_parts_wrong_method_unknown_command(proxy: YtProxy) -> None:
    proxy.write(LIST, ids=[1])
    parts = {"X-YT-Parameters-0": "eyJwYXRoIjoiLy9ob21l", "X-YT-Parameters-1": "L2xpc3QvQHJvd19jb3VudCJ9"}
    with urllib.request.urlopen(urllib.request.Request(proxy.url + "/api/v3/get", headers=parts)) as reply:
        assert reply.read() == b"1"
    for address, status in (("/api/v4/lock", 405), ("/api/v4/nonsense", 404)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(proxy.url + address)
        caught.value.close()
        assert caught.value.code == status


@pytest.mark.slow
def test_the_command_line_client_reads(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("1\n2\n")
    command = [sys.executable, "-m", "tests.harness.yt_proxy", "--ids-file", str(tmp_path / "ids.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as served:
        assert served.stdout is not None
        url = served.stdout.readline().strip()
        tool = [
            str(Path(sys.executable).with_name("yt")),
            "--proxy",
            url,
            "read-table",
            "//home/list",
            "--format",
            "dsv",
        ]
        output = subprocess.check_output(tool, env={**os.environ, "HOME": str(tmp_path)}, timeout=60)
        served.terminate()
    assert output == b"client_id=1\nclient_id=2\n"
