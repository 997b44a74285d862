"""Databases that fail, clusters that are away, signals, pipes and disks: what is told, and what is left behind."""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from chatsync.databases.connection import STATEMENT_SECONDS
from chatsync.databases.engines import _CONNECT_SECONDS
from chatsync.databases.shard_writer import ShardWriter
from tests.harness.job import TABLE, UNMEASURED, Job
from tests.harness.rogue import RogueServer
from tests.harness.wire import COMMIT, FOREVER, locked_row, wait_for_statement, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.schema import World
    from tests.harness.servers import Server
    from tests.harness.wire import Wired
    from tests.harness.yt_proxy import YtProxy

ALL = set(range(1, 9))
RETRY_BRIEFLY: dict[str, object] = {"retry_timeout": "1s"}


def plan_eight(job: Job, **sections: dict[str, object]) -> Job:
    """Clients 1 to 8, two on each of four shards, are to be turned off."""
    job.configure(**sections)
    job.settle({client: (client - 1) // 2 + 1 for client in ALL})
    job.list(ALL, modified=1_790_000_000)
    job.diff()
    return job


@pytest.fixture
def wide_job(wide_world: World, tmp_path: Path) -> Job:
    """Shards 1 and 3 on a server of their own, which may go away by itself."""
    return plan_eight(Job(tmp_path, wide_world), run=RETRY_BRIEFLY)


@pytest.fixture
def eight_job(wired_job: Job) -> Job:
    """All behind wires, one shard after the other."""
    return plan_eight(wired_job, apply={"parallel_shards": 1})


# -- one shard down --


def test_a_shard_that_is_down_fails_the_diff(wide_job: Job, second_server: Server) -> None:
    second_server.kill()
    before = wide_job.plan_file.read_bytes()

    result = wide_job.diff()

    assert result.code == 1
    place = rf"shard ([13]) \(127\.0\.0\.1:{second_server.port}/ppc\1\)"
    assert re.match(rf"chatsync: {place}: cannot read which clients are off: ", result.err)
    assert wide_job.plan_file.read_bytes() == before


def test_the_other_shards_are_applied_and_the_next_run_completes_it(wide_job: Job, second_server: Server) -> None:
    second_server.kill()

    result = wide_job.apply("--format", "json")

    shards = result.json["shards"]
    assert result.code == 1
    assert [shards[name]["changed"] for name in "1234"] == [0, 2, 0, 2]
    assert [shards[name]["failed"] for name in "1234"] == [2, 0, 2, 0]
    last = result.err.splitlines()[-1]
    assert last.startswith("chatsync: 2 changes failed on shard 1: shard 1 (127.0.0.1:")
    assert "| 2 changes failed on shard 3: shard 3 (127.0.0.1:" in last
    assert last.endswith("4 of 8 changes are in place, the mod-time was not moved, the next run does the rest")
    second_server.start()
    assert wide_job.off() == {3, 4, 7, 8}
    assert wide_job.set_modtime().code == 4
    assert wide_job.chain().code == 0
    assert wide_job.off() == ALL
    assert wide_job.property() == "2026-09-21T14:13:20.000000Z"


def test_a_shard_that_dies_in_a_batch_has_none_of_it(wide_job: Job, wide_world: World, second_server: Server) -> None:
    """Client 2 is locked, so the batch has read its rows, and waits, when the server is killed."""
    wide_world.sql("ppc1", "INSERT INTO clients_features VALUES (2, 217, 1)")
    wide_job.diff()
    with locked_row(second_server, "ppc1", 2):
        process = wide_job.start("apply", "--plan", str(wide_job.plan_file))
        wait_for_statement(second_server, "%ClientID IN (1, 2) FOR UPDATE")
        second_server.kill()
        _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "2 changes failed on shard 1" in err
    second_server.start()
    assert wide_job.off() & {1, 2} == set()
    assert wide_job.chain().code == 0
    assert wide_job.off() == ALL


def test_a_shard_that_restarts_is_waited_for(wide_job: Job, second_server: Server) -> None:
    wide_job.configure(run={"retry_timeout": "30s"})
    second_server.kill()
    process = wide_job.start("-v", "apply", "--plan", str(wide_job.plan_file))
    assert process.stderr
    while "trying again" not in process.stderr.readline():
        assert process.poll() is None
    second_server.start()
    process.communicate(timeout=60)

    assert process.returncode == 0
    assert wide_job.off() == ALL


def test_the_first_shard_that_fails_stops_the_others(wide_job: Job, second_server: Server) -> None:
    """Nobody goes on asking in the background for what is not wanted any more."""
    second_server.kill()
    before = threading.active_count()

    assert wide_job.diff().code == 1

    wait_until(lambda: threading.active_count() <= before)


# -- faults that pass, and faults that do not --


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (1213, "Deadlock found when trying to get lock; try restarting transaction"),
        (1205, "Lock wait timeout exceeded; try restarting transaction"),
        (1290, "The MySQL server is running with the --read-only option"),
        (1836, "Running in read-only mode"),
        (1053, "Server shutdown in progress"),
        (1040, "Too many connections"),
    ],
)
@pytest.mark.parametrize("statement", ["FOR UPDATE", "^INSERT INTO clients_features", COMMIT])
def test_a_fault_that_may_pass_is_tried_again(
    eight_job: Job, wired: Wired, statement: str, number: int, message: str
) -> None:
    wired.wires["ppc1"].refuse(statement, number, message)

    result = eight_job.run("-v", "apply", "--plan", str(eight_job.plan_file))

    retries = [line for line in result.err.splitlines() if "trying again in" in line]
    assert result.code == 0
    assert len(retries) == 1
    assert "shard 1 (127.0.0.1:" in retries[0]
    assert "attempt 1 failed, trying again in " in retries[0]
    assert retries[0].endswith(f"{message} ({number})")
    assert eight_job.off() == ALL


