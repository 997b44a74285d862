"""The lines of the table: what is measured, in which world, against what, and the goal."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from bench import peers
from bench.measure import Bench, BenchError, Command, Contest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.world import Size, World
    from bench.worlds import Worlds

CHATSYNC = peers.beside_python("chatsync")
IMPORT_YT = shlex.join([sys.executable, "-c", "import yt.wrapper"])
MANY, FEW = 0.1, 0.01
LARGE = 50_000_000


class Contests:
    """Makes the contests by name; each makes the worlds that it needs."""

    def __init__(self, worlds: Worlds, bench: Bench, size: Size, *, large: bool = False) -> None:
        """Take `size` for the largest world; the others are parts of it. `large`: a clique also has a larger one."""
        self.large = large
        self.worlds = worlds
        self.bench = bench
        self.size = size

    def part(self, share: float, *, shards: int | None = None, drift: float | None = None) -> Size:
        """Return a part of the largest size."""
        clients = max(100, round(self.size.clients * share))
        return replace(self.size, clients=clients, shards=shards or self.size.shards, drift=drift or self.size.drift)

    @property
    def _large(self) -> World:
        return self.worlds.get("large", self.size)

    @property
    def _few_shards(self) -> World:
        return self._with_copies("few", self.part(0.1, shards=4, drift=FEW))

    @property
    def _drifted(self) -> World:
        return self._with_copies("drifted", self.part(0.1, shards=4, drift=MANY))

    def _with_copies(self, name: str, size: Size) -> World:
        world = self.worlds.get(name, size)
        world.keep_copies()
        return world

    def help(self) -> Iterator[Contest]:
        """Ask for help."""
        yield Contest(
            name="help",
            what="--help",
            against='python -c "import click"',
            ours=Command(argv=[CHATSYNC, "--help"]),
            peer=Command(argv=[sys.executable, "-c", "import click"]),
            goal=2.0,
        )

    def noop(self) -> Iterator[Contest]:
        """Run the chain on a list that is synced."""
        world = self.worlds.get("tenth", self.part(0.1))
        steps = ["diff --if-modified --plan noop.json", "apply --plan noop.json", "set-modtime --plan noop.json"]
        chain = [f"{shlex.quote(CHATSYNC)} -c {shlex.quote(str(world.config))} {step}" for step in steps]
        yield Contest(
            name="noop",
            what="whole chain, nothing to do",
            against='python -c "import yt.wrapper", three times',
            ours=Command(
                argv=peers.bash(world, "chain", [" && ".join(chain)]),
                before=lambda: world.set_modtime(world.modified.isoformat()),
                check=lambda: _expect(json.loads((world.folder / "noop.json").read_text())["verdict"], "not-modified"),
            ),
            peer=Command(argv=peers.bash(world, "imports", [" && ".join([IMPORT_YT] * 3)])),
            goal=1.5,
        )

    def diff(self) -> Iterator[Contest]:
        """Make a diff of the largest world, against the pipeline of an expert."""
        world = self._large
        pipe = "yt read-table, mysql --quick, sort -u, join, comm"
        for retries, goal, against in ((True, 0.25, pipe), (False, None, f"{pipe}; yt without retries")):
            yield Contest(
                name="diff",
                what=f"diff, {world.size}",
                against=against,
                ours=diff(world),
                peer=peers.pipeline(world, retries=retries),
                goal=goal,
                missing=peers.absent("mysql", "sort", "join", "comm"),
                rss_goal=256 if retries else None,
            )

    def floor(self) -> Iterator[Contest]:
        """Make a diff of the largest world, against the time that the sources need to send as much."""
        world = self._large
        for at_once in (False, True):
            yield Contest(
                name="floor",
                what=f"diff, {world.size}",
                against=f"COUNT(*) on all databases {'during' if at_once else 'and'} a download to nowhere",
                ours=diff(world),
                peer=peers.floor(world, at_once=at_once),
                goal=None if at_once else 2.2,
                missing=peers.absent("mysql"),
            )

    def growth(self) -> Iterator[Contest]:
        """Compare the time per id of a world with that of a smaller one."""
        worlds = [
            self.worlds.get("tenth", self.part(0.1)),
            self.worlds.get("third", self.part(0.3)),
            self._large,
        ]
        for small, large in pairwise(worlds):
            yield Contest(
                name="growth",
                what=f"diff, time per id, {large.size}",
                against=f"{small.size.clients:,} listed",
                ours=replace(diff(large), per=large.size.clients),
                peer=replace(diff(small), per=small.size.clients),
                goal=1.1,
            )

    def reladiff(self) -> Iterator[Contest]:
        """Make a diff, against a tool that compares tables."""
        world = self._few_shards
        yield Contest(
            name="reladiff",
            what=f"diff, {world.size}",
            against="reladiff, the list already in tables of the shards",
            ours=diff(world),
            peer=peers.reladiff(world),
            goal=0.33,
            missing=peers.absent("reladiff"),
        )

    def apply(self) -> Iterator[Contest]:
        """Apply many changes, against the same statements without a program around them."""
        world = self._drifted
        ours = self._apply(world)
        recorded = peers.record(world, self.worlds, lambda: self.bench.run(ours))
        against = (
            (peers.replay(world, recorded), "mysql, the same statements as one file", 1.3),
            (peers.replay_side_by_side(world, recorded, only_shards=False), "a file for each connection, at once", 1.3),
            (peers.replay_side_by_side(world, recorded, only_shards=True), "those for the shards alone, at once", None),
        )
        for peer, how, goal in against:
            yield Contest(
                name="apply",
                what=f"apply, {world.size.changes:,} changes, 4 shards",
                against=how,
                ours=ours,
                peer=peer,
                goal=goal,
                missing=peers.absent("mysql"),
            )

    def table_sync(self) -> Iterator[Contest]:
        """Apply few changes, against a tool that makes tables equal."""
        world = self._few_shards
        yield Contest(
            name="table-sync",
            what=f"apply, {world.size.changes:,} changes, 4 shards",
            against="pt-table-sync --execute, from prepared tables",
            ours=self._apply(world),
            peer=peers.table_sync(world),
            goal=0.2,
            missing=peers.absent("pt-table-sync"),
        )

    def export(self) -> Iterator[Contest]:
        """Make a diff from an export, against a download of the same bytes to nowhere."""
        world = self.worlds.exported(self.size, clique=False)
        yield Contest(
            name="export",
            what=f"diff from an export of {3 * world.size.clients:,} rows, {world.size}",
            against="a download of list and export to nowhere",
            ours=world.diff(),
            peer=world.download(),
            goal=1.5,
            rss_goal=256,
        )

    def clique(self) -> Iterator[Contest]:
        """Make a diff on a clique, against starting alone, and against pulling everything."""
        if importlib.util.find_spec("chdb") is None:
            sys.stderr.write("bench: clique: left out, not installed: chdb (make test-cluster)\n")
            return
        for size in (self.size, replace(self.size, clients=LARGE))[: 1 + self.large]:
            world = self.worlds.exported(size, clique=True)
            for peer, against in ((world.start(), "imports alone"), (world.diff(), "the same diff on this machine")):
                yield Contest(
                    name="clique",
                    what=f"diff on a clique, {world.size}",
                    against=against,
                    ours=world.diff(clique="chatsync"),
                    peer=peer,
                    goal=None,
                    rss_goal=100 if against == "imports alone" and size is self.size else None,
                )

    def _apply(self, world: World) -> Command:
        self.bench.run(diff(world))
        argv = [CHATSYNC, "-c", str(world.config), "apply", "--plan", str(world.plan)]
        return Command(argv=argv, before=world.reset, check=peers.in_step(world, "chatsync"))


def diff(world: World) -> Command:
    """Make the plan of a world."""

    def check() -> None:
        plan = json.loads(world.plan.read_text(encoding="utf-8"))
        found = {action: sum(map(len, plan[action].values())) for action in ("turn_off", "turn_on")}
        _expect(found["turn_off"], world.size.drifted)
        _expect(sum(found.values()), world.size.changes)

    argv = [CHATSYNC, "-c", str(world.config), "diff", "--plan", str(world.plan)]
    return Command(argv=argv, check=check)


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise BenchError(f"chatsync found {found}, not {expected}")


BY_NAME: dict[str, Callable[[Contests], Iterator[Contest]]] = {
    "help": Contests.help,
    "noop": Contests.noop,
    "diff": Contests.diff,
    "floor": Contests.floor,
    "growth": Contests.growth,
    "reladiff": Contests.reladiff,
    "apply": Contests.apply,
    "table-sync": Contests.table_sync,
    "export": Contests.export,
    "clique": Contests.clique,
}
