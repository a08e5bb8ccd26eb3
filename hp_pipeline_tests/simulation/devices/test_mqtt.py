"""Simulated MQTT devices over real brokers, read by the real source and understood by the shipped profiles."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hp_pipeline.settings.sources import MqttSource
from hp_pipeline.simulation.devices.broker import Broker, BrokerError, find_mosquitto, running_broker
from hp_pipeline.simulation.devices.mqtt import (
    EspAltherma,
    HeishaMon,
    MqttDevice,
    MqttFault,
    Publisher,
    SolarHeating,
    SolarHouse,
    Statestream,
)
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.simulation.weather import simulate_weather
from hp_pipeline.vocabulary.profiles import load_profile
from hp_pipeline_tests.sources.mqtt.listening import Listening, asynchronous, listening
from hp_pipeline_tests.sources.mqtt.mosquitto import MISSING

MORNING = datetime(2024, 1, 15, 7, 30, tzinfo=UTC)
HEISHAMON = {
    "topics": [{"topic": "panasonic_heat_pump/main/+"}],
    "availability": [{"topic": "panasonic_heat_pump/LWT", "online": "Online", "offline": "Offline"}],
}
ESPALTHERMA = {
    "topics": [{"topic": "espaltherma/ATTR"}],
    "availability": [{"topic": "espaltherma/LWT", "online": "Online", "offline": "Offline"}],
}
STATESTREAM = {"topics": [{"topic": "homeassistant/+/+/state", "point": "{1}.{2}", "time_topic": "last_updated"}]}
SOLAR = {
    "topics": [
        {"topic": "homeassistant/+/+/state"},
        {
            "topic": "solar_heating_v3/status",
            "time": "timestamp",
            "values": ["temperatures.*", "system_state.primary_pump", "system_state.cartridge_heater"],
        },
    ]
}


@pytest.fixture(scope="module")
def solar() -> SolarHouse:
    """A week around the begin of spring: sun, and evenings with the stove."""
    start = datetime(2024, 3, 18, tzinfo=UTC)
    return SolarHouse(simulate_weather(start, start + timedelta(days=7), step_s=60, seed=3))


BROKERS = [
    False,
    pytest.param(
        True,
        marks=pytest.mark.skipif(
            importlib.util.find_spec("amqtt") is None,
            reason="NOT TESTED with the broker of Python: amqtt (the extra `demo`) is not installed",
        ),
    ),
]
"""Mosquitto, and the broker of Python: it wants another version of websockets than the webserver, so no lock has it."""


def settings_for(broker: Broker, wishes: dict[str, Any]) -> MqttSource:
    return MqttSource.model_validate(
        {
            "id": "broker",
            "host": broker.host,
            "port": broker.port,
            "version": broker.version,
            "gather": timedelta(milliseconds=50),
            **wishes,
        }
    )


@contextlib.asynccontextmanager
async def street(
    folder: Path, device: MqttDevice, wishes: dict[str, Any], moment: datetime, *, embedded: bool = False
) -> AsyncIterator[tuple[Listening, Publisher]]:
    """A broker, a source that listens, and a device that has connected at a moment; its clock stands."""
    if not embedded and find_mosquitto() is None:
        (pytest.fail if os.environ.get("HP_REQUIRE_SERVERS") == "1" else pytest.skip)(MISSING)
    async with running_broker(folder, embedded=embedded) as broker:
        publisher = Publisher(device, Clock(moment, 0.0), broker.host, broker.port)
        async with listening(settings_for(broker, wishes)) as running:
            publisher.connect()
            try:
                client: Any = publisher._client
                for _ in range(500):
                    if client.is_connected():
                        break
                    await asyncio.sleep(0.01)
                yield running, publisher
            finally:
                publisher.disconnect()


def signals_of(profile: str, running: Listening) -> dict[str, float | str | None]:
    """What the profile makes of the readings, newest last."""
    found: dict[str, float | str | None] = {}
    for reading in running.readings:
        for name, mapping in load_profile(profile).mappings.items():
            if any(selector.matches(reading.point) for selector in mapping.selectors):
                if mapping.signal.kind in ("state", "text"):
                    word = str(reading.value) if reading.text is None else reading.text
                    found[name] = mapping.state_of(word) if mapping.signal.kind == "state" else word
                elif reading.value is not None:
                    value = reading.value * mapping.factor + mapping.offset
                    low, high = mapping.signal.minimum, mapping.signal.maximum
                    believed = low is not None and high is not None and low <= value <= high
                    if believed and value not in mapping.reject:
                        found[name] = value
    return found


@pytest.mark.parametrize("embedded", BROKERS)
@asynchronous
async def test_heishamon_says_what_happens(house: House, tmp_path: Path, embedded: bool) -> None:
    state = house.at(MORNING)
    async with street(tmp_path, HeishaMon(house), HEISHAMON, MORNING, embedded=embedded) as (running, publisher):
        sent = publisher.publish()
        await running.until(lambda: len(running.said) > len(sent))
        told = signals_of("heishamon", running)
        assert publisher.publish() == []  # nothing changed
    for name, tolerance in {
        "flow_temperature": 0.01,
        "return_temperature": 0.01,
        "outdoor_temperature": 0.5,
        "dhw_temperature": 0.5,
        "flow_rate": 0.5,
        "compressor_frequency": 0.5,
        "compressor_starts_total": 1,
    }.items():
        assert told[name] == pytest.approx(state.number(name), abs=tolerance + 1e-6), name
    assert told["three_way_valve"] == state["three_way_valve"]
    assert told["defrost"] == ("on" if state.flag("defrost") else "off")
    assert told["operating_mode"] == ("heating" if state.flag("compressor_on") else "standby")
    powers = [told["electrical_power_heating"], told["electrical_power_dhw"]]
    assert sum(float(power or 0) for power in powers) == pytest.approx(state.number("electrical_power"), abs=101)
    assert told["device_online"] == "on"
    assert "buffer_temperature" not in told  # -128: not fitted


@asynchronous
async def test_espaltherma_says_what_happens(house: House, tmp_path: Path) -> None:
    state = house.at(MORNING)
    async with street(tmp_path, EspAltherma(house), ESPALTHERMA, MORNING) as (running, publisher):
        publisher.publish()
        await running.until(lambda: len(running.said) > 20)
        told = signals_of("espaltherma_mqtt", running)
    for name, tolerance in {
        "flow_temperature": 0.05,
        "return_temperature": 0.05,
        "outdoor_temperature": 0.25,
        "dhw_temperature": 0.05,
        "flow_rate": 3,
        "compressor_frequency": 0.5,
    }.items():
        assert told[name] == pytest.approx(state.number(name), abs=tolerance + 1e-6), name
    assert told["three_way_valve"] == state["three_way_valve"]
    assert told["operating_mode"] == ("standby" if state["operating_mode"] == "standby" else "heating")
    assert set(told) >= {"thermostat", "defrost", "backup_heater_step1", "immersion_heater_on", "device_online"}


@asynchronous
async def test_statestream_with_its_own_times(house: House, tmp_path: Path) -> None:
    async with street(tmp_path, Statestream(house), STATESTREAM, MORNING) as (running, publisher):
        publisher.publish()
        await running.until(lambda: len(running.said) >= len(Statestream.ENTITIES))
        told = signals_of("home_assistant_statestream", running)
    assert {reading.time for reading in running.readings} == {MORNING}
    assert told["flow_temperature"] == pytest.approx(house.at(MORNING).number("flow_temperature"), abs=0.051)
    assert told["flow_rate"] == pytest.approx(house.at(MORNING).number("flow_rate"), abs=3.1)


@asynchronous
async def test_the_solar_heating_says_what_happens(solar: SolarHouse, tmp_path: Path) -> None:
    noon = datetime(2024, 3, 20, 12, tzinfo=UTC)
    device = SolarHeating(solar)
    async with street(tmp_path, device, SOLAR, noon) as (running, publisher):
        publisher.publish()
        await running.until(lambda: ("solar_heating_v3/status#temperatures.rtd_sensor_7") in dict(running.said))
        told = signals_of("solar_heating_v3", running)
        own = {reading.time for reading in running.readings if reading.point.startswith("solar_heating_v3/")}
        assert own == {noon}
        at = solar.at(noon)
        for index in range(8):
            assert told[f"tank_layer_{index + 1}_temperature"] == pytest.approx(at[f"layer_{index}"], abs=0.051)
        assert told["solar_collector_temperature"] == pytest.approx(at["collector_temperature"], abs=0.051)
        assert told["solar_pump"] == ("on" if at["pump"] else "off")
        assert told["pellet_stove_power"] == at["stove_kw"] * 1000
        assert set(told) >= {"stored_energy", "solar_energy_today", "immersion_heater_on", "pellet_stove_on"}
        # A sensor that is lost is told as 0, which nobody believes.
        device.lost_sensors.add("rtd_sensor_3")
        running.polled.clear()
        publisher.publish()
        await running.until(lambda: ("homeassistant/sensor/solar_heating_rtd_sensor_3/state", 0.0) in running.said)
        assert "tank_layer_4_temperature" not in signals_of("solar_heating_v3", running)


def test_the_energies_of_the_solar_house_close(solar: SolarHouse) -> None:
    start, stop = solar.start + timedelta(hours=3), solar.start + timedelta(days=6, hours=5)
    assert abs(solar.imbalance_kwh(start, stop)) < 1e-6
    last = solar.at(stop)
    for name, least, most in (("solar_kwh", 10, 250), ("pellet_kwh", 5, 250), ("drawn_kwh", 10, 80)):
        assert least < last[name] < most, (name, last[name])
    layers = [last[f"layer_{index}"] for index in range(8)]
    assert layers == sorted(layers)


@asynchronous
async def test_every_fault_is_logged_and_stores_nothing_false(solar: SolarHouse, tmp_path: Path) -> None:
    noon = datetime(2024, 3, 20, 12, tzinfo=UTC)
    wishes = {
        "topics": [{"topic": "solar_heating_v3/status", "time": "timestamp", "values": ["temperatures.rtd_sensor_7"]}]
    }
    device = SolarHeating(solar)
    true = {}
    async with street(tmp_path, device, wishes, noon) as (running, publisher):
        clock = publisher._clock
        script: list[MqttFault | None] = [
            None,
            MqttFault.duplicate,
            MqttFault.out_of_order,
            None,
            MqttFault.stall,
            MqttFault.clock_offset,
            None,
        ]
        kept = 0
        for fault in script:
            moment = clock.now()
            if fault is not None:
                publisher.faults.inject(fault, value=7200.0 * 24 * 2000)
            publisher.publish()
            if fault not in (MqttFault.stall, MqttFault.clock_offset):
                true[moment] = device.values(moment)["rtd_sensor_7"]
                kept += 1
            clock.move(timedelta(minutes=5))
        await running.until(lambda: len({reading.time for reading in running.readings}) >= kept)
        assert {reading.time: reading.value for reading in running.readings} == true
        assert [injected.fault for injected in publisher.faults.injected] == [fault for fault in script if fault]
        assert running.listener.reader.rejected.total() == 1  # the clock that was ahead


@asynchronous
async def test_noise_and_a_cut_link(house: House, tmp_path: Path) -> None:
    async with street(tmp_path, EspAltherma(house), ESPALTHERMA, MORNING) as (running, publisher):
        publisher.faults.inject(MqttFault.garbage)
        publisher.publish()
        await running.until(lambda: running.listener.reader.rejected.total() == 1)
        assert {point for point, _ in running.said} <= {"espaltherma/LWT"}
        publisher.faults.inject(MqttFault.cut)
        assert publisher.publish() == []
        await running.until(lambda: ("espaltherma/LWT", "offline") in running.said)


@asynchronous
async def test_a_device_publishes_at_its_pace_in_virtual_time(house: House, tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker:
        publisher = Publisher(EspAltherma(house), Clock(MORNING, 300.0), broker.host, broker.port)
        async with listening(settings_for(broker, ESPALTHERMA)) as running:
            task = asyncio.create_task(publisher.run())
            point = "espaltherma/ATTR#Operation Mode"
            await running.until(lambda: [said[0] for said in running.said].count(point) >= 5)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("embedded", BROKERS)
@asynchronous
async def test_a_broker_with_a_password_lets_nobody_else_in(tmp_path: Path, embedded: bool) -> None:
    if not embedded and find_mosquitto() is None:
        (pytest.fail if os.environ.get("HP_REQUIRE_SERVERS") == "1" else pytest.skip)(MISSING)
    from hp_pipeline.settings.model import EnvironmentText
    from hp_pipeline.sources.live import Outcome
    from hp_pipeline_tests.sources.mqtt.listening import failure

    async with running_broker(tmp_path, username="hp", password="only here", embedded=embedded) as broker:
        topics = {"topics": [{"topic": "a"}]}
        right = {**topics, "username": "hp", "password": EnvironmentText("only here")}
        async with listening(settings_for(broker, right)):
            pass
        wrong = {**topics, "username": "hp", "password": EnvironmentText("elsewhere")}
        assert (await failure(settings_for(broker, wrong))).outcome is Outcome.denied
    assert not any("only here" in path.read_text(errors="replace") for path in tmp_path.iterdir())


@asynchronous
async def test_no_broker_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hp_pipeline.simulation.devices.broker.find_mosquitto", lambda: None)
    with pytest.raises(BrokerError, match="apt-get install mosquitto"):
        async with running_broker(tmp_path, embedded=False):
            pass
