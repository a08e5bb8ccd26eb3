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


def encode(frame: pl.DataFrame, receipt: Mapping[str, str]) -> tuple[bytes, str]:
    """The file's bytes and the content's hash (sha256 over the schema of what is stored and its data pages, 32 hex
    digits).

    `receipt` is kept in the footer, together with the content hash under `hp.content`; it is not part of the content.
    """
    known = [name for name in frame.columns if frame[name].null_count() < frame.height] or frame.columns[:1]
    table = frame.select(known).rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    delta = [
        field.name for field in table.schema if pa.types.is_integer(field.type) or pa.types.is_temporal(field.type)
    ]
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        use_dictionary=[name for name in known if _repeats(frame[name])],
        column_encoding=dict.fromkeys(delta, "DELTA_BINARY_PACKED") or None,
        write_statistics=delta or False,
        store_schema=False,
        write_page_checksum=True,
    ) as writer:
        writer.write_table(table, row_group_size=max(table.num_rows, 1))
        digest = hashlib.sha256(str(frame.select(known).schema).encode())
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
