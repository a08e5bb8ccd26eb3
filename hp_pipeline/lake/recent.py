"""The small partitions that a process has just written, kept in its memory for as long as their files are theirs.

What one step stores the next one reads, and opening a file of few rows and a hundred columns takes a thousand times
longer than finding its frame here. A file that anybody has replaced since is another one (inode, size, time of change),
so what is found here is always what the file holds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
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


@dataclass
class RecentPartitions:
    """Frames by the path of their file; used by several threads."""

    _kept: OrderedDict[Path, tuple[Identity, pl.DataFrame, int]] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path: Path, file: Identity, frame: pl.DataFrame, partitions: int = 1) -> None:
        """A file of so many partitions was written with this content."""
        size = int(frame.estimated_size()) + _PER_COLUMN * frame.width
        with self._lock:
            self._drop(path)
            if size > LARGEST * partitions:
                return
            self._kept[path] = file, frame, size
            self._bytes += size
            while self._bytes > MOST:
                self._drop(next(iter(self._kept)))

    def get(self, path: Path) -> pl.DataFrame | None:
        """The content of a file, if it is known and the file is still the one that had it."""
        found = self._kept.get(path)
        if found is None:
            return None
        try:
            is_same = identity(path.stat()) == found[0]
        except OSError:
            is_same = False
        with self._lock:
            if not is_same:
                self._drop(path)
                return None
            if path in self._kept:
                self._kept.move_to_end(path)
        return found[1]

    def _drop(self, path: Path) -> None:
        dropped = self._kept.pop(path, None)
        if dropped is not None:
            self._bytes -= dropped[2]
