"""A meter's word before the machine's own, in whatever order they are read, and each figure says what it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.assets.checks import check_results
from hp_pipeline.assets.stages import FiguresStage, Outcome, store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.settings import load_settings
from hp_pipeline_tests.assets.house import PUMP, contents, due, midnight, readings, table, update

START = midnight(2025, 1, 13)
MINUTES = 60 * 40
"""From the first midnight to the afternoon of the next day."""
SILENCE = (60 * 9, 60 * 12)
OVER_MIDNIGHT = (60 * 22 + 30, 60 * 25 + 30)

METER, DEVICE = "{source: meter, profile: shelly_3em}", "{source: device, profile: own.yaml}"
OWN = """
signals:
  operating_mode: {select: mode}
  compressor_on: {select: runs}
  electrical_power: {select: power, unit: W}
  electrical_energy_total: {select: counter, unit: kWh, resolution: 0.001}
  thermal_power: {select: heat, unit: W}
"""
STATED = """
meters:
  - {{id: m, heat_pump: daikin, measures: electrical, signal: electrical_power, accuracy: {accuracy}{source},
     includes: [compressor]}}
"""


def house(folder: Path, inputs: Sequence[str] = (METER, DEVICE), own: str = OWN, meters: str = "") -> Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "own.yaml").write_text(own)
    (folder / "hp.yaml").write_text(f"""
site: {{name: House, time_zone: Europe/Berlin, start: 2025-01-01}}
heat_pumps:
  - id: {PUMP}
    frame_interval: 30s
    inputs: [{", ".join(inputs)}]
sources: [{{id: meter, kind: files}}, {{id: device, kind: files}}]
{meters}""")
    return Workspace(load_settings(folder / "hp.yaml"), folder / "data")


def watts(minute: int) -> float:
    """What the machine takes: it runs for two hours of three, and the meter is right."""
    return 1500.0 + minute % 7 * 20 if minute % 180 < 120 else 12.0


@cache
def said(silences: tuple[tuple[int, int], ...] = (), counts: bool = True) -> Mapping[str, pl.DataFrame]:
    """What meter and machine say: the machine's power is a fifth too high, its counter by 7 %."""
    meter: list[tuple[str, datetime, float | str]] = []
    device: list[tuple[str, datetime, float | str]] = []
    used = 0.0
    for minute in range(MINUTES):
        now = START + timedelta(minutes=minute)
        power = watts(minute)
        if not any(begin < minute < end for begin, end in silences):
            meter.append(("em:0.total_act_power", now + timedelta(seconds=10), power))
            if counts:
                meter.append(("emdata:0.total_act", now + timedelta(seconds=10), round(1000 * used, 2) + 5000))
        later = now + timedelta(seconds=25)
        device += [
            ("mode", later, "heating" if power > 100 else "standby"),
            ("runs", later, "on" if power > 100 else "off"),
            ("power", later, 1.2 * power),
            ("counter", later, round(1.07 * used, 3) + 20),
            ("heat", later, 4 * power if power > 100 else 0.0),
        ]
        used += power / 60000
    return {"meter": readings(meter), "device": readings(device)}


def store(made: Workspace, what: Mapping[str, pl.DataFrame], *days: date) -> None:
    for source, rows in what.items():
        chosen = rows.filter(pl.col("time").dt.date().is_in(days)) if days else rows
        store_readings(made, source, chosen)


def built(folder: Path, what: Mapping[str, pl.DataFrame], **settings: object) -> Workspace:
    made = house(folder, **settings)  # type: ignore[arg-type]
    store(made, what)
    update(made)
    return made


def used_within(first: int, last: int) -> float:
    return sum(watts(minute) for minute in range(first, last)) / 60000


def test_the_order_of_the_inputs_changes_nothing(tmp_path: Path) -> None:
    silences = (SILENCE, OVER_MIDNIGHT)
    one = built(tmp_path / "one", said(silences))
    other = built(tmp_path / "other", said(silences), inputs=(DEVICE, METER))
    assert contents(one) == contents(other)


