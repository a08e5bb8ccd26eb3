"""A simulated house behind a real data folder: its settings, its readings in the lake, all its tables made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import yaml

from hp_pipeline.assets.stages import Stage, stages, store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.lake import utc_today
from hp_pipeline.settings import load_settings
from hp_pipeline.simulation.demo import DEMO_SOURCE, demo_settings
from hp_pipeline.simulation.sensors import COUNTER_NAME
from hp_pipeline.transforms.schema import conform

HEAT_PUMP = "daikin"
SOURCE = DEMO_SOURCE
SETTINGS = "hp.yaml"


def open_house(
    folder: Path, start: date | None = None, today: Callable[[], date] = utc_today, metered: bool = False
) -> Workspace:
    """The workspace below a folder; with `start` (first day with readings) its settings are written first. `today`
    is what the house takes for the present day; `metered`: its electricity has a meter with a counter."""
    settings = folder / SETTINGS
    if start is not None:
        folder.mkdir(parents=True, exist_ok=True)
        text = demo_settings(start)
        settings.write_text(_with_meter(text) if metered else text, encoding="utf-8")
    return Workspace(load_settings(settings), folder / "data", today)


def _with_meter(text: str) -> str:
    """The settings of the demo with the counter of a meter of class B beside its power."""
    written = yaml.safe_load(text)
    counter = {"electrical_energy_total": {"select": {"tags": {"friendly_name": COUNTER_NAME}}, "unit": "kWh"}}
    written["heat_pumps"][0]["inputs"][0]["signals"] = counter
    written["meters"][0] |= {"signal": "electrical_energy_total", "accuracy": "B"}
    return yaml.safe_dump(written, allow_unicode=True)


def take_in(workspace: Workspace, readings: pl.DataFrame) -> None:
    """Readings into the lake, as every source does it."""
    store_readings(workspace, SOURCE, readings)


def bring_up_to_date(
    workspace: Workspace,
    first: date | None = None,
    last: date | None = None,
    timed: Callable[[Stage, Callable[[], int]], int] = lambda stage, make: make(),
) -> int:
    """Every table, as a run of the pipeline does it, over the days that readings touched (all that are stored if
    none are given). Returns the number of partitions made.

    Raises:
        StageError: a partition cannot be made.
    """
    made = 0
    for stage in stages(workspace.plant(HEAT_PUMP)):

        def make(stage: Stage = stage) -> int:
            outcome = stage.bring_up_to_date(stage.keys(first, last))
            outcome.raise_failures()
            return sum(len(parts) for parts in outcome.stored.values())

        made += timed(stage, make)
    return made


def table(workspace: Workspace, name: str) -> pl.DataFrame:
    """A table of the house whole, by start."""
    asset = f"{name}/{HEAT_PUMP}"
    return conform(workspace.lake.read(asset, workspace.lake.keys(asset)), name).sort("start")
