"""What `doctor` says of a world that is well, and of each way in which one isn't."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chatsync.config.database_url import DatabaseUrl, Secret
from chatsync.diagnostics.doctor_databases import Place, Server, describe
from chatsync.diagnostics.grants import parse_grants
from tests.harness.job import FEATURE, PROPERTY, TABLE, Job, SqliteFiles
from tests.harness.schema import PASSWORD, USER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.harness.servers import Server as TestServer
    from tests.harness.yt_proxy import YtProxy

TOKEN = "AQAD-a-token-that-nobody-may-see"
INT64 = [{"name": "client_id", "type": "int64"}]


@pytest.fixture
def sound_job(server_job: Job, yt: YtProxy) -> Job:
    """A job on MariaDB and YT with nothing to complain of: client 1 is listed and off, 2 is neither."""
    job = server_job
    job.environment["YT_TOKEN"] = TOKEN
    yt.tokens = {TOKEN: "robot"}
    job.keep_list_in(yt)
    settle(job)
    yt.write(TABLE, ids=[1], schema=INT64)
    return job


def configure(job: Job, **sections: Mapping[str, Any]) -> None:
    """Configure a job that leaves records and metrics."""
    job.configure(records={"dir": "records"}, metrics={"textfile": "chatsync.prom"}, **sections)


def settle(job: Job) -> None:
    configure(job)
    for shard in job.shards:
        job.settle_off({10 * shard: shard})
    job.settle_off({1: 1})
    job.set_property("2026-01-15 09:40:12")


def said(job: Job, mark: str, *, code: int) -> list[str]:
    """Run the doctor and return the lines with this mark, without it."""
    result = job.run("doctor")
    *lines, closing = result.out.splitlines()
    failed = sum(line.startswith("✗") for line in lines)
    assert result.code == code
    checks, of_which = closing.split(" checks: ")
    assert of_which.startswith(f"{failed} failed, ")
    assert result.err == (f"chatsync: {failed} of {checks} checks failed\n" if failed else "")
    assert not {line[0] for line in lines} - set("✓!✗")
    return [line[2:] for line in lines if line.startswith(mark)]


def complaint(job: Job) -> str:
    """Return the only ✗."""
    (line,) = said(job, "✗", code=1)
    return line


def warnings(job: Job) -> list[str]:
    return said(job, "!", code=0)


@pytest.fixture
def admin(server: TestServer, sound_job: Job) -> Iterator[Callable[..., None]]:
    """Run a statement as the administrator, and another one at the end to undo it."""
    undo: list[str] = []

    def do(statement: str, *, undo_by: str) -> None:
        undo.append(undo_by)
        server.sql(statement)

    yield do
    for statement in reversed(undo):
        server.sql(statement)
    del sound_job


def test_a_world_that_is_well(sound_job: Job) -> None:
    before = (sound_job.rows(), sound_job.property(), sorted(sound_job.folder.iterdir()))

    result = sound_job.run("doctor")

    assert (result.code, result.err) == (0, "")
    text = re.sub(
        r"(?<=[BLn] )\d+\.\d+\.\d+|(?<=:)\d{4,5}\b|\d+ s (ahead of|behind)|TLSv[\d.]+|\d{4}-.* UTC", "…", result.out
    )
    place = "127.0.0.1:…/ppc{}: " + ("MariaDB" if "MariaDB" in text else "MySQL") + " …, …, clock … this machine's"
    there = "the tables and grants that the job needs are there"
    assert text.splitlines() == [
        f"✓ config     {sound_job.config}: every key is known, 4 shards",
        "✓ token      found in $YT_TOKEN",
        f"✓ list       127.0.0.1:…:{TABLE}: a static table with column client_id of type int64, 1 row, modified …",
        "✓ list       1 client, 0 duplicates, 0 rejected rows",
        "✓ driver     mysql-connector-python … with its C extension",
        "✓ dict       " + place.format("dict"),
        f"✓ databases  {there} (5: dict, shard 1, shard 2, shard 3, shard 4)",
        *[f"✓ shard {n}    {place.format(n)}" for n in sound_job.shards],
        "✓ writes     what the job writes was tried and rolled back: dict and 4 of 4 shards",
        f"✓ feature    {FEATURE} has id 217",
        "✓ mod-time   …: list is newer by " + text.partition("newer by ")[2].partition("\n")[0],
        "✓ shards     5 clients, all on shards that databases.shards names",
        "✓ rows       5 clients off, each by the row on its home shard",
        f"✓ records    {sound_job.folder / 'records'} can be written",
        f"✓ metrics    {sound_job.folder / 'chatsync.prom'} can be written",
        "22 checks: 0 failed, 0 warnings",
    ]
    assert (sound_job.rows(), sound_job.property(), sorted(sound_job.folder.iterdir())) == before


def test_nothing_secret_is_shown(sound_job: Job) -> None:
    result = sound_job.process("-vv", "doctor")

    assert result.code == 0
    assert TOKEN not in result.out + result.err
    assert PASSWORD not in result.out + result.err
    assert "IDENTIFIED" not in result.out + result.err


def test_the_embedded_default(tmp_path: Path) -> None:
    job = Job(tmp_path, SqliteFiles(tmp_path))
    settle(job)
    job.list([1])

    assert said(job, "!", code=0) == []

    with closing(sqlite3.connect(tmp_path / "ppc3.db")) as connection:
        connection.execute("DROP TABLE clients_features")
    line = complaint(job)
    assert line.startswith(f"shard 3    {tmp_path}/ppc3.db: cannot read table clients_features: no such table")

    (tmp_path / "ppc3.db").unlink()
    assert "unable to open database file" in complaint(job)


def test_a_database_file_that_others_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The administrator, who may run the tests, may write anywhere: nothing real would refuse."""
    job = Job(tmp_path, SqliteFiles(tmp_path))
    settle(job)
    job.list([1])
    file = tmp_path / "ppc2.db"
    monkeypatch.setattr("os.access", lambda path, _mode: path != file)
    assert said(job, "✗", code=1)[0].startswith(f"shard 2    this user may not write {file} or into its folder")


