"""`chatsync status`: show the list, the mod-time, the shards and the last runs."""

from datetime import UTC, datetime

import click

from chatsync.commands.options import begin, echo, format_option
from chatsync.diagnostics.status import Status, failed_parts
from chatsync.diagnostics.status_report import status_report
from chatsync.errors import IncompleteError
from chatsync.invocation import Invocation


@click.command()
@format_option("table", "json")
@click.pass_obj
def status(invocation: Invocation, output_format: str) -> None:
    """Show the state of the job, and what needs a person.

    Reads the list and the shards and compares them as `diff` does; writes nothing. If a part can't be
    read, it shows the others, names that part, and exits with 1.
    """
    with begin(invocation) as (settings, scope):
        seen = Status(settings=settings, scope=scope, trace_id=invocation.trace_id).gather()
        echo(
            status_report(seen, now=datetime.now(UTC), output_format=output_format),
            output_format=output_format,
        )
    if seen.errors:
        parts = ", ".join(seen.errors)
        msg = f"not all could be seen: {parts}; " + "; ".join(failed_parts(seen))
        raise IncompleteError(msg)
