"""Every exit code of the interface, each from a process of its own; nothing is written but where it says so."""

from __future__ import annotations

import fcntl
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from chatsync.errors import ChatsyncError, ExitCode
from tests.harness.job import FEATURE_ID, PROPERTY, Job

if TYPE_CHECKING:
    from collections.abc import Callable

MODIFIED = datetime(2026, 10, 23, 10, 15, tzinfo=UTC)


@pytest.fixture
def planned(job: Job) -> Job:
    """A plan to turn client 3 off and client 1 on, in a world where 12 are off."""
    job.settle_off(dict.fromkeys(range(1, 13), 1) | {20: 2})
    job.settle({30: 3})
    job.list([*range(2, 13), 20, 30], modified=MODIFIED.timestamp())
    assert job.diff().code == 0
    return job


def edit(job: Job) -> None:
    document = job.plan()
    document["turn_on"]["1"] = [1, 2]
    job.plan_file.write_text(json.dumps(document))


def cut(job: Job) -> None:
    job.plan_file.write_bytes(job.plan_file.read_bytes()[:-20])


def grow_old(job: Job) -> None:
    job.configure(limits={"plan_max_age": "0.001s"})


def move_the_modtime(job: Job) -> None:
    job.set_property("2026-10-01")


def other_feature(job: Job) -> None:
    job.configure(feature={"name": "another_feature"}, modtime={"property": PROPERTY})


def other_databases(job: Job) -> None:
    shards = dict(job.databases.shard_urls)
    shards["3"], shards["4"] = shards["4"], shards["3"]
    job.configure(databases={"shards": shards})


def disable(job: Job) -> None:
    job.set_property("9999-12-31")


def too_much(job: Job) -> None:
    job.configure(limits={"turn_on_max": 0})


def wrong_list(job: Job) -> None:
    job.configure(limits={"must_contain": [1]})
    assert job.diff().code == 0


def empty_list(job: Job) -> None:
    job.list([])
    assert job.diff().code == 0


def broken_config(job: Job) -> None:
    job.configure(limits={"free": -1})


REFUSALS: list[tuple[Callable[[Job], None], int, str]] = [
    (broken_config, 2, "limits.free: expected int >= 0"),
    (too_much, 3, "refused, nothing was written: turning on 1 client (1) is over limits.turn_on_max = 0; --force"),
    (wrong_list, 3, "of limits.must_contain (1): it is the wrong list; no option overrides it"),
    (empty_list, 3, "holds no client (0 rows): all 13 that are off would be turned on; --allow-empty overrides it"),
    (edit, 4, "its sha256 does not match"),
    (cut, 4, "was cut short or edited, or is not a plan"),
    (grow_old, 4, "over limits.plan_max_age"),
    (move_the_modtime, 4, "the mod-time was not set and is now 2026-10-01"),
    (other_feature, 4, "it is for feature checked_support_chat, but the configuration is for another_feature"),
    (other_databases, 4, "it is not for the databases in [databases]"),
    (disable, 5, "the job is disabled"),
]
IN_A_PROCESS = {broken_config, too_much, edit, disable}  # one for each exit code


@pytest.mark.parametrize(("change", "code", "message"), REFUSALS)
def test_a_plan_refused_is_refused_whole(planned: Job, change: Callable[[Job], None], code: int, message: str) -> None:
    before = planned.rows()
    change(planned)

    run = planned.process if change in IN_A_PROCESS else planned.run
    result = run("apply", "--plan", str(planned.plan_file))

    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("chatsync: ")
    assert message in result.err
    assert result.err.count("\n") == 1
    assert planned.rows() == before


@pytest.mark.slow
def test_0_done_and_then_nothing_to_do(planned: Job) -> None:
    chain = ["diff", "apply", "set-modtime"]
    for _ in range(2):
        assert [planned.process(step, "--plan", "plan.json").code for step in chain] == [0, 0, 0]
    assert planned.process("diff", "--exit-code").code == 0
    assert planned.off() == {*range(2, 13), 20, 30}


def test_1_a_database_that_cannot_be_read(planned: Job) -> None:
    (planned.folder / "ppc2.db").unlink()

    result = planned.process("diff", "--plan", "plan.json")

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("chatsync: shard 2 (")


@pytest.mark.slow
def test_1_a_shard_that_cannot_be_written_and_the_others_are(planned: Job) -> None:
    planned.shard_sql(1, "CREATE TRIGGER no BEFORE UPDATE ON clients_features BEGIN SELECT RAISE(ABORT, 'no'); END")

    result = planned.process("apply", "--plan", "plan.json")

    assert result.code == 1
    assert (3, 30, FEATURE_ID, 0) in planned.rows()
    assert 1 in planned.off()
    assert result.out.splitlines()[-1].split() == ["total", "2", "1", "0", "0", "1"]
    assert "1 change failed on shard 1" in result.err.splitlines()[-1]
    assert planned.process("set-modtime", "--plan", "plan.json").code == 4
    assert planned.property() is None


def test_1_past_the_deadline(planned: Job) -> None:
    planned.configure(run={"deadline": "0.001s"})

    result = planned.process("diff")

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("chatsync: the deadline passed: run.deadline = 0.001s")


def test_2_usage(planned: Job) -> None:
    result = planned.process("apply", "--plan", "nowhere.json")

    assert (result.code, result.out) == (2, "")
    assert "File 'nowhere.json' does not exist" in result.err


@pytest.mark.slow
def test_6_another_apply_is_running(planned: Job) -> None:
    lock = planned.folder / "ppcdict.db.chatsync-lock"
    before = planned.rows()
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        result = planned.process("apply", "--plan", "plan.json")

    assert (result.code, result.out) == (6, "")
    assert result.err.startswith("chatsync: another apply is running: ")
    assert planned.rows() == before
    assert planned.process("apply", "--plan", "plan.json").code == 0


def test_10_a_difference(planned: Job) -> None:
    assert planned.process("diff", "--exit-code").code == 10


def test_no_two_meanings_share_a_code() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "REFUSED": 3,
        "OUT_OF_DATE": 4,
        "DISABLED": 5,
        "BUSY": 6,
        "DIFFERENCE": 10,
    }
    assert {error.exit_code for error in ChatsyncError.__subclasses__()} <= set(ExitCode)
