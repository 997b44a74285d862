"""A world whose databases are exported to YT: the stand-in with list and export, and databases of what differs.

The databases hold the clients that differ, and nothing else: a diff from an export asks for no other.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.measure import BenchError, Command
from bench.world import FEATURE, FEATURE_ID, TABLE
from tests.harness.export import LAST_APPLY, PATH, table
from tests.harness.schema import create_sqlite
from tests.harness.servers import dies_with_parent
from tests.harness.yt_proxy import YtProxy
from tests.harness.yt_tables import IdRows

if TYPE_CHECKING:
    from bench.world import Ids, Size

FEATURES = (42, 43, FEATURE_ID)
COLUMNS = ("ClientID", "feature_id", "is_enabled")
_KINDS = ("uint32", "uint32", "int8")
_NOWHERE = Path(__file__).with_name("nowhere.py")
_ROWS_A_PIECE = 100_000
_SKIFF = np.dtype(
    [("table", "<u2"), *((name, kind) for at in range(3) for name, kind in ((f"is{at}", "u1"), (f"v{at}", "<u8")))]
)
_ROW_BINARY = np.dtype([("client", "<u4"), ("feature", "<u4"), ("enabled", "i1")])


class ExportRows(Sequence[Any]):
    """The rows of a shard's table, three of each client, as numbers: 30 million take 270 MB."""

    def __init__(self, clients: Ids) -> None:
        """Take the clients that are off; those of the other features are on."""
        self._rows = np.empty(len(clients) * len(FEATURES), dtype=_ROW_BINARY)
        self._rows["client"] = np.repeat(np.sort(clients), len(FEATURES))
        self._rows["feature"] = np.tile(FEATURES, len(clients))
        self._rows["enabled"] = self._rows["feature"] != FEATURE_ID

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        """Return one row as a map."""
        return dict(zip(COLUMNS, map(int, self._rows[index]), strict=True))

    def skiff(self, start: int, stop: int) -> Any:
        """Yield these rows in the format skiff, with all columns."""
        for first in range(start, stop, _ROWS_A_PIECE):
            rows = self._rows[first : min(first + _ROWS_A_PIECE, stop)]
            out = np.empty(len(rows), dtype=_SKIFF)
            out["table"] = 0
            for at, name in enumerate(("client", "feature", "enabled")):
                out[f"is{at}"], out[f"v{at}"] = 1, rows[name]
            yield out.tobytes()

    def row_binary(self) -> bytes:
        """Return all rows in ClickHouse's format of that name."""
        return self._rows.tobytes()


def clients_of(size: Size) -> Ids:
    """Return all clients: the first are to be turned on, the last to be turned off, the others need no change."""
    return np.arange(1, (size.clients + size.drifted) * 10, 10, dtype=np.int64)


