"""`chatsync config`: print an example of the configuration, or the values in use."""

import click

from chatsync.commands.options import load_settings
from chatsync.config.reference import example, in_force
from chatsync.invocation import Invocation


@click.group()
def config() -> None:
    """Print an example of the configuration, or the values in use."""


@config.command("example")
def print_example() -> None:
    """Print a configuration with all keys, their descriptions and defaults.

    Start with it: chatsync config example > chatsync.toml
    """
    click.echo(example(), nl=False)


@config.command("show")
@click.pass_obj
def print_settings(invocation: Invocation) -> None:
    """Print the values in use: defaults and variables filled in, paths absolute, secrets as ***."""
    click.echo(in_force(load_settings(invocation)), nl=False)
