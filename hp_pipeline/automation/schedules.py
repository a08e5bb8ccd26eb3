"""Schedules: keeping up with archives, exports, the nightly sweep and the upkeep of Dagster's storage."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.partitions import BEAT, range_tags
from hp_pipeline.assets.readings import KEPT_UP_UNTIL, SINCE
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.automation.jobs import Job, figures_selection
from hp_pipeline.automation.sensors import INCLUDES_FIGURES, in_progress
from hp_pipeline.settings import InfluxdbSource
from hp_pipeline.vocabulary.durations import format_duration

_PAGE, _PAGES = 200, 10
"""How many events a tick looks at, at most: a back-fill of years may lie between the last beat and now."""

_ON = dg.DefaultScheduleStatus.RUNNING


def cron_of(every: timedelta) -> str:
    """The cron line that comes nearest to an interval from a minute to a day, from midnight on."""
    minutes = max(1, round(every / timedelta(minutes=1)))
    if minutes < 60:
        return f"*/{minutes} * * * *"
    hours = min(24, round(minutes / 60))
    return f"0 */{hours} * * *" if hours < 24 else "0 0 * * *"


def keep_up(workspace: Workspace, source: InfluxdbSource) -> tuple[Job, dg.ScheduleDefinition]:
    """A job that asks an archive for what is new and makes the figures of it, and its schedule."""
    job = dg.define_asset_job(
        f"keep_up_{source.id}",
        selection=[asset_key("readings", source.id), *figures_selection(workspace.fed_by(source.id))],
        description=f"Ask {source.id} for what is new, and make the figures of it",
    )

    @dg.schedule(
        name=f"keep_up_{source.id}",
        cron_schedule=cron_of(source.every),
        job=job,
        execution_timezone="UTC",
        default_status=_ON,
        description=f"Every {format_duration(source.every)}, reaching back {format_duration(source.overlap)} for late "
        "readings; after a time in which this did not run, from where it left off",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if in_progress(context.instance, job.name):
            return dg.SkipReason(f"{source.id} is being asked; what comes meanwhile is asked for afterwards")
        now = context.scheduled_execution_time.astimezone(UTC)
        since = _kept_up_until(context.instance, workspace, source) - source.overlap
        first = max(since.date(), workspace.settings.site.start)
        return dg.RunRequest(
            run_key=now.isoformat(),
            tags={
                BEAT: "keep up",
                INCLUDES_FIGURES: "yes",
                SINCE: since.isoformat(),
                **range_tags(min(first, now.date()), now.date()),
            },
        )

    return job, schedule


def _kept_up_until(instance: dg.DagsterInstance, workspace: Workspace, source: InfluxdbSource) -> datetime:
    """Until when an archive was asked without a gap: as the newest beat that came so far says, or else to the newest
    day of which there are readings, or else not at all."""
    cursor = None
    for _ in range(_PAGES):
        page = instance.fetch_materializations(asset_key("readings", source.id), limit=_PAGE, cursor=cursor)
        for record in page.records:
            until = record.asset_materialization.metadata.get(KEPT_UP_UNTIL) if record.asset_materialization else None
            if until is not None:
                return datetime.fromisoformat(str(until.value))
        if not page.has_more:
            break
        cursor = page.cursor
    stored = workspace.lake.keys(f"readings/{source.id}")
    day = date.fromisoformat(stored[-1]) if stored else workspace.settings.site.start
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def export_schedules(workspace: Workspace) -> tuple[list[Job], list[dg.ScheduleDefinition]]:
    """CSV files: of yesterday each day, of last week each Monday, at the hour of the settings in the house's time.

    Those of the days (the week) before are written again, with what came late, or where an earlier run failed.
    """
    wanted = workspace.settings.outputs.csv
    zone = workspace.settings.site.time_zone
    jobs: list[Job] = []
    schedules: list[dg.ScheduleDefinition] = []
    for name, on, weekday, back in (
        ("daily_csv", wanted.daily, "*", 7),
        ("weekly_csv", wanted.weekly, "1", 14),
    ):
        if not on:
            continue
        job = dg.define_asset_job(name, selection=[asset_key(name, plant.id) for plant in workspace.plants])
        jobs.append(job)
        schedules.append(_export(name, job, f"{wanted.at.minute} {wanted.at.hour} * * {weekday}", zone, back))
    return jobs, schedules


def _export(name: str, job: Job, cron: str, zone: str, back: int) -> dg.ScheduleDefinition:
    @dg.schedule(name=name, cron_schedule=cron, job=job, execution_timezone=zone, default_status=_ON)
    def export(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        today = context.scheduled_execution_time.astimezone(ZoneInfo(zone)).date()
        first, last = today - timedelta(days=back), today - timedelta(days=1)
        return dg.RunRequest(run_key=f"{name}-{today}", tags={BEAT: "export", **range_tags(first, last)})

    return export


def nightly(job: dg.JobDefinition, cron: str, zone: str) -> dg.ScheduleDefinition:
    """Run a job every night at a time of the house."""
    return dg.ScheduleDefinition(
        name=f"nightly_{job.name}",
        job=job,
        cron_schedule=cron,
        execution_timezone=zone,
        default_status=_ON,
        tags={BEAT: "night"},
    )
