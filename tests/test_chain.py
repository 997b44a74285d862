"""The main job, end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.job import FEATURE_ID, OTHER_FEATURE_ID, Job

if TYPE_CHECKING:
    from tests.job import Databases


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
