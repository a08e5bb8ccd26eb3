"""`hp.duckdb`: the database that people open, with one view per table and a comment on every table and column.

It holds no data, so it is replaced by rename and never held open: no reader ever blocks the pipeline, the pipeline
never blocks a reader, and an open session sees new partitions. It is written in DuckDB's storage format v1.5.0, which
clients of 1.5 and of 2.0 both open. Paths in the views are absolute, because DuckDB takes relative ones from the
reader's working directory; a data folder that has moved needs its catalogue published again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from hp_pipeline.lake.partitions import SCHEMA, Lake, replace_file

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
    """
    identity = hashlib.sha256(repr((_STORAGE_VERSION, str(lake.root), tables)).encode()).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    lake.root.mkdir(parents=True, exist_ok=True)
    stamp = lake.root / ".catalogue"
    descriptor = os.open(lake.root / ".catalogue.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists() and stamp.exists() and stamp.read_text() == identity:
            return False
        _write(lake, tables, path)
        replace_file(stamp, identity.encode())
        return True
    finally:
        os.close(descriptor)


def _write(lake: Lake, tables: Sequence[Table], path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    connection = duckdb.connect(str(temporary), config={"storage_compatibility_version": _STORAGE_VERSION})
    try:
        for table in tables:
            _write_schema(lake, table, connection)
            connection.execute(f"CREATE VIEW {_name(table.name)} AS {_select(lake, table)}")
            connection.execute(f"COMMENT ON VIEW {_name(table.name)} IS {_text(table.description)}")
            for column in table.columns:
                connection.execute(
                    f"COMMENT ON COLUMN {_name(table.name)}.{_name(column.name)} IS {_text(column.description)}"
                )
    finally:
        connection.close()
    replace_file(path, temporary.read_bytes())
    temporary.unlink()


def _schema_file(lake: Lake, table: Table) -> Path:
    return lake.path(f"{table.name}/{SCHEMA}", "0001-01-01" if table.dated else "")


def _write_schema(lake: Lake, table: Table, connection: duckdb.DuckDBPyConnection) -> None:
    file = _schema_file(lake, table)
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = ", ".join(f"NULL::{column.type} AS {_name(column.name)}" for column in table.columns)
    connection.execute(f"COPY (SELECT {columns} WHERE false) TO {_text(str(file))} (FORMAT parquet)")


def _select(lake: Lake, table: Table) -> str:
    columns = ", ".join(_name(column.name) for column in table.columns)
    if not table.dated:
        files = _text(str(lake.root / table.name / "*" / "data.parquet"))
        return f"SELECT {columns} FROM read_parquet({files}, union_by_name = true, hive_partitioning = false)"
    files = _text(str(lake.root / table.name / "*" / "date=*" / "data.parquet"))
    return (
        f"SELECT {columns}, date FROM read_parquet({files}, union_by_name = true, hive_partitioning = true, "
        "hive_types = {'date': DATE})"
    )


def _name(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def _text(words: str) -> str:
    return "'" + words.replace("'", "''") + "'"
