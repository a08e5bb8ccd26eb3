"""What a defrost costs: the heat it takes, the time until the flow is as warm again, and its share by the outdoor
temperature.

A defrost is paid three times: with the electricity of the reversed machine, with the heat that it takes out of the
water, and with the time behind it in which the water is made warm again. The first two are booked under `defrost`; COP
with and without them is a ratio of sums.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.floors import carnot_share, lack
from hp_pipeline.transforms.sums import MJ_PER_KWH, known_sum
from hp_pipeline.vocabulary.rules import Rules

FRAME_COLUMNS = ["start", "end", "flow_temperature", "thermal_power"]
"""What is read of the frames."""

SEARCHED = timedelta(minutes=60)
"""Recovery is looked for so long behind a defrost."""

BACK_WITHIN_K = 0.5
"""The flow is as warm as before when it lacks less than this: sensors tell tenths, and the machine modulates."""

BIN_K = 2.0
"""Width of the bins of the outdoor temperature."""


def with_recovery(defrosts: pl.DataFrame, frames: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Table `defrosts` with `heat_again_s`, `recovery_s` and `recovery_reason`.

    Args:
        defrosts: the table without these columns.
        frames: `FRAME_COLUMNS` from `hold` before the first defrost to `SEARCHED` behind the last.
    """
    if defrosts.is_empty():
        return defrosts
    frames = frames.sort("start")
    known_flow = frames.filter(pl.col("flow_temperature").is_not_null())
    begun = (
        defrosts.select(begin="start", over="end")
        .sort("begin")
        .join_asof(
            known_flow.select("start", before="flow_temperature"),
            left_on="begin",
            right_on="start",
            tolerance=rules.hold + rules.frame_interval,
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .select("begin", "over", "before")
    )
    # Each defrost by itself: what is found does not depend on which others are looked at with it.
    around = frames.join_where(
        begun.with_columns(until=pl.col("over") + SEARCHED),
        pl.col("start") >= pl.col("begin"),
        pl.col("start") < pl.col("until"),
    )
    inside = pl.col("start") < pl.col("over")
    since_over = pl.col("start") - pl.col("over")
    is_back = ~inside & (pl.col("flow_temperature") >= pl.col("before") - BACK_WITHIN_K)
    found = around.group_by("begin").agg(
        heat_again_s=_seconds(since_over.filter(~inside & (pl.col("thermal_power") > 0)).min()),
        recovery_s=_seconds(since_over.filter(is_back).min()),
        seen_s=_seconds(pl.col("end").max() - pl.col("over").first()),
        flow_seen=(~inside & pl.col("flow_temperature").is_not_null()).any(),
    )
    missing = begun.join(found, on="begin", how="left", maintain_order="left").with_columns(
        recovery_reason=pl.when(pl.col("recovery_s").is_not_null())
        .then(None)
        .when(pl.col("before").is_null())
        .then(pl.lit("the flow temperature before it is unknown"))
        .when(pl.col("seen_s") < SEARCHED.total_seconds() - rules.hold.total_seconds())
        .then(pl.lit("readings end before"))
        .when(~pl.col("flow_seen"))
        .then(pl.lit("the flow temperature after it is unknown"))
        .otherwise(pl.lit(f"the flow was not as warm again within {SEARCHED // timedelta(minutes=1)} min"))
    )
    columns = ["heat_again_s", "recovery_s", "recovery_reason"]
    return defrosts.drop(columns, strict=False).join(
        missing.select("begin", *columns), left_on="start", right_on="begin", how="left", maintain_order="left"
    )


def _seconds(duration: pl.Expr) -> pl.Expr:
    return divided(duration.dt.total_microseconds(), 1e6)


HOURLY_COLUMNS = [
    *("heat_pump", "start", "outdoor_temperature_mean", "observed_s", "electrical_s", "thermal_s", "compressor_s"),
    *("defrost_s", "defrosts", "electrical_energy_kwh", "electrical_energy_cooling_kwh", "thermal_energy_kwh"),
    *("electrical_energy_defrost_kwh", "thermal_energy_defrost_kwh", "heat_from_tank_kwh"),
    *("flow_temperature_mean", "flow_temperature_s", "source_in_temperature_mean", "source_in_temperature_s"),
    "outdoor_temperature_s",
]
"""What is read of the hours."""

DEFROST_COLUMNS = ["start", "recovery_s"]
"""What is read of the defrosts."""

_ENERGIES = [
    *("electrical_energy_kwh", "thermal_energy_kwh", "electrical_energy_defrost_kwh", "heat_taken_net_kwh"),
    "heat_from_tank_kwh",
]
_MEANS = ["flow_temperature", "source_temperature"]
_DURATIONS = [
    *("observed_s", "electrical_s", "thermal_s", "compressor_s", "defrost_s", "recovery_sum_s"),
    *(f"{name}_s" for name in _MEANS),
]
_COUNTS = ["defrosts", "recovered"]


def by_temperature(hours: pl.DataFrame, defrosts: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """What the hours (`HOURLY_COLUMNS`) of a period hold, by their mean outdoor temperature in bins of `BIN_K`.

    Args:
        defrosts: `DEFROST_COLUMNS`; each belongs to the hour in which it begins.

    Returns:
        The columns of `defrost_monthly` but those of its calendar, sorted by temperature, the unknown last.
    """
    low = (pl.col("outdoor_temperature_mean") / BIN_K).floor() * BIN_K
    hours = hours.sort("start").with_columns(outdoor_from=low)
    recovered = (
        defrosts.filter(pl.col("recovery_s").is_not_null())
        .sort("start")
        .join_asof(
            hours.select("start", hour="start"), on="start", tolerance=timedelta(hours=2), check_sortedness=False
        )
        .group_by("hour")
        .agg(recovered=pl.len().cast(pl.Int64), recovery_sum_s=pl.col("recovery_s").sum())
    )
    drawn = pl.col("source_in_temperature_mean").is_not_null()
    rows = hours.join(recovered, left_on="start", right_on="hour", how="left", maintain_order="left").with_columns(
        pl.col("recovered").fill_null(0),
        pl.col("recovery_sum_s").fill_null(0.0),
        # What a counter counted over a silence is of no mode.
        electrical_energy_kwh=pl.col("electrical_energy_kwh") - pl.col("electrical_energy_cooling_kwh").fill_null(0),
        heat_taken_net_kwh=-pl.col("thermal_energy_defrost_kwh"),
        source_temperature_mean=pl.when(drawn).then("source_in_temperature_mean").otherwise("outdoor_temperature_mean"),
        source_temperature_s=pl.when(drawn).then("source_in_temperature_s").otherwise("outdoor_temperature_s"),
    )
    return _summed(rows, rules)


def merged(parts: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Shorter periods (`defrost_monthly`) → the same of the longer one."""
    return _summed(parts, rules)


def _summed(rows: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Add rows per bin. Sums are of whole millijoules and microseconds: the same in any order and grouping."""
    exact = rows.with_columns(
        *((pl.col(name) * MJ_PER_KWH).round().cast(pl.Int64) for name in _ENERGIES),
        *(
            (pl.col(f"{name}_mean") * pl.col(f"{name}_s") * 1e6).round().cast(pl.Int64).alias(f"{name}_mean")
            for name in _MEANS
        ),
        *((pl.col(name) * 1e6).round().cast(pl.Int64) for name in _DURATIONS),
    )
    sums = (
        exact.group_by("heat_pump", "outdoor_from")
        .agg(
            *(known_sum(pl.col(name)).alias(name) for name in _ENERGIES),
            pl.col([*_DURATIONS, *_COUNTS, *(f"{name}_mean" for name in _MEANS)]).sum(),
        )
        .sort("outdoor_from", nulls_last=True)
        .with_columns(
            *(divided(pl.col(name), MJ_PER_KWH).alias(name) for name in _ENERGIES),
            *(
                pl.when(pl.col(f"{name}_s") > 0)
                .then(pl.col(f"{name}_mean") / pl.col(f"{name}_s"))
                .alias(f"{name}_mean")
                for name in _MEANS
            ),
            *(divided(pl.col(name), 1e6).alias(name) for name in _DURATIONS),
        )
    )
    heat, power = pl.col("thermal_energy_kwh"), pl.col("electrical_energy_kwh")
    without_heat = heat + pl.col("heat_taken_net_kwh")
    without_power = power - pl.col("electrical_energy_defrost_kwh")
    # Time that a counter counted over is known, though nothing was read in it.
    time = pl.max_horizontal("observed_s", "electrical_s", "thermal_s")
    coverages = pl.col("electrical_s") / time, pl.col("thermal_s") / time
    share = carnot_share(pl.col("flow_temperature_mean"), pl.col("source_temperature_mean"), rules)
    reason = pl.coalesce(
        lack(power, heat, *coverages, rules, heat * share),
        lack(without_power, without_heat, *coverages, rules, without_heat * share),
    )
    shown = pl.col("cop_reason").is_null()
    running = pl.col("compressor_s") > 0
    return (
        sums.with_columns(cop_reason=reason)
        .with_columns(
            outdoor_to=pl.col("outdoor_from") + BIN_K,
            cop=pl.when(shown).then(heat / power),
            cop_without_defrost=pl.when(shown).then(without_heat / without_power),
            defrost_share=pl.when(running).then(pl.col("defrost_s") / pl.col("compressor_s")),
            defrosts_per_hour=pl.when(running).then(pl.col("defrosts") / (pl.col("compressor_s") / 3600)),
            recovery_mean_s=pl.when(pl.col("recovered") > 0).then(pl.col("recovery_sum_s") / pl.col("recovered")),
        )
        .with_columns(cop_cost=pl.col("cop_without_defrost") - pl.col("cop"))
    )
