"""How long a command retries."""

from __future__ import annotations

import pytest

from chatsync.cancel_scope import CancelScope


class Clock:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(("gets_on", "attempts"), [(False, 2), (True, 5)])
def test_trying_again_counts_from_the_first_fault_and_from_each_step_forward(
    monkeypatch: pytest.MonkeyPatch, gets_on: bool, attempts: int
) -> None:
    clock, done = Clock(), []
    monkeypatch.setattr("chatsync.cancel_scope.time", clock)
    run = CancelScope(deadline=1e6, retry_timeout=60)
    monkeypatch.setattr(run, "wait", lambda _seconds: None)

    def work_for_long_and_break() -> int:
        clock.now += 100  # longer than retry_timeout
        done.append(1)
        if len(done) < 5:
            raise OSError
        return len(done)

    def try_again() -> int:
        return run.retry(
            work_for_long_and_break,
            what="work",
            is_transient=lambda _: True,
            mark=lambda: len(done) if gets_on else 0,
        )

    if gets_on:
        assert try_again() == 5
    else:
        with pytest.raises(OSError):  # noqa: PT011  # it is raised as it came
            try_again()
    assert len(done) == attempts
