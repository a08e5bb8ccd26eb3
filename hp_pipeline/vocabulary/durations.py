"""Durations as people write them: `90s`, `20min`, `5m`, `2h`, `1d`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_DURATION = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)\s*")


def parse_duration(text: object) -> timedelta:
    """`"90s"` → 90 seconds.

    Raises:
        ValueError: when it is no number with one of the units ms, s, m (min), h, d; a bare number says no unit.
    """
    if isinstance(text, timedelta):
        return text
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write a number with a unit, such as 90s, 20min, 2h or 1d")
    return float(match[1]) * _UNITS[match[2]]


def format_duration(duration: timedelta) -> str:
    """The shortest exact writing of a duration, in the largest unit that divides it: 90 seconds → `90s`."""
    for unit in ("d", "h", "min", "s", "ms"):
        number, rest = divmod(duration, _UNITS[unit])
        if not rest:
            return f"{number}{unit}"
    return f"{duration.total_seconds()}s"
