"""Native points → canonical signals, by a profile: units, words, and what is not believed.

Of a signal of energy what a meter tells stands apart from what machines tell of themselves (`Profile.metered`): the two
are never mixed into one series.

A reading that is not believed (outside the signal's range, on the profile's reject list, a spike) counts as not made:
the value before it is held on, up to its maximum age. A word that the profile does not know makes the state unknown
from there on. Each of them is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from hp_pipeline.transforms.schema import UTC
from hp_pipeline.vocabulary.profiles import WITNESS_AGE, Profile, SignalMapping, Spike

DECODED = pl.Schema({"time": UTC, "value": pl.Float64()})
"""Readings of one signal: canonical number, or the index of the state among the signal's values; null is unknown."""


@dataclass(frozen=True)
class Metered:
    """What meters tell of one signal of energy.

    Attributes:
        series: its readings, as those of other signals.
        read: every time at which anything of these meters' sources was read, ascending.
    """

    series: pl.DataFrame
    read: pl.Series


@dataclass
class Decoded:
    """The readings of a heat pump by canonical signal.

    Attributes:
        signals: per signal `time`, `value` (float; for states the index among the signal's values; for text a word),
            sorted by time, one row a time; without what meters tell of energies.
        meters: what meters tell, by signal.
        times: every time at which something that the profiles know was read, ascending.
        doubts: what was not believed or not understood: signal, point, reason, example, count.
        ambiguous: signals that one selector finds in several points, with those points.
    """

    signals: dict[str, pl.DataFrame] = field(default_factory=dict)
    meters: dict[str, Metered] = field(default_factory=dict)
    times: pl.Series = field(default_factory=lambda: pl.Series("time", [], UTC))
    doubts: list[tuple[str, str, str, str, int]] = field(default_factory=list)
    ambiguous: dict[str, list[str]] = field(default_factory=dict)


def decode(inputs: Iterable[tuple[pl.DataFrame, Profile]]) -> Decoded:
    """Decode readings (`point`, `time`, `value`, `text`) of each source of a heat pump by its profile.

    Where several sources or points give the same signal at the same time, the earlier input and the earlier selector
    take precedence; otherwise their readings interleave by time. Points that a profile sums become one series first.
    Readings of meters interleave among themselves, and so do those of machines.
    """
    result = Decoded()
    found: dict[tuple[str, bool], list[pl.DataFrame]] = {}
    mappings: dict[tuple[str, bool], SignalMapping] = {}
    read: dict[str, list[pl.Series]] = {}
    times = []
    for readings, profile in inputs:
        series = by_point(readings)
        used = set()
        by_signal: dict[str, list[pl.DataFrame]] = {}
        for mapping, point in assigned(profile, series, result.ambiguous):
            by_signal.setdefault(mapping.signal.name, []).append(
                _canonical(series[point], mapping, point, result.doubts)
            )
            mappings.setdefault((mapping.signal.name, mapping.signal.name in profile.metered), mapping)
            used.add(point)
        for name, own in by_signal.items():
            found.setdefault((name, name in profile.metered), []).extend(
                [_sum(own, profile.mappings[name])] if profile.mappings[name].summed else own
            )
            if name in profile.metered:
                read.setdefault(name, []).append(readings["time"])
        times += [series[point]["time"] for point in sorted(used)]
    for (name, metered), parts in found.items():
        merged = _one_series(parts, mappings[name, metered], result.doubts)
        if metered:
            result.meters[name] = Metered(merged, all_times(read[name]))
        else:
            result.signals[name] = merged
    if times:
        result.times = all_times(times)
    return result


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
        series = pl.concat(ranked).sort("time", "rank").unique("time", keep="first", maintain_order=True).drop("rank")
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
