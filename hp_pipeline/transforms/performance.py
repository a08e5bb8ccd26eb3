"""Heat by two named methods in stretches of five minutes while the compressor runs, for machines without a heat meter.

A: modulation × rated power, which is what a machine gives to heating and hot water: while it cools or defrosts it tells
nothing. B: flow rate × density × specific heat × spread. Each is set against the electricity of the same time, averaged
over the five minutes. They are estimates: what they are worth is seen where they stand side by side (or beside the
device's own heat). No figure of another table is made of this one; where a heat pump tells nothing better at all, its
heat is calculated frame by frame (`reckoned`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.energy import integral
from hp_pipeline.transforms.floors import carnot_share, percent
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.rules import Rules

WINDOW: Final = timedelta(minutes=5)

_MEANS: Final = (
    "electrical_power",
    "compressor_modulation",
    "flow_rate",
    "flow_temperature",
    "return_temperature",
    "source_in_temperature",
    "outdoor_temperature",
)

FRAME_COLUMNS: Final = ("heat_pump", "start", "end", "delta_t", *_MEANS)
"""What is read of the frames."""

OPERATION_COLUMNS: Final = ("start", "mode", "defrost", "compressor_running")
"""What is read of the operation."""

METHODS: Final = ("modulation", "delta_t")

_SCALE: Final = 1000
_WINDOW_US: Final = WINDOW // timedelta(microseconds=1)


def performance_5min(
    frames: pl.DataFrame, operation: pl.DataFrame, rated_power_kw: float | None, rules: Rules
) -> pl.DataFrame:
    """Table `performance_5min`: each five minutes of the clock in which the compressor ran and a method tells.

    Args:
        frames: `FRAME_COLUMNS` of one heat pump, whole windows, sorted.
        operation: `OPERATION_COLUMNS` of the same frames.
        rated_power_kw: rated thermal power; None when it is not known, and the modulation tells no heat.
    """
    watts_per_l_per_h_and_k = rules.density_kg_per_l * rules.specific_heat_kj_per_kg_k / 3.6
    heat = {
        "modulation": _by_modulation(rated_power_kw),
        "delta_t": pl.col("flow_rate") * pl.col("delta_t") * watts_per_l_per_h_and_k,
    }
    rows = (
        frames.select(FRAME_COLUMNS)
        .join(operation.select(OPERATION_COLUMNS), on="start", how="inner", maintain_order="left")
        .with_columns(
            span=(pl.col("end") - pl.col("start")).dt.total_microseconds(),
            window=pl.col("start").dt.truncate(WINDOW),
            **heat,
        )
    )
    span, runs = pl.col("span"), pl.col("compressor_running").fill_null(False)
    modes = pl.col("mode").filter(runs)
    sums = (
        rows.group_by("heat_pump", "window", maintain_order=True)
        .agg(
            pl.when(modes.n_unique() == 1).then(modes.first()).alias("mode"),
            span.filter(runs).sum().alias("running_us"),
            *(_mean(name) for name in _MEANS),
            *(expression for name in METHODS for expression in _against(name)),
        )
        .filter(pl.col("running_us") > 0, pl.any_horizontal(pl.col(f"{name}_us") > 0 for name in METHODS))
    )
    shown = sums.with_columns(
        pl.col("window").alias("start"),
        (pl.col("window") + WINDOW).alias("end"),
        divided(pl.col("running_us"), 1e6).alias("running_s"),
        *(divided(pl.col(f"{name}_us"), 1e6).alias(f"{name}_s") for name in METHODS),
        *(
            pl.when(pl.col(f"{name}_us") > 0)
            .then(pl.col(f"{name}_mj") / pl.col(f"{name}_us") * 1000)
            .alias(f"thermal_power_{name}_mean")
            for name in METHODS
        ),
        *(_reason(name, rules).alias(f"cop_{name}_reason") for name in METHODS),
    )
    cops = (pl.when(pl.col(f"cop_{name}_reason").is_null()).then(_cop(name)).alias(f"cop_{name}") for name in METHODS)
    return conform(shown.with_columns(cops), "performance_5min")


def _by_modulation(rated_power_kw: float | None) -> pl.Expr:
    """Heat of a frame (W) by modulation × rated power: 0 while the compressor rests; while it runs, known in the modes
    that the rated power is of, and where the mode is not known, but not in a defrost."""
    modulation, runs = pl.col("compressor_modulation"), pl.col("compressor_running")
    rated_w = pl.lit(None if rated_power_kw is None else rated_power_kw * 1000, pl.Float64)
    heats = pl.col("mode").is_in(["heating", "dhw"])
    gives = pl.when(pl.col("mode").is_null()).then(runs).otherwise(heats) & ~pl.col("defrost").fill_null(False)
    rests = ~runs & pl.col("mode").ne_missing("cooling")
    return (
        pl.when(rests & modulation.is_not_null())
        .then(0.0 * rated_w)
        .when(gives)
        .then(divided(modulation, 100) * rated_w)
    )


def _mean(name: str) -> pl.Expr:
    """Time-weighted, from sums of whole numbers: the same however the rows of a window are cut into days' batches."""
    span = pl.col("span").filter(pl.col(name).is_not_null()).sum()
    weighted = (pl.col(name) * pl.col("span") * _SCALE).round().cast(pl.Int64).sum()
    return pl.when(span > 0).then(weighted / (span * _SCALE)).alias(f"{name}_mean")


def _against(name: str) -> list[pl.Expr]:
    """Heat and electricity (mJ) over the time (µs) for which both are known."""
    both = pl.col(name).is_not_null() & pl.col("electrical_power").is_not_null()
    span = pl.col("span")
    return [
        span.filter(both).sum().alias(f"{name}_us"),
        integral(pl.col(name), span).filter(both).sum().alias(f"{name}_mj"),
        integral(pl.col("electrical_power"), span).filter(both).sum().alias(f"{name}_electrical_mj"),
    ]


def _least_share(rules: Rules) -> pl.Expr:
    source = pl.coalesce("source_in_temperature_mean", "outdoor_temperature_mean")
    return carnot_share(pl.col("flow_temperature_mean"), source, rules)


def _cop(name: str) -> pl.Expr:
    return pl.col(f"{name}_mj") / pl.col(f"{name}_electrical_mj")


def _reason(name: str, rules: Rules) -> pl.Expr:
    known = pl.col(f"{name}_us")
    share = divided(known, _WINDOW_US)
    power = pl.col(f"{name}_electrical_mj") / known * 1000
    return (
        pl.when(known <= 0)
        .then(pl.lit("heat or electricity is not known"))
        .when(share < rules.minimum_coverage)
        .then(pl.format("known for only {} % of the time", percent(share)))
        .when(power < rules.compressor_power_w)
        .then(pl.format("less than {} W of electricity", pl.lit(rules.compressor_power_w)))
        .when(pl.col(f"{name}_mj") <= 0)
        .then(pl.lit("no heat given"))
        .when(_cop(name) * _least_share(rules) > 1)
        .then(pl.lit("above the Carnot limit"))
    )
