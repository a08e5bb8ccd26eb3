"""Counters that nobody read for days, or that stood still while the machine ran: what its rows say of that time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.assets.checks import CHECKS
from hp_pipeline.assets.stages import Outcome, stages, store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.settings import load_settings
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.meters import ELECTRICAL_MPE
from hp_pipeline_tests.assets.house import PUMP, midnight, readings

START = midnight(2025, 1, 13)
EVERY = timedelta(minutes=5)

_SETTINGS = """
site: {name: House, time_zone: UTC, start: 2025-01-01}
heat_pumps:
  - id: daikin
    frame_interval: 30s
    inputs: [{source: device, profile: own.yaml}]
sources: [{id: device, kind: files}]
meters:
  - id: main
    heat_pump: daikin
    measures: electrical
    signal: electrical_energy_total
    source: device
    includes: [compressor]
    accuracy: B
"""
_PROFILE = """
signals:
  operating_mode: {select: mode}
  compressor_on: {select: runs}
  electrical_energy_total: {select: electricity, unit: kWh, resolution: 0.01}
  flow_temperature: {select: flow, unit: "°C"}
  outdoor_temperature: {select: outdoor, unit: "°C"}
"""
_COUNTS_HEAT = "  thermal_energy_total: {select: heat, unit: kWh, resolution: 0.01}\n"

Row = tuple[str, datetime, float | str]


def built(folder: Path, profile: str, rows: Iterable[Row]) -> Workspace:
    """A house with these readings; nothing is made of them yet."""
    (folder / "own.yaml").write_text(profile)
    (folder / "hp.yaml").write_text(_SETTINGS)
    workspace = Workspace(load_settings(folder / "hp.yaml"), folder / "data")
    store_readings(workspace, "device", readings(rows))
    return workspace


def made(workspace: Workspace, until: str | None = None) -> Workspace:
    """With all tables, or those of the stages up to the one that makes a table."""
    for stage in stages(workspace.plant(PUMP)):
        stage.bring_up_to_date(stage.keys()).raise_failures()
        if until in stage.tables:
            break
    return workspace


def table(workspace: Workspace, name: str) -> pl.DataFrame:
    asset = f"{name}/{PUMP}"
    return conform(workspace.lake.read(asset, workspace.lake.keys(asset)), name)


def ran(days: int, busy: Callable[[int], bool]) -> list[tuple[datetime, float, float]]:
    """Every five minutes of some days: when, the power, and what was used since the begin, kWh. It runs for 40 of 180
    minutes, on a busy day for 170."""
    found, used = [], 0.0
    for number in range(days * 288):
        minute = number * 5
        power = 2000.0 if minute % 180 < (170 if busy(minute // 1440) else 40) else 10.0
        found.append((START + number * EVERY, power, used))
        used += power / 12000
    return found


def states_at(moment: datetime, power: float) -> list[Row]:
    runs = power > 100
    return [
        ("mode", moment, "heating" if runs else "standby"),
        ("runs", moment, "on" if runs else "off"),
        ("flow", moment, 35.0),
        ("outdoor", moment, 2.0),
    ]


# ---- counters over days in which nothing was read

SILENT = timedelta(hours=30), timedelta(hours=80)


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Five days of which nobody read 50 hours, the third of them much busier than the rest."""
    rows: list[Row] = []
    for moment, power, used in ran(5, lambda day: day == 2):
        if not SILENT[0] <= moment - START < SILENT[1]:
            counted = ("electricity", moment, round(100 + used, 2)), ("heat", moment, round(300 + 3 * used, 2))
            rows += [*states_at(moment, power), *counted]
    return made(built(tmp_path_factory.mktemp("silent"), _PROFILE + _COUNTS_HEAT, rows))


@pytest.mark.parametrize("name", ["hourly", "daily"])
def test_the_band_of_a_row_within_a_silence_holds_what_was_used_in_it(silent: Workspace, name: str) -> None:
    used = pl.DataFrame(ran(5, lambda day: day == 2), schema=["moment", "power", "used"], orient="row")
    for row in table(silent, name).iter_rows(named=True):
        truth = used.filter(pl.col("moment").is_between(row["start"], row["end"], closed="left"))["power"].sum() / 12000
        low, high = row["electrical_energy_low_kwh"], row["electrical_energy_high_kwh"]
        assert low - 0.01 <= truth <= high + 0.01, row["start"]


