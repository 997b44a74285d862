"""`chatsync show`: print a plan file."""

from datetime import UTC, datetime
from pathlib import Path

import click

from chatsync.commands.options import echo, format_option, limit_option, load_settings
from chatsync.core import StoredModTime, objections_to
from chatsync.invocation import Invocation
from chatsync.sync.plan_file import load
from chatsync.sync.report import diff_report


@click.command()
@click.argument("plan_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@format_option("table", "json", "csv")
@limit_option
@click.pass_obj
def show(invocation: Invocation, plan_file: Path, output_format: str, limit: int | None) -> None:
    """Print a plan FILE as `diff` would, and whether `apply` would accept it now.

    Checks the plan's age and content against the configured limits; reads no list and no database.
    """
    settings = load_settings(invocation)
    plan = load(plan_file)
    now = datetime.now(UTC)
    found = objections_to(plan, settings, now=now, state=None)
    modtime = StoredModTime(modtime=plan.seen_modtime, last_change=None, now=now)
    report = diff_report(plan, objections=found, modtime=modtime, output_format=output_format, limit=limit)
    echo(report, output_format=output_format)
