"""Faults of devices and transports, injected into readings, with a log of every one.

Faults come after the sensors, so the truth of a run stays what it is. What comes out is a delivery: rows in the order
of their arrival, which may repeat or disorder them; a source must make readings of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import numpy as np
import polars as pl

from hp_pipeline.simulation.sensors import NUMBER_POINTS, TEXT_POINTS


class Fault(StrEnum):
    """Kinds of faults, each seen in the field."""

    OUTAGE = "outage"
    """Nothing arrives of any point (power cut, network)."""
    UNAVAILABLE = "unavailable"
    """One point stops arriving (Home Assistant writes no point for `unavailable`)."""
    MISSING_FIELD = "missing_field"
    """One point never arrives again (a label was renamed by an update)."""
    SPIKE = "spike"
    """One reading far off, right again with the next."""
    GLITCH = "glitch"
    """One poll of the controller reads Target Delta T and Outdoor as 0.0 together."""
    SENTINEL = "sentinel"
    """A number that means `no sensor` stands for minutes."""
    FROZEN = "frozen"
    """One point repeats its last reading."""
    TYPE_CHANGE = "type_change"
    """Numbers arrive as text."""
    CLOCK_OFFSET = "clock_offset"
    """The power meter's clock is wrong for a while."""
    DUPLICATED = "duplicated"
    """Rows are delivered twice."""
    OUT_OF_ORDER = "out_of_order"
    """A batch is delivered in disorder."""


@dataclass(frozen=True)
class FaultPlan:
    """How often and how badly; counts are per day (Poisson), durations mean values in minutes."""

    outages: float = 1.0
    outage_minutes: float = 20.0
    unavailable: float = 0.5
    unavailable_minutes: float = 45.0
    missing_fields: int = 0
    """Points that vanish for good, somewhere in the last third."""
    spikes: float = 2.0
    glitches: float = 1.0
    sentinels: float = 0.3
    sentinel_value: float = -60.0
    sentinel_minutes: float = 10.0
    frozen: float = 0.3
    frozen_minutes: float = 90.0
    type_changes: float = 0.2
    type_change_minutes: float = 30.0
    clock_offsets: float = 0.1
    clock_offset_s: float = 317.0
    clock_offset_minutes: float = 120.0
    duplicated: float = 2.0
    out_of_order: float = 2.0
    batch_minutes: float = 15.0
    interval_s: float = 30.0
    """Polling interval of the readings: after so long a single wrong reading is put right."""


@dataclass(frozen=True)
class FaultyReadings:
    """What a source receives, and what was done to it."""

    readings: pl.DataFrame
    """point, time, value, text in the order of arrival; neither sorted nor unique."""
    faults: pl.DataFrame
    """source, kind, start, end (exclusive), point (null: all), rows (touched), detail; sorted by start."""


FAULTS_SCHEMA: Final = pl.Schema(
    {
        "source": pl.String(),
        "kind": pl.String(),
        "start": pl.Datetime("us", "UTC"),
        "end": pl.Datetime("us", "UTC"),
        "point": pl.String(),
        "rows": pl.Int64(),
        "detail": pl.String(),
    }
)
_TEMPERATURES: Final = ("flow_temperature", "return_temperature", "outdoor_temperature", "room_temperature")
_METER: Final = NUMBER_POINTS["electrical_power"]
_DUE: Final = "_due"


def inject_faults(
    readings: pl.DataFrame, plan: FaultPlan | None = None, *, seed: int = 13, source: str = "demo_house"
) -> FaultyReadings:
    """Injects faults into sorted readings; deterministic for (readings, plan, seed).

    Faults keep two minutes apart from each other (points that vanish for good excepted), so that each can be found
    for what it is. A fault that touches no reading, or finds no room, is not injected and not logged.
    """
    if readings.is_empty():
        return FaultyReadings(readings, pl.DataFrame(schema=FAULTS_SCHEMA))
    return _Injector(readings, plan or FaultPlan(), seed, source).run()


