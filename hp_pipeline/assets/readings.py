"""Readings of each source as assets: pulled from archives, or taken in from files."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from hp_pipeline.assets.describe import asset_key, spec
from hp_pipeline.assets.stages import store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.lake import Receipt
from hp_pipeline.settings import FilesSource, InfluxdbSource
from hp_pipeline.sources.drop_folder import TakenIn, take_in, waiting_files
from hp_pipeline.sources.influxdb import InfluxdbArchive, selector_of
from hp_pipeline.sources.readings import Rejects
from hp_pipeline.vocabulary.points import Selector

SINCE = "hp_pipeline/since"
"""Tag of a run that asks an archive only for readings since then (ISO 8601), not for whole days."""


def readings_assets(
    workspace: Workspace, days: dg.DailyPartitionsDefinition
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """One asset per source: an archive is asked when it is materialised; files come by themselves."""
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = []
    for source in workspace.settings.sources:
        if isinstance(source, InfluxdbSource):
            assets.append(_influxdb_asset(workspace, source, days))
        else:
            assets.append(
                spec(
                    "readings",
                    source.id,
                    f"Readings from files dropped into `{workspace.drop_folder(source)}`. A file is taken in once, "
                    "then it lies in `archive/`; one that cannot be read lies in `quarantine/` with a report.",
                    partitions=days,
                    kinds=frozenset({"parquet", "csv"}),
                )
            )
    return assets


def selectors_of(workspace: Workspace, source: InfluxdbSource) -> list[Selector]:
    """Which series of a database are wanted: those that profiles ask for, and the owner's extra ones."""
    settings = workspace.settings
    wanted = [
        selector for _, entry in settings.inputs_of(source.id) for selector in settings.profile_of(entry).selectors()
    ]
    return [*(selector for selector in wanted if selector.names_series), *map(selector_of, source.extra)]


def pull(
    workspace: Workspace, source: InfluxdbSource, start: datetime, stop: datetime, rejects: Rejects
) -> dict[str, Receipt]:
    """Readings of [start, stop) from an archive into the lake. Returns the partitions that changed.

    Raises:
        SourceError: the archive cannot be asked.
    """
    changed: dict[str, Receipt] = {}
    with InfluxdbArchive(source) as archive:
        for chunk in archive.pull(selectors_of(workspace, source), start, stop, rejects=rejects):
            changed |= store_readings(workspace, source.id, chunk)
    return changed


def newest_reading(workspace: Workspace, source: str) -> datetime | None:
    """Time of the newest stored reading of a source."""
    asset = f"readings/{source}"
    for key in reversed(workspace.lake.keys(asset)):
        rows = workspace.lake.read(asset, [key], columns=["time"])
        if rows is not None and rows.height:
            newest: datetime = rows["time"].max()  # type: ignore[assignment]
            return newest
    return None


def _influxdb_asset(
    workspace: Workspace, source: InfluxdbSource, days: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
    late = max(3 * source.every, timedelta(hours=1))
    described = spec(
        "readings",
        source.id,
        f"Readings from InfluxDB {source.version} at {source.url}, asked for every {source.every} and for any range.",
        partitions=days,
        freshness=dg.FreshnessPolicy.time_window(
            fail_window=late, warn_window=max(2 * source.every, timedelta(minutes=30))
        ),
        kinds=frozenset({"influxdb", "parquet"}),
    )

    @dg.multi_asset(
        name=f"readings__{source.id}",
        specs=[described],
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=f"source_{source.id}",
    )
    def readings(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        keys = context.partition_keys
        start = _midnight(date.fromisoformat(keys[0]))
        stop = min(_midnight(date.fromisoformat(keys[-1])) + timedelta(days=1), datetime.now(UTC))
        since = context.run.tags.get(SINCE)
        if since is not None:
            start = max(start, datetime.fromisoformat(since))
        rejects = Rejects()
        changed = pull(workspace, source, start, stop, rejects)
        workspace.publish()
        for key in keys:
            receipt = workspace.lake.receipt(f"readings/{source.id}", key)
            if receipt is not None:
                context.add_asset_metadata(
                    {"dagster/partition_row_count": receipt.rows, "changed": key in changed},
                    asset_key=described.key,
                    partition_key=key,
                )
        yield dg.MaterializeResult(
            asset_key=described.key,
            metadata={
                "asked_from": start.isoformat(),
                "asked_until": stop.isoformat(),
                "partitions_changed": len(changed),
                "rejected": len(rejects),
                **({"rejects": dg.MetadataValue.md(rejects.summary())} if rejects else {}),
            },
        )

    return readings


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def take_in_files(
    workspace: Workspace, source: FilesSource, paths: list[Path], now: datetime, *, move: bool = True
) -> Iterator[tuple[TakenIn, dict[str, Receipt]]]:
    """Take files into a source, one after the other; one that is refused does not keep the others from it.

    Yields:
        What became of each file, and the partitions that it changed.
    """
    for path in paths:
        changed: dict[str, Receipt] = {}

        def store(readings: pl.DataFrame, into: dict[str, Receipt] = changed) -> None:
            into |= store_readings(workspace, source.id, readings)

        taken = take_in(
            path,
            source,
            store=store,
            archive_dir=workspace.archive,
            quarantine_dir=workspace.quarantine,
            ledger_dir=workspace.ledger,
            start=workspace.settings.site.start,
            now=now,
            move=move,
        )
        yield taken, changed


def take_in_job(workspace: Workspace, source: FilesSource) -> dg.JobDefinition:
    """A job that takes in whatever waits in a source's drop folder and reports the partitions that changed."""

    @dg.op(name=f"take_in_{source.id}_files", pool=f"source_{source.id}")
    def take_in_waiting_files(context: dg.OpExecutionContext) -> None:
        now = datetime.now(UTC)
        paths = [file.path for file in waiting_files(source, workspace.drop_folder(source), now)]
        refused = []
        for taken, changed in take_in_files(workspace, source, paths, now):
            workspace.publish()
            context.log.info(describe_taken(taken))
            if taken.outcome == "quarantined":
                refused.append(f"{taken.name}: {taken.reason} (report: {taken.report})")
            for key, receipt in changed.items():
                context.log_event(
                    dg.AssetMaterialization(
                        asset_key("readings", source.id),
                        partition=key,
                        metadata={"dagster/partition_row_count": receipt.rows, "file": taken.name},
                    )
                )
        if refused:
            raise dg.Failure(
                description=f"{len(refused)} of {len(paths)} files were refused, all others were taken in. "
                + " | ".join(refused[:5])
            )

    @dg.job(name=f"take_in_{source.id}", description=f"Take in the files that wait in the drop folder of {source.id}")
    def take_in_waiting() -> None:
        take_in_waiting_files()

    return take_in_waiting


def describe_taken(taken: TakenIn) -> str:
    """What became of a file, in a sentence."""
    match taken.outcome:
        case "stored":
            turned_away = f", {len(taken.rejects)} turned away (see {taken.report})" if taken.rejects else ""
            return f"{taken.name}: {taken.readings} readings from {taken.first} to {taken.last}{turned_away}"
        case "duplicate":
            return f"{taken.name}: its content was taken in before"
        case "quarantined":
            return f"{taken.name}: refused. {taken.reason} Report: {taken.report}"
        case "changed":
            return f"{taken.name}: it is still being written, so it waits"
        case "gone":
            return f"{taken.name}: it is gone"
