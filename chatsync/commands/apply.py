"""`chatsync apply`: make the changes of a plan."""

import logging
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import click

from chatsync.commands.options import begin, dry_run_option, format_option, live_option, load_settings, logs_to_a_file
from chatsync.core import ALLOW_EMPTY, FORCE, Plan, Verdict, nothing_done, objections_to, raise_first
from chatsync.errors import ChatsyncError
from chatsync.invocation import Invocation
from chatsync.sync.plan_file import load
from chatsync.sync.records import Records
from chatsync.sync.report import results_report

logger = logging.getLogger(__name__)


def _complete_run(ctx: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    """Return the ids of recorded runs for shell completion of --undo; none if the records can't be read."""
    invocation = ctx.find_object(Invocation) or Invocation()
    try:
        runs = Records(load_settings(invocation).records).runs()
    except ChatsyncError:
        return []
    return [run for run in runs if run.startswith(incomplete) or run.endswith(incomplete)]


@click.command()
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Apply this plan; without one, make a diff, show it and ask.",
)
@click.option(
    "--undo",
    "undone",
    metavar="RUN",
    shell_complete=_complete_run,
    help="Take back what this recorded run changed; the start or end of its id is enough.",
)
@live_option
@dry_run_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Override the limits, except an empty list and must_contain.")
@click.option("--allow-empty", is_flag=True, help="Accept a list without a single client.")
@format_option("table", "json")
@click.pass_obj
def apply(
    invocation: Invocation,
    plan_file: Path | None,
    undone: str | None,
    output_format: str,
    *,
    live: bool,
    yes: bool,
    force: bool,
    allow_empty: bool,
) -> None:
    """Make the changes of a plan in clients_features, batch by batch on all shards.

    Refuses a plan that is over a limit or out of date. Prints what was done on each shard, also
    when something failed.

    --undo changes only clients that are still as RUN left them, and lists the others. The limits on
    changes apply to it as well; those on the list do not, because an undo reads no list.
    """
    if plan_file and undone is not None:
        raise click.UsageError("--undo makes its own plan; give only one of --plan and --undo")
    if live and (plan_file or undone is not None):
        raise click.UsageError("--live cannot be used with --plan; make the plan with it: `chatsync diff --live`")
    lifting = [option for option, given in ((FORCE, force), (ALLOW_EMPTY, allow_empty)) if given]
    with begin(invocation):
        plan = load(plan_file) if plan_file else None
        if plan and plan.verdict is Verdict.NOT_MODIFIED:
            _check(plan, invocation, lifting=lifting)
            _tell_idle(plan, invocation, output_format=output_format)
            return
        from chatsync.commands import applying  # late: with nothing to do, no driver

        plan = plan or applying.make_shown_plan(undone, invocation, lifting=lifting, live=live)
        _check(plan, invocation, lifting=lifting)
        if not plan_file and not yes and plan.changes:
            _ask(invocation)
        applying.apply_and_show(plan, invocation, lifting=lifting, output_format=output_format)


def _check(plan: Plan, invocation: Invocation, *, lifting: Collection[str]) -> None:
    """Raise the first objection to the plan."""
    invocation.take_up(plan)
    raise_first(objections_to(plan, invocation.settings, now=datetime.now(UTC), lifting=lifting))


def _ask(invocation: Invocation) -> None:
    """Ask for confirmation; a JSON log gets the question as an event. Raises Abort unless the answer is yes."""
    if invocation.log_format != "json":
        click.confirm("Apply these changes?", abort=True, err=True)
        return
    logger.warning("Apply these changes? Answer y or n on standard input, or use --yes")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise click.Abort


def _tell_idle(plan: Plan, invocation: Invocation, *, output_format: str) -> None:
    results = [nothing_done(plan, shard) for shard in invocation.settings.databases.shards]
    invocation.note_results(results)
    logger.info("apply: nothing to do, the list was not modified since the last sync")
    if output_format != "table" or not logs_to_a_file(click.get_current_context()):
        click.echo(results_report(results, output_format=output_format))
