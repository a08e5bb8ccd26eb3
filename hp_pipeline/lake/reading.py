"""Rows out of partition files: many of them in one scan, at less than half the cost of one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from hp_pipeline.lake.encoding import UNREADABLE, decode, read_columns
from hp_pipeline.lake.errors import DamagedPartitionError
from hp_pipeline.lake.sound import SoundFiles

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
    files: SoundFiles,
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
    # A file of which several pieces are wanted one after the other is not read at once.
    if not is_one and len({piece.path for piece in pieces}) == len(pieces):
        there = _sources(files, pieces)
        rows = None if schema is None else _scanned(there, schema, columns, where)
        if rows is None:  # of another version, perhaps: each is asked for its own
            rows = _scanned(there, _common_schema(there), columns, where)
        if rows is not None:
            return [rows]
    frames = []
    for piece in pieces:
        try:
            frame = read_file(files, piece.path, columns if columns is None or piece.whole else [*columns, DATE])
        except FileNotFoundError:
            continue
        rows = chosen(frame if piece.whole else rows_of_days(piece.path, frame, piece.keys), columns)
        frames.append(rows if where is None else rows.filter(where))
    return frames


def chosen(frame: pl.DataFrame, columns: Sequence[str] | None) -> pl.DataFrame:
    """These columns of a frame (all but `DATE` if none are named); one that it lacks knows nothing."""
    if columns is None:
        return frame.drop(DATE, strict=False)
    unknown = [pl.lit(None).alias(name) for name in columns if name not in frame.columns]
    return (frame.with_columns(unknown) if unknown else frame).select(columns)


def read_file(files: SoundFiles, path: Path, columns: Sequence[str] | None) -> pl.DataFrame:
    """All rows of a file, as they are stored, in all columns or in those of these that it has, at least one.

    Raises:
        FileNotFoundError: there is none.
        DamagedPartitionError: it cannot be read.
    """
    try:
        source = files.source(path)
        return decode(path.read_bytes(), columns) if source is None else read_columns(source, columns)
    except (FileNotFoundError, DamagedPartitionError):
        raise
    except UNREADABLE as error:
        raise DamagedPartitionError(path, error) from error


def rows_of_days(path: Path, frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Those of a file's rows that are of these partitions.

    Raises:
        DamagedPartitionError: it does not say of which they are.
    """
    if frame.schema.get(DATE) != pl.Date():
        raise DamagedPartitionError(path, f"it has no column {DATE}")
    return frame.filter(_is_of(keys))


def _is_of(keys: Sequence[str]) -> pl.Expr:
    return pl.col(DATE).is_in(pl.Series(keys).str.to_date().implode())


def _sources(files: SoundFiles, pieces: Sequence[Piece]) -> dict[Piece, bytes | Path]:
    """What there is to be read of the pieces; nothing if one is in a file of a former version, which is read by itself.

    Raises:
        DamagedPartitionError: a file is damaged.
    """
    found: dict[Piece, bytes | Path] = {}
    for piece in pieces:
        try:
            source = files.source(piece.path)
        except FileNotFoundError:
            continue
        if source is None:
            return {}
        found[piece] = source
    return found


def _common_schema(sources: Mapping[Piece, bytes | Path]) -> Mapping[str, pl.DataType]:
    """The columns of all the files; none where they differ in more than that some are lacking."""
    schema: dict[str, pl.DataType] = {}
    for source in sources.values():
        try:
            stored = pl.read_parquet_schema(source)
        except UNREADABLE:
            return {}
        if any(schema.setdefault(name, dtype) != dtype for name, dtype in stored.items()):
            return {}
    return schema


def _scanned(
    sources: Mapping[Piece, bytes | Path],
    schema: Mapping[str, pl.DataType],
    columns: Sequence[str] | None,
    where: pl.Expr | None,
) -> pl.DataFrame | None:
    """The rows of many files at once.

    None when that cannot be had: the columns are not those of the schema or fewer, or one cannot be read, which reading
    them one by one will tell by its name.
    """
    names = (
        [name for name in schema if name != DATE] if columns is None else [name for name in columns if name in schema]
    )
    if not names or not sources:
        return None
    small = [source for source in sources.values() if isinstance(source, bytes)]
    rows = pl.scan_parquet(
        small if len(small) == len(sources) else [piece.path for piece in sources],
        schema={**schema, DATE: pl.Date()},
        hive_partitioning=False,
        glob=False,
        missing_columns="insert",
        cache=False,
    )
    if not all(piece.whole for piece in sources):
        rows = rows.filter(_is_of([key for piece in sources for key in piece.keys]))
    rows = rows.select(names)
    try:
        found = (rows if where is None else rows.filter(where)).collect()
    except UNREADABLE:
        return None
    return found if columns is None else chosen(found, columns)