# -- the configuration and the list --


def test_a_bad_configuration_is_all_there_is_to_say(sound_job: Job) -> None:
    sound_job.configure(limits={"turn_on_precent": 3})

    result = sound_job.run("doctor")

    assert result.code == 2
    assert result.out == (
        f"✗ config     configuration {sound_job.config}: unknown key limits.turn_on_precent; "
        "did you mean limits.turn_on_percent?\n"
    )
    assert result.err == "chatsync: the configuration is wrong, so nothing else was checked\n"


def test_a_configuration_that_shows_a_password(sound_job: Job) -> None:
    sound_job.config.chmod(0o644)
    result = sound_job.run("doctor")
    assert result.code == 0
    assert f"! config     {sound_job.config} holds a password and others may read it: chmod 600" in result.out


def test_a_token_in_a_file(sound_job: Job) -> None:
    del sound_job.environment["YT_TOKEN"]
    file = sound_job.folder / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    sound_job.exclusions = {**sound_job.exclusions, "token_file": "token"}
    configure(sound_job)
    assert f"token      found in {file}" in said(sound_job, "✓", code=0)

    file.chmod(0o644)
    assert warnings(sound_job) == [f"token      others may read {file}: chmod 600"]

    file.unlink()
    lines = said(sound_job, "✗", code=1)
    assert lines[0] == f"token      exclusions.token_file: there is no file {file}"
    assert lines[1].startswith("list       exclusions.token_file: ")


def test_no_token_on_a_cluster_that_asks_for_none(sound_job: Job, yt: YtProxy) -> None:
    del sound_job.environment["YT_TOKEN"]
    yt.tokens = {}
    (line,) = warnings(sound_job)
    assert line.startswith(
        "token      there is none, which only a cluster without authentication accepts; put it into $YT_TOKEN"
    )


