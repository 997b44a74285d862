"""The deadline and the signals reach the main thread wherever they find it."""

from __future__ import annotations

import os
import signal
import time

import pytest

from chatsync.cancel_scope import CancelScope
from chatsync.errors import DeadlineError, StoppedError


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
