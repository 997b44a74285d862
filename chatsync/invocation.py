"""One invocation of the program: global options, and what its commands found and did, for metrics and step log."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chatsync.errors import ChatsyncError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from chatsync.cancel_scope import CancelScope
    from chatsync.config.settings import Settings
    from chatsync.core import Plan, ShardResult


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
    _plan: Plan | None = None
    _seen_at: datetime | None = None
    _results: Sequence[ShardResult] | None = None
    _modtime: datetime | None = None
    _modtime_at: datetime | None = None
    _reason: str | None = None
    _failure: ChatsyncError | None = None
    _message: str | None = None
    _settings: Settings | None = None
    _scope: CancelScope | None = None
    _began: float = field(default_factory=time.monotonic)

    @property
    def tracebacks(self) -> bool:
        """Whether expected errors are shown with a traceback."""
        return self.verbose > 1

    @property
    def settings(self) -> Settings:
        """The configuration that the command has loaded."""
        if self._settings is None:
            raise RuntimeError("no configuration before load_settings()")
        return self._settings

    @property
    def is_configured(self) -> bool:
        """Whether the configuration was loaded."""
        return self._settings is not None

    def configure(self, settings: Settings) -> None:
        """Keep the configuration; log lines name the job as it says."""
        self._settings = settings
        self.log_service, self.log_method = settings.logs.service, settings.logs.method

    @property
    def scope(self) -> CancelScope:
        """The cancel scope (deadline and stop request) of the command."""
        if self._scope is None:
            raise RuntimeError("no deadline before begin()")
        return self._scope

    @scope.setter
    def scope(self, scope: CancelScope) -> None:
        self._scope = scope

    def next_step(self, method: str) -> None:
        """End a successful step of the chain and begin the next one in the same process."""
        if method != self.method:
            self.end(ExitCode.OK)
        self.method, self.span_id = method, os.urandom(8).hex()
        self._plan = self._seen_at = self._results = None
        self._began = time.monotonic()

    def take_up(self, plan: Plan, *, seen_at: datetime | None = None) -> None:
        """Set the current plan: its trace id goes into log lines, its verdict and counts into the step log.

        `seen_at` is when the command itself saw what the plan says, by the dict database's clock.
        """
        self.trace_id, self._plan, self._seen_at = plan.trace_id, plan, seen_at or self._seen_at

    def note_results(self, results: Sequence[ShardResult]) -> None:
        """Keep what an apply did."""
        self._results = results

    def note_modtime(self, modtime: datetime, *, now: datetime, reason: str | None = None) -> None:
        """Keep the mod-time that was set, and why, if an operator set it."""
        self._modtime, self._modtime_at, self._reason = modtime, now, reason

    def note_failure(self, message: str, error: ChatsyncError | None = None) -> None:
        """Keep the error that ends the command."""
        self._message, self._failure = message, error

    def end(self, code: int) -> None:
        """Write the metrics and the line in the step log, however the command ended."""
        if self._settings is None and not code:  # only help was asked for
            return
        from chatsync.monitoring.traces import Ending, leave_traces  # late: help leaves none

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
            seen_at=self._seen_at,
            results=self._results,
            modtime=self._modtime,
            modtime_at=self._modtime_at,
            reason=self._reason,
        )
        leave_traces(ending, self._settings or self.config)
