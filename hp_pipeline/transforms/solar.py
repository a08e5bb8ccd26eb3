"""Frames of a tank → figures per hour of the house's clock, days, months, years; and the house's balance with them.

Between tables, sums are whole numbers (millijoules, microseconds), so a month is the merge of its days to the last bit,
whatever the order, the batches and the restarts in which they were made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
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
from hp_pipeline.transforms.sums import known_sum
from hp_pipeline.transforms.tank_balance import COUNTS, DURATIONS, ENERGIES, MEANS, balance, installed
from hp_pipeline.transforms.tank_heat import ChargingHeatPump, with_heat_pumps
from hp_pipeline.vocabulary.rules import SolarRules
from hp_pipeline.vocabulary.tables import DEVICE_COUNTERS, HOUSE_SUM_COLUMNS, SOLAR_LEVELS

_MJ_PER_KWH = 3_600_000_000
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
    return _with_content(conform(_shown(placed, rules, known), "solar_hourly"))


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
    return _with_content(conform(_shown(_placed(merged, name, time_zone), rules, known), table))


def _with_content(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with `content`: 16 hexadecimal digits of the SHA-256 of all else but `provisional`, and but columns that say
    nothing that others do not: what came to be told later restates no row in which there is nothing of it."""
    told = [
        {name: value for name, value in row.items() if name not in _says_nothing_more(row)}
        for row in rows.drop("content", "provisional").iter_rows(named=True)
    ]
    texts = [json.dumps(row, sort_keys=True, default=datetime.isoformat) for row in told]
    hashes = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
    return rows.with_columns(pl.Series("content", hashes, pl.String))


_OF_HEAT_PUMPS = ("heat_pump_kwh", "heat_pump_s")


def _says_nothing_more(row: Mapping[str, Any]) -> set[str]:
    """The columns of a row that follow from its others: of heat pumps of which nothing is known, and of an immersion
    heater that is known just while the layers are."""
    names = set(_OF_HEAT_PUMPS) if row["heat_pump_kwh"] is None else set()
    electricity, known_s = row["immersion_electrical_kwh"], row["immersion_known_s"]
    if electricity is None or (electricity == row["immersion_kwh"] and known_s == row["covered_s"]):
        names |= {"immersion_electrical_kwh", "immersion_known_s"}
    return names


