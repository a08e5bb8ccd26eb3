"""Houses whose counters count by purpose: all that the machine does is in the figures, and in its own mode."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hp_pipeline.assets.stages import store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.settings import load_settings
from hp_pipeline.transforms.schema import conform
from hp_pipeline_tests.assets.house import PUMP, readings, update

START = datetime(2025, 7, 13, 22, tzinfo=UTC)
"""A local midnight."""
EVERY = timedelta(minutes=2)
Said = list[tuple[str, datetime, float | str]]

_SETTINGS = f"""
site: {{name: House, time_zone: Europe/Berlin, start: 2025-01-01}}
heat_pumps: [{{id: {PUMP}, frame_interval: 30s, inputs: INPUTS}}]
sources: [{{id: device, kind: files}}, {{id: meter, kind: files}}]
"""


def _made(folder: Path, inputs: str, said: dict[str, Said], more: dict[str, str]) -> Workspace:
    for name, text in {"hp.yaml": _SETTINGS.replace("INPUTS", inputs), **more}.items():
        (folder / name).write_text(text)
    house = Workspace(load_settings(folder / "hp.yaml"), folder / "data")
    for source, rows in said.items():
        store_readings(house, source, readings(rows))
    update(house)
    return house


def _table(house: Workspace, name: str) -> pl.DataFrame:
    asset = f"{name}/{PUMP}"
    return conform(house.lake.read(asset, house.lake.keys(asset)), name).sort("start")


def _day(house: Workspace) -> dict[str, Any]:
    return _table(house, "daily").row(0, named=True)


def _uses(day: dict[str, Any], energy: str) -> float:
    return sum(
        day[f"{energy}_{use}_kwh"] or 0.0
        for use in ("heating", "dhw", "cooling", "standby")
        if f"{energy}_{use}_kwh" in day
    )


@pytest.fixture(scope="module")
def pool() -> dict[str, Said]:
    """Thirty hours of a Luxtronik in summer: each twelve hours one of hot water (2400 W, 2.6) and five of the pool
    (1500 W, 5.0); its registers count in steps of 0.01 kWh, and what it takes at rest in none of them."""
    device: Said = []
    meter: Said = []
    counted = dict.fromkeys((1136, 1137, 1138, 854, 878, 879), 100_000.0)
    for step in range(30 * 30):
        now = START + step * EVERY
        minute = step * 2 % 720
        mode, electrical, ratio = (
            ("1", 2400, 2.6) if minute < 60 else ("2", 1500, 5.0) if minute < 360 else ("5", 10, 0)
        )
        device += [
            ("calculation/80", now, mode), ("calculation/44", now, float(mode != "5")),
            *((f"parameter/{number}", now, float(int(count))) for number, count in counted.items()),
        ]  # fmt: skip
        meter.append(("power", now, float(electrical)))
        if ratio:
            electricity, heat = (1137, 878) if mode == "1" else (1138, 879)
            counted[electricity] += electrical / 300
            counted[heat] += electrical * ratio / 300
    return {"device": device, "meter": meter}


def test_a_pool_is_in_the_whole_and_is_heating(tmp_path: Path, pool: dict[str, Said]) -> None:
    """2 × (2.4 + 7.5) kWh of electricity, 2 × (6.24 + 37.5) kWh of heat; 0.12 kWh at rest, which no register counts."""
    day = _day(_made(tmp_path, "[{source: device, profile: luxtronik}]", {"device": pool["device"]}, {}))
    assert day["electrical_energy_kwh"] == pytest.approx(19.8, abs=0.05)
    assert day["thermal_energy_kwh"] == pytest.approx(87.48, abs=0.1)
    assert day["thermal_energy_heating_kwh"] == pytest.approx(75.0, abs=0.2)
    assert day["thermal_energy_dhw_kwh"] == pytest.approx(12.48, abs=0.2)
    assert day["standby_s"] == 12 * 3600
    assert day["cop"] == pytest.approx(87.48 / 19.8, rel=0.01)
    assert _uses(day, "electrical_energy") == pytest.approx(day["electrical_energy_kwh"])


def test_the_electricity_of_a_pool_is_not_that_of_standby(tmp_path: Path, pool: dict[str, Said]) -> None:
    meter = "meter: true\nsignals: {electrical_power: {select: power, unit: W}}\n"
    inputs = "[{source: device, profile: luxtronik}, {source: meter, profile: meter.yaml}]"
    day = _day(_made(tmp_path, inputs, pool, {"meter.yaml": meter}))
    assert day["electrical_energy_kwh"] == pytest.approx(19.92, abs=0.05)
    assert day["electrical_energy_standby_kwh"] == pytest.approx(0.12, abs=0.02)
    assert day["cop"] == pytest.approx(87.48 / 19.92, rel=0.01)


_OWN = """
signals:
  operating_mode: {select: mode}
  compressor_on: {select: runs}
  electrical_power: {select: power, unit: W}
  thermal_energy_heating_total: {select: heating, unit: kWh, resolution: 0.01}
