"""Golden scenarios: one to two weeks at 10 s, each with the trouble that a pipeline must get right.

The climate of a scenario is the ordinary one, shifted and calmed until the week is what its name says; the house is
settled for three days before the scenario begins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from hp_pipeline.simulation.devices.mqtt import SolarHouse
from hp_pipeline.simulation.faults import FaultPlan
from hp_pipeline.simulation.house import Trajectory, simulate
from hp_pipeline.simulation.parameters import DAIKIN_ALTHERMA, Legionella, Parameters
from hp_pipeline.simulation.weather import Climate, simulate_weather

SETTLING: Final = timedelta(days=3)


@dataclass(frozen=True)
class Scenario:
    """A stretch of weather and a house in it."""

    name: str
    shows: str
    """What a pipeline is tried with here."""
    start: datetime
    days: int
    climate: Climate
    seed: int = 1
    parameters: Parameters = DAIKIN_ALTHERMA
    step_s: int = 10

    def run(self, parameters: Parameters | None = None) -> Trajectory:
        """Simulates the scenario, with the scenario's house or another."""
        stop = self.start + timedelta(days=self.days)
        weather = simulate_weather(
            self.start - SETTLING, stop, step_s=self.step_s, seed=self.seed, climate=self.climate
        )
        return simulate(parameters or self.parameters, weather, self.seed, settling=SETTLING)


_USUAL: Final = Climate()
_CALM: Final = replace(_USUAL, synoptic_k=1.2, anomaly_k=0.0)

SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="deep_frost",
            shows="days below -10 °C: full load, backup heater, freeze protection of the pipes, dry defrosts",
            start=datetime(2024, 1, 8, tzinfo=UTC),
            days=7,
            climate=replace(_CALM, mean_c=-2.5),
        ),
        Scenario(
            name="humid_defrost",
            shows="0 to 3 °C and damp: a defrost every one to two hours, many of them out of the tank",
            start=datetime(2024, 1, 22, tzinfo=UTC),
            days=7,
            climate=replace(_CALM, mean_c=10.4, clearness_bias=-2.0, dew_point_depression_k=0.8),
        ),
        Scenario(
            name="april_cycling",
            shows="mild days and cool nights: short sessions, a compressor that pauses inside them",
            start=datetime(2024, 4, 8, tzinfo=UTC),
            days=7,
            climate=replace(_CALM, mean_c=10.5, clearness_bias=0.8),
        ),
        Scenario(
            name="summer_dhw",
            shows="hot water only, legionella by immersion heater, standby for most of the day",
            start=datetime(2024, 7, 8, tzinfo=UTC),
            days=14,
            climate=replace(_CALM, mean_c=11.0),
        ),
        Scenario(
            name="spring_clock_change",
            shows="the local day of 23 hours (31 March 2024)",
            start=datetime(2024, 3, 27, tzinfo=UTC),
            days=7,
            climate=_USUAL,
        ),
        Scenario(
            name="autumn_clock_change",
            shows="the local day of 25 hours (27 October 2024), one local hour twice",
            start=datetime(2024, 10, 23, tzinfo=UTC),
            days=7,
            climate=_USUAL,
            seed=2,
        ),
        Scenario(
            name="legionella",
            shows="hot water lifted above 60 °C by the backup heater on two Sundays, and a circulation pump that cools "
            "the tank: charges close upon each other",
            start=datetime(2024, 2, 3, tzinfo=UTC),
            days=10,
            climate=_USUAL,
            parameters=replace(
                DAIKIN_ALTHERMA,
                hot_water=replace(
                    DAIKIN_ALTHERMA.hot_water,
                    circulation_kw=0.5,
                    legionella=Legionella.BACKUP_HEATER,
                    legionella_hour=2,
                ),
            ),
        ),
    )
}
"""Scenarios by name, whose sensors are right."""

FAULT_WEEK: Final = Scenario(
    name="fault_week",
    shows="a wet winter week of a careless installation: outages, silent and frozen points, spikes, sentinels, wrong "
    "clocks, rows twice and in disorder",
    start=datetime(2024, 2, 19, tzinfo=UTC),
    days=7,
    climate=replace(_CALM, mean_c=10.4, clearness_bias=-1.0, dew_point_depression_k=0.8),
)
FAULTS: Final = FaultPlan(outages=0.5, unavailable=0.2)
"""What goes wrong in it."""


@dataclass(frozen=True)
class SolarScenario:
    """A stretch of weather over a house with a solar heating."""

    name: str
    shows: str
    start: datetime
    """Local midnight."""
    days: int
    climate: Climate
    seed: int = 1

    def run(self) -> SolarHouse:
        """Simulates the scenario, with a day behind it."""
        stop = self.start + timedelta(days=self.days + 1)
        weather = simulate_weather(self.start - SETTLING, stop, step_s=60, seed=self.seed, climate=self.climate)
        return SolarHouse(weather, self.seed)


SOLAR_WEEK: Final = SolarScenario(
    name="solar_week",
    shows="sun and clouds in April: a pump that runs all day or for minutes, draws meanwhile, a stove in the evening, "
    "an immersion heater after dull days",
    start=datetime(2024, 4, 7, 22, tzinfo=UTC),
    days=7,
    climate=_USUAL,
    seed=2,
)
