"""A house for tests: two heat pumps, each with its files, a few winter days of readings a minute apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import dagster as dg
import polars as pl

from hp_pipeline.assets.partitions import range_tags
from hp_pipeline.assets.stages import in_rounds, store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.definitions import build_definitions
from hp_pipeline.lake import Lake, replace_file
from hp_pipeline.settings import load_settings
from hp_pipeline.simulation.house import simulate
from hp_pipeline.simulation.parameters import DAIKIN_ALTHERMA
from hp_pipeline.simulation.sensors import SensorModel, observe
from hp_pipeline.simulation.weather import simulate_weather

FIRST, LAST = date(2025, 1, 13), date(2025, 1, 15)
"""The UTC days that have readings; the last one until noon."""

DAYS = ("2025-01-13", "2025-01-14", "2025-01-15")

SETTINGS = """\
site: {name: Small house, time_zone: Europe/Berlin, start: 2025-01-12}
heat_pumps:
  - id: daikin
    frame_interval: 60s
    inputs: [{source: files_a, profile: espaltherma_home_assistant}]
  - id: annex
    frame_interval: 60s
    inputs: [{source: files_b, profile: espaltherma_home_assistant}]
sources:
  - {id: files_a, kind: files, format: parquet}
  - {id: files_b, kind: files, format: parquet}
tariffs: [{name: flat, from: 2025-01-01, price_per_kwh: 0.3}]
"""


@cache
def readings() -> pl.DataFrame:
    """Readings (`point`, `time`, `value`, `text`) of the days, in which it heats, makes hot water and defrosts."""
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    end = datetime(LAST.year, LAST.month, LAST.day, 12, tzinfo=UTC)
    settling = timedelta(days=1)
    run = simulate(DAIKIN_ALTHERMA, simulate_weather(start - settling, end, step_s=30, seed=3), 3, settling=settling)
    return observe(run, SensorModel(interval_s=60, text_repeat_s=600), 3).readings


def write_house(folder: Path, settings: str = SETTINGS) -> Workspace:
    """The settings in a folder, with an empty data folder beside."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "hp.yaml"
    replace_file(path, settings.encode())  # other processes open the same house
    (folder / "data").mkdir(exist_ok=True)
    return Workspace(load_settings(path), folder / "data")


def house_with_readings(folder: Path, sources: Sequence[str] = ("files_a", "files_b")) -> Workspace:
    """As `write_house`, with the readings stored for these sources."""
    workspace = write_house(folder)
    for source in sources:
        store_readings(workspace, source, readings())
    return workspace


def make_all(workspace: Workspace) -> None:
    """Make every table in this process, without Dagster."""
    for _, steps in in_rounds([workspace.plant(heat_pump.id) for heat_pump in workspace.settings.heat_pumps]):
        for stage in steps:
            stage.bring_up_to_date(stage.keys()).raise_failures()


def contents(lake: Lake) -> dict[str, dict[str, str]]:
    """By asset and partition the hash of its content; empty where the file has no receipt."""
    found: dict[str, dict[str, str]] = {}
    for asset in lake.assets():
        for key in lake.keys(asset):
            receipt = lake.receipt(asset, key)
            found.setdefault(asset, {})[key] = receipt.content if receipt else ""
    return found


def run_job(
    workspace: Workspace,
    job: str,
    instance: dg.DagsterInstance,
    *,
    first: date | None = None,
    last: date | None = None,
    tags: dict[str, str] | None = None,
    selection: Sequence[dg.AssetKey] | None = None,
) -> dg.ExecuteInProcessResult:
    """Run a job of the house in this process, over a range of days when one is given."""
    repository = build_definitions(workspace).get_repository_def()
    ranged = range_tags(first, last) if first and last else {}
    return repository.get_job(job).execute_in_process(
        instance=instance, tags={**ranged, **(tags or {})}, raise_on_error=False, asset_selection=selection
    )
