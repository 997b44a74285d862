"""Measuring two commands side by side: in alternating runs, whole processes, medians of the ratios."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LAUNCH = Path(__file__).with_name("launch.py")


class BenchError(Exception):
    """A command failed or did not do what the other one does, so that there is nothing to compare."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one run cost: seconds of wall time, of its own CPU, of the server's CPU, and MiB at the peak.

    `cpu` is of all processes of the command, `rss_mb` of the largest one.
    """

    wall: float
    cpu: float
    rss_mb: float
    server_cpu: float

    @property
    def all_cpu(self) -> float:
        """CPU of the command and of the database server together: steadier than wall time on a busy machine."""
        return self.cpu + self.server_cpu


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command to measure; `per` is what its wall time is divided by, such as the number of ids.

    `before` brings the world into the state it starts from, and `check` raises BenchError unless
    the command did its work. Neither is measured. A command that `tells` measures only a part of
    itself, and prints the seconds as JSON.
    """

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    per: float = 1
    before: Callable[[], object] = lambda: None
    check: Callable[[], object] = lambda: None
    tells: bool = False


@dataclass(frozen=True, kw_only=True)
class Contest:
    """One line of the table: our command against a peer, and the ratio to reach.

    `missing` says why there is no peer to compare with. A `goal` of None is a line for
    comparison only. `more_goal` is a goal of another kind: how many seconds we may take more than the
    peer. `rss_goal` (MiB) adds a line on our memory in the same runs. What takes minutes is run `once`.
    """

    name: str
    what: str
    against: str
    ours: Command
    peer: Command | None
    goal: float | None
    missing: str = ""
    more_goal: float | None = None
    rss_goal: float | None = None
    once: bool = False


@dataclass(frozen=True, kw_only=True)
class Result:
    """The runs of one contest, in pairs; `failed` says why there are none."""

    contest: Contest
    ours: Sequence[Cost]
    peer: Sequence[Cost]
    failed: str = ""

    @property
    def ratios(self) -> list[float]:
        """Our wall time to the peer's in each pair."""
        return self._ratios(lambda cost: cost.wall)

    @property
    def more(self) -> float | None:
        """The median of the seconds of CPU that we take more than the peer; None without one."""
        pairs = zip(self.ours, self.peer, strict=True) if self.peer else ()
        seconds = [ours.all_cpu - theirs.all_cpu for ours, theirs in pairs]
        return statistics.median(seconds) if seconds else None

    @property
    def cpu_ratios(self) -> list[float]:
        """The same of all CPU time."""
        return self._ratios(lambda cost: cost.all_cpu)

    def _ratios(self, value: Callable[[Cost], float]) -> list[float]:
        peer = self.contest.peer
        if peer is None:
            return []
        scale = peer.per / self.contest.ours.per
        return [scale * value(ours) / value(theirs) for ours, theirs in zip(self.ours, self.peer, strict=True)]

    @property
    def ratio(self) -> float | None:
        """The median of the ratios; None without a peer."""
        return statistics.median(self.ratios) if self.ratios else None


class Bench:
    """Runs commands in a folder of its own; `server` is the process whose CPU is counted beside theirs."""

    def __init__(self, folder: Path, *, server: int | None) -> None:
        """Take note of where to run; nothing is run yet."""
        self.folder = folder
        self._server = server

    def contest(self, contest: Contest, *, runs: int) -> Result:
        """Run both commands in turn, once for warming up and then `runs` times, or until one of them fails."""
        try:
            return self._contest(contest, runs=0 if contest.once else runs)
        except BenchError as error:
            return Result(contest=contest, ours=[], peer=[], failed=str(error))

    def _contest(self, contest: Contest, *, runs: int) -> Result:
        ours: list[Cost] = []
        peer: list[Cost] = []
        for number in range(runs + 1):
            pair = [(contest.ours, ours), (contest.peer, peer)]
            for command, costs in pair if number % 2 else reversed(pair):
                if command is not None:
                    cost = self.run(command)
                    if number or not runs:
                        costs.append(cost)
        return Result(contest=contest, ours=ours, peer=peer)

    def run(self, command: Command) -> Cost:
        """Run a command once. Raises BenchError with the end of its output when it fails."""
        command.before()
        cost_file, output = self.folder / "cost.json", self.folder / "output"
        cost_file.unlink(missing_ok=True)
        launch = [sys.executable, "-I", "-S", str(LAUNCH), str(cost_file), *command.argv]
        before = self._server_seconds()
        with output.open("wb") as file:
            environment = {**os.environ, **command.environment}
            done = subprocess.run(
                launch, cwd=self.folder, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False
            )
        server_cpu = self._server_seconds() - before
        if done.returncode:
            tail = output.read_text(errors="replace")[-2000:]
            raise BenchError(f"{' '.join(command.argv)[:300]} ended with {done.returncode}:\n{tail}")
        command.check()
        cost = json.loads(cost_file.read_text(encoding="utf-8"))
        if command.tells:
            cost |= json.loads(output.read_text(encoding="utf-8").splitlines()[-1])
        return Cost(**cost, server_cpu=server_cpu)

    def _server_seconds(self) -> float:
        """Read how much CPU the database server has used (proc(5), /proc/pid/stat)."""
        if self._server is None:
            return 0.0
        fields = Path(f"/proc/{self._server}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
