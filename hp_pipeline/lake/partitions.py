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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from hp_pipeline.lake.encoding import content_hash, encode, known_columns
from hp_pipeline.lake.recent import Identity, RecentPartitions, identity

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

    Args:
        root: the folder.
        schema_of: the columns of a table by its name, None for one that is not known. Where they are known, many files
            are read without looking into each of them first for what it holds.
    """

    def __init__(self, root: Path | str, schema_of: Callable[[str], pl.Schema | None] = lambda table: None) -> None:
        self.root = Path(root).absolute()
        self._schema_of = schema_of
        self._recent = RecentPartitions()

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
        frames: list[pl.DataFrame] = []
        unread: list[Path] = []
        schema = self._schema_of(asset.partition("/")[0])
        for key in keys:
            path = self.path(asset, key)
            recent = self._recent.get(path)
            if recent is None:
                unread.append(path)
                continue
            frames += _read_all(unread, schema, columns, where)
            unread = []
            frame = recent if columns is None else _chosen(recent, columns)
            frames.append(frame if where is None else frame.filter(where))
        frames += _read_all(unread, schema, columns, where)
        return pl.concat(frames, how="diagonal_relaxed") if frames else None

    def write(self, asset: str, key: str, frame: pl.DataFrame, inputs: str = "") -> Receipt:
        """Store a partition whole, durably. Returns its receipt."""
        receipt, changed = self._write(asset, key, frame, inputs)
        _sync_directories(changed)
        return receipt

    def write_many(
        self, asset: str, frames: Mapping[str, pl.DataFrame], inputs: Mapping[str, str]
    ) -> dict[str, Receipt]:
        """Store several partitions of an asset; each is atomic by itself, and all are durable when it returns."""
        jobs = {
            key: _WRITERS.submit(self._write, asset, key, frame, inputs.get(key, "")) for key, frame in frames.items()
        }
        done = {key: job.result() for key, job in jobs.items()}
        # A folder in which many partitions are new is synced once, not once for each of them.
        _sync_directories(dict.fromkeys(directory for _, changed in done.values() for directory in changed))
        return {key: receipt for key, (receipt, _) in done.items()}

    def _write(self, asset: str, key: str, frame: pl.DataFrame, inputs: str) -> tuple[Receipt, list[Path]]:
        """Store a partition; returns its receipt, and the directories to be synced until it is durable."""
        path = self.path(asset, key)
        known = known_columns(frame)
        data, content = encode(known, {"hp.inputs": inputs, "hp.rows": str(frame.height)})
        written, changed = _replace_file(path, data)
        self._recent.put(path, written, known)
        return Receipt(content, inputs, frame.height), changed

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


def _read_all(
    paths: Sequence[Path], schema: pl.Schema | None, columns: Sequence[str] | None, where: pl.Expr | None
) -> list[pl.DataFrame]:
    """The rows of those of the files that are there, in their order.

    Raises:
        DamagedPartitionError: a file cannot be read.
    """
    there = [path for path in paths if path.exists()] if len(paths) > 1 else []
    if len(there) > 1:
        rows = None if schema is None else _scanned(there, schema, columns, where)
        if rows is None:  # of another version, perhaps: each is asked for its own
            rows = _scanned(there, _common_schema(there), columns, where)
        if rows is not None:
            return [rows]
    frames = []
    for path in paths:
        try:
            frame = _read(path, columns)
        except FileNotFoundError:
            continue
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DamagedPartitionError(path, error) from error
        frames.append(frame if where is None else frame.filter(where))
    return frames


def _common_schema(paths: Sequence[Path]) -> Mapping[str, pl.DataType]:
    """The columns of all the files; none where they differ in more than that some are lacking, or one is damaged."""
    schema: dict[str, pl.DataType] = {}
    for path in paths:
        try:
            stored = pl.read_parquet_schema(path)
        except (pl.exceptions.PolarsError, OSError):
            return {}
        if any(schema.setdefault(name, dtype) != dtype for name, dtype in stored.items()):
            return {}
    return schema


def _scanned(
    paths: Sequence[Path], schema: Mapping[str, pl.DataType], columns: Sequence[str] | None, where: pl.Expr | None
) -> pl.DataFrame | None:
    """The rows of many files at once, at less than half the cost of one after the other.

    None when that cannot be had: the columns are not those of the schema or fewer, or one is damaged, which reading
    them one by one will tell by its name.
    """
    names = list(schema) if columns is None else [name for name in columns if name in schema]
    if not names:
        return None
    rows = pl.scan_parquet(
        list(paths), schema=dict(schema), hive_partitioning=False, glob=False, missing_columns="insert", cache=False
    ).select(names)
    try:
        found = (rows if where is None else rows.filter(where)).collect()
    except (pl.exceptions.PolarsError, OSError):
        return None
    return found if columns is None else _chosen(found, columns)


def _read(path: Path, columns: Sequence[str] | None) -> pl.DataFrame:
    if columns is None:
        return pl.read_parquet(path, hive_partitioning=False)
    stored = list(pl.read_parquet_schema(path))
    there = [name for name in columns if name in stored]
    return _chosen(pl.read_parquet(path, columns=there or stored[:1], hive_partitioning=False), columns)


def _chosen(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """These columns of a frame; one that it lacks knows nothing."""
    unknown = [pl.lit(None).alias(name) for name in columns if name not in frame.columns]
    return (frame.with_columns(unknown) if unknown else frame).select(columns)


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file durably: written beside, fsynced, renamed over, directory fsynced.

    Raises:
        StorageError: it cannot be written; the file is as it was.
    """
    _, changed = _replace_file(path, data)
    _sync_directories(changed)


def _replace_file(path: Path, data: bytes) -> tuple[Identity, list[Path]]:
    """Replace a file; returns what tells it from others, and the directories to be synced until that is durable."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        made = _make_directories(path.parent)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                written = identity(os.fstat(file.fileno()))
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(path, error) from error
    return written, [path.parent, *made]


def _make_directories(directory: Path) -> list[Path]:
    """Make a directory; returns the directories in which a new entry appeared, to be fsynced."""
    try:
        directory.mkdir()
    except FileExistsError:
        return []
    except FileNotFoundError:
        changed = _make_directories(directory.parent)
        directory.mkdir(exist_ok=True)
        return [*changed, directory.parent]
    return [directory.parent]


def _sync_directories(directories: Iterable[Path]) -> None:
    """Make renames in these directories durable.

    Raises:
        StorageError: one cannot be synced.
    """
    for directory in directories:
        try:
            _sync_directory(directory)
        except OSError as error:
            raise StorageError(directory, error) from error


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
