"""A chain on real servers with one outside action at one of its statements, and what must hold afterwards.

The invariant: when the chain has ended with 0, the rows at home are those of the list that the mod-time names, or
the next `--if-modified` run does not take that list for synced. What the product changes by itself after the chain's
last look, and an action that begins after the mod-time has moved, only `check --drift` can tell. Afterwards, with
nothing else at work, one chain puts everything right.
"""

from __future__ import annotations

import functools
import json
import random
import threading
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import mysql.connector

from tests.harness.cycles import FIRST_TIME, LOCK, NO_LIMITS, DisagreementError
from tests.harness.job import DISABLED, FEATURE_ID, RECORDS
from tests.harness.wire import FOREVER, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.forks import Forks
    from tests.harness.job import Job
    from tests.harness.schema import World
    from tests.harness.wire import Wire, Wired

STEPS = {"diff": ["--if-modified"], "apply": [], "set-modtime": []}
CLIENTS = range(1, 25)
EXPECTED_CODES = {0, 1, 4, 5, 6}
POLL_SECONDS = 0.05
WAITING = """SELECT COUNT(*) FROM information_schema.processlist LEFT JOIN information_schema.innodb_trx
    ON trx_mysql_thread_id = id WHERE trx_state = 'LOCK WAIT' OR state LIKE 'Waiting for%lock%'"""
SETTINGS: dict[str, dict[str, Any]] = {
    "apply": {"batch_size": 3, "parallel_shards": 1},
    "limits": NO_LIMITS,
    "records": RECORDS,
    "run": {"retry_timeout": "2s"},
}


@dataclass
class Moment:
    """When an action took place: the step of the chain, and whether the mod-time had or may have moved by then."""

    statement: int
    after: bool
    step: str = ""
    came: bool = False
    late: bool = False
    happened: list[str] = field(default_factory=list)


