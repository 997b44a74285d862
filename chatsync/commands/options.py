"""Shared by the commands: options, the configuration and the deadline, and printing a report.

At a terminal, a report is coloured and its lines are broken to fit; elsewhere it is printed unchanged.
"""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

import click

from chatsync.cancel_scope import CancelScope
from chatsync.clean_output import cleaned, terminal
from chatsync.config.load import load
from chatsync.config.places import find_config
from chatsync.config.settings import Settings
from chatsync.core import DEFAULT_LIMIT
from chatsync.invocation import Invocation

Command = TypeVar("Command", bound=Callable[..., Any])

# The start of a line (a mark or words) that gets each colour.
_COLOURS = {
    "green": re.compile(r"^\s*✓|^All is well\."),
    "yellow": re.compile(r"^\s*!(?= )"),
    "red": re.compile(r"^\s*✗|^apply will refuse this:|^  exit \d+:"),
}
# The label of a line, as in `  next run    would turn it off, …`: its continuation lines are indented to its end.
_LABEL = re.compile(r"\s*\S+(?: \S+)*\s{2,}(?=\S)|\s*(?:[✓!✗•] )?")
_COLUMNS = re.compile(r"\S\s{2,}\S")


def format_option(*formats: str) -> Callable[[Command], Command]:
    """Return the option `--format`; the first of `formats` is the default."""
    return click.option(
        "--format", "output_format", type=click.Choice(formats), default=formats[0], help="Output format."
    )


limit_option = click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Clients to list (default: {DEFAULT_LIMIT} in a table, all in csv; json always has all).",
)


live_option = click.option(
    "--live", is_flag=True, help="Read the feature state from the databases even if [export] is configured."
)


def _answer_dry_run(ctx: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click's call
    if value and not ctx.resilient_parsing:
        raise click.UsageError("there is no --dry-run: `chatsync diff` is the dry run, it writes only its plan file")


# For people who know the option from other programs.
dry_run_option = click.option("--dry-run", is_flag=True, hidden=True, expose_value=False, callback=_answer_dry_run)


def load_settings(invocation: Invocation) -> Settings:
    """Load the configuration, once in a command. Raises ConfigError."""
    if not invocation.is_configured:
        invocation.configure(load(find_config(invocation.config)))
    return invocation.settings


@contextmanager
def begin(invocation: Invocation, *, retry_timeout: float | None = None) -> Iterator[tuple[Settings, CancelScope]]:
    """Load the configuration and start the deadline; inside the block, signals stop the command.

    `retry_timeout`, in seconds, replaces `run.retry_timeout`.
    """
    settings = load_settings(invocation)
    run = settings.run
    invocation.scope = CancelScope(
        deadline=run.deadline, retry_timeout=run.retry_timeout if retry_timeout is None else retry_timeout
    )
    with invocation.scope.watching():
        yield settings, invocation.scope


def logs_to_a_file(ctx: click.Context) -> bool:
    """Whether log lines go to a file: then a step with nothing to do writes only its log line, and no report."""
    return bool(ctx.obj.verbose) and sys.stderr is not None and not sys.stderr.isatty()


def echo(report: str, *, output_format: str = "table", err: bool = False) -> None:
    """Print a report; only a table is changed (coloured, lines broken), output for programs never is."""
    stream = sys.stderr if err else sys.stdout
    if stream is None or output_format != "table":
        click.echo(report, err=err)
        return
    if stream.isatty():
        report = "\n".join(fitted(line, shutil.get_terminal_size().columns) for line in report.split("\n"))
    if has_colours(stream):
        # Colours need the raw stream, which escapes nothing, so the text of the report is cleaned here.
        lines = cleaned(report).split("\n")
        click.echo("\n".join(map(painted, lines)), file=terminal(stream), color=True)
    else:
        click.echo(report, err=err)


def has_colours(stream: TextIO) -> bool:
    """Whether to colour: at a terminal, unless $NO_COLOR says no or $FORCE_COLOR says yes (no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


def painted(line: str) -> str:
    """Return a line with its start in colour, if it is one of `_COLOURS`."""
    for colour, pattern in _COLOURS.items():
        if match := pattern.match(line):
            return click.style(match[0], fg=colour, bold=True) + line[match.end() :]
    return line


def fitted(line: str, width: int) -> str:
    """Return a line broken between words and indented to the end of its label; a table row is unchanged."""
    match = _LABEL.match(line)
    indent = match.end() if match else 0
    if len(line) <= width or indent > width // 2 or _COLUMNS.search(line, indent):
        return line
    return textwrap.fill(
        line,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
