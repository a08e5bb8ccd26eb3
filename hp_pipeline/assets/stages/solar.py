"""Readings of a solar heating, and what heat pumps gave its tank → frames → hours → days, months, years; with heat
pumps' hours the house's balance."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import ClassVar

import polars as pl

from hp_pipeline.assets.stages.operation import FramesStage
from hp_pipeline.assets.stages.periods import DailyStage, PeriodStage
from hp_pipeline.assets.stages.stage import Outcome, Stage, between, by_day, day_of, midnight, shifted
from hp_pipeline.assets.stages.states import StatesStage
from hp_pipeline.assets.workspace import Plant, SolarPlant
from hp_pipeline.transforms import calendar, increments, solar, states, tank_frames, tank_heat
from hp_pipeline.transforms.calendar import PeriodName
from hp_pipeline.transforms.floors import Known
from hp_pipeline.transforms.schema import conform
from hp_pipeline.transforms.tank_heat import ChargingHeatPump
from hp_pipeline.vocabulary.energies import COUNTER_SIGNALS, SIGNALS
from hp_pipeline.vocabulary.rules import Rules, SolarRules


def _solar(plant: Plant) -> SolarPlant:
    if not isinstance(plant, SolarPlant):
        raise TypeError(f"{plant.id} is no solar heating")
    return plant


def _rules(stage: Stage) -> SolarRules:
    return _solar(stage.plant).tank_rules


def _known(stage: Stage, name: PeriodName, key: str) -> Known:
    """The time in which there are frames, as far as it matters to a period: an hour behind it, readings still make
    something of it final."""
    zone = stage.plant.time_zone
    end = calendar.day_start(calendar.next_period(name, day_of(key)), zone) + timedelta(hours=1) + _rules(stage).max_gap
    return stage.known_within(calendar.day_start(day_of(key), zone), end)


def _by_first_day(rows: pl.DataFrame, time_zone: str) -> dict[str, pl.DataFrame]:
    firsts = [calendar.local_date(start, time_zone).isoformat() for start in rows["start"]]
    return {key: rows[index : index + 1] for index, key in enumerate(firsts)}


class SolarFramesStage(FramesStage):
    """Readings of all inputs → table `solar_frames`."""

    tables = ("solar_frames",)
    version = 2

    @property
    def _margin(self) -> timedelta:
        return _rules(self).max_gap + timedelta(seconds=1)

    def shape(self, key: str) -> str:
        return repr((self.plant.profile_words, _rules(self)))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        start, end = midnight(day_of(keys[0])), midnight(day_of(keys[-1]) + timedelta(days=1))
        decoded = self._decoded(start, end)
        outcome.doubts += decoded.doubts
        outcome.ambiguous |= decoded.ambiguous
        built = tank_frames.solar_frames(decoded, self.plant.mappings, self.plant.id, start, end, _rules(self))
        return {"solar_frames": by_day(built, keys)}


class SolarStatesStage(StatesStage):
    """Table `solar_frames` → `state_intervals` of pump, immersion heater and stove.

    There are no frames where nothing was told for longer than `max_gap`: each of their gaps ends a state.
    """

    version = 1
    above = ("solar_frames",)

    def shape(self, key: str) -> str:
        return repr((self.plant.time_zone, self.more_frames_follow(key)))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        frames = conform(self.lake.read(self.asset("solar_frames"), keys), "solar_frames")
        rows = states.state_intervals(
            tank_frames.state_frames(frames.sort("start")),
            conform(None, "operation").select(states.OPERATION_COLUMNS),
            self.handed_to(keys[0]),
            self.plant.time_zone,
            Rules(session_gap=timedelta()),
            newest=not self.more_frames_follow(keys[-1]),
        )
        return {"state_intervals": by_day(rows, keys)}


class _ChargedStage(Stage):
    """A stage that also follows from readings of the heat pumps that heat the tank."""

    kinds: ClassVar[Sequence[str]] = ("thermal",)
    """The kinds of their energies that it follows from."""

    @cached_property
    def reach(self) -> int:
        """That of the plant that reaches furthest."""
        return max([super().reach, *(FramesStage(plant).reach for plant in _solar(self.plant).heat_pumps)])

    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """Within a range, also the days of a silence of a heat pump before it: until now its heat might still come."""
        return super().keys(None if first is None else self._since_silence(first), last)

    def _since_silence(self, first: date) -> date:
        """The first day, or the newest on which a heat pump told anything, if it was silent when what is looked at from
        the first day on begins (the day behind its last one may have a partition without frames)."""
        edge = shifted(first.isoformat(), -(self.reach + 2))
        since = first
        for plant in _solar(self.plant).heat_pumps:
            asset = f"{plant.frames}/{plant.id}"
            framed = self.listed(asset)
            told_before = bisect_left(framed, edge)
            if told_before and not all(self.has(asset, key) for key in (edge, shifted(edge, 1))):
                since = min(since, day_of(framed[told_before - 1]))
        return since

    @cached_property
    def _final(self) -> dict[str, datetime | None]:
        """By heat pump up to when its energies are final; None where there is nothing of it."""
        heat_pumps = _solar(self.plant).heat_pumps
        newest = ((plant, FramesStage(plant, self._listing).known.until) for plant in heat_pumps)
        return {plant.id: until and until - _still_changes(plant, self.kinds) for plant, until in newest}

    def _what_is_open(self, key: str) -> tuple[Known, list[datetime]]:
        """The ends of what is known that matter to the hours of a day: of the tank's frames, and of what is final of
        each heat pump. Before the day and behind it, it does not matter where that ends."""
        start = midnight(day_of(key))
        end = start + timedelta(hours=26)
        final = [max(at, start) for at in self._final.values() if at is not None and at < end]
        return self.known_within(start, end + _rules(self).max_gap), final


class SolarHourlyStage(_ChargedStage):
    """Table `solar_frames`, and `HEAT_TABLES` of the heat pumps that heat the tank → `solar_hourly`, under the UTC day
    on which an hour begins."""

    tables = ("solar_hourly",)
    version = 4

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with frames, and the day before one when its last hour goes on into it."""
        days = between(self.listed(self.asset("solar_frames")), first, last, self.reach + 2)
        return {key for key in {*days, *(shifted(key, -1) for key in days)} if self.is_wanted(key)}

    def is_wanted(self, key: str) -> bool:
        return any(self.has(self.asset("solar_frames"), day) for day in self._days(key))

    def _ends(self, first: date, last: date) -> set[str]:
        """Also those around the first and the last that is not empty: there the oldest and the newest frame lie."""
        filled = self._around_filled(self.stored) | self._around_filled(self.stored[::-1])
        return super()._ends(first, last) | filled

    def _days(self, key: str) -> list[str]:
        """The days of its frames."""
        part_hours = calendar.has_part_hours(self.plant.time_zone, day_of(key))
        return [key, shifted(key, 1)] if part_hours else [key]

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        heats = [f"{table}/{plant.id}" for plant in _solar(self.plant).heat_pumps for table in HEAT_TABLES]
        return [(asset, day) for asset in (self.asset("solar_frames"), *heats) for day in self._days(key)]

    def shape(self, key: str) -> str:
        known, final = self._what_is_open(key)
        return repr((_rules(self), self.plant.time_zone, known, [plant.id for plant in self._heat_pumps], final))

    @property
    def _heat_pumps(self) -> tuple[Plant, ...]:
        return _solar(self.plant).heat_pumps

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        days = list(dict.fromkeys(day for key in keys for day in self._days(key)))
        frames = conform(self.lake.read(self.asset("solar_frames"), days), "solar_frames")
        start, end = midnight(day_of(keys[0])), midnight(day_of(keys[-1]) + timedelta(days=1))
        heats = [self._heat_of(plant, days) for plant in self._heat_pumps]
        hours = solar.solar_hourly(frames, start, end, self.plant.time_zone, _rules(self), self.known, heats)
        return {"solar_hourly": by_day(hours, keys)}

    def _heat_of(self, plant: Plant, days: Sequence[str]) -> ChargingHeatPump:
        parts = {}
        for table, names in HEAT_TABLES.items():
            rows = self.lake.read(f"{table}/{plant.id}", days, columns=names)
            wanted = conform(None, table).select(names)
            parts[table] = wanted if rows is None else rows.cast(wanted.schema)
        return ChargingHeatPump(
            parts["segments"], parts["frames"], parts["quarter_hourly"], final_until=self._final[plant.id]
        )