def _exact(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows as they are stored → whole numbers, so that they can be added."""
    weighted = [pl.col(name) * pl.col(weight) * _US_PER_S for name, weight in MEANS.items()]
    energies = [pl.col(name) * _MJ_PER_KWH for name in ENERGIES]
    durations = [pl.col(name) * _US_PER_S for name in DURATIONS]
    return rows.with_columns(amount.round().cast(pl.Int64) for amount in [*weighted, *energies, *durations])


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
            *(divided(pl.col(name), _MJ_PER_KWH).alias(name) for name in [*ENERGIES, "collected_kwh"]),
            *(divided(pl.col(name), _US_PER_S).alias(name) for name in DURATIONS),
        )
    )
    spread = pl.col("tank_top_temperature_mean") - pl.col("tank_bottom_temperature_mean")
    idle_kelvin_h = pl.col("idle_s") / 3600 * pl.col("idle_excess_mean")
    bears = (pl.col("idle_s") >= _LEAST_IDLE_S) & (pl.col("idle_excess_mean") >= _LEAST_EXCESS_K)
    until = pl.lit(known.until, UTC)
    return units.with_columns(
        coverage=(pl.col("heat_pump_s") / elapsed_s(known)).clip(0, 1),
        stored_energy_rate_kw=pl.when(pl.col("covered_s") > 0).then(
            pl.col("stored_change_kwh") / (pl.col("covered_s") / 3600)
        ),
        stratification_k=spread,
        stratification_k_per_m=spread / pl.lit(rules.height_m, pl.Float64),
        standby_loss_w_per_k=pl.when(bears).then(pl.col("idle_loss_kwh") * 1000 / idle_kelvin_h),
        solar_kwh_per_m2=pl.col("solar_kwh") / pl.lit(rules.area_m2, pl.Float64),
        **{f"{what}_difference_kwh": pl.col(f"device_{what}_kwh") - pl.col(f"{what}_kwh") for what in DEVICE_COUNTERS},
        provisional=(pl.col("end") + rules.max_gap > until).fill_null(False) | pl.col("open"),
    )


HOUSE_ENERGIES = [column.name for column in HOUSE_SUM_COLUMNS if column.unit == "kWh"]
HOUSE_DURATIONS = [column.name for column in HOUSE_SUM_COLUMNS if column.unit == "s"]

_LEAST_INPUT_KWH = 0.05


def house_hourly(
    solar: pl.DataFrame, heat_pumps: Sequence[pl.DataFrame], rules: SolarRules, known: Known
) -> pl.DataFrame:
    """Table `house_hourly`: the balance of a tank with the heat pumps that also heat it.

    Args:
        solar: table `solar_hourly`.
        heat_pumps: table `hourly` of each heat pump whose domestic hot water is the tank's.
        rules: the heaters that there are; the electricity of one that is not known is not 0.
        known: the time in which there are frames of the tank at all.
    """
    if solar.is_empty():
        return conform(None, "house_hourly")
    names = {
        "thermal_energy_dhw_kwh": "heat_pump_kwh",
        "thermal_energy_heating_kwh": "heat_pump_heating_kwh",
        "electrical_energy_kwh": "heat_pump_electrical_kwh",
    }
    durations = {"thermal_s": "heat_pump_s", "electrical_s": "electrical_s"}
    parts = [
        rows.select(
            "start",
            *((pl.col(name) * _MJ_PER_KWH).round().cast(pl.Int64).alias(short) for name, short in names.items()),
            *((pl.col(name) * _US_PER_S).round().cast(pl.Int64).alias(short) for name, short in durations.items()),
        )
        for rows in heat_pumps
    ]
    zero = pl.lit(0, pl.Int64)
    # Their own hours say what they gave, also while the tank was not known; the tank's say what of it was seen there.
    rows = solar.drop(_OF_HEAT_PUMPS).with_columns(
        *(
            (pl.col(name) * _MJ_PER_KWH).round().cast(pl.Int64).alias(name)
            for name in set(HOUSE_ENERGIES) & set(ENERGIES) - set(_OF_HEAT_PUMPS)
        ),
        *((pl.col(name) * _US_PER_S).round().cast(pl.Int64) for name in ("covered_s", "immersion_known_s")),
        elapsed=(elapsed_s(known) * _US_PER_S).round().cast(pl.Int64),
    )
    if parts:
        # A sum over heat pumps of which one is unknown is unknown.
        every = [
            pl.when(pl.col(short).count() == len(parts)).then(pl.col(short).sum()).alias(short)
            for short in names.values()
        ]
        least = [
            pl.when(pl.len() == len(parts)).then(pl.col(short).min()).otherwise(0).alias(short)
            for short in durations.values()
        ]
        together = pl.concat(parts).group_by("start").agg(*every, *least)
        rows = rows.join(together, on="start", how="left", maintain_order="left").with_columns(
            pl.col(*durations.values()).fill_null(0)
        )
    else:
        rows = rows.with_columns(
            **dict.fromkeys(names.values(), zero), heat_pump_s=pl.col("covered_s"), electrical_s=pl.col("elapsed")
        )
    is_named = "immersion" in installed(rules)
    immersion = pl.col("immersion_electrical_kwh")
    given = pl.sum_horizontal(pl.col("solar_kwh", "immersion_kwh", "pellet_kwh").fill_null(0))
    spent = pl.col("stored_change_kwh") + pl.col("draw_kwh") + pl.col("standby_loss_kwh")
    closed = rows.with_columns(
        closure_error_kwh=pl.col("heat_pump_kwh") + given - spent,
        electrical_kwh=pl.col("heat_pump_electrical_kwh") + (immersion if is_named else immersion.fill_null(0)),
    ).with_columns(
        electrical_s=pl.when(pl.col("electrical_kwh").is_not_null())
        .then(pl.min_horizontal("elapsed", "electrical_s", *(["immersion_known_s"] if is_named else [])))
        .otherwise(0)
    )
    return conform(_house_shown(closed, known), "house_hourly")


def house_by_calendar(
    rows: pl.DataFrame, name: PeriodName, periods: Sequence[date], time_zone: str, known: Known
) -> pl.DataFrame:
    """Table `house_daily`, `house_monthly` or `house_yearly`; arguments as of `solar_by_calendar`."""
    table = f"house_{name}"
    if rows.is_empty():
        return conform(None, table)
    exact = rows.with_columns(
        *((pl.col(column) * _MJ_PER_KWH).round().cast(pl.Int64).alias(column) for column in HOUSE_ENERGIES),
        *((pl.col(column) * _US_PER_S).round().cast(pl.Int64).alias(column) for column in HOUSE_DURATIONS),
    )
    merged = (
        _in_periods(exact, name, periods, time_zone)
        .group_by("solar_system", "first", maintain_order=True)
        .agg(known_sum(pl.col(column)) for column in [*HOUSE_ENERGIES, *HOUSE_DURATIONS])
    )
    return conform(_house_shown(_placed(merged, name, time_zone), known), table)


def _house_shown(rows: pl.DataFrame, known: Known) -> pl.DataFrame:
    units = rows.with_columns(
        *(divided(pl.col(name), _MJ_PER_KWH).alias(name) for name in HOUSE_ENERGIES),
        *(divided(pl.col(name), _US_PER_S).alias(name) for name in HOUSE_DURATIONS),
    )
    given = pl.sum_horizontal("heat_pump_kwh", "solar_kwh", "immersion_kwh", "pellet_kwh")
    return units.with_columns(
        coverage=(pl.min_horizontal("covered_s", "heat_pump_s") / elapsed_s(known)).clip(0, 1),
        closure=pl.when(given >= _LEAST_INPUT_KWH).then(pl.col("closure_error_kwh") / given),
        electrical_coverage=(pl.col("electrical_s") / elapsed_s(known)).clip(0, 1),
    )
