"""Sensors, driven tick by tick as the daemon does, with their cursors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import StepMaterializationData
from dagster._core.test_utils import create_run_for_test

from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.partitions import BEAT, RANGE_END, RANGE_START, ranges
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.automation import sensors
from hp_pipeline.automation.sensors import INCLUDES_FIGURES
from hp_pipeline.definitions import build_definitions
from hp_pipeline.services.maintenance import ARCHIVED_FROM_RUN
from hp_pipeline.sources import drop_folder
from hp_pipeline_tests.assets.small_house import readings, run_job, write_house


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


class Ticks:
    """One sensor and its cursor from tick to tick."""

    def __init__(self, workspace: Workspace, name: str, instance: dg.DagsterInstance) -> None:
        definitions = build_definitions(workspace)
        self.sensor = definitions.get_sensor_def(name)
        self.repository = definitions.get_repository_def()
        self.instance = instance
        self.cursor: str | None = None
        self.skipped: str | None = None

    def tick(self) -> list[dg.RunRequest]:
        """What the sensor asks for now."""
        context = dg.build_sensor_context(self.instance, cursor=self.cursor, repository_def=self.repository)
        data: Any = self.sensor.evaluate_tick(context)
        self.cursor = data.cursor if data.cursor is not None else self.cursor
        self.skipped = data.skip_message
        return list(data.run_requests or [])


def in_progress(instance: dg.DagsterInstance, job: str, tags: dict[str, str] | None = None) -> dg.DagsterRun:
    """A run of a job that goes on."""
    run: dg.DagsterRun = create_run_for_test(
        instance, job_name=job, status=dg.DagsterRunStatus.STARTED, tags=tags or {}
    )
    return run


def end(instance: dg.DagsterInstance, run: dg.DagsterRun, event: dg.DagsterEventType) -> None:
    """Let the run end."""
    if event == dg.DagsterEventType.RUN_FAILURE:
        instance.report_run_failed(run)
    else:
        instance.report_dagster_event(dg.DagsterEvent(event.value, run.job_name), run.run_id)


def stored(instance: dg.DagsterInstance, day: str, source: str = "files_a", **tags: str) -> None:
    """Readings of a day were stored, as told without a run."""
    key = asset_key("readings", source)
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=day, tags=tags or None))


def stored_by(instance: dg.DagsterInstance, run: dg.DagsterRun, day: str, source: str = "files_a") -> None:
    """Readings of a day were stored by a run."""
    event = dg.DagsterEvent(
        dg.DagsterEventType.ASSET_MATERIALIZATION.value,
        run.job_name,
        event_specific_data=_materialised(asset_key("readings", source), day),
        step_key="step",
    )
    instance.report_dagster_event(event, run.run_id)


def _materialised(key: dg.AssetKey, day: str) -> StepMaterializationData:
    return StepMaterializationData(dg.AssetMaterialization(key, partition=day))


def asked(request: dg.RunRequest) -> tuple[str, str, set[str]]:
    """First day, last day, heat pumps of a request."""
    pumps = {key.path[-1].partition("_")[0] for key in request.asset_selection or ()}
    return request.tags[RANGE_START], request.tags[RANGE_END], pumps


def test_new_readings_become_ranges_of_days(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    ticks = Ticks(write_house(tmp_path), "new_readings", instance)
    assert ticks.tick() == []
    assert ticks.skipped == "no new readings"
    for day in ("2025-01-14", "2025-01-13", "2025-01-16", "2025-03-01"):
        stored(instance, day)
    stored(instance, "2025-01-15", "files_b")
    requests = ticks.tick()
    assert sorted(map(asked, requests), key=str) == [
        ("2025-01-13", "2025-01-16", {"daikin"}),
        ("2025-01-15", "2025-01-15", {"annex"}),
        ("2025-03-01", "2025-03-01", {"daikin"}),
    ]
    assert len({request.run_key for request in requests}) == 3
    assert {request.tags[BEAT] for request in requests} == {"new readings"}
    assert ticks.tick() == []

    stored(instance, "2024-06-01")  # long after that day
    (late,) = ticks.tick()
    assert asked(late) == ("2024-06-01", "2024-06-01", {"daikin"})
    assert late.run_key not in {request.run_key for request in requests}


def test_the_same_day_again_is_asked_for_again(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    ticks = Ticks(write_house(tmp_path), "new_readings", instance)
    keys = set()
    for _ in range(3):
        stored(instance, "2025-01-14")
        (request,) = ticks.tick()
        keys.add(request.run_key)
    assert len(keys) == 3, "a run key is for ever: the same one would be skipped"


def test_cursor_stays_small(tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "_PAGE", 20)
    ticks = Ticks(write_house(tmp_path), "new_readings", instance)
    for number in range(90):  # more than a page
        stored(instance, (date(2021, 1, 1) + timedelta(days=number)).isoformat())
    (request,) = ticks.tick()
    assert asked(request)[:2] == ("2021-01-01", "2021-03-31")
    assert ticks.cursor is not None
    assert len(ticks.cursor) < 100
    assert set(json.loads(ticks.cursor)) == {"files_a", "files_b"}


def test_nothing_is_asked_while_figures_are_made_and_nothing_is_forgotten(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    ticks = Ticks(write_house(tmp_path), "new_readings", instance)
    run = in_progress(instance, "figures")
    stored(instance, "2025-01-13")
    assert ticks.tick() == []
    assert "asked for afterwards" in str(ticks.skipped)
    stored(instance, "2025-01-14")
    end(instance, run, dg.DagsterEventType.RUN_FAILURE)
    (request,) = ticks.tick()
    assert asked(request) == ("2025-01-13", "2025-01-14", {"daikin"})


def test_runs_that_make_the_figures_themselves(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    """Their readings wait while they go on, are done when they succeed, and are asked for when they fail."""
    ticks = Ticks(write_house(tmp_path), "new_readings", instance)
    good = in_progress(instance, "keep_up", {INCLUDES_FIGURES: "yes"})
    stored_by(instance, good, "2025-01-13")
    stored(instance, "2025-01-20")
    stored(instance, "2025-01-21", "files_b")
    assert [asked(request) for request in ticks.tick()] == [("2025-01-21", "2025-01-21", {"annex"})]
    end(instance, good, dg.DagsterEventType.RUN_SUCCESS)
    assert [asked(request)[:2] for request in ticks.tick()] == [("2025-01-20", "2025-01-20")]

    bad = in_progress(instance, "keep_up", {INCLUDES_FIGURES: "yes"})
    stored_by(instance, bad, "2025-01-14")
    assert ticks.tick() == []
    end(instance, bad, dg.DagsterEventType.RUN_FAILURE)
    assert [asked(request)[:2] for request in ticks.tick()] == [("2025-01-14", "2025-01-14")]
    assert ticks.tick() == []


def test_what_outlived_its_run_is_old(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    ticks = Ticks(write_house(tmp_path), "new_readings", instance)
    stored(instance, "2025-01-13", **{ARCHIVED_FROM_RUN: "some-run"})
    assert ticks.tick() == []
    stored(instance, "2025-01-14")
    assert [asked(request)[:2] for request in ticks.tick()] == [("2025-01-14", "2025-01-14")]


def test_a_source_that_feeds_nobody_asks_for_nothing(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = write_house(tmp_path)
    path = tmp_path / "hp.yaml"
    write_house(tmp_path, path.read_text().replace("sources:\n", "sources:\n  - {id: unused, kind: files}\n"))
    ticks = Ticks(write_house(tmp_path, path.read_text()), "new_readings", instance)
    stored(instance, "2025-01-13", "unused")
    assert ticks.tick() == []
    assert workspace.settings.sources


def test_ranges() -> None:
    day = date(2025, 1, 1)
    days = [day + timedelta(days=offset) for offset in (10, 0, 3, 4, 8, 8)]
    assert ranges(days) == [(day, day + timedelta(days=4)), (day + timedelta(days=8), day + timedelta(days=10))]
    assert ranges([]) == []


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as written to their end at once."""
    monkeypatch.setattr(drop_folder, "SETTLED_AFTER", timedelta(0))


