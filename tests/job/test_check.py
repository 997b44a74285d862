"""`check`: every state in which the list and the databases can be, and how monitoring is told."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from chatsync.core.modtime import DictState
from chatsync.core.times import format_time
from chatsync.errors import CheckStatus
from chatsync.monitoring.verdict import Thresholds, judge, waiting
from tests.harness.examples import CRITICAL, OK, QUICK, UNKNOWN, WARNING, age, ago, check, make_synced
from tests.harness.job import HOUR, MINUTE, TABLE, Job, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_mock import MockerFixture

    from tests.harness.job import Databases
    from tests.harness.yt_proxy import YtProxy


def line(result: Result) -> str:
    """The plugin's line, with a lag that depends on how quick this machine is left out."""
    return re.sub(r"\d+ s\b|lag=\d+s", "…", result.out.rstrip("\n"))


@pytest.fixture
def synced(job: Job) -> Job:
    """A job that is synced, four clients off."""
    return make_synced(job)


# -- by the mod-time -----------------------------------------------------------------------------------------------


def test_a_synced_list_is_ok(any_databases: Databases, tmp_path: Any) -> None:
    job = make_synced(Job(tmp_path, any_databases))
    before = job.rows(), job.property()

    result = check(job)

    modified = datetime.fromtimestamp(job.list_file.stat().st_mtime, UTC)
    shown = f"{job.list_file} of {modified:%Y-%m-%d %H:%M:%S} UTC is synced"
    assert (result.code, result.err) == (OK, "")
    assert result.out == f"CHATSYNC OK - {shown} | lag=0s;7200;86400;0\n"
    assert (job.rows(), job.property()) == before


@pytest.mark.parametrize(
    ("waiting", "options", "status"),
    [
        (2 * HOUR - MINUTE, (), OK),
        (2 * HOUR, (), WARNING),
        (24 * HOUR - MINUTE, (), WARNING),
        (24 * HOUR, (), CRITICAL),
        (10 * MINUTE, ("--warning", "10m"), WARNING),
        (10 * MINUTE, ("--warning", "10m", "--critical", "10m"), CRITICAL),
        (11 * MINUTE, ("--warning", "1h30m", "--critical", "2d"), OK),
    ],
)
def test_how_long_the_list_has_waited(synced: Job, waiting: float, options: tuple[str, ...], status: int) -> None:
    age(synced, waiting)

    result = check(synced, "--format", "json", *options)

    assert result.code == status
    assert result.json["status"] == ["OK", "WARNING", "CRITICAL"][status]
    assert waiting <= result.json["lag"] < waiting + MINUTE


@pytest.mark.parametrize(
    ("lag", "status"),
    [
        (timedelta(hours=2, microseconds=-1), CheckStatus.OK),
        (timedelta(hours=2), CheckStatus.WARNING),
        (timedelta(hours=24, microseconds=-1), CheckStatus.WARNING),
        (timedelta(hours=24), CheckStatus.CRITICAL),
    ],
)
def test_a_threshold_counts_from_its_first_microsecond(lag: timedelta, status: CheckStatus) -> None:
    now = ago(0)
    state = DictState(feature_id=1, modtime=now - timedelta(days=9), last_change=now, now=now)
    since = waiting(source="list", modified=now - lag, state=state, former=None)
    thresholds = Thresholds(warning=timedelta(hours=2), critical=timedelta(hours=24), drift=0)

    found = judge(
        source="list", modified=now - lag, state=state, since=since, why="", counts=None, thresholds=thresholds
    )

    assert (found.status, found.lag) == (status, lag)


def test_a_list_that_nobody_ever_synced_waits_since_it_was_written(job: Job) -> None:
    job.list([1], modified=time.time() - 3 * HOUR)

    result = check(job)

    assert result.code == WARNING
    assert "has been waiting to be synced for 3 h 0 min" in result.out
    assert "no list was ever synced" in result.out


def test_a_disabled_job_is_a_warning_with_its_end(synced: Job) -> None:
    synced.run("set-modtime", "2099-01-01")

    result = check(synced)

    assert (result.code, result.err) == (WARNING, "")
    assert result.out.startswith("CHATSYNC WARNING - the job is disabled until 2099-01-01 by its mod-time")
    assert result.out.endswith("| lag=U;7200;86400;0\n")


