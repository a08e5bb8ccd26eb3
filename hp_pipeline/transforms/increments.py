"""How an increment of a counter is spread over time: each as a function of time.

A counter tells exactly how much, but only in steps, and not when within a step. So its increment is spread over the
time since the step before it in proportion to a weight (`Weights`): the integral of a power where there is one for all
that ran, else the time for which the machine ran, else time; for a counter of one purpose all of these first within its
mode. What a counter counted while its source was silent belongs to the silence, and is spread over it by time.

What a meter counted over a silence is spread in proportion to what the machine tells of the silence (`MachinesWord`);
of time of which it tells nothing, as much as of the rest; and where it tells of no energy at all, by time. So it is
with silences within two UTC days, which is what can be known of a day from the days beside it. Longer ones are left
open, and so are those of which the counter itself cannot say how much (it was reset meanwhile).

Energies are whole millijoules, and the parts of an increment are differences of rounded running sums: they add up to
the increment exactly, however time is cut, and in whatever batches days are made. Which counter is believed where is
decided in `energy_counters`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Final

import polars as pl

from hp_pipeline.transforms.sums import MJ_PER_KWH

REACH: Final = timedelta(hours=6)
"""An increment is spread over no more than this before the reading that shows it, so that a day's figures follow from
the days beside it: a coarse counter that last moved in the run of the day before tells of today's run. Only one that
caught up after a freeze (`freezes`) reaches further."""

EXACT: Final = ("outage", "roll_over", "factor")
"""The kinds of increments that say all that was used, whatever else a counter did meanwhile."""


_STEP, _BY_TIME, _SHARED, _OPEN = range(4)
"""What an increment is: of a time in which the counter was read; over a silence, spread by time or as the machine tells
of it; or over a silence of which it does not say all, or that is too long to be known of each of its days."""


def steps_of(counters: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """Rows of table `counters` of one counter, sorted → `lo`, `hi` (between which it counted), `millijoules`,
    `over_gap`, whether its increment over a gap says all that was used in it (`exact`), or nothing (`lost`); sorted,
    apart.

    Args:
        judged: `end` of increments behind a stand-still that was none, and since when they were `counted_from`; null
            leaves them out (`freezes`).
    """
    earliest = pl.col("end").dt.offset_by(f"-{REACH // timedelta(seconds=1)}s")
    usual = pl.when("over_gap").then("last_unchanged").otherwise(pl.max_horizontal("start", earliest))
    known = counters.join(judged.with_columns(judged=True), on="end", how="left", maintain_order="left")
    return (
        known.filter(pl.col("judged").is_null() | pl.col("counted_from").is_not_null())
        .select(
            lo=pl.coalesce("counted_from", usual),
            hi="end",
            millijoules=(pl.col("increment") * MJ_PER_KWH).round().cast(pl.Int64),
            over_gap="over_gap",
            exact=pl.col("over_gap") & pl.col("kind").is_in(EXACT).fill_null(False),
            lost=pl.col("over_gap") & (pl.col("increment") == 0),
        )
        .filter(pl.col("lo") < pl.col("hi"))
    )


class Increments:
    """The increments of a counter as a function of time, each spread by the best weight that it has any of.

    Args:
        steps: see `steps_of`.
        weights: of its kind of energy and purpose.
        told: for a meter's counter what the machine tells of its silences, by how long they are: within a day (None),
            or within two of which the first is named; the first that tells of any energy counts.
    """

    def __init__(
        self,
        steps: pl.DataFrame,
        weights: Weights,
        told: Callable[[date | None], Sequence[MachinesWord]] | None = None,
    ) -> None:
        self._weights = weights
        self._lo, self._hi, self._amounts = (steps[name] for name in ("lo", "hi", "millijoules"))
        self._before = self._amounts.cum_sum() - self._amounts
        unset = pl.Series("unset", [None], pl.Int64).new_from_index(0, steps.height)
        number, low, high = unset, unset, unset
        for candidate in range(weights.time + 1):
            bounds = [weights.at(moments, candidate) for moments in (self._lo, self._hi)]
            usable = number.is_null() & (bounds[1] > bounds[0]) & weights.is_metered(self._lo, self._hi, candidate)
            if candidate < weights.time:
                usable &= ~steps["over_gap"]
            number, low, high = (
                pl.select(pl.when(usable).then(new).otherwise(old)).to_series()
                for new, old in ((candidate, number), (bounds[0], low), (bounds[1], high))
            )
        self._number, self._low, self._high = number, low, high
        self._words: list[MachinesWord] = []
        self._what = self._settled(steps, told)

    def _settled(self, steps: pl.DataFrame, told: Callable[[date | None], Sequence[MachinesWord]] | None) -> pl.Series:
        """What each increment is; those that the machine tells of get the number of its word."""
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
            for word in told(window):
                tells = its.filter(word.amounts(self._lo.gather(its), self._hi.gather(its)) > 0)
                self._words.append(word)
                what = what.scatter(tells, _SHARED)
                self._number = self._number.scatter(tells, -len(self._words))
                its = its.filter(~its.is_in(tells.implode()))
        return what

    @property
    def has_silences(self) -> bool:
        """Whether it counted over any silence."""
        return bool((self._what != _STEP).any())

    def is_open(self, moments: pl.Series) -> pl.Series:
        """Whether the increment in which each moment lies, or the one before it, is left open."""
        return self._what_at(moments) == _OPEN

    def is_shared(self, moments: pl.Series) -> pl.Series:
        """Whether the increment in which each moment lies, or the one before it, is spread as the machine tells."""
        return self._what_at(moments) == _SHARED

    def _what_at(self, moments: pl.Series) -> pl.Series:
        if self._lo.is_empty():
            return pl.zeros(len(moments), dtype=pl.Int64, eager=True)
        place = self._lo.search_sorted(moments, side="right").cast(pl.Int64) - 1
        return self._what.gather(place.clip(0))

    def open_at(self, moments: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Of an increment over a silence, how much lies before each moment within it, or behind it where that is less;
        0 at other moments. First of those that are spread as the machine tells, then of those spread by time."""
        nothing = pl.zeros(len(moments), dtype=pl.Int64, eager=True)
        if self._lo.is_empty() or moments.is_empty():
            return nothing, nothing
        place = self._lo.search_sorted(moments, side="right").cast(pl.Int64) - 1
        inside = place.clip(0)
        within, what = (place >= 0) & (moments < self._hi.gather(inside)), self._what.gather(inside)
        before = self.until(moments) - self._before.gather(inside)
        lesser = pl.select(pl.min_horizontal(before, self._amounts.gather(inside) - before)).to_series()
        shared, by_time = (
            pl.select(pl.when(within & what.is_in(kinds)).then(lesser).otherwise(nothing)).to_series()
            for kinds in ([_SHARED], [_BY_TIME, _OPEN])
        )
        return shared, by_time

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
                of_number = self._words[-number - 1].share(moments.gather(its), lo.gather(its), hi.gather(its))
                share = share.scatter(its, of_number)
            else:
                of_number = (self._weights.at(moments, number) - low) / (high - low)
                share = pl.select(pl.when(numbers == number).then(of_number).otherwise(share)).to_series()
        counted = (amounts * share).round()
        within = (place >= 0) & (moments < hi)
        part = pl.select(pl.when(place < 0).then(0).when(within).then(counted).otherwise(amounts)).to_series()
        return (
            part.cast(pl.Int64)
            + pl.select(pl.when(place < 0).then(0).otherwise(self._before.gather(inside))).to_series()
        )


