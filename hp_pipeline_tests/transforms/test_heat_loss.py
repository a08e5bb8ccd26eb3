"""Degree days and the heat loss line: houses of known loss, lines with noise, and days that bear no line."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.simulation.house import Operation, simulate
from hp_pipeline.simulation.parameters import PRESETS
from hp_pipeline.simulation.weather import simulate_weather
from hp_pipeline.transforms import heat_loss
from hp_pipeline.vocabulary.rules import Rules

RULES = Rules()
DAY = timedelta(days=1)
AUTUMN = datetime(2023, 10, 15, tzinfo=UTC)


def daily(outdoor: list[float], heat_w: list[float], room: float | None = None, **changed: float) -> pl.DataFrame:
    """Rows of `daily` as the heat loss reads them: days of 24 h."""
    count = len(outdoor)
    columns: dict[str, object] = {
        "heat_pump": ["hp"] * count,
        "start": [AUTUMN + place * DAY for place in range(count)],
        "end": [AUTUMN + (place + 1) * DAY for place in range(count)],
        "period": [f"{AUTUMN + place * DAY:%Y-%m-%d}" for place in range(count)],
        "local_start": [""] * count,
        "outdoor_temperature_mean": outdoor,
        "outdoor_temperature_s": [86_400.0] * count,
        "room_temperature_mean": pl.Series([room] * count, dtype=pl.Float64),
        "thermal_energy_heating_kwh": [power * 24 / 1000 for power in heat_w],
        "thermal_coverage": [1.0] * count,
    }
    columns |= {name: [value] * count for name, value in changed.items()}
    return pl.DataFrame(columns, schema_overrides={"start": pl.Datetime("us", "UTC"), "end": pl.Datetime("us", "UTC")})


@cache
def winter(preset: str, sun: bool) -> pl.DataFrame:
    """`degree_days` of a simulated winter of 110 days, from true daily means."""
    house = PRESETS[preset]
    if not sun:
        house = replace(house, building=replace(house.building, south_window_m2=0.0))
    weather = simulate_weather(AUTUMN - 3 * DAY, AUTUMN + 110 * DAY, step_s=60, seed=2)
    run = simulate(house, weather, settling=3 * DAY)

    def means(series: np.ndarray) -> list[float]:  # type: ignore[type-arg]
        return [float(mean) for mean in series[: 110 * 1440].reshape(110, 1440).mean(1)]

    heat = np.where(run.operation == Operation.HEATING, run.heat_kw * 1000, 0.0)
    rows = daily(means(run.outdoor_temperature_c), means(heat))
    rows = rows.with_columns(room_temperature_mean=pl.Series(means(run.room_temperature_c)))
    return heat_loss.degree_days(rows, RULES)


@pytest.mark.parametrize("preset", ["daikin_altherma", "novelan_helox"])
def test_the_heat_loss_of_a_house_without_sun_is_its_own(preset: str) -> None:
    own = PRESETS[preset].building.loss_kw_per_k * 1000
    found = heat_loss.heat_loss(winter(preset, sun=False))
    assert found["heat_loss_reason"] is None and found["days"] > 80
    assert found["heat_loss_room_w_per_k"] == pytest.approx(own, rel=0.08)
    # Against the outdoor temperature alone the room's own ups and downs are in it.
    assert found["heat_loss_w_per_k"] == pytest.approx(own, rel=0.2)
    assert found["heat_loss_low_w_per_k"] < found["heat_loss_w_per_k"] < found["heat_loss_high_w_per_k"]
    assert found["base_temperature_low"] < found["base_temperature"] < found["base_temperature_high"]
    # 0.38 kW of people and appliances warm the house by 2 … 3 K.
    assert 16 < found["base_temperature"] < 20


def test_sun_makes_the_line_steeper_and_its_base_lower() -> None:
    dark, sunny = (heat_loss.heat_loss(winter("novelan_helox", sun)) for sun in (False, True))
    assert 1.0 < sunny["heat_loss_w_per_k"] / dark["heat_loss_w_per_k"] < 1.2
    assert sunny["base_temperature"] < dark["base_temperature"]


def line(outdoor: np.ndarray, noise: np.ndarray, slope: float = 160.0, base: float = 16.0) -> pl.DataFrame:  # type: ignore[type-arg]
    """`degree_days` of days on a line."""
    heat = np.clip(slope * (base - outdoor) + noise, 0, None)
    return heat_loss.degree_days(daily(outdoor.tolist(), heat.tolist()), RULES)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Days that follow each other are alike, in their weather and in what they are off by."""
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        outdoor, noise = np.zeros(120), np.zeros(120)
        for day in range(1, 120):
            outdoor[day] = 0.8 * outdoor[day - 1] + rng.normal(0, 2.4)
            noise[day] = 0.4 * noise[day - 1] + rng.normal(0, 150)
        found = heat_loss.heat_loss(line(outdoor + 4, noise))
        held += found["heat_loss_low_w_per_k"] <= 160 <= found["heat_loss_high_w_per_k"]
    assert held >= 0.88 * 60
    assert held <= 60


