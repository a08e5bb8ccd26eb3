"""Keep Dagster's memory of runs below a size and an age, without forgetting which partitions exist.

Dagster never deletes a run, and a run costs about 140 kB (its own event database, its logs, rows in the index):
at one run every 15 minutes 5 GB a year. Deleting a run by itself also deletes the materialisations that it
recorded, so that partitions turn "missing" and are computed again.

Here the newest materialisation (and observation) of each asset and partition that a run recorded is taken from the
run before the rest of it is deleted: the event stays where it is, with its storage id, time, metadata, data version
and tags, and belongs to no run any more (as an event that was reported without a run), with the tag
`archived_from_run`.

What those who follow events see:

- sensors and automation conditions that follow materialisations by storage id: nothing new, so nothing fires a
  second time. (Reporting the event once more instead would give it a new id and the present time: sensors would fire
  again, stale assets would look fresh.) One whose cursor is older than `Limits.min_age` misses events that were
  superseded meanwhile, and still sees the newest of each partition.
- ids are never given out twice: the newest event and the newest run are always kept, because SQLite continues
  counting from the greatest id there is.
- the UI shows the partition as materialised, with its metadata, and without a link to a run.
- asset checks: the last result of each check stays; a partition that had last failed in a deleted run shows as
  missing or as last materialised, as it is.
"""

import contextlib
import re
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sql
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus, EventLogRecord, RunsFilter
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.storage.dagster_run import RunRecord
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster._core.storage.tags import BACKFILL_ID_TAG
from dagster._serdes import deserialize_value, serialize_value

ARCHIVED_FROM_RUN: Final = "archived_from_run"
"""Tag of a materialisation that outlived its run; its value is the run's id."""

_NO_RUN: Final = ""  # what Dagster writes as the run id of events reported without a run
_FINISHED: Final = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
_KEPT_TYPES: Final = [DagsterEventType.ASSET_MATERIALIZATION.value, DagsterEventType.ASSET_OBSERVATION.value]
_RUN_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PAGE: Final = 100  # runs deleted between two looks at the size
_WORTH_A_VACUUM: Final = 100_000  # bytes of free pages in a database, and a tenth of it


@dataclass(frozen=True)
class Limits:
    """How much of the past Dagster may remember.

    Attributes:
        max_bytes: of the whole home; the oldest runs go until it fits.
        max_age: finished runs older than this go whatever the size.
        min_age: finished runs younger than this stay whatever the size: somebody may be looking into a failure,
            and sensors may not have seen their events.
    """

    max_bytes: int = 1_000_000_000
    max_age: timedelta = timedelta(days=30)
    min_age: timedelta = timedelta(days=1)


@dataclass(frozen=True)
class MaintenanceReport:
    """What one maintenance did.

    Attributes:
        runs_deleted: number of runs.
        events_archived: materialisations and observations that now belong to no run.
        files_removed: databases and log folders of runs that no longer exist.
        bytes_before, bytes_after: size of the home on disk.
        within_limit: False when `Limits.max_bytes` could not be reached; what is left is younger than
            `Limits.min_age`, or is not made of runs.
    """

    runs_deleted: int
    events_archived: int
    files_removed: int
    bytes_before: int
    bytes_after: int
    within_limit: bool


def maintain_instance(
    instance: DagsterInstance, home: Path, limits: Limits | None = None, *, now: datetime | None = None
) -> MaintenanceReport:
    """Delete old finished runs, keep what they materialised, give the space back to the disk.

    May run while the services run, also inside a run of this instance, and may be killed at any moment: each run
    is taken apart in one transaction, files are removed last, and what a killed one left is removed by the next.
    Runs in progress, runs of unfinished backfills, the newest run and the newest event stay.

    Args:
        instance: the instance; its event and run storage must be SQL databases (SQLite, PostgreSQL).
        home: its folder (`DAGSTER_HOME`).
        limits: what may stay.
        now: the present, aware; for tests.

    Raises:
        TypeError: the storage is none of those.
    """
    events, runs = instance.event_log_storage, instance.run_storage
    if not isinstance(events, SqlEventLogStorage) or not isinstance(runs, SqlRunStorage):
        raise TypeError(f"Runs can be archived in SQL storages only, not in {type(events)} and {type(runs)}.")
    limits = limits or Limits()
    now = now or datetime.now(UTC)
    bytes_before = _bytes_on_disk(home)

    deleted = archived = removed = 0
    too_old, young = now - limits.max_age, now - limits.min_age
    expendable = _expendable(instance, events, young)
    for first in range(0, len(expendable), _PAGE):
        over = _bytes_in_use(home) > limits.max_bytes
        doomed = [run_id for run_id, ended in expendable[first : first + _PAGE] if over or ended < too_old]
        for run_id in doomed:
            archived += _take_apart(events, run_id)
            instance.delete_run(run_id)
        deleted += len(doomed)
        removed += _remove_files_of_missing_runs(instance, home)
        if not doomed:
            break
    _forget_superseded(events, runs, too_old)
    removed += _remove_files_of_missing_runs(instance, home)
    _vacuum(home)
    bytes_after = _bytes_on_disk(home)
    return MaintenanceReport(deleted, archived, removed, bytes_before, bytes_after, bytes_after <= limits.max_bytes)


