"""Degree days, grade, bins and heat loss through the stages: a simulated spring, read every minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.assets.checks import check_results
from hp_pipeline.assets.stages import Outcome, store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.simulation.house import Trajectory, simulate
from hp_pipeline.simulation.parameters import NOVELAN_HELOX
from hp_pipeline.simulation.sensors import SensorModel, observe
from hp_pipeline.simulation.truth import truth_energy
from hp_pipeline.simulation.weather import simulate_weather
from hp_pipeline.transforms import heat_loss
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline_tests.assets.house import PUMP, SOURCE, contents, due, table, update, workspace

START, DAYS = datetime(2024, 3, 14, tzinfo=UTC), 32
"""Over two months and the change of the clock."""


@pytest.fixture(scope="module")
def run() -> Trajectory:
    weather = simulate_weather(START - timedelta(days=3), START + timedelta(days=DAYS), step_s=60, seed=5)
    return simulate(NOVELAN_HELOX, weather, 5, settling=timedelta(days=3))


@pytest.fixture(scope="module")
def readings(run: Trajectory) -> pl.DataFrame:
    return observe(run, SensorModel(interval_s=60), 5).readings


@pytest.fixture(scope="module")
def house(readings: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = workspace(tmp_path_factory.mktemp("spring"), interval="60s")
    store_readings(made, SOURCE, readings)
    update(made)
    return made


def test_the_line_is_that_of_the_true_days(run: Trajectory, house: Workspace) -> None:
    found = table(house, "heat_loss").row(0, named=True)
    assert found["period"] == "2023/24" and found["heat_loss_reason"] is None
    true = truth_energy(run, "day").filter("complete")
    days = table(house, "degree_days").with_columns(day=pl.col("period").str.to_date())
    both = days.join(true, left_on="day", right_on="period", suffix="_true").drop("thermal_energy_heating_kwh")
    rows = both.with_columns(thermal_energy_heating_kwh="thermal_energy_heating_kwh_true", thermal_coverage=pl.lit(1.0))
    expected = heat_loss.heat_loss(rows)
    assert found["heat_loss_w_per_k"] == pytest.approx(expected["heat_loss_w_per_k"], rel=0.03)
    assert found["base_temperature"] == pytest.approx(expected["base_temperature"], abs=0.3)
    own = NOVELAN_HELOX.building.loss_kw_per_k * 1000
    assert found["heat_loss_low_w_per_k"] < 1.25 * own and found["heat_loss_high_w_per_k"] > own


def test_days_and_months_of_every_table_agree(house: Workspace) -> None:
    efficiency, days = table(house, "efficiency"), table(house, "daily")
    months = efficiency.filter(kind="month")
    assert sorted(months["period"].unique()) == ["2024-03", "2024-04"]
    for name in ("thermal_energy_kwh", "electrical_energy_kwh", "hours", "running_hours"):
        of_days = efficiency.filter(kind="day").group_by("mode").agg(pl.col(name).sum()).sort("mode")
        of_months = months.group_by("mode").agg(pl.col(name).sum()).sort("mode")
        assert of_days[name].to_list() == pytest.approx(of_months[name].to_list(), abs=1e-9)
        seasonal = table(house, "efficiency_seasonal").sort("mode")
        assert seasonal[name].to_list() == pytest.approx(of_months[name].to_list(), abs=1e-9)
    # Where electricity and heat are both known, they are those of the figures.
    whole = efficiency.filter(kind="day", mode="all").join(days, on="period", suffix="_of_day")
    known = whole.filter(pl.col("electrical_coverage") > 0.9999, pl.col("thermal_coverage") > 0.9999)
    assert known.height >= DAYS - 4
    for name in ("thermal_energy_kwh", "electrical_energy_kwh"):
        assert (known[name] - known[f"{name}_of_day"]).abs().max() < 1e-6  # type: ignore[operator]
    bins = table(house, "temperature_bins").filter(pl.col("mode") == "heating")
    assert bins["thermal_energy_kwh"].sum() == pytest.approx(
        months.filter(mode="heating")["thermal_energy_kwh"].sum(), abs=1e-9
    )


def test_degree_days_of_the_houses_days(house: Workspace) -> None:
    days = table(house, "degree_days")
    assert days["period"].to_list() == table(house, "daily")["period"].to_list()
    short = days.filter(period="2024-03-31").row(0, named=True)
    assert short["end"] - short["start"] == timedelta(hours=23)
    below = 15 - short["outdoor_temperature_mean"]
    assert short["heating_degree_days"] == pytest.approx(max(below, 0) * 23 / 24)
    assert days["heating_degree_days"].sum() > 50


def test_one_line_over_all_seasons_is_made_of_bins(house: Workspace) -> None:
    bins, whole = table(house, "heat_loss_bins"), table(house, "heat_loss_all_time").row(0, named=True)
    assert bins["days"].sum() >= 25
    assert whole["period"] == "all"
    assert (whole["heat_loss_w_per_k"] is None) == (whole["heat_loss_reason"] is not None)


def test_a_few_days_bear_neither_line_nor_curve(tmp_path: Path, readings: pl.DataFrame) -> None:
    made = workspace(tmp_path, interval="60s")
    store_readings(made, SOURCE, readings.filter(pl.col("time") < START + timedelta(days=2)))
    update(made)
    assert "of 20 that a line needs" in table(made, "heat_loss")["heat_loss_reason"].item()
    assert table(made, "heat_loss")["heat_loss_w_per_k"].item() is None
    heating = table(made, "efficiency_seasonal").filter(mode="heating").row(0, named=True)
    assert heating["cop_running"] > 2 and heating["carnot_grade"] < 0.6
    assert heating["cop_normalised"] is None and "average climate" in heating["normalised_reason"]


def test_a_day_more_or_a_late_day_ends_like_one_build(tmp_path: Path, readings: pl.DataFrame) -> None:
    days = [START.date() + timedelta(days=count) for count in range(16, 20)]
    own = readings.filter(pl.col("time").dt.date().is_in(days))
    at_once = workspace(tmp_path / "at once", interval="60s")
    store_readings(at_once, SOURCE, own)
    update(at_once)
    made = workspace(tmp_path / "bit by bit", interval="60s")
    for day in (days[3], days[0], days[2], days[1]):
        keys = sorted(store_readings(made, SOURCE, own.filter(pl.col("time").dt.date() == day)))
        update(made, date.fromisoformat(keys[0]), date.fromisoformat(keys[-1]))
    assert contents(made) == contents(at_once)
    assert due(made) == []


def test_checks_of_efficiency(house: Workspace) -> None:
    rows = table(house, "efficiency")
    assert all(result.passed for result in check_results("efficiency", PUMP, rows, Outcome()))
    wrong = check_results("efficiency", PUMP, rows.with_columns(carnot_grade=pl.lit(0.9)), Outcome())
    assert [result.check_name for result in wrong if not result.passed] == ["grade"]
    assert Rules().degree_day_limit_c == 15
