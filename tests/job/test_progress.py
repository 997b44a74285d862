"""Progress is shown only to a person at a terminal, on standard error."""

from __future__ import annotations

import os
import pty
from typing import TYPE_CHECKING

import pytest

from tests.harness.job import TABLE, Job
from tests.harness.yt_tables import IdRows

if TYPE_CHECKING:
    from tests.harness.yt_proxy import YtProxy

ROWS = 60_000


def read_all(terminal: int) -> str:
    """Read what was written to a terminal whose other side is closed by now."""
    pieces = []
    while True:
        try:
            pieces.append(os.read(terminal, 65536))
        except OSError:  # Linux: nobody holds the other side any more
            return b"".join(pieces).decode()


def fill(job: Job, yt: YtProxy) -> None:
    job.keep_list_in(yt)
    schema = [{"name": "client_id", "type": "int64"}]
    yt.cypress.write(TABLE, IdRows("client_id", "\n".join(map(str, range(1, ROWS + 1))).encode()), schema=schema)


@pytest.mark.slow
def test_a_terminal_shows_how_far_it_is(job: Job, yt: YtProxy) -> None:
    fill(job, yt)
    ours, theirs = pty.openpty()
    with job.start("diff", "--format", "csv", stderr=theirs) as process:
        os.close(theirs)
        shown = read_all(ours)
        out, _ = process.communicate(timeout=60)
    os.close(ours)

    assert (process.returncode, out) == (0, "action,shard,client_id\n")
    assert "reading the list" in shown
    assert "100%" in shown


def test_no_terminal_no_progress(job: Job, yt: YtProxy) -> None:
    fill(job, yt)

    result = job.run("diff", "--format", "csv")

    assert (result.code, result.out, result.err) == (0, "action,shard,client_id\n", "")
