"""From the landing to the lake: the same rows however it is cut, and the full series back from them."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.assets.landed import HISTORY, bring, readings_of
from hp_pipeline.assets.stages import store_readings
from hp_pipeline.landing.drain import POLL_POINT, drain
from hp_pipeline.landing.store import FILE, Attempt, Landing
from hp_pipeline.sources.live import Outcome, Polled, Reading
from hp_pipeline.transforms import told
from hp_pipeline.transforms.schema import conform
from hp_pipeline_tests.landing.house import NOON, attempt, contents, land, make_tables, tiny_house

FAR = timedelta(days=3650)


def series_of_landing(landing: Landing) -> set[tuple[str, datetime, float | str]]:
    return {
        (point, datetime.fromtimestamp(time / 1e6, UTC), value)
        for _, readings in landing.series("tiny", NOON - FAR, NOON + FAR)
        for point, time, value in readings
    }


def series_of_lake(workspace: object) -> set[tuple[str, datetime, float | str]]:
    lake = workspace.lake  # type: ignore[attr-defined]
    rows = conform(lake.read("readings/tiny", lake.keys("readings/tiny")), "readings")
    full = told.full_series(rows, lambda point: True)
    assert full.select("point", "time").is_duplicated().sum() == 0
    return {(point, time, text if value is None else value) for point, time, value, text in full.iter_rows()}


def mixed(landing: Landing, count: int) -> None:
    """Polls with fast and slow points, failures, a firmware change, own times, and a delivery by itself."""
    dice = random.Random(5)
    attempts = []
    fast = {"n", "power", "flow", "mode"}
    for number in range(1, count + 1):
        time = NOON + number * timedelta(seconds=90)
        which = dice.random()
        if which < 0.1:
            attempts.append(Attempt("tiny", time, timedelta(), Outcome.timeout, due=time, what="no answer"))
        elif which < 0.15:
            own = Polled([Reading("event", float(number), time=time - timedelta(days=1)), Reading("said", None, "x")])
            attempts.append(Attempt("tiny", time, timedelta(), Outcome.ok, own, time=time))
        else:
            attempts.append(attempt(number, time, None if which > 0.8 else fast))
    landing.record(attempts)


def test_the_full_series_comes_back_from_the_lake(tmp_path: Path) -> None:
    workspace = tiny_house(tmp_path)
    with Landing(workspace.data) as landing:
        mixed(landing, 1500)
        wanted = series_of_landing(landing)
    brought = bring(workspace, "tiny")
    assert brought.polls > 1200 and len(brought.changed) == 4
    assert series_of_lake(workspace) == wanted
    assert brought.readings < 0.55 * len(wanted)


def test_every_day_can_be_read_by_itself(tmp_path: Path) -> None:
    workspace = tiny_house(tmp_path)
    land(workspace, NOON, 5000)
    bring(workspace, "tiny")
    whole = series_of_lake(workspace)
    alone = conform(workspace.lake.read("readings/tiny", ["2026-01-11"]), "readings")
    full = told.full_series(alone, lambda point: point == "flow")
    assert full.height == 2880
    assert {(p, t, v) for p, t, v, _ in full.iter_rows()} == {
        row for row in whole if row[0] == "flow" and row[1].date() == date(2026, 1, 11)
    }


@pytest.mark.parametrize("seed", range(4))
def test_however_the_polls_are_cut_the_same_rows_come_out(tmp_path: Path, seed: int) -> None:
    workspace = tiny_house(tmp_path / "whole")
    with Landing(workspace.data) as landing:
        mixed(landing, 1300)
        rows = pl.concat([readings_of(piece) for piece in drain(landing, "tiny", 0)]).rows()
        newest = landing.newest()["tiny"]
        cuts = [0, *sorted(random.Random(seed).sample(range(1, newest), 7)), newest]
        pieces = [
            readings_of(piece)
            for after, until in zip(cuts, cuts[1:], strict=False)  # noqa: RUF007 - pairs of cuts
            for piece in drain(landing, "tiny", after, until)
        ]
    assert pl.concat(pieces).rows() == rows


def test_repeated_late_and_in_any_order_nothing_changes(tmp_path: Path) -> None:
    workspace = tiny_house(tmp_path)
    land(workspace, NOON, 3000)
    first = bring(workspace, "tiny")
    assert len(first.changed) == 2
    before = contents(workspace)
    assert bring(workspace, "tiny").changed == {}
    assert bring(workspace, "tiny", date(2026, 1, 1)).changed == {}
    with Landing(workspace.data) as landing:
        pieces = [readings_of(piece) for piece in drain(landing, "tiny", 0)]
    store_readings(workspace, "tiny", pl.concat(pieces).sample(fraction=0.5, seed=1, shuffle=True))
    assert contents(workspace) == before


def test_a_partition_from_a_drained_landing_keeps_what_it_has(tmp_path: Path) -> None:
    workspace = tiny_house(tmp_path)
    land(workspace, NOON, 6000)
    bring(workspace, "tiny")
    before = contents(workspace)
    with Landing(workspace.data) as landing:
        assert landing.prune(NOON + timedelta(days=2)) > 1000
    assert bring(workspace, "tiny", date(2026, 1, 1)).changed == {}
    assert contents(workspace) == before
    (workspace.data / FILE).unlink()
    for ending in ("-wal", "-shm"):
        (workspace.data / f"{FILE}{ending}").unlink(missing_ok=True)
    assert bring(workspace, "tiny").changed == {}
    land(workspace, NOON + timedelta(days=3), 10, first=9000)
    bring(workspace, "tiny")
    assert {key: content for key, content in contents(workspace).items() if key in before} == before
    assert len([row for row in series_of_lake(workspace) if row[0] == "n"]) == 6010


def test_a_deleted_partition_comes_back_as_far_as_it_is_landed(tmp_path: Path) -> None:
    workspace = tiny_house(tmp_path)
    land(workspace, NOON, 3000)
    bring(workspace, "tiny")
    before = contents(workspace)
    workspace.lake.remove("readings/tiny", "2026-01-11")
    assert bring(workspace, "tiny").changed == {}
    assert set(bring(workspace, "tiny", date(2026, 1, 11)).changed) == {"2026-01-11"}
    assert contents(workspace) == before


def test_frames_are_those_of_the_full_series(tmp_path: Path) -> None:
    """What the lake keeps and what was told give the same figures."""
    small, full = tiny_house(tmp_path / "small"), tiny_house(tmp_path / "full")
    with Landing(small.data) as landing:
        landing.record([attempt(n, NOON + n * timedelta(seconds=30)) for n in range(1, 3500) if n % 900 > 60])
        rows = [
            (point, datetime.fromtimestamp(time / 1e6, UTC), *((None, v) if isinstance(v, str) else (v, None)))
            for _, readings in landing.series("tiny", NOON - FAR, NOON + FAR)
            for point, time, v in readings
        ]
    bring(small, "tiny")
    schema = {"point": pl.String, "time": pl.Datetime("us", "UTC"), "value": pl.Float64, "text": pl.String}
    store_readings(full, "tiny", pl.DataFrame(rows, schema=schema, orient="row"))
    for workspace in (small, full):
        make_tables(workspace)
    small_tables, full_tables = (
        {key: content for key, content in contents(w).items() if not key[0].startswith("readings")}
        for w in (small, full)
    )
    assert len(small_tables) > 15 and small_tables == full_tables


def test_what_was_asked_for_later_is_marked_and_says_nothing_of_other_times(tmp_path: Path) -> None:
    workspace = tiny_house(tmp_path)
    land(workspace, NOON, 10)
    bring(workspace, "tiny")
    late = pl.DataFrame(
        {"point": ["flow", "flow"], "time": [NOON + timedelta(seconds=45), NOON + timedelta(seconds=60)],
         "value": [99.0, 98.0], "text": pl.Series([None, None], dtype=pl.String)},
        schema_overrides={"time": pl.Datetime("us", "UTC")},
    ).with_columns(origin=pl.lit(HISTORY))  # fmt: skip
    store_readings(workspace, "tiny", late)
    rows = conform(workspace.lake.read("readings/tiny", ["2026-01-10"]), "readings")
    full = dict(told.full_series(rows, lambda point: point == "flow").select("time", "value").iter_rows())
    assert full[NOON + timedelta(seconds=45)] == 99.0
    # What was told at once counts, also where it was not stored because it had not changed.
    assert [full[NOON + n * timedelta(seconds=30)] for n in range(5)] == [35.0] * 5
    assert rows.filter(pl.col("origin") == HISTORY).height >= 1


def test_times_that_cannot_be_are_not_believed(tmp_path: Path) -> None:
    workspace = tiny_house(tmp_path)
    day = timedelta(days=1)
    own = [
        Reading("event", number, time=NOON + by) for number, by in enumerate((-400 * day, -day, 5 * day / 1440, day))
    ]
    with Landing(workspace.data) as landing:
        landing.record([Attempt("tiny", NOON, timedelta(), Outcome.ok, Polled(own), time=NOON)])
    assert bring(workspace, "tiny").refused == 2
    assert {value for _, _, value in series_of_lake(workspace)} == {1.0, 2.0}


def test_readings_of_other_sources_are_as_they_were() -> None:
    plain = pl.DataFrame(
        {
            "point": ["b", "a"],
            "time": [NOON, NOON],
            "value": [1.0, 2.0],
            "text": pl.Series([None, None], dtype=pl.String),
        }
    )
    assert told.full_series(plain, lambda point: False).equals(plain)
    assert POLL_POINT == told.POLL_POINT
