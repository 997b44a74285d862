"""What people type and expect: names nearly right, options after the command, variables, help."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chatsync import cli
from chatsync.command_group import SECTIONS
from chatsync.config import reference
from chatsync.config.load import load
from tests.harness.readme import ROOT, output_of
from tests.harness.schema import PASSWORD

if TYPE_CHECKING:
    from tests.harness.job import Job

COMMANDS = [name for section in SECTIONS.values() for name in section]


def ended(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = cli.run(arguments)
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(["dif"], "diff"), (["setmodtime"], "set-modtime"), (["help", "aply"], "apply"), (["config", "shw"], "show")],
)
def test_a_name_nearly_right_is_answered_with_the_right_one(
    typed: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = ended(*typed, capsys=capsys)

    assert code == 2
    assert err.startswith(f"chatsync: No such command '{typed[-1]}'. ")
    assert f"'{meant}'" in err


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["config", "show"]])
def test_help_as_a_command_is_help_as_an_option(command: list[str]) -> None:
    assert output_of("help", *command) == output_of(*command, "--help")


def test_help_about_a_command_is_no_step_of_the_job(job: Job) -> None:
    job.configure(metrics={"textfile": "chatsync.prom"})

    assert job.run("help", "apply", "more").code == 2
    assert not (job.folder / "chatsync.prom").exists()


def own_lines(log: str) -> list[str]:
    """The lines of this command; a thread that an earlier test left behind may log what it tries again."""
    return [line for line in log.splitlines() if "trying again" not in line]


def test_the_global_options_may_stand_after_the_command(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    before = ended("-c", str(job.config), "-v", "diff", capsys=capsys)
    after = ended("diff", "-v", "-c", str(job.config), capsys=capsys)
    quiet = ended("-c", "none.toml", "diff", "-q", "--config", str(job.config), capsys=capsys)

    assert [code for code, _ in (before, after, quiet)] == [0, 0, 0]
    assert " INFO " in before[1]
    assert len(own_lines(after[1])) == len(own_lines(before[1]))
    assert quiet[1] == ""


def test_verbose_and_quiet_exclude_each_other_on_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("-v", "diff", "-q", capsys=capsys)[0] == 2


def test_the_log_format_may_stand_after_the_command(job: Job) -> None:
    job.config.unlink()

    assert job.run("diff", "--log-format", "json").err.startswith('{"log_time"')


def test_apply_y_is_yes(job: Job) -> None:
    job.settle({1: 1})
    job.list([1])

    assert (job.run("apply", "-y", "--force").code, job.off()) == (0, {1})


@pytest.mark.parametrize("command", ["diff", "apply", "sync"])
def test_dry_run_is_answered(job: Job, command: str) -> None:
    job.settle({1: 1})
    job.list([1])

    result = job.run(command, "--dry-run")

    assert (result.code, result.out, job.off()) == (2, "", set())
    assert "`chatsync diff` is the dry run, it writes only its plan file" in result.err


def test_options_come_from_the_environment_and_the_help_names_the_variables(job: Job) -> None:
    job.environment = {
        "CHATSYNC_DIFF_PLAN": str(job.plan_file),
        "CHATSYNC_DIFF_FORMAT": "json",
        "CHATSYNC_LOG_FORMAT": "json",
        "CHATSYNC_VERBOSE": "1",
    }

    result = job.run("diff")

    assert (result.code, result.json["verdict"], job.plan()["verdict"]) == (0, "in-sync", "in-sync")
    assert result.err.startswith('{"log_time"')
    assert job.run("diff", "--format", "table").out.startswith("list ")
    assert "CHATSYNC_DIFF_IF_MODIFIED" in output_of("diff", "--help")
    assert "CHATSYNC_LOG_FORMAT" in output_of("--help")


@pytest.mark.parametrize(
    "variable",
    [
        *("APPLY_YES", "APPLY_FORCE", "APPLY_ALLOW_EMPTY", "APPLY_UNDO", "SET_MODTIME_DISABLE", "SET_MODTIME_RESET"),
        *("VERSION", "HELP", "APPLY_HELP", "APPLY_VERBOSE"),
    ],
)
def test_no_variable_confirms_overrides_or_disables(job: Job, variable: str) -> None:
    job.settle({1: 1})
    job.list([])
    job.row(1, 1, 0)
    job.environment = {f"CHATSYNC_{variable}": "1"}

    assert job.run("apply").code == 3
    assert job.run("set-modtime").code == 2
    assert (job.off(), job.property()) == ({1}, None)


def test_the_example_is_the_one_in_the_repository_and_has_every_key() -> None:
    example = (ROOT / "chatsync.example.toml").read_text(encoding="utf-8")

    assert output_of("config", "example") == example
    for name, section in reference.sections().items():
        part = example.split(f"\n[{name}]\n")[1]
        for key, *_ in reference.keys(section):
            assert f"\n{key} =" in part or f"\n# {key} =" in part or f"[{name}.{key}]\n" in part


def test_the_example_is_taken_and_what_it_shows_are_the_defaults(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(job.folder))
    (job.folder / ".my.cnf").write_text(f"[client]\nuser = chatsync\npassword = {PASSWORD}\n")
    lines = output_of("config", "example").splitlines()
    job.config.write_text("\n".join(lines))
    short = load(job.config)
    on = [line.removeprefix("# ") if " = " in line and not line.endswith("=") else line for line in lines]
    job.config.write_text("\n".join(line.removeprefix("# ") if "[databases.replicas]" in line else line for line in on))
    long = load(job.config)

    assert (short.limits, short.run, short.apply, short.records) == (long.limits, long.run, long.apply, long.records)
    assert (short.monitoring, short.logs, short.notify) == (long.monitoring, long.logs, long.notify)
    assert short.databases.shards[2].password is not None
    assert long.databases.replicas.keys() == {1, 2}


def test_config_show_prints_what_is_in_force_without_secrets(job: Job) -> None:
    secret = job.folder / "secret"
    secret.write_text("hunter2-in-a-file\n")
    job.environment = {"LIMIT": "7"}
    job.configure(
        databases={
            "dict": f"mysql://me:${{file:{secret}}}@host/ppcdict?compress=true&tls_versions=TLSv1.2,TLSv1.3",
            "shards": {"1": "mysql://me:hunter2-in-the-url@/ppc?unix_socket=/run/my.sock", "2": "sqlite:///two.db"},
        },
        limits={"turn_on_max": 7, "must_contain": [5, 6]},
        apply={"pause": 0.5},
        records={"dir": "records"},
    )

    result = job.run("config", "show")

    assert (result.code, "hunter2" in result.out) == (0, False)
    for line in (
        f"# {job.config}",
        'dict = "mysql://me:***@host:3306/ppcdict?compress=true&tls_versions=TLSv1.2,TLSv1.3"',
        '1 = "mysql://me:***@/ppc?unix_socket=/run/my.sock"',
        f'2 = "sqlite:///{job.folder}/two.db"',
        "turn_on_max = 7",
        "must_contain = [5, 6]",
        'pause = "0.5s"',
        'deadline = "20m"  # default',
        f'dir = "{job.folder}/records"',
    ):
        assert line in result.out.splitlines()


def test_what_config_show_prints_is_a_configuration(job: Job) -> None:
    job.configure(records={"dir": "records"}, limits={"free": 3})
    shown = job.run("config", "show").out
    job.config.write_text(shown)

    again = job.run("config", "show").out

    assert again.replace("  # default", "") == shown.replace("  # default", "")


def test_config_show_says_what_is_wrong_as_every_command_does(job: Job) -> None:
    job.config.unlink()

    result = job.run("config", "show")

    assert (result.code, result.err) == (2, f"chatsync: configuration {job.config}: No such file or directory\n")
