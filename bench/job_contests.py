"""The lines about the other steps of the job: marking the list as synced, a first fill, and nothing to do in `sync`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench import peers
from bench.contests import CHATSYNC, IMPORT_YT, diff
from bench.measure import Command, Contest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.contests import Contests
    from bench.world import Size, World

FILL_MEMORY = 400  # MiB


def _chatsync(world: World, *arguments: str) -> list[str]:
    return [CHATSYNC, "-c", str(world.config), *arguments]


def _set_modtime(world: World) -> Command:
    """Mark the list as synced, from a mod-time that was never moved."""
    argv = _chatsync(world, "set-modtime", "--plan", str(world.plan))
    return Command(argv=argv, before=lambda: world.set_modtime("1970-01-01"))


def marking(lines: Contests) -> Iterator[Contest]:
    """Mark the list of the largest world as synced, against counting the same rows. It changes that world."""
    world = lines.worlds.get("large", lines.size)
    for command in (diff(world), Command(argv=_chatsync(world, "apply", "--plan", str(world.plan)))):
        lines.bench.run(command)
    for databases, rows, goal in ((world.databases, "shards and dict", 1.6), (world.shards, "shards", None)):
        yield Contest(
            name="set-modtime",
            what=f"set-modtime, {world.size}",
            against=f"COUNT(*) on {rows}, side by side",
            ours=_set_modtime(world),
            peer=peers.counts(world, databases),
            goal=goal,
            missing=peers.absent("mysql"),
            rss_goal=FILL_MEMORY if goal else None,
        )


def fill(lines: Contests) -> Iterator[Contest]:
    """Apply a first fill of a tenth, against the same statements; and see the memory of the largest one."""
    world = lines.worlds.get("fill", _nothing_off(lines.part(0.1)))
    world.keep_copies()
    ours = _fill(lines, world)
    recorded = peers.record(world, lines.worlds, lambda: lines.bench.run(ours))
    yield Contest(
        name="fill",
        what=f"apply, {world.size}",
        against="a file for each connection, at once",
        ours=ours,
        peer=peers.replay_side_by_side(world, recorded, only_shards=False),
        goal=1.3,
        missing=peers.absent("mysql"),
        rss_goal=FILL_MEMORY,
    )


def fill_memory(lines: Contests) -> Iterator[Contest]:
    """Plan the largest first fill, apply it and mark it as synced, each once and for its peak of memory."""
    world = lines.worlds.get("fill_all", _nothing_off(lines.size))
    world.keep_copies()
    for what, command in (("diff", diff(world)), ("apply", _fill(lines, world)), ("set-modtime", _set_modtime(world))):
        yield Contest(
            name="fill-memory",
            what=f"{what}, {world.size}",
            against="",
            ours=command,
            peer=None,
            goal=None,
            rss_goal=FILL_MEMORY,
            once=True,
        )


def _nothing_off(size: Size) -> Size:
    return replace(size, empty=True)


def _fill(lines: Contests, world: World) -> Command:
    lines.bench.run(diff(world))
    argv = _chatsync(world, "apply", "--plan", str(world.plan), "--force")
    return Command(argv=argv, before=world.reset, check=peers.in_step(world, "chatsync"))


def sync(lines: Contests) -> Iterator[Contest]:
    """Run `sync` on a list that is synced."""
    world = lines.worlds.get("tenth", lines.part(0.1))
    yield Contest(
        name="sync",
        what="sync, nothing to do",
        against='python -c "import yt.wrapper", once',
        ours=Command(argv=_chatsync(world, "sync"), before=lambda: world.set_modtime(world.modified.isoformat())),
        peer=Command(argv=peers.bash(world, "import", [IMPORT_YT])),
        goal=1.5,
    )


BY_NAME: dict[str, Callable[[Contests], Iterator[Contest]]] = {
    "sync": sync,
    "fill": fill,
    "fill-memory": fill_memory,
    "set-modtime": marking,
}
