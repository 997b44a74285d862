"""What the limits look like to the person who runs `diff` and `apply`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.harness.job import Job


def settle_many(job: Job, clients: range, *, off: bool) -> None:
    """Let clients live on shard 1."""
    homes = ", ".join(f"({client}, 1)" for client in clients)
    job.dict_sql(f"INSERT INTO shard_client_id (ClientID, shard) VALUES {homes}")
    if off:
        job.shard_sql(1, "INSERT INTO clients_features VALUES " + ", ".join(f"({one}, 217, 0)" for one in clients))


@pytest.fixture
def refused_job(job: Job) -> Job:
    """Of 100 that are off the list keeps 60: turning 40 on is over the limit of 30 percent."""
    settle_many(job, range(1, 101), off=True)
    job.list(range(1, 61))
    return job


REASON = (
    "turning on 40 clients (61, 62, 63, …) is 40 % of the 100 that are off now, "
    "over limits.turn_on_percent = 30; --force overrides it"
)


def test_diff_and_show_say_that_apply_will_refuse(refused_job: Job) -> None:
    made = refused_job.diff()
    shown = refused_job.run("show", str(refused_job.plan_file))

    assert (made.code, shown.code) == (0, 0)
    for text in (made.out, shown.out):
        assert text.endswith(f"apply will refuse this:\n  exit 3: {REASON}\n")
    as_json = refused_job.run("diff", "--format", "json", "--exit-code")
    assert as_json.code == 10
    assert as_json.json["apply"] == {"exit_code": 3, "objections": [{"exit_code": 3, "reason": REASON}]}


@pytest.mark.parametrize("planned", [True, False])
def test_apply_refuses_the_plan_whole(refused_job: Job, planned: bool) -> None:
    before = refused_job.rows()
    if planned:
        refused_job.diff()

    result = refused_job.apply() if planned else refused_job.run("apply", "--yes")

    assert result.code == 3
    assert result.out == ""
    assert result.err.endswith(f"chatsync: refused, nothing was written: {REASON}\n")
    assert refused_job.rows() == before


@pytest.mark.parametrize("planned", [True, False])
def test_force_applies_it(refused_job: Job, planned: bool) -> None:
    if planned:
        refused_job.diff()

    result = refused_job.apply("--force") if planned else refused_job.run("apply", "--yes", "--force")

    assert result.code == 0
    assert refused_job.off() == set(range(1, 61))
    # Where it shows the diff it does not say at once that it will refuse it.
    said = f"apply will make 40 changes.\nover the limits, but overridden by the given options:\n  {REASON}\n"
    assert result.err == "" if planned else result.err.endswith(said)


@pytest.mark.parametrize(
    ("off", "options", "code"),
    [
        (0, [], 3),
        (9, [], 3),
        (9, ["--force"], 3),
        (9, ["--allow-empty"], 0),
        (10, ["--allow-empty"], 3),  # its own limits still count
        (10, ["--allow-empty", "--force"], 0),
    ],
)
def test_an_empty_list_needs_its_own_option(job: Job, off: int, options: list[str], code: int) -> None:
    if off:
        settle_many(job, range(1, 1 + off), off=True)
    job.list([])

    made, applied = job.diff(), job.apply(*options)

    assert (made.code, applied.code) == (0, code)
    assert "holds no client" in made.out
    assert len(job.off()) == (off if code else 0)


def test_no_option_lets_a_list_of_nothing_but_rejected_rows_pass(job: Job) -> None:
    job.settle_off({1: 1})
    job.list(["1.0", "2.0"])
    shown = job.diff()

    result = job.apply("--force", "--allow-empty")

    assert result.code == 3
    for text in (shown.out, result.err):
        assert "none of the 2 rows of" in text
        assert "as in a column of type double" in text
        assert "no option overrides it" in text
    assert "--allow-empty" not in result.err
    assert job.off() == {1}


def test_a_list_without_a_known_client_is_the_wrong_list(job: Job) -> None:
    job.settle_off({1: 1, 2: 2})
    job.configure(limits={"must_contain": [1, 3]})
    job.list([1, 2])
    made = job.diff()

    result = job.apply("--force", "--allow-empty")

    reason = "the list lacks 1 client of limits.must_contain (3): it is the wrong list; no option overrides it"
    assert f"exit 3: {reason}" in made.out
    assert (result.code, result.err) == (3, f"chatsync: refused, nothing was written: {reason}\n")


def test_a_plan_made_before_must_contain_was_changed_is_out_of_date(job: Job) -> None:
    job.settle({1: 1, 2: 1})
    job.list([1, 2])
    job.diff()
    job.configure(limits={"must_contain": [2]})

    result = job.apply()

    assert result.code == 4
    assert "limits.must_contain has changed since" in result.err
    assert job.off() == set()
    job.diff()
    assert job.apply().code == 0


def test_what_diff_says_first_is_what_apply_ends_with(refused_job: Job) -> None:
    """The plan is over a limit, and the job is disabled too."""
    refused_job.run("set-modtime", "--disable")

    made = refused_job.run("diff", "--plan", str(refused_job.plan_file), "--format", "json")

    assert [objection["exit_code"] for objection in made.json["apply"]["objections"]] == [3, 5]
    assert made.json["apply"]["exit_code"] == refused_job.apply().code == 3
    assert refused_job.apply("--force").code == 5
