"""What the counters of energy say of a stretch of time: which of them is believed there, and where none is.

Of a kind of energy there may be a counter of the whole and some of its purposes, each by several sources: the whole
comes before its purposes, and a lower `precedence` before a higher one; counters that share theirs are summed. That of
a purpose tells the energy of its own mode, that of cold before any whole; when the purposes are the whole,
`EnergyCounters` says. Each is known between its readings, and over a silence by what it counted over it: not over one
in which it fell back, was exchanged or began again at 0, so that it tells nothing of what it counted meanwhile;
nor while it stood still although the machine ran (`freezes`).

What readings of a counter say is made of them in `counters`; how an increment is spread over its time in `increments`;
whether a counter or a power is believed, a meter's or the machine's, in `energy`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, partial
from itertools import chain
from typing import Final

import polars as pl

from hp_pipeline.transforms.increments import Increments, steps_of
from hp_pipeline.vocabulary.energies import COUNTER_SIGNALS, COUNTERS, counted_apart
from hp_pipeline.vocabulary.tables.counters import UNKNOWN

IncrementsOf = Callable[[str, str | None, pl.DataFrame], Increments]
"""The increments of a counter of a kind of energy and a purpose, by its steps."""

_COOLED: Final = ("thermal", "thermal_energy_cooling_total")
"""The kind and the counter of heat that is taken from the house: it is negative. A counter of the whole counts what is
given, or both upwards, so that it does not tell it."""


@dataclass(frozen=True)
class Stretches:
    """Stretches of time that are asked about, one a row.

    Attributes:
        modes: what was done in each, null where it is not known.
    """

    starts: pl.Series
    ends: pl.Series
    modes: pl.Series

    @classmethod
    def unread(cls, starts: pl.Series, ends: pl.Series) -> Stretches:
        """Those in which nothing was read, and so no mode is known."""
        return cls(starts, ends, pl.Series([None], dtype=pl.String).new_from_index(0, len(starts)))

    @property
    def none(self) -> pl.Series:
        """False for each."""
        return self.starts.is_null()


class EnergyCounters:
    """The counters of energy of the meters, or those of the machine, over some days.

    Where none counts the whole, what the purposes counted is it: in the mode of one of them, where that one is known;
    at rest, and where the mode is not known, if the device counts heating and hot water apart, and all that have ever
    been read are known. At rest no heat is given, so of heat one of them is enough there. Of a mode that none of them
    is for they tell nothing.

    Args:
        counters: table `counters`, all rows whose increment reaches into these days.
        states: table `counter_states` with a column `day`, of these days and the days beside them.
        of_meters: whether those of meters are meant (their `precedence` is negative), or those of the machine.
        framed: the days on which there are frames, ascending.
        frozen: `freezes.freezes`, of these days.
        increments: how what they counted is spread over time.
        mapped: the signals that the profiles say they tell, read or not.
    """

    def __init__(
        self,
        counters: pl.DataFrame,
        states: pl.DataFrame,
        of_meters: bool,
        framed: pl.Series,
        frozen: pl.DataFrame,
        increments: IncrementsOf,
        mapped: Iterable[str],
    ) -> None:
        self._framed = framed
        self._apart = counted_apart(mapped)
        read = {*counters["signal"].unique(), *states["signal"].unique()} & COUNTER_SIGNALS
        found = {}
        for kind, (total, purposes) in COUNTERS.items():
            for signal, purpose in {total: None, **purposes}.items():
                if signal in read:
                    found[signal] = _counters_of(
                        signal, counters, states, of_meters, frozen, partial(increments, kind, purpose)
                    )
        self._counters = {signal: groups for signal, groups in found.items() if groups}

    @property
    def is_empty(self) -> bool:
        """Whether there are none."""
        return not self._counters

    def counts_whole(self, kind: str) -> bool:
        """Whether a counter of a kind counts the whole of it, whatever it is for."""
        return COUNTERS[kind][0] in self._counters

    def counted(self, kind: str, where: Stretches) -> pl.Series | None:
        """What the counters of a kind say of each stretch, mJ: null where it is not between their readings. None where
        there are no such counters."""
        return self._counted(kind, where, over_silences=False)

    def counted_over_silences(self, kind: str, where: Stretches) -> pl.Series | None:
        """As `counted`, of stretches in which nothing was read: there a counter is known where it counted over the
        silence, and one beside it that stood still counted nothing."""
        return self._counted(kind, where, over_silences=True)

    def counted_in_holes(self, kind: str, where: Stretches, besides: pl.Series | None = None) -> pl.Series | None:
        """As `counted`, of stretches in which nothing was read, over which a counter of the kind counted.

        Whether one did is asked of all of them together, and then the first that is known says how much, as it does of
        the frames around: what of its step frames have not, and nothing where it stood still, although another counted
        over a silence of its own. By the other's word there, and by the first's around, it would be counted twice.

        Args:
            besides: stretches over which counters counted that come behind these.
        """
        read = self.counted(kind, where)
        if read is None:
            return None
        within = self.within_steps(kind, where) if besides is None else self.within_steps(kind, where) | besides
        over = self.counted_over_silences(kind, where)
        return pl.select(pl.coalesce(pl.when(within).then(read), over)).to_series()

    def within_steps(self, kind: str, where: Stretches) -> pl.Series:
        """Whether each stretch lies within an increment of one of the counters of a kind."""
        within, known_until = where.none, self._known_until(where)
        for counter in chain.from_iterable(self._groups(kind)):
            within = within | counter.within_step(where, known_until)
        return within

    def in_silence(self, kind: str, where: Stretches) -> tuple[pl.Series, pl.Series]:
        """Whether each stretch lies within a silence over which a counter of the kind counted: one that is left open
        or lost, of which other ways are to tell first, and one of which they told how its increment is spread."""
        is_open = is_shared = lost = where.none
        known_until = self._known_until(where)
        for counter, counts in self._that_count(kind, where):
            over = counts & counter.over_silence(where, known_until)
            is_open = is_open | (over & counter.increments.is_open(where.starts))
            is_shared = is_shared | (over & counter.increments.is_shared(where.starts))
            lost = lost | (counts & counter.is_lost(where, known_until))
        if lost.any() and (counted := self.counted(kind, where)) is not None:
            is_open = is_open | (lost & counted.is_null())
        return is_open, is_shared

    def open_at(self, kind: str, where: Stretches) -> tuple[tuple[pl.Series, pl.Series], tuple[pl.Series, pl.Series]]:
        """How much of what they counted over a silence is open at the begin and at the end of each stretch: of each
        first where the machine tells when, then where it is spread by time (`Increments.open_at`)."""
        nothing = pl.zeros(len(where.starts), dtype=pl.Int64, eager=True)
        found = [[nothing, nothing], [nothing, nothing]]
        for counter, counts in self._that_count(kind, where):
            if not counter.increments.has_silences:
                continue
            for edge, moments in enumerate((where.starts, where.ends)):
                for how, amount in enumerate(counter.increments.open_at(moments)):
                    found[edge][how] = found[edge][how] + amount * counts.cast(pl.Int64)
        (begin, begin_by_time), (end, end_by_time) = found
        return (begin, begin_by_time), (end, end_by_time)

    def _counted(self, kind: str, where: Stretches, over_silences: bool) -> pl.Series | None:
        total, purposes = COUNTERS[kind]

        def by_rank(signal: str) -> list[pl.Series]:
            """What the counters of a signal that are summed counted; null where one of them is not known."""
            return [
                _sum([self._counted_by(counter, where, over_silences) for counter in group])
                for group in self._counters.get(signal, [])
            ]

        ways = by_rank(total)
        parts = {
            signal: (-1 if (kind, signal) == _COOLED else 1) * _first_known(of_purpose)
            for signal in purposes
            if (of_purpose := by_rank(signal))
        }
        if parts:
            are_whole = self._over_silence(kind, parts, where) if over_silences else self._are_whole(kind, parts, where)
            ways.append(pl.select(pl.when(are_whole).then(_sum_of_known(list(parts.values())))).to_series())
        if kind == _COOLED[0] and _COOLED[1] in parts:
            cold = pl.when(where.modes == "cooling").then(parts[_COOLED[1]])
            ways.insert(0, pl.select(cold).to_series())
        return _first_known(ways) if ways else None

    def _are_whole(self, kind: str, parts: Mapping[str, pl.Series], where: Stretches) -> pl.Series:
        """Whether what the purposes of a kind counted is the whole of each stretch."""
        purposes = COUNTERS[kind][1]
        own, all_known = where.none, ~where.none
        for signal, part in parts.items():
            own = own | ((where.modes == purposes[signal]).fill_null(False) & part.is_not_null())
            all_known = all_known & (part.is_not_null() | ~self._has_begun(signal, where))
        rests = where.modes == "standby"
        undivided = rests.fill_null(True) if kind in self._apart else rests.fill_null(False) & (kind == "thermal")
        return own | (undivided & all_known)

    def _over_silence(self, kind: str, parts: Mapping[str, pl.Series], where: Stretches) -> pl.Series:
        """As `_are_whole`, of stretches in which nothing was read, so that nobody knows what was done: one that stood
        still beside another that counted is not known, and counted nothing."""
        lost = where.none
        for signal, part in parts.items():
            lost = lost | (part.is_null() & self._is_lost(signal, where))
        return ~lost if kind in self._apart else where.none

    def _has_begun(self, signal: str, where: Stretches) -> pl.Series:
        """Whether a counter of a signal had been read before each stretch."""
        return where.starts >= min(counter.since for counter in chain.from_iterable(self._counters[signal]))

    def _is_lost(self, signal: str, where: Stretches) -> pl.Series:
        """Whether each stretch lies within a silence of which one of a signal's counters tells nothing."""
        lost, known_until = where.none, self._known_until(where)
        for counter in chain.from_iterable(self._counters.get(signal, [])):
            lost = lost | counter.is_lost(where, known_until)
        return lost

    def _counted_by(self, counter: _Counter, where: Stretches, over_silences: bool) -> pl.Series:
        known = counter.over_silence(where, self._known_until(where)) if over_silences else counter.is_read(where)
        return pl.select(pl.when(known).then(counter.counted(where))).to_series()

    def _known_until(self, where: Stretches) -> pl.Series:
        """The last day of which the counters decide each stretch: its next one, or where nothing was read on that, the
        day on which frames begin again. More days may be loaded; they make no difference."""
        place = self._framed.search_sorted(where.starts.dt.date(), side="right")
        return pl.concat([self._framed, pl.Series([date.max], dtype=pl.Date)]).gather(place)

    def _groups(self, kind: str) -> Iterator[Sequence[_Counter]]:
        """All counters of a kind, in order; those that are summed together."""
        total, purposes = COUNTERS[kind]
        for signal in (total, *purposes):
            yield from self._counters.get(signal, [])

    def _that_count(self, kind: str, where: Stretches) -> Iterator[tuple[_Counter, pl.Series]]:
        """The counters of a kind, with whether each is the one that counts in each stretch: no other before it is read
        there."""
        total, purposes = COUNTERS[kind]
        before = where.none
        for group in self._counters.get(total, []):
            yield from ((counter, ~before) for counter in group)
            before = before | _all_read(group, where)
        for signal in purposes:
            read = before
            for group in self._counters.get(signal, []):
                yield from ((counter, ~read) for counter in group)
                read = read | _all_read(group, where)