def test_a_machines_word_is_never_mixed_into_a_meters(tmp_path: Path) -> None:
    made = built(tmp_path, said())
    known = table(made, "frames").filter(pl.col("start") > START + timedelta(minutes=1))
    assert set(known["electrical_way"]) == {"meter power"} and set(known["thermal_way"]) == {"device power"}
    assert known["electrical_power"].max() == pytest.approx(1620)
    whole = table(made, "daily").row(0, named=True)
    assert whole["electrical_method"] == "meter counter" and whole["thermal_method"] == "device power"
    assert whole["electrical_energy_kwh"] == pytest.approx(used_within(0, 60 * 23), rel=0.001)


def test_while_the_meter_is_silent_the_machines_counter_counts_and_no_longer(tmp_path: Path) -> None:
    """Three hours: those alone are the machine's, and the day says both."""
    made = built(tmp_path, said((SILENCE,)))
    hours = table(made, "hourly").filter(pl.col("start") >= START + timedelta(hours=1))
    silent = pl.col("start").is_between(*(START + timedelta(minutes=at) for at in SILENCE))
    whole = hours.filter(pl.col("start") < START + timedelta(hours=39))
    assert set(whole.filter(~silent)["electrical_method"]) == {"meter counter"}
    for row in whole.to_dicts():
        first = (row["start"] - START) // timedelta(minutes=1)
        true = used_within(first, first + 60)
        own = 1.07 if SILENCE[0] <= first < SILENCE[1] else 1.0
        assert row["electrical_energy_kwh"] == pytest.approx(own * true, abs=0.06)
    within = whole.filter(silent)
    both = "meter counter, device counter"
    assert within["electrical_method"].to_list() == [both, "device counter", "device counter", both], (
        "the meter is read ten seconds behind the hour"
    )
    counted = within["electrical_energy_kwh"][:3].sum()
    assert counted == pytest.approx(1.07 * used_within(*SILENCE), rel=0.01)
    day = table(made, "daily").row(0, named=True)
    assert day["electrical_method"] == "meter counter, device counter"
    assert day["electrical_energy_unobserved_kwh"] is None
    newest = table(made, "all_time")["electrical_method"].item()
    assert newest == "meter counter, meter power, device counter", "behind the last reading no counter counts yet"


def test_without_another_way_the_meters_counter_tells_of_its_silence(tmp_path: Path) -> None:
    own = "\n".join(line for line in OWN.splitlines() if "electrical" not in line)
    made = built(tmp_path, said((SILENCE,)), own=own)
    day = table(made, "daily").row(0, named=True)
    assert day["electrical_method"] == "meter counter"
    assert day["electrical_energy_kwh"] == pytest.approx(used_within(0, 60 * 23), rel=0.001)


def test_a_meters_power_comes_before_the_machines_counter(tmp_path: Path) -> None:
    made = built(tmp_path, said((SILENCE,), counts=False))
    day = table(made, "daily").row(0, named=True)
    assert day["electrical_method"] == "meter power, device counter"
    extra = 0.07 * used_within(*SILENCE)
    assert day["electrical_energy_kwh"] == pytest.approx(used_within(0, 60 * 23) + extra, rel=0.002)
    counted, told = day["electrical_energy_counter_kwh"], day["electrical_energy_integral_kwh"]
    assert counted == pytest.approx(1.07 * used_within(0, 60 * 23), rel=0.002), "the counter stands beside it"
    assert day["electrical_energy_residual_kwh"] == pytest.approx(counted - told, rel=0.02)


