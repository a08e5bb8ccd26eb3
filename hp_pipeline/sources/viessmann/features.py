"""A document of features → readings.

A feature is named by its path (`heating.circuits.1.temperature`), has properties (`value`, `status`, …) and the time at
which the cloud last heard something new of it. Points are path and property: `heating.circuits.1.temperature.value`.
Circuits and compressors keep the ids that the device gives them: a house may have only circuit `1`.

Numbers are told in one unit for each kind, whatever unit the device sends (`UNITS`): the same feature comes in watt
from one device and in kilowatt from the other. A number in a unit that is not known gets the unit in its point's name,
so that nothing can take it for something else. Truth values are the texts `true` and `false`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hp_pipeline.sources.live import Reading

UNITS: Final[Mapping[str, tuple[float, float]]] = {
    **dict.fromkeys(("", "none"), (1.0, 0.0)),
    "celsius": (1.0, 0.0),
    "fahrenheit": (5 / 9, -160 / 9),
    "kelvin": (1.0, 0.0),
    "watt": (1.0, 0.0),
    "kilowatt": (1000.0, 0.0),
    "megawatt": (1e6, 0.0),
    "wattHour": (1e-3, 0.0),
    "kilowattHour": (1.0, 0.0),
    "megawattHour": (1e3, 0.0),
    "gigajoule": (1000 / 3.6, 0.0),
    "megajoule": (1 / 3.6, 0.0),
    "kilowattHour/year": (1.0, 0.0),
    **dict.fromkeys(("liter", "liter/hour", "liters/hour"), (1.0, 0.0)),
    "liter/minute": (60.0, 0.0),
    **dict.fromkeys(("cubicMeter/hour", "cubicmeter/hour"), (1000.0, 0.0)),
    "cubicMeter": (1.0, 0.0),
    **dict.fromkeys(("hour", "hours"), (1.0, 0.0)),
    **dict.fromkeys(("minute", "minutes"), (1 / 60, 0.0)),
    **dict.fromkeys(("second", "seconds"), (1 / 3600, 0.0)),
    "day": (24.0, 0.0),
    "percent": (1.0, 0.0),
    "bar": (1.0, 0.0),
    "millibar": (1e-3, 0.0),
    "kilopascal": (0.01, 0.0),
    "pascal": (1e-5, 0.0),
    "revolutionsPerSecond": (1.0, 0.0),
    "revolutionsPerMinute": (1 / 60, 0.0),
    "hertz": (1.0, 0.0),
    "ampere": (1.0, 0.0),
    "milliampere": (1e-3, 0.0),
    "volt": (1.0, 0.0),
    "degree": (1.0, 0.0),
    "meter": (1.0, 0.0),
}
"""Word of the cloud → (factor, offset) to what is told: °C, K, W, kWh (kWh/a), l/h (a volume in l, or m³), h, %, bar,
Hz, A, V, degrees, m. `liter` is what some devices call their flow in l/h."""

PERIODS: Final = ("day", "week", "month", "year")
"""Properties with a list of energies: the period that runs first, then those before it."""

CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""A time of a feature that is further in the future is not believed."""

SENSOR_SILENCE: Final = timedelta(hours=6)
"""A temperature of which nothing new was heard for longer is not taken to still hold."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One enabled feature of a document.

    Attributes:
        gateway, device: whose it is; empty when the document does not say.
        name: its path.
        time: when something new was last heard of it; None when it does not say, or names the future.
        properties: as they came.
    """

    gateway: str
    device: str
    name: str
    time: datetime | None
    properties: Mapping[str, Mapping[str, Any]]

    @property
    def is_connected(self) -> bool:
        """Whether its value is one: a sensor that is not there has a status and no value."""
        return self._status not in ("notConnected", "error", "shortCircuit", "interrupted", "undefined")

    @property
    def is_temperature(self) -> bool:
        """Whether it is a measured temperature, which is never the same for hours (a flow that rests is)."""
        return ".sensors.temperature." in self.name

    @property
    def _status(self) -> object:
        return self.properties.get("status", {}).get("value")


def features_of(document: Mapping[str, Any], now: datetime) -> list[Feature]:
    """The enabled features of a document; what cannot be understood is passed over."""
    found = []
    for raw in document["data"]:
        if not isinstance(raw, Mapping) or raw.get("isEnabled") is False or raw.get("isReady") is False:
            continue
        name, properties = raw.get("feature"), raw.get("properties")
        if not isinstance(name, str) or not name or not isinstance(properties, Mapping):
            continue
        uri = raw.get("uri")
        device = raw.get("deviceId") or _part(uri, "devices")
        gateway = raw.get("gatewayId") or _part(uri, "gateways")
        time = parse_time(raw.get("timestamp"))
        found.append(
            Feature(
                gateway=str(gateway),
                device=str(device),
                name=name,
                time=time if time is None or time <= now + CLOCK_TOLERANCE else None,
                properties={str(key): value for key, value in properties.items() if isinstance(value, Mapping)},
            )
        )
    return found


