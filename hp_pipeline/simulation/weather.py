"""Synthetic, seeded weather of a temperate climate: outdoor temperature, humidity and sunshine.

The weather is a function of the moment, not of the window that was asked for: every random series lives on an
absolute time axis, so 60 days that end today and the calendar year agree wherever they overlap.

The climate is tuned to six German test reference years (TRY2010, regions 4, 5, 7, 12, 13, 15): annual mean
7.4 … 11.1 °C, 2000 … 2900 heating degree days below 15 °C, 1400 … 2400 hours between -3 and 4 °C (the hours that
ice an evaporator), relative humidity 80 … 89 % in them, 960 … 1110 kWh/m² of sunshine a year.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

GRID_S: Final = 600
"""Spacing of the base grid; in between, everything is interpolated linearly."""
SECONDS_PER_YEAR: Final = 365.25 * 86_400
AIR_PRESSURE_PA: Final = 100_500.0


class _Series(IntEnum):
    """Names of the independent random series; the number is part of the seed."""

    ANOMALY = 1
    SYNOPTIC = 2
    CLEARNESS = 3
    GUST = 4
    DEW_POINT = 5


@dataclass(frozen=True)
class Climate:
    """What the weather does on average and how much it varies.

    All temperatures in °C, spreads in K (one standard deviation), correlation times in days.
    """

    mean_c: float = 9.9
    """Mean outdoor temperature of the year."""
    seasonal_amplitude_k: float = 9.2
    """Half the distance between the mid-July and the mid-January mean."""
    anomaly_k: float = 0.8
    """Spread of weeks-long departures (a mild November)."""
    anomaly_days: float = 25.0
    synoptic_k: float = 3.9
    """Spread of highs and lows passing through."""
    synoptic_days: float = 3.2
    clearness_days: float = 1.1
    clearness_bias: float = -0.25
    """Logit of the clear share of the sky in spring; lower is more overcast."""
    dew_point_depression_k: float = 2.2
    """How far the dew point stays below the day's temperature under an overcast sky; lower is more humid."""
    latitude_deg: float = 49.5
    longitude_deg: float = 8.5


@dataclass(frozen=True)
class Weather:
    """Weather on a regular grid of `step_s` seconds; all arrays have the same length.

    `start_s` is the first step in unix seconds (UTC); a value holds for the step that begins there.
    """

    start_s: int
    step_s: int
    outdoor_temperature_c: FloatArray
    relative_humidity_percent: FloatArray
    humidity_ratio_kg_per_kg: FloatArray
    global_irradiance_w_per_m2: FloatArray
    south_irradiance_w_per_m2: FloatArray
    """On a vertical wall that looks south: what warms a room through its windows."""

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.outdoor_temperature_c)

    @property
    def unix_s(self) -> IntArray:
        """Begin of every step in unix seconds."""
        return self.start_s + np.arange(self.steps, dtype=np.int64) * self.step_s


