"""The drop folder: files that land there are taken in once, and nothing is lost or doubled whatever is killed when.

The order of steps makes that so. A file is read to its end before anything is stored, so a bad one leaves no trace.
Its readings are stored (which is idempotent), then the ledger says that this content was taken, then the file moves
to the archive. Killed before the ledger, the file is taken in again, and storing the same readings again changes
nothing; killed after it, the file is known by its content and only moves.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import polars as pl

from hp_pipeline.durability import replacing, sync_directory, write_durably
from hp_pipeline.settings.sources import FilesSource
from hp_pipeline.sources.files import FileError, FileResult, read_file
from hp_pipeline.sources.readings import READINGS_SCHEMA, Rejects, deduplicate, start_of_day

SETTLED_AFTER = timedelta(seconds=5)
"""A file that changed more recently may still be being written."""

_UNFINISHED_ENDINGS = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".filepart", "~")
_SPILL_ROWS = 500_000
_CHUNK_ROWS = 500_000


@dataclass(frozen=True)
class WaitingFile:
    """A whole file in the drop folder.

    Attributes:
        path: where it is.
        size: bytes.
        mtime: when it was last changed (UTC).
        key: another one when the file changes or another takes its name; for a run key.
    """

    path: Path
    size: int
    mtime: datetime
    key: str


def waiting_files(source: FilesSource, drop_folder: Path, now: datetime) -> list[WaitingFile]:
    """Files that may be taken in, the oldest first.

    Hidden files, unfinished ones (`.part`, `.tmp`, `…~`), folders, empty names and whatever changed in the last five
    seconds are left for later. A folder that does not exist has no files.

    Args:
        source: the source whose folder it is.
        drop_folder: the folder.
        now: the present, by the clock that the file system goes by.
    """
    found = []
    try:
        entries = list(os.scandir(drop_folder))
    except FileNotFoundError:
        return []
    for entry in entries:
        if entry.name.startswith((".", "~")) or entry.name.lower().endswith(_UNFINISHED_ENDINGS):
            continue
        try:
            status = entry.stat()
            if not entry.is_file():
                continue
        except OSError:  # taken away meanwhile
            continue
        mtime, changed = (datetime.fromtimestamp(stamp, UTC) for stamp in (status.st_mtime, status.st_ctime))
        # A change of the inode counts too: a copy that keeps the times of its original is new here all the same.
        if any(abs(now - time) < SETTLED_AFTER for time in (mtime, changed)):
            continue
        key = f"{source.id}:{entry.name}:{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"
        found.append(WaitingFile(Path(entry.path), status.st_size, mtime, key))
    return sorted(found, key=lambda file: (file.mtime, file.path.name))


Outcome = Literal["stored", "duplicate", "quarantined", "changed", "gone"]


@dataclass(frozen=True)
class TakenIn:
    """What became of a file.

    Attributes:
        outcome: `stored`; `duplicate`: its content had been taken before; `quarantined`: refused, with a report;
            `changed`: it was written to meanwhile and waits; `gone`: somebody else took it.
        name: name of the file.
        digest: SHA-256 of its content, hexadecimal.
        rows: rows or lines that say something.
        readings: readings stored.
        rejects: what was turned away.
        first: time of the first reading.
        last: time of the last one.
        moved_to: where the file is now, None when it stayed.
        report: the report for the owner, None when nothing was turned away.
        reason: why a file was quarantined, with the remedy.
    """

    outcome: Outcome
    name: str
    digest: str
    rows: int = 0
    readings: int = 0
    rejects: Rejects | None = None
    first: datetime | None = None
    last: datetime | None = None
    moved_to: Path | None = None
    report: Path | None = None
    reason: str | None = None


@dataclass(frozen=True)
class LedgerEntry:
    """What the ledger says of a content that was taken in; times as ISO 8601 in UTC.

    `settings` is the fingerprint of the settings that it was read with.
    """

    digest: str
    settings: str
    name: str
    source: str
    rows: int
    readings: int
    rejects: int
    first: str | None
    last: str | None
    taken_at: str


def reading_settings(source: FilesSource, start: date) -> str:
    """A fingerprint of everything in the settings that decides what a file says."""
    deciding = source.model_dump_json(exclude={"drop_folder", "keep_good_rows"})
    return hashlib.sha256(f"{start.isoformat()} {deciding}".encode()).hexdigest()[:16]


def taken_before(ledger_dir: Path, source: FilesSource, digest: str) -> LedgerEntry | None:
    """The ledger's entry for a content of a source, None when it was never taken in."""
    try:
        return LedgerEntry(**json.loads(_ledger_path(ledger_dir, source, digest).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        # An entry that cannot be read means that the file is taken in once more, which changes nothing.
        return None


def _ledger_path(ledger_dir: Path, source: FilesSource, digest: str) -> Path:
    return ledger_dir / f"{source.id}-{digest}.json"


def take_in(
    path: Path,
    source: FilesSource,
    *,
    store: Callable[[pl.DataFrame], None],
    archive_dir: Path,
    quarantine_dir: Path,
    ledger_dir: Path,
    start: date,
    now: datetime,
    wanted: Callable[[str], bool] | None = None,
    move: bool = True,
    chunk_rows: int = _CHUNK_ROWS,
) -> TakenIn:
    """Take in one file: store its readings, remember its content, move it to the archive (or to quarantine).

    A content that was taken in before only moves, unless the settings of the source have changed since: then it says
    something else, and is read again.

    Args:
        path: the file.
        source: how its files are written.
        store: stores readings durably and idempotently. It is called with frames of readings that hold whole UTC
            days, in the order of time: no day comes in two calls.
        archive_dir: the file goes to `<archive_dir>/<source>/<first 12 of the digest>-<name>`.
        quarantine_dir: a refused file goes to `<quarantine_dir>/<source>/`, with `<name>.report.txt`.
        ledger_dir: one small JSON file for each source and content.
        start: the first UTC day that may hold readings.
        now: the present.
        wanted: whether a point is of interest, every point without it.
        move: False leaves the file where it is (and puts a report, if any, into the quarantine folder).
        chunk_rows: about how many readings a call of `store` gets at most; a longer day comes in one piece.

    Raises:
        Whatever `store` raises; the file then waits where it is.
    """
    settings = reading_settings(source, start)
    taking = _Taking(path, source, settings, archive_dir / source.id, quarantine_dir / source.id, ledger_dir, now, move)
    try:
        before = _identity(path)
        digest = _digest(path)
    except FileNotFoundError:
        return TakenIn("gone", path.name, "")
    known = taken_before(ledger_dir, source, digest)
    if known is not None and known.settings == settings:
        moved = taking.to_archive(digest)
        return TakenIn("duplicate", path.name, digest, moved_to=moved)
    with _spill_folder(ledger_dir) as folder:
        spill = _Spill(folder)
        try:
            result = read_file(path, source, start=start, now=now, wanted=wanted)
            for chunk in result.chunks:
                spill.add(chunk)
        except FileError as error:
            if _identity_or_none(path) != before:
                return TakenIn("changed", path.name, digest)
            return taking.refused(digest, None, error)
        if _identity_or_none(path) != before:
            return TakenIn("changed", path.name, digest)
        if result.rejects and not source.keep_good_rows:
            return taking.refused(digest, result, None)
        readings = 0
        for chunk, conflicts in spill.days(chunk_rows):
            result.rejects.conflicts += conflicts
            readings += chunk.height
            store(chunk)
    result.readings = readings
    return taking.stored(digest, result, before)


_SPILL_PREFIX = ".reading-"


@contextlib.contextmanager
def _spill_folder(ledger_dir: Path) -> Iterator[Path]:
    """A folder for what is read and not yet stored. A lock, which dies with its process, says that it is in use."""
    ledger_dir.mkdir(parents=True, exist_ok=True)
    remove_leftovers(ledger_dir)
    unlocked = Path(tempfile.mkdtemp(prefix=".making-", dir=ledger_dir))
    with (unlocked / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = unlocked.rename(unlocked.with_name(unlocked.name.replace(".making-", _SPILL_PREFIX, 1)))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(ledger_dir: Path) -> None:
    """Remove what a killed process had read and not yet stored; that of a living one stays."""
    for folder in ledger_dir.glob(f"{_SPILL_PREFIX}*"):
        try:
            with (folder / "lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            pass
        except BlockingIOError:
            continue
        shutil.rmtree(folder, ignore_errors=True)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _identity(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _identity_or_none(path: Path) -> tuple[int, int, int] | None:
    try:
        return _identity(path)
    except FileNotFoundError:
        return None


class _Spill:
    """Readings of a file on disk, given back day by day."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.per_day: Counter[date] = Counter()
        self._waiting: list[pl.DataFrame] = []
        self._rows = 0
        self._parts = 0

    def add(self, readings: pl.DataFrame) -> None:
        days = readings.group_by(pl.col("time").dt.date()).len()
        self.per_day.update(dict(days.iter_rows()))
        self._waiting.append(readings)
        self._rows += readings.height
        if self._rows >= _SPILL_ROWS:
            self._write()

    def _write(self) -> None:
        if self._waiting:
            # Sorted by time, so that reading a range of days skips the other row groups.
            part = pl.concat(self._waiting).sort("time")
            part.write_parquet(self.folder / f"{self._parts:06d}.parquet", compression="lz4", row_group_size=100_000)
            self._waiting, self._rows, self._parts = [], 0, self._parts + 1

    def days(self, chunk_rows: int) -> Iterator[tuple[pl.DataFrame, int]]:
        """Readings of consecutive whole days, and how many conflicts there were among them."""
        self._write()
        for first, last in self._ranges(chunk_rows):
            begin, end = start_of_day(first), start_of_day(last) + timedelta(days=1)
            parts = pl.scan_parquet(self.folder / "*.parquet", schema=READINGS_SCHEMA)
            yield deduplicate(parts.filter(pl.col("time").is_between(begin, end, closed="left")).collect())

    def _ranges(self, chunk_rows: int) -> Iterator[tuple[date, date]]:
        first: date | None = None
        last: date | None = None
        rows = 0
        for day in sorted(self.per_day):
            if first is not None and last is not None and rows + self.per_day[day] > chunk_rows:
                yield first, last
                first, rows = None, 0
            first, last, rows = first or day, day, rows + self.per_day[day]
        if first is not None and last is not None:
            yield first, last


@dataclass
class _Taking:
    """One file on its way."""

    path: Path
    source: FilesSource
    settings: str
    archive: Path
    quarantine: Path
    ledger: Path
    now: datetime
    move: bool

    def stored(self, digest: str, result: FileResult, before: tuple[int, int, int]) -> TakenIn:
        report = None
        if result.rejects:
            folder = self.archive if self.move else self.quarantine
            report = self._write_report(folder, self._archive_name(digest), digest, result, None)
        if _identity_or_none(self.path) != before:
            # More was written to it while it was stored: it is another content, which waits for its turn.
            return TakenIn("changed", self.path.name, digest)
        entry = LedgerEntry(
            digest=digest,
            settings=self.settings,
            name=self.path.name,
            source=self.source.id,
            rows=result.rows,
            readings=result.readings,
            rejects=len(result.rejects),
            first=result.first.isoformat() if result.first else None,
            last=result.last.isoformat() if result.last else None,
            taken_at=self.now.isoformat(),
        )
        text = json.dumps(asdict(entry), ensure_ascii=False, indent=1)
        _write(_ledger_path(self.ledger, self.source, digest), text)
        moved = self.to_archive(digest)
        return self._outcome("stored", digest, result, moved, report, None)

    def refused(self, digest: str, result: FileResult | None, error: FileError | None) -> TakenIn:
        reason = str(error) if error is not None else result.rejects.summary() if result is not None else ""
        name = self._quarantine_name(digest)
        report = self._write_report(self.quarantine, name, digest, result, error)
        moved = _move(self.path, self.quarantine / name) if self.move else None
        return self._outcome("quarantined", digest, result, moved, report, reason)

    def _outcome(
        self,
        outcome: Outcome,
        digest: str,
        result: FileResult | None,
        moved: Path | None,
        report: Path | None,
        reason: str | None,
    ) -> TakenIn:
        if result is None:
            return TakenIn(outcome, self.path.name, digest, moved_to=moved, report=report, reason=reason)
        return TakenIn(
            outcome,
            self.path.name,
            digest,
            rows=result.rows,
            readings=result.readings if outcome == "stored" else 0,
            rejects=result.rejects,
            first=result.first,
            last=result.last,
            moved_to=moved,
            report=report,
            reason=reason,
        )

    def to_archive(self, digest: str) -> Path | None:
        return _move(self.path, self.archive / self._archive_name(digest)) if self.move else None

    def _archive_name(self, digest: str) -> str:
        return f"{digest[:12]}-{self.path.name}"

    def _quarantine_name(self, digest: str) -> str:
        """The file's own name, unless another content has it there already."""
        there = self.quarantine / self.path.name
        if there.exists() and _digest(there) != digest:
            return self._archive_name(digest)
        return self.path.name

    def _write_report(
        self, folder: Path, name: str, digest: str, result: FileResult | None, error: FileError | None
    ) -> Path:
        stored = error is None and self.source.keep_good_rows
        lines = [
            f"{self.path.name}: {'taken in without its bad rows' if stored else 'not taken in'}",
            "",
            f"source:  {self.source.id}",
            f"sha256:  {digest}",
            f"at:      {self.now.isoformat(timespec='seconds')}",
        ]
        if error is not None:
            where = f" (line {error.line})" if error.line is not None else ""
            lines += ["", f"Reason:  {error.reason}{where}", f"Remedy:  {error.remedy}."]
        elif result is not None:
            examples = result.rejects.lines()
            lines += [
                f"rows:    {result.rows:,}, {result.rejects.summary()}",
                "",
                f"The first {len(examples)}:" if len(result.rejects) > len(examples) else "All of them:",
                *examples,
                "",
                "Remedy:  correct these rows, or the settings of the source, and lay the file into "
                f"{self.source.folder} again"
                + ("." if stored else f"; or set `keep_good_rows: true` of source {self.source.id} to take the rest."),
            ]
        report = folder / f"{name}.report.txt"
        _write(report, "\n".join([*lines, ""]))
        return report


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, text.encode())


def _move(path: Path, target: Path) -> Path | None:
    """Move a file durably; None when it is not there any more."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.replace(target)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with replacing(target) as beside:
            shutil.copy2(path, beside)
            with beside.open("rb") as stream:
                os.fsync(stream.fileno())
        sync_directory(target.parent)
        path.unlink(missing_ok=True)
    sync_directory(target.parent)
    sync_directory(path.parent)
    return target
