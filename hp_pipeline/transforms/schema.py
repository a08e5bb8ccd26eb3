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


def empty(table: str) -> pl.DataFrame:
    """The table without rows."""
    return pl.DataFrame(schema=schema(table))


def conform(frame: pl.DataFrame | None, table: str) -> pl.DataFrame:
    """The frame with exactly the table's columns, in order and type: what it lacks is null, what is beyond is left."""
    if frame is None:
        return empty(table)
    wanted = schema(table)
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in wanted.items()
    )
