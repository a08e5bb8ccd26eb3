"""Quarters of an hour × prices → costs per day, week, month, heating season, year and all time."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from datetime import date, timedelta
from functools import cached_property

import polars as pl

from hp_pipeline.assets.prices import tariffs_of
from hp_pipeline.assets.stages.operation import FramesStage
from hp_pipeline.assets.stages.periods import AllTimeStage, DailyStage, PeriodStage
from hp_pipeline.assets.stages.stage import Listing, Outcome, day_of
from hp_pipeline.assets.workspace import Plant
from hp_pipeline.transforms import calendar, costs
from hp_pipeline.transforms.schema import conform


def read_days(plant: Plant, listing: Listing) -> dict[str, tuple[date, date]]:
    """`costs.ReadDays` of the heat pumps with which a heat pump shares standing charges, itself among them.

    Two files of each are looked at. Where there is nothing to share, the others do not matter.
    """
    workspace = plant.workspace
    shares = any(tariff.standing_charge_per_day for tariff in workspace.settings.tariffs)
    found = {}
    for heat_pump in workspace.settings.heat_pumps:
        if shares or heat_pump.id == plant.id:
            known = FramesStage(workspace.plant(heat_pump.id), listing).known
            if known.since is not None and known.until is not None:
                ends = known.since, known.until - timedelta(microseconds=1)
                first, last = (calendar.local_date(moment, plant.time_zone) for moment in ends)
                found[heat_pump.id] = first, last
    return found


def _with_silences(stored: Sequence[str], first: date | None, last: date | None) -> tuple[date | None, date | None]:
    """A range of days with the silences that it ends or begins, whose days are paid for like others: from the newest
    partition stored before it to the oldest behind it."""
    if first is None or last is None:
        return None, None
    before, behind = (bisect_left(stored, day.isoformat()) for day in (first, last))
    return (
        min(first, day_of(stored[before - 1])) if before else _EARLIEST,
        max(last, day_of(stored[behind])) if behind < len(stored) else _LATEST,
    )


_EARLIEST, _LATEST = date(1900, 1, 1), date(2999, 12, 31)


class CostsDailyStage(DailyStage):
    """Table `quarter_hourly` → `costs_daily`: local days, each from the UTC days around it; none without tariffs.

    A day with a standing charge to pay has a row whether or not it was read, up to the newest reading of the house.
    """

    tables = ("costs_daily",)
    stretch_factor = 4
    version = 4
    within = "quarter_hourly"
    whole = 96

    @cached_property
    def _tariffs(self) -> tuple[costs.Tariff, ...]:
        return tariffs_of(self.plant.workspace.settings)

    @cached_property
    def _read(self) -> costs.ReadDays:
        return read_days(self.plant, self._listing)

    @cached_property
    def _charges(self) -> list[costs.Charge]:
        return costs.standing_charges(self._tariffs, self._read, self.plant.id)

    @cached_property
    def _newest(self) -> date:
        """The local day of the newest reading of the house."""
        return max((last for _, last in self._read.values()), default=date.min)

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Local days that have a quarter of figures, and those to be paid for."""
        found = super().candidates(first, last)
        if self._charges:
            low, high = _with_silences(self.stored, first, last)
            low, high = max(low or _EARLIEST, self._charges[0].first), min(high or _LATEST, self._newest)
            days = (low + timedelta(days=count) for count in range((high - low).days + 1))
            found |= {day.isoformat() for day in days if self._is_paid(day)}
        return found

    def _is_paid(self, day: date) -> bool:
        return day <= self._newest and bool(costs.charge_of_day(self._charges, day))

    def is_wanted(self, key: str) -> bool:
        return bool(self._tariffs) and (self._is_paid(day_of(key)) or super().is_wanted(key))

    def shape(self, key: str) -> str:
        held = max((t for t in self._tariffs if t.valid_from <= day_of(key)), key=lambda t: t.valid_from, default=None)
        judged = super().shape(key)
        if held is None:
            return judged
        told = repr((held.by_quarter, costs.charge_of_day(self._charges, day_of(key)), held.co2_g_per_kwh))
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
        made = costs.costs_daily(
            quarters,
            plant.id,
            self._tariffs,
            self._charges,
            days_made,
            plant.time_zone,
            plant.rules,
            self.known,
        )
        return {"costs_daily": _by_first_day(made, plant.time_zone)}


def _by_first_day(rows: pl.DataFrame, time_zone: str) -> dict[str, pl.DataFrame]:
    firsts = [calendar.local_date(start, time_zone).isoformat() for start in rows["start"]]
    return {key: rows[index : index + 1] for index, key in enumerate(firsts)}


class CostsPeriodStage(PeriodStage):
    """Costs of shorter periods → those of a longer one."""

    version = 4
    family = "costs_"

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Periods that have a shorter period in them."""
        return super().candidates(*_with_silences(self.stored, first, last))

    def merged(self, rows: pl.DataFrame, keys: Sequence[str]) -> dict[str, pl.DataFrame]:
        plant = self.plant
        firsts = [day_of(key) for key in keys]
        made = costs.costs_by_calendar(rows, self.name, firsts, plant.time_zone, plant.rules, self.known)
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
    version = 4
    family = "costs_"

    def merged(self, years: pl.DataFrame) -> pl.DataFrame:
        plant = self.plant
        return costs.costs_all_time(years, *self.ends(), plant.time_zone, plant.rules, self.known)