class MeterCounters:
    """The counters of energy of the meters over some days. Where several of them measure a part of a kind of energy
    each, what they say is added, and not known where one of them says nothing.

    Args:
        counters, states, framed, frozen, increments, mapped: as of `EnergyCounters`.
        added: by kind of energy of which there are such meters the sources of each part.
    """

    def __init__(
        self,
        counters: pl.DataFrame,
        states: pl.DataFrame,
        framed: pl.Series,
        frozen: pl.DataFrame,
        increments: IncrementsOf,
        mapped: Iterable[str],
        added: Mapping[str, Sequence[Sequence[str]]],
    ) -> None:
        told = frozenset(mapped)

        def of(rows: pl.DataFrame, stood: pl.DataFrame) -> EnergyCounters:
            return EnergyCounters(rows, stood, True, framed, frozen, increments, told)

        whole = of(counters, states)
        self._parts = {kind: [whole] for kind in COUNTERS}
        for kind, parts in added.items():
            read = [pl.col("source").is_in(list(sources)) for sources in parts]
            self._parts[kind] = [of(counters.filter(own), states.filter(own)) for own in read]

    @property
    def is_empty(self) -> bool:
        """Whether there are none."""
        return all(part.is_empty for part in chain.from_iterable(self._parts.values()))

    def counts_whole(self, kind: str) -> bool:
        """As of `EnergyCounters`, of every part."""
        return all(part.counts_whole(kind) for part in self._parts[kind])

    def counted(self, kind: str, where: Stretches) -> pl.Series | None:
        """As of `EnergyCounters`."""
        return _added(part.counted(kind, where) for part in self._parts[kind])

    def counted_in_holes(self, kind: str, where: Stretches, besides: pl.Series | None = None) -> pl.Series | None:
        """As of `EnergyCounters`: a part that stood still while another counted counted nothing."""
        parts = self._parts[kind]
        if len(parts) > 1:
            for part in parts:
                within = part.within_steps(kind, where)
                besides = within if besides is None else besides | within
        return _added(part.counted_in_holes(kind, where, besides) for part in parts)

    def in_silence(self, kind: str, where: Stretches) -> tuple[pl.Series, pl.Series]:
        """As of `EnergyCounters`, of any part."""
        is_open = is_shared = where.none
        for part in self._parts[kind]:
            opened, shared = part.in_silence(kind, where)
            is_open, is_shared = is_open | opened, is_shared | shared
        return is_open, is_shared

    def open_at(self, kind: str, where: Stretches) -> tuple[tuple[pl.Series, pl.Series], tuple[pl.Series, pl.Series]]:
        """As of `EnergyCounters`."""
        begins, ends = zip(*(part.open_at(kind, where) for part in self._parts[kind]), strict=True)
        (begin, begin_by_time), (end, end_by_time) = (
            [_sum(amounts) for amounts in zip(*edges, strict=True)] for edges in (begins, ends)
        )
        return (begin, begin_by_time), (end, end_by_time)


