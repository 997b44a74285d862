"""The metrics of the chain: right after every end of a command, and never in its way."""

from __future__ import annotations

import fcntl
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from chatsync import __version__
from tests.harness.examples import Samples, exported, make_measured, textfile
from tests.harness.job import MODIFIED, Job
from tests.harness.wire import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.harness.job import Databases

SHARDS = ("1", "2", "3", "4")


def step(job: Job, name: str) -> dict[str, float]:
    """Read what is said of one step, by the short name of the metric."""
    said = {metric: value for (metric, labels), value in exported(job).items() if labels == (name,)}
    return {metric.removeprefix("chatsync_"): value for metric, value in said.items()}


@pytest.fixture
def measured(job: Job) -> Job:
    return make_measured(job)


def test_after_a_whole_chain(any_databases: Databases, tmp_path: Path) -> None:
    job = make_measured(Job(tmp_path, any_databases))
    began = time.time()

    assert job.chain().code == 0

    samples = exported(job)
    for name in ("diff", "apply", "set-modtime"):
        assert began <= samples.pop(("chatsync_last_attempt_timestamp_seconds", (name,))) <= time.time()
        assert began <= samples.pop(("chatsync_last_success_timestamp_seconds", (name,))) <= time.time()
        assert 0 < samples.pop(("chatsync_last_duration_seconds", (name,))) < 60
    expected: Samples = {
        ("chatsync_list_modified_timestamp_seconds", ()): MODIFIED,
        ("chatsync_modtime_timestamp_seconds", ()): MODIFIED,
        ("chatsync_disabled", ()): 0,
        ("chatsync_refused", ()): 0,
        ("chatsync_clients_listed", ()): 3,
        ("chatsync_clients_unknown", ()): 1,
        ("chatsync_rows_rejected", ()): 1,
        ("chatsync_database_failing", ("dict",)): 0,
    }
    for shard in SHARDS:
        expected["chatsync_clients_off", (shard,)] = shard in "14"
        expected["chatsync_last_changes", ("turn_off", shard)] = shard == "1"
        expected["chatsync_last_changes", ("turn_on", shard)] = shard in "23"
        expected["chatsync_missing_changes", (shard,)] = 0
        expected["chatsync_stray_rows", (shard,)] = 0
        expected["chatsync_database_failing", (f"shard {shard}",)] = 0
    expected["chatsync_build_info", (__version__,)] = 1
    for name in ("diff", "apply", "set-modtime"):
        expected["chatsync_consecutive_failures", (name,)] = 0
        expected["chatsync_last_exit_code", (name,)] = 0
    assert samples == expected
    assert textfile(job).stat().st_mode & 0o777 == 0o644
    assert [path for path in job.folder.iterdir() if path.name.startswith(".chatsync.prom")] == []


