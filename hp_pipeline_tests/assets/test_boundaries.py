"""What the settings say of the meters becomes SPF H1 to H4 and the bands around every figure."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.assets.stages import FiguresStage, store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.settings import load_settings
from hp_pipeline.transforms.schema import conform
from hp_pipeline_tests.assets.house import midnight, readings, table, update
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
    rod = day["electrical_energy_immersion_kwh"]
    heat, used = day["thermal_energy_kwh"], day["electrical_energy_kwh"]
    assert rod > 0 and day["spf_h4"] == pytest.approx((heat + rod) / (used + rod)), "it has a meter: it is there"
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


OWN = """
signals:
  operating_mode: {select: mode}
  compressor_on: {select: runs}
  electrical_power: {select: power, unit: W}
  thermal_power: {select: heat, unit: W}
  immersion_heater_power: {select: rod, unit: W}
"""


def with_rod(folder: Path, electrical: str, thermal: str, rest: str = "", profile: str = OWN) -> Workspace:
    """A heat pump and an immersion heater of 3 kW; electricity and heat are of what the words say that they include."""
    (folder / "own.yaml").write_text(profile, encoding="utf-8")
    (folder / "hp.yaml").write_text(
        f"""
site: {{name: House, time_zone: Europe/Berlin, start: 2025-01-01}}
heat_pumps: [{{id: daikin, inputs: [{{source: device, profile: own.yaml}}]{rest}}}]
sources: [{{id: device, kind: files}}]
meters:
  - {{id: e, heat_pump: daikin, measures: electrical, signal: electrical_power, includes: [{electrical}]}}
  - {{id: h, heat_pump: daikin, measures: thermal, signal: thermal_power, includes: [{thermal}]}}
tariffs: [{{name: flat, from: 2025-01-01, price_per_kwh: 0.5, co2_g_per_kwh: 400}}]
""",
        encoding="utf-8",
    )
    rows: list[tuple[str, datetime, float | str]] = []
    for minute in range(60 * 48):
        now = midnight(2025, 1, 13) + timedelta(minutes=minute)
        runs, rod = minute % 180 < 120, 3000.0 if minute % 720 < 60 else 0.0
        rows += [("mode", now, "heating" if runs else "standby"), ("runs", now, "on" if runs else "off")]
        rows.append(("power", now, (1500.0 if runs else 12.0) + (rod if "immersion" in electrical else 0.0)))
        rows.append(("heat", now, (6000.0 if runs else 0.0) + (rod if "immersion" in thermal else 0.0)))
        rows.append(("rod", now, rod))
    workspace = Workspace(load_settings(folder / "hp.yaml"), folder / "data")
    store_readings(workspace, "device", readings(rows))
    update(workspace)
    return workspace


ALONE, WITH_ROD = "compressor, controls", "compressor, controls, immersion_heater"
USED, GAVE, ROD = 24.096, 96.0, 6.0
"""Of a day, kWh."""


@pytest.mark.parametrize("electrical", [ALONE, WITH_ROD])
@pytest.mark.parametrize("thermal", ["compressor", "compressor, immersion_heater"])
def test_an_immersion_heater_with_a_meter_is_in_its_boundaries_once(
    tmp_path: Path, electrical: str, thermal: str
) -> None:
    """Whatever the other meters include, and although nothing else says that it is there."""
    made = with_rod(tmp_path, electrical, thermal)
    days = table(made, "daily").sort("start")
    for name in ("daily", "hourly", "monthly"):
        for row in table(made, name).filter(pl.col("cop").is_not_null()).iter_rows(named=True):
            assert row["cop_with_immersion"] == pytest.approx(row["spf_h4"]), name
    day = days.row(1, named=True)
    assert day["electrical_energy_immersion_kwh"] == pytest.approx(ROD)
    assert day["spf_h1"] == day["spf_h2"] == pytest.approx(GAVE / USED)
    assert day["spf_h3"] == day["spf_h4"] == day["cop_with_immersion"] == pytest.approx((GAVE + ROD) / (USED + ROD))
    assert day["spf_reason"] is None
    apart = (electrical, thermal) == (ALONE, "compressor")
    hot = table(made, "monthly").row(0, named=True)["cop_dhw_with_immersion"]
    assert apart or hot is None


@pytest.mark.parametrize("electrical", [ALONE, WITH_ROD])
def test_each_kwh_of_pump_and_immersion_heater_costs_once(tmp_path: Path, electrical: str) -> None:
    made = with_rod(tmp_path, electrical, "compressor")
    day = table(made, "costs_daily").sort("start").row(1, named=True)
    assert day["cost_immersion"] == pytest.approx(0.5 * ROD)
    assert day["cost_with_immersion"] == pytest.approx(0.5 * (USED + ROD))
    assert day["co2_with_immersion_kg"] == pytest.approx(0.4 * (USED + ROD))
    whole = table(made, "costs_monthly").row(0, named=True)
    assert whole["cost_with_immersion"] == pytest.approx(table(made, "costs_daily")["cost_with_immersion"].sum())


def test_an_immersion_heater_that_nobody_measures_leaves_its_figures_out(tmp_path: Path) -> None:
    without = "\n".join(line for line in OWN.splitlines() if "immersion" not in line)
    made = with_rod(tmp_path, ALONE, "compressor", ", consumers: [immersion_heater]", without)
    day = table(made, "daily").sort("start").row(1, named=True)
    assert day["spf_h2"] == pytest.approx(GAVE / USED)
    assert day["spf_h3"] is day["spf_h4"] is day["cop_with_immersion"] is None
    assert day["spf_reason"] == "H3, H4: no meter of its own: immersion heater"
    assert table(made, "costs_daily").sort("start")["cost_with_immersion"][1] is None


COUNTED = """
signals:
  operating_mode: {select: mode}
  compressor_on: {select: runs}
  electrical_power: {select: power, unit: W}
  thermal_power: {select: heat, unit: W}
