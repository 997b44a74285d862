"""The two charts of the page as numbers that a template draws: scales, ticks and shapes. Pure.

A drawing is `WIDTH` by `HEIGHT` units; one unit is about one pixel, on a phone three quarters of one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

WIDTH, HEIGHT = 460.0, 220.0
_TOP, _RIGHT, _BOTTOM = 12.0, 12.0, 30.0
_LETTER = 7.6  # the width of a digit in a label
_LABEL_ROOM = 78.0  # for a label below the axis, and the space beside it
_LEVELS = 5
_FAR = 5
_WIDEST_BAR, _SLIMMEST_BAR, _LOWEST_BAR = 18.0, 2.0, 2.0

Point = tuple[datetime, int]


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A mark on an axis: where it is, and its label."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The area in which a chart draws, and the marks on its axes."""

    left: float
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM
    width: int = round(WIDTH)
    height: int = round(HEIGHT)
    levels: Sequence[Tick]
    times: Sequence[Tick]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """A step line: its path, and the path of the area below it, which is empty if the axis does not begin at 0."""

    frame: Frame
    line: str
    area: str
    last_x: float
    last_y: float


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What one run did, as a bar above the line and one below: position, heights, and a text.

    A bar that is far higher than most is cut at the edge of the frame, and its number is written there.
    """

    x: float
    width: float
    up: float
    down: float
    about: str
    cut_up: str = ""
    cut_down: str = ""


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Bars on both sides of a line, which is at `zero`."""

    frame: Frame
    zero: float
    bars: Sequence[Bar]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one run changed, and the text about it."""

    when: datetime
    off: int
    on: int
    about: str


Write = Callable[[int], str]
WriteDay = Callable[[datetime], str]


def levels(lowest: int, highest: int) -> list[int]:
    """Return round numbers that enclose both, evenly spaced, the lowest first."""
    span = max(highest - lowest, 1)
    raw = span / (_LEVELS - 1)
    power = 10 ** max(math.floor(math.log10(raw)), 0)
    step = max(next(int(factor * power) for factor in (1, 2, 5, 10) if factor * power >= raw), 1)
    first, last = lowest // step, -(-highest // step)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def step_line(points: Sequence[Point], *, write: Write, write_day: WriteDay) -> Steps | None:
    """Draw a number that keeps its value until the next point; None for fewer than two moments."""
    if len({when for when, _ in points}) < 2:  # noqa: PLR2004  # a line has two ends
        return None
    counts = [count for _, count in points]
    marks = levels(min(counts), max(counts))
    left = _left(marks, write)
    start, end = points[0][0], points[-1][0]
    days = _day_ticks(start, end, left=left, write=write_day) or _clock_ticks(start, end, left=left)
    frame = _frame(marks, left=left, write=write, times=days)
    y = _scale(marks[0], marks[-1], frame.bottom, frame.top)
    x = _scale(0, (end - start).total_seconds(), frame.left, frame.right)
    moves = [f"H{x((when - start).total_seconds()):.1f}V{y(count):.1f}" for when, count in points[1:]]
    line = f"M{frame.left:.1f},{y(points[0][1]):.1f}" + "".join(moves)
    area = "" if marks[0] else f"{line}V{frame.bottom:.1f}H{frame.left:.1f}Z"
    return Steps(frame=frame, line=line, area=area, last_x=frame.right, last_y=y(points[-1][1]))


def bars(changes: Sequence[Change], *, write: Write, write_day: WriteDay) -> Bars | None:
    """Draw what each run turned off, above the line, and on, below it; None without a run."""
    if not changes:
        return None
    high, low = (_usual([getattr(change, side) for change in changes]) for side in ("off", "on"))
    marks = levels(-low, high)
    left = _left(marks, write)
    room = (WIDTH - _RIGHT - left) / len(changes)
    days = _run_ticks(changes, left=left, room=room, write=write_day)
    frame = _frame(marks, left=left, write=lambda number: write(abs(number)), times=days)
    y = _scale(marks[0], marks[-1], frame.bottom, frame.top)
    width = max(min(room * 0.7, _WIDEST_BAR), _SLIMMEST_BAR)
    drawn = [
        Bar(
            x=left + room * (at + 0.5) - width / 2,
            width=width,
            up=_visible(y(0) - y(min(change.off, marks[-1]))),
            down=_visible(y(max(-change.on, marks[0])) - y(0)),
            about=change.about,
            cut_up=write(change.off) if change.off > marks[-1] else "",
            cut_down=write(change.on) if -change.on < marks[0] else "",
        )
        for at, change in enumerate(changes)
    ]
    return Bars(frame=frame, zero=y(0), bars=drawn)


def _usual(counts: Sequence[int]) -> int:
    """Return the highest count, but ignore counts that are far higher than nine of ten that are not 0."""
    ordered = sorted(filter(None, counts)) or [0]
    far = max(ordered[(len(ordered) - 1) * 9 // 10], 1) * _FAR
    return max(count for count in ordered if count <= far or count == ordered[0])


def _visible(height: float) -> float:
    """Return a height that is large enough to be visible; 0 stays 0."""
    return max(height, _LOWEST_BAR) if height > 0 else 0.0


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1
    return lambda value: start + (value - low) / span * (end - start)


def _left(marks: Sequence[int], write: Write) -> float:
    return 12 + _LETTER * max(len(write(abs(mark))) for mark in marks)


def _frame(marks: Sequence[int], *, left: float, write: Write, times: Sequence[Tick]) -> Frame:
    y = _scale(marks[0], marks[-1], HEIGHT - _BOTTOM, _TOP)
    return Frame(left=left, levels=[Tick(at=y(mark), label=write(mark)) for mark in marks], times=times)


def _day_ticks(start: datetime, end: datetime, *, left: float, write: WriteDay) -> list[Tick]:
    """Mark the starts of days, as many as there is room for labels; there are none within one day."""
    most = int((WIDTH - _RIGHT - left) // _LABEL_ROOM)
    step = timedelta(days=max(math.ceil((end - start) / timedelta(days=1) / most), 1))
    x = _scale(0, (end - start).total_seconds(), left, WIDTH - _RIGHT)
    day = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    ticks = []
    while (day := day + step) <= end:
        at = x((day - start).total_seconds())
        if left + _LABEL_ROOM / 4 <= at <= WIDTH - _LABEL_ROOM / 3:
            ticks.append(Tick(at=at, label=write(day)))
    return ticks


def _clock_ticks(start: datetime, end: datetime, *, left: float) -> list[Tick]:
    """Mark whole minutes within one day, each with a label different from the one before."""
    x = _scale(0, (end - start).total_seconds(), left, WIDTH - _RIGHT)
    ticks: list[Tick] = []
    for part in range(1, 4):
        when = (start + (end - start) * part / 4).astimezone(UTC)
        whole = when.replace(second=0, microsecond=0)
        if whole >= start and all(tick.label != f"{whole:%H:%M}" for tick in ticks):
            ticks.append(Tick(at=x((whole - start).total_seconds()), label=f"{whole:%H:%M}"))
    return ticks


def _run_ticks(changes: Sequence[Change], *, left: float, room: float, write: WriteDay) -> list[Tick]:
    """Mark runs with their day, as many as there is room for labels."""
    ticks: list[Tick] = []
    for at, change in enumerate(changes):
        place, label = left + room * (at + 0.5), write(change.when)
        free = not ticks or (place - ticks[-1].at >= _LABEL_ROOM and label != ticks[-1].label)
        if free and left + _LABEL_ROOM / 4 <= place <= WIDTH - _LABEL_ROOM / 3:
            ticks.append(Tick(at=place, label=label))
    return ticks
