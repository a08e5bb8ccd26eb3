"""What a simulated solar heating would tell, as readings, and what was true."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random

import polars as pl

from hp_pipeline.simulation.devices.mqtt import SolarHeating, SolarHouse, SolarParameters
from hp_pipeline.simulation.weather import simulate_weather
from hp_pipeline.sources.mqtt.messages import Message, MessageReader
from hp_pipeline.transforms.decode import decode
from hp_pipeline.transforms.schema import UTC as UTC_TIME
from hp_pipeline.transforms.tank_frames import solar_frames
from hp_pipeline.vocabulary.profiles import load_profile
from hp_pipeline.vocabulary.rules import SolarRules
from hp_pipeline_tests.sources.mqtt.listening import source

SCHEMA = {"point": pl.String(), "time": UTC_TIME, "value": pl.Float64(), "text": pl.String()}
START = datetime(2024, 3, 18, tzinfo=UTC)
PROFILE = load_profile("solar_heating_v3", None, None)
RULES = SolarRules(
    litres=320.0,
    shares=(1 / 8,) * 8,
    height_m=1.4,
    ambient_c=19.0,
    loss_w_per_k=2.5,
    area_m2=8.0,
    immersion_kw=3.0,
    water_share=0.7,
    stove_up_to_c=88.0,
)
"""The simulated house as its owner would describe it."""


PARAMETERS = SolarParameters(
    stove_kw=2.5, stove_below_c=9.0, draws_l_per_day=220.0, heater_on_c=50.0, heater_off_c=56.0
)
"""All three heaters work, and none of them fills the tank to its limit."""


@cache
def house(days: int = 7) -> SolarHouse:
    """Days around the begin of spring: sun, and evenings with the stove."""
    return SolarHouse(simulate_weather(START, START + timedelta(days=days), step_s=60, seed=3), 1, PARAMETERS)


def readings(
    start: datetime,
    stop: datetime,
    every: timedelta,
    *,
    noise_k: float = 0.0,
    seed: int = 1,
    is_lost: Callable[[datetime], bool] = lambda moment: False,
    jitter_s: float = 0.0,
    tank: SolarHouse | None = None,
) -> pl.DataFrame:
    """`point`, `time`, `value`, `text` of the device's status (and the stove's entity) every so often.

    Args:
        noise_k: standard deviation of each layer's sensor, K; told with a digit behind the point.
        is_lost: moments at which nothing is told.
        tank: where it stands; default `house`.
    """
    random = Random(seed)
    tank = tank or house()
    device = SolarHeating(tank)
    rows: list[tuple[str, datetime, float | None, str | None]] = []
    moment = start
    while moment < stop:
        time = moment + timedelta(seconds=random.uniform(0, jitter_s))
        moment += every
        if is_lost(time):
            continue
        at, told = tank.at(time), device.values(time)
        for name, value in told.items():
            if name.startswith("rtd_sensor_") and noise_k:
                noisy = round(at[f"layer_{name[-1]}"] + random.gauss(0, noise_k), 1)
                rows.append((f"solar_heating_v3/status#temperatures.{name}", time, noisy, None))
            elif value is not None:
                rows.append((f"solar_heating_v3/status#temperatures.{name}", time, float(value), None))
        for name, on in (("primary_pump", at["pump"]), ("cartridge_heater", at["immersion_heater"])):
            rows.append((f"solar_heating_v3/status#system_state.{name}", time, None, "true" if on else "false"))
        rows.append(("sensor.pelletskamin_power", time, at["stove_kw"], None))
        rows.append(("binary_sensor.pelletskamin_status", time, None, "on" if at["stove_kw"] else "off"))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def heard(start: datetime, stop: datetime, ahead: timedelta) -> pl.DataFrame:
    """As `readings`, as a listener of the broker has them: each value in a topic of its own when it arrives, and all of
    them in the status with the time of the device, whose clock is `ahead`."""
    listener = MessageReader(
        source(
            1883,
            {"topic": "homeassistant/+/+/state"},
            {"topic": "solar_heating_v3/status", "time": "timestamp", "values": ["temperatures.*", "system_state.*"]},
        )
    )
    device = SolarHeating(house())
    rows: list[tuple[str, datetime, float | None, str | None]] = []
    moment = start
    while moment < stop:
        arrived = [
            Message(sent.topic, sent.payload if isinstance(sent.payload, bytes) else sent.payload.encode(), moment)
            for sent in device.messages(moment, ahead)
        ]
        for told in listener.read(arrived, moment + timedelta(seconds=1)).readings:
            rows.append((told.point, told.time or moment + timedelta(seconds=1), told.value, told.text))
        moment += device.interval
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def framed(told: pl.DataFrame, start: datetime, end: datetime, rules: SolarRules = RULES) -> pl.DataFrame:
    """Table `solar_frames` of the readings."""
    decoded = decode([(told, PROFILE)])
    assert {doubt[2:4] for doubt in decoded.doubts} <= {("outside its range", "-0.0"), ("outside its range", "0.0")}
    assert not decoded.ambiguous
    return solar_frames(decoded, PROFILE.mappings, "solar", start, end, rules)


def truth(start: datetime, stop: datetime) -> dict[str, float]:
    """What happened, kWh: `solar`, `immersion`, `pellet`, `drawn`, `lost`."""
    first, last = house().at(start), house().at(stop)
    return {name.removesuffix("_kwh"): last[name] - first[name] for name in SolarHouse.SUMS}
