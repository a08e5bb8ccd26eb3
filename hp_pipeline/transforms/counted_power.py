"""Electrical power as a counter tells it, for a house that tells no power: in stretches of some minutes in which the
counter's steps are small.

Figures of hours and days are made of what a counter counted itself (`energy_counters`); this is for tables that set
powers side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Literal

import polars as pl

from hp_pipeline.transforms.sums import MJ_PER_KWH

COUNTER_COLUMNS: Final = ("source", "signal", "point", "precedence", "start", "end", "increment", "over_gap")
"""What is read of the counters."""

COARSEST: Final = 0.2
"""An increment of more than this share of what a stretch took says too little of when it was used."""


def with_counted_power(
    frames: pl.DataFrame, counters: pl.DataFrame, believed: Mapping[str, int], window: timedelta
) -> pl.DataFrame:
    """The frames with `electrical_power` as counters tell it.

    An increment is spread evenly between the readings that it lies between. Nothing is known of a window in which one
    is more than `COARSEST` of all that was counted, of a silence, and where no later increment is seen by the end of
    the next UTC day, so that it does not matter how many days are loaded.

    Args:
        frames: of one heat pump, whole windows, sorted: `start`, `end` and `electrical_power`, which is replaced.
        counters: `COUNTER_COLUMNS`, those of the days of the frames and of the day behind each.
        believed: by signal the `precedence` of the counters that are believed; what they counted is added.
        window: the stretches, by the clock.
    """
    told = [
        _counted(frames, own.sort("end"))
        for signal, precedence in believed.items()
        for own in counters.filter(signal=signal, precedence=precedence).partition_by("source", "point")
    ]
    if not told:
        return frames
    millijoules, step, silent = (
        pl.DataFrame([part[name].alias(str(number)) for number, part in enumerate(told)])
        for name in ("millijoules", "step", "silent")
    )
    heard = pl.any_horizontal(part["millijoules"].is_not_null() for part in told) & ~pl.lit(silent.max_horizontal())
    rows = frames.with_columns(
        millijoules=pl.when(heard).then(pl.lit(millijoules.sum_horizontal())), step=pl.lit(step.max_horizontal())
    )
    is_fine = (pl.col("step").max() <= COARSEST * pl.col("millijoules").sum()).over(pl.col("start").dt.truncate(window))
    span = (pl.col("end") - pl.col("start")).dt.total_microseconds()
    watts = pl.when(is_fine).then(pl.col("millijoules") * 1000 / span)
    return rows.with_columns(electrical_power=watts).drop("millijoules", "step")


def _counted(frames: pl.DataFrame, steps: pl.DataFrame) -> pl.DataFrame:
    """What a counter counted in each frame (`millijoules`, null where it is not known), the greater of the increments
    in which the frame begins and ends (`step`, mJ), and whether a silence reaches into it (`silent`).

    Whole numbers: parts of an increment add up to it, whatever is counted before.
    """
    step, gap = (pl.col("increment") * MJ_PER_KWH).round().cast(pl.Int64), pl.col("over_gap").cast(pl.Int64)
    rows = steps.filter(pl.col("start") < pl.col("end")).select(
        "start", "end", step=step, before=step.cum_sum() - step, gap=gap, gaps_before=gap.cum_sum() - gap
    )

    def at(moments: pl.Series, side: Literal["left", "right"]) -> pl.DataFrame:
        """The increment in which each moment lies, and `until`: what was counted from the first one on up to it."""
        place = rows["end"].search_sorted(moments, side=side)
        found = rows.select(pl.all().gather(pl.select(pl.when(place < rows.height).then(place)).to_series()))
        into = (pl.lit(moments) - pl.col("start")).dt.total_microseconds()
        length = (pl.col("end") - pl.col("start")).dt.total_microseconds()
        part = (pl.col("step") * (into / length).clip(0, 1)).round().cast(pl.Int64)
        return found.with_columns(until=pl.when(into >= 0).then(pl.col("before") + part))

    begin, end = at(frames["start"], "right"), at(frames["end"], "left")
    is_seen = end["end"].dt.date() <= frames["start"].dt.date() + timedelta(days=1)
    return pl.select(
        millijoules=pl.when(is_seen).then(end["until"] - begin["until"]),
        step=pl.when(is_seen).then(pl.max_horizontal(begin["step"], end["step"])),
        silent=(is_seen & (end["gaps_before"] + end["gap"] > begin["gaps_before"])).fill_null(False),
    )