def test_the_settings_say_whose_word_counts(tmp_path: Path) -> None:
    """Without a class and beside a meter with one, a machine's own word is no meter's."""
    day = 60 * 23
    for number, (meters, method, factor) in enumerate(
        (
            (STATED.format(accuracy="B", source=", source: meter"), "meter counter", 1.0),
            (STATED.format(accuracy="device", source=", source: device"), "meter counter", 1.07),
            (STATED.format(accuracy="B", source=""), "meter counter", 1.0),
            (
                STATED.format(accuracy="device", source=", source: device")
                + STATED.format(accuracy="B", source=", source: meter")
                .replace("meters:", "")
                .replace("id: m", "id: n"),
                "meter counter",
                1.0,
            ),
        )
    ):
        found = table(built(tmp_path / str(number), said(), meters=meters), "daily").row(0, named=True)
        assert found["electrical_method"].startswith(method)
        assert found["electrical_energy_kwh"] == pytest.approx(factor * used_within(0, day), rel=0.002)


def test_a_class_is_that_of_the_meter_alone(tmp_path: Path) -> None:
    made = built(tmp_path, said((SILENCE,)), meters=STATED.format(accuracy="B", source=", source: meter"))
    hours = table(made, "hourly").filter(pl.col("electrical_method").is_in(["meter counter", "device counter"]))
    share = hours.select(
        "electrical_method", share=pl.col("electrical_meter_error_kwh") / pl.col("electrical_energy_kwh")
    )
    for method, error in (("meter counter", 0.01), ("device counter", 0.1)):
        assert share.filter(pl.col("electrical_method") == method)["share"].to_list() == pytest.approx(
            [error] * share.filter(pl.col("electrical_method") == method).height, rel=1e-5
        )
    day = table(made, "daily").row(0, named=True)
    apart = 0.01 * used_within(0, 60 * 23) + (0.1 * 1.07 - 0.01) * used_within(*SILENCE)
    assert day["electrical_meter_error_kwh"] == pytest.approx(apart, rel=0.02)
    reach = day["electrical_energy_high_kwh"] - day["electrical_energy_kwh"]
    assert 1 <= reach / (1.96 * day["electrical_meter_error_kwh"] / 3**0.5) <= 1.5


def test_days_that_come_one_by_one_and_backwards_end_the_same(tmp_path: Path) -> None:
    what = said((SILENCE, OVER_MIDNIGHT))
    whole = built(tmp_path / "whole", what)
    made = house(tmp_path / "single")
    for day in (START.date() + timedelta(days=1), START.date()):
        store(made, what, day)
        update(made, day, day)
    assert contents(made) == contents(whole)
    assert due(made) == []


def test_what_is_stated_of_meters_makes_figures_due(tmp_path: Path) -> None:
    built(tmp_path, said())
    made = house(tmp_path, meters=STATED.format(accuracy="B", source=", source: meter"))
    stage = FiguresStage(made.plant(PUMP))
    assert stage.due(stage.keys())
    update(made)
    assert due(made) == []


def test_an_hour_in_which_counter_and_power_disagree_is_told_beside_the_newest_hours(tmp_path: Path) -> None:
    """By more than the step of a coarse counter; hours of long ago, which their day has told, do not matter."""
    made = built(tmp_path, said((SILENCE,)))
    hours = table(made, "hourly")

    def verdict(rows: pl.DataFrame) -> tuple[bool, object]:
        (result,) = check_results("hourly", PUMP, rows, Outcome())
        return result.passed, result.metadata["apart"].value

    off = pl.when(pl.col("start") == START + timedelta(hours=20)).then(1.5).otherwise("electrical_energy_residual_kwh")
    wrong = hours.with_columns(electrical_energy_residual_kwh=off)
    step = hours.with_columns(electrical_energy_residual_kwh=pl.lit(0.99))
    later = pl.concat([wrong, hours.with_columns(pl.col("start") + timedelta(days=5))])
    assert verdict(wrong) == (False, 1)
    assert {verdict(rows) for rows in (hours, step, later, hours.clear())} == {(True, 0)}
