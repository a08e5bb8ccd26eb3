"""Months of partitions: a file for each of them while the month lasts, one file for all once it is over.

A table of some rows a day and a hundred columns is mostly the format's words about its columns, in a file for each day;
in one for each month it takes a quarter of the place and of the time to write it. But a day that is made again every
ten minutes must not write its month again: a month of which single days come anew is opened.

    <table>/<whose>/2026-01 -> .months/2026-01.5f1c09aa       a symbolic link to the month's folder
    <table>/<whose>/.months/2026-01.5f1c09aa/2026-01.7fffffff.parquet      closed; the days that it holds, as bits
    <table>/<whose>/.months/2026-02.0b7e1d02/2026-02-01.parquet            open

A closed month is never changed: what takes its place is written beside, and the link is replaced, which is one step
for whoever follows it once. The lake does, and reads what was there: a folder that has been replaced stays for an hour.
DuckDB follows it for each step of a query. One that is under way in that instant mostly finds the new file under the
same name, or fails; but it may also lack rows of the month without a word (see docs/decisions/0020).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from hp_pipeline.lake.errors import StorageError
from hp_pipeline.lake.files import make_directories, replacing, sync_directories

FILES: Final = "[0-9][0-9][0-9][0-9]-[0-9][0-9]/*.parquet"
"""The files of all months of an asset, as a pattern below it."""
_FOLDERS: Final = ".months"
_MONTH: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_CLOSED: Final = re.compile(r"(\d{4}-\d{2})\.([0-9a-f]+)\.parquet")
_OPEN: Final = re.compile(r"(\d{4}-\d{2}-\d{2})\.parquet")
_LATE_DAYS: Final = 3
"""So long after its end a month is left open: it is when readings still come late."""
_TICK_NS: Final = 2_000_000_000
"""Longer than the clock of any file system takes from one time to the next."""
_GRACE_S: Final = 3600
"""So long a folder that has been replaced stays, for those who read in it."""


@dataclass(frozen=True)
class Month:
    """What there is of a month.

    Attributes:
        folder: where its files are.
        files: by partition, ascending, the file that holds it.
        closed: the one file of a closed month.
        beside: files that hold the same partitions and do not count, left by a copy that was merged with a later one.
    """

    folder: Path
    files: dict[str, Path]
    closed: Path | None
    beside: tuple[Path, ...] = ()


def month_of(key: str) -> str:
    """The month `YYYY-MM` that a partition lies in."""
    return key[:7]


def closed_name(month: str, keys: Sequence[str]) -> str:
    """The name of the one file of a month, which tells what partitions it holds."""
    return f"{month}.{sum(1 << (int(key[8:]) - 1) for key in keys):x}.parquet"


def is_months(folder: str) -> bool:
    """Whether a folder of this name is that of a month, or of the folders that months point to (which a copy may
    lack)."""
    return folder == _FOLDERS or _MONTH.fullmatch(folder) is not None


def utc_today() -> date:
    """The present day."""
    return datetime.now(UTC).date()


def is_over(month: str, today: date) -> bool:
    """Whether a month has been over for some days."""
    first = date.fromisoformat(f"{month}-01")
    return today >= (first + timedelta(days=31)).replace(day=1) + timedelta(days=_LATE_DAYS)


class MonthFolders:
    """The months of the assets below a root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, tuple[tuple[int, int], Month]] = {}
        """What was found of months, as long as their folder is as it was."""

    def months(self, asset: str) -> list[str]:
        """The months of an asset that have a folder, ascending."""
        try:
            with os.scandir(self._root / asset) as entries:
                return sorted(entry.name for entry in entries if _MONTH.fullmatch(entry.name))
        except FileNotFoundError:
            return []

    def keys(self, asset: str) -> tuple[list[str], list[str]]:
        """The partitions of an asset, ascending; and the months in whose folders are files that do not count."""
        keys: list[str] = []
        merged = []
        for month in self.months(asset):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                held, beside = _held(f"{self._root}/{asset}/{month}")
                keys += held
                merged += [month] if beside else []
        return keys, merged

    def look(self, asset: str, month: str) -> Month | None:
        """What there is of a month; None if nothing is.

        Raises:
            OSError: the disk does not tell.
        """
        name = f"{self._root}/{asset}/{month}"
        try:
            status = os.stat(name)  # noqa: PTH116 - thousands of times a run, and a `Path` takes ten times as long
        except (FileNotFoundError, NotADirectoryError):
            return None
        # Its last change of any kind: one that is moved elsewhere, or restored with its times, is not as it was.
        folder = status.st_ino, status.st_ctime_ns
        known = self._known.get(name)
        if known is not None and known[0] == folder:
            return known[1]
        found = _look(Path(name))
        # A folder that changes now may change again within the tick of its clock.
        if found is not None and time.time_ns() - status.st_ctime_ns > _TICK_NS:
            self._known[name] = folder, found
        return found

    def new_folder(self, asset: str, month: str) -> tuple[Path, list[Path]]:
        """A folder for what takes the place of a month; and the directories to be synced until it is durable.

        Raises:
            StorageError: it cannot be made.
        """
        folder = self._root / asset / _FOLDERS / f"{month}.{secrets.token_hex(4)}"
        try:
            return folder, make_directories(folder)
        except OSError as error:
            raise StorageError(folder, error) from error

    def put(self, asset: str, month: str, folder: Path) -> None:
        """Let a month be what is in a `new_folder`, durably.

        Raises:
            StorageError: that cannot be; the month is what it was.
        """
        is_new = self.look(asset, month) is None
        sync_directories(self._link(asset, month, folder))
        if not is_new:
            with contextlib.suppress(OSError):  # they are found again
                self.retire(asset, month)

    def put_aside(self, asset: str, month: str, files: Sequence[Path]) -> None:
        """Take files out of a month, to where what has been replaced stays for an hour.

        Raises:
            StorageError: that cannot be.
        """
        folder, _ = self.new_folder(asset, month)
        for file in files:
            try:
                file.replace(folder / file.name)
            except OSError as error:
                raise StorageError(file, error) from error

    def drop(self, asset: str, month: str) -> None:
        """Take a month away."""
        link = self._root / asset / month
        _give_way(link)
        link.unlink(missing_ok=True)

    def retire(self, asset: str, month: str = "") -> int:
        """Delete the folders that were replaced an hour ago or longer, of one month or of all. Returns how many.

        Raises:
            OSError: the disk does not tell which those are.
        """
        used = {target.name for link in self.months(asset) if (target := _target(self._root / asset / link))}
        deleted = 0
        for folder in _folders(self._root / asset):
            if folder.name.startswith(month) and folder.name not in used and _age_s(folder) > _GRACE_S:
                shutil.rmtree(folder, ignore_errors=True)
                deleted += 1
        return deleted

    def _link(self, asset: str, month: str, folder: Path) -> list[Path]:
        """Let a month be what is in a folder; returns the directories to be synced until that is durable."""
        link = self._root / asset / month
        moved = None
        try:
            with replacing(link) as temporary:
                temporary.symlink_to(folder.relative_to(link.parent))
                moved = _give_way(link)
        except BaseException:
            if moved is not None:
                moved.rename(link)
            raise
        return [link.parent]


