"""The whole chain on random worlds, held against the same rules written down naively."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyroaring import BitMap64

from chatsync.core import Homes, Sides
from tests.harness.job import FEATURE_ID, OTHER_FEATURE_ID, TABLE, Job, SqliteFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.harness.schema import World as ServerWorld
    from tests.harness.yt_proxy import YtProxy

Rows = set[tuple[int, int, int, int]]

MODIFIED = datetime(2026, 10, 23, 10, 15, 0, 123456, tzinfo=UTC)
SHARDS = range(1, 5)
NO_IDS = ("n/a", "-1", "0", "1.5", "", str(2**63))
ODD_CELLS = (*NO_IDS, str(2**32), str(2**63 - 1))


clients = st.integers(1, 25)
shards = st.sampled_from(SHARDS)


@dataclass(frozen=True)
class World:
    """Cells of the list, the shard of each client, and rows {(shard, client, feature): is_enabled}.

    A client may have rows on shards it doesn't live on, as after a move.
    """

    cells: list[str]
    homes: Mapping[int, int]
    rows: Mapping[tuple[int, int, int], int]

    @property
    def listed(self) -> set[int]:
        return {int(cell) for cell in self.cells if cell not in NO_IDS}

    @property
    def unknown(self) -> set[int]:
        return self.listed - set(self.homes)

    @property
    def strays(self) -> set[tuple[int, int]]:
        """Off rows on shards where their clients do not live."""
        off = {
            (shard, client) for (shard, client, feature), on in self.rows.items() if feature == FEATURE_ID and not on
        }
        return {(shard, client) for shard, client in off if self.homes.get(client) != shard}

    @property
    def is_believable(self) -> bool:
        """Whether no shard looks like another one: that is refused, see tests/servers/test_places.py."""
        found = {shard: BitMap64([c for number, c, _ in self.rows if number == shard]) for shard in SHARDS}
        sides = Sides(BitMap64(self.listed), {shard: np.zeros(0, np.uint32) for shard in SHARDS}, found)
        ids, homes = (np.array(column) for column in zip((0, 0), *sorted(self.homes.items()), strict=True))
        piece = sides.compare(range(2**32), Homes(ids[1:].astype(np.uint32), homes[1:].astype(np.uint8)))
        return not list(sides.misplaced([piece]))

    def synced(self) -> Rows:
        """The rows as they are to be: where they live, each client of the list off, each other one on."""
        rows = dict(self.rows)
        for client, shard in self.homes.items():
            if client in self.listed:
                rows[shard, client, FEATURE_ID] = 0
            elif (shard, client, FEATURE_ID) in rows:
                rows[shard, client, FEATURE_ID] = 1
        return {(*key, on) for key, on in rows.items()}


worlds = st.builds(
    World,
    cells=st.lists(st.one_of(clients.map(str), clients.map("{:05}".format), st.sampled_from(ODD_CELLS))),
    homes=st.dictionaries(clients, shards, max_size=25),
    rows=st.dictionaries(
        st.tuples(shards, clients, st.sampled_from([FEATURE_ID, FEATURE_ID, OTHER_FEATURE_ID])),
        st.sampled_from([0, 0, 1]),
        max_size=40,
    ),
).filter(
    lambda world: (world.listed or not world.cells) and world.is_believable
)  # nothing but rejected rows is refused: tests/job/test_limits.py


def fill(job: Job, world: World) -> None:
    """Write a world in a few statements."""
    homes = [number for home in world.homes.items() for number in home]
    if homes:
        values = ", ".join(["(%s, %s)"] * len(world.homes))
        job.dict_sql(f"INSERT INTO shard_client_id (ClientID, shard) VALUES {values}", *homes)
    for number in SHARDS:
        rows = [(client, feature, on) for (shard, client, feature), on in world.rows.items() if shard == number]
        if rows:
            values = ", ".join(["(%s, %s, %s)"] * len(rows))
            numbers = [number for row in rows for number in row]
            job.shard_sql(number, f"INSERT INTO clients_features VALUES {values}", *numbers)


def check_chain(job: Job, world: World) -> None:
    """Run the chain, and again, and look at every row and at the mod-time after each."""
    fill(job, world)
    lifted = ("--force", "--allow-empty")
    changes = len(world.synced() - {(*key, on) for key, on in world.rows.items()})

    assert (job.chain(*lifted).code, job.rows()) == (0, world.synced())
    assert job.plan()["verdict"] == ("changes" if changes else "in-sync")
    assert sum(map(len, [*job.plan()["turn_off"].values(), *job.plan()["turn_on"].values()])) == changes
    assert set(job.plan()["unknown"]) == world.unknown
    synced_at = job.property()

    assert job.run("diff", "--exit-code", "--plan", str(job.plan_file)).code == 0
    assert job.plan()["verdict"] == "in-sync"
    assert job.plan()["off_now"] == len(world.listed - world.unknown)
    assert sum(rows["count"] for rows in job.plan()["strays"].values()) == len(world.strays)
    assert (job.apply(*lifted).code, job.set_modtime().code) == (0, 0)
    assert (job.chain(*lifted).code, job.plan()["verdict"]) == (0, "not-modified")
    assert (job.rows(), job.property()) == (world.synced(), synced_at)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(world=worlds)
def test_the_chain_on_sqlite_with_a_list_in_a_file(tmp_path_factory: pytest.TempPathFactory, world: World) -> None:
    folder = tmp_path_factory.mktemp("world")
    job = Job(folder, SqliteFiles(folder))
    job.configure(apply={"batch_size": 3})
    job.list(world.cells, modified=MODIFIED.timestamp())

    check_chain(job, world)


@pytest.mark.usefixtures("server")
@pytest.mark.servers
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(world=worlds, kind=st.sampled_from(["string", "any", None]))
def test_the_chain_on_a_server_with_a_list_in_yt(
    made_world: ServerWorld,
    yt: YtProxy,
    tmp_path_factory: pytest.TempPathFactory,
    world: World,
    kind: str | None,
) -> None:
    made_world.clear()
    job = Job(tmp_path_factory.mktemp("world"), made_world)
    job.exclusions = {"proxy": yt.url, "path": TABLE}
    job.configure(apply={"batch_size": 3})
    schema: dict[str, Any] = {"schema": [{"name": "client_id", "type": kind}] if kind else [], "strict": bool(kind)}
    yt.write(TABLE, ids=world.cells, modified=MODIFIED, **schema)

    check_chain(job, world)

    assert job.property() == "2026-10-23T10:15:00.123456Z"
