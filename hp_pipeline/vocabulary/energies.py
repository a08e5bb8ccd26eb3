"""The kinds of energy of a heat pump, and the signals that tell of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

KINDS: Final = (
    *("electrical", "thermal"),
    *("immersion", "backup", "circulation_pump", "brine_pump", "fan", "crankcase_heater"),
)
"""What goes in and out of the heat pump, and what single consumers use."""

COUNTERS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "electrical": (
        "electrical_energy_total",
        {
            "electrical_energy_heating_total": "heating",
            "electrical_energy_dhw_total": "dhw",
            "electrical_energy_cooling_total": "cooling",
        },
    ),
    "thermal": (
        "thermal_energy_total",
        {
            "thermal_energy_heating_total": "heating",
            "thermal_energy_dhw_total": "dhw",
            "thermal_energy_cooling_total": "cooling",
        },
    ),
    "immersion": ("immersion_heater_energy_total", {}),
    "backup": ("backup_heater_energy_total", {}),
    "circulation_pump": ("circulation_pump_energy_total", {}),
    "brine_pump": ("brine_pump_energy_total", {}),
    "fan": ("fan_energy_total", {}),
    "crankcase_heater": ("crankcase_heater_energy_total", {}),
}
"""By kind of energy its counter, and those of its purposes, which count where there is none of the whole: each the mode
of its name. Heat that is taken from the house while cooling is negative."""

POWERS: Final[Mapping[str, str]] = {
    "electrical": "electrical_power",
    "thermal": "thermal_power",
    "immersion": "immersion_heater_power",
    "backup": "backup_heater_power",
    "circulation_pump": "circulation_pump_power",
    "brine_pump": "brine_pump_power",
    "fan": "fan_power",
    "crankcase_heater": "crankcase_heater_power",
}

SIGNALS: Final[Mapping[str, frozenset[str]]] = {
    kind: frozenset((POWERS[kind], total, *purposes)) for kind, (total, purposes) in COUNTERS.items()
}
"""By kind of energy its power and its counters."""

COUNTER_SIGNALS: Final = frozenset(name for total, purposes in COUNTERS.values() for name in (total, *purposes))
"""Every counter of energy that figures are made of."""


def counters_of(kind: str, signals: Collection[str]) -> list[str]:
    """Those of the signals that count a kind of energy: of the whole, else of its purposes."""
    total, purposes = COUNTERS[kind]
    return [name for name in ([total] if total in signals else purposes) if name in signals]


def counted_apart(signals: Iterable[str]) -> frozenset[str]:
    """The kinds of energy of which these signals count heating and hot water apart: together all that a heat pump uses
    or gives while it does not cool."""
    told = set(signals)
    return frozenset(
        kind
        for kind, (_, purposes) in COUNTERS.items()
        if {"heating", "dhw"} <= {purpose for signal, purpose in purposes.items() if signal in told}
    )
