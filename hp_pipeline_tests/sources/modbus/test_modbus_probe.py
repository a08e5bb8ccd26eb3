"""Which map is proposed for which device."""

import asyncio
from typing import Any

import pytest

from hp_pipeline.settings.sources import ModbusSource
from hp_pipeline.simulation.devices.modbus import Fault, SimulatedModbus, StiebelIsg, Unit
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.sources.modbus.probe import ModbusProbe, format_probe, probe
from hp_pipeline.vocabulary.registers import load_map
from hp_pipeline_tests.sources.modbus.conftest import START, source_settings
from hp_pipeline_tests.sources.modbus.test_maps import device_of
from hp_pipeline_tests.sources.modbus.test_source import NOON


def probed(unit: Unit, fault: Fault | None = None, **more: Any) -> tuple[ModbusProbe, set[int]]:
    async def test() -> tuple[ModbusProbe, set[int]]:
        async with SimulatedModbus({1: unit}) as server:
            server.always(fault)
            found = await probe(source_settings(server, **more))
            return found, {request.function for request in server.requests}

    return asyncio.run(test())


@pytest.mark.parametrize(("controller", "model"), [(390, "WPM3"), (391, "WPM3i"), (449, "WPMsystem")])
@pytest.mark.parametrize("holes", ["illegal", "padded"])
def test_a_stiebel_is_recognised_by_its_controller(house: House, controller: int, model: str, holes: Any) -> None:
    found, functions = probed(StiebelIsg(house, Clock(NOON, 0), controller=controller).unit(holes))
    best = found.proposed
    assert best is not None and (best.name, best.model, best.certain) == ("stiebel_eltron_wpm", model, True)
    assert functions <= {3, 4}
    text = format_probe(found)
    assert f"recognised as {model}" in text and "map: stiebel_eltron_wpm" in text
    assert "flow_temperature" in text and "not yet verified on a device" in text


def test_an_lwz_is_recognised_too(house: House) -> None:
    unit, _ = device_of(load_map("stiebel_eltron_lwz"), load_map("stiebel_eltron_lwz").registers_of("LWZ"))
    found, _ = probed(unit)
    assert found.proposed is not None and found.proposed.name == "stiebel_eltron_lwz"
    assert [one.name for one in found.maps if one.trouble == ""] == ["stiebel_eltron_lwz"]


@pytest.mark.parametrize("name", ["luxtronik_shi", "lambda_eu_l", "idm_navigator", "daikin_home_hub"])
def test_others_are_proposed_by_what_they_tell(name: str) -> None:
    shipped = load_map(name)
    unit, _ = device_of(shipped, shipped.registers_of(None))
    found, functions = probed(unit)
    assert found.proposed is not None and found.proposed.name == name and not found.proposed.certain
    assert functions <= {3, 4}


def test_a_device_that_answers_everything_with_nothing_is_no_heat_pump() -> None:
    found, _ = probed(
        Unit(lambda: {"input": dict.fromkeys(range(11_000), 0), "holding": dict.fromkeys(range(6000), 0)})
    )
    assert found.proposed is None
    assert "No shipped map fits" in format_probe(found)


def test_nobody_there(house: House) -> None:
    found, _ = probed(StiebelIsg(house, Clock(START, 0)).unit(), Fault.STALL, answer_timeout="200ms")
    assert found.proposed is None and "no answer from" in found.trouble
    assert "no Modbus device could be read" in format_probe(found)
    nowhere = asyncio.run(
        probe(ModbusSource(id="x", map="lambda_eu_l", host="127.0.0.1", port=1, answer_timeout="200ms"))
    )
    assert "no connection to 127.0.0.1:1" in nowhere.trouble
