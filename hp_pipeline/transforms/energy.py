"""Two ways to every energy: by a counter, and by the integral of a power; and what a meter tells before the rest.

A counter tells exactly how much, but not when (`increments` spreads what it counted over time); the integral of a power
tells when. For each moment the first way that is known is chosen, in the order of `vocabulary.ways`: a meter's counter,
the integral of its power, the machine's own counter, the integral of whatever else its power is known by. Which counter
it is, of several of a kind, is decided in `energy_counters`.

Over a silence of a meter its counter tells how much, and the machine when. Where it cannot say how much, or not of each
day of the silence (`increments`), the other ways come first, and only where they tell nothing its part by time is
taken.

Energies are whole millijoules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC as ZONE
from datetime import date, datetime, time, timedelta
from functools import cache, partial
from types import MappingProxyType
from typing import Final

import polars as pl

from hp_pipeline.transforms.calendar import hour_start
from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.energy_counters import EnergyCounters, MeterCounters, Stretches
from hp_pipeline.transforms.freezes import freezes
from hp_pipeline.transforms.increments import Increments, MachinesWord, Weights
from hp_pipeline.transforms.mode_changes import divided_at_changes
from hp_pipeline.transforms.schema import UTC, conform
from hp_pipeline.transforms.sums import MJ_PER_KWH
from hp_pipeline.vocabulary.energies import KINDS, POWERS
from hp_pipeline.vocabulary.ways import (
    ASSUMED_FLOW,
    BITS,
    DEVICE_COUNTER,
    DEVICE_POWER,
    FLOW,
    METER_COUNTER,
    METER_POWER,
)

WAYS_OF: Final[Mapping[str, str]] = {"electrical": "electrical_way", "thermal": "thermal_way"}
"""The kinds of energy of which the way is told, with the column of the frames that tells it of the power."""

FRAME_COLUMNS: Final = ("start", "end", *POWERS.values(), "thermal_power_by_flow", *WAYS_OF.values())
"""What is read of the frames."""

_OPEN_AT: Final = ("open_begin", "open_end")
_BY_TIME_AT: Final = ("by_time_begin", "by_time_end")

_OF_FRAMES: Final = ("counter", "integral", "residual", "way", *_OPEN_AT, *_BY_TIME_AT)

_BOTH_COUNTERS: Final = BITS[METER_COUNTER] | BITS[DEVICE_COUNTER]


def integral(power: pl.Expr, span: pl.Expr) -> pl.Expr:
    """Power in W times microseconds → millijoules."""
    return divided(power * span, 1000).round().cast(pl.Int64)


class Energies:
    """The energies of a heat pump over some days, by both ways.

    Args:
        frames: of one heat pump, sorted (at least `FRAME_COLUMNS`); those within `REACH` before and behind the wanted
            ones are to be there.
        operation: table `operation` of the same frames.
        counters: table `counters`, all rows whose increment reaches into these frames.
        states: table `counter_states` with a column `day`, of these days and the days beside them.
        net_counters: the ways whose heat counter counts what defrosts take.
        own_signals: the signals that the machine tells by its profiles, read or not.
        metered_signals: those that meters tell.
        added: by kind of energy of which several meters measure a part each the sources of each part.
        steps_kwh: by kind of energy and way the step of its counters, where one is known.
    """

    def __init__(
        self,
        frames: pl.DataFrame,
        operation: pl.DataFrame,
        counters: pl.DataFrame,
        states: pl.DataFrame,
        net_counters: Iterable[str] = (),
        own_signals: Iterable[str] = (),
        metered_signals: Iterable[str] = (),
        added: Mapping[str, Sequence[Sequence[str]]] = MappingProxyType({}),
        steps_kwh: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
    ) -> None:
        self._net = [BITS[way] for way in net_counters]
        span = (pl.col("end") - pl.col("start")).dt.total_microseconds()
        by_spread = pl.when(pl.col("thermal_way").is_in([FLOW, ASSUMED_FLOW])).then("thermal_power")
        rows = frames.select(FRAME_COLUMNS).join(
            operation.select("start", "mode", "compressor_running", "defrost", "unseen_s"),
            on="start",
            how="inner",
            maintain_order="left",
        )
        self._rows = rows.with_columns(
            span=span,
            by_flow=integral(pl.coalesce("thermal_power_by_flow", by_spread), span),
            **{f"{kind}_integral": integral(pl.col(power), span) for kind, power in POWERS.items()},
        )
        machine = _Machine(self._rows, counters, states, own_signals, steps_kwh)
        self._frozen = machine.frozen
        self._device = machine.counters

        def of_a_meter(kind: str, purpose: str | None, steps: pl.DataFrame) -> Increments:
            return Increments(steps, machine.weights(kind, purpose), partial(machine.words, kind, purpose))

        self._meters = MeterCounters(
            counters, states, _days_of(self._rows), self._frozen, of_a_meter, metered_signals, added
        )

    def freezes(self, heat_pump: str) -> pl.DataFrame:
        """Table `counter_freezes` of these days."""
        parts = self._frozen.filter(pl.col("start") < pl.col("end")).sort("start", "source", "signal", "point")
        told = divided(pl.col("told"), MJ_PER_KWH).alias("told_kwh")
        return conform(
            parts.select(
                *(pl.lit(heat_pump).alias("heat_pump"), "source", "signal", "point"),
                *("start", "end", "since", "moved", "verdict", told, pl.col("increment").alias("increment_kwh")),
            ),
            "counter_freezes",
        )

    def of_frames(self) -> pl.DataFrame:
        """What each frame used and gave, whole millijoules, null where it is not known.

        Returns:
            `start`, `end`, `mode`; for each of `KINDS` the energy by the best way that is known; for `electrical` and
            `thermal` also `…_counter`, `…_integral`, their difference `…_residual`, and in `…_way` the bit of the way
            that was chosen (`vocabulary.ways.BITS`); where a meter's increment is spread by another way, the bits of
            both, and in `…_open_begin`, `…_open_end` how much of such increments lies before the frame's begin and end,
            or behind it where that is less (0 elsewhere); in `…_by_time_begin`, `…_by_time_end` the same of the
            increments over a silence that nothing but time spreads. Heat is net: `thermal_taken` is what a defrost took
            of it (negative; null while one is on and nothing shows it).
        """
        where = Stretches(self._rows["start"], self._rows["end"], self._rows["mode"])
        rows = self._rows.select(
            *("start", "end", "mode", "defrost", "unseen_s", "by_flow"),
            *(f"{kind}_integral" for kind in KINDS),
            *WAYS_OF.values(),
        )
        chosen = []
        metered = []
        for kind in KINDS:
            meter, device = (counters.counted(kind, where) for counters in (self._meters, self._device))
            silent, shared = (None, None) if meter is None else self._meters.in_silence(kind, where)
            told = {"meter": meter, "device": device, "silent": silent, "shared": shared}
            rows = rows.with_columns(
                series.alias(f"{kind} {name}") for name, series in told.items() if series is not None
            )
            chosen += _chosen(kind, meter is not None, device is not None)
            if kind in WAYS_OF and self._meters.counts_whole(kind):
                metered.append(kind)
        named = (f"{kind}_{what}" for kind in WAYS_OF for what in _OF_FRAMES)
        rows = self._with_open(rows.with_columns(*chosen), where)
        for kind in metered:
            counted = (first_of(pl.col(WAYS_OF[kind])) == BITS[METER_COUNTER]) & ~pl.col(f"{kind} silent")
            rows = divided_at_changes(rows, (kind, f"{kind}_counter"), counted & ~pl.col(f"{kind} shared"))
        rows = rows.with_columns(self._net_heat())
        return rows.select("start", "end", "mode", *KINDS, *named, "thermal_taken")

    def _net_heat(self) -> list[pl.Expr]:
        """Heat with what defrosts took subtracted, that alone, and what counter and integral differ by."""
        defrosts = pl.col("defrost").fill_null(False)
        heat, integral_of_power = pl.col("thermal"), pl.col("thermal_integral")
        counts_it = first_of(pl.col("thermal_way")).is_in(self._net)
        shown = pl.col("by_flow").clip(upper_bound=0)
        # A way that falls below 0 shows by itself what is taken; one that does not needs the water's word.
        taken = pl.when(heat.is_null()).then(None).when(~defrosts).then(0).when(heat < 0).then(heat).otherwise(shown)
        gross = pl.when(defrosts).then(integral_of_power.clip(0)).otherwise(integral_of_power)
        compared = gross if not self._net else integral_of_power
        return [
            pl.when(defrosts & (heat >= 0) & ~counts_it)
            .then(heat + taken.fill_null(0))
            .otherwise(heat)
            .alias("thermal"),
            taken.alias("thermal_taken"),
            (pl.col("thermal_counter") - compared).alias("thermal_residual"),
            (pl.col("electrical_counter") - pl.col("electrical_integral")).alias("electrical_residual"),
        ]

    def unobserved(self, start: datetime, end: datetime, heat_pump: str, time_zone: str) -> pl.DataFrame:
        """What counters counted within [start, end) where there are no frames: energies of hours, and of no session.

        Returns:
            `heat_pump`, `start`, `end` (within a quarter of an hour), `cut` (begin of its local hour), `electrical`,
            `thermal` (mJ, null where no counter tells), `electrical_way`, `thermal_way` (bits) and `…_open_begin`,
            `…_by_time_begin` and so on as in `of_frames`, only where a counter tells. Within it nobody says when: what
            the machine's own counter has there is spread by time too.
        """
        uncounted = self._meters.is_empty and self._device.is_empty
        holes = pl.DataFrame(schema=_UNOBSERVED) if uncounted else _holes(self._rows, start, end)
        where = Stretches.unread(holes["start"], holes["end"])
        unknown = pl.lit(None, pl.Int64)
        for kind in WAYS_OF:
            device = self._device.counted_in_holes(kind, where)
            besides = None if device is None else device.is_not_null()
            meter = self._meters.counted_in_holes(kind, where, besides)
            told = {METER_COUNTER: meter, DEVICE_COUNTER: device}
            known = {word: series for word, series in told.items() if series is not None}
            bits = {word: pl.lit(BITS[word], pl.Int64) for word in known}
            if len(known) > 1:
                _, shared = self._meters.in_silence(kind, where)
                both = shared & known[DEVICE_COUNTER].is_not_null()
                bits[METER_COUNTER] = pl.when(both).then(_BOTH_COUNTERS).otherwise(bits[METER_COUNTER])
            holes = holes.with_columns(
                pl.coalesce(*known.values(), unknown).alias(kind),
                pl.coalesce(
                    *(pl.when(series.is_not_null()).then(bits[word]) for word, series in known.items()), unknown
                ).alias(WAYS_OF[kind]),
            )
        by_time = (
            pl.col(f"{kind}_{name}") + pl.col(f"{kind}_{opened}")
            for kind in WAYS_OF
            for name, opened in zip(_BY_TIME_AT, _OPEN_AT, strict=True)
        )
        none = (pl.lit(0, pl.Int64).alias(f"{kind}_{opened}") for kind in WAYS_OF for opened in _OPEN_AT)
        return (
            self._with_open(holes, where)
            .with_columns(*by_time, *none)
            .filter(pl.col("electrical").is_not_null() | pl.col("thermal").is_not_null())
            .with_columns(heat_pump=pl.lit(heat_pump), cut=hour_start("start", time_zone))
            .select(_UNOBSERVED.names())
        )

    def _with_open(self, rows: pl.DataFrame, where: Stretches) -> pl.DataFrame:
        """Rows with their `…_way`, and for `WAYS_OF` how much of what counters counted over a silence is open at each
        begin and end: of the counter that says how much."""
        found: list[pl.Series | pl.Expr] = []
        for kind, way in WAYS_OF.items():
            says = first_of(pl.col(way))
            meter, device = (counters.open_at(kind, where) for counters in (self._meters, self._device))
            for edge, (shared, by_time) in enumerate(meter):
                found += [
                    shared.alias(f"{kind}_{_OPEN_AT[edge]}"),
                    pl.when(says == BITS[METER_COUNTER])
                    .then(by_time)
                    .when(says == BITS[DEVICE_COUNTER])
                    .then(device[edge][1])
                    .otherwise(0)
                    .alias(f"{kind}_{_BY_TIME_AT[edge]}"),
                ]
        return rows.with_columns(found)


class _Machine:
    """What the machine tells of its energies itself, by its counters and by whatever else it knows a power by.

    Args:
        rows: frames with their integrals (`Energies`).
        counters, states, signals: as of `Energies`; those of meters matter to `frozen` alone.
        steps_kwh: as of `Energies`.

    Attributes:
        frozen: where a counter stood still although the machine ran (`freezes.freezes`).
    """

    def __init__(
        self,
        rows: pl.DataFrame,
        counters: pl.DataFrame,
        states: pl.DataFrame,
        signals: Iterable[str],
        steps_kwh: Mapping[str, Mapping[str, float]],
    ) -> None:
        self._read, self._signals = (rows, counters, states), signals
        self._steps_kwh = steps_kwh
        self.weights = cache(partial(Weights, rows))
        self.frozen = freezes(rows, counters, states, steps_kwh)
        self.counters = EnergyCounters(counters, states, False, _days_of(rows), self.frozen, self._increments, signals)
        self._told: dict[tuple[str, date | None], pl.DataFrame] = {}

    def _increments(self, kind: str, purpose: str | None, steps: pl.DataFrame) -> Increments:
        return Increments(steps, self.weights(kind, purpose))

    def words(self, kind: str, purpose: str | None, first: date | None) -> list[MachinesWord]:
        """What it tells of a purpose, and else of the whole, which has what cools for less than nothing.

        Args:
            first: the first of two days of which a silence is a part, as they are known by their own frames, counters
                and states alone: so it is the same whichever of both days is made, and beside whatever others. None: as
                it is known of each frame by the days beside it.
        """
        if (kind, first) not in self._told:
            self._told[kind, first] = (self if first is None else self._of_two_days(first))._tells(kind)
        rows = self._told[kind, first]
        return [MachinesWord(rows, one) for one in ((purpose,) if purpose in {None, "cooling"} else (purpose, None))]

    def _of_two_days(self, first: date) -> _Machine:
        rows, counters, states = self._read
        begin = datetime.combine(first, time(), ZONE)
        within = begin, begin + timedelta(days=2)
        return _Machine(
            rows.filter(pl.col("start").is_between(*within, closed="left")),
            counters.filter(pl.col("end").is_between(*within, closed="left")),
            states.filter(pl.col("day").is_between(first, first + timedelta(days=1))),
            self._signals,
            self._steps_kwh,
        )

    def _tells(self, kind: str) -> pl.DataFrame:
        """What it tells of an energy, frame by frame, and its counter where there is no frame: see `MachinesWord`."""
        rows = self._read[0].select("start", "end", "mode", power=_not_of_a_meter(kind))
        device = self.counters.counted(kind, Stretches(rows["start"], rows["end"], rows["mode"]))
        told = rows["power"] if device is None else pl.select(pl.coalesce(device, rows["power"])).to_series()
        parts = [rows.select("start", "end", "mode", told=told)]
        holes = rows.select(start=pl.col("end").shift(1), end="start").filter(pl.col("start") < pl.col("end"))
        silent = self.counters.counted_over_silences(kind, Stretches.unread(holes["start"], holes["end"]))
        if silent is not None:
            parts.append(holes.select("start", "end", mode=pl.lit(None, pl.String), told=silent))
        return (
            pl.concat(parts).sort("start").with_columns(span=(pl.col("end") - pl.col("start")).dt.total_microseconds())
        )


def _days_of(rows: pl.DataFrame) -> pl.Series:
    return rows["start"].dt.date().unique().sort()


def first_of(bits: pl.Expr) -> pl.Expr:
    """Of each set of ways the best alone: the one that says how much it is, where others say when."""
    return bits & -bits


def _not_of_a_meter(kind: str) -> pl.Expr:
    """The integral of a power where the machine tells it."""
    power = pl.col(f"{kind}_integral")
    if kind not in WAYS_OF:
        return power
    return pl.when((pl.col(WAYS_OF[kind]) != METER_POWER).fill_null(True)).then(power)


def _chosen(kind: str, has_meter: bool, has_device: bool) -> list[pl.Expr]:
    """The energy of a kind, its `…_counter` and its `…_way`, from what counters and the integral tell of a frame."""
    power, unknown = pl.col(f"{kind}_integral"), pl.lit(None, pl.Int64)
    by = pl.col(WAYS_OF[kind]) if kind in WAYS_OF else pl.lit(DEVICE_POWER)
    meter = pl.col(f"{kind} meter") if has_meter else unknown
    silent = pl.col(f"{kind} silent") if has_meter else pl.lit(False)
    heard = pl.when(~silent).then(meter)
    device = pl.col(f"{kind} device") if has_device else unknown
    by_meter = (by == METER_POWER).fill_null(False)
    # What a meter told before a silence and is held into it is worth less than what its counter counted over it.
    ways = [
        *([(heard, METER_COUNTER)] if has_meter else []),
        *([(pl.when(by_meter & ~silent).then(power), METER_POWER)] if has_meter or has_device else []),
        *([(device, DEVICE_COUNTER)] if has_device else []),
        *([(pl.when(~by_meter).then(power), None), (meter, METER_COUNTER)] if has_meter else []),
        (power, None),
    ]
    found = [pl.coalesce(*(amount for amount, _ in ways)).alias(kind)]
    if kind not in WAYS_OF:
        return found
    of_power = by.replace_strict(dict(BITS), default=BITS[DEVICE_POWER], return_dtype=pl.Int64)
    bits: list[pl.Expr] = [
        pl.when(amount.is_not_null()).then(of_power if word is None else pl.lit(BITS[word], pl.Int64))
        for amount, word in ways
    ]
    if has_meter:
        spread = pl.coalesce(
            pl.when(device.is_not_null()).then(pl.lit(BITS[DEVICE_COUNTER], pl.Int64)),
            pl.when(~by_meter & power.is_not_null()).then(of_power),
            pl.lit(0, pl.Int64),
        )
        bits[0] = pl.when(pl.col(f"{kind} shared")).then(bits[0] | spread).otherwise(bits[0])
    counter = pl.coalesce(heard, device, meter) if has_meter else device
    return [*found, counter.alias(f"{kind}_counter"), pl.coalesce(*bits).alias(WAYS_OF[kind])]


_UNOBSERVED = pl.Schema(
    {
        "heat_pump": pl.String(),
        "start": UTC,
        "end": UTC,
        "cut": UTC,
        "electrical": pl.Int64(),
        "thermal": pl.Int64(),
        **{way: pl.Int64() for way in WAYS_OF.values()},
        **{f"{kind}_{name}": pl.Int64() for kind in WAYS_OF for name in (*_OPEN_AT, *_BY_TIME_AT)},
    }
)


def _holes(frames: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """`start`, `end` of the time within [start, end) that no frame covers, cut at quarters of an hour."""
    within = frames.filter(pl.col("end") > start, pl.col("start") < end)
    begins = pl.concat([pl.Series([start], dtype=UTC), within["end"]])
    ends = pl.concat([within["start"], pl.Series([end], dtype=UTC)])
    holes = pl.DataFrame({"start": begins, "end": ends}).filter(pl.col("start") < pl.col("end"))
    quarters = holes.with_columns(
        quarter=pl.datetime_ranges(pl.col("start").dt.truncate("15m"), pl.col("end"), "15m", closed="left")
    ).explode("quarter")
    return quarters.select(
        start=pl.max_horizontal("start", "quarter"),
        end=pl.min_horizontal("end", pl.col("quarter").dt.offset_by("15m")),
    ).filter(pl.col("start") < pl.col("end"))
