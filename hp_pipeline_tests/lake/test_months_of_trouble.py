"""Months when something is not as it should be: former versions, damage, odd names, disks that cannot be written to."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest

from hp_pipeline.lake import DamagedPartitionError, Lake, StorageError, content_of
from hp_pipeline_tests.lake.tables import house, publish, rows

ASSET = "hourly/hp"
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]
IN_JANUARY = date(2024, 1, 31)


def of(value: object) -> pl.DataFrame:
    """A partition of one value."""
    return pl.DataFrame({"value": [value]})


# ---- what a former version has left ----------------------------------------------------------------------------------


def test_what_a_former_version_left_does_not_replace_what_has_been_written_since(tmp_path: Path) -> None:
    Lake(tmp_path).write_many(ASSET, {key: rows(1) for key in DAYS[:2]}, dict.fromkeys(DAYS, "former"))
    lake = house(tmp_path)
    told = lake.write(ASSET, DAYS[0], rows(2), "new")
    assert lake.keys(ASSET) == DAYS[:2]
    assert lake.receipt(ASSET, DAYS[0]) == told
    found = lake.read(ASSET, DAYS[:2])
    assert found is not None and found["version"].unique(maintain_order=True).to_list() == [2, 1]


@pytest.mark.parametrize(("former", "now"), [(1.0, 7), ("on", 1.5), (True, date(2024, 1, 1)), ("1.5", 2.5)])
def test_a_column_that_changed_its_type_has_the_new_one_once_all_days_are_made_again(
    tmp_path: Path, former: object, now: object
) -> None:
    lake = house(tmp_path)
    lake.write_many(ASSET, {key: of(former) for key in DAYS}, {})
    for key in DAYS:
        told = lake.write(ASSET, key, of(now))
        assert told.content == content_of(of(now)), "as it is wherever else it is stored"
    found = house(tmp_path).read(ASSET, DAYS)
    assert found is not None and found.equals(pl.concat([of(now)] * 3))


def test_figures_lose_nothing_for_a_day_of_another_type_beside_them(tmp_path: Path) -> None:
    lake = house(tmp_path)
    lake.write(ASSET, DAYS[0], of(1.5))
    lake.write(ASSET, DAYS[1], of(7))
    found = house(tmp_path).read(ASSET, DAYS)
    assert found is not None and found["value"].to_list() == [1.5, 7.0]


def test_days_whose_types_cannot_be_one_keep_their_month_open(tmp_path: Path) -> None:
    lake = house(tmp_path, IN_JANUARY)
    lake.write(ASSET, DAYS[0], of(date(2024, 1, 1)))
    lake.write(ASSET, DAYS[1], of(True))
    assert house(tmp_path).close_months() == 0
    assert house(tmp_path).keys(ASSET) == DAYS[:2]


def test_the_last_day_of_a_month_is_taken_out_of_a_copy_that_followed_links(tmp_path: Path) -> None:
    house(tmp_path / "lake").write(ASSET, DAYS[0], rows(1))
    shutil.copytree(tmp_path / "lake", tmp_path / "copy", ignore=shutil.ignore_patterns(".months"))
    lake = house(tmp_path / "copy")
    assert lake.keys(ASSET) == DAYS[:1]
    lake.remove(ASSET, DAYS[0])
    assert lake.keys(ASSET) == [] and lake.read(ASSET, DAYS) is None


# ---- days that know nothing ------------------------------------------------------------------------------------------


def test_days_that_know_nothing_are_as_many_rows_as_they_were(tmp_path: Path) -> None:
    lake = house(tmp_path)
    nothing = rows(1, 3).select("unknown")
    lake.write_many(ASSET, {DAYS[0]: nothing, DAYS[1]: nothing}, {})
    house(tmp_path).write(ASSET, DAYS[2], rows(1, 4))
    lake = house(tmp_path)
    assert [lake.verify(ASSET, key).rows for key in DAYS] == [3, 3, 4]
    found = lake.read(ASSET, DAYS, ["version"])
    assert found is not None and found["version"].to_list() == [None] * 6 + [1] * 4


# ---- damage ----------------------------------------------------------------------------------------------------------


def _wrong_value(path: Path) -> None:
    """Change a number in a file of one row; only the checksum of its page tells."""
    whole, value = path.read_bytes(), struct.pack("<d", rows(1, 1)["noise"][0])
    path.write_bytes(whole.replace(value, struct.pack("<d", 2.0), 1))
    assert pl.read_parquet(path)["noise"].to_list() == [2.0]


def test_a_wrong_byte_is_not_made_right_by_closing_its_month(tmp_path: Path) -> None:
    house(tmp_path, IN_JANUARY).write_many(ASSET, {key: rows(1, 1) for key in DAYS}, {})
    lake = house(tmp_path)
    _wrong_value(lake.path(ASSET, DAYS[1]))
    assert lake.close_months() == 0
    with pytest.raises(DamagedPartitionError, match=DAYS[1]):
        lake.verify(ASSET, DAYS[1])


def test_a_wrong_byte_is_not_made_right_by_writing_another_day(tmp_path: Path) -> None:
    house(tmp_path).write(ASSET, DAYS[0], rows(1, 1))
    lake = house(tmp_path)
    _wrong_value(lake.path(ASSET, DAYS[0]))
    lake.write(ASSET, DAYS[1], rows(1, 1))
    assert house(tmp_path).keys(ASSET) == [DAYS[1]], "the other is due to be made anew"


@pytest.mark.parametrize(("word", "wrong"), [(b'{"2024-01-01"', b'X"2024-01-01"'), (b",5]", b",4]"), (b",5]", b'""]')])
def test_a_footer_with_a_wrong_byte_is_none(tmp_path: Path, word: bytes, wrong: bytes) -> None:
    house(tmp_path).write_many(ASSET, {key: rows(int(key[-1]), 5) for key in DAYS[:2]}, {})
    lake = house(tmp_path)
    path = lake.path(ASSET, DAYS[0])
    path.write_bytes(path.read_bytes().replace(word, wrong, 1))
    lake.receipts(ASSET, DAYS)
    with pytest.raises(DamagedPartitionError, match="2024-01"):
        lake.verify(ASSET, DAYS[0])
    with pytest.raises(DamagedPartitionError, match="2024-01"):
        lake.read(ASSET, DAYS[:1])
    lake.write(ASSET, DAYS[2], rows(3, 5))
    assert lake.keys(ASSET) == [DAYS[2]], "rows are not given to other days than theirs"


# ---- folders ---------------------------------------------------------------------------------------------------------


def test_what_does_not_belong_there_is_passed_over(tmp_path: Path) -> None:
    lake = house(tmp_path)
    lake.write(ASSET, DAYS[0], rows(1))
    (tmp_path / ASSET / "2024-13").mkdir()
    (tmp_path / ASSET / "2023-01").touch()
    (tmp_path / ASSET / "2023-03").symlink_to(".months/2023-03.gone")
    assert lake.keys(ASSET) == DAYS[:1]
    assert lake.close_months() == 0


def test_a_month_that_was_moved_by_hand_is_found(tmp_path: Path) -> None:
    lake = house(tmp_path)
    lake.write(ASSET, DAYS[0], rows(1))
    link = tmp_path / ASSET / "2024-01"
    folder = link.resolve()
    os.utime(folder, (time.time() - 100,) * 2)
    time.sleep(2.1)
    assert lake.read(ASSET, DAYS) is not None
    link.unlink()
    folder.rename(link)
    found = lake.read(ASSET, DAYS)
    assert found is not None and found.height == 50


def test_a_copy_where_no_link_can_be_made_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house(tmp_path / "lake").write(ASSET, DAYS[0], rows(1))
    shutil.copytree(tmp_path / "lake", tmp_path / "copy", ignore=shutil.ignore_patterns(".*"))
    lake = house(tmp_path / "copy")

    def refuse(*names: object, **options: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    with pytest.raises(StorageError, match=r"untouched; .*symbolic links"):
        lake.write(ASSET, DAYS[1], rows(1))
    assert house(tmp_path / "copy").keys(ASSET) == DAYS[:1]


def test_a_copy_without_hidden_folders_is_listed(tmp_path: Path) -> None:
    house(tmp_path / "lake").write(ASSET, DAYS[0], rows(1))
    shutil.copytree(tmp_path / "lake", tmp_path / "copy", ignore=shutil.ignore_patterns(".*"))
    assert house(tmp_path / "copy").assets() == [ASSET]


# ---- a backup into which later ones were copied ----------------------------------------------------------------------


def _backed_up(lake: Lake, backup: Path, with_times: bool) -> None:
    """As `rsync -rL` does without `--delete`; with `-t` the files keep their times."""
    copy = shutil.copy2 if with_times else shutil.copyfile
    shutil.copytree(lake.root, backup, ignore=shutil.ignore_patterns(".*"), copy_function=copy, dirs_exist_ok=True)


def _by_sql(lake: Lake) -> list[tuple[str, int, int]]:
    """Of each day its versions and rows, as SQL counts them."""
    publish(lake, lake.root.parent / "hp.duckdb")
    with duckdb.connect(str(lake.root.parent / "hp.duckdb"), read_only=True) as connection:
        return connection.execute(
            "SELECT date::VARCHAR, version, count(*) FROM hourly GROUP BY ALL ORDER BY ALL"
        ).fetchall()


@pytest.mark.parametrize("with_times", [True, False], ids=["with times", "without"])
@pytest.mark.parametrize("heal", [lambda lake: lake.keys(ASSET), Lake.close_months], ids=["listed", "closed"])
@pytest.mark.parametrize("backups", [(0, 1), (0, 1, 2), (1, 2), (0, 3), (1, 3), (0, 1, 2, 3)])
def test_a_backup_that_was_merged_with_later_ones_is_counted_once(
    tmp_path: Path, with_times: bool, heal: Callable[[Lake], object], backups: tuple[int, ...]
) -> None:
    root, lake = tmp_path / "lake", house(tmp_path / "copy" / "lake")
    steps: list[Callable[[], object]] = [
        lambda: house(root, IN_JANUARY).write_many(ASSET, {day: rows(1, 5) for day in DAYS}, {}),
        lambda: house(root).close_months(),
        lambda: house(root).write(ASSET, DAYS[0], rows(2, 7)),
        lambda: house(root).write_many(ASSET, {day: rows(3, 4) for day in [*DAYS, "2024-01-09"]}, {}),
    ]
    for number, step in enumerate(steps[: backups[-1] + 1]):
        step()
        if number in backups:
            _backed_up(house(root), lake.root, with_times)
            time.sleep(0.01)
    counted = _by_sql(lake)
    assert sum(rows for _, _, rows in counted) > sum(rows for _, _, rows in _by_sql(house(root))), "they are merged"
    heal(lake)
    expected = house(root).read(ASSET, house(root).keys(ASSET))
    for one in (lake, house(lake.root)):
        keys = one.keys(ASSET)
        assert keys == house(root).keys(ASSET)
        found = one.read(ASSET, keys)
        assert found is not None and expected is not None and found.equals(expected)
        assert [one.verify(ASSET, key).rows for key in keys] == [house(root).verify(ASSET, key).rows for key in keys]
    assert _by_sql(lake) == _by_sql(house(root))
    lake.close_months()
    assert len(list((lake.root / ASSET / "2024-01").iterdir())) == 1
    assert _by_sql(lake) == _by_sql(house(root))


def test_what_is_put_aside_stays_for_an_hour_and_what_cannot_be_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house(tmp_path / "lake", IN_JANUARY).write(ASSET, DAYS[0], rows(1))
    lake = house(tmp_path / "copy" / "lake")
    _backed_up(house(tmp_path / "lake"), lake.root, with_times=True)
    assert house(tmp_path / "lake").close_months() == 1
    _backed_up(house(tmp_path / "lake"), lake.root, with_times=True)

    def refuse(*names: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        assert lake.keys(ASSET) == DAYS[:1]
    assert "give this user the right" in caplog.text and "2024-01-01.parquet" in caplog.text
    assert lake.keys(ASSET) == DAYS[:1]
    assert lake.clean() == 0 and len(list((lake.root / ASSET / ".months").glob("*/2024-01-01.parquet"))) == 1
    for folder in (lake.root / ASSET / ".months").iterdir():
        os.utime(folder, (time.time() - 4000,) * 2)
    lake.clean()
    assert list((lake.root / ASSET / ".months").iterdir()) == [] and lake.read(ASSET, DAYS) is not None


def test_a_place_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    lake = house(tmp_path / "file" / "lake")
    for change in (lambda: lake.write(ASSET, DAYS[0], rows(1)), lambda: lake.remove(ASSET, DAYS[0])):
        with pytest.raises(StorageError, match=r"cannot store .*move the file away"):
            change()


def test_folders_that_are_taken_away_meanwhile_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = house(tmp_path)
    lake.write(ASSET, DAYS[0], rows(1))
    Lake(tmp_path).write("frames/hp", DAYS[0], rows(1))
    scan = os.scandir

    def gone(folder: str | Path = ".") -> object:
        if "date=" in str(folder) or "2024-01." in str(folder):
            raise FileNotFoundError(folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", gone)
    assert lake.assets() == ["frames/hp", ASSET]
    assert lake.clean() == 0
