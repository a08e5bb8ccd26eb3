"""Two ways to every energy: by a counter, and by the integral of a power; and what a meter tells before the rest.

A counter tells exactly how much, but only in steps, and not when within a step; the integral of a power tells when.
So the increment of a counter is spread over the frames since the step before it, in proportion to the integral where
there is one for all that ran, else to the time for which the machine ran (for a counter of one purpose: ran for that
purpose), else to time. What a counter counted while its source was silent belongs to the silence, and is spread over
it by time.

For each moment the first way that is known is chosen, in the order of `vocabulary.ways`: a meter's counter, the
integral of its power, the machine's own counter, the integral of whatever else its power is known by.

Over a silence of a meter its counter tells how much, and the machine when: what the counter counted is spread in
proportion to what the other ways tell of the silence; of time of which they tell nothing, as much as of the rest; and
where they tell of no energy at all, by time. So it is with silences within two UTC days, which is what can be known of
a day from the days beside it. Over longer ones, and where the counter itself cannot say how much (it was reset or
exchanged meanwhile), the other ways come first, and only where they tell nothing its part by time is taken.

Energies are whole millijoules, and the parts of an increment are differences of rounded running sums: they add up to
the increment exactly, however frames are cut, and in whatever batches days are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC as ZONE
from datetime import date, datetime, time, timedelta
from functools import partial
from itertools import chain
from typing import Final

import polars as pl

from hp_pipeline.transforms.calendar import hour_start
from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.schema import UTC
from hp_pipeline.vocabulary.ways import (
    ASSUMED_FLOW,
    BITS,
    DEVICE_COUNTER,
    DEVICE_POWER,
    FLOW,
    METER_COUNTER,
    METER_POWER,
)

REACH: Final = timedelta(hours=6)
"""An increment is spread over no more than this before the reading that shows it, so that a day's figures follow from
the days beside it: a coarse counter that last moved in the run of the day before tells of today's run."""

KINDS: Final = ("electrical", "thermal", "immersion", "backup")

COUNTERS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "electrical": (
        "electrical_energy_total",
        {
            "electrical_energy_heating_total": "heating",
            "electrical_energy_dhw_total": "dhw",
            "electrical_energy_cooling_total": "cooling",
        },
    ),
    "thermal": (
        "thermal_energy_total",
        {
            "thermal_energy_heating_total": "heating",
            "thermal_energy_dhw_total": "dhw",
            "thermal_energy_cooling_total": "cooling",
        },
    ),
    "immersion": ("immersion_heater_energy_total", {}),
    "backup": ("backup_heater_energy_total", {}),
}
"""By kind of energy its counter, and those of its purposes, which count where there is none of the whole. Heat that is
taken from the house while cooling is negative."""

POWERS: Final[Mapping[str, str]] = {
    "electrical": "electrical_power",
    "thermal": "thermal_power",
    "immersion": "immersion_heater_power",
    "backup": "backup_heater_power",
}

KIND_OF: Final = {name: kind for kind, (total, purposes) in COUNTERS.items() for name in (total, *purposes)}
"""By counter the kind of energy that it counts."""

SIGNALS: Final[Mapping[str, frozenset[str]]] = {
    kind: frozenset((POWERS[kind], total, *purposes)) for kind, (total, purposes) in COUNTERS.items()
}
"""By kind of energy its power and its counters."""

COUNTER_SIGNALS: Final = frozenset(KIND_OF)
"""Every counter of energy that figures are made of."""

WAYS_OF: Final[Mapping[str, str]] = {"electrical": "electrical_way", "thermal": "thermal_way"}
"""The kinds of energy of which the way is told, with the column of the frames that tells it of the power."""

EXACT: Final = ("outage", "roll_over", "factor")
"""The kinds of increments that say all that was used, whatever else a counter did meanwhile."""

FRAME_COLUMNS: Final = ("start", "end", *POWERS.values(), "thermal_power_by_flow", *WAYS_OF.values())
"""What is read of the frames."""

_MJ_PER_KWH = 3_600_000_000

