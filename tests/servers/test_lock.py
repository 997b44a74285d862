"""One apply at a time for a feature, and none without the lock."""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from chatsync.databases import job_lock
from chatsync.databases.job_lock import lock_name
from tests.harness.job import OTHER_FEATURE_ID, PROPERTY
from tests.harness.wire import COMMIT, locked_row, wait_for_statement, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from tests.harness.job import Job
    from tests.harness.servers import Server
    from tests.harness.wire import Wired

NAME = "chatsync/ppcdict/217"


def settle(job: Job) -> None:
    job.settle(dict.fromkeys(range(1, 7), 1))
    job.list(range(1, 7))
    job.diff()


@pytest.fixture
def planned(server_job: Job) -> Job:
    """A plan for clients 1 to 6 on shard 1, in batches of two."""
    server_job.configure(apply={"batch_size": 2})
    settle(server_job)
    return server_job


@pytest.fixture
def wired_planned(wired_job: Job) -> Job:
    """The same behind wires."""
    wired_job.configure(apply={"batch_size": 2})
    settle(wired_job)
    return wired_job


def test_the_second_apply_is_told_at_once_who_holds_the_lock(planned: Job, server: Server) -> None:
    with closing(server.connect()) as holder, closing(holder.cursor()) as cursor:
        cursor.execute(f"SELECT GET_LOCK('{NAME}', 0)")
        cursor.fetchall()

        result = planned.apply()

        assert result.code == 6
        assert result.out == ""
        assert result.err == (
            "chatsync: another apply is running: its connection is not visible to this user, or has just ended; "
            "nothing was written\n"
        )
    assert planned.off() == set()
    assert planned.apply().code == 0


@contextmanager
def stuck_apply(job: Job, server: Server) -> Iterator[tuple[subprocess.Popen[str], Callable[[], None]]]:
    """Start an apply that holds the lock and waits for a row that somebody else has locked."""
    job.row(1, 3, 1)
    with locked_row(server, "ppc1", 3) as let_go:
        process = job.start("apply", "--plan", str(job.plan_file))
        wait_for_statement(server, "%ClientID IN (3, 4) FOR UPDATE")
        yield process, let_go


def test_two_at_once(planned: Job, server: Server) -> None:
    with stuck_apply(planned, server) as (process, let_go):
        ((connection,),) = server.sql(f"SELECT IS_USED_LOCK('{NAME}')")

        second = planned.run("apply", "--yes")

        assert second.code == 6
        assert f"another apply is running: connection {connection} of chatsync from 127.0.0.1" in second.err
        assert planned.off() == {1, 2}
        let_go()
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert planned.off() == {1, 2, 3, 4, 5, 6}


def test_the_lock_is_free_at_once_when_a_step_has_ended(wired_planned: Job, wired: Wired, server: Server) -> None:
    """Not only when the server sees that its connection has ended: the next step of `sync` would be too early."""
    wire = wired.wires["ppcdict"]
    free = []
    wire.after("RELEASE_LOCK", lambda: free.append(server.sql(f"SELECT IS_FREE_LOCK('{NAME}')")))

    assert wired_planned.apply().code == 0
    assert free == [[(1,)]]


def test_the_lock_is_free_after_kill_9(planned: Job, server: Server) -> None:
    with stuck_apply(planned, server) as (process, _):
        process.kill()
        process.communicate(timeout=60)
        wait_until(lambda: server.sql(f"SELECT IS_FREE_LOCK('{NAME}')") == [(1,)])

    assert planned.apply().code == 0
    assert planned.off() == {1, 2, 3, 4, 5, 6}


def end_lock(server: Server) -> None:
    """End the connection that holds the lock, as an administrator or a restart would."""
    ((connection,),) = server.sql(f"SELECT IS_USED_LOCK('{NAME}')")
    server.sql(f"KILL {connection}")


@pytest.mark.parametrize("batches", [1, 2])
def test_a_run_that_lost_the_lock_stops_before_the_next_batch(
    wired_planned: Job, wired: Wired, server: Server, batches: int
) -> None:
    wired.wires["ppc1"].after(COMMIT, lambda: end_lock(server), skip=batches - 1)

    result = wired_planned.apply()

    done = 2 * batches
    assert result.code == 1
    assert result.err.startswith("chatsync: dict (127.0.0.1:")
    assert "cannot see the lock of the job: " in result.err
    assert "another apply may have started since" in result.err
    assert f"{done} of 6 changes are in place" in result.err
    assert wired_planned.off() == set(range(1, 1 + done))
    assert wired_planned.apply().code == 0


def test_a_batch_that_was_begun_with_the_lock_is_not_committed_without_it(
    wired_planned: Job, wired: Wired, server: Server
) -> None:
    wired.wires["ppc1"].before("FOR UPDATE", lambda: end_lock(server))

    result = wired_planned.apply()

    assert result.code == 1
    assert wired_planned.off() == set()


