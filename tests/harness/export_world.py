"""The demo's world with the list and an export of its databases in the YT stand-in: `make demo-export`.

`python -m tests.harness.export_world DIR` makes it in a new folder, shows each command that it runs there, and serves
until Enter is pressed, so that others can be tried. The clique needs chDB (`make .venv/installed-cluster`).
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from chatsync.demo_world import write_world
from tests.harness.export import COLUMNS, LAST_APPLY, PATH, TYPES, table
from tests.harness.job import TABLE
from tests.harness.yt_proxy import YtProxy

CLIQUE = "chatsync"
SHARDS = (1, 2, 3, 4)
APPLIED = "2026-01-15 09:40:12"  # so that a later export may be used


def make_world(folder: Path, yt: YtProxy) -> dict[str, Path]:
    """Write list and export into the stand-in; return the configurations without and, if it has one, with a clique."""
    sections = write_world(folder).read_text(encoding="utf-8").split("\n\n")[1:]
    with (folder / "exclusions.csv").open(encoding="utf-8") as file:
        cells = [{"client_id": row["client_id"]} for row in csv.DictReader(file)]
    yt.write(TABLE, rows=cells, schema=[{"name": "client_id", "type": "string"}], strict=True)
    for shard in SHARDS:
        with closing(sqlite3.connect(folder / f"shard{shard}.db")) as database:
            rows = database.execute(f"SELECT {', '.join(COLUMNS)} FROM clients_features ORDER BY 1, 2").fetchall()
        schema = [{"name": name, "type": kind} for name, kind in zip(COLUMNS, TYPES, strict=True)]
        content = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        yt.write(table(shard), rows=content, schema=schema, strict=True, modified=datetime.now(UTC))
    with closing(sqlite3.connect(folder / "dict.db")) as database, database:
        database.execute("INSERT INTO ppc_properties (name, value) VALUES (?, ?)", (LAST_APPLY, APPLIED))
    configs = {}
    for name, clique in {"export": "", "clique": CLIQUE}.items():
        if clique in {"", *yt.cliques}:
            keys = f'path = "{PATH}"\ntakes = "0s"' + (f'\nclique = "{clique}"' if clique else "")
            first = [f'[exclusions]\nproxy = "{yt.url}"\npath = "{TABLE}"', f"[export]\n{keys}"]
            configs[name] = folder / f"{name}.toml"
            configs[name].write_text("\n\n".join([*first, *sections]), encoding="utf-8")
    return configs


def show(config: Path) -> None:
    """Run the commands that read an export, and show each before it runs."""
    plan = config.with_suffix(".plan.json")
    base = ["chatsync", "-c", str(config)]
    run([*base, "doctor"])
    run([*base, "diff", "--plan", str(plan), "--limit", "3"])
    run([*base, "show", str(plan), "--limit", "3"])
    (client,) = re.findall(r'"turn_off": \{"1": \[(\d+)', plan.read_text(encoding="utf-8"))
    run([*base, "explain", client])


def run(command: list[str]) -> None:
    sys.stdout.write(f"\n$ {shlex.join(command)}\n")
    sys.stdout.flush()
    subprocess.run([sys.executable, "-m", *command], check=True)


def main(folder: Path) -> None:
    with YtProxy() as yt, contextlib.ExitStack() as stack:
        if importlib.util.find_spec("chdb"):
            from tests.harness.clickhouse import ClickHouse

            yt.cliques[CLIQUE] = stack.enter_context(closing(ClickHouse()))
        configs = make_world(folder, yt)
        for config in configs.values():
            show(config)
        without = "" if CLIQUE in yt.cliques else "; for a clique: make .venv/installed-cluster"
        sys.stdout.write(f"\nTo try with -c until you press Enter: {', '.join(map(str, configs.values()))}{without}\n")
        sys.stdout.flush()
        sys.stdin.readline()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
