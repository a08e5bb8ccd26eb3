"""Signals → frames: what the heat pump did, cut where something was read, without losing an energy or an edge.

A frame starts at the first reading in each frame interval of the clock, at every change of a state, at every quarter of
an hour while frames go on, and where a gauge becomes known or unknown; it is valid until the next one, at most `hold`.
In it a gauge is the time-weighted mean of the held readings, or unknown all through, so power times time is the energy;
a state is what holds from its start, so an edge keeps its time. A reading is held until the next one of its signal, at
most its maximum age, that of a gauge not over a silence of everything longer than `session_gap`. Unknown is null.

What a meter tells of an energy holds while it is known; else what the machine tells of itself does. Where the machine
tells of it at all, a meter is not held over a silence of its own that is longer than `session_gap`. A frame is cut
where the one begins and the other ends. Meters that measure a part of an energy each are known while all of them are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl

from hp_pipeline.transforms.decode import Decoded, Metered, all_times
from hp_pipeline.transforms.schema import UTC, conform
from hp_pipeline.vocabulary.energies import SIGNALS
from hp_pipeline.vocabulary.profiles import SignalMapping
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline.vocabulary.signals import signals
from hp_pipeline.vocabulary.ways import DEVICE_POWER, FLOW, METER_POWER, WAYS

WAY_OF = {"electrical_power": "electrical_way", "thermal_power": "thermal_way"}
"""The powers of which a frame says by which way they are known, with the column that says it."""

SILENCE_SHOWS = timedelta(hours=1)
"""That a meter is silent shows when something else is read so soon after it should have been read again."""

QUARTER = timedelta(minutes=15)
"""Frames never cross a quarter of an hour: every time zone's hours and midnights fall on one."""


def build_frames(
    decoded: Decoded,
    mappings: dict[str, SignalMapping],
    heat_pump: str,
    start: datetime,
    end: datetime,
    rules: Rules,
    more_follows: bool,
) -> pl.DataFrame:
    """The frames of one heat pump that start within [start, end) (whole UTC days).

    Args:
        decoded: its signals, from far enough before `start` (the greatest maximum age) to `hold` after `end`.
        mappings: how long each signal that is no meter's may be held (`max_age`).
        more_follows: whether anything was read on the days after the newest reading before `end`; if not, the newest
            frame is as long as the frame interval, because nothing says that it lasted longer.

    Returns:
        Table `frames`, sorted by start.
    """
    ticks = _ticks(decoded.times, start, end, rules, more_follows)
    if ticks.is_empty():
        return conform(None, "frames")
    ticks = _with_back_since(ticks, decoded.times, rules)
    for name, series in decoded.signals.items():
        ticks = _held(ticks, series, name, mappings[name].max_age)
    for name, parts in decoded.meters.items():
        ends = [_silences(part.read, decoded.times, rules.session_gap) for part in parts]
        if not _tells_otherwise(name, mappings):
            ends = [times.clear() for times in ends]
        ticks = _metered(ticks, parts, ends, name)
    ticks = _with_changes(_with_states_read(ticks, decoded, rules), decoded)
    ticks = _derive(ticks, rules).filter(pl.col("time") >= start, pl.col("time") < end)
    frames = _coarsen(ticks, rules.frame_interval)
    return conform(_in_words(frames).with_columns(heat_pump=pl.lit(heat_pump)), "frames")


def _ticks(times: pl.Series, start: datetime, end: datetime, rules: Rules, more_follows: bool) -> pl.DataFrame:
    """`time`, `until`, `last_read`: when something was read or a quarter begins, and how long that holds."""
    reads = times.filter(times >= start - rules.hold).to_frame("time")
    if reads.is_empty():
        return pl.DataFrame(schema={"time": UTC, "until": UTC, "last_read": UTC})
    alone = rules.hold if more_follows else min(rules.frame_interval, rules.hold)
    following = pl.col("time").shift(-1)
    reads = reads.with_columns(
        until=pl.when(following.is_null())
        .then(pl.col("time") + alone)
        .otherwise(pl.min_horizontal(following, pl.col("time") + rules.hold)),
        last_read="time",
    )
    quarters = pl.DataFrame({"time": pl.datetime_range(start, end, QUARTER, time_zone="UTC", eager=True).cast(UTC)})
    cut = quarters.join_asof(reads, left_on="time", right_on="last_read", check_sortedness=False).filter(
        pl.col("time") > pl.col("time_right"), pl.col("time") < pl.col("until")
    )
    return (
        pl.concat([reads, cut.select("time", "until", last_read="time_right")])
        .sort("time")
        .with_columns(until=pl.min_horizontal("until", pl.col("time").shift(-1).fill_null(pl.col("until"))))
    )