@pytest.mark.parametrize("number", [1020, 1047, 1180, 1792, 3032, 3100, 3101])
def test_what_galera_and_group_replication_say_at_a_commit_is_tried_again(
    eight_job: Job, wired: Wired, number: int
) -> None:
    wired.wires["ppc1"].refuse(COMMIT, number, "failing over")

    assert eight_job.apply().code == 0
    assert eight_job.off() == ALL


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (1045, "Access denied for user 'chatsync'@'localhost'"),
        (1054, "Unknown column 'is_enabled' in 'field list'"),
        (1142, "INSERT command denied to user 'chatsync'"),
        (1146, "Table 'ppc1.clients_features' doesn't exist"),
        (1264, "Out of range value for column 'ClientID'"),
    ],
)
def test_a_fault_that_stays_is_not_tried_again(eight_job: Job, wired: Wired, number: int, message: str) -> None:
    wired.wires["ppc1"].refuse("^INSERT", number, message, times=FOREVER)

    result = eight_job.run("-v", "apply", "--plan", str(eight_job.plan_file))

    assert result.code == 1
    assert "trying again" not in result.err
    assert f"cannot write a batch of 2 clients: {message} ({number})" in result.err.splitlines()[-1]
    assert eight_job.off() == ALL - {1, 2}


def test_a_fault_that_does_not_pass_is_given_up(eight_job: Job, wired: Wired) -> None:
    eight_job.configure(run=RETRY_BRIEFLY)
    wired.wires["ppc1"].refuse("^INSERT", 1213, "Deadlock found", times=FOREVER)

    result = eight_job.apply()

    assert result.code == 1
    assert "Deadlock found (1213); gave up after 1s of retries (run.retry_timeout)" in result.err
    assert eight_job.off() == ALL - {1, 2}


def test_a_real_failover(wide_job: Job, second_server: Server) -> None:
    """The server of two shards is read-only for a while, as the old primary is, and tells so by itself."""
    job, server = wide_job, second_server
    job.configure(run={"retry_timeout": "30s"})
    server.sql("SET GLOBAL read_only = 1")
    try:
        process = job.start("-v", "apply", "--plan", str(job.plan_file))
        assert process.stderr
        while "read-only" not in (line := process.stderr.readline()):
            assert process.poll() is None
    finally:
        server.sql("SET GLOBAL read_only = 0")
    process.communicate(timeout=60)

    assert "trying again in" in line
    assert process.returncode == 0
    assert job.off() == ALL


