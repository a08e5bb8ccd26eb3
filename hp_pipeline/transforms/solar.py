"""A tank's layers and what drives it → what each heater gave, hour by hour, so that the balance closes exactly.

The temperature of a layer runs straight from one reading to the next, over at most `max_gap`: longer gaps are not
bridged, they lower the coverage. What the tank holds at the begin and the end of a stretch telescopes, so cutting at
hours neither loses nor doubles anything. Heaters are *measured*: power, or rated power times the time that they are on;
so are heat pumps, by what their own figures say (`tank_heat`).
What is left of the level's changes is looked at hour by hour as a path of rises and falls, each greater than the dead
band, so that noise cannot ratchet: a rise while the solar pump runs is solar, any other unexplained, a fall is a draw.
Energies are whole millijoules: stored change = solar + immersion + pellet + heat pumps + unexplained - draw - loss, to
the last bit.

An hour depends on the readings within it and `max_gap` around it, and on what heat pumps told of it; on nothing else:
not on their order, on batches, on when a process was started, or on what was before.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import polars as pl

from hp_pipeline.transforms.calendar import (
    PeriodName,
    day_start,
    first_day,
    hour_end,
    hour_start,
    local_date,
    local_iso,
    next_period,
    period_label,
)
from hp_pipeline.transforms.decode import Decoded
from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.floors import Known, elapsed_s
from hp_pipeline.transforms.schema import UTC, conform
from hp_pipeline.transforms.sums import known_sum
from hp_pipeline.transforms.tank_heat import ChargingHeatPump, with_heat_pumps
from hp_pipeline.vocabulary.profiles import SignalMapping
from hp_pipeline.vocabulary.rules import SolarRules
from hp_pipeline.vocabulary.signals import signals
from hp_pipeline.vocabulary.tables import (
    DEVICE_COUNTERS,
    HOUSE_SUM_COLUMNS,
    SOLAR_COUNT_COLUMNS,
    SOLAR_DURATION_COLUMNS,
    SOLAR_ENERGY_COLUMNS,
    SOLAR_LEVELS,
    SOLAR_MEANS,
    TANK_LAYERS,
)

QUARTER = timedelta(minutes=15)
"""Frames never cross a quarter of an hour: every time zone's hours and midnights fall on one."""

WATER_J_PER_L_AND_K = 4186.8

_MJ_PER_KWH = 3_600_000_000
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
        pl.when(bears).then(divided(pl.col("level"), _MJ_PER_KWH)).alias("stored_energy_start_kwh"),
        pl.when(bears).then(divided(pl.col("level_next"), _MJ_PER_KWH)).alias("stored_energy_end_kwh"),
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


ENERGIES = [column.name for column in SOLAR_ENERGY_COLUMNS]
DURATIONS = [column.name for column in SOLAR_DURATION_COLUMNS]
COUNTS = [column.name for column in SOLAR_COUNT_COLUMNS]
MEANS = {f"{name}_temperature_mean": "covered_s" for name in SOLAR_MEANS} | {"idle_excess_mean": "idle_s"}
"""Means over time → the duration that they are weighted with."""

_US_PER_S = 1_000_000
_SPARSE = timedelta(minutes=2)
"""Readings further apart than this are too few in an hour for their noise to ratchet."""

_LEAST_IDLE_S = 6 * 3600.0
_LEAST_EXCESS_K = 5.0


def balance(frames: pl.DataFrame, cut: pl.Expr, rules: SolarRules) -> pl.DataFrame:
    """The sums of each hour in the exact form (mJ, µs, means × µs).

    Args:
        frames: table `solar_frames` of whole hours, with the heat of heat pumps (`tank_heat.with_heat_pumps`).
        cut: expression over the frames: the begin of the hour that each lies in.

    Returns:
        `solar_system`, `cut`, and every column of the hourly table but the ratios, sorted by `cut`.
    """
    rows = _driven(frames.sort("start").with_columns(cut=cut), rules)
    known = rows.filter("covered")
    return (
        rows.group_by("solar_system", "cut", maintain_order=True)
        .agg(
            *(_known_sum(f"device_{what}_kwh") for what in DEVICE_COUNTERS),
            _time_where("stagnation_s", stagnant(rules)),
            # Of the frame itself, which ends with the start: what lies before it may not be loaded.
            (~pl.col("solar_pump") & pl.col("solar_pump_next")).sum().cast(pl.Int64).alias("pump_starts"),
        )
        .join(_sums(known, rules), on=["solar_system", "cut"], how="left", maintain_order="left")
        .join(_gains_and_draws(known, rules), on="cut", how="left", maintain_order="left")
        .with_columns(pl.col(name).fill_null(0) for name in [*DURATIONS, *COUNTS])
        .with_columns(
            solar_kwh=pl.when(pl.col("covered_s") > 0).then(
                pl.sum_horizontal("solar_kwh", pl.col("metered").fill_null(0))
            )
        )
        .drop("metered")
        .sort("cut")
    )


