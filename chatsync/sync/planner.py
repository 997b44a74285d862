"""Making a plan: read the list and the feature state and compare them. Writes nothing."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import msgspec
from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import (
    DictState,
    ExclusionList,
    Ids,
    IdsByShard,
    Keep,
    ListVersion,
    ModTimeState,
    Plan,
    PlanFeature,
    Sides,
    Verdict,
    counted,
    diff_verdict,
    fingerprint,
    format_time,
    list_part,
    modtime_state,
    rows_after,
)
from chatsync.databases.dict_database import DictDatabase
from chatsync.databases.homes import read_homes
from chatsync.databases.places import Place, check_are_different
from chatsync.databases.shard_database import ShardDatabase, on_every_shard
from chatsync.errors import ChangedError, ChatsyncError, ConfigError
from chatsync.exclusions import ListSource, open_list, prepare_list, read_list
from chatsync.memory import return_large_blocks
from chatsync.parallel import Later, SideBySide
from chatsync.sync.from_export import open_export, plan_from_export

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A plan, with the state of the dict database that was read before everything else."""

    plan: Plan
    state: DictState


@dataclass(frozen=True, kw_only=True)
class ShardRows:
    """The clients that are off on a shard, and which database it is."""

    off: Ids
    place: Place


def make_plan(
    settings: Settings,
    scope: CancelScope,
    *,
    trace_id: str,
    if_modified: bool,
    live: bool = False,
    keep: Keep | None = None,
) -> Planned:
    """Compare the list with the feature state and make a plan of the difference.

    With `if_modified` the comparison is skipped if the list is already synced or the job is disabled.
    With `live` the state is read from the databases even if an export is configured. `keep` is called with
    every rejected row of the list; the plan has the first of them.
    """
    from_export = bool(settings.export.path) and not live
    feature: Later[int] = Later()
    with DictDatabase(settings, scope) as dict_database:
        try:
            # Before the feature is known: their logins take as long as that of the dict database.
            shards = None if if_modified or from_export else _read_shards(settings, scope, feature)
            prepared = prepare_list(settings)
            state = dict_database.state()
            prepared.get()
        except BaseException as error:
            feature.fail(error)
            raise
        feature.give(state.feature_id)
        make = partial(_make_once, settings, scope, state, over=dict_database, from_export=from_export)
        make = partial(make, shards=shards, feature=feature, keep=keep)
        if from_export:  # a clique cannot be forced to read one version; that it read another one is only detected
            again, attempt = _is_changed, partial(make, trace_id=trace_id, if_modified=if_modified)
            plan = scope.retry(attempt, what="compare list and export", is_transient=again)
        else:
            plan = make(trace_id=trace_id, if_modified=if_modified)
    _log(plan)
    return Planned(plan=plan, state=state)


def _is_changed(error: BaseException) -> bool:
    return isinstance(error, ChangedError)


def _make_once(
    settings: Settings,
    scope: CancelScope,
    state: DictState,
    *,
    over: DictDatabase,
    shards: SideBySide[int, ShardRows] | None,
    feature: Later[int],
    from_export: bool,
    trace_id: str,
    if_modified: bool,
    keep: Keep | None,
) -> Plan:
    try:
        with open_list(settings, scope) as source:
            skip = _verdict_unread(source.version, state) if if_modified else None
            plan = _plan(settings, source.version, state, verdict=skip or Verdict.IN_SYNC, trace_id=trace_id)
            if skip is None and from_export:
                if settings.export.clique:  # reading an export here takes the same blocks again and again
                    return_large_blocks()
                export = open_export(settings, scope, source.cluster)
                read = partial(_read_list, source, keep)
                plan = plan_from_export(plan, export, state, read, settings=settings, scope=scope, keep=keep)
            if skip is not None or plan.state_from is not None:
                return plan
            shards = shards or _read_shards(settings, scope, feature)
            listed = _read_list(source, keep)
            rows = shards.results(scope)
            check_are_different(settings, scope, {shard: there.place for shard, there in rows.items()})
            off = {shard: there.off for shard, there in rows.items()}
            found = {shard: there.place.clients for shard, there in rows.items()}
            made = compare(settings, scope, state, listed, off, found=found, over=over, trace_id=trace_id)
            return msgspec.structs.replace(made, export=plan.export)
    except ChatsyncError as error:
        if shards is not None:
            shards.cancel(scope, error)  # there will be no comparison
        raise


