"""Months: one file for all days once they are over, and nobody can tell but by the time that it takes."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hp_pipeline.lake import DamagedPartitionError, Lake, StorageError, content_of
from hp_pipeline_tests.lake.tables import house, publish, rows
from hp_pipeline_tests.lake.test_partitions import start

ASSET = "hourly/hp"
JANUARY = [f"2024-01-{day:02}" for day in range(1, 32)]
IN_JANUARY, IN_MARCH = date(2024, 1, 31), date(2024, 3, 20)


def files(root: Path) -> list[str]:
    """The names of the files that whoever follows the links finds."""
    return sorted(path.name for link in (root / ASSET).glob("[0-9]*") for path in link.iterdir())


def day(version: int, count: int, known: bool) -> pl.DataFrame:
    """A partition of so many rows, in which a column may know nothing."""
    frame = rows(version, max(count, 1)).head(count)
    return frame.with_columns(unknown=pl.col("noise") * 2) if known else frame


# ---- what is written comes back --------------------------------------------------------------------------------------

_KEYS = st.sampled_from([f"2024-{month:02}-{day:02}" for month in (1, 2, 3) for day in (1, 2, 17, 28)])
_FRAMES = st.builds(day, st.integers(0, 9), st.integers(0, 4), st.booleans())
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.dictionaries(_KEYS, st.tuples(_FRAMES, st.text("ab", max_size=2)), min_size=1)),
        st.tuples(st.just("remove"), _KEYS),
        st.tuples(st.just("days pass"), st.integers(1, 40)),
        st.tuples(st.just("close"), st.none()),
        st.tuples(st.just("another process"), st.none()),
        st.tuples(st.just("a copy that followed links"), st.none()),
        st.tuples(st.just("an hour passes"), st.none()),
    ),
    min_size=1,
    max_size=9,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_STEPS, st.lists(_KEYS, max_size=8), st.booleans())
def test_whatever_is_done_the_partitions_are_those_last_written(
    tmp_path: Path, steps: list[tuple[str, object]], asked: list[str], narrow: bool
) -> None:
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    root, today = folder / "lake", date(2024, 1, 20)
    lake, plain = house(root, today), Lake(folder / "plain")
    for what, with_what in steps:
        if what == "write":
            assert isinstance(with_what, dict)
            frames = {key: frame for key, (frame, _) in with_what.items()}
            inputs = {key: words for key, (_, words) in with_what.items()}
            told = lake.write_many(ASSET, frames, inputs)
            assert told == plain.write_many(ASSET, frames, inputs), "content is the same, whatever file holds it"
        elif what == "remove":
            assert isinstance(with_what, str)
            lake.remove(ASSET, with_what)
            plain.remove(ASSET, with_what)
        elif what == "close":
            lake.close_months()
        elif what == "days pass":
            assert isinstance(with_what, int)
            today += timedelta(days=with_what)
            lake = house(root, today)
        elif what == "another process":
            lake = house(root, today)
        elif what == "a copy that followed links" and root.exists():
            shutil.copytree(root, folder / "copy", symlinks=False, ignore=shutil.ignore_patterns(".months"))
            shutil.rmtree(root)
            (folder / "copy").rename(root)
        elif what == "an hour passes":
            for path in root.glob("hourly/hp/.months/*"):
                os.utime(path, (time.time() - 4000,) * 2)
            lake.clean()
    keys = plain.keys(ASSET)
    assert lake.keys(ASSET) == house(root, today).keys(ASSET) == keys
    assert lake.receipts(ASSET, asked) == plain.receipts(ASSET, asked) == house(root, today).receipts(ASSET, asked)
    columns = ["unknown", "version", "start"] if narrow else None
    where = pl.col("version") > 3 if narrow else None
    for wanted in (keys, asked):
        found, known, fresh = (one.read(ASSET, wanted, columns, where) for one in (lake, plain, house(root, today)))
        assert (found is None) == (known is None) == (fresh is None)
        if found is not None and known is not None and fresh is not None:
            names = ["heat_pump", "start", "version", "noise", "unknown"] if columns is None else columns
            # A column that knows nothing may be there or not.
            empty = rows(1).clear()
            shown = [pl.concat([empty, one], how="diagonal_relaxed").select(names) for one in (found, known, fresh)]
            assert shown[0].equals(shown[1]) and shown[2].equals(shown[1])
            assert "date" not in found.columns and "date" not in fresh.columns
    for key in keys:
        assert lake.verify(ASSET, key) == plain.receipt(ASSET, key)
    publish(lake, folder / "hp.duckdb")
    with duckdb.connect(str(folder / "hp.duckdb"), read_only=True) as connection:
        listed = connection.execute("SELECT date, version, unknown FROM hourly ORDER BY ALL").fetchall()
    expected = [
        (date.fromisoformat(key), row["version"], row.get("unknown"))
        for key in keys
        for rows_of_day in [plain.read(ASSET, [key])]
        if rows_of_day is not None
        for row in rows_of_day.iter_rows(named=True)
    ]
    assert listed == sorted(expected, key=lambda row: (row[0], row[1], row[2] is None, row[2] or 0.0))


def test_a_month_is_one_file_once_it_is_over(tmp_path: Path) -> None:
    open_ = house(tmp_path, IN_JANUARY)
    for key in JANUARY:
        open_.write(ASSET, key, rows(1))
    assert len(files(tmp_path)) == 31
    for day_of_february in (1, 3):
        assert house(tmp_path, date(2024, 2, day_of_february)).close_months() == 0, "readings still come late"
    later = house(tmp_path, date(2024, 2, 4))
    assert later.close_months() == 1
    assert later.close_months() == 0
    assert files(tmp_path) == ["2024-01.7fffffff.parquet"]
    assert later.keys(ASSET) == JANUARY
    later.write(ASSET, JANUARY[4], rows(1))
    assert len(files(tmp_path)) == 31, "a day that comes late may come again: it is not to write its month each time"
    before = {path.name: path.stat().st_ino for path in (tmp_path / ASSET / "2024-01").iterdir()}
    later.write(ASSET, JANUARY[4], rows(2))
    after = {path.name: path.stat().st_ino for path in (tmp_path / ASSET / "2024-01").iterdir()}
    assert {name for name in before if before[name] != after[name]} == {f"{JANUARY[4]}.parquet"}
    assert later.close_months() == 1
    at_once = house(tmp_path / "other", IN_MARCH)
    at_once.write_many(ASSET, {key: rows(1) for key in JANUARY} | {JANUARY[4]: rows(2)}, {})
    assert at_once.receipts(ASSET, JANUARY) == later.receipts(ASSET, JANUARY)
    assert [path.read_bytes() for path in (tmp_path / "other" / ASSET / "2024-01").iterdir()] == [
        path.read_bytes() for path in (tmp_path / ASSET / "2024-01").iterdir()
    ]


def test_only_what_was_written_is_told_and_keeps_its_inputs(tmp_path: Path) -> None:
    """Of the other days of the month nothing is said, though their file is written with it: they may well be due."""
    lake = house(tmp_path, IN_MARCH)
    lake.write_many(ASSET, {key: rows(1) for key in JANUARY[:3]}, dict.fromkeys(JANUARY[:3], "before"))
    told = lake.write_many(ASSET, {JANUARY[1]: rows(2)}, dict.fromkeys(JANUARY, "after"))
    assert list(told) == [JANUARY[1]]
    stored = lake.receipts(ASSET, JANUARY)
    assert [receipt.inputs for receipt in stored.values()] == ["before", "after", "before"]


def test_days_of_former_versions_are_taken_over(tmp_path: Path) -> None:
    former = Lake(tmp_path)
    keys = [*JANUARY, "2024-03-18", "2024-03-19"]
    receipts = former.write_many(ASSET, {key: rows(int(key[8:])) for key in keys}, dict.fromkeys(keys, "of this"))
    broken = former.path(ASSET, JANUARY[6])
    broken.write_bytes(broken.read_bytes()[:-9])
    lake = house(tmp_path, IN_MARCH)
    there = [key for key in keys if key != JANUARY[6]]
    assert lake.keys(ASSET) == there, "what cannot be read is due to be made anew"
    assert lake.receipts(ASSET, keys) == {key: receipts[key] for key in there}
    assert not list((tmp_path / ASSET).glob("date=*"))
    assert len(files(tmp_path)) == 3


# ---- whoever reads or writes meanwhile -------------------------------------------------------------------------------


def test_a_query_finds_one_version_of_a_month_or_fails_while_another_process_replaces_it(tmp_path: Path) -> None:
    root = tmp_path / "lake"
    house(root).write_many(ASSET, {key: rows(0, 5) for key in JANUARY}, {})
    publish(house(root), tmp_path / "hp.duckdb")
    writer = start("restating", str(root), ASSET, *JANUARY)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        seen: Counter[str] = Counter()
        versions = set()
        until = time.monotonic() + 4
        while time.monotonic() < until:
            try:
                with duckdb.connect(str(tmp_path / "hp.duckdb"), read_only=True) as connection:
                    found = connection.execute("SELECT version, count(*) FROM hourly GROUP BY ALL").fetchall()
            except duckdb.Error as error:
                assert "No such file" in str(error) or "No files found" in str(error), error
                seen["failed"] += 1
                continue
            assert len(found) == 1 and found[0][1] == 31 * 5, found
            versions.add(found[0][0])
            seen["answered"] += 1
            read = house(root).read(ASSET, JANUARY)
            assert read is not None and read.height == 31 * 5 and read["version"].n_unique() == 1
    finally:
        writer.kill()
        writer.communicate()
    assert seen["answered"] > 20 and len(versions) > 10, seen


def test_a_writer_killed_at_any_moment_leaves_the_old_or_the_new_month(tmp_path: Path) -> None:
    dice = random.Random(5)
    house(tmp_path).write_many(ASSET, {key: rows(0, 5) for key in JANUARY}, {})
    for _ in range(5):
        writer = start("restating", str(tmp_path), ASSET, *JANUARY)
        assert writer.stdout is not None and writer.stderr is not None
        acknowledged = int(writer.stdout.readline())
        time.sleep(dice.uniform(0, 0.1))
        writer.kill()
        acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        writer.wait()
        writer.stderr.close()
        found = house(tmp_path).read(ASSET, JANUARY)
        assert found is not None and found.height == 31 * 5
        assert set(found["version"]) <= {acknowledged, acknowledged + 1} and found["version"].n_unique() == 1
        assert house(tmp_path).verify(ASSET, JANUARY[0]).rows == 5
    for path in (tmp_path / ASSET / ".months").iterdir():
        os.utime(path, (time.time() - 4000,) * 2)
    house(tmp_path).clean()
    assert len(list((tmp_path / ASSET / ".months").iterdir())) == 1
    assert not [path for path in (tmp_path / ASSET).iterdir() if path.name.endswith(".tmp")]


def test_two_writers_of_the_same_month_lose_nothing_of_each_other(tmp_path: Path) -> None:
    writers = [start("filling", str(tmp_path), ASSET, *borders) for borders in (("1", "16"), ("16", "32"))]
    for writer in writers:
        _, complaint = writer.communicate(timeout=120)
        assert writer.returncode == 0, complaint
    lake = house(tmp_path)
    assert lake.keys(ASSET) == JANUARY
    found = lake.read(ASSET, JANUARY)
    assert found is not None and found["version"].to_list() == [number for number in range(1, 32) for _ in range(5)]


def test_what_is_replaced_stays_for_an_hour_for_those_who_read_it(tmp_path: Path) -> None:
    lake = house(tmp_path)
    lake.write(ASSET, JANUARY[0], rows(1))
    before = lake.path(ASSET, JANUARY[0])
    long_ago = time.time() - 30 * 86_400
    os.utime(before.parent, (long_ago, long_ago))
    lake.write(ASSET, JANUARY[0], rows(2))
    lake.clean()
    assert content_of(pl.read_parquet(before).drop("date")) == content_of(rows(1))
    os.utime(before.parent, (time.time() - 3700,) * 2)
    lake.write(ASSET, JANUARY[0], rows(3))
    assert not before.exists()


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_damaged_month_is_named_and_made_anew_when_it_is_written(tmp_path: Path) -> None:
    house(tmp_path).write_many(ASSET, {key: rows(1) for key in JANUARY}, {})
    lake = house(tmp_path)
    path = lake.path(ASSET, JANUARY[0])
    path.write_bytes(path.read_bytes()[:-30])
    assert lake.receipt(ASSET, JANUARY[3]) is None
    for reading in (lambda: lake.read(ASSET, JANUARY), lambda: lake.verify(ASSET, JANUARY[3])):
        with pytest.raises(DamagedPartitionError, match="2024-01"):
            reading()
    lake.write(ASSET, JANUARY[3], rows(2))
    assert lake.keys(ASSET) == [JANUARY[3]], "the other days are due again"
    assert lake.verify(ASSET, JANUARY[3]).rows == 50


def test_a_month_moved_away_is_not_there(tmp_path: Path) -> None:
    lake = house(tmp_path)
    lake.write_many(ASSET, {key: rows(1) for key in JANUARY}, {})
    assert lake.keys(ASSET) == JANUARY
    lake.path(ASSET, JANUARY[0]).rename(tmp_path / "away.parquet")
    assert lake.keys(ASSET) == [] and lake.receipt(ASSET, JANUARY[0]) is None and lake.read(ASSET, JANUARY) is None
    lake.write(ASSET, JANUARY[0], rows(1))
    assert lake.keys(ASSET) == [JANUARY[0]]


def test_a_damaged_day_keeps_its_month_open(tmp_path: Path) -> None:
    lake = house(tmp_path, IN_JANUARY)
    lake.write_many(ASSET, {key: rows(1) for key in JANUARY[:3]}, {})
    path = lake.path(ASSET, JANUARY[1])
    path.write_bytes(path.read_bytes()[:-30])
    assert house(tmp_path).close_months() == 0
    assert path.exists() and len(files(tmp_path)) == 3


def test_a_full_disk_leaves_the_month_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = house(tmp_path)
    lake.write_many(ASSET, {key: rows(1) for key in JANUARY}, {})
    before = files(tmp_path)

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(StorageError, match="make room"):
            lake.write(ASSET, JANUARY[0], rows(2))
    for one in (lake, house(tmp_path)):
        assert files(tmp_path) == before
        found = one.read(ASSET, JANUARY)
        assert found is not None and found["version"].unique().to_list() == [1]
