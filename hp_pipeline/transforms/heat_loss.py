"""Degree days, and the line of daily heat over the outdoor temperature: heat loss in W/K and base temperature.

The line is the Theil–Sen one (median of the slopes of all pairs of days), which single odd days do not move. Its 95 %
interval is Sen's, from the rank correlation of Kendall, for as many independent days as there are: days that follow
each other are alike, by the correlation ρ of neighbouring residuals: n days count for n (1 - ρ) / (1 + ρ).

What the line is not: sun warms the house more on mild days than on cold ones, so that the slope is steeper than the
building's own heat loss, by 9 to 12 % in the simulated houses; and a room that is let cool down in frost makes it
flatter. Against room minus outdoor temperature the second does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import polars as pl

from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.efficiency import median, pair_slopes
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.rules import Rules

DAY_COLUMNS = [
    *("heat_pump", "start", "end", "outdoor_temperature_mean", "outdoor_temperature_s", "room_temperature_mean"),
    *("thermal_energy_heating_kwh", "thermal_coverage", "electrical_s", "thermal_s"),
    *("electrical_energy_kwh", "thermal_energy_kwh"),
    *("electrical_energy_unobserved_kwh", "thermal_energy_unobserved_kwh"),
]
"""What is read of `daily`."""

LEAST_COVERAGE = 0.9
"""A day that is known for less tells nothing of the heat loss, and has no degree days."""
LEAST_DAYS = 20
LEAST_SPREAD_K = 8.0
"""Days whose temperatures lie closer together bear no line."""
HEATED_SHARE = 0.1
"""A day counts as heated with this share of the heat of a cold day (the 95th percentile)."""
BELOW_BASE_K = 2.0
"""Near the base temperature some hours of a day need heat and others do not: the line holds from so far below it."""

_NORMAL_95 = 1.96
_DAY_S = 86_400.0


def degree_days(days: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Table `degree_days` from rows of `daily` (`DAY_COLUMNS`, `period`, `local_start`): one row for each."""
    length_s = divided((pl.col("end") - pl.col("start")).dt.total_microseconds(), 1e6)
    coverage = (pl.col("outdoor_temperature_s") / length_s).clip(0, 1).fill_null(0.0)
    known = (coverage >= LEAST_COVERAGE) & pl.col("outdoor_temperature_mean").is_not_null()
    mean, length_d = pl.col("outdoor_temperature_mean"), length_s / _DAY_S
    below = mean < rules.degree_day_limit_c
    percent = (coverage * 100).floor().cast(pl.Int64)
    rows = days.with_columns(
        outdoor_coverage=coverage,
        heating_degree_days=pl.when(known).then((rules.degree_day_limit_c - mean).clip(lower_bound=0) * length_d),
        degree_day_number=pl.when(known & below)
        .then((rules.degree_day_room_c - mean) * length_d)
        .when(known)
        .then(0.0),
        degree_days_reason=pl.when(~known).then(
            pl.format("the outdoor temperature is known for only {} % of the day", percent)
        ),
    )
    return conform(rows, "degree_days")


def _bearing(days: pl.DataFrame) -> pl.DataFrame:
    """Of rows of `degree_days` those that bear a line: `x` (°C), `heat` (W), `room` (°C), `day_us`, sorted by day."""
    length_s = divided((pl.col("end") - pl.col("start")).dt.total_microseconds(), 1e6)
    return (
        days.filter(
            pl.col("degree_days_reason").is_null(),
            pl.col("thermal_coverage") >= LEAST_COVERAGE,
            pl.col("thermal_energy_heating_kwh").is_not_null(),
        )
        .sort("start")
        .select(
            "start",
            "end",
            x="outdoor_temperature_mean",
            heat=pl.col("thermal_energy_heating_kwh") * 3.6e6 / (length_s * pl.col("thermal_coverage")),
            room="room_temperature_mean",
            day_us=(pl.col("end") - pl.col("start")).dt.total_microseconds(),
        )
    )


def heat_loss(days: pl.DataFrame) -> dict[str, Any]:
    """The line of one heating season from its rows of `degree_days`: the columns of `heat_loss` but its period."""
    return _line(_bearing(days).with_columns(weight=pl.lit(1.0)), "days")


def heat_loss_bins(days: pl.DataFrame) -> pl.DataFrame:
    """Rows of `degree_days` → those of `heat_loss_bins`, in whole numbers, without their period."""
    rows = _bearing(days)
    return with_means(
        rows.group_by(outdoor_from=pl.col("x").floor().cast(pl.Int64))
        .agg(
            days=pl.len().cast(pl.Int64),
            day_us=pl.col("day_us").sum(),
            heat_mj=(pl.col("heat") * pl.col("day_us") / 1000).round().cast(pl.Int64).sum(),
            outdoor_us_c=(pl.col("x") * pl.col("day_us")).round().cast(pl.Int64).sum(),
        )
        .sort("outdoor_from")
    )


def with_means(bins: pl.DataFrame) -> pl.DataFrame:
    """Add what bins give on average."""
    return bins.with_columns(
        heat_mean_w=divided(pl.col("heat_mj"), 1) * 1000 / pl.col("day_us"),
        outdoor_temperature_mean=pl.col("outdoor_us_c") / pl.col("day_us"),
    )


