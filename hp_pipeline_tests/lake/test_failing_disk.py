"""A disk that fails once: nothing is lost, and the next time all goes well."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.lake import DamagedPartitionError, Lake, Receipt, StorageError
from hp_pipeline_tests.lake.tables import house, rows

ASSET = "hourly/hp"
DAYS = [f"2024-01-{day:02}" for day in range(1, 6)]
IN_JANUARY = date(2024, 1, 31)
CALLS = (
    *("open", "fstat", "pread", "read", "stat", "lstat", "scandir", "readlink", "symlink", "mkdir", "rename"),
    *("replace", "fsync", "unlink", "rmdir", "utime"),
)


class Disk:
    """Counts the calls of the system that concern a folder, and lets one of them fail."""

    def __init__(self, patch: pytest.MonkeyPatch, root: Path) -> None:
        self.calls: list[str] = []
        self.fails_at: int | None = None
        self._root = str(root)
        self._error = errno.EIO
        for name in CALLS:
            patch.setattr(os, name, self._counted(name, getattr(os, name)))
        patch.setattr("io.open", self._counted("io.open", open))

    def fail(self, at: int | None, error: int = errno.EIO) -> None:
        """From now on count anew, and fail at that call."""
        self.calls, self.fails_at, self._error = [], at, error

    def _counted(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **options: object) -> object:
            if arguments and (isinstance(arguments[0], int) or self._root in str(arguments[0])):
                self.calls.append(name)
                if len(self.calls) - 1 == self.fails_at:
                    raise OSError(self._error, os.strerror(self._error), str(arguments[0]))
            return call(*arguments, **options)

        return counted


def an_open_month(root: Path) -> None:
    house(root, IN_JANUARY).write_many(ASSET, {day: rows(int(day[8:]), 5) for day in DAYS}, dict.fromkeys(DAYS, "x"))


def a_copy_that_followed_links(root: Path) -> None:
    an_open_month(root.with_name("original"))
    shutil.copytree(root.with_name("original"), root, ignore=shutil.ignore_patterns(".*"))


def a_closed_month(root: Path) -> None:
    house(root).write_many(ASSET, {day: rows(int(day[8:]), 5) for day in DAYS}, dict.fromkeys(DAYS, "x"))


def days_of_a_former_version(root: Path) -> None:
    Lake(root).write_many(ASSET, {day: rows(int(day[8:]), 5) for day in DAYS}, dict.fromkeys(DAYS, "x"))


def content(lake: Lake) -> tuple[list[str], dict[str, Receipt], list[int]]:
    """All that a lake knows."""
    keys = lake.keys(ASSET)
    for key in keys:
        lake.verify(ASSET, key)
    found = lake.read(ASSET, keys)
    assert found is not None
    return keys, lake.receipts(ASSET, keys), found["version"].to_list()


def each_failure(
    tmp_path: Path, prepare: Callable[[Path], None], act: Callable[[Lake], object], error: int
) -> Iterator[tuple[Path, Lake, str]]:
    """A lake for each call that may fail, after it failed once."""
    prepare(tmp_path / "prepared" / "lake")
    long_ago = time.time() - 10 * 86_400
    root = tmp_path / "lake"
    at = 0
    while True:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(tmp_path / "prepared" / "lake", root, symlinks=True)
        for folder in root.glob("hourly/hp/**"):
            os.utime(folder, (long_ago, long_ago))
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, root)
            lake = house(root)
            disk.fail(at, error)
            try:
                act(lake)
            except (StorageError, DamagedPartitionError) as failure:
                assert str(root) in str(failure)
            calls = disk.calls
        if len(calls) <= at:
            assert at > 5
            return
        yield root, lake, f"{calls[at]} ({at})"
        at += 1


def close(lake: Lake) -> None:
    """What the sweep does."""
    lake.clean()
    lake.close_months()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("prepare", [an_open_month, a_copy_that_followed_links])
def test_a_month_that_could_not_be_closed_is_as_it_was_and_closed_the_next_time(
    tmp_path: Path, prepare: Callable[[Path], None], error: int
) -> None:
    prepare(tmp_path / "expected" / "lake")
    expected = content(house(tmp_path / "expected" / "lake"))
    for root, lake, failed in each_failure(tmp_path, prepare, close, error):
        for one in (lake, house(root)):
            assert content(one) == expected, failed
        close(lake)
        for one in (lake, house(root)):
            assert content(one) == expected, failed
            assert one.close_months() == 0
        assert [path.name for path in (root / ASSET / "2024-01").iterdir()] == ["2024-01.1f.parquet"], failed
        assert (root / ASSET / "2024-01").is_symlink(), failed


@pytest.mark.parametrize("prepare", [an_open_month, a_copy_that_followed_links, a_closed_month])
def test_another_day_that_could_not_be_written_leaves_the_others(
    tmp_path: Path, prepare: Callable[[Path], None]
) -> None:
    late = "2024-01-07"
    prepare(tmp_path / "expected" / "lake")
    before = content(house(tmp_path / "expected" / "lake"))
    house(tmp_path / "expected" / "lake").write(ASSET, late, rows(7, 5), "x")
    after = content(house(tmp_path / "expected" / "lake"))
    for root, lake, failed in each_failure(
        tmp_path, prepare, lambda lake: lake.write(ASSET, late, rows(7, 5), "x"), errno.EIO
    ):
        assert content(lake) == content(house(root)), failed
        assert content(lake) in (before, after), failed
        lake.write(ASSET, late, rows(7, 5), "x")
        assert content(lake) == content(house(root)) == after, failed


def test_a_day_that_could_not_be_taken_away_leaves_the_others(tmp_path: Path) -> None:
    a_closed_month(tmp_path / "expected" / "lake")
    before = content(house(tmp_path / "expected" / "lake"))
    house(tmp_path / "expected" / "lake").remove(ASSET, DAYS[2])
    after = content(house(tmp_path / "expected" / "lake"))
    for root, lake, failed in each_failure(
        tmp_path, a_closed_month, lambda lake: lake.remove(ASSET, DAYS[2]), errno.EIO
    ):
        assert content(lake) == content(house(root)), failed
        assert content(lake) in (before, after), failed
        lake.remove(ASSET, DAYS[2])
        assert content(lake) == content(house(root)) == after, failed


def test_days_of_a_former_version_that_could_not_be_taken_over_are_taken_over_the_next_time(tmp_path: Path) -> None:
    days_of_a_former_version(tmp_path / "expected" / "lake")
    expected = content(Lake(tmp_path / "expected" / "lake"))

    def take_over(lake: Lake) -> None:
        try:
            lake.keys(ASSET)
        except OSError as error:
            assert error.errno == errno.EIO

    for root, lake, failed in each_failure(tmp_path, days_of_a_former_version, take_over, errno.EIO):
        for one in (lake, house(root)):
            assert content(one) == expected, failed
        assert not list((root / ASSET).glob("date=*")), failed


@pytest.mark.parametrize("prepare", [an_open_month, a_closed_month])
def test_rows_that_the_disk_does_not_give_are_told_not_left_out(
    tmp_path: Path, prepare: Callable[[Path], None]
) -> None:
    answers: list[pl.DataFrame | None] = []
    for root, lake, failed in each_failure(
        tmp_path, prepare, lambda lake: answers.append(lake.read(ASSET, DAYS)), errno.EIO
    ):
        for answer in answers:
            assert answer is not None and answer.height == 25, failed
        answers.clear()
        assert content(lake) == content(house(root)), failed
