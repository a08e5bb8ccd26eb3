"""States that last: what a new day costs, what a late reading reaches, and that the rest stays untouched."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.assets.stages import StatesStage, store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline_tests.assets.house import (
    DEFROST,
    MODE,
    PUMP,
    SOURCE,
    THERMOSTAT,
    VALVE,
    built,
    due,
    readings,
    table,
    update,
)

FIRST = date(2024, 1, 1)
DAYS = 12


def _quiet(first: date, days: int) -> pl.DataFrame:
    """Days on which nothing changes: read once a quarter."""
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    times = [start + timedelta(minutes=15 * number) for number in range(96 * days)]
    words = {MODE: "Fan Only", VALVE: "OFF", DEFROST: "OFF", THERMOSTAT: "OFF"}
    return readings((point, time, word) for time in times for point, word in words.items())


@pytest.fixture
def quiet(tmp_path: Path) -> Workspace:
    return built(tmp_path, _quiet(FIRST, DAYS))


def _made(house: Workspace, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The days that the stage makes from now on."""
    made: list[str] = []
    original = StatesStage.make

    def noted(self: StatesStage, keys: list[str], outcome: object) -> object:
        made.extend(keys)
        return original(self, keys, outcome)  # type: ignore[arg-type]

    monkeypatch.setattr(StatesStage, "make", noted)
    return made


def _since(house: Workspace) -> dict[date, datetime]:
    rows = table(house, "state_intervals").filter(pl.col("signal") == "thermostat")
    return {row["start"].date(): row["since"] for row in rows.sort("start").iter_rows(named=True)}


def test_a_new_day_is_made_from_the_one_before_it_however_long_a_state_has_lasted(
    quiet: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(_since(quiet).values()) == {datetime(2024, 1, 1, tzinfo=UTC)}
    made = _made(quiet, monkeypatch)
    new = FIRST + timedelta(days=DAYS)
    changed = store_readings(quiet, SOURCE, _quiet(new, 1))
    update(quiet, date.fromisoformat(min(changed)), date.fromisoformat(max(changed)))
    # The day before was the newest until now, and said so.
    assert sorted(made) == ["2024-01-12", "2024-01-13"]
    assert _since(quiet)[new] == datetime(2024, 1, 1, tzinfo=UTC)
    last = table(quiet, "state_intervals").filter(pl.col("signal") == "thermostat").sort("start").filter("open")
    assert last["start"].dt.date().to_list() == [new]


def test_a_late_reading_reaches_the_days_that_it_changes_and_no_further(
    quiet: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _made(quiet, monkeypatch)
    at = datetime(2024, 1, 4, 12, 5, tzinfo=UTC)
    store_readings(quiet, SOURCE, readings([(THERMOSTAT, at, "ON")]))
    update(quiet, at.date(), at.date())
    began = datetime(2024, 1, 4, 12, 15, tzinfo=UTC)
    assert [since for day, since in _since(quiet).items() if day > at.date()] == [began] * 8
    assert sorted(made) == [f"2024-01-{day:02d}" for day in range(4, 13)]
    assert due(quiet) == [], "nothing that follows from those days is left behind"
    made.clear()
    # Now something two days before: it is handed on as far as that change, which hides it.
    earlier = at - timedelta(days=2)
    store_readings(quiet, SOURCE, readings([(THERMOSTAT, earlier, "ON")]))
    update(quiet, earlier.date(), earlier.date())
    assert sorted(made) == ["2024-01-02", "2024-01-03", "2024-01-04"]


def test_a_day_that_is_taken_away_comes_back_as_it_was(quiet: Workspace) -> None:
    before = table(quiet, "state_intervals")
    quiet.lake.remove(f"state_intervals/{PUMP}", "2024-01-06")
    update(quiet)
    assert table(quiet, "state_intervals").equals(before)
