"""The main job, end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.job import FEATURE_ID, OTHER_FEATURE_ID, Job

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

    from tests.harness.job import Databases


@pytest.fixture
def any_job(any_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Job:
    return Job(tmp_path_factory.mktemp("job"), any_databases)


def test_nothing_to_do(any_job: Job) -> None:
    any_job.settle_off({1: 1, 2: 2})
    any_job.list([1, 2])
    before = any_job.rows()

    assert any_job.diff().code == 0
    assert any_job.plan()["verdict"] == "in-sync"
    assert any_job.apply().code == 0
    assert any_job.set_modtime().code == 0
    assert any_job.rows() == before


def test_the_chain_puts_the_two_in_step(any_job: Job) -> None:
    any_job.settle_off({1: 1, 2: 2, 3: 3})
    any_job.settle({4: 4, 5: 1})
    any_job.row(1, 5, 1)
    any_job.row(1, 1, 0, feature=OTHER_FEATURE_ID)
    any_job.list([1, 4, 5, 99], modified=1_790_000_000.123456)
    any_job.configure(limits={"unknown_percent": 30})

    result = any_job.chain()

    assert (result.code, result.err) == (0, "")
    assert any_job.off() == {1, 4, 5}
    assert {(2, 2, FEATURE_ID, 1), (3, 3, FEATURE_ID, 1), (1, 1, OTHER_FEATURE_ID, 0)} <= any_job.rows()
    assert any_job.property() == "2026-09-21T14:13:20.123456Z"
    assert any_job.diff().code == 0
    assert any_job.plan()["verdict"] == "in-sync"
    assert any_job.diff("--if-modified").code == 0
    assert any_job.plan()["verdict"] == "not-modified"


def test_ids_at_the_ends_of_the_column(any_job: Job) -> None:
    ends = [0, 1, 2**31 - 1, 2**31, 2**32 - 1]
    any_job.settle_off(dict.fromkeys(ends, 1))
    any_job.list([1, 2**31 - 1, 2**32 - 1])

    assert any_job.chain().code == 0
    assert any_job.plan()["turn_on"]["1"] == [0, 2**31]
    assert any_job.off() == {1, 2**31 - 1, 2**32 - 1}


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_batches_of_ids_at_the_ends_of_each_byte(any_job: Job, size: int) -> None:
    """Some have a row that says on, some one that says off, and some have none; the answer has a byte for each."""
    ends = sorted({2**byte + more for byte in (8, 16, 24, 32) for more in (-2, -1, 0, 1, 2) if 2**byte + more < 2**32})
    any_job.settle(dict.fromkeys(ends, 1))
    for client in ends[::3]:
        any_job.row(1, client, 0)
    for client in ends[1::3]:
        any_job.row(1, client, 1)
    any_job.list(ends[::2])
    any_job.configure(apply={"batch_size": size})

    assert (any_job.diff().code, any_job.apply("--force").code) == (0, 0)
    assert any_job.off() == set(ends[::2])
    assert {row[1] for row in any_job.rows()} == {*ends[::3], *ends[1::3], *ends[::2]}


@pytest.mark.parametrize("fit", [1, 3, 11, 12])
def test_a_shard_of_more_ids_than_fit_into_one_value_is_read_in_parts(
    any_job: Job, mocker: MockerFixture, fit: int
) -> None:
    """Dense here and thin there: 800,000 of them would take this test too long."""
    mocker.patch("chatsync.databases.shard_database._IDS_A_VALUE", fit)
    off = [*range(1, 10), 5000, 2**31, 2**32 - 1]
    any_job.settle_off(dict.fromkeys(off, 1))
    any_job.row(1, 6000, 0, feature=OTHER_FEATURE_ID)
    any_job.row(1, 7000, 1)
    any_job.list(off[1:])

    assert any_job.diff().code == 0
    assert any_job.plan()["off_now"] == len(off)
    assert any_job.plan()["turn_on"] == {"1": [1], "2": [], "3": [], "4": []}
