"""How a frame becomes the bytes of a partition file.

Equal frames give equal bytes (with one version of pyarrow). Integers and times are delta-encoded: change-only series
grow by small regular steps, and that is 3x smaller than the default (a day of Home Assistant readings: 22 kB instead of
53 kB). A column that knows nothing is left out, and so are the copy of the Arrow schema and statistics of anything but
times: in the wide tables of figures, a few rows a day, those were two thirds of the file. What is left of such a file
is mostly the words of the format about each column: where there are few rows, a column without gaps says that it has
none (no levels and histograms of nulls), and there are no dictionaries and no statistics at all. A sixth of a one-row
file was that.

Between the pages and the footer stands a seal, with a checksum of all that is before it and one of the footer. Damage
must be known before polars sees it: polars does not look at the pages' own checksums (which are there for others), and
gives wrong rows, panics, or ends the whole process, because it wants to make room for 2^61 bytes.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

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

_SEAL = b"hp.crc32"
"""What stands between the pages and the footer, where no reader of Parquet looks: these letters, and two checksums."""
SEAL_BYTES = len(_SEAL) + 8

UNREADABLE = (OSError, ValueError, pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What polars and pyarrow raise for bytes that are no readable Parquet."""


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
    return _sealed(sink.getvalue())


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


def decode(data: bytes, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The rows of a file, compared with its checksums: all columns, or those of these that it has, at least one.

    Raises:
        *UNREADABLE: the bytes are no readable Parquet (a checksum is wrong, the file is cut short).
    """
    if is_sealed(data):
        return read_columns(data, columns)
    # Of a former version: pyarrow looks at the pages' checksums.
    with pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True) as file:
        names = None if columns is None else _those_of(columns, file.schema_arrow.names)
        return pl.DataFrame(file.read(columns=names, use_threads=False).replace_schema_metadata(None))


def read_columns(source: bytes | Path, columns: Sequence[str] | None) -> pl.DataFrame:
    """The rows of a sound file: all columns, or those of these that it has, at least one."""
    names = None if columns is None else _those_of(columns, list(pl.read_parquet_schema(source)))
    return pl.read_parquet(source, columns=names, hive_partitioning=False)


def _those_of(columns: Sequence[str], stored: Sequence[str]) -> list[str]:
    return [name for name in columns if name in stored] or list(stored[:1])


# ---- the seal --------------------------------------------------------------------------------------------------------


def _sealed(data: bytes) -> bytes:
    place = len(data) - footer_bytes(data)
    pages = zlib.crc32(data[:place]).to_bytes(4, "little")
    return data[:place] + _SEAL + pages + _footer_checksum(pages, data[place:]) + data[place:]


def is_sealed(data: bytes) -> bool:
    """Whether a file is as it was written; false of one of a former version, which has no seal.

    Raises:
        ValueError: it is not.
    """
    place = len(data) - footer_bytes(data)
    if not _footer_is_sealed(data, place):
        return False
    if zlib.crc32(memoryview(data)[: place - SEAL_BYTES]).to_bytes(4, "little") != data[place - 8 : place - 4]:
        raise ValueError("its checksum is wrong")
    return True


def footer_in(end: bytes) -> dict[str, str]:
    """What the footer says, by name; of the end of a file that holds at least footer and seal.

    Raises:
        *UNREADABLE: it is damaged.
    """
    if _footer_is_sealed(end, len(end) - footer_bytes(end)):
        return pl.read_parquet_metadata(end)
    said = pq.read_metadata(io.BytesIO(end)).metadata or {}
    return {name.decode(): value.decode() for name, value in said.items()}


def footer_bytes(end: bytes) -> int:
    """How many bytes at its end are the footer of a file, by what it says itself, at least."""
    return int.from_bytes(end[-8:-4], "little") + 8


def _footer_is_sealed(end: bytes, place: int) -> bool:
    """Whether the footer, which begins there, is as it was written; false if it bears no seal."""
    seal = end[max(place - SEAL_BYTES, 0) : max(place, 0)]
    if not seal.startswith(_SEAL):
        return False
    if _footer_checksum(seal[-8:-4], end[place:]) != seal[-4:]:
        raise ValueError("the checksum of its footer is wrong")
    return True


def _footer_checksum(pages: bytes, footer: bytes) -> bytes:
    return zlib.crc32(pages + footer).to_bytes(4, "little")
