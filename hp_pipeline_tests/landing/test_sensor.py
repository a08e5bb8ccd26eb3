"""What has landed becomes runs over the days that it touches; gaps are asked for again."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from hp_pipeline.assets import landed
from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.landed import REPAIR_AFTER, bring, open_gaps, repair, repair_job
from hp_pipeline.assets.partitions import BEAT, HOURLY, LANDED, PARENT_RUN, range_of, range_tags
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.automation.landed import gaps_sensor
from hp_pipeline.definitions import build_definitions
from hp_pipeline.landing.store import FILE, Landing
from hp_pipeline.settings import load_settings
from hp_pipeline.sources import registry
from hp_pipeline.sources.live import Outcome, Polled, PollError, Reading
from hp_pipeline.vocabulary.tables import tables
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


def jobs(requests: list[dg.RunRequest]) -> list[str | None]:
    return [request.job_name for request in requests]


def ran(instance: dg.DagsterInstance, requests: list[dg.RunRequest], *, well: bool = True) -> None:
    """The runs that were asked for ended."""
    for request in requests:
        status = dg.DagsterRunStatus.SUCCESS if well else dg.DagsterRunStatus.FAILURE
        instance.add_run(dg.DagsterRun(job_name=request.job_name or "", tags=request.tags, status=status))


def test_one_run_over_the_days_touched_every_beat(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = tiny_house(tmp_path)
    assert "nothing has landed" in tick(workspace, instance, None).skip_message
    land(workspace, NOON, 2000)
    first = tick(workspace, instance, None)
    assert days(first.run_requests) == [("2026-01-10", "2026-01-11")]
    # The first one is a run over assets, so that the pages have all there is to see.
    assert jobs(first.run_requests) == ["landed"]
    wanted = {asset_key("readings", "tiny"), asset_key("frames", "pump"), asset_key("all_time", "pump")}
    assert wanted <= set(first.run_requests[0].asset_selection)
    ran(instance, first.run_requests)
    assert "next beat" in tick(workspace, instance, first.cursor).skip_message
    assert "nothing new" in tick(workspace, instance, older(first.cursor)).skip_message
    # Late readings of an old day and new ones of another: each its own range.
    land(workspace, NOON - timedelta(days=6), 1, first=5000)
    land(workspace, NOON + timedelta(days=1), 1, first=5001)
    second = tick(workspace, instance, older(first.cursor))
    assert days(second.run_requests) == [("2026-01-04", "2026-01-04"), ("2026-01-11", "2026-01-11")]
    assert jobs(second.run_requests) == ["beat", "beat"]
    # One of them fails: what it was to bring is asked for again, with what is new.
    ran(instance, second.run_requests[:1], well=False)
    ran(instance, second.run_requests[1:])
    land(workspace, NOON + timedelta(days=2), 1, first=5002)
    third = tick(workspace, instance, older(second.cursor))
    assert days(third.run_requests) == [("2026-01-04", "2026-01-04"), ("2026-01-11", "2026-01-12")]
    ran(instance, third.run_requests)
    assert "nothing new" in tick(workspace, instance, older(third.cursor)).skip_message


def test_every_few_hours_it_is_a_run_over_assets(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = tiny_house(tmp_path)
    cursor, asked = None, []
    for beat in range(4):
        land(workspace, NOON + timedelta(minutes=beat), 1, first=beat + 1)
        found = tick(workspace, instance, cursor)
        ran(instance, found.run_requests)
        asked += jobs(found.run_requests)
        content = json.loads(older(found.cursor))
        if beat == 2:
            content["full"] = (datetime.fromisoformat(content["full"]) - timedelta(hours=6)).isoformat()
        cursor = json.dumps(content)
    assert asked == ["landed", "beat", "beat", "landed"]


def test_another_landing_is_looked_at_from_its_beginning(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = tiny_house(tmp_path)
    land(workspace, NOON, 50)
    first = tick(workspace, instance, None)
    for path in workspace.data.glob(f"{FILE}*"):
        path.unlink()
    land(workspace, NOON + timedelta(days=3), 5)
    assert days(tick(workspace, instance, older(first.cursor)).run_requests) == [("2026-01-13", "2026-01-13")]


def test_a_run_over_assets_brings_the_readings_and_all_figures(tmp_path: Path) -> None:
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
    assert_as_by_hand(workspace, tmp_path / "by_hand", 500)
    assert workspace.lake.keys("sessions/pump") == ["2026-01-10"]


def assert_as_by_hand(workspace: Workspace, folder: Path, polls: int) -> None:
    """The tables are those of a house in which the same has landed, and was brought at once."""
    other = tiny_house(folder)
    land(other, NOON, polls)
    bring(other, "tiny")
    make_tables(other)
    assert contents(workspace) == contents(other)


def beat(
    workspace: Workspace,
    instance: dg.DagsterInstance,
    parent: str | None = None,
    last: date = date(2026, 1, 11),
    hourly: bool = True,
) -> tuple[dict[str, list[str | None]], list[tuple[str, str, bool]], bool]:
    """A beat over some days: what it told as materialised, which verdicts, and whether it went well."""
    tags = {BEAT: LANDED, **range_tags(date(2026, 1, 10), last)} | ({HOURLY: "yes"} if hourly else {})
    job = build_definitions(workspace).resolve_job_def("beat")
    if parent is not None:
        tags |= {PARENT_RUN: parent}
    result = job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
    told: dict[str, list[str | None]] = {}
    verdicts = []
    for entry in instance.all_logs(result.run_id):
        event = entry.dagster_event
        if event is None:
            continue
        if event.is_step_materialization:
            key = event.asset_key
            assert key is not None
            told.setdefault(key.to_user_string(), []).append(event.partition)
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            verdict = event.asset_check_evaluation_data
            verdicts.append((verdict.asset_key.to_user_string(), verdict.check_name, verdict.passed))
    return told, verdicts, result.success


def test_a_beat_tells_what_changed_and_which_verdicts_turned(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = tiny_house(tmp_path / "house")
    land(workspace, NOON, 300)
    told, verdicts, well = beat(workspace, instance)
    assert well and told["tiny_readings"] == told["pump_frames"] == told["pump_daily"] == ["2026-01-10"]
    assert told["pump_all_time"] == [None]
    assert ("pump_frames", "made", True) in verdicts and ("pump_daily", "coverage", True) in verdicts
    assert_as_by_hand(workspace, tmp_path / "first", 300)
    # Nothing new: nothing is told, but once an hour.
    assert beat(workspace, instance, hourly=False) == ({}, [], True)
    # More of the same day: its readings are told, verdicts that are what they were are not.
    land(workspace, NOON + timedelta(seconds=30) * 300, 60, first=301)
    told, verdicts, _ = beat(workspace, instance, last=date(2026, 1, 10), hourly=False)
    assert told == {"tiny_readings": ["2026-01-10"]} and verdicts == []
    other = tiny_house(tmp_path / "second")
    land(other, NOON, 360)
    bring(other, "tiny")
    make_tables(other)
    of_days = {key for key in contents(other) if tables()[key[0].partition("/")[0]].partitions == "days"}
    assert {key: contents(workspace)[key] for key in of_days} == {key: contents(other)[key] for key in of_days}
    # Once an hour all is told, and weeks and longer follow.
    told, _, _ = beat(workspace, instance, last=date(2026, 1, 10))
    assert told["pump_frames"] == ["2026-01-10"] and told["pump_all_time"] == [None]
    assert contents(workspace) == contents(other)
    # A late day is told of at once.
    land(workspace, NOON - timedelta(days=1), 10, first=900)
    told, _, _ = beat(workspace, instance, last=date(2026, 1, 10), hourly=False)
    assert told["tiny_readings"] == told["pump_frames"] == ["2026-01-09"]
    # Who takes the place of a run that was cut off tells of what that one may not have told.
    told, _, _ = beat(workspace, instance, parent="1c1ba6a5-5a0b-4a3e-9c39-6d9b7a4a2f11")
    assert told["tiny_readings"] == ["2026-01-10"] and "2026-01-10" in told["pump_frames"]


def test_what_cannot_be_made_is_said_and_keeps_nothing_else(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = tiny_house(tmp_path)
    land(workspace, NOON, 300)
    assert beat(workspace, instance)[2]
    damaged = workspace.lake.path("readings/tiny", "2026-01-10")
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    workspace.lake.path("frames/pump", "2026-01-10").unlink()
    land(workspace, NOON + timedelta(days=3), 100, first=301)
    told, verdicts, well = beat(workspace, instance, last=date(2026, 1, 13))
    assert not well and ("pump_frames", "made", False) in verdicts
    assert told["tiny_readings"] == ["2026-01-13"]
    assert "2026-01-13" in told["pump_frames"] and "2026-01-13" in told["pump_daily"]
    damaged.write_bytes(content)
    told, verdicts, well = beat(workspace, instance, last=date(2026, 1, 13))
    assert well and ("pump_frames", "made", True) in verdicts


class Remembering:
    """A device that remembers a reading a minute; it fails when it is asked for the first time."""

    failures = 1
    until: datetime | None = None
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
        while time < (self.until or stop + timedelta(minutes=5)):  # more than it was asked for, as devices do
            yield Polled([Reading("power", 500.0, time=time), Reading("power", float("nan"), time=time)])
            time += timedelta(minutes=1)


@pytest.fixture
def remembering(monkeypatch: pytest.MonkeyPatch) -> type[Remembering]:
    module = types.ModuleType("remembering")
    module.open_source = lambda settings: Remembering()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "remembering", module)
    monkeypatch.setitem(registry.LIVE_KINDS, "shelly", "remembering")
    Remembering.failures, Remembering.asked, Remembering.until = 1, [], None
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
        assert (
            open_gaps(landing, source, end + REPAIR_AFTER - timedelta(seconds=1)) == []
        )  # its newest minutes may lack
        assert open_gaps(landing, source, end + REPAIR_AFTER) == [(begin, end)]
    job = repair_job(workspace, source)
    requested = gaps_sensor(workspace, source, job)(dg.build_sensor_context(instance))
    assert len(requested.run_requests) == 1  # type: ignore[union-attr]
    said: list[str] = []
    now = end + REPAIR_AFTER
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


def test_a_repair_that_brought_a_part_is_not_finished(tmp_path: Path, remembering: type[Remembering]) -> None:
    """As when the device had not yet written its newest minutes, or its answer was cut."""
    tiny_house(tmp_path)
    (tmp_path / "hp.yaml").write_text(SETTINGS.replace("luxtronik", "shelly"), encoding="utf-8")
    workspace = Workspace(load_settings(tmp_path / "hp.yaml"), tmp_path / "data")
    (source,) = workspace.settings.sources
    start = NOW.replace(second=0) - timedelta(hours=1)
    land(workspace, start, 2, every=10)
    land(workspace, start + timedelta(minutes=10), 2, first=100, every=10)
    now = start + timedelta(minutes=10) + REPAIR_AFTER
    said: list[str] = []
    Remembering.failures, Remembering.until = 0, start + timedelta(minutes=7)
    assert repair(workspace, source, now, said.append).readings == 6
    assert "part" in said[-1]
    Remembering.until = None
    done = repair(workspace, source, now, said.append)
    assert (done.gaps, done.readings) == (1, 9)
    assert repair(workspace, source, now, said.append).gaps == 0
    rows = workspace.lake.read("readings/tiny", workspace.lake.keys("readings/tiny"))
    assert rows is not None and rows.filter(pl.col("origin") == landed.HISTORY).height == 9
    # What never comes is not asked for without end.
    land(workspace, start + timedelta(minutes=30), 2, first=200, every=10)
    Remembering.until = start + timedelta(minutes=20)
    now = start + timedelta(minutes=30) + REPAIR_AFTER
    attempts = [repair(workspace, source, now, said.append).gaps for _ in range(landed.REPAIR_ATTEMPTS + 2)]
    assert attempts == [1] * landed.REPAIR_ATTEMPTS + [0, 0]
