"""The command line: the group, logging, and the one place where an error becomes an exit code."""

import atexit
import gc
import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click
from click.core import ParameterSource

from chatsync import __version__, logs
from chatsync.clean_output import clean_output
from chatsync.errors import ChatsyncError, CheckStatus, ExitCode
from chatsync.invocation import Invocation
from chatsync.redaction import forget_secrets

# Each command is imported when it is called: help is quick, and a run pays for what it uses.
SECTIONS = {
    "The main job": {
        "diff": "Show what would change, or write it to a plan.",
        "apply": "Make the changes of a plan.",
        "set-modtime": "Mark a list as synced, or switch the job off and on.",
    },
    "For people": {
        "show": "Print a plan and whether apply would take it.",
        "status": "Show the list, the mod-time, the shards and the last runs.",
        "explain": "Say whether clients have the chat, and why.",
        "history": "List what earlier applies changed.",
    },
    "For monitoring and set-up": {
        "check": "Say whether the list is synced, in the way monitoring asks.",
        "doctor": "Check the configuration and everything it names.",
        "demo": "Write a small world into a folder and run the job on it.",
    },
}


CHECK = "check"


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
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Note which command was asked for, before anything in its module can fail: a check ends in its own way."""
        if args[0] in self.list_commands(ctx):
            ctx.ensure_object(Invocation).method = args[0]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


def _keep_log_format(ctx: click.Context, option: click.Parameter, value: str) -> None:
    """Remember the format as soon as it is read: a wrong command name is told in it already."""
    if ctx.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE:  # click may parse a second time
        ctx.ensure_object(Invocation).log_format = value


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "--config", type=click.Path(path_type=Path), metavar="FILE", help="The configuration file.")
@click.option("-v", "--verbose", count=True, help="Log each step and retry; -vv logs all, with tracebacks.")
@click.option("-q", "--quiet", is_flag=True, help="Log errors only.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    expose_value=False,
    callback=_keep_log_format,
    help="How log lines look.",
)
@click.version_option(__version__)
@click.pass_context
def cli(ctx: click.Context, config: Path | None, verbose: int, *, quiet: bool) -> None:
    """Keep a feature off for exactly the clients that an exclusion list names.

    The main job is `diff --plan P && apply --plan P && set-modtime --plan P`.
    """
    if verbose and quiet:
        msg = "--verbose and --quiet exclude each other"
        raise click.UsageError(msg)
    invocation: Invocation = ctx.obj
    invocation.config = config
    invocation.tracebacks = verbose > 1
    logs.set_up(invocation, verbosity=-1 if quiet else verbose, output_format=invocation.log_format)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program and exit with the code that scripts rely on."""
    # Commands are short: looking for garbage every 700 objects costs a twentieth of the start, for nothing.
    gc.set_threshold(50_000)
    try:
        code = run(arguments)
    except Exception as bug:  # noqa: BLE001  # told as Python tells it, but without secrets
        code = ExitCode.FAILED
        with clean_output():
            traceback.print_exception(bug)
    # As Python ends, but for freeing every module and object one by one: with the YT client and the
    # SQL layer in memory that takes 0.15 s, and a thread that hangs in a driver may crash it.
    atexit._run_exitfuncs()  # noqa: SLF001  # the only way to it
    os._exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and leave its metrics, whatever ended it."""
    invocation = Invocation()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # better than to die of "✓" or "…" in an old encoding
    code: int = ExitCode.FAILED  # that of a bug, whose traceback goes on from here
    forget_secrets()
    with clean_output():
        try:
            code = _run(invocation, arguments)
        finally:
            invocation.end(code)
    return code


def _run(invocation: Invocation, arguments: Sequence[str] | None) -> int:
    """Run one command; turn whatever ends it into one line and an exit code."""
    try:
        code = cli.main(arguments, prog_name="chatsync", standalone_mode=False, obj=invocation)
        if sys.stdout is not None:  # as after `>&-`
            sys.stdout.flush()
    except ChatsyncError as error:
        code = _fail(invocation, str(error), error.exit_code, error=error)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)  # help is more than one line
        code = ExitCode.USAGE
    except click.ClickException as error:
        code = _fail(invocation, _usage(error), ExitCode.USAGE)
    except click.Abort as abort:
        code = _abort(invocation, abort)
    except OSError as error:
        code = _fail(invocation, f"cannot write the output: {error.strerror}", ExitCode.FAILED)
    except Exception as bug:
        invocation.note_failure(f"a bug: {bug!r}")
        if invocation.log_format == "text" and invocation.method != CHECK:
            raise
        invocation.tracebacks = True
        code = _fail(invocation, f"a bug: {bug!r}", ExitCode.FAILED)
    return code or ExitCode.OK


def _abort(invocation: Invocation, abort: click.Abort) -> int:
    if isinstance(abort.__cause__, KeyboardInterrupt):  # so early that nobody watches for signals yet
        return _fail(invocation, "stopped by SIGINT", 128 + signal.SIGINT)
    invocation.is_step = False  # the job has not failed: an operator decided against it
    return _fail(invocation, "not confirmed, nothing was written", ExitCode.FAILED)


def _usage(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f" (see `{context.command_path} --help`)" if context else ""
    return f"{error.format_message()}{hint}"


def _fail(invocation: Invocation, message: str, code: int, *, error: ChatsyncError | None = None) -> int:
    invocation.note_failure(" ".join(message.split()), error)
    if invocation.method == CHECK:
        code = CheckStatus.UNKNOWN  # where 1 and 2 say something else to monitoring
    line = "chatsync: " + " ".join(message.split())
    shown = sys.exception() if invocation.tracebacks else None
    if invocation.log_format == "json":
        line = logs.failure(line, invocation, error=shown, exit_code=code)
    elif shown:
        traceback.print_exception(shown)
    click.echo(line, err=True)
    return code
