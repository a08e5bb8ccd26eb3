"""What the devices of the street told before anybody asked them, as long Parquet files in their own words.

Each device's words are made for many moments at once, with the scales, roundings and codes of its server; tests ask
server and file for the same moments. The files have the form in which live readings are stored: a row where a value
changed and for each UTC day's first, and at every time of the point `@poll` all points of the set were told.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hp_pipeline.simulation.devices.modbus import COUNTED
from hp_pipeline.simulation.devices.mqtt import SolarHeating, SolarHouse
from hp_pipeline.simulation.devices.world import House
from hp_pipeline.simulation.sensors import READINGS_SCHEMA, observe
from hp_pipeline.simulation.street.houses import HISTORY, HOME_ASSISTANT, SHELLY, StreetHouse
from hp_pipeline.simulation.street.life import Life
from hp_pipeline.simulation.weather import IntArray

Now = Mapping[str, NDArray[Any]]
"""What holds at some moments, by name; see `House.over`."""
Points = dict[str, NDArray[Any]]
"""By point what a device told at those moments."""
COLUMNS: Final = ("time", "point", "value", "text")
DAY_S: Final = 86_400
DAYS_PER_FILE: Final = 7
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def luxtronik(now: Now, life: Life) -> Points:
    """Raw registers of a Luxtronik controller, as its profile needs them."""
    backup_dhw = now["backup_heater_energy_dhw_total"]
    backup_heating = now["backup_heater_energy_total"] - backup_dhw
    mode = _coded(now["operating_mode"], {"heating": 0, "dhw": 1, "standby": 5})
    tenths = {
        10: "flow_temperature",
        11: "return_temperature",
        12: "flow_setpoint",
        14: "hot_gas_temperature",
        15: "outdoor_temperature",
        17: "dhw_temperature",
        18: "dhw_setpoint",
        19: "source_in_temperature",
        20: "source_out_temperature",
        227: "room_temperature",
        228: "room_setpoint",
    }
    told = {f"calculation/{index}": np.round(now[name] * 10) for index, name in tenths.items()}
    told |= {
        "calculation/38": now["three_way_valve"] == "dhw",
        "calculation/44": now["compressor_on"],
        "calculation/46": np.zeros(len(mode)),
        "calculation/48": now["backup_heater_step1"],
        "calculation/56": np.trunc(now["compressor_hours_total"] * 3600),
        "calculation/57": now["compressor_starts_total"],
        "calculation/80": np.where(now["defrost"], 4, mode),
        "calculation/155": np.round(now["flow_rate"]),
        "calculation/231": np.round(now["compressor_frequency"]),
        "calculation/257": np.round(np.maximum(now["thermal_power"], 0.0)),
        "calculation/268": np.round(now["electrical_power"] - now["backup_heater_power"]),
    }
    hundredths = {
        854: now["thermal_energy_heating_total"],
        878: now["thermal_energy_dhw_total"],
        1135: np.zeros(len(mode)),
        1136: now["electrical_energy_heating_total"] - backup_heating,
        1137: now["electrical_energy_dhw_total"] - backup_dhw,
        1139: np.zeros(len(mode)),
        1140: backup_heating + backup_dhw,
    }
    return told | {f"parameter/{index}": np.trunc(kwh * 100 + 1e-6) for index, kwh in hundredths.items()}


def isg(now: Now, life: Life) -> Points:
    """Points of the register map stiebel_eltron_wpm, as its profile needs them."""
    tenths = {
        "outdoor_temperature": now["outdoor_temperature"],
        "circuit_1_setpoint": now["flow_setpoint"],
        "buffer_temperature": now["flow_temperature"],
        "buffer_setpoint": now["flow_setpoint"],
        "dhw_temperature": now["dhw_temperature"],
        "dhw_setpoint": now["dhw_setpoint"],
        "source_temperature": now["source_in_temperature"],
        "return_temperature": now["return_temperature"],
        "flow_temperature": now["flow_temperature"],
        "hot_gas_temperature": now["hot_gas_temperature"],
        "flow_rate": now["flow_rate"] / 60,
        "room_1_temperature": now["room_temperature"],
        "room_1_setpoint": now["room_setpoint"],
        "inverter_power": (now["electrical_power"] - now["backup_heater_power"]) / 1000,
    }
    told: Points = {name: np.round(series * 10) / 10 for name, series in tenths.items()}
    whole = {
        "electricity_heating": "electrical_energy_heating_total",
        "electricity_dhw": "electrical_energy_dhw_total",
        "heat_heating": "thermal_energy_heating_total",
        "heat_dhw": "thermal_energy_dhw_total",
        "backup_heater_heating_total": "backup_heater_energy_heating_total",
        "backup_heater_dhw_total": "backup_heater_energy_dhw_total",
    }
    told |= {
        name: np.trunc(sum(sign * now[counter] for counter, sign in COUNTED[counted]))
        for name, counted in whole.items()
    }
    told["electricity"] = told["electricity_heating"] + told["electricity_dhw"]
    told["heat"] = told["heat_heating"] + told["heat_dhw"]
    told["backup_heater_energy"] = told["backup_heater_heating_total"] + told["backup_heater_dhw_total"]
    return told | {
        "operation": now["operating_mode"],
        "operating_status.compressor": now["compressor_on"],
        "operating_status.defrost": now["defrost"],
        "operating_status.backup_heater": now["backup_heater_step1"],
        "operating_status.silent_1": now["silent_mode"],
        "active_error": np.zeros(len(now["time"])),
    }


def vicare(now: Now, life: Life) -> Points:
    """Features of a newer device in Viessmann's cloud, as its profile needs them; the moments are whole minutes."""
    sensors = {
        "heating.sensors.temperature.outside.value": "outdoor_temperature",
        "heating.sensors.temperature.return.value": "return_temperature",
        "heating.secondaryCircuit.sensors.temperature.supply.value": "flow_temperature",
        "heating.primaryCircuit.sensors.temperature.supply.value": "source_in_temperature",
        "heating.dhw.sensors.temperature.dhwCylinder.value": "dhw_temperature",
        "heating.compressors.0.sensors.temperature.outlet.value": "hot_gas_temperature",
        "heating.circuits.0.temperature.value": "flow_setpoint",
        "heating.circuits.0.operating.programs.normalHeating.temperature": "room_setpoint",
        "heating.dhw.temperature.main.value": "dhw_setpoint",
        "heating.compressors.0.speed.current.value": "compressor_frequency",
    }
    told: Points = {point: np.round(now[name], 1) for point, name in sensors.items()}
    words = np.array(["false", "true"])
    told |= {
        "heating.sensors.volumetricFlow.allengra.value": np.round(now["flow_rate"]),
        "heating.compressors.0.statistics.hours": np.trunc(now["compressor_hours_total"]),
        "heating.compressors.0.statistics.starts": now["compressor_starts_total"],
        "heating.compressors.0.active": words[now["compressor_on"].astype(np.int8)],
        "heating.outdoor.defrosting.active": words[now["defrost"].astype(np.int8)],
        "heating.secondaryCircuit.operation.state.currentValue": now["operating_mode"],
        "device.messages.errors.raw.entries": np.full(len(now["time"]), "none"),
    }
    of_year = {
        "heating.power.consumption.total.year": "electrical_energy_total",
        "heating.power.consumption.heating.year": "electrical_energy_heating_total",
        "heating.power.consumption.dhw.year": "electrical_energy_dhw_total",
        "heating.heat.production.summary.heating.currentYear": "thermal_energy_heating_total",
        "heating.heat.production.summary.dhw.currentYear": "thermal_energy_dhw_total",
    }
    years = _local_years(now["time"], life.parameters.time_zone)
    for point, counter in of_year.items():
        series = now[counter].copy()
        for year in np.unique(years):
            begin = datetime(int(year), 1, 1, tzinfo=ZoneInfo(life.parameters.time_zone)).astimezone(UTC)
            series[years == year] -= life.counter(counter, max(begin, life.start))
        told[point] = np.round(series, 1)
    return told


