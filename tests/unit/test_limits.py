"""What a plan may do without a person's word for it: exactly at each limit, one below and one above."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from pyroaring import BitMap64

from chatsync.config.settings import Limits
from chatsync.core.diff import Rejected
from chatsync.core.objections import ALLOW_EMPTY, FORCE, limit_objections, raise_first
from chatsync.core.odd_list import form_of
from chatsync.core.off_rows import OffRows
from chatsync.core.plan import Plan, PlanExclusions, PlanFeature, Verdict

TO_TURN_ON = 1_000_000


def plan(
    off_now: int, *, turn_off: int = 0, turn_on: int = 0, unknown: int = 0, strays: int = 0, **listed: Any
) -> Plan:
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
        strays={1: OffRows(count=strays, hash="0" * 32)},
        target="",
        trace_id="",
    )


def broken(plan: Plan, **limits: Any) -> list[str]:
    """Name the keys of the limits that a plan breaks, in the order of the reasons."""
    reasons = [objection.reason for objection in limit_objections(plan, Limits(**limits))]
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


def test_strays_do_not_make_a_short_list_of_a_long_one() -> None:
    """A forged plan may claim them, so as to get below the ten that `free` covers."""
    assert broken(plan(9, turn_on=9, strays=0)) == []
    assert broken(plan(9, turn_on=9, strays=1)) == ["turn_on_percent"]


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


@pytest.mark.parametrize(
    ("part", "whole", "is_over"),
    [(20, 100, False), (21, 100, True), (5, 10, False), (6, 10, True), (1, 1, True), (20, 40, False), (20, 39, True)],
)
def test_a_few_rejected_rows_or_unknown_clients_are_exempt_unless_they_are_most(
    part: int, whole: int, is_over: bool
) -> None:
    rejected = plan(100, rows=whole, clients=max(whole - part, 1), rejected_count=part)
    unknown = plan(100, clients=whole, unknown=part)

    assert broken(unknown) == (["unknown_percent"] if is_over else [])
    assert bool(limit_objections(rejected, Limits())) is is_over


def test_a_plan_that_was_not_read_breaks_no_limit() -> None:
    unread = msgspec.structs.replace(plan(0, clients=None, rows=None), verdict=Verdict.NOT_MODIFIED, off_now=None)

    assert limit_objections(unread, Limits(must_contain=(1,))) == []


# -- what lifts them --


def everything_wrong() -> tuple[Plan, Limits]:
    wrong = plan(100, turn_on=100, turn_off=40, unknown=3, rows=0, clients=0, missing=(7, 8))
    return wrong, Limits(turn_on_max=50, turn_off_max=30, must_contain=(7, 8))


def refusal(*options: str) -> str:
    wrong, limits = everything_wrong()
    with pytest.raises(Exception, match="refused") as caught:
        raise_first(limit_objections(wrong, limits, lifting=options))
    return str(caught.value)


def test_all_reasons_are_told_at_once_with_numbers_key_clients_and_way_out() -> None:
    text = refusal()

    assert text.startswith("refused, nothing was written: the exclusion list hahn://home/list holds no client (0 rows)")
    for part in (
        "all 100 that are off would be turned on; --allow-empty overrides it",
        "the list lacks 2 clients of limits.must_contain (7, 8): it is the wrong list; no option overrides it",
        "3 of 0 listed clients (2000000, 2000001, 2000002) are on no shard",
        (
            "turning on 100 clients (1000000, 1000001, 1000002, …) is 100 % of the 100 that are off now, "
            "over limits.turn_on_percent = 30; --force overrides it"
        ),
        "turning on 100 clients (1000000, 1000001, 1000002, …) is over limits.turn_on_max = 50; --force overrides it",
        "turning off 40 clients (1, 2, 3, …) is 40 % of the 100 that are off now, over limits.turn_off_percent = 30",
        "turning off 40 clients (1, 2, 3, …) is over limits.turn_off_max = 30; --force overrides it",
    ):
        assert part in text
    assert text.count(" | ") == 6


def test_force_lifts_all_but_the_empty_list_and_must_contain() -> None:
    text = refusal(FORCE)

    assert text.count(" | ") == 1
    assert "holds no client" in text
    assert "limits.must_contain" in text


def test_nothing_lifts_must_contain() -> None:
    text = refusal(FORCE, ALLOW_EMPTY)

    assert " | " not in text
    assert "limits.must_contain" in text


@pytest.mark.parametrize("options", [(), (FORCE,), (ALLOW_EMPTY,), (FORCE, ALLOW_EMPTY)])
def test_nothing_lifts_a_list_of_nothing_but_rejected_rows(options: tuple[str, ...]) -> None:
    rejected = tuple(Rejected(row=row, value=f"{row};x", reason="not an integer") for row in range(2, 12))
    wrong = plan(5, rows=10, clients=0, rejected_count=10, rejected=rejected)

    (objection,) = limit_objections(wrong, Limits(), lifting=options)

    assert not objection.is_lifted
    assert objection.reason == (
        "none of the 10 rows of hahn://home/list holds a client id: its cells seem to be separated by semicolons, not "
        "commas (row 2, '2;x': not an integer); correct the list, or exclusions.column; no option overrides it"
    )


@pytest.mark.parametrize(
    ("rejected", "offered"), [pytest.param(5, True, id="half"), pytest.param(6, False, id="more than half")]
)
def test_no_option_is_offered_when_most_rows_are_rejected(rejected: int, offered: bool) -> None:
    rows = tuple(Rejected(row=row, value="1.0", reason="fraction") for row in range(rejected))
    wrong = plan(100, rows=10, clients=10 - rejected, rejected_count=rejected, rejected=rows)

    (objection,) = limit_objections(wrong, Limits(free=0))

    assert ("--force overrides it" in objection.reason) is offered
    assert ("as in a column of type double" in objection.reason) is not offered
    assert limit_objections(wrong, Limits(free=0), lifting=[FORCE])[0].is_lifted


@pytest.mark.parametrize(
    ("value", "reason", "form"),
    [
        ("12;Romashka", "not an integer", "separated by semicolons"),
        ("12|Romashka", "not an integer", "separated by vertical bars"),
        ("12?Romashka", "not an integer", "separated by tabs"),
        ("\N{REPLACEMENT CHARACTER}1?", "not an integer", "not text in UTF-8"),
        ("a,b,1", "3 cells, the header has 2", "more or fewer cells than the header"),
        ("None", "null", "the column is empty"),
        ("-5", "negative", "the numbers are negative"),
        ("Romashka", "not an integer", "the column does not hold client ids"),
    ],
)
def test_the_form_of_rejected_rows_is_named(value: str, reason: str, form: str) -> None:
    others = [Rejected(row=1, value="n/a", reason="not an integer")]
    alike = [Rejected(row=row, value=value, reason=reason) for row in (2, 3, 4)]

    assert form in form_of(others + alike)
    assert "row 1, 'n/a': not an integer" in form_of(others + alike)


# -- the commands: a plan over a limit is refused whole, and said to be so beforehand --