def stagnant(rules: SolarRules) -> pl.Expr:
    """Whether the collector stands still in the sun."""
    return (pl.col("solar_collector_temperature") >= rules.stagnation_c) & ~pl.col("solar_pump")


def _driven(rows: pl.DataFrame, rules: SolarRules) -> pl.DataFrame:
    """Add what each frame's level changed by, what its drivers gave, and the `rest`, in whole millijoules."""
    span = (pl.col("end") - pl.col("start")).dt.total_microseconds()
    levels = [(pl.col(f"stored_energy_{at}_kwh") * _MJ_PER_KWH).round().cast(pl.Int64) for at in ("start", "end")]
    excess = pl.col("tank_temperature") - rules.ambient_c
    warmer = (pl.col("solar_collector_temperature") > pl.col(TANK_LAYERS[0])).fill_null(True)

    def energy(power: pl.Expr) -> pl.Expr:
        return divided(power * pl.col("span"), 1000).round().cast(pl.Int64)

    reference = pl.coalesce("reference_temperature", "tank_temperature")
    return (
        rows.with_columns(span=span, level=levels[0], change=levels[1] - levels[0], excess=excess)
        .with_columns(covered=pl.col("change").is_not_null())
        .with_columns(
            immersion=energy(pl.col("immersion_heater_power")),
            pellet=energy(pl.col("pellet_stove_power")),
            metered=energy(pl.col("solar_power")),
            loss=energy(pl.col("excess") * (rules.loss_w_per_k or 0.0)),
            # Seen running at either end: between two readings the pump may have started at any moment.
            active=(pl.col("solar_pump") | pl.col("solar_pump_next")).fill_null(False)
            & warmer
            & pl.col("solar_power").is_null(),
            **{
                f"device_{what}_kwh": (pl.col(f"device_{what}_kwh") * _MJ_PER_KWH).round().cast(pl.Int64)
                for what in DEVICE_COUNTERS
            },
        )
        .with_columns(
            rest=pl.col("change")
            - pl.sum_horizontal(pl.col("immersion", "pellet", "metered", "heat_pump").fill_null(0))
            + pl.col("loss")
        )
        .with_columns(_old_split(reference))
    )


def _old_split(reference: pl.Expr) -> list[pl.Expr]:
    """What the device's own program would book: each rise of the level, shared by weights (.1 … 1 solar by the
    collector's excess, .8 immersion heater), all of it to the stove when neither is on."""
    lift = pl.col("solar_collector_temperature") - reference
    solar = pl.when((pl.col("solar_pump") & (lift > 5)).fill_null(False)).then((lift / 20).clip(0.1, 1)).otherwise(0.0)
    immersion = pl.when(pl.col("immersion_heater_on").fill_null(False)).then(0.8).otherwise(0.0)
    gain = pl.max_horizontal("change", 0)
    weights = solar + immersion
    booked = [
        (gain * part / weights.clip(lower_bound=0.1)).round().cast(pl.Int64).alias(name)
        for name, part in (("legacy_solar_kwh", solar), ("legacy_immersion_kwh", immersion))
    ]
    return [*booked, pl.when(weights > 0).then(0).otherwise(gain).alias("legacy_pellet_kwh")]


def _known_sum(name: str, alias: str | None = None) -> pl.Expr:
    return known_sum(pl.col(name)).alias(alias or name)


