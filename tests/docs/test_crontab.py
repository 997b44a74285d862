"""The lines of crontab.example do what their comments say: run as written, by sh, in the demo's world."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from chatsync.demo_world import write_world

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = (Path(__file__).parents[2] / "crontab.example").read_text(encoding="utf-8").splitlines()
TIMES = re.compile(r"((?:[\d*/,-]+ ){5})(.+)")
HALF_HOURLY, NIGHTLY = (found[2] for line in LINES if (found := TIMES.fullmatch(line)))
PAGE, *SHORT = [
    found[2] for line in LINES if (found := TIMES.fullmatch(line.removeprefix("#"))) and line.startswith("#")
]


@dataclass
class Cron:
    """What cron is to a job: its variables, a shell, and a place; here with paths of the test's own."""

    folder: Path
    variables: dict[str, str]

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        shell = ["/bin/sh", "-c", command]
        return subprocess.run(
            shell, env=self.variables, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")

    def off(self) -> set[int]:
        found: set[int] = set()
        for number in range(1, 5):
            with closing(sqlite3.connect(self.folder / "demo" / f"shard{number}.db")) as shard:
                query = "SELECT ClientID FROM clients_features WHERE feature_id = 217 AND is_enabled = 0"
                found |= {client for (client,) in shard.execute(query)}
        return found

    def toggle(self) -> None:
        """Turn some clients of shard 1 on by hand."""
        with closing(sqlite3.connect(self.folder / "demo" / "shard1.db")) as shard, shard:
            shard.execute("UPDATE clients_features SET is_enabled = 1 WHERE feature_id = 217 AND ClientID % 17 = 0")


def test_the_nightly_lines_read_the_databases_and_not_an_export() -> None:
    """An export does not show later changes by others."""
    nightly = [line for line in LINES if re.match(r"#?\d+ \d+ \* \* \* .*chatsync -v (diff|sync)", line)]

    assert len(nightly) == 2
    assert all(re.search(r"chatsync -v (diff|sync --full) --live ", line) for line in nightly)


@pytest.fixture
def cron(tmp_path: Path) -> Cron:
    write_world(tmp_path / "demo")
    variables = dict(re.findall(r"^([A-Z_]+)=(.*)$", "\n".join(LINES), re.MULTILINE))
    ours = {name: str(tmp_path / name.lower()) for name in ("PLAN", "LOCK", "LOG")}
    assert {*ours, "CHATSYNC_CONFIG", "PATH"} <= set(variables)
    path = f"{Path(sys.executable).parent}:{variables['PATH']}"
    inherited = {name: value for name, value in os.environ.items() if name.startswith(("COV", "PYTHON"))}
    config = str(tmp_path / "demo" / "chatsync.toml")
    return Cron(tmp_path, {**inherited, **variables, **ours, "CHATSYNC_CONFIG": config, "PATH": path})


class Switch(ThreadingHTTPServer):
    """A dead man's switch: `pings` are the paths asked for; `gate` closed, it never answers."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Ping)
        self.pings: SimpleQueue[str] = SimpleQueue()
        self.gate = threading.Event()
        self.gate.set()


class Ping(BaseHTTPRequestHandler):
    server: Switch

    def do_GET(self) -> None:
        self.server.pings.put(self.path)
        self.server.gate.wait()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def switch(cron: Cron) -> Iterator[Switch]:
    with Switch() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        cron.variables["PING"] = f"http://127.0.0.1:{server.server_address[1]}/chatsync"
        yield server
        server.gate.set()
        server.shutdown()


def test_nothing_for_cron_to_stumble_over() -> None:
    assert "PING" not in dict(line.split("=", 1) for line in LINES if re.match(r"[A-Z_]+=", line))
    for line in LINES:
        assert not line or line.startswith("#") or re.match(r"[A-Z_]+=", line) or TIMES.fullmatch(line), line
    assert "%" not in HALF_HOURLY + NIGHTLY
    assert [found[1].strip() for line in LINES if (found := TIMES.fullmatch(line))] == ["*/30 * * * *", "10 4 * * *"]


@pytest.mark.slow
def test_the_half_hourly_chain_syncs_and_then_has_nothing_to_do(cron: Cron) -> None:
    before = cron.off()

    first = cron.run(HALF_HOURLY)
    after = cron.off()
    second = cron.run(HALF_HOURLY)

    assert [(done.returncode, done.stdout, done.stderr) for done in (first, second)] == [(0, "", "")] * 2
    assert (len(after - before), len(before - after), cron.off()) == (57, 31, after)
    assert re.findall(r"diff: ([a-z-]+)", cron.log) == ["changes", "not-modified"]


@pytest.mark.slow
def test_the_nightly_chain_heals_what_the_half_hourly_one_cannot_see(cron: Cron) -> None:
    assert cron.run(HALF_HOURLY).returncode == 0
    synced = cron.off()
    cron.toggle()

    assert (cron.run(HALF_HOURLY).returncode, cron.off() == synced) == (0, False)
    assert (cron.run(NIGHTLY).returncode, cron.off() == synced) == (0, True)


@pytest.mark.programs
def test_one_chain_at_a_time(cron: Cron, switch: Switch) -> None:
    before = cron.off()
    with (cron.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cron.run(HALF_HOURLY).returncode == 75

    assert (cron.off(), cron.log) == (before, "")
    assert cron.run(HALF_HOURLY).returncode == 0
    assert switch.pings.get(timeout=30) == "/chatsync/0"
    assert switch.pings.empty()


@pytest.mark.programs
@pytest.mark.slow
def test_the_short_lines_do_the_same(cron: Cron) -> None:
    half_hourly, nightly = SHORT
    before = cron.off()

    assert (cron.run(half_hourly).returncode, cron.run(half_hourly).returncode) == (0, 0)
    synced = cron.off()
    cron.toggle()

    assert len(synced - before) == 57
    assert (cron.run(half_hourly).returncode, cron.off() == synced) == (0, False)
    assert (cron.run(nightly).returncode, cron.off() == synced) == (0, True)
    assert re.findall(r"diff: ([a-z-]+)", cron.log) == ["changes", "not-modified", "not-modified", "changes"]


@pytest.mark.slow
def test_the_page_is_written(cron: Cron) -> None:
    page = cron.folder / "index.html"

    assert cron.run(HALF_HOURLY).returncode == 0
    assert cron.run(PAGE.replace("/srv/chatsync/index.html", str(page))).returncode == 0
    assert "<h1>" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [HALF_HOURLY, NIGHTLY], ids=["half-hourly", "nightly"])
def test_the_switch_is_told_how_a_chain_ended(cron: Cron, switch: Switch, command: str) -> None:
    (cron.folder / "demo" / "exclusions.csv").unlink()

    assert cron.run(command).returncode == 1
    assert switch.pings.get(timeout=30) == "/chatsync/1"
    assert "cannot read the list" in cron.log


@pytest.mark.programs
def test_a_ping_that_hangs_holds_up_nothing_and_eats_no_exit_code(cron: Cron, switch: Switch) -> None:
    switch.gate.clear()
    (cron.folder / "demo" / "chatsync.toml").write_text("")

    assert cron.run(HALF_HOURLY).returncode == 2
    assert switch.pings.get(timeout=30) == "/chatsync/2"
    with (cron.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # would raise if the ping kept it
