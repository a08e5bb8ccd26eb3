"""Hours → local days → weeks, months, years → all time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import cached_property
from typing import ClassVar

import polars as pl

from hp_pipeline.assets.stages.stage import (
    Outcome,
    Stage,
    between,
    day_of,
    midnight,
)
from hp_pipeline.lake import DamagedPartitionError
from hp_pipeline.transforms import calendar, periods
from hp_pipeline.transforms.calendar import PeriodName
from hp_pipeline.transforms.schema import conform

_DAYS_AT_ONCE = 372
"""Days whose periods are computed at once: a year."""


class DailyStage(Stage):
    """Table `hourly` → `daily`: local days, each from the UTC days around it."""

    tables = ("daily",)
    version = 4
    stretch_factor = 4
    within: ClassVar[str] = "hourly"
    """The table of shorter stretches that days are made from."""
    whole: ClassVar[int] = 24
    """With so many rows in a UTC day, each local day that it touches has some."""

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Local days that have an hour of figures."""
        zone = self.plant.time_zone
        days = set()
        for key in between(self.listed(self.asset(self.within)), first, last, self.reach + 2):
            start = midnight(day_of(key))
            days |= {
                calendar.local_date(start, zone),
                calendar.local_date(start + timedelta(hours=24, seconds=-1), zone),
            }
        return {day.isoformat() for day in days if self.is_wanted(day.isoformat())}

    def is_wanted(self, key: str) -> bool:
        zone = self.plant.time_zone
        start = calendar.day_start(day_of(key), zone)
        end = calendar.day_start(calendar.next_period("daily", day_of(key)), zone)
        for asset, part in self.inputs(key):
            receipt = self.receipt(asset, part)
            if receipt is None or not receipt.rows:
                continue
            if receipt.rows >= self.whole:
                return True
            try:
                hours = self.lake.read(asset, [part], columns=["start"])
            except DamagedPartitionError:
                return True  # making it will say so
            if hours is not None and not hours.filter(pl.col("start") >= start, pl.col("start") < end).is_empty():
                return True
        return False

    def _ends(self, first: date, last: date) -> set[str]:
        """The days of the house that a first or last UTC day touches."""
        return super()._ends(first, last) | {*self.stored[:3], *self.stored[-3:]}

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        zone = self.plant.time_zone
        start = calendar.day_start(day_of(key), zone)
        last = calendar.day_start(day_of(key) + timedelta(days=1), zone) - timedelta(seconds=1)
        days = (last.date() - start.date()).days
        return [
            (self.asset(self.within), (start.date() + timedelta(days=count)).isoformat()) for count in range(days + 1)
        ]

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.time_zone, self.known_in_period("daily", key)))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        days = sorted({part for key in keys for _, part in self.inputs(key)})
        hours = conform(self.lake.read(self.asset(self.within), days), "hourly")
        return {"daily": _by_period(self, "daily", hours, keys)}


def _by_period(stage: Stage, name: PeriodName, rows: pl.DataFrame, keys: Sequence[str]) -> dict[str, pl.DataFrame]:
    """Rows of the next shorter period merged into those of the keys; a period without any is left out."""
    plant = stage.plant
    merged = periods.by_calendar(rows, name, [day_of(key) for key in keys], plant.time_zone, plant.rules, stage.known)
    firsts = [calendar.local_date(start, plant.time_zone).isoformat() for start in merged["start"]]
    return {key: merged[index : index + 1] for index, key in enumerate(firsts)}


