"""What a probe tells an owner: the signals that a profile finds in what a device said, and the lines for hp.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from hp_pipeline.vocabulary.profiles import Profile, SignalMapping

CLOCK_TOLERANCE = timedelta(minutes=2)
"""A device clock may be that far off without a word of advice."""


@dataclass(frozen=True)
class FoundSignal:
    """One signal of a profile and what the device says.

    Attributes:
        signal: its name.
        point: the point that it is read from.
        shown: what the point says, in the signal's unit or as its state; what the profile does not believe or know
            is named so.
    """

    signal: str
    point: str
    shown: str


def signals_found(
    profile: Profile, values: Mapping[str, float | str]
) -> tuple[tuple[FoundSignal, ...], tuple[str, ...]]:
    """What a profile makes of a device's values (by point): its signals with a point, and the names of all others."""
    found, missing = [], []
    for name, mapping in profile.mappings.items():
        point = next((point for selector in mapping.selectors for point in values if selector.matches(point)), None)
        if point is None:
            missing.append(name)
        else:
            found.append(FoundSignal(name, point, _meant(mapping, values[point])))
    return tuple(found), tuple(missing)


def _meant(mapping: SignalMapping, value: float | str) -> str:
    signal = mapping.signal
    if signal.kind == "state":
        return mapping.state_of(str(value)) or f"{value!r}: no word of the profile"
    if signal.kind not in ("gauge", "counter"):
        return str(value)
    if isinstance(value, str):
        return f"{value!r}: no number"
    number = value * mapping.factor + mapping.offset
    low, high = signal.minimum, signal.maximum
    if number in mapping.reject or (low is not None and number < low) or (high is not None and number > high):
        return f"none ({number:g})"
    return f"{number:.6g} {signal.unit or ''}".rstrip()


def signal_lines(profile: str, found: Sequence[FoundSignal], missing: Iterable[str]) -> list[str]:
    """The part of a report that says what a profile finds."""
    lines = [f"  with the profile {profile} it tells {len(found)} signals:"]
    lines += [f"    {one.signal:<34}{one.shown:>16}   {one.point}" for one in found]
    absent = ", ".join(missing)
    return [*lines, f"  not told: {absent}"] if absent else lines


def clock_line(drift: timedelta) -> str:
    """How far a device's clock is from ours."""
    seconds = abs(drift) / timedelta(seconds=1)
    way = "ahead" if drift > timedelta() else "behind"
    if seconds < 2:
        return "its clock is right"
    return f"its clock is {seconds:.0f} s {way}" + (": set it" if abs(drift) > CLOCK_TOLERANCE else "")


def lines_for_settings(source: Iterable[str], inputs: Iterable[tuple[str, str]]) -> list[str]:
    """The lines to paste into hp.yaml.

    Args:
        source: the lines of the source, those after the first indented below `- `.
        inputs: sources and the profiles that read them, for the heat pump.
    """
    first, *others = source
    wanted = ", ".join(f"{{source: {source_id}, profile: {profile}}}" for source_id, profile in inputs)
    return [
        "",
        "For hp.yaml:",
        "sources:",
        f"  - {first}",
        *(f"    {line}" for line in others),
        "heat_pumps:",
        "  - id: my_heat_pump",
        f"    inputs: [{wanted}]",
    ]
