"""Asset checks: what would make a person doubt a figure, said where the figure is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.stages import Outcome
from hp_pipeline.transforms.costs import UNPRICED_SHARE
from hp_pipeline.transforms.decode import doubts_frame
from hp_pipeline.vocabulary.tables.counters import UNKNOWN

COVERAGE_WANTED = 0.95
"""Less of a day known than this is worth a warning."""

OFFSET_WANTED_K = 0.2
"""Flow and return sensor that differ by more at rest falsify heat made from them by some percent."""

LARGEST_GRADE = 0.75
"""No machine makes more of what Carnot allows: heat is counted too high, or electricity too low."""

MOST_PROVISIONAL = 20
"""More sessions than this do not end within the last half hour: the clock of something is wrong."""

SUM_TOLERANCE_KWH = 1e-6
"""How far the parts of an energy may be from the whole: the last digits of numbers in kWh."""

LARGEST_POWER_KW = 50.0
"""While the mode is unknown, the parts may lack what a heat pump of this power moves in that time."""

RESIDUAL_SHARE = 0.1
"""A counter and an integral of power that differ by more of the energy do not measure the same."""

COARSEST_STEP_KWH = 1.0
"""The step of the coarsest counters: by so much a counter is behind at either end of the time compared."""

NEWEST_HOURS = 48
"""So many hours of those that a run made are looked at; the days say it of all of them."""

NEWEST_PARTITIONS: Mapping[str, int] = {"hourly": 3}
"""Of the tables named, so many of the partitions that a run made are enough for their checks."""

EXPECTED_OF_COUNTERS = {"day_reset", "year_reset", "outage"}
"""What a counter may do day by day without anybody being warned."""

KNOWN_WANTED = 0.98
"""Starts and running time are compared with the device's own count on days of which so much is known."""

RUNNING_SHARE = 0.02
"""By so much running time may differ from it: it is seen at readings."""

LARGEST_STEP_S = 3600
"""And by the step of the coarsest counters of running time, which count hours."""

TANK_COVERAGE_WANTED = 0.9
"""With less of a day known a balance is partial."""

CLOSURE_WANTED = 0.15
"""A closure error greater than this share of what came in is worth a warning."""

_Verdict = tuple[bool, dict[str, Any]]


@dataclass(frozen=True)
class Check:
    """One check of a table's rows.

    Attributes:
        description: what it says when it passes.
        severity: WARN for what may be legitimate (a silent device), ERROR for what must never be.
        judge: rows that were made, and the outcome → passed, metadata.
    """

    description: str
    severity: dg.AssetCheckSeverity
    judge: Callable[[pl.DataFrame, Outcome], _Verdict]


