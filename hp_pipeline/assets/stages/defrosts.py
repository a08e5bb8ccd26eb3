"""Hours and defrosts → what defrosts cost by the outdoor temperature, by month → by heating season."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import polars as pl

from hp_pipeline.assets.stages.periods import PeriodStage
from hp_pipeline.assets.stages.stage import Outcome, day_of
from hp_pipeline.transforms import calendar, defrosts
from hp_pipeline.transforms.schema import conform

_READ = {"hourly": defrosts.HOURLY_COLUMNS, "defrosts": defrosts.DEFROST_COLUMNS}


class DefrostMonthlyStage(PeriodStage):
    """Tables `hourly` and `defrosts` → `defrost_monthly`."""

    tables = ("defrost_monthly",)
    version = 2
    name = "monthly"
    below = "daily"

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        zone = self.plant.time_zone
        start = calendar.day_start(day_of(key), zone).date()
        last = (calendar.day_start(calendar.next_period("monthly", day_of(key)), zone) - timedelta(seconds=1)).date()
        days = [(start + timedelta(days=count)).isoformat() for count in range((last - start).days + 1)]
        return [(self.asset(table), day) for table in _READ for day in days if self.has(self.asset(table), day)]

    def shape(self, key: str) -> str:
        return _judged_by(self)

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        parts = sorted({part for key in keys for _, part in self.inputs(key)})
        read = {
            table: conform(self.lake.read(self.asset(table), parts, columns=columns), table).select(columns)
            for table, columns in _READ.items()
        }
        made = {}
        for key in keys:
            until = calendar.next_period("monthly", day_of(key))
            within = _lies_in(day_of(key), until, self.plant.time_zone)
            rows = defrosts.by_temperature(
                read["hourly"].filter(within), read["defrosts"].filter(within), self.plant.rules
            )
            made[key] = _shown(self, rows, key)
        return {"defrost_monthly": made}


class DefrostSeasonalStage(PeriodStage):
    """Table `defrost_monthly` → `defrost_seasonal`."""

    tables = ("defrost_seasonal",)
    version = 2
    name = "seasonal"
    below = "monthly"
    family = "defrost_"

    def shape(self, key: str) -> str:
        return _judged_by(self)

    def merged(self, rows: pl.DataFrame, keys: Sequence[str]) -> dict[str, pl.DataFrame]:
        made = {}
        for key in keys:
            until = calendar.next_period("seasonal", day_of(key))
            own = rows.filter(_lies_in(day_of(key), until, self.plant.time_zone))
            made[key] = _shown(self, defrosts.merged(own, self.plant.rules), key)
        return made


def _lies_in(first: date, until: date, time_zone: str) -> pl.Expr:
    """Whether a row begins within the local days [first, until)."""
    start, end = calendar.day_start(first, time_zone), calendar.day_start(until, time_zone)
    return (pl.col("start") >= start) & (pl.col("start") < end)


def _judged_by(stage: PeriodStage) -> str:
    rules = stage.plant.rules
    floors = (rules.minimum_coverage, rules.maximum_coverage_mismatch, rules.minimum_electrical_energy_kwh)
    return repr((floors, stage.plant.time_zone))


def _shown(stage: PeriodStage, rows: pl.DataFrame, key: str) -> pl.DataFrame:
    first = day_of(key)
    label = calendar.period_label(stage.name, first)
    until = calendar.next_period(stage.name, first)
    return conform(calendar.with_period(rows, first, until, label, stage.plant.time_zone), stage.tables[0])
