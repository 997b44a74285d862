"""Rules that must have one place: found by reading the code itself."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tests.tools.test_architecture import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
# A monotonic clock knows no dates, so it is left out.
CLOCKS = {"now", "utcnow", "today", "time"}

# Which functions may compare what with a clock. None but the first compares a mod-time.
KILL_SWITCH = "core.modtime.is_disabled"
COMPARED_WITH_A_CLOCK = {
    KILL_SWITCH: "the mod-time",
    "core.export._too_old": "the time of an export",
    "core.export.why_unusable": "the time of an export",
    "core.times.distance": "any moment, for the words `ago` and `from now`",
    "diagnostics.status._about_list": "the modification time of the list",
    "diagnostics.status._about_modtime": "how long the list has waited",
    "diagnostics.status._about_silence": "the end of the last step",
    "diagnostics.status._due": "the end of the last step",
    "diagnostics.status._is_overcome": "the end of a step",
    "exclusions.file.ListFile.__init__": "the modification time of the list",
    "files.remove_leftovers": "the age of a leftover file",
    "monitoring.notify.job_state": "how long the list has waited",
    "monitoring.verdict._judge_waiting": "the modification time of the list",
    "sync.step_log.StepLog._write": "the age of a line",
    "sync.step_log._is_younger": "the age of a line",
}


def functions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
    """Every function with its name: `module.function` or `module.Class.function`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            name = f"{prefix}.{node.name}"
            if isinstance(node, ast.FunctionDef):
                yield name, node
            yield from functions(node, name)


def words(node: ast.AST) -> set[str]:
    """Every name in an expression: `state.modtime` has `state` and `modtime`."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return names | {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def comparisons(modules: Mapping[str, ast.AST]) -> Iterator[tuple[str, set[str]]]:
    """Every comparison by order, with the function it stands in and the names that it compares."""
    for module, tree in modules.items():
        for name, function in functions(tree, module):
            for node in ast.walk(function):
                if isinstance(node, ast.Compare) and any(isinstance(operator, ORDER) for operator in node.ops):
                    yield name, words(node)


def with_a_clock(modules: Mapping[str, ast.AST]) -> set[str]:
    return {function for function, names in comparisons(modules) if names & CLOCKS and "monotonic" not in names}


def of_mod_times(modules: Mapping[str, ast.AST]) -> set[str]:
    """Functions outside core.modtime that compare something called a mod-time by order with anything at all."""
    return {
        function
        for function, names in comparisons(modules)
        if any("modtime" in name for name in names) and not function.startswith("core.modtime.")
    }


def test_one_function_compares_a_mod_time_with_a_clock() -> None:
    assert with_a_clock(PACKAGE.trees) == set(COMPARED_WITH_A_CLOCK)
    assert of_mod_times(PACKAGE.trees) == set()


def test_a_comparison_that_is_put_back_is_found() -> None:
    by_clock = "def check(state): return state.modtime is not None and state.modtime > state.now"
    by_another_name = "class Job:\n  def check(self, clock): return clock < self.seen_modtime"
    modules = {"monitoring.verdict": ast.parse(by_clock), "sync.planner": ast.parse(by_another_name)}

    assert with_a_clock(modules) == {"monitoring.verdict.check"}
    assert of_mod_times(modules) == {"monitoring.verdict.check", "sync.planner.Job.check"}