def test_rows_that_hold_the_whole_silence_are_as_exact_as_the_meter(silent: Workspace) -> None:
    month = table(silent, "monthly").row(0, named=True)
    assert {month[f"{kind}_{edge}_error_kwh"] for kind in ("electrical", "thermal") for edge in ("begin", "end")} == {0}
    reach = month["electrical_energy_kwh"] - month["electrical_energy_low_kwh"]
    assert reach == pytest.approx(1.96 * ELECTRICAL_MPE["B"] / 3**0.5 * month["electrical_energy_kwh"], rel=0.02)
    assert month["cop"] == pytest.approx(3.0, abs=0.01)
    assert month["electrical_energy_unobserved_kwh"] > month["electrical_energy_kwh"] / 2


def test_a_day_that_was_mostly_counted_over_a_silence_that_goes_on_beyond_it_has_no_cop(silent: Workspace) -> None:
    rows = table(silent, "daily").sort("start")
    beyond = "mostly counted over a silence that goes on beyond it"
    assert rows["cop_reason"].to_list() == [None, beyond, "only counted, over a silence", beyond, None]
    assert (
        rows.filter(pl.col("cop_reason") == beyond).select(pl.col("spf_reason", "cop_gross")).rows()
        == [(beyond, None)] * 2
    )


def test_the_cop_of_heating_is_that_of_the_time_in_which_it_was_read(silent: Workspace) -> None:
    """Nothing of a silence is in it, nor of what its edges may hide."""
    rows = table(silent, "daily").sort("start").filter(pl.col("heating_s") > 0)
    for cop, low, high in rows.select("cop_heating", "cop_heating_low", "cop_heating_high").iter_rows():
        assert cop == pytest.approx(3, abs=0.1)
        assert 2.4 < low < cop < high < 3.6


# ---- counters that stood still while the machine ran

_TELLS_POWER = """  electrical_power: {select: power, unit: W}
  thermal_power: {select: heat_power, unit: W}
"""
FREEZES = {"for 40 hours": (20, 60), "over midnight": (14, 32), "to the end": (40, 999)}


def stood_still(first: int, last: int) -> list[Row]:
    """Five days of a machine that runs for 40 of 180 minutes, the counter of whose meter stands still between two hours
    and then shows all of it."""
    rows: list[Row] = []
    shown = 0.0
    for moment, power, used in ran(5, lambda day: False):
        if not timedelta(hours=first) <= moment - START < timedelta(hours=last):
            shown = used
        counted = ("electricity", moment, round(100 + shown, 2))
        told = ("power", moment, power), ("heat_power", moment, 3 * power if power > 100 else 0.0)
        rows += [*states_at(moment, power), counted, *told]
    return rows


@pytest.mark.parametrize("name", FREEZES)
def test_a_day_on_which_a_counter_stood_still_has_its_truth_and_its_cop(tmp_path: Path, name: str) -> None:
    house = made(built(tmp_path, _PROFILE + _TELLS_POWER, stood_still(*FREEZES[name])))
    days, ledger = table(house, "daily").sort("start"), table(house, "counter_freezes").sort("start")
    for energy, cop, coverage in days.select("electrical_energy_kwh", "cop", "electrical_coverage").iter_rows():
        assert energy == pytest.approx(8 * 2 * 40 / 60 + 0.01 * 8 * 140 / 60, abs=0.25)
        assert cop == pytest.approx(3, abs=0.08)
        assert coverage > 0.99
    assert set(ledger["verdict"]) == {"caught_up" if name == "over midnight" else "unknown"}
    first = START + timedelta(hours=FREEZES[name][0])
    assert abs(ledger["since"].min() - first) < timedelta(hours=2, minutes=30), "from its last movement on"
    passed, _ = CHECKS["counter_freezes"]["counting"].judge(ledger, Outcome())
    assert passed is (name == "over midnight")


def test_a_counter_that_caught_up_has_the_sum(tmp_path: Path) -> None:
    """To its last step; when it was used the power says."""
    house = made(built(tmp_path, _PROFILE + _TELLS_POWER, stood_still(*FREEZES["over midnight"])))
    assert table(house, "counters")["increment"].sum() == pytest.approx(
        table(house, "daily")["electrical_energy_counter_kwh"].sum(), abs=1e-6
    )


@pytest.mark.parametrize("name", FREEZES)
def test_freezes_are_found_in_whatever_order_the_days_come(tmp_path: Path, name: str) -> None:
    rows = stood_still(*FREEZES[name])
    by_day = built(tmp_path, _PROFILE + _TELLS_POWER, [])
    for day in (3, 1, 4, 0, 2):
        midnights = START + timedelta(days=day), START + timedelta(days=day + 1)
        store_readings(by_day, "device", readings(row for row in rows if midnights[0] <= row[1] < midnights[1]))
        made(by_day, "hourly")
    (tmp_path / "once").mkdir()
    at_once = made(built(tmp_path / "once", _PROFILE + _TELLS_POWER, rows), "hourly")
    for one in ("hourly", "segments", "counter_freezes"):
        assert table(by_day, one).equals(table(at_once, one)), one
