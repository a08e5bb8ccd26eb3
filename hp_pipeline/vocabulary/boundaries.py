"""The boundaries of a seasonal performance factor: which consumer of electricity is in which (SEPEMO D4.2, H1 to H4).

H1 is the heat pump itself; H2 adds what moves the source (fan, brine pump); H3 adds the electric heaters, their heat as
well as their electricity; H4 adds the pumps of the building. SPF H2 is what makers' SCOP is near to, H4 what the house
pays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

BOUNDARIES: Final = (1, 2, 3, 4)

BOUNDARY_OF: Final[Mapping[str, int]] = {
    "compressor": 1,
    "controls": 1,
    "crankcase_heater": 1,
    "fan": 2,
    "brine_pump": 2,
    "backup_heater": 3,
    "immersion_heater": 3,
    "circulation_pump": 4,
}
"""Every consumer with the first boundary that includes it."""

HEATERS: Final = ("backup_heater", "immersion_heater")
"""Consumers whose electricity is heat for the house."""

METERED_APART: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "backup_heater": (("backup_heater_power", "backup_heater_energy_total"), "electrical_energy_backup_heater_kwh"),
    "immersion_heater": (
        ("immersion_heater_power", "immersion_heater_energy_total"),
        "electrical_energy_immersion_kwh",
    ),
    "circulation_pump": (("circulation_pump_power",), "electrical_energy_circulation_pump_kwh"),
    "brine_pump": (("brine_pump_power",), "electrical_energy_brine_pump_kwh"),
    "fan": (("fan_power",), "electrical_energy_fan_kwh"),
    "crankcase_heater": (("crankcase_heater_power",), "electrical_energy_crankcase_heater_kwh"),
}
"""Consumers that may have a meter of their own: the signals of it, and the column of the figures with its energy."""
