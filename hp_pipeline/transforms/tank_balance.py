"""Frames of a tank → what each heater gave and what was drawn, hour by hour, so that the balance closes exactly.

Heaters are *measured*: power, or rated power times the time that they are on; so are heat pumps, by what their own
figures say (`tank_heat`). What is left of the level's changes is looked at hour by hour as a path of rises and falls,
each greater than the dead band, so that noise cannot ratchet: a rise while the solar pump runs is solar, any other
unexplained, a fall is a draw. Energies are whole millijoules: stored change = solar + immersion + pellet + heat pumps +
unexplained - draw - loss, to the last bit.

An hour depends on its own frames, on nothing else: each begins its paths anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.sums import MJ_PER_KWH, known_sum
from hp_pipeline.vocabulary.rules import SolarRules
from hp_pipeline.vocabulary.tables import (
    DEVICE_COUNTERS,
    SOLAR_COUNT_COLUMNS,
    SOLAR_DURATION_COLUMNS,
    SOLAR_ENERGY_COLUMNS,
    SOLAR_MEANS,
    TANK_LAYERS,
)

ENERGIES = [column.name for column in SOLAR_ENERGY_COLUMNS]
DURATIONS = [column.name for column in SOLAR_DURATION_COLUMNS]
COUNTS = [column.name for column in SOLAR_COUNT_COLUMNS]
MEANS = {f"{name}_temperature_mean": "covered_s" for name in SOLAR_MEANS} | {"idle_excess_mean": "idle_s"}
"""Means over time → the duration that they are weighted with."""

_US_PER_S = 1_000_000
_SPARSE = timedelta(minutes=2)
"""Readings further apart than this are too few in an hour for their noise to ratchet."""


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
            # What a driver did needs its own signal alone: what the tank makes of it, the layers, too.
            _known_sum("immersion", "immersion_electrical_kwh"),
            _time_where("immersion_known_s", pl.col("immersion").is_not_null()),
            _time_where("pump_s", pl.col("solar_pump")),
            _time_where("immersion_s", pl.col("immersion_heater_on") | (pl.col("immersion_heater_power") > 50)),
            _time_where("pellet_s", pl.col("pellet_stove_on") | (pl.col("pellet_stove_power") > 50)),
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
    levels = [(pl.col(f"stored_energy_{at}_kwh") * MJ_PER_KWH).round().cast(pl.Int64) for at in ("start", "end")]
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
                f"device_{what}_kwh": (pl.col(f"device_{what}_kwh") * MJ_PER_KWH).round().cast(pl.Int64)
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
    solar = (
        pl.when((pl.col("solar_pump") & (lift > 5)).fill_null(False))
        .then(divided(lift, 20).clip(0.1, 1))
        .otherwise(0.0)
    )
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


def installed(rules: SolarRules) -> list[str]:
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
    heaters = [pl.col(name).is_not_null() for name in installed(rules)]
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
        pl.col("heat_pump_known").filter(pl.all_horizontal(pl.lit(True), *heaters)).sum().alias("all_known_s"),
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
    noise = divided(pl.col("bend").median(), 0.6745 * math.sqrt(6))
    least = round(rules.dead_band_kwh * MJ_PER_KWH)
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