def test_a_real_lock_wait_timeout(server_job: Job, server: Server) -> None:
    job = plan_eight(server_job, run={"retry_timeout": "30s"})
    job.row(1, 1, 1)
    server.sql("SET GLOBAL innodb_lock_wait_timeout = 1")
    try:
        with locked_row(server, "ppc1", 1):
            process = job.start("-v", "apply", "--plan", str(job.plan_file))
            assert process.stderr
            while "(1205)" not in process.stderr.readline():
                assert process.poll() is None
    finally:
        server.sql("SET GLOBAL innodb_lock_wait_timeout = DEFAULT")
    process.communicate(timeout=60)

    assert process.returncode == 0
    assert job.off() == ALL


@pytest.mark.parametrize("statement", ["FOR UPDATE", "^INSERT", COMMIT])
def test_a_connection_that_is_lost(eight_job: Job, wired: Wired, statement: str) -> None:
    wired.wires["ppc1"].before(statement, wired.wires["ppc1"].hang_up)

    result = eight_job.apply("--format", "json")

    assert result.code == 0
    assert result.json["shards"]["1"]["changed"] == 2
    assert eight_job.off() == ALL


def test_a_commit_whose_answer_is_lost_counts_as_changed(eight_job: Job, wired: Wired) -> None:
    """The server has the batch; the program can't know, looks again, and finds its own work."""
    wired.wires["ppc1"].lose_answer(COMMIT)

    result = eight_job.apply("--format", "json")

    assert result.code == 0
    assert result.json["shards"]["1"]["turn_off"] == {"planned": 2, "changed": 2, "already": 0, "failed": 0}
    assert eight_job.off() == ALL


def test_what_somebody_else_did_meanwhile_is_not_counted_as_ours(eight_job: Job, wired: Wired) -> None:
    wired.wires["ppc1"].before("FOR UPDATE", lambda: eight_job.row(1, 1, 0))

    result = eight_job.apply("--format", "json")

    assert result.json["shards"]["1"]["turn_off"] == {"planned": 2, "changed": 1, "already": 1, "failed": 0}


def test_a_row_that_somebody_inserts_at_the_same_moment(eight_job: Job, wired: Wired) -> None:
    wired.wires["ppc1"].before("^INSERT", lambda: eight_job.row(1, 1, 1))

    result = eight_job.apply("--format", "json")

    assert result.code == 0
    assert result.json["shards"]["1"]["changed"] == 2
    assert eight_job.off() == ALL


# -- the deadline, and what doesn't answer --


def timed(job: Job, *arguments: str) -> tuple[int, str, float]:
    began = time.monotonic()
    result = job.process(*arguments)
    return result.code, result.err, time.monotonic() - began


@pytest.fixture
def frozen(server_job: Job, server: Server) -> Iterator[None]:
    assert server_job.shards
    server.freeze()
    yield
    server.thaw()


@pytest.mark.usefixtures("frozen")
def test_a_frozen_server_is_not_waited_for_past_the_deadline(server_job: Job) -> None:
    server_job.configure(run={"deadline": "2s"})

    code, err, seconds = timed(server_job, "diff")

    assert code == 1
    assert err.startswith("chatsync: the deadline passed: run.deadline = 2s while waiting for ")
    assert "dict" in err
    assert seconds < 9  # one attempt to connect takes 10


