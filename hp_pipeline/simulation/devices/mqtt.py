"""Simulated devices that speak over MQTT: HeishaMon, ESPAltherma, Home Assistant's statestream, a solar heating.

A device says which messages it would send at a moment; a `Publisher` sends them to a real broker at the device's pace
in virtual time, with a last will, and makes the faults it is told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

import numpy as np
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from hp_pipeline.simulation.devices.world import Clock, Faults, LivedIn
from hp_pipeline.simulation.weather import FloatArray, Weather

WATER_KWH_PER_L_AND_K: Final = 4.1868 / 3600
LAYERS: Final = 8
LAYER_L: Final = 40.0
COLD_WATER_C: Final = 10.0
HEISHAMON_ALL: Final = timedelta(minutes=5)
"""After so long HeishaMon sends everything again."""
UNKNOWN: Final = "-1"
"""What HeishaMon says of a state that it does not know."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way to the broker."""

    topic: str
    payload: str | bytes
    retain: bool = False
    qos: int = 0


class MqttDevice(Protocol):
    """A device that publishes.

    Attributes:
        name: its client id.
        interval: how often it publishes, in virtual time.
        availability: topic, word for online, word for offline; None: it does not say.
    """

    name: str
    interval: timedelta
    availability: tuple[str, str, str] | None

    def messages(self, moment: datetime, clock_offset: timedelta = timedelta(0)) -> list[Outgoing]:
        """What it sends at a moment; its own clock is ahead by `clock_offset`."""
        ...


class HeishaMon:
    """HeishaMon beside a heat pump: a topic for each value, sent when it changes and every 5 min, retained, QoS 0.

    Args:
        house: what happens.
        base: base topic.
    """

    def __init__(self, house: LivedIn, base: str = "panasonic_heat_pump") -> None:
        self._house = house
        self._base = base
        self._sent: dict[str, str] = {}
        self._all_sent: datetime | None = None
        self.name = "HeishaMon"
        self.interval = timedelta(seconds=5)
        self.availability = (f"{base}/LWT", "Online", "Offline")

    def values(self, moment: datetime) -> dict[str, str]:
        """All values at a moment, by topic below the base topic."""
        state = self._house.at(moment)
        number, flag = state.number, state.flag
        dhw = state.word("operating_mode") == "dhw"
        electrical = round(number("electrical_power") / 200) * 200
        thermal = max(0, round(number("thermal_power") / 200) * 200)
        values: dict[str, float | str] = {
            "Heatpump_State": 1,
            "Pump_Flow": f"{number('flow_rate') / 60:.2f}",
            "Operating_Mode_State": 4,
            "Main_Inlet_Temp": f"{number('return_temperature'):.2f}",
            "Main_Outlet_Temp": f"{number('flow_temperature'):.2f}",
            "Main_Target_Temp": round(number("flow_setpoint")),
            "Compressor_Freq": round(number("compressor_frequency")),
            "DHW_Target_Temp": round(number("dhw_setpoint")),
            "DHW_Temp": round(number("dhw_temperature")),
            "Operations_Hours": int(number("compressor_hours_total")),
            "Operations_Counter": int(number("compressor_starts_total")),
            "Outside_Temp": round(number("outdoor_temperature")),
            "Heat_Power_Production": 0 if dhw else thermal,
            "Heat_Power_Consumption": 0 if dhw else electrical,
            "DHW_Power_Production": thermal if dhw else 0,
            "DHW_Power_Consumption": electrical if dhw else 0,
            "Cool_Power_Production": 0,
            "Cool_Power_Consumption": 0,
            "ThreeWay_Valve_State": int(state.word("three_way_valve") == "dhw"),
            "Defrosting_State": int(flag("defrost")),
            "Quiet_Mode_Level": int(flag("silent_mode")),
            "Internal_Heater_State": int(flag("backup_heater_step1")),
            "External_Heater_State": int(number("immersion_heater_power") > 0),
            "Z1_Temp": f"{number('room_temperature'):.1f}",
            "Discharge_Temp": round(number("hot_gas_temperature")),
            "Compressor_Current": f"{number('compressor_power') / 230:.1f}",
            "Buffer_Temp": -128,
            "TwoWay_Valve_State": UNKNOWN,
            "Error": "No error",
        }
        return {f"main/{name}": str(value) for name, value in values.items()}

    def messages(self, moment: datetime, clock_offset: timedelta = timedelta(0)) -> list[Outgoing]:
        """What changed since the last time; everything the first time, and again every 5 min."""
        if self._all_sent is None or moment - self._all_sent >= HEISHAMON_ALL:
            self._sent.clear()
            self._all_sent = moment
        changed = {topic: value for topic, value in self.values(moment).items() if self._sent.get(topic) != value}
        self._sent.update(changed)
        return [Outgoing(f"{self._base}/{topic}", value, retain=True) for topic, value in changed.items()]


