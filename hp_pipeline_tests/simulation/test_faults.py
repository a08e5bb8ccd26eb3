"""Faults: what the log says was done is what a source finds, and nothing else."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from hp_pipeline.simulation.faults import Fault, FaultPlan, FaultyReadings, inject_faults
from hp_pipeline.simulation.house import Trajectory
from hp_pipeline.simulation.sensors import NUMBER_POINTS, observe

NONE = FaultPlan(
    outages=0,
    unavailable=0,
    spikes=0,
    glitches=0,
    sentinels=0,
    frozen=0,
    type_changes=0,
    clock_offsets=0,
    duplicated=0,
    out_of_order=0,
)
KEY = ["point", "time"]


@pytest.fixture(scope="module")
def readings(scenarios: dict[str, Trajectory]) -> pl.DataFrame:
    return observe(scenarios["autumn_clock_change"]).readings


def _only(readings: pl.DataFrame, **plan: Any) -> FaultyReadings:
    spoiled = inject_faults(readings, replace(NONE, **plan))
    assert spoiled.faults.height > 0
    return spoiled


def _inside(frame: pl.DataFrame, fault: dict[str, object]) -> pl.DataFrame:
    inside = frame.filter(pl.col("time").is_between(fault["start"], fault["end"], closed="left"))  # type: ignore[arg-type]
    return inside if fault["point"] is None else inside.filter(pl.col("point") == fault["point"])


def _outside(frame: pl.DataFrame, faults: pl.DataFrame, margin: timedelta = timedelta(0)) -> pl.DataFrame:
    """Readings away from every fault, put right after it included."""
    for fault in faults.iter_rows(named=True):
        near = pl.col("time").is_between(fault["start"] - margin, fault["end"] + margin)
        if fault["point"] is not None:
            near &= pl.col("point") == fault["point"]
        frame = frame.filter(~near)
    return frame.sort(KEY)


def test_without_faults_the_delivery_is_the_readings_in_order_of_time(readings: pl.DataFrame) -> None:
    spoiled = inject_faults(readings, NONE)
    assert spoiled.faults.is_empty()
    assert spoiled.readings["time"].is_sorted()
    assert_frame_equal(spoiled.readings.sort(KEY), readings)


def test_faults_are_deterministic_and_depend_on_the_seed(readings: pl.DataFrame) -> None:
    plan = FaultPlan(missing_fields=1)
    one, same, other = (inject_faults(readings, plan, seed=seed) for seed in (1, 1, 2))
    assert_frame_equal(one.readings, same.readings)
    assert_frame_equal(one.faults, same.faults)
    assert not one.faults.equals(other.faults)
    assert set(one.faults["kind"]) | set(other.faults["kind"]) >= {"outage", "spike", "glitch", "duplicated"}
    assert (one.faults["source"] == "demo_house").all()


@pytest.mark.parametrize("kind", ["outages", "unavailable"])
def test_losses_lose_what_the_log_says(readings: pl.DataFrame, kind: str) -> None:
    spoiled = _only(readings, **{kind: 2.0})
    for fault in spoiled.faults.iter_rows(named=True):
        assert _inside(spoiled.readings, fault).is_empty()
        assert _inside(readings, fault).height == fault["rows"]
    assert spoiled.readings.height + spoiled.faults["rows"].sum() == readings.height
    assert_frame_equal(_outside(spoiled.readings, spoiled.faults), _outside(readings, spoiled.faults))


def test_a_missing_field_never_comes_back(readings: pl.DataFrame) -> None:
    spoiled = _only(readings, missing_fields=1)
    (fault,) = spoiled.faults.iter_rows(named=True)
    own = spoiled.readings.filter(pl.col("point") == fault["point"])
    assert own["time"].max() < fault["start"]
    assert spoiled.readings.height == readings.height - fault["rows"]


@pytest.mark.parametrize("kind", ["spikes", "sentinels"])
def test_wrong_numbers_stand_as_long_as_the_log_says(readings: pl.DataFrame, kind: str) -> None:
    spoiled = _only(readings, **{kind: 4.0})
    for fault in spoiled.faults.iter_rows(named=True):
        wrong = _inside(spoiled.readings, fault)
        assert wrong.height == 1
        assert wrong["time"][0] == fault["start"]
        assert str(wrong["value"][0]) in fault["detail"]
        point = pl.col("point") == fault["point"]
        before = readings.filter(point & (pl.col("time") <= fault["end"]))["value"][-1]
        after = spoiled.readings.filter(point & (pl.col("time") >= fault["end"])).sort("time")
        assert (after["time"][0], after["value"][0]) == (fault["end"], before), "put right"
        assert abs(wrong["value"][0] - before) > 10
    assert_frame_equal(_outside(spoiled.readings, spoiled.faults), _outside(readings, spoiled.faults))


def test_a_glitch_zeroes_target_delta_t_and_outdoor_together(readings: pl.DataFrame) -> None:
    spoiled = _only(readings, glitches=2.0)
    points = [NUMBER_POINTS["delta_t_setpoint"], NUMBER_POINTS["outdoor_temperature"]]
    for fault in spoiled.faults.iter_rows(named=True):
        zero = spoiled.readings.filter((pl.col("time") == fault["start"]) & (pl.col("value") == 0.0))
        assert set(zero["point"]) == set(points)
        right = spoiled.readings.filter((pl.col("time") == fault["end"]) & pl.col("point").is_in(points))
        assert right.height == 2
        assert 5.0 in right["value"]


def test_a_frozen_point_repeats_itself(readings: pl.DataFrame) -> None:
    spoiled = _only(readings, frozen=3.0)
    for fault in spoiled.faults.iter_rows(named=True):
        stuck = _inside(spoiled.readings, fault)
        assert stuck.height == fault["rows"]
        assert stuck["value"].n_unique() == 1
    assert spoiled.readings.height == readings.height


def test_a_type_change_makes_numbers_text(readings: pl.DataFrame) -> None:
    spoiled = _only(readings, type_changes=3.0)
    for fault in spoiled.faults.iter_rows(named=True):
        changed = _inside(spoiled.readings, fault).sort("time")
        assert changed["value"].null_count() == changed.height == fault["rows"]
        assert changed["text"].cast(pl.Float64).to_list() == _inside(readings, fault)["value"].to_list()
    both = spoiled.readings.filter(pl.col("value").is_not_null() & pl.col("text").is_not_null())
    assert both.is_empty()


def test_a_clock_offset_shifts_the_meter_only(readings: pl.DataFrame) -> None:
    spoiled = _only(readings, clock_offsets=1.0)
    moved = spoiled.readings.sort(KEY).join(readings, on=KEY, how="anti")
    assert set(moved["point"]) == {NUMBER_POINTS["electrical_power"]}
    assert moved.height == spoiled.faults["rows"].sum()
    assert spoiled.readings.height == readings.height


def test_duplicates_and_disorder_change_the_order_not_the_readings(readings: pl.DataFrame) -> None:
    doubled = _only(readings, duplicated=2.0)
    assert doubled.readings.height == readings.height + doubled.faults["rows"].sum()
    assert_frame_equal(doubled.readings.unique().sort(KEY), readings)
    shuffled = _only(readings, out_of_order=2.0)
    assert not shuffled.readings["time"].is_sorted()
    assert_frame_equal(shuffled.readings.sort(KEY), readings)
    late = shuffled.readings.filter(pl.col("time") < pl.col("time").cum_max())
    assert _outside(late, shuffled.faults).is_empty()


def test_faults_keep_apart_and_nothing_is_lost_between_them(readings: pl.DataFrame) -> None:
    plan = FaultPlan(sentinels=2, frozen=2, type_changes=2, clock_offsets=1)
    spoiled = inject_faults(readings, plan)
    assert set(spoiled.faults["kind"]) == {kind.value for kind in Fault} - {"missing_field"}
    ordered = spoiled.faults.sort("start")
    assert (ordered["start"][1:] - ordered["end"][:-1] >= timedelta(minutes=2)).all()
    margin = timedelta(seconds=plan.clock_offset_s + 1)
    assert_frame_equal(_outside(spoiled.readings, spoiled.faults, margin), _outside(readings, spoiled.faults, margin))


def test_no_readings_no_faults(readings: pl.DataFrame) -> None:
    spoiled = inject_faults(readings.clear())
    assert spoiled.readings.is_empty()
    assert spoiled.faults.is_empty()
