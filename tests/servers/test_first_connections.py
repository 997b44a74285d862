"""The first connections of a process, opened by several threads at once."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.harness.job import Job
from tests.harness.schema import create_world
from tests.harness.servers import Server

if TYPE_CHECKING:
    from pathlib import Path

RUNS = int(os.environ.get("CHATSYNC_TEST_RUNS", "10"))

# As many threads as there are shards, let go at once, in a process that is forked for each run, as importing takes
# longer than connecting: without the set-up of the driver, about one in 40 crashed.
OPEN_ALL = """
import os, sys, threading
from pathlib import Path
from chatsync.cancel_scope import CancelScope
from chatsync.config.load import load
from chatsync.databases.connection import Database
import mysql.connector
import sqlalchemy as sa
url = load(Path(sys.argv[2])).databases.dict
def run():
    together = threading.Barrier(8)
    def ask():
        with Database(url, name="dict", scope=CancelScope(deadline=60, retry_timeout=1)) as database:
            together.wait()
            database.rows(sa.text("SELECT 1"), {}, what="ask")
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
for _ in range(int(sys.argv[1])):
    child = os.fork()
    if not child:
        run()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_process_survives_its_first_connections(server_job: Job) -> None:
    """More runs by CHATSYNC_TEST_RUNS=2000."""
    assert codes(OPEN_ALL, RUNS, str(server_job.config)) == [0] * RUNS


def codes(program: str, runs: int, *arguments: str) -> list[int]:
    """Return how each of the forked processes ended."""
    command = [sys.executable, "-c", program, str(runs), *arguments]
    return [int(code) for code in subprocess.check_output(command, text=True).split()]


# The same for a whole command.
FORK_EACH = """
import os, sys
from chatsync import cli
from chatsync.commands import check, doctor
import mysql.connector
for _ in range(int(sys.argv[1])):
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(int(cli.run(sys.argv[2:])))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize(("command", "runs"), [("check", RUNS), ("doctor", RUNS // 5)])
def test_a_command_survives_its_first_connections(tmp_path: Path, command: str, runs: int) -> None:
    """Many shards, and the whole command, as the monitoring runs it. More runs by CHATSYNC_TEST_RUNS=2000.

    Not on the server that other tests use: the grants on so many shards would stay there.
    """
    with Server() as server:
        survives(server, tmp_path, command, runs)


def survives(server: Server, tmp_path: Path, command: str, runs: int) -> None:
    job = Job(tmp_path, create_world(server, shards=24))
    job.settle_off({shard: shard for shard in job.shards})
    job.list(job.shards)
    assert job.chain().code == 0

    assert codes(FORK_EACH, runs, "-c", str(job.config), command) == [0] * runs
