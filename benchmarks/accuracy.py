"""How well the whole pipeline finds what happened: simulated sensors → readings → all tables, against the truth.

Target: the gates for ESPAltherma at 30 to 60 s (`simulation.scoring.ESPALTHERMA_GOALS`): F1 of sessions and cycles
≥ 0.995, mean error of edges ≤ 20 s and bias ≤ 5 s, defrosts found and true ≥ 0.99, 95th percentile of the heat of a
session ≤ 1 % (heating) and 2 % (dhw), of a day ≤ 0.5 %, heat and JAZ of a month ≤ 0.1 %, electricity of a day ≤ 0.05 %.

Edges are taken in the middle of the time in which the tables say that they may lie. Scenarios are pooled: the 95th
percentile of nine sessions is their worst. What touches the begin or end of a scenario is left out, and so are true
cycles shorter than the polling interval if they are missed: the compressor's pause of 50 s between two polls at 60 s
was not seen by anyone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

import polars as pl

from benchmarks.house import bring_up_to_date, open_house, table, take_in
from benchmarks.report import Line, Report
from hp_pipeline.assets.stages import stages, store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.settings import load_settings
from hp_pipeline.simulation.demo import SETTLING, STEP_S
from hp_pipeline.simulation.devices.mqtt import SolarHouse
from hp_pipeline.simulation.faults import inject_faults
from hp_pipeline.simulation.house import Trajectory, simulate
from hp_pipeline.simulation.parameters import DAIKIN_ALTHERMA
from hp_pipeline.simulation.scenarios import FAULT_WEEK, FAULTS, SCENARIOS, SOLAR_WEEK
from hp_pipeline.simulation.scoring import (
    BUDGETS,
    ESPALTHERMA_GOALS,
    SOLAR_GOALS,
    EnergyScore,
    ErrorBudget,
    EventScore,
    score_events,
    score_periods,
    score_solar,
    unbiased_edges,
)
from hp_pipeline.simulation.sensors import TEXT_POINTS, SensorModel, observe
from hp_pipeline.simulation.street.history import of_solar
from hp_pipeline.simulation.street.truth import true_solar
from hp_pipeline.simulation.truth import run_bounds, truth_energy, truth_events
from hp_pipeline.simulation.weather import simulate_weather
from hp_pipeline.transforms.schema import conform

INTERVALS: Final = (30.0, 60.0)
COUNTER_STEP_KWH: Final = 1e-5
"""What a Shelly's counter of energy shows."""
SCORE_CARD: Final = Path(__file__).resolve().parent.parent / "docs" / "accuracy.md"
_EDGE: Final = timedelta(minutes=2)
HEAT: Final = "thermal_energy_kwh"
ELECTRICITY: Final = "electrical_energy_kwh"
TABLES: Final = ("sessions", "cycles", "defrosts", "compressor_runs", "cycling_daily", "daily", "monthly", "all_time")


