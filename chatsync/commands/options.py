"""Options that several commands have, spelt once."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from chatsync.sync.report import DEFAULT_LIMIT

Command = TypeVar("Command", bound=Callable[..., Any])


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


def _answer_dry_run(ctx: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click's call
    if value and not ctx.resilient_parsing:
        raise click.UsageError("there is no --dry-run: `chatsync diff` is the dry run, it writes only its plan file")


# For people who look for it by the name that it has elsewhere.
dry_run_option = click.option("--dry-run", is_flag=True, hidden=True, expose_value=False, callback=_answer_dry_run)
