"""The command line: the group, logging, and the one place where an error becomes an exit code."""

import atexit
import gc
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn, TextIO

import click

from chatsync import __version__, logs
from chatsync.clean_output import clean_output
from chatsync.command_group import Commands, global_options, read_environment, set_up_logs
from chatsync.errors import ChatsyncError, CheckStatus, ExitCode
from chatsync.invocation import Invocation
from chatsync.redaction import forget_secrets

CHECK = "check"
COMPLETION = "_CHATSYNC_COMPLETE"  # set by the scripts that click writes for shells


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.pass_obj
def cli(invocation: Invocation) -> None:
    """Keep a feature off for exactly the clients that an exclusion list names.

    The main job is `diff --plan P && apply --plan P && set-modtime --plan P`, or `sync`.

    These options can also be given after the command.
    """
    set_up_logs(invocation)


cli.params = [*global_options(hidden=False), *cli.params]
read_environment(cli, prefix="CHATSYNC_")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program and exit with the code that scripts rely on."""
    # Nothing is garbage while the modules of a command are imported, 120,000 objects: looking for it every 700 objects
    # would take 0.1 s, and every 50,000 still 0.025 s.
    gc.set_threshold(200_000)
    if os.environ.get(COMPLETION):
        _complete()
    try:
        code = run(arguments)
    except KeyboardInterrupt:  # while the last line or the metrics were written: click no longer takes it
        code = 128 + signal.SIGINT
        with clean_output():
            click.echo("chatsync: stopped by SIGINT", err=True)
    except Exception as bug:  # noqa: BLE001  # shown as a traceback, but without secrets
        code = ExitCode.FAILED
        with clean_output():
            traceback.print_exception(bug)
    # Exit without freeing modules and objects one by one: with the YT client and SQLAlchemy in memory
    # that takes 0.15 s, and it may crash while a thread hangs in a driver.
    atexit._run_exitfuncs()  # noqa: SLF001  # there is no public way to call it
    os._exit(code)


def _complete() -> NoReturn:
    """Print the completions of a word for a shell (commands, options, runs) and nothing else."""
    logging.disable()
    cli.main(prog_name="chatsync", complete_var=COMPLETION, obj=Invocation())
    raise SystemExit(ExitCode.FAILED)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and write its metrics, however it ended."""
    invocation = Invocation()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # so that "✓" and "…" don't fail in an old encoding
    code: int = ExitCode.FAILED  # stays for a bug, whose exception passes through
    forget_secrets()
    with clean_output():
        try:
            code = _run(invocation, arguments)
        finally:
            invocation.end(code)
    return code


def _run(invocation: Invocation, arguments: Sequence[str] | None) -> int:
    """Run one command; turn every error into one line and an exit code."""
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
    except SystemExit:  # click's, and the only one: the reader of the output is gone, as after `| head`
        code = CheckStatus.UNKNOWN if invocation.method == CHECK else ExitCode.FAILED
    except OSError as error:
        code = _fail(invocation, f"cannot write the output: {error.strerror}", ExitCode.FAILED)
    except Exception as bug:
        invocation.note_failure(f"a bug: {bug!r}")
        if invocation.log_format == "text" and invocation.method != CHECK:
            raise
        invocation.verbose = 2
        code = _fail(invocation, f"a bug: {bug!r}", ExitCode.FAILED)
    return code or ExitCode.OK


def _abort(invocation: Invocation, abort: click.Abort) -> int:
    if isinstance(abort.__cause__, KeyboardInterrupt):  # before the signals are handled
        return _fail(invocation, "stopped by SIGINT", 128 + signal.SIGINT)
    invocation.is_step = False  # not a failure of the job: an operator answered no
    return _fail(invocation, "not confirmed, nothing was written", ExitCode.FAILED)


def _usage(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f" (see `{context.command_path} --help`)" if context else ""
    return f"{error.format_message()}{hint}"


def _fail(invocation: Invocation, message: str, code: int, *, error: ChatsyncError | None = None) -> int:
    invocation.note_failure(" ".join(message.split()), error)
    if invocation.method == CHECK:
        code = CheckStatus.UNKNOWN  # because 1 and 2 mean something else to monitoring
    line = "chatsync: " + " ".join(message.split())
    shown = sys.exception() if invocation.tracebacks else None
    if invocation.log_format == "json":
        line = logs.failure(line, invocation, error=shown, exit_code=code, output_format="json")
    elif shown:
        traceback.print_exception(shown)
    if invocation.log_format == "text" and invocation.verbose and not invocation.quiet and not _is_terminal(sys.stderr):
        line = logs.failure(line, invocation, error=None, exit_code=code, output_format="text")
    click.echo(line, err=True)
    return code


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()
