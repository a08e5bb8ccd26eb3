"""What heat pumps tell → their heat into a tank, frame by frame of the tank.

How much comes from the quarters of an hour (`quarter_hourly`, mode dhw), so that an hour of the tank has what the heat
pump's own hour has. When within a quarter comes from its frames: the heat is spread in proportion to the power in mode
dhw (a run begins weakly: spread evenly, it would look like a draw and then like a gain), where no power is known over
the time for which it ran for the tank, to the last millijoule, as differences of a rounded running sum. That needs
nothing from outside of the quarter, so neither batches nor their order matter.

For how long its heat is known comes from the segments. In any other mode it gives the tank nothing: that is known, even
where its heat is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.energy import integral
from hp_pipeline.transforms.sums import MJ_PER_KWH

SEGMENT_COLUMNS: Final = ("start", "end", "mode", "state", "observed_s", "thermal_s")
"""What is read of the segments."""

POWER_COLUMNS: Final = ("start", "end", "thermal_power")
"""What is read of the heat pump's frames."""

QUARTER_COLUMNS: Final = ("start", "thermal_energy_dhw_kwh")
"""What is read of the quarters of an hour."""

_QUARTER: Final = timedelta(minutes=15)
_QUARTER_US: Final = _QUARTER // timedelta(microseconds=1)
_US_PER_S: Final = 1_000_000


@dataclass(frozen=True)
class ChargingHeatPump:
    """What is known of a heat pump whose domestic hot water is the water of a tank.

    Attributes:
        segments: `SEGMENT_COLUMNS` of table `segments`, of the tank's days.
        frames: `POWER_COLUMNS` of table `frames`, of these days.
        quarters: `QUARTER_COLUMNS` of table `quarter_hourly`, of these days.
        final_until: from here on readings that come in order may still change its heat; None where nothing was ever
            told of it.
    """

    segments: pl.DataFrame
    frames: pl.DataFrame
    quarters: pl.DataFrame
    final_until: datetime | None = None


def with_heat_pumps(frames: pl.DataFrame, heat_pumps: Sequence[ChargingHeatPump]) -> pl.DataFrame:
    """Frames of a tank with the heat that the heat pumps gave it.

    Args:
        frames: `start`, `end` and more, sorted; none crosses a quarter of an hour.
        heat_pumps: all that heat the tank.

    Returns:
        The frames with `heat_pump` (whole mJ together; null where that of one is not known, or there is none) and
        `heat_pump_known` (µs of the frame for which all of them are known: all of it where there is none).
    """
    span = (pl.col("end") - pl.col("start")).dt.total_microseconds()
    if not heat_pumps:
        return frames.with_columns(heat_pump=pl.lit(None, pl.Int64), heat_pump_known=span)
    parts = [_of_one(frames, one) for one in heat_pumps]
    heats = [part["heat"].alias(f"heat {place}") for place, part in enumerate(parts)]
    knowns = [part["known"].alias(f"known {place}") for place, part in enumerate(parts)]
    together = pl.DataFrame([*heats, *knowns]).select(
        heat_pump=pl.when(pl.all_horizontal(pl.col(heat.name).is_not_null() for heat in heats)).then(
            pl.sum_horizontal(heat.name for heat in heats)
        ),
        heat_pump_known=pl.min_horizontal(known.name for known in knowns),
    )
    return frames.with_columns(together.get_columns())