"""


@pytest.mark.parametrize("beside_a_power", [True, False])
@pytest.mark.parametrize(
    ("part", "boundary"), [("circulation_pump", 4), ("brine_pump", 2), ("fan", 2), ("crankcase_heater", 1)]
)
def test_the_counter_of_a_consumer_tells_which_boundary_it_is_in(
    tmp_path: Path, part: str, boundary: int, beside_a_power: bool
) -> None:
    """And before its power, which is read too seldom here to tell."""
    signals = f"  {part}_energy_total: {{select: counter, unit: Wh, resolution: 0.01}}\n"
    signals += f"  {part}_power: {{select: watts, unit: W}}\n" if beside_a_power else ""
    (tmp_path / "own.yaml").write_text(COUNTED, encoding="utf-8")
    (tmp_path / "part.yaml").write_text(f"meter: true\nsignals:\n{signals}", encoding="utf-8")
    (tmp_path / "hp.yaml").write_text(
        f"""
site: {{name: House, time_zone: Europe/Berlin, start: 2025-01-01}}
heat_pumps:
  - {{id: daikin, inputs: [{{source: device, profile: own.yaml}}, {{source: meter, profile: part.yaml}}]}}
sources: [{{id: device, kind: files}}, {{id: meter, kind: files}}]
meters:
  - {{id: e, heat_pump: daikin, measures: electrical, signal: electrical_power, includes: [compressor, {part}]}}
  - {{id: h, heat_pump: daikin, measures: thermal, signal: thermal_power, includes: [compressor]}}
""",
        encoding="utf-8",
    )
    device: list[tuple[str, datetime, float | str]] = []
    meter: list[tuple[str, datetime, float | str]] = []
    counted, used = 70_000.0, 0.0
    for minute in range(60 * 48):
        now, runs = midnight(2025, 1, 13) + timedelta(minutes=minute), minute % 180 < 120
        watts = 80.0 if minute % 7 < 3 else 20.0
        device += [("mode", now, "heating" if runs else "standby"), ("runs", now, "on" if runs else "off")]
        device += [("power", now, (1500.0 if runs else 0.0) + watts), ("heat", now, 6000.0 if runs else 0.0)]
        meter.append(("counter", now, round(counted, 2)))
        meter += [("watts", now, watts)] if minute % 28 == 0 else []
        counted += watts / 60
        used += watts / 60_000 if 60 * 23 <= minute < 60 * 47 else 0.0
    workspace = Workspace(load_settings(tmp_path / "hp.yaml"), tmp_path / "data")
    for source, rows in (("device", device), ("meter", meter)):
        store_readings(workspace, source, readings(rows))
    update(workspace)
    day = table(workspace, "daily").sort("start").row(1, named=True)
    assert day[f"electrical_energy_{part}_kwh"] == pytest.approx(used, abs=0.001)
    assert day[f"{part}_s"] == pytest.approx(86400)
    compressor, heat = 24.0, 96.0
    for number in (1, 2, 3, 4):
        true = heat / (compressor + (used if number >= boundary else 0.0))
        assert day[f"spf_h{number}"] == pytest.approx(true, rel=1e-4), number
    assert day["spf_reason"] is None
