"""What a Luxtronik controller holds, in plain words: for the owner who connects one for the first time. Only reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hp_pipeline.settings.sources import LuxtronikSource
from hp_pipeline.sources.luxtronik.discovery import FoundController
from hp_pipeline.sources.luxtronik.events import Event, clock_of, events_of
from hp_pipeline.sources.luxtronik.source import open_source, readings_of
from hp_pipeline.sources.luxtronik.wire import Picture
from hp_pipeline.sources.proposal import clock_line, lines_for_settings
from hp_pipeline.vocabulary.luxtronik import Decoded, Group, registers
from hp_pipeline.vocabulary.profiles import load_profile

PROFILE = "luxtronik"
_EVENTS_SHOWN = 5


@dataclass(frozen=True)
class ProbedRegister:
    """One register: its point, what it is, and what it says (unit included in `unit`)."""

    point: str
    title: str
    meaning: Decoded
    unit: str | None = None


@dataclass(frozen=True)
class LuxtronikProbe:
    """What was found.

    Attributes:
        settings: the connection.
        firmware: version; empty if the controller does not tell.
        model: the maker's designation of the heat pump.
        counts: numbers of parameters, calculations and visibilities.
        drift: how far its clock is ahead; None if it was never set.
        registers: those with a title that mean something here, in the order of their points.
        signals: signals of the profile, with their points and what they say.
        missing: signals of the profile that this controller does not send or whose sensors are not there.
        events: errors and switch-offs, the newest first.
    """

    settings: LuxtronikSource
    firmware: str
    model: str
    counts: tuple[int, int, int]
    drift: timedelta | None
    registers: tuple[ProbedRegister, ...]
    signals: tuple[tuple[str, str, str], ...]
    missing: tuple[str, ...]
    events: tuple[Event, ...]


async def probe(settings: LuxtronikSource) -> LuxtronikProbe:
    """Read a controller once.

    Raises:
        PollError: it cannot be read.
    """
    source = open_source(settings)
    try:
        picture = await source.read()
    finally:
        await source.close()
    return describe(picture, settings, datetime.now(UTC))


def describe(picture: Picture, settings: LuxtronikSource, now: datetime) -> LuxtronikProbe:
    """What a picture says.

    Args:
        picture: all values of the controller.
        settings: the connection that it came over.
        now: the present.
    """
    table, firmware = registers(), picture.firmware
    meanings: dict[str, ProbedRegister] = {}
    raws: dict[str, int] = {}
    for reading in readings_of(picture):
        raw = raws[reading.point] = int(reading.value or 0)
        group, _, index = reading.point.partition("/")
        register = table.register(Group(group), int(index))
        meaning = register.decode(raw, firmware)
        if meaning is not None and register.title:
            meanings[reading.point] = ProbedRegister(reading.point, register.title, meaning, register.unit)
    signals, missing = [], []
    for name, mapping in load_profile(PROFILE).mappings.items():
        point = next((selector.point for selector in mapping.selectors if selector.point in meanings), None)
        if point is None:
            missing.append(name)
        else:
            state = mapping.state_of(str(raws[point])) if mapping.signal.kind == "state" else None
            signals.append((name, point, state or _shown(meanings[point])))
    clock, model = clock_of(picture), table.decode("calculation/78", _value(picture, 78))
    return LuxtronikProbe(
        settings=settings,
        firmware=firmware,
        model=str(model or ""),
        counts=(len(picture.parameters), len(picture.calculations), len(picture.visibilities)),
        drift=None if clock is None else clock - now,
        registers=tuple(meanings.values()),
        signals=tuple(signals),
        missing=tuple(missing),
        events=tuple(reversed(events_of(picture))),
    )


def _value(picture: Picture, index: int) -> int:
    return picture.calculations[index] if len(picture.calculations) > index else -1


def format_probe(found: LuxtronikProbe, *, everything: bool = False) -> str:
    """The report as text for a terminal, with the lines for hp.yaml.

    Args:
        found: what was found.
        everything: list every register that means something, not only the signals.
    """
    by_point = {register.point: register for register in found.registers}
    settings, counts = found.settings, found.counts
    what = f"firmware {found.firmware or 'unknown'}, model {found.model or 'unknown'}"
    lines = [
        f"Luxtronik controller at {settings.host}:{settings.port}",
        f"  {what}, {counts[0]} parameters, {counts[1]} calculations, {counts[2]} visibilities",
        f"  {'its clock was never set' if found.drift is None else clock_line(found.drift)}",
    ]
    if everything:
        lines.append(f"  {len(found.registers)} registers have a name and a value:")
        lines += [f"    {one.point:<18}{_shown(one):>24}   {one.title}" for one in found.registers]
    else:
        lines.append(f"  {len(found.registers)} registers have a name and a value; --all lists them")
    lines.append(f"  with the profile {PROFILE} it tells {len(found.signals)} signals:")
    for signal, point, shown in found.signals:
        lines.append(f"    {signal:<34}{shown:>16}   {point:<18}{by_point[point].title}")
    if found.missing:
        lines.append(f"  not told by this controller: {', '.join(found.missing)}")
    if found.events:
        lines.append("  newest errors and switch-offs:")
        lines += [
            f"    {event.time:%Y-%m-%d %H:%M} UTC  {event.kind.replace('_', '-')} {event.code}: {event.text}"
            for event in found.events[:_EVENTS_SHOWN]
        ]
    source = [f"id: {settings.id}", "kind: luxtronik", f"host: {settings.host}"]
    if settings.port != LuxtronikSource.model_fields["port"].default:
        source.append(f"port: {settings.port}")
    return "\n".join([*lines, *lines_for_settings(source, [(settings.id, PROFILE)]), ""])


def _shown(register: ProbedRegister) -> str:
    meaning = register.meaning
    if isinstance(meaning, bool):
        return "on" if meaning else "off"
    if isinstance(meaning, float):
        return f"{meaning:g} {register.unit or ''}".rstrip()
    return str(meaning)


def format_discovery(found: Sequence[FoundController]) -> str:
    """The controllers that answered the call into the network, with what to write into the settings."""
    if not found:
        return (
            "No Luxtronik controller answered the call into the network. If yours is in another network, or its "
            "firmware is old, give its address: hp-pipeline probe luxtronik --host ADDRESS"
        )
    lines = ["Luxtronik controllers that answered:"]
    lines += [
        f"  {one.host}   kind: luxtronik, host: {one.host}, port: {one.port or '8888 (it tells none: old firmware)'}"
        for one in found
    ]
    return "\n".join(lines)