def _expendable(instance: DagsterInstance, events: SqlEventLogStorage, young: datetime) -> list[tuple[str, datetime]]:
    """Ids of the runs that may be deleted and when each ended, the oldest first."""
    newest = {record.dagster_run.run_id for record in instance.get_run_records(limit=1)}
    table = SqlEventLogStorageTable
    with events.index_connection() as connection:
        newest |= set(connection.execute(sql.select(table.c.run_id).order_by(table.c.id.desc()).limit(1)).scalars())
    open_backfills = {
        backfill.backfill_id
        for status in (BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING)
        for backfill in instance.get_backfills(status=status)
    }
    found = []
    cursor = None
    while records := instance.get_run_records(
        filters=RunsFilter(statuses=_FINISHED, created_before=young), cursor=cursor, limit=_PAGE, ascending=True
    ):
        cursor = records[-1].dagster_run.run_id
        for record in records:
            run = record.dagster_run
            needed = run.run_id in newest or run.tags.get(BACKFILL_ID_TAG) in open_backfills
            if not needed and (ended := _ended(record)) < young:
                found.append((run.run_id, ended))
    return found


def _ended(record: RunRecord) -> datetime:
    """When the run ended, as far as it is known."""
    if record.end_time is not None:
        return datetime.fromtimestamp(record.end_time, UTC)
    return record.update_timestamp.replace(tzinfo=UTC)


def _take_apart(events: SqlEventLogStorage, run_id: str) -> int:
    """Detach from the run what must outlive it and delete the rest of its events, in one transaction.

    Returns:
        The number of events kept.
    """
    table = SqlEventLogStorageTable
    newest_of_partition = sql.select(table.c.id, table.c.asset_key, table.c.event).where(
        table.c.run_id == run_id,
        table.c.dagster_event_type.in_(_KEPT_TYPES),
        table.c.asset_key.is_not(None),
        ~_superseded(),
    )
    with events.index_transaction() as connection:
        kept = 0
        last_of_asset = {}
        for storage_id, asset_key, serialized in connection.execute(newest_of_partition).all():
            entry = _without_run(deserialize_value(serialized, EventLogEntry), run_id)
            connection.execute(
                table.update().where(table.c.id == storage_id).values(run_id=_NO_RUN, event=serialize_value(entry))
            )
            if entry.dagster_event and entry.dagster_event.is_step_materialization:
                last_of_asset[asset_key] = EventLogRecord(storage_id, entry)  # ids of an asset come in order
            kept += 1
        # The list of assets holds a copy of each one's last materialisation.
        assets = AssetKeyTable
        of_run = assets.c.last_run_id == run_id
        for asset_key, record in last_of_asset.items():
            connection.execute(
                assets.update()
                .where(of_run, assets.c.asset_key == asset_key)
                .values(last_materialization=serialize_value(record))
            )
        connection.execute(assets.update().where(of_run).values(last_run_id=_NO_RUN))

        checks = AssetCheckExecutionsTable
        later = checks.alias()
        connection.execute(
            checks.delete().where(
                checks.c.run_id == run_id,
                sql.exists().where(
                    later.c.asset_key == checks.c.asset_key,
                    later.c.check_name == checks.c.check_name,
                    later.c.partition.is_not_distinct_from(checks.c.partition),
                    later.c.id > checks.c.id,
                ),
            )
        )
        events.delete_events_for_run(connection, run_id)
    return kept


