"""Sensors of live sources: landed readings become runs over the days they touch, gaps become repairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.landed import open_gaps
from hp_pipeline.assets.partitions import BEAT, range_tags
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.automation.jobs import Job, figures_selection
from hp_pipeline.automation.sensors import INCLUDES_FIGURES, in_progress, ranges
from hp_pipeline.landing.store import FILE, Landing
from hp_pipeline.settings import Source
from hp_pipeline.vocabulary.durations import format_duration

REPAIR_EVERY = timedelta(minutes=30)
"""How often gaps are looked for, and the shortest time between two attempts at the same ones."""

_TICK = 15  # seconds


def landed_job(workspace: Workspace, sources: Sequence[Source]) -> Job:
    """What has landed of all live sources, and the figures of it, in one run."""
    settings = workspace.settings
    pumps = dict.fromkeys(pump.id for source in sources for pump, _ in settings.inputs_of(source.id))
    return dg.define_asset_job(
        "landed",
        selection=[*(asset_key("readings", source.id) for source in sources), *figures_selection(list(pumps))],
        description="Bring what live sources told from the landing to the lake, and make the figures of it",
    )


def landed_readings_sensor(workspace: Workspace, sources: Sequence[Source], job: Job) -> dg.SensorDefinition:
    """Asks for one run over the days that newly landed readings touch, every beat.

    Its cursor is how far the landing was looked at, by source: the number of the last poll. It says which landing that
    was, because the numbers of another one mean something else.
    """
    beat = workspace.settings.automation.beat

    @dg.sensor(
        name="landed_readings",
        job=job,
        minimum_interval_seconds=_TICK,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Brings what live sources told to the lake, every {format_duration(beat)}, with the figures of it",
    )
    def landed_readings(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        last: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
        asked = datetime.fromisoformat(last["asked"]) if last else None
        if asked is not None and asked <= now < asked + beat:
            return dg.SkipReason(f"the next beat is at {asked + beat:%H:%M:%S} UTC")
        if not (workspace.data / FILE).exists():
            return dg.SkipReason("nothing has landed yet: does the collector run?")
        if in_progress(context.instance, job.name):
            return dg.SkipReason("what has landed is being brought; what came meanwhile follows")
        with Landing(workspace.data, read_only=True) as landing:
            newest = landing.newest()
            seen: dict[str, int] = last.get("seen", {}) if last.get("landing") == landing.identity else {}
            touched: dict[str, set[date]] = {
                source.id: landing.days_since(source.id, seen.get(source.id, 0), newest[source.id])
                for source in sources
                if newest.get(source.id, 0) > seen.get(source.id, 0)
            }
            identity = landing.identity
        start = workspace.settings.site.start
        days = {day for found in touched.values() for day in found if start <= day <= now.date()}
        cursor = json.dumps({"landing": identity, "seen": newest, "asked": now.isoformat()})
        if not days:
            return dg.SkipReason("nothing new has landed")
        keys = [
            key
            for source in sources
            if touched.get(source.id)
            for key in [
                asset_key("readings", source.id),
                *figures_selection([pump.id for pump, _ in workspace.settings.inputs_of(source.id)]),
            ]
        ]
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    run_key=f"{identity}-{max(newest.values())}-{first}",
                    asset_selection=list(dict.fromkeys(keys)),
                    tags={BEAT: "landed", INCLUDES_FIGURES: "yes", **range_tags(first, last_day)},
                )
                for first, last_day in ranges(days)
            ],
            cursor=cursor,
        )

    return landed_readings


def gaps_sensor(workspace: Workspace, source: Source, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Asks for a repair when polls of a source that remembers were missed."""

    @dg.sensor(
        name=f"gaps_{source.id}",
        job=job,
        minimum_interval_seconds=int(REPAIR_EVERY.total_seconds()),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Asks {source.id} for the readings of stretches in which it could not be polled",
    )
    def gaps(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        if not (workspace.data / FILE).exists():
            return dg.SkipReason("nothing has landed yet: does the collector run?")
        if in_progress(context.instance, job.name):
            return dg.SkipReason("a repair is in progress")
        with Landing(workspace.data, read_only=True) as landing:
            found = open_gaps(landing, source, now)
        if not found:
            return dg.SkipReason("no gap that was not asked for")
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=f"{now:%Y%m%dT%H%M%S}", tags={BEAT: "gap repair"})])

    return gaps
