"""Whatever the order of arrival, the size of batches, the moment of an update or the time zone: the same bytes."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hp_pipeline.assets.stages import STAGES, store_readings
from hp_pipeline_tests.assets.house import (
    PUMP,
    SOURCE,
    built,
    contents,
    days_at_once,
    due,
    live,
    midnight,
    readings,
    table,
    update,
    workspace,
)

ZONES = ["Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe"]
SPRING, AUTUMN = datetime(2024, 3, 29, 20, tzinfo=UTC), datetime(2024, 10, 25, 20, tzinfo=UTC)


def _days_apart(taken: pl.DataFrame, random: Random) -> pl.DataFrame:
    """The readings with a part of their days moved months away, so that what is first and last changes by far."""
    day = pl.col("time").dt.date()
    moved = [found for found in taken["time"].dt.date().unique().sort() if random.random() < 0.3]
    shift = pl.when(day.is_in(moved)).then(pl.duration(days=100)).otherwise(pl.duration(days=0))
    return taken.with_columns(pl.col("time") + shift).sort("point", "time")


def _batches(taken: pl.DataFrame, random: Random) -> list[pl.DataFrame]:
    """The readings in pieces: by time or by point or at random, overlapping, some twice, in any order."""
    first, last = taken["time"].min(), taken["time"].max()
    assert isinstance(first, datetime) and isinstance(last, datetime)
    cuts = sorted(first + random.random() * (last - first) for _ in range(random.randint(0, 3)))
    edges = [first, *cuts, last + timedelta(microseconds=1)]
    pieces = [
        taken.filter(pl.col("time") >= low - timedelta(hours=random.choice([0, 0, 3])), pl.col("time") < high)
        for low, high in pairwise(edges)
    ]
    torn = pieces.pop(random.randrange(len(pieces)))
    if torn.height:
        mask = pl.Series([random.random() < 0.5 for _ in range(torn.height)])
        pieces += [torn.filter(mask), torn.filter(~mask)]
    pieces += random.sample(pieces, k=min(len(pieces), random.choice([0, 0, 1])))
    random.shuffle(pieces)
    return [piece.sample(fraction=1, shuffle=True, seed=random.randrange(1000)) for piece in pieces if piece.height]


def _days(keys: set[str]) -> tuple[date, date]:
    return date.fromisoformat(min(keys)), date.fromisoformat(max(keys))


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.sampled_from(ZONES))
def test_updates_over_the_days_that_readings_touch_end_like_one_build(
    tmp_path: Path, random: Random, time_zone: str
) -> None:
    taken = live(random.choice([SPRING, AUTUMN]), 2.4, random.randrange(10_000))
    if random.random() < 0.5:
        taken = _days_apart(taken, random)
    shutil.rmtree(tmp_path)
    expected = contents(built(tmp_path / "at once", taken, time_zone))
    house = workspace(tmp_path / "bit by bit", time_zone)
    waiting: set[str] = set()
    batches = _batches(taken, random)
    for number, batch in enumerate(batches):
        waiting |= store_readings(house, SOURCE, batch).keys()
        if waiting and (random.random() < 0.7 or number == len(batches) - 1):
            update(house, *_days(waiting))
            waiting.clear()
        if random.random() < 0.2:  # a person looks at one day in the midst of it
            some = date(2024, 3, 30) + timedelta(days=random.randint(0, 3))
            update(house, some, some, stages=STAGES[: random.randint(1, len(STAGES))])
    assert contents(house) == expected
    assert due(house) == []


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_derived_partitions_that_are_lost_come_back_as_they_were(tmp_path: Path, random: Random) -> None:
    shutil.rmtree(tmp_path)
    house = built(tmp_path, live(SPRING, 3, random.randrange(10_000)))
    expected = contents(house)
    for asset, key in random.sample(sorted(expected), k=len(expected) // 2):
        house.lake.remove(asset, key)
    update(house)
    assert contents(house) == expected


@pytest.mark.parametrize("time_zone", ZONES)
@pytest.mark.parametrize("start", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_the_number_of_days_at_once_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, time_zone: str, start: datetime
) -> None:
    taken = live(start, 3, seed=5)
    found = []
    for days in (31, 1, 2):
        days_at_once(monkeypatch, days)
        found.append(contents(built(tmp_path / str(days), taken, time_zone)))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) > 30


def test_a_second_update_makes_nothing(tmp_path: Path) -> None:
    house = built(tmp_path, live(SPRING, 4, seed=1))
    for stage_type in STAGES:
        stage = stage_type(house.plant(PUMP))
        keys = stage.keys()
        outcome = stage.bring_up_to_date(keys)
        assert outcome.stored == {} and outcome.changed == set() and outcome.kept == len(keys)
        assert keys or stage.tables == ("faults",), "this heat pump tells none"


def test_reading_again_what_is_known_touches_no_partition(tmp_path: Path) -> None:
    taken = live(SPRING, 3, seed=2)
    house = workspace(tmp_path)
    assert store_readings(house, SOURCE, taken).keys() == {"2024-03-29", "2024-03-30", "2024-03-31", "2024-04-01"}
    assert store_readings(house, SOURCE, taken.sample(fraction=0.5, seed=3)) == {}


def test_readings_that_disagree_end_the_same_in_any_order(tmp_path: Path) -> None:
    time = midnight(2024, 3, 30)
    said: list[float | str] = [3.0, "unavailable", 7.0, "Heating"]
    kept = []
    for number in range(4):
        house = workspace(tmp_path / str(number))
        for word in said[number:] + said[:number]:
            store_readings(house, SOURCE, readings([("p", time, word)]))
        kept.append(house.lake.read("readings/recorder", ["2024-03-30"]))
    assert all(rows is not None and rows["value"].to_list() == [7.0] for rows in kept)


def test_the_oldest_and_the_newest_day_are_made_again_when_they_are_no_longer_that(tmp_path: Path) -> None:
    """June is stored, then last January and next December: only their days are named, but June's figures change, for
    their first hour was the first of all, and their last frame the newest."""
    june, january, december = (live(midnight(2024, month, 10) + timedelta(hours=5), 2, month) for month in (6, 1, 12))
    house = built(tmp_path / "june", june)
    before = contents(house)
    for later in (january, december):
        update(house, *_days(store_readings(house, SOURCE, later).keys()))
    after = contents(house)
    assert after == contents(built(tmp_path / "all", pl.concat([december, june, january])))
    assert any(after[part] != content for part, content in before.items() if "2024-06" in part[1])


def test_a_session_of_weeks_grows_by_its_first_and_last_days_only(tmp_path: Path) -> None:
    from hp_pipeline.assets.stages import EventsStage

    rows = []
    for hour in range(21 * 24 * 4):
        now = midnight(2024, 6, 1) + timedelta(minutes=15 * hour)
        rows += [("Operation Mode_str", now, "Fan Only"), ("Heat Pump 7 1MIN", now, 20.0)]
    taken = readings(rows)
    cut = midnight(2024, 6, 21)
    house = built(tmp_path, taken.filter(pl.col("time") < cut))
    assert table(house, "sessions").height == 1
    keys = store_readings(house, SOURCE, taken.filter(pl.col("time") >= cut)).keys()
    update(house, *_days(set(keys)), stages=STAGES[: STAGES.index(EventsStage)])
    stage = EventsStage(house.plant(PUMP))
    touched = stage.keys(*_days(set(keys)))
    assert "2024-06-01" in touched
    assert stage.due(touched)[0] == "2024-06-01" and len(stage.due(touched)) <= 4
    stage.bring_up_to_date(touched).raise_failures()
    session = table(house, "sessions").row(0, named=True)
    assert table(house, "sessions").height == 1
    assert (session["end"] - session["start"]) == timedelta(days=21) - timedelta(minutes=15) + timedelta(seconds=30)


def test_another_time_zone_leaves_no_day_of_the_old_one(tmp_path: Path) -> None:
    taken = live(SPRING, 3, seed=4)
    built(tmp_path / "moved", taken, "Pacific/Auckland")
    moved = workspace(tmp_path / "moved", "America/St_Johns")
    update(moved)
    assert contents(moved) == contents(built(tmp_path / "fresh", taken, "America/St_Johns"))


def test_a_source_of_two_machines_of_which_one_fell_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later days hold readings, but none of this heat pump: its newest frame must not depend on how days are cut."""
    mine = live(SPRING, 2, seed=6)
    other = readings([("some other machine", SPRING + timedelta(days=3, hours=count), 1.0) for count in range(30)])
    found = []
    for days in (31, 1):
        days_at_once(monkeypatch, days)
        found.append(contents(built(tmp_path / str(days), pl.concat([mine, other]))))
    house = built(tmp_path / "later", mine)
    update(house, *_days(set(store_readings(house, SOURCE, other))))
    assert found[0] == found[1] == contents(house)


def test_how_sure_the_end_of_a_cycle_is_is_not_told_by_days_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the silence the mode is known before the state is: the first known state is no witness of the old end."""
    rows: list[tuple[str, datetime, float | str]] = []
    for begin, minutes_unknown in ((midnight(2024, 7, 8), 0), (midnight(2024, 7, 10), 10)):
        for minute in range(0, 60, 5):
            now = begin + timedelta(hours=20, minutes=minute)
            rows.append(("Operation Mode_str", now, "Heating"))
            if minute >= minutes_unknown:
                rows.append(("Thermostat ON/OFF_str", now, "ON"))
    found = []
    for days in (31, 1):
        days_at_once(monkeypatch, days)
        house = built(tmp_path / str(days), readings(rows))
        found.append(contents(house))
        assert table(house, "cycles")["end_uncertainty_s"].to_list() == [None, None]
    assert found[0] == found[1]
