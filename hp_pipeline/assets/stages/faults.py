"""Events that devices list, and the signal `fault` → `faults`, each under the UTC day of its own time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property

import polars as pl

from hp_pipeline.assets.stages.chain import BehindChainStage
from hp_pipeline.assets.stages.stage import Listing, Outcome, between, day_of, midnight, shifted
from hp_pipeline.assets.workspace import Plant
from hp_pipeline.lake import DamagedPartitionError
from hp_pipeline.transforms import faults
from hp_pipeline.transforms.schema import conform
from hp_pipeline.transforms.states import DayLinks


class FaultsStage(BehindChainStage):
    """Readings and `state_intervals` → `faults`. A heat pump that tells no faults has no partitions of it."""

    tables = ("faults",)

    def __init__(self, plant: Plant, listing: Listing | None = None) -> None:
        super().__init__(plant, listing)
        self._links_by_day: dict[str, DayLinks | None] = {}

    @cached_property
    def _listing_sources(self) -> list[str]:
        """The sources whose devices list events."""
        return list(dict.fromkeys(source for source, profile in self.plant.inputs if profile.tells_events))

    @cached_property
    def _tellers(self) -> list[str]:
        """The sources that tell the signal `fault`."""
        return list(dict.fromkeys(source for source, profile in self.plant.inputs if "fault" in profile.mappings))

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with states."""
        if not self._listing_sources and not self._tellers:
            return set()
        return set(between(self.listed(self.asset("state_intervals")), first, last, self.reach + 3))

    def is_wanted(self, key: str) -> bool:
        return bool(self._listing_sources or self._tellers) and self.has(self.asset("state_intervals"), key)

    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """Within a range, also the days on which faults began that reach into it."""
        chosen = set(super().keys(first, last))
        if first is None:
            return sorted(chosen)
        begun = {links.since.date().isoformat() for key in chosen if (links := self._links(key)) and links.since}
        return sorted(chosen | {key for key in begun if self.is_wanted(key)})

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        yield from ((self.asset("state_intervals"), day) for day in self._window(key))
        for source in self._listing_sources:
            yield from ((f"readings/{source}", day) for day in _beside(key))

    def shape(self, key: str) -> str:
        return repr((self._listing_sources, self._tellers))

    def _links(self, key: str) -> DayLinks | None:
        """How the faults of a day hang together with its neighbours; None when nothing tells them."""
        if key not in self._links_by_day:
            self._links_by_day[key] = self._read_links(key) if self._tellers and self.is_wanted(key) else None
        return self._links_by_day[key]

    def _read_links(self, key: str) -> DayLinks | None:
        is_fault = pl.col("signal") == "fault"
        try:
            rows = self.lake.read(self.asset("state_intervals"), [key], columns=faults.LINK_COLUMNS, where=is_fault)
        except DamagedPartitionError:
            return None
        return None if rows is None else faults.fault_links(rows, day_of(key))

    def _window(self, key: str) -> list[str]:
        """The days of states that the faults of this day need: those beside it, and on to where the last has ended."""
        window = [*_beside(key)]
        links = self._links(key)
        # A fault that has gone on since an earlier day is no business of this one.
        goes_on = links is not None and links.goes_on and not links.throughout
        day = key
        while goes_on and len(window) <= faults.MOST_DAYS + 1:
            day = shifted(day, 1)
            if day not in window:
                window.append(day)
            links = self._links(day)
            goes_on = links is not None and links.throughout
        return window

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        made = {}
        read = sorted({day for key in keys for day in _beside(key)})
        told = [
            rows
            for source in self._listing_sources
            if (
                rows := self.lake.read(
                    f"readings/{source}", read, columns=faults.READING_COLUMNS, where=faults.is_event_reading()
                )
            )
            is not None
        ]
        readings = conform(pl.concat(told) if told else None, "readings").select(faults.READING_COLUMNS)
        days = sorted({day for key in keys for day in self._window(key)})
        states = conform(
            self.lake.read(self.asset("state_intervals"), days, columns=faults.STATE_COLUMNS, where=faults.is_read()),
            "state_intervals",
        ).select(faults.STATE_COLUMNS)
        for key in keys:
            start = midnight(day_of(key))
            window = self._window(key)
            # Each day sees its own window alone, so that it is the same however many are done at once.
            seen = states.filter(pl.col("start").dt.date().is_in([day_of(day) for day in window]))
            told_then = readings.filter(pl.col("time").is_between(*_around(start), closed="left"))
            teller = self._tellers[0] if len(self._tellers) == 1 else None
            made[key] = faults.faults(self.plant.id, told_then, seen, teller, start, start + timedelta(days=1))
        return {"faults": made}


def _beside(key: str) -> tuple[str, str, str]:
    """A day with its neighbours: by a clock that is off an event may be read before it happens."""
    return shifted(key, -1), key, shifted(key, 1)


def _around(start: datetime) -> tuple[datetime, datetime]:
    return start - timedelta(days=1), start + timedelta(days=2)
