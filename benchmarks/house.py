"""A simulated house behind a real data folder: its settings, its readings in the lake, all its tables made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl

from hp_pipeline.assets.stages import Stage, stages, store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.lake import utc_today
from hp_pipeline.settings import load_settings
from hp_pipeline.simulation.demo import DEMO_SOURCE, demo_settings
from hp_pipeline.transforms.schema import conform

HEAT_PUMP = "daikin"
SOURCE = DEMO_SOURCE
SETTINGS = "hp.yaml"


def open_house(folder: Path, start: date | None = None, today: Callable[[], date] = utc_today) -> Workspace:
    """The workspace below a folder; with `start` (first day with readings) its settings are written first. `today`
    is what the house takes for the present day."""
    settings = folder / SETTINGS
    if start is not None:
        folder.mkdir(parents=True, exist_ok=True)
        settings.write_text(demo_settings(start), encoding="utf-8")
    return Workspace(load_settings(settings), folder / "data", today)


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
