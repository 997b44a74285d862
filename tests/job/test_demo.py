"""The demo: the program itself on a small world, as a stranger runs it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.harness.job import COMMAND
from tests.harness.readme import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def shell(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", "-c", line]
    return subprocess.run(command, cwd=folder, input="y\n", capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_the_demo_ends_in_sync_and_what_it_says_next_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # not installed: the demo names the way in which it was started
    demo = run(tmp_path, "demo", "a world")

    assert (demo.returncode, demo.stderr) == (0, "")
    commands = [line.split()[4:6] for line in demo.stdout.splitlines() if line.startswith("$ ")]
    assert [command[1] for command in commands] == ["diff", "apply", "set-modtime", "diff"]
    assert "apply will make 88 changes." in demo.stdout
    assert "In sync: nothing to change." in demo.stdout

    _, _, following = demo.stdout.partition("Try next:\n")
    ended = {line: shell(tmp_path, line) for line in following.splitlines() if line}
    assert len(ended) >= 4
    assert [done.stdout for done in ended.values() if "apply will make 1 change." in done.stdout]
    assert {line: done.stderr for line, done in ended.items() if done.returncode} == {}


@pytest.mark.slow
def test_the_demo_of_an_export_reads_it_and_serves_until_enter_is_pressed(tmp_path: Path) -> None:
    """With chDB, it shows the same on a clique. Meanwhile, the commands of docs/scale.md work."""
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    others = [line.split() for line in re.findall(r"^    \.venv/bin/chatsync ([^#\n]+)", page, re.MULTILINE)]
    compared_by = {"export.toml": "this machine", "clique.toml": "clique chatsync"}
    if not importlib.util.find_spec("chdb"):
        del compared_by["clique.toml"]
    command = [sys.executable, "-m", "tests.harness.export_world", str(tmp_path / "demo-export")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        lines = [""]
        while "until you press Enter" not in lines[-1]:
            lines.append(demo.stdout.readline())
            assert lines[-1], lines
        tried = [run(tmp_path, *command) for command in others]
        demo.communicate("\n")

    assert demo.returncode == 0
    commands = [line.split()[4] for line in lines if line.startswith("$ ")]
    assert commands == ["doctor", "diff", "show", "explain"] * len(compared_by)
    for who in compared_by.values():
        assert sum(f"compared by {who}" in line for line in lines) == 2  # diff and show
    assert "".join(lines).count("apply will make 88 changes.") == 2 * len(compared_by)
    assert [(done.returncode, done.stderr) for done in tried] == [(0, "")] * 2
    assert "In sync: nothing to change." in tried[1].stdout
    assert "not after the last apply" in tried[1].stdout


@pytest.mark.parametrize("there", ["a file in it", "a file of that name"])
def test_the_demo_overwrites_nothing(tmp_path: Path, there: str) -> None:
    world = tmp_path / "world"
    if there == "a file in it":
        world.mkdir()
        (world / "mine").write_text("keep me")
    else:
        world.write_text("keep me")

    demo = run(tmp_path, "demo", "world")

    assert demo.returncode in {1, 2}
    assert demo.stderr.startswith("chatsync: ")
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["keep me"]
