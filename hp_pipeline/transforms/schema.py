"""The polars schemas of the tables that `vocabulary.tables` describes."""

from __future__ import annotations

from functools import cache

import polars as pl

from hp_pipeline.vocabulary.tables import TIME, tables

UTC = pl.Datetime("us", "UTC")

_TYPES: dict[str, pl.DataType] = {
    "VARCHAR": pl.String(),
    "DOUBLE": pl.Float64(),
    "BIGINT": pl.Int64(),
    "BOOLEAN": pl.Boolean(),
    TIME: UTC,
}


@cache
def schema(table: str) -> pl.Schema:
    """Column names and types of a table, in order."""
    return pl.Schema({column.name: _TYPES[column.type] for column in tables()[table].columns})


def schema_of(table: str) -> pl.Schema | None:
    """As `schema`; None where there is no such table."""
    return schema(table) if table in tables() else None


def empty(table: str) -> pl.DataFrame:
    """The table without rows."""
    return pl.DataFrame(schema=schema(table))


def conform(frame: pl.DataFrame | None, table: str) -> pl.DataFrame:
    """The frame with exactly the table's columns, in order and type: what it lacks is null, what is beyond is left."""
    if frame is None:
        return empty(table)
    wanted = schema(table)
    there = frame.schema
    if there == wanted:
        return frame
    # Series by series: an expression for each of 130 columns costs more than the work of a day's rows.
    unknown = _unknown(table)
    columns = []
    for name, dtype in wanted.items():
        if name not in there:
            columns.append(unknown[name].new_from_index(0, frame.height))
        else:
            column = frame.get_column(name)
            columns.append(column if there[name] == dtype else column.cast(dtype))
    return pl.DataFrame(columns)


@cache
def _unknown(table: str) -> dict[str, pl.Series]:
    """One null of each of the table's columns."""
    return {name: pl.Series(name, [None], dtype) for name, dtype in schema(table).items()}