def _time_where(name: str, condition: pl.Expr) -> pl.Expr:
    return pl.col("span").filter(condition.fill_null(False)).sum().alias(name)


def _installed(rules: SolarRules) -> list[str]:
    """The heaters beside the collector that the settings name."""
    there = {"immersion": rules.immersion_kw, "pellet": rules.water_share}
    return [what for what, said in there.items() if said is not None]


def _sums(known: pl.DataFrame, rules: SolarRules) -> pl.DataFrame:
    """What simply adds up, per hour."""

    def mean(value: pl.Expr, name: str) -> pl.Expr:
        return (value * pl.col("span")).round().cast(pl.Int64).sum().alias(name)

    levels = {"stored_energy": (pl.col("stored_energy_start_kwh"), pl.col("stored_energy_end_kwh"))}
    levels["usable_litres"] = (pl.col("usable_litres"), pl.col("usable_litres"))
    layers = pl.coalesce(reversed(TANK_LAYERS))
    heaters = [pl.col(name).is_not_null() for name in _installed(rules)]
    return known.group_by("solar_system", "cut", maintain_order=True).agg(
        pl.col("change").sum().alias("stored_change_kwh"),
        _known_sum("immersion", "immersion_kwh"),
        _known_sum("pellet", "pellet_kwh"),
        _known_sum("metered"),
        _known_sum("heat_pump", "heat_pump_kwh"),
        pl.col("loss").sum().alias("standby_loss_kwh"),
        pl.col("legacy_solar_kwh", "legacy_immersion_kwh", "legacy_pellet_kwh").sum(),
        pl.col("span").sum().alias("covered_s"),
        _time_where("heaters_s", pl.all_horizontal(pl.lit(True), *heaters)),
        pl.col("heat_pump_known").sum().alias("heat_pump_s"),
        _time_where("pump_s", pl.col("solar_pump")),
        _time_where("immersion_s", pl.col("immersion_heater_on") | (pl.col("immersion_heater_power") > 50)),
        _time_where("pellet_s", pl.col("pellet_stove_on") | (pl.col("pellet_stove_power") > 50)),
        mean(pl.col("tank_temperature"), "tank_temperature_mean"),
        mean(layers, "tank_top_temperature_mean"),
        mean(pl.col(TANK_LAYERS[0]), "tank_bottom_temperature_mean"),
        pl.col("solar_collector_temperature").max().alias("solar_collector_temperature_max"),
        *(
            expression
            for name, (first, last) in levels.items()
            for expression in (
                first.first().alias(f"{name}_first"),
                last.last().alias(f"{name}_last"),
                pl.min_horizontal(first.min(), last.min()).alias(f"{name}_min"),
                pl.max_horizontal(first.max(), last.max()).alias(f"{name}_max"),
            )
        ),
    )


def _gains_and_draws(known: pl.DataFrame, rules: SolarRules) -> pl.DataFrame:
    """Per hour (`cut`): `solar_kwh`, `unexplained_kwh`, `draw_kwh`, and what of it was idle."""
    broken = pl.col("cut").ne_missing(pl.col("cut").shift(1)) | (pl.col("start") != pl.col("end").shift(1))
    rows = known.with_columns(run=broken.fill_null(True).cum_sum()).join(
        _dead_bands(known, rules), on="cut", how="left", maintain_order="left"
    )
    legs = pl.Series("leg", _legs(rows["run"].to_list(), rows["rest"].to_list(), rows["band"].to_list()), pl.Int64)
    rest = pl.col("rest")
    by_leg = (
        rows.with_columns(legs)
        .group_by("leg", maintain_order=True)
        .agg(pl.col("cut", "band").first(), moved=rest.sum(), pumped=rest.filter("active").sum())
        .with_columns(is_fall=pl.col("moved") <= -pl.col("band"))
        .with_columns(
            solar=pl.when(pl.col("moved") > 0)
            .then(pl.min_horizontal(pl.max_horizontal("pumped", 0), "moved"))
            .otherwise(0)
        )
    )
    booked = by_leg.group_by("cut", maintain_order=True).agg(
        pl.col("solar").sum().alias("solar_kwh"),
        (pl.col("moved") - pl.col("solar")).filter(~pl.col("is_fall")).sum().alias("unexplained_kwh"),
        (-pl.col("moved")).filter("is_fall").sum().alias("draw_kwh"),
    )
    return booked.join(_idle(rows), on="cut", how="left", maintain_order="left")


