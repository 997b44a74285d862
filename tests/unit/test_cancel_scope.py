"""The deadline and the signals reach the main thread wherever they find it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from chatsync.cancel_scope import CancelScope
from chatsync.errors import DeadlineError, StoppedError

if TYPE_CHECKING:
    from pytest_mock import MockerFixture


class Dying:
    """Is sent a signal while it is being freed, where Python drops whatever a handler raises."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass


def test_a_signal_inside_a_destructor_is_not_lost() -> None:
    scope = CancelScope(deadline=60, retry_timeout=1)
    began = time.monotonic()

    with pytest.raises(StoppedError), scope.watching():
        dying: Dying | None = Dying()
        del dying
        time.sleep(30)

    assert time.monotonic() - began < 10


def test_a_second_signal_that_comes_too_early_is_not_lost_either(mocker: MockerFixture) -> None:
    """The timer that raises the error again may run out before Python has left the destructor."""
    timer = signal.setitimer
    early = iter([True])

    def start(which: int, seconds: float) -> None:
        if seconds < 1 and next(early, False):
            os.kill(os.getpid(), signal.SIGALRM)
        else:
            timer(which, seconds)

    mocker.patch("chatsync.cancel_scope.signal.setitimer", start)

    test_a_signal_inside_a_destructor_is_not_lost()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGALRM])
def test_a_signal_in_the_middle_of_logging_waits_and_is_not_lost(number: int) -> None:
    """`logging` acquires a lock and then begins the block that releases it; what is raised in between keeps it."""
    lock = threading.RLock()
    finished: list[bool] = []
    between = "lock.acquire()\nkill(number)\nfor _ in range(1000): pass\nlock.release()\nfinished.append(True)"
    names = {"lock": lock, "finished": finished, "number": number, "kill": signal.raise_signal}
    program = compile(between, logging.__file__, "exec")

    with pytest.raises((StoppedError, DeadlineError)), CancelScope(deadline=60, retry_timeout=1).watching():
        exec(program, names)  # stands for the code of that file
        time.sleep(30)

    assert finished == [True]


def test_a_deadline_that_is_over_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    scope = CancelScope(deadline=0.0001, retry_timeout=1)

    with pytest.raises(DeadlineError), scope.watching():
        time.sleep(30)

    assert signal.getsignal(signal.SIGTERM) is before


def test_a_terminal_that_goes_while_it_is_ignored() -> None:
    """As with nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with CancelScope(deadline=60, retry_timeout=1).watching():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


class Waits(CancelScope):
    """Notes how long it is told to wait, instead of waiting."""

    def __init__(self) -> None:
        super().__init__(deadline=3600, retry_timeout=600)
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)


def test_each_wait_is_twice_the_one_before_up_to_ten_seconds() -> None:
    scope = Waits()
    failures = iter(range(1500))  # more than powers of two that fit a float

    def attempt() -> str:
        if next(failures, None) is not None:
            raise TimeoutError
        return "done"

    assert scope.retry(attempt, what="ask", is_transient=lambda error: isinstance(error, TimeoutError)) == "done"
    for seconds, least in zip(scope.waits[:6], (0.2, 0.4, 0.8, 1.6, 3.2, 6.4), strict=True):
        assert least <= seconds <= least + 0.5
    assert scope.waits[6:] == [10.0] * 1494


def test_another_error_ends_the_attempts_at_once() -> None:
    scope = Waits()
    errors = iter([TimeoutError(), LookupError("no such thing")])

    def attempt() -> None:
        raise next(errors)

    with pytest.raises(LookupError, match="no such thing"):
        scope.retry(attempt, what="ask", is_transient=lambda error: isinstance(error, TimeoutError))
    assert len(scope.waits) == 1