def test_a_mod_time_that_is_no_time_is_critical(synced: Job) -> None:
    synced.set_property("tomorrow")

    result = check(synced)

    assert result.code == CRITICAL
    assert "holds 'tomorrow', which is not a time" in result.out


def test_a_list_from_the_future_has_not_waited_yet(synced: Job) -> None:
    age(synced, -HOUR)

    assert check(synced, "--format", "json").json["lag"] == 0


def test_a_list_from_the_far_future_is_a_warning_as_no_run_records_it(synced: Job) -> None:
    age(synced, -400 * 24 * HOUR)

    result = check(synced)

    assert result.code == WARNING
    assert "is dated 399 d 23 h ahead of the dict database's clock: no run marks it as synced" in result.out


# -- what can't be seen --------------------------------------------------------------------------------------------


def test_a_list_file_that_is_gone_is_critical(synced: Job) -> None:
    synced.list_file.unlink()

    result = check(synced)

    assert line(result).startswith(f"CHATSYNC CRITICAL - cannot read the list {synced.list_file}: No such file")


def test_a_list_file_without_the_column_is_critical(synced: Job) -> None:
    synced.list_file.write_text("name,comment\nx,y\n")

    result = check(synced)

    assert result.code == CRITICAL
    assert "has no column 'client_id'" in result.out


@pytest.fixture
def yt_job(job: Job, yt: YtProxy) -> Job:
    job.settle_off({1: 1, 2: 2})
    yt.write(TABLE, ids=[1, 2], modified=ago(48 * HOUR), schema=[{"name": "client_id", "type": "int64"}], strict=True)
    job.keep_list_in(yt)
    assert job.chain().code == 0
    job.configure(run=QUICK)
    return job


def test_a_table_is_looked_at_without_reading_a_row(yt_job: Job, yt: YtProxy) -> None:
    yt.requests.clear()

    result = check(yt_job)

    assert result.code == OK
    assert "read_table" not in yt.commands


@pytest.mark.parametrize(
    ("fault", "status", "says"),
    [
        pytest.param(lambda yt: yt.remove(TABLE), CRITICAL, "there is no such table", id="missing table"),
        pytest.param(
            lambda yt: yt.overwrite(TABLE, rows=[], schema=[{"name": "id", "type": "int64"}], strict=True),
            CRITICAL,
            "has no column 'client_id'",
            id="missing column",
        ),
        pytest.param(lambda yt: yt.deny(TABLE), CRITICAL, "no permission to read the table", id="no permission"),
        pytest.param(lambda yt: yt.tokens.update(x="y"), CRITICAL, "the YT token is wrong or missing", id="token"),
        pytest.param(lambda yt: yt.stop(), UNKNOWN, "the cluster is away or too busy", id="cluster away"),
    ],
)
def test_each_way_in_which_a_table_cant_be_read(
    yt_job: Job, yt: YtProxy, fault: Callable[[YtProxy], object], status: int, says: str
) -> None:
    fault(yt)

    result = check(yt_job)

    assert (result.code, result.err) == (status, "")
    assert says in result.out
    assert result.out.endswith(" | lag=U;7200;86400;0\n")


def test_a_single_shard_that_is_away_is_unknown(synced: Job) -> None:
    (synced.folder / "ppc2.db").unlink()

    result = check(synced)

    assert result.code == UNKNOWN
    assert result.out.startswith("CHATSYNC UNKNOWN - shard 2 (")
    assert result.out.endswith("| lag=0s;7200;86400;0\n")


def test_what_is_known_to_be_bad_outweighs_what_is_not_known(synced: Job) -> None:
    age(synced, 25 * HOUR)
    (synced.folder / "ppc2.db").unlink()

    result = check(synced)

    assert result.code == CRITICAL
    assert re.search(r"CRITICAL - .* has been waiting to be synced for 1 d 1 h .*; shard 2 \(", result.out)


def test_an_unknown_feature_is_unknown(synced: Job) -> None:
    synced.configure(feature={"name": "no_such"})

    assert check(synced).code == UNKNOWN


