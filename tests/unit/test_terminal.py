"""A report at a terminal: it fits, it has colours where they are wanted, and programs get it as it is."""

from __future__ import annotations

import io

import pytest

from chatsync.clean_output import clean_output
from chatsync.commands.options import echo, fitted, has_colours, painted

RED, GREEN, YELLOW, END = "\x1b[31m\x1b[1m", "\x1b[32m\x1b[1m", "\x1b[33m\x1b[1m", "\x1b[0m"


ROW = "20261123T164234  done   140   200     0 s  chatsync@jobs1"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("✓ list       fine", f"{GREEN}✓{END} list       fine"),
        ("✗ list       away", f"{RED}✗{END} list       away"),
        ("! list       odd", f"{YELLOW}!{END} list       odd"),
        ("  ! diff failed", f"{YELLOW}  !{END} diff failed"),
        ("All is well.", f"{GREEN}All is well.{END}"),
        ("apply will refuse this:", f"{RED}apply will refuse this:{END}"),
        ("  exit 3: too many", f"{RED}  exit 3:{END} too many"),
        ("list      ! a name", "list      ! a name"),
        ("!important", "!important"),
    ],
)
def test_colours(line: str, shown: str) -> None:
    assert painted(line) == shown


@pytest.mark.parametrize(
    ("variables", "at_a_terminal", "elsewhere"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_where_there_are_colours(
    variables: dict[str, str], *, at_a_terminal: bool, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert (has_colours(Terminal()), has_colours(io.StringIO())) == (at_a_terminal, elsewhere)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("short", "short"),
        (
            "  next run    turns it off once the list can be read again",
            "  next run    turns it off once the list\n              can be read again",
        ),
        ("one two three four five six seven eight nine", "one two three four five six seven eight\nnine"),
        (
            "  ! diff failed 2 min ago, exit 1: cannot read",
            "  ! diff failed 2 min ago, exit 1:\n    cannot read",
        ),
        (
            "20261123T164234  done   140   200     0 s  chatsync@jobs1",
            "20261123T164234  done   140   200     0 s  chatsync@jobs1",
        ),
        ("x" * 60, "x" * 60),
    ],
)
def test_lines_fit(line: str, shown: str) -> None:
    assert fitted(line, 40) == shown


def test_a_terminal_gets_colours_and_nothing_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of a cell is escaped, the colours of the program are not."""
    raw = Terminal()
    monkeypatch.setattr("sys.stdout", raw)
    with clean_output():
        echo("✓ list \x1b[2J")

    assert raw.getvalue() == f"{GREEN}✓{END} list \\u001b[2J\n"


def test_programs_get_it_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = Terminal()
    monkeypatch.setattr("sys.stdout", raw)
    with clean_output():
        echo('["' + "word " * 30 + '"]', output_format="json")

    assert raw.getvalue() == '["' + "word " * 30 + '"]\n'
