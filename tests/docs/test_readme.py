"""What README.md says of commands, keys, exit codes and grants is what the code does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from chatsync import __version__
from chatsync.cli import SECTIONS
from chatsync.config.settings import File, Seconds, Section
from chatsync.errors import ExitCode
from tests.harness import readme
from tests.harness.schema import GRANTS, USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.job import Job

TEXT = readme.README.read_text(encoding="utf-8")
REQUIRED = "required"


def section(heading: str) -> str:
    return TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def defaults(kind: type[Section], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of the configuration with its default."""
    hints = get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        hint = hints[field.name]
        if isinstance(hint, type) and issubclass(hint, Section):
            yield from defaults(hint, f"{prefix}{field.name}.")
        else:
            value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory
            yield prefix + field.name, REQUIRED if value is msgspec.NODEFAULT else value


def as_written(value: str) -> str:
    """Read a default as the table has it: TOML, or nothing for a key that is not set."""
    return value if value in {"", REQUIRED} else value.removeprefix("`").removesuffix("`")


def as_toml(key: str, value: Any) -> str:
    if isinstance(value, Seconds):
        hours, minutes = divmod(int(value) // 60, 60)
        text = f"{hours // 24}d" if hours and not hours % 24 else f"{hours}h" if hours else f"{minutes}m"
        assert float(Seconds.parse(text)) == float(value)
        return f'"{text}"'
    if key == "exclusions.proxy":
        return "$YT_PROXY"
    if value is None or value == "":
        return ""
    if value in ((), dict) or value == {}:
        return "[]" if value == () else "{}"
    return f'"{value}"' if isinstance(value, str) and value != REQUIRED else str(value)


def test_help_and_output_are_those_of_the_program() -> None:
    assert readme.written_anew() == TEXT


def test_the_table_of_keys_has_every_key_with_its_default() -> None:
    rows = re.findall(
        r"^\| `([a-z_]+\.[a-z_]+)` \| (.*?) ?\| .+ \|$", section("Tell it where things are"), re.MULTILINE
    )

    assert {key: as_written(value) for key, value in rows} == {
        key: as_toml(key, value) for key, value in defaults(File)
    }


def test_the_table_of_exit_codes_has_every_code() -> None:
    codes = re.findall(r"^\| (\d+) \| .+ \|$", section("Read the exit code"), re.MULTILINE)

    assert list(map(int, codes)) == [code.value for code in ExitCode]


def test_every_command_is_there_and_no_option_that_is_not() -> None:
    known = set(re.findall(r"--[a-z-]+", readme.help_of(None)))
    for command in [name for commands in SECTIONS.values() for name in commands]:
        assert f"chatsync {command}" in TEXT
        known |= set(re.findall(r"--[a-z-]+", readme.help_of(command)))

    assert set(re.findall(r"(?<![-\w])--[a-z][a-z-]+", TEXT)) <= known


def test_the_grants_are_those_of_the_tests_user() -> None:
    grants = re.findall(r"^GRANT (.+) ON \w+\.(\w+) TO (\w+);$", section("Grant it what it needs"), re.MULTILINE)

    assert {table: privileges for privileges, table, _ in grants} == GRANTS
    assert {user for _, _, user in grants} == {USER}


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)

    assert [link for link in links if not (readme.README.parent / link).exists()] == []


def test_the_switch_works_as_written(job: Job) -> None:
    commands = re.findall(r"^    chatsync (set-modtime \S+)", section("Switch it off, and on again"), re.MULTILINE)
    values = []

    for command in commands:
        assert job.run(*command.split()).code == 0
        values.append(str(job.property())[:10])

    assert values == ["9999-12-31", "2026-12-01", "1970-01-01"]


def test_the_changelog_knows_this_version() -> None:
    changelog = (readme.README.parent / "CHANGELOG.md").read_text(encoding="utf-8")

    assert f"\n## {__version__}\n" in changelog