class _Injector:
    """The delivery while it is being spoiled: readings with an arrival order, and the log."""

    def __init__(self, readings: pl.DataFrame, plan: FaultPlan, seed: int, source: str) -> None:
        self.frame = readings.with_columns(pl.col("time").alias(_DUE))
        self.plan = plan
        self.rng = np.random.default_rng((seed, 404))
        self.source = source
        self.log: list[dict[str, object]] = []
        self.taken: list[tuple[datetime, datetime]] = []
        self.begin: datetime = readings["time"].min()  # type: ignore[assignment]
        self.end: datetime = readings["time"].max()  # type: ignore[assignment]
        self.days = (self.end - self.begin) / timedelta(days=1)

    def run(self) -> FaultyReadings:
        plan = self.plan
        self._windows(Fault.SENTINEL, plan.sentinels, plan.sentinel_minutes, self._sentinel)
        self._windows(Fault.FROZEN, plan.frozen, plan.frozen_minutes, self._freeze)
        self._windows(Fault.TYPE_CHANGE, plan.type_changes, plan.type_change_minutes, self._as_text)
        self._windows(Fault.SPIKE, plan.spikes, 0.0, self._spike)
        self._windows(Fault.GLITCH, plan.glitches, 0.0, self._glitch)
        self._windows(Fault.CLOCK_OFFSET, plan.clock_offsets, plan.clock_offset_minutes, self._shift_clock)
        self._windows(Fault.OUTAGE, plan.outages, plan.outage_minutes, self._outage)
        self._windows(Fault.UNAVAILABLE, plan.unavailable, plan.unavailable_minutes, self._unavailable)
        for _ in range(plan.missing_fields):
            self._missing_field()
        self.frame = self.frame.sort(_DUE, "point", maintain_order=True)
        self._windows(Fault.DUPLICATED, plan.duplicated, plan.batch_minutes, self._duplicate)
        self._windows(Fault.OUT_OF_ORDER, plan.out_of_order, plan.batch_minutes, self._shuffle)
        faults = pl.DataFrame(self.log, schema=FAULTS_SCHEMA, orient="row").sort("start", "kind")
        return FaultyReadings(self.frame.drop(_DUE), faults)

    def _windows(
        self,
        kind: Fault,
        per_day: float,
        mean_minutes: float,
        spoil: Callable[[datetime, datetime], tuple[str | None, int, str]],
    ) -> None:
        """Draws windows of a kind and spoils them; `spoil` says which point, how many rows, and how."""
        margin_s = 120.0 + (self.plan.clock_offset_s if kind is Fault.CLOCK_OFFSET else 0.0)
        for _ in range(int(self.rng.poisson(per_day * self.days))):
            minutes = max(1.0, self.rng.exponential(mean_minutes)) if mean_minutes else self.plan.interval_s / 60
            start = self._free(timedelta(minutes=minutes), timedelta(seconds=margin_s))
            if start is None:
                continue
            stop = start + timedelta(seconds=round(60 * minutes, 3))
            point, rows, detail = spoil(start, stop)
            if rows:
                self.taken.append((start - timedelta(seconds=margin_s), stop + timedelta(seconds=margin_s)))
                self._record(kind, start, stop, point, rows, detail)

    def _free(self, length: timedelta, margin: timedelta) -> datetime | None:
        """A random start for a window that no other fault comes near, or None if twenty tries find none."""
        for _ in range(20):
            start = self.begin + timedelta(seconds=round(float(self.rng.uniform()) * self.days * 86_400, 3))
            stop = start + length + margin
            if all(stop <= begin or start - margin >= end for begin, end in self.taken):
                return start
        return None

    def _record(self, kind: Fault, start: datetime, stop: datetime, point: str | None, rows: int, detail: str) -> None:
        self.log.append(
            {
                "source": self.source,
                "kind": kind.value,
                "start": start,
                "end": stop,
                "point": point,
                "rows": rows,
                "detail": detail,
            }
        )

    def _pick(self, signals: tuple[str, ...]) -> str:
        return NUMBER_POINTS[signals[int(self.rng.integers(len(signals)))]]

    @staticmethod
    def _inside(start: datetime, stop: datetime, point: str | None = None) -> pl.Expr:
        inside = pl.col("time").is_between(start, stop, closed="left")
        return inside if point is None else inside & (pl.col("point") == point)

    def _count(self, chosen: pl.Expr) -> int:
        return int(self.frame.select(chosen.sum()).item())

    def _last_value(self, point: str, before: datetime) -> float | None:
        """The number that the point shows at a time."""
        own = self.frame.filter((pl.col("point") == point) & (pl.col("time") <= before) & pl.col("value").is_not_null())
        return None if own.is_empty() else float(own.sort("time")["value"][-1])

    def _put(self, point: str, start: datetime, stop: datetime, value: float) -> int:
        """Makes a point read `value` in [start, stop) and its right value again from then on."""
        right = self._last_value(point, stop)
        if right is None:
            return 0
        rows = pl.DataFrame(
            {
                "point": [point, point],
                "time": [start, stop],
                "value": [value, right],
                "text": [None, None],
                _DUE: [start, stop],
            },
            schema=self.frame.schema,
        )
        kept = self.frame.filter(~(self._inside(start, stop, point)))
        already = kept.select(((pl.col("point") == point) & (pl.col("time") == stop)).any()).item()
        self.frame = pl.concat([kept, rows[:1] if already else rows])
        return 1

    def _sentinel(self, start: datetime, stop: datetime) -> tuple[str | None, int, str]:
        point = self._pick(_TEMPERATURES)
        value = self.plan.sentinel_value
        return point, self._put(point, start, stop, value), f"reads {value}"

    def _spike(self, start: datetime, stop: datetime) -> tuple[str | None, int, str]:
        point = self._pick(_TEMPERATURES)
        before = self._last_value(point, start)
        if before is None:
            return point, 0, ""
        value = round(before + float(self.rng.choice((-1.0, 1.0)) * self.rng.uniform(15.0, 40.0)), 1)
        return point, self._put(point, start, stop, value), f"reads {value} instead of {before}"

    def _glitch(self, start: datetime, stop: datetime) -> tuple[str | None, int, str]:
        points = [NUMBER_POINTS["delta_t_setpoint"], NUMBER_POINTS["outdoor_temperature"]]
        rows = sum(self._put(point, start, stop, 0.0) for point in points)
        return None, rows, "Target Delta T and Outdoor read 0.0"

    def _freeze(self, start: datetime, stop: datetime) -> tuple[str | None, int, str]:
        point = self._pick(_TEMPERATURES)
        value = self._last_value(point, start)
        chosen = self._inside(start, stop, point)
        rows = self._count(chosen)
        if value is None:
            return point, 0, ""
        self.frame = self.frame.with_columns(pl.when(chosen).then(value).otherwise(pl.col("value")).alias("value"))
        return point, rows, f"stays at {value}"

    def _as_text(self, start: datetime, stop: datetime) -> tuple[str | None, int, str]:
        point = self._pick(("flow_temperature", "return_temperature", "flow_rate"))
        chosen = self._inside(start, stop, point) & pl.col("value").is_not_null()
        rows = self._count(chosen)
        self.frame = self.frame.with_columns(
            pl.when(chosen).then(pl.col("value").cast(pl.String)).otherwise(pl.col("text")).alias("text"),
            pl.when(chosen).then(None).otherwise(pl.col("value")).alias("value"),
        )
        return point, rows, "numbers as text"

    def _shift_clock(self, start: datetime, stop: datetime) -> tuple[str | None, int, str]:
        offset = timedelta(seconds=round(float(self.rng.choice((-1.0, 1.0))) * self.plan.clock_offset_s))
        chosen = self._inside(start, stop, _METER)
        rows = self._count(chosen)
        self.frame = self.frame.with_columns(
            pl.when(chosen).then(pl.col("time") + offset).otherwise(pl.col("time")).alias("time")
        )
        return _METER, rows, f"stamped {offset.total_seconds():+.0f} s"

    def _lose(self, chosen: pl.Expr) -> int:
        rows = self._count(chosen)
        self.frame = self.frame.filter(~chosen)
        return rows

    def _outage(self, start: datetime, stop: datetime) -> tuple[str | None, int, str]:
        return None, self._lose(pl.col(_DUE).is_between(start, stop, closed="left")), "nothing arrives"

    def _unavailable(self, start: datetime, stop: datetime) -> tuple[str | None, int, str]:
        points = [*NUMBER_POINTS.values(), *TEXT_POINTS.values()]
        point = points[int(self.rng.integers(len(points)))]
        return point, self._lose(self._inside(start, stop, point)), "no readings of this point"

    def _missing_field(self) -> None:
        point = list(TEXT_POINTS.values())[int(self.rng.integers(len(TEXT_POINTS)))]
        start = self.end - timedelta(seconds=round(self.rng.uniform(0.0, self.days / 3) * 86_400))
        stop = self.end + timedelta(microseconds=1)
        rows = self._lose(self._inside(start, stop, point))
        if rows:
            self._record(Fault.MISSING_FIELD, start, stop, point, rows, "gone for good")

    def _duplicate(self, start: datetime, stop: datetime) -> tuple[str | None, int, str]:
        again = self.frame.filter(self._inside(start, stop)).with_columns(pl.lit(stop).alias(_DUE))
        due = pl.col(_DUE) < stop
        self.frame = pl.concat([self.frame.filter(due), again, self.frame.filter(~due)])
        return None, again.height, "delivered twice"

    def _shuffle(self, start: datetime, stop: datetime) -> tuple[str | None, int, str]:
        inside = pl.col(_DUE).is_between(start, stop, closed="left")
        batch = self.frame.filter(inside)
        order = self.rng.permutation(batch.height)
        batch = batch[order].with_columns(pl.lit(start).alias(_DUE))
        before, after = pl.col(_DUE) < start, pl.col(_DUE) >= stop
        self.frame = pl.concat([self.frame.filter(before), batch, self.frame.filter(after)])
        return None, batch.height, "delivered in disorder"
