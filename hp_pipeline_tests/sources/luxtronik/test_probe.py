"""What an owner sees who connects a controller for the first time."""

import asyncio
from datetime import UTC, datetime, timedelta

from hp_pipeline.settings.sources import LuxtronikSource
from hp_pipeline.simulation.devices.luxtronik import LuxtronikServer
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.sources.luxtronik.discovery import FoundController
from hp_pipeline.sources.luxtronik.probe import LuxtronikProbe, describe, format_discovery, format_probe, probe
from hp_pipeline.sources.luxtronik.wire import Picture
from hp_pipeline_tests.simulation.devices.conftest import START
from hp_pipeline_tests.sources.luxtronik.test_wire import picture_of

NOON = START + timedelta(hours=36)
PUMP = LuxtronikSource(id="pump", host="pump")


def test_a_controller_is_described(house: House) -> None:
    async def run() -> LuxtronikProbe:
        async with LuxtronikServer(house, Clock(NOON, 0.0)) as server:
            return await probe(LuxtronikSource(id="pump", host="127.0.0.1", port=server.port))

    found = asyncio.run(run())
    text = format_probe(found)
    assert "firmware V3.92.0, model LP8V, 1187 parameters, 275 calculations, 398 visibilities" in text
    assert found.missing == ()
    assert f"{house.at(NOON).number('flow_temperature'):.1f} °C" in text
    assert "its clock is" in text  # the simulated day is long ago
    assert "switch-off 5: air defrost" in text
    assert "Password" not in text
    assert {signal: shown for signal, _, shown in found.signals}["defrost"] in ("on", "off")
    assert "inputs: [{source: pump, profile: luxtronik}]" in text


def test_a_recorded_controller_is_described(v3_78: dict[int, bytes]) -> None:
    picture = picture_of(v3_78)
    found = describe(picture, PUMP, datetime(2016, 12, 28, 22, 49, 25, tzinfo=UTC))
    assert (found.firmware, found.model, found.drift) == ("V3.78", "MSW 6", timedelta(seconds=-3))
    # Electricity is counted from V3.88 on, the power told from V3.90.
    assert {"electrical_power", "electrical_energy_heating_total", "thermal_power"} <= set(found.missing)
    assert {"flow_temperature", "source_in_temperature", "thermal_energy_heating_total"} <= {
        signal for signal, _, _ in found.signals
    }
    assert "its clock is 3 s behind\n" in format_probe(found)


def test_next_to_nothing_is_described() -> None:
    found = describe(Picture([0], [0], [0]), PUMP, NOON)
    assert found.signals == ()
    assert "firmware unknown, model unknown" in format_probe(found)
    assert "never set" in format_probe(found)


def test_controllers_that_answered_are_listed() -> None:
    text = format_discovery([FoundController("10.0.0.9", 8889), FoundController("10.0.0.10", None)])
    assert "host: 10.0.0.9, port: 8889" in text
    assert "8888" in text
    assert "--host" in format_discovery([])
