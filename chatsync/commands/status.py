"""`chatsync status`: show the list, the mod-time, the shards and the last runs."""

from datetime import UTC, datetime

import click

from chatsync.commands.options import echo, format_option
from chatsync.diagnostics.status import Status, failed_parts
from chatsync.diagnostics.status_report import status_report
from chatsync.errors import IncompleteError
from chatsync.invocation import Invocation


@click.command()
@format_option("table", "json")
@click.pass_obj
def status(invocation: Invocation, output_format: str) -> None:
    """Show how things stand, and what needs a person.

    Reads the list and the shards and compares them as `diff` does; writes nothing. Shows what it can
    when a part is down, and then ends with 1 and says which part.
    """
    with invocation.begin() as (settings, scope):
        seen = Status(settings=settings, scope=scope, trace_id=invocation.trace_id).gather()
        echo(
            status_report(seen, settings, now=datetime.now(UTC), output_format=output_format),
            output_format=output_format,
        )
    if seen.errors:
        parts = ", ".join(seen.errors)
        msg = f"not all could be seen: {parts}; " + "; ".join(failed_parts(seen))
        raise IncompleteError(msg)
