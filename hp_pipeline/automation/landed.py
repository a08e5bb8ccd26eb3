"""Sensors of live sources: landed readings become runs over the days they touch, gaps become repairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.landed import open_gaps
from hp_pipeline.assets.partitions import BEAT, HOURLY, LANDED, range_tags, ranges
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.automation.jobs import Job, figures_selection
from hp_pipeline.automation.sensors import INCLUDES_FIGURES, in_progress
from hp_pipeline.landing.store import FILE, Landing
from hp_pipeline.settings import Source
from hp_pipeline.vocabulary.durations import format_duration

REPAIR_EVERY = timedelta(minutes=30)
"""How often gaps are looked for, and the shortest time between two attempts at the same ones."""

_SHORTEST_TICK, _LONGEST_TICK = timedelta(seconds=20), timedelta(minutes=5)
"""How often the landing is looked at, a third of the beat within these bounds: every look writes tens of kilobytes."""


_HOUR = timedelta(hours=1)


def landed_job(workspace: Workspace, sources: Sequence[Source]) -> Job:
    """What has landed of all live sources, and the figures of it, in one run."""
    fed = workspace.fed_by(*(source.id for source in sources))
    return dg.define_asset_job(
        "landed",
        selection=[*(asset_key("readings", source.id) for source in sources), *figures_selection(fed)],
        description="Bring what live sources told from the landing to the lake, and make the figures of it",
    )


def landed_readings_sensor(
    workspace: Workspace, sources: Sequence[Source], beat: Job, full: Job
) -> dg.SensorDefinition:
    """Asks for one run over the days that newly landed readings touch, every beat; now and then for a full one.

    Its cursor is how far the landing was looked at, by source: the number of the last poll (`seen`). It says which
    landing that was, because the numbers of another one mean something else. Until the run that was asked for last has
    succeeded, the one before it counts (`done`): what failed is asked for again with what is new.
    """
    every, full_every = workspace.settings.automation.beat, workspace.settings.automation.full_run
    tick = min(max(every / 3, _SHORTEST_TICK), _LONGEST_TICK)

    @dg.sensor(
        name="landed_readings",
        jobs=[beat, full],
        minimum_interval_seconds=int(tick.total_seconds()),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Brings what live sources told to the tables, every {format_duration(every)}, with the figures of "
        f"it; every {format_duration(full_every)} as a run over assets, with all checks, previews and pictures",
    )
    def landed_readings(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        last: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
        asked = datetime.fromisoformat(last["asked"]) if last else None
        # Ticks come a little late, each by another bit: the one nearest to the beat is the beat.
        if asked is not None and asked <= now < asked + every - tick / 2:
            return dg.SkipReason(f"the next beat is at {asked + every:%H:%M:%S} UTC")
        if not (workspace.data / FILE).exists():
            return dg.SkipReason("nothing has landed yet: does the collector run?")
        if in_progress(context.instance, beat.name) or in_progress(context.instance, full.name):
            return dg.SkipReason("what has landed is being brought; what came meanwhile follows")
        with Landing(workspace.data, read_only=True) as landing:
            newest, identity = landing.newest(), landing.identity
            same = last.get("landing") == identity
            done: dict[str, int] = (
                last.get("seen" if _succeeded(context.instance, last["runs"]) else "done", {}) if same else {}
            )
            touched: dict[str, set[date]] = {
                source.id: landing.days_since(source.id, done.get(source.id, 0), newest[source.id])
                for source in sources
                if newest.get(source.id, 0) > done.get(source.id, 0)
            }
        start = workspace.settings.site.start
        days = {day for found in touched.values() for day in found if start <= day <= now.date()}
        if not days:
            return dg.SkipReason("nothing new has landed")
        whole = datetime.fromisoformat(last["full"]) if "full" in last else None
        is_full = whole is None or not whole <= now < whole + full_every - tick / 2
        hour = datetime.fromisoformat(last["hour"]) if "hour" in last else None
        is_hourly = is_full or hour is None or not hour <= now < hour + _HOUR - tick / 2
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    job_name=full.name if is_full else beat.name,
                    run_key=f"{identity}-{max(newest.values())}-{first}-{now:%Y%m%dT%H%M%S}",
                    asset_selection=_selection(workspace, list(touched)) if is_full else None,
                    tags={
                        BEAT: LANDED,
                        INCLUDES_FIGURES: "yes",
                        **({HOURLY: "yes"} if is_hourly else {}),
                        **range_tags(first, last_day),
                    },
                )
                for first, last_day in ranges(days)
            ],
            cursor=json.dumps(
                {
                    "landing": identity,
                    "done": done,
                    "seen": newest,
                    "asked": now.isoformat(),
                    "runs": len(ranges(days)),
                    "full": now.isoformat() if is_full or whole is None else whole.isoformat(),
                    "hour": now.isoformat() if is_hourly or hour is None else hour.isoformat(),
                }
            ),
        )

    return landed_readings


def _selection(workspace: Workspace, sources: Sequence[str]) -> list[dg.AssetKey]:
    """The readings of sources, and all that is made of them."""
    readings = [asset_key("readings", source) for source in sources]
    return [*readings, *figures_selection(workspace.fed_by(*sources))]


def _succeeded(instance: dg.DagsterInstance, count: int) -> bool:
    """Whether the runs over what has landed that were asked for last (or their newest attempts) went well."""
    newest = instance.get_runs(dg.RunsFilter(tags={BEAT: LANDED}), limit=count)
    return len(newest) == count and all(run.is_success for run in newest)


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
