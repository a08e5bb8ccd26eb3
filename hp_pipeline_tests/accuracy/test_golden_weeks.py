"""The golden weeks that are no plain run of a heat pump: the one with all faults, and the one of a solar heating."""

from datetime import timedelta

import polars as pl
import pytest

from benchmarks.accuracy import fault_week_lines, solar_days, solar_week_lines
from hp_pipeline.simulation.scenarios import FAULT_WEEK, SCENARIOS, SOLAR_WEEK
from hp_pipeline.simulation.scoring import SOLAR_ENERGIES
from hp_pipeline.simulation.street.truth import true_solar


def test_the_golden_scenarios_are_complete_and_one_to_two_weeks_long() -> None:
    weeks = [*SCENARIOS.values(), FAULT_WEEK, SOLAR_WEEK]
    assert {week.name for week in weeks} == {
        "deep_frost",
        "humid_defrost",
        "april_cycling",
        "summer_dhw",
        "spring_clock_change",
        "autumn_clock_change",
        "legionella",
        "solar_week",
        "fault_week",
    }
    assert all(7 <= week.days <= 14 for week in weeks)


def test_a_week_with_all_faults_lacks_what_nobody_saw_and_is_right_else() -> None:
    lines = fault_week_lines()
    assert len(lines) == 6
    assert [(line.what, line.value) for line in lines if line.is_met is not True] == []


def test_a_solar_week_is_as_near_as_its_readings_allow() -> None:
    lines = solar_week_lines()
    assert len(lines) == 2 * len(SOLAR_ENERGIES)
    assert [(line.what, line.value, line.note) for line in lines if line.is_met is not True] == []


def test_hours_of_a_solar_week_add_up_to_its_days_and_are_near_the_truth() -> None:
    house, minute = SOLAR_WEEK.run(), timedelta(minutes=1)
    hours, days = (solar_days(house, minute, table) for table in ("solar_hourly", "solar_daily"))
    assert (hours.height, days.height) == (168, 7)
    true = true_solar(house, hours)
    assert true.select(pl.col(SOLAR_ENERGIES).sum()).row(0) == pytest.approx(
        true_solar(house, days).select(pl.col(SOLAR_ENERGIES).sum()).row(0)
    )
    for energy in SOLAR_ENERGIES:
        assert hours[energy].sum() == pytest.approx(days[energy].sum())
        assert (hours[energy] - true[energy]).abs().max() <= 0.2, energy