def _of_one(frames: pl.DataFrame, heat_pump: ChargingHeatPump) -> pl.DataFrame:
    """`heat` and `known` of one heat pump, a row for each frame."""
    quarter = pl.col("start").dt.truncate(_QUARTER)
    rows = frames.select("start", "end", quarter=quarter, quarter_end=quarter + _QUARTER)
    for border in rows.columns:
        for what, stretches in _stretches(heat_pump).items():
            rows = _until(rows, border, stretches, f"{what} {border}")
    energies = heat_pump.quarters.select(
        quarter="start", energy=(pl.col("thermal_energy_dhw_kwh") * MJ_PER_KWH).round().cast(pl.Int64)
    )
    rows = rows.join(energies, on="quarter", how="left", maintain_order="left")

    def share(what: str, border: str) -> pl.Expr:
        """Null where there is nothing of it in the quarter."""
        whole = pl.col(f"{what} quarter_end") - pl.col(f"{what} quarter")
        return pl.when(whole > 0).then((pl.col(f"{what} {border}") - pl.col(f"{what} quarter")) / whole)

    def so_far(border: str) -> pl.Expr:
        """Heat from the begin of the quarter up to a border of the frame."""
        by_time = divided((pl.col(border) - pl.col("quarter")).dt.total_microseconds(), _QUARTER_US)
        part = pl.coalesce(share("given", border), share("ran", border), by_time)
        return (pl.col("energy") * part).round().cast(pl.Int64)

    span = (pl.col("end") - pl.col("start")).dt.total_microseconds()
    is_known = pl.col("known end") > pl.col("known start")
    return rows.select(
        heat=pl.when(is_known).then((so_far("end") - so_far("start")).fill_null(0)),
        known=pl.min_horizontal(pl.col("known end") - pl.col("known start"), span),
    )


def _stretches(heat_pump: ChargingHeatPump) -> dict[str, pl.DataFrame]:
    """Stretches (`begin`, `stop`, sorted, apart) with a whole `amount`: `known`, the µs for which its heat into the
    tank is known; `given`, what its power in mode dhw gave (mJ); `ran`, the µs for which it ran for the tank."""
    is_dhw = pl.col("mode") == "dhw"
    length = (pl.col("stop") - pl.col("begin")).dt.total_microseconds()
    segments = heat_pump.segments.select(
        "mode",
        "state",
        begin="start",
        stop="end",
        observed=(pl.col("observed_s") * _US_PER_S).round().cast(pl.Int64),
        heat_known=(pl.col("thermal_s") * _US_PER_S).round().cast(pl.Int64),
    ).sort("begin")
    known = segments.filter(pl.col("mode").is_not_null()).with_columns(
        amount=pl.when(is_dhw).then("heat_known").otherwise("observed")
    )
    runs = segments.filter(is_dhw, pl.col("heat_known") > 0, pl.col("state").is_null() | (pl.col("state") == "on"))
    powers = (
        heat_pump.frames.filter(pl.col("thermal_power") > 0)
        .select(begin="start", stop="end", power="thermal_power")
        .sort("begin")
        .join_asof(segments.select("begin", "mode"), on="begin", check_sortedness=False)
        .filter(is_dhw)
    )
    made = {
        "known": known,
        "given": powers.with_columns(amount=integral(pl.col("power"), length)),
        "ran": runs.with_columns(amount=length),
    }
    return {what: rows.select("begin", "stop", "amount") for what, rows in made.items()}


def _until(borders: pl.DataFrame, at: str, stretches: pl.DataFrame, name: str) -> pl.DataFrame:
    """Add the sum of the stretches' amounts up to the moments `at`; within a stretch it grows evenly."""
    # Whole numbers, so that differences do not depend on how much lies before.
    summed = stretches.with_columns(before=pl.col("amount").cum_sum() - pl.col("amount"))
    moments = borders.with_columns(moment=pl.col(at)).join_asof(
        summed, left_on="moment", right_on="begin", coalesce=False, check_sortedness=False
    )
    passed = (pl.min_horizontal("moment", "stop") - pl.col("begin")).dt.total_microseconds()
    whole = (pl.col("stop") - pl.col("begin")).dt.total_microseconds()
    within = (pl.col("amount") * (passed / whole)).round().cast(pl.Int64)
    return moments.with_columns((pl.col("before") + within).fill_null(0).alias(name)).drop(
        "moment", "begin", "stop", "amount", "before"
    )