def compare(
    settings: Settings,
    scope: CancelScope,
    state: DictState,
    listed: ExclusionList,
    off: Mapping[int, Ids],
    *,
    found: IdsByShard | None = None,
    over: DictDatabase | None = None,
    trace_id: str,
) -> Plan:
    """Make the plan from both sides; `off` has an entry for each configured shard.

    `found` are some clients that have a row on each shard, off or not. `over` is an open connection to the dict
    database. Raises ConfigError if most of those on a shard live on another one: then its URL leads to the wrong
    shard.
    """
    sides = Sides(listed.ids, off, found)
    pieces = read_homes(settings, scope, sides, sides.compare, over=over.database if over else None)
    for shard, elsewhere in sides.misplaced(pieces):
        url = settings.databases.shards[shard]
        raise ConfigError(f"databases.shards.{shard}: {url} is not shard {shard}: {elsewhere}")
    diff = sides.diff(pieces)
    unread = _plan(settings, listed.version, state, verdict=diff_verdict(diff), trace_id=trace_id)
    return msgspec.structs.replace(
        unread,
        exclusions=list_part(listed.version, listed, settings.limits.must_contain),
        off_now=diff.off_now,
        turn_off=diff.turn_off,
        turn_on=diff.turn_on,
        unknown=diff.unknown,
        strays=diff.strays,
        off_before=diff.off_before,
        off_after=rows_after(diff.off_before, turn_off=diff.turn_off, turn_on=diff.turn_on),
    )


def _log(plan: Plan) -> None:
    """Log what the diff found; counts are null if the sides were not read."""
    counts = {
        "clients": plan.exclusions.clients,
        "off": plan.off_now,
        **plan.counts,
        "strays": sum(plan.stray_counts.values()),
    }
    shown = ", ".join(f"{key.replace('_', ' ')} {count}" for key, count in counts.items() if count is not None)
    found = shown if plan.was_read else "nothing was read"
    logger.info("diff: %s, %s", plan.verdict.value, found, extra={"verdict": plan.verdict.value, **counts})


def _verdict_unread(version: ListVersion, state: DictState) -> Verdict | None:
    """Return the verdict if the mod-time alone decides it; None if both sides must be read."""
    known = {
        ModTimeState.DISABLED: Verdict.DISABLED,
        ModTimeState.SYNCED: Verdict.NOT_MODIFIED,
        ModTimeState.LIST_IS_OLDER: Verdict.NOT_MODIFIED,
    }
    return known.get(modtime_state(state, list_time=version.modified))


def _read_shards(settings: Settings, scope: CancelScope, feature: Later[int]) -> SideBySide[int, ShardRows]:
    """Start reading all shards in threads, while the main thread reads the list."""
    return_large_blocks()
    return on_every_shard(settings, scope, partial(_read_shard, feature=feature))


def _read_list(source: ListSource, keep: Keep | None) -> ExclusionList:
    listed = read_list(source, keep)
    numbers = {"rows": listed.rows, "clients": len(listed.ids), "rejected": listed.rejected_count}
    clients, rows = counted(len(listed.ids), "client"), counted(listed.rows, "row")
    logger.info("%s: %s in %s", source.version.source, clients, rows, extra=numbers)
    return listed


def _read_shard(shard: ShardDatabase, *, feature: Later[int]) -> ShardRows:
    """Return the clients that are off there. Raises DatabaseError for a shard where nothing may be written."""
    began = time.monotonic()
    shard.open()
    feature_id = feature.get()
    shard.database.close_if_idle()
    off, place = shard.read_off_and_place(feature_id)
    seconds = time.monotonic() - began
    event = {"shard": shard.number, "off": len(off), "seconds": round(seconds, 3)}
    logger.info("shard %d: %s off, read in %.1f s", shard.number, counted(len(off), "client"), seconds, extra=event)
    return ShardRows(off=off, place=place)


def _plan(settings: Settings, version: ListVersion, state: DictState, *, verdict: Verdict, trace_id: str) -> Plan:
    """Make a plan without changes, from what is known before the sides are read."""
    return Plan(
        created_at=format_time(datetime.now(UTC)),
        verdict=verdict,
        feature=PlanFeature(name=settings.feature.name, id=state.feature_id),
        exclusions=list_part(version, None, settings.limits.must_contain),
        modtime=format_time(state.modtime) if state.modtime else None,
        off_now=None,
        turn_off={shard: BitMap64() for shard in settings.databases.shards},
        turn_on={shard: BitMap64() for shard in settings.databases.shards},
        unknown=BitMap64(),
        off_before=None,
        off_after=None,
        target=fingerprint(settings.databases),
        trace_id=trace_id,
    )
