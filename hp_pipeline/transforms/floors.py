"""Below which floors a ratio of heat and electricity is not shown: said once for every table.

Enough of the time known, both energies for the same time, enough electricity, heat at all, and no more of it than
Carnot allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.schema import UTC
from hp_pipeline.vocabulary.rules import Rules

_US_PER_S = 1_000_000

ZERO_CELSIUS_K = 273.15
LEAST_LIFT_K = 5.0
"""With the flow hardly warmer than the source, the Carnot limit is high and says nothing."""

ABSORBED_SHARE = 0.05
"""Of the whole's heat: where the heat of one use is more than Carnot allows and at least so much, the whole has no
ratio either."""

ROOM_C = 20.0
"""Water that is colder warms no room."""


@dataclass(frozen=True)
class Known:
    """The time in which there are readings at all: what lies outside it is not missed in a coverage.

    Attributes:
        since: start of the oldest frame, None when it does not matter.
        until: end of the newest frame, None when it does not matter.
    """

    since: datetime | None = None
    until: datetime | None = None


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
    least: pl.Expr | None = None,
) -> pl.Expr:
    """Why heat and electricity (kWh) bear no ratio; null where they do.

    Args:
        electrical_coverage: share of the time for which the electricity is known.
        thermal_coverage: the same of the heat.
        least: the least electricity (kWh) for which any machine could have given the heat.
    """
    return pl.coalesce(
        unknown(electricity, heat, electrical_coverage, thermal_coverage, rules),
        not_borne(heat, electricity, least, rules),
    )


def unknown(
    electricity: pl.Expr, heat: pl.Expr, electrical_coverage: pl.Expr, thermal_coverage: pl.Expr, rules: Rules
) -> pl.Expr:
    """Why too little is known of heat and electricity for any ratio of theirs; null where enough is."""
    lowest = pl.min_horizontal(electrical_coverage, thermal_coverage)
    unlike = (electrical_coverage - thermal_coverage).abs() > rules.maximum_coverage_mismatch
    return (
        pl.when(electricity.is_null())
        .then(pl.lit("no electricity known"))
        .when(heat.is_null())
        .then(pl.lit("no heat known"))
        .when(lowest < rules.minimum_coverage)
        .then(pl.format("known for only {} % of the time", percent(lowest)))
        .when(unlike)
        .then(pl.lit("electricity and heat are known for different times"))
    )


def not_borne(heat: pl.Expr, electricity: pl.Expr, least: pl.Expr | None, rules: Rules) -> pl.Expr:
    """Why these energies (kWh) bear no ratio, however much is known of them; null where they do."""
    enough = rules.minimum_electrical_energy_kwh
    reason = (
        pl.when(heat.is_null() | electricity.is_null())
        .then(pl.lit("not known"))
        .when(electricity < enough)
        .then(pl.format("less than {} kWh of electricity", pl.lit(enough)))
        .when(heat <= 0)
        .then(pl.lit("no heat given"))
    )
    if least is None:
        return reason
    return reason.when(_is_above_carnot(heat, electricity, least, rules)).then(pl.lit(ABOVE_CARNOT))


ABOVE_CARNOT = "above the Carnot limit: a sensor is wrong"


def _is_above_carnot(heat: pl.Expr, electricity: pl.Expr, least: pl.Expr, rules: Rules) -> pl.Expr:
    return (electricity < least) | (heat > electricity * rules.maximum_cop)


def is_impossible(heat: pl.Expr, electricity: pl.Expr, least: pl.Expr, rules: Rules) -> pl.Expr:
    """Whether these energies (kWh) are enough for a ratio, and there is none as it would be above Carnot."""
    enough = (electricity >= rules.minimum_electrical_energy_kwh) & (heat > 0)
    return (enough & _is_above_carnot(heat, electricity, least, rules)).fill_null(False)


def is_borne(heat: pl.Expr, electricity: pl.Expr, least: pl.Expr, rules: Rules) -> pl.Expr:
    """Whether these energies (kWh) bear a ratio: where `not_borne` has nothing to say."""
    enough = (electricity >= rules.minimum_electrical_energy_kwh) & (heat > 0)
    return (enough & ~_is_above_carnot(heat, electricity, least, rules)).fill_null(False)


def percent(share: pl.Expr) -> pl.Expr:
    """A share as whole percent; null where there is none (0 of 0)."""
    return (share * 100).round(0).cast(pl.Int64, strict=False)


def carnot_share(flow: pl.Expr, source: pl.Expr, rules: Rules) -> pl.Expr:
    """The least electricity that a machine needs for heat given at a flow temperature (°C), as a share of that heat.

    1 - T_source / T_flow in kelvin (Carnot), and 1 / `maximum_cop` where the flow is hardly warmer than the source or
    that is unknown. An unknown flow is taken to be as cold as a room.
    """
    flow = flow.fill_null(ROOM_C)
    share = (flow - source) / (flow + ZERO_CELSIUS_K)
    return pl.max_horizontal(share, pl.lit(1 / rules.maximum_cop))
