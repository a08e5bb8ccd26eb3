"""Schedules: what each tick asks for, in the time of the house."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl
import pytest
from dagster._core.test_utils import create_run_for_test
from dagster._utils.schedules import schedule_execution_time_iterator

from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.partitions import BEAT, RANGE_END, RANGE_START
from hp_pipeline.assets.readings import KEPT_UP_UNTIL, SINCE
from hp_pipeline.assets.stages import store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.automation import schedules
from hp_pipeline.automation.schedules import cron_of
from hp_pipeline.automation.sensors import INCLUDES_FIGURES
from hp_pipeline.definitions import build_definitions
from hp_pipeline.sources.readings import READINGS_SCHEMA
from hp_pipeline_tests.assets.small_house import write_house

SETTINGS = """\
site: {name: House, time_zone: Europe/Berlin, start: 2025-01-10}
heat_pumps:
  - id: daikin
    inputs: [{source: influx, profile: espaltherma_home_assistant}]
sources:
  - {id: influx, kind: influxdb, version: 1, url: "http://127.0.0.1:1", database: ha, every: 15min, overlap: 2h}
"""
BERLIN = ZoneInfo("Europe/Berlin")
READINGS = asset_key("readings", "influx")


@pytest.fixture
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """On disk: the context of a schedule opens its instance anew."""
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
        yield instance


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return write_house(tmp_path, SETTINGS)


def tick(workspace: Workspace, name: str, at: datetime, instance: dg.DagsterInstance) -> Any:
    """What a schedule asks for at a time."""
    definitions = build_definitions(workspace)
    context = dg.build_schedule_context(
        instance, scheduled_execution_time=at, repository_def=definitions.get_repository_def()
    )
    return definitions.get_schedule_def(name).evaluate_tick(context)


def asked(workspace: Workspace, at: datetime, instance: dg.DagsterInstance) -> tuple[str, str, str]:
    """First day, last day and first moment that a tick of the keep-up schedule asks for."""
    (request,) = tick(workspace, "keep_up_influx", at, instance).run_requests
    assert request.tags[INCLUDES_FIGURES] == "yes"
    assert request.tags[BEAT] == "keep up"
    return request.tags[RANGE_START], request.tags[RANGE_END], request.tags[SINCE]


def kept_up(instance: dg.DagsterInstance, day: str, until: datetime) -> None:
    """A beat brought readings."""
    instance.report_runless_asset_event(
        dg.AssetMaterialization(READINGS, partition=day, metadata={KEPT_UP_UNTIL: until.isoformat()})
    )


def test_keep_up_goes_on_from_where_it_was(workspace: Workspace, instance: dg.DagsterInstance) -> None:
    now = datetime(2025, 2, 10, 12, 30, tzinfo=UTC)
    kept_up(instance, "2025-02-10", now - timedelta(minutes=15))
    assert asked(workspace, now, instance) == ("2025-02-10", "2025-02-10", "2025-02-10T10:15:00+00:00")
    # Shortly after midnight the overlap lies in the day before.
    early = datetime(2025, 2, 11, 0, 30, tzinfo=UTC)
    kept_up(instance, "2025-02-11", early - timedelta(minutes=15))
    assert asked(workspace, early, instance) == ("2025-02-10", "2025-02-11", "2025-02-10T22:15:00+00:00")


def test_keep_up_after_a_week_of_silence_asks_for_the_week(
    workspace: Workspace, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "_PAGE", 5)
    kept_up(instance, "2025-02-03", datetime(2025, 2, 3, 8, tzinfo=UTC))
    for number in range(12):  # a back-fill came after it, of more days than a page has
        day = (date(2024, 1, 1) + timedelta(days=number)).isoformat()
        instance.report_runless_asset_event(dg.AssetMaterialization(READINGS, partition=day))
    now = datetime(2025, 2, 10, 12, 30, tzinfo=UTC)
    assert asked(workspace, now, instance) == ("2025-02-03", "2025-02-10", "2025-02-03T06:00:00+00:00")


def test_keep_up_at_the_very_first_asks_for_everything_since_the_start(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    now = datetime(2025, 1, 20, 12, 30, tzinfo=UTC)
    first, last, _ = asked(workspace, now, instance)
    assert (first, last) == ("2025-01-10", "2025-01-20")


def test_keep_up_goes_on_from_the_newest_day_that_commands_brought(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    time = datetime(2025, 1, 18, 9, tzinfo=UTC)
    store_readings(workspace, "influx", pl.DataFrame([("p", time, 1.0, None)], schema=READINGS_SCHEMA, orient="row"))
    first, last, since = asked(workspace, datetime(2025, 1, 20, 12, 30, tzinfo=UTC), instance)
    assert (first, last, since) == ("2025-01-17", "2025-01-20", "2025-01-17T22:00:00+00:00")


def test_keep_up_waits_for_the_run_before(workspace: Workspace, instance: dg.DagsterInstance) -> None:
    create_run_for_test(instance, job_name="keep_up_influx", status=dg.DagsterRunStatus.STARTED)
    answer = tick(workspace, "keep_up_influx", datetime(2025, 1, 20, 12, 30, tzinfo=UTC), instance)
    assert not answer.run_requests
    assert "is being asked" in answer.skip_message


def test_keep_up_of_the_future_start(workspace: Workspace, instance: dg.DagsterInstance) -> None:
    """Settings whose first day is yet to come ask for today, which is none of theirs, and break nothing."""
    first, last, _ = asked(workspace, datetime(2025, 1, 5, 12, 30, tzinfo=UTC), instance)
    assert first <= last == "2025-01-05"


@pytest.mark.parametrize(
    ("every", "cron"),
    [
        (timedelta(minutes=1), "*/1 * * * *"),
        (timedelta(minutes=15), "*/15 * * * *"),
        (timedelta(hours=1), "0 */1 * * *"),
        (timedelta(hours=5, minutes=40), "0 */6 * * *"),
        (timedelta(days=1), "0 0 * * *"),
    ],
)
def test_cron_of(every: timedelta, cron: str) -> None:
    assert cron_of(every) == cron


def times(workspace: Workspace, name: str, start: datetime, count: int) -> list[str]:
    """The next ticks of a schedule, in the house's time."""
    schedule = build_definitions(workspace).get_schedule_def(name)
    assert schedule.execution_timezone == "Europe/Berlin"
    ticks = schedule_execution_time_iterator(
        start.timestamp(), str(schedule.cron_schedule), schedule.execution_timezone, ascending=True
    )
    return [f"{next(ticks).astimezone(BERLIN):%a %Y-%m-%d %H:%M %z}" for _ in range(count)]


