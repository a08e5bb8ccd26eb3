"""A month, season or year beside the same days of the year before, and what the running ones will come to.

Made from rows of `monthly` and, for the month in which the newest day lies, of `daily`: how much history there is
does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl

from hp_pipeline.transforms.calendar import (
    PeriodName,
    day_start,
    first_day,
    local_date,
    next_period,
    period_label,
)
from hp_pipeline.transforms.figures import Known, exact, merge, shown
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline.vocabulary.tables.outlook import COMPARED, KINDS

DEGREE_DAY_SHARES = (0.170, 0.150, 0.130, 0.080, 0.040, 0.040 / 3, 0.040 / 3, 0.040 / 3, 0.030, 0.080, 0.120, 0.160)
"""Share of a year's heating that each month has, January first: the degree-day numbers of VDI 2067 (in thousandths 170,
150, 130, 80, 40, 40 for June to August, 30, 80, 120, 160), by which heating costs are split in Germany."""

LARGEST_MISMATCH = 0.05
"""When of the two periods such a share more or less was observed, their energies are not compared."""

_PERIODS: Mapping[str, PeriodName] = {"month": "monthly", "season": "seasonal", "year": "yearly"}


def year_before(day: date) -> date:
    """The same day of the year before; 28 February for the 29th."""
    if (day.month, day.day) == (2, 29):
        return date(day.year - 1, 2, 28)
    return day.replace(year=day.year - 1)


def comparisons(
    months: pl.DataFrame, days: pl.DataFrame, month: date, time_zone: str, rules: Rules, known: Known
) -> pl.DataFrame:
    """Table `comparisons` of one month: it, and season and year up to its newest day, beside the year before.

    Args:
        months: rows of `monthly` of one heat pump; of the two years up to this month (more do not matter).
        days: rows of `daily` of this month, and of the same month of the year before.
        month: first day of the month.
    """
    seen = [local_date(start, time_zone) for start in days["start"]]
    newest = max((day for day in seen if day >= month), default=None)
    if newest is None:
        return conform(None, "comparisons")
    until = newest + timedelta(days=1)
    found = []
    for kind in KINDS:
        first = first_day(_PERIODS[kind], month)
        now = _figures(months, days, first, month, until, time_zone, rules, known)
        then = _figures(
            months, days, year_before(first), year_before(month), year_before(until), time_zone, rules, known
        )
        row = {
            "heat_pump": days["heat_pump"][0],
            "start": day_start(first, time_zone),
            "end": day_start(until, time_zone),
            "kind": kind,
            "period": period_label(_PERIODS[kind], first),
            "start_before": day_start(year_before(first), time_zone),
            "end_before": day_start(year_before(until), time_zone),
            **now,
            **{f"{name}_before": value for name, value in then.items()},
        }
        found.append(row | _changes(row))
    return conform(pl.DataFrame(found, infer_schema_length=None), "comparisons")


def _figures(
    months: pl.DataFrame,
    days: pl.DataFrame,
    first: date,
    month: date,
    until: date,
    time_zone: str,
    rules: Rules,
    known: Known,
) -> dict[str, Any]:
    """The compared figures of the local days [first, until), of which those from `month` on are in `days`."""
    start, middle, end = (day_start(day, time_zone) for day in (first, month, until))
    rows = pl.concat(
        [
            months.filter(pl.col("start") >= start, pl.col("start") < middle),
            days.filter(pl.col("start") >= middle, pl.col("start") < end),
        ]
    )
    names = [*(column.name for column in COMPARED), "cop_reason"]
    if rows.is_empty():
        return dict.fromkeys(names)
    merged = merge(exact(rows), None).with_columns(start=pl.lit(start), end=pl.lit(end))
    return shown(merged, rules, known).select(names).row(0, named=True)


def _changes(row: Mapping[str, Any]) -> dict[str, Any]:
    seconds, seconds_before = row["observed_s"], row["observed_s_before"]
    reason = None
    if not seconds_before:
        reason = "no figures of the year before"
    elif abs(seconds - seconds_before) > LARGEST_MISMATCH * max(seconds, seconds_before):
        hours = (round(seconds / 3600), round(seconds_before / 3600))
        reason = f"observed for {hours[0]} h, the year before for {hours[1]} h"

    def share(name: str) -> float | None:
        now, then = row[name], row[f"{name}_before"]
        return None if reason or now is None or not then else now / then - 1

    cops = row["cop"], row["cop_before"]
    return {
        "electrical_energy_change": share("electrical_energy_kwh"),
        "thermal_energy_change": share("thermal_energy_kwh"),
        "cop_change": None if reason or None in cops else cops[0] - cops[1],
        "comparison_reason": reason,
    }


LEAST_DAYS = 30
"""With figures of fewer days nothing is estimated."""

LEAST_WEIGHT = 0.25
"""Nor while the days known stand for less of a year's heating than this, as until about December: a mild or a cold
autumn says little of a winter."""

MONTH_SPREAD = 0.03
"""How far a month's part of a year's heating is from its share (standard deviation, as a part of the year's heating).
Months of central Europe are 2 K warmer or colder than their mean, which is about the same heat in each of them, 2.5 %
of a year's; and a house's own shares are not those of an average house."""

REST_SPREAD = 0.2
"""How far the heat for hot water in the time that lacks is from what it was so far (standard deviation as a share)."""

_TAIL = 1.2816
"""Standard deviations within which 80 % of a normal distribution lie."""


@dataclass(frozen=True)
class _Month:
    """One month as far as it is known: electricity and heat by use, and which share of its days is known."""

    first: date
    days: float
    length: int
    heating: float
    heating_electrical: float
    rest: float
    rest_electrical: float


def outlook(months: pl.DataFrame, days: pl.DataFrame, time_zone: str, rules: Rules, known: Known) -> pl.DataFrame:
    """Table `outlook`: the heating season and the calendar year in which the newest day lies.

    Heating is spread over the months as in the heat pump's own full years where all months of one are known, else by
    degree days (`DEGREE_DAY_SHARES`); hot water, standby and the rest by days. What is known of the period, divided by
    the share of the year that it stands for, tells what lacks. Electricity follows at the COP so far, of heating and
    of the rest apart. The bounds hold the truth in 8 of 10 cases: months differ from their shares by
    `MONTH_SPREAD`, and what is known tells the level of the year the worse the less of its heating that is.

    Args:
        months: rows of `monthly` of one heat pump: of the running season and year, and of up to two years before.
        days: rows of `daily` of the newest month.
    """
    if days.is_empty():
        return conform(None, "outlook")
    newest = local_date(days["start"].max(), time_zone)  # type: ignore[arg-type]
    month = newest.replace(day=1)
    until = newest + timedelta(days=1)
    table = [
        _month(row, time_zone) for row in months.iter_rows(named=True) if local_date(row["start"], time_zone) < month
    ]
    running = days.filter(pl.col("start") >= day_start(month, time_zone))
    shares, method = _shares(table)
    found = []
    for kind in ("season", "year"):
        first = first_day(_PERIODS[kind], newest)
        end = next_period(_PERIODS[kind], first)
        so_far = _figures(months, running, first, month, until, time_zone, rules, known)
        within = [entry for entry in table if first <= entry.first] + [_running(running, month, time_zone)]
        found.append(
            {
                "heat_pump": days["heat_pump"][0],
                "start": day_start(first, time_zone),
                "end": day_start(end, time_zone),
                "kind": kind,
                "period": period_label(_PERIODS[kind], first),
                "known_until": day_start(until, time_zone),
                "days_left": (end - until).days,
                **{name: so_far[name] for name in ("electrical_energy_kwh", "thermal_energy_kwh", "cop", "cop_reason")},
                **_estimate(within, shares, first, end, so_far),
                "method": method,
            }
        )
    return conform(pl.DataFrame(found, infer_schema_length=None), "outlook")


def _parts(row: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Heat and electricity in mode heating, and the rest of both; cooling is in neither."""
    heating, heating_electrical = row["thermal_energy_heating_kwh"] or 0.0, row["electrical_energy_heating_kwh"] or 0.0
    electrical = (row["electrical_energy_kwh"] or 0.0) - (row["electrical_energy_cooling_kwh"] or 0.0)
    return heating, heating_electrical, (row["thermal_energy_kwh"] or 0.0) - heating, electrical - heating_electrical


def _month(row: Mapping[str, Any], time_zone: str) -> _Month:
    first = local_date(row["start"], time_zone)
    length = (next_period("monthly", first) - first).days
    return _Month(first, min((row["observed_s"] or 0.0) / 86_400, length), length, *_parts(row))


def _running(days: pl.DataFrame, month: date, time_zone: str) -> _Month:
    sums = days.select(
        pl.col("observed_s", *(name for name in days.columns if name.endswith("_kwh"))).fill_null(0).sum()
    ).row(0, named=True)
    return _month({**sums, "start": day_start(month, time_zone)}, time_zone)


def _shares(table: Sequence[_Month]) -> tuple[list[float], str]:
    """The share of each month in a year's heating, and where it is from."""
    whole = [entry for entry in table if entry.days >= 0.95 * entry.length]
    by_month = {number: [entry.heating for entry in whole if entry.first.month == number] for number in range(1, 13)}
    means = [sum(found) / len(found) if found else None for found in by_month.values()]
    if any(mean is None for mean in means):
        return list(DEGREE_DAY_SHARES), "degree days of an average year"
    total = sum(mean or 0.0 for mean in means)
    if total <= 0:
        return list(DEGREE_DAY_SHARES), "degree days of an average year"
    return [(mean or 0.0) / total for mean in means], "own months of the years before"


def _estimate(
    within: Sequence[_Month], shares: Sequence[float], first: date, end: date, so_far: Mapping[str, Any]
) -> dict[str, Any]:
    days_known = sum(entry.days for entry in within)
    days_lacking = (end - first).days - days_known
    weights = [shares[entry.first.month - 1] * entry.days / entry.length for entry in within]
    weight = sum(weights)
    found: dict[str, Any] = {"days_known": round(days_known)}
    for name in ("electrical_energy", "thermal_energy"):
        known = so_far[f"{name}_kwh"]
        if known is not None and days_known >= 1:
            found[f"{name}_plain_kwh"] = known + known / days_known * days_lacking
    if so_far["electrical_energy_kwh"] is None or so_far["thermal_energy_kwh"] is None:
        return found | {"estimate_reason": "no electricity or no heat known"}
    if days_known < LEAST_DAYS:
        return found | {"estimate_reason": f"figures of only {round(days_known)} days"}
    if weight < LEAST_WEIGHT:
        return found | {"estimate_reason": f"the days known stand for only {weight:.0%} of a year's heating"}
    heating, heating_electrical, rest, rest_electrical = (
        sum(getattr(entry, name) for entry in within)
        for name in ("heating", "heating_electrical", "rest", "rest_electrical")
    )
    lacking = {
        "thermal_energy": (heating / weight * (1 - weight), rest / days_known * days_lacking),
        "electrical_energy": (
            heating_electrical / weight * (1 - weight),
            rest_electrical / days_known * days_lacking,
        ),
    }
    spread = _spread(within, weights, shares, weight)
    for name, (of_heating, of_rest) in lacking.items():
        total = so_far[f"{name}_kwh"] + of_heating + of_rest
        reach = _TAIL * math.hypot(spread * of_heating, REST_SPREAD * of_rest)
        found[f"{name}_estimate_kwh"] = total
        found[f"{name}_estimate_low_kwh"] = max(total - reach, so_far[f"{name}_kwh"])
        found[f"{name}_estimate_high_kwh"] = total + reach
    if so_far["cop"] is not None and found["electrical_energy_estimate_kwh"] > 0:
        found["cop_estimate"] = found["thermal_energy_estimate_kwh"] / found["electrical_energy_estimate_kwh"]
    return found


def _spread(within: Sequence[_Month], weights: Sequence[float], shares: Sequence[float], weight: float) -> float:
    """Standard deviation of the heating that lacks, as a share of it.

    It has two parts: the weather of the months that lack, and the level of the year, which is told by months that had
    weather as well, and the worse the less of the year's heating they are.
    """
    known = sum(entry.days / entry.length for entry, part in zip(within, weights, strict=True) if part > 0.01)
    left = sum(share > 0.01 for share in shares) - known
    level = (1 - weight) / weight * MONTH_SPREAD * math.sqrt(known)
    return math.hypot(level, MONTH_SPREAD * math.sqrt(max(left, 0.0))) / max(1 - weight, 0.01)
