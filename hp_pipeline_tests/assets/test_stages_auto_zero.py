"""The offset of flow and return sensor through the stages: shown always, applied when the owner says so."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.assets.checks import check_results
from hp_pipeline.assets.stages import Outcome, store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.settings import load_settings
from hp_pipeline.simulation.sensors import SensorModel, observe
from hp_pipeline.simulation.truth import run_bounds
from hp_pipeline_tests.assets.house import PUMP, SOURCE, contents, due, table, update
from hp_pipeline_tests.transforms.simulated import days_of

DAYS = 4


@cache
def taken() -> pl.DataFrame:
    """What sensors with an offset say of four days of April, every minute."""
    run = days_of("novelan_helox", "april_cycling", DAYS)
    return observe(run, SensorModel(interval_s=60, pair_offset_sd_k=0.3, text_repeat_s=600), 1).readings


def house(folder: Path, auto_zero: bool) -> Workspace:
    folder.mkdir(parents=True)
    path = folder / "hp.yaml"
    path.write_text(f"""
site: {{name: House, time_zone: Europe/Berlin, start: 2020-01-01}}
heat_pumps:
  - id: {PUMP}
    frame_interval: 60s
    auto_zero: {str(auto_zero).lower()}
    inputs: [{{source: {SOURCE}, profile: espaltherma_home_assistant}}]
sources: [{{id: {SOURCE}, kind: files}}]
""")
    return Workspace(load_settings(path), folder / "data")


@pytest.fixture(scope="module")
def zeroed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = house(tmp_path_factory.mktemp("zeroed") / "house", auto_zero=True)
    store_readings(made, SOURCE, taken())
    update(made)
    return made


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = house(tmp_path_factory.mktemp("plain") / "house", auto_zero=False)
    store_readings(made, SOURCE, taken())
    update(made)
    return made


def test_every_table_of_figures_is_put_right(zeroed: Workspace, plain: Workspace) -> None:
    run = days_of("novelan_helox", "april_cycling", DAYS)
    true = run.heat_kw.sum() * run.step_s / 3600
    for name in ("hourly", "daily", "all_time", "sessions", "quarter_hourly"):
        before, after = (abs(table(made, name)["thermal_energy_kwh"].sum() / true - 1) for made in (plain, zeroed))
        assert before > 0.05
        assert after <= 0.02 and after <= before / 2, name
    assert table(zeroed, "frames").equals(table(plain, "frames")), "what was measured stays as it was measured"
    jaz = true / (run.electrical_kw.sum() * run.step_s / 3600)
    assert table(zeroed, "all_time")["cop"].item() == pytest.approx(jaz, rel=0.02)


def test_it_is_shown_whether_it_is_applied_or_not(zeroed: Workspace, plain: Workspace) -> None:
    shown = table(plain, "sensor_offsets")
    assert shown["offset_k"].to_list() == table(zeroed, "sensor_offsets")["offset_k"].to_list()
    assert not shown["applied"].any()
    applied = table(zeroed, "sensor_offsets").filter(pl.col("offset_k").is_not_null())
    assert applied.height >= 3 and applied["applied"].all()
    for made, fine in ((plain, False), (zeroed, True)):
        results = check_results("sensor_offsets", PUMP, table(made, "sensor_offsets"), Outcome())
        assert {result.check_name: result.passed for result in results} == {"made": True, "sensors_agree": fine}


def test_a_day_that_comes_last_changes_those_that_it_tells_the_offset_of(tmp_path: Path, zeroed: Workspace) -> None:
    made = house(tmp_path / "house", auto_zero=True)
    first = run_bounds(days_of("novelan_helox", "april_cycling", DAYS))[0].date()
    days = [first + timedelta(days=count) for count in range(DAYS)]
    for day in (days[2], days[3], days[0], days[1]):
        part = taken().filter(pl.col("time").dt.date() == day)
        keys = sorted(store_readings(made, SOURCE, part))
        update(made, date.fromisoformat(keys[0]), date.fromisoformat(keys[-1]))
    assert contents(made) == contents(zeroed)
    assert due(made) == []
