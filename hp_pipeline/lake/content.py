"""The identity of a partition's content: equal rows have an equal hash, whatever file holds them and with what others.

It is made of the values alone: a column that knows nothing counts for nothing, so it does not matter whether a file
has it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping

import polars as pl

HASHED_BY = f"polars {pl.__version__}"
"""Whose hashes of values these are. Another version of polars may have others: it takes what it finds in a file for
the content's identity, and cannot compute it anew."""


def content_of(frame: pl.DataFrame) -> str:
    """The identity of the content of one partition, 32 hex digits."""
    return contents_of({"": frame})[""]


def contents_of(frames: Mapping[str, pl.DataFrame]) -> dict[str, str]:
    """The identities of the contents of several partitions; at once, which is cheaper than one by one."""
    dtypes: dict[str, pl.DataType] = {}
    if all(
        dtypes.setdefault(name, dtype) == dtype for frame in frames.values() for name, dtype in frame.schema.items()
    ):
        rows = pl.concat(list(frames.values()), how="diagonal", rechunk=False) if frames else pl.DataFrame()
        return contents_in(rows, {key: frame.height for key, frame in frames.items()})
    # Together they would be of another type than each is.
    return {key: contents_in(frame, {key: frame.height})[key] for key, frame in frames.items()}


def contents_in(rows: pl.DataFrame, heights: Mapping[str, int]) -> dict[str, str]:
    """The identities of the contents of partitions whose rows, so many each, follow one another."""
    hashes = _row_hashes(rows).to_numpy()
    found = {}
    place = 0
    for key, height in heights.items():
        digest = hashlib.sha256(f"{height} ".encode())
        digest.update(hashes[place : place + height].tobytes())
        found[key] = digest.hexdigest()[:32]
        place += height
    return found


def _row_hashes(frame: pl.DataFrame) -> pl.Series:
    """A number for each row: the sum of its known values' hashes, each seeded with the name of its column."""
    counts = dict(zip(frame.columns, frame.null_count().row(0), strict=True))
    values = []
    for name, unknown in counts.items():
        value = pl.col(name).hash(seed=zlib.crc32(name.encode()))
        if unknown < frame.height:
            values.append(pl.when(pl.col(name).is_not_null()).then(value) if unknown else value)
    if not values:
        return pl.Series([0], dtype=pl.UInt64).new_from_index(0, frame.height)
    return frame.select(pl.sum_horizontal(values).alias("hash")).get_column("hash")
