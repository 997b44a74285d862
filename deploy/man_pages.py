"""man_pages.py FOLDER: writes the manual pages of all commands, from their help."""

import sys

import click
from click_man.core import write_man_pages

from chatsync import __version__
from chatsync.cli import cli


def main() -> None:
    """Load all commands, which the group otherwise loads when they are called, and write their pages."""
    context = click.Context(cli, info_name="chatsync")
    cli.commands = {name: command for name in cli.list_commands(context) if (command := cli.get_command(context, name))}
    _name(cli)
    write_man_pages("chatsync", cli, version=__version__, target_dir=sys.argv[1])


def _name(command: click.Command) -> None:
    """Use the first sentence of the help for the section NAME of the page, which otherwise is cut at 45 characters."""
    command.short_help = command.get_short_help_str(limit=200)
    for below in getattr(command, "commands", {}).values():
        _name(below)


if __name__ == "__main__":
    main()
