"""`chatsync diff`: show what would change, or write it to a plan."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chatsync.commands.options import (
    begin,
    dry_run_option,
    echo,
    format_option,
    limit_option,
    live_option,
    logs_to_a_file,
)
from chatsync.core import objections_to
from chatsync.errors import ExitCode
from chatsync.sync.left_out import LeftOut
from chatsync.sync.plan_file import save
from chatsync.sync.planner import make_plan
from chatsync.sync.report import diff_report

if TYPE_CHECKING:
    from chatsync.invocation import Invocation

logger = logging.getLogger(__name__)


@click.command()
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path, readable=False),  # the file is replaced, so the permissions of its folder count
    metavar="FILE",
    help="Write the plan to FILE.",
)
@click.option(
    "--if-modified", is_flag=True, help="Skip the comparison if the list is already synced or the job is disabled."
)
@format_option("table", "json", "csv")
@limit_option
@live_option
@click.option(
    "--left-out",
    "left_out_file",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE.csv",
    help="Write every rejected row and unknown client to FILE.csv, for the owners of the list.",
)
@dry_run_option
@click.option("--exit-code", is_flag=True, help=f"Exit with {ExitCode.DIFFERENCE} when there is a difference.")
@click.pass_context
def diff(
    ctx: click.Context,
    plan_file: Path | None,
    output_format: str,
    limit: int | None,
    left_out_file: Path | None,
    *,
    if_modified: bool,
    live: bool,
    exit_code: bool,
) -> None:
    """Compare the exclusion list with the feature state and print the difference.

    Writes only the named files and the table feedback.path. Also says whether `apply` would accept the plan.
    """
    invocation: Invocation = ctx.obj
    with begin(invocation) as (settings, scope), LeftOut(settings, left_out_file) as left_out:
        trace_id, keep = invocation.trace_id, left_out.keep
        made = make_plan(settings, scope, trace_id=trace_id, if_modified=if_modified, live=live, keep=keep)
        plan, state = made.plan, made.state
        invocation.take_up(plan, seen_at=state.now)
        if plan_file:
            save(plan, plan_file)
            level = logging.INFO if plan.was_read else logging.DEBUG
            logger.log(
                level, "plan written to %s", plan_file, extra={"plan": str(plan_file), "verdict": plan.verdict.value}
            )
        found = objections_to(plan, settings, now=datetime.now(UTC), state=state)
        report = diff_report(plan, objections=found, modtime=state, output_format=output_format, limit=limit)
        if plan.was_read or output_format != "table" or not logs_to_a_file(ctx):
            echo(report, output_format=output_format)
        left_out.save(plan)
        left_out.tell_owners(plan, scope)
    if exit_code and plan.changes:
        ctx.exit(ExitCode.DIFFERENCE)
