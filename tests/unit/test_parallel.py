"""Threads of a command: a signal that comes while one is started waits until it has started."""

from __future__ import annotations

import signal
import sys
import threading
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
