"""Readings of each source as assets: pulled from archives, or taken in from files."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from hp_pipeline.assets.describe import asset_key, spec
from hp_pipeline.assets.partitions import BEAT
from hp_pipeline.assets.stages import store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.lake import Receipt
from hp_pipeline.settings import FilesSource, InfluxdbSource
from hp_pipeline.sources.drop_folder import TakenIn, WaitingFile, take_in, waiting_files
from hp_pipeline.sources.readings import Rejects
from hp_pipeline.vocabulary.points import Selector

SINCE = "hp_pipeline/since"
"""Tag of a run that asks an archive only for readings since then (ISO 8601), not for whole days."""

KEPT_UP_UNTIL = "kept_up_until"
"""Metadata of readings that a beat brought: until then (ISO 8601) the archive was asked without a gap."""

SLICE = timedelta(days=7)
"""A long range is asked for in pieces: what fails in the midst goes on from the last whole piece."""


def readings_assets(
    workspace: Workspace, days: dg.DailyPartitionsDefinition
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """One asset per source: an archive is asked when it is materialised; files come by themselves."""
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = []
    for source in workspace.settings.sources:
        if isinstance(source, InfluxdbSource):
            assets.append(_influxdb_asset(workspace, source, days))
        elif isinstance(source, FilesSource):
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
    from hp_pipeline.sources.influxdb import selector_of  # here for the reason that `pull` names

    settings = workspace.settings
    wanted = [
        selector for _, entry in settings.inputs_of(source.id) for selector in settings.profile_of(entry).selectors()
    ]
    return [*(selector for selector in wanted if selector.names_series), *map(selector_of, source.extra)]


def pull(
    workspace: Workspace, source: InfluxdbSource, start: datetime, stop: datetime, rejects: Rejects
) -> Iterator[dict[str, Receipt]]:
    """Readings of [start, stop) from an archive into the lake, in the order of time by page.

    Yields:
        The partitions that changed, whenever some were stored: they stay stored, whatever comes after.

    Raises:
        SourceError: the archive cannot be asked.
    """
    # Here, because its client takes long to load and definitions are to load quickly.
    from hp_pipeline.sources.influxdb import InfluxdbArchive

    with InfluxdbArchive(source) as archive:
        for chunk in archive.pull(selectors_of(workspace, source), start, stop, rejects=rejects):
            yield store_readings(workspace, source.id, chunk)


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
        changed: dict[str, Receipt] = {}
        asked = start

        def about(receipt: Receipt, key: str) -> dict[str, Any]:
            beat = {KEPT_UP_UNTIL: asked.isoformat()} if BEAT in context.run.tags else {}
            return {**_about(receipt, changed=key in changed), **beat}

        try:
            while asked < stop:
                until = min(asked + SLICE, stop)
                for stored in pull(workspace, source, asked, until, rejects):
                    changed |= stored
                asked = until
        except Exception:
            # What is stored stays: those who follow the readings are to know of it, although this run fails.
            for key, receipt in changed.items():
                context.log_event(dg.AssetMaterialization(described.key, partition=key, metadata=about(receipt, key)))
            raise
        finally:
            workspace.publish()
        for key in keys:
            there = workspace.lake.receipt(f"readings/{source.id}", key)
            if there is not None:
                context.add_asset_metadata(about(there, key), asset_key=described.key, partition_key=key)
        yield dg.MaterializeResult(
            asset_key=described.key,
            metadata={
                "asked_from": start.isoformat(),
                "asked_until": stop.isoformat(),
                "partitions_changed": len(changed),
                "rejected": len(rejects),
                **({KEPT_UP_UNTIL: asked.isoformat()} if BEAT in context.run.tags else {}),
                **({"rejects": dg.MetadataValue.md(rejects.summary())} if rejects else {}),
            },
        )

    return readings


def _about(receipt: Receipt, *, changed: bool) -> dict[str, Any]:
    return {"dagster/partition_row_count": receipt.rows, "content": receipt.content, "changed": changed}


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


class NotStoredError(RuntimeError):
    """Files whose readings could not be stored: they wait where they are, all others were taken in."""


Touched = Callable[[Path, str, bool], None]
"""Called for each day of readings of a file that is stored: the file, the day, whether the partition changed."""


def files_that_wait(workspace: Workspace, source: FilesSource, now: datetime) -> list[WaitingFile]:
    """Whole files in a source's drop folder, the oldest first."""
    return waiting_files(source, workspace.drop_folder(source), now)


def take_in_files(
    workspace: Workspace,
    source: FilesSource,
    paths: list[Path],
    now: datetime,
    *,
    move: bool = True,
    touched: Touched = lambda path, key, changed: None,
) -> Iterator[tuple[TakenIn, dict[str, Receipt]]]:
    """Take files into a source, one after the other; one that is refused does not keep the others from it.

    `touched` is called before a file counts as taken in. Who dies in the midst is told of all its days the next time,
    also of those that had been stored already.

    Yields:
        What became of each file, and the partitions that it changed.

    Raises:
        NotStoredError: after all files, when some could not be stored.
    """
    waiting: list[str] = []
    for path in paths:
        changed: dict[str, Receipt] = {}

        def store(readings: pl.DataFrame, file: Path = path, into: dict[str, Receipt] = changed) -> None:
            now_changed = store_readings(workspace, source.id, readings)
            into |= now_changed
            for day in readings["time"].dt.date().unique().sort():
                touched(file, str(day), str(day) in now_changed)

        try:
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
        except OSError as error:
            waiting.append(f"{path.name}: {error}")
            continue
        yield taken, changed
    if waiting:
        raise NotStoredError(
            f"{len(waiting)} of {len(paths)} files could not be stored and wait where they are. " + " | ".join(waiting)
        )


def take_in_job(workspace: Workspace, source: FilesSource) -> dg.JobDefinition:
    """A job that takes in whatever waits in a source's drop folder and reports the partitions that changed."""

    @dg.op(name=f"take_in_{source.id}_files", pool=f"source_{source.id}")
    def take_in_waiting_files(context: dg.OpExecutionContext) -> None:
        now = datetime.now(UTC)
        paths = [file.path for file in files_that_wait(workspace, source, now)]
        refused = []

        def touched(path: Path, key: str, changed: bool) -> None:
            receipt = workspace.lake.receipt(f"readings/{source.id}", key)
            if receipt is not None:
                metadata = {**_about(receipt, changed=changed), "file": path.name}
                context.log_event(
                    dg.AssetMaterialization(asset_key("readings", source.id), partition=key, metadata=metadata)
                )

        waiting = ""
        try:
            for taken, _ in take_in_files(workspace, source, paths, now, touched=touched):
                workspace.publish()
                context.log.info(describe_taken(taken))
                if taken.outcome == "quarantined":
                    refused.append(f"{taken.name}: {taken.reason} (report: {taken.report})")
        except NotStoredError as error:
            waiting = str(error)
        if refused:
            refusals = " | ".join(refused[:5])
            raise dg.Failure(
                description=f"{len(refused)} of {len(paths)} files were refused, all others were taken in. "
                f"{refusals} {waiting}".rstrip()
            )
        if waiting:
            raise dg.Failure(description=waiting)

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
