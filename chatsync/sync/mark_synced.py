"""Seeing in the databases that a plan's changes are there."""

from functools import partial

from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core.plan import Plan
from chatsync.databases.shard_database import ShardDatabase
from chatsync.errors import OutOfDateError
from chatsync.parallel import SideBySide


def check_changes_are_there(plan: Plan, settings: Settings, scope: CancelScope) -> None:
    """Raise OutOfDateError, with how many are missing on which shards, unless all are there."""
    tasks = {
        shard: partial(_missing, plan, settings, scope, shard)
        for shard in settings.databases.shards
        if plan.turn_off.get(shard) or plan.turn_on.get(shard)
    }
    missing = SideBySide(tasks, workers=settings.apply.parallel_shards).results(scope)
    short = [f"{count} on shard {shard}" for shard, count in sorted(missing.items()) if count]
    if short:
        raise OutOfDateError(
            f"{sum(missing.values())} of its {plan.changes} changes are missing, {', '.join(short)}",
            way_out="the mod-time was not moved; run `chatsync diff` and `chatsync apply` again",
        )


def _missing(plan: Plan, settings: Settings, scope: CancelScope, shard: int) -> int:
    to_off = plan.turn_off.get(shard, BitMap64())
    to_on = plan.turn_on.get(shard, BitMap64())
    with ShardDatabase(settings, shard, scope) as database:
        off = database.off_among(plan.feature.id, to_off | to_on)
    return len(to_off - off) + len(to_on & off)
