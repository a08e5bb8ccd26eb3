"""A year of Home Assistant line protocol (about 12 million lines, 2 GB) through a `files` source.

Measured: lines per second and peak memory, from the file to the stored partitions. A month is imported, as one file,
and the year is extrapolated from it: a file is taken in pieces, so neither the rate nor the memory depends on how many
follow. Half a month shows whether that is so.
"""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.child import in_child
from benchmarks.history import YEAR_START, facts, year
from benchmarks.report import RESULTS, Line, Report, of_runs

_HALF, _MONTH = 15, 30


def measure(runs: int) -> Report:
    """Import half a month and a month of the simulated year."""
    folder = year()
    report = Report("import_line_protocol", "line protocol through a files source")
    for days, times in ((_HALF, 1), (_MONTH, runs)):
        work = RESULTS / "work" / f"import_{days}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        written = in_child("import_line_protocol:write_lines", str(work), str(folder), days).answer
        taken = [in_child("import_line_protocol:take_in_lines", str(work)) for _ in range(times)]
        rates = [written["lines"] / one.answer["wall_s"] for one in taken]
        label = f"{days} days, {written['lines'] / 1e6:.2f} million lines, {written['bytes'] / 1e6:.0f} MB"
        report.lines += [
            of_runs(label, [one.answer["wall_s"] for one in taken], "s"),
            of_runs(f"{days} days: rate", rates, "lines/s", digits=0),
            of_runs(f"{days} days: peak memory", [one.peak_bytes / 1e6 for one in taken], "MB", digits=0),
        ]
        rate = sorted(rates)[len(rates) // 2]
    lines = facts(folder)["readings"]
    report.lines.append(Line("a year, extrapolated", round(lines / rate), "s", note=f"{lines / 1e6:.1f} million lines"))
    return report


def write_lines(work: str, year_folder: str, days: int) -> dict[str, int]:
    """The first days of the simulated year as Home Assistant writes them, in order of time. Returns lines and bytes."""
    import polars as pl

    from benchmarks.house import SOURCE, open_house

    lake = open_house(Path(year_folder)).lake
    path = Path(work) / "home_assistant.lp"
    lines = 0
    with path.open("wb") as file:
        for number in range(days):
            key = (YEAR_START.date() + timedelta(days=number)).isoformat()
            rows = lake.read(f"readings/{SOURCE}", [key], columns=["point", "time", "value", "text"])
            assert rows is not None
            # The last space that is not escaped parts measurement and tags from the field.
            series, field = pl.col("point").str.extract(r"^(.*[^\\]) "), pl.col("point").str.extract(r"^.*[^\\] (.*)$")
            value = pl.coalesce(pl.col("value").cast(pl.String), pl.format('"{}"', "text"))
            line = pl.format("{} {}={} {}", series, field, value, pl.col("time").dt.epoch("ns"))
            text = rows.sort("time").select(line).to_series()
            assert text.null_count() == 0
            file.write(("\n".join(text) + "\n").encode())
            lines += rows.height
    return {"lines": lines, "bytes": path.stat().st_size}


def take_in_lines(work: str) -> dict[str, float]:
    """Take the file into a new house."""
    from benchmarks.house import SETTINGS, SOURCE, open_house
    from hp_pipeline.assets.readings import take_in_files
    from hp_pipeline.assets.workspace import Workspace
    from hp_pipeline.settings import FilesSource, load_settings

    house = Path(work) / "house"
    shutil.rmtree(house, ignore_errors=True)
    open_house(house, YEAR_START.date())
    settings = house / SETTINGS
    text = settings.read_text(encoding="utf-8").replace("format: parquet", "format: line_protocol")
    kept = [line for line in text.splitlines() if not line.strip().startswith(("layout:", "columns:"))]
    settings.write_text("\n".join(kept) + "\n", encoding="utf-8")
    workspace = Workspace(load_settings(settings), house / "data")
    source = workspace.settings.source(SOURCE)
    assert isinstance(source, FilesSource)
    began = time.perf_counter()
    for taken, _ in take_in_files(workspace, source, [Path(work) / "home_assistant.lp"], datetime.now(UTC), move=False):
        if taken.outcome != "stored":
            raise RuntimeError(f"{taken.name}: {taken.outcome}. {taken.reason}")
    return {"wall_s": time.perf_counter() - began}