LISTS: dict[str, tuple[Callable[[YtProxy], object], str]] = {
    "missing": (lambda yt: yt.remove(TABLE), "there is no such table"),
    "forbidden": (lambda yt: yt.deny(TABLE), "no permission to read the table"),
    "wrong token": (
        lambda yt: setattr(yt, "tokens", {"other": "robot"}),
        "the YT token is wrong or missing",
    ),
    "away": (lambda yt: yt.stop(), "; is exclusions.proxy right?"),
    "no column": (
        lambda yt: yt.cypress.write(TABLE, [{"id": 1}], schema=[{"name": "id", "type": "int64"}], strict=True),
        "has no column 'client_id': it has id; check exclusions.column",
    ),
    "dynamic": (lambda yt: yt.overwrite(TABLE, ids=[1], dynamic=True), "is a dynamic table"),
    "empty": (
        lambda yt: yt.overwrite(TABLE, ids=[]),
        "0 clients, 0 duplicates, 0 rejected rows: apply refuses an empty",
    ),
    "text": (
        lambda yt: yt.overwrite(TABLE, ids=[1, "n/a", "n/a"], schema=[{"name": "client_id", "type": "any"}]),
        "1 client, 0 duplicates, 2 rejected rows, over limits.rejected_percent = 1; row 1, 'n/a', is not an integer",
    ),
}


@pytest.mark.parametrize("case", LISTS)
def test_a_list_that_cannot_be_used(sound_job: Job, yt: YtProxy, case: str) -> None:
    change, text = LISTS[case]
    change(yt)

    line = complaint(sound_job)

    assert line.startswith("list       ")
    assert text in line
    assert "tried again" not in line


def test_a_few_rejected_rows_are_no_failure_here_as_they_are_none_for_the_job(sound_job: Job, yt: YtProxy) -> None:
    """limits.free exempts them from the percentage."""
    yt.overwrite(TABLE, ids=[1, 2, "n/a"], schema=[{"name": "client_id", "type": "any"}])

    assert said(sound_job, "✗", code=0) == []


def test_a_list_without_a_client_that_it_must_contain(sound_job: Job) -> None:
    configure(sound_job, limits={"must_contain": [1, 7]})
    assert complaint(sound_job).endswith("and not client 7 of limits.must_contain: is it the right list?")


# -- the databases --


def test_a_grant_that_is_missing(sound_job: Job, admin: Callable[..., None]) -> None:
    admin(
        f"REVOKE INSERT ON ppc3.clients_features FROM {USER}",
        undo_by=f"GRANT INSERT ON ppc3.clients_features TO {USER}",
    )
    assert complaint(sound_job) == (
        f"shard 3    '{USER}'@'%' lacks a grant: GRANT INSERT ON ppc3.clients_features TO '{USER}'@'%'"
    )


def test_a_grant_on_too_few_columns(sound_job: Job, admin: Callable[..., None]) -> None:
    admin(
        f"REVOKE UPDATE ON ppcdict.ppc_properties FROM {USER}",
        undo_by=f"GRANT UPDATE ON ppcdict.ppc_properties TO {USER}",
    )
    admin(
        f"GRANT UPDATE (value) ON ppcdict.ppc_properties TO {USER}",
        undo_by=f"REVOKE UPDATE (value) ON ppcdict.ppc_properties FROM {USER}",
    )
    assert "lacks a grant: GRANT UPDATE" in complaint(sound_job)


def test_a_table_that_may_not_be_read(sound_job: Job, admin: Callable[..., None]) -> None:
    admin(
        f"REVOKE SELECT ON ppcdict.shard_client_id FROM {USER}",
        undo_by=f"GRANT SELECT ON ppcdict.shard_client_id TO {USER}",
    )
    grant, shards = said(sound_job, "✗", code=1)
    assert grant.startswith("dict       ")
    assert grant.endswith(f"GRANT SELECT ON ppcdict.shard_client_id TO '{USER}'@'%'")
    assert shards.startswith("shards     ")


def test_grants_beyond_what_is_needed_are_named_once_for_a_server(sound_job: Job, admin: Callable[..., None]) -> None:
    admin(
        f"GRANT DELETE ON ppc2.clients_features TO {USER}",
        undo_by=f"REVOKE DELETE ON ppc2.clients_features FROM {USER}",
    )
    admin(f"GRANT SELECT ON ppc1.* TO {USER}", undo_by=f"REVOKE SELECT ON ppc1.* FROM {USER}")

    (line,) = warnings(sound_job)

    assert line.startswith(f"dict       '{USER}'@'%' may do more than the job needs: ")
    assert {"SELECT ON ppc1.*", "DELETE ON ppc2.clients_features"} == set(
        line.partition("needs: ")[2].partition(";")[0].split(", ")
    )


