"""The guard of an apply: whether a batch may start, and whether it may still be committed."""

import math
import threading
import time

from chatsync.cancel_scope import CancelScope
from chatsync.core.objections import raise_first, state_objections
from chatsync.core.plan import Plan
from chatsync.databases.job_lock import JobLock
from chatsync.errors import ChatsyncError

# A check made less than this long ago is good enough to start a batch; before a commit there is a new one.
_RECENT_SECONDS = 0.1


class Guard:
    """Decides whether a batch may start and, just before its commit, whether it may still be committed.

    The lock must be held, and the feature and the mod-time must be what `diff` saw. Only a commit is
    allowed after a request to stop. The first refusal holds for all shards.
    """

    def __init__(self, *, plan: Plan, lock: JobLock, scope: CancelScope) -> None:
        """Take what is checked; nothing is checked yet."""
        self._plan = plan
        self._lock = lock
        self._scope = scope
        self._one_at_a_time = threading.Lock()
        self._begun = self._answered = 0
        self._answered_at = -math.inf
        self._refusal: ChatsyncError | None = None

    @property
    def reason(self) -> ChatsyncError | None:
        """Why all shards are to stop; None while they may go on."""
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

    def may_commit(self) -> None:
        """Raise the reason why not even a batch that has started may be committed.

        Always a new check. Batches that come while one is under way share the next one, which is
        younger than they are.
        """
        came = self._begun
        with self._one_at_a_time:
            if self._refusal is None and self._answered <= came:
                self._begun += 1
                try:
                    raise_first(state_objections(self._plan, self._lock.check()))
                except ChatsyncError as error:
                    self._refusal = error
                self._answered, self._answered_at = self._begun, time.monotonic()
        if self._refusal is not None:
            raise self._refusal
