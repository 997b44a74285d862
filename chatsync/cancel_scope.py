"""The deadline of one command, the signals that stop it, and how its work is retried."""

import contextlib
import logging
import math
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeVar

from chatsync.errors import ChatsyncError, DeadlineError, StoppedError

Value = TypeVar("Value")

# SIGHUP: the terminal, or the ssh session around it, is gone.
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HANDLED_SIGNALS = (*_STOP_SIGNALS, signal.SIGALRM)

logger = logging.getLogger(__name__)


def format_seconds(seconds: float) -> str:
    """Format a length of time as the configuration spells it: `20m`, `1h30m`, `0.5s`."""
    parts, rest = [], float(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        count, rest = divmod(rest, size)
        parts += [f"{count:.0f}{unit}"] if count else []
    return "".join(parts + ([f"{rest:g}s"] if rest or not parts else []))


class CancelScope:
    """The deadline of one command and the request to stop it, shared by all its threads.

    SIGINT, SIGTERM, SIGHUP and the deadline (SIGALRM) raise in the main thread at once, except inside
    `shielded()`: there they only request a stop, and the workers end after their current batch.
    """

    def __init__(self, *, deadline: float, retry_timeout: float) -> None:
        """Start the clock: `deadline` and `retry_timeout` are in seconds."""
        self.deadline = deadline
        self.retry_timeout = retry_timeout
        self._end = time.monotonic() + deadline
        # Holds an item once a stop was requested. An Event's own lock would deadlock with a signal
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
        """The reason to stop; None while the command may go on."""
        if self._reason is None and not self.remaining:
            self._stop(self._late())
        return self._reason

    def check(self) -> None:
        """Raise the reason to stop, if there is one: StoppedError, DeadlineError, or what `cancel` was given."""
        if self.reason is not None:
            raise self.reason

    def wait(self, seconds: float) -> None:
        """Wait, but not past the deadline nor past a request to stop: those raise."""
        with contextlib.suppress(queue.Empty):
            self._stopping.get(timeout=min(seconds, self.remaining))
            self._stopping.put(None)  # for the other threads that wait
        self.check()

    def cancel(self, reason: ChatsyncError) -> None:
        """Request a stop: every thread ends at its next check."""
        self._stop(reason)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Handle signals and the deadline inside the block; main thread only. What is ignored (nohup) stays ignored."""
        handled = [number for number in _STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._on_signal) for number in (*handled, signal.SIGALRM)}
        hook, sys.unraisablehook = sys.unraisablehook, self._raise_again
        try:
            signal.setitimer(signal.ITIMER_REAL, max(self.remaining, 0.001))
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            sys.unraisablehook = hook
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def shielded(self) -> Iterator[None]:
        """Let the current batch end: inside the block, a signal requests a stop and raises nothing."""
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

    def _raise_again(self, lost: "sys.UnraisableHookArgs") -> None:
        """Repeat what a signal raised inside a destructor, where Python drops it."""
        if lost.exc_value is self._reason:
            signal.setitimer(signal.ITIMER_REAL, 0.001)
        else:
            sys.__unraisablehook__(lost)

    def _late(self) -> DeadlineError:
        return DeadlineError(f"the deadline passed: run.deadline = {format_seconds(self.deadline)}")

    @property
    def gave_up(self) -> str:
        """The words for a fault that `retry` did not get past."""
        return f"gave up after {format_seconds(self.retry_timeout)} of retries (run.retry_timeout)"

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

        That time counts from the first fault, not from the start of the attempt. It starts again when
        `mark`, which tells how far the work has come, has changed since the last fault. The waits
        between attempts are 0.2 s at first and 10 s at most, with jitter; each is a line in the log.
        The last error is raised as it is; a DeadlineError says what was being waited for, and why.
        """
        import tenacity  # late: a run that has nothing to do retries nothing

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
            raise DeadlineError(f"{error} while waiting for {what}{because}") from None
