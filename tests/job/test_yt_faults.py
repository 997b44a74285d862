"""Between here and the cluster: faults that stay are named and not retried, odd answers end in one line, no secret."""

from __future__ import annotations

import gzip
import json
import random
import ssl
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from yt import yson

from chatsync.cancel_scope import CancelScope
from chatsync.config.load import load
from chatsync.config.settings import Exclusions
from chatsync.errors import ChatsyncError
from chatsync.exclusions.table import ListTable
from chatsync.ytsaurus.client import Cluster
from chatsync.ytsaurus.table import locked
from tests.harness.job import TABLE, Job, Result
from tests.harness.yt_http import Reply
from tests.harness.yt_proxy import FOREVER, YtProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HTML = b"<!DOCTYPE html><html><title>Log in</title></html>"
WEB_PAGE = {"Content-Type": "text/html; charset=utf-8"}
INT64: dict[str, Any] = {"schema": [{"name": "client_id", "type": "int64"}], "strict": True}
COMMANDS = ["api", "start_transaction", "lock", "get", "hosts", "read_table"]
TOKEN = "y1_AQAD-a-token-that-may-not-be-seen"


@pytest.fixture
def yt_job(job: Job, yt: YtProxy) -> Job:
    """A job whose list is in the cluster, with a token that the cluster takes."""
    job.keep_list_in(yt)
    job.configure(run={"retry_timeout": "5s"})
    yt.write(TABLE, ids=[1, 2, 3], **INT64)
    yt.tokens = {TOKEN: "robot"}
    job.environment["YT_TOKEN"] = TOKEN
    return job


def assert_one_line(result: Result, *parts: str) -> None:
    assert (result.code, result.out) == (1, ""), result
    assert result.err.startswith("chatsync: ")
    assert result.err.count("\n") == 1
    assert [part for part in parts if part not in result.err] == []


def attempts(yt: YtProxy, command: str) -> int:
    return yt.commands.count(command)


# -- what stays is not retried -------------------------------------------------------------------------------------

LASTING: list[tuple[Reply, str]] = [
    (Reply(401, HTML, WEB_PAGE), "HTTP 401 without an error of YT: a login is asked for, but not by YT"),
    (Reply(403, HTML, WEB_PAGE), "HTTP 403 without an error of YT: access is refused, but not by YT"),
    (Reply(404, HTML, WEB_PAGE), "HTTP 404 without an error of YT: there is no YT proxy at this address"),
    (Reply(407, HTML, WEB_PAGE), "HTTP 407 without an error of YT: the web proxy of $http_proxy or $https_proxy asks"),
    (Reply(200, HTML, WEB_PAGE), "HTTP 200 with a web page in place of an answer; is it a login page"),
    (Reply(302, b"", {"Location": "http://login.example/"}), "HTTP 302, a redirect to login.example, which is not"),
    (Reply(200, gzip.compress(b"{}"), {"Content-Encoding": "gzip"}), "HTTP 200 with a body in gzip, which was not"),
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("reply", "message"), LASTING, ids=[message[:8] + message[-5:] for _, message in LASTING])
def test_an_answer_that_is_not_of_yt_is_named_and_not_asked_for_again(
    yt_job: Job, yt: YtProxy, command: str, reply: Reply, message: str
) -> None:
    yt.answer_next(command, reply, times=FOREVER)

    result = yt_job.diff()

    assert_one_line(result, TABLE, message)
    assert attempts(yt, command) == 1


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_balancer_that_is_busy_is_asked_again(yt_job: Job, yt: YtProxy, command: str, status: int) -> None:
    yt.answer_next(command, Reply(status, HTML, WEB_PAGE))

    assert yt_job.diff().code == 0
    assert yt_job.plan()["unknown"] == [1, 2, 3]


def test_a_web_proxy_that_is_dead_is_named(yt_job: Job) -> None:
    yt_job.environment["http_proxy"] = "http://127.0.0.1:9"
    began = time.monotonic()

    result = yt_job.diff()

    assert_one_line(result, "the web proxy of $http_proxy or $https_proxy does not answer: Connection refused")
    assert time.monotonic() - began < 4


