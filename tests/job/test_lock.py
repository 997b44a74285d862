"""The job's lock when the dict database is an SQLite file: a file beside it."""

from __future__ import annotations

import fcntl
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.harness.job import Job


def test_the_lock_of_sqlite_is_a_file(job: Job) -> None:
    job.settle({1: 1, 2: 1})
    job.list([1, 2])
    job.diff()
    lock = job.folder / "ppcdict.db.chatsync-lock"
    with lock.open("w") as file:
        file.write("process 4711 on elsewhere")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)

        result = job.apply()

        assert result.code == 6
        holder = f"another apply is running: process 4711 on elsewhere holds {lock}; nothing was written"
        assert result.err == f"chatsync: {holder}\n"
        assert job.off() == set()
    assert job.apply().code == 0
    assert lock.read_text() == f"process {os.getpid()} on {socket.gethostname()}"


def test_a_folder_that_takes_no_lock_file(job: Job) -> None:
    job.settle({1: 1, 2: 1})
    job.list([1, 2])
    job.diff()
    (job.folder / "ppcdict.db.chatsync-lock").mkdir()

    result = job.apply()

    assert result.code == 1
    assert "cannot open the lock file" in result.err
    assert job.off() == set()
