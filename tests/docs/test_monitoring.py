"""The examples of docs/monitoring.md work: notifications by mail and to a chat, and the names in JSON log lines."""

from __future__ import annotations

import json
import os
import re
import tomllib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from chatsync.sync.step_log import Step
from tests.harness import readme

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.job import Job

TEXT = readme.MONITORING.read_text(encoding="utf-8")
EXAMPLES = [tomllib.loads(block) for block in re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)]
MAIL, CHAT = (example["notify"]["command"] for example in EXAMPLES if "notify" in example)
STAND_INS = {
    # As much of jq as the examples use.
    "jq": """import json, sys; text = json.load(sys.stdin)["text"]
print(text if sys.argv[1:] == ["-r", ".text"] else json.dumps({"text": text}))""",
    "mail": "import sys; open('told', 'w').write(sys.stdin.read())",
    "curl": "import sys; open('told', 'w').write(sys.stdin.read())",
}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put programs that keep what they are told before those of the machine."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, code in STAND_INS.items():
        (folder / name).write_text(f"#!/usr/bin/env python3\n{code}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)


def fail(job: Job, command: list[str]) -> str:
    """Let the job begin to fail; return what the command has told."""
    job.configure(records={"dir": "records"}, notify={"command": command})
    job.settle({1: 1})
    job.list([1], modified=1_700_000_000)
    assert job.chain().code == 0
    job.list_file.unlink()
    job.diff()
    return (job.folder / "told").read_text(encoding="utf-8")


@pytest.mark.usefixtures("programs")
def test_a_mail_says_it_in_words(job: Job) -> None:
    assert re.match(r"chatsync checked_support_chat on \S+ is failing, was well: diff, exit 1: ", fail(job, MAIL))


@pytest.mark.usefixtures("programs")
def test_a_chat_gets_the_text(job: Job) -> None:
    assert list(json.loads(fail(job, CHAT))) == ["text"]


def test_the_fields_of_a_notification_are_those_of_the_page(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = re.findall(r"^```json\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(job.folder)

    assert list(json.loads(fail(job, ["sh", "-c", "cat >told"]))) == list(json.loads(shown))


def test_the_fields_of_the_step_log_are_those_of_the_page() -> None:
    section = TEXT.split("\n## The step log\n")[1]

    assert re.findall(r"`([a-z_]+)`", section.split("Fields:")[1]) == [
        field.name for field in msgspec.structs.fields(Step)
    ]


def test_the_names_in_log_lines_are_those_of_the_example(job: Job) -> None:
    (names,) = (example["logs"] for example in EXAMPLES if "logs" in example)
    job.configure(logs=names)

    lines: list[dict[str, Any]] = [
        json.loads(line) for line in job.process("-v", "--log-format", "json", "diff").err.splitlines()
    ]

    assert lines
    assert {(line["service"], line["method"]) for line in lines} == {(names["service"], names["method"])}
