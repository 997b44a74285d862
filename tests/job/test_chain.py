"""The main job, end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.job import FEATURE_ID, OTHER_FEATURE_ID, Job

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

    from tests.harness.job import Databases


@pytest.fixture
def job(any_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Job:
    return Job(tmp_path_factory.mktemp("job"), any_databases)


def test_nothing_to_do(job: Job) -> None:
    job.settle_off({1: 1, 2: 2})
    job.list([1, 2])
    before = job.rows()

    assert job.diff().code == 0
    assert job.plan()["verdict"] == "in-sync"
    assert job.apply().code == 0
    assert job.set_modtime().code == 0
    assert job.rows() == before


def test_the_chain_puts_the_two_in_step(job: Job) -> None:
    job.settle_off({1: 1, 2: 2, 3: 3})
    job.settle({4: 4, 5: 1})
    job.row(1, 5, 1)
    job.row(1, 1, 0, feature=OTHER_FEATURE_ID)
    job.list([1, 4, 5, 99], modified=1_790_000_000.123456)
    job.configure(limits={"unknown_percent": 30})

    result = job.chain()

    assert (result.code, result.err) == (0, "")
    assert job.off() == {1, 4, 5}
    assert {(2, 2, FEATURE_ID, 1), (3, 3, FEATURE_ID, 1), (1, 1, OTHER_FEATURE_ID, 0)} <= job.rows()
    assert job.property() == "2026-09-21T14:13:20.123456Z"
    assert job.diff().code == 0
    assert job.plan()["verdict"] == "in-sync"
    assert job.diff("--if-modified").code == 0
    assert job.plan()["verdict"] == "not-modified"


def test_ids_at_the_ends_of_the_column(job: Job) -> None:
    ends = [0, 1, 2**31 - 1, 2**31, 2**32 - 1]
    job.settle_off(dict.fromkeys(ends, 1))
    job.list([1, 2**31 - 1, 2**32 - 1])

    assert job.chain().code == 0
    assert job.plan()["turn_on"]["1"] == [0, 2**31]
    assert job.off() == {1, 2**31 - 1, 2**32 - 1}


@pytest.mark.parametrize("fit", [1, 3, 11, 12])
def test_a_shard_of_more_ids_than_fit_into_one_value_is_read_in_parts(
    job: Job, mocker: MockerFixture, fit: int
) -> None:
    """Dense here and thin there: 800,000 of them would take this test too long."""
    mocker.patch("chatsync.databases.shard_database._IDS_A_VALUE", fit)
    off = [*range(1, 10), 5000, 2**31, 2**32 - 1]
    job.settle_off(dict.fromkeys(off, 1))
    job.row(1, 6000, 0, feature=OTHER_FEATURE_ID)
    job.row(1, 7000, 1)
    job.list(off[1:])

    assert job.diff().code == 0
    assert job.plan()["off_now"] == len(off)
    assert job.plan()["turn_on"] == {"1": [1], "2": [], "3": [], "4": []}
