"""The lines about servers that are far away or slow."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contests import CHATSYNC, diff
from bench.distance import Distance
from bench.measure import Command, Contest
from tests.harness.wire import FOREVER, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.contests import Contests
    from bench.world import World

BY_HAND = Path(__file__).with_name("by_hand.py")
ROUND_TRIPS = (0.001, 0.010, 0.050)
FAR_CLIENTS, FAR_SHARDS, FAR_DRIFT = 50_000, 16, 0.01
MANY_SHARDS, SLOW_SECONDS = 100, 2.0


def far(lines: Contests) -> Iterator[Contest]:
    """Have every database some time away, against a program that does only what is needed."""
    size = replace(lines.size, clients=FAR_CLIENTS, shards=FAR_SHARDS, drift=FAR_DRIFT)
    world = lines.worlds.get("far", size)
    for round_trip in ROUND_TRIPS:
        with Distance(world.server.port, round_trip=round_trip) as relay:
            config = world.folder / f"far-{round_trip}.toml"
            world.configure(config, port=relay.port)
            for what, options in (("noop", ["--if-modified"]), ("diff", [])):
                argv = [CHATSYNC, "-c", str(config), "diff", "--plan", str(world.plan), *options]
                at = world.modified.isoformat() if what == "noop" else "1970-01-01"
                prepare = partial(world.set_modtime, at)
                yield Contest(
                    name="far",
                    what=f"{' '.join(['diff', *options])}, {FAR_SHARDS} shards {round_trip:g} s away",
                    against="a program that does only this, connections side by side",
                    ours=Command(argv=argv, before=prepare),
                    peer=Command(argv=[sys.executable, str(BY_HAND), what, str(config)], before=prepare),
                    goal=None,
                )


def slow(lines: Contests) -> Iterator[Contest]:
    """Make a diff of many shards, two of them slow, against one of a slow shard alone."""
    many = lines.worlds.get("many", replace(lines.size, clients=10_000, shards=MANY_SHARDS, drift=FAR_DRIFT))
    one = lines.worlds.get("one", replace(lines.size, clients=100, shards=1, drift=FAR_DRIFT))
    with ExitStack() as stack:
        for world, shards in ((many, (MANY_SHARDS // 2, MANY_SHARDS)), (one, (1,))):
            wires = {str(shard): stack.enter_context(_slow_wire(world, shard)) for shard in shards}
            world.configure(world.config, urls={shard: wire.url for shard, wire in wires.items()})
        yield Contest(
            name="slow",
            what=f"diff, {MANY_SHARDS} shards, two of them {SLOW_SECONDS:g} s a statement",
            against="a slow shard alone",
            ours=diff(many),
            peer=diff(one),
            goal=1.5,
        )


def _slow_wire(world: World, shard: int) -> Wire:
    wire = Wire(world.url(world.shards[shard - 1]), is_mariadb=world.server.is_mariadb)
    wire.after("", lambda: time.sleep(SLOW_SECONDS), times=FOREVER)
    return wire


BY_NAME: dict[str, Callable[[Contests], Iterator[Contest]]] = {"far": far, "slow": slow}
