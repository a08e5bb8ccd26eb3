"""Frames of a tank → figures per hour of the house's clock, days, months, years; and the house's balance with them.

Between tables, sums are whole numbers (millijoules, microseconds), so a month is the merge of its days to the last bit,
whatever the order, the batches and the restarts in which they were made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from hp_pipeline.transforms.calendar import (
    PeriodName,
    day_start,
    first_day,
    hour_end,
    hour_start,
    local_date,
    local_iso,
    next_period,
    period_label,
)
from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.floors import Known, elapsed_s
from hp_pipeline.transforms.schema import UTC, conform
from hp_pipeline.transforms.sums import MJ_PER_KWH, known_sum
from hp_pipeline.transforms.tank_balance import COUNTS, DURATIONS, ENERGIES, MEANS, balance, installed
from hp_pipeline.transforms.tank_heat import ChargingHeatPump, with_heat_pumps
from hp_pipeline.vocabulary.rules import SolarRules
from hp_pipeline.vocabulary.tables import DEVICE_COUNTERS, HOUSE_SUM_COLUMNS, SOLAR_LEVELS

_US_PER_S = 1_000_000
_LEAST_IDLE_S = 6 * 3600.0
_LEAST_EXCESS_K = 5.0


def solar_hourly(
    frames: pl.DataFrame,
    start: datetime,
    end: datetime,
    time_zone: str,
    rules: SolarRules,
    known: Known,
    heat_pumps: Sequence[ChargingHeatPump] = (),
) -> pl.DataFrame:
    """Table `solar_hourly`: the local hours that begin within the UTC days [start, end).

    Args:
        frames: table `solar_frames` of these days and of the rest of the last hour.
        known: the time in which there are frames at all.
        heat_pumps: those that heat the tank, of the same days.
    """
    if frames.is_empty():
        return conform(None, "solar_hourly")
    driven = with_heat_pumps(frames.sort("start"), heat_pumps)
    rows = balance(driven, hour_start("start", time_zone), rules).rename({"cut": "start"})
    rows = rows.filter(pl.col("start") >= start, pl.col("start") < end)
    local = pl.Series("local_start", local_iso(rows["start"], time_zone), pl.String)
    final = [one.final_until for one in heat_pumps if one.final_until is not None]
    placed = rows.with_columns(
        local,
        period=local.alias("period"),
        end=pl.Series([hour_end(begin, time_zone) for begin in rows["start"]], dtype=UTC),
    ).with_columns(open=pl.col("end") > pl.lit(min(final), UTC) if final else pl.lit(False))
    return _with_content(conform(_shown(placed, rules, known), "solar_hourly"), _says_nothing_more)


def solar_by_calendar(
    rows: pl.DataFrame, name: PeriodName, periods: Sequence[date], time_zone: str, rules: SolarRules, known: Known
) -> pl.DataFrame:
    """Table `solar_daily`, `solar_monthly` or `solar_yearly`: a row for each period in which something was read.

    Args:
        rows: rows of the next shorter period that lie within the periods (more do not matter).
        periods: first local days of the periods wanted.
        known: the time in which there are frames at all.
    """
    table = f"solar_{name}"
    if rows.is_empty():
        return conform(None, table)
    added = [*ENERGIES, *DURATIONS, *COUNTS, *MEANS]
    merged = (
        _in_periods(_exact(rows), name, periods, time_zone)
        .sort("start")
        .group_by("solar_system", "first", maintain_order=True)
        .agg(
            *(known_sum(pl.col(column)) for column in added),
            *(pl.col(f"{level}_min").min() for level in SOLAR_LEVELS),
            *(pl.col(f"{level}_max").max() for level in SOLAR_LEVELS),
            *(pl.col(f"{level}_first").drop_nulls().first() for level in SOLAR_LEVELS),
            *(pl.col(f"{level}_last").drop_nulls().last() for level in SOLAR_LEVELS),
            pl.col("solar_collector_temperature_max").max(),
            pl.col("provisional").any().alias("open"),
        )
    )
    return _with_content(conform(_shown(_placed(merged, name, time_zone), rules, known), table), _says_nothing_more)


def _with_content(
    rows: pl.DataFrame, left_out: Callable[[Mapping[str, Any]], set[str]] = lambda row: set()
) -> pl.DataFrame:
    """Rows with `content`: 16 hexadecimal digits of the SHA-256 of all else but `provisional`, and but the columns that
    are left out of each row."""
    told = [
        {name: value for name, value in row.items() if name not in omitted}
        for row in rows.drop("content", "provisional").iter_rows(named=True)
        for omitted in (left_out(row),)
    ]
    texts = [json.dumps(row, sort_keys=True, default=datetime.isoformat) for row in told]
    hashes = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
    return rows.with_columns(pl.Series("content", hashes, pl.String))


_OF_HEAT_PUMPS = ("heat_pump_kwh", "heat_pump_s")


def _says_nothing_more(row: Mapping[str, Any]) -> set[str]:
    """The columns of a row that follow from its others: of heat pumps of which nothing is known, of an immersion heater
    that is known just while the layers are, and the time for which all is known where that is the least of the times.
    So what came to be told later restates no row in which there is nothing of it."""
    names = set(_OF_HEAT_PUMPS) if row["heat_pump_kwh"] is None else set()
    electricity, known_s = row["immersion_electrical_kwh"], row["immersion_known_s"]
    if electricity is None or (electricity == row["immersion_kwh"] and known_s == row["covered_s"]):
        names |= {"immersion_electrical_kwh", "immersion_known_s"}
    if row["all_known_s"] == min(row["heaters_s"], row["heat_pump_s"]):
        names.add("all_known_s")
    return names


def _exact(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a solar table as they are stored → whole numbers, means weighted, so that they can be added."""
    weighted = [pl.col(name) * pl.col(weight) * _US_PER_S for name, weight in MEANS.items()]
    return _whole(rows.with_columns(amount.round().cast(pl.Int64) for amount in weighted), ENERGIES, DURATIONS)