def _with_back_since(ticks: pl.DataFrame, times: pl.Series, rules: Rules) -> pl.DataFrame:
    """Add since when something is read again, after a silence of everything longer than `session_gap`."""
    reads = times.to_frame("back_since").filter(pl.col("back_since").diff() > rules.session_gap)
    return ticks.join_asof(reads, left_on="time", right_on="back_since", coalesce=False, check_sortedness=False)


def _held(ticks: pl.DataFrame, series: pl.DataFrame, name: str, max_age: timedelta) -> pl.DataFrame:
    """Add a signal as it is held at each tick.

    What a gauge was before a silence says nothing of what it is behind it: energy is never carried over a gap.
    """
    joined = ticks.join_asof(
        series.rename({"value": name, "time": "told_at"}),
        left_on="time",
        right_on="told_at",
        coalesce=False,
        tolerance=max_age,
        check_sortedness=False,
    )
    if signals()[name].kind == "gauge":
        stale = pl.col("told_at") < pl.col("back_since")
        joined = joined.with_columns(pl.when(stale.fill_null(False)).then(None).otherwise(name).alias(name))
    return joined.drop("told_at")


def _silences(read: pl.Series, times: pl.Series, session_gap: timedelta) -> pl.Series:
    """When a meter was read for the last time before a silence of its own: longer than `session_gap`, while something
    else is read within `SILENCE_SHOWS` behind that."""
    reads = pl.DataFrame({"time": read}).with_columns(next=pl.col("time").shift(-1), until=pl.col("time") + session_gap)
    alone = reads.filter((pl.col("next") > pl.col("until")).fill_null(True)).join_asof(
        times.to_frame("shows"), left_on="until", right_on="shows", strategy="forward", tolerance=SILENCE_SHOWS,
        allow_exact_matches=False, check_sortedness=False,
    )  # fmt: skip
    return alone.filter((pl.col("shows") < pl.col("next")).fill_null(pl.col("shows").is_not_null()))["time"]


def _tells_otherwise(name: str, mappings: Mapping[str, SignalMapping]) -> bool:
    """Whether the machine itself tells of the energy that a meter's signal is about: else a silence of the meter is no
    worse than its last reading, which is held up to its maximum age."""
    kind = next((kind for kind, names in SIGNALS.items() if name in names), None)
    others = SIGNALS[kind] | ({"flow_rate"} if kind == "thermal" else set()) if kind else {name}
    return not others.isdisjoint(mappings)


def _metered(ticks: pl.DataFrame, parts: Sequence[Metered], ends: Sequence[pl.Series], name: str) -> pl.DataFrame:
    """Put what meters tell of a signal in the place of what the machine tells of it, wherever they are known: the sum
    of their parts, where each of them is.

    A gauge read before a silence of its meter (`ends`) says nothing of what follows.
    """
    told = pl.zeros(ticks.height, eager=True)
    for part, silent_since in zip(parts, ends, strict=True):
        series = part.series
        if signals()[name].kind == "gauge":
            unknown = pl.DataFrame({"time": silent_since}).with_columns(value=pl.lit(None, pl.Float64))
            series = pl.concat([unknown, series]).unique("time", keep="first", maintain_order=True).sort("time")
        told = told + _held(ticks.select("time", "back_since"), series, name, part.max_age)[name]
    known = told.is_not_null()
    if name in ticks.columns:
        told = pl.select(pl.coalesce(told, ticks[name])).to_series()
    ticks = ticks.with_columns(told.alias(name))
    return ticks.with_columns(known.alias(_by_meter(name))) if name in WAY_OF else ticks