def _dead_bands(known: pl.DataFrame, rules: SolarRules) -> pl.DataFrame:
    """`band` (mJ) of each hour: the settings', or eight times the noise where that is more, so that the range of an
    hour of noise stays below it.

    The noise is that of the second differences of the level (their median, so that draws and heaters do not count).
    """
    level = pl.col("level")
    bend = (level - 2 * level.shift(1) + level.shift(2)).over("cut").abs()
    many = (pl.len() >= 20) & (pl.col("span").median() <= _SPARSE // timedelta(microseconds=1))
    noise = pl.col("bend").median() / (0.6745 * math.sqrt(6))
    least = round(rules.dead_band_kwh * _MJ_PER_KWH)
    return (
        known.with_columns(bend=bend)
        .group_by("cut", maintain_order=True)
        .agg(
            band=pl.when(many)
            .then(pl.max_horizontal((8 * noise).fill_null(0).round().cast(pl.Int64), least))
            .otherwise(least)
        )
    )


def _legs(runs: Sequence[int], rests: Sequence[int], bands: Sequence[int]) -> list[int]:
    """Number the frames by the rises and falls that they belong to: a leg ends at the extreme from which the path goes
    back by the dead band or more, and where a run ends. One pass over whole numbers; each run begins anew."""
    ends: list[int] = []  # of each leg, the number of the frame after its last
    count, behind = len(runs), 0
    while behind < count:
        first, band = behind, bands[behind]
        level = extreme = 0
        turned = first
        way = 0  # of the leg that is under way; until one is greater than the dead band, both extremes are kept
        highest, peak, lowest, trough = 0, first, 0, first
        while behind < count and runs[behind] == runs[first]:
            level += rests[behind]
            behind += 1
            if way == 0:
                if level > highest:
                    highest, peak = level, behind
                if level < lowest:
                    lowest, trough = level, behind
                if level - lowest >= band or highest - level >= band:
                    way = 1 if level - lowest >= band else -1
                    ends.append(trough if way > 0 else peak)
                    extreme, turned = level, behind
            elif (level - extreme) * way > 0:
                extreme, turned = level, behind
            elif (extreme - level) * way >= band:
                ends.append(turned)
                way, extreme, turned = -way, level, behind
        ends += [turned, behind] if way else [behind]
    numbers: list[int] = []
    for leg, end in enumerate(ends):
        numbers += [leg] * (end - len(numbers))
    return numbers


def _idle(rows: pl.DataFrame) -> pl.DataFrame:
    """Whole hours in which nothing gave and the level ran straight: `idle_s`, `idle_loss_kwh`, `idle_excess_mean`."""
    change, span = pl.col("change"), pl.col("span")
    is_driven = (
        pl.col("active")
        | (pl.col("immersion").fill_null(0) > 0)
        | (pl.col("pellet").fill_null(0) > 0)
        | (pl.col("metered").fill_null(0) > 0)
        | (pl.col("heat_pump").fill_null(0) != 0)
    )
    so_far, lasted = change.cum_sum().over("cut"), span.cum_sum().over("cut")
    straight = change.sum().over("cut") * (lasted / span.sum().over("cut"))
    hours = (
        rows.with_columns(off=(so_far - straight).abs(), driven=is_driven)
        .group_by("cut", maintain_order=True)
        .agg(
            pl.col("driven").any(),
            pl.col("off").max(),
            pl.col("band").first(),
            pl.col("run").n_unique().alias("runs"),
            span=span.sum(),
            change=change.sum(),
            excess=(pl.col("excess") * span).round().cast(pl.Int64).sum(),
        )
    )
    is_idle = (
        ~pl.col("driven")
        & (pl.col("off") < pl.col("band") / 2)
        & (pl.col("change") < pl.col("band"))
        & (pl.col("runs") == 1)
        & (pl.col("span") >= 0.99 * 3600 * _US_PER_S)
    )
    return hours.select(
        "cut",
        idle_s=pl.when(is_idle).then("span").otherwise(0),
        idle_loss_kwh=pl.when(is_idle).then(-pl.col("change")).otherwise(0),
        idle_excess_mean=pl.when(is_idle).then("excess").otherwise(0),
    )


def solar_hourly(
    frames: pl.DataFrame,
    start: datetime,
    end: datetime,
    time_zone: str,
    rules: SolarRules,
    known: Known,
    heat_pumps: Sequence[ChargingHeatPump] = (),
) -> pl.DataFrame:
    """Table `solar_hourly`: the local hours that begin within the UTC days [start, end).

    Args:
        frames: table `solar_frames` of these days and of the rest of the last hour.
        known: the time in which there are frames at all.
        heat_pumps: those that heat the tank, of the same days.
    """
    if frames.is_empty():
        return conform(None, "solar_hourly")
    driven = with_heat_pumps(frames.sort("start"), heat_pumps)
    rows = balance(driven, hour_start("start", time_zone), rules).rename({"cut": "start"})
    rows = rows.filter(pl.col("start") >= start, pl.col("start") < end)
    local = pl.Series("local_start", local_iso(rows["start"], time_zone), pl.String)
    final = [one.final_until for one in heat_pumps if one.final_until is not None]
    placed = rows.with_columns(
        local,
        period=local.alias("period"),
        end=pl.Series([hour_end(begin, time_zone) for begin in rows["start"]], dtype=UTC),
    ).with_columns(open=pl.col("end") > pl.lit(min(final), UTC) if final else pl.lit(False))
    return _with_content(conform(_shown(placed, rules, known), "solar_hourly"))


def solar_by_calendar(
    rows: pl.DataFrame, name: PeriodName, periods: Sequence[date], time_zone: str, rules: SolarRules, known: Known
) -> pl.DataFrame:
    """Table `solar_daily`, `solar_monthly` or `solar_yearly`: a row for each period in which something was read.

    Args:
        rows: rows of the next shorter period that lie within the periods (more do not matter).
        periods: first local days of the periods wanted.
        known: the time in which there are frames at all.
    """
    table = f"solar_{name}"
    if rows.is_empty():
        return conform(None, table)
    added = [*ENERGIES, *DURATIONS, *COUNTS, *MEANS]
    merged = (
        _in_periods(_exact(rows), name, periods, time_zone)
        .sort("start")
        .group_by("solar_system", "first", maintain_order=True)
        .agg(
            *(_known_sum(column) for column in added),
            *(pl.col(f"{level}_min").min() for level in SOLAR_LEVELS),
            *(pl.col(f"{level}_max").max() for level in SOLAR_LEVELS),
            *(pl.col(f"{level}_first").drop_nulls().first() for level in SOLAR_LEVELS),
            *(pl.col(f"{level}_last").drop_nulls().last() for level in SOLAR_LEVELS),
            pl.col("solar_collector_temperature_max").max(),
            pl.col("provisional").any().alias("open"),
        )
    )
    return _with_content(conform(_shown(_placed(merged, name, time_zone), rules, known), table))


def _with_content(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with `content`: 16 hexadecimal digits of the SHA-256 of all else but `provisional`, and but what says of
    heat pumps that nothing is known of them."""
    told = [
        {name: value for name, value in row.items() if row["heat_pump_kwh"] is not None or name not in _OF_HEAT_PUMPS}
        for row in rows.drop("content", "provisional").iter_rows(named=True)
    ]
    texts = [json.dumps(row, sort_keys=True, default=datetime.isoformat) for row in told]
    hashes = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
    return rows.with_columns(pl.Series("content", hashes, pl.String))


_OF_HEAT_PUMPS = ("heat_pump_kwh", "heat_pump_s")


def _exact(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows as they are stored → whole numbers, so that they can be added."""
    weighted = [pl.col(name) * pl.col(weight) * _US_PER_S for name, weight in MEANS.items()]
    energies = [pl.col(name) * _MJ_PER_KWH for name in ENERGIES]
    durations = [pl.col(name) * _US_PER_S for name in DURATIONS]
    return rows.with_columns(amount.round().cast(pl.Int64) for amount in [*weighted, *energies, *durations])


def _in_periods(rows: pl.DataFrame, name: PeriodName, periods: Sequence[date], time_zone: str) -> pl.DataFrame:
    """The rows with `first`, the first local day of the period that each lies in; those of other periods are left."""
    firsts = pl.Series([first_day(name, local_date(start, time_zone)) for start in rows["start"]], dtype=pl.Date)
    return rows.with_columns(first=firsts).filter(pl.col("first").is_in(list(periods)))


def _placed(merged: pl.DataFrame, name: PeriodName, time_zone: str) -> pl.DataFrame:
    """`first` → `start`, `end`, `period`, `local_start`."""
    starts: list[datetime] = [day_start(first, time_zone) for first in merged["first"]]
    return merged.with_columns(
        start=pl.Series(starts, dtype=UTC),
        end=pl.Series([day_start(next_period(name, first), time_zone) for first in merged["first"]], dtype=UTC),
        period=pl.Series([period_label(name, first) for first in merged["first"]], dtype=pl.String),
        local_start=pl.Series(local_iso(starts, time_zone), dtype=pl.String),
    )


def _shown(rows: pl.DataFrame, rules: SolarRules, known: Known) -> pl.DataFrame:
    """Rows in the exact form with `start`, `end` and `open` (whether heat pumps may yet change it) → units that people
    read, with the ratios."""
    means = [
        pl.when(pl.col(weight) > 0).then(pl.col(name) / pl.col(weight)).alias(name) for name, weight in MEANS.items()
    ]
    collected = pl.sum_horizontal(pl.col("solar_kwh", "immersion_kwh", "pellet_kwh").fill_null(0))
    is_known = pl.all_horizontal(pl.col("solar_kwh", *(f"{what}_kwh" for what in _installed(rules))).is_not_null())
    units = (
        rows.with_columns(means)
        .with_columns(collected_kwh=pl.when(is_known).then(collected))
        .with_columns(
            *(divided(pl.col(name), _MJ_PER_KWH).alias(name) for name in [*ENERGIES, "collected_kwh"]),
            *(divided(pl.col(name), _US_PER_S).alias(name) for name in DURATIONS),
        )
    )
    spread = pl.col("tank_top_temperature_mean") - pl.col("tank_bottom_temperature_mean")
    idle_kelvin_h = pl.col("idle_s") / 3600 * pl.col("idle_excess_mean")
    bears = (pl.col("idle_s") >= _LEAST_IDLE_S) & (pl.col("idle_excess_mean") >= _LEAST_EXCESS_K)
    until = pl.lit(known.until, UTC)
    return units.with_columns(
        coverage=(pl.col("heat_pump_s") / elapsed_s(known)).clip(0, 1),
        stored_energy_rate_kw=pl.when(pl.col("covered_s") > 0).then(
            pl.col("stored_change_kwh") / (pl.col("covered_s") / 3600)
        ),
        stratification_k=spread,
        stratification_k_per_m=spread / pl.lit(rules.height_m, pl.Float64),
        standby_loss_w_per_k=pl.when(bears).then(pl.col("idle_loss_kwh") * 1000 / idle_kelvin_h),
        solar_kwh_per_m2=pl.col("solar_kwh") / pl.lit(rules.area_m2, pl.Float64),
        **{f"{what}_difference_kwh": pl.col(f"device_{what}_kwh") - pl.col(f"{what}_kwh") for what in DEVICE_COUNTERS},
        provisional=(pl.col("end") + rules.max_gap > until).fill_null(False) | pl.col("open"),
    )


HOUSE_ENERGIES = [column.name for column in HOUSE_SUM_COLUMNS if column.unit == "kWh"]
HOUSE_DURATIONS = [column.name for column in HOUSE_SUM_COLUMNS if column.unit == "s"]

_LEAST_INPUT_KWH = 0.05


def house_hourly(solar: pl.DataFrame, heat_pumps: Sequence[pl.DataFrame], known: Known) -> pl.DataFrame:
    """Table `house_hourly`: the balance of a tank with the heat pumps that also heat it.

    Args:
        solar: table `solar_hourly`.
        heat_pumps: table `hourly` of each heat pump whose domestic hot water is the tank's.
        known: the time in which there are frames of the tank at all.
    """
    if solar.is_empty():
        return conform(None, "house_hourly")
    names = {
        "thermal_energy_dhw_kwh": "heat_pump_kwh",
        "thermal_energy_heating_kwh": "heat_pump_heating_kwh",
        "electrical_energy_kwh": "electricity",
    }
    parts = [
        rows.select(
            "start",
            *((pl.col(name) * _MJ_PER_KWH).round().cast(pl.Int64).alias(short) for name, short in names.items()),
            heat_pump_s=(pl.col("thermal_s") * _US_PER_S).round().cast(pl.Int64),
        )
        for rows in heat_pumps
    ]
    zero = pl.lit(0, pl.Int64)
    # Their own hours say what they gave, also while the tank was not known; the tank's say what of it was seen there.
    rows = solar.drop(_OF_HEAT_PUMPS).with_columns(
        *(
            (pl.col(name) * _MJ_PER_KWH).round().cast(pl.Int64).alias(name)
            for name in set(HOUSE_ENERGIES) & set(ENERGIES) - set(_OF_HEAT_PUMPS)
        ),
        (pl.col("covered_s") * _US_PER_S).round().cast(pl.Int64),
    )
    if parts:
        # A sum over heat pumps of which one is unknown is unknown.
        every = [
            pl.when(pl.col(short).count() == len(parts)).then(pl.col(short).sum()).alias(short)
            for short in names.values()
        ]
        least = pl.when(pl.len() == len(parts)).then(pl.col("heat_pump_s").min()).otherwise(0).alias("heat_pump_s")
        together = pl.concat(parts).group_by("start").agg(*every, least)
        rows = rows.join(together, on="start", how="left", maintain_order="left").with_columns(
            pl.col("heat_pump_s").fill_null(0)
        )
    else:
        rows = rows.with_columns(
            heat_pump_kwh=zero, heat_pump_heating_kwh=zero, electricity=zero, heat_pump_s=pl.col("covered_s")
        )
    given = pl.sum_horizontal(pl.col("solar_kwh", "immersion_kwh", "pellet_kwh").fill_null(0))
    spent = pl.col("stored_change_kwh") + pl.col("draw_kwh") + pl.col("standby_loss_kwh")
    closed = rows.with_columns(
        closure_error_kwh=pl.col("heat_pump_kwh") + given - spent,
        electrical_kwh=pl.col("electricity") + pl.col("immersion_kwh").fill_null(0),
    )
    return conform(_house_shown(closed, known), "house_hourly")


def house_by_calendar(
    rows: pl.DataFrame, name: PeriodName, periods: Sequence[date], time_zone: str, known: Known
) -> pl.DataFrame:
    """Table `house_daily`, `house_monthly` or `house_yearly`; arguments as of `solar_by_calendar`."""
    table = f"house_{name}"
    if rows.is_empty():
        return conform(None, table)
    exact = rows.with_columns(
        *((pl.col(column) * _MJ_PER_KWH).round().cast(pl.Int64).alias(column) for column in HOUSE_ENERGIES),
        *((pl.col(column) * _US_PER_S).round().cast(pl.Int64).alias(column) for column in HOUSE_DURATIONS),
    )
    merged = (
        _in_periods(exact, name, periods, time_zone)
        .group_by("solar_system", "first", maintain_order=True)
        .agg(_known_sum(column) for column in [*HOUSE_ENERGIES, *HOUSE_DURATIONS])
    )
    return conform(_house_shown(_placed(merged, name, time_zone), known), table)


def _house_shown(rows: pl.DataFrame, known: Known) -> pl.DataFrame:
    units = rows.with_columns(
        *(divided(pl.col(name), _MJ_PER_KWH).alias(name) for name in HOUSE_ENERGIES),
        *(divided(pl.col(name), _US_PER_S).alias(name) for name in HOUSE_DURATIONS),
    )
    given = pl.sum_horizontal("heat_pump_kwh", "solar_kwh", "immersion_kwh", "pellet_kwh")
    return units.with_columns(
        coverage=(pl.min_horizontal("covered_s", "heat_pump_s") / elapsed_s(known)).clip(0, 1),
        closure=pl.when(given >= _LEAST_INPUT_KWH).then(pl.col("closure_error_kwh") / given),
    )