def _in_periods(rows: pl.DataFrame, name: PeriodName, periods: Sequence[date], time_zone: str) -> pl.DataFrame:
    """The rows with `first`, the first local day of the period that each lies in; those of other periods are left."""
    firsts = pl.Series([first_day(name, local_date(start, time_zone)) for start in rows["start"]], dtype=pl.Date)
    return rows.with_columns(first=firsts).filter(pl.col("first").is_in(list(periods)))


def _placed(merged: pl.DataFrame, name: PeriodName, time_zone: str) -> pl.DataFrame:
    """`first` → `start`, `end`, `period`, `local_start`."""
    starts: list[datetime] = [day_start(first, time_zone) for first in merged["first"]]
    return merged.with_columns(
        start=pl.Series(starts, dtype=UTC),
        end=pl.Series([day_start(next_period(name, first), time_zone) for first in merged["first"]], dtype=UTC),
        period=pl.Series([period_label(name, first) for first in merged["first"]], dtype=pl.String),
        local_start=pl.Series(local_iso(starts, time_zone), dtype=pl.String),
    )


def _shown(rows: pl.DataFrame, rules: SolarRules, known: Known) -> pl.DataFrame:
    """Rows in the exact form with `start`, `end` and `open` (whether heat pumps may yet change it) → units that people
    read, with the ratios."""
    means = [
        pl.when(pl.col(weight) > 0).then(pl.col(name) / pl.col(weight)).alias(name) for name, weight in MEANS.items()
    ]
    collected = pl.sum_horizontal(pl.col("solar_kwh", "immersion_kwh", "pellet_kwh").fill_null(0))
    is_known = pl.all_horizontal(pl.col("solar_kwh", *(f"{what}_kwh" for what in installed(rules))).is_not_null())
    units = (
        rows.with_columns(means)
        .with_columns(collected_kwh=pl.when(is_known).then(collected))
        .with_columns(
            *(divided(pl.col(name), MJ_PER_KWH).alias(name) for name in [*ENERGIES, "collected_kwh"]),
            *(divided(pl.col(name), _US_PER_S).alias(name) for name in DURATIONS),
        )
    )
    spread = pl.col("tank_top_temperature_mean") - pl.col("tank_bottom_temperature_mean")
    idle_kelvin_h = divided(pl.col("idle_s"), 3600) * pl.col("idle_excess_mean")
    bears = (pl.col("idle_s") >= _LEAST_IDLE_S) & (pl.col("idle_excess_mean") >= _LEAST_EXCESS_K)
    return units.with_columns(
        coverage=(pl.col("heat_pump_s") / elapsed_s(known)).clip(0, 1),
        stored_energy_rate_kw=pl.when(pl.col("covered_s") > 0).then(
            pl.col("stored_change_kwh") / divided(pl.col("covered_s"), 3600)
        ),
        stratification_k=spread,
        stratification_k_per_m=_per(spread, rules.height_m),
        standby_loss_w_per_k=pl.when(bears).then(pl.col("idle_loss_kwh") * 1000 / idle_kelvin_h),
        solar_kwh_per_m2=_per(pl.col("solar_kwh"), rules.area_m2),
        **{f"{what}_difference_kwh": pl.col(f"device_{what}_kwh") - pl.col(f"{what}_kwh") for what in DEVICE_COUNTERS},
        provisional=_is_provisional(rules, known),
    )


