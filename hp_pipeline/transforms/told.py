"""Readings of live sources as the lake keeps them (a row where a value changed) → the full series.

At a time of `@poll` every point of the set that its value names was told, changed or not; the set's points are the
lines of the text of `@told/<number>`. See `hp_pipeline.landing.drain`, which writes them.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

POLL_POINT = "@poll"
TOLD_POINT = "@told/"

_COLUMNS = ("point", "time", "value", "text")


def full_series(readings: pl.DataFrame, wanted: Callable[[str], bool]) -> pl.DataFrame:
    """Add, for the points that are wanted, the readings that were told but did not change.

    Args:
        readings: `point`, `time`, `value`, `text` and, if there is, `origin`, of whole UTC days. A row with an origin
            (one that was asked for later) is itself, and says nothing of other times.
        wanted: whether a point is of interest; the others, and those that begin with `@`, are left out.

    Returns:
        `point`, `time`, `value`, `text`, sorted by (point, time), one row each. Readings among which there is no
        `@poll` are returned as they are.
    """
    beats = readings.filter(pl.col("point") == POLL_POINT)
    if beats.is_empty():
        return readings.select(_COLUMNS)
    names = readings["point"].unique()
    chosen = pl.Series("point", [name for name in names if not name.startswith("@") and wanted(name)], pl.String())
    rows = readings.filter(pl.col("point").is_in(chosen.implode()))
    times = _told_times(beats, readings, chosen)
    later = pl.col("origin").is_not_null() if "origin" in rows.columns else pl.lit(False)
    said = rows.filter(~later)
    held = times.sort("time").join_asof(
        said.select(_COLUMNS).sort("time"), on="time", by="point", check_sortedness=False
    )
    known = held.filter(pl.col("value").is_not_null() | pl.col("text").is_not_null()).select(_COLUMNS)
    # A row as it is comes before what was held, and both before what was asked for later.
    both = pl.concat([said.select(_COLUMNS), known, rows.filter(later).select(_COLUMNS)])
    return both.unique(["point", "time"], keep="first", maintain_order=True).sort("point", "time")


def polled(readings: pl.DataFrame) -> pl.Series:
    """When the source of readings (`point`, `time`) was polled: a reading of another time has a time of its own."""
    return readings.filter(pl.col("point") == POLL_POINT)["time"]


def _told_times(beats: pl.DataFrame, readings: pl.DataFrame, chosen: pl.Series) -> pl.DataFrame:
    """`point`, `time`: when each chosen point was told. A set's number may come to mean other points (when a landing
    was begun anew): what was said last before counts."""
    sets = (
        readings.filter(pl.col("point").str.starts_with(TOLD_POINT))
        .select(
            "time",
            number=pl.col("point").str.strip_prefix(TOLD_POINT).cast(pl.Float64),
            said=pl.col("text"),
        )
        .sort("time")
    )
    meaning = (
        sets.select("said")
        .unique()
        .with_columns(point=pl.col("said").str.split("\n"))
        .explode("point")
        .filter(pl.col("point").is_in(chosen.implode()))
    )
    return (
        beats.select("time", number=pl.col("value"))
        .sort("time")
        .join_asof(sets, on="time", by="number", check_sortedness=False)
        .join(meaning, on="said")
        .select("point", "time")
    )
