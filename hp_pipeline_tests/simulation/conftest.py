"""Runs that several tests look at; each is simulated once per session."""

from datetime import UTC, datetime, timedelta

import pytest

from hp_pipeline.simulation.house import Trajectory, simulate
from hp_pipeline.simulation.parameters import PRESETS
from hp_pipeline.simulation.scenarios import SCENARIOS
from hp_pipeline.simulation.weather import simulate_weather

YEAR = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="session")
def years() -> dict[str, Trajectory]:
    """A year of every preset at 60 s."""
    weather = simulate_weather(YEAR[0] - timedelta(days=3), YEAR[1], step_s=60, seed=2)
    return {name: simulate(preset, weather, settling=timedelta(days=3)) for name, preset in PRESETS.items()}


@pytest.fixture(scope="session")
def scenarios() -> dict[str, Trajectory]:
    """Every golden scenario."""
    return {name: scenario.run() for name, scenario in SCENARIOS.items()}
