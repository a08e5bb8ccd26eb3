"""Readings → frames → operation: what the heat pump did, by UTC day."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property

import polars as pl

from hp_pipeline.assets.stages.stage import (
    Outcome,
    Stage,
    between,
    by_day,
    day_of,
    midnight,
    shifted,
)
from hp_pipeline.transforms import frames, operation, standstill, told
from hp_pipeline.transforms.decode import Decoded, decode
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.profiles import Profile


class FramesStage(Stage):
    """Readings of all inputs → table `frames`."""

    tables = ("frames",)
    version = 6

    @cached_property
    def _newest_key(self) -> str:
        return max((self.listed(asset)[-1] for asset in self.plant.readings if self.listed(asset)), default="")

    def _is_read(self, key: str) -> bool:
        return any(self.has(asset, key) for asset in self.plant.readings)

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with readings, and the day after one, into which its last frame may reach."""
        read = {
            key for asset in self.plant.readings for key in between(self.listed(asset), first, last, self.held_days + 1)
        }
        return {key for key in read | {shifted(key, 1) for key in read} if self.is_wanted(key)}

    def is_wanted(self, key: str) -> bool:
        return self._is_read(key) or (key < self._newest_key and self._is_read(shifted(key, -1)))

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(asset, shifted(key, days)) for asset in self.plant.readings for days in range(-self.held_days, 2)]

    def shape(self, key: str) -> str:
        return repr((self.plant.profile_words, self.plant.rules, self._more_follows(key)))

    def _more_follows(self, key: str) -> bool:
        return self._newest_key > key

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        start, end = midnight(day_of(keys[0])), midnight(day_of(keys[-1]) + timedelta(days=1))
        decoded = self._decoded(start, end)
        newest = decoded.times.filter(decoded.times < end).max()
        built = frames.build_frames(
            decoded,
            dict(self.plant.own_mappings),
            self.plant.id,
            start,
            end,
            self.plant.rules,
            isinstance(newest, datetime) and self._more_follows(newest.date().isoformat()),
        )
        outcome.doubts += decoded.doubts
        outcome.ambiguous |= decoded.ambiguous
        return {"frames": by_day(built, keys)}

    def _decoded(self, start: datetime, end: datetime) -> Decoded:
        first = (start - timedelta(days=self.held_days)).date()
        days = [(first + timedelta(days=i)).isoformat() for i in range((end.date() - first).days + 1)]
        beyond = end + max([self._margin, *self._spike_windows])
        inputs, polls = [], []
        for source, profile in self.plant.inputs:
            rows = self.lake.read(
                f"readings/{source}",
                days,
                columns=["point", "time", "value", "text", "origin"],
                where=pl.col("time") < beyond,
            )
            if rows is not None or profile.added:
                readings = conform(rows, "readings")
                inputs.append((told.full_series(readings, _known_to(profile)), profile))
                polls.append(told.polled(readings))
        return decode(inputs, polls)

    @property
    def _margin(self) -> timedelta:
        """How far behind a day readings still matter to it: they may show that a meter is silent."""
        if self.plant.meter_mappings:
            return self.plant.rules.session_gap + frames.SILENCE_SHOWS
        return self.plant.rules.hold

    @property
    def _spike_windows(self) -> list[timedelta]:
        return [mapping.spike.within for mapping in self.plant.mappings.values() if mapping.spike]


def _known_to(profile: Profile) -> Callable[[str], bool]:
    selectors = profile.selectors()
    return lambda point: any(selector.matches(point) for selector in selectors)


class OperationStage(Stage):
    """Table `frames` → `operation`: modes by the session rule; and `standstills`."""

    tables = ("operation", "standstills")
    version = 6

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with frames."""
        return set(between(self.listed(self.asset("frames")), first, last, self.held_days + 1))

    def is_wanted(self, key: str) -> bool:
        return self.has(self.asset("frames"), key)

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(self.asset("frames"), shifted(key, days)) for days in (-1, 0, 1)]

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.tells_dhw, self.more_frames_follow(shifted(key, 1))))

    def _ends(self, first: date, last: date) -> set[str]:
        """Also those around the last that is not empty: there the newest frame lies."""
        return super()._ends(first, last) | self._around_filled(self.stored[::-1])

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        start, end = midnight(day_of(keys[0])), midnight(day_of(keys[-1]) + timedelta(days=1))
        rows = self.lake.read(self.asset("frames"), [shifted(keys[0], -1), *keys, shifted(keys[-1], 1)])
        seen = conform(rows, "frames").select(operation.FRAME_COLUMNS).sort("start")
        margin = operation.wide_margin(seen)
        within = seen.filter(pl.col("start") >= start - margin, pl.col("start") < end + margin)
        beyond = seen.filter(pl.col("start") >= end + margin).height > 0
        more_follows = beyond or self.more_frames_follow(shifted(keys[-1], 1))
        modes = operation.operation(within, start, end, self.plant.rules, more_follows, self.plant.tells_dhw)
        running = within.with_columns(compressor_running=operation.compressor_running(self.plant.rules))
        still = standstill.standstills(running, start, end)
        return {"operation": by_day(modes, keys), "standstills": by_day(still, keys)}
