"""`chatsync history`: list what earlier applies changed."""

from itertools import islice

import click
from pyroaring import BitMap64

from chatsync.commands.options import echo, format_option, load_settings
from chatsync.core import DEFAULT_LIMIT, MAX_LIST_ID
from chatsync.diagnostics.history import Shown, client_changes, history_report, steps_report
from chatsync.invocation import Invocation
from chatsync.sync.records import Records
from chatsync.sync.step_log import StepLog


@click.command()
@click.option(
    "--limit", type=click.IntRange(min=0), metavar="N", help=f"Runs to list (table: {DEFAULT_LIMIT}, others: all)."
)
@click.option(
    "--client", type=click.IntRange(1, MAX_LIST_ID), metavar="ID", help="Only runs that changed this client, and how."
)
@click.option("--all", "all_steps", is_flag=True, help="All ended steps, including refused, failed and idle ones.")
@format_option("table", "json", "csv")
@click.pass_obj
def history(
    invocation: Invocation, limit: int | None, client: int | None, output_format: str, *, all_steps: bool
) -> None:
    """List what earlier applies changed.

    Reads only the run records in records.dir; the newest run is first. With --all, it reads the step
    log there instead: every diff, apply and set-modtime, and how it ended.
    """
    settings = load_settings(invocation)
    records, feature = Records(settings.records), settings.feature.name
    if all_steps:
        if client is not None:
            raise click.UsageError("--client lists runs that changed something; give only one of --all and --client")
        _ = records.folder  # raises the error if no folder is configured
        steps = StepLog(settings.records).newest(feature=feature)
        first = steps[: DEFAULT_LIMIT if limit is None and output_format == "table" else limit]
        report = steps_report(first, more=len(steps) - len(first), output_format=output_format)
        echo(report, output_format=output_format)
        return
    known = records.runs()
    shown = DEFAULT_LIMIT if limit is None and output_format == "table" else limit
    if client is None:
        runs: list[Shown] = [(record, None) for record in islice(records.newest(feature=feature), shown)]
        more = len(known) - len(runs) if len(runs) == shown else 0  # if fewer: the rest can't be read
    else:
        asked = BitMap64([client])
        done = client_changes(records.newest(feature=feature, about=asked), asked).get(client, [])
        found: list[Shown] = [(change.record, change) for change in done]
        runs = found[:shown]
        more = len(found) - len(runs)
    if runs or output_format != "table" or not records.denied:
        report = history_report(runs, known=known, more=more, client=client, output_format=output_format)
        echo(report, output_format=output_format)
    if records.denied:
        raise records.denied