def _look(link: Path) -> Month | None:
    target = _target(link)
    folder = link.parent / target if target else link  # that is a copy of the lake that followed the links
    try:
        held, beside = _held(str(folder))
    except (FileNotFoundError, NotADirectoryError):
        return None
    paths = {name: folder / name for name in dict.fromkeys(held.values())}
    closed = next((path for name, path in paths.items() if _CLOSED.fullmatch(name)), None)
    return Month(
        folder, {key: paths[name] for key, name in held.items()}, closed, tuple(folder / one for one in beside)
    )


def _held(folder: str) -> tuple[dict[str, str], list[str]]:
    """The partitions in a month's folder, ascending, each with the name of the file that holds it; and the files that
    do not count.

    A backup into which a later one was copied may have a month's days, its one file, and that of before: what was
    written last counts. Where the copies' times do not tell that, receipts will: what they say is due is made anew.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    closed = [name for name in names if _CLOSED.fullmatch(name)]
    days = [name for name in names if _OPEN.fullmatch(name)]
    if len(closed) + bool(days) > 1:
        try:
            times = {name: os.stat(f"{folder}/{name}").st_mtime_ns for name in (*closed[::-1], *days)}  # noqa: PTH116
        except FileNotFoundError:
            return _held(folder)  # another process has put it aside
        newest = max(times, key=times.__getitem__)
    else:
        newest = (closed or days or [""])[0]
    if found := _CLOSED.fullmatch(newest):
        return dict.fromkeys(_keys(*found.groups()), newest), [name for name in (*days, *closed) if name != newest]
    return {name[:10]: name for name in days}, closed


@cache
def _keys(month: str, bits: str) -> tuple[str, ...]:
    days = int(bits, 16)
    return tuple(f"{month}-{day:02}" for day in range(1, 32) if days >> (day - 1) & 1)


def _target(link: Path) -> Path | None:
    """Where a month's link points to; None if it is none, or not there.

    Raises:
        OSError: the disk does not tell.
    """
    try:
        return link.readlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise


def _give_way(link: Path) -> Path | None:
    """A month is about to be replaced, or taken away: the hour of its folder begins. Returns the folder if that had to
    be moved: in a copy of the lake that followed the links. Then the month is not there for an instant."""
    try:
        is_folder = stat.S_ISDIR(link.lstat().st_mode)
        os.utime(link)
        if not is_folder:
            return None
    except FileNotFoundError:
        return None
    folders = link.parent / _FOLDERS
    folders.mkdir(exist_ok=True)
    return link.rename(folders / f"{link.name}.{secrets.token_hex(4)}")


def _folders(asset: Path) -> list[Path]:
    try:
        return list((asset / _FOLDERS).iterdir())
    except FileNotFoundError:
        return []


def _age_s(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except OSError:
        return 0.0
