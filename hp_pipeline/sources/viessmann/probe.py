"""What the devices of a Viessmann account can tell: for the owner who connects it for the first time. Only reads.

It costs the account one request, and those of a login where there is none yet; each is counted like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hp_pipeline.settings.sources import ViessmannSource
from hp_pipeline.sources.proposal import FoundSignal, lines_for_settings, signal_lines, signals_found
from hp_pipeline.sources.viessmann.capabilities import Capabilities
from hp_pipeline.sources.viessmann.source import ViessmannCloud
from hp_pipeline.vocabulary.profiles import load_profile

PROFILES = ("viessmann", "viessmann_classic")
"""Newer devices, and those before them."""


@dataclass(frozen=True)
class ViessmannProbe:
    """What was found.

    Attributes:
        settings: the account.
        devices: by gateway and device what it can tell.
        values: by point what was told.
        profile: the profile that finds most; None if none finds anything.
        signals: what it finds.
        missing: signals of it that these devices do not tell.
        health: of the source: what is left of the budget, gateways that did not answer.
    """

    settings: ViessmannSource
    devices: Mapping[str, Capabilities]
    values: Mapping[str, float | str]
    profile: str | None
    signals: Sequence[FoundSignal]
    missing: Sequence[str]
    health: Mapping[str, Any]


async def probe(settings: ViessmannSource, cloud: ViessmannCloud) -> ViessmannProbe:
    """Ask an account once, and close it.

    Args:
        settings: the source.
        cloud: the account, opened with these settings.

    Raises:
        PollError: it cannot be asked.
    """
    try:
        polled = await cloud.poll()
        devices = cloud.capabilities()
        health = cloud.health()
    finally:
        await cloud.close()
    told = {one.point: one.text if one.value is None else one.value for one in polled.readings}
    values = {point: value for point, value in told.items() if value is not None}
    fits = [(name, *signals_found(load_profile(name), values)) for name in PROFILES]
    name, signals, missing = max(fits, key=lambda fit: len(fit[1]))
    return ViessmannProbe(settings, devices, values, name if signals else None, signals, missing, health)


def format_probe(found: ViessmannProbe, *, everything: bool = False) -> str:
    """The report as text for a terminal, with the lines for hp.yaml.

    Args:
        found: what was found.
        everything: list every point with its value, not only the signals.
    """
    lines = ["Viessmann account"]
    for name, device in found.devices.items():
        parts = [device.kind]
        for word, ids in (("circuits", device.circuits), ("compressors", device.compressors)):
            if ids:
                parts.append(f"{word} {', '.join(ids)}")
        lines.append(f"  {name}  {device.model or 'model unknown'} ({'; '.join(parts)})")
        lines += [
            f"    programs of circuit {circuit}: {', '.join(programs)}"
            for circuit, programs in device.programs.items()
            if programs
        ]
        if device.not_connected:
            lines.append(f"    without a sensor: {', '.join(device.not_connected)}")
    lines += [f"  {name}: {fault}" for name, fault in found.health.get("faults", {}).items()]
    for budget in found.health.get("budget", ()):
        lines.append(f"  {budget['left']} of {budget['limit']} requests are left ({budget['window']})")
    if everything:
        lines.append(f"  it tells {len(found.values)} points (numbers in °C, W, kWh, l/h, h, %, bar, Hz):")
        lines += [
            f"    {point:<70} {value if isinstance(value, str) else f'{value:g}'}"
            for point, value in sorted(found.values.items())
        ]
    else:
        lines.append(f"  it tells {len(found.values)} points; --all lists them")
    if found.profile is None:
        return "\n".join([*lines, "", "No shipped profile fits: it has no heat pump that is known.", ""])
    lines += signal_lines(found.profile, found.signals, found.missing)
    settings, defaults = found.settings, ViessmannSource.model_fields
    if settings.refresh_token is not None:
        login = ["refresh_token: ${VIESSMANN_REFRESH_TOKEN}"]
    else:
        login = ["username: ${VIESSMANN_USERNAME}", "password: ${VIESSMANN_PASSWORD}"]
    own = [
        f"{key}: {getattr(settings, key)}"
        for key in ("redirect_uri", "base_url", "login_url")
        if getattr(settings, key) != defaults[key].default
    ]
    source = [f"id: {settings.id}", "kind: viessmann", "client_id: ${VIESSMANN_CLIENT_ID}", *login, *own]
    lines += lines_for_settings(source, [(settings.id, found.profile)])
    if all(one.signal not in _ELECTRICITY for one in found.signals):
        lines += [
            "",
            "It does not tell the electrical power of the whole heat pump: give it a meter (a Shelly) as well.",
        ]
    return "\n".join([*lines, ""])


_ELECTRICITY = frozenset(("electrical_power", "electrical_energy_total"))
