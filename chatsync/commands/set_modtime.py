"""`chatsync set-modtime`: mark a list as synced, or switch the job off and on."""

import logging
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import click

from chatsync.commands.options import begin, logs_to_a_file
from chatsync.core import (
    DISABLED_FOREVER,
    NEVER,
    Plan,
    Verdict,
    effect,
    format_time,
    parse_time,
    plan_objections,
    raise_first,
)
from chatsync.invocation import Invocation
from chatsync.sync.plan_file import load

logger = logging.getLogger(__name__)


@click.command()
@click.argument("time", required=False)
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Mark the list of this plan as synced, if all its changes are in the databases.",
)
@click.option("--disable", is_flag=True, help="Disable the job: 9999-12-31.")
@click.option("--reset", is_flag=True, help="Let the next run sync again: 1970-01-01.")
@click.option("--reason", metavar="TEXT", help="Why you do this: kept in the step log, shown by `status` and `check`.")
@click.pass_obj
def set_modtime(
    invocation: Invocation,
    time: str | None,
    plan_file: Path | None,
    reason: str | None,
    *,
    disable: bool,
    reset: bool,
) -> None:
    """Set the mod-time: the modification time of the list that was last synced in full.

    TIME is in ISO 8601; a date alone means midnight. A TIME without an offset is in
    modtime.timezone. A TIME in the future switches the job off until then.
    """
    invocation.is_step = plan_file is not None
    if sum((time is not None, plan_file is not None, disable, reset)) != 1:
        raise click.UsageError("give exactly one of TIME, --plan, --disable and --reset")
    if plan_file and reason:
        raise click.UsageError("--reason is for a mod-time that is set by hand")
    with begin(invocation) as (settings, scope):
        plan = _taken(plan_file, invocation) if plan_file else None
        if plan and plan.verdict is Verdict.NOT_MODIFIED:
            _tell_idle()
            return
        value = plan.list_time if plan else _operators_time(time, settings.timezone, disable=disable)
        from chatsync.sync.mark_synced import mark_synced, set_by_hand  # late: nothing to do, no driver

        if plan:
            moved = mark_synced(plan, settings, scope)
            invocation.note_modtime(value, now=datetime.now(UTC))
            click.echo(f"mod-time {'moved to' if moved else 'is already'} {format_time(value)}")
        else:
            now = set_by_hand(value, settings, scope)
            invocation.note_modtime(value, now=now, reason=reason)
            click.echo(f"mod-time set to {format_time(value)}\n{effect(value, now=now)}")


def _operators_time(text: str | None, timezone: tzinfo, *, disable: bool) -> datetime:
    if text is None:
        return DISABLED_FOREVER if disable else NEVER
    try:
        return parse_time(text, timezone=timezone)
    except ValueError:
        wrong = f"{text!r} is not an ISO 8601 time such as 2026-11-23T10:15:00Z or 2026-11-23"
        raise click.BadParameter(wrong, param_hint="TIME") from None


def _taken(plan_file: Path, invocation: Invocation) -> Plan:
    """Load a plan and raise the first objection to it."""
    plan = load(plan_file)
    invocation.take_up(plan)
    raise_first(plan_objections(plan, invocation.settings, now=datetime.now(UTC)))
    return plan


def _tell_idle() -> None:
    done = "nothing to mark: the list was not modified since the last sync"
    logger.info("set-modtime: %s", done)
    if not logs_to_a_file(click.get_current_context()):
        click.echo(done)
