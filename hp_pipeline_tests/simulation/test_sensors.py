"""Sensors: the recorded installation's names and habits, and energies that survive them."""

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from hp_pipeline.simulation.house import Trajectory
from hp_pipeline.simulation.sensors import (
    NUMBER_POINTS,
    READINGS_SCHEMA,
    TEXT_POINTS,
    PowerReport,
    SensorModel,
    observe,
)
from hp_pipeline.simulation.truth import run_bounds, truth_energy
from hp_pipeline.vocabulary.profiles import load_profile

RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "daikin_home_assistant"
POWER = NUMBER_POINTS["electrical_power"]


def _held_kwh(run: Trajectory, readings: pl.DataFrame, point: str) -> float:
    """Energy of a power in W that is held from each reading to the next, and to the run's end."""
    own = readings.filter(pl.col("point") == point).sort("time")
    held = pl.col("time").shift(-1).fill_null(run_bounds(run)[1]) - pl.col("time")
    return float(own.select((pl.col("value") * held.dt.total_microseconds()).sum() / 3.6e12).item())


def test_readings_keep_the_contract_and_are_deterministic(scenarios: dict[str, Trajectory]) -> None:
    run = scenarios["april_cycling"]
    observation = observe(run)
    readings = observation.readings
    assert readings.schema == READINGS_SCHEMA
    assert_frame_equal(readings, readings.sort("point", "time"))
    assert not readings.select("point", "time").is_duplicated().any()
    assert (readings["value"].is_null() ^ readings["text"].is_null()).all()
    assert readings["value"].drop_nulls().is_finite().all()
    start, end = run_bounds(run)
    assert readings["time"].is_between(start, end, closed="left").all()
    assert readings["point"].n_unique() == 25
    assert_frame_equal(readings, observe(run).readings)
    assert not observe(run, seed=12).readings.equals(readings)


def test_every_point_is_a_signal_of_the_shipped_profile() -> None:
    profile = load_profile("espaltherma_home_assistant")
    for signal, point in {**NUMBER_POINTS, **TEXT_POINTS}.items():
        found = [
            name
            for name, mapping in profile.mappings.items()
            if any(selector.matches(point) for selector in mapping.selectors)
        ]
        assert found == [signal], point


@pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not on this machine")
def test_names_are_those_of_the_recordings() -> None:
    recorded = pl.concat(pl.read_parquet(path) for path in sorted(RECORDINGS.glob("*.long.parquet")))
    names = set(recorded["source_name"])
    for point in NUMBER_POINTS.values():
        friendly = point.split("friendly_name=")[1].split(",source")[0].replace("\\ ", " ")
        assert friendly in names
    for point in TEXT_POINTS.values():
        assert point.split("source=HA ")[1].replace("\\ ", " ") in names
    series = {line.rsplit(" ", 1)[0].rsplit("=", 1)[0] for line in _sample_lines()}
    ours = {*NUMBER_POINTS.values(), *TEXT_POINTS.values()}
    assert series <= ours, "twelve minutes of line protocol hold no series that the demo does not have"


def _sample_lines() -> list[str]:
    return (RECORDINGS / "sample_ha_influx.lp").read_text().splitlines()


def test_numbers_come_on_change_only_and_rounded_texts_with_every_poll(scenarios: dict[str, Trajectory]) -> None:
    run = scenarios["autumn_clock_change"]
    readings = observe(run).readings
    polls = run.steps * run.step_s / 30
    for signal, point in NUMBER_POINTS.items():
        values = readings.filter(pl.col("point") == point)["value"]
        assert values.diff().drop_nulls().abs().min() != 0 or values.len() == 1
        resolution = 1.0 if signal.endswith("_power") else 0.1
        assert ((values / resolution).round() * resolution - values).abs().max() < 1e-6  # type: ignore[operator]
        assert values.len() < polls
    for signal, point in TEXT_POINTS.items():
        texts = readings.filter(pl.col("point") == point)["text"]
        assert texts.len() == pytest.approx(polls, rel=1e-3)
        assert set(texts) <= ({"Heating", "Fan Only"} if signal == "operating_mode" else {"ON", "OFF"})
    temperatures = {
        name: readings.filter(pl.col("point") == NUMBER_POINTS[name]).select("time", pl.col("value").alias(name))
        for name in ("flow_temperature", "return_temperature", "delta_t")
    }
    both = temperatures["delta_t"].join_asof(temperatures["flow_temperature"], on="time")
    both = both.join_asof(temperatures["return_temperature"], on="time")
    off = both["flow_temperature"] - both["return_temperature"] - both["delta_t"]
    assert off.abs().max() < 1e-6  # type: ignore[operator]


