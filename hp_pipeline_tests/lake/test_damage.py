"""Files of which single bytes are wrong: what is read is what was written, or an error that names the file."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import duckdb
import polars as pl
import pytest

from hp_pipeline.lake import DamagedPartitionError, Lake
from hp_pipeline.lake.encoding import SEAL_BYTES, footer_bytes
from hp_pipeline_tests.lake.tables import DAYS, house, rows

IN_JANUARY, IN_MARCH = date(2024, 1, 31), date(2024, 3, 1)
Way = Callable[[Lake], object]


class Shape(NamedTuple):
    """How files may look: so many rows of a day, in a file for each day or in one."""

    rows: int
    table: str
    today: date = IN_MARCH


SHAPES = {
    "one row": Shape(1, "frames"),
    "few rows": Shape(50, "frames"),
    "dictionaries": Shape(400, "frames"),
    "split bytes": Shape(10_000, "frames"),
    "an open month": Shape(50, "hourly", IN_JANUARY),
    "a closed month": Shape(120, "hourly"),
}


def stored(root: Path, shape: Shape) -> Path:
    """Store three days; returns the file of the first."""
    lake = house(root, shape.today)
    known = {
        day: rows(number, shape.rows).with_columns(
            steps=pl.col("version") * 0.5,
            word=pl.when(pl.col("noise") > 5e5).then(pl.lit("ON")),
            of=pl.col("noise") > 4e5,
        )
        for number, day in enumerate(DAYS)
    }
    lake.write_many(f"{shape.table}/hp", known, dict.fromkeys(DAYS, "made of this"))
    return lake.path(f"{shape.table}/hp", DAYS[0])


def ways(asset: str) -> dict[str, Way]:
    """How a lake may be asked."""
    return {
        "all": lambda lake: lake.read(asset, DAYS),
        "some columns": lambda lake: lake.read(asset, DAYS, ["start", "noise", "word"]),
        "some rows": lambda lake: lake.read(asset, DAYS, where=pl.col("noise") > 4e5),
        "a day": lambda lake: lake.read(asset, DAYS[:1]),
        "some columns of a day": lambda lake: lake.read(asset, DAYS[:1], ["noise"]),
        "verified": lambda lake: [lake.verify(asset, day) for day in DAYS],
    }


def answer(lake: Lake, way: Way, path: Path) -> object:
    """What is found, rows as what can be compared; None where the file is said to be damaged."""
    try:
        found = way(lake)
    except DamagedPartitionError as error:
        assert error.path == path and str(path) in str(error) and "materialise" in str(error)
        return None
    return found.to_dicts() if isinstance(found, pl.DataFrame) else found


def flips(whole: bytes, count: int, places: range) -> Iterator[bytes]:
    """The file with one byte wrong, so many times."""
    dice = random.Random(len(whole))
    for place in sorted(dice.sample(places, min(count, len(places)))):
        yield (
            whole[:place]
            + bytes([whole[place] ^ dice.choice([1, 128, 255, dice.randrange(1, 256)])])
            + whole[place + 1 :]
        )


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_wrong_byte_anywhere_is_found_or_does_not_matter(tmp_path: Path, shape: Shape) -> None:
    path = stored(tmp_path, shape)
    whole, asset = path.read_bytes(), f"{shape.table}/hp"
    expected = {name: answer(house(tmp_path, shape.today), way, path) for name, way in ways(asset).items()}
    receipts = house(tmp_path, shape.today).receipts(asset, DAYS)
    place = len(whole) - footer_bytes(whole)
    letters = slice(place - SEAL_BYTES, place - 8)
    for wrong in flips(whole, 130, range(len(whole))):
        path.write_bytes(wrong)
        is_seal = wrong[letters] != whole[letters]  # then it is taken for a file of a former version
        for name, way in ways(asset).items():
            found = answer(house(tmp_path, shape.today), way, path)
            assert found == expected[name] if is_seal else found is None
        told = house(tmp_path, shape.today).receipts(asset, DAYS)
        assert all(receipts[day] == receipt for day, receipt in told.items())


@pytest.mark.parametrize("shape", [SHAPES["an open month"], SHAPES["a closed month"]], ids=["open", "closed"])
def test_a_wrong_byte_anywhere_does_not_keep_another_day_from_being_written(tmp_path: Path, shape: Shape) -> None:
    path = stored(tmp_path / "lake", shape)
    whole = path.read_bytes()
    for number, wrong in enumerate(flips(whole, 25, range(len(whole)))):
        root = tmp_path / str(number)
        damaged = root / stored(root, shape).relative_to(root)
        damaged.write_bytes(wrong)
        lake = house(root)
        lake.close_months()
        lake.write("hourly/hp", "2024-01-09", rows(9, 5))
        assert {"2024-01-09"} <= set(lake.keys("hourly/hp"))
        assert lake.verify("hourly/hp", "2024-01-09").rows == 5
        lake.receipts("hourly/hp", DAYS)


@pytest.mark.parametrize("shape", [SHAPES["few rows"], SHAPES["dictionaries"]], ids=["few rows", "dictionaries"])
def test_a_file_without_a_seal_is_read_and_its_pages_are_compared(tmp_path: Path, shape: Shape) -> None:
    """As former versions wrote it. Its footer bears no checksum, so what is wrong there may be found only later."""
    path = stored(tmp_path, shape)
    asset = f"{shape.table}/hp"
    expected = {name: answer(house(tmp_path, shape.today), way, path) for name, way in ways(asset).items()}
    receipts = house(tmp_path, shape.today).receipts(asset, DAYS)
    sealed = path.read_bytes()
    place = len(sealed) - footer_bytes(sealed)
    former = sealed[: place - SEAL_BYTES] + sealed[place:]
    path.write_bytes(former)
    for name, way in ways(asset).items():
        assert answer(house(tmp_path, shape.today), way, path) == expected[name]
    assert house(tmp_path, shape.today).receipts(asset, DAYS) == receipts
    found = 0
    for wrong in flips(former, 100, range(place - SEAL_BYTES)):
        path.write_bytes(wrong)
        for name, way in ways(asset).items():
            read = answer(house(tmp_path, shape.today), way, path)
            assert read is None or read == expected[name]
            found += read is None
    assert found > 100
    for wrong in flips(former, 100, range(place - SEAL_BYTES, len(former))):
        path.write_bytes(wrong)
        house(tmp_path, shape.today).receipts(asset, DAYS)
        for way in ways(asset).values():
            answer(house(tmp_path, shape.today), way, path)


def test_a_large_file_is_compared_once_until_it_is_another(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    dice = random.Random(1)
    many = rows(1, 90_000).with_columns(noise=pl.Series([dice.random() for _ in range(90_000)]))
    lake.write("frames/hp", DAYS[0], many)
    path = lake.path("frames/hp", DAYS[0])
    whole = path.read_bytes()
    assert len(whole) > 512 * 1024
    for _ in range(2):
        for columns in (None, ["start", "noise"]):
            read = lake.read("frames/hp", [DAYS[0]], columns)
            assert read is not None and read.equals(many.select(read.columns))
    path.write_bytes(whole[:300_000] + bytes([whole[300_000] ^ 4]) + whole[300_001:])
    with pytest.raises(DamagedPartitionError, match="checksum"):
        lake.read("frames/hp", [DAYS[0]], ["start", "noise"])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_other_programs_read_what_is_sealed(tmp_path: Path, shape: Shape) -> None:
    path = stored(tmp_path, shape)
    count = shape.rows * (3 if shape == SHAPES["a closed month"] else 1)
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT count(noise), count(DISTINCT start) FROM '{path}'").fetchall()
    assert found == [(count, shape.rows)]
    assert pl.read_parquet(path, hive_partitioning=False).height == count
