"""A tank's layers and what drives it → frames: what it held at both ends of each, and what drove it.

The temperature of a layer runs straight from one reading to the next, over at most `max_gap`: longer gaps are not
bridged, they lower the coverage. What the tank holds at the begin and the end of a stretch telescopes, so cutting at
hours neither loses nor doubles anything. A frame depends on the readings within it and `max_gap` around it, and on what
may still be held from before; on no batch and no order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl

from hp_pipeline.transforms.decode import Decoded
from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.schema import UTC, conform
from hp_pipeline.transforms.sums import MJ_PER_KWH
from hp_pipeline.vocabulary.profiles import SignalMapping
from hp_pipeline.vocabulary.rules import SolarRules
from hp_pipeline.vocabulary.signals import signals
from hp_pipeline.vocabulary.tables import DEVICE_COUNTERS, TANK_LAYERS

QUARTER = timedelta(minutes=15)
"""Frames never cross a quarter of an hour: every time zone's hours and midnights fall on one."""

WATER_J_PER_L_AND_K = 4186.8

_STATES = ("solar_pump", "immersion_heater_on", "pellet_stove_on")
_GAUGES = (
    "solar_collector_temperature",
    "solar_return_temperature",
    "buffer_temperature",
    "thermal_power",
    "flow_rate",
    "immersion_heater_power",
    "pellet_stove_power",
)


def state_frames(frames: pl.DataFrame) -> pl.DataFrame:
    """Table `solar_frames` as far as its states go, in the form of `frames`: what each is at the begin of a frame, and
    known up to its end."""
    return frames.select(
        pl.col("solar_system").alias("heat_pump"),
        "start",
        "end",
        pl.col("end").alias("last_read"),
        "states_read",
        *_STATES,
    )


def solar_frames(
    decoded: Decoded,
    mappings: Mapping[str, SignalMapping],
    solar_system: str,
    start: datetime,
    end: datetime,
    rules: SolarRules,
) -> pl.DataFrame:
    """Table `solar_frames`: the frames that start within [start, end) (whole UTC days), sorted by start.

    Args:
        decoded: the system's signals, from far enough before `start` (the greatest maximum age) to `max_gap` after
            `end`.
        mappings: how long each signal may be held (`max_age`).
    """
    layers = list(TANK_LAYERS[: len(rules.shares)])
    knots = _knots(decoded, layers, start, end, mappings, rules)
    for name in layers:
        knots = _run_straight(knots, decoded.signals.get(name), name, rules.max_gap)
    held = [*_STATES, *_GAUGES, *DEVICE_COUNTERS.values()]
    for name in held:
        knots = _held(knots, decoded.signals.get(name), name, mappings)
    knots = _with_states_read(_with_levels(knots, layers, rules), decoded, mappings)
    frames = knots.with_columns(pl.all().shift(-1).name.suffix("_next")).filter(
        pl.col("time") >= start, pl.col("time") < end, pl.col("time_next").is_not_null()
    )
    # While only a layer is missing, what the others and the drivers told is still shown.
    told = decoded.times.to_frame("told")
    frames = frames.join_asof(told, left_on="time", right_on="told", coalesce=False, check_sortedness=False).join_asof(
        told.rename({"told": "told_next"}),
        left_on="time_next",
        right_on="told_next",
        strategy="forward",
        coalesce=False,
        check_sortedness=False,
    )
    frames = frames.filter(pl.col("bears") | (pl.col("told_next") - pl.col("told") <= rules.max_gap).fill_null(False))
    return conform(_frames(frames, layers, solar_system, rules), "solar_frames")


