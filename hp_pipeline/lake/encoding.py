"""How a frame becomes the bytes of a partition file.

Equal frames give equal bytes (with one version of pyarrow). Integers and times are delta-encoded: change-only series
grow by small regular steps, and that is 3x smaller than the default (a day of Home Assistant readings: 22 kB instead of
53 kB). Each page carries a checksum. A column that knows nothing is left out, and so are the copy of the Arrow schema
and statistics of anything but times: in the wide tables of figures, a few rows a day, those were two thirds of the
file. What is left of such a file is mostly the words of the format about each column: where there are few rows, a
column without gaps says that it has none (no levels and histograms of nulls), and there are no dictionaries and no
statistics at all. A sixth of a one-row file was that.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

_FEW = 256
"""Below so many rows a file is written with snappy (zstd's set-up for each column would be half the work), and with as
few words as may be about each column."""

_GROUP = 12_000
"""Rows of a group: of a month of frames a day is read without the others, and a whole one is read no slower."""

_TALL = 10_000
"""Rows of a partition from which numbers are stored by their bytes' places and compressed harder: a Luxtronik's day of
raw registers takes 68 kB instead of 139, for some milliseconds more."""


def encode(frame: pl.DataFrame, footer: Mapping[str, str], partitions: int = 1) -> bytes:
    """The bytes of a file of so many partitions; `footer` is kept in it, by name."""
    known = known_columns(frame)
    few, tall = frame.height < _FEW, frame.height >= _TALL * partitions
    table = pa.table(known).combine_chunks()
    if few:
        gaps = [count > 0 for count in known.null_count().row(0)]
        fields = map(pa.field, table.schema.names, table.schema.types, gaps)
        table = pa.Table.from_arrays(table.columns, schema=pa.schema(fields))
    delta = [
        field.name for field in table.schema if pa.types.is_integer(field.type) or pa.types.is_temporal(field.type)
    ]
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    split = floats if tall else []
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="none" if frame.height == 1 else "snappy" if few else "zstd",
        compression_level=9 if tall else None,
        use_dictionary=False
        if few
        else [column.name for column in known.get_columns() if _repeats(column) and column.name not in split],
        column_encoding={
            **dict.fromkeys(delta, "DELTA_BINARY_PACKED"),
            **dict.fromkeys(split, "BYTE_STREAM_SPLIT"),
        }
        or None,
        write_statistics=False if few else delta or False,
        store_schema=False,
        write_page_checksum=True,
    ) as writer:
        writer.write_table(table, row_group_size=_GROUP if partitions > 1 else max(table.num_rows, 1))
        writer.add_key_value_metadata(dict(footer))
    return sink.getvalue()


def known_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns of a frame that a file holds: those that know something, or the first where none does."""
    unknown = [
        name for name, count in zip(frame.columns, frame.null_count().row(0), strict=True) if count == frame.height
    ]
    if len(unknown) == frame.width:
        unknown = unknown[1:]
    return frame.drop(unknown) if unknown else frame


def _repeats(column: pl.Series) -> bool:
    """Whether a dictionary of its values is worth its place: words, and numbers of few different values."""
    return column.dtype == pl.String or (column.dtype == pl.Float64 and column.n_unique() * 4 < column.len())


def decode(data: bytes) -> pl.DataFrame:
    """The rows of a file, its pages compared with their checksums.

    Raises:
        OSError, ValueError: the bytes are no readable Parquet (a page's checksum is wrong, the file is cut short).
    """
    table = pq.read_table(io.BytesIO(data), page_checksum_verification=True)
    return pl.DataFrame(table.replace_schema_metadata(None))
