"""Months and days → `comparisons` with the year before, and the `outlook` of the running season and year."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta

import polars as pl

from hp_pipeline.assets.stages.stage import Outcome, Stage, between, day_of
from hp_pipeline.transforms import calendar, outlook
from hp_pipeline.transforms.calendar import PeriodName
from hp_pipeline.transforms.figures import Known
from hp_pipeline.transforms.schema import conform

_MONTHS_BACK = 36
"""How many months before the newest one tell how heating is spread over a year."""

_TO_DATE: tuple[PeriodName, ...] = ("seasonal", "yearly")


def _months_before(month: date, count: int) -> list[str]:
    """The first days of as many months before this one, ascending."""
    found = []
    for _ in range(count):
        month = calendar.first_day("monthly", month - timedelta(days=1))
        found.append(month.isoformat())
    return found[::-1]


class _FromMonthsAndDays(Stage):
    """A stage that is made from rows of `monthly` and, where a month is not over, of `daily`."""

    def _days_of(self, month: date) -> list[str]:
        """The stored local days of a month."""
        days = self.listed(self.asset("daily"))
        until = calendar.next_period("monthly", month).isoformat()
        return days[bisect_left(days, month.isoformat()) : bisect_left(days, until)]

    def _rows(self, parts: Iterable[tuple[str, str]], table: str) -> pl.DataFrame:
        asset = self.asset(table)
        return conform(self.lake.read(asset, [key for name, key in parts if name == asset]), table)

    def stretches(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """One after the other."""
        return ([key] for key in keys)


class ComparisonsStage(_FromMonthsAndDays):
    """Tables `monthly` and `daily` → `comparisons`, under the first day of each month."""

    tables = ("comparisons",)

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Months with days; those whose own, or whose earlier months', or whose year before was touched."""
        months = self.listed(self.asset("monthly"))
        if first is None or last is None:
            return set(months)
        # A day counts in its month, in those to the end of its season and its year, and a year later again.
        until = outlook.year_before(last).replace(year=last.year + 2)
        return set(between(months, calendar.first_day("monthly", first - timedelta(days=self.reach + 3)), until, 0))

    def is_wanted(self, key: str) -> bool:
        return self.has(self.asset("monthly"), key)

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        month = day_of(key)
        before = outlook.year_before(month)
        earliest = min(calendar.first_day(name, month) for name in _TO_DATE)
        count = (month.year - earliest.year) * 12 + month.month - earliest.month
        for end in (month, before):
            yield from ((self.asset("monthly"), part) for part in _months_before(end, count))
            yield from ((self.asset("daily"), part) for part in self._days_of(end))

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.time_zone, self._known(key)))

    def _known(self, key: str) -> Known:
        month, zone = day_of(key), self.plant.time_zone
        earliest = outlook.year_before(min(calendar.first_day(name, month) for name in _TO_DATE))
        until = calendar.next_period("monthly", month)
        return self.known_within(calendar.day_start(earliest, zone), calendar.day_start(until, zone))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        made = {}
        for key in keys:
            parts = list(self.inputs(key))
            months, days = self._rows(parts, "monthly"), self._rows(parts, "daily")
            plant = self.plant
            made[key] = outlook.comparisons(months, days, day_of(key), plant.time_zone, plant.rules, self._known(key))
        return {"comparisons": made}


class OutlookStage(_FromMonthsAndDays):
    """Tables `monthly` and `daily` → `outlook`: the running heating season and year, one file."""

    tables = ("outlook",)

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """The one partition, once there is a day."""
        return {""} if self.is_wanted("") else set()

    def is_wanted(self, key: str) -> bool:
        return bool(self.listed(self.asset("daily")))

    def _ends(self, first: date, last: date) -> set[str]:
        return set()

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        month = calendar.first_day("monthly", day_of(self.listed(self.asset("daily"))[-1]))
        yield from ((self.asset("monthly"), part) for part in _months_before(month, _MONTHS_BACK))
        yield from ((self.asset("daily"), part) for part in self._days_of(month))

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.time_zone, self.known))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        parts = list(self.inputs(""))
        months, days = self._rows(parts, "monthly"), self._rows(parts, "daily")
        return {"outlook": {"": outlook.outlook(months, days, self.plant.time_zone, self.plant.rules, self.known)}}
