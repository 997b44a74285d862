"""What a plan may do without a person's word for it: exactly at each limit, one below and one above."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from pyroaring import BitMap64

from chatsync.config.settings import Limits
from chatsync.core.objections import ALLOW_EMPTY, FORCE, check_limits, refusals
from chatsync.core.plan import Plan, PlanExclusions, PlanFeature, Verdict

if TYPE_CHECKING:
    from tests.harness.job import Job

TO_TURN_ON = 1_000_000


def plan(off_now: int, *, turn_off: int = 0, turn_on: int = 0, unknown: int = 0, **listed: Any) -> Plan:
    facts: dict[str, Any] = {"rows": 100_000, "clients": 100_000, "duplicates": 0} | listed
    return Plan(
        created_at="2026-11-23T10:30:00.000000Z",
        verdict=Verdict.CHANGES,
        feature=PlanFeature(name="checked_support_chat", id=217),
        exclusions=PlanExclusions(
            source="hahn://home/list", modification_time="2026-11-23T10:15:00.000000Z", revision=1, **facts
        ),
        modtime=None,
        off_now=off_now,
        turn_off={1: BitMap64(range(1, 1 + turn_off)), 2: BitMap64()},
        turn_on={1: BitMap64(), 2: BitMap64(range(TO_TURN_ON, TO_TURN_ON + turn_on))},
        unknown=BitMap64(range(2_000_000, 2_000_000 + unknown)),
        target="",
        trace_id="",
    )


def broken(plan: Plan, **limits: Any) -> list[str]:
    """Name the keys of the limits that a plan breaks, in the order of the reasons."""
    reasons = [str(refusal) for refusal in refusals(plan, Limits(**limits))]
    return [word.removeprefix("limits.") for reason in reasons for word in reason.split() if word.startswith("limits.")]


# -- the two percentages and `free` --


@pytest.mark.parametrize(("turn_on", "keys"), [(2999, []), (3000, []), (3001, ["turn_on_percent"])])
def test_turning_on_a_share_of_ten_thousand(turn_on: int, keys: list[str]) -> None:
    assert broken(plan(10_000, turn_on=turn_on)) == keys


@pytest.mark.parametrize(("turn_off", "keys"), [(2999, []), (3000, []), (3001, ["turn_off_percent"])])
def test_turning_off_a_share_of_ten_thousand(turn_off: int, keys: list[str]) -> None:
    assert broken(plan(10_000, turn_off=turn_off)) == keys


@pytest.mark.parametrize("off_now", [0, 1, 9, 10])
@pytest.mark.parametrize(("turn_off", "keys"), [(19, []), (20, []), (21, ["turn_off_percent"])])
def test_as_many_as_free_are_turned_off_whatever_their_share(off_now: int, turn_off: int, keys: list[str]) -> None:
    assert broken(plan(off_now, turn_off=turn_off)) == keys


@pytest.mark.parametrize(
    ("off_now", "turn_on", "keys"),
    [
        (0, 0, []),
        (1, 1, []),  # below ten that are off, `free` covers them all
        (9, 8, []),
        (9, 9, []),
        (10, 4, []),
        (10, 5, []),  # half is not more than half
        (10, 6, ["turn_on_percent"]),
        (10, 10, ["turn_on_percent"]),
        (11, 5, []),
        (11, 6, ["turn_on_percent"]),
        (39, 19, []),
        (39, 20, ["turn_on_percent"]),
        (40, 20, []),
        (40, 21, ["turn_on_percent"]),
        (10_000, 20, []),
    ],
)
def test_free_does_not_open_the_hole_of_turning_most_on(off_now: int, turn_on: int, keys: list[str]) -> None:
    assert broken(plan(off_now, turn_on=turn_on)) == keys


@pytest.mark.parametrize(
    ("off_now", "turn_on", "turn_off", "keys"),
    [
        (1, 1, 19, []),
        (1, 1, 20, ["turn_on_percent", "turn_off_percent"]),
        (9, 9, 11, []),
        (9, 9, 12, ["turn_on_percent", "turn_off_percent"]),
        (10_000, 1, 20, []),
    ],
)
def test_free_counts_the_whole_change(off_now: int, turn_on: int, turn_off: int, keys: list[str]) -> None:
    assert broken(plan(off_now, turn_on=turn_on, turn_off=turn_off)) == keys


@pytest.mark.parametrize(("turn_on", "keys"), [(2, []), (3, []), (4, ["turn_on_percent"])])
def test_without_free_the_percentages_always_count(turn_on: int, keys: list[str]) -> None:
    assert broken(plan(10, turn_on=turn_on), free=0) == keys


def test_zero_percent_lets_nobody_through_but_those_who_are_free() -> None:
    assert broken(plan(10_000, turn_on=20), turn_on_percent=0) == []
    assert broken(plan(10_000, turn_on=21), turn_on_percent=0) == ["turn_on_percent"]


def test_more_than_a_hundred_percent_may_be_asked_for() -> None:
    assert broken(plan(100, turn_off=200), turn_off_percent=200) == []
    assert broken(plan(100, turn_off=201), turn_off_percent=200) == ["turn_off_percent"]


@pytest.mark.parametrize(("turn_off", "keys"), [(57, []), (58, ["turn_off_percent"])])
def test_a_percentage_counts_as_it_is_written(turn_off: int, keys: list[str]) -> None:
    assert broken(plan(10_000, turn_off=turn_off), turn_off_percent=0.57) == keys


def test_a_client_that_is_off_on_two_shards_counts_once() -> None:
    twice = plan(10, turn_on=5)
    everywhere = twice.turn_on[2]
    twice = msgspec.structs.replace(twice, turn_on={1: everywhere, 2: everywhere})

    assert broken(twice) == []
    assert broken(twice, turn_on_max=4) == ["turn_on_max"]
    assert broken(twice, turn_on_max=5, free=5) == []


# -- the other limits --


@pytest.mark.parametrize(("count", "over"), [(4, False), (5, False), (6, True)])
@pytest.mark.parametrize("action", ["turn_on", "turn_off"])
def test_absolute_caps_count_below_free_too(action: str, count: int, over: bool) -> None:
    keys = [f"{action}_max"] if over else []

    assert broken(plan(10_000, **{action: count}), **{f"{action}_max": 5}) == keys


@pytest.mark.parametrize(("rejected", "keys"), [(99, []), (100, []), (101, ["rejected_percent"])])
def test_rejected_rows(rejected: int, keys: list[str]) -> None:
    assert broken(plan(10, rows=10_000, clients=9_000, rejected_count=rejected)) == keys


@pytest.mark.parametrize(("unknown", "keys"), [(999, []), (1000, []), (1001, ["unknown_percent"])])
def test_unknown_clients(unknown: int, keys: list[str]) -> None:
    assert broken(plan(10, unknown=unknown, clients=10_000)) == keys


def test_a_plan_that_was_not_read_breaks_no_limit() -> None:
    unread = msgspec.structs.replace(plan(0, clients=None, rows=None), verdict=Verdict.NOT_MODIFIED, off_now=None)

    assert refusals(unread, Limits(must_contain=(1,))) == []


# -- what lifts them --


def everything_wrong() -> tuple[Plan, Limits]:
    wrong = plan(100, turn_on=100, turn_off=40, unknown=3, rows=10, clients=0, rejected_count=10, missing=(7, 8))
    return wrong, Limits(turn_on_max=50, turn_off_max=30, must_contain=(7, 8))


def refusal(*options: str) -> str:
    wrong, limits = everything_wrong()
    with pytest.raises(Exception, match="refused") as caught:
        check_limits(wrong, limits, lifting=options)
    return str(caught.value)


def test_all_reasons_are_told_at_once_with_numbers_key_clients_and_way_out() -> None:
    text = refusal()

    assert text.startswith(
        "refused, nothing was written: the exclusion list hahn://home/list holds no client (10 rows)"
    )
    for part in (
        "all 100 that are off would be turned on; --allow-empty lifts it",
        "the list lacks 2 clients of limits.must_contain (7, 8): it is the wrong list; no option lifts this",
        "10 of 10 rows hold no client id, 100 %, over limits.rejected_percent = 1; --force lifts it",
        "3 of 0 listed clients (2000000, 2000001, 2000002) are on no shard",
        (
            "turning on 100 clients (1000000, 1000001, 1000002, …) is 100 % of the 100 that are off now, "
            "over limits.turn_on_percent = 30; --force lifts it"
        ),
        "turning on 100 clients (1000000, 1000001, 1000002, …) is over limits.turn_on_max = 50; --force lifts it",
        "turning off 40 clients (1, 2, 3, …) is 40 % of the 100 that are off now, over limits.turn_off_percent = 30",
        "turning off 40 clients (1, 2, 3, …) is over limits.turn_off_max = 30; --force lifts it",
    ):
        assert part in text
    assert text.count(" | ") == 7


def test_force_lifts_all_but_the_empty_list_and_must_contain() -> None:
    text = refusal(FORCE)

    assert text.count(" | ") == 1
    assert "holds no client" in text
    assert "limits.must_contain" in text


def test_nothing_lifts_must_contain() -> None:
    text = refusal(FORCE, ALLOW_EMPTY)

    assert " | " not in text
    assert "limits.must_contain" in text


# -- the commands: a plan over a limit is refused whole, and said to be so beforehand --


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
    "over limits.turn_on_percent = 30; --force lifts it"
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
    said = f"apply will make 40 changes.\nover the limits, but lifted by the options given:\n  {REASON}\n"
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


def test_a_list_of_nothing_but_rejected_rows_is_empty_too(job: Job) -> None:
    job.settle_off({1: 1})
    job.list(["n/a", "-1"])
    job.diff()

    result = job.apply("--force")

    assert result.code == 3
    assert "holds no client (2 rows)" in result.err
    assert job.off() == {1}


def test_a_list_without_a_known_client_is_the_wrong_list(job: Job) -> None:
    job.settle_off({1: 1, 2: 2})
    job.configure(limits={"must_contain": [1, 3]})
    job.list([1, 2])
    made = job.diff()

    result = job.apply("--force", "--allow-empty")

    reason = "the list lacks 1 clients of limits.must_contain (3): it is the wrong list; no option lifts this"
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
