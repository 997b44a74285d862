"""Every way out of the program, with secrets planted wherever a person or a server may put one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.job import SETTLE, TABLE, Job, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.yt_proxy import YtProxy

TOKEN = "y1_AgAAAAD-hunter2"
PASSWORD = "sabre&fish/7"
VARIABLE = "/no/such/vault-5.pem"
SHORT = {"retry_timeout": "0.1s"}
SECRETS = ("hunter2", "sabre", "fish", "vault-5")
URL = f"mysql://anna:{PASSWORD}@127.0.0.1:1/ppc"
COMMANDS = (
    ("diff",), ("diff", "--format", "json"), ("diff", "--format", "csv"), ("diff", "--plan", "plan.json"),
    ("show", "plan.json"), ("show", "plan.json", "--format", "json"), ("apply", "--plan", "plan.json"),
    ("apply", "--yes"), ("set-modtime", "--plan", "plan.json"), ("set-modtime", URL), ("status",),
    ("status", "--format", "json"), ("explain", "1"), ("explain", URL), ("history",), ("history", "--format", "json"),
    ("history", "--format", "csv"), ("check", "--drift"), ("check", "--format", "json"),
    ("check", "--format", "juggler"), ("doctor",), (URL,), ("diff", "--format", URL),
)  # fmt: skip


def told(job: Job, result: Result) -> list[str]:
    """The secrets that are in the output, or in a file that the program wrote."""
    files = [job.plan_file, *job.records_folder.glob("*"), job.folder / "chatsync.prom", job.folder / "state.json"]
    written = "".join(file.read_text(encoding="utf-8") for file in files if file.exists())
    return [secret for secret in SECRETS if secret in result.out + result.err + written]


@pytest.fixture
def planted(job: Job, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job that works, with its password also in a cell of the list, in the list's path and in a mod-time."""
    monkeypatch.chdir(job.folder)
    job.environment["OPTION"] = VARIABLE
    job.list_file = job.folder / f"https:/anna:{PASSWORD.replace('/', '-')}@list.csv"
    job.list_file.parent.mkdir()
    job.exclusions = {"file": str(job.list_file), "settle": SETTLE}
    job.settle({1: 1, 2: 2})
    job.row(2, 2, 0)
    job.list([1, URL, f"x{PASSWORD}"])
    job.configure(
        records={"dir": "records"},
        limits={"rejected_percent": 90},
        run=SHORT,
        metrics={"textfile": "chatsync.prom"},
        monitoring={"state_file": "state.json"},
        databases={"shards": {**job.databases.shard_urls}, "replicas": {"1": URL}},
    )
    return job


@pytest.mark.parametrize(
    "word",
    [
        "changes",
        "null",
        *(pytest.param(word, marks=pytest.mark.slow) for word in ("feature", "shard", "True", "records", "chatsync")),
    ],
)
def test_a_secret_that_is_an_ordinary_word_breaks_nothing(cluster_job: Job, yt: YtProxy, word: str) -> None:
    """The program's own words and JSON stay as they are, also in the plan that the next step reads."""
    cluster_job.settle({1: 1, 2: 2, 3: 3})
    cluster_job.configure(records={"dir": "records"}, limits={"free": 100})
    yt.tokens = {word: "robot"}
    cluster_job.environment["YT_TOKEN"] = word

    result = cluster_job.chain()

    assert (result.code, cluster_job.off()) == (0, {1, 2, 3})
    assert "***" not in cluster_job.run("diff", "--format", "json").out
    assert cluster_job.run("history", "--format", "json").json[0]["outcome"] == "done"


def test_what_is_cut_short_shows_no_part_of_a_secret(cluster_job: Job, yt: YtProxy) -> None:
    """Wherever a text is cut, in a cell, a word, a message: behind a secret of any length, and in it."""
    secret = "".join(f"{number:02}-x" for number in range(30))
    yt.tokens = {secret: "robot"}
    cluster_job.environment["YT_TOKEN"] = secret
    cluster_job.configure(records={"dir": "records"}, limits={"rejected_percent": 100})
    url = f"mysql://anna:{secret}@127.0.0.1:1/ppc"
    yt.overwrite(TABLE, ids=["1", *(f"{'y' * pad}{text}" for pad in range(0, 200, 7) for text in (secret, url))])
    cluster_job.set_property(url)

    results = [cluster_job.run(*command) for command in (("diff",), ("status",), ("explain", url))]
    cluster_job.set_property(None)
    results += [cluster_job.diff(), cluster_job.run("status"), cluster_job.run("check"), cluster_job.run("history")]

    shown = "".join(result.out + result.err for result in results) + cluster_job.plan_file.read_text(encoding="utf-8")
    assert "00-x01" not in shown
    assert "***" in shown


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("-vv",), ("-vv", "--log-format", "json")])
def test_where_all_is_well(planted: Job, options: tuple[str, ...]) -> None:
    codes = {}
    for command in COMMANDS:
        result = planted.run(*options, *command)
        codes[command] = result.code
        assert told(planted, result) == [], command

    assert codes["apply", "--plan", "plan.json"] == 0
    assert len(planted.records()) == 1
    assert "***" in planted.plan_file.read_text(encoding="utf-8")


def append(job: Job, text: str) -> None:
    """Add to the configuration; the last section is that of the shards' replicas."""
    with job.config.open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")


def unreadable(job: Job) -> None:
    append(job, f"x = {URL}")


def url_as_a_section(job: Job) -> None:
    append(job, f'["{URL}"]\nx = 1')


def url_as_a_key_of_a_section(job: Job) -> None:
    append(job, f'[run]\n"{URL}" = 1')


