"""All that speaks against a plan, in one order. Pure."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from pyroaring import BitMap64

from chatsync.config.settings import Databases, Limits, Settings
from chatsync.core.client_sets import some, union
from chatsync.core.modtime import DictState, check_modtime, disabled_message
from chatsync.core.plan import Plan, Verdict, fingerprint
from chatsync.core.times import short_span
from chatsync.errors import ChatsyncError, DisabledError, OutOfDateError, RefusedError

FORCE = "--force"


ALLOW_EMPTY = "--allow-empty"


# Below this many clients off, `free` covers them all: a list of a handful may well change whole.
_FEW_OFF = 10


@dataclass(frozen=True)
class Refusal:
    """One reason why a plan is not applied, and the option that lifts it (None: none does)."""

    reason: str
    lifted_by: str | None

    def __str__(self) -> str:
        """Put reason and way out on one line."""
        way_out = f"{self.lifted_by} lifts it" if self.lifted_by else "no option lifts this"
        return f"{self.reason}; {way_out}"


def refusals(plan: Plan, limits: Limits) -> list[Refusal]:
    """List every limit that the plan breaks, in the order of the configuration.

    A plan whose sides were not read has no changes and breaks none. An undo comes from a record and
    no list, so nothing is asked of the list; how much it changes counts as for any plan.
    """
    if not plan.was_read:
        return []
    if plan.undo_of:
        return list(_too_many_changes(plan, limits))
    return [*_wrong_list(plan, limits), *_too_many_changes(plan, limits)]


def check_limits(plan: Plan, limits: Limits, *, lifting: Collection[str]) -> None:
    """Refuse the plan whole, with all reasons at once, unless the options given lift every one."""
    standing = [refusal for refusal in refusals(plan, limits) if refusal.lifted_by not in lifting]
    if standing:
        raise RefusedError("refused, nothing was written: " + " | ".join(map(str, standing)))


def _wrong_list(plan: Plan, limits: Limits) -> Iterator[Refusal]:
    """Find signs that the list is not the list: empty, lacking a known client, full of other things."""
    listed = plan.exclusions
    clients, rows = listed.clients or 0, listed.rows or 0
    if not clients:
        what = f"the exclusion list {listed.source} holds no client ({rows} rows)"
        yield Refusal(f"{what}: all {plan.off_now} that are off would be turned on", ALLOW_EMPTY)
    unchecked = set(limits.must_contain) - set(listed.present) - set(listed.missing)
    if unchecked:
        raise OutOfDateError("limits.must_contain has changed since")
    missing = BitMap64(set(listed.missing) & set(limits.must_contain))
    if missing:
        what = f"the list lacks {len(missing)} clients of limits.must_contain ({some(missing)})"
        yield Refusal(f"{what}: it is the wrong list", None)
    if _over(listed.rejected_count, limits.rejected_percent, rows):
        what = f"{listed.rejected_count} of {rows} rows hold no client id, {_share(listed.rejected_count, rows)}"
        yield Refusal(f"{what}, over limits.rejected_percent = {limits.rejected_percent:g}", FORCE)
    if _over(len(plan.unknown), limits.unknown_percent, clients):
        who = f"{len(plan.unknown)} of {clients} listed clients ({some(plan.unknown)})"
        what = f"{who} are on no shard, {_share(len(plan.unknown), clients)}"
        yield Refusal(f"{what}, over limits.unknown_percent = {limits.unknown_percent:g}", FORCE)


def _too_many_changes(plan: Plan, limits: Limits) -> Iterator[Refusal]:
    off_now = plan.off_now or 0
    # Clients, not rows: one may be off on more shards than one.
    on, off = union(plan.turn_on), union(plan.turn_off)
    mostly_on = off_now >= _FEW_OFF and len(on) * 2 > off_now
    percentages_count = len(on) + len(off) > limits.free or mostly_on
    for action, clients, percent, most in (
        ("turn_on", on, limits.turn_on_percent, limits.turn_on_max),
        ("turn_off", off, limits.turn_off_percent, limits.turn_off_max),
    ):
        count = len(clients)
        what = f"{action.replace('turn_', 'turning ')} {count} clients ({some(clients)})"
        if percentages_count and _over(count, percent, off_now):
            share = f"{_share(count, off_now)} of the {off_now} that are off now"
            yield Refusal(f"{what} is {share}, over limits.{action}_percent = {percent:g}", FORCE)
        if most is not None and count > most:
            yield Refusal(f"{what} is over limits.{action}_max = {most}", FORCE)


def _over(part: int, percent: float, whole: int) -> bool:
    return part * 100 > Decimal(str(percent)) * whole  # as written: 0.57 * 10000 is less than 5700 in binary


def _share(part: int, whole: int) -> str:
    if not whole:
        return "out of all proportion"
    percent = part * 100 / whole
    return f"{percent:.3g} %" if percent < 100 else f"{percent:.0f} %"  # noqa: PLR2004  # .3g would say 1.75e+03


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


def check_age(plan: Plan, *, now: datetime, max_age: float) -> None:
    """Refuse a plan that is older than `max_age` seconds, or that comes from the future."""
    age = now - plan.made_at
    if abs(age) <= timedelta(seconds=max_age):
        return
    when = f"{short_span(age)} {'old' if age > timedelta(0) else 'ahead of this clock'}"
    limit = short_span(timedelta(seconds=max_age))
    raise OutOfDateError(f"it is {when}, over limits.plan_max_age = {limit}")


def check_target(plan: Plan, *, feature: str, databases: Databases) -> None:
    """Refuse a plan that was made for another feature or for other databases."""
    if plan.feature.name != feature:
        raise OutOfDateError(f"it is for feature {plan.feature.name}, the configuration for {feature}")
    if plan.target != fingerprint(databases) or not {*plan.turn_off, *plan.turn_on} <= set(databases.shards):
        raise OutOfDateError("it is for other databases than [databases] names: shards, hosts or schemas differ")


def check_feature_id(plan: Plan, feature_id: int) -> None:
    """Refuse a plan whose feature has another id by now: its rows are not those that count."""
    if plan.feature.id != feature_id:
        raise OutOfDateError(f"feature {plan.feature.name} has id {feature_id}, in the plan {plan.feature.id}")
