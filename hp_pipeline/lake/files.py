"""Files that are replaced whole and durably, or stay as they were.

A file is written beside, fsynced, renamed over, and its directory fsynced: after a power cut either the old or the new
one is there (a bare `write_parquet` and DuckDB's `COPY` do not fsync and lose everything acknowledged).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from hp_pipeline import durability
from hp_pipeline.durability import sync_directory
from hp_pipeline.lake.errors import StorageError

Identity = tuple[int, int, int]
"""What tells a file from one that replaced it: inode, size, time of its last change (ns)."""


def identity(status: os.stat_result) -> Identity:
    """The identity of a file, by its status."""
    return status.st_ino, status.st_size, status.st_mtime_ns


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file durably: written beside, fsynced, renamed over, directory fsynced.

    Raises:
        StorageError: it cannot be written; the file is as it was.
    """
    _, changed = put_file(path, data)
    sync_directories(changed)


def put_file(path: Path, data: bytes) -> tuple[Identity, list[Path]]:
    """Replace a file; returns what tells it from others, and the directories to be synced until that is durable.

    Raises:
        StorageError: it cannot be written; the file is as it was.
    """
    with replacing(path) as temporary:
        made = make_directories(path.parent)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            written = identity(os.fstat(file.fileno()))
    return written, [path.parent, *made]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside a path for what takes its place at the end, or is taken away when anything fails. It tells who is
    writing there (see `is_alive`).

    Raises:
        StorageError: it cannot be written, or cannot take the place.
    """
    try:
        with durability.replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise StorageError(path, error) from error


def is_alive(temporary: Path) -> bool:
    """Whether the process still runs that is `replacing` something by way of this name."""
    try:
        os.kill(int(temporary.name.split(".")[-3]), 0)
    except ProcessLookupError:
        return False
    except (ValueError, IndexError):
        return False
    except PermissionError:
        return True
    return True


def make_directories(directory: Path) -> list[Path]:
    """Make a directory; returns the directories in which a new entry appeared, to be fsynced."""
    try:
        directory.mkdir()
    except FileExistsError:
        return []
    except FileNotFoundError:
        changed = make_directories(directory.parent)
        directory.mkdir(exist_ok=True)
        return [*changed, directory.parent]
    return [directory.parent]


def sync_directories(directories: Iterable[Path]) -> None:
    """Make renames in these directories durable.

    Raises:
        StorageError: one cannot be synced.
    """
    for directory in directories:
        try:
            sync_directory(directory)
        except OSError as error:
            raise StorageError(directory, error) from error
