"""Applying a plan: the job's lock, the checks under it, the record, and the batches on all shards."""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import Action, Ids, Plan, ShardResult, Tally, Written, counted, nothing_done, numbers_of, some
from chatsync.databases.job_lock import job_lock
from chatsync.databases.last_apply import noted_as_last
from chatsync.databases.replica_lag import ReplicaLag
from chatsync.databases.shard_writer import ShardWriter
from chatsync.errors import ChatsyncError, DatabaseError, LockLostError, StoppedError, UnfinishedError
from chatsync.parallel import SideBySide
from chatsync.progress import Advance, progress_bar
from chatsync.sync.guard import Guard, ShardGuard
from chatsync.sync.plan_checks import check_before_apply, check_homes
from chatsync.sync.recorder import Recorder

# If a shard refuses this many clients one by one, the cause is not a single client.
_MOST_REFUSED = 100
_REFUSED_SHOWN = 20

logger = logging.getLogger(__name__)


def apply_plan(
    plan: Plan,
    settings: Settings,
    scope: CancelScope,
    *,
    lifting: Collection[str],
    results: list[ShardResult],
) -> None:
    """Make the plan's changes on all shards under the job's lock, and leave a record of the run.

    `lifting` are the given options that override limits. `results` is an output parameter: what was done
    on each shard, empty if the apply did not start. Raises UnfinishedError if not everything was done,
    and the reason before the first write if the plan is refused.
    """
    with job_lock(settings, scope) as lock:
        guard = Guard(plan=plan, lock=lock, scope=scope)
        guard.may_begin()
        unasked = _check(plan, settings, scope, lifting=lifting)
        # Once something may be written, a signal must not prevent the record from being written.
        with scope.shielded(), Recorder(settings, plan, started=guard.dict_now).recording(results):
            results += [nothing_done(plan, shard, error=unasked.get(shard)) for shard in settings.databases.shards]
            with noted_as_last(plan, settings, scope), progress_bar("applying", plan.changes) as advance:
                _write_all(plan, settings, scope, guard=guard, results=results, advance=advance)
            guard.look_back()
            _check_finished(plan, results, reason=guard.reason)


def _check(
    plan: Plan, settings: Settings, scope: CancelScope, *, lifting: Collection[str]
) -> Mapping[int, ChatsyncError]:
    """Check homes and shards side by side; return the errors of the shards that could not be asked.

    Raises the reason why the plan is refused, that of the homes first.
    """
    tasks: dict[str, Callable[[], Any]] = {
        "homes": partial(check_homes, plan, settings, scope),
        "shards": partial(check_before_apply, plan, settings, scope, lifting=lifting),
    }
    ended = dict(SideBySide(tasks, workers=len(tasks)).outcomes(scope))
    ended["homes"].unwrap()
    unasked: Mapping[int, ChatsyncError] = ended["shards"].unwrap()
    return unasked


def _write_all(
    plan: Plan,
    settings: Settings,
    scope: CancelScope,
    *,
    guard: Guard,
    results: Sequence[ShardResult],
    advance: Advance,
) -> None:
    """Write the plan's changes on all shards at the same time, and keep what was done on each.

    The error of a shard is kept in its result and does not stop the other shards. A signal, the deadline,
    a lost lock or a changed mod-time stops every shard after its current batch.
    """
    by_shard = {result.shard: result for result in results}
    guards = {
        shard: ShardGuard(guard, result) for shard, result in by_shard.items() if result.failed and not result.error
    }
    write = partial(_write_shard, plan=plan, settings=settings, scope=scope, advance=advance)
    tasks: dict[int, Callable[[], None]] = {
        shard: partial(write, by_shard[shard], guard=guards[shard]) for shard in guards
    }
    began = time.monotonic()
    for shard, outcome in SideBySide(tasks, workers=settings.apply.parallel_shards).outcomes(scope):
        result = by_shard[shard]
        guards[shard].take()
        if outcome.error is not None and not isinstance(outcome.error, ChatsyncError):
            logger.error("shard %d: a bug", shard, exc_info=outcome.error)
            result.error = ChatsyncError(f"shard {shard}: a bug: {outcome.error!r}")
        elif outcome.error is not None:
            result.error = outcome.error
        _log(f"shard {shard}", [result], began=began, shard=shard)
    _log("apply", results, began=began)


