"""Scoring: hand cases whose result can be seen."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from hp_pipeline.simulation.scoring import (
    BUDGETS,
    ErrorBudget,
    match_events,
    score_events,
    score_periods,
)

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
COLLAR = timedelta(seconds=60)


def events(*rows: tuple[float, float, float, float]) -> pl.DataFrame:
    """Rows of (start and end in seconds after noon, heat, electricity)."""
    return pl.DataFrame(
        {
            "start": [NOON + timedelta(seconds=row[0]) for row in rows],
            "end": [NOON + timedelta(seconds=row[1]) for row in rows],
            "thermal_energy_kwh": [row[2] for row in rows],
            "electrical_energy_kwh": [row[3] for row in rows],
        },
        schema={
            "start": pl.Datetime("us", "UTC"),
            "end": pl.Datetime("us", "UTC"),
            "thermal_energy_kwh": pl.Float64,
            "electrical_energy_kwh": pl.Float64,
        },
    )


TRUE = events((0, 600, 4.0, 1.0), (1000, 1600, 6.0, 2.0), (2000, 2600, 10.0, 4.0))


def test_the_truth_scores_perfectly() -> None:
    score = score_events(TRUE, TRUE.reverse(), collar=timedelta(0))
    assert (score.precision, score.recall, score.f1) == (1.0, 1.0, 1.0)
    assert score.pairs == [(0, 0), (1, 1), (2, 2)]
    assert score.start_mae_s == score.end_bias_s == score.thermal.worst_percent == score.cop.p95_percent == 0
    assert score.missed_thermal_percent == score.invented_thermal_percent == 0


def test_edges_inside_the_collar_are_found_with_their_bias() -> None:
    found = events((30, 590, 4.0, 1.0), (1010, 1660, 6.0, 2.0), (2000, 2600, 10.0, 4.0))
    score = score_events(TRUE, found, collar=COLLAR)
    assert score.f1 == 1.0
    assert score.start_mae_s == score.start_bias_s == pytest.approx(40 / 3)
    assert score.start_worst_s == 30
    assert score.end_mae_s == pytest.approx(70 / 3)
    assert score.end_bias_s == pytest.approx(50 / 3)
    assert score.end_worst_s == 60


def test_an_edge_outside_the_collar_is_neither_found_nor_forgotten() -> None:
    found = events((0, 661, 5.0, 1.0), (1000, 1600, 6.0, 2.0))
    score = score_events(TRUE, found, collar=COLLAR)
    assert (score.matched, score.precision, score.f1) == (1, 0.5, 0.4)
    assert score.recall == pytest.approx(1 / 3)
    assert score.missed_thermal_percent == pytest.approx(70.0)
    assert score.invented_thermal_percent == pytest.approx(25.0)


def test_a_split_session_counts_as_one_missed_and_two_invented() -> None:
    found = events((0, 600, 4.0, 1.0), (1000, 1300, 3.0, 1.0), (1300, 1600, 3.0, 1.0), (2000, 2600, 10.0, 4.0))
    score = score_events(TRUE, found, collar=COLLAR)
    assert (score.matched, score.true, score.found) == (2, 3, 4)
    assert score.f1 == pytest.approx(4 / 7)


def test_one_true_event_is_matched_once() -> None:
    true = events((0, 30, 1.0, 0.5))
    found = events((0, 20, 1.0, 0.5), (25, 45, 1.0, 0.5))
    assert match_events(true, found, COLLAR) == [(0, 0)]
    true = events((0, 20, 1.0, 0.5), (25, 45, 1.0, 0.5))
    assert match_events(true, true, COLLAR) == [(0, 0), (1, 1)]


def test_energy_errors_are_taken_on_pairs_and_the_bias_on_sums() -> None:
    found = events((0, 600, 4.4, 1.0), (1000, 1600, 5.4, 2.0), (2000, 2600, 10.0, 5.0))
    score = score_events(TRUE, found, collar=COLLAR)
    assert score.thermal.pairs == 3
    assert score.thermal.p50_percent == pytest.approx(10.0)
    assert score.thermal.worst_percent == pytest.approx(10.0)
    assert score.thermal.worst_kwh == pytest.approx(0.6)
    assert score.thermal.bias_percent == pytest.approx(100 * -0.2 / 20)
    assert score.thermal.rms_kwh == pytest.approx(math.sqrt((0.16 + 0.36) / 3))
    assert score.electrical.bias_percent == pytest.approx(100 / 7)
    assert score.cop.worst_percent == pytest.approx(20.0)


def test_small_energies_are_left_out_of_percentiles_only() -> None:
    true = events((0, 600, 0.05, 0.01), (1000, 1600, 6.0, 2.0))
    found = events((0, 600, 0.10, 0.01), (1000, 1600, 6.0, 2.0))
    score = score_events(true, found, collar=COLLAR)
    assert (score.thermal.pairs, score.thermal.worst_percent) == (1, 0.0)
    assert score.thermal.bias_percent == pytest.approx(100 * 0.05 / 6.05)


def test_events_with_an_edge_in_a_gap_are_excused() -> None:
    found = events((0, 600, 4.0, 1.0), (1000, 1300, 3.0, 1.0), (2000, 2600, 10.0, 4.0))
    gaps = pl.DataFrame(
        {"start": [NOON + timedelta(seconds=1300)], "end": [NOON + timedelta(seconds=1590)]},
        schema={"start": pl.Datetime("us", "UTC"), "end": pl.Datetime("us", "UTC")},
    )
    assert score_events(TRUE, found, collar=COLLAR).f1 == pytest.approx(2 / 3)
    score = score_events(TRUE, found, collar=COLLAR, gaps=gaps)
    assert (score.excused, score.precision, score.recall, score.f1) == (2, 1.0, 1.0, 1.0)
    assert score.missed_thermal_percent == pytest.approx(30.0), "excused, but not hidden"


def test_nothing_due_and_nothing_found() -> None:
    score = score_events(events(), events(), collar=COLLAR)
    assert (score.f1, score.precision, score.recall) == (1.0, 1.0, 1.0)
    assert math.isnan(score.thermal.p95_percent)
    assert math.isnan(score.start_mae_s)
    missed = score_events(TRUE, events(), collar=COLLAR)
    assert (missed.recall, missed.f1, missed.missed_thermal_percent) == (0.0, 0.0, 100.0)
    invented = score_events(events(), TRUE, collar=COLLAR)
    assert (invented.precision, invented.f1) == (0.0, 0.0)


def test_events_without_energies_are_scored_by_their_edges() -> None:
    edges = TRUE.select("start", "end")
    score = score_events(edges, edges, collar=COLLAR)
    assert score.f1 == 1.0
    assert score.thermal.pairs == 0


def test_periods_are_joined_by_their_key() -> None:
    true = pl.DataFrame({"period": [1, 2, 3], "heat": [10.0, 20.0, 0.01]})
    found = pl.DataFrame({"period": [2, 1, 4], "heat": [21.0, 10.0, 7.0]})
    score = score_periods(true, found, "heat")
    assert score.pairs == 2
    assert score.worst_percent == pytest.approx(5.0)
    assert score.bias_percent == pytest.approx(100 / 30)


def test_the_budget_agrees_with_a_simulation_of_it() -> None:
    rng = np.random.default_rng(1)
    budget = ErrorBudget(30, thermal_step_kwh=0.1)
    phase_start, phase_end = rng.uniform(0, 0.1, (2, 200_000))
    counter = np.floor((5 + phase_start) / 0.1) * 0.1 - np.floor((3 + phase_end) / 0.1) * 0.1
    error = counter - (2 + phase_start - phase_end)
    assert error.std() == pytest.approx(budget.thermal_sigma_kwh(0.0), rel=0.01)
    assert np.abs(error).max() <= budget.thermal_bound_kwh
    late = rng.uniform(-15, 15, (2, 200_000)) * 2.0 / 3600
    assert (late[0] - late[1]).std() == pytest.approx(budget.electrical_sigma_kwh(2.0), rel=0.01)
    assert np.abs(late).mean() * 3600 / 2 == pytest.approx(budget.edge_mae_s, rel=0.01)
    assert budget.edge_bound_s == 15
    assert BUDGETS["viessmann"].recall(np.array([228.0, 228.0])) == pytest.approx(0.76)
    assert BUDGETS["isg"].thermal_bound_kwh > 1.0
