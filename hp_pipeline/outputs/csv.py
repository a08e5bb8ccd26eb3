"""Tables as CSV for spreadsheets: local time, units in the headers, one row a time, no column that knows nothing."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from hp_pipeline.vocabulary.tables import tables

SEPARATOR = ","


def table_csv(rows: pl.DataFrame, table: str, time_zone: str, beside: Sequence[str] = ()) -> str:
    """A table as CSV text (UTF-8, comma, point as decimal sign).

    Times are ISO 8601 in the house's time with their offset, so the hour that comes twice in autumn is told apart.
    Headers are `name [unit]`. Columns without any value are left out, numbers are rounded to what a person can use.
    `beside` names columns that are not the table's own and come last.
    """
    units = {column.name: column.unit for column in tables()[table].columns}
    known = [name for name in rows.columns if name in [*units, *beside] and rows[name].null_count() < rows.height]
    columns = []
    for name in known or rows.columns[:3]:
        column = pl.col(name)
        if isinstance(rows.schema[name], pl.Datetime):
            column = column.dt.convert_time_zone(time_zone).dt.to_string("%Y-%m-%dT%H:%M:%S%:z")
        elif rows.schema[name] == pl.Float64:
            column = column.round(4)
        unit = units.get(name)
        columns.append(column.alias(f"{name} [{unit}]" if unit else name))
    return rows.select(columns).write_csv(separator=SEPARATOR)
