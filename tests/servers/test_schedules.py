"""A chain with one outside action at one of its statements: rows are never wrong while everything says 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.forks import Forks
from tests.harness.job import Job
from tests.harness.schedules import Schedules
from tests.harness.wire import Wired

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.schema import World

MOMENTS = 3  # of each action; `python -m tests.soak --schedules N` runs thousands


def test_one_outside_action_at_any_statement(wide_world: World, tmp_path: Path) -> None:
    with Wired(wide_world) as wired:
        job = Job(tmp_path, wired)
        with Forks(job) as forks, Forks(job, "others") as others:
            schedules = Schedules(job, wired, wide_world, forks, others, seed=2026)
            for name in list(schedules.actions) * MOMENTS:
                schedules.run_somewhere(name)

    assert schedules.outcomes["right (0)"] >= MOMENTS
    assert sum(count for outcome, count in schedules.outcomes.items() if outcome.startswith("stopped")) >= MOMENTS