def test_a_bug_is_unknown_and_not_a_warning(synced: Job, mocker: MockerFixture) -> None:
    mocker.patch("chatsync.commands.check.look", side_effect=RuntimeError("oops"))

    result = check(synced)

    assert result.code == UNKNOWN
    assert result.err.endswith("chatsync: a bug: RuntimeError('oops')\n")


def test_a_bug_while_the_command_is_imported_is_unknown_too(synced: Job, mocker: MockerFixture) -> None:
    mocker.patch(
        "chatsync.command_group.importlib.import_module", side_effect=TypeError("'type' object is not subscriptable")
    )

    result = check(synced)

    assert result.code == UNKNOWN
    assert result.err.endswith("chatsync: a bug: TypeError(\"'type' object is not subscriptable\")\n")


@pytest.mark.parametrize(
    "options",
    [
        ("--nope",),
        ("--warning", "soon"),
        ("--warning", "2d"),
        ("--push", "file:///etc/passwd"),
        ("--push", "http://a:b@c"),
        ("--format", "xml"),
    ],
)
def test_a_wrong_command_line_is_unknown_and_not_critical(synced: Job, options: tuple[str, ...]) -> None:
    result = check(synced, *options)

    assert (result.code, result.out) == (UNKNOWN, "")
    assert result.err.startswith("chatsync: ")


def test_a_wrong_configuration_is_unknown_and_told_where_monitoring_looks(synced: Job) -> None:
    synced.configure(limits={"fre": 1})

    result = check(synced)

    assert (result.code, result.err) == (UNKNOWN, "")
    assert result.out.startswith("CHATSYNC UNKNOWN - configuration ")
    assert "unknown key limits.fre" in result.out


# -- by the rows ---------------------------------------------------------------------------------------------------


def test_drift_is_critical_though_the_mod_time_says_synced(synced: Job) -> None:
    synced.row(1, 1, 1)
    synced.row(2, 2, 1)
    synced.settle_off({77: 3})
    synced.row(4, 77, 0)  # where it does not live: that counts for nothing

    assert check(synced).code == OK
    result = check(synced, "--drift")

    assert (result.code, result.err) == (CRITICAL, "")
    assert "2 clients must be turned off and 1 on" in result.out
    assert result.out.endswith("| lag=0s;7200;86400;0 turn_off=2;;;0 turn_on=1;;;0 unknown=0;;;0 rejected=0;;;0\n")


@pytest.mark.parametrize(("tolerance", "status"), [(0, CRITICAL), (1, CRITICAL), (2, OK), (3, OK)])
def test_a_little_drift_may_be_let_pass(synced: Job, tolerance: int, status: int) -> None:
    synced.configure(monitoring={"drift_tolerance": tolerance})
    synced.row(1, 1, 1)
    synced.row(2, 2, 1)

    assert check(synced, "--drift").code == status


def test_what_is_left_out_is_counted_with_drift(synced: Job) -> None:
    synced.list([1, 2, 3, 4, 99, "n/a", "x"])
    synced.set_property(format_time(datetime.now(UTC)))

    document = check(synced, "--drift", "--format", "json").json

    assert {key: document[key] for key in ("turn_off", "turn_on", "unknown", "rejected")} == {
        "turn_off": 0,
        "turn_on": 0,
        "unknown": 1,
        "rejected": 2,
    }


def test_changes_of_a_waiting_list_are_no_drift(synced: Job) -> None:
    synced.list([1, 2])
    age(synced, MINUTE)

    result = check(synced, "--drift")

    assert result.code == OK
    assert "turn_on=2" in result.out


# -- the story of the three weeks ----------------------------------------------------------------------------------


def test_a_list_written_again_and_again_hides_no_dead_job_from_a_check_with_a_memory(synced: Job) -> None:
    synced.configure(monitoring={"state_file": "check.json"})
    state_file = synced.folder / "check.json"
    age(synced, HOUR)
    assert check(synced).code == OK
    remembered = json.loads(state_file.read_text())
    state_file.write_text(json.dumps({**remembered, "since": format_time(ago(25 * HOUR))}))
    age(synced, MINUTE)

    assert check(synced).code == CRITICAL
    assert synced.chain().code == 0
    assert check(synced).code == OK
    assert not state_file.exists()
    age(synced, 0)
    assert check(synced).code == OK


