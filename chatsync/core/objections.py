"""All reasons to refuse a plan, in the one order in which `apply` checks them. Pure."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from pyroaring import BitMap64

from chatsync.config.settings import Databases, Limits, Settings
from chatsync.core.client_sets import count_of, counted, some, some_of
from chatsync.core.export import export_objections
from chatsync.core.modtime import DictState, check_modtime, disabled_message
from chatsync.core.odd_list import form_of
from chatsync.core.plan import Plan, PlanExclusions, Verdict, fingerprint
from chatsync.core.times import short_span
from chatsync.errors import ChatsyncError, DisabledError, ExitCode, OutOfDateError, RefusedError

FORCE = "--force"

ALLOW_EMPTY = "--allow-empty"

_CORRECT_LIST = "correct the list, or exclusions.column"

# With fewer clients off than this, `free` covers all of them: a very short list may well change as a whole.
_FEW_OFF = 10


@dataclass(frozen=True, kw_only=True)
class Objection:
    """One reason to refuse a plan: the error, and the option that overrides it (None if no option does).

    `is_lifted`: that option was given, so this objection does not refuse the plan. `limit` is the key of the
    exceeded limit in its section, or `empty` or `no_ids`; empty if it is not about a limit.
    """

    error: ChatsyncError
    limit: str = ""
    lifted_by: str | None = None
    is_lifted: bool = False

    @property
    def reason(self) -> str:
        """The reason with its numbers and the way out, on one line."""
        return str(self.error)

    @property
    def exit_code(self) -> int:
        """The exit code of a command that ends with this objection."""
        return self.error.exit_code


def objections_to(
    plan: Plan, settings: Settings, *, now: datetime, state: DictState | None = None, lifting: Collection[str] = ()
) -> list[Objection]:
    """List the objections to applying the plan now; `apply` ends with the first that no given option overrides.

    `now` is this machine's clock. `state` is None if the databases are not asked. `lifting` are the
    given options that override limits.
    """
    return [
        *plan_objections(plan, settings, now=now),
        *limit_objections(plan, settings.limits, lifting=lifting),
        *(state_objections(plan, state) if state else ()),
    ]


def raise_first(found: Iterable[Objection]) -> None:
    """Raise the first objection that is not overridden. All exceeded limits are named in one error."""
    standing = [objection for objection in found if not objection.is_lifted]
    if not standing:
        return
    if standing[0].exit_code != ExitCode.REFUSED:
        raise standing[0].error
    reasons = [objection.reason for objection in standing if objection.exit_code == ExitCode.REFUSED]
    raise RefusedError("refused, nothing was written: " + " | ".join(reasons))


def plan_objections(plan: Plan, settings: Settings, *, now: datetime) -> list[Objection]:
    """List the objections found in the plan itself: another feature or databases, its age, a disabled job."""
    max_age = timedelta(seconds=settings.limits.plan_max_age)
    errors = (
        *_wrong_target(plan, feature=settings.feature.name, databases=settings.databases),
        *_wrong_age(now - plan.made_at, max_age=max_age),
        *_disabled(plan),
        *export_objections(plan, now=now, limits=settings.limits),
    )
    return [Objection(error=error) for error in errors]


def state_objections(plan: Plan, state: DictState) -> list[Objection]:
    """List the objections found in the dict database: another feature id, the kill switch, a changed mod-time.

    A plan made without reading both sides changes nothing, so there is no objection to it.
    """
    if not plan.was_read:
        return []
    found = feature_objections(plan, state)
    try:
        check_modtime(seen=plan.seen_modtime, state=state, list_time=plan.list_time)
    except ChatsyncError as error:
        found.append(Objection(error=error))
    return found


def feature_objections(plan: Plan, state: DictState) -> list[Objection]:
    """Return an objection if the feature now has another id: then the plan is about other rows."""
    if plan.feature.id == state.feature_id:
        return []
    ids = f"feature {plan.feature.name} has id {state.feature_id}, but the plan says {plan.feature.id}"
    return [Objection(error=OutOfDateError(ids))]


def _wrong_target(plan: Plan, *, feature: str, databases: Databases) -> Iterator[ChatsyncError]:
    if plan.feature.name != feature:
        yield OutOfDateError(f"it is for feature {plan.feature.name}, but the configuration is for {feature}")
    if plan.target != fingerprint(databases) or not {*plan.turn_off, *plan.turn_on} <= set(databases.shards):
        yield OutOfDateError("it is not for the databases in [databases]: shards, hosts or schemas differ")


def _wrong_age(age: timedelta, *, max_age: timedelta) -> Iterator[ChatsyncError]:
    if abs(age) > max_age:
        when = f"{short_span(age)} {'old' if age > timedelta(0) else 'ahead of this clock'}"
        yield OutOfDateError(f"it is {when}, over limits.plan_max_age = {short_span(max_age)}")


def _disabled(plan: Plan) -> Iterator[ChatsyncError]:
    if plan.verdict is Verdict.DISABLED and plan.seen_modtime is not None:
        yield DisabledError(disabled_message(plan.seen_modtime))


def limit_objections(plan: Plan, limits: Limits, *, lifting: Collection[str] = ()) -> Sequence[Objection]:
    """List every limit that the plan breaks, in the order of the configuration.

    A plan made without reading both sides has no changes and breaks no limit. An undo comes from a
    record and not from a list, so only the limits on changes apply to it.
    """
    if not plan.was_read:
        return []
    about_list = [] if plan.undo_of else _wrong_list(plan, limits, lifting)
    return [*about_list, *_too_many_changes(plan, limits, lifting)]


def _refusal(what: str, limit: str, lifted_by: str | None, lifting: Collection[str]) -> Objection:
    way_out = f"{lifted_by} overrides it" if lifted_by else "no option overrides it"
    error = RefusedError(f"{what}; {way_out}")
    return Objection(error=error, limit=limit, lifted_by=lifted_by, is_lifted=lifted_by in lifting)


def _wrong_list(plan: Plan, limits: Limits, lifting: Collection[str]) -> Iterator[Objection]:
    """Find signs that this is the wrong list: it is empty, or lacks a known client, or most rows are no client ids."""
    listed = plan.exclusions
    clients, rows = listed.clients or 0, listed.rows or 0
    if not rows:
        what = f"the exclusion list {listed.source} holds no client (0 rows)"
        yield _refusal(f"{what}: all {plan.off_now} that are off would be turned on", "empty", ALLOW_EMPTY, lifting)
    elif not clients:
        what = f"none of the {counted(rows, 'row')} of {listed.source} holds a client id: {form_of(listed.rejected)}"
        yield _refusal(f"{what}; {_CORRECT_LIST}", "no_ids", None, lifting)
    if set(limits.must_contain) - set(listed.present) - set(listed.missing):
        yield Objection(error=OutOfDateError("limits.must_contain has changed since"))
    missing = BitMap64(set(listed.missing) & set(limits.must_contain))
    if missing:
        what = f"the list lacks {counted(len(missing), 'client')} of limits.must_contain ({some(missing)})"
        yield _refusal(f"{what}: it is the wrong list", "must_contain", None, lifting)
    if clients and are_too_many_rejected(listed.rejected_count, rows, limits):
        yield _too_many_rejected(listed, rows, limits, lifting)
    if _too_many(len(plan.unknown), limits.unknown_percent, clients, free=limits.free):
        which = f"{len(plan.unknown)} of {counted(clients, 'listed client')} ({some(plan.unknown)})"
        what = f"{which} are on no shard, {_share(len(plan.unknown), clients)}"
        yield _refusal(
            f"{what}, over limits.unknown_percent = {limits.unknown_percent:g}", "unknown_percent", FORCE, lifting
        )


def are_too_many_rejected(count: int, rows: int, limits: Limits) -> bool:
    """Whether so many rows without a client id, of all rows of a list, are over the limit."""
    return _too_many(count, limits.rejected_percent, rows, free=limits.free)


def _too_many_rejected(listed: PlanExclusions, rows: int, limits: Limits, lifting: Collection[str]) -> Objection:
    """Return the objection to rejected rows; if they are most of the list, it says what is probably wrong with it."""
    count = listed.rejected_count
    limit = f"limits.rejected_percent = {limits.rejected_percent:g}"
    what = f"{count} of {counted(rows, 'row')} hold no client id, {_share(count, rows)}, over {limit}"
    if count * 2 <= rows:
        return _refusal(what, "rejected_percent", FORCE, lifting)
    error = RefusedError(f"{what}: {form_of(listed.rejected)}", way_out=_CORRECT_LIST)
    return Objection(error=error, limit="rejected_percent", lifted_by=FORCE, is_lifted=FORCE in lifting)


def _too_many_changes(plan: Plan, limits: Limits, lifting: Collection[str]) -> Iterator[Objection]:
    off_now = plan.off_now or 0
    on, off = count_of(plan.turn_on), count_of(plan.turn_off)
    # Strays are added, so that a plan with many of them can't fall below the number that `free` covers.
    mostly_on = off_now + sum(plan.stray_counts.values()) >= _FEW_OFF and on * 2 > off_now
    percentages_count = on + off > limits.free or mostly_on
    for action, count, sets, percent, most in (
        ("turn_on", on, plan.turn_on, limits.turn_on_percent, limits.turn_on_max),
        ("turn_off", off, plan.turn_off, limits.turn_off_percent, limits.turn_off_max),
    ):
        few = some_of(sets)
        what = f"{action.replace('turn_', 'turning ')} {counted(count, 'client')} ({few})"
        if percentages_count and _over(count, percent, off_now):
            share = f"{_share(count, off_now)} of the {off_now} that are off now"
            yield _refusal(
                f"{what} is {share}, over limits.{action}_percent = {percent:g}", f"{action}_percent", FORCE, lifting
            )
        if most is not None and count > most:
            yield _refusal(f"{what} is over limits.{action}_max = {most}", f"{action}_max", FORCE, lifting)


def _too_many(part: int, percent: float, whole: int, *, free: int) -> bool:
    """Decide whether too much of the list is affected; up to `free` are exempt, unless they are more than half."""
    return _over(part, percent, whole) and (part > free or part * 2 > whole)


def _over(part: int, percent: float, whole: int) -> bool:
    return part * 100 > Decimal(str(percent)) * whole  # as written: 0.57 * 10000 is less than 5700 in binary


def _share(part: int, whole: int) -> str:
    if not whole:
        return "more than any percentage"
    percent = part * 100 / whole
    return f"{percent:.3g} %" if percent < 100 else f"{percent:.0f} %"  # noqa: PLR2004  # .3g would say 1.75e+03
