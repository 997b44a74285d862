"""Where clients live: looked up one by one, or read by pages, on each kind of database."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.load import load
from chatsync.databases import homes
from tests.harness.job import Job

if TYPE_CHECKING:
    from pathlib import Path

    from chatsync.core.client_sets import IdsByShard
    from tests.harness.job import Databases

# Most 2^32 - 1: the ids at which packing could go wrong.
EDGES = [1, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1]


@pytest.fixture
def any_job(tmp_path: Path, any_databases: Databases) -> Job:
    return Job(tmp_path, any_databases)


@pytest.fixture(params=[(3, 10, 30, 40), (5000, 50_000, 200_000, 600_000)], ids=["ranges", "lookups"])
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges and lookups so small that a few hundred clients need many of each; and as they are."""
    for name, size in zip(("_IDS_A_LOOKUP", "_FEW", "_ROWS_A_RANGE", "_MOST_ROWS"), request.param, strict=True):
        monkeypatch.setattr(homes, name, size)


def fill(job: Job, home_of: dict[int, int]) -> None:
    rows = ", ".join(f"({client}, {shard})" for client, shard in home_of.items())
    job.dict_sql(f"INSERT INTO shard_client_id (ClientID, shard) VALUES {rows}")


def find(job: Job, ids: list[int]) -> IdsByShard:
    scope = CancelScope(deadline=60, retry_timeout=1)
    return homes.find_homes(load(job.config), scope, BitMap64(ids))


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("others", [0, 20, 2000], ids=["alone", "among some", "among very many"])
def test_every_client_is_found_where_it_lives(any_job: Job, others: int) -> None:
    chance = random.Random(others)  # noqa: S311  # no secret
    listed = sorted({*EDGES, *chance.sample(range(2, 50_000), 200)})
    home_of = {client: chance.choice([0, 1, 4, 255]) for client in listed}
    strangers = dict.fromkeys(chance.sample(range(2, 50000), others), 9)
    fill(any_job, strangers | home_of)
    unknown = sorted({*range(60_000, 60_050), 2**40} - set(home_of))

    found = find(any_job, listed + unknown)

    assert {client: shard for shard, ids in found.items() for client in ids} == home_of
    assert all(found.values())


@pytest.mark.usefixtures("sizes")
def test_clients_that_crowd_in_places_are_found_too(any_job: Job) -> None:
    """Ranges learn from the one before: here each is followed by one with far more rows, or far fewer."""
    crowds = [client for start in (10, 5000, 1_000_000, 2**32 - 300) for client in range(start, start + 250)]
    listed = [*crowds[::2], *range(2000, 4000, 97), *range(2**20, 2**32 - 10**9, 10**8)]
    home_of = {client: client % 7 for client in {*crowds, *listed}}
    fill(any_job, home_of)

    found = find(any_job, listed)

    assert {client: shard for shard, ids in found.items() for client in ids} == {c: home_of[c] for c in listed}


@pytest.mark.usefixtures("sizes")
def test_no_client_and_no_table_row(any_job: Job) -> None:
    assert find(any_job, []) == {}
    assert find(any_job, [1, 2, 3]) == {}
