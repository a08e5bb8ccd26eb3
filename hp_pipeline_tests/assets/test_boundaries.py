"""What the settings say of the meters becomes SPF H1 to H4 and the bands around every figure."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.assets.stages import FiguresStage
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.settings import load_settings
from hp_pipeline.transforms.schema import conform
from hp_pipeline_tests.assets.small_house import SETTINGS, house_with_readings, make_all

METERS = """\
meters:
  - {id: e, heat_pump: daikin, measures: electrical, signal: electrical_power, accuracy: B,
     includes: [compressor, controls, fan, circulation_pump, backup_heater]}
  - {id: h, heat_pump: daikin, measures: thermal, signal: thermal_power, accuracy: "2", includes: [compressor]}
"""


def daily(folder: Path, settings: str) -> pl.DataFrame:
    (folder / "hp.yaml").write_text(settings, encoding="utf-8")
    workspace = Workspace(load_settings(folder / "hp.yaml"), folder / "data")
    make_all(workspace)
    return conform(workspace.lake.read("daily/daikin", workspace.lake.keys("daily/daikin")), "daily").sort("start")


def test_boundaries_and_bands_follow_the_settings(tmp_path: Path) -> None:
    house_with_readings(tmp_path, ("files_a",))
    silent = daily(tmp_path, SETTINGS)
    assert silent["spf_h4"].null_count() == silent.height
    assert set(silent["spf_reason"].drop_nulls()) >= {
        "H1, H2, H3, H4: the settings do not say what the electricity includes"
    }
    stated = daily(tmp_path, SETTINGS + METERS)
    day = stated.filter(pl.col("cop").is_not_null()).row(0, named=True)
    assert day["spf_h4"] is None, "the heat of the backup heater is in no meter"
    assert "backup heater" in day["spf_reason"]
    after_it = METERS.replace("includes: [compressor]}", "includes: [compressor, backup_heater]}")
    day = daily(tmp_path, SETTINGS + after_it).filter(pl.col("cop").is_not_null()).row(0, named=True)
    assert day["spf_h4"] == pytest.approx(day["cop"])
    assert day["spf_reason"].startswith("H1: no meter of its own:")
    assert day["cop_low"] < day["cop"] < day["cop_high"]
    assert day["cop_without_standby"] > day["cop"]
    assert day["cop_gross"] >= day["cop"]
    relative = day["thermal_meter_error_kwh"] / day["thermal_energy_kwh"]
    assert 0.03 < relative < 0.15, "a class 2 meter at the spread of a winter day"
    wide = silent.filter(pl.col("cop").is_not_null()).row(0, named=True)
    assert wide["cop_high"] - wide["cop_low"] > 1.5 * (day["cop_high"] - day["cop_low"]), "its own word is worth less"


def test_a_heaters_own_meter_is_as_good_as_its_class_or_as_a_machines_word(tmp_path: Path) -> None:
    """H2 without the backup heater is told better with a meter of a class behind that."""
    own = METERS + "  - {id: rod, heat_pump: daikin, measures: electrical, signal: backup_heater_power, accuracy: A,\n"
    own += "     includes: [backup_heater]}\n"
    shares = []
    for number, meters in enumerate((METERS, own)):
        (tmp_path / f"hp{number}.yaml").write_text(SETTINGS + meters, encoding="utf-8")
        plant = Workspace(load_settings(tmp_path / f"hp{number}.yaml"), tmp_path / "data").plant("daikin")
        shares.append(plant.rules.metering.apart_error("backup_heater").at_plate)
    assert shares == [0.10, 0.035]


def test_the_order_of_words_in_the_settings_makes_nothing_due(tmp_path: Path) -> None:
    house_with_readings(tmp_path, ("files_a",))
    daily(tmp_path, SETTINGS + METERS)
    turned = METERS.replace("[compressor, controls, fan,", "[fan, controls, compressor,")
    (tmp_path / "hp.yaml").write_text(SETTINGS + turned, encoding="utf-8")
    workspace = Workspace(load_settings(tmp_path / "hp.yaml"), tmp_path / "data")
    stage = FiguresStage(workspace.plant("daikin"))
    assert stage.due(stage.keys()) == []
