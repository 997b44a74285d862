"""README.md, docs/commands.md and docs/configuration.md say what the code does."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from chatsync.command_group import SECTIONS
from chatsync.config import reference
from chatsync.config.load import load
from chatsync.errors import ExitCode
from tests.harness import readme
from tests.harness.schema import GRANTS, USER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.job import Job

TEXT = readme.README.read_text(encoding="utf-8")
CONFIGURATION = readme.CONFIGURATION.read_text(encoding="utf-8")


def section(heading: str) -> str:
    """Return what stands below a heading, up to the next one of its level or a higher one."""
    level, rest = re.split(rf"^(##+) {re.escape(heading)}$", TEXT, maxsplit=1, flags=re.MULTILINE)[1:]
    return re.split(rf"^#{{2,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def commands(heading: str) -> list[list[str]]:
    """Return the words of each `chatsync …` in the blocks of code of a section, without comments."""
    lines = re.findall(r"^    (chatsync .+)$", section(heading), re.MULTILINE)
    return [part.split("#")[0].split()[1:] for line in lines for part in line.split("&&")]


@pytest.mark.parametrize("page", readme.PAGES, ids=lambda page: page.name)
def test_generated_parts_are_those_of_the_program(page: Path) -> None:
    assert readme.generated(page) == page.read_text(encoding="utf-8")


def test_the_page_of_commands_has_each_command_once() -> None:
    named = re.findall(r"^<!-- help: ([a-z-]+) -->$", readme.COMMANDS.read_text(encoding="utf-8"), re.MULTILINE)

    assert named == [name for names in SECTIONS.values() for name in names]


def test_the_page_of_keys_has_each_section_once() -> None:
    assert sorted(re.findall(r"^<!-- keys: ([a-z]+) -->$", CONFIGURATION, re.MULTILINE)) == sorted(reference.sections())


def test_the_table_of_keys_has_names_defaults_and_descriptions() -> None:
    rows = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| (.*?) \| (.*) \|$", CONFIGURATION, re.MULTILINE)
    known = [f"{name}.{key}" for name, kind in reference.sections().items() for key, *_ in reference.keys(kind)]

    assert sorted(key for key, *_ in rows) == sorted(known)
    assert [key for key, _, about in rows if not about] == []
    defaults = {key: default for key, default, _ in rows}
    assert (defaults["databases.dict"], defaults["exclusions.file"]) == ("required", "")
    assert (defaults["limits.turn_on_percent"], defaults["limits.must_contain"]) == ("`30`", "`[]`")
    assert (defaults["run.deadline"], defaults["records.keep"]) == ('`"20m"`', '`"90d"`')


def test_the_table_of_exit_codes_has_every_code() -> None:
    codes = re.findall(r"^\| (\d+) \| .+ \|$", section("Exit codes"), re.MULTILINE)

    assert list(map(int, codes)) == [code.value for code in ExitCode]


def test_the_grants_are_those_of_the_tests_user() -> None:
    grants = re.findall(r"^GRANT (.+) ON \w+\.(\w+) TO (\w+);$", section("Privileges"), re.MULTILINE)

    assert {table: privileges for privileges, table, _ in grants} == GRANTS
    assert {user for _, _, user in grants} == {USER}
    assert re.findall(r"^CREATE USER (\w+) ", section("Privileges"), re.MULTILINE) == [USER]


def test_the_configuration_is_one_that_the_program_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PPC_PASSWORD", "p@ss:word/")
    file = tmp_path / "chatsync.toml"
    (block,) = re.findall(r"^```toml\n(.*?)^```", section("Configuration"), re.MULTILINE | re.DOTALL)
    file.write_text(block, encoding="utf-8")

    settings = load(file)

    assert (settings.exclusions.proxy, sorted(settings.databases.shards)) == ("hahn", [1, 2])


def test_the_first_fill_goes_as_written(job: Job) -> None:
    job.settle({client: client % 4 + 1 for client in range(1, 101)})
    job.list(range(1, 101))
    *chain, diff, apply, set_modtime = [
        [str(job.folder / word) if word == "plan.json" else word for word in words] for words in commands("First fill")
    ]

    assert [job.run(*words).code for words in chain[:2]] == [ExitCode.OK, ExitCode.REFUSED]
    assert [job.run(*words).code for words in (diff, apply, set_modtime)] == [ExitCode.OK] * 3
    assert len(job.off()) == 100
    assert [job.run(*words).code for words in chain] == [ExitCode.OK] * 3


def test_the_switch_works_as_written(job: Job) -> None:
    values = []

    for command in commands("Switch the job off"):
        assert job.run(*command).code == ExitCode.OK
        values.append(str(job.property())[:10])

    assert values == ["9999-12-31", "2026-12-01", "1970-01-01"]


def test_the_changelog_says_nothing_twice_of_one_version() -> None:
    changelog = (readme.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE):
        lines = [" ".join(line.split()) for line in re.findall(r"^- (?:.+\n)(?:  .+\n)*", section, re.MULTILINE)]
        assert [line for line, count in Counter(lines).items() if count > 1] == []