def _superseded() -> sql.Exists:
    """That an event is followed by one of the same kind for the same asset and partition (or none)."""
    table = SqlEventLogStorageTable
    newer = table.alias()
    return sql.exists().where(
        newer.c.asset_key == table.c.asset_key,
        newer.c.dagster_event_type == table.c.dagster_event_type,
        newer.c.partition.is_not_distinct_from(table.c.partition),
        newer.c.id > table.c.id,
    )


def _without_run(entry: EventLogEntry, run_id: str) -> EventLogEntry:
    """The event as one that was reported without a run, tagged with the run it came from."""
    event = entry.dagster_event
    if event is not None and event.is_step_materialization:
        data = event.step_materialization_data
        old = data.materialization
        materialization = old._replace(tags={**(old.tags or {}), ARCHIVED_FROM_RUN: run_id})
        event = event._replace(event_specific_data=data._replace(materialization=materialization))
    return entry._replace(run_id=_NO_RUN, dagster_event=event)


def _forget_superseded(events: SqlEventLogStorage, runs: SqlRunStorage, too_old: datetime) -> None:
    """Delete old events without a run that a newer one of the same partition supersedes, and tags of nothing."""
    table = SqlEventLogStorageTable
    moment = too_old.astimezone(UTC).replace(tzinfo=None)  # how the column is stored
    old_without_run = sql.and_(table.c.run_id == _NO_RUN, table.c.timestamp < moment)
    tags = AssetEventTagsTable
    with events.index_transaction() as connection:
        connection.execute(table.delete().where(old_without_run, table.c.asset_key.is_not(None), _superseded()))
        connection.execute(tags.delete().where(~sql.exists().where(table.c.id == tags.c.event_id)))
    if events.is_run_sharded:
        # SQLite holds events without a run twice; this copy serves no question about assets.
        with events.run_connection(_NO_RUN) as connection:
            connection.execute(table.delete().where(old_without_run))
    with runs.connect() as connection:
        connection.execute(
            RunTagsTable.delete().where(~sql.exists().where(RunsTable.c.run_id == RunTagsTable.c.run_id))
        )


def _remove_files_of_missing_runs(instance: DagsterInstance, home: Path) -> int:
    """Remove the databases and log folders of runs that do not exist, also of those deleted in the UI."""
    # Listed before the runs are: a run that begins meanwhile is not in the list.
    candidates = [
        path
        for folder in (home / "history" / "runs", home / "storage")
        if folder.is_dir()
        for path in folder.iterdir()
        if _RUN_ID.fullmatch(path.name.partition(".")[0])
    ]
    existing = set(instance.run_storage.get_run_ids()) if candidates else set()
    removed = 0
    for path in candidates:
        if path.name.partition(".")[0] in existing:
            continue
        removed += 1
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return removed


def _vacuum(home: Path) -> None:
    """Give free pages of the SQLite databases back to the disk where it is worth it.

    A database that is busy for long is left for the next time.
    """
    for path in _databases(home):
        pages, free, size = _pages(path)
        if free * size < _WORTH_A_VACUUM or free * 10 < pages:
            continue
        with contextlib.suppress(sqlite3.OperationalError), _connect(path) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _databases(home: Path) -> list[Path]:
    """The databases that are shared by all runs, as far as they exist."""
    folder = home / "history"
    runs = folder / "runs"
    shared = [folder / "runs.db", runs / "index.db", runs / "events.db", runs / ".db", home / "schedules/schedules.db"]
    return [path for path in shared if path.is_file()]


@contextlib.contextmanager
def _connect(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def _pages(path: Path) -> tuple[int, int, int]:
    """Number of pages of a database, of those that are free, and the size of one in bytes."""
    with _connect(path) as connection:
        names = ("page_count", "freelist_count", "page_size")
        pages, free, size = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return pages, free, size


def _bytes_on_disk(home: Path) -> int:
    total = 0
    for path in home.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                total += path.stat().st_size
    return total


def _bytes_in_use(home: Path) -> int:
    """What the home would take on disk after a vacuum."""
    free_bytes = 0
    for path in _databases(home):
        _, free, size = _pages(path)
        free_bytes += free * size
    return _bytes_on_disk(home) - free_bytes
