"""Readings of a source, merged into its partitions."""

from __future__ import annotations

import polars as pl

from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.lake import DamagedPartitionError, Lake, Receipt
from hp_pipeline.transforms.schema import conform


def store_readings(workspace: Workspace, source: str, readings: pl.DataFrame) -> dict[str, Receipt]:
    """Merge readings of a source into its partitions, by point and time. Repeating it, late or in another order,
    changes nothing that is already right.

    Args:
        readings: `point`, `time`, `value`, `text` and, where it is known, `origin`.

    Returns:
        The receipts of the partitions whose content has changed, by key.

    Raises:
        DamagedPartitionError: a partition cannot be read, so nothing was merged into it; all others are stored.
    """
    asset, lake = f"readings/{source}", workspace.lake
    changed: dict[str, Receipt] = {}
    damaged: list[DamagedPartitionError] = []
    days = readings.with_columns(_day=pl.col("time").dt.date()).partition_by("_day", as_dict=True)
    for (day,), part in sorted(days.items()):
        key = str(day)
        new = conform(part.with_columns(source=pl.lit(source)), "readings")
        try:
            receipt = _merge_into(lake, asset, key, new)
        except DamagedPartitionError as error:
            damaged.append(error)
            continue
        if receipt is not None:
            changed[key] = receipt
    for other in damaged[1:]:
        damaged[0].add_note(str(other))
    if damaged:
        raise damaged[0]
    return changed


def _merge_into(lake: Lake, asset: str, key: str, new: pl.DataFrame) -> Receipt | None:
    """Merge readings into one partition; its receipt when its content has changed."""
    with lake.locked(asset, key):
        if not lake.path(asset, key).exists():
            return lake.write(asset, key, merge_readings(new))
        stored = conform(lake.read(asset, [key]), "readings")
        merged = merge_readings(pl.concat([stored, new]))
        return None if merged.equals(stored) else lake.write(asset, key, merged)


def merge_readings(readings: pl.DataFrame) -> pl.DataFrame:
    """One reading per source, point and time. Where several disagree the choice does not depend on their order: a
    what was told at once rather than what was asked for later, a number rather than words, then the greater."""
    return readings.sort(
        ["source", "point", "time", "origin", "value", "text"],
        descending=[False, False, False, False, True, True],
        nulls_last=[False, False, False, False, True, True],
    ).unique(["source", "point", "time"], keep="first", maintain_order=True)
