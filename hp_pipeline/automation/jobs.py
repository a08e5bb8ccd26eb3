"""The jobs: keeping figures up to date, exports, and the upkeep of Dagster's own storage."""

import os
from pathlib import Path

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.stages import Outcome, stages
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.vocabulary.tables import tables

Job = dg.JobDefinition | UnresolvedAssetJobDefinition
"""A job as Dagster's definitions take it."""

FIGURES = tuple(name for name in tables() if name != "readings")
"""The tables that follow from readings."""


def figures_selection(heat_pumps: list[str]) -> list[dg.AssetKey]:
    """The assets of heat pumps that follow from readings."""
    return [asset_key(table, heat_pump) for heat_pump in heat_pumps for table in FIGURES]


def figures_job(workspace: Workspace) -> Job:
    """Everything from frames to all time, for the days that a run names."""
    pumps = [heat_pump.id for heat_pump in workspace.settings.heat_pumps]
    return dg.define_asset_job(
        "figures", selection=figures_selection(pumps), description="Frames, sessions and figures of the days of a run"
    )


def sweep_job(workspace: Workspace) -> dg.JobDefinition:
    """Whatever is due anywhere, over all that is stored: nothing that a lost trigger left behind stays behind."""

    @dg.op(pool="figures", description="Make every partition that is due, of all heat pumps and days")
    def make_what_is_due(context: dg.OpExecutionContext) -> None:
        failed: dict[str, Exception] = {}
        for heat_pump in workspace.settings.heat_pumps:
            for stage in stages(workspace.plant(heat_pump.id)):
                outcome = stage.bring_up_to_date(stage.keys())
                failed |= {f"{stage.asset(stage.tables[0])} {key}": error for key, error in outcome.failed.items()}
                for table, parts in outcome.stored.items():
                    for key, receipt in parts.items():
                        context.log_event(
                            dg.AssetMaterialization(
                                asset_key(table, heat_pump.id),
                                partition=key if tables()[table].partitions == "days" else None,
                                metadata={"dagster/partition_row_count": receipt.rows, "content": receipt.content},
                            )
                        )
        workspace.publish()
        workspace.lake.clean()
        Outcome(failed=failed).raise_failures()

    @dg.job(name="sweep", description="Make every partition that is due, of all heat pumps and days")
    def sweep() -> None:
        make_what_is_due()

    return sweep


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