def test_texts_may_be_repeated_less_often_but_never_miss_a_change(scenarios: dict[str, Trajectory]) -> None:
    run = scenarios["april_cycling"]
    every = observe(run).readings.filter(pl.col("text").is_not_null())
    rare = observe(run, SensorModel(text_repeat_s=300)).readings.filter(pl.col("text").is_not_null())
    assert rare.height < every.height / 8
    seen = every.join_asof(rare, on="time", by="point", check_sortedness=False)
    assert (seen["text"] == seen["text_right"]).all()


def test_held_power_conserves_energy(scenarios: dict[str, Trajectory]) -> None:
    for name, run in scenarios.items():
        total = truth_energy(run, "all")
        readings = observe(run, SensorModel(interval_s=60)).readings
        assert _held_kwh(run, readings, POWER) == pytest.approx(total["electrical_energy_kwh"][0], rel=2e-3), name
        assert _held_kwh(run, readings, NUMBER_POINTS["immersion_heater_power"]) == pytest.approx(
            total["immersion_energy_kwh"][0], rel=2e-3
        )


def test_the_one_minute_average_lags_but_conserves_the_sum(scenarios: dict[str, Trajectory]) -> None:
    run = scenarios["april_cycling"]
    readings = observe(run, SensorModel(power=PowerReport.ONE_MINUTE)).readings
    assert _held_kwh(run, readings, POWER) == pytest.approx(
        truth_energy(run, "all")["electrical_energy_kwh"][0], rel=5e-3
    )
    held = observe(run).readings
    first = {
        kind: frame.filter((pl.col("point") == POWER) & (pl.col("value") > 500))["time"].min()
        for kind, frame in (("held", held), ("lagging", readings))
    }
    assert first["lagging"] > first["held"]  # type: ignore[operator]


def test_drawn_errors_are_recorded_and_applied(scenarios: dict[str, Trajectory]) -> None:
    run = scenarios["april_cycling"]
    right = observe(run)
    assert (right.truth_sensors["offset"] == 0).all()
    assert (right.truth_sensors["gain"] == 1).all()
    wrong = observe(run, SensorModel(pair_offset_sd_k=0.3, flow_gain_sd=0.02, power_gain_sd=0.01))
    truth = {row["signal"]: row for row in wrong.truth_sensors.iter_rows(named=True)}
    pair = truth["flow_temperature"]["offset"] - truth["return_temperature"]["offset"]
    assert pair != 0

    def mean(observation: pl.DataFrame, signal: str) -> float:
        own = observation.filter(pl.col("point") == NUMBER_POINTS[signal]).sort("time")
        weight = (pl.col("time").shift(-1) - pl.col("time")).dt.total_seconds(fractional=True)
        return float(own.select((pl.col("value") * weight).sum() / weight.sum()).item())

    for signal in ("flow_temperature", "return_temperature"):
        shift = mean(wrong.readings, signal) - mean(right.readings, signal)
        assert shift == pytest.approx(truth[signal]["offset"], abs=0.02)
    for signal in ("flow_rate", "electrical_power"):
        ratio = mean(wrong.readings, signal) / mean(right.readings, signal)
        assert ratio == pytest.approx(truth[signal]["gain"], abs=0.003)


def test_polls_have_a_phase_jitter_and_ascend(scenarios: dict[str, Trajectory]) -> None:
    run = scenarios["april_cycling"]
    model = SensorModel(jitter_s=2.0)
    observation = observe(run, model)
    polls = observation.readings.filter(pl.col("point") == TEXT_POINTS["defrost"])["time"]
    spacing = polls.diff().drop_nulls().dt.total_milliseconds()
    assert spacing.min() > 27_900  # type: ignore[operator]
    assert spacing.max() < 32_100  # type: ignore[operator]
    assert spacing.n_unique() > 100
    phases = dict(observation.truth_sensors.select("signal", "phase_s").iter_rows())
    assert phases["electrical_power"] != phases["flow_temperature"], "the meter has a clock of its own"
