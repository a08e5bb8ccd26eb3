"""Houses with a past, built once and kept below `benchmarks/results/cache`: a year at 30 s, and ten years of days.

All functions that a child process runs take and give plain values.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from benchmarks.child import in_child
from benchmarks.report import CACHE, RESULTS, console

YEAR_START: Final = datetime(2023, 1, 1, tzinfo=UTC)
YEAR_DAYS: Final = 365
HISTORY_END: Final = date(2024, 1, 1)
"""First day after the long past; the days that are added follow from here."""
_COMPLETE: Final = "complete.json"


def year() -> Path:
    """Folder of a house whose lake holds the readings of a year at 30 s, in the ESPAltherma shape, and nothing else."""
    return _built(f"year-{YEAR_START:%Y}-{YEAR_DAYS}d-30s", "build_year")


def past(days: int) -> Path:
    """Folder of a house with all its tables made over a past of `days` days that ends with `HISTORY_END`.

    The last week is read every 30 s. Days before it hold every 20th poll of the year's days, moved in time: they are
    cheap to make, and as many files of as many tables as any. What a new day costs can only depend on their number.
    """
    folder = _built(f"past-{days}d", "build_past", str(year()), days)
    # The code may make something else by now: what is measured must begin with everything up to date.
    in_child("history:freshen", str(folder))
    return folder


def _built(name: str, function: str, *arguments: str | float) -> Path:
    folder = CACHE / name
    if not (folder / _COMPLETE).exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        console.print(f"  building {name} (once) …", highlight=False)
        built = in_child(f"history:{function}", str(folder), *arguments)
        (folder / _COMPLETE).write_text(json.dumps(built.answer))
        console.print(f"  built in {built.wall_s:.0f} s", highlight=False)
    return folder


def facts(folder: Path) -> dict[str, float]:
    """What the builder of a folder noted about it."""
    noted: dict[str, float] = json.loads((folder / _COMPLETE).read_text())
    return noted


def linked_copy(folder: Path, name: str) -> Path:
    """A copy below the results in which every file is the original's: partition files are replaced, never changed."""
    copy = RESULTS / "work" / name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, symlinks=True, copy_function=os.link)
    return copy


def build_year(folder: str) -> dict[str, float]:
    """Simulate a year (truth at 10 s), observe it at 30 s, store the readings. Returns counts and the true energies."""
    import polars as pl

    from benchmarks.house import open_house, take_in
    from hp_pipeline.simulation.house import simulate
    from hp_pipeline.simulation.parameters import DAIKIN_ALTHERMA
    from hp_pipeline.simulation.sensors import observe
    from hp_pipeline.simulation.truth import truth_energy
    from hp_pipeline.simulation.weather import simulate_weather

    settling = timedelta(days=3)
    end = YEAR_START + timedelta(days=YEAR_DAYS)
    weather = simulate_weather(YEAR_START - settling, end, step_s=10, seed=1)
    run = simulate(DAIKIN_ALTHERMA, weather, 1, settling=settling)
    true = truth_energy(run, "all").row(0, named=True)
    readings = observe(run).readings
    del run, weather
    workspace = open_house(Path(folder), YEAR_START.date())
    first = YEAR_START
    while first < end:
        until = min(first + timedelta(days=30), end)
        take_in(workspace, readings.filter(pl.col("time").is_between(first, until, closed="left")))
        first = until
    energies = ("thermal_energy_kwh", "electrical_energy_kwh")
    return {"readings": readings.height, **{name: true[name] for name in energies}}


def build_past(folder: str, year_folder: str, days: int) -> dict[str, float]:
    """Readings of `days` days up to `HISTORY_END`, and all tables of them."""
    import polars as pl

    from benchmarks.house import SOURCE, bring_up_to_date, open_house, take_in

    template = open_house(Path(year_folder))
    start = HISTORY_END - timedelta(days=days)
    workspace = open_house(Path(folder), start, today=lambda: HISTORY_END)
    for first, count in _stretches(start, days):
        shift = timedelta(days=(first - _day_of_year(first)).days)
        keys = [(_day_of_year(first) + timedelta(days=number)).isoformat() for number in range(count)]
        part = template.lake.read(f"readings/{SOURCE}", keys)
        assert part is not None
        if first < HISTORY_END - timedelta(days=7):
            minute = pl.col("time").dt.epoch("s") % 600
            part = part.filter(minute < 30)
        take_in(workspace, part.with_columns(pl.col("time") + shift).select("point", "time", "value", "text"))
    made = bring_up_to_date(workspace)
    workspace.publish()
    return {"partitions": made}


def freshen(folder: str) -> int:
    """Make what is due in a folder."""
    from benchmarks.house import bring_up_to_date, open_house

    return bring_up_to_date(open_house(Path(folder), today=lambda: HISTORY_END))


def _day_of_year(day: date) -> date:
    """The day of the simulated year that stands for a day."""
    return YEAR_START.date() + timedelta(days=(day - YEAR_START.date()).days % YEAR_DAYS)


def _stretches(start: date, days: int) -> Iterator[tuple[date, int]]:
    """Runs of days that neither leave the simulated year nor mix the last week with what is before it."""
    day, end = start, start + timedelta(days=days)
    week = end - timedelta(days=7)
    while day < end:
        left_in_year = YEAR_DAYS - (_day_of_year(day) - YEAR_START.date()).days
        until = week if day < week else end
        count = min(30, left_in_year, (until - day).days)
        yield day, count
        day += timedelta(days=count)