class Schedules:
    """Runs one schedule after the other; each begins with what the last one left: everything synced."""

    def __init__(self, job: Job, wired: Wired, world: World, forks: Forks, others: Forks, *, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - a world, not a secret
        self.outcomes: Counter[str] = Counter()
        self._job, self._wired, self._world = job, wired, world
        self._forks, self._others = forks, others
        self._time = FIRST_TIME
        self._lists: dict[str | None, set[int]] = {None: set()}
        self._error: BaseException | None = None
        self._product_only = False
        self.actions: dict[str, Callable[[Moment], None]] = {
            "another chain of a later list": self._another_chain,
            "an operator's apply": self._operators_apply,
            "an operator's apply of a later list": self._operators_later_apply,
            "an undo": self._undo,
            "the kill switch": self._disable,
            "a client moved with its row": lambda moment: self._move(moment, with_row=True),
            "a client moved without its row": lambda moment: self._move(moment, with_row=False),
            "a row toggled": self._toggle,
            "the list overwritten": lambda _: self._write_list(),
            "the dict's server demoted": self._demote,
        }
        homes = ", ".join(f"({client}, {1 + client % len(job.shards)})" for client in CLIENTS)
        job.dict_sql(f"INSERT INTO shard_client_id (ClientID, shard) VALUES {homes}")
        job.configure(**SETTINGS)
        self._write_list()
        self._finish()

    # -- one schedule --

    @functools.cached_property
    def statements(self) -> int:
        """The number of statements of a chain that nothing disturbs."""
        self._write_list()
        seen = self._chain(Moment(statement=1 << 30, after=False), lambda _: None)[1]
        self._finish()
        return seen

    def run_somewhere(self, name: str) -> str:
        """Run a chain with an action at a random statement."""
        statement = self.chance.randrange(self.statements)
        return self.run(name, statement=statement, after=self.chance.random() < 0.5)

    def run(self, name: str, *, statement: int, after: bool) -> str:
        """Run a chain of a new list with an action at one statement, and see that the invariant holds."""
        self._write_list()
        moment = Moment(statement, after)
        code, _ = self._chain(moment, self.actions[name])
        try:
            outcome = self._judge(code, moment)
            self._recover()
            self._heal(moment)
        except DisagreementError as error:
            at = f"{'after' if after else 'before'} statement {statement}, in {moment.step or 'none'}"
            raise DisagreementError(f"{name} {at} ({'; '.join(moment.happened)}): {error}") from error
        self.outcomes[f"{outcome} ({code})"] += 1
        self._finish()
        return outcome

    def _chain(self, moment: Moment, action: Callable[[Moment], None]) -> tuple[int, int]:
        seen = 0
        lock = threading.Lock()
        acting: list[threading.Thread] = []

        def count(database: str, wire: Wire) -> None:
            nonlocal seen
            with lock:
                if acting and acting[0].is_alive():
                    return  # a statement of the action
                seen += 1
                if seen != moment.statement + 1:
                    return
                moment.happened.append(f"at {database}: {wire.statements[-1][:120]}")
                acting.append(threading.Thread(target=self._act, args=(action, moment)))
                acting[0].start()
            self._wait_for(acting[0], moment)

        for database, wire in self._wired.wires.items():
            hook = wire.after if moment.after else wire.before
            hook(".", functools.partial(count, database, wire), times=FOREVER)
        code = 0
        for step in STEPS:
            moment.step = moment.step if moment.came else step
            if code := self._forks.run(*self._command(step)):
                break
        for thread in acting:
            thread.join()
        for wire in self._wired.wires.values():
            wire.forget()
        if self._error:
            raise self._error
        return code, seen

    def _wait_for(self, acting: threading.Thread, moment: Moment) -> None:
        """Hold the chain until the action has ended, or until it waits for a lock that the chain holds."""
        while acting.is_alive() and not moment.late:
            acting.join(POLL_SECONDS)
            if acting.is_alive() and any(server.sql(WAITING) != [(0,)] for server in self._world.servers):
                moment.late = True  # it goes on beside the chain, and may end after it
                moment.happened.append("waited for a lock")

    def _act(self, action: Callable[[Moment], None], moment: Moment) -> None:
        moment.came = True
        moment.late = moment.late or self._job.property() == self._list_time
        try:
            action(moment)
        except BaseException as error:  # noqa: BLE001 - raised in the main thread
            self._error = error

    def _command(self, step: str, plan: str = "plan.json") -> list[str]:
        return [step, "--plan", str(self._job.folder / plan), *STEPS[step]]

    # -- what must hold --

    def _off(self) -> set[int]:
        """Read who is off at home."""
        homes: dict[int, int] = dict(self._job.dict_sql("SELECT ClientID, shard FROM shard_client_id"))
        off = f"SELECT ClientID FROM clients_features WHERE feature_id = {FEATURE_ID} AND is_enabled = 0"
        return {
            client
            for shard in self._job.shards
            for (client,) in self._job.shard_sql(shard, off)
            if homes[client] == shard
        }

    def _is_as_named(self) -> bool:
        """Tell whether the rows are those of the list that the mod-time names."""
        return self._off() == self._lists.get(self._job.property())

    def _judge(self, code: int, moment: Moment) -> str:
        if code not in EXPECTED_CODES:
            raise DisagreementError(f"ended with {code}: {self._forks.output.read_text()}")
        if code:
            return "stopped"
        if self._is_as_named():
            return "right"
        if self._job.property() == DISABLED or self._verdict() != "not-modified":
            return "known to the next run"
        if self._only_drift_can_tell(moment) and self._others.run("check", "--drift"):
            return "known to check --drift"
        wrong = sorted(self._off() ^ self._lists.get(self._job.property(), set()))
        raise DisagreementError(
            f"clients {wrong} are wrong, the mod-time is {self._job.property()}, and all ended with 0"
        )

    def _only_drift_can_tell(self, moment: Moment) -> bool:
        return moment.late or self._product_only

    def _verdict(self) -> Any:
        if self._others.run(*self._command("diff", "next.json")):
            raise DisagreementError(f"the next diff fails: {self._others.output.read_text()}")
        return json.loads((self._job.folder / "next.json").read_text(encoding="utf-8"))["verdict"]

    def _recover(self) -> None:
        """Take away what an action left behind, as the person on duty would."""
        self._world.server("ppcdict").sql("SET GLOBAL read_only = 0")
        wait_until(lambda: self._job.dict_sql("SELECT IS_FREE_LOCK(%s)", LOCK) == [(1,)])
        if self._job.property() == DISABLED and self._others.run("set-modtime", "--reset"):
            raise DisagreementError(f"cannot be enabled again: {self._others.output.read_text()}")

    def _heal(self, moment: Moment) -> None:
        """Run the chain once more with nothing else at work: it puts right what it can know."""
        for step in STEPS:
            if code := self._others.run(*self._command(step, "heal.json")):
                raise DisagreementError(
                    f"{step} of the next chain ended with {code}: {self._others.output.read_text()}"
                )
        if not self._is_as_named() and not self._only_drift_can_tell(moment):
            wrong = sorted(self._off() ^ self._lists[self._list_time])
            raise DisagreementError(f"clients {wrong} are wrong after the next chain")

    def _finish(self) -> None:
        """Sync all, whatever the mod-time says, as the nightly run does; a new list needs no look at the old rows."""
        self._product_only = False
        for step in STEPS:
            if code := self._forks.run(*[part for part in self._command(step) if part != "--if-modified"]):
                raise DisagreementError(f"{step} with nothing in its way: {code}: {self._forks.output.read_text()}")
        if not self._is_as_named():
            raise DisagreementError(f"not in sync in the end: {self._off()} {self._job.property()}")

    # -- the actions --

    def _write_list(self) -> None:
        """Write a later list: about half of all clients, and one that lives nowhere."""
        self._time += 1
        self._listed = {client for client in CLIENTS if self.chance.random() < 0.5} or {1}
        self._list_time = datetime.fromtimestamp(self._time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self._lists[self._list_time] = self._listed
        self._job.list([*sorted(self._listed), 999], modified=self._time)

    def _command_of_another(self, moment: Moment, *arguments: str) -> int:
        code = self._others.run(*arguments)
        moment.happened.append(f"{' '.join(arguments[:2])}: {code}")
        if code not in EXPECTED_CODES:
            raise DisagreementError(f"{arguments} ended with {code}: {self._others.output.read_text()}")
        return code

    def _another_chain(self, moment: Moment) -> None:
        self._write_list()
        for step in STEPS:
            if self._command_of_another(moment, *self._command(step, "another.json")):
                return

    def _operators_apply(self, moment: Moment) -> None:
        self._command_of_another(moment, "apply", "--yes")

    def _operators_later_apply(self, moment: Moment) -> None:
        self._write_list()
        self._operators_apply(moment)

    def _undo(self, moment: Moment) -> None:
        latest = max(path.stem for path in self._job.records_folder.glob("*.json"))
        self._command_of_another(moment, "apply", "--undo", latest, "--yes")

    def _disable(self, moment: Moment) -> None:
        self._command_of_another(moment, "set-modtime", "--disable")

    def _demote(self, moment: Moment) -> None:
        self._world.server("ppcdict").sql("SET GLOBAL read_only = 1")
        moment.happened.append("read_only = 1")

    def _toggle(self, moment: Moment) -> None:
        """Change a row at home by hand, as the product or support does."""
        self._product_only = moment.step == "set-modtime"
        client = self.chance.choice(CLIENTS)
        ((shard,),) = self._job.dict_sql("SELECT shard FROM shard_client_id WHERE ClientID = %s", client)
        insert = f"INSERT INTO clients_features VALUES ({client}, {FEATURE_ID}, 0)"
        self._write(moment, f"ppc{shard}", f"{insert} ON DUPLICATE KEY UPDATE is_enabled = 1 - is_enabled")

    def _move(self, moment: Moment, *, with_row: bool) -> None:
        """Let a client live on another shard; its row moves with it, or is left behind."""
        client = self.chance.choice(CLIENTS)
        ((old,),) = self._job.dict_sql("SELECT shard FROM shard_client_id WHERE ClientID = %s", client)
        new = self.chance.choice([shard for shard in self._job.shards if shard != old])
        where = f"WHERE ClientID = {client} AND feature_id = {FEATURE_ID}"
        self._product_only = moment.step == "set-modtime" or not self._is_planned(client)
        rows = self._job.shard_sql(old, f"SELECT is_enabled FROM clients_features {where}")
        self._write(moment, "ppcdict", f"UPDATE shard_client_id SET shard = {new} WHERE ClientID = {client}")
        if with_row and rows:
            self._write(
                moment, f"ppc{new}", f"REPLACE INTO clients_features VALUES ({client}, {FEATURE_ID}, {rows[0][0]})"
            )
            self._write(moment, f"ppc{old}", f"DELETE FROM clients_features {where}")

    def _is_planned(self, client: int) -> bool:
        plan = self._job.plan()
        planned = [*plan["turn_off"].values(), *plan["turn_on"].values()]
        return any(client in ids for ids in planned)

    def _write(self, moment: Moment, database: str, statement: str) -> None:
        """Write past the wires; where the chain holds the row, the write waits for it."""
        moment.happened.append(f"{database}: {statement}")
        with (
            closing(self._world.server(database).connect(database)) as connection,
            closing(connection.cursor()) as cursor,
        ):
            with suppress(mysql.connector.errors.DatabaseError):
                cursor.execute("SET SESSION innodb_lock_wait_timeout = 20")
            cursor.execute(statement)