class EspAltherma:
    """ESPAltherma beside a heat pump: one JSON object with all labels every 30 s.

    Args:
        house: what happens.
    """

    def __init__(self, house: LivedIn) -> None:
        self._house = house
        self.name = "ESPAltherma-dev"
        self.interval = timedelta(seconds=30)
        self.availability = ("espaltherma/LWT", "Online", "Offline")

    def values(self, moment: datetime) -> dict[str, float | str]:
        """All labels at a moment."""
        state = self._house.at(moment)
        number = state.number
        mode = state.word("operating_mode")

        def switch(name: str) -> str:
            return "ON" if state.flag(name) else "OFF"

        return {
            "Operation Mode": "Fan Only" if mode == "standby" else "Heating",
            "Thermostat ON/OFF": switch("thermostat"),
            "Defrost Operation": switch("defrost"),
            "Low noise control": "OFF",
            "R1T-Outdoor air temp.": round(number("outdoor_temperature") * 2) / 2,
            "Discharge pipe temp.": round(number("hot_gas_temperature"), 1),
            "INV primary current (A)": round(number("compressor_power") / 230, 1),
            "INV frequency (rps)": round(number("compressor_frequency")),
            "Freeze Protection": switch("freeze_protection"),
            "Silent Mode": switch("silent_mode"),
            "DHW setpoint": round(number("dhw_setpoint"), 1),
            "LW setpoint (main)": round(number("flow_setpoint"), 1),
            "3way valve(On:DHW_Off:Space)": "ON" if state.word("three_way_valve") == "dhw" else "OFF",
            "BSH": "ON" if number("immersion_heater_power") > 0 else "OFF",
            "BUH Step1": switch("backup_heater_step1"),
            "BUH Step2": switch("backup_heater_step2"),
            "Leaving water temp. after BUH (R2T)": round(number("flow_temperature"), 1),
            "Inlet water temp.(R4T)": round(number("return_temperature"), 1),
            "DHW tank temp. (R5T)": round(number("dhw_temperature"), 1),
            "Indoor ambient temp. (R1T)": round(number("room_temperature"), 1),
            "RT setpoint": round(number("room_setpoint"), 1),
            "Flow sensor (l/min)": round(number("flow_rate") / 60, 1),
            "WifiRSSI": "-62dBm",
        }

    def messages(self, moment: datetime, clock_offset: timedelta = timedelta(0)) -> list[Outgoing]:
        """The object of a moment."""
        return [Outgoing("espaltherma/ATTR", json.dumps(self.values(moment)))]


class Statestream:
    """Home Assistant's statestream with timestamps, over the entities that ESPAltherma gives.

    Args:
        house: what happens.
        base: base topic.
    """

    ENTITIES: Final[Mapping[str, tuple[str, float, int]]] = {
        "espaltherma_flow_sensor": ("flow_rate", 1 / 60, 1),
        "espaltherma_leaving_water_temperature_after_buh": ("flow_temperature", 1, 1),
        "espaltherma_inlet_water_temperature": ("return_temperature", 1, 1),
        "espaltherma_outdoor_air_temperature": ("outdoor_temperature", 1, 1),
        "espaltherma_indoor_temperature": ("room_temperature", 1, 1),
        "espaltherma_hot_water_tank_temp": ("dhw_temperature", 1, 1),
        "heat_pump_7_1min": ("electrical_power", 1, 0),
    }
    """Object id → what of the house it shows, factor, digits."""

    def __init__(self, house: LivedIn, base: str = "homeassistant") -> None:
        self._house = house
        self._base = base
        self._sent: dict[str, str] = {}
        self.name = "homeassistant"
        self.interval = timedelta(seconds=30)
        self.availability = (f"{base}/status", "online", "offline")

    def messages(self, moment: datetime, clock_offset: timedelta = timedelta(0)) -> list[Outgoing]:
        """State, time and change of every entity that changed."""
        state = self._house.at(moment)
        time = (moment + clock_offset).isoformat()
        messages = []
        for entity, (name, factor, digits) in self.ENTITIES.items():
            value = f"{state.number(name) * factor:.{digits}f}"
            if self._sent.get(entity) == value:
                continue
            self._sent[entity] = value
            topic = f"{self._base}/sensor/{entity}"
            messages += [
                Outgoing(f"{topic}/state", value, retain=True, qos=1),
                Outgoing(f"{topic}/last_updated", time, retain=True, qos=1),
                Outgoing(f"{topic}/last_changed", time, retain=True, qos=1),
            ]
        return messages


