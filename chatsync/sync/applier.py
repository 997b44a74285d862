"""Carrying a plan out: shard by shard, batch by batch, and what came of it."""

import logging
import math
import threading
import time
from collections.abc import Callable

from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core.client_sets import chunks, some, union
from chatsync.core.modtime import check_modtime
from chatsync.core.objections import check_feature_id
from chatsync.core.plan import Plan
from chatsync.core.results import Action, ShardResult, nothing_done
from chatsync.databases.homes import find_homes
from chatsync.databases.job_lock import JobLock
from chatsync.databases.replica_lag import ReplicaLag
from chatsync.databases.shard_database import ShardDatabase
from chatsync.errors import (
    ChatsyncError,
    OutOfDateError,
    StoppedError,
    UnfinishedError,
)
from chatsync.parallel import SideBySide
from chatsync.progress import Advance

# How long what the dict database said is news enough to begin a batch; its commit is asked for anew.
_ANSWER_SECONDS = 0.1

logger = logging.getLogger(__name__)


class Guard:
    """Says whether this run may begin a batch, and again before its commit, whether it may write it.

    The lock must be held, the mod-time must be what `diff` saw, and, but for a batch in hand,
    nobody may have asked the run to stop. The first "no" counts for all shards.
    """

    def __init__(self, *, plan: Plan, lock: JobLock, scope: CancelScope) -> None:
        """Bring together what is asked."""
        self._plan = plan
        self._lock = lock
        self._scope = scope
        self._one_at_a_time = threading.Lock()
        self._begun = self._answered = 0
        self._answered_at = -math.inf
        self.refusal: ChatsyncError | None = None

    def may_begin(self) -> None:
        """Raise the reason why no other batch may be begun.

        To begin, an answer of a moment ago will do, such as that for the commit before: asked
        anew are those who waited since, for a pause, a replica or another attempt.
        """
        self._scope.check()
        if time.monotonic() - self._answered_at > _ANSWER_SECONDS:
            self.may_commit()
        elif self.refusal is not None:
            raise self.refusal

    def may_commit(self) -> None:
        """Raise the reason why not even the batch in hand may be written.

        Always asked anew. Batches that come while an answer is awaited share the next one: it is
        younger than they are.
        """
        came = self._begun
        with self._one_at_a_time:
            if self.refusal is None and self._answered <= came:
                self._begun += 1
                try:
                    self._ask()
                except ChatsyncError as error:
                    self.refusal = error
                self._answered, self._answered_at = self._begun, time.monotonic()
        if self.refusal is not None:
            raise self.refusal

    def _ask(self) -> None:
        state = self._lock.check()
        check_feature_id(self._plan, state.feature_id)
        check_modtime(seen=self._plan.seen_modtime, state=state, list_time=self._plan.list_time)


def check_homes(plan: Plan, *, settings: Settings, scope: CancelScope) -> None:
    """Refuse a plan whose clients to turn off live on other shards by now, before the first write.

    An undo turns rows off where they are, for there a run turned them on, and adds none.
    """
    if plan.undo_of:
        return
    homes = find_homes(settings, scope, union(plan.turn_off))
    for shard, ids in plan.turn_off.items():
        moved = ids - homes.get(shard, BitMap64())
        if moved:
            who = f"{len(moved)} clients to turn off on shard {shard} ({some(moved)})"
            raise OutOfDateError(f"{who} do not live there")


def apply_plan(
    plan: Plan, *, settings: Settings, scope: CancelScope, guard: Guard, progress: Advance
) -> list[ShardResult]:
    """Write the plan's changes on all shards side by side and say what came of each.

    A shard that fails is a result and stops no other one. A signal, the deadline, a lost lock or
    a moved mod-time ends every shard after the batch in hand; `guard.refusal` then says why.
    """
    results = {shard: nothing_done(plan, shard) for shard in settings.databases.shards}
    tasks = {
        shard: _shard_task(result, plan=plan, settings=settings, scope=scope, guard=guard, progress=progress)
        for shard, result in results.items()
        if result.failed
    }
    began = time.monotonic()
    with scope.shielded():
        for shard, outcome in SideBySide(tasks, workers=settings.apply.parallel_shards).outcomes(scope):
            if outcome.error is not None and not isinstance(outcome.error, ChatsyncError):
                logger.error("shard %d: a bug", shard, exc_info=outcome.error)
                results[shard].error = ChatsyncError(f"shard {shard}: a bug: {outcome.error!r}")
            else:
                results[shard].error = outcome.error
            _log(f"shard {shard}", [results[shard]], began=began, shard=shard)
    _log("apply", list(results.values()), began=began)
    return list(results.values())


def _log(who: str, results: list[ShardResult], *, began: float, **event: int) -> None:
    """Say what was done on one shard, or on all of them."""
    seconds = time.monotonic() - began
    counts = {
        "turned_off": sum(len(result.tallies[Action.TURN_OFF].changed) for result in results),
        "turned_on": sum(len(result.tallies[Action.TURN_ON].changed) for result in results),
        "already": sum(len(tally.already) for result in results for tally in result.tallies.values()),
        "failed": sum(result.failed for result in results),
    }
    message = "%s: turned off %d, turned on %d, already so %d, missing %d, after %.1f s"
    logger.info(message, who, *counts.values(), seconds, extra={**event, **counts, "seconds": round(seconds, 3)})


def _shard_task(
    result: ShardResult, *, plan: Plan, settings: Settings, scope: CancelScope, guard: Guard, progress: Advance
) -> Callable[[], None]:
    def task() -> None:
        first = True
        with (
            ShardDatabase(settings, result.shard, scope, writable=True) as shard,
            ReplicaLag(settings, result.shard, scope) as replica,
        ):
            for action, tally in result.tallies.items():
                for batch in chunks(tally.planned, settings.apply.batch_size):
                    if not first:
                        scope.wait(settings.apply.pause)
                    replica.wait()
                    written = shard.write(
                        action,
                        plan.feature.id,
                        batch,
                        may_begin=guard.may_begin,
                        may_commit=guard.may_commit,
                        committing=tally.in_doubt,
                    )
                    tally.add(written)
                    progress(len(batch))
                    first = False

    return task


def failure(plan: Plan, results: list[ShardResult], *, scope: CancelScope, guard: Guard) -> UnfinishedError | None:
    """Return the error of a run that did not do all, or was told to stop: what failed and what is missing."""
    reason = guard.refusal or scope.reason
    failed = [result for result in results if result.failed]
    if not failed and not isinstance(reason, StoppedError):
        return None
    missing = sum(result.failed for result in failed)
    planned = sum(len(tally.planned) for result in results for tally in result.tallies.values())
    done = f"{planned - missing} of {planned} changes are in place"
    the_rest = "the same --undo again does the rest" if plan.undo_of else "the next run goes on from here"
    so_far = f"{done}, the mod-time was not moved, {the_rest}"
    what = " | ".join([*([str(reason)] if reason else []), *(_missing(result, reason) for result in failed)])
    return UnfinishedError(f"{what}; {so_far}", reason=reason)


def _missing(result: ShardResult, reason: ChatsyncError | None) -> str:
    """Say how much a shard lacks, and why, where it has a reason of its own."""
    why = "" if result.error is None or result.error is reason else f": {result.error}"
    doubt = f", {result.in_doubt} of them perhaps done, as the answer to a commit was lost" if result.in_doubt else ""
    return f"{result.failed} changes missing on shard {result.shard}{doubt}{why}"
