"""The demo house: files that a files source takes, settings that load, the same figures every time."""

import time
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from hp_pipeline.settings.loading import load_settings
from hp_pipeline.simulation.demo import demo_settings, write_demo
from hp_pipeline.simulation.faults import FaultPlan
from hp_pipeline.simulation.truth import run_bounds

END = datetime(2024, 11, 21, 2, 7, 13, tzinfo=UTC)


def test_files_hold_the_readings_once_and_nothing_half_written(tmp_path: Path) -> None:
    demo = write_demo(tmp_path / "drop" / "demo_house", days=12, end=END)
    assert [path.name for path in sorted((tmp_path / "drop" / "demo_house").iterdir())] == [
        path.name for path in demo.files
    ]
    assert len(demo.files) == 3
    readings = pl.concat(pl.read_parquet(path) for path in demo.files)
    assert readings.schema == {
        "time": pl.Datetime("us", "UTC"),
        "point": pl.String(),
        "value": pl.Float64(),
        "text": pl.String(),
    }
    assert readings.height == demo.rows
    assert not readings.select("point", "time").is_duplicated().any()
    assert readings["time"].is_sorted()
    start, end = run_bounds(demo.run)
    assert (start, end) == (datetime(2024, 11, 9, 2, 7, tzinfo=UTC), datetime(2024, 11, 21, 2, 7, tzinfo=UTC))
    assert readings["time"].is_between(start, end, closed="left").all()
    assert readings["point"].n_unique() == 25
    assert demo.energy.filter("complete").height == 11
    assert demo.events.filter(kind="defrost").height > 0


def test_the_same_end_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    one = write_demo(tmp_path / "one", days=2, end=END)
    elsewhere = write_demo(tmp_path / "two", days=2, end=END.astimezone(timezone(timedelta(hours=5))))
    other = write_demo(tmp_path / "three", days=2, end=END, seed=2)
    assert [a.read_bytes() for a in one.files] == [b.read_bytes() for b in elsewhere.files]
    assert_frame_equal(one.energy, elsewhere.energy)
    assert one.files[0].read_bytes() != other.files[0].read_bytes()


def test_sixty_days_take_less_than_twenty_cpu_seconds(tmp_path: Path) -> None:
    began = time.process_time()
    demo = write_demo(tmp_path, days=15, end=END)
    assert (time.process_time() - began) * 60 / 15 < 20
    assert demo.rows > 300_000


def test_a_demo_with_faults_delivers_them_and_says_so(tmp_path: Path) -> None:
    clean = write_demo(tmp_path / "clean", days=6, end=END)
    spoiled = write_demo(tmp_path / "spoiled", days=6, end=END, faults=FaultPlan())
    assert clean.faults.is_empty()
    assert {"outage", "glitch", "duplicated", "out_of_order"} <= set(spoiled.faults["kind"])
    readings = pl.concat(pl.read_parquet(path) for path in spoiled.files)
    assert readings.height == spoiled.rows
    assert readings.select("point", "time").is_duplicated().any()
    assert not readings["time"].is_sorted()
    assert [path.name for path in spoiled.files] == [path.name for path in clean.files]
    assert_frame_equal(spoiled.energy, clean.energy)


def test_the_settings_load(tmp_path: Path) -> None:
    path = tmp_path / "hp.yaml"
    path.write_text(demo_settings(date(2024, 9, 22)), encoding="utf-8")
    settings = load_settings(path, {})
    assert settings.site.time_zone == "Europe/Berlin"
    assert settings.site.start == date(2024, 9, 22)
    assert [heat_pump.id for heat_pump in settings.heat_pumps] == ["daikin"]
    assert [source.id for source in settings.sources] == ["demo_house"]


def test_what_cannot_be_written_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="time zone"):
        write_demo(tmp_path, end=datetime(2024, 1, 1))
    with pytest.raises(ValueError, match="at least a day"):
        write_demo(tmp_path, days=0, end=END)
    assert list(tmp_path.iterdir()) == []
