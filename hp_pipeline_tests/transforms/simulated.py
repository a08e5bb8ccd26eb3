"""Frames of simulated houses, straight from the sensors, beside what is true."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from functools import cache

import polars as pl

from hp_pipeline.simulation.house import Trajectory, simulate
from hp_pipeline.simulation.parameters import PRESETS
from hp_pipeline.simulation.scenarios import SCENARIOS, SETTLING
from hp_pipeline.simulation.sensors import SensorModel, observe
from hp_pipeline.simulation.truth import run_bounds, truth_states
from hp_pipeline.simulation.weather import simulate_weather
from hp_pipeline.transforms.decode import decode
from hp_pipeline.transforms.frames import build_frames
from hp_pipeline.vocabulary.profiles import load_profile
from hp_pipeline.vocabulary.rules import Rules

PROFILE = "espaltherma_home_assistant"


@cache
def days_of(preset: str, scenario: str, days: int) -> Trajectory:
    """The first days of a golden scenario in one of the houses, at 10 s."""
    chosen = SCENARIOS[scenario]
    weather = simulate_weather(
        chosen.start - SETTLING,
        chosen.start + timedelta(days=days),
        step_s=chosen.step_s,
        seed=chosen.seed,
        climate=chosen.climate,
    )
    return simulate(PRESETS[preset], weather, chosen.seed, settling=SETTLING)


def frames_of(
    run: Trajectory,
    rules: Rules,
    interval_s: float = 30.0,
    without: Iterable[str] = (),
    model: SensorModel | None = None,
    seed: int = 11,
) -> pl.DataFrame:
    """Table `frames` of a run whose sensors were polled, without some of the signals."""
    readings = observe(run, replace(model or SensorModel(), interval_s=interval_s), seed).readings
    profile = load_profile(PROFILE, dict.fromkeys(without))
    start, end = run_bounds(run)
    own = replace(rules, frame_interval=timedelta(seconds=interval_s))
    return build_frames(decode([(readings, profile)]), dict(profile.mappings), "hp", start, end, own, False)


def beside_truth(frames: pl.DataFrame, run: Trajectory) -> pl.DataFrame:
    """The frames with `true_mode`, `true_defrost` and `true_state` at their begin, and their `hours`."""
    truth = truth_states(run).select(
        time=pl.col("time").dt.cast_time_unit("us"), true_mode="mode", true_defrost="defrost", true_state="state"
    )
    hours = (pl.col("end") - pl.col("start")).dt.total_microseconds() / 3.6e9
    return frames.join_asof(truth, left_on="start", right_on="time").with_columns(hours=hours)
