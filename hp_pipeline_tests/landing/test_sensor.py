"""What has landed becomes runs over the days that it touches; gaps are asked for again."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from hp_pipeline.assets import landed
from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.landed import bring, open_gaps, repair, repair_job
from hp_pipeline.assets.partitions import range_of
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.automation.landed import gaps_sensor
from hp_pipeline.definitions import build_definitions
from hp_pipeline.landing.store import FILE, Landing
from hp_pipeline.settings import load_settings
from hp_pipeline.sources import registry
from hp_pipeline.sources.live import Outcome, Polled, PollError, Reading
from hp_pipeline_tests.landing.house import NOON, SETTINGS, contents, land, make_tables, tiny_house

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def tick(workspace: Workspace, instance: dg.DagsterInstance, cursor: str | None) -> Any:
    definitions = build_definitions(workspace)
    sensor = definitions.resolve_sensor_def("landed_readings")
    context = dg.build_sensor_context(instance=instance, cursor=cursor, definitions=definitions)
    return sensor.evaluate_tick(context)


def older(cursor: str) -> str:
    """The cursor as it would be one beat later."""
    content = json.loads(cursor)
    content["asked"] = (datetime.fromisoformat(content["asked"]) - timedelta(minutes=2)).isoformat()
    return json.dumps(content)


def days(requests: list[dg.RunRequest]) -> list[tuple[str, str]]:
    return [tuple(map(str, range_of(request.tags))) for request in requests]  # type: ignore[misc]


def test_one_run_over_the_days_touched_every_beat(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = tiny_house(tmp_path)
    assert "nothing has landed" in tick(workspace, instance, None).skip_message
    land(workspace, NOON, 2000)
    first = tick(workspace, instance, None)
    assert days(first.run_requests) == [("2026-01-10", "2026-01-11")]
    wanted = {asset_key("readings", "tiny"), asset_key("frames", "pump"), asset_key("all_time", "pump")}
    assert wanted <= set(first.run_requests[0].asset_selection)
    assert "next beat" in tick(workspace, instance, first.cursor).skip_message
    assert "nothing new" in tick(workspace, instance, older(first.cursor)).skip_message
    # Late readings of an old day and new ones of another: each its own range.
    land(workspace, NOON - timedelta(days=6), 1, first=5000)
    land(workspace, NOON + timedelta(days=1), 1, first=5001)
    second = tick(workspace, instance, older(first.cursor))
    assert days(second.run_requests) == [("2026-01-04", "2026-01-04"), ("2026-01-11", "2026-01-11")]


def test_another_landing_is_looked_at_from_its_beginning(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = tiny_house(tmp_path)
    land(workspace, NOON, 50)
    first = tick(workspace, instance, None)
    for path in workspace.data.glob(f"{FILE}*"):
        path.unlink()
    land(workspace, NOON + timedelta(days=3), 5)
    assert days(tick(workspace, instance, older(first.cursor)).run_requests) == [("2026-01-13", "2026-01-13")]


def test_a_run_brings_the_readings_and_all_figures(tmp_path: Path) -> None:
    workspace = tiny_house(tmp_path / "by_run")
    land(workspace, NOON, 500)
    definitions = build_definitions(workspace)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        request = tick(workspace, instance, None).run_requests[0]
        result = definitions.resolve_job_def("landed").execute_in_process(
            instance=instance, tags=request.tags, asset_selection=request.asset_selection
        )
        assert result.success
        # A person who materialises the day anew finds it as it is.
        before = contents(workspace)
        again = definitions.resolve_job_def("landed").execute_in_process(
            instance=instance,
            tags=dict(list(request.tags.items())[2:]),
            asset_selection=[asset_key("readings", "tiny")],
        )
        assert again.success and contents(workspace) == before
    other = tiny_house(tmp_path / "by_hand")
    land(other, NOON, 500)
    bring(other, "tiny")
    make_tables(other)
    assert contents(workspace) == contents(other)
    assert workspace.lake.keys("sessions/pump") == ["2026-01-10"]


class Remembering:
    """A device that remembers a reading a minute; it fails when it is asked for the first time."""

    failures = 1
    asked: list[tuple[datetime, datetime]] = []  # noqa: RUF012 - of the test

    async def poll(self) -> Polled:
        raise PollError(Outcome.refused, "not in this test")

    async def close(self) -> None:
        pass

    def history(self, start: datetime, stop: datetime) -> Iterator[Polled]:
        self.asked.append((start, stop))
        if Remembering.failures:
            Remembering.failures -= 1
            raise PollError(Outcome.timeout, "no answer")
        time = start.replace(second=0)
        while time < stop + timedelta(minutes=5):  # more than it was asked for, as devices do
            yield Polled([Reading("power", 500.0, time=time), Reading("power", float("nan"), time=time)])
            time += timedelta(minutes=1)


@pytest.fixture
def remembering(monkeypatch: pytest.MonkeyPatch) -> type[Remembering]:
    module = types.ModuleType("remembering")
    module.open_source = lambda settings: Remembering()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "remembering", module)
    monkeypatch.setitem(registry.LIVE_KINDS, "shelly", "remembering")
    Remembering.failures, Remembering.asked = 1, []
    return Remembering


def test_gaps_are_asked_for_again_in_chunks_and_marked(
    tmp_path: Path, remembering: type[Remembering], instance: dg.DagsterInstance
) -> None:
    tiny_house(tmp_path)
    (tmp_path / "hp.yaml").write_text(SETTINGS.replace("luxtronik", "shelly"), encoding="utf-8")
    workspace = Workspace(load_settings(tmp_path / "hp.yaml"), tmp_path / "data")
    (source,) = workspace.settings.sources
    start = NOW - timedelta(hours=12)
    land(workspace, start, 20, every=10)
    land(workspace, start + timedelta(hours=8), 20, first=100, every=10)
    bring(workspace, "tiny")
    begin, end = start + timedelta(seconds=190), start + timedelta(hours=8)
    with Landing(workspace.data) as landing:
        assert open_gaps(landing, source, start + timedelta(hours=8, seconds=200)) == [(begin, end)]
    job = repair_job(workspace, source)
    requested = gaps_sensor(workspace, source, job)(dg.build_sensor_context(instance))
    assert len(requested.run_requests) == 1  # type: ignore[union-attr]
    said: list[str] = []
    now = start + timedelta(hours=8, seconds=200)
    assert len(repair(workspace, source, now, said.append).problems) == 1
    done = repair(workspace, source, now, said.append)
    assert (done.gaps, done.problems) == (1, []) and done.readings > 470
    assert [stop - start for start, stop in remembering.asked[1:]] == [
        timedelta(hours=6),
        end - begin - timedelta(hours=6),
    ]
    rows = workspace.lake.read("readings/tiny", workspace.lake.keys("readings/tiny"))
    assert rows is not None
    late = rows.filter(pl.col("origin") == landed.HISTORY)
    assert 470 <= late.height <= 480
    assert late["time"].min() >= begin and late["time"].max() < end  # type: ignore[operator]
    assert repair(workspace, source, now, said.append).gaps == 0