_COIL = (2, 3, 4, 5)
"""The layers that a heat pump heats."""


@dataclass(frozen=True)
class SolarParameters:
    """What stands in the house with the solar heating."""

    collector_m2: float = 8.0
    optical_efficiency: float = 0.75
    loss_kw_per_m2_and_k: float = 0.0035
    collector_kwh_per_k: float = 0.012
    circuit_kw_per_k: float = 0.16
    pump_on_k: float = 8.0
    pump_off_k: float = 4.0
    tank_limit_c: float = 88.0
    heater_kw: float = 3.0
    heater_on_c: float = 42.0
    heater_off_c: float = 50.0
    stove_kw: float = 7.0
    stove_water_share: float = 0.7
    stove_below_c: float = 7.0
    tank_loss_kw_per_k: float = 0.0025
    room_c: float = 19.0
    draws_l_per_day: float = 160.0
    step_s: int = 60


class SolarHouse:
    """A tank of eight layers with a collector, an immersion heater and a pellet stove, under a weather.

    Energies are exact: what the layers hold is what they held, plus what the sources gave, less what was drawn and lost
    (see `imbalance_kwh`).

    Args:
        weather: sun and outdoor temperature.
        seed: of the taps.
        parameters: what stands in the house.
        heat_pump_kw: heat of a heat pump into the middle of the tank in each step of the weather; it is given, however
            warm the tank is. None without one.
    """

    SUMS: Final = ("solar_kwh", "immersion_kwh", "pellet_kwh", "drawn_kwh", "lost_kwh", "heat_pump_kwh")

    def __init__(
        self,
        weather: Weather,
        seed: int = 1,
        parameters: SolarParameters | None = None,
        heat_pump_kw: FloatArray | None = None,
    ) -> None:
        self.parameters = parameters or SolarParameters()
        stride = max(1, self.parameters.step_s // weather.step_s)
        self._step_s = stride * weather.step_s
        self.start = datetime.fromtimestamp(weather.start_s, UTC)
        outdoor = weather.outdoor_temperature_c[::stride]
        sun = 0.6 * weather.global_irradiance_w_per_m2[::stride] + 0.5 * weather.south_irradiance_w_per_m2[::stride]
        self.end = self.start + timedelta(seconds=len(outdoor) * self._step_s)
        given = np.zeros(len(outdoor) * stride)
        if heat_pump_kw is not None:
            given[: len(heat_pump_kw)] = heat_pump_kw
        self._series = self._simulate(outdoor, sun, given.reshape(-1, stride).mean(axis=1), seed)
        self._outdoor = outdoor

    def _simulate(
        self, outdoor: FloatArray, sun: FloatArray, heat_pump_kw: FloatArray, seed: int
    ) -> dict[str, FloatArray]:
        p = self.parameters
        hours = self._step_s / 3600
        layer_kwh_per_k = LAYER_L * WATER_KWH_PER_L_AND_K
        count = len(outdoor)
        taps = np.random.default_rng((seed, 77)).random((count, 2))
        first_hour = self.start.hour + self.start.minute / 60
        layers = [35.0 + 2.0 * index for index in range(LAYERS)]
        collector, pump, heater = 20.0, False, False
        sums = dict.fromkeys(self.SUMS, 0.0)
        rows: list[tuple[float, ...]] = []
        for step, (outdoor_c, sun_w) in enumerate(zip(outdoor.tolist(), sun.tolist(), strict=True)):
            hour = (first_hour + step * hours + 1) % 24
            bottom = layers[0]
            pump = bottom < p.tank_limit_c and collector > bottom + (p.pump_off_k if pump else p.pump_on_k)
            heater = layers[6] < (p.heater_off_c if heater else p.heater_on_c)
            stove = outdoor_c < p.stove_below_c and 16 <= hour < 22
            rows.append((*layers, collector, float(pump), float(heater), p.stove_kw if stove else 0.0, *sums.values()))
            # Collector: sun, loss to the air, and what the pump carries to the lowest layer.
            solar_kw = p.circuit_kw_per_k * (collector - bottom) if pump else 0.0
            gain_kw = p.collector_m2 * p.optical_efficiency * sun_w / 1000
            loss_kw = p.collector_m2 * p.loss_kw_per_m2_and_k * (collector - outdoor_c)
            collector += (gain_kw - loss_kw - solar_kw) * hours / p.collector_kwh_per_k
            layers[0] += solar_kw * hours / layer_kwh_per_k
            sums["solar_kwh"] += solar_kw * hours
            if heater:
                for index in (5, 6, 7):
                    layers[index] += p.heater_kw * hours / 3 / layer_kwh_per_k
                sums["immersion_kwh"] += p.heater_kw * hours
            if stove:
                water_kw = p.stove_kw * p.stove_water_share * (layers[7] < p.tank_limit_c)
                for index in range(3, LAYERS):
                    layers[index] += water_kw * hours / 5 / layer_kwh_per_k
                sums["pellet_kwh"] += water_kw * hours
            for index in _COIL:
                layers[index] += heat_pump_kw[step] * hours / len(_COIL) / layer_kwh_per_k
            sums["heat_pump_kwh"] += heat_pump_kw[step] * hours
            # Taps: about 40 draws a day, mostly in the morning and the evening.
            likely = 40 * hours / 24 * (2.0 if 6 <= hour < 9 or 18 <= hour < 22 else 0.65)
            if taps[step, 0] < likely:
                litres = min(LAYER_L, -np.log(1 - 0.999 * taps[step, 1]) * p.draws_l_per_day / 40)
                share = float(litres) / LAYER_L
                sums["drawn_kwh"] += litres * WATER_KWH_PER_L_AND_K * (layers[7] - COLD_WATER_C)
                for index in range(LAYERS - 1, 0, -1):
                    layers[index] += share * (layers[index - 1] - layers[index])
                layers[0] += share * (COLD_WATER_C - layers[0])
            for index in range(LAYERS):
                lost = p.tank_loss_kw_per_k / LAYERS * (layers[index] - p.room_c) * hours
                layers[index] -= lost / layer_kwh_per_k
                sums["lost_kwh"] += lost
            _rise(layers)
        table = np.array(rows).T
        names = [f"layer_{index}" for index in range(LAYERS)]
        names += ["collector_temperature", "pump", "immersion_heater", "stove_kw", *self.SUMS]
        return dict(zip(names, table, strict=True))

    def at(self, moment: datetime) -> dict[str, float]:
        """What holds at a moment, by name: `layer_0` (bottom) to `layer_7`, `collector_temperature`,
        `outdoor_temperature` (°C), `pump`, `immersion_heater` (0, 1), `stove_kw`, and since the begin `solar_kwh`,
        `immersion_kwh`, `pellet_kwh` (given to the water), `drawn_kwh`, `lost_kwh`.

        Raises:
            ValueError: the moment lies outside of the weather.
        """
        if not self.start <= moment < self.end:
            raise ValueError(f"{moment.isoformat()} lies outside of the weather; simulate it for longer")
        steps = (moment - self.start).total_seconds() / self._step_s
        step = int(steps)
        values = {name: float(series[step]) for name, series in self._series.items()}
        if step + 1 < len(self._outdoor):
            for name in self.SUMS:
                series = self._series[name]
                values[name] += float(series[step + 1] - series[step]) * (steps - step)
        return {**values, "outdoor_temperature": float(self._outdoor[step])}

    def between(self, start: datetime, stop: datetime) -> dict[str, float]:
        """What happened in [start, stop), by the names of the tables: `solar_kwh`, `immersion_kwh`, `pellet_kwh`,
        `draw_kwh`, `standby_loss_kwh`."""
        first, last = self.at(start), self.at(stop)
        named = {name: name for name in self.SUMS} | {"drawn_kwh": "draw_kwh", "lost_kwh": "standby_loss_kwh"}
        return {named[name]: last[name] - first[name] for name in self.SUMS}

    def stored_kwh(self, moment: datetime) -> float:
        """What the tank holds above cold water."""
        values = self.at(moment)
        return sum(
            LAYER_L * WATER_KWH_PER_L_AND_K * (values[f"layer_{index}"] - COLD_WATER_C) for index in range(LAYERS)
        )

    def imbalance_kwh(self, start: datetime, stop: datetime) -> float:
        """What is left of: change of the store - solar - immersion - pellet - heat pump + drawn + lost. Exact on whole
        steps."""
        first, last = self.at(start), self.at(stop)
        change = {name: last[name] - first[name] for name in self.SUMS}
        sources = sum(change[f"{name}_kwh"] for name in ("solar", "immersion", "pellet", "heat_pump"))
        return self.stored_kwh(stop) - self.stored_kwh(start) - sources + change["drawn_kwh"] + change["lost_kwh"]


def _rise(layers: list[float]) -> None:
    """Warm water rises: neighbours that lie upside down mix, until none do."""
    blocks: list[tuple[float, int]] = []
    for temperature in layers:
        blocks.append((temperature, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (upper, more), (lower, count) = blocks.pop(), blocks.pop()
            blocks.append(((upper * more + lower * count) / (more + count), more + count))
    layers[:] = [temperature for temperature, count in blocks for _ in range(count)]


class SolarHeating:
    """The "Solar Heating System v3": a topic for each value every 5 min, switches, a status in JSON; and the stove as
    Home Assistant's statestream would show it. A sensor that is lost is published as 0.

    Args:
        house: what happens.
    """

    def __init__(self, house: SolarHouse) -> None:
        self._house = house
        self._switches: dict[str, str] = {}
        self.name = "solar_heating_v3"
        self.interval = timedelta(minutes=5)
        self.availability: tuple[str, str, str] | None = None
        self.lost_sensors: set[str] = set()

    def move_into(self, house: SolarHouse) -> None:
        """Go on in the same house, simulated for longer."""
        self._house = house

    def values(self, moment: datetime) -> dict[str, float | None]:
        """Numbers of a moment by their names."""
        at = self._house.at(moment)
        midnight = max(self._house.start, moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0))
        since = self._house.at(midnight)
        layers = [at[f"layer_{index}"] for index in range(LAYERS)]
        values: dict[str, float | None] = {f"rtd_sensor_{index}": round(layers[index], 1) for index in range(LAYERS)}
        values |= {
            "solar_collector_temp": round(at["collector_temperature"], 1),
            "storage_tank_temp": round(layers[4], 1),
            "return_line_temp": round(layers[0] + 2.0 * at["pump"], 1),
            "outdoor_air_temp": round(at["outdoor_temperature"], 1),
            "average_temperature": round(sum(layers) / LAYERS, 2),
            # Nine layers, although the tank has eight: as the original reckons.
            "stored_energy_kwh": round(sum(40 * 4.2 * (layer - 4) / 3600 for layer in [*layers, layers[4]]), 2),
            "solar_energy_today_kwh": round(at["solar_kwh"] - since["solar_kwh"], 2),
            "cartridge_energy_today_kwh": round(at["immersion_kwh"] - since["immersion_kwh"], 2),
            "pellet_energy_today_kwh": round(at["pellet_kwh"] - since["pellet_kwh"], 2),
        }
        return values | dict.fromkeys(self.lost_sensors & values.keys())

    def messages(self, moment: datetime, clock_offset: timedelta = timedelta(0)) -> list[Outgoing]:
        """All values, the switches that changed, the status, the stove."""
        at = self._house.at(moment)
        values = self.values(moment)
        messages = [
            Outgoing(f"homeassistant/sensor/solar_heating_{name}/state", str(0 if value is None else value))
            for name, value in values.items()
        ]
        switches = {"primary_pump": at["pump"] > 0, "cartridge_heater": at["immersion_heater"] > 0}
        for name, on in switches.items():
            word = "ON" if on else "OFF"
            if self._switches.get(name) != word:
                self._switches[name] = word
                messages.append(Outgoing(f"homeassistant/switch/solar_heating_{name}/state", word, retain=True))
        status = {
            "timestamp": (moment + clock_offset).timestamp(),
            "version": "v3",
            "system_state": {**switches, "mode": "heating" if at["pump"] > 0 else "standby"},
            "temperatures": values,
        }
        messages.append(Outgoing("solar_heating_v3/status", json.dumps(status)))
        messages.append(Outgoing("homeassistant/sensor/pelletskamin_power/state", f"{at['stove_kw']:.1f}"))
        burns = "on" if at["stove_kw"] > 0 else "off"
        messages.append(Outgoing("homeassistant/binary_sensor/pelletskamin_status/state", burns))
        return messages


class MqttFault(StrEnum):
    """What can go wrong with a device that publishes; in brackets what the value of the fault means."""

    stall = "stall"
    """it publishes nothing, though it is connected"""
    duplicate = "duplicate"
    """every message of a round comes twice"""
    out_of_order = "out_of_order"
    """the messages of a round come after those of the next one, those with their own time among them"""
    garbage = "garbage"
    """one message of a round is noise"""
    clock_offset = "clock_offset"
    """the device's clock is ahead (by so many seconds)"""
    cut = "cut"
    """the link is cut without a good-bye; the broker publishes the last will"""


class Publisher:
    """Publishes what a device says, at its pace in virtual time.

    Args:
        device: the device.
        clock: virtual time.
        host, port: the broker.
        username, password: how to log in.
        seed: of the noise in garbage.

    Attributes:
        faults: what it is told to do wrong, and the log of what it did.
        published: number of messages handed to the broker.
    """

    def __init__(
        self,
        device: MqttDevice,
        clock: Clock,
        host: str,
        port: int,
        *,
        username: str | None = None,
        password: str | None = None,
        seed: int = 1,
    ) -> None:
        self.device = device
        self.faults = Faults(clock, MqttFault)
        self.published = 0
        self._clock = clock
        self._address = (host, port)
        self._login = (username, password)
        self._random = random.Random(seed)
        self._late: list[Outgoing] = []
        self._client: Client | None = None

    async def run(self) -> None:
        """Publish until cancelled; a broker that is away is connected to again."""
        self.connect()
        try:
            while self._client is not None and not self._client.is_connected():
                await asyncio.sleep(0.05)
            while True:
                self.publish()
                pace = self.device.interval.total_seconds() / max(self._clock.speed, 1e-9)
                await asyncio.sleep(min(pace, 3600))
        finally:
            await asyncio.to_thread(self.disconnect)

    def connect(self) -> None:
        """Connect in the background, with the last will of the device."""
        client = Client(CallbackAPIVersion.VERSION2, client_id=self.device.name, protocol=MQTTProtocolVersion.MQTTv311)
        if self._login[0] is not None:
            client.username_pw_set(*self._login)
        availability = self.device.availability
        if availability is not None:
            topic, online, offline = availability
            client.will_set(topic, offline, qos=1, retain=True)

            def greet(client: Client, *_: Any) -> None:
                client.publish(topic, online, qos=1, retain=True)

            client.on_connect = greet
        client.reconnect_delay_set(1, 10)
        client.connect_async(*self._address)
        client.loop_start()
        self._client = client

    @property
    def is_connected(self) -> bool:
        """Whether the broker has let it in; what is published before with QoS 0 is lost."""
        return self._client is not None and self._client.is_connected()

    def disconnect(self) -> None:
        """Say good-bye, so that the last will is not published."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def publish(self) -> list[Outgoing]:
        """One round of messages, now, with the faults of this round. Returns what was sent."""
        client = self._client
        if client is None:
            raise RuntimeError("connect() comes before publish()")
        if self.faults.take(MqttFault.cut) is not None:
            with contextlib.suppress(OSError):
                connection = client.socket()
                if connection is not None:
                    connection.close()
            return []
        if self.faults.take(MqttFault.stall) is not None:
            return []
        messages = list(self._spoiled())
        for message in messages:
            client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
        self.published += len(messages)
        return messages

    def _spoiled(self) -> Iterator[Outgoing]:
        ahead = self.faults.take(MqttFault.clock_offset)
        messages = self.device.messages(self._clock.now(), timedelta(seconds=ahead or 0.0))
        if messages and self.faults.take(MqttFault.garbage) is not None:
            index = self._random.randrange(len(messages))
            messages[index] = replace(messages[index], payload=b"\xff" + self._random.randbytes(20))
        late, self._late = self._late, []
        if messages and self.faults.take(MqttFault.out_of_order) is not None:
            self._late = messages
        else:
            yield from messages
        yield from late
        if messages and self.faults.take(MqttFault.duplicate) is not None:
            yield from messages