def drop(workspace: Workspace, name: str, first: int = 0, last: int = 2000) -> None:
    """A file of readings in the drop folder."""
    folder = workspace.data / "drop" / "files_a"
    folder.mkdir(parents=True, exist_ok=True)
    readings()[first:last].write_parquet(folder / name)


def test_files_are_taken_in_once(tmp_path: Path, instance: dg.DagsterInstance, settled: None) -> None:
    workspace = write_house(tmp_path)
    ticks = Ticks(workspace, "drop_folder_files_a", instance)
    assert ticks.tick() == []
    assert ticks.skipped == "no file waits"
    drop(workspace, "a.parquet")
    (request,) = ticks.tick()
    assert request.tags[BEAT] == "drop folder"
    assert ticks.tick() == []
    assert "still wait" in str(ticks.skipped)

    drop(workspace, "b.parquet", 2000, 3000)
    (other,) = ticks.tick()
    assert other.run_key != request.run_key, "what waits is another thing"
    assert run_job(workspace, "take_in_files_a", instance).success
    assert ticks.tick() == []
    assert ticks.skipped == "no file waits"

    # The same content once more: it is asked for, and becomes nothing new.
    drop(workspace, "again.parquet")
    assert len(ticks.tick()) == 1
    before = workspace.lake.receipt("readings/files_a", "2025-01-13")
    assert run_job(workspace, "take_in_files_a", instance).success
    assert workspace.lake.receipt("readings/files_a", "2025-01-13") == before
    assert ticks.tick() == []


def test_files_that_still_wait_are_asked_for_again(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, settled: None
) -> None:
    """The run that was asked for failed, or was lost: nothing stays lying."""
    workspace = write_house(tmp_path)
    ticks = Ticks(workspace, "drop_folder_files_a", instance)
    drop(workspace, "a.parquet")
    (first,) = ticks.tick()
    assert ticks.tick() == []
    later = datetime.now(UTC) + sensors.RETRY_AFTER + timedelta(seconds=1)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return later

    monkeypatch.setattr(sensors, "datetime", Later)
    (second,) = ticks.tick()
    assert second.run_key != first.run_key
    assert ticks.tick() == []
    run = in_progress(instance, "take_in_files_a")
    drop(workspace, "b.parquet", 2000, 3000)
    assert ticks.tick() == []
    assert "in progress" in str(ticks.skipped)
    end(instance, run, dg.DagsterEventType.RUN_FAILURE)
    assert len(ticks.tick()) == 1


def test_a_file_that_is_being_written_waits(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = write_house(tmp_path)
    ticks = Ticks(workspace, "drop_folder_files_a", instance)
    drop(workspace, "young.parquet")
    drop(workspace, ".hidden.parquet")
    assert ticks.tick() == []
    assert ticks.skipped == "no file waits"
