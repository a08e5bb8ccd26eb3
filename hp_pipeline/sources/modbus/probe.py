"""What answers at a Modbus address, and which register map fits it: for the owner who connects a heat pump.

Only reads. Every shipped map is tried with one poll: a map that recognises its controller is certain, the others are
compared by how many of their signals come with a value that is possible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hp_pipeline.settings.sources import ModbusSource
from hp_pipeline.sources.live import Outcome, PollError
from hp_pipeline.sources.modbus.source import map_of, open_source
from hp_pipeline.sources.modbus.wire import Lines
from hp_pipeline.sources.proposal import lines_for_settings
from hp_pipeline.vocabulary.profiles import load_profile
from hp_pipeline.vocabulary.registers import RegisterMap, load_map, shipped_maps

_ENOUGH = 0.5
"""Share of a map's signals that must be plausible before it is proposed without a recognised controller."""


@dataclass(frozen=True)
class ProbedMap:
    """How well one map fits.

    Attributes:
        name, title: of the map.
        verified: whether the map was compared with a real device.
        model: the model that was recognised, None if the map cannot tell or nothing was recognised.
        certain: the device says itself that it is one of the map's.
        signals: signals that came with a possible value, with it.
        missing: signals of the map that did not.
        points: points that came, with their values and units.
        requests: requests that took.
        refused: requests that were refused, and why.
        trouble: why nothing could be read, empty otherwise.
    """

    name: str
    title: str
    verified: bool
    model: str | None = None
    certain: bool = False
    signals: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    points: tuple[tuple[str, str], ...] = ()
    requests: int = 0
    refused: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def fit(self) -> float:
        """Share of the map's signals that are plausible, 0 to 1."""
        every = len(self.signals) + len(self.missing)
        return len(self.signals) / every if every else 0.0


@dataclass(frozen=True)
class ModbusProbe:
    """What was found.

    Attributes:
        settings: the connection that was tried.
        maps: every map, the best first.
        trouble: why nothing answers at all, empty otherwise.
    """

    settings: ModbusSource
    maps: tuple[ProbedMap, ...]
    trouble: str = ""

    @property
    def proposed(self) -> ProbedMap | None:
        """The map to use, None if none fits."""
        best = next(iter(self.maps), None)
        return best if best is not None and (best.certain or best.fit >= _ENOUGH) else None


async def probe(settings: ModbusSource) -> ModbusProbe:
    """Try every shipped register map on a device.

    Args:
        settings: where it is; its `map` does not matter.
    """
    found: list[ProbedMap] = []
    lines = Lines()
    for name in _in_order():
        tried = settings.model_copy(update={"map": name})
        register_map = map_of(tried)
        if not {settings.model} <= {None, *register_map.models}:
            continue
        source = open_source(tried, lines=lines)
        try:
            polled = await source.poll()
        except PollError as error:
            if error.outcome in (Outcome.timeout, Outcome.refused, Outcome.broken, Outcome.offline):
                return ModbusProbe(settings, tuple(found), str(error))
            found.append(ProbedMap(name, register_map.title, register_map.verified, trouble=error.what))
            continue
        finally:
            await source.close()
        values = {
            reading.point: reading.text if reading.value is None else reading.value for reading in polled.readings
        }
        signals, missing = _compare(register_map, values)
        found.append(
            ProbedMap(
                name=name,
                title=register_map.title,
                verified=register_map.verified,
                model=source.model,
                certain=register_map.controller is not None and settings.model is None,
                signals=signals,
                missing=missing,
                points=tuple(_points(register_map, values)),
                requests=source.report.requests,
                refused=tuple(f"{what}: {why}" for what, why in source.report.refused.items()),
            )
        )
        if found[-1].certain:
            break
    return ModbusProbe(settings, tuple(sorted(found, key=lambda one: (not one.certain, -one.fit, one.name))))


def _points(register_map: RegisterMap, values: dict[str, float | str | None]) -> Iterator[tuple[str, str]]:
    units = {register.name: register.unit for register in register_map.registers}
    for point, value in sorted(values.items()):
        if value is not None:
            shown = value if isinstance(value, str) else f"{value:g}"
            yield point, f"{shown} {units.get(point) or ''}".rstrip()