def _knots(
    decoded: Decoded,
    layers: Sequence[str],
    start: datetime,
    end: datetime,
    mappings: Mapping[str, SignalMapping],
    rules: SolarRules,
) -> pl.DataFrame:
    """`time`: where frames begin: something was read (once in each frame interval), a state changed, a gap of a layer
    begins or ends, a quarter of an hour begins."""
    times = decoded.times.to_frame("time").filter(pl.col("time").is_between(start, end))
    parts = [times.filter(pl.col("time").dt.truncate(rules.frame_interval).is_first_distinct())["time"]]
    for name in _STATES:
        series = decoded.signals.get(name)
        if series is not None:
            # Held no longer than its maximum age: told again after that, it is as new, whatever else was loaded.
            is_new = (pl.col("time").diff() > _max_age(name, mappings)).fill_null(True)
            changed = series.filter(is_new | pl.col("value").ne_missing(pl.col("value").shift(1)))
            parts.append(changed["time"])
    for name in layers:
        series = decoded.signals.get(name)
        if series is not None and series.height:
            known = series.filter(pl.col("value").is_not_null())["time"]
            parts += [known.filter(known.diff() > rules.max_gap), known.filter(-known.diff(-1) > rules.max_gap)]
            parts += [known.head(1), known.tail(1)]
    parts.append(pl.datetime_range(start, end, QUARTER, time_zone="UTC", time_unit="us", eager=True).alias("time"))
    knots = pl.concat([part.cast(UTC).alias("time") for part in parts])
    return knots.filter(knots.is_between(start, end)).unique().sort().to_frame()


def _run_straight(knots: pl.DataFrame, series: pl.DataFrame | None, name: str, max_gap: timedelta) -> pl.DataFrame:
    """Add a layer's temperature at each knot, null in a gap, and whether it `bears` what follows the knot."""
    if series is None or series.is_empty():
        bears = pl.lit(False)
        return knots.with_columns(pl.lit(None, pl.Float64).alias(name), bears=bears)
    known = series.filter(pl.col("value").is_not_null())
    before = known.select(t0="time", v0="value")
    behind = known.select(t1="time", v1="value")
    around = knots.join_asof(before, left_on="time", right_on="t0", coalesce=False, check_sortedness=False).join_asof(
        behind,
        left_on="time",
        right_on="t1",
        strategy="forward",
        allow_exact_matches=False,
        coalesce=False,
        check_sortedness=False,
    )
    near = (pl.col("t1") - pl.col("t0") <= max_gap).fill_null(False)
    share = (pl.col("time") - pl.col("t0")).dt.total_microseconds() / (
        pl.col("t1") - pl.col("t0")
    ).dt.total_microseconds()
    value = (
        pl.when(pl.col("time") == pl.col("t0"))
        .then("v0")
        .when(near)
        .then(pl.col("v0") + (pl.col("v1") - pl.col("v0")) * share)
    )
    so_far = pl.col("bears") if "bears" in knots.columns else pl.lit(True)
    return around.with_columns(value.alias(name), bears=so_far & near).drop("t0", "v0", "t1", "v1")


def _held(
    knots: pl.DataFrame, series: pl.DataFrame | None, name: str, mappings: Mapping[str, SignalMapping]
) -> pl.DataFrame:
    """Add a signal as it was last told at each knot, at most its maximum age ago."""
    if series is None or series.is_empty():
        return knots.with_columns(pl.lit(None, pl.Float64).alias(name))
    return knots.join_asof(
        series.rename({"value": name}).cast({name: pl.Float64}),
        on="time",
        tolerance=_max_age(name, mappings),
        check_sortedness=False,
    )


def _with_states_read(knots: pl.DataFrame, decoded: Decoded, mappings: Mapping[str, SignalMapping]) -> pl.DataFrame:
    """Add the last time before each knot that a state was told."""
    told = [series["time"] for name in _STATES if (series := decoded.signals.get(name)) is not None]
    if not told:
        return knots.with_columns(states_read=pl.lit(None, UTC))
    read = pl.concat(told).cast(UTC).unique().sort().alias("states_read").to_frame()
    return knots.join_asof(
        read,
        left_on="time",
        right_on="states_read",
        tolerance=max(_max_age(name, mappings) for name in _STATES),
        allow_exact_matches=False,
        coalesce=False,
        check_sortedness=False,
    )


def _max_age(name: str, mappings: Mapping[str, SignalMapping]) -> timedelta:
    return mappings[name].max_age if name in mappings else signals()[name].max_age


