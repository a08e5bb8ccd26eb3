"""The jobs: keeping figures up to date, exports, and the upkeep of Dagster's own storage."""

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from hp_pipeline.assets.beat import Failures, bring_sources, follow
from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.heat_pump import POOL
from hp_pipeline.assets.partitions import PARENT_RUN, days_between, range_of, ranges
from hp_pipeline.assets.stages import Outcome, tables_of
from hp_pipeline.assets.workspace import Plant, Workspace
from hp_pipeline.settings import Source

Job = dg.JobDefinition | UnresolvedAssetJobDefinition
"""A job as Dagster's definitions take it."""


def figures_selection(plants: Iterable[Plant]) -> list[dg.AssetKey]:
    """The assets of plants that follow from readings."""
    return [asset_key(table, plant.id) for plant in plants for table in tables_of(plant)]


def figures_job(workspace: Workspace) -> Job:
    """Everything from frames to all time, for the days that a run names."""
    return dg.define_asset_job(
        "figures",
        selection=figures_selection(workspace.plants),
        description="Frames, sessions and figures of the days of a run",
    )


def sweep_job(workspace: Workspace) -> dg.JobDefinition:
    """Whatever is due anywhere, over all that is stored: nothing that a lost trigger left behind stays behind."""

    @dg.op(pool=POOL, description="Make every partition that is due, of all plants and days")
    def make_what_is_due(context: dg.OpExecutionContext) -> Iterator[Any]:
        failed: Failures = {}
        for plant in workspace.plants:
            yield from follow(plant, None, failed, context.instance)
        workspace.publish()
        workspace.lake.clean()
        Outcome(failed=failed).raise_failures()
        yield dg.Output(None)

    @dg.job(name="sweep", description="Make every partition that is due, of all plants and days")
    def sweep() -> None:
        make_what_is_due()

    return sweep


def beat_job(workspace: Workspace, sources: Sequence[Source]) -> dg.JobDefinition:
    """What has landed of live sources, and all that follows from it, in one step (see `assets.beat`).

    The days that its tags name, and those for which readings came meanwhile, are brought up to date. A run that takes
    the place of one that was cut off tells also of what that one had stored.
    """
    by_id = {source.id: source for source in sources}

    @dg.op(pool=POOL, description="Bring what has landed to the tables, and make the figures of it")
    def bring_and_follow(context: dg.OpExecutionContext) -> Iterator[Any]:
        failed: Failures = {}
        first, last = range_of(context.run.tags)
        named = [] if first is None or last is None else days_between(first, last)
        again = PARENT_RUN in context.run.tags
        touched: dict[str, set[date]] = {}
        looked_at = [day.isoformat() for day in named] if again else []
        for source, brought, events in bring_sources(workspace, sources, failed, looked_at):
            yield from events
            touched[source] = {date.fromisoformat(key) for key in brought.changed}
            context.log.info(f"{source}: {brought.polls} polls, {brought.readings} rows, {brought.refused} refused")
        workspace.publish()
        for plant in workspace.plants:
            fed = [asset.partition("/")[2] for asset in plant.readings]
            if not any(source in by_id for source in fed):
                continue
            days = {*named, *(day for source in fed for day in touched.get(source, ()))}
            if days:
                yield from follow(plant, ranges(days), failed, context.instance, tell_all=again)
        workspace.publish()
        Outcome(failed=failed).raise_failures()
        yield dg.Output(None)

    @dg.job(name="beat", description="Bring what live sources told to the tables, and make the figures of it")
    def beat() -> None:
        bring_and_follow()

    return beat


def maintenance_job() -> dg.JobDefinition:
    """Keep Dagster's own storage below its limit, without forgetting which partitions exist."""

    @dg.op(description="Delete old runs, keep what they materialised")
    def tidy_up(context: dg.OpExecutionContext) -> None:
        # Here, because it loads what Dagster's databases need: definitions are to load quickly.
        from hp_pipeline.services.maintenance import maintain_instance

        report = maintain_instance(context.instance, Path(os.environ["DAGSTER_HOME"]))
        context.log.info(
            f"{report.runs_deleted} old runs deleted, {report.events_archived} of their materialisations kept; "
            f"{report.bytes_before / 1e6:.0f} MB before, {report.bytes_after / 1e6:.0f} MB after"
        )
        if not report.within_limit:
            context.log.warning("Dagster's storage is still above its limit: what is left is younger than a day")

    @dg.job(name="maintenance", description="Keep Dagster's own storage small")
    def maintenance() -> None:
        tidy_up()

    return maintenance
