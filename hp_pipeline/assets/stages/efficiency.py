"""Sums by outdoor temperature, and days → grade, degree days, bins, heating curve and heat loss of the house."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import ClassVar

import polars as pl

from hp_pipeline.assets.stages.stage import Outcome, Stage, between, day_of
from hp_pipeline.transforms import calendar, efficiency, filling, heat_loss
from hp_pipeline.transforms.calendar import PeriodName
from hp_pipeline.transforms.schema import conform

_OF_DAYS = ["period", "local_start", *heat_loss.DAY_COLUMNS]
"""What is read of the days, which have more than a hundred columns."""


class _PeriodStage(Stage):
    """A stage whose partitions are periods of the house's calendar, by their first day."""

    name: ClassVar[PeriodName]

    def _touched(self, listed: Sequence[str], first: date | None, last: date | None) -> set[str]:
        """The periods of the days listed, or of those around a range of days."""
        days = between(listed, first, last, self.reach + 3)
        return {self.first_day(self.name, day_of(key)).isoformat() for key in days}

    def _until(self, key: str) -> date:
        return calendar.next_period(self.name, day_of(key))

    def stretches(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """One after the other."""
        return ([key] for key in keys)

    def _span(self, key: str) -> pl.DataFrame:
        """The period's `start` and `end`."""
        row = pl.DataFrame({"heat_pump": [self.plant.id]})
        return calendar.with_period(row, day_of(key), self._until(key), "", self.plant.time_zone)

    def _placed(self, rows: pl.DataFrame, key: str, table: str) -> pl.DataFrame:
        """The rows as those of the period."""
        label = calendar.period_label(self.name, day_of(key))
        placed = calendar.with_period(rows, day_of(key), self._until(key), label, self.plant.time_zone)
        return conform(placed.with_columns(heat_pump=pl.lit(self.plant.id)), table)


class EfficiencyStage(_PeriodStage):
    """Tables `heat_by_temperature` and `daily` → sums by month, `efficiency` and `degree_days` of its days."""

    tables = ("heat_by_temperature_monthly", "efficiency", "degree_days")
    version = 5
    name = "monthly"

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Months with days."""
        return self._touched(self.listed(self.asset("daily")), first, last)

    def is_wanted(self, key: str) -> bool:
        days = self.listed(self.asset("daily"))
        place = bisect_left(days, key)
        begins = self.first_day(self.name, day_of(key)) == day_of(key)
        return begins and place < len(days) and days[place] < self._until(key).isoformat()

    def _utc_days(self, key: str) -> list[str]:
        """The UTC days that the month's local days lie in."""
        zone = self.plant.time_zone
        first = calendar.day_start(day_of(key), zone).date()
        last = (calendar.day_start(self._until(key), zone) - timedelta(seconds=1)).date()
        return [(first + timedelta(days=count)).isoformat() for count in range((last - first).days + 1)]

    def _local_days(self, key: str) -> list[str]:
        count = (self._until(key) - day_of(key)).days
        return [(day_of(key) + timedelta(days=place)).isoformat() for place in range(count)]

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        yield from ((self.asset("heat_by_temperature"), day) for day in self._utc_days(key))
        yield from ((self.asset("daily"), day) for day in self._local_days(key))

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.time_zone, self.known_in_period(self.name, key)))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        made: dict[str, dict[str, pl.DataFrame]] = {table: {} for table in self.tables}
        for key in keys:
            read = self.lake.read(self.asset("heat_by_temperature"), self._utc_days(key))
            sums = conform(read, "heat_by_temperature").filter(pl.col("period").is_in(self._local_days(key)))
            rows = self.lake.read(self.asset("daily"), self._local_days(key), columns=_OF_DAYS)
            days = conform(rows, "daily").select(_OF_DAYS).sort("start")
            made["heat_by_temperature_monthly"][key] = self._placed(
                efficiency.merged(sums, "mode", "outdoor_from"), key, "heat_by_temperature_monthly"
            )
            made["efficiency"][key] = self._efficiency(sums, days, key)
            made["degree_days"][key] = heat_loss.degree_days(days, self.plant.rules)
        return made

    def _efficiency(self, sums: pl.DataFrame, days: pl.DataFrame, key: str) -> pl.DataFrame:
        rules, known = self.plant.rules, self.known
        spans = days.select("heat_pump", "period", "start", "end", "local_start")
        of_days = efficiency.of_periods(sums, spans, rules, known, ["period"]).with_columns(kind=pl.lit("day"))
        of_month = efficiency.of_periods(sums, self._span(key), rules, known).with_columns(kind=pl.lit("month"))
        return pl.concat([self._placed(of_month, key, "efficiency"), conform(of_days, "efficiency")])


