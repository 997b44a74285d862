"""`chatsync apply`: make the changes of a plan."""

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import click

from chatsync.cancel_scope import CancelScope
from chatsync.commands.options import format_option
from chatsync.config.settings import Settings
from chatsync.core.modtime import check_modtime
from chatsync.core.objections import (
    ALLOW_EMPTY,
    FORCE,
    check_age,
    check_limits,
    check_target,
    check_verdict,
    objections,
)
from chatsync.core.plan import Plan, Verdict
from chatsync.core.results import nothing_done
from chatsync.invocation import Invocation
from chatsync.monitoring import metrics
from chatsync.progress import progress_bar
from chatsync.sync.plan_file import load
from chatsync.sync.report import diff_report, results_report


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
    help="Put back what this recorded run changed; the start or end of its id is enough.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Lift the limits, but for the empty list and must_contain.")
@click.option("--allow-empty", is_flag=True, help="Accept a list without a single client.")
@format_option("table", "json")
@click.pass_obj
def apply(
    invocation: Invocation,
    plan_file: Path | None,
    undone: str | None,
    output_format: str,
    *,
    yes: bool,
    force: bool,
    allow_empty: bool,
) -> None:
    """Make the changes of a plan in clients_features, batch by batch on all shards.

    Refuses a plan that is over a limit or no longer true. Ends with what was done on each shard,
    also when something failed.

    --undo touches only clients that are still as RUN left them, and lists the others. The limits on
    changes hold for it as well; those on the list don't, as an undo reads none.
    """
    if plan_file and undone is not None:
        msg = "--undo makes a plan of its own; give one of --plan and --undo"
        raise click.UsageError(msg)
    lifting = [option for option, given in ((FORCE, force), (ALLOW_EMPTY, allow_empty)) if given]
    with invocation.begin() as (settings, scope):
        if plan_file:
            plan = load(plan_file)
        elif undone is not None:  # an empty one is no run, and no word for a whole sync
            invocation.is_step = False
            plan = _plan_of_undo(undone, invocation, settings, scope, lifting=lifting)
        else:
            plan = _plan_of_now(invocation, settings, scope, lifting=lifting)
        invocation.trace_id = plan.trace_id
        check_target(plan, feature=settings.feature.name, databases=settings.databases)
        check_age(plan, now=datetime.now(UTC), max_age=settings.limits.plan_max_age)
        check_verdict(plan)
        check_limits(plan, settings.limits, lifting=lifting)
        if not plan_file and not yes and plan.changes:
            click.confirm("Apply these changes?", abort=True, err=True)
        _apply(plan, invocation, settings, scope, output_format=output_format)


def _plan_of_now(invocation: Invocation, settings: Settings, scope: CancelScope, *, lifting: Collection[str]) -> Plan:
    """Make a plan and show it on standard error: standard output is for what was done."""
    from chatsync.sync.planner import make_plan  # late, like the applier below

    off: dict[int, int] = {}
    plan, state = make_plan(
        settings,
        scope,
        trace_id=invocation.trace_id,
        if_modified=False,
        progress=progress_bar,
        count_off=off.__setitem__,
    )
    invocation.note(metrics.of_diff(plan, now=state.now, off=off))
    against = objections(plan, settings, now=datetime.now(UTC), state=state, lifting=lifting)
    click.echo(diff_report(plan, objections=against, modtime=state, output_format="table", limit=None), err=True)
    check_modtime(seen=plan.seen_modtime, state=state, list_time=plan.list_time)
    return plan


def _plan_of_undo(
    undone: str, invocation: Invocation, settings: Settings, scope: CancelScope, *, lifting: Collection[str]
) -> Plan:
    """Make the plan that puts back what a recorded run changed, and show it as `_plan_of_now` does."""
    from chatsync.sync.records import Records
    from chatsync.sync.undo import make_undo
    from chatsync.sync.undo_report import undo_report

    record = Records(settings.records).find(undone)
    undo, state = make_undo(record, settings, scope, trace_id=invocation.trace_id)
    against = objections(undo.plan, settings, now=datetime.now(UTC), state=state, lifting=lifting)
    click.echo(undo_report(undo, record, objections=against), err=True)
    check_modtime(seen=undo.plan.seen_modtime, state=state, list_time=undo.plan.list_time)
    return undo.plan


def _apply(plan: Plan, invocation: Invocation, settings: Settings, scope: CancelScope, *, output_format: str) -> None:
    if plan.verdict is Verdict.NOT_MODIFIED:
        results = [nothing_done(plan, shard) for shard in settings.databases.shards]
        # And no more: what an earlier plan was refused, or left undone, it still is.
        invocation.note(metrics.of_changes(results))
        click.echo(results_report(results, output_format=output_format))
        return
    # Late: a run with nothing to do pays for no driver.
    from chatsync.databases.job_lock import job_lock
    from chatsync.sync.applier import Guard, apply_plan, check_homes, failure
    from chatsync.sync.recorder import Recorder

    with job_lock(settings, scope) as lock:
        guard = Guard(plan=plan, lock=lock, scope=scope)
        guard.may_begin()
        check_homes(plan, settings=settings, scope=scope)
        recorder = Recorder(settings, plan)
        # Once something may be written, a signal must not keep the record from being written too.
        with scope.shielded():
            recorder.start()
            with progress_bar("applying", plan.changes) as advance:
                results = apply_plan(plan, settings=settings, scope=scope, guard=guard, progress=advance)
            invocation.note(metrics.of_results(results))
            error = recorder.end(results, failure(plan, results, scope=scope, guard=guard))
    click.echo(results_report(results, output_format=output_format))
    if error is not None:
        raise error
