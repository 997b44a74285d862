"""One invocation of the program: global options, configuration, deadline, metrics and the line in the step log."""

from __future__ import annotations

import os
import sys
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
    """What the commands share: the path of the configuration, and the fields of log lines about the command.

    `trace_id` identifies the chain: `diff` makes it, the other commands take it from the plan. `method`
    is the name of the command, and `span_id` identifies this invocation. `is_step` is false if an operator
    uses a command of the chain for something else (an undo, a mod-time set by hand). `log_service` and
    `log_method` are the names of the job in log lines, from the configuration.
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
        """Whether expected errors are shown with a traceback."""
        return self.verbose > 1

    @property
    def settings(self) -> Settings:
        """The configuration, loaded at the first use, so that help works without it. Raises ConfigError."""
        if self._settings is None:
            from chatsync.config import load, places  # late, so that help is quick

            self._settings = load.load(places.find_config(self.config))
            self.log_service, self.log_method = self._settings.logs.service, self._settings.logs.method
        return self._settings

    @property
    def scope(self) -> CancelScope:
        """The cancel scope (deadline and stop request) that `begin` has started."""
        if self._scope is None:
            raise RuntimeError("no deadline before begin()")
        return self._scope

    @contextmanager
    def begin(self, *, retry_timeout: float | None = None) -> Iterator[tuple[Settings, CancelScope]]:
        """Load the configuration and start the deadline; inside the block, signals stop the command.

        `retry_timeout`, in seconds, replaces `run.retry_timeout`.
        """
        from chatsync.cancel_scope import CancelScope  # late, as above

        run = self.settings.run
        self._scope = CancelScope(
            deadline=run.deadline, retry_timeout=run.retry_timeout if retry_timeout is None else retry_timeout
        )
        with self._scope.watching():
            yield self.settings, self._scope

    def next_step(self, method: str) -> None:
        """End a successful step of the chain and begin the next one in the same process."""
        if method != self.method:
            self.end(ExitCode.OK)
        self.method, self.span_id = method, os.urandom(8).hex()
        self._facts, self._plan = [], None
        self._began = time.monotonic()

    def take_up(self, plan: Plan) -> None:
        """Set the current plan: its trace id goes into log lines, its verdict and counts into the step log."""
        self.trace_id, self._plan = plan.trace_id, plan

    def note(self, facts: Facts) -> None:
        """Keep facts for the metrics."""
        self._facts.append(facts)

    def note_modtime(self, modtime: datetime, *, reason: str | None) -> None:
        """Keep the mod-time that an operator has set, and why."""
        self._by_hand = modtime, reason

    def note_failure(self, message: str, error: ChatsyncError | None = None) -> None:
        """Keep the error that ends the command."""
        self._message, self._failure = message, error

    def end(self, code: int) -> None:
        """Write the metrics and the line in the step log, however the command ended."""
        if self._settings is None and not code:  # only help was asked for
            return
        from chatsync.monitoring.traces import Ending, leave_traces  # late, so that help is quick

        modtime, reason = self._by_hand or (None, None)
        mistyped = code == ExitCode.USAGE and sys.stdin is not None and sys.stdin.isatty()
        ending = Ending(
            method=self.method,
            is_step=self.is_step and not mistyped,  # cron has no terminal
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
