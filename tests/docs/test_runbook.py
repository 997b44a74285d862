"""What the documentation tells people to type is what the program takes; alerts lead into the runbook."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from chatsync.cli import cli
from chatsync.invocation import Invocation
from tests.harness import runbook

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
# What stands for something that people put in.
PLACEHOLDERS = {"CLIENT_ID": "1", "CLIENT_ID…": "1", "ID": "1", "N": "1", "…": "status"}
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"&&|\|\||[|;>]")


def commands(text: str) -> Iterator[str]:
    """Find the commands in the text: in spans of code, and line by line in blocks of it."""
    joined = text.replace("\\\n", " ")
    lines = [line for block in BLOCK.findall(joined) for line in block.splitlines()]
    for line in [*lines, *re.findall(r"`([^`\n]+)`", BLOCK.sub("", joined))]:
        for part in SHELL.split(line):
            command = part.strip().removeprefix("$ ").lstrip()
            if command.startswith("chatsync "):
                yield command


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program read its command line to the end, and then do nothing."""
    monkeypatch.setattr(click.Path, "convert", lambda _self, value, *_: value)  # no file has to be there
    for name in cli.list_commands(click.Context(cli)):
        command = cli.get_command(click.Context(cli), name)
        for each in [command, *getattr(command, "commands", {}).values()]:
            monkeypatch.setattr(each, "callback", lambda **_: None)


def test_finds_commands_wherever_they_stand() -> None:
    text = "Run `chatsync diff` or:\n```sh\n$ chatsync a \\\n  -b && chatsync c | head\nchatsync: no\n```\n"
    assert list(commands(text)) == ["chatsync a    -b", "chatsync c", "chatsync diff"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
@pytest.mark.usefixtures("parse")
def test_every_command_is_one_that_the_program_takes(document: Path) -> None:
    for command in commands(document.read_text(encoding="utf-8")):
        words = [PLACEHOLDERS.get(word, word) for word in shlex.split(command, comments=True)]
        try:
            cli.main(words[1:], prog_name="chatsync", standalone_mode=False, obj=Invocation())
        except click.ClickException as error:
            pytest.fail(f"{document.name}: `{command}`: {error.format_message()}")


@pytest.mark.parametrize("command", ["chatsync diff --plam x", "chatsync dif", "chatsync history --limit few"])
@pytest.mark.usefixtures("parse")
def test_a_command_that_is_not_there_would_be_seen(command: str) -> None:
    with pytest.raises(click.ClickException):
        cli.main(command.split()[1:], prog_name="chatsync", standalone_mode=False, obj=Invocation())


def test_every_alert_leads_into_the_runbook() -> None:
    alerts = re.findall(r"- alert: (\w+)", (ROOT / "monitoring" / "alerts.yml").read_text(encoding="utf-8"))
    assert alerts
    assert sorted(re.findall(r"`(Chatsync\w+)`", RUNBOOK)) == sorted(alerts)


def test_every_runbook_url_of_an_alert_has_its_heading() -> None:
    text = (ROOT / "monitoring" / "alerts.yml").read_text(encoding="utf-8")
    anchors = re.findall(r"runbook_url: \S+/runbook\.md#(\S+)", text)
    headings = re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)

    assert len(anchors) == text.count("- alert:")
    assert set(anchors) <= {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_of_the_runbook_has_its_heading() -> None:
    headings = re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= anchors


ENGLISH, RUSSIAN = (runbook.parts(page) for page in (runbook.PAGE, runbook.TRANSLATION))


def test_the_translation_has_the_same_sections() -> None:
    assert len(RUSSIAN) == len(ENGLISH)


@pytest.mark.parametrize(("english", "russian"), list(zip(ENGLISH, RUSSIAN, strict=False)), ids=range(len(ENGLISH)))
def test_each_section_is_translated_as_it_is_now(english: str, russian: str) -> None:
    named = runbook.HASH.findall(russian)

    assert runbook.BLOCK.findall(russian) == runbook.BLOCK.findall(english), (
        "python -m tests.harness.runbook copies them"
    )
    assert named == [runbook.prose_hash(english)], "translate what has changed, then name this hash"
