"""States → runs of the compressor, by the UTC day on which they begin → how it cycled, by local day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import polars as pl

from hp_pipeline.assets.stages.chain import BehindChainStage
from hp_pipeline.assets.stages.stage import Listing, Outcome, between, by_day, day_of, midnight, shifted
from hp_pipeline.assets.stages.states import by_period, local_bounds
from hp_pipeline.assets.workspace import Plant
from hp_pipeline.lake import DamagedPartitionError
from hp_pipeline.transforms import cycling
from hp_pipeline.transforms.schema import conform
from hp_pipeline.transforms.states import DayLinks


class CompressorRunsStage(BehindChainStage):
    """Table `state_intervals` → `compressor_runs`, each under the UTC day on which it begins."""

    tables = ("compressor_runs",)

    def __init__(self, plant: Plant, listing: Listing | None = None) -> None:
        super().__init__(plant, listing)
        self._links_by_day: dict[str, DayLinks | None] = {}
        self._states_by_day: dict[str, pl.DataFrame] = {}

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with states."""
        return set(between(self.listed(self.asset("state_intervals")), first, last, self.reach + 3))

    def is_wanted(self, key: str) -> bool:
        return self.has(self.asset("state_intervals"), key)

    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """Within a range, also the days on which runs begin that reach into it."""
        chosen = set(super().keys(first, last))
        if first is None:
            return sorted(chosen)
        begun = {links.since.date().isoformat() for key in chosen if (links := self._links(key)) and links.since}
        return sorted(chosen | {key for key in begun if self.is_wanted(key)})

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(self.asset("state_intervals"), day) for day in self._window(key)]

    def shape(self, key: str) -> str:
        rules = self.plant.rules
        return repr((rules.minimum_off, rules.quarantine, rules.frame_interval))

    def _links(self, key: str) -> DayLinks | None:
        """How the runs of a day hang together with its neighbours; None when it has no states that can be read."""
        if key not in self._links_by_day:
            self._links_by_day[key] = self._read_links(key) if self.is_wanted(key) else None
        return self._links_by_day[key]

    def _read_links(self, key: str) -> DayLinks | None:
        try:
            rows = self._states(key)
        except DamagedPartitionError:
            return None
        return cycling.run_links(rows, day_of(key))

    def _states(self, key: str) -> pl.DataFrame:
        """What is read of a day's states, read once: for its links, and to make what needs it.

        Raises:
            DamagedPartitionError: it cannot be read.
        """
        if key not in self._states_by_day:
            asset = self.asset("state_intervals")
            rows = self.lake.read(asset, [key], columns=cycling.STATE_COLUMNS, where=cycling.is_read())
            self._states_by_day[key] = conform(rows, "state_intervals").select(cycling.STATE_COLUMNS)
        return self._states_by_day[key]

    def _window(self, key: str) -> list[str]:
        """The days that the runs beginning on this day need: the one before, and on to where the last has ended."""
        window = [shifted(key, -1), key]
        links = self._links(key)
        # A run that has gone on since an earlier day is no business of this one.
        goes_on = links is not None and links.goes_on and not links.throughout
        while goes_on:
            window.append(shifted(window[-1], 1))
            links = self._links(window[-1])
            goes_on = links is not None and links.throughout
        return window

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        days = sorted({day for key in keys for day in self._window(key)})
        start, end = midnight(day_of(keys[0])), midnight(day_of(keys[-1]) + timedelta(days=1))
        states = pl.concat([self._states(day) for day in days])
        return {"compressor_runs": by_day(cycling.runs(states, start, end, self.plant.rules), keys)}


class CyclingDailyStage(BehindChainStage):
    """Tables `compressor_runs`, `state_daily` and the device's own counters → `cycling_daily`."""

    tables = ("cycling_daily",)
    stretch_factor = 4

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Local days with states."""
        days = self.plant.rules.short_cycling_days
        return set(between(self.listed(self.asset("state_daily")), first, last, self.reach + 3 + days))

    def is_wanted(self, key: str) -> bool:
        return self.has(self.asset("state_daily"), key)

    def _touched(self, key: str, days_before: int = 0) -> list[str]:
        """The UTC days that a local day, the days before it and the last hour before them touch."""
        start = local_bounds(shifted(key, -days_before), self.plant.time_zone)[0] - cycling.HOUR
        last = (local_bounds(key, self.plant.time_zone)[1] - timedelta(seconds=1)).date()
        return [shifted(start.date().isoformat(), count) for count in range((last - start.date()).days + 1)]

    def _run_days(self, key: str) -> list[str]:
        return self._touched(key, self.plant.rules.short_cycling_days - 1)

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        yield self.asset("state_daily"), key
        yield from ((self.asset("compressor_runs"), day) for day in self._run_days(key))
        if self._is_counted:
            yield from ((self.asset(table), day) for table in _COUNTED for day in self._touched(key))

    @property
    def _is_counted(self) -> bool:
        """Whether the device tells a counter of what is counted here."""
        return any(name in self.plant.mappings for name in cycling.DEVICE_COUNTERS)

    def shape(self, key: str) -> str:
        rules = self.plant.rules
        judged_by = (rules.short_cycling_starts, rules.short_cycling_period, rules.short_cycling_days)
        return repr((judged_by, rules.minimum_coverage, self.plant.time_zone, self._is_counted))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        days = sorted({day for key in keys for day in self._run_days(key)})
        touched = sorted({day for key in keys for day in self._touched(key)}) if self._is_counted else []
        counted = {
            table: conform(self.lake.read(self.asset(table), touched, columns=columns), table).select(columns)
            for table, columns in _COUNTED.items()
        }
        made = cycling.cycling_daily(
            conform(self.lake.read(self.asset("compressor_runs"), days), "compressor_runs"),
            conform(self.lake.read(self.asset("state_daily"), keys), "state_daily"),
            counted["counters"],
            counted["counter_states"],
            [day_of(key) for key in keys],
            self.plant.time_zone,
            self.plant.rules,
        )
        return {"cycling_daily": by_period(made, keys)}


_COUNTED = {"counters": cycling.COUNTER_COLUMNS, "counter_states": cycling.STOOD_COLUMNS}
