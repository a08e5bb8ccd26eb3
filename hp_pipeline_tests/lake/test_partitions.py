"""Partition files: whole or not at all, whoever is killed when, and damage is found and named."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from hp_pipeline.lake import DamagedPartitionError, Lake, Receipt, StorageError, replace_file
from hp_pipeline_tests.lake.tables import DAYS, rows
from hp_pipeline_tests.lake.writer import NOISE


def start(*arguments: str) -> subprocess.Popen[str]:
    """A writer process."""
    return subprocess.Popen(
        [sys.executable, "-m", "hp_pipeline_tests.lake.writer", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_a_writer_killed_at_any_moment_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    lake, dice, newest = Lake(tmp_path), random.Random(3), 0
    for _ in range(5):
        writer = start("endless", str(tmp_path), "frames/hp", DAYS[0])
        assert writer.stdout is not None and writer.stderr is not None
        acknowledged = int(writer.stdout.readline())
        time.sleep(dice.uniform(0, 0.12))
        writer.kill()
        acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        writer.wait()
        writer.stderr.close()
        found = lake.read("frames/hp", [DAYS[0]])
        assert found is not None
        assert found.height == NOISE and found["version"].n_unique() == 1
        assert found["version"][0] in {acknowledged, acknowledged + 1}, "what was acknowledged is there"
        assert lake.verify("frames/hp", DAYS[0]).rows == NOISE
        newest = max(newest, found["version"][0])
    left = list(tmp_path.glob("**/.*.tmp"))
    assert lake.clean() == len(left)
    assert [file.name for file in (tmp_path / "frames/hp" / f"date={DAYS[0]}").iterdir()] == ["data.parquet"]


def test_cleaning_leaves_alone_what_a_living_writer_is_writing(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("frames/hp", DAYS[0], rows(1))
    folder = lake.path("frames/hp", DAYS[0]).parent
    gone = start("nothing")
    gone.communicate()
    (folder / f".data.parquet.{os.getpid()}.abcd.tmp").touch()
    (folder / f".data.parquet.{gone.pid}.abcd.tmp").touch()
    assert lake.clean() == 1
    assert [path.name for path in folder.glob(".*.tmp")] == [f".data.parquet.{os.getpid()}.abcd.tmp"]


def test_two_writers_of_different_partitions_do_not_meet(tmp_path: Path) -> None:
    writers = [start("endless", str(tmp_path), "frames/hp", key) for key in DAYS[:2]]
    for writer in writers:
        assert writer.stdout is not None
        for _ in range(3):
            writer.stdout.readline()
    for writer in writers:
        writer.kill()
        writer.communicate()
    lake = Lake(tmp_path)
    assert lake.keys("frames/hp") == DAYS[:2]
    assert all(lake.verify("frames/hp", key).rows == NOISE for key in DAYS[:2])


def test_two_writers_of_the_same_readings_lose_nothing_of_each_other(tmp_path: Path) -> None:
    writers = [start("merging", str(tmp_path), "recorder", str(first), str(first + 130)) for first in (0, 100)]
    for writer in writers:
        _, complaint = writer.communicate(timeout=120)
        assert writer.returncode == 0, complaint
    lake = Lake(tmp_path / "data" / "lake")
    stored = lake.read("readings/recorder", lake.keys("readings/recorder"))
    assert stored is not None
    assert sorted(stored["value"]) == [float(number) for number in range(230)]
    assert sorted(lake.keys("readings/recorder")) == ["2024-01-01", "2024-01-02"]


def test_a_full_disk_leaves_what_was_stored_and_says_what_to_do(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("frames/hp", DAYS[0], rows(1))
    before = lake.path("frames/hp", DAYS[0]).read_bytes()
    writer = start("cramped", str(tmp_path), "frames/hp", DAYS[0])
    said, complaint = writer.communicate(timeout=60)
    assert writer.returncode == 3, complaint
    assert str(lake.path("frames/hp", DAYS[0])) in said and "untouched" in said and "run it again" in said
    assert lake.path("frames/hp", DAYS[0]).read_bytes() == before
    assert list(tmp_path.glob("**/.*.tmp")) == []


@pytest.mark.parametrize(
    ("number", "words"), [(28, "No space left on device"), (30, "Read-only file system"), (13, "Permission denied")]
)
def test_a_disk_that_takes_nothing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, words)

    replace_file(tmp_path / "a", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(StorageError, match=f"a: {words}.*untouched; (make room|choose|give this user)") as caught:
            replace_file(tmp_path / "a", b"new")
    assert caught.value.errno == number
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_where_a_folder_must_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "frames").write_text("not a folder")
    with pytest.raises(StorageError, match="move the file away"):
        Lake(tmp_path).write("frames/hp", DAYS[0], rows(1))


# ---- what a file says of itself --------------------------------------------------------------------------------------


def test_equal_rows_give_equal_bytes_and_another_row_another_hash(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = lake.write("frames/hp", DAYS[0], rows(1), "made from this")
    again = lake.write("frames/hp", DAYS[1], pl.concat([rows(1)[:20], rows(1)[20:]], rechunk=False), "made from this")
    assert lake.path("frames/hp", DAYS[0]).read_bytes() == lake.path("frames/hp", DAYS[1]).read_bytes()
    assert first == again == lake.receipt("frames/hp", DAYS[1]) == lake.verify("frames/hp", DAYS[0])
    assert first.inputs == "made from this" and first.rows == 50
    assert lake.write("frames/hp", DAYS[1], rows(2)).content != first.content
    assert lake.write("frames/hp", DAYS[1], rows(1), "made from that").content == first.content


@pytest.mark.parametrize(
    "frame",
    [
        rows(1).clear(),
        rows(1).select("unknown"),
        rows(1, 1),
        rows(1, 3000).with_columns(few=pl.col("version") * 0.5, word=pl.lit("ON")),
        rows(1).with_columns(pl.when(pl.col("noise") > 5e5).then("noise").alias("noise")),
    ],
    ids=["no rows", "nothing known", "one row", "repeating", "holes"],
)
def test_whatever_is_written_verifies_and_comes_back(tmp_path: Path, frame: pl.DataFrame) -> None:
    lake = Lake(tmp_path)
    lake.write("frames/hp", DAYS[0], frame)
    assert lake.verify("frames/hp", DAYS[0]).rows == frame.height
    found = lake.read("frames/hp", [DAYS[0]], columns=frame.columns)
    assert found is not None and found.height == frame.height
    assert found.select(name for name in frame.columns if name != "unknown").equals(
        frame.select(name for name in frame.columns if name != "unknown")
    )


def test_a_file_of_a_former_version_is_read_and_verified(tmp_path: Path) -> None:
    """Written as version 1 wrote few rows: nullable columns, dictionaries, statistics of times, snappy."""
    lake = Lake(tmp_path)
    frame = pl.DataFrame({"time": [datetime(2026, 1, 1, tzinfo=UTC)], "mode": ["dhw"], "cop": [3.5]})
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink, table.schema, compression="snappy", use_dictionary=["mode"], store_schema=False, write_page_checksum=True
    ) as writer:
        writer.write_table(table)
        content = hashlib.sha256(str(frame.schema).encode() + sink.getbuffer()).hexdigest()[:32]
        writer.add_key_value_metadata({"hp.content": content, "hp.inputs": "x", "hp.rows": "1"})
    path = lake.path("daily/hp", DAYS[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(sink.getvalue())
    assert lake.verify("daily/hp", DAYS[0]) == Receipt(content, "x", 1)
    read = lake.read("daily/hp", [DAYS[0]])
    assert read is not None and read.equals(frame)
    found = 0
    footer = int.from_bytes(sink.getvalue()[-8:-4], "little")
    for place in range(4, len(sink.getvalue()) - 8 - footer):
        data = bytearray(sink.getvalue())
        data[place] ^= 1
        path.write_bytes(data)
        try:
            lake.verify("daily/hp", DAYS[0])
        except DamagedPartitionError:
            found += 1
            continue
        read = lake.read("daily/hp", [DAYS[0]], columns=frame.columns)
        assert read is not None and read.equals(frame), "it was somewhere that nobody reads"
    assert found > 40


def test_a_wide_table_of_one_row_takes_little_more_than_its_words(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    frame = pl.DataFrame({f"electrical_energy_{number}_kwh": [number / 7] for number in range(130)})
    lake.write("daily/hp", DAYS[0], frame, inputs="")
    names = 2 * sum(map(len, frame.columns))  # the format has each name twice
    assert lake.path("daily/hp", DAYS[0]).stat().st_size - names < 80 * frame.width


def test_a_column_that_knows_nothing_may_be_asked_for(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("frames/hp", DAYS[0], rows(1))
    lake.write("frames/hp", DAYS[1], rows(2).with_columns(unknown=pl.lit(7.0)))
    found = lake.read("frames/hp", DAYS, columns=["unknown"])
    assert found is not None and found["unknown"].to_list() == [None] * 50 + [7.0] * 50


def test_a_flipped_bit_that_changes_what_is_read_is_found(tmp_path: Path) -> None:
    lake, dice, found = Lake(tmp_path), random.Random(1), 0
    receipt = lake.write("frames/hp", DAYS[0], rows(1))
    path = lake.path("frames/hp", DAYS[0])
    whole = path.read_bytes()
    for _ in range(80):
        place = dice.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << dice.randrange(8))]) + whole[place + 1 :])
        try:
            assert lake.verify("frames/hp", DAYS[0]).content == receipt.content
        except DamagedPartitionError as error:
            found += 1
            assert str(path) in str(error) and "materialise" in str(error)
            assert error.path == path
            continue
        read = lake.read("frames/hp", [DAYS[0]])
        assert read is not None and read.equals(rows(1).drop("unknown")), "it was somewhere that nobody reads"
    assert found > 40


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_file_cut_short_has_no_receipt_and_is_named_when_read(tmp_path: Path, keep: int) -> None:
    lake = Lake(tmp_path)
    lake.write("frames/hp", DAYS[0], rows(1))
    path = lake.path("frames/hp", DAYS[0])
    path.write_bytes(path.read_bytes()[:keep])
    assert lake.receipt("frames/hp", DAYS[0]) is None
    for reading in (lambda: lake.read("frames/hp", [DAYS[0]]), lambda: lake.verify("frames/hp", DAYS[0])):
        with pytest.raises(DamagedPartitionError, match="damaged"):
            reading()


@pytest.mark.parametrize("place", [-20, -400, 500])
def test_one_damaged_day_of_readings_fails_alone(tmp_path: Path, place: int) -> None:
    from hp_pipeline.assets.stages import FramesStage, store_readings
    from hp_pipeline_tests.assets.house import SOURCE, live, table, workspace

    house = workspace(tmp_path)
    taken = live(datetime(2024, 1, 1, tzinfo=UTC), 9, seed=8, every=timedelta(minutes=10))
    store_readings(house, SOURCE, taken)
    whole = house.lake.path(f"readings/{SOURCE}", "2024-01-05").read_bytes()
    wrong = whole[:place] + bytes([whole[place] ^ 255]) + whole[place:][1:]
    house.lake.path(f"readings/{SOURCE}", "2024-01-05").write_bytes(wrong)
    stage = FramesStage(house.plant("daikin"))
    keys = stage.keys()
    outcome = stage.bring_up_to_date(keys)
    assert sorted(outcome.failed) == ["2024-01-04", "2024-01-05", "2024-01-06"], "the day, and those that look into it"
    assert sorted(outcome.stored["frames"]) == sorted(set(keys) - set(outcome.failed))
    assert all("2024-01-05" in str(error) for error in outcome.failed.values())
    later = taken.with_columns(pl.col("value") + 1)
    with pytest.raises(DamagedPartitionError, match="2024-01-05"):
        store_readings(house, SOURCE, later)
    stored = house.lake.read(f"readings/{SOURCE}", ["2024-01-04", "2024-01-06"])
    expected = later.filter(pl.col("time").dt.date().cast(pl.String).is_in(["2024-01-04", "2024-01-06"]))
    assert stored is not None
    assert stored.sort("point", "time")["value"].to_list() == expected.sort("point", "time")["value"].to_list()
    house.lake.path(f"readings/{SOURCE}", "2024-01-05").write_bytes(whole)
    store_readings(house, SOURCE, later)
    again = FramesStage(house.plant("daikin"))
    again.bring_up_to_date(again.keys()).raise_failures()
    assert table(house, "frames")["start"].dt.date().n_unique() >= len(keys) - 1


def test_partitions_are_listed_only_where_a_file_is(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert lake.keys("frames/hp") == [] and lake.assets() == [] and lake.read("frames/hp", DAYS) is None
    lake.write("frames/hp", DAYS[1], rows(1))
    lake.write("frames/hp", DAYS[0], rows(1))
    lake.write("all_time/hp", "", rows(1))
    with lake.locked("frames/hp", DAYS[2]):
        assert lake.keys("frames/hp") == DAYS[:2]
    assert lake.keys("all_time/hp") == [""]
    assert lake.assets() == ["all_time/hp", "frames/hp"]
    lake.remove("frames/hp", DAYS[0])
    lake.remove("frames/hp", DAYS[0])
    assert lake.keys("frames/hp") == [DAYS[1]]


def test_a_file_that_another_thread_verifies_meanwhile_is_not_taken_for_this_one(tmp_path: Path) -> None:
    class Interrupted(Lake):
        """In the instant in which it remembers a file, somebody else has verified another."""

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if isinstance(value, tuple) and value[0] == self.path("frames/hp", DAYS[0]):
                self.verify("frames/hp", DAYS[1])

    lake = Interrupted(tmp_path)
    told = lake.write_many("frames/hp", {day: rows(number) for number, day in enumerate(DAYS)}, {})
    assert lake.verify("frames/hp", DAYS[0]) == told[DAYS[0]]
