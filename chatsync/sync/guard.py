"""The guard of an apply: whether a batch may start, and whether it may still be committed."""

import contextlib
import math
import threading
import time
from datetime import UTC, datetime

from chatsync.cancel_scope import CancelScope
from chatsync.core import Ids, Plan, ShardResult, Tally, Written, raise_first, state_objections
from chatsync.databases.job_lock import JobLock
from chatsync.errors import ChatsyncError, DeadlineError

# A check made less than this long ago is good enough to start a batch; before a commit there is a new one.
_RECENT_SECONDS = 0.1


class Guard:
    """Decides whether a batch may start and, just before its commit, whether it may still be committed.

    The lock must be held, and the feature and the mod-time must be what `diff` saw. After a request to
    stop, commits are still allowed, but no new batch. The first refusal is for all shards. `dict_now` is
    the dict database's time at the last check.
    """

    def __init__(self, *, plan: Plan, lock: JobLock, scope: CancelScope) -> None:
        """Keep what is to be checked; nothing is checked yet."""
        self._plan = plan
        self._lock = lock
        self._scope = scope
        self._one_at_a_time = threading.Lock()
        self._begun = self._answered = 0
        self._answered_at = -math.inf
        self._refusal: ChatsyncError | None = None
        self.dict_now = datetime.now(UTC)

    @property
    def reason(self) -> ChatsyncError | None:
        """Why all shards must stop; None while they may go on."""
        return self._refusal or self._scope.reason

    def may_begin(self) -> None:
        """Raise the reason why no batch may start.

        The check for the last commit is good enough if it is recent. There is a new check after a
        pause, after waiting for a replica, and before another attempt.
        """
        self._scope.check()
        if time.monotonic() - self._answered_at > _RECENT_SECONDS:
            self.may_commit()
        elif self._refusal is not None:
            raise self._refusal

    def look_back(self) -> None:
        """Check once more after the last commit, which may have waited long for its server: see `reason`."""
        if self.reason is None:  # else the run must end now, and should not wait for a server that hangs
            with contextlib.suppress(ChatsyncError):
                self.may_commit()

    def may_commit(self) -> None:
        """Raise the reason why even a batch that has started may not be committed.

        This is always a new check. Batches that ask while a check is running share the next one, which
        starts after they asked.
        """
        came = self._begun
        with self._one_at_a_time:
            if self._refusal is None and self._answered <= came:
                self._begun += 1
                try:
                    state = self._lock.check()
                    self.dict_now = state.now
                    raise_first(state_objections(self._plan, state))
                except ChatsyncError as error:
                    self._refusal = error
                self._answered, self._answered_at = self._begun, time.monotonic()
        if self._refusal is not None:
            raise self._refusal


class ShardGuard:
    """The guard of one shard's thread. After its result was taken, nothing is committed or counted.

    A thread that was abandoned after the deadline may still wait for its server. Changes that it may have
    committed before are in doubt; it commits nothing more.
    """

    def __init__(self, guard: Guard, result: ShardResult) -> None:
        """Keep the guard of the run and the result that the thread fills."""
        self.may_begin = guard.may_begin
        self._guard = guard
        self._result = result
        self._one_at_a_time = threading.Lock()
        self._is_taken = False

    def may_commit(self) -> None:
        """Raise the reason why the batch may not be committed."""
        self._guard.may_commit()
        with self._one_at_a_time:
            if self._is_taken:
                raise DeadlineError("the deadline passed before the commit")

    def count(self, tally: Tally, written: Written) -> None:
        """Count one committed batch."""
        with self._one_at_a_time:
            if not self._is_taken:
                tally.add(written)

    def refuse(self, tally: Tally, client: Ids, error: ChatsyncError) -> None:
        """Count one client whose row the server refuses; only the first error is kept."""
        with self._one_at_a_time:
            if not self._is_taken:
                tally.refuse(client)
                self._result.error = self._result.error or error

    def take(self) -> None:
        """Close the result: it now contains everything that was, or may have been, committed."""
        with self._one_at_a_time:
            self._is_taken = True
            for tally in self._result.tallies.values():
                tally.in_doubt = tally.in_doubt.copy()  # the thread may still clear its own
