"""The group of commands: each is imported when it is called, and also accepts the global options."""

import importlib
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from chatsync import logs
from chatsync.invocation import Invocation

# Each command is imported when it is called, so help is fast and a run loads only what it uses.
SECTIONS = {
    "The main job": {
        "diff": "Show what would change, or write it to a plan.",
        "apply": "Make the changes of a plan.",
        "set-modtime": "Mark a list as synced, or switch the job off and on.",
        "sync": "Run diff, apply and set-modtime, one after the other.",
    },
    "For people": {
        "show": "Print a plan and whether apply would take it.",
        "status": "Show the list, the mod-time, the shards and the last runs.",
        "explain": "Show whether clients have the chat, and why.",
        "history": "List what earlier applies changed.",
        "report": "Write the state of the job as a page for people without a shell.",
        "help": "Show the help of a command.",
    },
    "For monitoring and set-up": {
        "check": "Tell monitoring whether the list is synced.",
        "doctor": "Check the configuration and everything that it names.",
        "config": "Print an example of the configuration, or the values in use.",
        "demo": "Create an example in a folder and run the job on it.",
    },
}
_FIRST_STEP = {"sync": "diff"}  # sync has no metrics and no step log line of its own: its steps have
# Options that an operator must give on the command line: an environment variable would set them for every command.
_NEVER_FROM_ENVIRONMENT = ("allow_empty", "config", "disable", "force", "reason", "reset", "undone", "version", "yes")


class Commands(click.Group):
    """The commands by section; each is in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names of the commands in the order of use."""
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
        """Note the command before its module is imported, which may fail: `check` has its own exit codes."""
        name = args[0]
        if ctx.resilient_parsing:  # shell completion: nothing runs
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
    """Add the global options to a command and its subcommands, and let variables set its own options."""
    if any(option.name == "config" for option in command.params):  # done already
        return
    read_environment(command, prefix=prefix)
    command.params.extend(global_options(hidden=True))
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            complete_options(below, prefix=f"{prefix}{name.upper()}_")


def read_environment(command: click.Command, *, prefix: str) -> None:
    """Let environment variables set options (CHATSYNC_OPTION, CHATSYNC_COMMAND_OPTION) and name them in the help."""
    for option in command.params:
        if isinstance(option, click.Option) and option.name not in _NEVER_FROM_ENVIRONMENT:
            option.envvar = prefix + option.opts[-1].removeprefix("--").replace("-", "_").upper()
            option.show_envvar = True


def global_options(*, hidden: bool) -> list[click.Parameter]:
    """Return the options that are given before a command or after it; there they are `hidden` in its help."""
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
            ["--log-format"], type=click.Choice(["text", "json"]), default="text", help="Format of log lines.", **shared
        ),
    ]


def _keep(ctx: click.Context, option: click.Parameter, value: object) -> None:
    """Keep a global option as soon as it is read, so that an error in the command name has the right format."""
    name = str(option.name)
    if ctx.get_parameter_source(name) in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
        invocation = ctx.ensure_object(Invocation)
        setattr(invocation, name, value)
        if ctx.parent is not None:
            set_up_logs(invocation)


def set_up_logs(invocation: Invocation) -> None:
    """Set up logging from the global options before and after the command."""
    if invocation.verbose and invocation.quiet:
        raise click.UsageError("give only one of --verbose and --quiet")
    verbosity = -1 if invocation.quiet else invocation.verbose
    logs.set_up(invocation, verbosity=verbosity, output_format=invocation.log_format)
