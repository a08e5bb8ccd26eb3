"""A beat: what has landed and all that follows from it, in one step that tells no more than what became other.

A run over assets writes events for every asset, output and check, changed or not: megabytes, each time. A beat comes
every few minutes. It makes the same partitions by the same stages, and reports

- a materialisation of each partition whose content changed, with its numbers and preview; of the newest day, which
  changes at every beat, the readings each time and all that follows once an hour, when weeks, months and years are
  brought up to date as well;
- an evaluation of each check whose verdict turned, so that what is shown is always the newest one.

What is left to a run over assets, which comes every few hours and whenever somebody asks: pictures, the details of
checks that say what they said before, and partitions that were looked at and are as they were.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date
from typing import Any

import dagster as dg

from hp_pipeline.assets.checks import CHECKS, NEWEST_PARTITIONS, check_results
from hp_pipeline.assets.describe import PREVIEW_COLUMNS, asset_key, preview
from hp_pipeline.assets.heat_pump import daily_figures
from hp_pipeline.assets.landed import Brought, bring
from hp_pipeline.assets.stages import Outcome, Stage, stages
from hp_pipeline.assets.workspace import Plant, Workspace
from hp_pipeline.lake import Receipt
from hp_pipeline.settings import Source
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.tables import tables

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation
Failures = dict[str, Exception]
"""What could not be done, by what it is."""


def bring_sources(
    workspace: Workspace, sources: Iterable[Source], failed: Failures, looked_at: Collection[str] = ()
) -> Iterator[tuple[str, Brought, Iterator[Event]]]:
    """Bring what has landed of each source to the lake. One that cannot be brought is in `failed`, and keeps no other.

    Args:
        looked_at: days that are reported whether they changed or not.

    Yields:
        Each source's id, what was brought of it, and the events that tell it.
    """
    for source in sources:
        try:
            brought = bring(workspace, source.id)
        except Exception as error:
            failed[f"readings/{source.id}"] = error
            continue
        yield source.id, brought, _told_readings(workspace, source, brought, looked_at)


def _told_readings(
    workspace: Workspace, source: Source, brought: Brought, looked_at: Collection[str]
) -> Iterator[Event]:
    for key in sorted({*brought.changed, *looked_at}):
        receipt = workspace.lake.receipt(f"readings/{source.id}", key)
        if receipt is not None:
            metadata = {**_about(receipt), "polls": brought.polls, "refused": brought.refused}
            yield dg.AssetMaterialization(asset_key("readings", source.id), partition=key, metadata=metadata)


def follow(
    plant: Plant,
    ranges: Sequence[tuple[date, date]] | None,
    failed: Failures,
    instance: dg.DagsterInstance,
    *,
    steps: Sequence[Stage] | None = None,
    tell_all: bool = False,
    days_only: bool = False,
) -> Iterator[Event]:
    """Bring all stages of a plant up to date over what readings of some days touch.

    A partition that cannot be made is in `failed`, and keeps no other from being made. What keeps a whole stage from
    being stored (a full disk) ends the plant's stages, which build on each other, and is in `failed`.

    Args:
        ranges: the days, from and to; None: everything that there is.
        steps: these stages of the plant alone; None: all.
        tell_all: report every partition that is looked at, changed or not: who was here before may have died between
            storing it and telling of it.
        days_only: leave weeks, months and the like for later, and do not tell of the newest day, which changes at
            every beat.
    """
    newest = max(last for _, last in ranges).isoformat() if ranges else None
    for stage in stages(plant) if steps is None else steps:
        if days_only and any(tables()[table].partitions != "days" for table in stage.tables):
            continue
        try:
            keys = (
                sorted({key for first, last in ranges for key in stage.keys(first, last)}) if ranges else stage.keys()
            )
            outcome = stage.bring_up_to_date(keys)
        except Exception as error:
            failed[f"{plant.id} from {stage.tables[0]} on"] = error
            return
        failed |= {f"{stage.asset(stage.tables[0])} {key}": error for key, error in outcome.failed.items()}
        told = keys if tell_all else sorted(outcome.changed)
        yield from _told_partitions(stage, [key for key in told if not days_only or newest is None or key < newest])
        yield from _turned_verdicts(stage, outcome, keys, instance)


def _told_partitions(stage: Stage, keys: Sequence[str]) -> Iterator[Event]:
    for table in stage.tables:
        dated = tables()[table].partitions == "days"
        receipts = stage.lake.receipts(stage.asset(table), keys)
        # What the graph does not partition is told once, by its newest row.
        for key in list(receipts)[0 if dated else -1 :]:
            yield dg.AssetMaterialization(
                asset_key(table, stage.plant.id),
                partition=key if dated else None,
                metadata=_shown(stage, table, key, receipts[key]),
            )


def _shown(stage: Stage, table: str, key: str, receipt: Receipt) -> dict[str, Any]:
    metadata = _about(receipt)
    if table == stage.plant.days:
        metadata |= daily_figures(stage.plant, [key]).get(key, {})
    if table in PREVIEW_COLUMNS and receipt.rows:
        metadata["preview"] = preview(table, conform(stage.lake.read(stage.asset(table), [key]), table))
    return metadata


def _turned_verdicts(
    stage: Stage, outcome: Outcome, keys: Sequence[str], instance: dg.DagsterInstance
) -> Iterator[Event]:
    """The verdicts of checks that are others than the last ones told, where something was made or could not be."""
    whose = stage.plant.id
    for table in stage.tables:
        made = sorted(outcome.stored.get(table, {}))
        if table not in CHECKS or not (made or outcome.failed or outcome.changed):
            continue
        parts = made or list(keys)
        newest = parts[-NEWEST_PARTITIONS.get(table, len(parts)) :]
        rows = conform(stage.lake.read(stage.asset(table), newest), table)
        found = {
            dg.AssetCheckKey(asset_key(table, whose), str(result.check_name)): result
            for result in check_results(table, whose, rows, outcome)
        }
        told = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(found))
        for check, result in found.items():
            last = told[check].event if check in told else None
            verdict = last.dagster_event.asset_check_evaluation_data if last and last.dagster_event else None
            if verdict is None or verdict.passed != result.passed:
                yield dg.AssetCheckEvaluation(
                    asset_key=check.asset_key,
                    check_name=check.name,
                    passed=result.passed,
                    metadata=result.metadata,
                    severity=result.severity,
                )


def _about(receipt: Receipt) -> dict[str, Any]:
    return {"dagster/partition_row_count": receipt.rows, "content": receipt.content}
