"""Takes in one file and dies by SIGKILL at the moment named: `python -m … FOLDER MOMENT`."""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from hp_pipeline.settings.sources import FilesSource
from hp_pipeline.sources import drop_folder
from hp_pipeline.sources.drop_folder import TakenIn, take_in

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def source(**settings: object) -> FilesSource:
    """The source whose files these are."""
    return FilesSource.model_validate({"id": "old", **settings})


def store_into(folder: Path) -> Any:
    """A store that keeps one file per day, merged by key, as the lake does."""

    def store(readings: pl.DataFrame) -> None:
        for (day,), rows in readings.group_by(pl.col("time").dt.date(), maintain_order=True):
            path = folder / f"{day}.parquet"
            merged = pl.concat([pl.read_parquet(path), rows]) if path.exists() else rows
            merged = merged.unique(["point", "time"], keep="last").sort("point", "time")
            beside = path.with_suffix(".tmp")
            merged.write_parquet(beside)
            beside.replace(path)

    return store


def take(folder: Path, name: str = "a.csv", **settings: object) -> TakenIn:
    """Take in `<folder>/drop/<name>` with everything else beside it."""
    (folder / "lake").mkdir(exist_ok=True)
    return take_in(
        folder / "drop" / name,
        source(**settings),
        store=store_into(folder / "lake"),
        archive_dir=folder / "archive",
        quarantine_dir=folder / "quarantine",
        ledger_dir=folder / "ledger",
        start=date(2024, 1, 1),
        now=NOW,
        chunk_rows=50,
    )


def _die(*_: object, **__: object) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at(moment: str) -> None:
    """Put death at a moment of `take_in`."""
    taking: Any = drop_folder._Taking
    spill: Any = drop_folder._Spill
    if moment == "before store":
        spill.days = _die
    elif moment == "in the middle of store":
        days = spill.days

        def half(self: Any, chunk_rows: int) -> Any:
            for index, chunk in enumerate(days(self, chunk_rows)):
                if index == 2:
                    _die()
                yield chunk

        spill.days = half
    elif moment == "after store":
        taking.stored = _die
    elif moment == "before move":
        taking.to_archive = _die
    elif moment == "after move":
        move: Any = drop_folder._move

        def move_and_die(*arguments: Any) -> None:
            move(*arguments)
            _die()

        drop_folder._move = move_and_die
    elif moment == "before quarantine":
        taking._write_report = _die
    elif moment == "after report":
        drop_folder._move = _die
    else:
        raise ValueError(moment)


if __name__ == "__main__":
    _die_at(sys.argv[2])
    take(Path(sys.argv[1]))