HEAT_TABLES: Mapping[str, Sequence[str]] = {
    "segments": tank_heat.SEGMENT_COLUMNS,
    "frames": tank_heat.POWER_COLUMNS,
    "quarter_hourly": tank_heat.QUARTER_COLUMNS,
}
"""The tables of a heat pump that say what it gives a tank, with what is read of them."""


def _still_changes(plant: Plant, kinds: Iterable[str]) -> timedelta:
    """How far before its newest reading these energies of a heat pump may still change: a defrost in progress changes
    modes, and a counter that moves at last tells of what ran before."""
    counts = any(name in plant.mappings for kind in kinds for name in SIGNALS[kind] & COUNTER_SIGNALS)
    return max(plant.rules.provisional_after, increments.REACH if counts else timedelta())


class SolarDailyStage(_ChargedStage, DailyStage):
    """Table `solar_hourly` → `solar_daily`: local days, each from the UTC days around it."""

    tables = ("solar_daily",)
    version = 4
    within = "solar_hourly"

    def shape(self, key: str) -> str:
        return repr((_rules(self), self.plant.time_zone, _known(self, "daily", key)))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        days = sorted({part for key in keys for _, part in self.inputs(key)})
        hours = conform(self.lake.read(self.asset("solar_hourly"), days), "solar_hourly")
        return {"solar_daily": _merged(self, "daily", hours, keys)}


