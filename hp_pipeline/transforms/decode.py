"""Native points → canonical signals, by a profile: units, words, and what is not believed.

Of a signal of energy what a meter tells stands apart from what machines tell of themselves (`Profile.metered`): the two
are never mixed into one series. Nor are meters that measure a part of it each (`Profile.added`).

A reading that is not believed (outside the signal's range, on the profile's reject list, a spike) counts as not made:
the value before it is held on, up to its maximum age. A word that the profile does not know makes the state unknown
from there on. Each of them is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

import polars as pl

from hp_pipeline.transforms.schema import UTC
from hp_pipeline.vocabulary.profiles import WITNESS_AGE, Changes, Profile, SignalMapping, Spike, Teller

DECODED = pl.Schema({"time": UTC, "value": pl.Float64()})
"""Readings of one signal: canonical number, or the index of the state among the signal's values; null is unknown."""


SILENT = timedelta(minutes=6)
"""A publisher that says nothing for longer may have lost its connection, and with it what it said meanwhile: those
known say everything anew every 5 min."""

ONLINE = "device_online"
"""The signal that the broker tells in a device's stead: hearing it is not hearing the device."""


@dataclass(frozen=True)
class Metered:
    """What meters tell of one signal of energy, or of a part of it.

    Attributes:
        series: its readings, as those of other signals.
        read: every time at which anything of these meters' sources was read, ascending.
        max_age: how long a reading may be held.
    """

    series: pl.DataFrame
    read: pl.Series
    max_age: timedelta


@dataclass
class Decoded:
    """The readings of a heat pump by canonical signal.

    Attributes:
        signals: per signal `time`, `value` (float; for states the index among the signal's values; for text a word),
            sorted by time, one row a time; without what meters tell of energies.
        meters: what meters tell, by signal; of several parts that are to be added each, of which one may be silent.
        times: every time at which something that the profiles know was read, ascending.
        changes: per state whose changes a source tells itself, its readings of that source by `time`: if a reading
            changed the state, it did so after `after`; `published`: it is told by a publisher.
        doubts: what was not believed or not understood: signal, point, reason, example, count.
        ambiguous: signals that one selector finds in several points, with those points.
    """

    signals: dict[str, pl.DataFrame] = field(default_factory=dict)
    meters: dict[str, list[Metered]] = field(default_factory=dict)
    times: pl.Series = field(default_factory=lambda: pl.Series("time", [], UTC))
    changes: dict[str, pl.DataFrame] = field(default_factory=dict)
    doubts: list[tuple[str, str, str, str, int]] = field(default_factory=list)
    ambiguous: dict[str, list[str]] = field(default_factory=dict)


def decode(inputs: Iterable[tuple[pl.DataFrame, Profile]], polls: Sequence[pl.Series] = ()) -> Decoded:
    """Decode readings (`point`, `time`, `value`, `text`) of each source of a heat pump by its profile.

    Args:
        inputs: readings of each source, sorted by point and time, with its profile.
        polls: of each of the inputs, when it was polled: a reading of such a time has none of its own. Empty: every
            reading has a time of its own.

    Where several sources or points give the same signal at the same time, the earlier input and the earlier selector
    take precedence; otherwise their readings interleave by time. Points that a profile sums become one series first.
    Readings of meters interleave among themselves, and so do those of machines; those of meters that are added stand
    part by part, also where one of them tells nothing.
    """
    result = Decoded()
    found: dict[Teller, list[pl.DataFrame]] = {}
    mappings: dict[Teller, SignalMapping] = {}
    read: dict[Teller, list[pl.Series]] = {}
    times = []
    for number, (readings, profile) in enumerate(inputs):
        series = by_point(readings)
        used = set()
        told_changes = _ToldChanges(profile, series, polls[number] if polls else None)
        by_signal: dict[str, list[pl.DataFrame]] = {}
        for mapping, point in assigned(profile, series, result.ambiguous):
            canonical = _canonical(series[point], mapping, point, result.doubts)
            by_signal.setdefault(mapping.signal.name, []).append(told_changes.of(canonical, mapping.changes))
            mappings.setdefault(profile.teller(mapping.signal.name), mapping)
            used.add(point)
        for name in profile.added:
            mappings.setdefault(profile.teller(name), profile.mappings[name])
            by_signal.setdefault(name, [pl.DataFrame(schema=DECODED)])
        for name, own in by_signal.items():
            teller = profile.teller(name)
            found.setdefault(teller, []).extend(
                [_sum(own, profile.mappings[name])] if profile.mappings[name].summed else own
            )
            if name in profile.metered:
                read.setdefault(teller, []).append(readings["time"])
        times += [series[point]["time"] for point in sorted(used)]
    for teller in sorted(found, key=lambda teller: teller[2]):
        name, metered, _ = teller
        merged = _one_series(found[teller], mappings[teller], result.doubts)
        if metered:
            told = Metered(merged, all_times(read[teller]), mappings[teller].max_age)
            result.meters.setdefault(name, []).append(told)
        else:
            result.signals[name] = merged.select("time", "value")
        if "after" in merged.columns:
            result.changes[name] = merged.filter(pl.col("after").is_not_null()).select("time", "after", "published")
    if times:
        result.times = all_times(times)
    return result


