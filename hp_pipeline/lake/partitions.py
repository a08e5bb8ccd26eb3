"""The partition files: exactly one per asset and partition, replaced whole or not at all.

A file is written beside, fsynced, renamed over, and its directory fsynced: after a power cut either the old or the new
one is there (a bare `write_parquet` and DuckDB's `COPY` do not fsync and lose everything acknowledged). Readers need no
lock: they see one version or the other.

The footer of each file holds its *receipt*: the hash of its content, and the fingerprint of the inputs from which it
was made. Whether a partition is due is thus told by the files alone, without a database beside them that could
disagree.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from hp_pipeline.lake.encoding import content_hash, encode

_FILE = "data.parquet"
_LOCKS = 64
SCHEMA = "_schema"
"""The asset of each table that has no rows, only all its columns, for the catalogue."""
_WRITERS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="lake")


class StorageError(OSError):
    """A file that cannot be stored: what was there before is untouched."""

    def __init__(self, path: Path, cause: OSError) -> None:
        remedy = {
            errno.ENOSPC: "make room on that disk",
            errno.EDQUOT: "make room on that disk, or raise the quota",
            errno.EFBIG: "raise the limit on the size of files",
            errno.EACCES: "give this user the right to write there",
            errno.EPERM: "give this user the right to write there",
            errno.EROFS: "choose a data folder that can be written to",
            errno.ENOTDIR: "move the file away that stands where a folder must be",
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


@dataclass(frozen=True)
class Receipt:
    """What the footer of a partition file says.

    Attributes:
        content: hash of the content; equal content has an equal hash.
        inputs: fingerprint of what it was made from, as the writer gave it.
        rows: number of rows.
    """

    content: str
    inputs: str
    rows: int


class Lake:
    """Tables under one root: `<root>/<asset>/date=<key>/data.parquet`.

    An asset is a path such as `frames/daikin`: the table's name, then whose rows they are. A partition key is a date
    `YYYY-MM-DD`; the empty key is for an asset of one file.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()

    def path(self, asset: str, key: str) -> Path:
        """Where the partition's file is (or would be)."""
        return self.root / asset / f"date={key}" / _FILE if key else self.root / asset / _FILE

    def keys(self, asset: str) -> list[str]:
        """The keys of the stored partitions, ascending."""
        try:
            with os.scandir(self.root / asset) as entries:
                names = [entry.name for entry in entries]
        except FileNotFoundError:
            return []
        keys = sorted(name.removeprefix("date=") for name in names if name.startswith("date="))
        return ["", *keys] if _FILE in names else keys

    def assets(self) -> list[str]:
        """Every asset that has a directory, as paths below the root."""
        found = {path.parent.relative_to(self.root).as_posix() for path in self.root.glob("**/date=*")}
        found |= {
            path.parent.relative_to(self.root).as_posix()
            for path in self.root.glob(f"**/{_FILE}")
            if not path.parent.name.startswith("date=")
        }
        return sorted(asset for asset in found if not asset.endswith(f"/{SCHEMA}"))

    def receipt(self, asset: str, key: str) -> Receipt | None:
        """The receipt of a stored partition; None when there is none or its footer is unreadable."""
        path = self.path(asset, key)
        try:
            footer = pl.read_parquet_metadata(path)
        except (FileNotFoundError, pl.exceptions.PolarsError):
            return None
        if "hp.content" not in footer:
            return None
        return Receipt(footer["hp.content"], footer.get("hp.inputs", ""), int(footer.get("hp.rows", "0")))

    def read(
        self, asset: str, keys: Iterable[str], columns: Sequence[str] | None = None, where: pl.Expr | None = None
    ) -> pl.DataFrame | None:
        """The rows of the partitions that are stored, in the order of the keys; None when none is.

        A column that knows nothing is not stored: one of `columns` that a file lacks is null.

        Raises:
            DamagedPartitionError: a file cannot be read.
        """
        frames = []
        for key in keys:
            path = self.path(asset, key)
            try:
                frame = _read(path, columns)
            except FileNotFoundError:
                continue
            except (pl.exceptions.PolarsError, OSError) as error:
                raise DamagedPartitionError(path, error) from error
            frames.append(frame if where is None else frame.filter(where))
        return pl.concat(frames, how="diagonal_relaxed") if frames else None

    def write(self, asset: str, key: str, frame: pl.DataFrame, inputs: str = "") -> Receipt:
        """Store a partition whole, durably. Returns its receipt."""
        data, content = encode(frame, {"hp.inputs": inputs, "hp.rows": str(frame.height)})
        replace_file(self.path(asset, key), data)
        return Receipt(content, inputs, frame.height)

    def write_many(
        self, asset: str, frames: Mapping[str, pl.DataFrame], inputs: Mapping[str, str]
    ) -> dict[str, Receipt]:
        """Store several partitions of an asset; each is atomic by itself."""
        jobs = {
            key: _WRITERS.submit(self.write, asset, key, frame, inputs.get(key, "")) for key, frame in frames.items()
        }
        return {key: job.result() for key, job in jobs.items()}

    def remove(self, asset: str, key: str) -> None:
        """Take a partition away, its folder too: a folder stands for a partition."""
        path = self.path(asset, key)
        path.unlink(missing_ok=True)
        if key:
            with contextlib.suppress(OSError):
                path.parent.rmdir()

    @contextlib.contextmanager
    def locked(self, asset: str, key: str) -> Iterator[None]:
        """Hold off other processes that would read, change and write the same partition.

        The lock ends with the process that holds it, however that ends.
        """
        # A bounded number of lock files, away from the partitions; two partitions that share one merely wait.
        number = zlib.crc32(f"{asset} {key}".encode()) % _LOCKS
        folder = self.root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / str(number), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def verify(self, asset: str, key: str) -> Receipt:
        """Read a partition whole and compare it with its receipt.

        Raises:
            DamagedPartitionError: unreadable, a wrong page checksum, or another content than the receipt says.
        """
        path = self.path(asset, key)
        receipt = self.receipt(asset, key)
        if receipt is None:
            raise DamagedPartitionError(path, "it has no readable receipt")
        try:
            content = content_hash(path.read_bytes())
        except (OSError, ValueError) as error:
            raise DamagedPartitionError(path, error) from error
        if content != receipt.content:
            raise DamagedPartitionError(path, f"content {content}, receipt says {receipt.content}")
        return receipt

    def clean(self) -> int:
        """Remove what killed writers left beside their files. Returns how many files that were."""
        left = [path for path in self.root.glob("**/.*.tmp") if not _is_alive(path)]
        for path in left:
            path.unlink(missing_ok=True)
            if path.parent.name.startswith("date="):
                with contextlib.suppress(OSError):
                    path.parent.rmdir()
        return len(left)


