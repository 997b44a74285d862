"""The group of commands: each is imported when it is called, and takes the global options too."""

import importlib
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from chatsync import logs
from chatsync.invocation import Invocation

# Each command is imported when it is called: help is quick, and a run pays for what it uses.
SECTIONS = {
    "The main job": {
        "diff": "Show what would change, or write it to a plan.",
        "apply": "Make the changes of a plan.",
        "set-modtime": "Mark a list as synced, or switch the job off and on.",
        "sync": "Run these three, one after the other.",
    },
    "For people": {
        "show": "Print a plan and whether apply would take it.",
        "status": "Show the list, the mod-time, the shards and the last runs.",
        "explain": "Show whether clients have the chat, and why.",
        "history": "List what earlier applies changed.",
        "report": "Write how things stand as a page for people without a shell.",
        "help": "Show the help of a command.",
    },
    "For monitoring and set-up": {
        "check": "Tell monitoring whether the list is synced.",
        "doctor": "Check the configuration and everything that it names.",
        "config": "Print an example of the configuration, or the one in force.",
        "demo": "Write a small world into a folder and run the job on it.",
    },
}
_FIRST_STEP = {"sync": "diff"}  # it has no traces of its own: what ends it is the end of a step
# What an operator has to say for this one command. A variable that is set somewhere must not say it for all.
_NEVER_FROM_ENVIRONMENT = ("allow_empty", "config", "disable", "force", "reason", "reset", "undone", "version", "yes")


class Commands(click.Group):
    """The commands by section, each in a module named after it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order in which they are used."""
        del ctx
        return [name for commands in SECTIONS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"chatsync.commands.{name}"), name)
        complete_options(command, prefix=f"CHATSYNC_{name.upper()}_")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Note which command was asked for, before anything in its module can fail: a check ends in its own way."""
        name = args[0]
        if ctx.resilient_parsing:  # a shell completes a command line: nothing is run
            return super().resolve_command(ctx, args)
        if name in self.list_commands(ctx):
            ctx.ensure_object(Invocation).method = _FIRST_STEP.get(name, name)
        elif not name.startswith("-"):
            raise click.exceptions.NoSuchCommand(name, possibilities=self.list_commands(ctx), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


def complete_options(command: click.Command, *, prefix: str) -> None:
    """Give a command, and those below it, the global options, and let its own be set in the environment."""
    if any(option.name == "config" for option in command.params):  # a command is completed once
        return
    read_environment(command, prefix=prefix)
    command.params.extend(global_options(hidden=True))
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            complete_options(below, prefix=f"{prefix}{name.upper()}_")


def read_environment(command: click.Command, *, prefix: str) -> None:
    """Let options be set by variables, CHATSYNC_OPTION or CHATSYNC_COMMAND_OPTION, and say so in the help."""
    for option in command.params:
        if isinstance(option, click.Option) and option.name not in _NEVER_FROM_ENVIRONMENT:
            option.envvar = prefix + option.opts[-1].removeprefix("--").replace("-", "_").upper()
            option.show_envvar = True


def global_options(*, hidden: bool) -> list[click.Parameter]:
    """Return the options that stand before a command or, `hidden` in its help, after it."""
    shared: dict[str, Any] = {"expose_value": False, "callback": _keep, "hidden": hidden}
    return [
        click.Option(
            ["-c", "--config"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The configuration file; default: $CHATSYNC_CONFIG.",
            **shared,
        ),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            help="Log each step and retry; -vv logs all, with tracebacks.",
            **shared,
        ),
        click.Option(["-q", "--quiet"], is_flag=True, help="Log errors only.", **shared),
        click.Option(
            ["--log-format"], type=click.Choice(["text", "json"]), default="text", help="How log lines look.", **shared
        ),
    ]


def _keep(ctx: click.Context, option: click.Parameter, value: object) -> None:
    """Keep a global option as soon as it is read: a wrong command name is told in the right format already."""
    name = str(option.name)
    if ctx.get_parameter_source(name) in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
        invocation = ctx.ensure_object(Invocation)
        setattr(invocation, name, value)
        if ctx.parent is not None:
            set_up_logs(invocation)


def set_up_logs(invocation: Invocation) -> None:
    """Log as the global options say, those before and those after the command."""
    if invocation.verbose and invocation.quiet:
        raise click.UsageError("--verbose and --quiet exclude each other")
    verbosity = -1 if invocation.quiet else invocation.verbose
    logs.set_up(invocation, verbosity=verbosity, output_format=invocation.log_format)