def _white_noise(seed: int, series: _Series, spacing_s: int, first: int, last: int) -> FloatArray:
    """Standard normal values at the absolute nodes first … last (node k lies at k * spacing_s after 1970).

    Drawn in blocks of 1024 nodes, each from its own seed, so that a value depends on (seed, series, node) alone.
    """
    size = 1024
    blocks = [
        np.random.default_rng((seed, int(series), spacing_s, block)).standard_normal(size)
        for block in range(first // size, last // size + 1)
    ]
    offset = first - (first // size) * size
    return np.concatenate(blocks)[offset : offset + last - first + 1]


def _correlated_noise(seed: int, series: _Series, correlation_s: float, unix_s: FloatArray) -> FloatArray:
    """Noise of unit variance whose correlation falls with exp(-age / correlation_s), at the given times.

    An AR(1) process written as a finite moving average over its last eight correlation times, which makes it
    independent of where it is started (what is cut off is exp(-8), 0.03 %).
    """
    spacing_s = max(GRID_S, int(correlation_s / 40 // GRID_S) * GRID_S)
    decay = math.exp(-spacing_s / correlation_s)
    taps = math.ceil(8 * correlation_s / spacing_s)
    kernel = decay ** np.arange(taps)
    kernel /= math.sqrt(float(np.sum(kernel**2)))
    first = int(unix_s[0] // spacing_s)
    last = int(unix_s[-1] // spacing_s) + 1
    white = _white_noise(seed, series, spacing_s, first - taps + 1, last)
    nodes = np.convolve(white, kernel, mode="valid")
    return np.interp(unix_s, np.arange(first, last + 1) * float(spacing_s), nodes)


def saturation_pressure_pa(temperature_c: FloatArray) -> FloatArray:
    """Saturation pressure of water vapour over water in Pa (Magnus formula, Alduchov and Eskridge 1996)."""
    return 610.94 * np.exp(17.625 * temperature_c / (temperature_c + 243.04))


def humidity_ratio_kg_per_kg(vapour_pressure_pa: FloatArray) -> FloatArray:
    """Mass of vapour per mass of dry air at the pressure of a place about 100 m above the sea."""
    return 0.622 * vapour_pressure_pa / (AIR_PRESSURE_PA - vapour_pressure_pa)


def _sun(unix_s: FloatArray, climate: Climate) -> tuple[FloatArray, FloatArray]:
    """Sine of the sun's elevation, and cosine of its angle to a vertical south wall (Cooper 1969 declination)."""
    day = (unix_s % SECONDS_PER_YEAR) / 86_400
    solar_hour = (unix_s / 3600 + climate.longitude_deg / 15) % 24
    declination = np.deg2rad(23.45) * np.sin(2 * np.pi * (284 + day) / 365.25)
    latitude = math.radians(climate.latitude_deg)
    hour_angle = np.pi * (solar_hour - 12) / 12
    elevation = math.sin(latitude) * np.sin(declination) + math.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    south = math.sin(latitude) * np.cos(declination) * np.cos(hour_angle) - math.cos(latitude) * np.sin(declination)
    return elevation, south


def simulate_weather(
    start: datetime, stop: datetime, *, step_s: int = 30, seed: int = 1, climate: Climate | None = None
) -> Weather:
    """The weather of [start, stop) on a grid of `step_s` seconds.

    Both times must know their zone. The same seed, climate and moment give the same weather, whatever the window.
    Sunshine: clear sky after Haurwitz (1945), 1098 sin(h) exp(-0.057 / sin(h)) W/m², times 0.22 … 1.

    Raises ValueError if a time is naive, the window is empty, or the step does not divide ten minutes.
    """
    if start.tzinfo is None or stop.tzinfo is None:
        raise ValueError("the weather needs a start and a stop with a time zone; add one, e.g. datetime.UTC")
    if stop <= start:
        raise ValueError(f"the weather's stop ({stop}) must lie after its start ({start})")
    if step_s <= 0 or GRID_S % step_s:
        raise ValueError(f"a step of {step_s} s does not divide {GRID_S} s; use 5, 10, 15, 20, 30 or 60")
    climate = climate or Climate()
    start_s = int(start.timestamp()) // step_s * step_s
    stop_s = int(stop.timestamp())
    grid = np.arange(start_s // GRID_S, stop_s // GRID_S + 2, dtype=np.float64) * GRID_S

    season = np.cos(2 * np.pi * ((grid % SECONDS_PER_YEAR) / 86_400 - 199) / 365.25)
    anomaly = _correlated_noise(seed, _Series.ANOMALY, climate.anomaly_days * 86_400, grid)
    synoptic = _correlated_noise(seed, _Series.SYNOPTIC, climate.synoptic_days * 86_400, grid)
    clearness = _correlated_noise(seed, _Series.CLEARNESS, climate.clearness_days * 86_400, grid)
    gust = _correlated_noise(seed, _Series.GUST, 5_400, grid)
    dew_noise = _correlated_noise(seed, _Series.DEW_POINT, 36_000, grid)

    clear = 1 / (1 + np.exp(-(1.1 * clearness + 0.5 * season + climate.clearness_bias)))
    elevation, south = _sun(grid, climate)
    above = np.clip(elevation, 0.0, None)
    cloud_factor = 0.22 + 0.78 * clear
    global_irradiance = 1098 * above * np.exp(-0.057 / np.maximum(above, 0.01)) * cloud_factor
    # Beam share rises with a clear sky; a low sun sees little of it through the haze.
    beam = global_irradiance * 0.85 * clear * np.clip(above / 0.15, 0.0, 1.0)
    south_irradiance = beam * np.clip(south, 0.0, None) / np.maximum(above, 0.15) + (global_irradiance - beam) / 2

    slow = (
        climate.mean_c
        + climate.seasonal_amplitude_k * season
        + climate.anomaly_k * anomaly
        + (climate.synoptic_k + 0.3 - 0.7 * season) * synoptic
    )
    solar_hour = (grid / 3600 + climate.longitude_deg / 15) % 24
    swing = (1.2 + 5.6 * clear * (0.62 + 0.38 * season)) * np.cos(2 * np.pi * (solar_hour - 15) / 24)
    radiative_cooling = 2.6 * clear * np.clip(0.2 - season, 0.0, 1.0)
    outdoor = slow + swing - radiative_cooling + 0.35 * gust

    depression = climate.dew_point_depression_k + 5.6 * clear * (0.62 + 0.38 * season)
    dew_point = np.minimum(slow - depression + 0.7 * dew_noise, outdoor - 0.15)
    vapour = saturation_pressure_pa(dew_point)

    steps = (stop_s - start_s + step_s - 1) // step_s
    at = start_s + np.arange(steps, dtype=np.float64) * step_s

    def on_steps(series: FloatArray) -> FloatArray:
        return np.interp(at, grid, series)

    return Weather(
        start_s=start_s,
        step_s=step_s,
        outdoor_temperature_c=on_steps(outdoor),
        relative_humidity_percent=on_steps(100 * vapour / saturation_pressure_pa(outdoor)),
        humidity_ratio_kg_per_kg=on_steps(humidity_ratio_kg_per_kg(vapour)),
        global_irradiance_w_per_m2=on_steps(global_irradiance),
        south_irradiance_w_per_m2=on_steps(south_irradiance),
    )