def test_a_table_that_is_not_there(sound_job: Job, admin: Callable[..., None]) -> None:
    admin("RENAME TABLE ppc4.clients_features TO ppc4.away", undo_by="RENAME TABLE ppc4.away TO ppc4.clients_features")
    line = complaint(sound_job)
    assert line.startswith("shard 4    127.0.0.1:")
    assert "cannot read table clients_features: " in line
    assert line.endswith("; check the schema in [databases]")


def test_a_server_that_takes_no_writes(sound_job: Job, admin: Callable[..., None]) -> None:
    admin("SET GLOBAL read_only = 1", undo_by="SET GLOBAL read_only = 0")
    assert said(sound_job, "✗", code=1) == [
        f"{part:<10} the server is read-only: is it a replica? name the primary in [databases]"
        for part in ("dict", "shard 1", "shard 2", "shard 3", "shard 4")
    ]


def test_clocks_that_differ(sound_job: Job, admin: Callable[..., None]) -> None:
    sound_job.set_property("1970-01-01")
    admin("SET GLOBAL init_connect = 'SET timestamp = 86400'", undo_by="SET GLOBAL init_connect = ''")
    (line,) = warnings(sound_job)
    assert re.fullmatch(
        r"databases  the clocks are \d+ d \d+ h apart: check NTP on this machine and there "
        r"\(5: dict, shard 1, shard 2, shard 3, shard 4\)",
        line,
    )


def test_databases_that_do_not_answer(sound_job: Job) -> None:
    urls = {
        **sound_job.databases.shard_urls,
        "2": sound_job.databases.shard_urls["2"].replace("127.0.0.1", "127.0.0.1:1", 1),
    }
    urls["2"] = re.sub(r"@127.0.0.1:1:\d+/", "@127.0.0.1:1/", urls["2"])
    urls["3"] = urls["3"].replace(USER, "nobody", 1)
    configure(sound_job, databases={"shards": urls})

    away, login = said(sound_job, "✗", code=1)

    assert away.startswith("shard 2    127.0.0.1:1/ppc2: cannot connect: ")
    assert away.endswith("; is the server up, and is its address in [databases] right?")
    assert login.startswith("shard 3    127.0.0.1:")
    assert login.endswith(
        "; check user and password in [databases]; if the account is missing: CREATE USER 'nobody'@'%' IDENTIFIED BY "
        "'…'; GRANT SELECT ON ppc3.clients_features TO 'nobody'@'%'; GRANT INSERT ON ppc3.clients_features TO "
        "'nobody'@'%'; GRANT UPDATE ON ppc3.clients_features TO 'nobody'@'%'"
    )


