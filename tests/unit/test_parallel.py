"""Threads of a command: an error that a signal raises while one is started is not lost."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from chatsync.errors import DeadlineError
from chatsync.parallel import off_main_thread

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_deadline_while_a_thread_starts_is_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading._start_new_thread  # type: ignore[attr-defined]  # noqa: SLF001 - where the signal comes
    running = threading.Event()

    def start_and_raise(bootstrap: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        start(bootstrap, arguments)
        running.wait()
        raise DeadlineError("the deadline passed")

    monkeypatch.setattr(threading, "_start_new_thread", start_and_raise)

    with pytest.raises(DeadlineError, match="the deadline passed"):
        off_main_thread(running.set)
