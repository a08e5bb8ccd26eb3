"""Frames, operation and counters → hours, quarters of an hour, and segments, by UTC day."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property

import polars as pl

from hp_pipeline.assets.stages.stage import Listing, Outcome, Stage, between, by_day, day_of, midnight, shifted
from hp_pipeline.assets.workspace import Plant
from hp_pipeline.lake import DamagedPartitionError
from hp_pipeline.transforms import calendar, costs, efficiency, energy, events, figures, periods, reckoned, standstill
from hp_pipeline.transforms.floors import Known
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.energies import COUNTER_SIGNALS, counted_apart

_COUNTERS, _STATES = "counters", "counter_states"


class FiguresStage(Stage):
    """`frames`, `operation`, `counters` → `segments`, `hourly` and others: sums that all else is merged from; and which
    counters stood still although the machine ran.

    Where there are counters of energy, a day is made from the days beside it too: an increment is spread over what ran
    since the one before it. Days of a silence over which a counter counted have hours as well, of that energy alone.
    """

    tables = ("segments", "hourly", "quarter_hourly", "heat_by_temperature", "counter_freezes")
    version = 11

    def __init__(self, plant: Plant, listing: Listing | None = None) -> None:
        super().__init__(plant, listing)
        self._silences: dict[str, datetime | None] = {}

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with operation, the day before one when its last hour goes on into it, and the days of a silence before
        one over which a counter counted."""
        days = between(self._framed, first, last, self.reach + 2)
        chosen = {*days, *(shifted(key, -1) for key in days)}
        if self._counts:
            for key in days:
                before = self._framed[max(bisect_left(self._framed, key) - 1, 0)]
                while (before := shifted(before, 1)) < key:
                    chosen.add(before)
        return {key for key in chosen if self.is_wanted(key)}

    @cached_property
    def _framed(self) -> list[str]:
        return list(self.listed(self.asset("operation")))

    @cached_property
    def _counts(self) -> bool:
        """Whether it has a counter of energy."""
        return not COUNTER_SIGNALS.isdisjoint(self.plant.mappings)

    def is_wanted(self, key: str) -> bool:
        return any(self.has(self.asset("operation"), day) for day in self._days(key)) or self._is_counted_over(key)

    def _is_counted_over(self, key: str) -> bool:
        """Whether a day without frames lies in a silence over which a counter counted."""
        behind = self._behind_silence(key)
        since = self._silent_since(behind) if behind else None
        return since is not None and since < midnight(day_of(key)) + timedelta(days=1)

    def _behind_silence(self, key: str) -> str | None:
        """The day on which frames begin again, when the day after a day has none."""
        if not self._counts or self.has(self.asset("operation"), shifted(key, 1)):
            return None
        place = bisect_right(self._framed, key)
        return self._framed[place] if 0 < place < len(self._framed) else None

    def _silent_since(self, key: str) -> datetime | None:
        """Since when a counter was silent that counted over the silence that ends on a day."""
        if key not in self._silences:
            try:
                rows = self.lake.read(self.asset(_COUNTERS), [key], columns=["last_unchanged", "over_gap", "increment"])
            except DamagedPartitionError:
                rows = None  # making the day itself will say so
            # A day on which no counter counted has columns that know nothing, not even their type.
            told = conform(rows, "counters").filter("over_gap", pl.col("increment") > 0)
            since = told["last_unchanged"].min()
            self._silences[key] = since if isinstance(since, datetime) else None
        return self._silences[key]

    def _ends(self, first: date, last: date) -> set[str]:
        """Also those around the first and the last that is not empty: there the oldest and the newest frame lie."""
        filled = self._around_filled(self.stored) | self._around_filled(self.stored[::-1])
        return super()._ends(first, last) | filled

    def _days(self, key: str) -> list[str]:
        part_hours = calendar.has_part_hours(self.plant.time_zone, day_of(key))
        return [key, shifted(key, 1)] if part_hours else [key]

    def _days_beside(self, keys: Sequence[str]) -> list[str]:
        """The days whose frames are needed for neighbouring days."""
        days = {day for key in keys for day in self._days(key)}
        return sorted(days | set(self._around(keys) if self._counts else ()))

    def _around(self, keys: Sequence[str]) -> list[str]:
        """Neighbouring days with the days beside them: what a counter is worth on one follows from these."""
        last = self._days(keys[-1])[-1]
        return sorted({shifted(keys[0], -1), *keys, last, shifted(last, 1)})

    def _counter_days(self, keys: Sequence[str]) -> list[str]:
        """The days whose increments reach into neighbouring days, and the day before, whose tell of a silence over
        midnight."""
        if not self._counts:
            return []
        behind = self._behind_silence(keys[-1])
        return sorted({*self._around(keys), *([behind] if behind else [])})

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        tables = ("frames", "operation", *(["sensor_offsets"] if self._zeroes else []))
        yield from ((self.asset(table), day) for day in self._days_beside([key]) for table in tables)
        yield from ((self.asset(_COUNTERS), day) for day in self._counter_days([key]))
        if self._counts:
            yield from ((self.asset(_STATES), day) for day in self._around([key]))

    def shape(self, key: str) -> str:
        apart = [sorted(counted_apart(mappings)) for mappings in (self.plant.own_mappings, self.plant.meter_mappings)]
        return repr(
            (self.plant.rules, self.plant.time_zone, self._zeroes, self.plant.reckoned, apart, self._known(key))
        )

    @property
    def _zeroes(self) -> bool:
        return self.plant.unzeroed_because is None

    def _known(self, key: str) -> Known:
        # The hours of a UTC day reach an hour beyond it, where the zone is off by part of one.
        return self.known_within(midnight(day_of(key)), midnight(day_of(key)) + timedelta(hours=25))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        beside = self._days_beside(keys)
        seen = conform(self.lake.read(self.asset("frames"), beside), "frames").sort("start")
        modes = conform(self.lake.read(self.asset("operation"), beside), "operation").sort("start")
        if self._zeroes:
            offsets = conform(self.lake.read(self.asset("sensor_offsets"), beside), "sensor_offsets")
            seen = standstill.zeroed(seen, modes, offsets, self.plant.rules)
        if self.plant.reckoned:
            seen = reckoned.with_heat(seen, modes, self.plant.reckoned, self.plant.rules)
        metering = self.plant.rules.metering
        counted = self._counted(keys)
        energies = energy.Energies(
            seen,
            modes,
            *counted,
            metering.net_counters,
            self.plant.own_mappings,
            self.plant.meter_mappings,
            metering.added,
            metering.quanta_kwh,
        )
        zone, own = self.plant.time_zone, self.plant.id
        start, end = midnight(day_of(keys[0])), midnight(day_of(keys[-1]) + timedelta(days=1))
        hours_end = end + timedelta(hours=1) if len(self._days(keys[-1])) > 1 else end
        within = (pl.col("start") >= start) & (pl.col("start") < hours_end)
        of_frames = energies.of_frames().filter(within)
        silent = energies.unobserved(start, hours_end, own, zone)
        pieces = figures.pieces(
            seen.filter(within), modes, of_frames, calendar.hour_start("start", zone), self.plant.rules
        )
        hours = periods.hourly(pieces, silent, start, end, zone, self.plant.rules, self.known)
        quarters = costs.quarter_hourly(pl.concat([of_frames, silent], how="diagonal"), own)
        return {
            "segments": by_day(events.segments(pieces), keys),
            "hourly": by_day(hours, keys),
            "quarter_hourly": by_day(quarters, keys),
            "heat_by_temperature": by_day(
                efficiency.sums_of(seen.filter(within), modes, of_frames, zone, self.plant.rules.metering), keys
            ),
            "counter_freezes": by_day(energies.freezes(own), keys),
        }

    def _counted(self, keys: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Increments and states (with their `day`) that decide the energies of neighbouring days."""
        if not self._counts:
            return conform(None, _COUNTERS), conform(None, _STATES).with_columns(day=pl.lit(None, pl.Date))
        increments = conform(self.lake.read(self.asset(_COUNTERS), self._counter_days(keys)), _COUNTERS)
        asset = self.asset(_STATES)
        stood = [
            conform(rows, _STATES).with_columns(day=pl.lit(day_of(day)))
            for day in self._around(keys)
            if (rows := self.lake.read(asset, [day])) is not None
        ]
        none = conform(None, _STATES).with_columns(day=pl.lit(None, pl.Date))
        return increments, pl.concat([none, *stood])
