"""Real processes of chatsync that start quickly: forked from a process that has imported everything.

A start takes about 10 ms instead of 0.7 s, so that a test can kill hundreds.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

IMPORTED = (
    "chatsync.sync.applier",
    "chatsync.commands.apply",
    "chatsync.commands.diff",
    "chatsync.commands.set_modtime",
    "chatsync.commands.sync",
    "chatsync.config.load",
    "chatsync.databases.job_lock",
    "chatsync.exclusions.csv_file",
    "chatsync.exclusions.file",
    "chatsync.monitoring.notify",
    "chatsync.monitoring.traces",
    "chatsync.sync.planner",
    "chatsync.sync.mark_synced",
    "chatsync.ytsaurus.table",
    "mysql.connector",
    "numpy",
    "sqlalchemy.dialects.mysql.mysqlconnector",
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.job import Job


class Forks:
    """Starts commands and waits for them; `with Forks(job) as forks: forks.run("diff")`."""

    def __init__(self, job: Job, name: str = "output") -> None:
        self.output = job.folder / name
        self._config = job.config
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.forks"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate(timeout=60)

    def start(self, *arguments: str) -> int:
        """Start a command; returns its process id. What it prints goes to `output`."""
        return self._ask({"start": ["-c", str(self._config), *arguments], "output": str(self.output)})

    def wait(self, pid: int) -> int:
        """Wait for the end: the exit code, or minus the signal."""
        return self._ask({"wait": pid})

    def run(self, *arguments: str) -> int:
        """Run a command to its end."""
        return self.wait(self.start(*arguments))

    def kill(self, pid: int) -> int:
        """Kill (SIGKILL) and wait."""
        os.kill(pid, signal.SIGKILL)  # until it is waited for, its id is not given to another process
        return self.wait(pid)

    def _ask(self, question: dict[str, Any]) -> int:
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(json.dumps(question) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


def child(arguments: list[str], output: Path | str) -> None:
    """Run the command line in the forked process: with its own output, and signals as a shell sets them."""
    from chatsync import cli  # imported before the fork

    signal.signal(signal.SIGINT, signal.default_int_handler)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    code = cli.run(arguments)
    sys.stdout.flush()
    os._exit(code)


def serve() -> None:
    for module in IMPORTED:
        importlib.import_module(module)
    for line in sys.stdin:
        question = json.loads(line)
        if "start" in question:
            pid = os.fork()
            if not pid:
                child(question["start"], question["output"])
            answer = pid
        else:
            _, status = os.waitpid(question["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    serve()
