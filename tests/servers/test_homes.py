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


@pytest.fixture(params=[(3, 10, 30), (5000, 50_000, 300_000)], ids=["pages", "lookups"])
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages and lookups so small that a few hundred clients need many of each; and as they are."""
    for name, size in zip(("_IDS_A_LOOKUP", "_IDS_A_PAGE", "_ROWS_A_PAGE"), request.param, strict=True):
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
def test_no_client_and_no_table_row(any_job: Job) -> None:
    assert find(any_job, []) == {}
    assert find(any_job, [1, 2, 3]) == {}
