"""A soak: random cycles of the main job with faults and outside actions, each held against an oracle. `make soak`.

A cycle with a fault edits the list and toggles rows by hand, runs the chain with the fault in its way, sees that
whatever was written is right, then runs the chain with nothing in its way and sees that all of it is there.
A cycle with an outside action (another chain, an operator, the product) is a schedule of `tests.harness.schedules`,
in a world of its own; `--schedules` runs as many of those alone.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tests.harness.cycles import NO_LIMITS, Cycles
from tests.harness.forks import Forks
from tests.harness.job import DISABLED, TABLE, Job
from tests.harness.schedules import Schedules
from tests.harness.schema import create_world
from tests.harness.servers import Server
from tests.harness.wire import Wired
from tests.harness.yt_proxy import YtProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.wire import Wire

STATEMENTS = "FOR UPDATE$|^INSERT|^UPDATE|^commit$|FROM clients_features|GET_LOCK|USED_LOCK|FROM features"
UNLOCKED = "FOR UPDATE$|FROM clients_features|GET_LOCK|USED_LOCK|FROM features"  # the property's row is free then
LATEST = 16


class Soak:
    """Cycles with faults, and what happened in them."""

    def __init__(self, cycles: Cycles, wired: Wired, yt: YtProxy, second: Server, starter: ThreadPoolExecutor) -> None:
        self.cycles = cycles
        self.faults: Counter[str] = Counter()
        self.exits: Counter[str] = Counter()
        self.half_way = 0
        self.rows = 0
        self._wires = wired.wires
        self._yt = yt
        self._second = second
        self._starter = starter  # a server dies with the thread that started it, so that one has to live on
        self._process = 0
        self._started = threading.Event()
        self._acts: dict[str, Callable[[], None]] = {
            "none": lambda: None,
            "kill -9": lambda: self._at_some_statement(lambda: self._signal(signal.SIGKILL)),
            "SIGTERM": lambda: self._at_some_statement(lambda: self._signal(signal.SIGTERM)),
            "shard restart": self._restart,
            "kill switch": lambda: self._at_some_statement(self._disable, UNLOCKED),
            "connection lost": lambda: self._at_some_statement(self._some_wire().hang_up),
            "commit unheard": lambda: self._some_wire().lose_answer("^commit$", skip=self._moment()),
            "deadlock": lambda: self._some_wire().refuse("^INSERT|^UPDATE|^commit$", 1213, "Deadlock"),
            "YT 503": lambda: self._yt.overload(times=self.cycles.chance.randrange(1, 4)),
            "YT body cut": lambda: self._yt.cut_body_after(self.cycles.chance.randrange(200)),
            "YT short read": lambda: self._yt.cut_rows(self.cycles.chance.randrange(20)),
        }

    def cycle(self) -> None:
        """Run the chain with a fault, and then without."""
        self.cycles.change()
        fault = self.cycles.chance.choice(list(self._acts))
        self.faults[fault] += 1
        with named(f"after {fault}"):
            self._run(fault)

    def _run(self, fault: str) -> None:
        self._acts[fault]()
        code = self._chain()
        self._clear()
        self.exits[str(code)] += 1
        changed = self.cycles.check_nothing_wrong()
        if code == 0 or self.cycles.is_recorded():
            self.cycles.check_done()
        self.half_way += bool(code and changed)
        self.cycles.finish()
        self.rows += self.cycles.check_nothing_wrong()

    def _chain(self) -> int:
        for name in ("diff", "apply", "set-modtime"):
            self._started.clear()
            self._process = self.cycles.forks.start(*self.cycles.step(name))
            self._started.set()
            if code := self.cycles.forks.wait(self._process):
                return code
        return 0

    def _clear(self) -> None:
        """Take the fault away again, as the person on duty would."""
        for wire in self._wires.values():
            wire.forget()
        self._yt.heal()
        self._second.recover()
        if self.cycles.job.property() == DISABLED and self.cycles.forks.run("set-modtime", "--reset"):
            raise AssertionError("the kill switch could not be lifted")

    def _some_wire(self) -> Wire:
        return self._wires[self.cycles.chance.choice(list(self._wires))]

    def _moment(self) -> int:
        return self.cycles.chance.randrange(LATEST)

    def _at_some_statement(self, act: Callable[[], None], statements: str = STATEMENTS) -> None:
        wire = self._some_wire()
        moment = self.cycles.chance.choice([wire.before, wire.after])
        moment(statements, act, skip=self._moment())

    def _signal(self, number: int) -> None:
        self._started.wait()
        os.kill(self._process, number)

    def _restart(self) -> None:
        def restart() -> None:
            self._second.kill()
            self._starter.submit(self._second.recover)

        wire = self._wires[self.cycles.chance.choice(["ppc1", "ppc3"])]
        wire.before(STATEMENTS, restart, skip=self._moment())

    def _disable(self) -> None:
        self.cycles.job.set_property(DISABLED)


@contextlib.contextmanager
def faults(seed: int) -> Iterator[Soak]:
    """Make a world on two servers behind wires, with its list in YT, for cycles with faults."""
    with (
        Server() as first,
        Server() as second,
        Wired(world := create_world(first, second)) as wired,
        YtProxy() as yt,
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(1) as starter,
    ):
        yt.write(TABLE, ids=[])
        job = Job(Path(folder), wired)
        job.keep_list_in(yt)
        job.configure(limits=NO_LIMITS, apply={"batch_size": 4, "parallel_shards": 2}, run={"retry_timeout": "20s"})
        with Forks(job) as forks:
            yield Soak(Cycles(job, world, forks, seed=seed, yt=yt), wired, yt, second, starter)


@contextlib.contextmanager
def schedules(seed: int) -> Iterator[Schedules]:
    """Make a world on two servers behind wires for schedules."""
    with (
        Server() as first,
        Server() as second,
        Wired(world := create_world(first, second)) as wired,
        tempfile.TemporaryDirectory() as folder,
    ):
        job = Job(Path(folder), wired)
        with Forks(job) as forks, Forks(job, "others") as others:
            yield Schedules(job, wired, world, forks, others, seed=seed)


def cycle_all(cycles: int, seed: int, *, until: float) -> str:
    """Run cycles, each with a fault or an outside action, as many as the time allows; return what happened."""
    done = 0
    with faults(seed) as soak, schedules(seed) as stage:
        chance = soak.cycles.chance
        for number in range(1, cycles + 1):
            if time.monotonic() > until:
                break
            with named(f"in cycle {number} of seed {seed}"):
                if chance.random() < 0.5:
                    soak.cycle()
                else:
                    stage.run_somewhere(chance.choice(list(stage.actions)))
            done = number
    return (
        f"{done} cycles, {soak.rows} rows changed; faults: {told(soak.faults)}; chains ended with: "
        f"{told(soak.exits)}; stopped half-way: {soak.half_way}; outside actions: {told(stage.outcomes)}"
    )


def run_schedules(count: int, seed: int, *, until: float) -> str:
    """Run each outside action in turn at random statements, as many as the time allows; return what happened."""
    done = 0
    with schedules(seed) as stage:
        for number, name in zip(range(count), itertools.cycle(stage.actions), strict=False):
            if time.monotonic() > until:
                break
            with named(f"in schedule {number + 1} of seed {seed}"):
                stage.run_somewhere(name)
            done = number + 1
    return f"{done} schedules at {stage.statements} statements: {told(stage.outcomes)}"


@contextlib.contextmanager
def named(place: str) -> Iterator[None]:
    """Name the place of an error, which may be a Ctrl-C."""
    try:
        yield
    except BaseException:
        click.echo(place, err=True)
        raise


def told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--schedules", type=int, help="run so many schedules, and no cycles")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after this time, whatever is left")
    arguments = parser.parse_args()
    began = time.monotonic()
    work, count = (run_schedules, arguments.schedules) if arguments.schedules else (cycle_all, arguments.cycles)
    happened = work(count, arguments.seed, until=began + arguments.seconds)
    seconds = f"{time.monotonic() - began:.0f} s"
    click.echo(f"soak: seed {arguments.seed}, {seconds}, {happened}; wrong or missing in the end: 0")


if __name__ == "__main__":
    main()
