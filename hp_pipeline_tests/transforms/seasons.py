"""A heat pump's days over years, by how much heat its house takes on each."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from hp_pipeline.transforms.calendar import day_start, first_day, local_iso
from hp_pipeline.transforms.floors import Known
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
