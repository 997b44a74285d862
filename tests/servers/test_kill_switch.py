"""An operator's mod-time wins at any moment: before, between and after the steps, and between two batches."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.harness.job import DISABLED, PROPERTY, TABLE, Job
from tests.harness.wire import COMMIT, locked_row, wait_for_statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.servers import Server
    from tests.harness.wire import Wired
    from tests.harness.yt_proxy import YtProxy

SYNCED_LATER = "2026-10-01T00:00:00.000000Z"
MODIFIED = 1_790_000_000.123456
LIST_TIME = "2026-09-21T14:13:20.123456Z"


def settle(job: Job) -> None:
    """On shard 1, clients 1 to 6 are to be turned off; on shard 2, client 7 is off and stays so."""
    job.settle(dict.fromkeys(range(1, 7), 1))
    job.settle_off({7: 2})
    job.list(range(1, 8), modified=MODIFIED)


@pytest.fixture
def batch_job(wired_job: Job) -> Job:
    """Batches of two, shard after shard, behind wires."""
    wired_job.configure(apply={"batch_size": 2, "parallel_shards": 1})
    settle(wired_job)
    return wired_job


@pytest.fixture
def disable(batch_job: Job) -> Callable[[], None]:
    """The operator's write, from another process."""

    def write() -> None:
        assert batch_job.process("set-modtime", "--disable").code == 0

    return write


def test_before_the_diff(batch_job: Job) -> None:
    batch_job.set_property(DISABLED)

    made = batch_job.diff("--if-modified")
    applied, recorded = batch_job.apply(), batch_job.set_modtime()

    assert (made.code, batch_job.plan()["verdict"]) == (0, "disabled")
    assert (applied.code, recorded.code) == (5, 5)
    assert "disabled" in applied.err
    assert batch_job.off() == {7}
    assert batch_job.property() == DISABLED


def test_the_real_diff_is_shown_while_disabled_but_not_applied(batch_job: Job) -> None:
    batch_job.set_property(DISABLED)

    made = batch_job.diff()
    applied, at_once = batch_job.apply(), batch_job.run("apply", "--yes")

    assert batch_job.plan()["verdict"] == "changes"
    assert "exit 5: the job is disabled until further notice" in made.out
    assert (applied.code, at_once.code) == (5, 5)
    assert batch_job.off() == {7}


def test_force_does_not_lift_it(batch_job: Job) -> None:
    batch_job.diff()
    batch_job.set_property(DISABLED)

    assert batch_job.apply("--force", "--allow-empty").code == 5
    assert batch_job.off() == {7}


def test_during_the_diff(batch_job: Job, wired: Wired) -> None:
    wired.wires["ppc1"].before("FROM clients_features", lambda: batch_job.set_property(DISABLED))

    made = batch_job.diff("--if-modified")
    applied = batch_job.apply()

    assert (made.code, applied.code) == (0, 5)
    assert batch_job.off() == {7}


def test_while_the_table_is_read(batch_job: Job, yt: YtProxy) -> None:
    batch_job.keep_list_in(yt)
    yt.write(TABLE, ids=range(1, 8))
    yt.on("read_table", lambda: batch_job.set_property(DISABLED))

    assert batch_job.diff("--if-modified").code == 0
    assert batch_job.apply().code == 5
    assert batch_job.off() == {7}


@pytest.mark.parametrize(("value", "code"), [(DISABLED, 5), (SYNCED_LATER, 4), ("1970-01-01", 4), ("soon", 1)])
def test_between_diff_and_apply(batch_job: Job, value: str, code: int) -> None:
    batch_job.diff()
    batch_job.set_property(value)

    assert batch_job.apply().code == code
    assert batch_job.off() == {7}


def test_before_the_first_batch(batch_job: Job, wired: Wired, disable: Callable[[], None]) -> None:
    batch_job.diff()
    wired.wires["ppc1"].before("FOR UPDATE", disable)

    result = batch_job.apply()

    assert result.code == 5
    assert "0 of 6 changes are in place" in result.err
    assert batch_job.off() == {7}


