"""Two ways to every energy: by a counter, and by the integral of a power; and what a meter tells before the rest.

A counter tells exactly how much, but only in steps, and not when within a step; the integral of a power tells when.
So the increment of a counter is spread over the frames since the step before it, in proportion to the integral where
there is one for all that ran, else to the time for which the machine ran (for a counter of one purpose: ran for that
purpose), else to time. What a counter counted while its source was silent belongs to the silence, and is spread over
it by time.

For each moment the first way that is known is chosen, in the order of `vocabulary.ways`: a meter's counter, the
integral of its power, the machine's own counter, the integral of whatever else its power is known by. Over a silence of
the meter the others come first; where they tell nothing, what its counter counted meanwhile is taken.

Energies are whole millijoules, and the parts of an increment are differences of rounded running sums: they add up to
the increment exactly, however frames are cut, and in whatever batches days are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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

SIGNALS: Final[Mapping[str, frozenset[str]]] = {
    kind: frozenset((POWERS[kind], total, *purposes)) for kind, (total, purposes) in COUNTERS.items()
}
"""By kind of energy its power and its counters."""

COUNTER_SIGNALS: Final = frozenset(name for total, purposes in COUNTERS.values() for name in (total, *purposes))
"""Every counter of energy that figures are made of."""

WAYS_OF: Final[Mapping[str, str]] = {"electrical": "electrical_way", "thermal": "thermal_way"}
"""The kinds of energy of which the way is told, with the column of the frames that tells it of the power."""

FRAME_COLUMNS: Final = ("start", "end", *POWERS.values(), "thermal_power_by_flow", *WAYS_OF.values())
"""What is read of the frames."""

_MJ_PER_KWH = 3_600_000_000


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
        span = (pl.col("end") - pl.col("start")).dt.total_microseconds()
        by_spread = pl.when(pl.col("thermal_way").is_in([FLOW, ASSUMED_FLOW])).then("thermal_power")
        rows = frames.select(FRAME_COLUMNS).join(
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
        self._runs: dict[tuple[str, str | None], _Running] = {}

    def of_frames(self) -> pl.DataFrame:
        """What each frame used and gave, whole millijoules, null where it is not known.

        Returns:
            `start`, `end`, `mode`; for each of `KINDS` the energy by the best way that is known; for `electrical` and
            `thermal` also `…_counter`, `…_integral`, their difference `…_residual`, and in `…_way` the bit of the way
            that was chosen (`vocabulary.ways.BITS`). Heat is net: `thermal_taken` is what a defrost took of it
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
            silent = None if meter is None else self._is_silent(kind, starts, ends)
            rows = rows.with_columns(
                series.alias(name)
                for name, series in ((f"{kind} meter", meter), (f"{kind} device", device), (f"{kind} silent", silent))
                if series is not None
            )
            chosen += _chosen(kind, meter is not None, device is not None)
        named = (f"{kind}_{what}" for kind in WAYS_OF for what in ("counter", "integral", "residual", "way"))
        rows = rows.with_columns(chosen).with_columns(self._net_heat())
        return rows.select("start", "end", "mode", *KINDS, *named, "thermal_taken")

    def _net_heat(self) -> list[pl.Expr]:
        """Heat with what defrosts took subtracted, that alone, and what counter and integral differ by."""
        defrosts = pl.col("defrost").fill_null(False)
        heat, integral_of_power = pl.col("thermal"), pl.col("thermal_integral")
        counts_it = pl.col("thermal_way").is_in(self._net)
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
            `thermal` (mJ, null where no counter tells), `electrical_way`, `thermal_way` (bits), only where something
            was counted.
        """
        counts = any(self._counters.values())
        holes = _holes(self._rows, start, end) if counts else pl.DataFrame(schema=_UNOBSERVED)
        unknown = pl.lit(None, pl.Int64)
        for kind in WAYS_OF:
            ranks = {
                word: self._counted(kind, holes["start"], holes["end"], by_meter, True)
                for by_meter, word in ((True, METER_COUNTER), (False, DEVICE_COUNTER))
            }
            known = {BITS[word]: series for word, series in ranks.items() if series is not None}
            holes = holes.with_columns(
                pl.coalesce(*known.values(), unknown).alias(kind),
                pl.coalesce(
                    *(pl.when(series.is_not_null()).then(pl.lit(bit, pl.Int64)) for bit, series in known.items()),
                    unknown,
                ).alias(WAYS_OF[kind]),
            )
        return (
            holes.filter((pl.col("electrical").fill_null(0) != 0) | (pl.col("thermal").fill_null(0) != 0))
            .with_columns(heat_pump=pl.lit(heat_pump), cut=hour_start("start", time_zone))
            .select(_UNOBSERVED.names())
        )

    def _is_silent(self, kind: str, starts: pl.Series, ends: pl.Series) -> pl.Series:
        """Whether each stretch lies within a silence over which a meter's counter of the kind counted."""
        total, purposes = COUNTERS[kind]
        found = starts.is_null()
        for signal in (total, *purposes):
            for group in self._counters[True].get(signal, []):
                for counter in group:
                    found = found | counter.over_silence(starts, ends)
        return found

    def _counted(
        self, kind: str, starts: pl.Series, ends: pl.Series, by_meter: bool, silent: bool = False
    ) -> pl.Series | None:
        """What the counters of a kind, of meters or of the machine, say of each stretch; None where there are none."""
        total, purposes = COUNTERS[kind]
        counters = self._counters[by_meter]
        ways = [self._summed(group, kind, None, starts, ends, silent) for group in counters.get(total, [])]
        parts = []
        for signal, purpose in purposes.items():
            of_purpose = [
                self._summed(group, kind, purpose, starts, ends, silent) for group in counters.get(signal, [])
            ]
            if of_purpose:
                sign = -1 if (kind, purpose) == ("thermal", "cooling") else 1
                parts.append(sign * _first_known(of_purpose))
        if parts:
            ways.append(_sum_of_counted(parts) if silent else _sum(parts))
        return _first_known(ways) if ways else None

    def _summed(
        self,
        group: Sequence[_Counter],
        kind: str,
        purpose: str | None,
        starts: pl.Series,
        ends: pl.Series,
        silent: bool,
    ) -> pl.Series:
        """What counters that are summed counted within each stretch; null where one of them was not read.

        In the `silent` stretches nothing was: there a counter is known where it counted over the silence.
        """
        if (kind, purpose) not in self._runs:
            self._runs[kind, purpose] = _Running(self._rows, kind, purpose)
        running = self._runs[kind, purpose]
        parts = []
        for counter in group:
            known = counter.over_silence(starts, ends) if silent else counter.known(starts, ends)
            steps = _Steps(counter.steps, running)
            counted = steps.until(ends) - steps.until(starts)
            parts.append(pl.select(pl.when(known).then(counted)).to_series())
        return _sum(parts)


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
    bits = [
        pl.when(amount.is_not_null()).then(of_power if word is None else pl.lit(BITS[word], pl.Int64))
        for amount, word in ways
    ]
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


