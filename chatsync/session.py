"""One invocation of the program: its global options, its configuration, its run."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chatsync.run import Run
    from chatsync.settings import Settings


@dataclass
class Session:
    """What the commands share: where the configuration is, and what log lines say of the command.

    `trace_id` is that of the chain: `diff` makes it, the others take it from the plan. `method` is
    the command's name, `span_id` is its own.
    """

    config: Path | None = None
    tracebacks: bool = False
    log_format: str = "text"
    method: str = ""
    trace_id: str = field(default_factory=lambda: os.urandom(16).hex())
    span_id: str = field(default_factory=lambda: os.urandom(8).hex())

    def settings(self) -> Settings:
        """Load the configuration; only commands that need it do, so that help works without."""
        from chatsync.config import find_config, load  # noqa: PLC0415  # late, so that help is quick

        return load(find_config(self.config))

    @contextmanager
    def begin(self) -> Iterator[tuple[Settings, Run]]:
        """Load the configuration and start the clock of a command; signals count from here on."""
        from chatsync.run import start_run  # noqa: PLC0415  # late, as above

        settings = self.settings()
        run = start_run(settings)
        with run.watching():
            yield settings, run