class PeriodStage(Stage):
    """A table of shorter periods → `weekly`, `monthly`, `seasonal` or `yearly`, under the first local day of each."""

    name: ClassVar[PeriodName]
    below: ClassVar[PeriodName]
    family: ClassVar[str] = ""
    """What the names of the tables begin with; the figures' begin with nothing."""

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Periods that have a shorter period in them."""
        days = between(self._below, *self._touched(first, last), 0)
        return {self.first_day(self.name, day_of(key)).isoformat() for key in days}

    @cached_property
    def _below(self) -> list[str]:
        return self.listed(self.asset(self.family + self.below))

    def _touched(self, first: date | None, last: date | None) -> tuple[date | None, date | None]:
        if first is None or last is None:
            return None, None
        margin = timedelta(days=self.reach + 3)
        return self.first_day(self.below, first - margin), last + margin

    def is_wanted(self, key: str) -> bool:
        until = calendar.next_period(self.name, day_of(key)).isoformat()
        index = bisect_left(self._below, key)
        is_first_day = self.first_day(self.name, day_of(key)) == day_of(key)
        return is_first_day and index < len(self._below) and self._below[index] < until

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        until = calendar.next_period(self.name, day_of(key)).isoformat()
        asset = self.asset(self.family + self.below)
        part = day_of(key)
        while part.isoformat() < until:
            yield asset, part.isoformat()
            part = calendar.next_period(self.below, part)

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.time_zone, self.known_in_period(self.name, key)))

    def stretches(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """As many as lie within the days that are computed at once, at least one."""
        days_of_one = (calendar.next_period(self.name, date(2001, 1, 1)) - date(2001, 1, 1)).days
        count = max(1, _DAYS_AT_ONCE // days_of_one)
        return (list(keys[first : first + count]) for first in range(0, len(keys), count))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        parts = [part for key in keys for _, part in self.inputs(key)]
        below = self.family + self.below
        rows = conform(self.lake.read(self.asset(below), parts), below)
        return {self.family + self.name: self.merged(rows, keys)}

    def merged(self, rows: pl.DataFrame, keys: Sequence[str]) -> dict[str, pl.DataFrame]:
        """Rows of the shorter periods merged into those of the keys."""
        return _by_period(self, self.name, rows, keys)


class WeeklyStage(PeriodStage):
    """Table `daily` → `weekly`."""

    tables = ("weekly",)
    version = 4
    name = "weekly"
    below = "daily"


class MonthlyStage(PeriodStage):
    """Table `daily` → `monthly`."""

    tables = ("monthly",)
    version = 4
    name = "monthly"
    below = "daily"


class SeasonalStage(PeriodStage):
    """Table `monthly` → `seasonal`."""

    tables = ("seasonal",)
    version = 4
    name = "seasonal"
    below = "monthly"


class YearlyStage(PeriodStage):
    """Table `monthly` → `yearly`."""

    tables = ("yearly",)
    version = 4
    name = "yearly"
    below = "monthly"


class AllTimeStage(Stage):
    """Table `yearly` → `all_time`: one row, one file."""

    tables = ("all_time",)
    version = 4
    family: ClassVar[str] = ""
    """What the names of the tables begin with."""

    @property
    def _years(self) -> str:
        return f"{self.family}yearly"

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """The one partition, once there is a year."""
        return {""} if self.is_wanted("") else set()

    def is_wanted(self, key: str) -> bool:
        return bool(self.listed(self.asset(self._years)))

    def _ends(self, first: date, last: date) -> set[str]:
        return set()

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        asset = self.asset(self._years)
        return [(asset, part) for part in self.listed(asset)]

    def ends(self) -> tuple[date, date]:
        """The first and the last local day that there are."""
        days = self.listed(self.asset(f"{self.family}daily"))
        return day_of(days[0]), day_of(days[-1])

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.time_zone, self.ends(), self.known))

    def stretches(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """The one."""
        return ([key] for key in keys)

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        years = self.lake.read(self.asset(self._years), [part for _, part in self.inputs("")])
        return {self.tables[0]: {"": self.merged(conform(years, self._years))}}

    def merged(self, years: pl.DataFrame) -> pl.DataFrame:
        """The years merged into the one row."""
        plant = self.plant
        return periods.all_time(years, *self.ends(), plant.time_zone, plant.rules, self.known)