def shelly(now: Now, life: Life) -> Points:
    """Power and counter of a Shelly Pro 3EM, as its profile needs them."""
    return {
        "em:0.total_act_power": np.round(now["electrical_power"], 1),
        "emdata:0.total_act": np.round(now["electrical_energy_total"] * 1000, 2),
    }


WORDS: Final[Mapping[str, Callable[[Now, Life], Points]]] = {
    "luxtronik": luxtronik,
    "isg": isg,
    "isg_neighbour": isg,
    "vicare": vicare,
    SHELLY: shelly,
}
"""By source what its device told."""


def _coded(words: NDArray[Any], codes: Mapping[str, int]) -> IntArray:
    coded = np.zeros(len(words), dtype=np.int64)
    for word, code in codes.items():
        coded[words == word] = code
    return coded


def _local_years(unix_s: IntArray, zone: str) -> NDArray[np.int32]:
    years = pl.Series(unix_s * 1_000_000).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone).dt.year()
    return years.to_numpy()


def readings(told: Points, unix_s: IntArray, number: int) -> pl.DataFrame:
    """Rows (`COLUMNS`) of what a device told at ascending moments: where a value changed, and of each UTC day. The
    set of its points has this number."""
    day = unix_s // DAY_S
    new_day = np.ones(len(unix_s), dtype=np.bool_)
    new_day[1:] = day[1:] != day[:-1]
    names = sorted(told)
    frames = [
        _frame(f"@told/{number}", unix_s[new_day], text=np.full(int(new_day.sum()), "\n".join(names))),
        _frame("@poll", unix_s, value=np.full(len(unix_s), float(number))),
    ]
    for name in names:
        series = told[name]
        kept = new_day.copy()
        kept[1:] |= series[1:] != series[:-1]
        if series.dtype.kind == "U":
            frames.append(_frame(name, unix_s[kept], text=series[kept]))
        else:
            frames.append(_frame(name, unix_s[kept], value=series[kept].astype(np.float64) + 0.0))
    return pl.concat(frames)


