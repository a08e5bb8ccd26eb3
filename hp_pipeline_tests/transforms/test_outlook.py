"""Comparisons with the year before, and estimates of the running year and season."""

from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from hp_pipeline.transforms import outlook
from hp_pipeline.transforms.calendar import day_start, first_day, local_iso
from hp_pipeline.transforms.figures import Known
from hp_pipeline.transforms.periods import by_calendar
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.rules import Rules

ZONE = "Europe/Berlin"
NOBODY_KNOWS = Known()


def daily(first: date, until: date, heating, seed: int = 0, cop: float = 4.0) -> pl.DataFrame:  # type: ignore[no-untyped-def]
    """Days with heat for heating by `heating(day)`, 5 kWh of hot water at COP 2.5, 0.5 kWh of standby."""
    days = [first + timedelta(days=i) for i in range((until - first).days)]
    starts = [day_start(day, ZONE) for day in days]
    ends = [day_start(day + timedelta(days=1), ZONE) for day in days]
    heat = [float(heating(day)) for day in days]
    seconds = [(end - start).total_seconds() for start, end in zip(starts, ends, strict=True)]
    rows = pl.DataFrame(
        {
            "heat_pump": "a",
            "start": starts,
            "end": ends,
            "period": [day.isoformat() for day in days],
            "local_start": local_iso(starts, ZONE),
            "thermal_energy_heating_kwh": heat,
            "electrical_energy_heating_kwh": [value / cop for value in heat],
            "thermal_energy_dhw_kwh": 5.0,
            "electrical_energy_dhw_kwh": 2.0,
            "electrical_energy_standby_kwh": 0.5,
            "electrical_energy_cooling_kwh": 0.0,
            "thermal_energy_kwh": [value + 5.0 for value in heat],
            "electrical_energy_kwh": [value / cop + 2.5 for value in heat],
            "observed_s": seconds,
            "electrical_s": seconds,
            "thermal_s": seconds,
            "heating_s": seconds,
        }
    )
    return conform(rows, "daily")


def monthly(days: pl.DataFrame) -> pl.DataFrame:
    firsts = sorted({first_day("monthly", date.fromisoformat(period)) for period in days["period"]})
    return by_calendar(days, "monthly", firsts, ZONE, Rules(), NOBODY_KNOWS)


def of_month(days: pl.DataFrame, month: date) -> pl.DataFrame:
    return days.filter(pl.col("period").str.starts_with(f"{month:%Y-%m}"))


def compared(days: pl.DataFrame, month: date) -> dict[str, dict[str, object]]:
    near = pl.concat([of_month(days, outlook.year_before(month)), of_month(days, month)])
    rows = outlook.comparisons(monthly(days), near, month, ZONE, Rules(), NOBODY_KNOWS)
    return {row["kind"]: row for row in rows.iter_rows(named=True)}


def test_the_same_days_are_compared_and_ratios_are_made_of_sums() -> None:
    """Till 10 February 2026: 10 days of the month, 41 of the year, 225 of the season, and as many the year before."""
    before = daily(date(2024, 7, 1), date(2025, 7, 1), lambda day: 20.0)
    now = daily(date(2025, 7, 1), date(2026, 2, 11), lambda day: 30.0, cop=5.0)
    found = compared(pl.concat([before, now]), date(2026, 2, 1))
    for kind, days in (("month", 10), ("year", 41), ("season", 225)):
        row = found[kind]
        assert row["thermal_energy_kwh"] == pytest.approx(35 * days)
        assert row["thermal_energy_kwh_before"] == pytest.approx(25 * days)
        assert row["electrical_energy_change"] == pytest.approx(8.5 / 7.5 - 1)
        assert row["cop"] == pytest.approx(35 / 8.5)
        assert row["cop_change"] == pytest.approx(35 / 8.5 - 25 / 7.5)
        assert row["comparison_reason"] is None
    assert (found["season"]["period"], found["year"]["period"], found["month"]["period"]) == (
        "2025/26",
        "2026",
        "2026-02",
    )
    assert found["month"]["end"] == datetime(2026, 2, 10, 23, tzinfo=UTC)
    assert found["month"]["end_before"] == datetime(2025, 2, 10, 23, tzinfo=UTC)


def test_nothing_is_compared_with_days_that_are_not_there() -> None:
    found = compared(daily(date(2025, 12, 20), date(2026, 2, 11), lambda day: 30.0), date(2026, 2, 1))
    assert found["month"]["comparison_reason"] == "no figures of the year before"
    assert found["month"]["cop_change"] is None
    partly = pl.concat(
        [
            daily(date(2025, 1, 25), date(2025, 3, 1), lambda day: 20.0),
            daily(date(2026, 1, 1), date(2026, 2, 11), lambda day: 30.0),
        ]
    )
    found = compared(partly, date(2026, 2, 1))
    assert found["month"]["comparison_reason"] is None
    assert found["year"]["comparison_reason"] == "observed for 984 h, the year before for 408 h"
    assert found["year"]["electrical_energy_change"] is None
    assert found["year"]["electrical_energy_kwh_before"] == pytest.approx(17 * 7.5)


