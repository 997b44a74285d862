"""One invocation of the program: its global options, its configuration, its run."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chatsync.config import find_config, load
from chatsync.run import Run, start_run
from chatsync.settings import Settings


@dataclass
class Session:
    """What the commands share: where the configuration is, and the id of the chain."""

    config: Path | None = None
    tracebacks: bool = False
    trace_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def settings(self) -> Settings:
        """Load the configuration; only commands that need it do, so that help works without."""
        return load(find_config(self.config))

    @contextmanager
    def begin(self) -> Iterator[tuple[Settings, Run]]:
        """Load the configuration and start the clock of a command; signals count from here on."""
        settings = self.settings()
        run = start_run(settings)
        with run.watching():
            yield settings, run
