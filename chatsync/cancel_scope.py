"""The deadline of one command, the signals that stop it, and how its work is retried."""

import contextlib
import logging
import math
import queue
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import ClassVar, TypeVar

from chatsync.errors import ChatsyncError, DeadlineError, StoppedError

Value = TypeVar("Value")

# SIGHUP: the terminal, or the ssh session around it, is gone.
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HANDLED_SIGNALS = (*_STOP_SIGNALS, signal.SIGALRM)

_SOON = 0.001
# Between two attempts, in seconds; each wait is twice the one before.
_FIRST_WAIT, _JITTER, _LONGEST_WAIT = 0.2, 0.5, 10.0

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

    _is_uninterruptible: ClassVar[bool] = False

    def __init__(self, *, deadline: float, retry_timeout: float) -> None:
        """Start the clock: `deadline` and `retry_timeout` are in seconds."""
        self.deadline = deadline
        self.retry_timeout = retry_timeout
        self._end = time.monotonic() + deadline
        # Holds an item after a stop was requested. An Event would deadlock if a signal comes while the
        # main thread holds the Event's lock; SimpleQueue is safe in signal handlers.
        self._stopping: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._reason: ChatsyncError | None = None
        self._shielded = False
        self._was_lost = False

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
        """Wait, but only until the deadline or a request to stop, which raise."""
        with contextlib.suppress(queue.Empty):
            self._stopping.get(timeout=min(seconds, self.remaining))
            self._stopping.put(None)  # for the other threads that wait
        self.check()

    def cancel(self, reason: ChatsyncError) -> None:
        """Request a stop: every thread stops at its next check."""
        self._stop(reason)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Handle signals and the deadline inside the block; main thread only. Ignored signals (nohup) stay ignored."""
        handled = [number for number in _STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._on_signal) for number in (*handled, signal.SIGALRM)}
        hook, sys.unraisablehook = sys.unraisablehook, self._raise_again
        try:
            signal.setitimer(signal.ITIMER_REAL, max(self.remaining, _SOON))
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

    @staticmethod
    @contextlib.contextmanager
    def no_interruption() -> Iterator[None]:
        """Let no signal raise in the main thread inside the block; it raises soon after."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        CancelScope._is_uninterruptible = True
        try:
            yield
        finally:
            CancelScope._is_uninterruptible = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
            self._stop(StoppedError(number))
        else:
            self._stop(self._late())
        # Inside the hook the error would be dropped once more. Inside `logging` it may come after a lock was acquired
        # and before the block that releases it: then every other thread would wait for ever at its next log line.
        is_logging = frame is not None and frame.f_code.co_filename == logging.__file__
        if self._was_lost or is_logging or CancelScope._is_uninterruptible:
            signal.setitimer(signal.ITIMER_REAL, _SOON)
        elif not self._shielded:
            self.check()

    def _raise_again(self, lost: "sys.UnraisableHookArgs") -> None:
        """Raise again what a signal handler raised inside a destructor, where Python drops exceptions."""
        if lost.exc_value is self._reason:
            self._was_lost = True
            signal.setitimer(signal.ITIMER_REAL, _SOON)
            self._was_lost = False
        else:
            sys.__unraisablehook__(lost)

    def _late(self) -> DeadlineError:
        return DeadlineError(f"the deadline passed: run.deadline = {format_seconds(self.deadline)}")

    @property
    def gave_up(self) -> str:
        """The text for an error that was retried until `run.retry_timeout`."""
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
        """Call `attempt` until it succeeds, fails with a permanent error, or has failed for `run.retry_timeout`.

        That time counts from the first failure, not from the start of the attempt. It starts again if
        `mark()`, the progress of the work, has changed since the last failure. The waits between
        attempts grow from 0.2 s to 10 s, with jitter; each is logged. The last error is raised unchanged;
        a DeadlineError says what was waited for, and with which error it failed last.
        """
        failures, pause, last = 0, _FIRST_WAIT, ""
        reached, failing_since = mark(), math.inf
        try:
            while True:
                try:
                    return attempt()
                except BaseException as error:
                    if not is_transient(error):
                        raise
                    if failing_since == math.inf or mark() != reached:
                        reached, failing_since = mark(), time.monotonic()
                    if time.monotonic() - failing_since >= self.retry_timeout:
                        raise
                    last = describe(error)
                failures += 1
                seconds = min(pause + random.uniform(0, _JITTER), _LONGEST_WAIT)  # noqa: S311  # not a secret
                pause = min(2 * pause, _LONGEST_WAIT)
                message = "%s: attempt %d failed, trying again in %.1f s: %s"
                event = {"attempt": failures, "seconds": round(seconds, 3)}
                logger.info(message, what, failures, seconds, last, extra=event)
                self.wait(seconds)
        except DeadlineError as error:
            because = f", which last failed with: {last}" if last else ""
            raise DeadlineError(f"{error} while waiting for {what}{because}") from None
