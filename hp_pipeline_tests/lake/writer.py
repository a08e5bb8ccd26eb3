"""Processes that write into a lake until somebody kills them. Run as `python -m hp_pipeline_tests.lake.writer`."""

from __future__ import annotations

import resource
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from hp_pipeline.lake import Lake, StorageError
from hp_pipeline_tests.lake.tables import house, publish, rows

NOISE = 40_000


def endless(root: str, asset: str, key: str) -> None:
    """Replace one partition again and again; tells each version once it is stored."""
    lake, version = Lake(root), 0
    while True:
        version += 1
        lake.write(asset, key, rows(version, NOISE))
        print(version, flush=True)


def restating(root: str, asset: str, *keys: str) -> None:
    """Replace some days of a month that is over again and again, all at once; tells each version once it is stored."""
    lake, version = house(Path(root)), 0
    while True:
        version += 1
        lake.write_many(asset, {key: rows(version, 5) for key in keys}, {})
        print(version, flush=True)


def filling(root: str, asset: str, first: str, last: str) -> None:
    """Store the days of a month that is over one after the other."""
    lake = house(Path(root))
    for number in range(int(first), int(last)):
        lake.write(asset, f"2024-01-{number:02}", rows(number, 5))


def merging(root: str, source: str, first: str, last: str) -> None:
    """Merge readings into the same days as others do, in small pieces."""
    from hp_pipeline.assets.stages import store_readings
    from hp_pipeline_tests.assets.house import readings, workspace

    house = workspace(Path(root))
    for number in range(int(first), int(last)):
        time = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=number % 48, microseconds=number)
        store_readings(house, source, readings([(f"p{number % 3}", time, float(number))]))


def cramped(root: str, asset: str, key: str) -> None:
    """Write more than the disk takes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        Lake(root).write(asset, key, rows(2, NOISE))
    except StorageError as error:
        print(error, flush=True)
        sys.exit(3)


def publishing(root: str, times: str) -> None:
    """Publish catalogues of changing columns."""
    for number in range(int(times)):
        publish(Lake(root), Path(root).parent / "hp.duckdb", extra=number % 2)


if __name__ == "__main__":
    pl.enable_string_cache()
    writers = (endless, restating, filling, merging, cramped, publishing)
    {writer.__name__: writer for writer in writers}[sys.argv[1]](*sys.argv[2:])