def test_a_batch_that_is_tried_again_asks_for_the_lock_again(wired_planned: Job, wired: Wired, server: Server) -> None:
    """Another apply may have come and gone while the shard was away."""
    wired.wires["ppc1"].refuse("FOR UPDATE", 1213, "Deadlock found")
    wired.wires["ppc1"].before("^rollback", lambda: end_lock(server))

    result = wired_planned.apply()

    assert result.code == 1
    assert "the lock of the job" in result.err
    assert [text for text in wired.wires["ppc1"].statements if "INSERT" in text] == []
    assert wired_planned.off() == set()


def test_a_lock_that_was_lost_before_the_last_commit_is_told(wired_planned: Job, wired: Wired, server: Server) -> None:
    """The commit was late: another apply may have come and gone before it, and everything else looks well."""
    wired.wires["ppc1"].before(COMMIT, lambda: end_lock(server), skip=2)

    result = wired_planned.apply()

    assert result.code == 1
    assert "another apply may have started since" in result.err
    assert "6 of 6 changes are in place, the mod-time was not moved" in result.err


def test_the_sessions_of_an_apply_end_soon_without_a_word(wired_planned: Job, wired: Wired) -> None:
    """A machine that vanishes closes no connection: it must not keep the lock, nor rows, for the default 8 hours."""
    wired_planned.apply()

    asked = "\n".join(wired.wires["ppcdict"].statements)
    before_lock = re.findall(r" wait_timeout = (\d+)", asked[: asked.index("GET_LOCK")])
    writing = re.findall(r" wait_timeout = (\d+)", "\n".join(wired.wires["ppc1"].statements))
    assert (before_lock[-1], writing[-1]) == ("60", "120")


def test_the_lock_is_kept_alive_while_nothing_is_asked(
    wired_planned: Job, wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_lock, "_PING_SECONDS", 0.01)
    pings = [0]

    def wait_for_pings() -> None:
        pings[0] += 1
        wait_until(lambda: sum(text == "DO 0" for text in wired.wires["ppcdict"].statements) > 3)

    wired.wires["ppc1"].before("FOR UPDATE", wait_for_pings)

    assert wired_planned.apply().code == 0
    assert pings == [1]


def test_while_it_writes_the_one_connection_to_the_dict_database_holds_the_lock(
    wired_planned: Job, wired: Wired, server: Server
) -> None:
    """A mod-time that were read over another connection could be read on after the lock was lost."""
    seen = []

    def look() -> None:
        holder = server.sql(f"SELECT IS_USED_LOCK('{NAME}')")
        seen.append(server.sql("SELECT id FROM information_schema.processlist WHERE db = 'ppcdict'") == holder)

    wired.wires["ppc1"].before(COMMIT, look, times=3)

    assert wired_planned.apply().code == 0
    assert seen == [True] * 3


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (1105, "Percona-XtraDB-Cluster prohibits use of GET_LOCK with pxc_strict_mode = ENFORCING"),
        (1235, "This version of MariaDB doesn't yet support 'GET_LOCK in cluster (WSREP)'"),
    ],
)
def test_a_server_that_refuses_the_lock(wired_planned: Job, wired: Wired, number: int, message: str) -> None:
    wired.wires["ppcdict"].refuse("GET_LOCK", number, message)

    result = wired_planned.apply()

    assert result.code == 1
    assert result.err.startswith("chatsync: dict (127.0.0.1:")
    assert f"cannot take the lock of the job (GET_LOCK): {message} ({number})" in result.err
    assert wired_planned.off() == set()


def test_another_feature_has_another_lock(planned: Job, server: Server) -> None:
    with closing(server.connect()) as holder, closing(holder.cursor()) as cursor:
        cursor.execute(f"SELECT GET_LOCK('chatsync/ppcdict/{OTHER_FEATURE_ID}', 0)")
        cursor.fetchall()

        assert planned.apply().code == 0


def test_a_long_name_fits_and_stays_its_own() -> None:
    schema = "x" * 51

    assert lock_name(schema, 217) == f"chatsync/{schema}/217"
    assert len(lock_name(schema, 2170)) == 64
    names = {lock_name(long, number) for long in (f"{schema}{'x' * 13}", f"{schema}{'x' * 12}y") for number in (1, 2)}
    assert [len(name) for name in names] == [64] * 4


@pytest.mark.parametrize("name", ["CHECKED_SUPPORT_CHAT", "checked_support_chat ", "chécked_support_chat"])
def test_a_name_that_the_server_takes_for_the_same_feature_has_the_same_lock(
    planned: Job, server: Server, name: str
) -> None:
    planned.configure(feature={"name": name}, modtime={"property": PROPERTY})
    if not server.sql("SELECT 1 FROM ppcdict.features WHERE feature_text_id = %s", args=[name]):
        pytest.skip("this server's collation tells them apart")
    assert planned.diff().code == 0
    with closing(server.connect()) as holder, closing(holder.cursor()) as cursor:
        cursor.execute(f"SELECT GET_LOCK('{NAME}', 0)")
        cursor.fetchall()

        assert planned.apply().code == 6


def test_reading_commands_need_no_lock(planned: Job, server: Server) -> None:
    with closing(server.connect()) as holder, closing(holder.cursor()) as cursor:
        cursor.execute(f"SELECT GET_LOCK('{NAME}', 0)")
        cursor.fetchall()

        assert planned.diff().code == 0
        assert planned.run("show", str(planned.plan_file)).code == 0


# -- the embedded default --
