"""The offset of flow and return sensor, told at standstill, and heat without it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.simulation.sensors import SensorModel, observe
from hp_pipeline.simulation.truth import run_bounds
from hp_pipeline.transforms.operation import compressor_running, operation
from hp_pipeline.transforms.schema import conform
from hp_pipeline.transforms.standstill import OFFSET_DAYS, sensor_offsets, standstills, zeroed
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline_tests.transforms.simulated import days_of, frames_of

RULES = Rules()
DAYS = 4
DAY = timedelta(days=1)
SENSORS = SensorModel(pair_offset_sd_k=0.15)
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)


@cache
def seen(preset: str, scenario: str, interval_s: float, seed: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Frames through sensors with drawn errors, their `operation` and the standstills in them."""
    run = days_of(preset, scenario, DAYS)
    start, end = run_bounds(run)
    frames = frames_of(run, RULES, interval_s, model=SENSORS, seed=seed)
    modes = operation(frames, start, end, RULES, more_follows=False, tells_dhw=False)
    return frames, modes, standstills(frames.with_columns(compressor_running=compressor_running(RULES)), start, end)


def kwh(frames: pl.DataFrame) -> float:
    """Heat of the frames."""
    hours = (pl.col("end") - pl.col("start")).dt.total_microseconds() / 3.6e9
    return float(frames.select((pl.col("thermal_power") * hours).sum() / 1000).item())


@pytest.mark.parametrize("seed", [1, 4])
@pytest.mark.parametrize(
    ("preset", "scenario", "interval_s"),
    [
        ("novelan_helox", "april_cycling", 30.0),
        ("viessmann_vitocal", "humid_defrost", 30.0),
        ("stiebel_hpa", "april_cycling", 60.0),
    ],
)
def test_auto_zero_at_least_halves_the_error_of_the_heat(
    preset: str, scenario: str, interval_s: float, seed: int
) -> None:
    run = days_of(preset, scenario, DAYS)
    frames, modes, found = seen(preset, scenario, interval_s, seed)
    days = [run_bounds(run)[0] + count * DAY for count in range(DAYS)]
    offsets = sensor_offsets(found, "hp", days, None)
    true = run.heat_kw.sum() * run.step_s / 3600
    before = abs(kwh(frames) / true - 1)
    after = abs(kwh(zeroed(frames, modes, offsets, RULES)) / true - 1)
    assert before > 0.01, "the drawn offset is too small to test anything"
    assert after <= before / 2
    # With pauses of half an hour only, a loaded floor still gives 0.04 K: little, but of a small spread.
    assert after <= (0.04 if scenario == "humid_defrost" else 0.01)

    sensors = observe(run, SensorModel(interval_s=interval_s, pair_offset_sd_k=0.15), seed).truth_sensors
    drawn = {name: sensors.filter(signal=name)["offset"].item() for name in ("flow_temperature", "return_temperature")}
    told = offsets["offset_k"][-1]
    assert told == pytest.approx(
        drawn["flow_temperature"] - drawn["return_temperature"], abs=0.05 if scenario == "humid_defrost" else 0.03
    )
    assert offsets["spread_k"][-1] < 0.03


def test_a_standstill_begins_when_nothing_has_heated_for_20_minutes() -> None:
    frames, modes, found = seen("novelan_helox", "april_cycling", 30.0, 1)
    ran = modes.filter("compressor_running")["start"]
    for start, end in found.select("start", "end").iter_rows():
        assert ran.filter((ran > start - timedelta(minutes=20)) & (ran < end)).is_empty()
        within = frames.filter(pl.col("start") >= start, pl.col("start") < end)
        assert within["flow_rate"].min() > 60  # type: ignore[operator]
        assert start.date() == (end - timedelta(microseconds=1)).date()
        assert end - start >= timedelta(minutes=5)
    assert found.height > 5
    rest = modes.filter("at_rest")
    assert not rest["compressor_running"].any() and not rest["defrost"].any()


def test_where_no_water_flows_at_rest_there_is_no_offset_and_nothing_is_changed() -> None:
    """This machine stops its pump with its compressor."""
    frames, modes, found = seen("daikin_altherma", "humid_defrost", 30.0, 1)
    offsets = sensor_offsets(found, "hp", [frames["start"][0].replace(hour=0, minute=0, second=0)], None)
    assert offsets["offset_k"].to_list() == [None]
    assert offsets["applied"].to_list() == [False]
    assert offsets["offset_reason"].str.contains("only .* standstills in 30 days").all()
    assert zeroed(frames, modes, offsets, RULES).equals(frames)


def test_without_the_owners_word_it_is_shown_and_not_applied() -> None:
    frames, modes, found = seen("novelan_helox", "april_cycling", 30.0, 1)
    day = run_bounds(days_of("novelan_helox", "april_cycling", DAYS))[0] + DAY
    offsets = sensor_offsets(found, "hp", [day], "the settings do not say auto_zero")
    assert offsets["offset_k"].null_count() == 0
    assert offsets.select("applied", "offset_reason").rows() == [(False, "the settings do not say auto_zero")]
    assert zeroed(frames, modes, offsets, RULES).equals(frames)


def test_a_window_gives_the_standstills_of_the_whole() -> None:
    frames, _, found = seen("novelan_helox", "april_cycling", 30.0, 1)
    running = frames.with_columns(compressor_running=compressor_running(RULES))
    start = run_bounds(days_of("novelan_helox", "april_cycling", DAYS))[0]
    alone = []
    for count in range(DAYS):
        first, last = start + count * DAY, start + (count + 1) * DAY
        near = running.filter(pl.col("start") >= first - timedelta(hours=4), pl.col("start") < last)
        alone.append(standstills(near, first, last))
    assert pl.concat(alone).equals(found)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 80), st.integers(0, 23), st.floats(-2, 2)), max_size=40, unique_by=lambda x: x[:2]
    ),
    st.integers(0, 80),
    st.randoms(use_true_random=False),
)
def test_an_offset_is_the_median_of_thirty_days_in_any_order(
    told: list[tuple[int, int, float]], day: int, random
) -> None:  # type: ignore[no-untyped-def]
    def table(rows: list[tuple[int, int, float]]) -> pl.DataFrame:
        starts = [NEW_YEAR + timedelta(days=of, hours=hour) for of, hour, _ in rows]
        return conform(
            pl.DataFrame(
                {"start": starts, "offset_k": [offset for *_, offset in rows]},
                schema_overrides={"start": pl.Datetime("us", "UTC"), "offset_k": pl.Float64()},
            ),
            "standstills",
        )

    wanted = [NEW_YEAR + timedelta(days=day)]
    row = sensor_offsets(table(told), "hp", wanted, None).row(0, named=True)
    near = sorted(offset for of, _, offset in told if day - OFFSET_DAYS < of <= day)
    assert row["standstills_in_all"] == len(near)
    assert row["standstills"] == sum(of == day for of, *_ in told)
    if len(near) >= 3:
        middle = len(near) // 2
        assert row["offset_k"] == pytest.approx((near[middle] + near[-middle - 1]) / 2)
    else:
        assert row["offset_k"] is None and row["offset_reason"]
    shuffled = random.sample([entry for entry in told if entry[0] <= day], k=sum(of <= day for of, *_ in told))
    assert sensor_offsets(table(shuffled), "hp", wanted, None).row(0, named=True) == row
