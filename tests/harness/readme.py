"""The blocks of README.md that the program writes itself; `python -m tests.harness.readme` writes them anew."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from chatsync import cli

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"<!-- (demo|help)(?:: ([a-z-]+))? -->\n```console\n\$ (.*)\n(?:.*\n)*?```\n")


def written_anew() -> str:
    """Return README.md with the help and the demo's output as they are now."""
    demo = demo_output()

    def block(match: re.Match[str]) -> str:
        kind, command, line = match.groups()
        body = help_of(command) if kind == "help" else demo[line]
        marker = f"{kind}: {command}" if command else kind
        return f"<!-- {marker} -->\n```console\n$ {line}\n{body.strip()}\n```\n"

    return BLOCK.sub(block, README.read_text(encoding="utf-8"))


def help_of(command: str | None) -> str:
    """Return the help of a command, or of the program."""
    return output_of(*([command] if command else []), "--help")


def output_of(*arguments: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        assert cli.run(arguments) == 0
    return out.getvalue()


def demo_output() -> dict[str, str]:
    """Run the demo's commands on its world, by their command lines; what differs each time is made the same."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        text = demo_process()
        text = text.replace(f"{Path(folder).resolve()}/", "/home/you/chatsync/")
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, \d+ s ago", "2026-11-23 10:15:00 UTC, 1 s ago", text)
    text = re.sub(r"newer by \d+ d \d+ h", "newer by 312 d 0 h", text)
    text = re.sub(r"moved to \S+", "moved to 2026-11-23T10:15:00.123456Z", text)
    return dict(part.split("\n", 1) for part in text.split("\n$ ")[1:])


def demo_process() -> str:
    """Run `chatsync demo demo-world` in the current folder."""
    command = [sys.executable, "-m", "chatsync", "demo", "demo-world"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    README.write_text(written_anew(), encoding="utf-8")
