"""`hp.duckdb`: the database that people open, with one view per table and a comment on every table and column.

It holds no data, so it is replaced by rename and never held open: no reader ever blocks the pipeline, the pipeline
never blocks a reader, and an open session sees new partitions. It is written in DuckDB's storage format v1.5.0, which
clients of 1.5 and of 2.0 both open. Paths in the views are absolute, because DuckDB takes relative ones from the
reader's working directory; a data folder that has moved needs its catalogue published again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from hp_pipeline.lake.errors import StorageError
from hp_pipeline.lake.files import replace_file
from hp_pipeline.lake.months import FILES
from hp_pipeline.lake.partitions import SCHEMA, Lake
from hp_pipeline.lake.reading import DATE

_STORAGE_VERSION = "v1.5.0"


@dataclass(frozen=True)
class Column:
    """A column as people see it: `type` is DuckDB's."""

    name: str
    type: str
    description: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the lake: all assets `<name>/<whose>`. `dated`: partitioned by date, which is a column too."""

    name: str
    description: str
    columns: tuple[Column, ...]
    dated: bool = True


def publish_catalogue(lake: Lake, tables: Sequence[Table], path: Path) -> bool:
    """Write the database of views beside and rename it over, when the tables or their columns have changed.

    Each table has a file without rows that bears all its columns (under `_schema`), so that a view exists before the
    first partition does, and a column that no partition knows yet is null rather than an error.

    Returns:
        Whether it was written.

    Raises:
        StorageError: it cannot be written; the one that was there is untouched.
    """
    views = [(table, _select(lake, table)) for table in tables]
    identity = hashlib.sha256(repr((_STORAGE_VERSION, views)).encode()).hexdigest()
    stamp = lake.root / ".catalogue"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lake.root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lake.root / ".catalogue.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == identity and _opens(path):
            return False
        _write(lake, tables, path)
        replace_file(stamp, identity.encode())
        return True
    finally:
        os.close(descriptor)


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


def _opens(path: Path) -> bool:
    """Whether people can open the database. Somebody who wrote into it and was killed leaves a log beside it, which
    may belong to a file that has been replaced since: then nobody can."""
    if not path.exists():
        return False
    if not _log(path).exists():
        return True
    try:
        duckdb.connect(str(path), read_only=True).close()
    except duckdb.Error:
        return False
    return True


def _write(lake: Lake, tables: Sequence[Table], path: Path) -> None:
    for left in path.parent.glob(f".{path.name}.*.tmp*"):
        left.unlink(missing_ok=True)  # by a writer that was killed: this one holds the lock
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        connection = duckdb.connect(str(temporary), config={"storage_compatibility_version": _STORAGE_VERSION})
        with contextlib.closing(connection):
            connection.execute("BEGIN")  # one commit, not one for each of a thousand comments
            for table in tables:
                _write_schema(lake, table, connection)
                connection.execute(f"CREATE VIEW {_name(table.name)} AS {_select(lake, table)}")
                connection.execute(f"COMMENT ON VIEW {_name(table.name)} IS {_text(table.description)}")
                for column in table.columns:
                    connection.execute(
                        f"COMMENT ON COLUMN {_name(table.name)}.{_name(column.name)} IS {_text(column.description)}"
                    )
            connection.execute("COMMIT")
        replace_file(path, temporary.read_bytes())
        _log(path).unlink(missing_ok=True)
    except duckdb.IOException as error:
        raise StorageError(path, OSError(errno.EIO, str(error))) from error
    finally:
        temporary.unlink(missing_ok=True)
        _log(temporary).unlink(missing_ok=True)


def _schema_file(lake: Lake, table: Table) -> Path:
    return lake.path(f"{table.name}/{SCHEMA}", "0001-01-01" if table.dated else "")


def _write_schema(lake: Lake, table: Table, connection: duckdb.DuckDBPyConnection) -> None:
    """The table's file without rows. It is replaced whole: open sessions read it with every query."""
    columns = ", ".join(f"NULL::{column.type} AS {_name(column.name)}" for column in table.columns)
    if lake.is_by_month(table.name):
        columns += f", NULL::DATE AS {DATE}"
    empty = connection.sql(f"SELECT {columns} WHERE false").to_arrow_table()
    sink = io.BytesIO()
    pq.write_table(empty, sink, store_schema=False)
    replace_file(_schema_file(lake, table), sink.getvalue())


def _select(lake: Lake, table: Table) -> str:
    columns = ", ".join(_name(column.name) for column in table.columns)
    if not table.dated:
        files = _text(str(lake.root / table.name / "*" / "data.parquet"))
        return f"SELECT {columns} FROM read_parquet({files}, union_by_name = true, hive_partitioning = false)"
    if lake.is_by_month(table.name):
        files = _text(str(lake.root / table.name / "*" / FILES))
        return f"SELECT {columns}, {DATE} FROM read_parquet({files}, union_by_name = true, hive_partitioning = false)"
    files = _text(str(lake.root / table.name / "*" / "date=*" / "data.parquet"))
    return (
        f"SELECT {columns}, date FROM read_parquet({files}, union_by_name = true, hive_partitioning = true, "
        "hive_types = {'date': DATE})"
    )


def _name(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def _text(words: str) -> str:
    return "'" + words.replace("'", "''") + "'"
