"""The goals for ESPAltherma at 30 and 60 s, met by the real stages on the golden scenarios.

Counts and totals are asserted scenario by scenario, percentiles of sessions and days over all scenarios together.
Where a goal asks for more than the polling allows, what it allows is asserted instead (`docs/accuracy.md` says why).
"""

import numpy as np
import polars as pl
import pytest

from benchmarks.accuracy import ELECTRICITY, HEAT, INTERVALS, Examined, ScoreCard, demo_run, examine, percent
from hp_pipeline.simulation.house import Trajectory
from hp_pipeline.simulation.scenarios import SCENARIOS
from hp_pipeline.simulation.scoring import ESPALTHERMA_GOALS as GOALS
from hp_pipeline.simulation.scoring import unbiased_edges
from hp_pipeline.simulation.truth import truth_energy, truth_states

KINDS = ("heating", "dhw", "cycles", "defrosts")
SAMPLING = {30.0: 1.0, 60.0: 2.0}
"""How many times the error of 30 s the polling interval brings: P · dt / √6 per session."""


@pytest.mark.parametrize("interval_s", INTERVALS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_event_is_found_and_none_invented(
    examined: dict[tuple[str, float], Examined], name: str, interval_s: float
) -> None:
    card = ScoreCard([examined[name, interval_s]])
    for kind in KINDS:
        score = card.events(kind)
        assert score.f1 >= GOALS.event_f1, (kind, score)
        assert score.recall >= GOALS.defrost_recall
        assert score.precision >= GOALS.defrost_precision
        assert score.found == score.matched, "something was found that never was"


@pytest.mark.parametrize("interval_s", INTERVALS)
@pytest.mark.parametrize("kind", KINDS)
def test_edges_are_near_and_not_systematically_late(
    cards: dict[float, ScoreCard], kind: str, interval_s: float
) -> None:
    score = cards[interval_s].events(kind)
    assert max(score.start_mae_s, score.end_mae_s) <= GOALS.edge_mae_s, score
    assert abs(score.start_bias_s) <= GOALS.edge_bias_s
    assert abs(score.end_bias_s) <= GOALS.edge_bias_s


@pytest.mark.parametrize("kind", ["heating", "dhw"])
def test_heat_of_sessions_at_30_s(cards: dict[float, ScoreCard], kind: str) -> None:
    score = cards[30.0].events(kind)
    goal = {"heating": GOALS.heating_heat_percent, "dhw": GOALS.dhw_heat_percent}[kind]
    assert score.thermal.p95_percent <= goal


@pytest.mark.parametrize("interval_s", INTERVALS)
@pytest.mark.parametrize("kind", ["heating", "dhw"])
def test_every_session_is_within_what_its_polling_allows(
    cards: dict[float, ScoreCard], kind: str, interval_s: float
) -> None:
    score, budget = cards[interval_s].events(kind), cards[interval_s].budget
    assert score.thermal.worst_kwh <= budget.thermal_bound_kwh
    assert score.electrical.worst_kwh <= budget.electrical_bound_kwh
    assert score.thermal.rms_kwh <= 1.2 * budget.thermal_sigma_kwh()
    assert score.electrical.rms_kwh <= 1.2 * budget.electrical_sigma_kwh()
    goal = {"heating": GOALS.heating_heat_percent, "dhw": GOALS.dhw_heat_percent}[kind]
    assert score.thermal.p95_percent <= SAMPLING[interval_s] * goal
    assert abs(score.thermal.bias_percent) <= 0.3
    assert abs(score.electrical.bias_percent) <= 0.4


@pytest.mark.parametrize("interval_s", INTERVALS)
def test_cop_of_sessions(cards: dict[float, ScoreCard], interval_s: float) -> None:
    card = cards[interval_s]
    assert card.events("dhw").cop.p95_percent <= GOALS.dhw_cop_percent
    # The goal is 2 %; what a power says of an edge between hot water and heating is known to P · dt only.
    assert card.events("heating").cop.p95_percent <= SAMPLING[interval_s] * 2.5
    assert card.events("heating").cop.p50_percent <= 0.5


def test_a_meters_counter_is_divided_between_modes_that_follow_each_other(
    runs: dict[str, Trajectory], cards: dict[float, ScoreCard]
) -> None:
    by_power, metered = cards[60.0], ScoreCard([examine(run, 60.0, metered=True) for run in runs.values()])
    for kind, goal in (("heating", GOALS.heating_cop_percent), ("dhw", GOALS.dhw_cop_percent)):
        score = metered.events(kind)
        assert score.cop.p95_percent <= 1.1 * goal
        assert score.electrical.p95_percent < by_power.events(kind).electrical.p95_percent
        assert abs(score.electrical.bias_percent) <= 0.1
    assert metered.days(ELECTRICITY).worst_percent <= GOALS.day_electricity_percent


@pytest.mark.parametrize("interval_s", INTERVALS)
def test_heat_is_as_near_as_polls_allow(cards: dict[float, ScoreCard], interval_s: float) -> None:
    card = cards[interval_s]
    for kind in ("heating", "dhw"):
        assert card.events(kind).thermal.p95_percent <= 1.1 * card.of_polls(kind)
    assert card.days(HEAT).p95_percent <= max(1.1 * card.of_polls("daily"), GOALS.day_heat_percent)


@pytest.mark.parametrize("interval_s", INTERVALS)
def test_days(cards: dict[float, ScoreCard], interval_s: float) -> None:
    heat, electricity = cards[interval_s].days(HEAT), cards[interval_s].days(ELECTRICITY)
    assert heat.pairs == electricity.pairs > 40
    assert heat.p95_percent <= SAMPLING[interval_s] * GOALS.day_heat_percent
    assert heat.p50_percent <= 0.2
    assert electricity.worst_percent <= GOALS.day_electricity_percent


@pytest.mark.parametrize("interval_s", INTERVALS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_sums_of_a_scenario(examined: dict[tuple[str, float], Examined], name: str, interval_s: float) -> None:
    card = ScoreCard([examined[name, interval_s]])
    (true_heat, heat), (true_power, power) = card.total(HEAT), card.total(ELECTRICITY)
    # A scenario is a week or two; what is asked of a month is given room for the weeks that are missing.
    limit = SAMPLING[interval_s] * GOALS.month_heat_percent
    assert abs(percent(heat, true_heat)) <= limit
    assert abs(percent(power, true_power)) <= GOALS.day_electricity_percent
    assert abs(card.jaz_error_percent) <= limit


@pytest.mark.parametrize("interval_s", INTERVALS)
def test_all_scenarios_together_reach_the_goals_of_a_month(cards: dict[float, ScoreCard], interval_s: float) -> None:
    true, found = cards[interval_s].total(HEAT)
    assert abs(percent(found, true)) <= GOALS.month_heat_percent
    assert abs(cards[interval_s].jaz_error_percent) <= GOALS.month_heat_percent


@pytest.mark.parametrize("interval_s", INTERVALS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_counts_of_days(examined: dict[tuple[str, float], Examined], name: str, interval_s: float) -> None:
    each = examined[name, interval_s]
    true, found = each.periods("daily")
    both = true.join(found, on="period", suffix="_found")
    # An event within an interval of midnight may be counted on the next day.
    for column in ("defrosts", "heating_sessions", "dhw_sessions"):
        off = (both[column] - both[f"{column}_found"]).abs()
        assert off.max() <= 1, (column, off)
        assert abs(both[column].sum() - both[f"{column}_found"].sum()) <= 1


@pytest.mark.parametrize("name", ["spring_clock_change", "autumn_clock_change"])
def test_days_of_the_clock_change_have_their_hours(examined: dict[tuple[str, float], Examined], name: str) -> None:
    true, found = examined[name, 30.0].periods("daily")
    both = true.join(found, on="period", suffix="_found")
    odd = both.filter(pl.col("hours") != 24)
    assert odd.height == 1
    assert both["start"].equals(both["start_found"])
    assert both["end"].equals(both["end_found"])
    assert abs(percent(odd[f"{HEAT}_found"].item(), odd[HEAT].item())) <= GOALS.day_heat_percent


def test_jaz_over_sixty_days_of_the_demo() -> None:
    each = examine(demo_run())
    card = ScoreCard([each])
    assert card.months(HEAT).worst_percent <= GOALS.month_heat_percent
    assert card.months(ELECTRICITY).worst_percent <= 0.01
    true = truth_energy(each.run, "all")["cop"].item()
    shown = each.tables["all_time"]["cop"].item()
    assert abs(percent(shown, true)) <= GOALS.month_heat_percent
    for mode in ("heating", "dhw"):
        column = f"electrical_energy_{mode}_kwh"
        assert np.isclose(card.total(column)[0], card.total(column)[1], rtol=0.005)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_start_of_the_compressor_is_counted_on_its_day(
    examined: dict[tuple[str, float], Examined], name: str
) -> None:
    each = examined[name, 30.0]
    days = each.tables["cycling_daily"].with_columns(pl.col("period").str.to_date())
    both = truth_energy(each.run, "day").filter("complete").join(days, on="period", suffix="_found")
    assert both.height >= 5
    assert both["starts"].to_list() == both["compressor_starts"].to_list()
    parts = pl.sum_horizontal("starts_heating", "starts_dhw", "starts_after_defrost")
    assert both.select((parts == pl.col("starts")).all()).item()
    true = each.truth.filter(kind="compressor_run").sort("start")
    rested = (true["start"] - true["end"].shift(1)).dt.total_seconds()
    assert days["pauses_too_short"].sum() <= rested.filter(rested < 300).len()
    assert set(days["short_cycling"].drop_nulls()) == {"none"}


def test_runs_of_the_compressor(cards: dict[float, ScoreCard]) -> None:
    score = cards[30.0].events("runs")
    assert score.precision == score.recall == 1.0
    assert max(score.start_mae_s, score.end_mae_s) <= GOALS.edge_mae_s
    # It is told by its current: a frame in which it ran at all counts as one in which it ran.
    assert max(abs(score.start_bias_s), abs(score.end_bias_s)) <= 10


@pytest.mark.parametrize("interval_s", INTERVALS)
def test_pauses_of_the_compressor(examined: dict[tuple[str, float], Examined], interval_s: float) -> None:
    errors: list[float] = []
    for name in SCENARIOS:
        each = examined[name, interval_s]
        true = each.truth.filter(kind="compressor_run").sort("start")
        rested = (true["start"] - true["end"].shift(1)).dt.total_seconds()
        pauses = true.select("start", true_s=rested).drop_nulls()
        found = each.tables["compressor_runs"].filter(pl.col("pause_s").is_not_null()).sort("start")
        pairs = found.join_asof(pauses.with_columns(at="start"), on="start", strategy="nearest", tolerance="2m")
        assert pairs["at"].null_count() == 0 and pairs.height >= 10
        assert (pairs["pause_s"] - pairs["true_s"]).abs().max() <= 2 * interval_s + 5
        errors += (pairs["pause_s"] - pairs["true_s"]).to_list()
    assert abs(float(np.mean(errors))) <= interval_s / 2


def test_what_defrosts_take_and_how_long_the_flow_needs(
    runs: dict[str, Trajectory], examined: dict[tuple[str, float], Examined]
) -> None:
    each = examined["humid_defrost", 30.0]
    true = each.truth.filter(pl.col("kind") == "defrost", pl.col("complete")).sort("start")
    found = unbiased_edges(each.tables["defrosts"]).sort("start")
    pairs = true.join_asof(
        found.select("start", "heat_taken_kwh", "recovery_s", at="start"),
        on="start",
        strategy="nearest",
        tolerance="1m",
    )
    assert pairs.height > 40 and pairs["heat_taken_kwh"].null_count() == 0
    taken, told = pairs["defrost_heat_taken_kwh"], pairs["heat_taken_kwh"]
    assert abs(percent(told.sum(), taken.sum())) <= 2.0
    assert (told - taken).abs().max() <= 2 * 10 * 30 / 3600, "an edge at each end, at 10 kW"
    steps = truth_states(runs["humid_defrost"]).select("time", "flow_temperature")
    errors = []
    for start, end, recovery in pairs.select("start", "end", "recovery_s").drop_nulls().iter_rows():
        before = steps.filter(pl.col("time") < start)["flow_temperature"][-1]
        back = steps.filter(pl.col("time") >= end, pl.col("flow_temperature") >= before - 0.5)["time"][0]
        errors.append(recovery - (back - end).total_seconds())
    assert len(errors) >= 0.8 * pairs.height
    assert abs(float(np.median(errors))) <= 30
