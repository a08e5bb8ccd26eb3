"""How well heat is made: temperatures weighed with heat, COP of the running compressor, share of the Carnot limit.

Everything comes from `sums_of`: sums in whole numbers by mode and kelvin of outdoor temperature, which add to the same
in any order. Ratios are made of sums, at the end, and only where the data bear them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import polars as pl

from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.figures import of_heaters
from hp_pipeline.transforms.floors import LEAST_LIFT_K, ZERO_CELSIUS_K, Known, carnot_share, elapsed_s, lack
from hp_pipeline.transforms.schema import conform
from hp_pipeline.transforms.sums import MJ_PER_KWH
from hp_pipeline.vocabulary.boundaries import Metering
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline.vocabulary.tables.efficiency import FOLLOWED, SUMS, WEIGHED

SUM_NAMES = [column.name for column in SUMS]

FRAME_COLUMNS = [
    *("heat_pump", "start", "end", "outdoor_temperature", "source_in_temperature", *FOLLOWED),
]
"""What is read of the frames."""

EXTRAPOLATED_K = 10.0
"""A grade holds so far beyond the flow temperatures, and the lifts, at which it was seen."""

LEAST_CURVE_HOURS = 2.0
"""A bin in which the compressor ran for less tells nothing of the heating curve."""

AVERAGE_CLIMATE_HOURS = (
    *(1, 25, 23, 24, 27, 68, 91, 89, 165, 173, 240, 280, 320, 357, 356, 303, 330, 326, 348, 335, 315, 215, 169, 151),
    *(105, 74),
)
"""Hours per year at -10, -9 … 15 °C in the average climate of EN 14825 (4910 in all)."""
_COLDEST = -10
_HEATING_LIMIT_C = 16.0
LEAST_NORMALISED_SHARE = 0.8

_US_PER_H = 3_600_000_000
_US_PER_S = 1_000_000


def sums_of(
    frames: pl.DataFrame, operation: pl.DataFrame, energies: pl.DataFrame, time_zone: str, metering: Metering
) -> pl.DataFrame:
    """Table `heat_by_temperature` of the frames: by UTC day, local day, mode and kelvin of outdoor temperature.

    The running compressor's electricity and heat, and the heat that temperatures are weighed with, are those of the
    refrigerant cycle: what electric heaters with a meter of their own had of them is taken off.

    Args:
        frames: `FRAME_COLUMNS` of one heat pump, sorted by `start`.
        operation: `start`, `mode`, `compressor_running` for the same frames.
        energies: `energy.Energies.of_frames`, of these frames or more.
        metering: what the meters include.
    """
    if frames.is_empty():
        return conform(None, "heat_by_temperature")
    span = pl.col("span")
    known = pl.col("electrical_mj").is_not_null() & pl.col("thermal_mj").is_not_null()
    running = known & pl.col("compressor_running").fill_null(False)
    heat = pl.when(known & (pl.col("cycle_thermal_mj") > 0)).then("cycle_thermal_mj")
    temperatures = {
        "flow": pl.col("flow_temperature"),
        "return": pl.col("return_temperature"),
        "outdoor": pl.col("outdoor_temperature"),
        "source": pl.coalesce("source_in_temperature", "outdoor_temperature"),
    }
    rows = (
        frames.select(FRAME_COLUMNS)
        .join(operation.select("start", "mode", "compressor_running"), on="start", how="inner", maintain_order="left")
        .join(
            energies.select(
                "start",
                electrical_mj="electrical",
                thermal_mj="thermal",
                cycle_electrical_mj=pl.col("electrical") - of_heaters("electrical", metering),
                cycle_thermal_mj=pl.col("thermal") - of_heaters("thermal", metering),
            ),
            on="start",
            how="inner",
            maintain_order="left",
        )
        .with_columns(
            span=(pl.col("end") - pl.col("start")).dt.total_microseconds(),
            utc_day=pl.col("start").dt.date(),
            local_day=pl.col("start").dt.convert_time_zone(time_zone).dt.date(),
            outdoor_from=pl.col("outdoor_temperature").floor().cast(pl.Int64),
            # A set-point of 0 is one that is switched off.
            flow_setpoint=pl.when(pl.col("flow_setpoint") > 0).then("flow_setpoint"),
            return_setpoint=pl.when(pl.col("return_setpoint") > 0).then("return_setpoint"),
        )
    )
    weighed = []
    for name, temperature in temperatures.items():
        weight = pl.when(temperature.is_not_null()).then(heat)
        weighed += [
            weight.sum().alias(f"{name}_heat_mj"),
            (weight * temperature).round().cast(pl.Int64).sum().alias(f"{name}_heat_mj_c"),
        ]
    followed = []
    for name in FOLLOWED:
        weight = pl.when(running & pl.col(name).is_not_null()).then(span)
        followed += [
            weight.sum().alias(f"{name}_us"),
            (weight * pl.col(name)).round().cast(pl.Int64).sum().alias(f"{name}_us_c"),
        ]
    sums = rows.group_by("utc_day", "local_day", "mode", "outdoor_from", maintain_order=True).agg(
        pl.col("heat_pump", "start").first(),
        pl.col("end").last(),
        *weighed,
        *followed,
        observed_us=span.sum(),
        known_us=span.filter(known).sum(),
        running_us=span.filter(running).sum(),
        electrical_mj=pl.col("electrical_mj").filter(known).sum(),
        thermal_mj=pl.col("thermal_mj").filter(known).sum(),
        running_electrical_mj=pl.col("cycle_electrical_mj").filter(running).sum(),
        running_thermal_mj=pl.col("cycle_thermal_mj").filter(running).sum(),
    )
    ordered = sums.sort("start", "mode", "outdoor_from", nulls_last=True)
    return conform(ordered.with_columns(period=pl.col("local_day").cast(pl.String)), "heat_by_temperature")


def merged(rows: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Rows of sums added, per heat pump and groups of `by`; with the first `start` and the last `end` of each."""
    return (
        rows.group_by("heat_pump", *by)
        .agg(pl.col("start").min(), pl.col("end").max(), pl.col(SUM_NAMES).sum())
        .sort("heat_pump", *by, nulls_last=True)
    )