def _by_meter(power: str) -> str:
    """The column of ticks that says whether a power is a meter's."""
    return f"{power} by meter"


def _with_states_read(ticks: pl.DataFrame, decoded: Decoded, rules: Rules) -> pl.DataFrame:
    """Add when any state was last read before each tick, within `hold`: between the two an edge may lie.

    Other readings (a meter's, with a pace of its own) say nothing of the states.
    """
    times = [series["time"] for name, series in decoded.signals.items() if signals()[name].kind == "state"]
    read = all_times(times) if times else pl.Series([], dtype=UTC)
    states = pl.DataFrame({"time": read, "states_read": read})
    return ticks.join_asof(states, on="time", tolerance=rules.hold, allow_exact_matches=False, check_sortedness=False)


def _with_changes(ticks: pl.DataFrame, decoded: Decoded) -> pl.DataFrame:
    """Add `changed_after` where every state that changes at a tick was known until then and is told when it changed:
    the earliest of these times. Where all of them are published it is also when the states were last read, else that
    is known as well (`states_read`), however long ago.

    A state that was unknown, or is now, or a hole before the tick: then the edge is where the readings have it.
    """
    names = [name for name in decoded.changes if name in ticks.columns]
    if not names:
        return ticks.with_columns(changed_after=pl.lit(None, UTC))
    goes_on = (pl.col("until").shift(1) == pl.col("time")).fill_null(False)
    changed, told, afters, published = [], [], [], []
    for name in _of_kind(ticks, "state"):
        value = pl.col(name)
        change = value.ne_missing(value.shift(1))
        changed.append(change)
        if name not in names:
            told.append(~change)
            continue
        after, by_publisher = f"{name} after", f"{name} published"
        own = decoded.changes[name].select(
            "time", pl.col("after").alias(after), pl.col("published").alias(by_publisher)
        )
        ticks = ticks.join(own, on="time", how="left", maintain_order="left")
        known = value.is_not_null() & value.shift(1).is_not_null() & pl.col(after).is_not_null()
        told.append(~change | known)
        afters.append(pl.when(change).then(after))
        published.append(~change | pl.col(by_publisher).fill_null(False))
    all_told = goes_on & pl.any_horizontal(changed) & pl.all_horizontal(told)
    ticks = ticks.with_columns(
        changed_after=pl.when(all_told).then(pl.min_horizontal(afters)), published=pl.all_horizontal(published)
    )
    read = (
        pl.when("published").then("changed_after").otherwise(pl.coalesce("states_read", pl.col("last_read").shift(1)))
    )
    return ticks.with_columns(
        states_read=pl.when(pl.col("changed_after").is_not_null()).then(read).otherwise("states_read")
    ).drop("published", *(f"{name} {what}" for name in names for what in ("after", "published")))


