"""A chain on real servers with one outside action at one of its statements, and what must hold afterwards.

The invariant: when the chain has ended with 0, the rows at home are those of the list that the mod-time names, or
the next `--if-modified` run does not treat that list as synced. Only `check --drift` can find what the product changes
after the last check of `set-modtime` has begun, and what an action does that begins after the mod-time has moved.
Afterwards, when nothing else runs, one chain corrects everything.
"""

from __future__ import annotations

import functools
import json
import random
import re
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
LOOK = re.compile("FROM (clients_features|shard_client_id)")
WAITING = """SELECT COUNT(*) FROM information_schema.processlist LEFT JOIN information_schema.innodb_trx
    ON trx_mysql_thread_id = id WHERE trx_state = 'LOCK WAIT' OR state LIKE 'Waiting for%lock%'"""
SETTINGS: dict[str, dict[str, Any]] = {
    "apply": {"batch_size": 3, "parallel_shards": 1},
    "limits": NO_LIMITS,
    "records": RECORDS,
    "run": {"retry_timeout": "1s"},
}


@dataclass
class Moment:
    """When an action took place: the step of the chain, and whether it was too late for the chain to see it."""

    statement: int
    after: bool
    step: str = ""
    came: bool = False
    late: bool = False
    seen: int = 0
    acting: threading.Thread | None = None
    happened: list[str] = field(default_factory=list)

    def reach(self) -> bool:
        """Count a statement, unless it is one of the action itself; tell whether it is the one to act at."""
        if self.acting and self.acting.is_alive():
            return False
        self.seen += 1
        return self.seen == self.statement + 1


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
        self._step = ""
        self._has_looked = False
        self._one_at_a_time = threading.Lock()
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
        moment = Moment(statement=1 << 30, after=False)
        self._chain(moment, lambda _: None)
        return moment.seen

    def run_somewhere(self, name: str) -> None:
        """Run a chain with an action at a random statement."""
        statement = self.chance.randrange(self.statements)
        self.run(name, statement=statement, after=self.chance.random() < 0.5)

    def run(self, name: str, *, statement: int, after: bool) -> None:
        """Run a chain of a new list with an action at one statement, and see that the invariant holds."""
        self._write_list()
        moment = Moment(statement, after)
        code = self._chain(moment, self.actions[name])
        try:
            outcome = self._judge(code, moment) if moment.came else "ended before it"
            self._recover()
            self._heal(moment)
        except DisagreementError as error:
            at = f"{'after' if after else 'before'} statement {statement}, in {moment.step or 'none'}"
            raise DisagreementError(f"{name} {at} ({'; '.join(moment.happened)}): {error}") from error
        self.outcomes[f"{outcome} ({code})"] += 1
        if not self._is_as_named():
            self._finish()

    def _chain(self, moment: Moment, action: Callable[[Moment], None]) -> int:
        """Run the chain with an action at one statement; returns its exit code."""
        for database, wire in self._wired.wires.items():
            hook = wire.after if moment.after else wire.before
            hook(".", functools.partial(self._pass, database, wire, moment, action), times=FOREVER)
        code = self._steps(moment)
        if moment.acting:
            moment.acting.join()
        for wire in self._wired.wires.values():
            wire.forget()
        if self._error:
            raise self._error
        return code

    def _pass(self, database: str, wire: Wire, moment: Moment, action: Callable[[Moment], None]) -> None:
        """Do the action if this is the chosen statement; any other statement passes."""
        statement = wire.statements[-1]
        if moment.after:
            self._note_look(statement)
        with self._one_at_a_time:
            is_reached = moment.reach()
            if is_reached:
                moment.happened.append(f"at {database}: {statement[:120]}")
                moment.acting = threading.Thread(target=self._act, args=(action, moment))
                moment.acting.start()
        if is_reached:
            self._wait_for(moment)
        if not moment.after:
            self._note_look(statement)

    def _steps(self, moment: Moment) -> int:
        """Run the steps of the chain, each if the one before ended with 0; returns the last exit code."""
        self._has_looked = False
        for self._step in STEPS:
            moment.step = moment.step if moment.came else self._step
            if code := self._forks.run(*self._command(self._step)):
                return code
        return 0

    def _note_look(self, statement: str) -> None:
        """Record that the last check of the chain has begun: it need not see what the product changes from then on."""
        if self._step == "set-modtime" and LOOK.search(statement):
            self._has_looked = True

    def _wait_for(self, moment: Moment) -> None:
        """Hold the chain until the action has ended, or until it waits for a lock that the chain holds."""
        while moment.acting and moment.acting.is_alive():
            moment.acting.join(POLL_SECONDS)
            if moment.acting.is_alive() and any(server.sql(WAITING) != [(0,)] for server in self._world.servers):
                moment.happened.append("waited for a lock")  # it goes on beside the chain, and may end after it
                return

    def _act(self, action: Callable[[Moment], None], moment: Moment) -> None:
        moment.came = True
        moment.late = self._job.property() == self._list_time
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
        if moment.late and self._others.run("check", "--drift"):
            return "known to check --drift"
        wrong = sorted(self._off() ^ self._lists.get(self._job.property(), set()))
        raise DisagreementError(
            f"clients {wrong} are wrong, the mod-time is {self._job.property()}, and all ended with 0"
        )

    def _verdict(self) -> Any:
        if self._others.run(*self._command("diff", "next.json")):
            raise DisagreementError(f"the next diff fails: {self._others.output.read_text()}")
        return json.loads((self._job.folder / "next.json").read_text(encoding="utf-8"))["verdict"]

    def _recover(self) -> None:
        """Remove what an action left behind, as the person on duty would."""
        self._world.server("ppcdict").sql("SET GLOBAL read_only = 0")
        wait_until(lambda: self._job.dict_sql("SELECT IS_FREE_LOCK(%s)", LOCK) == [(1,)])
        if self._job.property() == DISABLED and self._others.run("set-modtime", "--reset"):
            raise DisagreementError(f"cannot be enabled again: {self._others.output.read_text()}")

    def _heal(self, moment: Moment) -> None:
        """Run the chain once more when nothing else runs: it corrects everything that it can detect."""
        if code := self._others.run("sync"):
            raise DisagreementError(f"the next chain ended with {code}: {self._others.output.read_text()}")
        if not self._is_as_named() and not moment.late:
            wrong = sorted(self._off() ^ self._lists[self._list_time])
            raise DisagreementError(f"clients {wrong} are wrong after the next chain")

    def _finish(self) -> None:
        """Sync all, whatever the mod-time says, as the nightly run does."""
        if code := self._forks.run("sync", "--full"):
            raise DisagreementError(f"a run with nothing in its way: {code}: {self._forks.output.read_text()}")
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
        client = self.chance.choice(CLIENTS)
        ((shard,),) = self._job.dict_sql("SELECT shard FROM shard_client_id WHERE ClientID = %s", client)
        insert = f"INSERT INTO clients_features VALUES ({client}, {FEATURE_ID}, 0)"
        self._write(moment, f"ppc{shard}", f"{insert} ON DUPLICATE KEY UPDATE is_enabled = 1 - is_enabled")

    def _move(self, moment: Moment, *, with_row: bool) -> None:
        """Move a client to another shard; its row moves with it, or stays on the old one."""
        client = self.chance.choice(CLIENTS)
        ((old,),) = self._job.dict_sql("SELECT shard FROM shard_client_id WHERE ClientID = %s", client)
        new = self.chance.choice([shard for shard in self._job.shards if shard != old])
        where = f"WHERE ClientID = {client} AND feature_id = {FEATURE_ID}"
        rows = self._job.shard_sql(old, f"SELECT is_enabled FROM clients_features {where}")
        self._write(moment, "ppcdict", f"UPDATE shard_client_id SET shard = {new} WHERE ClientID = {client}")
        if with_row and rows:
            self._write(
                moment, f"ppc{new}", f"REPLACE INTO clients_features VALUES ({client}, {FEATURE_ID}, {rows[0][0]})"
            )
            self._write(moment, f"ppc{old}", f"DELETE FROM clients_features {where}")

    def _write(self, moment: Moment, database: str, statement: str) -> None:
        """Write without the wires; if the chain has locked the row, the write waits for it."""
        moment.happened.append(f"{database}: {statement}")
        with (
            closing(self._world.server(database).connect(database)) as connection,
            closing(connection.cursor()) as cursor,
        ):
            with suppress(mysql.connector.errors.DatabaseError):
                cursor.execute("SET SESSION innodb_lock_wait_timeout = 20")
            cursor.execute(statement)
        moment.late = moment.late or self._has_looked
