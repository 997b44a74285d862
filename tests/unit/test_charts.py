"""The charts of the page as numbers: round scales, labels with room, bars that can be seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from chatsync.language import LANGUAGES
from chatsync.page.charts import HEIGHT, WIDTH, Change, bars, levels, step_line

START = datetime(2026, 11, 2, 10, 30, tzinfo=UTC)
DAY = timedelta(days=1)
ENGLISH = LANGUAGES["en"]


@pytest.mark.parametrize(
    ("lowest", "highest", "expected"),
    [
        (0, 0, [0, 1]),
        (5, 5, [5, 6]),
        (0, 3, [0, 1, 2, 3]),
        (0, 100, [0, 50, 100]),
        (12_470, 12_481, [12_470, 12_475, 12_480, 12_485]),
        (-31, 57, [-50, 0, 50, 100]),
        (0, 2_000_000, [0, 500_000, 1_000_000, 1_500_000, 2_000_000]),
    ],
)
def test_levels_are_round_and_enclose_all(lowest: int, highest: int, expected: list[int]) -> None:
    assert levels(lowest, highest) == expected


@pytest.mark.parametrize(
    "span", [timedelta(seconds=30), timedelta(minutes=5), timedelta(hours=10), DAY, 3 * DAY, 30 * DAY, 400 * DAY]
)
@pytest.mark.parametrize("highest", [3, 12_481, 2_000_000])
def test_the_labels_of_a_line_have_room(span: timedelta, highest: int) -> None:
    points = [(START, 0), (START + span / 2, highest), (START + span, highest // 2)]

    drawn = step_line(points, write=ENGLISH.number, write_day=ENGLISH.short_day)

    assert drawn is not None
    frame = drawn.frame
    places = [tick.at for tick in frame.times]
    assert all(after - before >= 7 * 7.6 for before, after in pairwise(places))
    assert all(frame.left <= place <= WIDTH - 20 for place in places)
    assert max(len(tick.label) for tick in frame.levels) * 7 < frame.left
    assert {tick.at for tick in frame.levels} >= {frame.top, frame.bottom}
    assert places
    assert all(":" in tick.label for tick in frame.times) == (span < DAY)


def test_a_step_line_keeps_its_value_until_the_next_point() -> None:
    points = [(START, 0), (START + DAY, 10), (START + 4 * DAY, 5)]

    drawn = step_line(points, write=str, write_day=str)

    assert drawn is not None
    frame = drawn.frame
    a_quarter, middle = frame.left + (frame.right - frame.left) / 4, (frame.top + frame.bottom) / 2
    assert drawn.line == (
        f"M{frame.left:.1f},{frame.bottom:.1f}H{a_quarter:.1f}V{frame.top:.1f}H{frame.right:.1f}V{middle:.1f}"
    )
    assert (drawn.last_x, drawn.last_y) == (frame.right, middle)


def test_the_area_is_filled_only_down_to_zero() -> None:
    points = [(START, 0), (START + DAY, 10)]

    from_zero = step_line(points, write=str, write_day=str)
    from_more = step_line([(when, count + 1000) for when, count in points], write=str, write_day=str)

    assert from_zero is not None
    assert from_more is not None
    assert from_zero.area.endswith("Z")
    assert from_more.area == ""


@pytest.mark.parametrize("points", [[], [(START, 5)], [(START, 5), (START, 6)]])
def test_one_moment_is_no_line(points: list[tuple[datetime, int]]) -> None:
    assert step_line(points, write=str, write_day=str) is None


def changes(*pairs: tuple[int, int]) -> list[Change]:
    return [Change(when=START + at * DAY, off=off, on=on, about=f"{off}/{on}") for at, (off, on) in enumerate(pairs)]


def test_no_run_is_no_chart() -> None:
    assert bars([], write=str, write_day=str) is None


def test_bars_stand_on_both_sides_of_the_line_and_the_smallest_is_seen() -> None:
    drawn = bars(changes((1000, 0), (0, 500), (999, 1)), write=str, write_day=str)

    assert drawn is not None
    (tall, down, both), frame = drawn.bars, drawn.frame
    assert (tall.up, tall.down) == (drawn.zero - frame.top, 0)
    assert (down.up, down.down) == (0, frame.bottom - drawn.zero)
    assert both.down == 2
    assert frame.top < drawn.zero < frame.bottom < HEIGHT
    assert all(frame.left < bar.x < bar.x + bar.width < frame.right for bar in drawn.bars)
    assert [tick.label for tick in frame.levels] == ["500", "0", "500", "1000"]


def test_a_first_fill_does_not_hide_all_other_runs() -> None:
    drawn = bars(changes((100_000, 0), *((6, 3),) * 20), write=ENGLISH.number, write_day=ENGLISH.short_day)

    assert drawn is not None
    first, *others = drawn.bars
    assert (first.cut_up, first.cut_down) == ("100,000", "")
    assert all(bar.up > 40 and not bar.cut_up for bar in others)
    places = [tick.at for tick in drawn.frame.times]
    assert all(after - before >= 60 for before, after in pairwise(places))


def test_the_only_bar_on_its_side_is_drawn() -> None:
    drawn = bars(changes(*((6, 0),) * 20, (0, 100)), write=str, write_day=str)

    assert drawn is not None
    assert (drawn.bars[-1].down, drawn.bars[-1].cut_down) == (drawn.frame.bottom - drawn.zero, "")