def _read(path: Path, columns: Sequence[str] | None) -> pl.DataFrame:
    if columns is None:
        return pl.read_parquet(path, hive_partitioning=False)
    stored = list(pl.read_parquet_schema(path))
    there = [name for name in columns if name in stored]
    frame = pl.read_parquet(path, columns=there or stored[:1], hive_partitioning=False)
    unknown = [pl.lit(None).alias(name) for name in columns if name not in there]
    return frame.with_columns(unknown).select(columns) if unknown else frame


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file durably: written beside, fsynced, renamed over, directory fsynced.

    Raises:
        StorageError: it cannot be written; the file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        made = _make_directories(path.parent)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        for directory in (path.parent, *made):
            _sync_directory(directory)
    except OSError as error:
        raise StorageError(path, error) from error


def _make_directories(directory: Path) -> list[Path]:
    """Make a directory; returns the directories in which a new entry appeared, to be fsynced."""
    changed = []
    missing = directory
    while not missing.exists():
        missing = missing.parent
        changed.append(missing)
    directory.mkdir(parents=True, exist_ok=True)
    return changed


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_alive(temporary: Path) -> bool:
    """Whether the process that writes this temporary file still runs."""
    try:
        os.kill(int(temporary.name.split(".")[-3]), 0)
    except ProcessLookupError:
        return False
    except (ValueError, IndexError):
        return False
    except PermissionError:
        return True
    return True
