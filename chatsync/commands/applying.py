"""The part of `apply` that needs the databases: a plan that is made now and shown, and the apply itself."""

import logging
from collections.abc import Collection
from datetime import UTC, datetime

import click

from chatsync.commands.options import echo
from chatsync.core import Plan, ShardResult, objections_to, raise_first
from chatsync.invocation import Invocation
from chatsync.sync.applier import apply_plan
from chatsync.sync.left_out import LeftOut
from chatsync.sync.planner import make_plan
from chatsync.sync.report import diff_report, results_report
from chatsync.sync.undo import make_undo, undo_report

logger = logging.getLogger(__name__)


def make_shown_plan(undone: str | None, invocation: Invocation, *, lifting: Collection[str], live: bool) -> Plan:
    """Make a new plan, or the plan of an undo, show it, and raise the first objection to it.

    `undone` is the run to undo; None means a new plan. An empty name is an unknown run, not a new plan.
    """
    if undone is None:
        return _plan_of_now(invocation, lifting=lifting, live=live)
    return _plan_of_undo(undone, invocation, lifting=lifting)


def _plan_of_now(invocation: Invocation, *, lifting: Collection[str], live: bool) -> Plan:
    """Make a new plan and show it on standard error, because standard output is for the result of the apply."""
    settings, scope, trace_id = invocation.settings, invocation.scope, invocation.trace_id
    with LeftOut(settings) as left_out:
        made = make_plan(settings, scope, trace_id=trace_id, if_modified=False, live=live, keep=left_out.keep)
        left_out.tell_owners(made.plan, scope)
    invocation.take_up(made.plan, seen_at=made.state.now)
    found = objections_to(made.plan, settings, now=datetime.now(UTC), state=made.state, lifting=lifting)
    report = diff_report(made.plan, objections=found, modtime=made.state, output_format="table", limit=None)
    _show(report, invocation)
    raise_first(found)
    return made.plan


def _plan_of_undo(undone: str, invocation: Invocation, *, lifting: Collection[str]) -> Plan:
    """Make the plan that takes back what a recorded run changed, and show it as `_plan_of_now` does."""
    invocation.is_step = False
    settings = invocation.settings
    undo, state = make_undo(undone, settings, invocation.scope, trace_id=invocation.trace_id)
    found = objections_to(undo.plan, settings, now=datetime.now(UTC), state=state, lifting=lifting)
    _show(undo_report(undo, objections=found), invocation)
    raise_first(found)
    return undo.plan


def _show(report: str, invocation: Invocation) -> None:
    """Show the planned changes on standard error; in a JSON log, as a field of one event."""
    if invocation.log_format == "json":
        logger.info("the changes to apply", extra={"report": report})
    else:
        echo(report, err=True)


def apply_and_show(plan: Plan, invocation: Invocation, *, lifting: Collection[str], output_format: str) -> None:
    """Apply the plan and show what was done, also when something failed."""
    results: list[ShardResult] = []
    try:
        apply_plan(plan, invocation.settings, invocation.scope, lifting=lifting, results=results)
    finally:
        if results:
            invocation.note_results(results)
            click.echo(results_report(results, output_format=output_format))
