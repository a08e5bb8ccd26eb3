"""What one run of the pipeline costs: ten minutes of new readings, and nothing new, in a real Dagster run.

No target of its own; it says how often a beat may come. Each run is a process as a run's worker is one: it imports
Dagster, loads the definitions from the settings, executes the job `figures` over the live day with the instance of the
data folder, and ends. Measured: its processor time, its memory, what it wrote to the disk (as the kernel counts it),
and by how much the instance's storage grew; extrapolated to a day at the default beat.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from benchmarks.child import in_child
from benchmarks.history import YEAR_START, year
from benchmarks.report import RESULTS, Line, Report, of_runs

BATCH: Final = timedelta(minutes=10)
BEAT: Final = timedelta(minutes=15)
"""How often an archive is asked by default."""
_DAYS = 7
_BLOCK = 512


def measure(runs: int) -> Report:
    """Batches and empty runs in turns, on a house with a week of past."""
    work = RESULTS / "work" / "micro_batch"
    shutil.rmtree(work, ignore_errors=True)
    in_child("micro_batch_run:prepare", str(work), str(year()))
    taken: dict[str, list[dict[str, float]]] = {"ten minutes": [], "nothing new": []}
    for number in range(runs):
        in_child("micro_batch_run:take_in_batch", str(work), str(year()), number)
        taken["ten minutes"].append(_run(work))
        taken["nothing new"].append(_run(work))
    report = Report("micro_batch_run", "one Dagster run over ten new minutes, against a run that finds nothing to do")
    figures = (
        ("cpu_s", "s of CPU", 1.0, 2),
        ("wall_s", "s", 1.0, 2),
        ("peak_bytes", "MB", 1e6, 0),
        ("written_bytes", "MB to the disk", 1e6, 2),
        ("event_bytes", "kB of storage", 1e3, 0),
    )
    for name, results in taken.items():
        for figure, unit, scale, digits in figures:
            values = [result[figure] / scale for result in results]
            report.lines.append(of_runs(f"{name}: {figure.rpartition('_')[0]}", values, unit, digits=digits))
    imports = [in_child("micro_batch_run:load_definitions", str(work)).cpu_s for _ in range(runs)]
    report.lines.append(of_runs("of it: importing Dagster and loading the definitions", imports, "s of CPU", digits=2))
    a_day = timedelta(days=1) / BEAT
    batch = taken["ten minutes"]
    for figure, unit, scale in (("cpu_s", "s of CPU", 1.0), ("written_bytes", "MB", 1e6), ("event_bytes", "MB", 1e6)):
        mean = sum(result[figure] for result in batch) / len(batch) / scale
        label = {"cpu_s": "processor", "written_bytes": "written to the disk", "event_bytes": "grown storage"}[figure]
        report.lines.append(
            Line(f"a day of {a_day:.0f} runs: {label}", round(mean * a_day, 1), unit, note=f"a run every {BEAT}")
        )
    return report


def _environment(work: Path) -> dict[str, str]:
    data = work / "data"
    return {
        **os.environ,
        "HP_SETTINGS": str(work / "hp.yaml"),
        "HP_DATA": str(data),
        "DAGSTER_HOME": str(data / "dagster"),
    }


def _run(work: Path) -> dict[str, float]:
    """One run in a process of its own."""
    home = work / "data" / "dagster"
    before = _size(home)
    day = _live_day().isoformat()
    tags = {
        "dagster/asset_partition_range_start": day,
        "dagster/asset_partition_range_end": day,
        "hp_pipeline/beat": "benchmark",
    }
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "hp_pipeline.definitions", "-j", "figures"]
    began = time.perf_counter()
    log = work / "run.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--tags", json.dumps(tags)], env=_environment(work), stdout=output, stderr=subprocess.STDOUT
        )
        _, status, own = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or b"RUN_SUCCESS" not in log.read_bytes():
        raise RuntimeError(f"the run failed, see {log}: {log.read_text(errors='replace')[-1500:]}")
    return {
        "wall_s": time.perf_counter() - began,
        "cpu_s": own.ru_utime + own.ru_stime,
        "peak_bytes": own.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "written_bytes": own.ru_oublock * _BLOCK,
        "event_bytes": _size(home) - before,
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _live_day() -> date:
    return YEAR_START.date() + timedelta(days=_DAYS)


def prepare(work: str, year_folder: str) -> int:
    """A week of readings and half of the day after it, all tables, and an instance."""
    import polars as pl

    from benchmarks.house import SOURCE, bring_up_to_date, open_house, take_in
    from hp_pipeline.services.instance import prepare_instance

    source = open_house(Path(year_folder))
    workspace = open_house(Path(work), YEAR_START.date())
    days = [(YEAR_START.date() + timedelta(days=number)).isoformat() for number in range(_DAYS + 1)]
    rows = source.lake.read(f"readings/{SOURCE}", days)
    assert rows is not None
    take_in(workspace, rows.filter(pl.col("time") < _now(0)).select("point", "time", "value", "text"))
    made = bring_up_to_date(workspace)
    workspace.publish()
    prepare_instance(workspace.data)
    return made


def take_in_batch(work: str, year_folder: str, number: int) -> int:
    """The next ten minutes into the lake."""
    import polars as pl

    from benchmarks.house import SOURCE, open_house, take_in

    rows = open_house(Path(year_folder)).lake.read(f"readings/{SOURCE}", [_live_day().isoformat()])
    assert rows is not None
    batch = rows.filter(pl.col("time").is_between(_now(number), _now(number + 1), closed="left"))
    take_in(open_house(Path(work)), batch.select("point", "time", "value", "text"))
    return batch.height


def _now(number: int) -> datetime:
    day = _live_day()
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC) + number * BATCH


def load_definitions(work: str) -> int:
    """Import the pipeline's definitions as a worker does."""
    os.environ.update(_environment(Path(work)))
    from hp_pipeline.definitions import defs

    return len(list(defs().resolve_all_asset_keys()))