def _with_levels(knots: pl.DataFrame, layers: Sequence[str], rules: SolarRules) -> pl.DataFrame:
    """Add `level` (mJ above cold water, whole), `tank` (mean temperature) and `usable` (litres) at each knot."""
    level, mean, usable = pl.lit(0, pl.Int64), pl.lit(0.0), pl.lit(0.0)
    for name, share in zip(layers, rules.shares, strict=True):
        warm = pl.col(name) - rules.cold_water_c
        level = level + (warm * (rules.litres * share * WATER_J_PER_L_AND_K * 1000)).round().cast(pl.Int64)
        mean = mean + pl.col(name) * share
        mixed = warm * (rules.litres * share / (rules.usable_c - rules.cold_water_c))
        usable = usable + pl.when(pl.col(name).is_null()).then(None).when(pl.col(name) >= rules.usable_c).then(
            mixed
        ).otherwise(0.0)
    return knots.with_columns(level=level, tank=mean, usable=usable)


def _frames(pairs: pl.DataFrame, layers: Sequence[str], solar_system: str, rules: SolarRules) -> pl.DataFrame:
    """Pairs of knots → rows of the table."""

    def on(name: str) -> pl.Expr:
        return pl.col(name) == 1

    flow = pl.col("flow_rate") * (pl.col("solar_collector_temperature") - pl.col("solar_return_temperature"))
    carried = (flow * (WATER_J_PER_L_AND_K / 3600)).clip(lower_bound=0)
    rated_immersion = None if rules.immersion_kw is None else rules.immersion_kw * 1000
    rated_pellet = None if rules.pellet_kw is None else rules.pellet_kw * 1000
    immersion = (
        pl.when(on("immersion_heater_on"))
        .then(pl.lit(rated_immersion, pl.Float64))
        .otherwise(pl.when(pl.col("immersion_heater_on") == 0).then(0.0))
    )
    stove = (
        pl.when(on("pellet_stove_on"))
        .then(pl.lit(rated_pellet, pl.Float64))
        .otherwise(pl.when(pl.col("pellet_stove_on") == 0).then(0.0))
    )
    grown = [
        pl.when(pl.col(f"{name}_next") >= pl.col(name))
        .then(pl.col(f"{name}_next") - pl.col(name))
        .when(pl.col(f"{name}_next") < pl.col(name) / 2)  # begun anew; a smaller fall is the device's second thought
        .then(pl.col(f"{name}_next"))
        .otherwise(pl.when(pl.col(f"{name}_next").is_not_null()).then(0.0))
        .alias(f"device_{what}_kwh")
        for what, name in DEVICE_COUNTERS.items()
    ]
    into_water = pl.coalesce("pellet_stove_power", stove) * pl.lit(rules.water_share, pl.Float64)
    if rules.stove_up_to_c is not None:
        is_full = (pl.col(layers[-1]) >= rules.stove_up_to_c).fill_null(False)
        into_water = pl.when(is_full).then(into_water * 0).otherwise(into_water)
    bears = pl.col("bears")
    return pairs.select(
        pl.lit(solar_system).alias("solar_system"),
        pl.col("time").alias("start"),
        pl.col("time_next").alias("end"),
        pl.when(bears).then(divided(pl.col("level"), MJ_PER_KWH)).alias("stored_energy_start_kwh"),
        pl.when(bears).then(divided(pl.col("level_next"), MJ_PER_KWH)).alias("stored_energy_end_kwh"),
        pl.when(bears).then((pl.col("tank") + pl.col("tank_next")) / 2).alias("tank_temperature"),
        *(pl.when(bears).then(pl.col(f"{name}_next")).alias(name) for name in layers),
        pl.when(bears).then(pl.col("usable_next")).alias("usable_litres"),
        "states_read",
        "solar_collector_temperature",
        pl.col("buffer_temperature").alias("reference_temperature"),
        on("solar_pump").alias("solar_pump"),
        on("solar_pump_next").alias("solar_pump_next"),
        pl.coalesce("thermal_power", carried).alias("solar_power"),
        on("immersion_heater_on").alias("immersion_heater_on"),
        pl.coalesce("immersion_heater_power", immersion).alias("immersion_heater_power"),
        on("pellet_stove_on").alias("pellet_stove_on"),
        into_water.alias("pellet_stove_power"),
        *grown,
    )
