"""What of the files on the disk polars may read: those that are as they were written (see `lake.encoding`)."""

from __future__ import annotations

import os
from pathlib import Path

from hp_pipeline.lake.encoding import SEAL_BYTES, UNREADABLE, footer_bytes, footer_in, is_sealed
from hp_pipeline.lake.errors import DamagedPartitionError
from hp_pipeline.lake.files import Identity, identity

SMALL = 512 * 1024
"""Bytes of a file up to which it is read whole: to read some of it would take no less time."""
_END = 16 * 1024
"""Bytes of a file's end that are read for its footer, at first."""
_MOST = 20_000
"""Files of which it is remembered that they are sound."""


class SoundFiles:
    """Which files are as they were written. A large one is compared with its checksum once, as long as it is not
    replaced."""

    def __init__(self) -> None:
        self._sound: dict[Path, Identity] = {}

    def source(self, path: Path) -> bytes | Path | None:
        """What polars may read of a file: the bytes of a small one, a large one by its path. None for one of a former
        version, which only `decode` can compare with its checksums.

        Raises:
            FileNotFoundError: there is none.
            DamagedPartitionError: it is not as it was written.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                status = os.fstat(descriptor)
                file = identity(status)
                if self._sound.get(path) == file:
                    return path
                data = _read(descriptor, status.st_size, 0)
            finally:
                os.close(descriptor)
            if not is_sealed(data):
                return None
        except FileNotFoundError:
            raise
        except UNREADABLE as error:
            raise DamagedPartitionError(path, error) from error
        if len(data) <= SMALL:
            return data
        if len(self._sound) >= _MOST:
            self._sound.clear()
        self._sound[path] = file
        return path


def read_footer(path: Path) -> tuple[Identity, dict[str, str]]:
    """What the footer of a file says, by name, and what tells the file from others.

    Raises:
        *UNREADABLE: there is no file, or its footer is damaged.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        status = os.fstat(descriptor)
        size = status.st_size
        end = _read(descriptor, min(size, _END), max(size - _END, 0))
        missing = min(footer_bytes(end) + SEAL_BYTES, size) - len(end)
        if missing > 0:
            end = _read(descriptor, missing, size - len(end) - missing) + end
    finally:
        os.close(descriptor)
    return identity(status), footer_in(end)


def _read(descriptor: int, size: int, place: int) -> bytes:
    """So many bytes of a file from a place on, or up to its end."""
    data = os.pread(descriptor, size, place)
    while 0 < len(data) < size:
        more = os.pread(descriptor, size - len(data), place + len(data))
        if not more:
            break
        data += more
    return data
