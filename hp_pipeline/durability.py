"""What makes a change to the disk outlive a power cut, for whoever stores files."""

from __future__ import annotations

import os
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
