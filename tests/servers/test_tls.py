"""Encrypted connections: checked against the CA that is named, refused where that is not possible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trustme

from tests.harness.job import Job
from tests.harness.rogue import RogueServer
from tests.harness.schema import create_world
from tests.harness.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.schema import World


def configure(job: Job, options: str) -> None:
    databases: dict[str, Any] = {
        "dict": f"{job.databases.dict_url}?{options}",
        "shards": {name: f"{url}?{options}" for name, url in job.databases.shard_urls.items()},
    }
    job.configure(databases=databases, run={"retry_timeout": "1s"})


@pytest.fixture
def tls_job(server_job: Job) -> Job:
    server_job.settle({1: 1, 2: 2})
    server_job.list([1, 2])
    return server_job


@pytest.fixture
def strict(server: Server) -> Iterator[None]:
    """The server takes encrypted connections only."""
    server.sql("SET GLOBAL require_secure_transport = ON")
    yield
    server.sql("SET GLOBAL require_secure_transport = OFF")


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("more", ["", "&ssl_verify_identity=false"])
def test_the_right_authority(tls_job: Job, server: Server, more: str) -> None:
    configure(tls_job, f"ssl_ca={server.ca}{more}")

    result = tls_job.chain()

    assert (result.code, result.err) == (0, "")
    assert tls_job.off() == {1, 2}


@pytest.mark.parametrize("more", ["", "&ssl_verify_identity=false"])
def test_the_wrong_authority(tls_job: Job, server: Server, more: str) -> None:
    configure(tls_job, f"ssl_ca={server.wrong_ca}{more}")

    result = tls_job.diff()

    assert result.code == 1
    assert result.err.startswith("chatsync: ")
    assert result.err.count("\n") == 1
    assert "SSL" in result.err or "certificate" in result.err
    assert not tls_job.plan_file.exists()


def test_a_certificate_for_another_host(tmp_path: Path) -> None:
    """The authority is the right one, the name is not: refused, unless the URL says otherwise."""
    with Server(certificate_for=["elsewhere.example"]) as server:
        world: World = create_world(server, shards=1)
        job = Job(tmp_path, world)
        job.settle({1: 1})
        job.list([1])
        configure(job, f"ssl_ca={server.ca}")
        strict = job.diff()
        configure(job, f"ssl_ca={server.ca}&ssl_verify_identity=false")
        lax = job.diff()

        assert (strict.code, lax.code) == (1, 0)
        assert strict.err.count("\n") == 1


@pytest.mark.parametrize("more", ["", "&ssl_verify_identity=false"])
def test_a_server_without_tls(tmp_path: Path, more: str) -> None:
    """Where a CA is named, plain text is refused: a machine in the middle could ask for it."""
    server = Server()
    server.options = ("--skip-ssl",) if server.is_mariadb else ("--tls-version=",)
    with server:
        world: World = create_world(server, shards=1)
        job = Job(tmp_path, world)
        job.settle({1: 1})
        job.list([1])
        plain = job.diff()
        job.plan_file.unlink(missing_ok=True)
        configure(job, f"ssl_ca={server.ca}{more}")
        asked = job.diff()

        assert plain.code == (0 if server.is_mariadb else 1)  # MySQL takes no password in plain text
        assert asked.code == 1
        assert asked.err.count("\n") == 1
        assert any(word in asked.err for word in ("TLS", "SSL", "secure connection"))
        assert not job.plan_file.exists()


def test_a_ca_file_that_is_not_there(tls_job: Job) -> None:
    configure(tls_job, "ssl_ca=nowhere.pem")

    result = tls_job.diff()

    assert result.code == 2
    assert "ssl_ca: there is no file" in result.err


@pytest.mark.parametrize("plugin", ["mysql_clear_password", "sha256_password", "caching_sha2_password"])
def test_a_machine_in_the_middle_gets_no_login(tls_job: Job, server: Server, plugin: str) -> None:
    """It offers no TLS and asks for the password in clear, or under a key of its own."""
    with RogueServer(plugin=plugin) as rogue:
        url = rogue.url(f"?ssl_ca={server.ca}")
        tls_job.configure(databases={"dict": url, "shards": {"1": url}}, run={"retry_timeout": "0.1s"})

        result = tls_job.diff()

        assert result.code == 1
        assert "SSL is required but the server doesn't support it" in result.err
        assert rogue.connections
        assert [packet for packet in rogue.received if b"chatsync" in packet or len(packet) > 36] == []


@pytest.mark.parametrize("use_pure", ["", "&use_pure=true"])
@pytest.mark.parametrize("certificate_of", ["another authority", "another host", "this host"])
def test_a_login_goes_only_over_tls_that_was_verified(
    tls_job: Job, tmp_path: Path, certificate_of: str, use_pure: str
) -> None:
    """A machine in the middle offers TLS and asks for the password."""
    ours, ca = trustme.CA(), tmp_path / "ours.pem"
    ours.cert_pem.write_to_path(ca)
    authority = trustme.CA() if certificate_of == "another authority" else ours
    certificate = authority.issue_cert("elsewhere.example" if certificate_of == "another host" else "127.0.0.1")
    with RogueServer(plugin="mysql_clear_password", certificate=certificate) as rogue:
        url = rogue.url(f"?ssl_ca={ca}{use_pure}")
        tls_job.configure(databases={"dict": url, "shards": {"1": url}}, run={"retry_timeout": "0.1s"})

        result = tls_job.diff()

        assert result.code == 1
        assert rogue.connections
        assert any(b"chatsync" in packet for packet in rogue.received) == (certificate_of == "this host")
        assert bool(rogue.received) == (certificate_of == "this host")


@pytest.mark.parametrize(
    "options",
    [
        "ssl_ca={ca}&ssl_disabled=true",
        "ssl_ca={ca}&ssl_verify_cert=false",
        "ssl_ca={ca}&ssl_verify_identity=false&ssl_verify_cert=false",
        "auth_plugin=mysql_clear_password",
        "ssl_ca={ca}&ssl_verify_identity=false&auth_plugin=mysql_clear_password",
    ],
)
def test_no_option_gives_the_password_away(tls_job: Job, server: Server, options: str) -> None:
    with RogueServer(plugin="mysql_clear_password") as rogue:
        url = rogue.url("?" + options.format(ca=server.ca))
        tls_job.configure(databases={"dict": url, "shards": {"1": url}}, run={"retry_timeout": "0.1s"})

        result = tls_job.diff()

        assert (result.code, rogue.received) == (2, [])
        assert ": option " in result.err


def test_a_server_that_asks_for_a_file_gets_none(tls_job: Job) -> None:
    """The answer to any statement may be: send me this file (LOAD DATA LOCAL)."""
    secret = tls_job.folder / "secret"
    secret.write_text("the private key")
    with RogueServer(file=str(secret)) as rogue:
        databases = {"dict": rogue.url(), "shards": {"1": rogue.url()}}
        tls_job.configure(databases=databases, run={"retry_timeout": "0.1s"})

        result = tls_job.diff()

        assert result.code == 1
        assert any(b"S" in packet for packet in rogue.received)  # a statement came
        assert not any(b"private key" in packet for packet in rogue.received)
