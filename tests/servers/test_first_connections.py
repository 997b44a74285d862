"""The first connections of a process, opened by several threads at once."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.harness.job import Job
from tests.harness.schema import create_world

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.servers import Server

RUNS = int(os.environ.get("CHATSYNC_TEST_RUNS", "10"))

# As many threads as there are shards, let go at once: once in some 150 processes the driver crashed.
OPEN_ALL = """
import sys, threading
from pathlib import Path
from chatsync.cancel_scope import CancelScope
from chatsync.config.load import load
from chatsync.databases.connection import Database
import sqlalchemy as sa
url = load(Path(sys.argv[1])).databases.dict
together = threading.Barrier(16)
def ask():
    together.wait()
    with Database(url, name="dict", scope=CancelScope(deadline=60, retry_timeout=1)) as database:
        database.rows(sa.text("SELECT 1"), {}, what="ask")
threads = [threading.Thread(target=ask) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_a_process_survives_its_first_connections(server_job: Job) -> None:
    """More runs by CHATSYNC_TEST_RUNS=700."""
    codes = [
        subprocess.run([sys.executable, "-c", OPEN_ALL, str(server_job.config)], check=False).returncode
        for _ in range(RUNS)
    ]

    assert codes == [0] * RUNS


# A process that has imported everything and opened nothing is forked for each run: importing takes longer than running.
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
def test_a_command_survives_its_first_connections(server: Server, tmp_path: Path, command: str, runs: int) -> None:
    """Many shards, and the whole command, as the monitoring runs it. More runs by CHATSYNC_TEST_RUNS=2000."""
    job = Job(tmp_path, create_world(server, shards=24))
    job.settle_off({shard: shard for shard in job.shards})
    job.list(job.shards)
    assert job.chain().code == 0

    arguments = [str(runs), "-c", str(job.config), command]
    done = subprocess.run([sys.executable, "-c", FORK_EACH, *arguments], capture_output=True, text=True, check=False)

    assert (done.stdout.split(), done.stderr) == (["0"] * runs, "")