def _per(amount: pl.Expr, by: float | None) -> pl.Expr:
    """Null where the settings do not tell what it is divided by."""
    return pl.lit(None, pl.Float64) if by is None else divided(amount, by)


def _is_provisional(rules: SolarRules, known: Known) -> pl.Expr:
    """Whether readings of the tank, or what rows are made from (`open`), may yet change a row."""
    until = pl.lit(known.until, UTC)
    return (pl.col("end") + rules.max_gap > until).fill_null(False) | pl.col("open")


HOUSE_ENERGIES = [column.name for column in HOUSE_SUM_COLUMNS if column.unit == "kWh"]
HOUSE_DURATIONS = [column.name for column in HOUSE_SUM_COLUMNS if column.unit == "s"]

_LEAST_INPUT_KWH = 0.05
_LEAST_KNOWN_TOGETHER = 0.9
"""Of an hour's covered time: what a heater gave while it is not known would be taken for an error of the others."""

_OF_HOURS = {
    "thermal_energy_dhw_kwh": "heat_pump_kwh",
    "thermal_energy_heating_kwh": "heat_pump_heating_kwh",
    "electrical_energy_kwh": "heat_pump_electrical_kwh",
}
"""The energies of a heat pump's hours → what they are of the house."""
_TIMES_OF_HOURS = {"thermal_s": "heat_pump_s", "electrical_s": "electrical_s"}
"""The times for which they are known → those of the house."""


def house_hourly(
    solar: pl.DataFrame,
    heat_pumps: Sequence[pl.DataFrame],
    rules: SolarRules,
    known: Known,
    final_until: datetime | None = None,
    *,
    immersion_included: bool = False,
) -> pl.DataFrame:
    """Table `house_hourly`: the balance of a tank with the heat pumps that also heat it.

    Args:
        solar: table `solar_hourly`, made with the same heat pumps.
        heat_pumps: table `hourly` of each heat pump whose domestic hot water is the tank's.
        rules: the heaters that there are; the electricity of one that is not known is not 0.
        known: the time in which there are frames of the tank at all.
        final_until: from here on readings that come in order may still change hours of a heat pump; None: nowhere.
        immersion_included: whether the meter of a heat pump includes the immersion heater: theirs has its electricity.
    """
    if solar.is_empty():
        return conform(None, "house_hourly")
    # Their own hours say what they gave, also while the tank was not known; the tank's say what of it was seen there.
    rows = _whole(
        solar.rename({"heat_pump_kwh": "into_tank_kwh"}).drop("heat_pump_s"),
        ["into_tank_kwh", *(name for name in ENERGIES if name in HOUSE_ENERGIES and name != "heat_pump_kwh")],
        ["covered_s", "all_known_s", "immersion_known_s"],
    ).with_columns(elapsed=(elapsed_s(known) * _US_PER_S).round().cast(pl.Int64))
    if heat_pumps:
        told = _of_heat_pumps(heat_pumps)
        rows = rows.join(told, on="start", how="left", maintain_order="left").with_columns(
            pl.col(*_TIMES_OF_HOURS.values()).fill_null(0)
        )
    else:
        none = dict.fromkeys(_OF_HOURS.values(), pl.lit(0, pl.Int64))
        rows = rows.with_columns(**none, heat_pump_s=pl.col("covered_s"), electrical_s=pl.col("elapsed"))
    balanced = pl.col("all_known_s") >= pl.max_horizontal(pl.lit(1), pl.col("covered_s") * _LEAST_KNOWN_TOGETHER)
    given = pl.sum_horizontal(pl.col("solar_kwh", "immersion_kwh", "pellet_kwh", "into_tank_kwh").fill_null(0))
    spent = pl.col("stored_change_kwh") + pl.col("draw_kwh") + pl.col("standby_loss_kwh")
    is_asked = "immersion" in installed(rules) and not immersion_included
    apart = pl.lit(0) if immersion_included else pl.col("immersion_electrical_kwh")
    least = pl.min_horizontal("elapsed", "electrical_s", *(["immersion_known_s"] if is_asked else []))
    summed = rows.with_columns(
        balanced_input_kwh=pl.when(balanced).then(given),
        balanced_output_kwh=pl.when(balanced).then(spent),
        balanced_s=pl.when(balanced).then("all_known_s").otherwise(0),
        electrical_kwh=pl.col("heat_pump_electrical_kwh") + (apart if is_asked else apart.fill_null(0)),
    ).with_columns(
        closure_error_kwh=pl.col("balanced_input_kwh") - pl.col("balanced_output_kwh"),
        electrical_s=pl.when(pl.col("electrical_kwh").is_not_null()).then(least).otherwise(0),
        open=pl.col("provisional") | (pl.lit(False) if final_until is None else pl.col("end") > final_until),
    )
    return _house_shown(summed, "house_hourly", rules, known)


