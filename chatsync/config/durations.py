"""Durations as they are written in the configuration and in options."""

import re
from typing import Self

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_MAX_LENGTH = 60  # characters
_LONGEST = 36_500 * _UNITS["d"]
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+", re.ASCII)


class Seconds(float):
    """A length of time in seconds, written in the file as `"90s"`, `"20m"`, `"1h30m"` or `"90d"`."""

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read a duration. Raises ValueError for anything else, and for a duration of 0."""
        seconds = _seconds(text)
        if not seconds:
            raise ValueError("a duration must be longer than 0")
        return cls(seconds)


class Wait(Seconds):
    """A length of time that may be zero; a bare number is in seconds."""

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read a duration or a number. Raises ValueError for anything else."""
        if isinstance(text, int | float) and not isinstance(text, bool) and 0 <= text <= _LONGEST:
            return cls(text)
        return cls(_seconds(text))


def _seconds(text: object) -> float:
    if not isinstance(text, str) or len(text) > _MAX_LENGTH or not _DURATION.fullmatch(text):
        raise ValueError('expected a duration such as "90s", "20m" or "1h30m"')
    parts = re.findall(r"([\d.]+)([smhdw])", text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds > _LONGEST:
        raise ValueError("a duration must be at most 36500d")
    return seconds
