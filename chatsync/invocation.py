"""One invocation of the program: its global options, its configuration, its deadline, and what it leaves behind."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chatsync.cancel_scope import CancelScope
from chatsync.errors import ChatsyncError, ConfigError, DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chatsync.config.settings import Settings
    from chatsync.monitoring.metrics import Facts


CHAIN = ("diff", "apply", "set-modtime")


@dataclass
class Invocation:
    """What the commands share: where the configuration is, and what log lines say of the command.

    `trace_id` is that of the chain: `diff` makes it, the others take it from the plan. `method` is
    the command's name, `span_id` is its own. A command of the chain that an operator runs for other
    ends (an undo, a mod-time set by hand) is no step of it: `is_step` is false then.
    """

    config: Path | None = None
    tracebacks: bool = False
    log_format: str = "text"
    method: str = ""
    trace_id: str = field(default_factory=lambda: os.urandom(16).hex())
    span_id: str = field(default_factory=lambda: os.urandom(8).hex())
    is_step: bool = True
    _facts: list[Facts] = field(default_factory=list)
    _error: ChatsyncError | None = None
    _settings: Settings | None = None
    _began: float = field(default_factory=time.monotonic)

    def settings(self) -> Settings:
        """Load the configuration; only commands that need it do, so that help works without."""
        from chatsync.config.load import find_config, load  # late, so that help is quick

        self._settings = load(find_config(self.config))
        return self._settings

    @contextmanager
    def begin(self) -> Iterator[tuple[Settings, CancelScope]]:
        """Load the configuration and start the deadline; inside the block signals stop the command."""
        settings = self.settings()
        scope = CancelScope(deadline=settings.run.deadline, retry_timeout=settings.run.retry_timeout)
        with scope.watching():
            yield settings, scope

    def note(self, facts: Facts) -> None:
        """Keep what the command learnt, for the metrics."""
        self._facts.append(facts)

    def note_failure(self, error: ChatsyncError) -> None:
        """Keep the error that ends the command."""
        self._error = error

    def end(self, code: int) -> None:
        """Leave the metrics of a command of the chain, however it ended. Never raises."""
        if self.method not in CHAIN or (self._settings is None and not code):  # the latter was asked for help
            return
        from chatsync.config.load import find_config, metrics_file  # late, so that help is quick
        from chatsync.monitoring import metrics

        textfile = ""
        if self._settings is not None:
            textfile = self._settings.metrics.textfile
        else:  # also a wrong configuration may name the metrics file
            try:
                textfile = metrics_file(find_config(self.config))
            except ConfigError:
                return
        if textfile:
            facts = self._facts
            if isinstance(self._error, DatabaseError) and self._error.database:
                facts = [*facts, metrics.of_failure(self._error.database)]
            step = self.method if self.is_step else None
            metrics.record(textfile, facts, step=step, code=code, seconds=time.monotonic() - self._began)
