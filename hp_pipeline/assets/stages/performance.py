"""Frames, operation and counters → heat by two methods in stretches of five minutes, by UTC day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cached_property

import polars as pl

from hp_pipeline.assets.stages.stage import Outcome, Stage, between, by_day, shifted
from hp_pipeline.transforms import performance
from hp_pipeline.transforms.counted_power import COUNTER_COLUMNS, with_counted_power
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.energies import POWERS, counters_of
from hp_pipeline.vocabulary.tables.counters import FIRST_OF_METERS

_METHOD_SIGNALS = frozenset({"compressor_modulation", "flow_rate"})
"""Without any of them no method tells heat."""


class PerformanceStage(Stage):
    """Tables `frames` and `operation`, and `counters` where no electrical power is told → `performance_5min`."""

    tables = ("performance_5min",)
    version = 2

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with operation, where there is a method."""
        days = between(self.listed(self.asset("operation")), first, last, self.reach + 2)
        return {key for key in days if self.is_wanted(key)}

    def is_wanted(self, key: str) -> bool:
        return not _METHOD_SIGNALS.isdisjoint(self.plant.mappings) and self.has(self.asset("operation"), key)

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        yield from ((self.asset(table), key) for table in ("frames", "operation"))
        if self._believed:
            yield from ((self.asset("counters"), day) for day in (key, shifted(key, 1)))

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.heat_pump.rated_power_kw, self._believed))

    @cached_property
    def _believed(self) -> Mapping[str, int]:
        """By signal the precedence of the counters of electricity that stand for its power, where none is told: of the
        whole, else of its purposes, and a meter's before the machine's."""
        if POWERS["electrical"] in self.plant.mappings:
            return {}
        for mappings, first in ((self.plant.meter_mappings, FIRST_OF_METERS), (self.plant.own_mappings, 0)):
            if told := counters_of("electrical", mappings):
                return dict.fromkeys(told, first)
        return {}

    def _ends(self, first: date, last: date) -> set[str]:
        """Also those around the last that is not empty: there the newest frame lies."""
        return super()._ends(first, last) | self._around_filled(self.stored[::-1])

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        columns = {"frames": performance.FRAME_COLUMNS, "operation": performance.OPERATION_COLUMNS}
        parts = {}
        for table, names in columns.items():
            rows = self.lake.read(self.asset(table), keys, columns=names)
            wanted = conform(None, table).select(names)
            parts[table] = wanted if rows is None else rows.cast(wanted.schema).sort("start")
        if self._believed:
            days = sorted({*keys, *(shifted(key, 1) for key in keys)})
            rows = self.lake.read(self.asset("counters"), days, columns=COUNTER_COLUMNS)
            counted = conform(rows, "counters").select(COUNTER_COLUMNS)
            parts["frames"] = with_counted_power(parts["frames"], counted, self._believed, performance.WINDOW)
        rated = self.plant.heat_pump.rated_power_kw
        made = performance.performance_5min(parts["frames"], parts["operation"], rated, self.plant.rules)
        return {"performance_5min": by_day(made, keys)}
