"""One list of objections: what `diff` and `show` say first is what `apply` ends with, for every refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.job import DISABLED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.job import Job

MODIFIED = 1_790_000_000
LATER = "2026-10-01T00:00:00Z"


def empty(job: Job) -> None:
    job.list([], modified=MODIFIED)


def without_a_known_client(job: Job) -> None:
    job.configure(limits={"must_contain": [77]})


def full_of_rejected_rows(job: Job) -> None:
    job.list([1, 2, *["n/a"] * 30], modified=MODIFIED)
    job.configure(limits={"free": 0})


def of_unknown_clients(job: Job) -> None:
    job.list(range(1, 60), modified=MODIFIED)


def turning_many_on(job: Job) -> None:
    job.settle_off(dict.fromkeys(range(100, 140), 1))


def turning_many_off(job: Job) -> None:
    job.settle(dict.fromkeys(range(100, 140), 1))
    job.list(range(100, 140), modified=MODIFIED)


def capped_on(job: Job) -> None:
    job.configure(limits={"turn_on_max": 0})


def capped_off(job: Job) -> None:
    job.configure(limits={"turn_off_max": 0})


def disabled(job: Job) -> None:
    job.set_property(DISABLED)


def older_than_the_synced_one(job: Job) -> None:
    job.set_property(LATER)


def capped_and_disabled(job: Job) -> None:
    capped_on(job)
    disabled(job)


def capped_and_older(job: Job) -> None:
    capped_off(job)
    older_than_the_synced_one(job)


REFUSALS = [
    (empty, 3),
    (without_a_known_client, 3),
    (full_of_rejected_rows, 3),
    (of_unknown_clients, 3),
    (turning_many_on, 3),
    (turning_many_off, 3),
    (capped_on, 3),
    (capped_off, 3),
    (disabled, 5),
    (older_than_the_synced_one, 4),
    (capped_and_disabled, 3),
    (capped_and_older, 3),
]


@pytest.mark.parametrize(("change", "code"), REFUSALS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_what_diff_says_first_is_what_apply_ends_with(job: Job, change: Callable[[Job], None], code: int) -> None:
    """Also `apply` without a plan file, which asks the databases before the limits are checked."""
    job.settle({1: 1, 2: 2})
    job.settle_off({3: 3})
    job.list([1, 2], modified=MODIFIED)
    change(job)
    before = job.rows()

    answer = job.diff("--format", "json").json["apply"]
    applied, at_once = job.apply(), job.run("apply", "--yes")

    assert answer["exit_code"] == answer["objections"][0]["exit_code"] == code
    for result in (applied, at_once):
        assert result.code == code
        assert answer["objections"][0]["reason"] in result.err.splitlines()[-1]
    assert job.rows() == before


def test_what_show_says_first_is_what_apply_ends_with(job: Job) -> None:
    job.settle({1: 1})
    job.list([1], modified=MODIFIED)
    assert job.diff().code == 0
    job.configure(limits={"must_contain": [77], "plan_max_age": "1h"})  # a plan that knows nothing of 77

    answer = job.run("show", str(job.plan_file), "--format", "json").json["apply"]
    applied = job.apply()

    assert (answer["exit_code"], applied.code) == (4, 4)
    assert answer["objections"][0]["reason"] in applied.err


def test_an_option_lifts_what_it_names_and_the_next_objection_counts(job: Job) -> None:
    job.settle({1: 1})
    job.list([1], modified=MODIFIED)
    job.configure(limits={"turn_off_max": 0})
    job.set_property(LATER)
    assert job.diff().code == 0

    assert job.apply().code == 3
    assert job.apply("--force").code == 4
