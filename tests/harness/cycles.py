"""Databases and a list that change at random, cycle by cycle, and an oracle that computes the right result."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.harness.job import FEATURE_ID, OTHER_FEATURE_ID, TABLE
from tests.harness.wire import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.harness.forks import Forks
    from tests.harness.job import Job
    from tests.harness.schema import World
    from tests.harness.servers import Server
    from tests.harness.yt_proxy import YtProxy

LOCK = "chatsync/ppcdict/217"
CLIENTS_A_SHARD = 24
STRANGERS = range(900_000, 900_005)
FIRST_TIME = 1_790_000_000
NO_LIMITS = {"turn_on_percent": 1e6, "turn_off_percent": 1e6, "unknown_percent": 100}

Row = tuple[int, int, int, int]


class DisagreementError(AssertionError):
    """The databases are not what the oracle says."""


class Cycles:
    """The world and its oracle. `job` is empty and on `world`; the list is a file, or in `yt`."""

    def __init__(self, job: Job, world: World, forks: Forks, *, seed: int, yt: YtProxy | None = None) -> None:
        self.world = world
        self.chance = random.Random(seed)  # noqa: S311 - a world, not a secret
        self.job = job
        self.forks = forks
        self._yt = yt
        self._time = FIRST_TIME
        self._homes = {shard * 1000 + number: shard for shard in job.shards for number in range(CLIENTS_A_SHARD)}
        self._listed: set[int] = set()
        self._before: set[Row] = set()
        homes = ", ".join(map(str, self._homes.items()))
        job.dict_sql(f"INSERT INTO shard_client_id (ClientID, shard) VALUES {homes}")
        for shard in job.shards:
            others = ", ".join(f"({client}, {OTHER_FEATURE_ID}, {client % 2})" for client in self._here(shard)[::3])
            job.shard_sql(shard, f"INSERT INTO clients_features VALUES {others}")

    def _here(self, shard: int) -> Sequence[int]:
        return [client for client, home in self._homes.items() if home == shard]

    def change(self) -> None:
        """Edit the list and toggle some rows by hand, as support does."""
        share = self.chance.choice([0.1, 0.5, 0.9])
        self._listed = {client for client in self._homes if self.chance.random() < share}
        cells = [*self._listed, *STRANGERS, *list(self._listed)[:3]]
        self.chance.shuffle(cells)
        self._time += 1
        if self._yt is None:
            self.job.list(cells, modified=self._time)
        else:
            self._yt.write(TABLE, ids=cells, modified=datetime.fromtimestamp(self._time, UTC))
        for shard in self.job.shards:
            by_hand = [
                (client, FEATURE_ID, self.chance.randrange(2)) for client in self.chance.sample(self._here(shard), 3)
            ]
            self.job.shard_sql(shard, f"REPLACE INTO clients_features VALUES {', '.join(map(str, by_hand))}")
        self._before = self.rows()

    def rows(self) -> set[Row]:
        """Read every row of every shard in one statement a server."""
        selects: dict[Server, list[str]] = {}
        for shard in self.job.shards:
            select = f"SELECT {shard}, ClientID, feature_id, is_enabled FROM ppc{shard}.clients_features"
            selects.setdefault(self.world.server(f"ppc{shard}"), []).append(select)
        return {row for server, parts in selects.items() for row in server.sql(" UNION ALL ".join(parts))}

    def _target(self, row: Row) -> Row:
        shard, client, feature, _ = row
        return row if feature != FEATURE_ID else (shard, client, feature, int(client not in self._listed))

    def check_nothing_wrong(self) -> int:
        """Check that every row is as it was or as it must be; return how many were changed."""
        rows = self.rows()
        allowed = self._before | self._wanted()
        if rows - allowed or {row[:3] for row in self._before} - {row[:3] for row in rows}:
            raise DisagreementError(f"wrong rows: {sorted(rows - allowed)[:5]}")
        return len(rows - self._before)

    def _wanted(self) -> set[Row]:
        """Return every row as it must be in the end: the rows that existed, and one for each listed client."""
        kept = {self._target(row) for row in self._before}
        return kept | {(self._homes[client], client, FEATURE_ID, 0) for client in self._listed}

    def check_done(self) -> None:
        """Check that every row is as it must be, that there is no other, and that the mod-time is the list's."""
        rows = self.rows()
        if rows != self._wanted():
            raise DisagreementError(
                f"too many: {sorted(rows - self._wanted())[:5]}, missing: {sorted(self._wanted() - rows)[:5]}"
            )
        if not self.is_recorded():
            raise DisagreementError(f"the mod-time is {self.job.property()}")

    def is_recorded(self) -> bool:
        """Tell whether the mod-time is that of the list."""
        return self.job.property() == datetime.fromtimestamp(self._time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def step(self, name: str) -> list[str]:
        """Return the command line of a step of the chain."""
        options = {"diff": ["--if-modified"], "apply": [], "set-modtime": []}
        return [name, "--plan", str(self.job.plan_file), *options[name]]

    def chain(self) -> int:
        """Run the main job as cron does; returns the first exit code that isn't 0."""
        for name in ("diff", "apply", "set-modtime"):
            if code := self.forks.run(*self.step(name)):
                return code
        return 0

    def finish(self) -> None:
        """Run the main job without a fault, and check that everything is done."""
        wait_until(lambda: self.job.dict_sql("SELECT IS_FREE_LOCK(%s)", LOCK) == [(1,)])
        if code := self.chain():
            raise DisagreementError(f"the chain ended with {code}: {self.forks.output.read_text()}")
        self.check_done()
