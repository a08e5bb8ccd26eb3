"""The boundaries of a seasonal performance factor: which consumer of electricity is in which (SEPEMO D4.2, H1 to H4).

H1 is the heat pump itself; H2 adds what moves the source (fan, brine pump); H3 adds the electric heaters, their heat as
well as their electricity; H4 adds the pumps of the building. SPF H2 is what makers' SCOP is near to, H4 what the house
pays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hp_pipeline.vocabulary.meters import DEVICE_ELECTRICITY, MeterError
from hp_pipeline.vocabulary.ways import WAYS

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

MAIN_METERS: Final[Mapping[str, tuple[str, ...]]] = {
    "electrical": ("electrical_power", "electrical_energy_total"),
    "thermal": ("thermal_power", "thermal_energy_total"),
}
"""The signals of the meters whose energy is the heat pump's."""

METERED_APART: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "backup_heater": (("backup_heater_power", "backup_heater_energy_total"), "electrical_energy_backup_heater_kwh"),
    "immersion_heater": (
        ("immersion_heater_power", "immersion_heater_energy_total"),
        "electrical_energy_immersion_kwh",
    ),
    **{
        part: ((f"{part}_power", f"{part}_energy_total"), f"electrical_energy_{part}_kwh")
        for part in ("circulation_pump", "brine_pump", "fan", "crankcase_heater")
    },
}
"""Consumers that may have a meter of their own: the signals of it, and the column of the figures with its energy."""


@dataclass(frozen=True)
class Metering:
    """What a heat pump's figures include.

    Attributes:
        electrical: consumers in `electrical_energy_kwh`; None when the settings do not say it.
        thermal: sources of the heat in `thermal_energy_kwh`: the compressor, and heaters before the point at which
            it is measured; None when the settings do not say it.
        apart: consumers with a meter of their own, each with its column of energy.
        installed: all consumers of the house's heat pump.
        errors: by kind of energy (`electrical`, `thermal`) and way how far it may be from the truth, where the settings
            say another error of it than `WAYS`.
        net_counters: the ways whose heat counter counts what defrosts take; all others only count up.
        quanta_kwh: by kind of energy and way the step of its counters, where one is known.
        apart_errors: how far the meter of a consumer of its own may be from the truth, where the settings say it.
        added: by kind of energy of which several meters measure a part each the sources of each part.
    """

    electrical: tuple[str, ...] | None = None
    thermal: tuple[str, ...] | None = None
    apart: Mapping[str, str] = field(default_factory=dict)
    installed: tuple[str, ...] = ("compressor",)
    errors: Mapping[str, Mapping[str, MeterError]] = field(default_factory=dict)
    quanta_kwh: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    net_counters: tuple[str, ...] = ()
    apart_errors: Mapping[str, MeterError] = field(default_factory=dict)

    def apart_error(self, consumer: str) -> MeterError:
        """How far the meter of a consumer of its own may be from the truth: a machine's word where nobody says."""
        return self.apart_errors.get(consumer, DEVICE_ELECTRICITY)

    def heaters_in(self, kind: str) -> tuple[str, ...]:
        """The electric heaters that the main meter of a kind of energy includes and that also have a meter of their
        own: what it says without them is known."""
        included = (self.electrical if kind == "electrical" else self.thermal) or ()
        return tuple(name for name in HEATERS if name in included and name in self.apart)

    added: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)

    def errors_of(self, kind: str) -> Mapping[str, MeterError]:
        """How far each way to a kind of energy may be from the truth, the best way first."""
        stated = self.errors.get(kind, {})
        return {way.word: stated.get(way.word) or way.error(kind) for way in WAYS if way.tells(kind)}


UNSTATED: Final = Metering()
"""Of a house whose settings say nothing of its meters."""
