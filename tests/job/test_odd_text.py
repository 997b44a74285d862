"""Text that is none of ours: control characters, what hides or turns text around, and what is no valid Unicode."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.harness.job import RECORDS, Job, Result, SqliteFiles

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.yt_proxy import YtProxy

# Clears the screen, a new line that looks like ours, the title of the window, C1, text turned around, a NUL.
ODD = "\x1b[2J\rchatsync: all is well\x1b]0;title\x07\x9b\u202e\u2066\u200b"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
FORMATS = pytest.mark.parametrize("options", [("-vv",), ("-vv", "--log-format", "json")])
NOT_UTF8 = os.fsdecode(b"caf\xe9")


def check(result: Result, options: tuple[str, ...]) -> Result:
    """See that nothing raw is in the output, that there is no bug, and that a log in JSON is one."""
    assert RAW.search(result.out + result.err) is None
    assert "a bug" not in result.err
    if "json" in options:
        for line in result.err.splitlines():
            assert isinstance(json.loads(line), dict)
    return result


@FORMATS
def test_in_the_list(job: Job, options: tuple[str, ...]) -> None:
    job.settle({1: 1, 2: 1})
    job.configure(limits={"rejected_percent": 90}, records=RECORDS)
    job.list([1, ODD.replace("\r", ""), f'"{ODD}\n2"'])

    check(job.run(*options, "diff", "--plan", str(job.plan_file)), options)
    for command in (("show", str(job.plan_file)), ("diff", "--format", "json"), ("status",), ("apply", "--yes")):
        assert check(job.run(*options, *command), options).code == 0
    assert RAW.search(job.plan_file.read_text(encoding="utf-8")) is None


@FORMATS
def test_in_the_header_and_the_path_of_the_list(job: Job, options: tuple[str, ...]) -> None:
    job.list_file = job.folder / f"{ODD}.csv"
    job.exclusions = {**job.exclusions, "file": str(job.list_file)}
    job.configure()
    job.list_file.write_text(f"{ODD},x\n1,2\n", encoding="utf-8")

    assert check(job.run(*options, "diff"), options).code == 1
    job.list([1])
    assert check(job.run(*options, "diff"), options).code == 0


@FORMATS
@pytest.mark.parametrize("line", [f'"{ODD}" = 1', f'["{ODD}"]', f'[databases.shards]\n"{ODD}" = "x"', "x = \x1b"])
def test_in_a_configuration(job: Job, line: str, options: tuple[str, ...]) -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" if RAW.match(letter) and letter != "\n" else letter for letter in line)
    job.config.write_text(escaped if "x = " not in line else line, encoding="utf-8")

    for command in ("diff", "doctor"):
        assert check(job.run(*options, command), options).code == 2


@FORMATS
def test_in_what_the_cluster_says(job: Job, yt: YtProxy, options: tuple[str, ...]) -> None:
    job.keep_list_in(yt)
    yt.fail_next("lock", message=f"no{ODD}")

    assert check(job.run(*options, "diff"), options).code == 1


@FORMATS
def test_in_databases(job: Job, options: tuple[str, ...]) -> None:
    job.set_property(ODD)

    for command in ("diff", "status", "check", "doctor"):
        assert check(job.run(*options, command), options).code


@FORMATS
def test_on_the_command_line(job: Job, options: tuple[str, ...]) -> None:
    for command in (("set-modtime", ODD), ("explain", ODD), (ODD,), ("diff", f"--{ODD}"), ("show", ODD)):
        assert check(job.run(*options, *command), options).code == 2


@FORMATS
def test_in_a_plan_and_in_records(job: Job, options: tuple[str, ...]) -> None:
    job.configure(records=RECORDS)
    job.settle({1: 1})
    job.list([1])
    assert job.chain().code == 0
    (record,) = job.records_folder.glob("*.json")
    document = json.loads(record.read_bytes())
    for text in (ODD, "\ud800"):
        record.write_text(json.dumps(document | {"user": text, "host": text, "command": text}), encoding="utf-8")
        for command in (("history",), ("history", "--format", "csv"), ("explain", "1"), ("status",)):
            assert check(job.run(*options, *command), options).code == 0
    for content in (b"\xff", ODD.encode(), b'{"version": "\\ud800"}', b'{"\\ud800": 1, "version": 1}'):
        record.write_bytes(content)
        job.plan_file.write_bytes(content)
        assert check(job.run(*options, "history"), options).code == 0
        assert check(job.run(*options, "apply", "--plan", str(job.plan_file)), options).code == 4


@FORMATS
def test_names_that_are_no_valid_unicode(tmp_path: Path, options: tuple[str, ...]) -> None:
    """LOGNAME, and the folder of the configuration, and with it that of plan, list and records."""
    folder = tmp_path / NOT_UTF8
    folder.mkdir()
    job = Job(folder, SqliteFiles(folder))
    job.configure(records=RECORDS, metrics={"textfile": "chatsync.prom"}, monitoring={"state_file": "state.json"})
    absolute = json.dumps(f"{folder}/")[1:-1]
    job.config.write_text(job.config.read_text(encoding="utf-8").replace(absolute, ""), encoding="utf-8")
    job.environment["LOGNAME"] = NOT_UTF8
    job.settle({1: 1})
    job.list([1], modified=1_700_000_000)

    for command in (
        ("check",), ("diff", "--plan", str(job.plan_file)), ("show", str(job.plan_file)),
        ("apply", "--plan", str(job.plan_file)), ("set-modtime", "--plan", str(job.plan_file)), ("history",),
        ("history", "--format", "json"), ("explain", "1"), ("status",), ("doctor",), ("check",),
        ("apply", "--undo", NOT_UTF8), ("-c", str(folder / NOT_UTF8), "diff"),
    ):  # fmt: skip
        result = check(job.run(*options, *command), options)
        assert result.code in (0, 1, 2), result.err
        assert result.code == 0 or command[0] in ("check", "doctor") or NOT_UTF8 in command[-2:][0] + command[-1]
    assert job.off() == {1}
    assert len(job.records()) == 1


def test_a_time_without_a_zone(job: Job) -> None:
    """In a record or in the memory of a check: left out with a warning, once, and not for ever."""
    job.configure(records=RECORDS, monitoring={"state_file": "state.json"})
    job.settle({1: 1})
    job.list([1], modified=1_700_000_000)
    assert job.chain().code == 0
    (record,) = job.records_folder.glob("*.json")
    document = json.loads(record.read_bytes())
    record.write_text(json.dumps(document | {"started": "2026-11-23T10:30:00"}), encoding="utf-8")

    for command in (("history",), ("explain", "1"), ("status",)):
        result = job.run(*command)
        assert (result.code, "a time without an offset" in result.err) == (0, True), command

    state = job.folder / "state.json"
    state.write_text('{"list": "x", "modtime": null, "since": "2026-11-23T10:30:00"}', encoding="utf-8")
    first, second = job.run("check"), job.run("check")
    assert ("is not the state file of a check" in first.err, second.err) == (True, "")
    assert second.code != 3


def test_cells_that_a_spreadsheet_takes_for_formulas(job: Job) -> None:
    job.configure(records=RECORDS)
    job.settle({1: 1})
    job.list([1])
    assert job.chain().code == 0
    (record,) = job.records_folder.glob("*.json")
    document = json.loads(record.read_bytes())
    formulas = {"user": "=1+1", "host": "@SUM(1)", "command": "+cmd|' /C calc'!A0", "error": "-1"}
    record.write_text(json.dumps(document | formulas), encoding="utf-8")

    (row,) = csv.DictReader(io.StringIO(job.run("history", "--format", "csv").out))

    assert {key: row[key] for key in formulas} == {key: f"'{value}" for key, value in formulas.items()}


# -- a log in JSON has nothing between its lines --


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("", 1)])
@pytest.mark.parametrize("undo", [False, True])
def test_a_question_is_an_event_too(job: Job, answer: str, code: int, undo: bool) -> None:
    job.configure(records=RECORDS, limits={"free": 1000})
    job.settle({1: 1, 2: 2})
    job.list([1])
    if undo:
        assert job.run("apply", "--yes").code == 0
    arguments = ("apply", "--undo", job.records()[0]["id"]) if undo else ("apply",)

    result = job.process("-v", "--log-format", "json", *arguments, stdin=answer)

    events = [json.loads(line) for line in result.err.splitlines()]
    assert result.code == code
    assert [event["message"] for event in events if "standard input" in event["message"]] == [
        "Apply these changes? Answer y or n on standard input, or use --yes"
    ]
    assert "1 " in next(event["report"] for event in events if "report" in event)
    assert job.off() == ({1} if undo == bool(code) else set())
    assert events[-1].get("exit_code", 0) == code


@pytest.mark.parametrize("arguments", [("apply", "--yes"), ("apply", "--yes", "--format", "json")])
def test_without_a_question_there_is_nothing_to_say(job: Job, arguments: tuple[str, ...]) -> None:
    job.settle({1: 1})
    job.list([1])

    result = job.run("--log-format", "json", *arguments)

    assert (result.code, result.err) == (0, "")


# -- the lock file of SQLite --


@pytest.mark.parametrize("hard", [True, False])
def test_the_lock_file_is_no_link(job: Job, hard: bool) -> None:
    job.settle({1: 1})
    job.list([1])
    job.diff()
    precious = job.folder / "precious"
    precious.write_text("content", encoding="utf-8")
    lock = job.folder / "ppcdict.db.chatsync-lock"
    if hard:
        lock.hardlink_to(precious)
    else:
        lock.symlink_to(precious)

    result = job.apply()

    assert result.code == 1
    assert result.err.startswith(f"chatsync: cannot open the lock file {lock}: ")
    assert precious.read_text(encoding="utf-8") == "content"
    assert job.off() == set()


# -- no time at all --

COMMANDS = [("diff",), ("apply", "--yes"), ("set-modtime", "--reset"), ("status",), ("check",)]


@pytest.fixture(scope="module")
def all_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Import all that the commands need: an import that a deadline breaks off would leave half a module behind."""
    folder = tmp_path_factory.mktemp("loaded")
    job = Job(folder, SqliteFiles(folder))
    job.settle({1: 1})
    job.list([1])
    for command in (*COMMANDS, ("apply", "--yes"), ("diff", "--plan", "/nowhere/plan.json")):
        job.run(*command)


@pytest.mark.usefixtures("all_loaded")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # what is open when the deadline passes stays so
@pytest.mark.parametrize("deadline", ["0.0001s", "0.001s", "0.01s", "0.03s"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_deadline_of_next_to_nothing(job: Job, deadline: str, command: tuple[str, ...]) -> None:
    job.configure(run={"deadline": deadline})
    job.settle({1: 1})
    job.list([1])

    result = job.run(*command)

    assert "Traceback" not in result.err
    assert result.code in ((0, 1) if command != ("check",) else (0, 3))
    assert result.code in (0, 3) or "run.deadline" in result.err
