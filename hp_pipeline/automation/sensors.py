"""Sensors: what has landed is looked at, and a run over the days it touches is asked for."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.partitions import BEAT, LANDED, range_tags, ranges
from hp_pipeline.assets.readings import files_that_wait
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.automation.jobs import Job, figures_selection
from hp_pipeline.settings import FilesSource

RETRY_AFTER = timedelta(minutes=10)
"""Files that still wait after a run had been asked for are asked for again after this."""

LOOK_EVERY, FOLLOW_FILES_EVERY, FOLLOW_EVERY = 60, 30, 300
"""Seconds between two looks at drop folders, and at new readings with and without files: each look writes tens of
kilobytes, whatever it finds."""

INCLUDES_FIGURES = "hp_pipeline/includes_figures"
"""Tag of runs that make the figures of the readings that they bring."""

_PAGE = 1000


def drop_folder_sensor(workspace: Workspace, source: FilesSource, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Asks for a run when files wait in a drop folder, and again while some still wait."""

    @dg.sensor(
        name=f"drop_folder_{source.id}",
        job=job,
        minimum_interval_seconds=LOOK_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Takes in files that are dropped into {workspace.drop_folder(source)}",
    )
    def drop_folder(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        files = files_that_wait(workspace, source, now)
        if not files:
            return dg.SkipReason("no file waits")
        if in_progress(context.instance, job.name):
            return dg.SkipReason("a run that takes in files is in progress")
        waiting = hashlib.sha256("\n".join(file.key for file in files).encode()).hexdigest()[:16]
        last = json.loads(context.cursor) if context.cursor else {}
        asked = datetime.fromisoformat(last["asked"]) if last else None
        if last.get("waiting") == waiting and asked is not None and now - asked < RETRY_AFTER:
            return dg.SkipReason(f"{len(files)} files still wait; asked for at {asked:%H:%M}, and again in a while")
        return dg.SensorResult(
            run_requests=[dg.RunRequest(run_key=f"{waiting}-{now:%Y%m%dT%H%M%S}", tags={BEAT: "drop folder"})],
            cursor=json.dumps({"waiting": waiting, "asked": now.isoformat()}),
        )

    return drop_folder


def new_readings_sensor(workspace: Workspace, job: Job) -> dg.SensorDefinition:
    """Follows the materialisations of readings and asks for the figures of the days that they touched.

    Files are what it waits for. The runs that ask archives, or bring what has landed, make the figures themselves:
    where there is nothing else, a repair, or who materialises readings by hand, can wait a little.
    """
    takes_files = any(isinstance(source, FilesSource) for source in workspace.settings.sources)

    @dg.sensor(
        name="new_readings",
        job=job,
        minimum_interval_seconds=FOLLOW_FILES_EVERY if takes_files else FOLLOW_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for frames, sessions and figures of the days for which readings came",
    )
    def new_readings(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        cursor: dict[str, int] = json.loads(context.cursor) if context.cursor else {}
        if in_progress(context.instance, job.name):
            return dg.SkipReason("figures are being made; what came meanwhile is asked for afterwards")
        requests = []
        for source in workspace.settings.sources:
            days, seen = _touched(context.instance, asset_key("readings", source.id), cursor.get(source.id, 0))
            cursor[source.id] = seen
            fed = workspace.fed_by(source.id)
            for first, last in ranges(days) if fed else []:
                requests.append(
                    dg.RunRequest(
                        run_key=f"{source.id}-{seen}-{first}",
                        asset_selection=figures_selection(fed),
                        tags={BEAT: "new readings", **range_tags(first, last)},
                    )
                )
        if not requests:
            return dg.SensorResult(skip_reason="no new readings", cursor=json.dumps(cursor))
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(cursor))

    return new_readings


def in_progress(instance: dg.DagsterInstance, job_name: str) -> bool:
    """Whether a run of a job waits or is under way."""
    statuses = [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
    ]
    return bool(instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=statuses), limit=1))


def _touched(instance: dg.DagsterInstance, key: dg.AssetKey, after: int) -> tuple[set[date], int]:
    """Days for which readings were stored since the event `after`, and the last event seen.

    A run that makes the figures itself is left to do so: while it is in progress its events wait, when it has
    succeeded they are done (or when those who asked for it ask again for what failed). Events that the upkeep of the
    storage has reported anew are old.
    """
    days: set[date] = set()
    seen = after
    runs: dict[str, dg.DagsterRun | None] = {}  # thousands of events may come from one run
    while True:
        page = instance.fetch_materializations(
            dg.AssetRecordsFilter(key, after_storage_id=seen), limit=_PAGE, ascending=True
        )
        for record in page.records:
            if record.run_id not in runs:
                runs[record.run_id] = instance.get_run_by_id(record.run_id) if record.run_id else None
            run = runs[record.run_id]
            makes_figures = run is not None and INCLUDES_FIGURES in run.tags
            asks_again = run is not None and run.is_finished and run.tags.get(BEAT) == LANDED
            is_done = run is not None and makes_figures and (run.is_success or asks_again)
            if not (_is_archived(record) or is_done):
                if run is not None and makes_figures and not run.is_finished:
                    return days, seen
                if record.partition_key:
                    days.add(date.fromisoformat(record.partition_key))
            seen = record.storage_id
        if not page.has_more or not page.records:
            return days, seen


def _is_archived(record: dg.EventLogRecord) -> bool:
    """Whether the event has outlived its run: then it is older than anything that could still wait."""
    from hp_pipeline.services.maintenance import ARCHIVED_FROM_RUN  # here: it takes a while to load

    materialization = record.asset_materialization
    return materialization is not None and ARCHIVED_FROM_RUN in (materialization.tags or {})
