"""Faults and switch-offs: each once, for ever, at our time and with what ran, however its list was read."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest

from hp_pipeline.assets.stages import stages, store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.settings import load_settings
from hp_pipeline.transforms.schema import conform
from hp_pipeline_tests.assets.house import readings

SETTINGS = """
site: {name: House, time_zone: Europe/Berlin, start: 2024-01-01}
heat_pumps:
  - id: house
    inputs: [{source: box, profile: luxtronik, signals: {fault: {select: said}}}]
sources: [{id: box, kind: files}]
"""
START = datetime(2024, 1, 9, tzinfo=UTC)
DRIFT = timedelta(minutes=50)
EVERY = timedelta(minutes=5)
Row = tuple[str, datetime, float | str]


def at(hours: float) -> datetime:
    """Hours behind the start."""
    return START + timedelta(hours=hours)


STOPS = [at(5), at(11), at(23.75), at(27), at(31), at(35), at(41)]
"""The compressor stops here, by our clock, having heated or made hot water (every other time) for two hours."""


def _rows() -> list[Row]:
    """What a controller tells in two days: it heats, it stops, and its list of five switch-offs is five long."""
    rows: list[Row] = []
    time = START
    while time < at(48):
        stop = next((stop for stop in STOPS if stop - timedelta(hours=2) <= time < stop), None)
        dhw = stop is not None and STOPS.index(stop) % 2 == 1
        rows += [
            ("calculation/44", time, 0.0 if stop is None else 1.0),
            ("calculation/80", time, 5.0 if stop is None else 1.0 if dhw else 0.0),
            ("calculation/38", time, 1.0 if dhw else 0.0),
            ("said", time, "F.160" if at(20) <= time < at(30) else "none"),
            ("@clock_drift", time, DRIFT.total_seconds()),
        ]
        listed = [past for past in STOPS if past <= time][-5:]
        for slot, past in enumerate(listed):
            told = past + DRIFT
            code = 7 if past == STOPS[2] else 9
            rows += [
                (f"event/switch_off/{code}", told, told.timestamp()),
                (f"calculation/{111 + slot}", time, told.timestamp()),
            ]
        time += EVERY
    rows.append(("event/error/716", datetime(2019, 6, 1, 12, tzinfo=UTC), 1559390400.0))
    return rows


def _house(folder: Path) -> Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hp.yaml").write_text(SETTINGS, encoding="utf-8")
    return Workspace(load_settings(folder / "hp.yaml"), folder / "data")


def _update(house: Workspace, days: set[str] | None = None) -> None:
    bounds = (date.fromisoformat(min(days)), date.fromisoformat(max(days))) if days else (None, None)
    for stage in stages(house.plant("house")):
        stage.bring_up_to_date(stage.keys(*bounds)).raise_failures()


def _faults(house: Workspace) -> pl.DataFrame:
    rows = house.lake.read("faults/house", house.lake.keys("faults/house"))
    return conform(rows, "faults").sort("time")


@pytest.fixture(scope="module")
def told() -> pl.DataFrame:
    return readings(_rows()).unique(["point", "time"], maintain_order=True)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, told: pl.DataFrame) -> Workspace:
    made = _house(tmp_path_factory.mktemp("house"))
    store_readings(made, "box", told)
    _update(made)
    return made


def test_every_switch_off_is_there_once_though_the_list_has_forgotten_the_first(house: Workspace) -> None:
    offs = _faults(house).filter(pl.col("kind") == "switch_off")
    assert offs["time"].to_list() == [stop + DRIFT for stop in STOPS]
    assert offs["start"].to_list() == STOPS, "by our clock"
    assert offs["text"].to_list() == ["no request"] * 2 + ["minimum temperature of use"] + ["no request"] * 4
    assert offs["code"].to_list() == ["9", "9", "7", "9", "9", "9", "9"]
    assert (offs["first_seen"] - offs["start"]).max() == timedelta(0), "read in the poll in which it happened"
    assert offs["end"].null_count() == offs.height


def test_it_is_said_what_ran(house: Workspace) -> None:
    offs = _faults(house).filter(pl.col("kind") == "switch_off")
    assert offs["stopped"].to_list() == STOPS
    assert offs["compressor_running"].all()
    assert offs["mode"].to_list() == ["heating", "dhw"] * 3 + ["heating"]
    sessions = conform(house.lake.read("sessions/house", house.lake.keys("sessions/house")), "sessions")
    assert offs["session_start"].is_in(sessions["start"].implode()).all()
    lasted = (offs["start"] - offs["compressor_since"]).to_list()
    assert lasted[0] == timedelta(hours=2)


def test_what_a_signal_says_has_an_end(house: Workspace) -> None:
    row = _faults(house).filter(pl.col("code") == "F.160").row(0, named=True)
    assert (row["start"], row["end"], row["kind"], row["source"]) == (at(20), at(30), "fault", "box")


def test_an_event_of_years_ago_is_kept_without_what_nobody_knows(house: Workspace) -> None:
    row = _faults(house).row(0, named=True)
    assert (row["kind"], row["code"], row["text"]) == ("fault", "716", "high pressure")
    assert row["first_seen"] is row["mode"] is row["clock_drift_s"] is row["compressor_running"] is None


def test_any_order_of_arrival_ends_in_the_same_faults(tmp_path: Path, told: pl.DataFrame, house: Workspace) -> None:
    random = Random(1)
    parts = pl.Series([random.randrange(3) for _ in range(told.height)])
    other = _house(tmp_path)
    for number in random.sample(range(3), 3):
        _update(other, set(store_readings(other, "box", told.filter(parts == number))))
    assert _faults(other).equals(_faults(house))
    receipts = [other.lake.receipt("faults/house", key) for key in other.lake.keys("faults/house")]
    assert receipts == [house.lake.receipt("faults/house", key) for key in house.lake.keys("faults/house")]
