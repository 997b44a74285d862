"""Threads of a command: a signal that comes while one is started waits until it has started."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

import pytest

from chatsync.cancel_scope import HANDLED_SIGNALS, CancelScope
from chatsync.errors import StoppedError
from chatsync.parallel import off_main_thread


def test_a_signal_while_a_thread_starts_waits_and_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"
    start = getattr(threading, name)  # where the signal comes
    ended = threading.Event()
    started: list[bool] = []

    def start_and_signal(*arguments: Any, **options: Any) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        start(*arguments, **options)
        started.append(True)

    monkeypatch.setattr(threading, name, start_and_signal)

    with CancelScope(deadline=60, retry_timeout=1).watching(), pytest.raises(StoppedError):
        off_main_thread(ended.set)

    assert started == [True]
    assert ended.wait(10)


def test_a_thread_leaves_signals_to_the_main_thread() -> None:
    mask = off_main_thread(lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    assert set(HANDLED_SIGNALS) <= mask
    assert not set(HANDLED_SIGNALS) & signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_signal_that_a_thread_of_others_takes_breaks_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raised inside start(), the error would leave `threading` with a thread that it does not know."""
    start, over = threading.Thread.start, threading.Event()
    started: list[bool] = []
    threading.Thread(target=over.wait, daemon=True).start()  # signals are not blocked there
    scope = CancelScope(deadline=60, retry_timeout=1)

    def start_with_a_signal(thread: threading.Thread) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        until = time.monotonic() + 10
        while not scope._stopping.qsize() and time.monotonic() < until:  # noqa: SLF001 - a stop is requested there
            pass
        start(thread)
        started.append(True)

    monkeypatch.setattr(threading.Thread, "start", start_with_a_signal)
    with scope.watching(), pytest.raises(StoppedError):
        off_main_thread(over.wait)

    over.set()
    assert started == [True]
