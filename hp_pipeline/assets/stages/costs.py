"""Quarters of an hour × prices → costs per day, week, month, heating season, year and all time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, timedelta
from functools import cached_property

import polars as pl

from hp_pipeline.assets.prices import tariffs_of
from hp_pipeline.assets.stages.periods import AllTimeStage, DailyStage, PeriodStage
from hp_pipeline.assets.stages.stage import Outcome, Stage, day_of
from hp_pipeline.transforms import calendar, costs
from hp_pipeline.transforms.schema import conform


class CostsDailyStage(DailyStage):
    """Table `quarter_hourly` → `costs_daily`: local days, each from the UTC days around it; none without tariffs."""

    tables = ("costs_daily",)
    stretch_factor = 4
    version = 4
    within = "quarter_hourly"
    whole = 96

    @cached_property
    def _tariffs(self) -> tuple[costs.Tariff, ...]:
        return tariffs_of(self.plant.workspace.settings)

    def is_wanted(self, key: str) -> bool:
        return bool(self._tariffs) and super().is_wanted(key)

    def shape(self, key: str) -> str:
        held = max((t for t in self._tariffs if t.valid_from <= day_of(key)), key=lambda t: t.valid_from, default=None)
        judged = super().shape(key)
        if held is None:
            return judged
        told = repr((held.by_quarter, held.standing_charge_per_day, held.co2_g_per_kwh))
        return judged + told + self._prices_of(held, key)

    def _prices_of(self, tariff: costs.Tariff, key: str) -> str:
        """What the prices of the day are, in short."""
        if tariff.dated is None:
            return ""
        zone = self.plant.time_zone
        start, end = (calendar.day_start(day_of(key) + timedelta(days=days), zone) for days in (0, 1))
        starts = tariff.dated["start"]
        low = max(int(starts.search_sorted(start, side="right")) - 1, 0)
        rows = tariff.dated[low : int(starts.search_sorted(end, side="left"))].filter(pl.col("end") > start)
        return hashlib.sha256(rows.write_csv().encode()).hexdigest()

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        days = sorted({part for key in keys for _, part in self.inputs(key)})
        quarters = conform(self.lake.read(self.asset("quarter_hourly"), days), "quarter_hourly")
        plant = self.plant
        days_made = [day_of(key) for key in keys]
        made = costs.costs_daily(quarters, self._tariffs, days_made, plant.time_zone, plant.rules, self.known)
        return {"costs_daily": _by_first_day(made, plant.time_zone)}


def _by_first_day(rows: pl.DataFrame, time_zone: str) -> dict[str, pl.DataFrame]:
    firsts = [calendar.local_date(start, time_zone).isoformat() for start in rows["start"]]
    return {key: rows[index : index + 1] for index, key in enumerate(firsts)}


def _charges(stage: Stage, tariffs: Sequence[costs.Tariff], first: date, until: date) -> str:
    """The standing charges of local days, as far as they decide a content."""
    within = costs.charged_days(first, until, stage.plant.time_zone, stage.known)
    return repr(costs.charges(tariffs, *within))


class CostsPeriodStage(PeriodStage):
    """Costs of shorter periods → those of a longer one."""

    version = 4
    family = "costs_"

    @cached_property
    def _tariffs(self) -> tuple[costs.Tariff, ...]:
        return tariffs_of(self.plant.workspace.settings, charges_alone=True)

    def shape(self, key: str) -> str:
        until = calendar.next_period(self.name, day_of(key))
        return super().shape(key) + _charges(self, self._tariffs, day_of(key), until)

    def merged(self, rows: pl.DataFrame, keys: Sequence[str]) -> dict[str, pl.DataFrame]:
        plant = self.plant
        firsts = [day_of(key) for key in keys]
        made = costs.costs_by_calendar(rows, self.name, firsts, self._tariffs, plant.time_zone, plant.rules, self.known)
        return _by_first_day(made, plant.time_zone)


class CostsWeeklyStage(CostsPeriodStage):
    """Table `costs_daily` → `costs_weekly`."""

    tables = ("costs_weekly",)
    name = "weekly"
    below = "daily"


class CostsMonthlyStage(CostsPeriodStage):
    """Table `costs_daily` → `costs_monthly`."""

    tables = ("costs_monthly",)
    name = "monthly"
    below = "daily"


class CostsSeasonalStage(CostsPeriodStage):
    """Table `costs_monthly` → `costs_seasonal`."""

    tables = ("costs_seasonal",)
    name = "seasonal"
    below = "monthly"


class CostsYearlyStage(CostsPeriodStage):
    """Table `costs_monthly` → `costs_yearly`."""

    tables = ("costs_yearly",)
    name = "yearly"
    below = "monthly"


class CostsAllTimeStage(AllTimeStage):
    """Table `costs_yearly` → `costs_all_time`: one row, one file."""

    tables = ("costs_all_time",)
    family = "costs_"

    @cached_property
    def _tariffs(self) -> tuple[costs.Tariff, ...]:
        return tariffs_of(self.plant.workspace.settings, charges_alone=True)

    def shape(self, key: str) -> str:
        first, last = self.ends()
        return super().shape(key) + _charges(self, self._tariffs, first, last + timedelta(days=1))

    def merged(self, years: pl.DataFrame) -> pl.DataFrame:
        plant = self.plant
        return costs.costs_all_time(years, *self.ends(), self._tariffs, plant.time_zone, plant.rules, self.known)
