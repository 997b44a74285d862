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