@pytest.fixture
def with_certificate(yt: YtProxy, tmp_path: Path) -> Path:
    """A cluster behind TLS, with a certificate that nobody has signed."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    keys = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*keys, *name], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    yt.use_tls(context)
    return certificate


def test_a_certificate_of_an_unknown_authority_is_named(yt_job: Job, yt: YtProxy, with_certificate: Path) -> None:
    yt_job.exclusions = {"proxy": yt.url.replace("http", "https"), "path": TABLE}
    yt_job.configure(run={"retry_timeout": "30s"})
    began = time.monotonic()

    result = yt_job.diff()

    assert_one_line(result, "the certificate of 127.0.0.1:", "is not trusted: self-signed", "$REQUESTS_CA_BUNDLE")
    assert time.monotonic() - began < 10
    yt_job.environment["REQUESTS_CA_BUNDLE"] = str(with_certificate)
    yt.heavy = [yt.url.removeprefix("http://")]
    assert yt_job.diff().code == 0


@pytest.mark.parametrize("code", [3, 100, 105, 716, 904])
def test_a_fault_that_may_pass_is_not_taken_for_a_refused_format(yt_job: Job, yt: YtProxy, code: int) -> None:
    yt.fail_next("read_table", code=code, times=FOREVER, message="passing")
    yt_job.configure(run={"retry_timeout": "0.2s"})

    result = yt_job.diff()

    what = "data of the table is unavailable" if code == 716 else "the cluster is away or too busy"
    assert_one_line(result, f"{what}: passing; gave up after 0.2s of retries")
    formats = {str(seen.params["output_format"]) for seen in yt.requests if seen.command == "read_table"}
    assert formats == {"schemaful_dsv"}


# -- heavy proxies -------------------------------------------------------------------------------------------------


def test_a_heavy_proxy_that_cannot_be_reached_is_named_and_can_be_done_without(yt_job: Job, yt: YtProxy) -> None:
    yt.heavy = ["127.0.0.1:9"]
    yt_job.configure(run={"retry_timeout": "0.2s"})

    result = yt_job.diff()

    assert_one_line(
        result,
        "the cluster is away or too busy: 127.0.0.1:9: Connection refused; gave up after 0.2s",
        "if 127.0.0.1:9 cannot be reached from here, set exclusions.use_hosts = false",
    )

    yt_job.environment["YT_USE_HOSTS"] = "0"
    assert yt_job.diff().code == 0
    yt_job.keep_list_in(yt, use_hosts=True)
    yt_job.configure(run={"retry_timeout": "0.2s"})
    assert yt_job.diff().code == 1
    del yt_job.environment["YT_USE_HOSTS"]
    yt_job.keep_list_in(yt, use_hosts=False)
    assert yt_job.diff().code == 0


# -- the client's own configuration --------------------------------------------------------------------------------


def set_suffix(job: Job, host: str) -> str:
    """A short name, which the client completes by a suffix; that of a test is an odd one."""
    job.environment["YT_PROXY_SUFFIX"] = host.removeprefix("127")
    return "127"


def set_alias(job: Job, host: str) -> str:
    job.environment["YT_PROXY_URL_ALIASING_CONFIG"] = f'{{"hahn"="{host}"}}'
    return "hahn"


def set_file(job: Job, host: str) -> str:
    (job.folder / ".yt").mkdir()
    (job.folder / ".yt" / "config").write_text(f'{{proxy={{url="{host}"}}}}')
    return ""


def set_patch(job: Job, host: str) -> str:
    job.environment["YT_CONFIG_PATCHES"] = f'{{proxy={{url="{host}"}}}}'
    return ""


@pytest.mark.parametrize("how", [set_suffix, set_alias, set_file, set_patch])
def test_the_cluster_is_named_as_the_yt_tool_knows_it(yt_job: Job, yt: YtProxy, how: Callable[[Job, str], str]) -> None:
    name = how(yt_job, yt.url.removeprefix("http://"))
    yt_job.exclusions = {"proxy": name, "path": TABLE} if name else {"path": TABLE}
    yt_job.configure()

    assert yt_job.diff().code == 0

    source = name or yt.url.removeprefix("http://")
    assert yt_job.plan()["exclusions"]["source"] == f"{source}:{TABLE}"


def test_what_the_program_depends_on_is_not_left_to_the_client_s_configuration(yt_job: Job, yt: YtProxy) -> None:
    odd = {
        "backend": "native", "api_version": "v3", "default_value_of_raw_option": True, "read_buffer_size": 1,
        "read_parallel": {"enable": True}, "read_retries": {"enable": True, "count": 100},
        "read_omit_inaccessible_rows": True, "yamr_mode": {"treat_unexisting_as_empty": True},
        "structured_data_format": "json", "tabular_data_format": "json", "token": "of-another",
        "proxy": {"request_timeout": 1, "accept_encoding": "gzip", "retries": {"enable": True, "count": 100}},
    }  # fmt: skip
    yt_job.environment["YT_CONFIG_PATCHES"] = yson.dumps(odd).decode()

    assert yt_job.diff().code == 0
    assert yt_job.plan()["unknown"] == [1, 2, 3]
    yt.remove(TABLE)
    assert_one_line(yt_job.diff(), "there is no such table")


@pytest.mark.parametrize("in_process", [True, False])
@pytest.mark.parametrize("what", ["file", "variable", "patches"])
def test_a_configuration_of_the_client_that_cannot_be_read_is_a_configuration_error(
    yt_job: Job, what: str, in_process: bool
) -> None:
    if what == "file":
        (yt_job.folder / ".yt").mkdir()
        (yt_job.folder / ".yt" / "config").write_text("{proxy=")
    else:
        name, value = {"variable": ("YT_USE_HOSTS", "yes"), "patches": ("YT_CONFIG_PATCHES", "{a=")}[what]
        yt_job.environment[name] = value

    result = (yt_job.run if in_process else yt_job.process)("diff")

    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "the YT client's own configuration cannot be read" in result.err


def test_no_cluster_at_all_is_a_configuration_error(yt_job: Job) -> None:
    yt_job.exclusions = {"path": TABLE}
    yt_job.configure()

    result = yt_job.diff()

    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "exclusions.proxy is missing; set it, or $YT_PROXY, or proxy/url in ~/.yt/config" in result.err


@pytest.mark.parametrize(
    ("proxy", "openly"),
    [
        ("http://hahn.example", True),
        ("hahn", True),
        ("https://hahn.example", False),
        ("http://127.0.0.1:80", False),
        ("localhost:80", False),
        ("http://[::1]:80", False),
    ],
)
def test_a_token_over_plain_http_to_another_machine(proxy: str, openly: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YT_TOKEN", TOKEN)

    assert Cluster(Exclusions(proxy=proxy, path=TABLE)).sends_token_openly is openly
    monkeypatch.delenv("YT_TOKEN")
    assert not Cluster(Exclusions(proxy=proxy, path=TABLE)).sends_token_openly


def test_a_token_that_others_can_read_is_a_warning(yt_job: Job, yt: YtProxy) -> None:
    elsewhere = yt.url.replace("127.0.0.1", "0.0.0.0")  # this machine as well, by a name that is no loopback
    yt_job.exclusions = {"proxy": elsewhere, "path": TABLE}
    yt_job.configure()
    warning = f"the YT token goes to {elsewhere} over plain http, where others can read it"

    diff, doctor = yt_job.diff(), yt_job.run("doctor")

    assert (diff.code, doctor.code) == (0, 0)
    assert diff.err.count(warning) == 1
    assert f"! token      {warning}" in doctor.out


def test_https_is_preferred_as_the_client_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YT_PREFER_HTTPS", "1")

    assert Cluster(Exclusions(proxy="hahn", path=TABLE)).url == "https://hahn"


# -- secrets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 500, 503])
@pytest.mark.parametrize("command", ["lock", "read_table"])
def test_a_proxy_that_repeats_the_headers_shows_no_token(yt_job: Job, yt: YtProxy, command: str, status: int) -> None:
    error = {"code": 1, "message": f"bad header Authorization: OAuth {TOKEN}", "attributes": {"token": TOKEN}}
    yt.answer_next(command, Reply(status, json.dumps(error).encode(), {"X-Echo": TOKEN}), times=FOREVER)
    yt_job.configure(run={"retry_timeout": "0.2s"})

    for options in ((), ("-v",), ("-vv",), ("-vv", "--log-format", "json")):
        result = yt_job.run(*options, "diff")

        assert result.code == 1
        assert TOKEN not in result.out + result.err


def test_the_token_follows_no_redirect(yt_job: Job, yt: YtProxy) -> None:
    with YtProxy() as elsewhere:
        for command in COMMANDS:
            yt.heal()
            yt.answer_next(command, Reply(307, b"", {"Location": f"{elsewhere.url}/{command}"}))

            assert_one_line(yt_job.diff(), "HTTP 307, a redirect to 127.0.0.1:", "set exclusions.proxy to it")
        assert elsewhere.requests == []


# -- odd answers ---------------------------------------------------------------------------------------------------

NOT_IDS = [b"<a=1>%true", b'<a=1>"7"', b"<a=1>7", b"<a=1>#", b"%true", b"[7]", b"{a=7}", b'"7 "', b"7.", b"%nan", b"#"]


def test_odd_values_of_a_column_of_any_type_are_rejected_rows(yt_job: Job, yt: YtProxy) -> None:
    cells = [yson.loads(text, encoding=None) for text in [*NOT_IDS, b"8", b"9u", b'"10"']]
    yt.write(TABLE, ids=cells, schema=[{"name": "client_id", "type": "any"}])
    yt_job.configure(limits={"rejected_percent": 100})

    assert yt_job.diff().code == 0

    listed = yt_job.plan()["exclusions"]
    assert yt_job.plan()["unknown"] == [8, 9, 10]
    assert listed["rejected_count"] == len(NOT_IDS)
    assert [row["value"] for row in listed["rejected"][:3]] == ['<"a"=1;>%true', '<"a"=1;>"7"', '<"a"=1;>7']


@pytest.mark.parametrize("name", ["row_count", "modification_time", "type", "schema", "revision", "path", "dynamic"])
@pytest.mark.parametrize("value", [None, "", "x", -1, True, 1.5, [1], {"a": 1}, 2**63 - 1, "\x1b[2J"])
def test_attributes_of_another_kind_end_in_one_line(yt_job: Job, yt: YtProxy, name: str, value: Any) -> None:
    yt.cypress.touch(TABLE, **{name: value})

    result = yt_job.diff()

    assert result.code in {0, 1}
    assert "Traceback" not in result.err
    assert result.err.count("\n") == result.code
    assert "\x1b" not in result.err


@pytest.mark.parametrize("name", ["row_count", "modification_time"])
def test_an_attribute_that_is_missing_is_named(yt_job: Job, yt: YtProxy, name: str) -> None:
    yt.cypress.touch(TABLE, **{name: None})

    assert_one_line(yt_job.diff(), TABLE, f"the attribute {name} is missing")


def test_a_bomb_is_not_unpacked(yt_job: Job, yt: YtProxy) -> None:
    bomb = gzip.compress(bytes(1 << 28))
    for command in COMMANDS:
        yt.heal()
        yt.answer_next(command, Reply(200, bomb, {"Content-Encoding": "gzip"}))

        assert_one_line(yt_job.diff(), "with a body in gzip, which was not asked for")


ENDLESS = [(b"1", b"1"), (b'{"client_id"="', b"x"), (b'{"client_id"=[', b"1;"), (b"", b"[")]


@pytest.mark.parametrize("endless", ENDLESS)
@pytest.mark.parametrize("kind", ["int64", "any"])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_answer_without_an_end_is_not_held_in_memory(
    yt_job: Job, yt: YtProxy, command: str, kind: str, endless: tuple[bytes, bytes]
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
    stumbled = more == b"[" and kind == "any" and command == "read_table"  # the client's parser counts the depth
    assert_one_line(yt_job.diff(), TABLE if stumbled else bounds.get(command, "more than 16 MB"))


@pytest.mark.parametrize("kind", ["int64", "any"])
def test_more_rows_than_there_are_end_the_reading(yt_job: Job, yt: YtProxy, kind: str) -> None:
    def without_end() -> Iterator[bytes]:
        while True:
            yield (b"7\n" if kind == "int64" else b'{"client_id"=7};') * 100_000

    yt.overwrite(TABLE, ids=[1], schema=[{"name": "client_id", "type": kind}])
    headers = {"X-YT-Response-Parameters": '{"start_row_index"=0;"approximate_row_count"=1}'}
    yt.answer_next("read_table", Reply(200, without_end(), headers))

    assert_one_line(yt_job.diff(), "more rows than the 1 of this version")


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


@pytest.mark.parametrize("seed", range(5))
def test_a_thousand_odd_answers_each_end_in_one_line(
    yt_job: Job, yt: YtProxy, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YT_TOKEN", TOKEN)
    section = load(yt_job.config).exclusions
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