"""


@pytest.mark.parametrize("has_power", [True, False])
def test_heat_of_which_only_heating_is_counted(tmp_path: Path, has_power: bool) -> None:
    """Each twelve hours 90 min of hot water, and two of three hours of heating: what no counter counts is what a power
    tells, else it is not known, and neither is then the COP. Nothing is in one sum and not in another."""
    said: Said = []
    counted, heating, dhw = 10.0, 0.0, 0.0
    for step in range(30 * 30):
        now, minute = START + step * EVERY, step * 2
        tank, runs = minute % 720 < 90, minute % 180 < 120
        heat = 6240.0 if tank else 6000.0 if runs else 0.0
        said += [
            ("mode", now, "dhw" if tank else "heating" if runs else "standby"),
            ("runs", now, "on" if heat else "off"), ("power", now, 2000.0 if heat else 12.0),
            ("heating", now, round(counted, 2)), ("heat", now, heat),
        ]  # fmt: skip
        counted += 0.0 if tank else heat / 30_000
        if minute < 24 * 60:
            heating, dhw = heating + (not tank) * heat / 30_000, dhw + tank * heat / 30_000
    profile = _OWN + ("  thermal_power: {select: heat, unit: W}\n" if has_power else "")
    house = _made(tmp_path, "[{source: device, profile: own.yaml}]", {"device": said}, {"own.yaml": profile})
    day = _day(house)
    assert day["thermal_energy_heating_kwh"] == pytest.approx(heating, abs=0.02)
    if has_power:
        assert day["thermal_energy_dhw_kwh"] == pytest.approx(dhw, abs=0.02)
        assert day["thermal_method"] == "device counter, device power"
        assert day["thermal_coverage"] == 1 and day["cop"] is not None
    else:
        assert not day["thermal_energy_dhw_kwh"] and day["cop_dhw"] is None
        assert day["thermal_coverage"] == pytest.approx(21 / 24) and day["cop"] is None
        assert day["cop_reason"] == "electricity and heat are known for different times"
    assert _uses(day, "thermal_energy") == pytest.approx(day["thermal_energy_kwh"])
    for table in ("hourly", "sessions"):
        rows = _table(house, table)
        assert rows["thermal_energy_kwh"].sum() == pytest.approx(
            rows["thermal_energy_heating_kwh"].sum() + rows["thermal_energy_dhw_kwh"].fill_null(0).sum()
        )
    assert _table(house, "sessions")["thermal_energy_kwh"].sum() == pytest.approx(
        _table(house, "hourly")["thermal_energy_kwh"].sum()
    )


@pytest.mark.parametrize(("step", "is_fine"), [(0.01, True), (0.1, False)])
def test_five_minutes_by_a_counter_of_electricity(tmp_path: Path, step: float, is_fine: bool) -> None:
    """2 kW, of which a counter of the whole alone tells, and half of 12 kW by modulation: a COP of 3."""
    said: Said = []
    for number in range(30 * 120):
        now = START + number * timedelta(seconds=30)
        counted = number * 2.0 / 120
        said += [
            ("mode", now, "heating"), ("runs", now, "on"), ("modulation", now, 50.0),
            ("electricity", now, round(counted // step * step, 2)),
        ]  # fmt: skip
    profile = """
signals:
  operating_mode: {select: mode}
  compressor_on: {select: runs}
  compressor_modulation: {select: modulation, unit: "%"}
  electrical_energy_total: {select: electricity, unit: kWh}
"""
    inputs = "[{source: device, profile: own.yaml}], rated_power_kw: 12"
    rows = _table(_made(tmp_path, inputs, {"device": said}, {"own.yaml": profile}), "performance_5min")
    if is_fine:
        assert rows.height >= 29 * 12 and rows["cop_modulation"].null_count() == 0
        assert rows["cop_modulation"].mean() == pytest.approx(3.0, rel=0.02)
        assert rows["cop_modulation"].is_between(2.6, 3.4).all()
    else:
        assert rows.is_empty()


def test_what_cooling_takes_is_not_asked_of_a_cop(tmp_path: Path) -> None:
    """Two of twelve hours of hot water with a COP of 3, six of cooling of which nobody tells what it takes."""
    said: Said = []
    electricity, heat = 100.0, 300.0
    for step in range(30 * 30):
        now, minute = START + step * EVERY, step * 2 % 720
        mode = "dhw" if minute < 120 else "cooling" if minute >= 360 else "standby"
        said += [
            ("mode", now, mode), ("runs", now, "off" if mode == "standby" else "on"),
            ("electricity", now, round(electricity, 3)), ("hot water", now, round(heat, 2)), ("heating", now, 900.0),
        ]  # fmt: skip
        electricity += {"dhw": 2000.0, "cooling": 1000.0, "standby": 0.0}[mode] / 30_000
        heat += 6000.0 / 30_000 * (mode == "dhw")
    profile = """
signals:
  operating_mode: {select: mode}
  compressor_on: {select: runs}
  electrical_energy_total: {select: electricity, unit: kWh, resolution: 0.001}
  thermal_energy_heating_total: {select: heating, unit: kWh, resolution: 0.01}
  thermal_energy_dhw_total: {select: hot water, unit: kWh, resolution: 0.01}
"""
    day = _day(_made(tmp_path, "[{source: device, profile: own.yaml}]", {"device": said}, {"own.yaml": profile}))
    assert day["electrical_energy_cooling_kwh"] == pytest.approx(12.0, abs=0.1)
    assert day["thermal_energy_cooling_kwh"] is None and day["thermal_coverage"] == pytest.approx(0.5)
    assert day["cop"] == pytest.approx(3.0, rel=0.02) and day["cop_reason"] is None
