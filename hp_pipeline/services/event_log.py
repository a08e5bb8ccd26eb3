"""Dagster's event log in SQLite, writing a fraction of it: the instance's settings name it.

Dagster gives each run a database of its own, which takes 340 kB to make, opens and closes a connection for each event,
and whenever the last connection to a database ends, SQLite empties its log into it and removes it: an event of 1 kB
writes 40 to 100. Here

- all runs share one database (`events.db`); those that earlier versions gave their own keep it;
- each process keeps it open, so that its log is emptied once it has a thousand pages (what is read across runs,
  `index.db`, and the other databases are kept open by the supervisor);
- events that are stored together are written in one transaction.

What is promised stays: whoever has stored an event has it on the disk, whole; the tables are Dagster's own.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from dagster import DagsterEventType, EventLogRecord, EventRecordsFilter
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection

SHARED: Final = "events"
"""Name of the database of all runs."""


class EventLog(SqliteEventLogStorage):
    """The event log of an instance.

    Args:
        base_dir: the folder of the databases, as `SqliteEventLogStorage` has it.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._held: dict[str, sqlite3.Connection] = {}
        self._holding = threading.Lock()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> EventLog:
        """As `dagster.yaml` says it."""
        return cls(inst_data=inst_data, **config_value)

    def path_for_shard(self, run_id: str) -> str:
        """The database of a run's events: the shared one, unless it has its own from an earlier version."""
        return super().path_for_shard(self._shard(run_id))

    def conn_string_for_shard(self, shard_name: str) -> str:
        """As `path_for_shard`, as SQLAlchemy wants it."""
        return super().conn_string_for_shard(self._shard(shard_name))

    def _shard(self, name: str) -> str:
        is_own = name in (INDEX_SHARD_NAME, "") or Path(super().path_for_shard(name)).exists()
        return name if is_own else SHARED

    @contextlib.contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        file = self._shard(shard)
        if file in (SHARED, ""):
            self._hold(file)
        with super()._connect(file) as connection:
            yield connection

    def _hold(self, file: str) -> None:
        """Keep a database open until this process ends."""
        with self._holding:
            if file in self._held:
                return
            with contextlib.suppress(sqlite3.Error):  # it is not there yet: the next event finds it
                uri = f"{Path(super().path_for_shard(file)).absolute().as_uri()}?mode=rw"
                connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
                (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
                if mode == "wal":
                    connection.execute("SELECT count(*) FROM sqlite_master").fetchall()  # from now on it has its lock
                    self._held[file] = connection
                else:
                    connection.close()  # it is just being made

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, and tell the pages, which look at the time of the file: a log alone leaves it as it is."""
        super().store_event(event)
        self._touch(event.run_id)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events together: materialisations of one run in one transaction, whatever else one by one."""
        of_assets = all(
            event.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION and event.run_id == events[0].run_id
            for event in events
        )
        if not of_assets:
            super().store_event_batch(events)
            return
        with self.run_connection(events[0].run_id) as connection:
            for event in events:
                connection.execute(self.prepare_insert_event(event))
        with self.index_transaction() as connection:
            for event in events:
                (number,) = connection.execute(self.prepare_insert_event(event)).inserted_primary_key or (None,)
                if number is None:
                    raise RuntimeError("SQLite gave an event no number")
                self._store_asset_event_tags(connection, [event], [number])
                self._store_asset_event(connection, event, number)
        self._touch(events[0].run_id)

    def _touch(self, run_id: str) -> None:
        with contextlib.suppress(OSError):
            os.utime(self.path_for_shard(run_id))

    def get_event_records(
        self, event_records_filter: EventRecordsFilter, limit: int | None = None, ascending: bool = False
    ) -> Sequence[EventLogRecord]:
        """Events of all runs, from what is kept across runs: about assets and checks, and changes of a run's status."""
        return SqlEventLogStorage.get_event_records(self, event_records_filter, limit, ascending)

    def dispose(self) -> None:
        """Close what is held."""
        super().dispose()
        with self._holding:
            while self._held:
                self._held.popitem()[1].close()
