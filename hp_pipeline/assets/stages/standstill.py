"""Standstills of thirty days → the offset of flow and return sensor, by UTC day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta

import polars as pl

from hp_pipeline.assets.stages.stage import Outcome, Stage, between, by_day, day_of, midnight, shifted
from hp_pipeline.transforms import standstill
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.tables.standstill import OFFSET_DAYS


class SensorOffsetsStage(Stage):
    """Table `standstills` → `sensor_offsets`."""

    tables = ("sensor_offsets",)

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with operation, as many on as a standstill tells something."""
        behind = None if last is None else last + timedelta(days=OFFSET_DAYS)
        return set(between(self.listed(self.asset("standstills")), first, behind, self.reach + 1))

    def is_wanted(self, key: str) -> bool:
        return self.has(self.asset("standstills"), key)

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        asset = self.asset("standstills")
        return [(asset, shifted(key, -days)) for days in range(OFFSET_DAYS)]

    def shape(self, key: str) -> str:
        return repr(self.plant.unzeroed_because)

    def stretches(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """A year at once: the rows are few, and each day is made from thirty."""
        return (list(keys[first : first + 366]) for first in range(0, len(keys), 366))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        asset = self.asset("standstills")
        parts = sorted({part for key in keys for _, part in self.inputs(key) if self._has_rows(part)})
        rows = conform(self.lake.read(asset, parts) if parts else None, "standstills")
        days = [midnight(day_of(key)) for key in keys]
        made = standstill.sensor_offsets(rows, self.plant.id, days, self.plant.unzeroed_because)
        return {"sensor_offsets": by_day(made, keys)}

    def _has_rows(self, part: str) -> bool:
        receipt = self.receipt(self.asset("standstills"), part)
        return receipt is not None and receipt.rows > 0
