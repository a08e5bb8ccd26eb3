"""CSV files of finished local days and weeks, for people and their spreadsheets."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from hp_pipeline.assets.describe import asset_key, spec
from hp_pipeline.assets.partitions import around, range_of
from hp_pipeline.assets.workspace import Plant, Workspace
from hp_pipeline.lake import replace_file
from hp_pipeline.outputs.csv import table_csv
from hp_pipeline.transforms import calendar
from hp_pipeline.transforms.schema import conform


def write_daily_csv(plant: Plant, day: date) -> Path | None:
    """`exports/<plant>/daily/<date>.csv`: the frames of a local day, of a heat pump with their mode. None without."""
    zone = plant.time_zone
    start, end = calendar.day_start(day, zone), calendar.day_start(day + timedelta(days=1), zone)
    keys = [(start.date() + timedelta(days=count)).isoformat() for count in range((end.date() - start.date()).days + 1)]
    within = (pl.col("start") >= start) & (pl.col("start") < end)
    frames = conform(plant.lake.read(f"{plant.frames}/{plant.id}", keys), plant.frames).filter(within).sort("start")
    if frames.is_empty():
        return None
    name = f"{day}.csv"
    if plant.frames != "frames":
        return _write(plant.workspace, plant.id, "daily", name, table_csv(frames, plant.frames, zone))
    modes = conform(plant.lake.read(f"operation/{plant.id}", keys), "operation").select("start", "mode", "state")
    rows = frames.join(modes, on="start", how="left", maintain_order="left").drop("last_read")
    return _write(plant.workspace, plant.id, "daily", name, table_csv(rows, "frames", zone, ("mode", "state")))


def write_weekly_csv(plant: Plant, monday: date) -> Path | None:
    """`exports/<plant>/weekly/<ISO week>.csv`: the hours of a local week. None without hours."""
    zone = plant.time_zone
    start, end = calendar.day_start(monday, zone), calendar.day_start(monday + timedelta(days=7), zone)
    keys = [(start.date() + timedelta(days=count)).isoformat() for count in range((end.date() - start.date()).days + 1)]
    within = (pl.col("start") >= start) & (pl.col("start") < end)
    hours = conform(plant.lake.read(f"{plant.hours}/{plant.id}", keys), plant.hours).filter(within).sort("start")
    if hours.is_empty():
        return None
    name = f"{calendar.period_label('weekly', monday)}.csv"
    return _write(plant.workspace, plant.id, "weekly", name, table_csv(hours, plant.hours, zone))


def _write(workspace: Workspace, plant: str, kind: str, name: str, text: str) -> Path:
    path = workspace.exports / plant / kind / name
    replace_file(path, text.encode("utf-8"))
    return path


def export_assets(plant: Plant, days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The CSV files of a plant as assets, as far as the settings want them."""
    wanted = plant.workspace.settings.outputs.csv
    assets = []
    if wanted.daily:
        assets.append(_daily(plant, days))
    if wanted.weekly:
        assets.append(_weekly(plant))
    return assets


def _daily(plant: Plant, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    shown = ("frames", "operation") if plant.frames == "frames" else (plant.frames,)
    described = spec(
        "daily_csv",
        plant.id,
        f"`exports/{plant.id}/daily/<date>.csv`: every frame of a local day"
        + (", with mode and state of the cycle" if len(shown) > 1 else ""),
        deps=[dg.AssetDep(asset_key(table, plant.id), partition_mapping=around(1, 1)) for table in shown],
        partitions=days,
        kinds=frozenset({"csv"}),
    )

    @dg.multi_asset(name=f"{plant.id}__daily_csv", specs=[described], backfill_policy=dg.BackfillPolicy.single_run())
    def daily_csv(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        yield from _export(described.key, plant, write_daily_csv, list(context.partition_keys))

    return daily_csv


def _weekly(plant: Plant) -> dg.AssetsDefinition:
    described = spec(
        "weekly_csv",
        plant.id,
        f"`exports/{plant.id}/weekly/<ISO week>.csv`: the hours of a local week with all figures. A run over a range "
        "of days writes the weeks that these lie in, any other run all weeks.",
        deps=[dg.AssetDep(asset_key(plant.hours, plant.id))],
        kinds=frozenset({"csv"}),
    )

    @dg.multi_asset(name=f"{plant.id}__weekly_csv", specs=[described])
    def weekly_csv(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        first, last = range_of(context.run.tags)
        days = plant.lake.keys(f"{plant.days}/{plant.id}")
        keys = sorted({calendar.first_day("weekly", date.fromisoformat(day)).isoformat() for day in days})
        if first is not None and last is not None:
            low = calendar.first_day("weekly", first).isoformat()
            keys = [key for key in keys if low <= key <= last.isoformat()]
        yield from _export(described.key, plant, write_weekly_csv, keys)

    return weekly_csv


def _export(
    key: dg.AssetKey, plant: Plant, write: Callable[[Plant, date], Path | None], dates: list[str]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Write the files of several dates; one that cannot be written does not keep the others from it."""
    written: list[Path] = []
    failed: list[str] = []
    for day in dates:
        try:
            path = write(plant, date.fromisoformat(day))
        except OSError as error:
            failed.append(f"{day}: {error}")
        else:
            written += [path] if path else []
    metadata: dict[str, Any] = {"files": len(written)}
    if written:
        metadata["newest"] = dg.MetadataValue.path(written[-1])
    yield dg.MaterializeResult(asset_key=key, metadata=metadata)
    if failed:
        raise dg.Failure(f"{len(failed)} files could not be written, all others were. {' | '.join(failed[:5])}")
