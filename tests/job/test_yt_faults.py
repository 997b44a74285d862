"""Faults between here and the cluster: what stays is named and not retried, what may pass is."""

from __future__ import annotations

import gzip
import ssl
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.harness.job import TABLE, Job
from tests.harness.yt_faults import COMMANDS, HTML, WEB_PAGE, assert_one_line, attempts
from tests.harness.yt_http import Reply
from tests.harness.yt_proxy import FOREVER, YtProxy

if TYPE_CHECKING:
    from pathlib import Path


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
    cluster_job: Job, yt: YtProxy, command: str, reply: Reply, message: str
) -> None:
    yt.answer_next(command, reply, times=FOREVER)

    result = cluster_job.diff()

    assert_one_line(result, TABLE, message)
    assert attempts(yt, command) == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_balancer_that_is_busy_is_asked_again(cluster_job: Job, yt: YtProxy, command: str, status: int) -> None:
    yt.answer_next(command, Reply(status, HTML, WEB_PAGE))

    assert cluster_job.diff().code == 0
    assert cluster_job.plan()["unknown"] == [1, 2, 3]


def test_a_web_proxy_that_is_dead_is_named(cluster_job: Job) -> None:
    cluster_job.environment["http_proxy"] = "http://127.0.0.1:9"
    cluster_job.configure(run={"retry_timeout": "30s"})
    began = time.monotonic()

    result = cluster_job.diff()

    assert_one_line(result, "the web proxy of $http_proxy or $https_proxy does not answer: Connection refused")
    assert time.monotonic() - began < 20


@pytest.fixture
def with_certificate(yt: YtProxy, tmp_path: Path) -> Path:
    """A cluster behind TLS, with a certificate of its own."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    keys = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*keys, *name], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    yt.use_tls(context)
    return certificate


def test_a_certificate_of_an_unknown_authority_is_named(cluster_job: Job, yt: YtProxy, with_certificate: Path) -> None:
    cluster_job.exclusions = {"proxy": yt.url.replace("http", "https"), "path": TABLE}
    cluster_job.configure(run={"retry_timeout": "30s"})
    began = time.monotonic()

    result = cluster_job.diff()

    assert_one_line(result, "the certificate of 127.0.0.1:", "is not trusted: self-signed", "$REQUESTS_CA_BUNDLE")
    assert time.monotonic() - began < 20
    cluster_job.environment["REQUESTS_CA_BUNDLE"] = str(with_certificate)
    yt.heavy = [yt.url.removeprefix("http://")]
    assert cluster_job.diff().code == 0


@pytest.mark.parametrize("code", [3, 100, 105, 716, 743, 904])
def test_a_fault_that_may_pass_is_not_taken_for_a_refused_format(cluster_job: Job, yt: YtProxy, code: int) -> None:
    yt.fail_next("read_table", code=code, times=FOREVER, message="passing")
    cluster_job.configure(run={"retry_timeout": "0.2s"})

    result = cluster_job.diff()

    is_chunk = code in (716, 743)
    what = "chunks of the table are unavailable, for now or for good" if is_chunk else "the cluster is away or too busy"
    assert_one_line(result, f"{what}: passing; gave up after 0.2s of retries")
    assert ("have the table written again" in result.err) == is_chunk
    formats = {str(seen.params["output_format"]) for seen in yt.requests if seen.command == "read_table"}
    assert formats == {"schemaful_dsv"}
