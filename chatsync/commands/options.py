"""What the commands share: options, and how a report is printed.

At a terminal a report has lines that fit, and colours; elsewhere it is printed as it is.
"""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable
from typing import Any, TextIO, TypeVar

import click

from chatsync.clean_output import terminal
from chatsync.core import DEFAULT_LIMIT
from chatsync.redaction import escape_odd, without_secrets

Command = TypeVar("Command", bound=Callable[..., Any])

# The mark or the words at the start of a line, and their colour.
_COLOURS = {
    "green": re.compile(r"^\s*✓|^All is well\."),
    "yellow": re.compile(r"^\s*!(?= )"),
    "red": re.compile(r"^\s*✗|^apply will refuse this:|^  exit \d+:"),
}
# `  next run    would turn it off, …`: the label of a line, behind which the lines that follow begin.
_LABEL = re.compile(r"\s*\S+(?: \S+)*\s{2,}(?=\S)|\s*(?:[✓!✗•] )?")
_COLUMNS = re.compile(r"\S\s{2,}\S")


def format_option(*formats: str) -> Callable[[Command], Command]:
    """Offer `--format`; the first of `formats` is the default."""
    return click.option(
        "--format", "output_format", type=click.Choice(formats), default=formats[0], help="How to print."
    )


limit_option = click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Clients to list (table: {DEFAULT_LIMIT}, csv: all; json is always whole).",
)


live_option = click.option(
    "--live", is_flag=True, help="Read the feature state from the databases, also where [export] is configured."
)


def _answer_dry_run(ctx: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click's call
    if value and not ctx.resilient_parsing:
        raise click.UsageError("there is no --dry-run: `chatsync diff` is the dry run, it writes only its plan file")


# For people who look for it by the name that it has elsewhere.
dry_run_option = click.option("--dry-run", is_flag=True, hidden=True, expose_value=False, callback=_answer_dry_run)


def logs_to_a_file(ctx: click.Context) -> bool:
    """Whether log lines go to a file: then a step with nothing to do leaves its log line there, and no report."""
    return bool(ctx.obj.verbose) and sys.stderr is not None and not sys.stderr.isatty()


def echo(report: str, *, output_format: str = "table", err: bool = False) -> None:
    """Print a report; one for programs is never changed."""
    stream = sys.stderr if err else sys.stdout
    if stream is None or output_format != "table":
        click.echo(report, err=err)
        return
    if stream.isatty():
        report = "\n".join(fitted(line, shutil.get_terminal_size().columns) for line in report.split("\n"))
    if has_colours(stream):
        # Past the stream that escapes what a terminal acts on; so the report's own text is cleaned here.
        lines = escape_odd(without_secrets(report)).split("\n")
        click.echo("\n".join(map(painted, lines)), file=terminal(stream), color=True)
    else:
        click.echo(report, err=err)


def has_colours(stream: TextIO) -> bool:
    """Whether to colour: at a terminal, unless $NO_COLOR says no or $FORCE_COLOR says yes (no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


def painted(line: str) -> str:
    """Colour the start of a line by what it says."""
    for colour, pattern in _COLOURS.items():
        if match := pattern.match(line):
            return click.style(match[0], fg=colour, bold=True) + line[match.end() :]
    return line


def fitted(line: str, width: int) -> str:
    """Break a line between words, under its label; a row of a table is left as it is."""
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
