"""A house with a meter of electricity and one of heat, whose machine says nothing: what it gets, against the truth.

Powers, counter, flow rate, flow and return temperature, and the outdoor temperature; no mode, valve, set-point or tank.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import polars as pl
import pytest

from benchmarks.accuracy import COUNTER_STEP_KWH, ELECTRICITY, HEAT, Examined, ScoreCard, examine_readings, percent
from hp_pipeline.simulation.parameters import DAIKIN_ALTHERMA, PRESETS
from hp_pipeline.simulation.scenarios import SCENARIOS
from hp_pipeline.simulation.scoring import EventScore, score_events
from hp_pipeline.simulation.sensors import COUNTER_POINT, NUMBER_POINTS, SensorModel, observe
from hp_pipeline.simulation.truth import truth_energy

TOLD = (
    COUNTER_POINT,
    *(NUMBER_POINTS[name] for name in ("electrical_power", "flow_rate", "flow_temperature", "return_temperature")),
    NUMBER_POINTS["outdoor_temperature"],
)
COLLAR = timedelta(minutes=5)
"""Of the edges of sessions that are told by temperatures."""
WEEKS = [
    ("daikin_altherma", "humid_defrost", 60.0),
    ("stiebel_hpa", "humid_defrost", 30.0),
    ("daikin_altherma", "april_cycling", 30.0),
    ("novelan_helox", "april_cycling", 60.0),
    ("daikin_altherma", "summer_dhw", 60.0),
    ("stiebel_hpa", "deep_frost", 60.0),
]


@cache
def examined(preset: str, scenario: str, interval_s: float) -> Examined:
    run = SCENARIOS[scenario].run(PRESETS[preset])
    readings = observe(run, SensorModel(interval_s=interval_s, counter_step_kwh=COUNTER_STEP_KWH)).readings
    return examine_readings(run, readings.filter(pl.col("point").is_in(TOLD)), interval_s, metered=True)


def sessions(each: Examined, mode: str) -> EventScore:
    return score_events(*each.events(mode), collar=COLLAR)


def true_and_found(each: Examined, column: str) -> tuple[float, float]:
    return truth_energy(each.run, "all")[column].item(), each.tables["all_time"][column].item()


@pytest.mark.parametrize(("preset", "scenario", "interval_s"), WEEKS)
def test_energies_and_cop_are_as_good_as_with_all_flags(preset: str, scenario: str, interval_s: float) -> None:
    each = examined(preset, scenario, interval_s)
    card = ScoreCard([each])
    assert card.days(ELECTRICITY).worst_percent <= 0.05
    assert card.days(HEAT).worst_percent <= 1.5, "days of summer with two charges; 0.5 % in winter"
    assert abs(card.jaz_error_percent) <= 0.25
    true, found = each.periods("daily")
    cops = true.join(found, on="period", suffix="_found").select("cop", "cop_found")
    assert cops["cop_found"].null_count() == 0 and cops.height >= 6
    assert ((cops["cop_found"] / cops["cop"]) - 1).abs().max() <= 0.015  # type: ignore[operator]


@pytest.mark.parametrize(("preset", "scenario", "interval_s"), WEEKS)
def test_heat_is_booked_to_whom_it_is_for(preset: str, scenario: str, interval_s: float) -> None:
    each = examined(preset, scenario, interval_s)
    true, found = true_and_found(each, "thermal_energy_dhw_kwh")
    assert abs(percent(found, true)) <= 4.0
    true, found = true_and_found(each, "thermal_energy_heating_kwh")
    if true == 0:
        assert found == pytest.approx(0, abs=0.05)
    else:
        assert abs(percent(found, true)) <= 1.5


@pytest.mark.parametrize(("preset", "scenario", "interval_s"), WEEKS)
def test_sessions_are_found(preset: str, scenario: str, interval_s: float) -> None:
    each = examined(preset, scenario, interval_s)
    heating, dhw = sessions(each, "heating"), sessions(each, "dhw")
    # A thermostat that asks for heat through pauses of the compressor is seen by nobody: its sessions fall apart.
    asks = each.run.parameters == DAIKIN_ALTHERMA
    assert heating.f1 >= (0.8 if asks else 0.9), heating
    assert dhw.f1 >= (0.8 if scenario in {"humid_defrost", "deep_frost"} else 0.99), dhw
    confidence = each.tables["sessions"].filter(pl.col("mode") != "standby")["confidence"]
    assert confidence.is_between(0.5, 0.985).all(), "it is never sure"


def test_where_nothing_tells_them_apart_heat_is_heating_at_a_low_confidence() -> None:
    """Radiators of a deep frost are as hot as a tank, and this pump has no speed for either."""
    each = examined("daikin_altherma", "deep_frost", 30.0)
    assert abs(ScoreCard([each]).jaz_error_percent) <= 0.25
    true, found = true_and_found(each, "thermal_energy_heating_kwh")
    assert 0 <= percent(found, true) <= 4.0
    dhw, found = true_and_found(each, "thermal_energy_dhw_kwh")
    assert found < dhw
    heating = each.tables["sessions"].filter(mode="heating")
    assert heating["confidence"].mean() < 0.9  # type: ignore[operator]