def _first_known(ways: Sequence[pl.Series]) -> pl.Series:
    return pl.select(pl.coalesce(ways)).to_series()


@dataclass(frozen=True)
class _Counter:
    """One counter over the days that are loaded.

    Attributes:
        since: its first reading.
        until: by `day` (UTC) the last reading that is known of: up to the end of the next day, or of the day itself.
        steps: `lo`, `hi` (between which it counted), `millijoules`, `over_gap`; sorted, apart.
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

    def over_silence(self, starts: pl.Series, ends: pl.Series) -> pl.Series:
        """Whether each stretch lies within a silence over which it counted."""
        gaps = self.steps.filter("over_gap")
        if gaps.is_empty():
            return starts.is_null()
        place = gaps["lo"].search_sorted(starts, side="right").cast(pl.Int64) - 1
        return (place >= 0) & (ends <= gaps["hi"].gather(place.clip(0)))


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
    ).filter(pl.col("lo") < pl.col("hi"))


class _Running:
    """Running sums, over the frames, of what an increment is spread by, the best first.

    The last is time itself, which goes on where there are no frames.
    """

    def __init__(self, rows: pl.DataFrame, kind: str, purpose: str | None) -> None:
        self._starts = rows["start"]
        self._from = rows["start"].dt.epoch("us")
        self._span = rows["span"]
        self._weights, unmetered = _weights(rows, kind, purpose)
        self._before = [weight.cum_sum() - weight for weight in self._weights]
        self.time = len(self._weights)
        self._unmetered = {
            number: (self._starts.filter(blind), rows["end"].filter(blind)) for number, blind in unmetered.items()
        }

    def is_metered(self, begins: pl.Series, ends: pl.Series, number: int) -> pl.Series:
        """Whether a weight is known for all frames that ran within each stretch: a part says nothing of the rest."""
        if number not in self._unmetered:
            return begins.is_not_null()
        starts, stops = self._unmetered[number]
        return starts.search_sorted(ends, side="left") <= stops.search_sorted(begins, side="right")

    def at(self, moments: pl.Series, number: int) -> pl.Series:
        """The running sum of a weight up to each moment."""
        micros = moments.dt.epoch("us")
        if number == self.time or self._starts.is_empty():
            return micros if number == self.time else micros * 0
        place = self._starts.search_sorted(moments, side="right").cast(pl.Int64) - 1
        inside = place.clip(0)
        weight, span = self._weights[number].gather(inside), self._span.gather(inside)
        into = (micros - self._from.gather(inside)).clip(0)
        cut = (weight * (into / span)).round().cast(pl.Int64)
        part = pl.select(pl.when(into >= span).then(weight).otherwise(cut)).to_series()
        return self._before[number].gather(inside) + part


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


class _Steps:
    """The increments of a counter as a function of time, each spread by the best weight that it has any of."""

    def __init__(self, steps: pl.DataFrame, running: _Running) -> None:
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

    def until(self, moments: pl.Series) -> pl.Series:
        """How much was counted up to each moment, mJ, from the first step on."""
        if self._lo.is_empty() or moments.is_empty():
            return pl.zeros(len(moments), dtype=pl.Int64, eager=True)
        place = self._lo.search_sorted(moments, side="right").cast(pl.Int64) - 1
        inside = place.clip(0)
        amounts, numbers = self._amounts.gather(inside), self._number.gather(inside)
        low, high = self._low.gather(inside), self._high.gather(inside)
        at = low
        for number in self._number.unique():
            at = pl.select(pl.when(numbers == number).then(self._running.at(moments, number)).otherwise(at)).to_series()
        counted = (amounts * ((at - low) / (high - low))).round().cast(pl.Int64)
        whole = moments >= self._hi.gather(inside)
        part = pl.when(place < 0).then(0).when(whole).then(amounts).otherwise(counted)
        return (
            pl.select(part).to_series()
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