def _frame(
    point: str, unix_s: IntArray, value: NDArray[Any] | None = None, text: NDArray[Any] | None = None
) -> pl.DataFrame:
    return pl.DataFrame({"time": pl.Series(unix_s * 1_000_000).cast(pl.Datetime("us", "UTC"))}).with_columns(
        pl.lit(point).alias("point"),
        pl.lit(None, dtype=pl.Float64).alias("value") if value is None else pl.Series("value", value),
        pl.lit(None, dtype=pl.String).alias("text") if text is None else pl.Series("text", text, dtype=pl.String),
    )


def of_device(source: str, life: Life, stretch: House, stop: datetime) -> pl.DataFrame:
    """What the device behind a source told in one stretch of a life, until a moment."""
    told = HISTORY[source]
    first = stretch.run.start_s + (told.phase_s - stretch.run.start_s) % told.every_s
    unix_s = np.arange(first, int(min(stretch.end, stop).timestamp()), told.every_s, dtype=np.int64)
    if not len(unix_s):
        return pl.DataFrame(schema={name: READINGS_SCHEMA[name] for name in COLUMNS})
    return readings(WORDS[source](stretch.over(unix_s), life), unix_s, told.number)


def of_daikin(stretch: House, start: datetime, stop: datetime) -> pl.DataFrame:
    """What ESPAltherma and Home Assistant wrote of one stretch of a life in [start, stop)."""
    seen = observe(stretch.run, seed=11).readings
    return seen.filter(pl.col("time").is_between(start, stop, closed="left")).select(COLUMNS).sort("time", "point")


def of_solar(
    house: SolarHouse, start: datetime, stop: datetime, every: timedelta = timedelta(minutes=5)
) -> pl.DataFrame:
    """What the solar heating published in [start, stop): topics of one value each, and of its status what is measured
    and switched (`topic#path`)."""
    device = SolarHeating(house)
    device.interval = every
    rows: list[tuple[datetime, str, float | None, str | None]] = []
    moment = start
    while moment < stop:
        for sent in device.messages(moment):
            if sent.topic.endswith("/state"):
                word = str(sent.payload)
                is_number = _NUMBER.fullmatch(word) is not None
                rows.append((moment, sent.topic, float(word) if is_number else None, None if is_number else word))
                continue
            status = json.loads(sent.payload)
            for name, value in status["temperatures"].items():
                rows.append((moment, f"{sent.topic}#temperatures.{name}", float(value), None))
            for name in ("primary_pump", "cartridge_heater"):
                word = "true" if status["system_state"][name] else "false"
                rows.append((moment, f"{sent.topic}#system_state.{name}", None, word))
        moment += device.interval
    return pl.DataFrame(rows, schema={name: READINGS_SCHEMA[name] for name in COLUMNS}, orient="row")


def write(frames: Iterable[pl.DataFrame], folder: Path, name: str) -> Path | None:
    """Write readings into a drop folder, beside first and then renamed; None where there are none."""
    rows = pl.concat(list(frames))
    if rows.is_empty():
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.parquet"
    beside = folder / f".{name}.partial"
    rows.sort("time", "point").write_parquet(beside, compression="zstd")
    beside.replace(path)
    return path


def write_life(house: StreetHouse, life: Life, drop: Path, stop: datetime) -> int:
    """Write the history of a house that has a heat pump, until a moment; the newest days first.

    Returns:
        The number of files.
    """
    count = 0
    for first, last in reversed(_weeks(life, stop)):
        for source in house.sources:
            frames = []
            for stretch in life.houses(first, last):
                if source == HOME_ASSISTANT:
                    frames.append(of_daikin(stretch, stretch.start, min(stretch.end, stop)))
                else:
                    frames.append(of_device(source, life, stretch, stop))
            folder = drop / (source if source == HOME_ASSISTANT else HISTORY[source].source)
            count += write(frames, folder, f"{source}_{first:%Y%m%dT%H%MZ}") is not None
    return count


def _weeks(life: Life, stop: datetime) -> list[tuple[datetime, datetime]]:
    """Some stretches together, so that a file holds about a week."""
    begins = [datetime.fromtimestamp(part.told, UTC) for part in life.stretches if part.told < stop.timestamp()]
    groups: list[tuple[datetime, date]] = []
    for begin in begins:
        if not groups or (begin.date() - groups[-1][1]).days >= DAYS_PER_FILE:
            groups.append((begin, begin.date()))
    edges = [begin for begin, _ in groups] + [stop]
    return [(first, last) for first, last in itertools.pairwise(edges) if first < last]


def solar_before(start: datetime) -> datetime:
    """Where the solar heating's simulation begins: a while before it is seen, so that its tank is as it would be."""
    return start - timedelta(days=3)
