"""Weather: a function of the moment, inside the range of German test reference years."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from hp_pipeline.simulation.weather import Climate, Weather, simulate_weather

JANUARY = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def year() -> Weather:
    return simulate_weather(JANUARY, datetime(2025, 1, 1, tzinfo=UTC), step_s=60, seed=2)


def test_the_same_moment_has_the_same_weather_whatever_the_window(year: Weather) -> None:
    start = datetime(2024, 9, 3, 7, tzinfo=UTC)
    part = simulate_weather(start, start + timedelta(days=30), step_s=60, seed=2)
    offset = (part.start_s - year.start_s) // 60
    for name in ("outdoor_temperature_c", "humidity_ratio_kg_per_kg", "global_irradiance_w_per_m2"):
        np.testing.assert_allclose(getattr(part, name), getattr(year, name)[offset : offset + part.steps], atol=1e-9)


def test_the_step_does_not_change_the_weather() -> None:
    coarse = simulate_weather(JANUARY, JANUARY + timedelta(days=2), step_s=60, seed=3)
    fine = simulate_weather(JANUARY, JANUARY + timedelta(days=2), step_s=10, seed=3)
    np.testing.assert_allclose(fine.outdoor_temperature_c[::6], coarse.outdoor_temperature_c, atol=1e-9)


def test_a_window_may_be_given_in_any_zone_and_ends_exclusively() -> None:
    zone = timezone(timedelta(hours=2))
    part = simulate_weather(JANUARY.astimezone(zone), (JANUARY + timedelta(hours=1)).astimezone(zone), step_s=30)
    assert part.start_s == JANUARY.timestamp()
    assert part.steps == 120
    assert part.unix_s[-1] == JANUARY.timestamp() + 3570


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_year_lies_in_the_range_of_the_test_reference_years(seed: int) -> None:
    weather = simulate_weather(JANUARY, datetime(2025, 1, 1, tzinfo=UTC), step_s=600, seed=seed)
    outdoor = weather.outdoor_temperature_c
    daily = outdoor.reshape(-1, 144).mean(axis=1)
    icing = (outdoor > -3) & (outdoor < 4)
    assert 7.4 < outdoor.mean() < 11.4
    assert 1900 < np.clip(15 - daily, 0, None).sum() < 3000
    assert 1250 < icing.sum() / 6 < 2450
    assert 73 < weather.relative_humidity_percent.mean() < 83
    assert 80 < weather.relative_humidity_percent[icing].mean() < 90
    assert weather.relative_humidity_percent.max() <= 100
    assert 940 < weather.global_irradiance_w_per_m2.sum() / 6000 < 1140
    assert (weather.global_irradiance_w_per_m2 >= 0).all()
    assert (weather.south_irradiance_w_per_m2 >= 0).all()


def test_seeds_and_climates_differ(year: Weather) -> None:
    other = simulate_weather(JANUARY, JANUARY + timedelta(days=9), step_s=60, seed=5)
    assert np.abs(other.outdoor_temperature_c - year.outdoor_temperature_c[: other.steps]).max() > 3
    cold = simulate_weather(JANUARY, JANUARY + timedelta(days=9), step_s=60, seed=5, climate=Climate(mean_c=0.0))
    np.testing.assert_allclose(cold.outdoor_temperature_c, other.outdoor_temperature_c - 9.9, atol=1e-9)


def test_what_cannot_be_simulated_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="time zone"):
        simulate_weather(datetime(2024, 1, 1), JANUARY)
    with pytest.raises(ValueError, match="must lie after"):
        simulate_weather(JANUARY, JANUARY)
    with pytest.raises(ValueError, match="use 5, 10"):
        simulate_weather(JANUARY, JANUARY + timedelta(days=1), step_s=45)
