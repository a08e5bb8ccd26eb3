"""The small files that a process has just written or looked into, kept in its memory for as long as they are the same.

What one step stores the next one reads, day after day of a month is read out of one file, and opening a file of few
rows and a hundred columns takes a thousand times longer than finding its frame here. A file that anybody has replaced
since is another one (inode, size, time of change), so what is found here is always what the file holds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from hp_pipeline.lake.files import Identity, identity

LARGEST = 128 * 1024
"""Bytes of a partition beyond which it is not kept: reading many rows costs little for each."""
MOST = 64 * 1024 * 1024
"""Bytes that are kept in all; what was used longest ago goes first."""
_PER_COLUMN = 300
"""Bytes that a column takes beside its values, about."""


_Key = tuple[Path, tuple[str, ...] | None]
"""A file, and the columns that are kept of it: None for all."""


@dataclass
class RecentPartitions:
    """Frames by the path of their file; used by several threads."""

    _kept: OrderedDict[_Key, tuple[Identity, pl.DataFrame, int]] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(
        self,
        path: Path,
        file: Identity,
        frame: pl.DataFrame,
        partitions: int = 1,
        columns: Sequence[str] | None = None,
    ) -> None:
        """A file of so many partitions holds this content, in all its columns or in those."""
        key = path, None if columns is None else tuple(columns)
        size = int(frame.estimated_size()) + _PER_COLUMN * frame.width
        with self._lock:
            self._drop(key)
            if size > LARGEST * partitions:
                return
            self._kept[key] = file, frame, size
            self._bytes += size
            while self._bytes > MOST:
                self._drop(next(iter(self._kept)))

    def get(self, path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame | None:
        """The content of a file, if it is known, at least in the columns, and the file is still the one that had it."""
        key: _Key = (path, None)
        if columns is not None and key not in self._kept:
            key = (path, tuple(columns))
        found = self._kept.get(key)
        if found is None:
            return None
        try:
            is_same = identity(path.stat()) == found[0]
        except OSError:
            is_same = False
        with self._lock:
            if not is_same:
                self._drop(key)
                return None
            if key in self._kept:
                self._kept.move_to_end(key)
        return found[1]

    def _drop(self, key: _Key) -> None:
        dropped = self._kept.pop(key, None)
        if dropped is not None:
            self._bytes -= dropped[2]