def test_the_leap_day_is_compared_with_the_28th() -> None:
    days = pl.concat([daily(date(y, 2, 1), date(y, 3, 1), lambda day: 20.0) for y in (2023, 2024)])
    found = compared(days, date(2024, 2, 1))
    assert found["month"]["end_before"] == datetime(2023, 2, 28, 23, tzinfo=UTC)
    assert found["month"]["thermal_energy_kwh_before"] == pytest.approx(28 * 25)


def weather(seed: int):  # type: ignore[no-untyped-def]
    """Heating by day as a house of 0.2 kW/K has it, in a year of its own: seasons, cold spells, mild winters."""
    source = random.Random(seed)
    mild = source.gauss(0, 0.8)
    monthly_anomaly = [source.gauss(0, 1.7) for _ in range(60)]
    spell = 0.0
    temperatures: dict[date, float] = {}
    day = date(2024, 1, 1)
    while day < date(2027, 7, 1):
        spell = 0.8 * spell + source.gauss(0, 1.5)
        season = 9.5 - 9.3 * math.cos(2 * math.pi * (day.timetuple().tm_yday - 20) / 365.25)
        temperatures[day] = season + mild + monthly_anomaly[(day.year - 2024) * 12 + day.month - 1] + spell
        day += timedelta(days=1)
    return lambda day: max(0.0, 15.0 - temperatures[day]) * 0.2 * 24 if temperatures[day] < 15 else 0.0


def estimated(days: pl.DataFrame) -> dict[str, dict[str, object]]:
    newest = date.fromisoformat(days["period"].max())  # type: ignore[arg-type]
    rows = outlook.outlook(monthly(days), of_month(days, newest), ZONE, Rules(), NOBODY_KNOWS)
    return {row["kind"]: row for row in rows.iter_rows(named=True)}


def test_estimates_hold_the_truth_in_about_eight_of_ten_cases_and_beat_the_mean_day() -> None:
    """Many winters of random weather, looked at from December to March: the bounds hold, the mean day is worse."""
    inside, cases = 0, 0
    errors, plain_errors = [], []
    for seed in range(25):
        heating = weather(seed)
        season = daily(date(2025, 7, 1), date(2026, 7, 1), heating)
        truth = season["thermal_energy_kwh"].sum()
        for until in (date(2025, 12, 20), date(2026, 1, 10), date(2026, 2, 10), date(2026, 3, 20)):
            row = estimated(season.filter(pl.col("period") < until.isoformat()))["season"]
            assert row["estimate_reason"] is None
            low, high = row["thermal_energy_estimate_low_kwh"], row["thermal_energy_estimate_high_kwh"]
            inside += low <= truth <= high  # type: ignore[operator]
            errors.append(abs(row["thermal_energy_estimate_kwh"] / truth - 1))  # type: ignore[operator]
            plain_errors.append(abs(row["thermal_energy_plain_kwh"] / truth - 1))  # type: ignore[operator]
            cases += 1
    assert 0.70 <= inside / cases <= 0.95
    assert sum(errors) < 0.5 * sum(plain_errors)


def test_a_house_with_a_year_of_its_own_is_measured_by_it() -> None:
    """A passive house heats from December to February only: its own months tell that, degree days do not."""
    heating = lambda day: 10.0 if day.month in (12, 1, 2) else 0.0  # noqa: E731
    days = daily(date(2024, 7, 1), date(2026, 1, 16), heating)
    row = estimated(days)["season"]
    assert row["method"] == "own months of the years before"
    assert row["thermal_energy_estimate_kwh"] == pytest.approx(900 + 365 * 5, rel=0.01)
    assert row["cop_estimate"] == pytest.approx((900 + 1825) / (225 + 912.5), rel=0.01)
    assert row["days_known"] == 199
    assert row["days_left"] == 166


def test_what_is_too_little_is_said() -> None:
    few = estimated(daily(date(2025, 12, 1), date(2025, 12, 21), lambda day: 30.0))
    assert few["season"]["estimate_reason"] == "figures of only 20 days"
    assert few["season"]["thermal_energy_estimate_kwh"] is None
    assert few["season"]["thermal_energy_plain_kwh"] == pytest.approx(365 * 35, rel=0.01)
    autumn = estimated(daily(date(2025, 7, 1), date(2025, 11, 1), lambda day: 10.0))
    assert autumn["season"]["estimate_reason"] == "the days known stand for only 14% of a year's heating"
