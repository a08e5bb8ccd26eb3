"""The jobs: keeping figures up to date, exports, and the upkeep of Dagster's own storage."""

import os
import secrets
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata

from hp_pipeline.assets.beat import Event, Failures, bring_sources, follow
from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.heat_pump import POOL
from hp_pipeline.assets.partitions import HOURLY, PARENT_RUN, days_between, range_of, ranges
from hp_pipeline.assets.stages import Outcome, in_rounds, tables_of
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


class Told:
    """What a step has to tell, gathered: stored together it is a tenth of what it is one by one."""

    def __init__(self, context: dg.OpExecutionContext) -> None:
        self._context = context
        self._materialisations: list[dg.AssetMaterialization] = []

    def take(self, events: Iterable[Event]) -> None:
        """Keep materialisations until `tell`; verdicts, which are rare, are told at once."""
        for event in events:
            if isinstance(event, dg.AssetMaterialization):
                self._materialisations.append(event)
            else:
                DagsterEvent.asset_check_evaluation(self._context.get_step_execution_context(), event)

    def tell(self) -> None:
        """Store all that was taken. The run's log has it as if the step had yielded one after the other."""
        step, batch = self._context.get_step_execution_context(), secrets.token_hex(8)
        last = len(self._materialisations) - 1
        for index, event in enumerate(self._materialisations):
            DagsterEvent.asset_materialization(step, event, DagsterEventBatchMetadata(batch, is_end=index == last))
        self._materialisations.clear()


def sweep_job(workspace: Workspace) -> dg.JobDefinition:
    """Whatever is due anywhere, over all that is stored: nothing that a lost trigger left behind stays behind."""

    @dg.op(pool=POOL, description="Make every partition that is due, of all plants and days")
    def make_what_is_due(context: dg.OpExecutionContext) -> None:
        failed: Failures = {}
        told = Told(context)
        for plant, steps in in_rounds(workspace.plants):
            told.take(follow(plant, None, failed, context.instance, steps=steps))
        told.tell()
        workspace.publish()
        workspace.lake.clean()
        workspace.lake.close_months()
        Outcome(failed=failed).raise_failures()

    @dg.job(name="sweep", description="Make every partition that is due, of all plants and days")
    def sweep() -> None:
        make_what_is_due()

    return sweep


def beat_job(workspace: Workspace, sources: Sequence[Source]) -> dg.JobDefinition:
    """What has landed of live sources, and all that follows from it, in one step (see `assets.beat`).

    The days that its tags name, and those for which readings came meanwhile, are brought up to date; weeks and longer
    once an hour. A run that takes
    the place of one that was cut off tells also of what that one had stored.
    """
    by_id = {source.id: source for source in sources}

    @dg.op(pool=POOL, description="Bring what has landed to the tables, and make the figures of it")
    def bring_and_follow(context: dg.OpExecutionContext) -> None:
        failed: Failures = {}
        first, last = range_of(context.run.tags)
        named = [] if first is None or last is None else days_between(first, last)
        again = PARENT_RUN in context.run.tags
        hourly = again or HOURLY in context.run.tags
        touched: dict[str, set[date]] = {}
        told = Told(context)
        looked_at = [day.isoformat() for day in named] if again else []
        said = []
        for source, brought, events in bring_sources(workspace, sources, failed, looked_at):
            told.take(events)
            touched[source] = {date.fromisoformat(key) for key in brought.changed}
            said.append(f"{source}: {brought.polls} polls, {brought.readings} rows, {brought.refused} refused")
        context.log.info("; ".join(said))
        workspace.publish()
        for plant in workspace.plants:
            fed = [asset.partition("/")[2] for asset in plant.fed_from]
            if not any(source in by_id for source in fed):
                continue
            days = {*named, *(day for source in fed for day in touched.get(source, ()))}
            if days:
                told.take(follow(plant, ranges(days), failed, context.instance, tell_all=hourly, days_only=not hourly))
        workspace.publish()
        told.tell()
        Outcome(failed=failed).raise_failures()

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
