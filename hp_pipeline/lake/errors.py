"""What can go wrong with the files of a lake: each error names the file and the remedy."""

from __future__ import annotations

import errno
from pathlib import Path


class StorageError(OSError):
    """A file that cannot be stored: what was there before is untouched."""

    def __init__(self, path: Path, cause: OSError) -> None:
        remedy = {
            errno.ENOSPC: "make room on that disk",
            errno.EDQUOT: "make room on that disk, or raise the quota",
            errno.EFBIG: "raise the limit on the size of files",
            errno.EACCES: "give this user the right to write there",
            errno.EPERM: "give this user the right to write there, on a file system that has symbolic links",
            errno.EROFS: "choose a data folder that can be written to",
            errno.ENOTDIR: "move the file away that stands where a folder must be",
            errno.EIO: "mend the disk, or, if it is this file alone that cannot be read, move it away",
            errno.EOPNOTSUPP: "choose a data folder on a file system that has symbolic links",
        }.get(cause.errno or 0, "mend the disk or choose another data folder")
        super().__init__(
            cause.errno,
            f"cannot store {path}: {cause.strerror or cause}. What was stored there before is untouched; "
            f"{remedy} and run it again.",
        )
        self.path = path

    def __str__(self) -> str:
        return str(self.args[1])


class DamagedPartitionError(OSError):
    """A partition file that cannot be read, or whose content is not what its receipt says."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(
            f"partition file {path} is damaged ({reason}). Move it away and materialise the partition again; "
            f"for readings, import the files of that day again or restore it from a backup."
        )
        self.path = path
