"""What people read at a terminal of 80 columns, on a pseudo-terminal: nothing is wider, nothing is lost."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios

import pytest

from tests.harness.job import MODIFIED, Job, SqliteFiles

WIDTH, SHARDS, OFF = 80, 100, 200
LONG = "INC-7: the sales team rewrites the list and asks us to wait until Monday morning, nine o'clock"


def at_a_terminal(job: Job, *arguments: str) -> list[str]:
    """Run a command at a terminal and return the lines that it shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
    job.environment |= {"TERM": "xterm", "NO_COLOR": "1"}
    process = job.start(*arguments, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    process.communicate(timeout=60)
    os.close(ours)
    return shown.decode().replace("\r\n", "\n").splitlines()


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A hundred shards, four of which have changes, many unknown clients and rejected rows, and a run that failed."""
    folder = tmp_path_factory.mktemp("wide")
    job = Job(folder, SqliteFiles(folder, SHARDS))
    job.configure(records={"dir": "records"})
    job.settle({client: client % SHARDS + 1 for client in range(1, OFF + 1)})
    job.list(range(1, OFF + 1), modified=MODIFIED)
    assert job.chain("--force").code == 0
    listed = [
        *range(5, OFF + 1),
        *range(900_001, 900_015),
        "client 8811606, whom nobody knows by any other name",
        "n/a",
    ]
    job.list(listed, modified=MODIFIED + 60)
    assert job.run("set-modtime", "--disable", "--reason", LONG).code == 0
    assert job.run("set-modtime", "--reset").code == 0
    assert job.diff("--limit", "0").code == 0
    job.list_file.rename(folder / "away.csv")
    assert job.diff().code == 1
    (folder / "away.csv").rename(job.list_file)
    return job


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "history", "history --all", "diff", "doctor", "explain 1"])
def test_no_line_is_wider(wide: Job, command: str) -> None:
    lines = at_a_terminal(wide, *command.split())

    # Only a path or an id that is longer itself may stand out: it is never cut.
    assert [line for line in lines if len(line) > WIDTH and " " in line.strip()[: WIDTH - 1].lstrip("! ")] == []
    assert len(lines) > 1


@pytest.mark.slow
def test_status_says_what_counts_on_one_screen(wide: Job) -> None:
    text = "\n".join(at_a_terminal(wide, "status"))

    assert "\n96 unchanged  " in text
    assert "14 listed clients are on no shard and left out: 900001, 900002, 900003, 900004,\n900005 and 9 more" in text
    assert f"\n{wide.records()[0]['id'][:15]}  done " in text
    assert "undo of" not in text
    assert "failed  " not in text
    assert text.count("\n") < 45