def by_use(rows: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Sums per group of `by` in heating, in dhw, and in all but cooling, told by `mode`."""
    used = rows.filter(pl.col("mode").is_in(["heating", "dhw"]))
    together = rows.filter(pl.col("mode").ne_missing("cooling")).with_columns(mode=pl.lit("all"))
    return merged(pl.concat([used, together]), *by, "mode")


def of_periods(
    sums: pl.DataFrame, periods: pl.DataFrame, rules: Rules, known: Known, by: Sequence[str] = ()
) -> pl.DataFrame:
    """What is shown of each period in heating, in dhw, and in all but cooling.

    Args:
        sums: rows of sums that lie within the periods.
        periods: `heat_pump`, the columns of `by`, and `start`, `end` of each period.
        known: the time in which there are readings at all.
        by: what tells the periods apart; nothing where there is one only.
    """
    keys = ["heat_pump", *by]
    whole = merged(sums, *by).select(*keys, whole_us="known_us")
    rows = by_use(sums, *by).drop("start", "end")
    rows = rows.join(periods, on=keys, maintain_order="left").join(whole, on=keys, maintain_order="left")
    coverage = (pl.col("whole_us") / (elapsed_s(known) * _US_PER_S)).clip(0, 1)
    return shown(rows.with_columns(coverage=pl.min_horizontal(coverage, _COVERAGE)), rules)


_COVERAGE = pl.col("known_us") / pl.col("observed_us")


def shown(rows: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Rows of sums → hours, energies, weighed temperatures, COP, Carnot limit and grade, with reasons.

    `coverage` says how much is known of the time that a row stands for: it is that of the readings unless the rows
    have it.
    """
    if "coverage" not in rows.columns:
        rows = rows.with_columns(coverage=_COVERAGE)
    rows = rows.with_columns(
        *(_ratio(f"{name}_heat_mj_c", f"{name}_heat_mj").alias(f"{name}_temperature_weighted") for name in WEIGHED),
        *(_ratio(f"{name}_us_c", f"{name}_us").alias(f"{name}_running") for name in FOLLOWED),
        hours=divided(pl.col("known_us"), _US_PER_H),
        running_hours=divided(pl.col("running_us"), _US_PER_H),
        electrical_energy_kwh=divided(pl.col("electrical_mj"), MJ_PER_KWH),
        thermal_energy_kwh=divided(pl.col("thermal_mj"), MJ_PER_KWH),
        running_electrical_energy_kwh=divided(pl.col("running_electrical_mj"), MJ_PER_KWH),
        running_thermal_energy_kwh=divided(pl.col("running_thermal_mj"), MJ_PER_KWH),
    )
    flow, source = pl.col("flow_temperature_weighted"), pl.col("source_temperature_weighted")
    rows = rows.with_columns(carnot_cop=carnot(flow, source))
    power, heat = pl.col("running_electrical_energy_kwh"), pl.col("running_thermal_energy_kwh")
    coverage = pl.col("coverage")
    none = (
        pl.when(pl.col("known_us") <= 0)
        .then(pl.lit("electricity and heat are never known together"))
        .when((pl.col("running_us") <= 0) & (coverage >= rules.minimum_coverage))
        .then(pl.lit("the compressor did not run"))
    )
    # Both are sums over the same moments: they cannot be known for different times.
    floor = lack(power, heat, coverage, coverage, rules, heat * carnot_share(flow, source, rules))
    rows = rows.with_columns(efficiency_reason=pl.coalesce(none, floor))
    cop = pl.when(pl.col("efficiency_reason").is_null()).then(heat / power)
    ungraded = (
        pl.when(flow.is_null() | source.is_null())
        .then(pl.lit("no temperature of flow or source known"))
        .when(pl.col("carnot_cop").is_null())
        .then(pl.format("flow less than {} K above the source", pl.lit(LEAST_LIFT_K)))
    )
    return rows.with_columns(cop_running=cop, carnot_grade=cop / pl.col("carnot_cop")).with_columns(
        efficiency_reason=pl.coalesce("efficiency_reason", ungraded)
    )


def _ratio(amount: str, by: str) -> pl.Expr:
    return pl.when(pl.col(by) > 0).then(pl.col(amount) / pl.col(by))


def carnot(flow: pl.Expr, source: pl.Expr) -> pl.Expr:
    """COP of an ideal heat pump between two temperatures (°C): T_flow ÷ (T_flow - T_source) in kelvin.

    Null below `LEAST_LIFT_K`.
    """
    lift = flow - source
    return pl.when(lift >= LEAST_LIFT_K).then((flow + ZERO_CELSIUS_K) / lift)


def temperature_bins(sums: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Rows of sums by mode and kelvin → those of `temperature_bins`, coldest first, without their period.

    The grade of a bin is taken to the reference flow temperature only where that, and the lift that it means in the
    bin, are within `EXTRAPOLATED_K` of what was seen in some bin of the mode.
    """
    rows = shown(merged(sums.filter(pl.col("mode").is_not_null()), "mode", "outdoor_from"), rules)
    flow, source = pl.col("flow_temperature_weighted"), pl.col("source_temperature_weighted")
    wanted = pl.lit(rules.reference_flow_temperature_c)
    graded = pl.col("carnot_grade").is_not_null()

    def too_far(seen: pl.Expr, place: pl.Expr, text: str) -> pl.Expr:
        least, most = (end.over("mode") for end in (seen.filter(graded).min(), seen.filter(graded).max()))
        beyond = (place < least - EXTRAPOLATED_K) | (place > most + EXTRAPOLATED_K)
        return pl.when(beyond).then(pl.format(text, least.round(1), most.round(1), place.round(1)))

    reason = pl.coalesce(
        "efficiency_reason",
        too_far(flow, wanted, "the flow was {} to {} °C, too far from {} °C to tell"),
        too_far(flow - source, wanted - source, "the flow was {} to {} K above the source, too far from {} K to tell"),
        pl.when(carnot(wanted, source).is_null()).then(
            pl.format("flow less than {} K above the source", pl.lit(LEAST_LIFT_K))
        ),
    )
    return rows.with_columns(reference_reason=reason).with_columns(
        cop_at_reference=pl.when(pl.col("reference_reason").is_null()).then(
            pl.col("carnot_grade") * carnot(wanted, source)
        )
    )


def normalised(bins: pl.DataFrame) -> tuple[float | None, float, str | None]:
    """Heating's COP in the average climate of EN 14825, from `temperature_bins`: COP, share of that climate's heat
    whose bins were seen, and why there is none.

    A bin from k to k + 1 °C has the mean of the hours at k and k + 1, and needs heat in proportion to 16 °C less it.
    """
    hours = [0, *AVERAGE_CLIMATE_HOURS, 0]
    heat = {
        _COLDEST - 1 + place: (before + after) / 2 * (_HEATING_LIMIT_C - (_COLDEST - 1 + place + 0.5))
        for place, (before, after) in enumerate(pairwise(hours))
    }
    seen = bins.filter(pl.col("mode") == "heating", pl.col("cop_at_reference").is_not_null())
    cops = dict(seen.select("outdoor_from", "cop_at_reference").iter_rows())
    covered = [(amount, cops[place]) for place, amount in heat.items() if place in cops and amount > 0]
    total = sum(amount for amount in heat.values() if amount > 0)
    share = sum(amount for amount, _ in covered) / total
    if share < LEAST_NORMALISED_SHARE:
        reason = f"bins seen stand for only {share:.0%} of the heat of the average climate"
        far = bins.filter(pl.col("mode") == "heating", pl.col("efficiency_reason").is_null())["reference_reason"]
        return None, share, "; ".join([reason, *far.drop_nulls().head(1)])
    return sum(amount for amount, _ in covered) / sum(amount / cop for amount, cop in covered), share, None


def heating_curve(bins: pl.DataFrame) -> dict[str, float | int | str | None]:
    """The lines of actual and set temperatures over the outdoor temperature, from `temperature_bins` of heating.

    Returns:
        The columns of `heating_curve` but its period.
    """
    enough = pl.col("running_hours") >= LEAST_CURVE_HOURS
    points = bins.filter(pl.col("mode") == "heating", enough, pl.col("outdoor_temperature_weighted").is_not_null())
    found: dict[str, float | int | str | None] = {"bins": points.height}
    reason = None
    if points.height < LEAST_BINS:
        reason = f"only {points.height} bins of the outdoor temperature with {LEAST_CURVE_HOURS:g} h of heating"
    for subject in ("flow", "return"):
        for which, name in (("", f"{subject}_temperature"), ("_set", f"{subject}_setpoint")):
            known = points.filter(pl.col(f"{name}_running").is_not_null())
            fitted = None
            if not reason and known.height >= LEAST_BINS:
                fitted = theil_sen(known["outdoor_temperature_weighted"], known[f"{name}_running"])
            found[f"{subject}{which}_slope"] = None if fitted is None else -fitted[0]
            found[f"{subject}{which}_level_c"] = None if fitted is None else fitted[1] + 20.0 * fitted[0]
        found[f"{subject}_above_setpoint_k"] = _above(points, subject)
    found["curve_reason"] = reason
    return found


LEAST_BINS = 5


def _above(points: pl.DataFrame, subject: str) -> float | None:
    actual, wanted = f"{subject}_temperature_running", f"{subject}_setpoint_running"
    both = points.filter(pl.col(actual).is_not_null(), pl.col(wanted).is_not_null())
    if both.is_empty():
        return None
    above, weight = pl.col(actual) - pl.col(wanted), pl.col("running_hours")
    return float(both.select((above * weight).sum() / weight.sum()).item())


def theil_sen(x: pl.Series, y: pl.Series) -> tuple[float, float] | None:
    """Slope and value at 0 of the line through points: the median of the slopes of all pairs. None without a pair."""
    slopes = pair_slopes(x, y)
    if slopes.is_empty():
        return None
    slope = median(slopes)
    return slope, median(y - slope * x)


def median(values: pl.Series) -> float:
    """The median of values of which there are some."""
    return float(values.to_frame("value").select(pl.col("value").median()).item())


def pair_slopes(x: pl.Series, y: pl.Series, least_apart: float = 0.5) -> pl.Series:
    """The slopes of all pairs of points whose x are apart, ascending."""
    points = pl.DataFrame({"x": x, "y": y}).with_row_index()
    pairs = points.join_where(points, pl.col("index") < pl.col("index_right"))
    apart = pl.col("x_right") - pl.col("x")
    slopes = pairs.filter(apart.abs() >= least_apart).select(slope=(pl.col("y_right") - pl.col("y")) / apart)
    return slopes["slope"].sort()