def test_a_memory_of_another_mod_time_counts_for_nothing(synced: Job) -> None:
    synced.configure(monitoring={"state_file": "check.json"})
    age(synced, 25 * HOUR)
    assert check(synced).code == CRITICAL
    synced.run("set-modtime", "--reset")
    age(synced, MINUTE)

    assert check(synced).code == OK


@pytest.mark.parametrize("content", ["", "[]", '{"list": 1}', "\x00\x01"])
def test_a_broken_memory_is_a_warning_and_no_memory(synced: Job, content: str) -> None:
    synced.configure(monitoring={"state_file": "check.json"})
    (synced.folder / "check.json").write_text(content)
    age(synced, MINUTE)

    result = check(synced)

    assert result.code == OK
    assert "is not the state file of a check" in result.err
    assert check(synced).err == ""


def test_a_memory_that_cant_be_kept_is_a_warning(synced: Job) -> None:
    synced.configure(monitoring={"state_file": "no/such/folder/check.json"})
    age(synced, MINUTE)

    result = check(synced)

    assert result.code == OK
    assert "see monitoring.state_file" in result.err


# -- Juggler -------------------------------------------------------------------------------------------------------


class Agent(HTTPServer):
    """The agent: keeps what it is sent, and answers as planned, the last answer again and again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _AgentHandler)
        self.documents: list[Any] = []
        self.answers: list[tuple[int, Any]] = [(200, {"events": [{"code": 200}], "success": True})]
        self.url = f"http://127.0.0.1:{self.server_address[1]}/events"


class _AgentHandler(BaseHTTPRequestHandler):
    server: Agent

    def do_POST(self) -> None:
        self.server.documents.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        answers = self.server.answers
        code, document = answers.pop(0) if len(answers) > 1 else answers[0]
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def agent() -> Iterator[Agent]:
    with Agent() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param(lambda _: None, "OK", id="synced"),
        pytest.param(lambda job: age(job, 3 * HOUR), "WARN", id="waiting"),
        pytest.param(lambda job: age(job, 25 * HOUR), "CRIT", id="waiting long"),
        pytest.param(lambda job: (job.folder / "ppc2.db").unlink(), "WARN", id="not known"),
    ],
)
def test_the_event(synced: Job, change: Callable[[Job], object], status: str) -> None:
    synced.configure(monitoring={"host": "chat.example"}, run=QUICK)
    change(synced)
    message = check(synced, "--format", "json").json["message"]

    document = check(synced, "--format", "juggler").json

    (event,) = document.pop("events")
    description = event.pop("description")
    assert document == {"source": "chatsync"}
    assert event == {
        "host": "chat.example",
        "service": "jobs.CheckedSupportChatSyncJob.working.production",
        "instance": "",
        "status": status,
    }
    assert description.removeprefix("unknown: ") == message
    assert description.startswith("unknown: ") == ("ppc2" in message)


def test_the_event_is_pushed_whatever_is_printed(synced: Job, agent: Agent) -> None:
    expected = check(synced, "--format", "juggler").json

    result = check(synced, "--push", agent.url)

    assert (result.code, result.err) == (OK, "")
    assert result.out.startswith("CHATSYNC OK - ")
    assert agent.documents == [expected]
    assert expected["events"][0]["host"] == os.uname().nodename


def test_what_keeps_the_check_from_looking_is_pushed_too(synced: Job, agent: Agent) -> None:
    synced.config.unlink()

    assert check(synced, "--push", agent.url).code == UNKNOWN
    assert agent.documents[0]["events"][0]["status"] == "WARN"
    assert agent.documents[0]["events"][0]["description"].startswith("unknown: configuration ")


def test_a_busy_agent_is_asked_again(synced: Job, agent: Agent) -> None:
    agent.answers = [(503, {}), (200, {"events": [{"code": 200}]})]

    result = check(synced, "--push", agent.url)

    assert (result.code, result.err) == (OK, "")
    assert len(agent.documents) == 2


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((400, {}), "HTTP Error 400"),
        ((200, {"events": [{"code": 400, "message": "bad service"}]}), "refused the event: bad service (code 400)"),
    ],
)
def test_an_event_that_is_not_taken_is_unknown(synced: Job, agent: Agent, answer: tuple[int, Any], says: str) -> None:
    agent.answers = [answer]

    result = check(synced, "--push", agent.url)

    assert result.code == UNKNOWN
    assert result.out.startswith("CHATSYNC OK - ")
    assert says in result.err
    assert len(agent.documents) == 1


@pytest.mark.parametrize("answer", [None, [], 1, {"events": None}, {"events": 1}, {"events": ["taken"]}])
def test_an_answer_of_another_kind_with_code_200_means_taken(synced: Job, agent: Agent, answer: Any) -> None:
    agent.answers = [(200, answer)]

    result = check(synced, "--push", agent.url)

    assert (result.code, result.err) == (0, "")


def test_a_missing_agent_is_unknown_after_a_while(synced: Job, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatsync.monitoring.juggler._PUSH_SECONDS", 0.3)
    nobody = agent.url
    agent.server_close()

    result = check(synced, "--push", nobody)

    assert result.code == UNKNOWN
    assert result.err.startswith("chatsync: ")
    assert nobody in result.err


def test_the_exit_codes_are_in_the_help(job: Job) -> None:
    result = check(job, "--help")

    assert "0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN" in " ".join(result.out.split())


# -- why, and how long to wait -----------------------------------------------------------------------------------------


def test_a_list_that_waits_says_why(job: Job) -> None:
    job.configure(records={"dir": "records"}, limits={"must_contain": [7]})
    job.list([1], modified=time.time() - 3 * HOUR)
    job.chain()

    result = check(job)

    assert result.code == WARNING
    assert re.search(
        r"no list was ever synced\); apply was refused \d+ s ago, exit 3: refused, nothing was", result.out
    )


def test_a_job_that_is_off_says_who_did_that_and_why(synced: Job) -> None:
    synced.configure(records={"dir": "records"})
    synced.run("set-modtime", "--disable", "--reason", "INC-7")

    assert re.search(r"; set by \S+@\S+ \d+ s ago: INC-7 \|", check(synced).out)


def test_a_step_log_that_may_not_be_read_changes_nothing(job: Job) -> None:
    job.configure(records={"dir": "records"})
    job.list([1], modified=time.time() - 3 * HOUR)
    (job.records_folder / "runs.jsonl").mkdir(parents=True)

    assert check(job).code == WARNING


def test_a_part_that_does_not_answer_is_not_waited_for(synced: Job) -> None:
    """A server that takes the connection and says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"mysql://u:p@127.0.0.1:{silent.getsockname()[1]}/ppc"
        synced.configure(databases={"shards": {**synced.databases.shard_urls, "2": url}})
        began = time.monotonic()

        result = check(synced, "--timeout", "1s")

    assert time.monotonic() - began < 9  # one attempt to connect takes 10
    assert result.code == UNKNOWN
    assert "shard 2: no answer in time (--timeout 1s)" in result.out


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda _: None, r"0;\S+ of .* is synced"),
        (lambda job: job.set_property("9999-12-31"), r"1;the job is disabled .*Z, `chatsync set-modtime --reset`.*"),
        (lambda job: job.list_file.unlink(), r"2;cannot read the list .*"),
        (lambda job: job.config.write_text("x = 1"), r"1;unknown: configuration .*"),
    ],
)
def test_the_line_for_monrun(synced: Job, change: Callable[[Job], object], line: str) -> None:
    change(synced)

    result = check(synced, "--format", "monrun")

    assert re.fullmatch(line, result.out.removesuffix("\n"))
    assert result.out.count(";") == 1


@pytest.mark.parametrize("timeout", ["7", "7s"])
def test_the_timeout_may_be_a_bare_number_of_seconds(synced: Job, timeout: str) -> None:
    """As the plugins of Nagios and its relatives take it."""
    assert check(synced, "--timeout", timeout).code == OK
    assert check(synced, "--timeout", "0").code == UNKNOWN
    assert check(synced, "--timeout", "-1").code == UNKNOWN
    assert check(synced, "--warning", timeout.rstrip("s")).code == UNKNOWN
