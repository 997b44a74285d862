"""Seeing in the databases that a plan's changes are there."""

from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core.plan import Plan
from chatsync.databases.shard_database import ShardDatabase, on_every_shard
from chatsync.errors import OutOfDateError


def check_changes_are_there(plan: Plan, settings: Settings, scope: CancelScope) -> None:
    """Raise OutOfDateError, with how many are missing on which shards, unless all are there."""

    def count_missing(shard: ShardDatabase) -> int:
        to_off = plan.turn_off.get(shard.number, BitMap64())
        to_on = plan.turn_on.get(shard.number, BitMap64())
        off = shard.off_among(plan.feature.id, to_off | to_on)
        return len(to_off - off) + len(to_on & off)

    changed = [shard for shard in settings.databases.shards if plan.turn_off.get(shard) or plan.turn_on.get(shard)]
    missing = on_every_shard(settings, scope, count_missing, shards=changed).results(scope)
    short = [f"{count} on shard {shard}" for shard, count in sorted(missing.items()) if count]
    if short:
        raise OutOfDateError(
            f"{sum(missing.values())} of its {plan.changes} changes are missing, {', '.join(short)}",
            way_out="the mod-time was not moved; run `chatsync diff` and `chatsync apply` again",
        )