def _write_shard(
    result: ShardResult, *, plan: Plan, settings: Settings, scope: CancelScope, guard: ShardGuard, advance: Advance
) -> None:
    first = True
    with (
        ShardWriter(settings, result.shard, scope) as shard,
        ReplicaLag(settings, result.shard, scope) as replica,
    ):
        for action, tally in result.tallies.items():
            write = partial(
                shard.write, action, plan.feature.id, may_begin=guard.may_begin, may_commit=guard.may_commit
            )
            for batch in _parts(numbers_of(tally.planned), settings.apply.batch_size):
                if not first:
                    shard.wait(settings.apply.pause)
                replica.wait(before=shard.hang_up)
                _write_batch(write, batch, tally, guard=guard, advance=advance)
                first = False


def _write_batch(
    write: Callable[..., Written], batch: Ids, tally: Tally, *, guard: ShardGuard, advance: Advance
) -> None:
    """Write one batch; if the server refuses a row, halve the batch until each refused client is alone in its part.

    All parts together have as many rows as the batch, so there is no pause between them. Raises DatabaseError
    for any other fault, and after so many refused clients that the cause cannot be a single one.
    """
    parts = [batch]
    while parts:
        part = parts.pop()
        try:
            guard.count(tally, write(part, committing=tally.in_doubt))
        except DatabaseError as error:
            if not error.is_about_rows:
                raise
            if len(part) > 1:
                parts += reversed(_parts(part, (len(part) + 1) // 2))
                continue
            guard.refuse(tally, part, error)
            if len(tally.refused) >= _MOST_REFUSED:
                what = f"gave up after {_MOST_REFUSED} refused clients, so the cause is not a single one: {error.what}"
                raise DatabaseError(what, where=error.where, way_out=error.way_out) from error
        advance(len(part))


def _parts(ids: Ids, size: int) -> list[Ids]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def _log(where: str, results: Sequence[ShardResult], *, began: float, **event: int) -> None:
    """Log what was done on one shard, or on all of them."""
    seconds = time.monotonic() - began
    counts = {
        "turned_off": sum(len(result.tallies[Action.TURN_OFF].changed) for result in results),
        "turned_on": sum(len(result.tallies[Action.TURN_ON].changed) for result in results),
        "already": sum(len(tally.already) for result in results for tally in result.tallies.values()),
        "failed": sum(result.failed for result in results),
    }
    message = "%s: turned off %d, turned on %d, already so %d, failed %d, after %.1f s"
    logger.info(message, where, *counts.values(), seconds, extra={**event, **counts, "seconds": round(seconds, 3)})


def _check_finished(plan: Plan, results: Sequence[ShardResult], *, reason: ChatsyncError | None) -> None:
    """Raise UnfinishedError with what failed, where and why, unless all changes were made and no signal came."""
    failed = [result for result in results if result.failed]
    if not failed and not isinstance(reason, (StoppedError, LockLostError)):
        return
    failed_count = sum(result.failed for result in failed)
    planned = sum(len(tally.planned) for result in results for tally in result.tallies.values())
    done = f"{planned - failed_count} of {planned} changes are in place"
    does = "tries the rest again" if any(result.refused for result in results) else "does the rest"
    the_rest = f"the same --undo again {does}" if plan.undo_of else f"the next run {does}"
    so_far = f"{done}, the mod-time was not moved, {the_rest}"
    what = " | ".join([*([str(reason)] if reason else []), *(_failed(result, reason) for result in failed)])
    raise UnfinishedError(f"{what}; {so_far}", reason=reason)


def _failed(result: ShardResult, reason: ChatsyncError | None) -> str:
    """Return how many changes failed on a shard, and why, if the reason is not that of the whole run."""
    why = "" if result.error is None or result.error is reason else f": {result.error}"
    lost = "of them perhaps made, because the answer to a commit was lost"
    doubt = f", {result.in_doubt} {lost}" if result.in_doubt else ""
    ids = result.refused
    refused = f", {len(ids)} of them refused by the server (client {some(ids, _REFUSED_SHOWN)})" if ids else ""
    return f"{counted(result.failed, 'change')} failed on shard {result.shard}{refused}{doubt}{why}"