class Weights:
    """Running sums, over the frames, of what an increment is spread by, the best first.

    The last is time itself, which goes on where there are no frames.

    Args:
        rows: frames, sorted: `start`, `end`, `span` (microseconds), `mode`, `compressor_running` and the integrals of
            the powers (mJ), `…_integral`.
        kind: of energy.
        purpose: of the counter; None if it counts the whole.
    """

    def __init__(self, rows: pl.DataFrame, kind: str, purpose: str | None) -> None:
        weights, unmetered = _weights(rows, kind, purpose)
        self._sums = [RunningSum(rows["start"], rows["span"], weight) for weight in weights]
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
    if kind not in {"electrical", "thermal"}:
        chosen = [power, span]
        unmetered = {}
    elif purpose is None:
        chosen = [power, running, span]
    else:
        for_it = (pl.col("mode") == purpose).fill_null(False)
        amounts = [power, running, span]
        chosen = [*(pl.when(for_it).then(amount).otherwise(0) for amount in amounts), *amounts]
        unmetered = {0: unmetered[0] & for_it, len(amounts): unmetered[0]}
    weights = [rows.select(weight.cast(pl.Int64).alias("weight")).to_series() for weight in chosen]
    return weights, {number: rows.select(blind).to_series() for number, blind in unmetered.items()}


class MachinesWord:
    """What the machine tells of an energy, as a function of time.

    Args:
        rows: sorted, apart: `start`, `span` (microseconds), `mode`, `told` (mJ; null where the machine tells nothing).
        purpose: of which it is to tell; None for the whole.
    """

    def __init__(self, rows: pl.DataFrame, purpose: str | None) -> None:
        told = pl.col("told").abs() if purpose == "cooling" else pl.col("told").clip(0)
        if purpose is not None:
            told = pl.when(pl.col("mode") == purpose).then(told).when(pl.col("mode").is_not_null()).then(told * 0)
        heard = pl.when(told.is_not_null()).then("span").otherwise(0)
        sums = rows.select("start", "span", told=told.fill_null(0).cast(pl.Int64), heard=heard.cast(pl.Int64))
        self._told, self._heard = (RunningSum(sums["start"], sums["span"], sums[name]) for name in ("told", "heard"))

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


class RunningSum:
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