class SeasonStage(_PeriodStage):
    """Months of sums and of degree days → bins, grade, heating curve and heat loss of a heating season."""

    tables = ("efficiency_seasonal", "temperature_bins", "heating_curve", "heat_loss", "heat_loss_bins")
    version = 3
    name = "seasonal"

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Seasons with months."""
        listed = self.listed(self.asset("degree_days"))
        if first is not None:
            first = calendar.first_day("monthly", first - timedelta(days=self.reach + 3))
        return self._touched(listed, first, last)

    def is_wanted(self, key: str) -> bool:
        begins = self.first_day(self.name, day_of(key)) == day_of(key)
        return begins and any(self.has(self.asset("degree_days"), month) for month in self._months(key))

    def _months(self, key: str) -> list[str]:
        month, found = day_of(key), []
        while month < self._until(key):
            found.append(month.isoformat())
            month = calendar.next_period("monthly", month)
        return found

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        for table in ("heat_by_temperature_monthly", "degree_days"):
            yield from ((self.asset(table), month) for month in self._months(key))

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.time_zone, self.known_in_period(self.name, key)))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        made: dict[str, dict[str, pl.DataFrame]] = {table: {} for table in self.tables}
        for key in keys:
            for table, rows in self._season(key).items():
                made[table][key] = self._placed(rows, key, table)
        return made

    def _season(self, key: str) -> dict[str, pl.DataFrame]:
        months, rules = self._months(key), self.plant.rules
        table = "heat_by_temperature_monthly"
        sums = conform(self.lake.read(self.asset(table), months), table)
        days = conform(self.lake.read(self.asset("degree_days"), months), "degree_days")
        bins = efficiency.temperature_bins(sums, rules)
        cop, share, reason = efficiency.normalised(bins)
        heating = pl.col("mode") == "heating"
        return {
            "efficiency_seasonal": efficiency.of_periods(sums, self._span(key), rules, self.known).with_columns(
                cop_normalised=pl.when(heating).then(pl.lit(cop, pl.Float64)),
                normalised_share=pl.when(heating).then(pl.lit(share, pl.Float64)),
                normalised_reason=pl.when(heating).then(pl.lit(reason, pl.String)),
            ),
            "temperature_bins": bins,
            "heating_curve": _row(efficiency.heating_curve(bins)),
            "heat_loss": _row(heat_loss.heat_loss(days)),
            "heat_loss_bins": heat_loss.heat_loss_bins(days),
        }


def _row(found: Mapping[str, object]) -> pl.DataFrame:
    return pl.DataFrame([dict(found)], infer_schema_length=None)


class HeatLossStage(Stage):
    """Table `heat_loss_bins` of all seasons → `heat_loss_all_time`: one row, one file."""

    tables = ("heat_loss_all_time",)

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """The one partition, once there is a season."""
        return {""} if self.is_wanted("") else set()

    def is_wanted(self, key: str) -> bool:
        return bool(self.listed(self.asset("heat_loss_bins")))

    def _ends(self, first: date, last: date) -> set[str]:
        return set()

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(self.asset("heat_loss_bins"), part) for part in self.listed(self.asset("heat_loss_bins"))]

    def shape(self, key: str) -> str:
        return self.plant.time_zone

    def stretches(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """The one."""
        return ([key] for key in keys)

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        parts = [part for _, part in self.inputs("")]
        bins = heat_loss.merged_bins([conform(self.lake.read(self.asset("heat_loss_bins"), parts), "heat_loss_bins")])
        first, last = day_of(parts[0]), calendar.next_period("seasonal", day_of(parts[-1]))
        row = _row(heat_loss.heat_loss_of_bins(bins)).with_columns(heat_pump=pl.lit(self.plant.id))
        placed = calendar.with_period(row, first, last, "all", self.plant.time_zone)
        return {"heat_loss_all_time": {"": conform(placed, "heat_loss_all_time")}}


class FilledDailyStage(_PeriodStage):
    """Table `degree_days` → `filled_daily`: all days of a month, from its own and those of the months before it."""

    tables = ("filled_daily",)
    name = "monthly"

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """The months from the first to the last that has days; those whose own, or whose earlier months', were touched,
        and those of a silence before or behind them."""
        listed = self.listed(self.asset("degree_days"))
        if not listed:
            return set()
        begin, end = day_of(listed[0]), day_of(listed[-1])
        if first is not None and last is not None:
            touched = self.first_day(self.name, first - timedelta(days=self.reach + 3)) - timedelta(days=1)
            reached = last + timedelta(days=31 * (filling.MONTHS_BACK + 1))
            before = bisect_right(listed, touched.isoformat()) - 1
            behind = bisect_left(listed, reached.isoformat())
            begin = day_of(listed[max(before, 0)])
            end = day_of(listed[min(behind, len(listed) - 1)])
        found = set()
        while begin <= end:
            found.add(begin.isoformat())
            begin = calendar.next_period(self.name, begin)
        return found

    def is_wanted(self, key: str) -> bool:
        listed = self.listed(self.asset("degree_days"))
        return bool(listed) and listed[0] <= key <= listed[-1] and self.first_day(self.name, day_of(key)) == day_of(key)

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(self.asset("degree_days"), month.isoformat()) for month in filling.months_read(day_of(key))]

    def shape(self, key: str) -> str:
        return repr((self.plant.time_zone, self.known_in_period(self.name, key)))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        made = {}
        for key in keys:
            read = self.lake.read(self.asset("degree_days"), [part for _, part in self.inputs(key)])
            days = conform(read, "degree_days").select(filling.DAY_COLUMNS)
            made[key] = filling.filled_daily(days, day_of(key), self.plant.id, self.plant.time_zone, self.known)
        return {"filled_daily": made}
