"""`chatsync set-modtime`: record a list as synced, or switch the job off and on."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import click

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core.modtime import DISABLED_FOREVER, NEVER
from chatsync.core.objections import check_age, check_feature_id, check_target, check_verdict
from chatsync.core.plan import Plan, Verdict
from chatsync.core.times import format_time, parse_time
from chatsync.invocation import Invocation
from chatsync.monitoring import metrics
from chatsync.sync.plan_file import load

logger = logging.getLogger(__name__)


@click.command()
@click.argument("time", required=False)
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The list's time in this plan, once its changes are seen in the databases.",
)
@click.option("--disable", is_flag=True, help="Switch the job off: 9999-12-31.")
@click.option("--reset", is_flag=True, help="Let the next run sync again: 1970-01-01.")
@click.pass_obj
def set_modtime(
    invocation: Invocation, time: str | None, plan_file: Path | None, *, disable: bool, reset: bool
) -> None:
    """Set the mod-time: the modification time of the list that was last synced in full.

    TIME is ISO 8601, a date alone is its midnight, and without an offset it is in
    modtime.timezone. A TIME in the future switches the job off until then.
    """
    invocation.is_step = plan_file is not None
    if sum((time is not None, plan_file is not None, disable, reset)) != 1:
        msg = "give one of TIME, --plan, --disable and --reset"
        raise click.UsageError(msg)
    with invocation.begin() as (settings, scope):
        if plan_file:
            click.echo(_record(load(plan_file), settings, scope, invocation))
        else:
            value = _operators_time(time, settings, disable=disable)
            click.echo(_set(value, settings, scope))
            invocation.note(metrics.of_modtime(value, now=datetime.now(UTC)))


def _operators_time(text: str | None, settings: Settings, *, disable: bool) -> datetime:
    if text is None:
        return DISABLED_FOREVER if disable else NEVER
    try:
        return parse_time(text, timezone=settings.timezone)
    except ValueError:
        msg = f"{text!r} is not an ISO 8601 time such as 2026-11-23T10:15:00Z or 2026-11-23"
        raise click.BadParameter(msg, param_hint="TIME") from None


def _set(value: datetime, settings: Settings, scope: CancelScope) -> str:
    from chatsync.databases.dict_database import DictDatabase  # late: see _record

    with DictDatabase(settings, scope, writable=True) as dict_database:
        dict_database.set_modtime(value)
    logger.info("mod-time set to %s by hand", format_time(value), extra={"modtime": format_time(value)})
    return f"mod-time set to {format_time(value)}"


def _record(plan: Plan, settings: Settings, scope: CancelScope, invocation: Invocation) -> str:
    """Move the mod-time to the plan's list, last of all, when everything else is known to be there."""
    invocation.trace_id = plan.trace_id
    check_target(plan, feature=settings.feature.name, databases=settings.databases)
    check_age(plan, now=datetime.now(UTC), max_age=settings.limits.plan_max_age)
    check_verdict(plan)
    if plan.verdict is Verdict.NOT_MODIFIED:
        return "nothing to record: the list was not modified since the last sync"
    # Late: a run with nothing to do pays for no driver.
    from chatsync.databases.dict_database import DictDatabase
    from chatsync.sync.mark_synced import check_changes_are_there

    with DictDatabase(settings, scope, writable=True) as dict_database:
        dict_database.check_enabled()
        check_feature_id(plan, dict_database.state().feature_id)
        check_changes_are_there(plan, settings, scope)
        moved = dict_database.advance_modtime(plan.list_time, seen=plan.seen_modtime)
    invocation.note(metrics.of_modtime(plan.list_time, now=datetime.now(UTC)))
    value = format_time(plan.list_time)
    done = f"mod-time {'moved to' if moved else 'is already'} {value}"
    event = {"changes": plan.changes, "modtime": value}
    logger.info("%s: all %d changes are in place, %s", settings.modtime.property, plan.changes, done, extra=event)
    return done
