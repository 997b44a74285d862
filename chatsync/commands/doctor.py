"""`chatsync doctor`: check the configuration and everything it names."""

from collections.abc import Iterator

import click

from chatsync.commands.options import begin, echo, load_settings
from chatsync.diagnostics.doctor import (
    Line,
    Mark,
    bad,
    check_config,
    check_job,
    check_rows,
    folded,
    totals,
)
from chatsync.diagnostics.doctor_databases import check_databases, check_driver
from chatsync.diagnostics.doctor_sources import check_export, check_feedback, check_list, check_token
from chatsync.diagnostics.doctor_writes import check_folders, check_lock, check_writes
from chatsync.errors import ChatsyncError, ConfigError
from chatsync.invocation import Invocation

# A person waits for the answer, so only short network failures are retried.
_RETRY_SECONDS = 1.0


@click.command()
@click.pass_obj
def doctor(invocation: Invocation) -> None:
    """Check the configuration and everything that it names. Changes nothing.

    It tries a write in each database and rolls it back.


    Prints one line for each check: ✓ is good, ! is a warning, ✗ is a failure with what to do. The last
    line counts them. Exits with 0 only if there is no ✗, and with 2 if the configuration itself is wrong.
    """
    lines: list[Line] = []
    _load(invocation)
    with begin(invocation, retry_timeout=_RETRY_SECONDS):
        for line in _examine(invocation):
            echo(str(line))
            lines.append(line)
    click.echo(totals(lines))
    failed = sum(line.mark is Mark.BAD for line in lines)
    if failed:
        raise ChatsyncError(f"{failed} of {sum(line.count for line in lines)} checks failed")


def _load(invocation: Invocation) -> None:
    """Load the configuration; if it is wrong, that is printed as the only check."""
    try:
        load_settings(invocation)
    except ConfigError as error:
        echo(str(bad("config", str(error))))
        msg = "the configuration is wrong, so nothing else was checked"
        raise ConfigError(msg) from error


def _examine(invocation: Invocation) -> Iterator[Line]:
    settings, scope = invocation.settings, invocation.scope
    yield from check_config(settings)
    if not settings.exclusions.file:
        yield from check_token(settings.exclusions)
    list_time = yield from check_list(settings, scope)
    if settings.export.path:
        yield from check_export(settings, scope)
    yield from check_driver(settings)
    broken: set[str] = set()
    for line in folded(check_databases(settings, scope)):
        yield line
        broken |= {line.part} if line.mark is Mark.BAD else set()
    yield from check_lock(settings, scope)
    yield from check_writes(settings, scope, broken=broken)
    yield from check_job(settings, scope, list_time)
    yield from check_rows(settings, scope)
    yield from check_folders(settings)
    yield from check_feedback(settings, scope)
