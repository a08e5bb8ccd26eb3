"""Segments → sessions, cycles, defrosts, by UTC day."""

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
from hp_pipeline.transforms import defrosts, events
from hp_pipeline.transforms.schema import conform

_TOGETHER = 16
"""So many days are read together to find where a session began, or will have ended."""


class EventsStage(Stage):
    """Table `segments` → `sessions`, `cycles`, `defrosts`, each under the UTC day on which it begins."""

    tables = ("sessions", "cycles", "defrosts")
    version = 5
    stretch_factor = 4

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
        window = self._window(key)
        yield from ((self.asset("segments"), day) for day in window)
        # What was before a defrost, and the recovery from it, is seen in the frames around it.
        around = (shifted(key, -1), *window, shifted(window[-1], 1))
        yield from ((self.asset("frames"), day) for day in around)

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self._session_began(key)))

    def _links(self, key: str) -> events.Links | None:
        """How a day hangs together with its neighbours; None when it has no segments that can be read."""
        if key not in self._links_by_day:
            self._read_links(self._unread_beside(key))
        return self._links_by_day[key]

    def _unread_beside(self, key: str) -> list[str]:
        """The day and those next to it that were not looked at, on the side that is gone to: in winter a session lasts
        for months, and many files are read at once for a fraction of what they cost one by one."""
        days = self.listed(self.asset("segments"))
        place = bisect_left(days, key)
        is_ahead = shifted(key, -1) in self._links_by_day
        beside = days[place : place + _TOGETHER] if is_ahead else days[max(place + 1 - _TOGETHER, 0) : place + 1]
        return [key, *(day for day in beside if day not in {key, *self._links_by_day})]

    def _read_links(self, keys: Sequence[str]) -> None:
        wanted = [key for key in keys if self.is_wanted(key)]
        self._links_by_day.update(dict.fromkeys(keys))
        try:
            rows = self.lake.read(self.asset("segments"), wanted, columns=events.LINK_COLUMNS)
        except DamagedPartitionError:
            if len(keys) > 1:
                for key in keys:
                    self._read_links([key])
            return
        parts = by_day(conform(None, "segments") if rows is None else rows, wanted)
        self._links_by_day.update({key: events.links(part) for key, part in parts.items()})

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
        made["defrosts"] = conform(self._with_recovery(made["defrosts"]), "defrosts")
        return {table: by_day(frame, keys) for table, frame in made.items()}

    def _with_recovery(self, found: pl.DataFrame) -> pl.DataFrame:
        """The defrosts, with what the frames around each of them say of it."""
        reach = (-self.plant.rules.hold - self.plant.rules.frame_interval, defrosts.SEARCHED)
        moments = [found["start"] + reach[0], found["end"] + reach[1]]
        days = sorted({day.isoformat() for moment in moments for day in moment.dt.date()})
        frames = self.lake.read(self.asset("frames"), days, columns=defrosts.FRAME_COLUMNS)
        seen = conform(frames, "frames").select(defrosts.FRAME_COLUMNS)
        return defrosts.with_recovery(found, seen, self.plant.rules)
