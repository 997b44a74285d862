"""One invocation of the program: its global options, its configuration, its deadline, and what it leaves behind."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chatsync.errors import ChatsyncError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from chatsync.cancel_scope import CancelScope
    from chatsync.config.settings import Settings
    from chatsync.core import Plan
    from chatsync.monitoring.metrics import Facts


@dataclass
class Invocation:
    """What the commands share: where the configuration is, and what log lines say of the command.

    `trace_id` is that of the chain: `diff` makes it, the others take it from the plan. `method` is
    the command's name, `span_id` is its own. A command of the chain that an operator runs for other
    ends (an undo, a mod-time set by hand) is no step of it: `is_step` is false then. `log_service` and
    `log_method` are what the configuration calls the job in log lines.
    """

    config: Path | None = None
    verbose: int = 0
    quiet: bool = False
    log_format: str = "text"
    method: str = ""
    trace_id: str = field(default_factory=lambda: os.urandom(16).hex())
    span_id: str = field(default_factory=lambda: os.urandom(8).hex())
    is_step: bool = True
    log_service: str = "chatsync"
    log_method: str = ""
    _facts: list[Facts] = field(default_factory=list)
    _plan: Plan | None = None
    _failure: ChatsyncError | None = None
    _message: str | None = None
    _by_hand: tuple[datetime, str | None] | None = None
    _settings: Settings | None = None
    _scope: CancelScope | None = None
    _began: float = field(default_factory=time.monotonic)

    @property
    def tracebacks(self) -> bool:
        """Whether an expected error is shown with its traceback."""
        return self.verbose > 1

    @property
    def settings(self) -> Settings:
        """The configuration, loaded when it is first asked for: help works without. Raises ConfigError."""
        if self._settings is None:
            from chatsync.config import load, places  # late, so that help is quick

            self._settings = load.load(places.find_config(self.config))
            self.log_service, self.log_method = self._settings.logs.service, self._settings.logs.method
        return self._settings

    @property
    def scope(self) -> CancelScope:
        """The deadline that `begin` has started."""
        if self._scope is None:
            raise RuntimeError("no deadline before begin()")
        return self._scope

    @contextmanager
    def begin(self, *, retry_timeout: float | None = None) -> Iterator[tuple[Settings, CancelScope]]:
        """Load the configuration and start the deadline; inside the block signals stop the command.

        `retry_timeout` in seconds stands in for `run.retry_timeout`.
        """
        from chatsync.cancel_scope import CancelScope  # late, as above

        run = self.settings.run
        self._scope = CancelScope(
            deadline=run.deadline, retry_timeout=run.retry_timeout if retry_timeout is None else retry_timeout
        )
        with self._scope.watching():
            yield self.settings, self._scope

    def next_step(self, method: str) -> None:
        """End a step of the chain that went well, and begin the next one in the same process."""
        if method != self.method:
            self.end(ExitCode.OK)
        self.method, self.span_id = method, os.urandom(8).hex()
        self._facts, self._plan = [], None
        self._began = time.monotonic()

    def take_up(self, plan: Plan) -> None:
        """Work on this plan from now on: log lines bear its trace id, the step log its verdict and counts."""
        self.trace_id, self._plan = plan.trace_id, plan

    def note(self, facts: Facts) -> None:
        """Keep what the command learnt, for the metrics."""
        self._facts.append(facts)

    def note_modtime(self, modtime: datetime, *, reason: str | None) -> None:
        """Keep the mod-time that an operator has set, and why."""
        self._by_hand = modtime, reason

    def note_failure(self, message: str, error: ChatsyncError | None = None) -> None:
        """Keep what ends the command."""
        self._message, self._failure = message, error

    def end(self, code: int) -> None:
        """Leave the traces of a command of the chain, however it ended: metrics and a line in the step log."""
        if self._settings is None and not code:  # only help was asked for
            return
        from chatsync.monitoring.traces import Ending, leave_traces  # late, so that help is quick

        modtime, reason = self._by_hand or (None, None)
        ending = Ending(
            method=self.method,
            is_step=self.is_step,
            trace_id=self.trace_id,
            code=code,
            seconds=time.monotonic() - self._began,
            error=self._failure,
            message=self._message,
            plan=self._plan,
            facts=self._facts,
            modtime=modtime,
            reason=reason,
        )
        leave_traces(ending, self._settings or self.config)
