"""Frames and operation → how long each state held, by UTC day → how often and for how long, by local day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import ClassVar

import polars as pl

from hp_pipeline.assets.stages.chain import BehindChainStage, ChainStage
from hp_pipeline.assets.stages.stage import Outcome, between, by_day, day_of, midnight
from hp_pipeline.lake import DamagedPartitionError
from hp_pipeline.transforms import calendar, states
from hp_pipeline.transforms.schema import conform


class StatesStage(ChainStage):
    """Tables `frames` and `operation` → `state_intervals`."""

    tables = ("state_intervals",)
    version = 2
    above: ClassVar[tuple[str, ...]] = ("frames", "operation")
    """The tables that it is made from; the last has a day of each of the others."""

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with operation."""
        return set(between(self.listed(self.asset(self.above[-1])), first, last, self.reach + 2))

    def is_wanted(self, key: str) -> bool:
        return self.has(self.asset(self.above[-1]), key)

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(self.asset(table), key) for table in self.above]

    def shape(self, key: str) -> str:
        follows = self.more_frames_follow(key)
        return repr((self.plant.rules.session_gap, self.plant.time_zone, self._signals, follows))

    @cached_property
    def _signals(self) -> list[str]:
        return states.frame_columns(list(self.plant.mappings))

    def _ends(self, first: date, last: date) -> set[str]:
        """Also those around the last that is not empty: there the newest frame lies."""
        return super()._ends(first, last) | self._around_filled(self.stored[::-1])

    def handed_on(self, rows: pl.DataFrame | None) -> pl.DataFrame:
        return states.carried(conform(rows, "state_intervals"))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        frames = self.lake.read(self.asset("frames"), keys, columns=self._signals)
        operation = self.lake.read(self.asset("operation"), keys, columns=states.OPERATION_COLUMNS)
        wanted = conform(None, "frames").select(self._signals)
        rows = states.state_intervals(
            wanted if frames is None else frames.cast(wanted.schema).sort("start"),
            conform(operation, "operation").select(states.OPERATION_COLUMNS),
            self.handed_to(keys[0]),
            self.plant.time_zone,
            self.plant.rules,
            newest=not self.more_frames_follow(keys[-1]),
        )
        return {"state_intervals": by_day(rows, keys)}


class StateDailyStage(BehindChainStage):
    """Table `state_intervals` → `state_daily`: local days, each from the UTC days around it."""

    tables = ("state_daily",)
    stretch_factor = 4

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Local days that touch a UTC day with states."""
        listed = between(self.listed(self.asset("state_intervals")), first, last, self.reach + 2)
        return {day for key in listed for day in self._local_days(key)}

    def is_wanted(self, key: str) -> bool:
        return any(key in self._local_days(part) for _, part in self.inputs(key))

    @cached_property
    def _days(self) -> dict[str, set[str]]:
        return {}

    def _local_days(self, part: str) -> set[str]:
        """The local days in which rows of a UTC day begin."""
        if part not in self._days:
            zone, start = self.plant.time_zone, midnight(day_of(part))
            try:
                rows = self.lake.read(self.asset("state_intervals"), [part], columns=["start"])
            except DamagedPartitionError:  # making its days will say so
                times = [start, start + timedelta(hours=24, seconds=-1)]
            else:
                times = [] if rows is None else rows.select(pl.col("start").unique())["start"].to_list()
            self._days[part] = {calendar.local_date(moment, zone).isoformat() for moment in times}
        return self._days[part]

    def _ends(self, first: date, last: date) -> set[str]:
        """The days of the house that a first or last UTC day touches."""
        return super()._ends(first, last) | {*self.stored[:3], *self.stored[-3:]}

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        start, end = local_bounds(key, self.plant.time_zone)
        days = (end - timedelta(seconds=1)).date() - start.date()
        asset = self.asset("state_intervals")
        return [(asset, (start.date() + timedelta(days=count)).isoformat()) for count in range(days.days + 1)]

    def shape(self, key: str) -> str:
        return self.plant.time_zone

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        parts = sorted({part for key in keys for _, part in self.inputs(key)})
        rows = conform(self.lake.read(self.asset("state_intervals"), parts), "state_intervals")
        made = states.state_daily(rows, [day_of(key) for key in keys], self.plant.time_zone)
        return {"state_daily": by_period(made, keys)}


def by_period(rows: pl.DataFrame, keys: Sequence[str]) -> dict[str, pl.DataFrame]:
    """The rows of each local day; none where there are none."""
    parts = {str(period): part for (period,), part in rows.partition_by("period", as_dict=True).items()}
    return {key: parts[key] if key in parts else rows.clear() for key in keys}


def local_bounds(key: str, time_zone: str) -> tuple[datetime, datetime]:
    """Begin and end (UTC) of a local day by its key."""
    return (
        calendar.day_start(day_of(key), time_zone),
        calendar.day_start(calendar.next_period("daily", day_of(key)), time_zone),
    )