def _derive(ticks: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Add what follows from other signals where it is not measured, before anything is averaged.

    Spread = flow - return temperature. Thermal power = volume flow · density · specific heat · spread, which stands as
    `thermal_power_by_flow` beside a thermal power that is told. And by which way the powers are known (`WAY_OF`): its
    rank among `WAYS`.
    """
    missing = [
        pl.lit(None, pl.Float64).alias(name)
        for name in ("flow_temperature", "return_temperature", "delta_t", "flow_rate", *WAY_OF)
        if name not in ticks.columns
    ]
    unmetered = [pl.lit(False).alias(_by_meter(name)) for name in WAY_OF if _by_meter(name) not in ticks.columns]
    heat_per_l_per_h_and_k = rules.density_kg_per_l * rules.specific_heat_kj_per_kg_k / 3.6
    return (
        ticks.with_columns(*missing, *unmetered)
        .with_columns(delta_t=pl.coalesce("delta_t", pl.col("flow_temperature") - pl.col("return_temperature")))
        .with_columns(
            thermal_power_by_flow=pl.col("flow_rate") * pl.col("delta_t") * heat_per_l_per_h_and_k,
            **{way: _told(name) for name, way in WAY_OF.items()},
        )
        .with_columns(
            thermal_power=pl.coalesce("thermal_power", "thermal_power_by_flow"),
            thermal_power_by_flow=pl.when(pl.col("thermal_way").is_not_null()).then("thermal_power_by_flow"),
            thermal_way=pl.coalesce(
                "thermal_way", pl.when(pl.col("thermal_power_by_flow").is_not_null()).then(_rank(FLOW))
            ),
        )
    )


def _told(power: str) -> pl.Expr:
    """The rank of the way by which a power is told; null where it is not."""
    rank = pl.when(pl.col(_by_meter(power))).then(_rank(METER_POWER)).otherwise(_rank(DEVICE_POWER))
    return pl.when(pl.col(power).is_not_null()).then(rank)


def _rank(word: str) -> pl.Expr:
    return pl.lit(next(rank for rank, way in enumerate(WAYS) if way.word == word), pl.Int8)


def _of_kind(frame: pl.DataFrame, *kinds: str) -> list[str]:
    return [name for name, signal in signals().items() if signal.kind in kinds and name in frame.columns]


def _coarsen(ticks: pl.DataFrame, interval: timedelta) -> pl.DataFrame:
    """One row a frame: ticks of one frame interval and one set of states, merged by exact time weights."""
    states = [*_of_kind(ticks, "state"), *WAY_OF.values()]
    gauges = _of_kind(ticks, "gauge")
    held = _of_kind(ticks, "counter", "text")
    begins = pl.col("time").dt.truncate(interval) != pl.col("time").shift(1).dt.truncate(interval)
    for name in states:
        begins |= pl.col(name).ne_missing(pl.col(name).shift(1))
    for name in gauges:
        begins |= pl.col(name).is_null() != pl.col(name).is_null().shift(1)
    ticks = ticks.with_columns(frame=begins.fill_null(True).cum_sum())
    ticks = ticks.with_columns(alone=pl.len().over("frame") == 1)
    single = ticks.filter("alone").rename({"time": "start", "until": "end"})
    columns = ["start", "end", "last_read", "states_read", "changed_after", *states, *gauges, *held]
    if single.height == ticks.height:
        return single.select(columns)
    span = (pl.col("until") - pl.col("time")).dt.total_microseconds()
    several = (
        ticks.filter(~pl.col("alone"))
        .with_columns(span=span)
        .group_by("frame", maintain_order=True)
        .agg(
            pl.col("time").first().alias("start"),
            pl.col("until").last().alias("end"),
            pl.col("last_read").last(),
            pl.col("states_read", "changed_after").first(),
            *(pl.col(name).first() for name in states),
            *(_weighted_mean(name) for name in gauges),
            *(pl.col(name).last() for name in held),
        )
    )
    return pl.concat([single.select(columns), several.select(columns)]).sort("start")


def _weighted_mean(name: str) -> pl.Expr:
    """Mean of a gauge that is known all through the frame, or null. Sums of whole numbers, so that it is the same
    however ticks are grouped."""
    weighted = (pl.col(name) * pl.col("span") * _SCALE).round().cast(pl.Int64).sum()
    mean = weighted / (pl.col("span").sum() * _SCALE)
    same = pl.col(name).min() == pl.col(name).max()
    return (
        pl.when(pl.col(name).first().is_not_null())
        .then(pl.when(same).then(pl.col(name).min()).otherwise(mean))
        .alias(name)
    )


_SCALE = 1000


def _in_words(frames: pl.DataFrame) -> pl.DataFrame:
    """Index of a state → its word, or true and false for a flag."""
    ways = dict(enumerate(way.word for way in WAYS))
    words = [pl.col(name).replace_strict(ways, default=None, return_dtype=pl.String) for name in WAY_OF.values()]
    for name in _of_kind(frames, "state"):
        signal = signals()[name]
        index = pl.col(name)
        if signal.is_flag:
            words.append((index == 1).alias(name))
        else:
            words.append(
                index.cast(pl.Int8)
                .replace_strict(dict(enumerate(signal.values)), default=None, return_dtype=pl.String)
                .alias(name)
            )
    return frames.with_columns(words)
