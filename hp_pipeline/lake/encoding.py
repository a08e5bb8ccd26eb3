"""How a frame becomes the bytes of a partition file.

Equal frames give equal bytes (with one version of pyarrow), so the hash of the data pages is the content's identity.
Integers and times are delta-encoded: change-only series grow by small regular steps, and that is 3x smaller than the
default (a day of Home Assistant readings: 22 kB instead of 53 kB). Each page carries a checksum. A column that knows
nothing is left out, and so are the copy of the Arrow schema and statistics of anything but times: in the wide tables of
figures, a few rows a day, those were two thirds of the file.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

_WORTH_ZSTD = 256
"""Rows from which zstd makes a file smaller than snappy does; below, its set-up for each column is half the work."""

_TALL = 10_000
"""Rows from which numbers are stored by their bytes' places and compressed harder: a Luxtronik's day of raw registers
takes 68 kB instead of 139, for some milliseconds more."""


def encode(frame: pl.DataFrame, receipt: Mapping[str, str]) -> tuple[bytes, str]:
    """The file's bytes and the content's hash (sha256 over the schema of what is stored and its data pages, 32 hex
    digits).

    `receipt` is kept in the footer, together with the content hash under `hp.content`; it is not part of the content.
    """
    columns = frame.get_columns()
    known = pl.DataFrame([column for column in columns if column.null_count() < frame.height] or columns[:1])
    table = known.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    delta = [
        field.name for field in table.schema if pa.types.is_integer(field.type) or pa.types.is_temporal(field.type)
    ]
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    split = floats if frame.height >= _TALL else []
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd" if frame.height >= _WORTH_ZSTD else "snappy",
        compression_level=9 if frame.height >= _TALL else None,
        use_dictionary=[column.name for column in known.get_columns() if _repeats(column) and column.name not in split],
        column_encoding={
            **dict.fromkeys(delta, "DELTA_BINARY_PACKED"),
            **dict.fromkeys(split, "BYTE_STREAM_SPLIT"),
        }
        or None,
        write_statistics=delta or False,
        store_schema=False,
        write_page_checksum=True,
    ) as writer:
        writer.write_table(table, row_group_size=max(table.num_rows, 1))
        digest = hashlib.sha256(str(known.schema).encode())
        digest.update(sink.getbuffer())
        content = digest.hexdigest()[:32]
        writer.add_key_value_metadata({**receipt, "hp.content": content})
    return sink.getvalue(), content


def _repeats(column: pl.Series) -> bool:
    """Whether a dictionary of its values is worth its place: words, and numbers of few different values."""
    if column.dtype == pl.String:
        return True
    return column.dtype == pl.Float64 and column.len() >= 256 and column.n_unique() * 4 < column.len()


def content_hash(data: bytes) -> str:
    """The content hash that bytes of a partition file bear, computed anew from what can be read of them.

    Raises:
        OSError, ValueError: the bytes are no readable Parquet (a page's checksum is wrong, the file is cut short).
    """
    table = pq.read_table(io.BytesIO(data), page_checksum_verification=True)
    return encode(pl.DataFrame(table.replace_schema_metadata(None)), {})[1]
