"""Heating by outdoor temperature: what the house needs and what the heat pump makes of it, degree by degree."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from hp_pipeline.transforms.floors import carnot_share, lack
from hp_pipeline.vocabulary.rules import Rules

FRAME_COLUMNS = [
    *("start", "end", "outdoor_temperature", "source_in_temperature", "flow_temperature"),
    *("electrical_power", "thermal_power"),
]
"""What the bins read of the frames."""


def bins_of(frames: pl.DataFrame, operation: pl.DataFrame, width_k: float = 1.0) -> pl.DataFrame:
    """Sums over the frames in mode heating, by the bin of the outdoor temperature.

    Args:
        frames: `FRAME_COLUMNS` of one heat pump.
        operation: `start`, `mode` for the same frames.
        width_k: width of a bin; bins begin at multiples of it.

    Returns:
        `outdoor_from` (°C) and sums in whole numbers: `observed_us` (time), and where electricity and heat are both
        known `us` (time), `electrical_mj`, `thermal_mj`, `source` (°C·µs, of what the machine draws from, else of the
        air), `flow` (°C·µs), `flow_us`. They can be added: see `merged_bins`.
    """
    span = pl.col("span")
    known = pl.col("electrical_power").is_not_null() & pl.col("thermal_power").is_not_null()

    def over_time(value: pl.Expr, divisor: int = 1) -> pl.Expr:
        return (value * span / divisor).round().cast(pl.Int64).filter(known).sum()

    return (
        frames.select(FRAME_COLUMNS)
        .join(operation.select("start", "mode"), on="start", maintain_order="left")
        .filter(pl.col("mode") == "heating", pl.col("outdoor_temperature").is_not_null())
        .with_columns(
            span=(pl.col("end") - pl.col("start")).dt.total_microseconds(),
            outdoor_from=(pl.col("outdoor_temperature") / width_k).floor() * width_k,
        )
        .group_by("outdoor_from")
        .agg(
            observed_us=span.sum(),
            us=span.filter(known).sum(),
            electrical_mj=over_time(pl.col("electrical_power"), 1000),
            thermal_mj=over_time(pl.col("thermal_power"), 1000),
            source=over_time(pl.coalesce("source_in_temperature", "outdoor_temperature")),
            flow=over_time(pl.col("flow_temperature")),
            flow_us=span.filter(known & pl.col("flow_temperature").is_not_null()).sum(),
        )
        .sort("outdoor_from")
    )


def merged_bins(parts: Iterable[pl.DataFrame], rules: Rules, width_k: float = 1.0) -> pl.DataFrame:
    """Bins of several days → one table, coldest first.

    Returns:
        `outdoor_from`, `outdoor_to` (°C), `hours`, `electrical_energy_kwh`, `thermal_energy_kwh`, `cop` (null below the
        floors of `floors.lack`), `cop_reason` (why), `coverage` (share of the time in the bin for which both energies
        are known), `flow_temperature_mean` (°C).
    """
    together = pl.concat(list(parts)).group_by("outdoor_from").agg(pl.all().sum()).sort("outdoor_from")
    rows = together.select(
        "outdoor_from",
        outdoor_to=pl.col("outdoor_from") + width_k,
        hours=pl.col("us") / 3.6e9,
        electrical_energy_kwh=pl.col("electrical_mj") / 3.6e9,
        thermal_energy_kwh=pl.col("thermal_mj") / 3.6e9,
        coverage=pl.col("us") / pl.col("observed_us"),
        flow_temperature_mean=pl.when(pl.col("flow_us") > 0).then(pl.col("flow") / pl.col("flow_us")),
        source=pl.when(pl.col("us") > 0).then(pl.col("source") / pl.col("us")),
    )
    electrical, thermal, coverage = (
        pl.col(name) for name in ("electrical_energy_kwh", "thermal_energy_kwh", "coverage")
    )
    least = thermal * carnot_share(pl.col("flow_temperature_mean"), pl.col("source"), rules)
    rows = rows.with_columns(cop_reason=lack(electrical, thermal, coverage, coverage, rules, least))
    return rows.select(
        *("outdoor_from", "outdoor_to", "hours", "electrical_energy_kwh", "thermal_energy_kwh"),
        pl.when(pl.col("cop_reason").is_null()).then(thermal / electrical).alias("cop"),
        *("flow_temperature_mean", "coverage", "cop_reason"),
    )