def test_odd_days_do_not_move_it() -> None:
    rng = np.random.default_rng(3)
    outdoor = rng.normal(4, 5, 100)
    noise = rng.normal(0, 100, 100)
    plain = heat_loss.heat_loss(line(outdoor, noise))
    noise[::9] += 4000.0  # guests, a party, a window left open
    odd = heat_loss.heat_loss(line(outdoor, noise))
    assert odd["heat_loss_w_per_k"] == pytest.approx(plain["heat_loss_w_per_k"], rel=0.05)
    assert plain["heat_loss_w_per_k"] == pytest.approx(160, rel=0.05)
    assert plain["base_temperature"] == pytest.approx(16, abs=0.7)
    assert plain["heat_at_minus_10_w"] == pytest.approx(160 * 26, rel=0.05)
    assert plain["spread_w"] == pytest.approx(100, rel=0.35)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (daily([], []), "only 0 days known"),
        (
            daily([float(place) for place in range(-9, 10)], [100.0 * (16 - place) for place in range(-9, 10)]),
            "only 19",
        ),
        (daily([5 + place % 7 for place in range(40)], [1500.0 + place for place in range(40)]), "6 K apart"),
        (daily([place % 20 for place in range(40)], [100.0 * (5 + place % 20) for place in range(40)]), "no more heat"),
        (daily([place % 20 for place in range(40)], [2000.0] * 40, thermal_coverage=0.5), "only 0 days known"),
        (
            daily([place % 20 for place in range(40)], [2000.0] * 40, outdoor_temperature_s=40_000.0),
            "only 0 days known",
        ),
    ],
)
def test_days_that_bear_no_line_have_none(rows: pl.DataFrame, reason: str) -> None:
    found = heat_loss.heat_loss(heat_loss.degree_days(rows, RULES))
    assert found.get("heat_loss_w_per_k") is None
    assert reason in found["heat_loss_reason"]


def test_degree_days_of_days_with_23_24_and_25_hours() -> None:
    rows = daily([5.0, 5.0, 5.0, 15.0, 14.0, 5.0], [0.0] * 6).with_columns(
        end=pl.col("start") + pl.Series([timedelta(hours=hours) for hours in (24, 23, 25, 24, 24, 24)]),
        outdoor_temperature_s=pl.Series([86_400.0, 82_800.0, 90_000.0, 86_400.0, 86_400.0, 70_000.0]),
    )
    found = heat_loss.degree_days(rows, RULES)
    assert found["heating_degree_days"].to_list() == pytest.approx([10, 10 * 23 / 24, 10 * 25 / 24, 0, 1, None])
    assert found["degree_day_number"].to_list() == pytest.approx([15, 15 * 23 / 24, 15 * 25 / 24, 0, 6, None])
    assert found["degree_days_reason"].to_list()[:5] == [None] * 5
    assert "only 81 % of the day" in found["degree_days_reason"][5]
    warmer = heat_loss.degree_days(rows, replace(RULES, degree_day_limit_c=12.0, degree_day_room_c=19.0))
    assert warmer["heating_degree_days"].to_list()[3:5] == [0, 0]
    assert warmer["degree_day_number"][0] == pytest.approx(14)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(1, 139), max_size=4), st.randoms(use_true_random=False))
def test_bins_of_seasons_merge_in_any_order_and_give_about_the_same_line(seed: int, cuts: list[int], random) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    days = line(rng.normal(3, 5, 140), rng.normal(0, 120, 140))
    edges = [0, *sorted(cuts), 140]
    parts = [heat_loss.heat_loss_bins(days[first:last]) for first, last in pairwise(edges)]
    whole = heat_loss.heat_loss_bins(days)
    random.shuffle(parts)
    merged = heat_loss.merged_bins(parts)
    assert merged.equals(whole.select(merged.columns))
    found = heat_loss.heat_loss_of_bins(merged)
    assert found["heat_loss_w_per_k"] == pytest.approx(160, rel=0.12)
    assert found["heat_loss_low_w_per_k"] <= found["heat_loss_w_per_k"] <= found["heat_loss_high_w_per_k"]
