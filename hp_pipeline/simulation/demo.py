"""One house without devices: readings of a Daikin in files, its settings, and the truth to compare with. Tests and
benchmarks are built on it; what people see first is the street."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from hp_pipeline.simulation.faults import FAULTS_SCHEMA, FaultPlan, inject_faults
from hp_pipeline.simulation.house import Trajectory, simulate
from hp_pipeline.simulation.parameters import DAIKIN_ALTHERMA, Parameters
from hp_pipeline.simulation.sensors import SensorModel, observe
from hp_pipeline.simulation.truth import truth_energy, truth_events
from hp_pipeline.simulation.weather import simulate_weather

SETTLING: Final = timedelta(days=3)
DEMO_SOURCE: Final = "demo_house"
STEP_S: Final = 10
"""Finer than the 30 s of the sensors, so that the demo's edges lie between samples as real ones do."""


@dataclass(frozen=True)
class Demo:
    """What the demo house did and where its readings are."""

    files: list[Path]
    run: Trajectory
    events: pl.DataFrame
    """See `truth.truth_events`."""
    energy: pl.DataFrame
    """Per local day; see `truth.truth_energy`."""
    truth_sensors: pl.DataFrame
    faults: pl.DataFrame
    """What was done to the readings; empty unless faults were asked for."""
    rows: int
    """Readings written."""


def write_demo(
    drop_folder: Path,
    days: int = 60,
    *,
    end: datetime,
    seed: int = 1,
    chunk: timedelta = timedelta(days=5),
    parameters: Parameters = DAIKIN_ALTHERMA,
    sensors: SensorModel | None = None,
    faults: FaultPlan | None = None,
) -> Demo:
    """Writes the readings of the `days` before `end` as long Parquet files that a `files` source takes.

    Columns: time (UTC, µs), point (Home Assistant's series), value (Float64), text (String); one file per `chunk`,
    named after its first and last moment, written beside (hidden) and renamed, so that a watcher never sees half a
    file. The same end, days and seed give the same readings, whenever they are written. With `faults` the files
    hold what a transport delivered: rows in order of arrival, some wrong, missing, doubled or late.

    Raises ValueError if `end` has no time zone or `days` or `chunk` is not positive.
    """
    if end.tzinfo is None:
        raise ValueError(f"the demo's end ({end}) needs a time zone; give one, e.g. datetime.now(UTC)")
    if days <= 0 or chunk <= timedelta(0):
        raise ValueError(f"the demo needs at least a day and a chunk (days={days}, chunk={chunk})")
    stop = end.astimezone(UTC).replace(second=0, microsecond=0)
    start = stop - timedelta(days=days)
    weather = simulate_weather(start - SETTLING, stop, step_s=STEP_S, seed=seed)
    run = simulate(parameters, weather, seed, settling=SETTLING)
    observation = observe(run, sensors, seed)

    drop_folder.mkdir(parents=True, exist_ok=True)
    if faults is None:
        delivered, log = observation.readings.sort("time", "point"), pl.DataFrame(schema=FAULTS_SCHEMA)
    else:
        spoiled = inject_faults(observation.readings, faults, seed=seed, source=DEMO_SOURCE)
        delivered, log = spoiled.readings, spoiled.faults
    readings = delivered.select("time", "point", "value", "text")
    # A row belongs to the file that was open when it arrived, also if it is about an earlier time.
    arrival = pl.col("time").cum_max().clip(upper_bound=stop - timedelta(microseconds=1))
    files = []
    first = start
    while first < stop:
        last = min(first + chunk, stop)
        part = readings.filter(arrival.is_between(first, last, closed="left"))
        files.append(_write(part, drop_folder / f"demo_house_{first:%Y%m%dT%H%MZ}_{last:%Y%m%dT%H%MZ}.parquet"))
        first = last
    return Demo(
        files=files,
        run=run,
        events=truth_events(run),
        energy=truth_energy(run, "day"),
        truth_sensors=observation.truth_sensors,
        faults=log,
        rows=readings.height,
    )


def _write(part: pl.DataFrame, path: Path) -> Path:
    """Writes beside and renames."""
    beside = path.with_name(f".{path.name}.partial")
    part.write_parquet(beside, compression="zstd")
    beside.replace(path)
    return path


def demo_settings(start: date, *, source: str = DEMO_SOURCE, parameters: Parameters = DAIKIN_ALTHERMA) -> str:
    """The settings file (YAML) of the demo house; `start` is the first UTC day that holds readings."""
    return f"""\
# The demo house: simulated readings, so that every page has something to show.
site:
  name: Demo house
  time_zone: {parameters.time_zone}
  currency: EUR
  start: {start:%Y-%m-%d}
  latitude: 49.5
  longitude: 8.5
heat_pumps:
  - id: daikin
    name: Daikin Altherma (simulated)
    model: {parameters.model}
    rated_power_kw: 11
    frame_interval: 30s
    circuits:
      - {{id: radiators, name: Radiators}}
    inputs:
      - source: {source}
        profile: espaltherma_home_assistant
sources:
  - id: {source}
    kind: files
    drop_folder: drop/{source}
    format: parquet
    layout: long
    columns: {{time: time, point: point, value: value, text: text}}
meters:
  - id: heat_pump_meter
    heat_pump: daikin
    measures: electrical
    signal: electrical_power
    includes: [compressor, fan, controls, circulation_pump, backup_heater]
tariffs:
  - name: household
    from: {start:%Y-%m-%d}
    price_per_kwh: 0.31
    standing_charge_per_day: 0.40
"""
