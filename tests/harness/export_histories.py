"""Random histories of a job with an export: lists, exports, chains, faults, undos and other writers, in any order.

Each runs the real commands on SQLite files and the simulated YT proxy. It counts how often a list was marked as
synced, how often the databases then did not agree with it, and changes that no list asked for.

By hand: `python -m tests.harness.export_histories --count 4000` prints the table with rules taken out one by one.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyroaring import BitMap64
from tabulate import tabulate

from chatsync.core import format_time
from chatsync.sync import from_export
from tests.harness.export import Exporter, table
from tests.harness.job import TABLE, Job, SqliteFiles
from tests.harness.yt_client import read_types_once
from tests.harness.yt_proxy import YtProxy

if TYPE_CHECKING:
    from collections.abc import Callable

HOMES = {1: 1, 2: 2, 3: 1, 4: 2, 5: 1}
TAKES = timedelta(seconds=10)
EVENTS = {"list": 5, "export": 4, "half an export": 1, "begin an export": 2, "end an export": 2, "chain": 9, "fault": 2}
UNDO, OTHERS = {"undo": 1}, {"others": 3}
LIMITS = {"turn_on_percent": 1000, "turn_off_percent": 1000, "free": 100}


class Histories:
    """Runs histories on one set of databases and counts the results."""

    def __init__(self, folder: Path, yt: YtProxy, *, when_stale: str = "databases") -> None:
        self.job = Job(folder, SqliteFiles(folder, shards=2))
        self.yt = yt
        self.exporter = Exporter(self.job, yt)
        self.exporter.configure({"limits": LIMITS}, takes=f"{TAKES.seconds}s", when_stale=when_stale)
        self.job.settle(HOMES)
        self.counts: Counter[str] = Counter()

    def play(self, seed: int, *, others: bool) -> None:
        """Run one history; the same seed gives the same one."""
        self._random = random.Random(seed)  # noqa: S311  # no secret
        self._clear()
        events = EVENTS | UNDO | (OTHERS if others else {})
        for _ in range(self._random.randint(8, 16)):
            (event,) = self._random.choices(list(events), weights=list(events.values()))
            getattr(self, "_" + event.replace(" ", "_"))()

    def _clear(self) -> None:
        self.job.dict_sql("DELETE FROM ppc_properties")
        self.exporter.note("2026-01-01")
        for shard in self.job.shards:
            self.job.shard_sql(shard, "DELETE FROM clients_features")
        for client, shard in HOMES.items():
            self.job.row(shard, client, self._random.randint(0, 1))
        self._by_others: set[int] = set()
        self._copies: dict[int, tuple[datetime, list[Any]]] = {}
        self._list()
        self._export()

    def _list(self) -> None:
        self._listed = {client for client in HOMES if self._random.random() < 0.5}
        self._modified = datetime.now(UTC)
        self.yt.write(TABLE, ids=sorted(self._listed), modified=self._modified)

    def _export(self) -> None:
        for shard in self.job.shards:
            self._copy(shard)
            self._write(shard)

    def _half_an_export(self) -> None:
        shard = self._random.choice(self.job.shards)
        self._copy(shard)
        self._write(shard)

    def _begin_an_export(self) -> None:
        for shard in self.job.shards:
            self._copy(shard)

    def _end_an_export(self) -> None:
        for shard in sorted(self._copies):
            self._write(shard)

    def _copy(self, shard: int) -> None:
        self._copies[shard] = datetime.now(UTC), self.exporter.rows(shard)

    def _write(self, shard: int) -> None:
        """Write what was copied, as late as an export may."""
        copied, rows = self._copies[shard]
        self.exporter.write_table(table(shard), rows, modified=copied + TAKES)

    def _chain(self) -> None:
        before = self.job.off()
        code = self.job.chain("--allow-empty").code
        self._look(before)
        if code == 0 and self.job.plan()["verdict"] != "not-modified":
            assert self.job.property() == format_time(self._modified)
            self.counts["synced"] += 1
            wrong = self.job.off() ^ self._listed
            self.counts["wrong, by us"] += bool(wrong - self._by_others)
            self.counts["wrong, by others"] += bool(wrong & self._by_others)
            export = self.job.plan().get("export") or {}
            self.counts["contradicted"] += export.get("contradicted", 0)
            self.counts["from the export"] += bool(export) and export["unused"] is None

    def _look(self, before: set[int]) -> None:
        changed = self.job.off() ^ before
        self.counts["wrong changes"] += len(changed & (self.job.off() ^ self._listed))
        self._by_others -= changed

    def _fault(self) -> None:
        """Run a chain that can write on one of the shards only."""
        shard = self._random.choice(self.job.shards)
        for verb in ("INSERT", "UPDATE"):
            trigger = f"CREATE TRIGGER no_{verb} BEFORE {verb} ON clients_features BEGIN SELECT RAISE(FAIL, 'no'); END"
            self.job.shard_sql(shard, trigger)
        self._chain()
        for verb in ("INSERT", "UPDATE"):
            self.job.shard_sql(shard, f"DROP TRIGGER no_{verb}")

    def _undo(self) -> None:
        runs = sorted(self.job.records_folder.glob("*.json"))
        if runs and not self.job.records()[0].get("undo_of"):
            before = self.job.off()
            self.job.run("apply", "--undo", runs[-1].stem, "--yes")
            self._by_others -= self.job.off() ^ before

    def _others(self) -> None:
        client = self._random.choice(list(HOMES))
        self.job.row(HOMES[client], client, 0 if client not in self.job.off() else 1)
        self._by_others.add(client)


def believe_the_export(patch: pytest.MonkeyPatch) -> None:
    """Remove the rule that differences are confirmed: plan what the export says."""
    confirmed = from_export._confirmed  # noqa: SLF001  # the rule itself is to be taken out

    def unconfirmed(*args: Any, found: Any, homes: Any, **options: Any) -> Any:
        none = BitMap64()
        said = {shard: ids & homes.get(shard, none) for shard, ids in found.turn_on.items()}
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(from_export, "_confirm", lambda *_, **__: said)
            return confirmed(*args, found=found, homes=homes, **options)

    patch.setattr(from_export, "_confirmed", unconfirmed)


def any_age(patch: pytest.MonkeyPatch) -> None:
    """Remove the rule that an export must be newer than our own last change."""
    patch.setattr(from_export, "why_unusable", lambda *_, **__: "")
    patch.setattr(from_export, "check_last_apply", lambda *_: None)


# The rule that is removed, export.when_stale, and whether others write as well.
RULES: dict[str, tuple[list[Callable[[pytest.MonkeyPatch], None]], str, bool]] = {
    "the export as it is": ([believe_the_export, any_age], "databases", False),
    "+ differences confirmed": ([any_age], "databases", False),
    "+ not older than our last change, else wait": ([], "refuse", False),
    "+ ... else read the databases": ([], "databases", False),
    "the same, with other hands": ([], "databases", True),
}
COUNTS = ("synced", "from the export", "wrong, by us", "wrong, by others", "contradicted", "wrong changes")


def play(rule: str, seeds: range) -> Counter[str]:
    """Run histories with the rules of one line of the table."""
    taken_out, when_stale, others = RULES[rule]
    with pytest.MonkeyPatch.context() as patch, YtProxy() as yt, tempfile.TemporaryDirectory() as folder:
        read_types_once(patch)
        for take_out in taken_out:
            take_out(patch)
        histories = Histories(Path(folder), yt, when_stale=when_stale)
        for seed in seeds:
            histories.play(seed, others=others)
        return histories.counts


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rule", choices=RULES, action="append")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.count)
    rows = []
    for rule in options.rule or RULES:
        counts = play(rule, seeds)
        rows.append([rule, *(counts[name] for name in COUNTS)])
        sys.stdout.write(tabulate(rows[-1:], headers=("", *COUNTS), tablefmt="github") + "\n")
        sys.stdout.flush()
    sys.stdout.write(f"\n{options.count} histories, seeds {seeds.start} to {seeds.stop - 1}\n\n")
    sys.stdout.write(tabulate(rows, headers=("", *COUNTS), tablefmt="github") + "\n")


if __name__ == "__main__":
    main()