def test_a_url_that_asks_for_autocommit_leaves_nothing_behind_that_was_not_committed(
    batch_job: Job, wired: Wired, disable: Callable[[], None]
) -> None:
    shards = {name: f"{url}&autocommit=true" for name, url in wired.shard_urls.items()}
    batch_job.configure(apply={"batch_size": 2, "parallel_shards": 1}, databases={"shards": shards})
    batch_job.diff()
    wired.wires["ppc1"].before("FOR UPDATE", disable)

    assert batch_job.apply().code == 5
    assert batch_job.off() == {7}


@pytest.mark.parametrize("batches", [1, 2])
def test_between_two_batches(batch_job: Job, wired: Wired, disable: Callable[[], None], batches: int) -> None:
    batch_job.diff()
    wired.wires["ppc1"].after(COMMIT, disable, skip=batches - 1)

    result = batch_job.apply()

    done = 2 * batches
    assert result.code == 5
    assert result.err == (
        f"chatsync: the job is disabled until further notice by its mod-time, {DISABLED}; "
        "`chatsync set-modtime --reset` switches it on again | "
        f"{6 - done} changes failed on shard 1; {done} of 6 changes are in place, "
        "the mod-time was not moved, the next run does the rest\n"
    )
    assert batch_job.off() == {7, *range(1, 1 + done)}
    assert batch_job.property() == DISABLED


def test_while_a_batch_waits_for_a_lock_on_a_row(batch_job: Job, server: Server) -> None:
    """The batch was begun when the job was enabled, and is not committed now that it is not."""
    batch_job.row(1, 3, 1)
    batch_job.diff()
    with locked_row(server, "ppc1", 3) as let_go:
        process = batch_job.start("apply", "--plan", str(batch_job.plan_file))
        wait_for_statement(server, "%ClientID IN (3, 4) FOR UPDATE")
        batch_job.set_property(DISABLED)
        let_go()
    process.communicate(timeout=60)

    assert process.returncode == 5
    assert batch_job.off() == {7, 1, 2}


def test_after_the_last_batch_the_mod_time_is_not_moved(batch_job: Job, wired: Wired) -> None:
    batch_job.diff()
    wired.wires["ppc1"].after(COMMIT, lambda: batch_job.set_property(DISABLED), skip=2)

    assert batch_job.apply().code == 0
    assert batch_job.off() == {1, 2, 3, 4, 5, 6, 7}
    assert batch_job.set_modtime().code == 5
    assert batch_job.property() == DISABLED


@pytest.mark.parametrize(("value", "code"), [(DISABLED, 5), (SYNCED_LATER, 4), ("2026-01-01", 4)])
@pytest.mark.parametrize("before", [None, "2026-01-15 09:40:12"])
def test_between_apply_and_set_modtime(batch_job: Job, before: str | None, value: str, code: int) -> None:
    batch_job.set_property(before)
    batch_job.diff()
    batch_job.apply()
    batch_job.set_property(value)

    assert batch_job.set_modtime().code == code
    assert batch_job.property() == value


@pytest.mark.parametrize(("value", "code"), [(DISABLED, 5), (SYNCED_LATER, 4), ("2026-01-01", 4)])
@pytest.mark.parametrize("before", [None, "2026-01-15 09:40:12"])
def test_between_the_look_and_the_write_of_set_modtime(
    batch_job: Job, wired: Wired, before: str | None, value: str, code: int
) -> None:
    """The last moment of all: set-modtime has seen the old value and is about to write its own."""
    batch_job.set_property(before)
    batch_job.diff()
    batch_job.apply()
    wired.wires["ppcdict"].before("^(UPDATE|INSERT INTO) ppc_properties", lambda: batch_job.set_property(value))

    assert batch_job.set_modtime().code == code
    assert batch_job.property() == value


def test_set_modtime_is_said_to_be_done_when_its_own_answer_was_lost(batch_job: Job, wired: Wired) -> None:
    batch_job.diff()
    batch_job.apply()
    wired.wires["ppcdict"].lose_answer(COMMIT)

    result = batch_job.set_modtime()

    assert (result.code, result.out) == (0, f"mod-time moved to {LIST_TIME}\n")
    assert batch_job.property() == LIST_TIME


