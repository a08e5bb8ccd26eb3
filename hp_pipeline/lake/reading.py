"""Rows out of partition files: many of them in one scan, at less than half the cost of one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from hp_pipeline.lake.errors import DamagedPartitionError

DATE = "date"
"""The column of a file of several partitions that says which of them a row belongs to."""


@dataclass(frozen=True)
class Piece:
    """What is wanted of a file: all of it, or the rows of some of its partitions only.

    Attributes:
        keys: the partitions that are wanted.
        whole: whether the file holds no others.
    """

    path: Path
    keys: tuple[str, ...]
    whole: bool = True


def read_pieces(
    pieces: Sequence[Piece],
    schema: Mapping[str, pl.DataType] | None,
    columns: Sequence[str] | None,
    where: pl.Expr | None,
) -> list[pl.DataFrame]:
    """The rows of those of the files that are there, in their order.

    Raises:
        DamagedPartitionError: a file cannot be read.
    """
    is_one = len(pieces) == 1 and pieces[0].whole
    there = [] if is_one else [piece for piece in pieces if piece.path.exists()]
    # A file of which several pieces are wanted one after the other is not read at once.
    if there and len({piece.path for piece in there}) == len(there):
        rows = None if schema is None else _scanned(there, schema, columns, where)
        if rows is None:  # of another version, perhaps: each is asked for its own
            rows = _scanned(there, _common_schema(there), columns, where)
        if rows is not None:
            return [rows]
    frames = []
    for piece in pieces:
        try:
            frame = read_file(piece.path, columns if columns is None or piece.whole else [*columns, DATE])
        except FileNotFoundError:
            continue
        rows = chosen(frame if piece.whole else frame.filter(_is_wanted([piece])), columns)
        frames.append(rows if where is None else rows.filter(where))
    return frames


def chosen(frame: pl.DataFrame, columns: Sequence[str] | None) -> pl.DataFrame:
    """These columns of a frame (all but `DATE` if none are named); one that it lacks knows nothing."""
    if columns is None:
        return frame.drop(DATE, strict=False)
    unknown = [pl.lit(None).alias(name) for name in columns if name not in frame.columns]
    return (frame.with_columns(unknown) if unknown else frame).select(columns)


def read_file(path: Path, columns: Sequence[str] | None) -> pl.DataFrame:
    """All rows of a file, as they are stored.

    Raises:
        FileNotFoundError: there is none.
        DamagedPartitionError: it cannot be read.
    """
    try:
        if columns is None:
            return pl.read_parquet(path, hive_partitioning=False)
        stored = list(pl.read_parquet_schema(path))
        there = [name for name in columns if name in stored]
        return pl.read_parquet(path, columns=there or stored[:1], hive_partitioning=False)
    except FileNotFoundError:
        raise
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DamagedPartitionError(path, error) from error


def _is_wanted(pieces: Sequence[Piece]) -> pl.Expr:
    return pl.col(DATE).is_in(pl.Series([key for piece in pieces for key in piece.keys]).str.to_date().implode())


def _common_schema(pieces: Sequence[Piece]) -> Mapping[str, pl.DataType]:
    """The columns of all the files; none where they differ in more than that some are lacking, or one is damaged."""
    schema: dict[str, pl.DataType] = {}
    for piece in pieces:
        try:
            stored = pl.read_parquet_schema(piece.path)
        except (pl.exceptions.PolarsError, OSError):
            return {}
        if any(schema.setdefault(name, dtype) != dtype for name, dtype in stored.items()):
            return {}
    return schema


def _scanned(
    pieces: Sequence[Piece], schema: Mapping[str, pl.DataType], columns: Sequence[str] | None, where: pl.Expr | None
) -> pl.DataFrame | None:
    """The rows of many files at once.

    None when that cannot be had: the columns are not those of the schema or fewer, or one is damaged, which reading
    them one by one will tell by its name.
    """
    names = (
        [name for name in schema if name != DATE] if columns is None else [name for name in columns if name in schema]
    )
    if not names:
        return None
    rows = pl.scan_parquet(
        [piece.path for piece in pieces],
        schema={**schema, DATE: pl.Date()},
        hive_partitioning=False,
        glob=False,
        missing_columns="insert",
        cache=False,
    )
    if not all(piece.whole for piece in pieces):
        rows = rows.filter(_is_wanted(pieces))
    rows = rows.select(names)
    try:
        found = (rows if where is None else rows.filter(where)).collect()
    except (pl.exceptions.PolarsError, OSError):
        return None
    return found if columns is None else chosen(found, columns)
