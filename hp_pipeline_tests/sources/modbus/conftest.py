"""A heat pump in a simulated house, and sources that read it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hp_pipeline.settings.sources import ModbusSource
from hp_pipeline.simulation.devices.modbus import SimulatedModbus
from hp_pipeline.simulation.devices.world import House
from hp_pipeline.simulation.house import simulate
from hp_pipeline.simulation.parameters import PRESETS
from hp_pipeline.simulation.weather import simulate_weather
from hp_pipeline.sources.modbus import RegisterSource, open_source
from hp_pipeline.sources.modbus.wire import Lines

START = datetime(2024, 1, 15, tzinfo=UTC)


@pytest.fixture(scope="session")
def house() -> House:
    """Three winter days of a Stiebel Eltron, every minute."""
    weather = simulate_weather(START - timedelta(days=1), START + timedelta(days=3), step_s=60, seed=2)
    return House(simulate(PRESETS["stiebel_hpa"], weather, settling=timedelta(days=1)))


def source_settings(server: SimulatedModbus, name: str = "stiebel_eltron_wpm", **more: Any) -> ModbusSource:
    """Settings of a source that reads a simulated server."""
    where = {"serial_port": server.device} if server.device else {"host": "127.0.0.1", "port": server.port}
    where["connection"] = server.transport
    return ModbusSource(**{"id": "pump", "map": name, "answer_timeout": "5s", **where, **more})


def reader_of(server: SimulatedModbus, name: str = "stiebel_eltron_wpm", **more: Any) -> RegisterSource:
    """A source that reads a simulated server, on a line of its own."""
    offered: dict[str, Callable[..., Any] | Any] = {
        key: more.pop(key) for key in ("state", "keep", "lines", "monotonic", "wall", "directory") if key in more
    }
    return open_source(source_settings(server, name, **more), **{"lines": Lines(), **offered})
