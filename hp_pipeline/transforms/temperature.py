"""Heating by outdoor temperature: what the house needs and what the heat pump makes of it, degree by degree."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from hp_pipeline.vocabulary.rules import Rules

FRAME_COLUMNS = ["start", "end", "outdoor_temperature", "flow_temperature", "electrical_power", "thermal_power"]
"""What the bins read of the frames."""


def bins_of(frames: pl.DataFrame, operation: pl.DataFrame, width_k: float = 1.0) -> pl.DataFrame:
    """Sums over the frames in mode heating, by the bin of the outdoor temperature.

    Args:
        frames: `FRAME_COLUMNS` of one heat pump.
        operation: `start`, `mode` for the same frames.
        width_k: width of a bin; bins begin at multiples of it.

    Returns:
        `outdoor_from` (°C) and sums in whole numbers: `us` (time), `electrical_mj`, `thermal_mj`, `flow` (°C·µs),
        `flow_us`. They can be added: see `merged_bins`.
    """
    span = (pl.col("end") - pl.col("start")).dt.total_microseconds()
    known = ["outdoor_temperature", "electrical_power", "thermal_power"]
    return (
        frames.select(FRAME_COLUMNS)
        .join(operation.select("start", "mode"), on="start", maintain_order="left")
        .filter(pl.col("mode") == "heating", *(pl.col(name).is_not_null() for name in known))
        .with_columns(span=span, outdoor_from=(pl.col("outdoor_temperature") / width_k).floor() * width_k)
        .group_by("outdoor_from")
        .agg(
            pl.col("span").sum().alias("us"),
            (pl.col("electrical_power") * pl.col("span") / 1000).round().cast(pl.Int64).sum().alias("electrical_mj"),
            (pl.col("thermal_power") * pl.col("span") / 1000).round().cast(pl.Int64).sum().alias("thermal_mj"),
            (pl.col("flow_temperature") * pl.col("span")).round().cast(pl.Int64).sum().alias("flow"),
            pl.col("span").filter(pl.col("flow_temperature").is_not_null()).sum().alias("flow_us"),
        )
        .sort("outdoor_from")
    )


def merged_bins(parts: Iterable[pl.DataFrame], rules: Rules, width_k: float = 1.0) -> pl.DataFrame:
    """Bins of several days → one table, coldest first.

    Returns:
        `outdoor_from`, `outdoor_to` (°C), `hours`, `electrical_energy_kwh`, `thermal_energy_kwh`, `cop` (null below the
        least electricity for which one is shown, or where heat is not positive), `flow_temperature_mean` (°C).
    """
    together = pl.concat(list(parts)).group_by("outdoor_from").agg(pl.all().sum()).sort("outdoor_from")
    electrical, thermal = pl.col("electrical_mj") / 3.6e9, pl.col("thermal_mj") / 3.6e9
    return together.select(
        "outdoor_from",
        outdoor_to=pl.col("outdoor_from") + width_k,
        hours=pl.col("us") / 3.6e9,
        electrical_energy_kwh=electrical,
        thermal_energy_kwh=thermal,
        cop=pl.when((electrical >= rules.minimum_electrical_energy_kwh) & (thermal > 0)).then(thermal / electrical),
        flow_temperature_mean=pl.when(pl.col("flow_us") > 0).then(pl.col("flow") / pl.col("flow_us")),
    )