def _added(parts: Iterable[pl.Series | None]) -> pl.Series | None:
    """The sum where every part is known; None where one of them has no counter."""
    told = list(parts)
    known = [part for part in told if part is not None]
    return _sum(known) if len(known) == len(told) else None


class _Counter:
    """One counter over the days that are loaded.

    Args:
        since: its first reading.
        until: by `day` (UTC) the last reading that is known of (`time`): up to the end of the next day, or of the day
            itself.
        steps: see `increments.steps_of`.
        frozen: `lo`, `hi` of the parts of days in which it stood still and was wrong; sorted, apart.
        increments: how they are spread over time.
    """

    def __init__(
        self,
        since: datetime,
        until: pl.DataFrame,
        steps: pl.DataFrame,
        frozen: pl.DataFrame,
        increments: Callable[[pl.DataFrame], Increments],
    ) -> None:
        self.since, self._until, self._steps, self._increments = since, until, steps, increments
        self._frozen = frozen
        self._lost = steps.filter("lost")

    @cached_property
    def increments(self) -> Increments:
        """What it counted as a function of time."""
        return self._increments(self._steps)

    def counted(self, where: Stretches) -> pl.Series:
        """What its increments have within each stretch, mJ, whether it is known there or not."""
        return self.increments.until(where.ends) - self.increments.until(where.starts)

    def is_read(self, where: Stretches) -> pl.Series:
        """Whether each stretch lies between readings, by what is stored of its own day and the next: the days that
        happen to be loaded make no difference."""
        days = where.starts.dt.date()
        if self._until.is_empty():
            return days.is_null()
        place = self._until["day"].search_sorted(days, side="left").clip(upper_bound=self._until.height - 1)
        same_day = self._until["day"].gather(place) == days
        between = same_day & (where.ends <= self._until["time"].gather(place)) & (where.starts >= self.since)
        return between & ~_within(self._lost, where) & ~_within(self._frozen, where)

    def over_silence(self, where: Stretches, known_until: pl.Series) -> pl.Series:
        """Whether each stretch lies within a silence over which it counted, that ends no later than on a day."""
        return _within(self._steps.filter("over_gap", ~pl.col("lost")), where, known_until)

    def is_lost(self, where: Stretches, known_until: pl.Series) -> pl.Series:
        """Whether each stretch lies within a silence of which it tells nothing, that ends no later than on a day."""
        return _within(self._lost, where, known_until)

    def within_step(self, where: Stretches, known_until: pl.Series) -> pl.Series:
        """Whether each stretch lies within one of its increments, that ends no later than on a day."""
        return _within(self._steps.filter(~pl.col("lost")), where, known_until)