@dataclass(frozen=True)
class Examined:
    """A simulated run, what the pipeline made of its readings, and what is true.

    Attributes:
        run: the simulation.
        interval_s: how often the sensors were polled.
        tables: the pipeline's tables by name, in whole.
    """

    run: Trajectory
    interval_s: float
    tables: dict[str, pl.DataFrame]

    @cached_property
    def truth(self) -> pl.DataFrame:
        """See `truth_events`."""
        return truth_events(self.run)

    def events(self, name: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        """True and found events of a kind: heating, dhw (sessions), cycles, defrosts, runs (without energies)."""
        no_energy = [pl.lit(0.0).alias(HEAT), pl.lit(0.0).alias(ELECTRICITY)]
        true, found = {
            "cycles": (
                self.truth.filter(pl.col("kind") == "cycle", pl.col("mode") != "standby"),
                self.tables["cycles"].filter(pl.col("mode") != "standby"),
            ),
            "defrosts": (self.truth.filter(kind="defrost"), self.tables["defrosts"]),
            "runs": (
                self.truth.filter(kind="compressor_run").with_columns(no_energy),
                self.tables["compressor_runs"].with_columns(no_energy),
            ),
        }.get(name, (self.truth.filter(kind=f"{name}_session"), self.tables["sessions"].filter(mode=name)))
        start, end = run_bounds(self.run)
        inside = (pl.col("start") > start + _EDGE) & (pl.col("end") < end - _EDGE)
        columns = ("start", "end", HEAT, ELECTRICITY)
        return true.filter(inside).select(columns), unbiased_edges(found).filter(inside).select(columns)

    @cached_property
    def _polled(self) -> pl.DataFrame:
        """`time` of each poll, and the sum of what is true at the polls before, each held until the next (`kwh`)."""
        readings = observe(self.run, SensorModel(interval_s=self.interval_s)).readings
        times = readings.filter(point=TEXT_POINTS["three_way_valve"])["time"]
        steps = (times.dt.epoch("s") - self.run.start_s) // self.run.step_s
        hours = (times.shift(-1) - times).dt.total_microseconds() / 3.6e9
        kwh = pl.Series(self.run.heat_kw[steps.to_numpy()]) * hours.fill_null(0)
        return pl.DataFrame({"time": times, "kwh": kwh.cum_sum() - kwh})

    def of_polls(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the heat of the polls that lie between `start` and `end`: nothing but the sampling is wrong."""
        times, kwh = self._polled
        first, behind = (times.search_sorted(rows[edge].clip(upper_bound=times[-1])) for edge in ("start", "end"))
        return rows.with_columns((kwh.gather(behind) - kwh.gather(first)).alias(HEAT))

    def periods(self, period: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        """True and found figures of the whole local days or months, by their first day."""
        true = truth_energy(self.run, "day" if period == "daily" else "month").filter("complete")
        first = pl.col("period") if period == "daily" else pl.col("period") + "-01"
        return true, self.tables[period].with_columns(first.str.to_date().alias("period"))


def examine(run: Trajectory, interval_s: float = 30.0, metered: bool = False) -> Examined:
    """Let the pipeline see a run through right sensors, and make all its tables; `metered`: its electricity also
    through the counter of a meter."""
    sensors = SensorModel(interval_s=interval_s, counter_step_kwh=COUNTER_STEP_KWH if metered else 0.0)
    return examine_readings(run, observe(run, sensors).readings, interval_s, metered)


def examine_readings(
    run: Trajectory, readings: pl.DataFrame, interval_s: float = 30.0, metered: bool = False
) -> Examined:
    """Let the pipeline make all tables of these readings of a run."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = open_house(Path(folder), run_bounds(run)[0].date(), metered=metered)
        take_in(workspace, readings)
        bring_up_to_date(workspace)
        return Examined(run, interval_s, {name: table(workspace, name) for name in TABLES})


@dataclass(frozen=True)
class ScoreCard:
    """Scores over several runs together, polled at one interval."""

    examined: Sequence[Examined]

    @property
    def interval_s(self) -> float:
        """How often the sensors were polled."""
        return self.examined[0].interval_s

    @property
    def budget(self) -> ErrorBudget:
        """What the sensors allow at that interval."""
        return replace(BUDGETS["espaltherma"], interval_s=self.interval_s)

    def events(self, name: str) -> EventScore:
        """Score of a kind of events (see `Examined.events`), pooled."""
        pairs = [each.events(name) for each in self.examined]
        return score_events(
            pl.concat([true for true, _ in pairs]),
            pl.concat([found for _, found in pairs]),
            collar=max(ESPALTHERMA_GOALS.collar, timedelta(seconds=self.interval_s)),
            shortest=timedelta(seconds=self.interval_s),
        )

    def days(self, column: str) -> EnergyScore:
        """Errors of an energy per whole local day, pooled."""
        pairs = [each.periods("daily") for each in self.examined]
        true = pl.concat([true.select("period", column) for true, _ in pairs])
        return score_periods(true, pl.concat([found.select("period", column) for _, found in pairs]), column)

    def of_polls(self, name: str) -> float:
        """The 95th percentile of the errors that sampling alone leaves of heat: of the true sessions of a kind, or of
        the whole local days (`daily`)."""
        parts = [(each, (each.periods if name == "daily" else each.events)(name)[0]) for each in self.examined]
        true = pl.concat([rows for _, rows in parts])
        found = pl.concat([each.of_polls(rows) for each, rows in parts])
        if name == "daily":
            return score_periods(true, found, HEAT).p95_percent
        return score_events(true, found, collar=timedelta()).thermal.p95_percent

    def months(self, column: str) -> EnergyScore:
        """Errors of an energy per whole month, pooled."""
        pairs = [each.periods("monthly") for each in self.examined]
        true = pl.concat([true.select("period", column) for true, _ in pairs])
        return score_periods(true, pl.concat([found.select("period", column) for _, found in pairs]), column)

    def total(self, column: str) -> tuple[float, float]:
        """True and found sum of an energy over everything."""
        true = sum(truth_energy(each.run, "all")[column].item() for each in self.examined)
        found = sum(each.tables["all_time"][column].item() for each in self.examined)
        return true, found

    @property
    def jaz_error_percent(self) -> float:
        """Error of heat ÷ electricity over everything."""
        (true_heat, heat), (true_power, power) = self.total(HEAT), self.total(ELECTRICITY)
        return percent(heat / power, true_heat / true_power)


def percent(found: float, true: float) -> float:
    """How far off, in percent of the truth."""
    return 100 * (found / true - 1)


def lines(card: ScoreCard) -> list[Line]:
    """The score card's lines with their gates."""
    goals, allowed = ESPALTHERMA_GOALS, card.budget
    at = f"{card.interval_s:.0f} s"
    result = []
    for name, words in (("heating", "heating sessions"), ("dhw", "dhw sessions"), ("cycles", "cycles")):
        score = card.events(name)
        result += [
            Line(f"{words}: F1", round(score.f1, 4), "", at_least=goals.event_f1, note=_count(score)),
            *_edges(words, score),
        ]
    defrosts = card.events("defrosts")
    result += [
        Line("defrosts: found", round(defrosts.recall, 4), "", at_least=goals.defrost_recall, note=_count(defrosts)),
        Line("defrosts: true", round(defrosts.precision, 4), "", at_least=goals.defrost_precision),
        *_edges("defrosts", defrosts),
    ]
    for name, heat, cop in (
        ("heating", goals.heating_heat_percent, goals.heating_cop_percent),
        ("dhw", goals.dhw_heat_percent, goals.dhw_cop_percent),
    ):
        score = card.events(name)
        result += [
            Line(
                f"{name} session: heat, 95 %",
                round(score.thermal.p95_percent, 3),
                "%",
                at_most=heat,
                note=f"polls alone: {card.of_polls(name):.3g}",
            ),
            Line(f"{name} session: heat, median", round(score.thermal.p50_percent, 3), "%"),
            Line(
                f"{name} session: heat, worst",
                round(score.thermal.worst_kwh, 4),
                "kWh",
                at_most=round(allowed.thermal_bound_kwh, 4),
                note="2 · P · dt",
            ),
            Line(f"{name} session: electricity, 95 %", round(score.electrical.p95_percent, 3), "%"),
            Line(f"{name} session: COP, 95 %", round(score.cop.p95_percent, 3), "%", at_most=cop),
        ]
    days, power = card.days(HEAT), card.days(ELECTRICITY)
    (true_heat, heat), (true_power, used) = card.total(HEAT), card.total(ELECTRICITY)
    result += [
        Line(
            "day: heat, 95 %",
            round(days.p95_percent, 3),
            "%",
            at_most=goals.day_heat_percent,
            note=f"{days.pairs} days; polls alone: {card.of_polls('daily'):.3g}",
        ),
        Line("day: heat, worst", round(days.worst_percent, 3), "%"),
        Line("day: electricity, worst", round(power.worst_percent, 4), "%", at_most=goals.day_electricity_percent),
        Line("all of it: heat", round(abs(percent(heat, true_heat)), 4), "%", at_most=goals.month_heat_percent),
        Line(
            "all of it: electricity",
            round(abs(percent(used, true_power)), 4),
            "%",
            at_most=goals.day_electricity_percent,
        ),
        Line("all of it: JAZ", round(abs(card.jaz_error_percent), 4), "%", at_most=goals.month_heat_percent),
    ]
    return [replace(line, what=f"{at} · {line.what}") for line in result]


def metered_lines(card: ScoreCard) -> list[Line]:
    """Those lines of a score card that electricity is a part of, where a meter counts it."""
    told = [line for line in lines(card) if "electricity" in line.what or "COP" in line.what or "JAZ" in line.what]
    return [replace(line, what=line.what.replace(" · ", ", a meter's counter · ")) for line in told]


def _count(score: EventScore) -> str:
    excused = f", {score.excused} too short to be seen" if score.excused else ""
    return f"{score.matched} of {score.true} true, {score.found} found{excused}"


def _edges(words: str, score: EventScore) -> list[Line]:
    goals = ESPALTHERMA_GOALS
    mae, bias = max(score.start_mae_s, score.end_mae_s), max(abs(score.start_bias_s), abs(score.end_bias_s))
    return [
        Line(f"{words}: mean error of an edge", round(mae, 2), "s", at_most=goals.edge_mae_s),
        Line(f"{words}: bias of an edge", round(bias, 2), "s", at_most=goals.edge_bias_s),
    ]


_PAGE: Final = """\
# Accuracy

How well the pipeline finds what happened, from simulated sensors to the tables, against the truth of the simulation.
Written by `python -m benchmarks accuracy --write`; the tests in `hp_pipeline_tests/accuracy` assert it.

The sensors are right but for their resolution (0.1 K, 0.1 l/min, 1 W) and are polled every 30 or 60 s, at a time of
their own; the truth has steps of 10 s. The goals say what a pipeline may add to the error of the sensors. Against
physics a real house is further off: 3 to 20 % by the sensors themselves, which no pipeline removes.

{scenarios}

The scenarios are taken together, because the 95th percentile of nine sessions is their worst. Edges are taken in the
middle of the time in which the tables say that they may lie. True cycles that are shorter than the polling interval
and were missed are left out: nobody saw them.

## Which goals are missed, and why

- **Heat of sessions and days at 60 s.** Sampling alone leaves more: in brackets stands what is left if nothing is
  wrong but that what is true at each poll is held until the next (*polls alone*). The error of a session is P · dt / √6
  at its edges, so it doubles from 30 s to 60 s; a day of summer holds two sessions of 3 kWh. Sums of a month do not
  suffer.
- **COP of heating sessions.** States and temperatures are known from a poll on, so both begin late by half an
  interval on average, and alike: heat is right. A meter is not late. Where heating follows hot water without a pause,
  what a meter's *counter* counted meanwhile is divided between the two (`transforms/mode_changes.py`). At 60 s that
  leaves 2.1 %: the change is known to a minute only. The other lines are of a house whose electricity is known by a
  *power* alone, and it cannot be known of a power how late it is: here it is not late at all, so up to P · dt (20 Wh
  at 30 s) is booked to the session before; a power that is read and held, like the states, is as late as they are.
- **A number that changes during an outage** and is written only on change stays at its old value until it changes
  again, at most for its `max_age`. Home Assistant writes all states anew when a device comes back, which heals it.

## Score card
"""

DEMO_END: Final = datetime(2024, 4, 15, tzinfo=UTC)
DEMO_DAYS: Final = 60


def demo_run(days: int = DEMO_DAYS, end: datetime = DEMO_END) -> Trajectory:
    """The demo house's 60 days before a fixed end, from winter into spring."""
    weather = simulate_weather(end - timedelta(days=days) - SETTLING, end, step_s=STEP_S, seed=1)
    return simulate(DAIKIN_ALTHERMA, weather, 1, settling=SETTLING)


def demo_lines(card: ScoreCard) -> list[Line]:
    """Conservation over the demo's 60 days: months, the whole, JAZ."""
    months = card.months(HEAT)
    (true_heat, heat), (true_power, used) = card.total(HEAT), card.total(ELECTRICITY)
    limit = ESPALTHERMA_GOALS.month_heat_percent
    return [
        Line("60 days · heat of a month, worst", round(months.worst_percent, 4), "%", at_most=limit),
        Line("60 days · heat", round(abs(percent(heat, true_heat)), 4), "%", at_most=limit, note=f"{heat:.1f} kWh"),
        Line(
            "60 days · electricity", round(abs(percent(used, true_power)), 4), "%", at_most=0.01, note=f"{used:.1f} kWh"
        ),
        Line("60 days · JAZ", round(abs(card.jaz_error_percent), 4), "%", at_most=limit, note=f"{heat / used:.3f}"),
    ]


def fault_week_lines() -> list[Line]:
    """A week with all faults of an archive: what nobody saw may be missing, and nothing else may be off."""
    run = FAULT_WEEK.run()
    delivered = inject_faults(observe(run).readings, FAULTS)
    found = examine_readings(run, delivered.readings)
    true, days = found.periods("daily")
    both = true.join(days, on="period", suffix="_found").filter(pl.col("hours") > _ALMOST_A_DAY)
    budget = BUDGETS["espaltherma"]
    result = []
    for column, share, peak_kw in (
        (HEAT, "thermal_coverage", budget.peak_thermal_kw),
        (ELECTRICITY, "electrical_coverage", budget.peak_electrical_kw),
    ):
        unseen = (1 - pl.col(share)) * pl.col("hours") * peak_kw + peak_kw * _HELD_H
        off = both.select((((pl.col(f"{column}_found") - pl.col(column)).abs() - unseen) / pl.col(column)).max()).item()
        what = {HEAT: "heat", ELECTRICITY: "electricity"}[column]
        note = f"beyond what nobody saw; {both.height} days, {delivered.faults.height} faults"
        result.append(
            Line(f"fault week · day: {what}, worst", round(max(0.0, 100 * off), 3), "%", at_most=3, note=note)
        )
    cops = both.filter(pl.col("cop_found").is_not_null()).select(
        (pl.col("cop_found") / pl.col("cop") - 1).abs().max().alias("worst")
    )
    result.append(
        Line("fault week · day: COP, worst of those shown", round(100 * cops["worst"].item(), 2), "%", at_most=5)
    )
    gaps = delivered.faults.filter(pl.col("kind").is_in(["outage", "unavailable", "frozen", "missing_field"]))
    for kind, words in (("heating", "heating sessions"), ("dhw", "dhw sessions"), ("defrosts", "defrosts")):
        actual, seen = found.events(kind)
        score = score_events(actual, seen, collar=ESPALTHERMA_GOALS.collar, gaps=gaps, shortest=timedelta(seconds=30))
        gate = ESPALTHERMA_GOALS.event_f1
        result.append(Line(f"fault week · {words}: F1", round(score.f1, 4), "", at_least=gate, note=_count(score)))
    return result


_ALMOST_A_DAY: Final = 22.0
_HELD_H: Final = 5 / 60
"""A reading is held so long at most when nothing follows it."""

_SOLAR_SETTINGS: Final = """\
site: {name: Sunny house, time_zone: Europe/Berlin, start: 2024-04-01}
heat_pumps:
  - {id: daikin, inputs: [{source: pump, profile: espaltherma_home_assistant}]}
solar_systems:
  - id: sun
    inputs: [{source: broker, profile: solar_heating_v3}]
    tank: {litres: 320, layers: 8, height_m: 1.4, cold_water_c: 10, usable_c: 40, loss_w_per_k: 2.5, ambient_c: 19}
    collector: {area_m2: 8}
    immersion_heater: {rated_power_kw: 3}
    pellet_stove: {rated_power_kw: 7, water_share: 0.7, up_to_c: 88}
sources:
  - {id: pump, kind: files}
  - {id: broker, kind: files}
"""


def solar_days(house: SolarHouse, every: timedelta, table_name: str = "solar_daily") -> pl.DataFrame:
    """The table of the solar week's whole local days (or hours), read so often."""
    start, stop = SOLAR_WEEK.start, SOLAR_WEEK.start + timedelta(days=SOLAR_WEEK.days)
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "hp.yaml"
        settings.write_text(_SOLAR_SETTINGS, encoding="utf-8")
        workspace = Workspace(load_settings(settings), Path(folder) / "data")
        told = of_solar(house, start - timedelta(hours=1), stop + timedelta(hours=2), every)
        store_readings(workspace, "broker", told)
        for stage in stages(workspace.solar_plant("sun")):
            stage.bring_up_to_date(stage.keys()).raise_failures()
        asset = f"{table_name}/sun"
        rows = conform(workspace.lake.read(asset, workspace.lake.keys(asset)), table_name)
    return rows.filter(pl.col("start") >= start, pl.col("end") <= stop).sort("start")


def solar_week_lines() -> list[Line]:
    """The energies of a tank's days, against what its readings allow."""
    house = SOLAR_WEEK.run()
    result = []
    for every_s, goals in SOLAR_GOALS.items():
        days = solar_days(house, timedelta(seconds=every_s))
        score = score_solar(true_solar(house, days), days, goals)
        for row in score.iter_rows(named=True):
            note = f"{row['found']:.1f} kWh, true {row['true']:.1f}; worst day {row['worst_kwh']:.2f} kWh off"
            what = f"solar week, every {every_s:g} s · day: {row['energy'].removesuffix('_kwh')}, worst ÷ allowed"
            result.append(Line(what, round(row["most"], 3), "", at_most=1, note=note))
    return result


def measure(runs: int) -> Report:
    """Score all golden scenarios at both intervals, and the demo's 60 days. The figures are the same in every run."""
    report = Report("accuracy", "the whole pipeline against the truth of the simulation")
    trajectories = [scenario.run() for scenario in SCENARIOS.values()]
    for interval_s in INTERVALS:
        report.lines += lines(ScoreCard([examine(run, interval_s) for run in trajectories]))
        metered = ScoreCard([examine(run, interval_s, metered=True) for run in trajectories])
        report.lines += metered_lines(metered)
    report.lines += demo_lines(ScoreCard([examine(demo_run())]))
    report.lines += [*fault_week_lines(), *solar_week_lines()]
    return report


def write(report: Report) -> Path:
    """The score card as a page of the documentation."""
    scenarios = "\n".join(
        f"- `{scenario.name}`, {scenario.days} days: {scenario.shows}"
        for scenario in (*SCENARIOS.values(), FAULT_WEEK, SOLAR_WEEK)
    )
    SCORE_CARD.write_text(f"{_PAGE.format(scenarios=scenarios)}\n{report.markdown().rstrip()}\n", encoding="utf-8")
    return SCORE_CARD