def test_replicas(
    sound_job: Job, server: TestServer, admin: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that replicates from nobody, first without the grant to ask it."""
    configure(sound_job, databases={"replicas": {"1": sound_job.databases.shard_urls["1"]}}, apply={"max_lag": 5})
    assert "cannot read the replication lag: " in complaint(sound_job)

    grant = "SLAVE MONITOR" if server.is_mariadb else "REPLICATION CLIENT"
    admin(f"GRANT {grant} ON *.* TO {USER}", undo_by=f"REVOKE {grant} ON *.* FROM {USER}")
    assert said(sound_job, "!", code=1) == []
    assert complaint(sound_job).startswith("replica 1  it does not replicate, so apply would wait until it gives up")

    monkeypatch.setattr("chatsync.diagnostics.doctor_databases.seconds_behind", lambda _connection: 3.0)
    assert "replica 1  it lags 3 s" in said(sound_job, "✓", code=0)


def test_an_old_server_without_tls_elsewhere() -> None:
    place = Place(part="dict", kind="dict", url=DatabaseUrl(database="ppcdict", host="db.example", port=3306))
    server = Server(
        version="5.6.51-log", account="", read_only=False, ahead=timedelta(seconds=-2), tls="", grants=parse_grants([])
    )
    assert [str(line) for line in describe(place, server)] == [
        "✓ dict       db.example:3306/ppcdict: MySQL 5.6.51, no TLS, clock 2 s behind this machine's",
        "✗ dict       the first MySQL that works is 5.7; upgrade this one",
        "! dict       passwords and ids are sent without TLS; add ?ssl_ca=FILE to the URL",
    ]


@pytest.mark.parametrize(
    ("password", "options", "warned"),
    [
        ("hunter2-x", {}, ["dict       a machine in the middle can get the password; add ?ssl_ca=FILE to the URL"]),
        ("hunter2-x", {"ssl_ca": "ca.pem"}, []),
        (
            "changes",
            {"ssl_ca": "ca.pem"},
            ["dict       the password is a word, a number or too short: only in URLs is it shown as ***"],
        ),
    ],
)
def test_a_password_that_others_may_get_to_see(
    password: str, options: dict[str, str | int | bool | list[str]], warned: list[str]
) -> None:
    url = DatabaseUrl(
        database="ppcdict", host="db.example", port=3306, user="u", password=Secret(password), options=options
    )
    server = Server(
        version="8.4.0", account="", read_only=False, ahead=timedelta(0), tls="TLSv1.3", grants=parse_grants([])
    )

    lines = [str(line) for line in describe(Place(part="dict", kind="dict", url=url), server)]

    assert [line.removeprefix("! ") for line in lines if line.startswith("!")] == warned


def test_a_driver_without_its_c_extension(sound_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mysql.connector.HAVE_CEXT", False)
    monkeypatch.setattr("chatsync.databases.mysql_dialect._is_set_up", [True])
    (line,) = warnings(sound_job)
    assert line.startswith("driver     mysql-connector-python ")
    assert line.endswith(" without its C extension reads ten times as slowly; install a binary wheel")


# -- the job --


def test_an_unknown_feature(sound_job: Job) -> None:
    configure(sound_job, feature={"name": "chat"}, modtime={"property": PROPERTY})
    line = complaint(sound_job)
    assert line.startswith("feature    feature.name: dict (")
    assert line.endswith(" has no feature 'chat' in table features")


def test_a_mod_time_that_is_no_time(sound_job: Job) -> None:
    sound_job.set_property("soon")
    assert complaint(sound_job).startswith(f"mod-time   property {PROPERTY} in dict (127.0.0.1:")


def test_a_job_that_is_disabled(sound_job: Job) -> None:
    sound_job.set_property("9999-12-31")
    assert warnings(sound_job) == [
        "mod-time   the job is disabled until further notice; `chatsync set-modtime --reset` switches it on again"
    ]


def test_a_job_that_never_ran(sound_job: Job) -> None:
    sound_job.set_property(None)
    line = "mod-time   not set: no list was ever synced; for the first fill, with no client off yet, use apply --force"
    assert line in said(sound_job, "✓", code=0)


def test_shards_that_were_forgotten_and_shards_that_nobody_lives_on(sound_job: Job) -> None:
    sound_job.dict_sql("DELETE FROM shard_client_id WHERE shard = 4")
    sound_job.settle({501: 5, 502: 5})

    assert complaint(sound_job) == "shards     2 clients on shard 5, which is missing from databases.shards; add it"
    idle, strays = said(sound_job, "!", code=1)
    assert idle.startswith("shards     no client lives on shard 4 of databases.shards")
    assert strays.startswith("rows       1 off row of clients that live elsewhere, 1 on shard 4: ")


# -- the folders --


def test_folders(sound_job: Job) -> None:
    sound_job.configure()
    assert warnings(sound_job) == [
        "records    records.dir is not set: history, explain and apply --undo will have no data"
    ]

    sound_job.configure(records={"dir": "no/records"}, metrics={"textfile": "nowhere/chatsync.prom"})
    assert said(sound_job, "✗", code=1) == [
        f"records    records.dir: there is no folder {sound_job.folder}/no; create it, or correct the key",
        f"metrics    metrics.textfile: there is no folder {sound_job.folder}/nowhere; create it, or correct the key",
    ]


def test_the_state_file_of_check(sound_job: Job) -> None:
    configure(sound_job, monitoring={"state_file": "nowhere/state"})
    assert complaint(sound_job) == (
        "state file monitoring.state_file: there is no folder "
        f"{sound_job.folder}/nowhere; create it, or correct the key"
    )


def test_a_folder_that_others_own(sound_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """The administrator, who may run the tests, may write anywhere: nothing real would refuse."""
    monkeypatch.setattr("os.access", lambda path, _mode: str(path) != str(sound_job.folder))
    assert said(sound_job, "✗", code=1) == [
        f"{part:<10} {key}: this user may not write into {sound_job.folder}; run as another user, or chown it"
        for part, key in (("records", "records.dir"), ("metrics", "metrics.textfile"))
    ]