def _within(steps: pl.DataFrame, where: Stretches, known_until: pl.Series | None = None) -> pl.Series:
    """Whether each stretch lies within one of the steps, that ends no later than on a day if one is given."""
    if steps.is_empty():
        return where.none
    place = steps["lo"].search_sorted(where.starts, side="right").cast(pl.Int64) - 1
    end = steps["hi"].gather(pl.select(pl.when(place >= 0).then(place)).to_series())
    within = where.ends <= end
    return (within if known_until is None else within & (end.dt.date() <= known_until)).fill_null(False)


def _counters_of(
    signal: str,
    counters: pl.DataFrame,
    states: pl.DataFrame,
    of_meters: bool,
    frozen: pl.DataFrame,
    increments: Callable[[pl.DataFrame], Increments],
) -> list[list[_Counter]]:
    """The counters of a signal in order of precedence; those that are summed stand in one list."""
    rows = counters.filter(pl.col("signal") == signal)
    stood = states.filter(pl.col("signal") == signal)
    found: dict[int, list[_Counter]] = {}
    ranks = pl.concat([part.select("precedence", "source", "point") for part in (rows, stood)]).unique()
    own_ranks = ranks.filter((pl.col("precedence") < 0) == of_meters)
    for precedence, source, point in own_ranks.sort("precedence", "source", "point").iter_rows():
        own = (pl.col("source") == source) & (pl.col("point") == point)
        mine, its = rows.filter(own).sort("end"), stood.filter(own)
        first = [moment for moment in (mine["start"].min(), its["since"].min()) if isinstance(moment, datetime)]
        if first:
            still = frozen.filter(own, pl.col("signal") == signal, pl.col("precedence") == precedence).sort("start")
            moved = still.filter(pl.col("moved").dt.date() == pl.col("start").dt.date())
            parts = still.filter(pl.col("verdict") == UNKNOWN, pl.col("start") < pl.col("end"))
            counter = _Counter(
                min(first),
                _until(its),
                steps_of(mine, moved.select("counted_from", end="moved")),
                parts.select(lo="start", hi="end"),
                increments,
            )
            found.setdefault(precedence, []).append(counter)
    return [found[rank] for rank in sorted(found)]


def _until(states: pl.DataFrame) -> pl.DataFrame:
    """`day`, `time`: how far a counter is known of on each day."""
    by_day = states.select("day", "time")
    next_day = by_day.with_columns(pl.col("day") - pl.duration(days=1))
    return pl.concat([next_day, by_day]).unique("day", keep="first", maintain_order=True).sort("day")


def _sum(parts: Sequence[pl.Series]) -> pl.Series:
    """The sum where all are known."""
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    return whole


def _sum_of_known(parts: Sequence[pl.Series]) -> pl.Series:
    """The sum of those that are known, where one of them is."""
    known = pl.any_horizontal(part.is_not_null() for part in parts)
    return pl.select(pl.when(known).then(_sum([part.fill_null(0) for part in parts]))).to_series()


def _all_read(group: Sequence[_Counter], where: Stretches) -> pl.Series:
    """Whether each stretch lies between readings of all of these counters."""
    read = where.starts.is_not_null()
    for counter in group:
        read = read & counter.is_read(where)
    return read


def _first_known(ways: Sequence[pl.Series]) -> pl.Series:
    return pl.select(pl.coalesce(ways)).to_series()
