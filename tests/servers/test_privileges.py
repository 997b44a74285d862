"""What the job may do and what it must keep to itself: grants, files, secrets."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.harness.job import TABLE, Job
from tests.harness.schema import PASSWORD

if TYPE_CHECKING:
    from tests.harness.schema import World
    from tests.harness.servers import Server
    from tests.harness.wire import Wired
    from tests.harness.yt_proxy import YtProxy

TOKEN = "AQAD-secret-token"


@pytest.fixture
def granted_job(server_job: Job) -> Job:
    server_job.settle_off({3: 3})
    server_job.settle({1: 1, 2: 2})
    server_job.list([1, 2])
    return server_job


def test_exactly_the_grants_of_the_interface_are_enough(granted_job: Job) -> None:
    """The user of all tests has no more: test_servers holds them against the interface."""
    assert granted_job.chain().code == 0
    assert granted_job.run("set-modtime", "--reset").code == 0


def test_the_page_needs_no_other_grants(granted_job: Job) -> None:
    granted_job.configure(records={"dir": "records"})
    assert granted_job.chain().code == 0

    page = granted_job.run("report", "--clients", "all")

    assert (page.code, page.err) == (0, "")
    assert "<h1>All clients are as the list says, since 20" in page.out
    assert "The support chat has been on for client {client} since 20" in page.out
    assert page.out.count('"chat": "off"') == 1


@pytest.mark.parametrize(
    ("table", "grant", "command"),
    [
        ("ppcdict.features", "SELECT", ["diff"]),
        ("ppcdict.ppc_properties", "SELECT", ["diff"]),
        ("ppcdict.shard_client_id", "SELECT", ["diff"]),
        ("ppc1.clients_features", "SELECT", ["diff"]),
        ("ppc1.clients_features", "INSERT", ["apply", "--yes"]),
        ("ppc3.clients_features", "UPDATE", ["apply", "--yes"]),
        ("ppcdict.ppc_properties", "INSERT", ["set-modtime", "--disable"]),
    ],
)
def test_a_missing_grant_is_told_at_once(
    granted_job: Job, server: Server, table: str, grant: str, command: list[str]
) -> None:
    server.sql(f"REVOKE {grant} ON {table} FROM chatsync")
    try:
        result = granted_job.run("-v", *command)
    finally:
        server.sql(f"GRANT {grant} ON {table} TO chatsync")

    # Not always the last line: the threads of other shards may end after it.
    told = next(line for line in result.err.splitlines() if "denied" in line)
    assert result.code == 1
    # MySQL refuses the FOR UPDATE before the UPDATE.
    locking = not server.is_mariadb and table.endswith(".clients_features") and grant == "UPDATE"
    word = "SELECT with locking clause" if locking else grant
    assert f"{word} command denied to user 'chatsync'@" in told
    assert "the README lists the grants" in told
    assert "trying again" not in result.err


def test_only_the_two_tables_are_written(wired_job: Job, wired: Wired) -> None:
    wired_job.settle_off({3: 3})
    wired_job.settle({1: 1, 2: 2})
    wired_job.list([1, 2])
    wired_job.chain()

    statements = [text for wire in wired.wires.values() for text in wire.statements]
    changing = {" ".join(text.split()[:3]) for text in statements if text.split()[0] in ("INSERT", "UPDATE")}
    first_words = {text.split()[0].upper() for text in statements}
    assert changing == {"INSERT INTO clients_features", "UPDATE clients_features SET", "INSERT INTO ppc_properties"}
    assert first_words <= {"SELECT", "SET", "SHOW", "COMMIT", "ROLLBACK", "INSERT", "UPDATE"}


def test_a_wrong_password(granted_job: Job, world: World) -> None:
    wrong = "no-such-secret"
    url = world.dict_url.replace(quote(PASSWORD, safe=""), wrong)
    assert wrong in url
    granted_job.configure(databases={"dict": url})

    result = granted_job.run("-vv", "diff")

    assert result.code == 1
    assert "Access denied for user 'chatsync'@" in result.err.splitlines()[-1]
    assert "check user and password in [databases]" in result.err
    assert "trying again" not in result.err
    assert wrong not in result.err


@pytest.mark.parametrize("fault", ["none", "shard", "cluster"])
def test_nothing_secret_is_told(granted_job: Job, server: Server, yt: YtProxy, fault: str) -> None:
    yt.tokens = {TOKEN: "robot"}
    yt.write(TABLE, ids=[1, 2])
    granted_job.keep_list_in(yt)
    granted_job.configure(run={"retry_timeout": "1s"})
    granted_job.environment["YT_TOKEN"] = TOKEN
    if fault == "shard":
        server.sql("REVOKE SELECT ON ppc1.clients_features FROM chatsync")
    if fault == "cluster":
        yt.stop()
    try:
        results = [
            granted_job.run("-vv", *command)
            for command in (["diff", "--plan", str(granted_job.plan_file)], ["apply", "--yes"])
        ]
    finally:
        server.sql("GRANT SELECT ON ppc1.clients_features TO chatsync")

    assert {result.code for result in results} == {0 if fault == "none" else 1}
    told = "".join(result.out + result.err for result in results)
    plan = granted_job.plan_file.read_text() if granted_job.plan_file.exists() else ""
    for secret in (PASSWORD, quote(PASSWORD, safe=""), TOKEN):
        assert secret not in told
        assert secret not in plan


def test_nothing_secret_is_among_the_arguments_of_the_process(wired_job: Job, wired: Wired) -> None:
    """Everybody on the machine can list those."""
    seen: list[bytes] = []
    wired.wires["ppcdict"].before("FROM features", lambda: seen.append(arguments()))

    process = wired_job.start("diff")

    def arguments() -> bytes:
        return Path(f"/proc/{process.pid}/cmdline").read_bytes()

    process.communicate(timeout=60)
    assert b"diff" in seen[0]
    assert PASSWORD.encode() not in seen[0]
    assert b"mysql://" not in seen[0]


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_a_plan_is_for_its_owner_only(granted_job: Job, mask: int) -> None:
    granted_job.diff()
    granted_job.plan_file.chmod(0o666)
    process = granted_job.start("diff", "--plan", str(granted_job.plan_file), umask=mask)
    process.communicate(timeout=60)

    assert stat.S_IMODE(granted_job.plan_file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("mode", "literal", "warned"),
    [(0o644, True, True), (0o640, True, True), (0o600, True, False), (0o644, False, False)],
)
def test_a_configuration_that_others_may_read(
    granted_job: Job, world: World, mode: int, literal: bool, warned: bool
) -> None:
    if not literal:
        granted_job.environment["PPC_PASSWORD"] = PASSWORD
        secret = quote(PASSWORD, safe="")
        shards = {name: url.replace(secret, "${PPC_PASSWORD}") for name, url in world.shard_urls.items()}
        granted_job.configure(databases={"dict": world.dict_url.replace(secret, "${PPC_PASSWORD}"), "shards": shards})
    granted_job.config.chmod(mode)

    result = granted_job.diff()

    assert result.code == 0
    assert ("holds a password and others may read it: chmod 600" in result.err) == warned
    assert PASSWORD not in result.err