def _in_order() -> list[str]:
    """The maps, those first that a device can confirm."""
    return sorted(shipped_maps(), key=lambda name: load_map(name).controller is None)


def _compare(
    register_map: RegisterMap, values: dict[str, float | str | None]
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Signals of the map with their values, and those that have none that is possible. All zero is no device."""
    profile = load_profile(register_map.name)
    signals, missing = [], []
    for name, mapping in profile.mappings.items():
        point = next((s.point for s in mapping.selectors if s.point in values), None)
        value = values.get(point) if point is not None else None
        shown = ""
        if isinstance(value, float) and mapping.signal.kind in ("gauge", "counter"):
            number = value * mapping.factor + mapping.offset
            low, high = mapping.signal.minimum, mapping.signal.maximum
            if low is None or high is None or low <= number <= high:
                shown = f"{number:g} {mapping.signal.unit or ''}".strip()
        elif value is not None:
            word = value if isinstance(value, str) else f"{value:g}"
            state = mapping.state_of(word) if mapping.signal.kind == "state" else word
            shown = state or ""
        if shown:
            signals.append((name, shown))
        else:
            missing.append(name)
    numbers = [value for value in values.values() if isinstance(value, float)]
    if not any(numbers):
        return (), tuple(profile.mappings)
    return tuple(signals), tuple(missing)


def format_probe(found: ModbusProbe, *, everything: bool = False) -> str:
    """The report as text for a terminal, with the lines for hp.yaml.

    Args:
        found: what was found.
        everything: list every point of the proposed map with its value, not only the signals.
    """
    settings = found.settings
    place = settings.serial_port if settings.connection == "rtu" else f"{settings.host}:{settings.port or 502}"
    lines = [f"Modbus at {place}"]
    if found.trouble:
        lines.append(f"  no Modbus device could be read: {found.trouble}")
    best = found.proposed
    for one in found.maps:
        mark = "*" if one is best else " "
        if one.trouble:
            lines.append(f" {mark} {one.name}: {one.trouble}")
            continue
        certain = f", recognised as {one.model}" if one.certain else ""
        lines.append(
            f" {mark} {one.name}: {len(one.signals)} of {len(one.signals) + len(one.missing)} signals{certain} "
            f"({len(one.points)} points in {one.requests} requests)"
        )
    if best is None:
        if not found.trouble:
            lines += [
                "",
                "No shipped map fits. Write one of your own (a YAML file, like those in vocabulary/registers).",
            ]
        return "\n".join([*lines, ""])
    lines += ["", f"{best.title}:"]
    if everything:
        lines += [f"    {point:<34}{shown:>16}" for point, shown in best.points]
    else:
        lines.append(f"  {len(best.points)} points have a value; --all lists them")
    lines.append(f"  with the profile {best.name} it tells {len(best.signals)} signals:")
    lines += [f"    {name:<34}{shown:>16}" for name, shown in best.signals]
    if best.missing:
        lines.append(f"  without a value: {', '.join(best.missing)}")
    lines += [f"  refused: {what}" for what in best.refused]
    if not best.verified:
        lines += ["", "This map was not yet verified on a device: compare the values with the heat pump's display."]
    source = [f"id: {settings.id}", "kind: modbus", f"map: {best.name}"]
    if settings.connection != "tcp":
        source.append(f"connection: {settings.connection}")
    if settings.connection == "rtu":
        source += [f"serial_port: {settings.serial_port}", f"baud_rate: {settings.baud_rate}"]
        source += [f"parity: {settings.parity}"] if settings.parity != "none" else []
    else:
        source.append(f"host: {settings.host}")
        source += [f"port: {settings.port}"] if settings.port is not None else []
    source += [f"unit: {settings.unit}"] if settings.unit is not None else []
    return "\n".join([*lines, *lines_for_settings(source, [(settings.id, best.name)]), ""])
