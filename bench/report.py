"""The results as one table for people, and as one JSON document that can be compared with another one."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.measure import Contest, Cost, Result

HEADERS = ("what", "against", "ours, s", "peer, s", "ratio", "goal", "", "CPU, s", "peer's", "CPU ratio", "MiB")


def table(results: Sequence[Result]) -> str:
    """Print all results: medians, with the smallest and the largest value in brackets."""
    rows = [row for result in results for row in _rows(result)]
    aligned = tabulate(rows, headers=HEADERS, tablefmt="github", disable_numparse=True)
    runs = max((len(result.ours) for result in results), default=0)
    return f"{aligned}\n\nMedian (least-most) of {runs} alternating runs. CPU: of the command and of the server."


def _rows(result: Result) -> list[list[str]]:
    contest = result.contest
    if result.failed:
        return [[contest.what, contest.against, "", "", "", "", "FAILED", "", "", "", ""]]
    wall = _spread(result.ours, lambda cost: cost.wall)
    peer = _spread(result.peer, lambda cost: cost.wall) if result.peer else contest.missing
    memory = statistics.median(cost.rss_mb for cost in result.ours)
    goal = "" if contest.goal is None else f"{contest.goal:g}"
    reached = _reached(result.ratio, contest.goal)
    if contest.more_goal is not None:
        goal, reached = f"+{contest.more_goal:g} s of CPU", _reached(result.more, contest.more_goal)
        reached += "" if result.more is None else f": {result.more:+.2f} s"
    cpu = [_median(result.ours), _median(result.peer), _ratio(result.cpu_ratios)]
    rows = [[contest.what, contest.against, wall, peer, _ratio(result.ratios), goal, reached, *cpu, f"{memory:.0f}"]]
    if contest.rss_goal is not None:
        peak = _spread(result.ours, lambda cost: cost.rss_mb, digits=0)
        within = [f"{contest.rss_goal:g} MiB", _reached(memory, contest.rss_goal)]
        rows.append([f"{contest.what}, peak memory", "", "", "", "", *within, "", "", "", peak])
    return rows


def _ratio(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else "-"


def _reached(value: float | None, goal: float | None) -> str:
    if goal is None:
        return ""
    if value is None:
        return "not measured"
    return "reached" if value <= goal else "MISSED"


def _median(costs: Sequence[Cost]) -> str:
    return f"{statistics.median(cost.all_cpu for cost in costs):.2f}" if costs else ""


def _spread(costs: Sequence[Cost], value: Callable[[Cost], float], *, digits: int = 2) -> str:
    values = [value(cost) for cost in costs]
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def document(results: Sequence[Result], *, server: str) -> dict[str, Any]:
    """Return every run of every line, and the machine that they ran on."""
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "server": server}
    return {"machine": machine, "results": [_entry(result.contest, result) for result in results]}


def _entry(contest: Contest, result: Result) -> dict[str, Any]:
    return {
        "name": contest.name,
        "what": contest.what,
        "against": contest.against,
        "goal": contest.goal,
        "more_goal_s": contest.more_goal,
        "more_s": result.more,
        "rss_goal_mb": contest.rss_goal,
        "ratio": result.ratio,
        "ratios": result.ratios,
        "cpu_ratios": result.cpu_ratios,
        "missing": contest.missing,
        "failed": result.failed,
        "ours": [asdict(cost) for cost in result.ours],
        "peer": [asdict(cost) for cost in result.peer],
    }
