"""The command line itself: help, usage, and how a command ends."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from chatsync import __version__, cli
from chatsync.command_group import SECTIONS
from tests.harness.job import COMMAND, Job

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = [name for section in SECTIONS.values() for name in section]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a configuration."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help_without_a_configuration(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([command, option]) == 0

    out, err = capsys.readouterr()
    assert out.startswith(f"Usage: chatsync {command} ")
    assert err == ""


@pytest.mark.usefixtures("nowhere")
def test_the_help_names_the_main_job_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0

    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert [line for line in lines if line in COMMANDS] == COMMANDS
    assert COMMANDS[:4] == ["diff", "apply", "set-modtime", "sync"]


@pytest.mark.usefixtures("nowhere")
def test_without_a_command_the_help_is_shown_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    help_text = capsys.readouterr().out

    assert cli.run([]) == 2
    assert capsys.readouterr() == ("", help_text)


def test_help_and_version_as_a_process_of_their_own(nowhere: Path) -> None:
    shown = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True, cwd=nowhere)
    assert shown.stdout == f"chatsync, version {__version__}\n"

    loaded = "import sys; from chatsync import cli; cli.run(['--help']); print(sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True, cwd=nowhere)
    assert "'click'" in shown.stdout
    for heavy in ("yt", "sqlalchemy", "mysql", "numpy", "msgspec"):
        assert f"'{heavy}'" not in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["--nonsense"], "No such option '--nonsense'"),
        (["-v", "-q", "diff"], "give only one of --verbose and --quiet"),
        (["--log-format", "xml", "diff"], "'xml' is not one of 'text', 'json'"),
        (["diff", "--format", "xml"], "'xml' is not one of 'table', 'json', 'csv'"),
        (["apply", "--format", "csv"], "'csv' is not one of 'table', 'json'"),
        (["diff", "--limit", "-1"], "-1 is not in the range x>=0"),
        (["diff", "extra"], "Got unexpected extra argument (extra)"),
        (["apply", "--plan", "nowhere.json"], "File 'nowhere.json' does not exist"),
        (["apply", "--plan", "."], "File '.' is a directory"),
        (["show"], "Missing argument 'FILE'"),
        (["show", "nowhere.json"], "File 'nowhere.json' does not exist"),
        (["set-modtime"], "give exactly one of TIME, --plan, --disable and --reset"),
        (["set-modtime", "2026-11-23", "--reset"], "give exactly one of TIME, --plan, --disable and --reset"),
        (["set-modtime", "--disable", "--reset"], "give exactly one of TIME, --plan, --disable and --reset"),
        (["set-modtime", "tomorrow"], "'tomorrow' is not an ISO 8601 time such as 2026-11-23T10:15:00Z"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(job: Job, arguments: list[str], message: str) -> None:
    result = job.run(*arguments)

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("chatsync: ")
    assert message in result.err
    assert result.err.endswith("--help`)\n")
    assert result.err.count("\n") == 1
    assert job.property() is None


def test_quiet_and_verbose_change_the_log_and_not_the_result(job: Job) -> None:
    job.list([1])

    normal, quiet, verbose = (job.run(*options, "diff", "--format", "csv") for options in ([], ["-q"], ["-v"]))

    assert (normal.out, normal.err, quiet) == (verbose.out, "", normal)
    assert "diff: in-sync, clients 1, off 0" in verbose.err


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_apply_without_a_plan_asks_and_takes_only_a_yes(job: Job, answer: str) -> None:
    job.settle({1: 1})
    job.list([1])

    refused = job.run("apply", "--force", stdin=answer)

    assert (refused.code, refused.out) == (1, "")
    assert "turn off" in refused.err
    assert "Apply these changes? [y/N]: " in refused.err
    assert refused.err.endswith("chatsync: not confirmed, nothing was written\n")
    assert job.off() == set()


def test_apply_without_a_plan_goes_on_after_yes(job: Job) -> None:
    job.settle({1: 1})
    job.list([1])

    assert job.process("apply", "--force", stdin="y\n").code == 0
    assert job.off() == {1}


def test_apply_without_a_plan_does_not_ask_when_there_is_nothing_to_do(job: Job) -> None:
    job.settle_off({1: 1})
    job.list([1])

    result = job.run("apply")

    assert result.code == 0
    assert "Apply these changes?" not in result.err


def test_without_a_standard_output_the_plan_is_written_all_the_same(job: Job) -> None:
    line = shlex.join([*COMMAND, "-c", str(job.config), "diff", "--plan", str(job.plan_file)]) + " >&-"
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False, cwd=job.folder)

    assert (done.returncode, done.stderr) == (0, "")
    assert job.plan()["verdict"] == "in-sync"


@pytest.mark.slow
def test_without_a_standard_error_the_job_runs_all_the_same(job: Job) -> None:
    job.settle({1: 1})
    job.list([1])
    program = shlex.join([*COMMAND, "-c", str(job.config)])
    steps = [f"{program} {step} --plan plan.json 2>&-" for step in ("diff", "apply --force", "set-modtime")]

    done = subprocess.run(["/bin/sh", "-c", " && ".join(steps)], capture_output=True, check=False, cwd=job.folder)

    assert (done.returncode, job.off()) == (0, {1})


def test_an_encoding_without_our_signs_ends_no_command(job: Job) -> None:
    job.settle(dict.fromkeys(range(1, 40), 1))
    job.list(range(1, 40))
    job.environment["PYTHONIOENCODING"] = "latin-1"

    done = job.start("diff", "--plan", str(job.plan_file), "--limit", "1")
    out, err = done.communicate(timeout=60)

    assert (done.returncode, err) == (0, "")
    assert "\\u2026 and 38 more" in out
