"""The bench does at a small size what it does at a large one."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from bench import measure, report
from bench.contests import Contests
from bench.world import Size
from bench.worlds import Worlds

if TYPE_CHECKING:
    from pathlib import Path


def cost(wall: float, rss_mb: float = 100) -> measure.Cost:
    return measure.Cost(wall=wall, cpu=wall, rss_mb=rss_mb, server_cpu=0)


def test_a_command_that_fails_ends_the_bench_with_its_output(tmp_path: Path) -> None:
    bench = measure.Bench(tmp_path, server=None)

    with pytest.raises(measure.BenchError, match="ended with 3:\nno luck"):
        bench.run(measure.Command(argv=["bash", "-c", "echo no luck >&2; exit 3"]))


def test_costs_are_of_the_command_and_its_children(tmp_path: Path) -> None:
    bench = measure.Bench(tmp_path, server=None)
    child = f"{shlex.quote(sys.executable)} -c 'x = b\"x\" * 100_000_000; sum(range(1_000_000))'"

    found = bench.run(measure.Command(argv=["bash", "-c", f"{child}; true"]))

    assert found.rss_mb > 95
    assert found.cpu > 0
    assert found.wall > 0


@pytest.mark.parametrize(("goal", "verdict"), [(0.5, "reached"), (0.49, "MISSED")])
def test_a_goal_is_held_against_the_median_of_the_ratios(goal: float, verdict: str) -> None:
    ours, peer = measure.Command(argv=["a"], per=10), measure.Command(argv=["b"], per=20)
    contest = measure.Contest(name="n", what="w", against="a", ours=ours, peer=peer, goal=goal, rss_goal=100)
    result = measure.Result(contest=contest, ours=[cost(1), cost(1), cost(9)], peer=[cost(4), cost(4), cost(4)])

    assert result.ratio == 0.5
    time, state_file = ([cell.strip() for cell in line.split("|")] for line in report.table([result]).splitlines()[2:4])
    assert time[5:8] == ["0.50 (0.50-4.50)", f"{goal:g}", verdict]
    assert state_file[1] == "w, peak memory"
    assert state_file[6:8] == ["100 MiB", "reached"]


def test_what_cannot_be_measured_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    size = Size(clients=100, shards=1, drift=0.01, density="sparse", order="random")
    lines = Contests(Worlds(tmp_path), measure.Bench(tmp_path, server=None), size)

    assert list(lines.clique()) == []
    assert capsys.readouterr().err == "bench: clique: left out, not installed: chdb (make test-cluster)\n"
