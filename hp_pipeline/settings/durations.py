"""Durations as an owner writes them: a number with its unit, such as `90s`, `20min`, `2h` or `1d`.

A bare number is refused because nobody can see whether it means seconds or minutes, and the ISO notation
(`PT20M`) because it is easily mistyped; the refusal names the spelling that would be right.
"""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from hp_pipeline.vocabulary.durations import format_duration, parse_duration

ALLOWED = "a number with its unit, such as 90s, 20min, 2h or 1d"

_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
}
_NEARLY = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?) *([A-Za-z]*)", re.ASCII)
_ISO = re.compile(r"PT?([0-9]+)([HMSD])", re.ASCII | re.IGNORECASE)


def read_duration(value: object) -> timedelta | None:
    """The duration that a value of the settings names; None when it is none, or finer than a millisecond."""
    try:
        duration = parse_duration(value)
    except (ValueError, OverflowError):
        return None
    return None if duration % timedelta(milliseconds=1) else duration


def suggest_duration(value: object) -> str | None:
    """The spelling that a near miss probably means: `90` → 90s, `PT5M` → 5min, `5 Minutes` → 5min."""
    written = str(value).strip()
    if iso := _ISO.fullmatch(written):
        return iso[1] + _UNITS[iso[2].lower()]
    nearly = _NEARLY.fullmatch(written)
    unit = _UNITS.get(nearly[2].lower() or "s") if nearly else None
    suggestion = f"{nearly[1].removeprefix('+')}{unit}" if nearly and unit else None
    return suggestion if read_duration(suggestion) is not None else None


def _duration(value: object) -> timedelta:
    duration = read_duration(value)
    if duration is None:
        raise PydanticCustomError(
            "duration",
            "allowed: {allowed}",
            {"allowed": ALLOWED, "nearest": suggest_duration(value) or ""},
        )
    return duration


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)? *(ms|s|m|min|h|d)$"}),
]


def between(shortest: str, longest: str) -> AfterValidator:
    """Refuses a duration outside of `shortest` to `longest` (both allowed, written as durations)."""
    least, most = parse_duration(shortest), parse_duration(longest)

    def check(duration: timedelta) -> timedelta:
        if not least <= duration <= most:
            raise PydanticCustomError("out_of_range", "allowed: {allowed}", {"allowed": f"{shortest} to {longest}"})
        return duration

    return AfterValidator(check)
