"""Threads: one task each, and one result or one error for each task."""

import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from chatsync.cancel_scope import HANDLED_SIGNALS, CancelScope, format_seconds
from chatsync.errors import ChatsyncError, DeadlineError

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

# Seconds after the deadline in which a current batch may still end. After that it is left to the server,
# which rolls it back when the connection ends.
_GRACE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Ended(Generic[Value]):
    """How a task ended: with a value, or with an error."""

    value: Value | None = None
    error: BaseException | None = None

    def unwrap(self) -> Value:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # None only where Value allows it


def _ended(task: Callable[[], Value]) -> Ended[Value]:
    try:
        return Ended(value=task())
    except BaseException as error:  # noqa: BLE001  # passed to the thread that waits for the task
        return Ended(error=error)


def _start(work: Callable[[], object]) -> None:
    """Start a daemon thread, which does not keep the process alive.

    Signals are blocked meanwhile and in the new thread: an exception that a handler raises inside start()
    would be lost and would damage the state of `threading`. A thread of others may still take one, so the handler
    waits as well.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED_SIGNALS)
    try:
        with CancelScope.no_interruption():
            threading.Thread(target=work, daemon=True).start()
    except RuntimeError as error:
        way_out = "raise the limits on tasks and memory (ulimit -u, -v; the cgroup's)"
        raise ChatsyncError(f"no thread can be started: {error}", way_out=way_out) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def off_main_thread(task: Callable[[], Value]) -> Value:
    """Run a task that may hang in a driver, so that the main thread can still handle signals.

    Python handles signals (and so the deadline) only in the main thread, and never inside a driver's C
    code. So a call from the main thread runs the task in another thread, which is abandoned when a signal
    raises. A call from any other thread just runs the task.
    """
    if threading.current_thread() is not threading.main_thread():
        return task()
    done: queue.SimpleQueue[Ended[Value]] = queue.SimpleQueue()
    _start(lambda: done.put(_ended(task)))
    return done.get().unwrap()


def while_alive(
    task: Callable[[], Value], *, check: Callable[[], None], every: float, give_up: Callable[[], None]
) -> Value:
    """Run a task in a new thread, and call `check` in another thread after each `every` seconds of waiting.

    If `check` raises, the task is abandoned, `give_up` is called, and the error is raised here.
    """
    done: queue.SimpleQueue[tuple[bool, Ended[Any]]] = queue.SimpleQueue()
    _start(lambda: done.put((True, _ended(task))))
    while True:
        try:
            is_task, ended = done.get(timeout=every)
        except queue.Empty:
            _start(lambda: done.put((False, _ended(check))))
            is_task, ended = done.get()
        if is_task:
            value: Value = ended.unwrap()
            return value
        if ended.error is not None:
            give_up()
            raise ended.error


class Later(Generic[Value]):
    """A value that one thread has later, or the error in its place; others wait for it."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._ended: queue.SimpleQueue[Ended[Value]] = queue.SimpleQueue()

    def give(self, value: Value) -> None:
        """Let all that wait go on."""
        self._ended.put(Ended(value=value))

    def fail(self, error: BaseException) -> None:
        """Raise this error in all that wait."""
        self._ended.put(Ended(error=error))

    def get(self) -> Value:
        """Wait for the value and return it."""
        ended = self._ended.get()
        self._ended.put(ended)  # for the others
        return ended.unwrap()

    @classmethod
    def of(cls, task: Callable[[], Value]) -> Self:
        """Start a task in a thread, whose value or error is had later."""
        later = cls()
        _start(lambda: later._ended.put(_ended(task)))
        return later


class SideBySide(Generic[Key, Value]):
    """Runs tasks in threads, at most `workers` at a time.

    The threads are daemons: one that hangs in a driver can't keep the process alive.
    """

    def __init__(self, tasks: Mapping[Key, Callable[[], Value]], *, workers: int) -> None:
        """Start the threads."""
        self._waiting = deque(tasks.items())
        self._unfinished = dict.fromkeys(tasks)
        self._done: queue.SimpleQueue[tuple[Key, Ended[Value]]] = queue.SimpleQueue()
        for number in range(min(workers, len(tasks))):
            try:
                _start(self._work)
            except ChatsyncError as error:
                if not number:
                    self._fail_all(error)
                break  # the threads that were started run all tasks

    def _work(self) -> None:
        while True:
            try:
                key, task = self._waiting.popleft()
            except IndexError:
                return
            self._done.put((key, _ended(task)))

    def _fail_all(self, error: ChatsyncError) -> None:
        while self._waiting:
            self._done.put((self._waiting.popleft()[0], Ended(error=error)))

    def outcomes(self, scope: CancelScope, *, within: float | None = None) -> Iterator[tuple[Key, Ended[Value]]]:
        """Yield the outcome of each task when it ends.

        A task that hangs past the deadline, or for more than `within` seconds, has a DeadlineError as its outcome.
        """
        late = f"the deadline passed (run.deadline = {format_seconds(scope.deadline)}) without an answer"
        end = time.monotonic() + scope.remaining + _GRACE_SECONDS
        if within is not None and within < scope.remaining:
            late, end = "no answer in time", time.monotonic() + within
        while self._unfinished:
            try:
                key, outcome = self._done.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                self._waiting.clear()
                break
            del self._unfinished[key]
            yield key, outcome
        for key in self._unfinished:
            yield key, Ended(error=DeadlineError(late))

    def results(self, scope: CancelScope) -> dict[Key, Value]:
        """Return the value of every task; the first error is raised and stops the other tasks."""
        values = {}
        for key, outcome in self.outcomes(scope):
            if isinstance(outcome.error, ChatsyncError):
                self.cancel(scope, outcome.error)
            values[key] = outcome.unwrap()
        return values

    def cancel(self, scope: CancelScope, reason: ChatsyncError) -> None:
        """Start no more tasks and stop the running ones at their next check, without waiting for them."""
        self._waiting.clear()
        scope.cancel(reason)