def test_a_server_that_freezes_while_it_is_read(
    wired_job: Job, wired: Wired, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement alone would be waited for for five minutes, as a scan may rightly take that long."""
    monkeypatch.setattr("chatsync.databases.connection._SILENT_SECONDS", 0.2)
    monkeypatch.setattr("chatsync.databases.engines._CONNECT_SECONDS", 1)
    wired_job.configure(run={"retry_timeout": "0.2s"})
    wired.wires["ppc1"].before("FROM clients_features", server.freeze)
    began = time.monotonic()

    result = wired_job.run("-v", "diff")

    server.thaw()
    last = result.err.splitlines()[-1]
    assert result.code == 1
    assert re.search(r"chatsync: shard \d .* cannot read .*gave up after 0.2s of retries \(run.retry_timeout\)", last)
    assert time.monotonic() - began < 20


def test_a_statement_that_is_only_slow_is_waited_for(
    server_job: Job, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatsync.databases.connection._SILENT_SECONDS", 0.05)
    server_job.configure(run={"retry_timeout": "0.05s"})
    with closing(server.connect("ppc1")) as holder, closing(holder.cursor()) as cursor:
        cursor.execute("LOCK TABLES clients_features WRITE")
        threading.Timer(1.0, lambda: cursor.execute("UNLOCK TABLES")).start()
        assert server_job.run("diff").code == 0


def test_a_server_that_freezes_in_a_batch(eight_job: Job, wired: Wired, server: Server) -> None:
    eight_job.configure(run={"deadline": "6s"})
    wired.wires["ppc1"].before("FOR UPDATE$", server.freeze)

    code, err, seconds = timed(eight_job, "apply", "--plan", str(eight_job.plan_file))

    server.thaw()
    assert code == 1
    assert "the deadline passed" in err
    assert "2 changes failed on shard 1" in err
    assert seconds < 30  # the driver itself would wait for 60


def test_how_long_a_batch_waits_for_a_server_that_freezes(
    wide_job: Job, wide_world: World, second_server: Server
) -> None:
    """As long as a statement may take, then one attempt to connect: here 6 and 2 s, for a user 60 and 10 s."""
    assert (STATEMENT_SECONDS, _CONNECT_SECONDS) == (60, 10)
    shards = {name: f"{url}?read_timeout=6&connection_timeout=2" for name, url in wide_world.shard_urls.items()}
    wide_job.configure(run={"retry_timeout": "1s"}, databases={"shards": shards})
    wide_world.sql("ppc1", "INSERT INTO clients_features VALUES (2, 217, 1)")
    wide_job.diff()
    with locked_row(second_server, "ppc1", 2):
        process = wide_job.start("apply", "--plan", str(wide_job.plan_file))
        wait_for_statement(second_server, "%ClientID IN (1, 2) FOR UPDATE")
        second_server.freeze()
        began = time.monotonic()
        _, err = process.communicate(timeout=120)
        seconds = time.monotonic() - began
        second_server.thaw()

    assert process.returncode == 1
    assert "2 changes failed on shard 1: shard 1 (" in err
    assert "gave up after 1s of retries (run.retry_timeout)" in err
    assert 4 < seconds < 30
    assert wide_job.off() >= {3, 4, 7, 8}


@pytest.mark.parametrize("step", [["set-modtime", "--reset"], ["diff"]])
def test_a_server_that_freezes_while_it_is_logged_in_to(server_job: Job, step: list[str]) -> None:
    """After its greeting, in the TLS handshake, for which the driver has no bound."""
    with RogueServer(freezes=True) as rogue:
        server_job.configure(run={"retry_timeout": "1s"}, databases={"dict": rogue.url("?connection_timeout=1")})

        code, err, seconds = timed(server_job, *step)

    assert code == 1
    assert "the login was not answered within 3 s (2013); gave up after 1s of retries (run.retry_timeout)" in err
    assert rogue.connections
    assert 2 < seconds < 30


def test_a_shard_that_is_frozen_before_an_apply_keeps_no_other_one_waiting(
    wide_job: Job, second_server: Server
) -> None:
    wide_job.configure(run={"deadline": "4s"})
    second_server.freeze()

    code, err, seconds = timed(wide_job, "apply", "--plan", str(wide_job.plan_file))

    assert code == 1
    assert "2 changes failed on shard 1: no answer in time" in err
    assert seconds < 30  # the driver itself would wait for 60
    second_server.thaw()
    assert wide_job.off() == {3, 4, 7, 8}


def test_a_cluster_that_answers_503_for_ever(server_job: Job, yt: YtProxy) -> None:
    server_job.keep_list_in(yt)
    server_job.configure(run={"deadline": "2s"})
    yt.write(TABLE, ids=[1])
    yt.overload(times=-1)

    code, err, seconds = timed(server_job, "-v", "diff")

    assert code == 1
    assert "trying again in" in err
    last = err.splitlines()[-1]
    said = last.partition("chatsync: ")[2]  # behind the time, level and trace id of the log
    assert said.startswith("the deadline passed: run.deadline = 2s while waiting for 127.0.0.1:")
    assert "lock the table, which last failed with: " in last
    assert seconds < 15  # without a deadline it is tried for a minute


@pytest.mark.parametrize("command", ["start_transaction", "lock", "get", "read_table"])
def test_a_cluster_that_says_nothing_is_not_waited_for_past_the_deadline(
    server_job: Job, yt: YtProxy, command: str
) -> None:
    server_job.keep_list_in(yt)
    server_job.configure(run={"deadline": "2s"})
    yt.write(TABLE, ids=[1])
    yt.hang(command, times=FOREVER)

    code, err, seconds = timed(server_job, "diff")

    yt.release()
    assert code == 1
    assert err.startswith("chatsync: the deadline passed: run.deadline = 2s")
    assert seconds < 15  # the client itself would wait for 20 to 30 at each request


@pytest.mark.parametrize("command", ["lock", "read_table"])
def test_a_signal_ends_a_diff_at_once_even_while_the_cluster_keeps_it_waiting(
    server_job: Job, yt: YtProxy, command: str
) -> None:
    server_job.keep_list_in(yt)
    yt.write(TABLE, ids=[1])
    yt.hang(command, times=FOREVER)
    process = server_job.start("diff")
    wait_until(lambda: command in yt.commands)
    began = time.monotonic()

    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)

    yt.release()
    assert (process.returncode, err) == (143, "chatsync: stopped by SIGTERM\n")
    assert time.monotonic() - began < 15  # the client itself would wait for 20 to 30


# -- signals --


STOPPING = [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT"), (signal.SIGHUP, "SIGHUP")]


@pytest.mark.parametrize(("number", "name"), STOPPING)
def test_a_signal_lets_the_batch_in_hand_end(eight_job: Job, wired: Wired, number: int, name: str) -> None:
    process: subprocess.Popen[str]
    wired.wires["ppc1"].before("^INSERT", lambda: process.send_signal(number))

    process = eight_job.start("apply", "--plan", str(eight_job.plan_file), "--format", "json")
    out, err = process.communicate(timeout=60)

    assert process.returncode == 128 + number
    assert eight_job.off() == {1, 2}
    assert json.loads(out)["shards"]["1"]["changed"] == 2
    assert err == (
        f"chatsync: stopped by {name} | 2 changes failed on shard 2 | 2 changes failed on shard 3 | 2 changes "
        "failed on shard 4; 2 of 8 changes are in place, the mod-time was not moved, the next run does the rest\n"
    )
    assert eight_job.chain().code == 0
    assert eight_job.off() == ALL


def test_a_signal_in_the_last_batch_stops_the_chain_all_the_same(eight_job: Job, wired: Wired) -> None:
    process: subprocess.Popen[str]
    wired.wires["ppc4"].before("^INSERT", lambda: process.send_signal(signal.SIGTERM))

    process = eight_job.start("apply", "--plan", str(eight_job.plan_file))
    _, err = process.communicate(timeout=60)

    assert process.returncode == 143
    assert "8 of 8 changes are in place" in err
    assert eight_job.off() == ALL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_diff_at_once_even_while_a_server_keeps_it_waiting(
    server_job: Job, server: Server, number: int
) -> None:
    with closing(server.connect("ppcdict")) as holder, closing(holder.cursor()) as cursor:
        cursor.execute("LOCK TABLES features WRITE")
        process = server_job.start("diff")
        wait_for_statement(server, "SELECT (SELECT features.feature_id%")
        began = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 128 + number
    assert err == f"chatsync: stopped by {signal.Signals(number).name}\n"
    assert time.monotonic() - began < 30  # the driver itself would wait for minutes
    assert not server_job.plan_file.exists()


def test_a_signal_where_nobody_watches_for_signals(eight_job: Job) -> None:
    """Such as in `show`, which reads two small files and has no deadline."""
    plan = eight_job.folder / "fifo"
    os.mkfifo(plan, 0o600)  # whatever the umask is: others may not write a plan
    process = eight_job.start("show", str(plan))
    with plan.open("w"):  # returns once the program has opened its end
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)

    assert (process.returncode, err.strip()) == (130, "chatsync: stopped by SIGINT")


def test_ctrl_c_while_the_end_of_a_run_is_written() -> None:
    program = "from chatsync import cli\ndef run(_): raise KeyboardInterrupt\ncli.run = run\ncli.main([])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (130, "chatsync: stopped by SIGINT\n")


# -- pipes and disks --


def test_a_reader_that_has_seen_enough(eight_job: Job) -> None:
    """As with `| head`: the reader closes the pipe, and there is no traceback."""
    read, write = os.pipe()
    os.close(read)
    process = eight_job.start("diff", stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (1, "")


def test_a_full_disk_under_the_output(eight_job: Job) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123  # a device, as a shell opens it
        process = eight_job.start("diff", stdout=full)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert err == "chatsync: cannot write the output: No space left on device\n"


@pytest.mark.parametrize(
    ("fault", "command", "code"),
    [
        ("none", ("diff", "--nonsense"), 2),
        ("empty list", ("apply", "--yes"), 3),
        ("edited", ("apply", "--plan", "plan.json"), 4),
        ("disabled", ("apply", "--plan", "plan.json"), 5),
        ("locked", ("apply", "--plan", "plan.json"), 6),
        ("none", ("apply", "--plan", "plan.json"), 0),
    ],
)
@pytest.mark.parametrize("options", [(), ("-vv",), ("--log-format", "json")])
def test_a_full_disk_under_standard_error(
    job: Job, fault: str, command: tuple[str, ...], code: int, options: tuple[str, ...]
) -> None:
    """A refusal that can't be told is the same refusal."""
    job.settle({1: 1})
    job.list([1])
    job.diff()
    if fault == "empty list":
        job.settle_off({2: 1})
        job.list([])
    if fault == "edited":
        job.plan_file.write_text("{", encoding="utf-8")
    if fault == "disabled":
        job.set_property("9999-12-31")
    with open("/dev/full", "w") as full, (job.folder / "ppcdict.db.chatsync-lock").open("a") as lock:  # noqa: PTH123  # a device, as a shell opens it
        if fault == "locked":
            fcntl.flock(lock, fcntl.LOCK_EX)
        process = job.start(*options, *command, stderr=full)
        process.communicate(timeout=60)

    assert process.returncode == code


def run_with_small_files(job: Job, size: int) -> subprocess.CompletedProcess[str]:
    """Run a diff that may write no file larger than `size` bytes, as on a disk that is full."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    job.environment |= UNMEASURED
    process = job.start("diff", "--plan", str(job.plan_file), preexec_fn=limit)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess("diff", process.returncode, out, err)


@pytest.mark.parametrize("size", [0, 200])
@pytest.mark.parametrize("existed", [True, False])
def test_a_full_disk_under_the_plan(eight_job: Job, size: int, existed: bool) -> None:
    old = eight_job.plan_file.read_bytes()
    if not existed:
        eight_job.plan_file.unlink()

    done = run_with_small_files(eight_job, size)

    assert done.returncode == 1
    assert done.stderr == f"chatsync: cannot write {eight_job.plan_file}: File too large; nothing was written there\n"
    assert list(eight_job.folder.glob(".plan.json*")) == []
    assert eight_job.plan_file.exists() == existed
    assert not existed or eight_job.plan_file.read_bytes() == old


def test_a_plan_is_whole_or_absent_when_the_program_is_killed(eight_job: Job, wired: Wired) -> None:
    eight_job.plan_file.unlink()
    process: subprocess.Popen[str]
    wired.wires["ppc1"].before("FROM clients_features", lambda: os.kill(process.pid, signal.SIGKILL))

    process = eight_job.start("diff", "--plan", str(eight_job.plan_file))
    process.communicate(timeout=60)

    assert process.returncode == -signal.SIGKILL
    assert not eight_job.plan_file.exists()


def test_a_folder_for_the_plan_that_is_not_there(eight_job: Job) -> None:
    result = eight_job.run("diff", "--plan", str(eight_job.folder / "nowhere" / "plan.json"))

    assert result.code == 1
    assert result.err == (
        f"chatsync: cannot write {eight_job.folder / 'nowhere' / 'plan.json'}: No such file or directory; "
        "nothing was written there\n"
    )


# -- bugs --


def test_a_bug_on_one_shard_hides_nothing_of_the_others(eight_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    write = ShardWriter.write

    def break_on_shard_2(shard: ShardWriter, *args: Any, **kwargs: Any) -> Any:
        if shard.database.name == "shard 2":
            msg = "not thought of"
            raise KeyError(msg)
        return write(shard, *args, **kwargs)

    monkeypatch.setattr(ShardWriter, "write", break_on_shard_2)

    result = eight_job.apply()

    assert result.code == 1
    assert "KeyError: 'not thought of'" in result.err  # with its traceback, in the log
    assert result.err.splitlines()[-1].startswith(
        "chatsync: 2 changes failed on shard 2: shard 2: a bug: KeyError('not thought of'); 6 of 8 changes"
    )
    assert eight_job.off() == ALL - {3, 4}
