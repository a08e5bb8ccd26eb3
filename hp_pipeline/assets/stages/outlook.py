"""Months and days → `comparisons` with earlier ones, and the `outlook` of the running season and year."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import cached_property

import polars as pl

from hp_pipeline.assets.prices import tariffs_of
from hp_pipeline.assets.stages.costs import read_days
from hp_pipeline.assets.stages.stage import Outcome, Stage, between, day_of
from hp_pipeline.transforms import calendar, outlook
from hp_pipeline.transforms.calendar import PeriodName
from hp_pipeline.transforms.costs import Charge, standing_charges
from hp_pipeline.transforms.floors import Known
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

    def _days_within(self, first: date, until: date) -> list[str]:
        """The stored local days [first, until)."""
        days = self.listed(self.asset("daily"))
        return days[bisect_left(days, first.isoformat()) : bisect_left(days, until.isoformat())]

    def _rows(self, parts: Iterable[tuple[str, str]], table: str) -> pl.DataFrame:
        asset = self.asset(table)
        return conform(self.lake.read(asset, [key for name, key in parts if name == asset]), table)

    def stretches(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """One after the other."""
        return ([key] for key in keys)


class ComparisonsStage(_FromMonthsAndDays):
    """Tables `monthly`, `daily` and `degree_days` → `comparisons`, under the first day of each month."""

    tables = ("comparisons",)
    version = 5

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Months with days; those whose own, or whose earlier months', or whose year before was touched."""
        months = self.listed(self.asset("monthly"))
        if first is None or last is None:
            return set(months)
        # A day counts in its month, in those to the end of its season and its year, and a year later again; in its
        # week, which may have begun in the month before.
        until = outlook.year_before(last).replace(year=last.year + 2)
        return set(between(months, self.first_day("monthly", first - timedelta(days=self.reach + 10)), until, 0))

    def is_wanted(self, key: str) -> bool:
        return self.has(self.asset("monthly"), key)

    def _is_over(self, month: date) -> bool:
        return self.has(self.asset("daily"), (calendar.next_period("monthly", month) - timedelta(days=1)).isoformat())

    def _earliest(self, month: date) -> date:
        return min(self.first_day(name, month) for name in _TO_DATE)

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        month = day_of(key)
        earliest = self._earliest(month)
        count = (month.year - earliest.year) * 12 + month.month - earliest.month
        for end in (month, outlook.year_before(month)):
            parts = [*_months_before(end, max(count, 1)), end.isoformat()]
            yield from ((self.asset(table), part) for table in ("monthly", "degree_days") for part in parts)
        for first, until in outlook.days_wanted(month, self._is_over(month)):
            yield from ((self.asset("daily"), part) for part in self._days_within(first, until))

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.time_zone, self.plant.season_starts, self._known(key)))

    def _known(self, key: str) -> Known:
        month, zone = day_of(key), self.plant.time_zone
        until = calendar.next_period("monthly", month) + timedelta(days=7)
        return self.known_within(
            calendar.day_start(outlook.year_before(self._earliest(month)), zone), calendar.day_start(until, zone)
        )

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        made = {}
        plant = self.plant
        for key in keys:
            parts = list(self.inputs(key))
            months, days, spans = (self._rows(parts, table) for table in ("monthly", "daily", "degree_days"))
            made[key] = outlook.comparisons(
                months, days, spans, day_of(key), plant.time_zone, plant.rules, self._known(key), plant.season_starts
            )
        return {"comparisons": made}


class OutlookStage(_FromMonthsAndDays):
    """Tables `monthly`, `daily`, `degree_days` and costs → `outlook`: the running heating season and year, one file."""

    tables = ("outlook",)
    version = 7

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """The one partition, once there is a day."""
        return {""} if self.is_wanted("") else set()

    def is_wanted(self, key: str) -> bool:
        return bool(self.listed(self.asset("daily")))

    def _ends(self, first: date, last: date) -> set[str]:
        return set()

    @cached_property
    def _charges(self) -> list[Charge]:
        tariffs = tariffs_of(self.plant.workspace.settings, charges_alone=True)
        return standing_charges(tariffs, read_days(self.plant, self._listing), self.plant.id)

    @property
    def _month(self) -> date:
        """The first day of the newest month."""
        return calendar.first_day("monthly", day_of(self.listed(self.asset("daily"))[-1]))

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        month = self._month
        before = _months_before(month, _MONTHS_BACK)
        until = calendar.next_period("monthly", month)
        yield from ((self.asset("monthly"), part) for part in before)
        yield from ((self.asset("degree_days"), part) for part in [*before, month.isoformat()])
        yield from ((self.asset("daily"), part) for part in self._days_within(month, until))
        if self.plant.workspace.settings.tariffs:
            earliest = min(self.first_day(name, month) for name in _TO_DATE).isoformat()
            yield from ((self.asset("costs_monthly"), part) for part in before if part >= earliest)
            yield from ((self.asset("costs_daily"), part) for part in self._days_within(month, until))

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.time_zone, self.plant.season_starts, self.known, self._charges))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        parts = list(self.inputs(""))
        months, days, weather = (self._rows(parts, table) for table in ("monthly", "daily", "degree_days"))
        costs = pl.concat(
            [self._rows(parts, table).select(outlook.COST_COLUMNS) for table in ("costs_monthly", "costs_daily")]
        )
        plant = self.plant
        row = outlook.outlook(
            months,
            days,
            plant.time_zone,
            plant.rules,
            self.known,
            weather=weather,
            costs=costs,
            charges=self._charges,
            season_starts=plant.season_starts,
        )
        return {"outlook": {"": row}}
