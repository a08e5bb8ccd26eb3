"""Several meters that measure a part of a heat pump's electricity each: their sum is its electricity."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.assets.stages import store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.settings import load_settings
from hp_pipeline.vocabulary.meters import ELECTRICAL_MPE
from hp_pipeline_tests.assets.house import contents, due, midnight, readings, table, update

START = midnight(2025, 1, 13)
MINUTES = 60 * 48
SILENCE = (60 * 30, 60 * 33)

DEVICE = """
signals:
  operating_mode: {select: mode}
  compressor_on: {select: runs}
  thermal_power: {select: heat, unit: W}
"""
POWER = "  electrical_power: {select: power, unit: W}\n"
COUNTER = "  electrical_energy_total: {select: counter, unit: kWh, resolution: 0.001}\n"
INDOOR, OUTDOOR = "{source: indoor, profile: indoor.yaml}", "{source: outdoor, profile: outdoor.yaml}"


def outdoor_w(minute: int) -> float:
    return 1500.0 if minute % 180 < 120 else 12.0


def indoor_w(minute: int) -> float:
    return 2020.0 if minute % 720 < 45 else 60.0 if minute % 180 < 125 else 5.0


WATTS = {"outdoor": outdoor_w, "indoor": indoor_w}


def used_kwh(first: int, last: int, *meters: str) -> float:
    return sum(WATTS[meter](minute) for meter in meters or WATTS for minute in range(first, last)) / 60000


@cache
def said() -> Mapping[str, pl.DataFrame]:
    """What all devices say, every minute; the indoor meter half a minute later."""
    rows: dict[str, list[tuple[str, datetime, float | str]]] = {"device": [], "outdoor": [], "indoor": []}
    counted = dict.fromkeys(WATTS, 500.0)
    for minute in range(MINUTES):
        now = START + timedelta(minutes=minute)
        runs = minute % 180 < 120
        rows["device"] += [("mode", now, "heating" if runs else "standby"), ("runs", now, "on" if runs else "off")]
        rows["device"].append(("heat", now, 6000.0 if runs else 0.0))
        for meter, watts in WATTS.items():
            at = now + timedelta(seconds=30 if meter == "indoor" else 0)
            rows[meter] += [("power", at, watts(minute)), ("counter", at, round(counted[meter], 3))]
            counted[meter] += watts(minute) / 60000
    return {source: readings(found) for source, found in rows.items()}


def house(
    folder: Path, tells: Mapping[str, str], turned: bool = False, classes: tuple[str, str] = ("B", "A")
) -> Workspace:
    folder.mkdir(exist_ok=True)
    (folder / "device.yaml").write_text(DEVICE, encoding="utf-8")
    for meter, signals in tells.items():
        (folder / f"{meter}.yaml").write_text(f"meter: true\nsignals:\n{signals}", encoding="utf-8")
    inputs = ["{source: device, profile: device.yaml}", OUTDOOR, INDOOR]
    meter = (
        "  - {{id: {0}, heat_pump: daikin, measures: electrical, signal: electrical_{3}, source: {0}, accuracy: {1},"
    )
    parts = {"outdoor": "compressor, fan, controls", "indoor": "backup_heater, circulation_pump"}
    meters = [
        meter.format(name, its_class, None, "power" if POWER in tells[name] else "energy_total")
        + f" includes: [{part}]}}\n"
        for (name, part), its_class in zip(parts.items(), classes, strict=True)
    ]
    if turned:
        inputs, meters = inputs[::-1], meters[::-1]
    (folder / "hp.yaml").write_text(
        f"""
site: {{name: House, time_zone: Europe/Berlin, start: 2025-01-01}}
heat_pumps: [{{id: daikin, inputs: [{", ".join(inputs)}]}}]
sources: [{{id: device, kind: files}}, {{id: outdoor, kind: files}}, {{id: indoor, kind: files}}]
meters:
{"".join(meters)}  - {{id: h, heat_pump: daikin, measures: thermal, signal: thermal_power,
     includes: [compressor, backup_heater]}}
