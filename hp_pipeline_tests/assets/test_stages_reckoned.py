"""Heat that is calculated as a last resort: only where nothing better is read, and within the band that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.assets.stages import store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.settings import load_settings
from hp_pipeline.simulation.house import Trajectory
from hp_pipeline.simulation.sensors import SensorModel, observe
from hp_pipeline.simulation.truth import truth_energy
from hp_pipeline_tests.assets.house import PUMP, SOURCE, contents, table, update
from hp_pipeline_tests.transforms.simulated import days_of

DAYS = 4
CASES = [
    (way, preset, season)
    for way, presets in (
        ("modulation × rated power", ("daikin_altherma", "stiebel_hpa")),
        # Their pumps have a constant speed; where it follows the spread, no flow rate can be assumed.
        ("assumed flow rate × spread", ("novelan_helox", "stiebel_hpa")),
    )
    for preset in presets
    for season in ("april_cycling", "humid_defrost", "deep_frost")
]
HEAT = ("thermal_energy_kwh", "thermal_energy_low_kwh", "thermal_energy_high_kwh")


def taken(run: Trajectory) -> pl.DataFrame:
    """What the sensors say, with the modulation that the compressor's speed is."""
    seen = observe(run, SensorModel(interval_s=60, text_repeat_s=600), 1).readings
    percent = 100 * run.compressor_hz / run.parameters.heat_pump.maximum_hz
    every = 60 // run.step_s
    times = pl.from_epoch(pl.Series(run.unix_s[::every]), "s").dt.replace_time_zone("UTC").dt.cast_time_unit("us")
    modulation = pl.DataFrame({"point": "modulation", "time": times, "value": percent[::every]}).with_columns(
        text=pl.lit(None, pl.String)
    )
    return pl.concat([seen, modulation.select(seen.columns)]).sort("point", "time")


def house(folder: Path, pump: str, signals: str) -> Workspace:
    folder.mkdir(parents=True)
    path = folder / "hp.yaml"
    path.write_text(f"""
site: {{name: House, time_zone: UTC, start: 2020-01-01}}
heat_pumps:
  - id: {PUMP}
    frame_interval: 60s
    {pump}
    inputs: [{{source: {SOURCE}, profile: espaltherma_home_assistant, signals: {{{signals}}}}}]
sources: [{{id: {SOURCE}, kind: files}}]
""")
    return Workspace(load_settings(path), folder / "data")


def built(folder: Path, run: Trajectory, pump: str, signals: str) -> Workspace:
    made = house(folder, pump, signals)
    store_readings(made, SOURCE, taken(run))
    update(made)
    return made


def beside_truth(made: Workspace, run: Trajectory) -> pl.DataFrame:
    """The whole days with their true heat."""
    true = truth_energy(run, "day", "UTC").filter("complete").select("start", true="thermal_energy_kwh")
    return table(made, "daily").join(true, on="start").sort("start")


MODULATED = "compressor_modulation: {select: modulation, unit: '%'}"
BLIND = f"flow_rate: null, {MODULATED}"
WAYS: Mapping[str, tuple[str, str]] = {
    "modulation × rated power": ("rated_power_kw: {rated}", BLIND),
    "assumed flow rate × spread": ("assumed_flow_rate_l_per_h: {flow}", "flow_rate: null"),
}


def settings_of(way: str, run: Trajectory) -> tuple[str, str]:
    """What the owner states: the rated power on the plate, a flow rate that is a tenth too high."""
    hydraulics, pump = run.parameters.hydraulics, run.parameters.heat_pump
    owner, signals = WAYS[way]
    return owner.format(rated=pump.full_load_kw, flow=round(66 * hydraulics.heating_l_per_min)), signals


@pytest.mark.parametrize(("way", "preset", "season"), CASES)
def test_the_band_of_calculated_heat_holds_the_truth(tmp_path: Path, way: str, preset: str, season: str) -> None:
    run = days_of(preset, season, DAYS)
    made = built(tmp_path / "house", run, *settings_of(way, run))
    days = beside_truth(made, run)
    assert days.height >= DAYS - 1
    assert set(days["thermal_method"]) == {way}
    low, high = (pl.col(name) for name in HEAT[1:])
    assert days.select(pl.col("true").is_between(low, high).all()).item(), days.select("true", *HEAT)
    errors = days["thermal_meter_error_kwh"] / days["thermal_energy_kwh"]
    least = 0.6 if way.startswith("modulation") else 0.3
    assert (errors > least - 1e-6).all() and (errors < least + 0.1).all()
    assert (days["thermal_coverage"] > 0.94).all() and days["cop"].null_count() == 0
    assert (days["cop_low"] < days["cop"]).all() and (days["cop"] < days["cop_high"]).all()


def test_by_modulation_a_defrost_takes_what_the_spread_tells(tmp_path: Path) -> None:
    run = days_of("stiebel_hpa", "humid_defrost", DAYS)
    rated, signals = settings_of("modulation × rated power", run)
    flow, _ = settings_of("assumed flow rate × spread", run)
    plain = built(tmp_path / "plain", run, rated, signals)
    both = built(tmp_path / "both", run, f"{rated}\n    {flow}", signals)
    assert table(plain, "all_time")["thermal_energy_defrost_kwh"].item() == 0
    taken_back = table(both, "all_time")["thermal_energy_defrost_kwh"].item()
    true = run.heat_kw[run.defrost & (run.heat_kw < 0)].sum() * run.step_s / 3600
    assert taken_back == pytest.approx(true, rel=0.3) and taken_back < 0
    assert table(both, "all_time")["thermal_method"].item() == "modulation × rated power, assumed flow rate × spread"


def test_who_has_a_better_way_never_uses_them(tmp_path: Path) -> None:
    """Not even in moments in which it is missing: the figures are those of a house that does not name them."""
    run = days_of("stiebel_hpa", "april_cycling", DAYS)
    rated, _ = settings_of("modulation × rated power", run)
    flow, _ = settings_of("assumed flow rate × spread", run)
    start = taken(run)["time"].min()
    hole = pl.col("time").is_between(start + timedelta(hours=30), start + timedelta(hours=66))  # type: ignore[operator]
    lacking = taken(run).filter(~(hole & pl.col("point").str.contains("flow_sensor")))
    made = {}
    for name, pump in (("named", f"{rated}\n    {flow}"), ("unnamed", "circuits: []")):
        made[name] = house(tmp_path / name, pump, MODULATED)
        store_readings(made[name], SOURCE, lacking)
        update(made[name])
    named, unnamed = (
        {key: found for key, found in contents(one).items() if not key[0].startswith(("performance", "counter"))}
        for one in made.values()
    )
    assert named == unnamed
    days = table(made["named"], "daily")
    assert set(days["thermal_method"]) == {"flow rate × spread"}
    assert days["thermal_coverage"].min() < 0.7  # type: ignore[operator]


def test_frames_stay_as_they_were_measured(tmp_path: Path) -> None:
    run = days_of("stiebel_hpa", "april_cycling", DAYS)
    made = built(tmp_path / "house", run, *settings_of("assumed flow rate × spread", run))
    frames = table(made, "frames")
    assert frames["thermal_power"].null_count() == frames["thermal_way"].null_count() == frames.height
