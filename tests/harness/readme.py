"""The parts of the documentation that are generated from the program; `make docs` writes them again.

In README.md: the demo's output. In docs/commands.md: the help of each command. In docs/configuration.md:
the keys of each section. In docs/monitoring.md: the metrics. Each part stands after a marker such as
`<!-- help: diff -->`; the text around the parts is written by hand.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from chatsync import cli
from chatsync.config.reference import REQUIRED, in_toml, keys, sections
from chatsync.monitoring.metrics import METRICS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
COMMANDS = ROOT / "docs" / "commands.md"
EXAMPLE = ROOT / "chatsync.example.toml"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
MONITORING = ROOT / "docs" / "monitoring.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
CONSOLE = re.compile(r"<!-- (demo|help)(?:: ([a-z -]+))? -->\n```console\n\$ (.*)\n(?:.*\n)*?```\n")
METRICS_TABLE = re.compile(r"<!-- metrics -->\n(?:\|.*\n)*")
KEYS = re.compile(r"<!-- keys: ([a-z]+) -->\n(?:\|.*\n)*")


PAGES = (README, COMMANDS, CONFIGURATION, MONITORING)


def generated(page: Path) -> str:
    """Return a page with its generated parts as they are now."""
    text = page.read_text(encoding="utf-8")
    text = METRICS_TABLE.sub(lambda _: metrics_part(), text)
    return KEYS.sub(lambda match: keys_part(match[1]), CONSOLE.sub(console_part, text))


def console_part(match: re.Match[str]) -> str:
    kind, command, line = match.groups()
    body = help_of(command) if kind == "help" else demo_output()[line]
    marker = f"{kind}: {command}" if command else kind
    return f"<!-- {marker} -->\n```console\n$ {line}\n{body.strip()}\n```\n"


def help_of(command: str | None) -> str:
    """Return the help of a command, or of the program."""
    return output_of(*(command or "").split(), "--help")


def output_of(*arguments: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        assert cli.run(arguments) == 0
    return out.getvalue()


@functools.cache
def demo_output() -> dict[str, str]:
    """Run the commands of the demo; replace what differs each time by fixed values."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        text = demo_process()
        text = text.replace(f"{Path(folder).resolve()}/", "/home/you/chatsync/")
    text = re.sub(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, \d+ min \d+ s ago", "2026-11-23 10:15:00 UTC, 15 min 1 s ago", text
    )
    text = re.sub(r"newer by \d+ d \d+ h", "newer by 312 d 0 h", text)
    text = re.sub(r"moved to \S+", "moved to 2026-11-23T10:15:00.123456Z", text)
    return dict(part.split("\n", 1) for part in text.split("\n$ ")[1:])


def demo_process() -> str:
    """Run `chatsync demo demo-world` in the current folder."""
    command = [sys.executable, "-m", "chatsync", "demo", "demo-world"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def keys_part(section: str) -> str:
    """Return the table of a section's keys: name, default, what it is for."""
    rows = [f"| `{section}.{key}` | {shown(value)} | {about} |\n" for key, value, about in keys(sections()[section])]
    return "".join([f"<!-- keys: {section} -->\n", "| key | default | description |\n", "|---|---|---|\n", *rows])


def metrics_part() -> str:
    """Return the table of metrics: name, labels, meaning."""
    rows = [
        f"| `{name}` | {', '.join(f'`{label}`' for label in labels)} | {text} |\n"
        for name, (text, labels) in METRICS.items()
    ]
    return "".join(["<!-- metrics -->\n", "| metric | labels | meaning |\n", "|---|---|---|\n", *rows])


def shown(value: Any) -> str:
    """Format a default for a table; a key that is not set has none."""
    text = "required" if value is REQUIRED else in_toml(value)
    return f"`{text}`" if text and value is not REQUIRED else text


def main() -> None:
    """Write all generated parts again."""
    for page in PAGES:
        page.write_text(generated(page), encoding="utf-8")
    EXAMPLE.write_text(output_of("config", "example"), encoding="utf-8")


if __name__ == "__main__":
    main()
