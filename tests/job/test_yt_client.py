"""The client of YT: heavy proxies, its own configuration, the token."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from yt import yson

from chatsync.config.settings import Exclusions
from chatsync.ytsaurus.client import Cluster
from tests.harness.job import TABLE, Job
from tests.harness.yt_faults import COMMANDS, HTML, TOKEN, WEB_PAGE, assert_one_line
from tests.harness.yt_http import Reply
from tests.harness.yt_proxy import FOREVER, YtProxy

if TYPE_CHECKING:
    from collections.abc import Callable


# -- heavy proxies -------------------------------------------------------------------------------------------------


def test_a_heavy_proxy_that_cannot_be_reached_is_named_and_can_be_done_without(cluster_job: Job, yt: YtProxy) -> None:
    yt.heavy = ["127.0.0.1:9"]
    cluster_job.configure(run={"retry_timeout": "0.2s"})

    result = cluster_job.diff()

    assert_one_line(
        result,
        "the cluster is away or too busy: 127.0.0.1:9: Connection refused; gave up after 0.2s",
        "if 127.0.0.1:9 cannot be reached from here, set exclusions.use_hosts = false",
    )

    cluster_job.environment["YT_USE_HOSTS"] = "0"
    assert cluster_job.diff().code == 0
    cluster_job.keep_list_in(yt, use_hosts=True)
    cluster_job.configure(run={"retry_timeout": "0.2s"})
    assert cluster_job.diff().code == 1
    del cluster_job.environment["YT_USE_HOSTS"]
    cluster_job.keep_list_in(yt, use_hosts=False)
    assert cluster_job.diff().code == 0


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(403, HTML, WEB_PAGE), "HTTP 403 without an error of YT: access is refused, but not by YT"),
        (Reply(404, HTML, WEB_PAGE), "HTTP 404 without an error of YT: there is no YT proxy at this address"),
    ],
)
def test_a_firewall_that_answers_in_place_of_a_heavy_proxy(
    cluster_job: Job, yt: YtProxy, reply: Reply, message: str
) -> None:
    with YtProxy() as other:
        yt.heavy = [other.url.removeprefix("http://")]
        other.answer_next("*", reply, times=FOREVER)

        assert_heavy_proxy_is_named(cluster_job, yt, message)


def test_a_heavy_proxy_whose_name_is_not_known_here(
    cluster_job: Job, yt: YtProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def refuse(host: str, *arguments: Any, **options: Any) -> Any:
        if host == "heavy.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yt.heavy = ["heavy.example:80"]

    assert_heavy_proxy_is_named(cluster_job, yt, "the host heavy.example:80 is unknown")


def assert_heavy_proxy_is_named(job: Job, yt: YtProxy, message: str) -> None:
    """exclusions.proxy is right, so that it is not what is to be corrected."""
    result = job.diff()

    (host,) = yt.heavy or []
    assert_one_line(result, message, f"if {host} cannot be reached from here, set exclusions.use_hosts = false")
    assert "check exclusions.proxy" not in result.err


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
def test_the_cluster_is_named_as_the_yt_tool_knows_it(
    cluster_job: Job, yt: YtProxy, how: Callable[[Job, str], str]
) -> None:
    name = how(cluster_job, yt.url.removeprefix("http://"))
    cluster_job.exclusions = {"proxy": name, "path": TABLE} if name else {"path": TABLE}
    cluster_job.configure()

    assert cluster_job.diff().code == 0

    source = name or yt.url.removeprefix("http://")
    assert cluster_job.plan()["exclusions"]["source"] == f"{source}:{TABLE}"


def test_what_the_program_depends_on_is_not_left_to_the_client_s_configuration(cluster_job: Job, yt: YtProxy) -> None:
    odd = {
        "backend": "native", "api_version": "v3", "default_value_of_raw_option": True, "read_buffer_size": 1,
        "read_parallel": {"enable": True}, "read_retries": {"enable": True, "count": 100},
        "read_omit_inaccessible_rows": True, "yamr_mode": {"treat_unexisting_as_empty": True},
        "structured_data_format": "json", "tabular_data_format": "json", "token": "of-another",
        "proxy": {"request_timeout": 1, "accept_encoding": "gzip", "retries": {"enable": True, "count": 100}},
    }  # fmt: skip
    cluster_job.environment["YT_CONFIG_PATCHES"] = yson.dumps(odd).decode()

    assert cluster_job.diff().code == 0
    assert cluster_job.plan()["unknown"] == [1, 2, 3]
    yt.remove(TABLE)
    assert_one_line(cluster_job.diff(), "there is no such table")


@pytest.mark.parametrize("in_process", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ["file", "variable", "patches"])
def test_a_configuration_of_the_client_that_cannot_be_read_is_a_configuration_error(
    cluster_job: Job, what: str, in_process: bool
) -> None:
    if what == "file":
        (cluster_job.folder / ".yt").mkdir()
        (cluster_job.folder / ".yt" / "config").write_text("{proxy=")
    else:
        name, value = {"variable": ("YT_USE_HOSTS", "yes"), "patches": ("YT_CONFIG_PATCHES", "{a=")}[what]
        cluster_job.environment[name] = value

    result = (cluster_job.run if in_process else cluster_job.process)("diff")

    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "the YT client's own configuration cannot be read" in result.err


def test_no_cluster_at_all_is_a_configuration_error(cluster_job: Job) -> None:
    cluster_job.exclusions = {"path": TABLE}
    cluster_job.configure()

    result = cluster_job.diff()

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


def test_a_token_that_others_can_read_is_a_warning(cluster_job: Job, yt: YtProxy) -> None:
    elsewhere = yt.url.replace("127.0.0.1", "0.0.0.0")  # this machine as well, by a name that is no loopback
    cluster_job.exclusions = {"proxy": elsewhere, "path": TABLE}
    cluster_job.configure()
    warning = f"the YT token is sent to {elsewhere} over plain http, so others can read it"

    diff, doctor = cluster_job.diff(), cluster_job.run("doctor")

    assert (diff.code, doctor.code) == (0, 0)
    assert diff.err.count(warning) == 1
    assert f"! token      {warning}" in doctor.out


def test_https_is_preferred_as_the_client_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YT_PREFER_HTTPS", "1")

    assert Cluster(Exclusions(proxy="hahn", path=TABLE)).url == "https://hahn"


# -- secrets -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("status", [400, 401, 403, 500, 503])
@pytest.mark.parametrize("command", ["lock", "read_table"])
def test_a_proxy_that_repeats_the_headers_shows_no_token(
    cluster_job: Job, yt: YtProxy, command: str, status: int
) -> None:
    error = {"code": 1, "message": f"bad header Authorization: OAuth {TOKEN}", "attributes": {"token": TOKEN}}
    yt.answer_next(command, Reply(status, json.dumps(error).encode(), {"X-Echo": TOKEN}), times=FOREVER)
    cluster_job.configure(run={"retry_timeout": "0.2s"})

    for options in ((), ("-v",), ("-vv",), ("-vv", "--log-format", "json")):
        result = cluster_job.run(*options, "diff")

        assert result.code == 1
        assert TOKEN not in result.out + result.err


def test_the_token_follows_no_redirect(cluster_job: Job, yt: YtProxy) -> None:
    with YtProxy() as elsewhere:
        for command in COMMANDS:
            yt.heal()
            yt.answer_next(command, Reply(307, b"", {"Location": f"{elsewhere.url}/{command}"}))

            assert_one_line(cluster_job.diff(), "HTTP 307, a redirect to 127.0.0.1:", "set exclusions.proxy to it")
        assert elsewhere.requests == []