def merged_bins(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """`heat_loss_bins` of several seasons added."""
    sums = pl.concat([part.select("outdoor_from", "days", "day_us", "heat_mj", "outdoor_us_c") for part in parts])
    return with_means(sums.group_by("outdoor_from").agg(pl.all().sum()).sort("outdoor_from"))


def heat_loss_of_bins(bins: pl.DataFrame) -> dict[str, Any]:
    """The line through bins of many seasons, each pair weighing as its days do: the columns of `heat_loss_all_time` but
    its period. Its interval is wider than that of as many days, for bins tell nothing of the days in them."""
    rows = bins.filter(pl.col("days") >= 3).select(
        x="outdoor_temperature_mean",
        heat="heat_mean_w",
        room=pl.lit(None, pl.Float64),
        weight=pl.col("days").cast(pl.Float64),
    )
    return _line(rows, "bins", least=8)


def _line(rows: pl.DataFrame, what: str, least: int = LEAST_DAYS) -> dict[str, Any]:
    """Fit twice: with the days that are heated, then with those well below the base temperature that this gives."""
    days = int(rows["weight"].sum()) if rows.height else 0
    if rows.height < least:
        return {"days": days, "heat_loss_reason": f"only {rows.height} {what} known, of {least} that a line needs"}
    cold = rows.select(pl.col("heat").quantile(0.95)).item()
    chosen = rows.filter(pl.col("heat") > HEATED_SHARE * cold)
    slope = level = 0.0
    for _ in range(2):
        spread = _spread(chosen)
        if chosen.height < least or spread < LEAST_SPREAD_K:
            return {
                "days": int(chosen["weight"].sum()),
                "heat_loss_reason": f"only {chosen.height} heated {what}"
                if chosen.height < least
                else f"outdoor temperatures of the heated {what} are only {spread:.0f} K apart",
            }
        slope, level = _weighted_line(chosen, "x")
        if slope >= 0:
            return {"days": int(chosen["weight"].sum()), "heat_loss_reason": "no more heat when it is colder"}
        base = -level / slope
        fitted, chosen = chosen, rows.filter(pl.col("x") < base - BELOW_BASE_K)
    low, high = _interval(fitted, slope, level)
    middle = median(fitted["x"])
    at_middle = level + slope * middle
    residuals = fitted["heat"] - level - slope * fitted["x"]
    indoors = fitted.filter(pl.col("room").is_not_null()).with_columns(room=pl.col("room") - pl.col("x"))
    room = _weighted_line(indoors, "room")[0] if indoors.height >= least and _spread(indoors, "room") > 0 else None
    return {
        "days": int(fitted["weight"].sum()),
        "heat_loss_w_per_k": -slope,
        "heat_loss_low_w_per_k": -high,
        "heat_loss_high_w_per_k": -low,
        "base_temperature": -level / slope,
        # The line turns about its middle.
        "base_temperature_low": middle - at_middle / low,
        "base_temperature_high": middle - at_middle / high if high < 0 else None,
        "heat_at_minus_10_w": level - 10.0 * slope,
        "spread_w": 1.4826 * median((residuals - median(residuals)).abs()),
        "heat_loss_room_w_per_k": room,
        "heat_loss_reason": None,
    }


def _spread(rows: pl.DataFrame, name: str = "x") -> float:
    return 0.0 if rows.is_empty() else float(rows.select(pl.col(name).max() - pl.col(name).min()).item())


def _weighted_line(rows: pl.DataFrame, x: str) -> tuple[float, float]:
    """Slope and value at 0: the median of the slopes of all pairs, and of what is left."""
    if (rows["weight"] == rows["weight"][0]).all():
        slope = median(pair_slopes(rows[x], rows["heat"]))
        return slope, median(rows["heat"] - slope * rows[x])
    points = rows.select(x=x, y="heat", weight="weight").with_row_index()
    pairs = points.join_where(points, pl.col("index") < pl.col("index_right")).with_columns(
        slope=(pl.col("y_right") - pl.col("y")) / (pl.col("x_right") - pl.col("x")),
        both=pl.col("weight") * pl.col("weight_right"),
    )
    slope = _weighted_median(pairs["slope"], pairs["both"])
    return slope, _weighted_median(points["y"] - slope * points["x"], points["weight"])


def _weighted_median(values: pl.Series, weights: pl.Series) -> float:
    ordered = pl.DataFrame({"value": values, "weight": weights}).sort("value")
    until = ordered["weight"].cum_sum()
    return float(ordered["value"].filter(until >= until[-1] / 2)[0])


def _interval(rows: pl.DataFrame, slope: float, level: float) -> tuple[float, float]:
    """Sen's 95 % interval of the slope, for the number of independent days."""
    slopes = pair_slopes(rows["x"], rows["heat"])
    count = rows.height
    residual = rows["heat"] - level - slope * rows["x"]
    residual -= float(residual.sum()) / count
    alike = 0.0
    if "start" in rows.columns:
        square = float((residual**2).sum())
        # Of days that follow each other: both are there, and one begins where the other ends.
        beside = rows["start"] == rows["end"].shift(1)
        alike = float((residual * residual.shift(1)).filter(beside.fill_null(False)).sum()) / square if square else 0.0
    alike = min(max(alike, 0.0), 0.95)
    variance = count * (count - 1) * (2 * count + 5) / 18 * (1 + alike) / (1 - alike)
    half = _NORMAL_95 * math.sqrt(variance)
    pairs = slopes.len()
    first = max(math.floor((pairs - half) / 2), 0)
    last = min(math.ceil((pairs + half) / 2), pairs - 1)
    return float(slopes[first]), float(slopes[last])