class _ToldChanges:
    """When the states of one source changed, as it tells itself.

    Args:
        profile, series: of the source, its readings by point.
        polled: when it was polled.
    """

    def __init__(self, profile: Profile, series: Mapping[str, pl.DataFrame], polled: pl.Series | None) -> None:
        self._profile = profile
        self._series = series
        self._polled = pl.Series("time", [], UTC) if polled is None else polled

    def of(self, states: pl.DataFrame, changes: Changes | None) -> pl.DataFrame:
        """Add to the readings of a state `after`, since when it may have changed at the most (null where only the
        reading before can tell), and `published`. Unchanged without `changes`."""
        if changes is None:
            return states
        before = pl.col("time").shift(1)
        states = states.with_columns(before=before, by=pl.col("time") - changes.within)
        told = self._published(states) if changes.published else self._dated(states)
        return told.select("time", "value", "after", published=pl.lit(changes.published))

    def _dated(self, states: pl.DataFrame) -> pl.DataFrame:
        own = ~pl.col("time").is_in(self._polled.implode())
        return states.with_columns(after=_later("by", "before", own))

    def _published(self, states: pl.DataFrame) -> pl.DataFrame:
        """What a publisher says at all it says of every state. What was said in the same breath says nothing: behind an
        outage the first words come together. Nor does what followed a silence in which a change may have been lost."""
        states = states.join_asof(self._heard, left_on="by", right_on="heard", check_sortedness=False)
        first, rest = states.head(1), states.slice(1)
        rest = rest.join_asof(
            self._silences, left_on="before", right_on="silent_since", strategy="forward", check_sortedness=False
        )
        lost = (pl.col("until") <= pl.col("time")).fill_null(False)
        after = pl.when(lost).then("silent_since").otherwise(_later("heard", "before", pl.lit(True)))
        return pl.concat([first.with_columns(after=pl.lit(None, UTC)), rest.with_columns(after=after)], how="diagonal")

    @cached_property
    def _heard(self) -> pl.DataFrame:
        online = self._profile.mappings.get(ONLINE)
        selectors = online.selectors if online else ()
        times = [
            part["time"]
            for point, part in self._series.items()
            if not any(selector.matches(point) for selector in selectors)
        ]
        return pl.DataFrame({"heard": all_times(times) if times else pl.Series([], dtype=UTC)})

    @cached_property
    def _silences(self) -> pl.DataFrame:
        heard = pl.col("heard")
        return self._heard.select(silent_since=heard.shift(1), until=heard).filter(
            pl.col("until") - pl.col("silent_since") > SILENT
        )


def _later(bound: str, before: str, where: pl.Expr) -> pl.Expr:
    """The later of the two, where the state was read before at all."""
    return pl.when(where & pl.col(before).is_not_null()).then(pl.max_horizontal(bound, before))