""",
        encoding="utf-8",
    )
    return Workspace(load_settings(folder / "hp.yaml"), folder / "data")


def built(made: Workspace, silent: Collection[str] = ()) -> Workspace:
    minute = (pl.col("time") - START).dt.total_minutes()
    for source, rows in said().items():
        within = minute.is_between(*SILENCE, closed="left")
        store_readings(made, source, rows.filter(~within) if source in silent else rows)
    update(made)
    return made


BOTH = {"outdoor": POWER + COUNTER, "indoor": POWER + COUNTER}
TELLS = {
    "both": BOTH,
    "power": {"outdoor": POWER, "indoor": POWER},
    "counter": {"outdoor": COUNTER, "indoor": COUNTER},
    "one counter": {"outdoor": POWER + COUNTER, "indoor": POWER},
}
"""What the two meters tell. A counter of a part alone counts for nothing."""


@pytest.mark.parametrize("told", TELLS)
def test_the_parts_are_added(tmp_path: Path, told: str) -> None:
    made = built(house(tmp_path, TELLS[told]))
    used, gave = used_kwh(60 * 23, 60 * 47), 96.0
    day = table(made, "daily").sort("start").row(1, named=True)
    assert day["electrical_energy_kwh"] == pytest.approx(used, rel=0.002)
    assert day["electrical_coverage"] == pytest.approx(1)
    assert day["electrical_method"] == ("meter counter" if told in {"both", "counter"} else "meter power")
    assert (day["electrical_energy_counter_kwh"] is None) == (told in {"power", "one counter"})
    assert day["cop"] == day["spf_h4"] == pytest.approx(gave / used, rel=0.002)
    assert day["electrical_meter_error_kwh"] == pytest.approx(ELECTRICAL_MPE["A"] * used, rel=0.002), "of the worse"
    for start, found in table(made, "hourly").select("start", "electrical_energy_kwh").sort("start").iter_rows():
        first = (start - START) // timedelta(minutes=1)
        if 60 <= first < MINUTES - 60:
            assert found == pytest.approx(used_kwh(first, first + 60), abs=0.02)


@pytest.mark.parametrize("meter", WATTS)
@pytest.mark.parametrize("told", ["both", "power"])
def test_while_one_part_is_silent_the_other_is_not_the_whole(tmp_path: Path, meter: str, told: str) -> None:
    """Its counter says behind it what it counted; without one, only what its last reading is held for is known."""
    made = built(house(tmp_path, TELLS[told]), {meter})
    first, last = SILENCE
    hours = table(made, "hourly").filter(
        pl.col("start").is_between(*(START + timedelta(minutes=at) for at in SILENCE), closed="left")
    )
    if told == "both":
        assert hours["electrical_energy_kwh"].sum() == pytest.approx(used_kwh(first, last), abs=0.03)
    else:
        assert hours["electrical_coverage"].sum() == pytest.approx(1, abs=0.02), "held for an hour"
        assert hours["electrical_energy_kwh"].to_list()[2:] == [None]


def test_over_a_silence_of_all_each_part_says_what_it_counted(tmp_path: Path) -> None:
    made = built(house(tmp_path, BOTH), said().keys())
    hours = table(made, "hourly").sort("start")
    hidden = hours["electrical_energy_unobserved_kwh"].fill_null(0).sum()
    assert hidden == pytest.approx(used_kwh(*SILENCE), abs=0.1)
    last = START + timedelta(minutes=MINUTES - 60)
    whole = hours.filter(pl.col("end") <= last)["electrical_energy_kwh"].sum()
    assert whole == pytest.approx(used_kwh(0, MINUTES - 60), abs=0.02)


def test_a_part_that_is_not_there_yet_is_not_nothing(tmp_path: Path) -> None:
    made = house(tmp_path, BOTH)
    for source in ("device", "outdoor"):
        store_readings(made, source, said()[source])
    update(made)
    days = table(made, "daily")
    assert days["electrical_energy_kwh"].null_count() == days.height
    assert set(days["cop_reason"]) == {"no electricity known"}


def test_neither_the_order_of_words_nor_that_of_arrival_matters(tmp_path: Path) -> None:
    whole = built(house(tmp_path / "whole", BOTH), {"indoor"})
    turned = built(house(tmp_path / "turned", BOTH, turned=True), {"indoor"})
    pieces = house(tmp_path / "pieces", BOTH)
    minute = (pl.col("time") - START).dt.total_minutes()
    for source, first in [("indoor", 1), ("device", 1), ("outdoor", 0), ("indoor", 0), ("device", 0), ("outdoor", 1)]:
        rows = said()[source].filter(pl.col("time").dt.date() == (START + timedelta(days=first)).date())
        silent = minute.is_between(*SILENCE, closed="left") if source == "indoor" else pl.lit(False)
        store_readings(pieces, source, rows.filter(~silent))
        day = (START + timedelta(days=first)).date()
        update(pieces, day, day)
    assert contents(whole) == contents(turned) == contents(pieces)
    assert due(pieces) == []