def url_as_a_key(job: Job) -> None:
    append(job, f'[databases."{URL}"]\nx = 1')


def url_as_a_shard(job: Job) -> None:
    append(job, f'[databases.shards]\n"{URL}" = "x"')


def url_as_a_value(job: Job, *, section: str, key: str) -> None:
    job.configure(**{"run": SHORT, section: {key: URL}})


def variable_in_an_option(job: Job) -> None:
    job.configure(run=SHORT, databases={"dict": URL + "?ssl_ca=${OPTION}"})


def variable_in_an_option_of_the_driver(job: Job) -> None:
    job.configure(run=SHORT, databases={"dict": URL + "?charset=${OPTION}"})


def password_as_an_option(job: Job) -> None:
    job.configure(
        run=SHORT, databases={"dict": f"mysql://anna@127.0.0.1:1/ppc?passwd=x{PASSWORD.replace('&', '')}&x=1"}
    )


def slash_for_a_colon(job: Job) -> None:
    job.configure(run=SHORT, databases={"dict": URL.replace("anna:", "anna/")})


def file_in_an_option(job: Job) -> None:
    (job.folder / "secret").write_text(f"{VARIABLE}\n", encoding="utf-8")
    job.configure(run=SHORT, databases={"dict": f"{URL}?charset=${{file:{job.folder}/secret}}"})


def one_slash_too_few(job: Job) -> None:
    job.configure(run=SHORT, databases={"dict": URL.replace("//", "/")})


def no_host(job: Job) -> None:
    job.configure(run=SHORT, databases={"dict": f"mysql://anna:{PASSWORD}/ppc"})


WRONG: list[Callable[[Job], None]] = [
    unreadable, url_as_a_section, url_as_a_key_of_a_section,
    url_as_a_key, url_as_a_shard, variable_in_an_option, variable_in_an_option_of_the_driver,
    password_as_an_option, slash_for_a_colon, file_in_an_option, one_slash_too_few, no_host,
    *(
        partial(url_as_a_value, section=section, key=key)
        for section, key in (
            ("feature", "name"), ("modtime", "timezone"), ("modtime", "property"), ("limits", "free"),
            ("limits", "plan_max_age"), ("records", "dir"), ("metrics", "textfile"), ("monitoring", "host"),
            ("exclusions", "proxy"), ("exclusions", "file"),
        )
    ),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("wrong", WRONG)
def test_where_the_configuration_is_wrong(planted: Job, wrong: Callable[[Job], None], log_format: str) -> None:
    wrong(planted)

    for command in ("diff", "doctor", "check"):
        result = planted.run("-vv", "--log-format", log_format, command)
        assert told(planted, result) == [], command
        assert log_format == "text" or all(json.loads(line) for line in result.err.splitlines())


# -- a proxy that repeats what it was sent --


@dataclass
class Repeating:
    """Answers everything with an error that repeats the request's headers, in the body, a header and the message."""

    port: int = 0
    status: int = 400
    json: bool = True


@pytest.fixture
def repeating() -> Iterator[Repeating]:
    how = Repeating()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent = str(self.headers)
            error: dict[str, Any] = {"code": 1, "message": f"bad request {sent}", "attributes": {"sent": sent}}
            body = json.dumps(error) if how.json else f"<html><pre>{sent}</pre></html>"
            self.send_response(how.status)
            self.send_header("Content-Type", "application/json" if how.json else "text/html")
            self.send_header("Content-Length", str(len(body)))
            if how.json:
                self.send_header("X-YT-Error", json.dumps(error))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_PUT = do_GET  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        how.port = server.server_port
        Thread(target=server.serve_forever, daemon=True).start()
        yield how
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("status", [400, 401, 403, 502])
@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_proxy_that_repeats_the_headers(
    job: Job, repeating: Repeating, status: int, as_json: bool, log_format: str
) -> None:
    repeating.status, repeating.json = status, as_json
    job.environment["YT_TOKEN"] = TOKEN
    job.exclusions = {"proxy": f"http://127.0.0.1:{repeating.port}", "path": TABLE}
    job.configure(run=SHORT)

    for command in ("diff", "doctor", "check"):
        result = job.run("-vv", "--log-format", log_format, command)
        assert result.code
        assert told(job, result) == [], command


def test_a_token_in_a_cell_and_in_a_column(job: Job, yt: YtProxy) -> None:
    job.environment["YT_TOKEN"] = TOKEN
    yt.tokens = {TOKEN: "robot"}
    yt.write(TABLE, rows=[{"client_id": f"OAuth {TOKEN}"}, {"client_id": "1"}])
    job.keep_list_in(yt)
    job.configure(run=SHORT, limits={"rejected_percent": 90})

    result = job.diff("--format", "json")

    assert (result.code, told(job, result)) == (0, [])
    assert job.run("show", str(job.plan_file)).code == 0  # its hash is that of what it shows


# -- a bug --


@pytest.mark.parametrize("options", [(), ("-vv",), ("--log-format", "json")])
def test_a_bug_that_has_the_secret_in_its_text(planted: Job, options: tuple[str, ...]) -> None:
    """As the interpreter shows it: this needs a process of its own."""
    site = planted.folder / "sitecustomize.py"
    site.write_text(
        f"import chatsync.sync.planner as p\ndef broken(*a, **k):\n    raise KeyError({URL!r})\np.make_plan = broken\n",
        encoding="utf-8",
    )
    planted.environment["PYTHONPATH"] = str(planted.folder)

    result = planted.process(*options, "diff")

    assert result.code == 1
    assert "KeyError" in result.err
    assert told(planted, result) == []
