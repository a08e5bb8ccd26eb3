"""One winter day and a half of a simulated house, for all device servers."""

from datetime import UTC, datetime, timedelta

import pytest

from hp_pipeline.simulation.devices.world import House
from hp_pipeline.simulation.house import Trajectory, simulate
from hp_pipeline.simulation.parameters import NOVELAN_HELOX
from hp_pipeline.simulation.weather import simulate_weather

START = datetime(2024, 1, 15, tzinfo=UTC)


@pytest.fixture(scope="session")
def winter_run() -> Trajectory:
    """Three days in January at 30 s."""
    weather = simulate_weather(START - timedelta(days=2), START + timedelta(days=3), step_s=30, seed=2)
    return simulate(NOVELAN_HELOX, weather, settling=timedelta(days=2))


@pytest.fixture(scope="session")
def house(winter_run: Trajectory) -> House:
    """The house of that run."""
    return House(winter_run)
