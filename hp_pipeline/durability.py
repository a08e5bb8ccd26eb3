"""What makes a change to the disk outlive a power cut, for whoever stores files."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make durable which files a directory has: what was made, renamed or taken away in it.

    A file's own content is not; that is synced before the file takes its name.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside a path for what takes its place at the end, or is taken away when anything fails. The name tells
    the process that is writing there. To make it durable, the content before and the directory after, is the caller's.

    Raises:
        OSError: it cannot take the place.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file so that a reader, and whoever looks after a power cut, sees the old content or the new, whole.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    with replacing(path) as beside, beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.parent)