def test_it_never_moves_backwards(batch_job: Job) -> None:
    batch_job.set_property(SYNCED_LATER)
    batch_job.diff()

    assert (batch_job.apply().code, batch_job.set_modtime().code) == (4, 4)
    assert batch_job.property() == SYNCED_LATER


def test_it_is_lifted_as_it_was_set(batch_job: Job) -> None:
    batch_job.run("set-modtime", "--disable")
    assert batch_job.property() == DISABLED

    assert batch_job.run("set-modtime", "--reset").code == 0
    assert batch_job.chain().code == 0
    assert batch_job.property() == LIST_TIME


def test_the_job_never_disables_itself(batch_job: Job) -> None:
    """A list from the future is never marked as synced: its time would be the kill switch."""
    batch_job.list(range(1, 8), modified=4_102_444_800)

    result = batch_job.chain()

    assert result.code == 1
    assert "2100-01-01" in result.err
    assert "ahead of the clock" in result.err
    assert batch_job.property() is None
    assert batch_job.off() == {1, 2, 3, 4, 5, 6, 7}


# -- whose clock counts --


@pytest.fixture
def clock(server: Server) -> Iterator[Callable[[int], None]]:
    """Set the clock of the dict database, as the job's connections see it: seconds since 1970."""

    def show(now: int) -> None:
        server.sql(f"SET GLOBAL init_connect = 'SET timestamp = {now}'")

    yield show
    server.sql("SET GLOBAL init_connect = ''")


def test_a_machine_whose_clock_is_ahead_does_not_enable_a_disabled_job(
    batch_job: Job, clock: Callable[[int], None]
) -> None:
    """By this machine's clock 2020 is long over; by the dict database's it is still 2019."""
    batch_job.set_property("2020-01-01")
    clock(1_560_000_000)
    batch_job.list(range(1, 8), modified=1_550_000_000)

    made = batch_job.diff("--if-modified")

    assert batch_job.plan()["verdict"] == "disabled"
    assert "disabled until 2020-01-01" in made.out
    batch_job.diff()
    assert batch_job.apply().code == 5
    assert batch_job.off() == {7}


def test_a_machine_whose_clock_is_behind_does_not_disable_an_enabled_job(
    batch_job: Job, clock: Callable[[int], None]
) -> None:
    """By this machine's clock 2036 is far; by the dict database's it has begun."""
    batch_job.set_property("2036-01-01")
    clock(2_090_000_000)
    batch_job.list(range(1, 8), modified=2_085_000_000)

    assert batch_job.chain().code == 0
    assert batch_job.off() == {1, 2, 3, 4, 5, 6, 7}
    assert batch_job.property() == "2036-01-26T22:40:00.000000Z"


def test_during_a_pause_no_other_batch_is_begun(batch_job: Job, wired: Wired) -> None:
    batch_job.configure(apply={"batch_size": 2, "parallel_shards": 1, "pause": 0.2})
    batch_job.diff()
    wired.wires["ppc1"].after(COMMIT, lambda: batch_job.set_property(DISABLED))

    assert batch_job.apply().code == 5
    assert len([text for text in wired.wires["ppc1"].statements if text.endswith("FOR UPDATE")]) == 1
    assert batch_job.off() == {1, 2, 7}


def test_a_hand_made_update_counts_from_when_it_was_made(server_job: Job) -> None:
    """MySQL and MariaDB note the time by themselves: a value that was past by then says what is synced."""
    job = server_job
    job.settle({1: 1})
    job.list([1], modified=datetime(2026, 9, 28, tzinfo=UTC).timestamp())
    job.dict_sql("INSERT INTO ppc_properties VALUES (%s, %s, %s)", PROPERTY, "1970-01-01", "2026-09-20 09:00:00")
    job.dict_sql("UPDATE ppc_properties SET value = %s WHERE name = %s", "2026-10-01T00:00:00Z", PROPERTY)

    assert job.diff("--if-modified").code == 0
    assert job.plan()["verdict"] == "not-modified"
