"""Below which floors a ratio of heat and electricity is not shown: said once for every table but the figures' own.

The floors are those of `cop`: enough of the time known, both energies for the same time, enough electricity, heat at
all, and no more of it than Carnot allows.
"""

from __future__ import annotations

import polars as pl

from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.figures import Known
from hp_pipeline.transforms.schema import UTC
from hp_pipeline.vocabulary.rules import Rules

_US_PER_S = 1_000_000

ZERO_CELSIUS_K = 273.15
LEAST_LIFT_K = 5.0
"""With the flow hardly warmer than the source, the Carnot limit is high and says nothing."""
ROOM_C = 20.0
"""Water that is colder warms no room."""


def elapsed_s(known: Known) -> pl.Expr:
    """Seconds from `start` to `end` of a row, of what lies in the time in which there are readings at all."""
    first = pl.col("start") if known.since is None else pl.max_horizontal("start", pl.lit(known.since, UTC))
    last = pl.col("end") if known.until is None else pl.min_horizontal("end", pl.lit(known.until, UTC))
    return divided((last - first).dt.total_microseconds(), _US_PER_S)


def lack(
    electricity: pl.Expr,
    heat: pl.Expr,
    electrical_coverage: pl.Expr,
    thermal_coverage: pl.Expr,
    rules: Rules,
    limit: pl.Expr | None = None,
) -> pl.Expr:
    """Why heat and electricity (kWh) bear no ratio; null where they do.

    Args:
        electrical_coverage: share of the time for which the electricity is known.
        thermal_coverage: the same of the heat.
        limit: the COP that Carnot allows; where it is null nothing is said of it.
    """
    lowest = pl.min_horizontal(electrical_coverage, thermal_coverage)
    unlike = (electrical_coverage - thermal_coverage).abs() > rules.maximum_coverage_mismatch
    least = rules.minimum_electrical_energy_kwh
    reason = (
        pl.when(electricity.is_null())
        .then(pl.lit("no electricity known"))
        .when(heat.is_null())
        .then(pl.lit("no heat known"))
        .when(lowest < rules.minimum_coverage)
        .then(pl.format("known for only {} % of the time", (lowest * 100).round(0).cast(pl.Int64)))
        .when(unlike)
        .then(pl.lit("electricity and heat are known for different times"))
        .when(electricity < least)
        .then(pl.format("less than {} kWh of electricity", pl.lit(least)))
        .when(heat <= 0)
        .then(pl.lit("no heat given"))
    )
    if limit is None:
        return reason
    return reason.when((heat / electricity > limit).fill_null(False)).then(
        pl.lit("above the Carnot limit: a sensor is wrong")
    )


def carnot_limit(flow: pl.Expr, source: pl.Expr) -> pl.Expr:
    """The COP that no machine exceeds between two mean temperatures (°C), either of which may be unknown.

    T_flow / (T_flow - T_source) in kelvin, the lift being 1 K at least. An unknown flow is taken to be as cold as a
    room, an unknown source as near as `LEAST_LIFT_K`: what is above that limit is above every limit.
    """
    flow = flow.fill_null(ROOM_C)
    lift = pl.max_horizontal((flow - source).fill_null(LEAST_LIFT_K), pl.lit(1.0))
    return (flow + ZERO_CELSIUS_K) / lift
