"""A small house for the tests of the stages: its settings, what its sensors say, and its tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest

from hp_pipeline.assets.stages import STAGES, Stage, store_readings
from hp_pipeline.assets.stages.stage import shifted
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.lake import replace_file
from hp_pipeline.settings import load_settings
from hp_pipeline.transforms.schema import conform

PUMP = "daikin"
SOURCE = "recorder"

_SETTINGS = """
site: {{name: House, time_zone: {time_zone}, start: 2020-01-01}}
heat_pumps:
  - id: daikin
    frame_interval: {interval}
    inputs: [{{source: recorder, profile: espaltherma_home_assistant}}]
sources: [{{id: recorder, kind: files}}]
tariffs: [{{name: flat, from: 2020-01-01, price_per_kwh: 0.3, standing_charge_per_day: 0.5, co2_g_per_kwh: 380}}]
"""

READINGS = {"point": pl.String(), "time": pl.Datetime("us", "UTC"), "value": pl.Float64(), "text": pl.String()}

MODE, VALVE = "Operation Mode_str", "3way valve(On:DHW_Off:Space)_str"
DEFROST, THERMOSTAT = "Defrost Operation_str", "Thermostat ON/OFF_str"
POWER, FLOW_RATE, DELTA_T = "Heat Pump 7 1MIN", "ESPAltherma - Flow Sensor", "ESPAltherma - Heat Pump Delta T"
FLOW, OUTDOOR = "ESPAltherma - Leaving Water Temperature After BUH", "ESPAltherma - Outdoor Air Temperature"
ROOM, TARGET_DELTA_T = "ESPAltherma - Indoor Temperature", "ESPAltherma - Target Delta T"
CURRENT, IMMERSION = "ESPAltherma - INV Secondary Current", "Immersion 3 1MIN"


def days_at_once(patch: pytest.MonkeyPatch, most: int) -> None:
    """Let stages compute so many neighbouring days at once."""

    def belongs(stage: Stage, key: str, stretch: Sequence[str]) -> bool:
        return key == shifted(stretch[-1], 1) and len(stretch) < most

    patch.setattr(Stage, "belongs", belongs)


def workspace(folder: Path, time_zone: str = "Europe/Berlin", interval: str = "30s") -> Workspace:
    """An empty data folder of the house."""
    path = folder / "hp.yaml"
    # Whole or not at all: other processes open the same house.
    replace_file(path, _SETTINGS.format(time_zone=time_zone, interval=interval).encode())
    return Workspace(load_settings(path), folder / "data")


def readings(rows: Iterable[tuple[str, datetime, float | str]]) -> pl.DataFrame:
    """Readings of (point, time, number or word)."""
    return pl.DataFrame(
        [
            (point, time, None if isinstance(said, str) else float(said), said if isinstance(said, str) else None)
            for point, time, said in rows
        ],
        schema=READINGS,
        orient="row",
    ).sort("point", "time")


def update(
    house: Workspace, first: date | None = None, last: date | None = None, stages: Sequence[type[Stage]] = STAGES
) -> None:
    """Bring stages up to date, for the days that new readings touch or for all."""
    plant = house.plant(PUMP)
    for stage_type in stages:
        stage = stage_type(plant)
        stage.bring_up_to_date(stage.keys(first, last)).raise_failures()


def due(house: Workspace) -> list[tuple[str, str]]:
    """Whatever is not up to date."""
    plant = house.plant(PUMP)
    return [
        (stage.tables[0], key)
        for stage in (stage_type(plant) for stage_type in STAGES)
        for key in stage.due(stage.keys())
    ]


def table(house: Workspace, name: str) -> pl.DataFrame:
    """A table of the house whole."""
    asset = f"{name}/{PUMP}"
    return conform(house.lake.read(asset, house.lake.keys(asset)), name)


def contents(house: Workspace) -> dict[tuple[str, str], str]:
    """The content hash of every derived partition, as its receipt says."""
    lake = house.lake
    found = {}
    for asset in lake.assets():
        if not asset.startswith("readings/"):
            for key in lake.keys(asset):
                receipt = lake.receipt(asset, key)
                assert receipt is not None
                found[asset, key] = receipt.content
    return found


def built(folder: Path, taken: pl.DataFrame, time_zone: str = "Europe/Berlin", interval: str = "30s") -> Workspace:
    """The house after one import of the readings and one build of everything."""
    house = workspace(folder, time_zone, interval)
    store_readings(house, SOURCE, taken)
    update(house)
    return house


def live(start: datetime, days: float, seed: int, every: timedelta = timedelta(minutes=5)) -> pl.DataFrame:
    """What the sensors of a few lively days say: sessions and defrosts at any time, over midnight too, silences from
    minutes to days, states that are unknown for hours, long standby, words that no profile knows."""
    random = Random(seed)
    rows: list[tuple[str, datetime, float | str]] = []
    time, end = start, start + timedelta(days=days)
    outdoor = 4.0
    while time < end:
        mode = random.choice(["standby", "heating", "heating", "dhw"])
        stays = timedelta(
            minutes=random.choice([5, 15, 40, 90, 90, 300, 300, 1700] if mode == "standby" else [5, 40, 90])
        )
        unknown = random.random() < 0.05
        until = min(time + stays, end)
        while time < until:
            defrosts = mode == "heating" and random.random() < 0.08
            to_tank = mode == "dhw" or (defrosts and random.random() < 0.5)
            power = {"standby": 20, "heating": 1500, "dhw": 2200}[mode] + random.randint(-20, 20)
            running = mode != "standby"
            outdoor += random.choice([-0.5, 0, 0, 0.5])
            jitter = timedelta(seconds=random.choice([0, 0, 0, 7, 41, -13]))
            now = max(time + jitter, start)
            if not unknown:
                rows += [
                    (MODE, now, "Heating" if running else "Fan Only"),
                    (VALVE, now, "ON" if to_tank else "OFF"),
                    (DEFROST, now, "ON" if defrosts else "OFF"),
                ]
            elif random.random() < 0.3:
                rows.append((MODE, now, "Gibberish"))
            later = now + timedelta(seconds=random.choice([0, 9, 21]))
            rows += [
                (POWER, later, power),
                (FLOW_RATE, later, 15.0 if running else 0.0),
                (DELTA_T, later, -6.0 if defrosts else 5.0 + random.choice([0, 0.1])),
                (CURRENT, later, 7.0 if running else 0.0),
            ]
            if random.random() < 0.2:
                rows += [(FLOW, later, 35.0), (OUTDOOR, later, random.choice([outdoor, outdoor, outdoor, outdoor + 9]))]
            time += every
        if random.random() < 0.12:
            time += timedelta(minutes=random.choice([10, 25, 45, 200, 26 * 60]))
    return readings(rows).unique(["point", "time"], keep="first", maintain_order=True).sort("point", "time")


def midnight(*day: int) -> datetime:
    """Midnight (UTC) of a day."""
    return datetime(*day, tzinfo=UTC)  # type: ignore[arg-type, misc]
