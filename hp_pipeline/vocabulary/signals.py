"""The canonical signals (`signals.yaml`) as typed values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from ruamel.yaml import YAML

from hp_pipeline.vocabulary.counters import CounterRule
from hp_pipeline.vocabulary.durations import parse_duration

Kind = Literal["gauge", "counter", "state", "text"]


@dataclass(frozen=True)
class Signal:
    """One canonical signal: what `name` means, in which `unit`, and how long a reading of it may be held."""

    name: str
    kind: Kind
    description: str
    max_age: timedelta
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] = ()
    summary: bool = False
    counter: CounterRule | None = None
    """What every counter of this signal can do; None for what is no counter."""

    @property
    def is_flag(self) -> bool:
        """Whether it is a state that is either on or off."""
        return self.values == ("off", "on")


@cache
def signals() -> dict[str, Signal]:
    """All canonical signals by name, in the order of the file (which is the order of the frames' columns)."""
    raw = YAML(typ="safe").load(files(__package__).joinpath("signals.yaml").read_text(encoding="utf-8"))
    result = {}
    for name, entry in raw.items():
        low, high = entry.get("range", (None, None))
        result[name] = Signal(
            name=name,
            kind=entry["kind"],
            description=entry["description"],
            max_age=parse_duration(entry["max_age"]),
            unit=entry.get("unit"),
            minimum=None if low is None else float(low),
            maximum=None if high is None else float(high),
            values=tuple(entry.get("values", ())),
            summary=bool(entry.get("summary", False)),
            counter=_counter(entry) if entry["kind"] == "counter" else None,
        )
    return result


def _counter(entry: dict[str, Any]) -> CounterRule:
    return CounterRule(
        most_per_hour=float(entry["most_per_hour"]),
        resolution=entry.get("resolution"),
        resets=entry.get("resets", "any"),
    )


@cache
def summary_signals() -> tuple[str, ...]:
    """Names of the gauges whose min, max, mean, first and last stand in every table of figures."""
    return tuple(signal.name for signal in signals().values() if signal.summary)