def _part(uri: object, collection: str) -> str:
    match = re.search(rf"/{collection}/([^/]+)/", uri) if isinstance(uri, str) else None
    return match[1] if match else ""


def parse_time(text: object) -> datetime | None:
    """A time as the cloud writes it, `2025-11-19T11:19:09.880Z`; None when it is none."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)


def told_by(feature: Feature) -> Iterator[tuple[str, float | str, datetime | None]]:
    """What a feature tells: the point's name, the value, and when the device says that it was so."""
    for key, entry in feature.properties.items():
        point = f"{feature.name}.{key}"
        value = entry.get("value")
        if key.endswith("ReadAt") or (key in ("value", "strength") and not feature.is_connected):
            continue
        if key in PERIODS and isinstance(value, list):
            energies = period_values(feature, key)
            if energies:
                yield point, energies[0], read_at(feature, key)
        elif isinstance(value, bool):
            yield point, "true" if value else "false", feature.time
        elif isinstance(value, int | float):
            name, number = in_told_unit(point, float(value), entry.get("unit"))
            if math.isfinite(number):
                yield name, number, feature.time
        elif isinstance(value, str):
            if value.strip():
                yield point, value, feature.time
        elif feature.name == "device.messages.errors.raw" and key == "entries" and isinstance(value, list):
            codes = [str(item.get("errorCode")) for item in value if isinstance(item, Mapping)]
            yield point, ", ".join(sorted(set(codes))) or "none", feature.time
        elif isinstance(value, dict) or (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            # Schedules and lists of ids: settings, so that a change of them is seen.
            yield point, json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False), feature.time


def period_values(feature: Feature, period: str) -> list[float]:
    """Energies (kWh) of the period that runs and of those before it, as far as they are numbers in a unit of energy."""
    entry = feature.properties.get(period, {})
    values = entry.get("value")
    if (
        period not in PERIODS
        or not isinstance(values, list)
        or not str(entry.get("unit", "")).endswith(("Hour", "joule"))
    ):
        return []
    found = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            break
        name, number = in_told_unit("", float(value), entry.get("unit"))
        if name or not math.isfinite(number):
            break
        found.append(number)
    return found


def read_at(feature: Feature, period: str) -> datetime | None:
    """When the device read its list of energies; the feature's own time when it does not say."""
    told = parse_time(feature.properties.get(f"{period}ValueReadAt", {}).get("value"))
    return feature.time if told is None or (feature.time and told > feature.time + CLOCK_TOLERANCE) else told


def in_told_unit(point: str, value: float, unit: object) -> tuple[str, float]:
    """The point's name and the number in the unit that is told; an unknown unit becomes a part of the name."""
    word = unit if isinstance(unit, str) else ""
    if word not in UNITS:
        return f"{point} [{word}]", value
    factor, offset = UNITS[word]
    return point, value * factor + offset


class Affirmations:
    """Gives every value its time: that of the feature when it is new, that of the poll when it still holds.

    The cloud stamps a feature when something new is heard of it, and a state may rightly not change for days. What is
    not new since the poll before still holds at the poll, which an open time says, as long as its device is heard of at
    all and, for a temperature, was heard of within `SENSOR_SILENCE`. Else it keeps its own old time and grows stale.

    Args:
        silence: a device of which nothing new was heard for longer is away.
    """

    def __init__(self, silence: timedelta) -> None:
        self._silence = silence
        self._seen: dict[str, datetime] = {}

    def readings(
        self, features: Iterable[Feature], prefix_of: Mapping[tuple[str, str], str], now: datetime
    ) -> list[Reading]:
        """Readings of one poll, one for each point."""
        features = list(features)
        newest: dict[tuple[str, str], datetime] = {}
        for feature in features:
            if feature.time is not None:
                owner = (feature.gateway, feature.device)
                newest[owner] = max(feature.time, newest.get(owner, feature.time))
        readings: dict[str, Reading] = {}
        for feature in features:
            owner = (feature.gateway, feature.device)
            alive = owner not in newest or now - newest[owner] <= self._silence
            for name, value, time in told_by(feature):
                point = prefix_of[owner] + name
                told = time
                if time is not None and time == self._seen.get(point) and alive:
                    fresh = not feature.is_temperature or now - time <= SENSOR_SILENCE
                    told = None if fresh and not _is_period(name) else time
                if time is not None:
                    self._seen[point] = time
                readings[point] = (
                    Reading(point, text=value, time=told)
                    if isinstance(value, str)
                    else Reading(point, value=value, time=told)
                )
        return list(readings.values())


def _is_period(point: str) -> bool:
    # An energy so far is true when it was read: held on, it would flatten the hours that follow.
    return point.rpartition(".")[2] in PERIODS