def test_exports_come_at_seven_in_summer_and_winter(workspace: Workspace) -> None:
    assert times(workspace, "daily_csv", datetime(2025, 3, 29, tzinfo=UTC), 3) == [
        "Sat 2025-03-29 07:00 +0100",
        "Sun 2025-03-30 07:00 +0200",
        "Mon 2025-03-31 07:00 +0200",
    ]
    assert times(workspace, "daily_csv", datetime(2025, 10, 25, 12, tzinfo=UTC), 2) == [
        "Sun 2025-10-26 07:00 +0100",
        "Mon 2025-10-27 07:00 +0100",
    ]
    assert times(workspace, "weekly_csv", datetime(2025, 3, 29, tzinfo=UTC), 2) == [
        "Mon 2025-03-31 07:00 +0200",
        "Mon 2025-04-07 07:00 +0200",
    ]
    assert times(workspace, "nightly_sweep", datetime(2025, 3, 29, 12, tzinfo=UTC), 1)[0].startswith("Sun 2025-03-30")


@pytest.mark.parametrize("day", [date(2025, 3, 30), date(2025, 3, 31), date(2025, 10, 26), date(2025, 10, 27)])
def test_exports_are_of_finished_local_days(workspace: Workspace, instance: dg.DagsterInstance, day: date) -> None:
    at = datetime(day.year, day.month, day.day, 7, tzinfo=BERLIN)
    (request,) = tick(workspace, "daily_csv", at.astimezone(UTC), instance).run_requests
    assert request.tags[RANGE_END] == (day - timedelta(days=1)).isoformat()
    assert request.tags[RANGE_START] == (day - timedelta(days=7)).isoformat(), "what came late is written, too"
    again = tick(workspace, "daily_csv", at.astimezone(UTC), instance).run_requests[0]
    assert again.run_key == request.run_key, "a day is exported once"


def test_weeks_are_exported_on_monday(workspace: Workspace, instance: dg.DagsterInstance) -> None:
    at = datetime(2025, 3, 31, 7, tzinfo=BERLIN)
    (request,) = tick(workspace, "weekly_csv", at, instance).run_requests
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2025-03-17", "2025-03-30")


def test_all_schedules_and_sensors_run_from_the_start(workspace: Workspace) -> None:
    repository = build_definitions(workspace).get_repository_def()
    assert {schedule.name for schedule in repository.schedule_defs} == {
        "keep_up_influx", "daily_csv", "weekly_csv", "nightly_sweep", "nightly_maintenance"
    }  # fmt: skip
    assert all(one.default_status == dg.DefaultScheduleStatus.RUNNING for one in repository.schedule_defs)
    assert all(one.default_status == dg.DefaultSensorStatus.RUNNING for one in repository.sensor_defs)
