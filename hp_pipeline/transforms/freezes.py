"""Counters that stood still while the machine ran: of that time they tell nothing, or later all of it at once.

A counter that stands still has used less than one of its steps, if it is right. What a power of the same kind of energy
tells of the same time is held against that, day by day, by what the day and the days beside it tell. Only what no right
counter can have missed speaks against it:

- energy that was told more than `increments.REACH` before the last reading that still shows the same number: a counter
  may be late by that much;
- while the compressor ran, in the counter's own mode where it counts one, and not in a defrost. What runs beside the
  compressor (a pump, a heating rod, a control) may be in the power and not in the counter;
- above `OFFSET_W`: so much may a power be off, or have besides, all the time.

More of it than `STEPS` of the counter and `MARGIN_KWH`, and the counter is wrong: a power that tells half or twice of
what was used never makes a right one look so. Of counters of one purpose all together must lack it, too: a mode that
was taken for another moves energy between them.

Then what it counted is not known from its last movement on, until it moves again. Where it moves by a step that has at
least half (`BELIEVED`) of what was told, within two UTC days, it has caught up: the step is its word on the whole time,
and is spread over it by the power. Where it moves by less, the rest was lost. After more than two days a step that only
older days explain is left out: those have the power's word already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC as ZONE
from datetime import date, datetime, time, timedelta
from functools import cache, partial
from typing import Final

import polars as pl

from hp_pipeline.transforms.increments import EXACT, REACH, RunningSum
from hp_pipeline.transforms.schema import UTC
from hp_pipeline.transforms.sums import MJ_PER_KWH
from hp_pipeline.vocabulary.energies import COUNTER_SIGNALS, COUNTERS
from hp_pipeline.vocabulary.tables.counters import CAUGHT_UP, UNKNOWN
from hp_pipeline.vocabulary.ways import DEVICE_COUNTER, METER_COUNTER

OFFSET_W: Final[Mapping[str, float]] = {"electrical": 100.0, "thermal": 1000.0, "immersion": 100.0, "backup": 100.0}
"""By kind of energy the power that speaks against no counter. Of heat as much as sensors that are 0.6 K apart at rest
make of 1500 l/h."""

MARGIN_KWH: Final[Mapping[str, float]] = {"electrical": 1.5, "thermal": 3.0, "immersion": 1.5, "backup": 1.5}
"""By kind of energy how much more than two steps a counter must lack."""

STEPS: Final = 2
UNKNOWN_STEP_KWH: Final = 1.0
"""Of a counter whose step nobody tells."""

BELIEVED: Final = 0.5
"""The share of what a power tells that is true however wrong it is."""

_DAY: Final = timedelta(days=1)
_COUNTS_ON: Final = ("step", "late", "owner", *EXACT)
_WHOSE: Final = ("source", "signal", "point", "precedence")
_COUNTS: Final[Mapping[str, tuple[str, str | None]]] = {
    signal: (kind, purpose)
    for kind, (total, purposes) in COUNTERS.items()
    for signal, purpose in {total: None, **purposes}.items()
}
"""By signal the kind of energy and the purpose that a counter counts."""

FREEZES: Final = pl.Schema(
    {
        "source": pl.String(),
        "signal": pl.String(),
        "point": pl.String(),
        "precedence": pl.Int64(),
        "start": UTC,
        "end": UTC,
        "since": UTC,
        "moved": UTC,
        "verdict": pl.String(),
        "told": pl.Int64(),
        "increment": pl.Float64(),
        "counted_from": UTC,
    }
)
"""What `freezes` finds: of each UTC day the part (`start`, `end`; empty where it moved at midnight) of the time `since`
which a counter did not move, up to where it `moved` (null: not within the next day) by `increment` (kWh); and what the
power told of the part (mJ). On the day on which it moved `counted_from` says since when that was counted: null where it
says nothing of any time."""


def freezes(
    rows: pl.DataFrame, counters: pl.DataFrame, states: pl.DataFrame, steps_kwh: Mapping[str, Mapping[str, float]]
) -> pl.DataFrame:
    """The stand-stills of counters of energy that were none, by UTC day: `FREEZES`.

    What is found of a day follows from the day and the days beside it, whatever else is there.

    Args:
        rows: frames, sorted: `start`, `end`, `span` (microseconds), `mode`, `compressor_running`, `defrost` and the
            integrals of the powers (mJ), `…_integral`.
        counters, states: tables, as of `energy.Energies`.
        steps_kwh: by kind of energy and way the step of its counters (`Metering.quanta_kwh`).
    """
    still = [
        table.filter(pl.col("signal").is_in(list(COUNTER_SIGNALS)), pl.col(until) - pl.col(since) > REACH).select(
            _WHOSE
        )
        for table, since, until in ((counters, "start", "last_unchanged"), (states, "since", "time"))
    ]
    found: list[tuple[object, ...]] = []
    days = rows["start"].dt.date().unique().sort().to_list()
    told = cache(partial(_Told, rows))
    for whose in pl.concat(still).unique().sort(_WHOSE).rows():
        own = pl.all_horizontal(pl.col(name) == value for name, value in zip(_WHOSE, whose, strict=True))
        _, signal, _, precedence = whose
        kind, purpose = _COUNTS[signal]
        step = steps_kwh.get(kind, {}).get(METER_COUNTER if precedence < 0 else DEVICE_COUNTER, 0.0)
        steps = round(STEPS * (step or UNKNOWN_STEP_KWH) * MJ_PER_KWH)
        margin = steps + round(MARGIN_KWH[kind] * MJ_PER_KWH)
        of_purposes = pl.col("signal").is_in(list(COUNTERS[kind][1])) & ((pl.col("precedence") < 0) == (precedence < 0))
        stands = _Stands(
            counters.filter(own), states.filter(own), told(kind), purpose, steps, margin, counters.filter(of_purposes)
        )
        found += [(*whose, *row) for row in stands.frozen(days)]
    return pl.DataFrame(found, schema=FREEZES, orient="row").sort(*_WHOSE, "start")


@dataclass(frozen=True)
class _Still:
    """A stand-still of a counter, as a day and the next one know it.

    Attributes:
        since: first reading that shows the number.
        until: last one.
        moved: first reading that shows another; None while none does.
        increment: by how much it moved then, kWh.
        counts_on: whether that is what it counted, and all it counted.
        over_gap: whether its source was silent before it moved.
    """

    since: datetime
    until: datetime
    moved: datetime | None = None
    increment: float | None = None
    counts_on: bool = False
    over_gap: bool = False

    @property
    def end(self) -> datetime:
        """Up to where it tells nothing: what a counter shows that began again was counted after its last reading."""
        return self.moved if self.moved is not None and self.counts_on else self.until


class _Told:
    """What a power tells of a kind of energy, as functions of time."""

    def __init__(self, rows: pl.DataFrame, kind: str) -> None:
        self._rows, self._kind = rows, kind
        self._sum = cache(self._running_sum)

    def _running_sum(self, what: str, purpose: str | None) -> RunningSum:
        amount, span = pl.col(f"{self._kind}_integral"), pl.col("span")
        if self._kind == "thermal" and purpose == "cooling":
            amount = -amount
        for_it = pl.lit(True) if purpose is None else (pl.col("mode") == purpose).fill_null(False)
        if what == "heard":
            shown = pl.when(amount.is_not_null()).then(span).otherwise(0)
        elif what == "whole":
            shown = pl.when(for_it).then(amount.clip(0)).otherwise(0)
        else:
            if self._kind in {"electrical", "thermal"}:
                for_it &= pl.col("compressor_running").fill_null(False) & ~pl.col("defrost").fill_null(False)
            offset = (span * (OFFSET_W[self._kind] / 1000)).round()
            shown = pl.when(for_it).then((amount - offset).clip(0)).otherwise(0)
        sums = self._rows.select("start", "span", amount=shown.fill_null(0).cast(pl.Int64))
        return RunningSum(sums["start"], sums["span"], sums["amount"])

    def amounts(self, what: str, purpose: str | None, begins: pl.Series, ends: pl.Series) -> pl.Series:
        """Of each stretch what is told (mJ), `whole` or `beyond` doubt; or the time (µs) in which anything is
        `heard`."""
        running = self._sum(what, purpose)
        return running.at(ends) - running.at(begins)

    def amount(self, what: str, purpose: str | None, begin: datetime, end: datetime) -> int:
        """The same of one stretch; 0 of none."""
        if end <= begin:
            return 0
        begins, ends = (pl.Series([moment], dtype=UTC) for moment in (begin, end))
        return int(self.amounts(what, purpose, begins, ends).item())


class _Stands:
    """How one counter stood still.

    Args:
        rows: of table `counters`, its own.
        states: table `counter_states` with `day`, its own.
        told: of its kind of energy.
        purpose: which it counts.
        steps: `STEPS` of the counter, mJ.
        margin: these and `MARGIN_KWH`, mJ.
        beside: of table `counters` those of all its kind's purposes, its own too, of meters or of the machine as it is.
    """

    def __init__(
        self,
        rows: pl.DataFrame,
        states: pl.DataFrame,
        told: _Told,
        purpose: str | None,
        steps: int,
        margin: int,
        beside: pl.DataFrame,
    ) -> None:
        self._told, self._purpose, self._steps, self._margin, self._beside = told, purpose, steps, margin, beside
        self._stood: dict[date, tuple[datetime, datetime]] = {
            day: (since, read) for day, since, read in states.select("day", "since", "time").iter_rows()
        }
        long = rows.filter(pl.col("last_unchanged") - pl.col("start") > REACH).sort("end")
        self._moves = [
            _Still(since, until, moved, increment, kind in _COUNTS_ON, over_gap)
            for since, until, moved, increment, kind, over_gap in long.select(
                "start", "last_unchanged", "end", "increment", "kind", "over_gap"
            ).iter_rows()
        ]

    def frozen(self, days: Sequence[date]) -> Iterator[tuple[object, ...]]:
        """Rows of `FREEZES`, without whose they are."""
        for day in days:
            begin = datetime.combine(day, time(), ZONE)
            for still in self._still_on(day, begin):
                verdict = self._verdict(still, begin)
                if verdict is None:
                    continue
                part = max(still.since, begin), min(still.end, begin + _DAY)
                told = self._told.amount("whole", self._purpose, *part)
                counted_from = still.since if verdict == CAUGHT_UP else None if still.counts_on else still.until
                yield *part, still.since, still.moved, verdict, told, still.increment, counted_from

    def _still_on(self, day: date, begin: datetime) -> Iterator[_Still]:
        """The stand-stills on a day, as it and the next one know them."""
        for still in self._moves:
            if still.moved is not None and still.since < begin + _DAY and begin <= still.moved < begin + 2 * _DAY:
                yield still
        known = self._stood.get(day + _DAY) or self._stood.get(day)
        if known is not None and known[0] < begin + _DAY and known[1] > begin:
            yield _Still(*known)

    def _verdict(self, still: _Still, begin: datetime) -> str | None:
        """What a stand-still is on the day that begins at `begin`; None where the counter may be right."""
        window = max(still.since, begin - _DAY), still.until - REACH
        if not self._lacks(*window):
            return UNKNOWN if self._is_of_older_days(still, begin) else None
        if still.moved is None or still.increment is None or still.over_gap or not still.counts_on:
            return UNKNOWN
        counted = still.increment * MJ_PER_KWH + self._steps
        told = BELIEVED * self._told.amount("beyond", self._purpose, *window)
        within_two_days = (still.moved.date() - still.since.date()).days <= 1
        return CAUGHT_UP if within_two_days and told <= counted else UNKNOWN

    def _lacks(self, begin: datetime, end: datetime) -> bool:
        """Whether more was used within a stretch than a counter that stood still can have missed."""
        if self._told.amount("beyond", self._purpose, begin, end) <= self._margin:
            return False
        if self._purpose is None:
            return True
        together = pl.col("end").is_between(begin, end + REACH, closed="right")
        counted = float(self._beside.filter(together)["increment"].sum()) * MJ_PER_KWH
        return BELIEVED * self._told.amount("beyond", None, begin, end) > counted + self._margin

    def _is_of_older_days(self, still: _Still, begin: datetime) -> bool:
        """Whether it moved, after standing still since before the day before, by what the days known do not explain;
        what it counted over a silence belongs to that."""
        if still.moved is None or still.increment is None or still.over_gap or not still.counts_on:
            return False
        if still.since >= begin - _DAY:
            return False
        heard = self._told.amount("heard", None, still.moved - REACH, still.moved)
        told = self._told.amount("whole", self._purpose, begin - _DAY, still.moved)
        missing = BELIEVED * still.increment * MJ_PER_KWH > told + self._margin
        return missing and 2 * heard > REACH / timedelta(microseconds=1)