_OPEN_AT: Final = ("open_begin", "open_end")

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
    """

    def __init__(
        self,
        frames: pl.DataFrame,
        operation: pl.DataFrame,
        counters: pl.DataFrame,
        states: pl.DataFrame,
        net_counters: Iterable[str] = (),
    ) -> None:
        self._net = [BITS[way] for way in net_counters]
        self._read = frames.select(FRAME_COLUMNS), operation, counters, states
        span = (pl.col("end") - pl.col("start")).dt.total_microseconds()
        by_spread = pl.when(pl.col("thermal_way").is_in([FLOW, ASSUMED_FLOW])).then("thermal_power")
        rows = self._read[0].join(
            operation.select("start", "mode", "compressor_running", "defrost"),
            on="start",
            how="inner",
            maintain_order="left",
        )
        self._rows = rows.with_columns(
            span=span,
            by_flow=integral(pl.coalesce("thermal_power_by_flow", by_spread), span),
            **{f"{kind}_integral": integral(pl.col(power), span) for kind, power in POWERS.items()},
        )
        read = {*counters["signal"].unique(), *states["signal"].unique()} & COUNTER_SIGNALS
        found = {signal: _counters_of(signal, counters, states) for signal in read}
        self._counters = {
            by_meter: {signal: groups for signal, ranks in found.items() if (groups := ranks[by_meter])}
            for by_meter in (True, False)
        }
        self._framed = self._rows["start"].dt.date().unique().sort()
        self._runs: dict[tuple[str, str | None], _Running] = {}
        self._told: dict[tuple[str, date | None], pl.DataFrame] = {}
        self._steps: dict[tuple[bool, str, int, int], _Steps] = {}

    def of_frames(self) -> pl.DataFrame:
        """What each frame used and gave, whole millijoules, null where it is not known.

        Returns:
            `start`, `end`, `mode`; for each of `KINDS` the energy by the best way that is known; for `electrical` and
            `thermal` also `…_counter`, `…_integral`, their difference `…_residual`, and in `…_way` the bit of the way
            that was chosen (`vocabulary.ways.BITS`); where a meter's increment is spread by another way, the bits of
            both, and in `…_open_begin`, `…_open_end` how much of such increments lies before the frame's begin and end,
            or behind it where that is less (0 elsewhere). Heat is net: `thermal_taken` is what a defrost took of it
            (negative; null while one is on and nothing shows it).
        """
        starts, ends = self._rows["start"], self._rows["end"]
        rows = self._rows.select(
            *("start", "end", "mode", "defrost", "by_flow"),
            *(f"{kind}_integral" for kind in KINDS),
            *WAYS_OF.values(),
        )
        chosen = []
        for kind in KINDS:
            meter, device = (self._counted(kind, starts, ends, by_meter) for by_meter in (True, False))
            silent, shared = (None, None) if meter is None else self._in_silence(kind, starts, ends)
            told = {"meter": meter, "device": device, "silent": silent, "shared": shared}
            rows = rows.with_columns(
                series.alias(f"{kind} {name}") for name, series in told.items() if series is not None
            )
            chosen += _chosen(kind, meter is not None, device is not None)
        named = (f"{kind}_{what}" for kind in WAYS_OF for what in ("counter", "integral", "residual", "way", *_OPEN_AT))
        rows = rows.with_columns(*chosen, *self._open(starts, ends)).with_columns(self._net_heat())
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
            `…_open_end` as in `of_frames`, only where a counter tells.
        """
        counts = any(self._counters.values())
        holes = _holes(self._rows, start, end) if counts else pl.DataFrame(schema=_UNOBSERVED)
        unknown = pl.lit(None, pl.Int64)
        for kind in WAYS_OF:
            known = {
                word: series
                for by_meter, word in ((True, METER_COUNTER), (False, DEVICE_COUNTER))
                if (series := self._counted_in_holes(kind, holes["start"], holes["end"], by_meter)) is not None
            }
            bits = {word: pl.lit(BITS[word], pl.Int64) for word in known}
            if len(known) > 1:
                _, shared = self._in_silence(kind, holes["start"], holes["end"])
                both = shared & known[DEVICE_COUNTER].is_not_null()
                bits[METER_COUNTER] = pl.when(both).then(_BOTH_COUNTERS).otherwise(bits[METER_COUNTER])
            holes = holes.with_columns(
                pl.coalesce(*known.values(), unknown).alias(kind),
                pl.coalesce(
                    *(pl.when(series.is_not_null()).then(bits[word]) for word, series in known.items()), unknown
                ).alias(WAYS_OF[kind]),
            )
        holes = holes.with_columns(self._open(holes["start"], holes["end"]))
        return (
            holes.filter(pl.col("electrical").is_not_null() | pl.col("thermal").is_not_null())
            .with_columns(heat_pump=pl.lit(heat_pump), cut=hour_start("start", time_zone))
            .select(_UNOBSERVED.names())
        )

    def _counted_in_holes(self, kind: str, starts: pl.Series, ends: pl.Series, by_meter: bool) -> pl.Series | None:
        """As `_counted`, of stretches in which nothing was read: over a silence by what counted over it, and between
        readings of a counter that is read more seldom than readings are held what frames have not of its step."""
        over = self._counted(kind, starts, ends, by_meter, silent=True)
        read = self._counted(kind, starts, ends, by_meter)
        if over is None or read is None:
            return None
        total, purposes = COUNTERS[kind]
        counters = chain.from_iterable(self._counters[by_meter].get(signal, []) for signal in (total, *purposes))
        within = starts.is_null()
        for counter in chain.from_iterable(counters):
            within = within | counter.within_step(starts, ends)
        return pl.select(pl.coalesce(over, pl.when(within).then(read))).to_series()

    def _in_silence(self, kind: str, starts: pl.Series, ends: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Whether each stretch lies within a silence over which a meter's counter of the kind counted: one of which the
        other ways are to tell first, and one of which they told how its increment is spread."""
        silent = shared = starts.is_null()
        for counter, steps, counts in self._metered(kind, starts, ends):
            over, settled = counter.over_silence(starts, ends, self._known_until(starts)), steps.settled_at(starts)
            silent = silent | (counts & over & (settled == _OPEN))
            shared = shared | (counts & over & (settled == _SHARED))
        return silent, shared

    def _open(self, starts: pl.Series, ends: pl.Series) -> list[pl.Series]:
        """For `WAYS_OF`, how much of what counters of meters counted over a silence is open at each begin and end."""
        found = []
        for kind in WAYS_OF:
            begin = end = pl.zeros(len(starts), dtype=pl.Int64, eager=True)
            for _, steps, counts in self._metered(kind, starts, ends):
                if steps.shares:
                    begin = begin + steps.open_at(starts) * counts.cast(pl.Int64)
                    end = end + steps.open_at(ends) * counts.cast(pl.Int64)
            found += [series.alias(f"{kind}_{name}") for name, series in zip(_OPEN_AT, (begin, end), strict=True)]
        return found

    def _metered(self, kind: str, starts: pl.Series, ends: pl.Series) -> Iterator[tuple[_Counter, _Steps, pl.Series]]:
        """The counters of meters of a kind, with whether each is the one that counts in each stretch: no other before
        it is read there."""
        total, purposes = COUNTERS[kind]
        before = starts.is_null()
        for group, all_steps in self._groups(True, total, None):
            for counter, steps in zip(group, all_steps, strict=True):
                yield counter, steps, ~before
            before = before | _all_known(group, starts, ends)
        for signal, purpose in purposes.items():
            read = before
            for group, all_steps in self._groups(True, signal, purpose):
                for counter, steps in zip(group, all_steps, strict=True):
                    yield counter, steps, ~read
                read = read | _all_known(group, starts, ends)

    def _groups(
        self, by_meter: bool, signal: str, purpose: str | None
    ) -> Iterator[tuple[Sequence[_Counter], Sequence[_Steps]]]:
        """The counters of a signal in order of precedence, those that are summed together, with their increments."""
        for rank, group in enumerate(self._counters[by_meter].get(signal, [])):
            yield group, [self._steps_of(by_meter, signal, purpose, rank, place) for place in range(len(group))]

    def _known_until(self, starts: pl.Series) -> pl.Series:
        """The last day of which the counters decide each stretch: its next one, or where nothing was read on that, the
        day on which frames begin again. More days may be loaded; they make no difference."""
        place = self._framed.search_sorted(starts.dt.date(), side="right")
        return pl.concat([self._framed, pl.Series([date.max], dtype=pl.Date)]).gather(place)

    def _counted(
        self, kind: str, starts: pl.Series, ends: pl.Series, by_meter: bool, silent: bool = False
    ) -> pl.Series | None:
        """What the counters of a kind, of meters or of the machine, say of each stretch; None where there are none."""
        total, purposes = COUNTERS[kind]

        def summed(signal: str, purpose: str | None) -> list[pl.Series]:
            """By rank what the counters of a signal that are summed counted; null where one of them was not read.

            In the `silent` stretches nothing was: there a counter is known where it counted over the silence.
            """
            return [
                _sum([self._counted_by(*one, starts, ends, silent) for one in zip(group, steps, strict=True)])
                for group, steps in self._groups(by_meter, signal, purpose)
            ]

        ways = summed(total, None)
        parts = []
        for signal, purpose in purposes.items():
            if of_purpose := summed(signal, purpose):
                sign = -1 if (kind, purpose) == ("thermal", "cooling") else 1
                parts.append(sign * _first_known(of_purpose))
        if parts:
            ways.append(_sum_of_counted(parts) if silent else _sum(parts))
        return _first_known(ways) if ways else None

    def _counted_by(
        self, counter: _Counter, steps: _Steps, starts: pl.Series, ends: pl.Series, silent: bool
    ) -> pl.Series:
        over = counter.over_silence(starts, ends, self._known_until(starts)) if silent else counter.known(starts, ends)
        counted = steps.until(ends) - steps.until(starts)
        return pl.select(pl.when(over).then(counted)).to_series()

    def _steps_of(self, by_meter: bool, signal: str, purpose: str | None, rank: int, place: int) -> _Steps:
        """The increments of a counter as a function of time; those of a meter over its silences as the machine tells
        of them."""
        key = by_meter, signal, rank, place
        if key not in self._steps:
            kind = KIND_OF[signal]
            if (kind, purpose) not in self._runs:
                self._runs[kind, purpose] = _Running(self._rows, kind, purpose)
            counter = self._counters[by_meter][signal][rank][place]
            told = partial(self._told_for, kind, purpose) if by_meter else None
            self._steps[key] = _Steps(counter.steps, self._runs[kind, purpose], told)
        return self._steps[key]

    def _told_for(self, kind: str, purpose: str | None, first: date | None) -> list[_Told]:
        """What the machine tells of a purpose, and else of the whole, which has what cools for less than nothing."""
        rows = self._told_of(kind, first)
        return [_Told(rows, one) for one in ((purpose,) if purpose in {None, "cooling"} else (purpose, None))]

    def _told_of(self, kind: str, first: date | None) -> pl.DataFrame:
        """What the machine tells of an energy, frame by frame, and its counter where there is no frame.

        Args:
            first: the first of two days of which a silence is a part, as they are known by their own frames, counters
                and states alone: so it is the same whichever of both days is made, and beside whatever others. None: as
                it is known of each frame by the days beside it.

        Returns:
            `start`, `span`, `mode`, `told` (mJ, null where the machine tells nothing).
        """
        if (kind, first) not in self._told:
            self._told[kind, first] = (
                self._told_by_machine(kind) if first is None else (self._of_two_days(first)._told_by_machine(kind))
            )
        return self._told[kind, first]

    def _of_two_days(self, first: date) -> Energies:
        frames, operation, counters, states = self._read
        begin = datetime.combine(first, time(), ZONE)
        within = begin, begin + timedelta(days=2)
        return Energies(
            frames.filter(pl.col("start").is_between(*within, closed="left")),
            operation.filter(pl.col("start").is_between(*within, closed="left")),
            counters.filter(pl.col("end").is_between(*within, closed="left")),
            states.filter(pl.col("day").is_between(first, first + timedelta(days=1))),
        )

    def _told_by_machine(self, kind: str) -> pl.DataFrame:
        rows = self._rows.select("start", "end", "mode", power=_not_of_a_meter(kind))
        device = self._counted(kind, rows["start"], rows["end"], by_meter=False)
        told = rows["power"] if device is None else pl.select(pl.coalesce(device, rows["power"])).to_series()
        parts = [rows.select("start", "end", "mode", told=told)]
        holes = rows.select(start=pl.col("end").shift(1), end="start").filter(pl.col("start") < pl.col("end"))
        silent = self._counted(kind, holes["start"], holes["end"], by_meter=False, silent=True)
        if silent is not None:
            parts.append(holes.select("start", "end", mode=pl.lit(None, pl.String), told=silent))
        return (
            pl.concat(parts).sort("start").with_columns(span=(pl.col("end") - pl.col("start")).dt.total_microseconds())
        )


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


def _sum(parts: Sequence[pl.Series]) -> pl.Series:
    """The sum where all are known."""
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    return whole


def _sum_of_counted(parts: Sequence[pl.Series]) -> pl.Series:
    """The sum where one of them is known: over a silence a counter is known by what it counted, and one beside it that
    stood still counted nothing."""
    known = pl.any_horizontal(part.is_not_null() for part in parts)
    return pl.select(pl.when(known).then(_sum([part.fill_null(0) for part in parts]))).to_series()


def _all_known(group: Sequence[_Counter], starts: pl.Series, ends: pl.Series) -> pl.Series:
    """Whether each stretch lies between readings of all of these counters."""
    known = starts.is_not_null()
    for counter in group:
        known = known & counter.known(starts, ends)
    return known


def _first_known(ways: Sequence[pl.Series]) -> pl.Series:
    return pl.select(pl.coalesce(ways)).to_series()


@dataclass(frozen=True)
class _Counter:
    """One counter over the days that are loaded.

    Attributes:
        since: its first reading.
        until: by `day` (UTC) the last reading that is known of: up to the end of the next day, or of the day itself.
        steps: `lo`, `hi` (between which it counted), `millijoules`, `over_gap`, and whether its increment over a gap
            says all that was used in it (`exact`); sorted, apart.
    """

    since: datetime
    until: pl.DataFrame
    steps: pl.DataFrame

    def known(self, starts: pl.Series, ends: pl.Series) -> pl.Series:
        """Whether each stretch lies between readings, by what is stored of its own day and the next: the days that
        happen to be loaded make no difference."""
        days = starts.dt.date()
        if self.until.is_empty():
            return days.is_null()
        place = self.until["day"].search_sorted(days, side="left").clip(upper_bound=self.until.height - 1)
        same_day = self.until["day"].gather(place) == days
        return same_day & (ends <= self.until["time"].gather(place)) & (starts >= self.since)

    def over_silence(self, starts: pl.Series, ends: pl.Series, known_until: pl.Series) -> pl.Series:
        """Whether each stretch lies within a silence over which it counted, that ends no later than on a day."""
        until = _end_of_step(self.steps.filter("over_gap"), starts)
        return ((ends <= until) & (until.dt.date() <= known_until)).fill_null(False)

    def within_step(self, starts: pl.Series, ends: pl.Series) -> pl.Series:
        """Whether each stretch lies within one of its increments."""
        return (ends <= _end_of_step(self.steps, starts)).fill_null(False)


def _end_of_step(steps: pl.DataFrame, starts: pl.Series) -> pl.Series:
    """The end of the step that began last before each moment; null where none has."""
    place = steps["lo"].search_sorted(starts, side="right").cast(pl.Int64) - 1
    return steps["hi"].gather(pl.select(pl.when(place >= 0).then(place)).to_series())


def _counters_of(signal: str, counters: pl.DataFrame, states: pl.DataFrame) -> dict[bool, list[list[_Counter]]]:
    """The counters of a signal, of meters (True) and of the machine, in order of precedence; those that are summed
    stand in one list."""
    rows = counters.filter(pl.col("signal") == signal)
    stood = states.filter(pl.col("signal") == signal)
    found: dict[int, list[_Counter]] = {}
    ranks = pl.concat([part.select("precedence", "source", "point") for part in (rows, stood)]).unique()
    for precedence, source, point in ranks.sort("precedence", "source", "point").iter_rows():
        own = (pl.col("source") == source) & (pl.col("point") == point)
        mine, its = rows.filter(own).sort("end"), stood.filter(own)
        first = [moment for moment in (mine["start"].min(), its["since"].min()) if isinstance(moment, datetime)]
        if first:
            found.setdefault(precedence, []).append(_Counter(min(first), _until(its), _between(mine)))
    return {by_meter: [found[rank] for rank in sorted(found) if (rank < 0) == by_meter] for by_meter in (True, False)}


def _until(states: pl.DataFrame) -> pl.DataFrame:
    """`day`, `time`: how far a counter is known of on each day."""
    by_day = states.select("day", "time")
    next_day = by_day.with_columns(pl.col("day") - pl.duration(days=1))
    return pl.concat([next_day, by_day]).unique("day", keep="first", maintain_order=True).sort("day")


def _between(rows: pl.DataFrame) -> pl.DataFrame:
    earliest = pl.col("end").dt.offset_by(f"-{REACH // timedelta(seconds=1)}s")
    return rows.select(
        lo=pl.when("over_gap").then("last_unchanged").otherwise(pl.max_horizontal("start", earliest)),
        hi="end",
        millijoules=(pl.col("increment") * _MJ_PER_KWH).round().cast(pl.Int64),
        over_gap="over_gap",
        exact=pl.col("over_gap") & pl.col("kind").is_in(EXACT).fill_null(False),
    ).filter(pl.col("lo") < pl.col("hi"))


class _Sum:
    """The running sum of an amount over stretches that are sorted and apart; it rests between them."""

    def __init__(self, starts: pl.Series, span: pl.Series, amounts: pl.Series) -> None:
        self._starts, self._from, self._span, self._amounts = starts, starts.dt.epoch("us"), span, amounts
        self._before = amounts.cum_sum() - amounts

    def at(self, moments: pl.Series) -> pl.Series:
        """The sum up to each moment, a whole number."""
        micros = moments.dt.epoch("us")
        if self._starts.is_empty():
            return micros * 0
        place = self._starts.search_sorted(moments, side="right").cast(pl.Int64) - 1
        inside = place.clip(0)
        amount, span = self._amounts.gather(inside), self._span.gather(inside)
        into = (micros - self._from.gather(inside)).clip(0)
        cut = (amount * (into / span)).round().cast(pl.Int64)
        part = pl.select(pl.when(into >= span).then(amount).otherwise(cut)).to_series()
        return self._before.gather(inside) + part


class _Told:
    """What the machine tells of an energy (`Energies._told_of`), as a function of time."""

    def __init__(self, rows: pl.DataFrame, purpose: str | None) -> None:
        told = pl.col("told").abs() if purpose == "cooling" else pl.col("told").clip(0)
        if purpose is not None:
            told = pl.when(pl.col("mode") == purpose).then(told).when(pl.col("mode").is_not_null()).then(told * 0)
        heard = pl.when(told.is_not_null()).then("span").otherwise(0)
        sums = rows.select("start", "span", told=told.fill_null(0).cast(pl.Int64), heard=heard.cast(pl.Int64))
        self._told, self._heard = (_Sum(sums["start"], sums["span"], sums[name]) for name in ("told", "heard"))

    def amounts(self, lo: pl.Series, hi: pl.Series) -> pl.Series:
        """What it tells of within each stretch, mJ."""
        return self._told.at(hi) - self._told.at(lo)

    def share(self, moments: pl.Series, lo: pl.Series, hi: pl.Series) -> pl.Series:
        """The share of each stretch, of which it tells some energy, that was used up to a moment within it: the time
        of which it tells has its part of the whole by time, shared by what it tells."""
        amount = (self._told.at(moments) - self._told.at(lo)) / self.amounts(lo, hi)
        heard = self._heard.at(lo)
        whole, unheard = (
            self._heard.at(hi) - heard,
            (moments - lo).dt.total_microseconds() - (self._heard.at(moments) - heard),
        )
        return (amount * whole + unheard) / (hi - lo).dt.total_microseconds()


class _Running:
    """Running sums, over the frames, of what an increment is spread by, the best first.

    The last is time itself, which goes on where there are no frames.
    """

    def __init__(self, rows: pl.DataFrame, kind: str, purpose: str | None) -> None:
        weights, unmetered = _weights(rows, kind, purpose)
        self._sums = [_Sum(rows["start"], rows["span"], weight) for weight in weights]
        self.time = len(weights)
        self._unmetered = {
            number: (rows["start"].filter(blind), rows["end"].filter(blind)) for number, blind in unmetered.items()
        }

    def is_metered(self, begins: pl.Series, ends: pl.Series, number: int) -> pl.Series:
        """Whether a weight is known for all frames that ran within each stretch: a part says nothing of the rest."""
        if number not in self._unmetered:
            return begins.is_not_null()
        starts, stops = self._unmetered[number]
        return starts.search_sorted(ends, side="left") <= stops.search_sorted(begins, side="right")

    def at(self, moments: pl.Series, number: int) -> pl.Series:
        """The running sum of a weight up to each moment."""
        return moments.dt.epoch("us") if number == self.time else self._sums[number].at(moments)


def _weights(rows: pl.DataFrame, kind: str, purpose: str | None) -> tuple[list[pl.Series], dict[int, pl.Series]]:
    """The weights; and by their number the frames that ran and for which a weight made of power is not known."""
    span = pl.col("span")
    integral_of_power = pl.col(f"{kind}_integral")
    power = integral_of_power.fill_null(0).clip(0)
    runs = pl.col("compressor_running").fill_null(False) | (pl.col("backup_integral") > 0).fill_null(False)
    running = pl.when(runs).then(span).otherwise(0)
    unmetered = {0: runs & integral_of_power.is_null()}
    if kind in {"immersion", "backup"}:
        chosen = [power, span]
        unmetered = {}
    elif purpose is None:
        chosen = [power, running, span]
    else:
        for_it = (pl.col("mode") == purpose).fill_null(False)
        chosen = [*(pl.when(for_it).then(amount).otherwise(0) for amount in (power, running)), power, running, span]
        unmetered = {0: unmetered[0] & for_it, 2: unmetered[0]}
    weights = [rows.select(weight.cast(pl.Int64).alias("weight")).to_series() for weight in chosen]
    return weights, {number: rows.select(blind).to_series() for number, blind in unmetered.items()}


_STEP, _BY_TIME, _SHARED, _OPEN = range(4)
"""What an increment is: of a time in which the counter was read; over a silence, spread by time or as the machine tells
of it; or over a silence of which it does not say all, or that is too long to be known of each of its days."""


class _Steps:
    """The increments of a counter as a function of time, each spread by the best weight that it has any of.

    Args:
        steps: of a `_Counter`.
        told: for a meter's counter what the machine tells of its silences, by how long they are: within a day (None),
            or within two of which the first is named; the first that tells of any energy counts.
    """

    def __init__(
        self, steps: pl.DataFrame, running: _Running, told: Callable[[date | None], Sequence[_Told]] | None = None
    ) -> None:
        self._running = running
        self._lo, self._hi, self._amounts = (steps[name] for name in ("lo", "hi", "millijoules"))
        self._before = self._amounts.cum_sum() - self._amounts
        unset = pl.Series("unset", [None], pl.Int64).new_from_index(0, steps.height)
        number, low, high = unset, unset, unset
        for candidate in range(running.time + 1):
            bounds = [running.at(moments, candidate) for moments in (self._lo, self._hi)]
            usable = number.is_null() & (bounds[1] > bounds[0]) & running.is_metered(self._lo, self._hi, candidate)
            if candidate < running.time:
                usable &= ~steps["over_gap"]
            number, low, high = (
                pl.select(pl.when(usable).then(new).otherwise(old)).to_series()
                for new, old in ((candidate, number), (bounds[0], low), (bounds[1], high))
            )
        self._number, self._low, self._high = number, low, high
        self._told: list[_Told] = []
        self._what = self._settled(steps, told)

    def _settled(self, steps: pl.DataFrame, told: Callable[[date | None], Sequence[_Told]] | None) -> pl.Series:
        """What each increment is; those that the machine tells of get the number of what it tells."""
        if told is None or not steps["over_gap"].any():
            return pl.select(pl.when(steps["over_gap"]).then(_OPEN).otherwise(_STEP)).to_series()
        first = self._lo.dt.date()
        days = (self._hi.dt.date() - first).dt.total_days()
        within = steps["exact"] & (days <= 1)
        what = pl.select(
            pl.when(~steps["over_gap"]).then(_STEP).when(within).then(_BY_TIME).otherwise(_OPEN)
        ).to_series()
        windows = pl.select(pl.when(within & (days == 1)).then(first)).to_series()
        for window in windows.filter(within).unique():
            its = (within & windows.eq_missing(pl.Series([window], dtype=pl.Date))).arg_true()
            for one in told(window):
                tells = its.filter(one.amounts(self._lo.gather(its), self._hi.gather(its)) > 0)
                self._told.append(one)
                what = what.scatter(tells, _SHARED)
                self._number = self._number.scatter(tells, -len(self._told))
                its = its.filter(~its.is_in(tells.implode()))
        return what

    @property
    def shares(self) -> bool:
        """Whether the machine tells of any increment how it is spread."""
        return bool(self._told)

    def settled_at(self, moments: pl.Series) -> pl.Series:
        """What the increment is in which each moment lies, or the one before it."""
        if self._lo.is_empty():
            return pl.zeros(len(moments), dtype=pl.Int64, eager=True)
        place = self._lo.search_sorted(moments, side="right").cast(pl.Int64) - 1
        return self._what.gather(place.clip(0))

    def open_at(self, moments: pl.Series) -> pl.Series:
        """Of an increment that the machine tells of, how much lies before each moment within it, or behind it where
        that is less; 0 at other moments."""
        nothing = pl.zeros(len(moments), dtype=pl.Int64, eager=True)
        if self._lo.is_empty() or moments.is_empty():
            return nothing
        place = self._lo.search_sorted(moments, side="right").cast(pl.Int64) - 1
        inside = place.clip(0)
        within = (place >= 0) & (moments < self._hi.gather(inside)) & (self._what.gather(inside) == _SHARED)
        before = self.until(moments) - self._before.gather(inside)
        lesser = pl.select(pl.min_horizontal(before, self._amounts.gather(inside) - before)).to_series()
        return pl.select(pl.when(within).then(lesser).otherwise(nothing)).to_series()

    def until(self, moments: pl.Series) -> pl.Series:
        """How much was counted up to each moment, mJ, from the first step on."""
        if self._lo.is_empty() or moments.is_empty():
            return pl.zeros(len(moments), dtype=pl.Int64, eager=True)
        place = self._lo.search_sorted(moments, side="right").cast(pl.Int64) - 1
        inside = place.clip(0)
        lo, hi = self._lo.gather(inside), self._hi.gather(inside)
        amounts, numbers = self._amounts.gather(inside), self._number.gather(inside)
        low, high = self._low.gather(inside), self._high.gather(inside)
        share = pl.zeros(len(moments), dtype=pl.Float64, eager=True)
        for number in numbers.unique():
            if number < 0:
                its = (numbers == number).arg_true()
                of_number = self._told[-number - 1].share(moments.gather(its), lo.gather(its), hi.gather(its))
                share = share.scatter(its, of_number)
            else:
                of_number = (self._running.at(moments, number) - low) / (high - low)
                share = pl.select(pl.when(numbers == number).then(of_number).otherwise(share)).to_series()
        counted = (amounts * share).round()
        within = (place >= 0) & (moments < hi)
        part = pl.select(pl.when(place < 0).then(0).when(within).then(counted).otherwise(amounts)).to_series()
        return (
            part.cast(pl.Int64)
            + pl.select(pl.when(place < 0).then(0).otherwise(self._before.gather(inside))).to_series()
        )


_UNOBSERVED = pl.Schema(
    {
        "heat_pump": pl.String(),
        "start": UTC,
        "end": UTC,
        "cut": UTC,
        "electrical": pl.Int64(),
        "thermal": pl.Int64(),
        **{way: pl.Int64() for way in WAYS_OF.values()},
        **{f"{kind}_{name}": pl.Int64() for kind in WAYS_OF for name in _OPEN_AT},
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
