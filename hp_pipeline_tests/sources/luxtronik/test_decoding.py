"""Raw polls of a day become, by the profile, what happened in the house."""

import asyncio
from datetime import datetime, timedelta

import polars as pl
import pytest

from hp_pipeline.simulation.devices.luxtronik import FROZEN_BACKUP_KWH, LuxtronikFault, LuxtronikServer
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.sources.live import Polled
from hp_pipeline.sources.readings import READINGS_SCHEMA
from hp_pipeline.transforms.decode import Decoded, decode
from hp_pipeline.vocabulary.profiles import load_profile
from hp_pipeline.vocabulary.signals import signals
from hp_pipeline_tests.simulation.devices.conftest import START
from hp_pipeline_tests.sources.luxtronik.test_polling import poller

BEGIN = START + timedelta(hours=2)
STEP = timedelta(minutes=2)
POLLS = 150


@pytest.fixture(scope="module")
def decoded(house: House) -> Decoded:
    """Five hours, polled every two minutes; in one poll the sensors are torn off."""

    async def run() -> list[tuple[datetime, Polled]]:
        polls = []
        async with LuxtronikServer(house, Clock(BEGIN, 0.0)) as server:
            source = poller(server)
            for number in range(POLLS):
                if number == 70:
                    server.faults.inject(LuxtronikFault.sentinel)
                polls.append((server.clock.now(), await source.poll()))
                server.clock.move(STEP)
        return polls

    rows = [
        (reading.point, reading.time or moment, reading.value, reading.text)
        for moment, polled in asyncio.run(run())
        for reading in polled.readings
    ]
    frame = pl.DataFrame(rows, schema=READINGS_SCHEMA, orient="row").sort("point", "time")
    return decode([(frame, load_profile("luxtronik"))])


def test_every_signal_is_found_once_and_understood(decoded: Decoded) -> None:
    assert set(decoded.signals) == set(load_profile("luxtronik").mappings)
    assert decoded.ambiguous == {}
    # Only the torn-off sensors are not believed: -50 and 150 °C.
    assert {(signal, reason) for signal, _, reason, _, _ in decoded.doubts} == {
        (signal, "outside its range")
        for signal in ("outdoor_temperature", "dhw_temperature", "source_in_temperature", "source_out_temperature")
    }


@pytest.mark.parametrize(
    ("signal", "name", "tolerance"),
    [
        ("flow_temperature", "flow_temperature", 0.0501),
        ("return_temperature", "return_temperature", 0.0501),
        ("outdoor_temperature", "outdoor_temperature", 0.0501),
        ("dhw_temperature", "dhw_temperature", 0.0501),
        ("flow_rate", "flow_rate", 0.501),
        ("compressor_frequency", "compressor_frequency", 0.501),
        ("thermal_energy_heating_total", "thermal_energy_heating_total", 0.0101),
        ("thermal_energy_dhw_total", "thermal_energy_dhw_total", 0.0101),
        ("compressor_starts_total", "compressor_starts_total", 0.0),
        ("compressor_hours_total", "compressor_hours_total", 1 / 3600),
    ],
)
def test_numbers_are_those_of_the_house(
    house: House, decoded: Decoded, signal: str, name: str, tolerance: float
) -> None:
    told = decoded.signals[signal]
    assert told.height >= POLLS - 1
    for moment, value in told.iter_rows():
        assert value == pytest.approx(house.at(moment).number(name), abs=tolerance), moment


@pytest.mark.parametrize("signal", ["defrost", "compressor_on", "backup_heater_step1", "three_way_valve"])
def test_states_are_those_of_the_house(house: House, decoded: Decoded, signal: str) -> None:
    words = signals()[signal].values
    for moment, code in decoded.signals[signal].iter_rows():
        truth = house.at(moment)[signal]
        assert words[int(code)] == (truth if isinstance(truth, str) else "on" if truth else "off"), moment


def test_the_mode_is_that_of_the_house_but_for_what_a_defrost_interrupts(house: House, decoded: Decoded) -> None:
    words = signals()["operating_mode"].values
    for moment, code in decoded.signals["operating_mode"].iter_rows():
        state = house.at(moment)
        assert words[int(code)] == ("heating" if state.flag("defrost") else state.word("operating_mode")), moment


def test_the_electricity_counters_hold_all_but_the_backup_heater(house: House, decoded: Decoded) -> None:
    names = ("electrical_energy_heating_total", "electrical_energy_dhw_total", "backup_heater_energy_total")
    last = BEGIN + (POLLS - 1) * STEP
    told = sum(decoded.signals[name].filter(time=last)["value"].item() for name in names)
    # The backup heater's is the sum of the register that stands still since a firmware and of the one that goes on.
    assert told - FROZEN_BACKUP_KWH == pytest.approx(house.at(last).number("electrical_energy_total"), abs=0.03)
