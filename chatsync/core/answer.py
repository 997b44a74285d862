"""What `apply` will answer to a plan, told beforehand by `diff` and `show`."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from chatsync.config.settings import Settings
from chatsync.core.diff import DictState, check_modtime, disabled_message
from chatsync.core.limits import refusals
from chatsync.core.plan import Plan, Verdict, check_age, check_target
from chatsync.errors import ChatsyncError, DisabledError, RefusedError


@dataclass(frozen=True, kw_only=True)
class Objection:
    """One reason why `apply` would not take the plan, and the exit code it would end with.

    `is_lifted` where an option that was given lifts it, and `apply` takes the plan all the same.
    """

    reason: str
    exit_code: int
    is_lifted: bool = False


def check_verdict(plan: Plan) -> None:
    """Refuse a plan that says no more than that the job is disabled."""
    if plan.verdict is Verdict.DISABLED and plan.seen_modtime is not None:
        raise DisabledError(disabled_message(plan.seen_modtime))


def objections(
    plan: Plan, settings: Settings, *, now: datetime, state: DictState | None, lifting: Collection[str] = ()
) -> list[Objection]:
    """List what speaks against applying the plan now.

    `now` is this machine's clock; `state` is None where the databases are not to be asked; `lifting`
    are the options given that lift limits.
    """
    return list(_objections(plan, settings, now=now, state=state, lifting=lifting))


def _objections(
    plan: Plan, settings: Settings, *, now: datetime, state: DictState | None, lifting: Collection[str]
) -> Iterator[Objection]:
    """Go in the order of `apply`, so that the first one's exit code is that of `apply`."""
    yield from _objection(lambda: check_target(plan, feature=settings.feature.name, databases=settings.databases))
    yield from _objection(lambda: check_age(plan, now=now, max_age=settings.limits.plan_max_age))
    yield from _objection(lambda: check_verdict(plan))
    yield from _broken_limits(plan, settings, lifting)
    if state is not None and plan.was_read:
        yield from _objection(lambda: check_modtime(seen=plan.seen_modtime, state=state, list_time=plan.list_time))


def _objection(check: Callable[[], None]) -> Iterator[Objection]:
    try:
        check()
    except ChatsyncError as error:
        yield Objection(reason=str(error), exit_code=error.exit_code)


def _broken_limits(plan: Plan, settings: Settings, lifting: Collection[str]) -> Iterator[Objection]:
    try:
        broken = refusals(plan, settings.limits)
    except ChatsyncError as error:
        yield Objection(reason=str(error), exit_code=error.exit_code)
    else:
        for refusal in broken:
            lifted = refusal.lifted_by in lifting
            yield Objection(reason=str(refusal), exit_code=RefusedError.exit_code, is_lifted=lifted)
