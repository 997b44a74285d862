"""`apply` is killed at many moments; whatever it had done by then is right, and the next run does the rest."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

from tests.harness.cycles import NO_LIMITS, Cycles
from tests.harness.forks import Forks

if TYPE_CHECKING:
    from tests.harness.job import Job
    from tests.harness.schema import World
    from tests.harness.wire import Wired

ROUNDS = 50
LATEST = 16  # statements a shard sees; some rounds end before, and are counted as such


def test_kill_at_any_moment(wired_job: Job, wired: Wired, world: World) -> None:
    direct = {"dict": world.dict_url}  # the moments are those of the shards
    wired_job.configure(databases=direct, limits=NO_LIMITS, apply={"batch_size": 4, "parallel_shards": 2})
    with Forks(wired_job) as forks:
        cycles = Cycles(wired_job, world, forks, seed=2026)
        cycles.change()
        cycles.finish()
        rounds = [kill_once(cycles, wired) for _ in range(ROUNDS)]

    half_way = [changed for changed, killed in rounds if changed and killed]
    assert len(half_way) >= ROUNDS // 2, f"too few were killed half-way: {rounds}"


def kill_once(cycles: Cycles, wired: Wired) -> tuple[int, bool]:
    """Kill an apply around a random statement of a random shard, and let the next run finish.

    Returns how many rows it had changed, and whether it was killed before it was done.
    """
    cycles.change()
    assert cycles.forks.run(*cycles.step("diff")) == 0
    wire = wired.wires[f"ppc{cycles.chance.choice(cycles.job.shards)}"]
    started = threading.Event()

    def kill() -> None:
        started.wait()
        os.kill(process, signal.SIGKILL)

    moment = cycles.chance.choice([wire.before, wire.after])
    moment("FOR UPDATE$|^INSERT|^UPDATE|^commit$", kill, skip=cycles.chance.randrange(LATEST))
    process = cycles.forks.start(*cycles.step("apply"))
    started.set()
    code = cycles.forks.wait(process)
    wire.forget()
    assert code in (0, -signal.SIGKILL)
    changed = cycles.check_nothing_wrong()
    assert not cycles.is_recorded()
    cycles.finish()
    return changed, code != 0
