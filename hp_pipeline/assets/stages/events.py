"""Frames and operation → hours and segments → sessions, cycles, defrosts, by UTC day."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

import polars as pl

from hp_pipeline.assets.stages.stage import (
    Listing,
    Outcome,
    Stage,
    between,
    by_day,
    day_of,
    midnight,
    shifted,
)
from hp_pipeline.assets.workspace import Plant
from hp_pipeline.lake import DamagedPartitionError
from hp_pipeline.transforms import calendar, costs, events, figures, periods, standstill
from hp_pipeline.transforms.schema import conform


class FiguresStage(Stage):
    """`frames` and `operation` → `segments`, `hourly`, `quarter_hourly`: the sums that all else is merged from."""

    tables = ("segments", "hourly", "quarter_hourly")

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with operation, and the day before one when its last hour goes on into it."""
        days = between(self.listed(self.asset("operation")), first, last, self.reach + 2)
        return {key for key in {*days, *(shifted(key, -1) for key in days)} if self.is_wanted(key)}

    def is_wanted(self, key: str) -> bool:
        return any(self.has(self.asset("operation"), day) for day in self._days(key))

    def _ends(self, first: date, last: date) -> set[str]:
        """Also those around the first and the last that is not empty: there the oldest and the newest frame lie."""
        filled = self._around_filled(self.stored) | self._around_filled(self.stored[::-1])
        return super()._ends(first, last) | filled

    def _days(self, key: str) -> list[str]:
        part_hours = calendar.has_part_hours(self.plant.time_zone, day_of(key))
        return [key, shifted(key, 1)] if part_hours else [key]

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        tables = ("frames", "operation", "sensor_offsets") if self._zeroes else ("frames", "operation")
        return [(self.asset(table), day) for day in self._days(key) for table in tables]

    @property
    def _zeroes(self) -> bool:
        return self.plant.unzeroed_because is None

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.time_zone, self._zeroes, self._known(key)))

    def _known(self, key: str) -> figures.Known:
        # The hours of a UTC day reach an hour beyond it, where the zone is off by part of one.
        return self.known_within(midnight(day_of(key)), midnight(day_of(key)) + timedelta(hours=25))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        days = list(dict.fromkeys(day for key in keys for day in self._days(key)))
        seen = conform(self.lake.read(self.asset("frames"), days), "frames").sort("start")
        modes = conform(self.lake.read(self.asset("operation"), days), "operation").sort("start")
        if self._zeroes:
            offsets = conform(self.lake.read(self.asset("sensor_offsets"), days), "sensor_offsets")
            seen = standstill.zeroed(seen, modes, offsets, self.plant.rules)
        zone = self.plant.time_zone
        pieces = figures.pieces(seen, modes, calendar.hour_start("start", zone))
        start, end = midnight(day_of(keys[0])), midnight(day_of(keys[-1]) + timedelta(days=1))
        hours = periods.hourly(pieces, start, end, zone, self.plant.rules, self.known)
        return {
            "segments": by_day(events.segments(pieces), keys),
            "hourly": by_day(hours, keys),
            "quarter_hourly": by_day(costs.quarter_hourly(figures.frame_energies(seen, modes), self.plant.id), keys),
        }


class EventsStage(Stage):
    """Table `segments` → `sessions`, `cycles`, `defrosts`, each under the UTC day on which it begins."""

    tables = ("sessions", "cycles", "defrosts")

    def __init__(self, plant: Plant, listing: Listing | None = None) -> None:
        super().__init__(plant, listing)
        self._links_by_day: dict[str, events.Links | None] = {}

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with segments."""
        return set(between(self.listed(self.asset("segments")), first, last, self.reach + 1))

    def is_wanted(self, key: str) -> bool:
        return self.has(self.asset("segments"), key)

    def _ends(self, first: date, last: date) -> set[str]:
        """Also those around the last segments before these days: until now they may have been the newest."""
        days = self.listed(self.asset("segments"))
        before = days[: bisect_left(days, (first - timedelta(days=self.reach + 1)).isoformat())]
        for index in reversed(range(len(before))):
            receipt = self.receipt(self.asset("segments"), before[index])
            if receipt is not None and receipt.rows:
                return super()._ends(first, last) | set(before[max(index - 1, 0) :][:3])
        return super()._ends(first, last)

    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """Within a range, also the days back to the begin of a session that reaches into it, and on to the end of one
        that reaches out of it."""
        chosen = super().keys(first, last)
        if first is None:
            return chosen
        days = set(chosen)
        for key in chosen:
            back = key
            while self._continues(back) and (back := shifted(back, -1)) not in days:
                days.add(back)
            ahead = key
            while self._continues(ahead := shifted(ahead, 1)) and ahead not in days:
                days.add(ahead)
        return sorted(day for day in days if self.is_wanted(day) or self.is_stored(day))

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(self.asset("segments"), day) for day in self._window(key)]

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self._session_began(key)))

    def _links(self, key: str) -> events.Links | None:
        """How a day hangs together with its neighbours; None when it has no segments that can be read."""
        if key not in self._links_by_day:
            self._links_by_day[key] = self._read_links(key) if self.is_wanted(key) else None
        return self._links_by_day[key]

    def _read_links(self, key: str) -> events.Links | None:
        try:
            rows = self.lake.read(self.asset("segments"), [key], columns=events.LINK_COLUMNS)
        except DamagedPartitionError:
            return None
        return events.links(conform(None, "segments") if rows is None else rows)

    def _continues(self, key: str) -> bool:
        found = self._links(key)
        return found is not None and found.continues

    def _session_began(self, key: str) -> datetime | None:
        """Begin of the session that goes on at the begin of a day."""
        while self._continues(key):
            key = shifted(key, -1)
            before = self._links(key)
            if before is not None and before.session_start is not None:
                return before.session_start
        return None

    def _window(self, key: str) -> list[str]:
        """The days that the events beginning on this day need: on to where the last of them has ended."""
        window = [key]
        own = self._links(key)
        if own is None or not own.starts:
            return window
        while (found := self._links(shifted(window[-1], 1))) is not None:
            window.append(shifted(window[-1], 1))
            ended = found.session_start is not None or (own.session_start is None and found.cycle_starts)
            if ended or not found.continues:
                break
        return window

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        days = sorted({day for key in keys for day in self._window(key)})
        rows = conform(self.lake.read(self.asset("segments"), days), "segments")
        start, end = midnight(day_of(keys[0])), midnight(day_of(keys[-1]) + timedelta(days=1))
        rules = self.plant.rules
        made = {
            "sessions": events.sessions(rows, start, end, rules),
            "cycles": events.cycles(rows, start, end, rules, self._session_began(keys[0])),
            "defrosts": events.defrosts(rows, start, end, rules),
        }
        return {table: by_day(frame, keys) for table, frame in made.items()}
