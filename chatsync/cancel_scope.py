"""One command's run: its deadline, the signals that stop it, and how it tries again."""

import contextlib
import logging
import math
import queue
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeVar

from chatsync.errors import ChatsyncError, DeadlineError, StoppedError

Value = TypeVar("Value")

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

logger = logging.getLogger(__name__)


class CancelScope:
    """The time budget of one command and its wish to stop, shared by all its threads.

    SIGINT, SIGTERM and the deadline (SIGALRM) raise in the main thread at once, except inside
    `finishing()`, where they only set the wish and the workers end after the batch in hand.
    """

    def __init__(self, *, deadline: float, retry_timeout: float) -> None:
        """Start the clock: `deadline` and `retry_timeout` are in seconds."""
        self.deadline = deadline
        self.retry_timeout = retry_timeout
        self._end = time.monotonic() + deadline
        # Holds something once the run is to stop. An Event's own lock would deadlock with a signal
        # that comes while the main thread holds it; this queue is made for that.
        self._stopping: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._reason: ChatsyncError | None = None
        self._shielded = False

    @property
    def remaining(self) -> float:
        """Seconds left before the deadline, never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def reason(self) -> ChatsyncError | None:
        """Why the run is to stop; None while it may go on."""
        if self._reason is None and not self.remaining:
            self._stop(self._late())
        return self._reason

    def check(self) -> None:
        """Raise StoppedError or DeadlineError once the run is to stop."""
        if self.reason is not None:
            raise self.reason

    def wait(self, seconds: float) -> None:
        """Wait, but not past the deadline nor past a signal: those raise."""
        with contextlib.suppress(queue.Empty):
            self._stopping.get(timeout=min(seconds, self.remaining))
            self._stopping.put(None)  # for whoever else waits
        self.check()

    def cancel(self, reason: ChatsyncError) -> None:
        """Make every thread of this run stop at its next check."""
        self._stop(reason)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Answer to signals and to the deadline inside the block; main thread only."""
        before = {number: signal.signal(number, self._on_signal) for number in (*_STOP_SIGNALS, signal.SIGALRM)}
        signal.setitimer(signal.ITIMER_REAL, max(self.remaining, 0.001))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def shielded(self) -> Iterator[None]:
        """Let the batch in hand end: inside, a signal is a wish and no exception."""
        before, self._shielded = self._shielded, True
        try:
            yield
        finally:
            self._shielded = before

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
            self._stop(StoppedError(number))
        else:
            self._stop(self._late())
        if not self._shielded:
            self.check()

    def _late(self) -> DeadlineError:
        return DeadlineError(f"the deadline passed: run.deadline = {self.deadline:g} s")

    def _stop(self, reason: ChatsyncError) -> None:
        self._reason = self._reason or reason
        self._stopping.put(None)

    def retry(
        self,
        attempt: Callable[[], Value],
        *,
        what: str,
        is_transient: Callable[[BaseException], bool],
        describe: Callable[[BaseException], str] = str,
        mark: Callable[[], object] = lambda: None,
    ) -> Value:
        """Call `attempt` until it works, fails for good, or has kept failing for `run.retry_timeout`.

        That counts from the first fault, however long the attempt had been at work, and anew where
        `mark`, which says how far the work has come, is another one than at the last fault. Waits
        0.2 s at first and 10 s at most, with jitter, each one a line in the log. The last error is
        raised as it came; a DeadlineError says what was being waited for, and why.
        """
        import tenacity  # late: a run that has nothing to do tries nothing again

        last, reached, failing_since = "", mark(), math.inf

        def has_failed_for_long(_state: tenacity.RetryCallState) -> bool:
            nonlocal reached, failing_since
            if failing_since == math.inf or mark() != reached:
                reached, failing_since = mark(), time.monotonic()
            return time.monotonic() - failing_since >= self.retry_timeout

        def log(state: tenacity.RetryCallState) -> None:
            nonlocal last
            error = state.outcome.exception() if state.outcome else None
            last = describe(error) if error else ""
            seconds = state.next_action.sleep if state.next_action else 0.0
            message = "%s: attempt %d failed, trying again in %.1f s: %s"
            event = {"attempt": state.attempt_number, "seconds": round(seconds, 3)}
            logger.info(message, what, state.attempt_number, seconds, last, extra=event)

        retrying = tenacity.Retrying(
            sleep=self.wait,
            stop=has_failed_for_long,
            wait=tenacity.wait_exponential_jitter(multiplier=0.2, max=10, jitter=0.5),
            retry=tenacity.retry_if_exception(is_transient),
            before_sleep=log,
            reraise=True,
        )
        try:
            return retrying(attempt)
        except DeadlineError as error:
            because = f", which last failed with: {last}" if last else ""
            msg = f"{error} while waiting for {what}{because}"
            raise DeadlineError(msg) from None
