"""One invocation of the program: its global options, its configuration, its run."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chatsync.errors import ChatsyncError, ConfigError, DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chatsync.cancel_scope import CancelScope
    from chatsync.config.settings import Settings
    from chatsync.monitoring.metrics import Facts


CHAIN = ("diff", "apply", "set-modtime")


@dataclass
class Invocation:
    """What the commands share: where the configuration is, and what log lines say of the command.

    `trace_id` is that of the chain: `diff` makes it, the others take it from the plan. `method` is
    the command's name, `span_id` is its own. `facts` are for the metrics; a command of the chain
    that an operator runs for other ends (an undo, a mod-time) is no step of it.
    """

    config: Path | None = None
    tracebacks: bool = False
    log_format: str = "text"
    method: str = ""
    trace_id: str = field(default_factory=lambda: os.urandom(16).hex())
    span_id: str = field(default_factory=lambda: os.urandom(8).hex())
    is_step: bool = True
    facts: Facts = field(default_factory=dict)
    _textfile: str | None = None
    _began: float = field(default_factory=time.monotonic)

    def settings(self) -> Settings:
        """Load the configuration; only commands that need it do, so that help works without."""
        from chatsync.config.load import find_config, load  # late, so that help is quick

        settings = load(find_config(self.config))
        self._textfile = settings.metrics.textfile
        return settings

    def note(self, facts: Facts) -> None:
        """Keep what the command learnt for the metrics."""
        from chatsync.monitoring.metrics import merge  # late, as above

        self.facts = merge(self.facts, facts)

    def note_failure(self, error: ChatsyncError) -> None:
        """Keep which database failed the command."""
        if isinstance(error, DatabaseError) and error.database:
            from chatsync.monitoring.metrics import of_failure  # late, as above

            self.note(of_failure(error.database))

    def end(self, code: int) -> None:
        """Leave the metrics of a command of the chain, however it ended; never raises."""
        if self.method not in CHAIN:
            return
        textfile = self._textfile
        if textfile is None and code:
            textfile = self._configured_textfile()
        if textfile:
            from chatsync.monitoring import metrics  # late, as above

            step = self.method if self.is_step else None
            metrics.record(textfile, self.facts, step=step, code=code, seconds=time.monotonic() - self._began)

    def _configured_textfile(self) -> str:
        """Find the metrics file although the configuration was never loaded, or is wrong."""
        from chatsync.config.load import find_config, metrics_file  # late, as above

        try:
            return metrics_file(find_config(self.config))
        except ConfigError:
            return ""

    @contextmanager
    def begin(self) -> Iterator[tuple[Settings, CancelScope]]:
        """Load the configuration and start the clock of a command; signals count from here on."""
        from chatsync.cancel_scope import start_scope  # late, as above

        settings = self.settings()
        scope = start_scope(settings)
        with scope.watching():
            yield settings, scope
