"""A table for the tests of the lake."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from hp_pipeline.lake import Column, Lake, Table, publish_catalogue

DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]


def house(root: Path, today: date = date(2024, 3, 1)) -> Lake:
    """A lake whose table `hourly` is kept by month."""
    return Lake(root, by_month=lambda table: table == "hourly", today=lambda: today)


def rows(version: int, count: int = 50) -> pl.DataFrame:
    """Rows that all bear the version, so that a mixture of two would be seen."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "heat_pump": ["hp"] * count,
            "start": [start + timedelta(seconds=number) for number in range(count)],
            "version": [version] * count,
            "noise": [float((number * 2_654_435_761 + version) % 1_000_003) for number in range(count)],
            "unknown": pl.Series([None] * count, dtype=pl.Float64),
        }
    )


def described(extra: int = 0) -> list[Table]:
    """The catalogue's tables, with some columns more."""
    columns = (
        Column("heat_pump", "VARCHAR", "Whose it is"),
        Column("start", "TIMESTAMP WITH TIME ZONE", "It's when it begins"),
        Column("version", "BIGINT", "Version"),
        Column("noise", "DOUBLE", "Noise [W]"),
        Column("unknown", "DOUBLE", "Nobody knows"),
        *(Column(f"extra_{number}", "DOUBLE", "More") for number in range(extra)),
    )
    return [
        Table("frames", "What was read", columns),
        Table("hourly", "What an hour was", columns),
        Table("all_time", "All of it", columns, dated=False),
    ]


def publish(lake: Lake, path: Path, extra: int = 0) -> bool:
    """Publish the catalogue of `described`."""
    return publish_catalogue(lake, described(extra), path)