def by_point(readings: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The readings of each point, in the order in which they are.

    Readings are stored by day and point, so a point's are a few slices, which are told by a look along the column: a
    grouping of millions of words would take as long as all else that is done with them.
    """
    runs = readings["point"].rle().struct.unnest()
    if runs.height * _FRAGMENTED > readings.height:
        return {str(key[0]): part for key, part in readings.partition_by("point", as_dict=True).items()}
    slices: dict[str, list[pl.DataFrame]] = {}
    place = 0
    for length, point in runs.select("len", "value").iter_rows():
        slices.setdefault(point, []).append(readings.slice(place, length))
        place += length
    return {point: pl.concat(parts) for point, parts in slices.items()}


_FRAGMENTED = 20
"""With fewer readings than these in a run of one point, on average, slices cost more than a grouping."""


def all_times(parts: Iterable[pl.Series]) -> pl.Series:
    """Every time of the parts once, ascending. What is read together has the same times: they are looked at once."""
    different: list[pl.Series] = []
    for part in parts:
        if not any(part.equals(other) for other in different):
            different.append(part)
    return pl.concat(different).unique().sort()


def assigned(
    profile: Profile, points: Iterable[str], ambiguous: dict[str, list[str]]
) -> list[tuple[SignalMapping, str]]:
    """Which points serve which signal, in order of precedence. Adds the signals for which one selector finds several to
    `ambiguous`, unless they are summed."""
    ordered = sorted(points)
    pairs: list[tuple[SignalMapping, str]] = []
    for mapping in profile.mappings.values():
        for selector in mapping.selectors:
            matched = [point for point in ordered if selector.matches(point)]
            taken = {point for known, point in pairs if known.signal == mapping.signal}
            pairs += [(mapping.read_by(selector), point) for point in matched if point not in taken]
            if len(matched) > 1 and not mapping.summed:
                ambiguous[mapping.signal.name] = matched
    return pairs


def _canonical(
    readings: pl.DataFrame, mapping: SignalMapping, point: str, doubts: list[tuple[str, str, str, str, int]]
) -> pl.DataFrame:
    """`time`, `value` of one point, in canonical terms."""
    signal = mapping.signal
    if signal.kind == "text":
        return readings.select("time", value=pl.coalesce("text", pl.col("value").cast(pl.String)))
    if signal.kind == "state":
        return _states(readings, mapping, point, doubts)
    number = pl.coalesce("value", pl.col("text").cast(pl.Float64, strict=False))
    frame = readings.select("time", "text", value=number * mapping.factor + mapping.offset)
    words = frame.filter(pl.col("value").is_null())
    if words.height:
        doubts.append((signal.name, point, "not a number", str(words["text"][0]), words.height))
    believed = pl.lit(True)
    if signal.minimum is not None and signal.maximum is not None:
        believed = pl.col("value").is_between(signal.minimum, signal.maximum)
    if mapping.reject:
        believed &= ~pl.col("value").is_in(mapping.reject)
    numbers = frame.filter(pl.col("value").is_not_null()).select("time", "value")
    kept = numbers.filter(believed)
    if kept.height < numbers.height:
        example = numbers.filter(~believed)["value"][0]
        doubts.append((signal.name, point, "outside its range", str(example), numbers.height - kept.height))
    return kept


def _states(
    readings: pl.DataFrame, mapping: SignalMapping, point: str, doubts: list[tuple[str, str, str, str, int]]
) -> pl.DataFrame:
    words = readings.select("time", word=pl.coalesce("text", pl.col("value").cast(pl.String)))
    code: dict[str, float | None] = {}
    for word, count in words["word"].value_counts().iter_rows():
        state = mapping.state_of(word)
        code[word] = None if state is None else float(mapping.signal.values.index(state))
        if state is None:
            doubts.append((mapping.signal.name, point, "unknown word", word, count))
    value = pl.col("word").replace_strict(code, default=None, return_dtype=pl.Float64)
    return words.select("time", value=value)


def _sum(parts: list[pl.DataFrame], mapping: SignalMapping) -> pl.DataFrame:
    """The sum of the parts as they are held, at every time that one of them was read; unknown while one of them is."""
    parts = [part for part in parts if part.height] or parts[:1]  # what never says anything is no part
    if len(parts) == 1:
        return parts[0]
    summed = pl.concat([part.select("time") for part in parts]).unique().sort("time")
    names = [f"part_{number}" for number in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        held = part.sort("time").rename({"value": name})
        summed = summed.join_asof(held, on="time", tolerance=mapping.max_age, check_sortedness=False)
    known = pl.all_horizontal(pl.col(name).is_not_null() for name in names)
    return summed.select("time", value=pl.when(known).then(pl.sum_horizontal(names)))


def _one_series(
    parts: list[pl.DataFrame], mapping: SignalMapping, doubts: list[tuple[str, str, str, str, int]]
) -> pl.DataFrame:
    """The parts merged by time, the earlier part first where times are equal, spikes taken out."""
    series = parts[0]
    if len(parts) > 1:
        ranked = [part.with_columns(rank=pl.lit(rank)) for rank, part in enumerate(parts)]
        series = (
            pl.concat(ranked, how="diagonal")
            .sort("time", "rank")
            .unique("time", keep="first", maintain_order=True)
            .drop("rank")
        )
    if mapping.spike is None or series.height < 3:
        return series
    calm = series.filter(~_is_spike(mapping.spike))
    if calm.height < series.height:
        doubts.append((mapping.signal.name, "", "spike", "", series.height - calm.height))
    return calm


def _is_spike(spike: Spike) -> pl.Expr:
    time, value = pl.col("time"), pl.col("value")
    jumps = [value - value.shift(step) for step in (1, -1)]
    near = [time - time.shift(1) <= WITNESS_AGE, time.shift(-1) - time <= spike.within]
    far = [jump.abs() > spike.max_jump for jump in jumps]
    out_and_back = jumps[0].sign() == jumps[1].sign()
    return (near[0] & near[1] & far[0] & far[1] & out_and_back).fill_null(False)


def doubts_frame(doubts: Iterable[tuple[str, str, str, str, int]]) -> pl.DataFrame:
    """The doubts as a table: `signal`, `point`, `reason`, `example`, `count`."""
    names: Mapping[str, pl.DataType] = {
        "signal": pl.String(),
        "point": pl.String(),
        "reason": pl.String(),
        "example": pl.String(),
        "count": pl.Int64(),
    }
    return pl.DataFrame(list(doubts), schema=dict(names), orient="row").sort("signal", "point", "reason", "example")
