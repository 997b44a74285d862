"""Arrows run one way: from the command line through the commands and adapters to the rules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import chatsync

PACKAGE = Path(chatsync.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
        path.read_text(encoding="utf-8")
    )
    for path in PACKAGE.rglob("*.py")
}
PURE = {"core.client_sets", "core.diff", "core.modtime", "core.objections", "core.results", "core.times", "errors"}
READS_THE_WORLD = {"open", "print", "input", "now", "today", "time", "getenv", "read_text", "write_text"}
ALLOWED = {
    "array",
    "collections",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "numpy",
    "pyroaring",
    "signal",
    "struct",
    "typing",
    "__future__",
}


def imports(tree: ast.AST) -> set[str]:
    """The modules a module imports, wherever it does: `core` for our own, `yt` for others."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.removeprefix("chatsync.") if name.startswith("chatsync.") else name.split(".")[0] for name in names}


OURS = {name: imports(tree) & set(MODULES) for name, tree in MODULES.items()}


def test_no_arrow_runs_in_a_circle() -> None:
    left = dict(OURS)
    while free := [name for name, needed in left.items() if not needed & set(left)]:
        for name in free:
            del left[name]

    assert sorted(left) == []


def test_nothing_but_the_command_line_knows_a_command() -> None:
    commands = {name for name in MODULES if name.startswith("commands.") and name != "commands.options"}

    assert {name: needed & commands for name, needed in OURS.items() if needed & commands} == {}
    assert {name for name, needed in OURS.items() if "cli" in needed} <= {"__main__"}


@pytest.mark.parametrize("name", sorted(PURE))
def test_the_rules_know_no_world(name: str) -> None:
    calls = {node.func for node in ast.walk(MODULES[name]) if isinstance(node, ast.Call)}
    called = {getattr(function, "attr", getattr(function, "id", "")) for function in calls}

    assert imports(MODULES[name]) - set(MODULES) - ALLOWED == set()
    assert called & READS_THE_WORLD == set()