def test_the_text_is_to_promtools_liking(measured: Job) -> None:
    assert measured.chain().code == 0

    with textfile(measured).open() as file:
        done = subprocess.run(["promtool", "check", "metrics"], stdin=file, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_chain_with_nothing_to_do_keeps_what_was_counted(measured: Job) -> None:
    measured.chain()
    before = exported(measured)

    assert measured.chain().code == 0

    after = exported(measured)
    changed = {name for (name, labels) in before if before[name, labels] != after[name, labels]}
    assert before.keys() == after.keys()
    assert changed == {
        "chatsync_last_attempt_timestamp_seconds",
        "chatsync_last_success_timestamp_seconds",
        "chatsync_last_duration_seconds",
        "chatsync_last_changes",
    }
    assert sum(value for (name, _), value in after.items() if name == "chatsync_last_changes") == 0


def fail_1(job: Job) -> int:
    job.list_file.rename(job.folder / "away")
    code = job.diff().code
    (job.folder / "away").rename(job.list_file)
    return code


def fail_2(job: Job) -> int:
    good = job.config.read_text(encoding="utf-8")
    job.config.write_text(good.replace("unknown_percent", "unknown_percentage"), encoding="utf-8")
    code = job.diff().code
    job.config.write_text(good, encoding="utf-8")
    return code


def fail_2_usage(job: Job) -> int:
    return job.diff("--no-such-option").code


def fail_3(job: Job) -> int:
    job.list([], modified=MODIFIED + 1)
    job.diff()
    return job.apply().code


def fail_4(job: Job) -> int:
    job.diff()
    job.set_property("2026-01-01")
    return job.apply().code


def fail_5(job: Job) -> int:
    job.diff()
    job.set_property("2099-01-01")
    return job.apply().code


def fail_6(job: Job) -> int:
    job.list([1, 4, 2], modified=MODIFIED + 1)
    job.diff()
    with (job.folder / "ppcdict.db.chatsync-lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return job.apply().code


@pytest.mark.parametrize(
    ("fail", "name", "code"),
    [
        (fail_1, "diff", 1),
        (fail_2, "diff", 2),
        (fail_2_usage, "diff", 2),
        (fail_3, "apply", 3),
        (fail_4, "apply", 4),
        (fail_5, "apply", 5),
        (fail_6, "apply", 6),
    ],
)
def test_every_way_to_end_is_kept_and_forgets_nothing(
    measured: Job, fail: Callable[[Job], int], name: str, code: int
) -> None:
    assert measured.chain().code == 0
    before = step(measured, name)
    known = exported(measured).keys()

    assert fail(measured) == code

    after = step(measured, name)
    assert (after["last_exit_code"], after["consecutive_failures"]) == (code, code != 5)  # disabled is no failure
    assert after["last_success_timestamp_seconds"] == before["last_success_timestamp_seconds"]
    assert after["last_attempt_timestamp_seconds"] > after["last_success_timestamp_seconds"]
    assert exported(measured).keys() == known
    assert exported(measured)["chatsync_disabled", ()] == (code == 5)
    assert exported(measured)["chatsync_refused", ()] == (code == 3)


def test_failures_in_a_row_are_counted_until_a_success(measured: Job) -> None:
    counts = []
    for rename in (True, True, False):
        if rename:
            fail_1(measured)
        else:
            measured.diff()
        counts.append(step(measured, "diff")["consecutive_failures"])

    assert counts == [1, 2, 0]


def test_a_difference_is_no_failure(measured: Job) -> None:
    assert measured.diff("--exit-code").code == 10

    said = step(measured, "diff")
    assert (said["last_exit_code"], said["consecutive_failures"]) == (10, 0)
    assert said["last_success_timestamp_seconds"] == said["last_attempt_timestamp_seconds"]


def test_sigterm_leaves_what_was_done_by_then(measured: Job) -> None:
    measured.configure(
        metrics={"textfile": "chatsync.prom"},
        limits={"rejected_percent": 50, "unknown_percent": 50},
        apply={"batch_size": 1, "pause": 60},
    )
    measured.settle({5: 1})
    measured.list([1, 2, 3, 4, 5], modified=MODIFIED)
    measured.diff()
    process = measured.start("apply", "--plan", str(measured.plan_file))
    wait_until(lambda: 1 in measured.off())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    samples = exported(measured)
    assert process.returncode == 128 + signal.SIGTERM
    assert samples["chatsync_last_exit_code", ("apply",)] == 128 + signal.SIGTERM
    assert samples["chatsync_last_changes", ("turn_off", "1")] == 1
    assert samples["chatsync_missing_changes", ("1",)] == 1
    assert samples["chatsync_clients_off", ("1",)] == 1


def test_a_shard_that_fails_is_named_until_it_works_again(measured: Job) -> None:
    shard = measured.folder / "ppc2.db"
    away = measured.folder / "away"
    failing = ("chatsync_database_failing", ("shard 2",))

    measured.diff()
    shard.rename(away)
    assert measured.apply().code == 1
    assert exported(measured)[failing] == 1
    assert exported(measured)["chatsync_missing_changes", ("2",)] == 1
    assert exported(measured)["chatsync_database_failing", ("shard 3",)] == 0
    assert measured.diff().code == 1
    assert exported(measured)[failing] == 1
    away.rename(shard)
    assert measured.chain().code == 0
    assert exported(measured)[failing] == 0
    assert exported(measured)["chatsync_missing_changes", ("2",)] == 0


def test_a_run_that_finds_nothing_modified_forgets_no_refusal_and_no_missing_change(measured: Job) -> None:
    measured.chain()
    measured.settle_off({5: 1, 6: 2})
    measured.configure(metrics={"textfile": "chatsync.prom"}, limits={"turn_on_max": 1, "unknown_percent": 50})
    measured.diff()
    assert measured.apply().code == 3

    assert measured.diff("--if-modified").code == measured.apply().code == 0
    assert exported(measured)["chatsync_refused", ()] == 1

    measured.configure(metrics={"textfile": "chatsync.prom"}, limits={"rejected_percent": 50, "unknown_percent": 50})
    measured.diff()
    shard = measured.folder / "ppc2.db"
    shard.rename(measured.folder / "away")
    assert measured.apply().code == 1
    (measured.folder / "away").rename(shard)
    assert exported(measured)["chatsync_refused", ()] == 0
    assert measured.diff("--if-modified").code == measured.apply().code == 0
    assert exported(measured)["chatsync_missing_changes", ("2",)] == 1


@pytest.mark.parametrize(
    ("arguments", "modtime", "disabled"),
    [
        (("2026-01-01",), 1_767_225_600, 0),
        (("--disable",), 253_402_214_400, 1),
        (("--reset",), 0, 0),
    ],
)
def test_an_operators_word_counts_at_once_and_is_no_step(
    measured: Job, arguments: tuple[str, ...], modtime: float, disabled: int
) -> None:
    measured.chain()
    before = step(measured, "set-modtime")

    assert measured.run("set-modtime", *arguments).code == 0

    samples = exported(measured)
    assert samples["chatsync_modtime_timestamp_seconds", ()] == modtime
    assert samples["chatsync_disabled", ()] == disabled
    assert step(measured, "set-modtime") == before


def test_a_folder_that_cannot_be_entered_is_a_warning(measured: Job) -> None:
    (measured.folder / "file").touch()
    measured.configure(metrics={"textfile": "file/x.prom"}, limits={"rejected_percent": 50})

    result = measured.diff()

    assert result.code == 0
    assert "see metrics.textfile" in result.err


def test_never_synced_is_0(measured: Job) -> None:
    measured.diff()

    assert exported(measured)["chatsync_modtime_timestamp_seconds", ()] == 0


@pytest.mark.parametrize(
    "arguments", [("status",), ("check",), ("diff", "--help"), ("history",), ("show", "plan.json")]
)
def test_other_commands_write_no_metrics(measured: Job, arguments: tuple[str, ...]) -> None:
    measured.run(*arguments)

    assert not textfile(measured).exists()


def test_a_file_that_cant_be_written_is_a_warning(measured: Job) -> None:
    measured.configure(metrics={"textfile": "no/such/folder/x.prom"}, limits={"rejected_percent": 50})

    result = measured.diff()

    assert result.code == 0
    assert re.search(r" cannot write .*/no/such/folder/x.prom: No such file .*; see metrics.textfile\n", result.err)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"chatsync_disabled one\n",
        b'chatsync_clients_off{feature="checked_support_chat"} 1\n',
        b"chatsync_disabled{",
        b"# TYPE x\n{} 1",
    ],
)
def test_a_broken_file_is_a_warning_and_written_afresh(measured: Job, content: bytes) -> None:
    textfile(measured).write_bytes(content)

    result = measured.diff()

    assert result.code == 0
    assert "are written again from the start" in result.err
    assert exported(measured)["chatsync_clients_listed", ()] == 3


def test_a_shard_that_left_the_configuration_leaves_the_metrics(measured: Job) -> None:
    measured.chain()
    shards = dict(measured.databases.shard_urls)
    del shards["3"]
    databases: dict[str, Any] = {"dict": measured.databases.dict_url, "shards": shards}
    measured.configure(databases=databases, metrics={"textfile": "chatsync.prom"})

    assert measured.diff().code == 0

    by_shard = {"chatsync_clients_off", "chatsync_database_failing"}
    names = {labels for name, labels in exported(measured) if name in by_shard}
    assert names == {("1",), ("2",), ("4",), ("dict",), ("shard 1",), ("shard 2",), ("shard 4",)}


def test_without_metrics_their_library_is_not_loaded(job: Job) -> None:
    job.list([])
    script = f"""
import sys
from chatsync import cli
assert cli.run(["-c", {str(job.config)!r}, "diff"]) == 0
sys.exit("prometheus_client" in sys.modules)
"""

    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0