def _merged(stage: Stage, name: PeriodName, rows: pl.DataFrame, keys: Sequence[str]) -> dict[str, pl.DataFrame]:
    zone, days = stage.plant.time_zone, [day_of(key) for key in keys]
    return _by_first_day(solar.solar_by_calendar(rows, name, days, zone, _rules(stage), stage.known), zone)


class SolarPeriodStage(_ChargedStage, PeriodStage):
    """Solar heating of shorter periods → that of a longer one."""

    family = "solar_"

    def shape(self, key: str) -> str:
        return repr((_rules(self), self.plant.time_zone, _known(self, self.name, key)))

    def merged(self, rows: pl.DataFrame, keys: Sequence[str]) -> dict[str, pl.DataFrame]:
        return _merged(self, self.name, rows, keys)


class SolarMonthlyStage(SolarPeriodStage):
    """Table `solar_daily` → `solar_monthly`."""

    tables = ("solar_monthly",)
    version = 4
    name = "monthly"
    below = "daily"


class SolarYearlyStage(SolarPeriodStage):
    """Table `solar_monthly` → `solar_yearly`."""

    tables = ("solar_yearly",)
    version = 4
    name = "yearly"
    below = "monthly"


class HouseHourlyStage(_ChargedStage):
    """Table `solar_hourly`, and `hourly` of the heat pumps that heat the tank → `house_hourly`."""

    tables = ("house_hourly",)
    version = 2
    kinds = ("electrical", "thermal")

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with hours of the tank."""
        return set(between(self.listed(self.asset("solar_hourly")), first, last, self.reach + 2))

    def is_wanted(self, key: str) -> bool:
        return self.has(self.asset("solar_hourly"), key)

    def _ends(self, first: date, last: date) -> set[str]:
        """Also those around the first and the last that is not empty."""
        filled = self._around_filled(self.stored) | self._around_filled(self.stored[::-1])
        return super()._ends(first, last) | filled

    @property
    def _heat_pumps(self) -> list[str]:
        return [f"hourly/{plant.id}" for plant in _solar(self.plant).heat_pumps]

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(asset, key) for asset in (self.asset("solar_hourly"), *self._heat_pumps)]

    def shape(self, key: str) -> str:
        settled = _rules(self), self.plant.time_zone, self._heat_pumps, self._immersion_included
        return repr((*settled, *self._what_is_open(key)))

    @cached_property
    def _immersion_included(self) -> bool:
        metering = (plant.rules.metering for plant in _solar(self.plant).heat_pumps)
        return any("immersion_heater" in (each.electrical or ()) for each in metering)

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        hours = conform(self.lake.read(self.asset("solar_hourly"), list(keys)), "solar_hourly")
        others = [conform(self.lake.read(asset, list(keys)), "hourly") for asset in self._heat_pumps]
        final = min((at for at in self._final.values() if at is not None), default=None)
        made = solar.house_hourly(
            hours, others, _rules(self), self.known, final, immersion_included=self._immersion_included
        )
        return {"house_hourly": by_day(made, keys)}


class HouseDailyStage(_ChargedStage, DailyStage):
    """Table `house_hourly` → `house_daily`."""

    tables = ("house_daily",)
    version = 2
    within = "house_hourly"

    def shape(self, key: str) -> str:
        return repr((_rules(self), self.plant.time_zone, _known(self, "daily", key)))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        days = sorted({part for key in keys for _, part in self.inputs(key)})
        hours = conform(self.lake.read(self.asset("house_hourly"), days), "house_hourly")
        return {"house_daily": _house_merged(self, "daily", hours, keys)}


def _house_merged(stage: Stage, name: PeriodName, rows: pl.DataFrame, keys: Sequence[str]) -> dict[str, pl.DataFrame]:
    zone = stage.plant.time_zone
    made = solar.house_by_calendar(rows, name, [day_of(key) for key in keys], zone, _rules(stage), stage.known)
    return _by_first_day(made, zone)


class HousePeriodStage(_ChargedStage, PeriodStage):
    """The house's balance of shorter periods → that of a longer one."""

    family = "house_"

    def shape(self, key: str) -> str:
        return repr((_rules(self), self.plant.time_zone, _known(self, self.name, key)))

    def merged(self, rows: pl.DataFrame, keys: Sequence[str]) -> dict[str, pl.DataFrame]:
        return _house_merged(self, self.name, rows, keys)


class HouseMonthlyStage(HousePeriodStage):
    """Table `house_daily` → `house_monthly`."""

    tables = ("house_monthly",)
    version = 2
    name = "monthly"
    below = "daily"


class HouseYearlyStage(HousePeriodStage):
    """Table `house_monthly` → `house_yearly`."""

    tables = ("house_yearly",)
    version = 2
    name = "yearly"
    below = "monthly"