def _made(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    lines = ["| partition | why it could not be made |", "|---|---|"]
    lines += [f"| {key} | {str(error).replace('|', '/')} |" for key, error in list(outcome.failed.items())[:30]]
    reasons = "; ".join(f"{key}: {error}" for key, error in list(outcome.failed.items())[:5])
    return not outcome.failed, {
        "failed": len(outcome.failed),
        **({"reasons": reasons, "partitions": dg.MetadataValue.md("\n".join(lines))} if outcome.failed else {}),
    }


def _understood(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    doubts = (
        doubts_frame(outcome.doubts)
        .group_by("signal", "point", "reason", maintain_order=True)
        .agg(pl.col("example").first(), pl.col("count").sum())
    )
    serious = doubts.filter(pl.col("reason").is_in(["unknown word", "not a number"])).height + len(outcome.ambiguous)
    lines = ["| signal | point | reason | example | count |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in doubts.head(30).iter_rows()]
    lines += [
        f"| {name} | {', '.join(points)} | several series match |  |  |" for name, points in outcome.ambiguous.items()
    ]
    return serious == 0, {"doubts": dg.MetadataValue.md("\n".join(lines)), "not_believed": int(doubts["count"].sum())}


def _coverage(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    lacking = rows.filter(
        (pl.col("electrical_coverage").fill_null(0) < COVERAGE_WANTED)
        | (pl.col("thermal_coverage").fill_null(0) < COVERAGE_WANTED)
    )
    lines = ["| day | electricity known | heat known |", "|---|---|---|"]
    for period, electrical, thermal in (
        lacking.select("period", "electrical_coverage", "thermal_coverage").tail(30).iter_rows()
    ):
        lines.append(f"| {period} | {(electrical or 0):.0%} | {(thermal or 0):.0%} |")
    return lacking.is_empty(), {"days": dg.MetadataValue.md("\n".join(lines)), "days_lacking": lacking.height}


def _parts_and_whole(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    def rest(energy: str, modes: tuple[str, ...]) -> pl.Expr:
        parts = pl.sum_horizontal(pl.col(f"{energy}_{mode}_kwh").fill_null(0) for mode in modes)
        whole = pl.col(f"{energy}_kwh").fill_null(0) - pl.col(f"{energy}_unobserved_kwh").fill_null(0)
        return (whole - parts).abs()

    unknown_s = pl.col("observed_s") - pl.sum_horizontal("heating_s", "dhw_s", "cooling_s", "standby_s")
    allowed = SUM_TOLERANCE_KWH + unknown_s.clip(0) / 3600 * LARGEST_POWER_KW
    wrong = rows.filter(
        (rest("electrical_energy", ("heating", "dhw", "cooling", "standby")) > allowed)
        | (rest("thermal_energy", ("heating", "dhw", "standby")) > allowed)
    )
    return wrong.is_empty(), {"rows_wrong": wrong.height, "rows": rows.height}


def _ways_agree(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    """Counter and integral over the time for which both are known; a coarse counter is allowed its step."""
    lines = ["| period | energy | counter kWh | integral minus counter kWh |", "|---|---|---|---|"]
    apart = 0
    for kind, name in (("electrical", "electricity"), ("thermal", "heat")):
        counter = pl.col(f"{kind}_energy_counter_kwh").fill_null(0)
        residual = pl.col(f"{kind}_energy_residual_kwh")
        off = rows.filter(residual.abs() > COARSEST_STEP_KWH + RESIDUAL_SHARE * counter.abs())
        apart += off.height
        for period, counted, difference in off.select("period", counter, residual).tail(15).iter_rows():
            lines.append(f"| {period} | {name} | {counted:.2f} | {-difference:+.2f} |")
    return apart == 0, {"apart": apart, "periods": dg.MetadataValue.md("\n".join(lines))}


def _hours_agree(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    return _ways_agree(rows.sort("start").tail(NEWEST_HOURS), outcome)


def _below_carnot(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    above = rows.filter(
        pl.col("cop") * pl.col("electrical_energy_least_kwh") > pl.col("thermal_energy_kwh") * (1 + 1e-9)
    )
    withheld = rows.filter(pl.col("cop_reason").str.contains("Carnot")).height
    return above.is_empty() and withheld == 0, {"withheld": withheld, "shown_above": above.height}


def _balances(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    """In whole millijoules, as the sums were made."""

    def exact(name: str) -> pl.Expr:
        return (pl.col(name).fill_null(0) * 3.6e9).round().cast(pl.Int64)

    gave = ("solar", "immersion", "pellet", "heat_pump", "unexplained")
    came = sum((exact(f"{what}_kwh") for what in gave), pl.lit(0))
    went = sum((exact(f"{what}_kwh") for what in ("stored_change", "draw", "standby_loss")), pl.lit(0))
    wrong = rows.filter(came != went)
    return wrong.is_empty(), {"rows_wrong": wrong.height, "rows": rows.height}


def _tank_known(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    partial = rows.filter(pl.col("coverage").fill_null(0) < TANK_COVERAGE_WANTED)
    return partial.is_empty(), {"days_partial": partial.height, "last": str(partial["period"].max())}


def _device_agrees(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    """What the device reckons of a day, where all of the day is known."""
    whole = rows.filter(pl.col("coverage") >= TANK_COVERAGE_WANTED, ~pl.col("provisional"))
    lines = ["| day | heater | kWh | by the device, more |", "|---|---|---|---|"]
    apart = 0
    for what in ("solar", "immersion", "pellet"):
        own, more = pl.col(f"{what}_kwh"), pl.col(f"{what}_difference_kwh")
        found = whole.filter(more.abs() > pl.max_horizontal(own * 0.2, 1.0))
        apart += found.height
        for period, energy, difference in found.select("period", own, more).tail(10).iter_rows():
            lines.append(f"| {period} | {what} | {energy:.1f} | {difference:+.1f} |")
    return apart == 0, {"days_apart": apart, "days": dg.MetadataValue.md("\n".join(lines))}


def _closes(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    known = rows.filter(
        pl.col("coverage") >= TANK_COVERAGE_WANTED, pl.col("closure").is_not_null(), ~pl.col("provisional")
    )
    open_ = known.filter(pl.col("closure").abs() > CLOSURE_WANTED)
    return open_.is_empty(), {"days_open": open_.height, "days": known.height, "last": str(open_["period"].max())}


def _costed(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    """Days before the first tariff have no price, and no owner expects one."""
    priced = rows.filter(pl.col("standing_charge").is_not_null(), pl.col("electrical_energy_kwh") > 0)
    lacking = priced.filter(pl.col("priced_kwh").fill_null(0) < (1 - UNPRICED_SHARE) * pl.col("electrical_energy_kwh"))
    return lacking.is_empty(), {"days_without_prices": lacking.height, "last": str(lacking["period"].max())}


def _settled(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    waiting = rows.filter("provisional").height
    settled = rows.filter(~pl.col("provisional"))["start"].max()
    early = 0 if settled is None else rows.filter(pl.col("provisional"), pl.col("start") < settled).height
    return early == 0 and waiting <= MOST_PROVISIONAL, {"provisional": waiting}


def _unaltered(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    altered = rows.filter(~pl.col("kind").is_in(sorted(EXPECTED_OF_COUNTERS)))
    found = (
        altered.group_by("source", "signal", "kind")
        .agg(count=pl.len(), first=pl.col("time").min(), last=pl.col("time").max())
        .sort("source", "signal", "kind")
    )
    lines = ["| source | counter | what | count | first | last |", "|---|---|---|---|---|---|"]
    for source, signal, kind, count, first, last in found.head(30).iter_rows():
        lines.append(f"| {source} | {signal} | {kind} | {count} | {first:%Y-%m-%d %H:%M} | {last:%Y-%m-%d %H:%M} |")
    kinds = {f"of_kind_{kind}": count for kind, count in sorted(rows["kind"].value_counts().iter_rows())}
    return altered.is_empty(), {"altered": altered.height, **kinds, "entries": dg.MetadataValue.md("\n".join(lines))}


def _counting(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    # What caught up within a day is told whole and when.
    lost = rows.filter(verdict=UNKNOWN)
    found = lost.group_by("source", "signal", "since").agg(pl.col("end").max(), told=pl.col("told_kwh").sum())
    lines = ["| source | counter | since | until | kWh told beside it |", "|---|---|---|---|---|"]
    for source, signal, since, until, told in found.sort("since", "source", "signal").head(30).iter_rows():
        lines.append(f"| {source} | {signal} | {since:%Y-%m-%d %H:%M} | {until:%Y-%m-%d %H:%M} | {told:.1f} |")
    caught_up = rows.height - lost.height
    return found.is_empty(), {
        "freezes": found.height,
        "days_caught_up": caught_up,
        "entries": dg.MetadataValue.md("\n".join(lines)),
    }


def _sensors_agree(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    """Where the offset is taken off the heat, it harms nobody."""
    off = rows.filter(pl.col("offset_k").abs() >= OFFSET_WANTED_K, ~pl.col("applied"))
    newest = rows.sort("start")["offset_k"].drop_nulls()
    return off.is_empty(), {"offset_k": float(newest[-1]) if len(newest) else "unknown", "days_off": off.height}


def _as_the_device_counts(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    told = rows.filter(pl.col("device_starts").is_not_null(), pl.col("device_reason").is_null())
    hours = (pl.col("end") - pl.col("start")).dt.total_seconds()
    unlike = told.filter((pl.col("known_s") >= KNOWN_WANTED * hours) & (pl.col("starts_difference") != 0)).sort("start")
    lines = ["| day | starts seen | starts by the device |", "|---|---|---|"]
    for row in unlike.select("period", "starts", "device_starts").tail(30).iter_rows():
        lines.append("| {} | {} | {:g} |".format(*row))
    return unlike.is_empty(), {
        "days_compared": told.height,
        "days_unlike": unlike.height,
        **({"days": dg.MetadataValue.md("\n".join(lines))} if unlike.height else {}),
    }


def _runs_as_the_device_counts(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    """Over all days together: a counter of whole hours is off by as much on each, and by no more on all of them."""
    hours = (pl.col("end") - pl.col("start")).dt.total_seconds()
    told = rows.filter(
        pl.col("running_difference_s").is_not_null(),
        ~pl.col("device_reason").str.contains("running time").fill_null(False),
        pl.col("known_s") >= KNOWN_WANTED * hours,
    )
    counted_s, off_s = (float(told[name].sum()) for name in ("device_running_s", "running_difference_s"))
    return abs(off_s) <= RUNNING_SHARE * counted_s + LARGEST_STEP_S, {
        "days_compared": told.height,
        "hours_by_the_device": counted_s / 3600,
        "hours_off": off_s / 3600,
    }


def _no_faults(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    told = rows.filter(pl.col("kind") == "fault").sort("start")
    lines = ["| when (UTC) | code | meaning | mode |", "|---|---|---|---|"]
    for start, code, text, mode in told.select("start", "code", "text", "mode").tail(30).iter_rows():
        lines.append(f"| {start:%Y-%m-%d %H:%M} | {code} | {text} | {mode or ''} |")
    return told.is_empty(), {
        "faults": told.height,
        "switch_offs": rows.height - told.height,
        **({"told": dg.MetadataValue.md("\n".join(lines))} if told.height else {}),
    }


def _calm(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    days = rows.filter(pl.col("short_cycling").is_in(["watch", "alarm"])).sort("start")
    alarms = days.filter(pl.col("short_cycling") == "alarm")
    lines = ["| day | verdict | evidence |", "|---|---|---|"]
    for row in days.select("period", "short_cycling", "short_cycling_reason").tail(30).iter_rows():
        lines.append("| {} | {} | {} |".format(*row))
    return alarms.is_empty(), {
        "days_of_short_cycling": days.height,
        **({"days": dg.MetadataValue.md("\n".join(lines))} if days.height else {}),
    }


def _grade_possible(rows: pl.DataFrame, outcome: Outcome) -> _Verdict:
    """The best machines reach 0.6 between the temperatures of water and air."""
    beyond = rows.filter(pl.col("carnot_grade") > LARGEST_GRADE)
    withheld = rows.filter(pl.col("efficiency_reason").str.contains("Carnot")).height
    return beyond.is_empty() and withheld == 0, {"beyond": beyond.height, "withheld": withheld}


_WARN, _ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


MADE = "made"
"""Name of the check that says which partitions of a stage could not be made."""

_MADE = {MADE: Check("Every partition that was due could be made", _ERROR, _made)}

CHECKS: Mapping[str, Mapping[str, Check]] = {
    "frames": {
        **_MADE,
        "understood": Check("Every word and number of the device was understood", _WARN, _understood),
    },
    "operation": {**_MADE},
    "sensor_offsets": {
        **_MADE,
        "sensors_agree": Check(
            f"Flow and return sensor differ by less than {OFFSET_WANTED_K} K at rest", _WARN, _sensors_agree
        ),
    },
    "counters": {**_MADE},
    "counter_ledger": {
        **_MADE,
        "unaltered": Check("Every reading of a counter is that of one that only counts up", _WARN, _unaltered),
    },
    "counter_states": {**_MADE},
    "counter_freezes": {
        **_MADE,
        "counting": Check("No counter stands still while the machine runs and never tells of it", _WARN, _counting),
    },
    "segments": {**_MADE},
    "performance_5min": {**_MADE},
    "sessions": {
        **_MADE,
        "below_carnot": Check("No COP is above what physics allows between the temperatures", _WARN, _below_carnot),
        "settled": Check("Only the newest sessions are provisional", _WARN, _settled),
    },
    "faults": {**_MADE, "no_faults": Check("The device told no fault", _WARN, _no_faults)},
    "state_intervals": {**_MADE},
    "state_daily": {**_MADE},
    "compressor_runs": {**_MADE},
    "cycling_daily": {
        **_MADE,
        "as_the_device_counts": Check("Starts are as many as the device counts", _WARN, _as_the_device_counts),
        "runs_as_the_device_counts": Check(
            f"The running time of all days is what the device counts, but for {RUNNING_SHARE:.0%} and an hour",
            _WARN,
            _runs_as_the_device_counts,
        ),
        "calm": Check("The compressor does not cycle at short intervals for days", _WARN, _calm),
    },
    "hourly": {
        "ways_agree": Check(
            f"In the newest {NEWEST_HOURS} hours counters and integrals of power differ by less than "
            f"{RESIDUAL_SHARE:.0%} and the step of the coarsest counters, {COARSEST_STEP_KWH:g} kWh",
            _WARN,
            _hours_agree,
        ),
    },
    "daily": {
        **_MADE,
        "coverage": Check(f"Electricity and heat are known for {COVERAGE_WANTED:.0%} of each day", _WARN, _coverage),
        "parts_and_whole": Check("The energies of the modes sum to the whole", _ERROR, _parts_and_whole),
        "ways_agree": Check(
            f"Counters and integrals of power differ by less than {RESIDUAL_SHARE:.0%}", _WARN, _ways_agree
        ),
    },
    "efficiency": {
        **_MADE,
        "grade": Check("No grade is above what a machine can reach", _WARN, _grade_possible),
    },
    "temperature_bins": {**_MADE},
    "heat_loss_all_time": {**_MADE},
    "weekly": {**_MADE},
    "monthly": {
        **_MADE,
        "parts_and_whole": Check("The energies of the modes sum to the whole", _ERROR, _parts_and_whole),
        "ways_agree": Check(
            f"Counters and integrals of power differ by less than {RESIDUAL_SHARE:.0%}", _WARN, _ways_agree
        ),
        "below_carnot": Check("No COP is above what physics allows between the temperatures", _WARN, _below_carnot),
    },
    "seasonal": {**_MADE},
    "yearly": {**_MADE},
    "all_time": {**_MADE},
    "costs_daily": {
        **_MADE,
        "priced": Check("A tariff tells the price of all electricity", _WARN, _costed),
    },
    "defrosts": {**_MADE},
    "defrost_monthly": {**_MADE},
    "defrost_seasonal": {**_MADE},
    "costs_monthly": {**_MADE},
    "solar_frames": {
        **_MADE,
        "understood": Check("Every word and number of the device was understood", _WARN, _understood),
    },
    "solar_hourly": {
        **_MADE,
        "balances": Check("What came into the tank is what it stored, gave and lost", _ERROR, _balances),
    },
    "solar_daily": {
        **_MADE,
        "balances": Check("What came into the tank is what it stored, gave and lost", _ERROR, _balances),
        "coverage": Check(
            f"Tank and heat pumps are known for {TANK_COVERAGE_WANTED:.0%} of each day", _WARN, _tank_known
        ),
        "device_agrees": Check("The device's own reckoning is near (20 %, 1 kWh)", _WARN, _device_agrees),
    },
    "solar_monthly": {
        **_MADE,
        "balances": Check("What came into the tank is what it stored, gave and lost", _ERROR, _balances),
    },
    "solar_yearly": {**_MADE},
    "house_hourly": {**_MADE},
    "house_daily": {
        **_MADE,
        "closes": Check(f"Tank and heat pumps agree within {CLOSURE_WANTED:.0%} of what came in", _WARN, _closes),
    },
    "house_monthly": {**_MADE},
    "house_yearly": {**_MADE},
    "costs_seasonal": {**_MADE},
    "costs_yearly": {**_MADE},
    "costs_weekly": {**_MADE},
    "costs_all_time": {**_MADE},
    "comparisons": {**_MADE},
    "outlook": {**_MADE},
    "filled_daily": {**_MADE},
}
"""All checks, by table and name."""


def check_specs(table: str, whose: str) -> list[dg.AssetCheckSpec]:
    """Specifications of a table's checks for one heat pump."""
    return [
        dg.AssetCheckSpec(name, asset=asset_key(table, whose), description=check.description)
        for name, check in CHECKS.get(table, {}).items()
    ]


def check_results(table: str, whose: str, rows: pl.DataFrame, outcome: Outcome) -> list[dg.AssetCheckResult]:
    """The verdicts on the rows of a table that a run made."""
    results = []
    for name, check in CHECKS.get(table, {}).items():
        passed, metadata = check.judge(rows, outcome)
        results.append(
            dg.AssetCheckResult(
                check_name=name,
                asset_key=asset_key(table, whose),
                passed=passed,
                severity=check.severity,
                metadata=metadata,
            )
        )
    return results