class ExportedWorld:
    """Databases, list, export and configurations, of one size."""

    def __init__(self, folder: Path, size: Size, *, clique: bool) -> None:
        """Make the databases and start the stand-in; with `clique`, it has a ClickHouse."""
        self.size, self.folder = size, folder
        self.plan = folder / "plan.json"
        folder.mkdir()
        self.environment = {"PYTHONPATH": str(_as_installed(folder))}
        self._fill(create_sqlite(folder, size.shards))
        options = [f"--clients={size.clients}", f"--shards={size.shards}", f"--drift={size.drift}"]
        command = [sys.executable, "-m", "bench.exported", *options, *(["--clique"] if clique else [])]
        self.process = subprocess.Popen(dies_with_parent(command), stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip() if self.process.stdout else ""

    def _fill(self, files: dict[str, Path]) -> None:
        size, known = self.size, clients_of(self.size)
        with closing(sqlite3.connect(files["ppcdict"])) as connection, connection:
            connection.execute("INSERT INTO features VALUES (?, ?, ?, NULL)", (FEATURE_ID, FEATURE, FEATURE))
            connection.execute("INSERT INTO ppc_properties (name, value) VALUES (?, '2026-01-01')", (LAST_APPLY,))
            differing = np.concatenate([known[: size.drifted], known[-size.drifted :]])
            homes = ((int(client), int(client // 10 % size.shards + 1)) for client in differing)
            connection.executemany("INSERT INTO shard_client_id VALUES (?, ?)", homes)
        for shard in range(1, size.shards + 1):
            ours = known[: size.drifted][known[: size.drifted] // 10 % size.shards + 1 == shard]
            with closing(sqlite3.connect(files[f"ppc{shard}"])) as connection, connection:
                rows = ((int(client), FEATURE_ID) for client in ours)
                connection.executemany("INSERT INTO clients_features VALUES (?, ?, 0)", rows)
        self._databases = files

    def diff(self, *, clique: str = "") -> Command:
        """Make the plan, on this machine or on a clique."""
        config = self.folder / f"chatsync-{clique or 'here'}.toml"
        shards = [f'{shard} = "sqlite:///{self._databases[f"ppc{shard}"]}"' for shard in range(1, self.size.shards + 1)]
        lines = [
            "[exclusions]", f'proxy = "{self.url}"', f'path = "{TABLE}"',
            "[export]", f'path = "{PATH}"', 'takes = "0s"', f'clique = "{clique}"',
            "[databases]", f'dict = "sqlite:///{self._databases["ppcdict"]}"', "[databases.shards]", *shards,
        ]  # fmt: skip
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")

        def check() -> None:
            plan = json.loads(self.plan.read_text(encoding="utf-8"))
            for action in ("turn_off", "turn_on"):
                found = sum(map(len, plan[action].values()))
                if found != self.size.drifted or plan["export"]["unused"]:
                    raise BenchError(f"{found} to {action}, not {self.size.drifted}: {plan['export']}")

        chatsync = str(Path(sys.executable).with_name("chatsync"))
        argv = [chatsync, "-c", str(config), "diff", "--plan", str(self.plan)]
        return Command(argv=argv, environment=self.environment, check=check)

    def download(self) -> Command:
        """Download list and export with the real client, and discard every byte."""
        tables = [table(shard) for shard in range(1, self.size.shards + 1)]
        return Command(argv=[sys.executable, str(_NOWHERE), self.url, TABLE, *tables])

    def start(self) -> Command:
        """Start chatsync with all that a diff loads, and end."""
        modules = "chatsync.cli, chatsync.commands.diff, chatsync.export.on_clique, sqlalchemy.dialects.sqlite, numpy"
        argv = shlex.split(f"{shlex.quote(sys.executable)} -c 'import {modules}'")
        return Command(argv=argv, environment=self.environment)


def _as_installed(folder: Path) -> Path:
    """Return a folder for the module path that hides a package of the tests.

    The YT client loads it where it is there, which takes 7 MB; the program does not need it, so it is not installed
    with it.
    """
    hiding = folder / "hiding"
    hiding.mkdir()
    (hiding / "cryptography.py").write_text("raise ImportError\n", encoding="utf-8")
    return hiding


def main() -> None:
    """Serve list and export until the end of the process that started this one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int)
    parser.add_argument("--shards", type=int)
    parser.add_argument("--drift", type=float)
    parser.add_argument("--clique", action="store_true")
    options = parser.parse_args()
    drifted = max(1, round(options.clients * options.drift))
    known = np.arange(1, (options.clients + drifted) * 10, 10, dtype=np.int64)
    proxy = YtProxy()
    proxy.compression = False
    listed = known[drifted:].copy()
    np.random.default_rng(1).shuffle(listed)
    body = b"\n".join(b"%d" % client for client in listed.tolist())
    schema = [{"name": "client_id", "type": "int64", "required": True}]
    modified = datetime.now(UTC)
    proxy.cypress.write(TABLE, IdRows("client_id", body), modified=modified, schema=schema, strict=True)
    typed = [{"name": name, "type": kind, "required": True} for name, kind in zip(COLUMNS, _KINDS, strict=True)]
    off = known[: options.clients]
    for shard in range(1, options.shards + 1):
        rows = ExportRows(off[off // 10 % options.shards + 1 == shard])
        proxy.cypress.write(table(shard), rows, modified=modified, schema=typed, strict=True)
    if options.clique:
        from tests.harness.clickhouse import ClickHouse

        proxy.cliques["chatsync"] = ClickHouse()
    with proxy:
        sys.stdout.write(f"{proxy.url}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
