"""Heat by modulation and by flow rate × spread: recorded devices' numbers, and what a window bears."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms.performance import performance_5min
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.rules import Rules

START = datetime(2026, 1, 22, 10, tzinfo=UTC)
RULES = Rules()


def windows(
    frames: list[dict[str, Any]], rated_power_kw: float | None = None, seconds: int = 60
) -> list[dict[str, Any]]:
    """Frames one after the other (`runs` and `mode` told of each) → the rows of the table."""
    rows = [
        {
            "heat_pump": "hp",
            "start": START + timedelta(seconds=seconds * i),
            "end": START + timedelta(seconds=seconds * (i + 1)),
            "mode": "heating",
            "compressor_running": True,
            "defrost": False,
            **frame,
        }
        for i, frame in enumerate(frames)
    ]
    table = pl.DataFrame(rows, infer_schema_length=None)
    found = performance_5min(conform(table, "frames"), conform(table, "operation"), rated_power_kw, RULES)
    return found.to_dicts()


def test_full_modulation_is_the_rated_power() -> None:
    """A recorded Vitocal 300-G: 100 % of 12 kW."""
    (found,) = windows([{"compressor_modulation": 100.0, "electrical_power": 2500.0}] * 5, 12.0)
    assert found["thermal_power_modulation_mean"] == pytest.approx(12_000.0)
    assert found["cop_modulation"] == pytest.approx(4.8) and found["cop_modulation_reason"] is None
    assert found["cop_delta_t"] is None and found["cop_delta_t_reason"] == "heat or electricity is not known"
    assert found["thermal_power_delta_t_mean"] is None


@pytest.mark.parametrize("other", [{"mode": "cooling"}, {"defrost": True}, {"mode": "standby"}])
def test_the_rated_power_says_nothing_of_what_is_no_heating(other: dict[str, Any]) -> None:
    told = {"compressor_modulation": 50.0, "electrical_power": 1000.0, "flow_rate": 900.0, "delta_t": -5.0}
    (found,) = windows([{**told, **other}] * 5, 8.0)
    assert found["thermal_power_modulation_mean"] is None and found["cop_modulation"] is None
    assert found["cop_modulation_reason"] == "heat or electricity is not known"
    assert found["thermal_power_delta_t_mean"] < 0 and found["cop_delta_t_reason"] == "no heat given"
    (partly,) = windows([{**told, "delta_t": 5.0}] * 4 + [{**told, **other}], 8.0)
    assert partly["modulation_s"] == 240 and partly["delta_t_s"] == 300
    assert partly["cop_modulation"] == pytest.approx(4.0), "of the time in which it heats"


@pytest.mark.parametrize("mode", ["heating", "dhw", None])
def test_a_compressor_that_runs_for_nobody_knows_what_heats(mode: str | None) -> None:
    (found,) = windows([{"compressor_modulation": 50.0, "electrical_power": 1000.0, "mode": mode}] * 5, 8.0)
    assert found["cop_modulation"] == pytest.approx(4.0)


def test_flow_rate_and_spread_make_heat() -> None:
    """A recorded Vitocal 252-A: 970 l/h from 39.3 to 43.2 °C with 1508 W."""
    frame = {"flow_rate": 970.0, "delta_t": 3.9, "electrical_power": 1508.0, "flow_temperature": 43.2}
    (found,) = windows([frame] * 5, 12.0)
    assert found["thermal_power_delta_t_mean"] == pytest.approx(970 * 1.163 * 3.9, rel=1e-4)
    assert found["cop_delta_t"] == pytest.approx(2.917, abs=0.001)
    assert found["cop_modulation"] is None, "no modulation is told"


def test_electricity_is_averaged_over_the_window() -> None:
    """A compressor that cycles within the window: heat and electricity of the window, no mean of ratios."""
    on = {"compressor_modulation": 50.0, "electrical_power": 1800.0}
    off = {"compressor_modulation": 0.0, "electrical_power": 300.0, "compressor_running": False, "mode": "standby"}
    (found,) = windows([on, on, off, off, on], 10.0)
    assert found["running_s"] == 180 and found["mode"] == "heating"
    assert found["electrical_power_mean"] == pytest.approx(1200)
    assert found["thermal_power_modulation_mean"] == pytest.approx(3000)
    assert found["cop_modulation"] == pytest.approx(2.5)


def test_only_windows_in_which_it_ran_have_a_row() -> None:
    on = {"compressor_modulation": 50.0, "electrical_power": 1500.0}
    off = {"compressor_modulation": 0.0, "electrical_power": 15.0, "compressor_running": False}
    found = windows([*[off] * 5, *[on] * 5, *[off] * 5], 10.0)
    assert [row["start"] for row in found] == [START + timedelta(minutes=5)]
    assert windows([on] * 5) == [], "without a rated power the modulation tells nothing"
    dhw = {**on, "mode": "dhw"}
    assert windows([on, on, dhw, dhw, dhw], 10.0)[0]["mode"] is None


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([{"electrical_power": None}] * 3 + [{}] * 2, "known for only 40 % of the time"),
        ([{"electrical_power": 100.0}] * 5, "less than 150.0 W of electricity"),
        ([{"delta_t": -4.0}] * 5, "no heat given"),
        ([{"delta_t": 30.0}] * 5, "above the Carnot limit"),
    ],
)
def test_what_a_window_does_not_bear_has_a_reason(frames: list[dict[str, Any]], reason: str) -> None:
    told = {"flow_rate": 1000.0, "delta_t": 4.0, "electrical_power": 1200.0, "flow_temperature": 45.0}
    (found,) = windows([{**told, "outdoor_temperature": 0.0, **frame} for frame in frames])
    assert found["cop_delta_t"] is None and found["cop_delta_t_reason"] == reason


frame = st.fixed_dictionaries(
    {
        "electrical_power": st.one_of(st.none(), st.floats(-20, 5000)),
        "compressor_modulation": st.one_of(st.none(), st.floats(0, 120)),
        "flow_rate": st.one_of(st.none(), st.floats(0, 3000)),
        "delta_t": st.one_of(st.none(), st.floats(-10, 20)),
        "flow_temperature": st.one_of(st.none(), st.floats(15, 65)),
        "outdoor_temperature": st.one_of(st.none(), st.floats(-20, 30)),
        "compressor_running": st.sampled_from([True, False, None]),
    }
)


@settings(max_examples=40, deadline=None)
@given(st.lists(frame, min_size=1, max_size=30))
def test_a_cop_is_positive_and_below_carnot_or_has_a_reason(frames: list[dict[str, Any]]) -> None:
    for row in windows(frames, 9.0):
        for method in ("modulation", "delta_t"):
            cop, reason = row[f"cop_{method}"], row[f"cop_{method}_reason"]
            assert (cop is None) == (reason is not None)
            if cop is None:
                continue
            assert 0 < cop < float("inf")
            flow, outdoor = row["flow_temperature_mean"], row["outdoor_temperature_mean"]
            if flow is not None and outdoor is not None:
                assert cop <= (flow + 273.15) / max(flow - outdoor, 1.0) + 1e-9