def _of_heat_pumps(heat_pumps: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Tables `hourly` → `start`, the sums of `_OF_HOURS` (whole mJ) and the least of `_TIMES_OF_HOURS` (µs). A sum over
    heat pumps of which one is unknown is unknown."""
    parts = [
        _whole(rows.select("start", *_OF_HOURS, *_TIMES_OF_HOURS), _OF_HOURS, _TIMES_OF_HOURS) for rows in heat_pumps
    ]
    every = [
        pl.when(pl.col(name).count() == len(parts)).then(pl.col(name).sum()).alias(short)
        for name, short in _OF_HOURS.items()
    ]
    least = [
        pl.when(pl.len() == len(parts)).then(pl.col(name).min()).otherwise(0).alias(short)
        for name, short in _TIMES_OF_HOURS.items()
    ]
    return pl.concat(parts).group_by("start").agg(*every, *least)


def _whole(rows: pl.DataFrame, energies: Iterable[str], durations: Iterable[str]) -> pl.DataFrame:
    """Rows as they are stored, with these energies in mJ and durations in µs, so that they can be added."""
    amounts = [pl.col(name) * MJ_PER_KWH for name in energies] + [pl.col(name) * _US_PER_S for name in durations]
    return rows.with_columns(amount.round().cast(pl.Int64) for amount in amounts)


def house_by_calendar(
    rows: pl.DataFrame, name: PeriodName, periods: Sequence[date], time_zone: str, rules: SolarRules, known: Known
) -> pl.DataFrame:
    """Table `house_daily`, `house_monthly` or `house_yearly`; arguments as of `solar_by_calendar`."""
    table = f"house_{name}"
    if rows.is_empty():
        return conform(None, table)
    merged = (
        _in_periods(_whole(rows, HOUSE_ENERGIES, HOUSE_DURATIONS), name, periods, time_zone)
        .group_by("solar_system", "first", maintain_order=True)
        .agg(
            *(known_sum(pl.col(column)) for column in [*HOUSE_ENERGIES, *HOUSE_DURATIONS]),
            pl.col("provisional").any().alias("open"),
        )
    )
    return _house_shown(_placed(merged, name, time_zone), table, rules, known)


def _house_shown(rows: pl.DataFrame, table: str, rules: SolarRules, known: Known) -> pl.DataFrame:
    """Rows in whole numbers with `start`, `end` and `open` → the table, with the ratios."""
    units = rows.with_columns(
        *(divided(pl.col(name), MJ_PER_KWH).alias(name) for name in HOUSE_ENERGIES),
        *(divided(pl.col(name), _US_PER_S).alias(name) for name in HOUSE_DURATIONS),
    )
    given = pl.col("balanced_input_kwh")
    shown = units.with_columns(
        coverage=(pl.col("balanced_s") / elapsed_s(known)).clip(0, 1),
        closure=pl.when(given >= _LEAST_INPUT_KWH).then(pl.col("closure_error_kwh") / given),
        electrical_coverage=(pl.col("electrical_s") / elapsed_s(known)).clip(0, 1),
        provisional=_is_provisional(rules, known),
    )
    return _with_content(conform(shown, table))
