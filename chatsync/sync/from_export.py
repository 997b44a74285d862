"""A plan whose feature state comes from an export: only the differences are looked up in the databases.

So limits, counts and records mean the same as for any other plan. Clients on which export and list agree are not looked
up.
"""

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import (
    DictState,
    ExclusionList,
    IdsByShard,
    Keep,
    Plan,
    PlanExport,
    compute_diff,
    diff_verdict,
    short_time,
    stale,
    union,
    why_unusable,
)
from chatsync.databases.homes import find_homes
from chatsync.databases.last_apply import read_last_apply
from chatsync.export.source import Comparison, ExportSource
from chatsync.progress import progress_bar
from chatsync.sync.export_checks import confirm

logger = logging.getLogger(__name__)


def plan_from_export(
    unread: Plan,
    scope: CancelScope,
    state: DictState,
    cluster: Any,
    read_list: Callable[[], ExclusionList],
    *,
    settings: Settings,
    keep: Keep | None,
) -> Plan:
    """Return the plan; or `unread` with the reason why the export is not used and the databases must be read.

    Raises RefusedError instead if export.when_stale is "refuse", and SourceError for an incomplete export.
    """
    last_apply = read_last_apply(settings, scope)
    export = ExportSource(settings, scope, cluster)
    part = export.part(last_apply)
    why = why_unusable(export.as_of, last_apply=last_apply, now=state.now, limits=settings.limits)
    if why:
        if settings.export.when_stale == "refuse":
            raise stale(why)
        logger.info("reading the databases: %s", why, extra={"export": part.source, "as_of": part.as_of})
        return msgspec.structs.replace(unread, export=msgspec.structs.replace(part, unused=why))
    if settings.export.clique:
        from chatsync.export.on_clique import compare_on_clique  # late: only where a clique is configured

        found = compare_on_clique(export, unread.exclusions, feature_id=state.feature_id)
        if keep and found.exclusions.rejected_count:
            read_list()  # a clique tells the first of them alone, and without their numbers
    else:
        listed = read_list()
        rows = sum(table.row_count or 0 for table in export.tables.values())
        with progress_bar("reading the export", rows) as advance:
            found = export.compare(listed, state.feature_id, advance)
    part = msgspec.structs.replace(part, rows=found.rows)
    logger.info("%s: as of %s", part.source, short_time(export.as_of), extra={"as_of": part.as_of})
    homes = find_homes(settings, scope, found.turn_off | union(found.turn_on))
    export.check_homes(found.turn_on, homes)
    return _confirmed(unread, settings, scope, part=part, found=found, homes=homes)


def _confirmed(
    unread: Plan, settings: Settings, scope: CancelScope, *, part: PlanExport, found: Comparison, homes: IdsByShard
) -> Plan:
    """Look up the rows of the differing clients on their home shards, and plan the differences that are confirmed."""
    was_off = union(found.turn_on)
    asked = {shard: ids for shard, ids in homes.items() if shard in settings.databases.shards}
    now_off = confirm(asked, settings, scope, feature_id=unread.feature.id)
    none = BitMap64()
    strays = {shard: ids - homes.get(shard, none) for shard, ids in found.turn_on.items()}
    off = {shard: now_off.get(shard, none) | strays.get(shard, none) for shard in settings.databases.shards}
    diff = compute_diff(found.turn_off, off, homes)
    already = found.turn_off & union(now_off)
    gone = [(found.turn_on[shard] & homes.get(shard, none)) - now_off.get(shard, none) for shard in found.turn_on]
    turn_on = union(diff.turn_on)
    confirmed = sum(map(len, diff.turn_off.values())) + len(turn_on)
    contradicted = len(already) + sum(map(len, gone))
    return msgspec.structs.replace(
        unread,
        verdict=diff_verdict(diff),
        exclusions=found.exclusions,
        off_now=found.off_count - len(was_off - turn_on) + len(already),
        turn_off=diff.turn_off,
        turn_on=diff.turn_on,
        unknown=diff.unknown,
        strays=diff.strays,
        export=msgspec.structs.replace(part, confirmed=confirmed, contradicted=contradicted),
    )
