"""A year of readings at 30 s, about 12 million of them, to all tables, on a data folder that has only the readings.

Target: below 3 s on two processors and below 1 GB. Measured in a process of its own, from opening the settings to the
last file (its import of Python packages apart); where the time goes is measured in others: by stage, by function, and
with a lake in memory that neither encodes nor writes files, which leaves the bare transforms.
"""

from __future__ import annotations

import cProfile
import pstats
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.child import in_child
from benchmarks.history import YEAR_DAYS, facts, linked_copy, year
from benchmarks.report import Line, Report, of_runs

LIMIT_S = 3.0
LIMIT_BYTES = 1e9
LIMIT_ASKED_MS = 100.0
_ASKED = {
    "one temperature of all frames by SQL": "SELECT start, flow_temperature FROM frames",
    "the COP of every day by SQL": "SELECT date, cop FROM daily ORDER BY date",
}
_SHOWN_FUNCTIONS = 14


def measure(runs: int) -> Report:
    """Make all tables of the year several times, each from nothing."""
    folder = year()
    known = facts(folder)
    report = Report("year", f"{YEAR_DAYS} days at 30 s, {known['readings'] / 1e6:.1f} million readings → all tables")
    copies = [linked_copy(folder, f"year-{number}") for number in range(runs)]
    made = [in_child("year:make", str(copy)) for copy in copies]
    answers = [one.answer for one in made]
    seconds = [answer["wall_s"] for answer in answers]
    report.lines += [
        of_runs("all tables", seconds, "s", at_most=LIMIT_S),
        of_runs("all tables, processor time", [answer["cpu_s"] for answer in answers], "s"),
        of_runs("peak memory", [one.peak_bytes / 1e6 for one in made], "MB", at_most=LIMIT_BYTES / 1e6, digits=0),
        Line("partitions made", answers[0]["partitions"], ""),
        *(
            of_runs(f"· {stage}", [answer["stages"][stage] for answer in answers], "s")
            for stage in answers[0]["stages"]
        ),
    ]
    asked = [in_child("year:ask", str(copy)).answer for copy in copies]
    report.lines += [
        of_runs(words, [answer[words] for answer in asked], "ms", at_most=LIMIT_ASKED_MS, digits=1)
        for words in asked[0]
    ]
    memory = [in_child("year:make_in_memory", str(folder)).answer for _ in range(runs)]
    report.lines += [
        of_runs("without files", [answer["wall_s"] for answer in memory], "s", note="the same, tables kept in memory"),
        of_runs(
            "reading all readings", [answer["reading_s"] for answer in memory], "s", note="files → frames of polars"
        ),
    ]
    heat, power = answers[0]["heat_kwh"], answers[0]["electricity_kwh"]
    true_heat, true_power = known["thermal_energy_kwh"], known["electrical_energy_kwh"]
    off = 100 * abs((heat / power) / (true_heat / true_power) - 1)
    report.lines.append(Line("JAZ against the truth", round(off, 4), "%", at_most=0.1, note=f"{heat / power:.3f}"))
    profile = in_child("year:profile", str(linked_copy(folder, "year-profile"))).answer
    report.notes += ["Where the time goes (one process under a profiler, which slows it; own and callees' seconds):"]
    report.notes += [f"  {seconds:6.2f} s  {calls:7d} calls  {function}" for function, seconds, calls in profile]
    return report


def make(folder: str) -> dict[str, Any]:
    """All tables of a folder, timed by stage."""
    from benchmarks.house import bring_up_to_date, open_house, table
    from hp_pipeline.assets.stages import Stage

    stages: dict[str, float] = {}

    def timed(stage: Stage, work: Callable[[], int]) -> int:
        began = time.perf_counter()
        done = work()
        stages[", ".join(stage.tables)] = time.perf_counter() - began
        return done

    began, cpu = time.perf_counter(), time.process_time()
    workspace = open_house(Path(folder))
    made = bring_up_to_date(workspace, timed=timed)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    total = table(workspace, "all_time").row(0, named=True)
    return {
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "partitions": made,
        "stages": stages,
        "heat_kwh": total["thermal_energy_kwh"],
        "electricity_kwh": total["electrical_energy_kwh"],
    }


def ask(folder: str) -> dict[str, float]:
    """Milliseconds for some questions to all tables of a folder, as an open session asks them again."""
    import duckdb

    from benchmarks.house import open_house

    workspace = open_house(Path(folder))
    workspace.publish()
    took = {}
    with duckdb.connect(str(workspace.database), read_only=True) as connection:
        for words, query in _ASKED.items():
            best = float("inf")
            for _ in range(3):
                began = time.perf_counter()
                assert connection.sql(query).to_arrow_table().num_rows > YEAR_DAYS - 1
                best = min(best, time.perf_counter() - began)
            took[words] = 1000 * best
    return took


def make_in_memory(folder: str) -> dict[str, float]:
    """All tables, from readings in memory to tables in memory: the transforms and the due check alone."""
    import polars as pl

    from benchmarks.house import SOURCE, bring_up_to_date, open_house
    from hp_pipeline.lake import Lake, Receipt

    class MemoryLake(Lake):
        """Partitions kept as frames."""

        def __init__(self, root: Path) -> None:
            super().__init__(root)
            self.stored: dict[str, dict[str, tuple[pl.DataFrame, Receipt]]] = {}

        def keys(self, asset: str) -> list[str]:
            return sorted(self.stored.get(asset, {}))

        def receipt(self, asset: str, key: str) -> Receipt | None:
            stored = self.stored.get(asset, {}).get(key)
            return stored[1] if stored else None

        def read(
            self, asset: str, keys: Iterable[str], columns: Sequence[str] | None = None, where: pl.Expr | None = None
        ) -> pl.DataFrame | None:
            parts = self.stored.get(asset, {})
            frames = [parts[key][0] for key in keys if key in parts]
            if not frames:
                return None
            rows = pl.concat(frames, how="diagonal_relaxed")
            if columns is not None:
                rows = rows.select(name if name in rows.columns else pl.lit(None).alias(name) for name in columns)
            return rows if where is None else rows.filter(where)

        def write(self, asset: str, key: str, frame: pl.DataFrame, inputs: str = "") -> Receipt:
            receipt = Receipt(f"{asset}/{key}", inputs, frame.height)
            self.stored.setdefault(asset, {})[key] = (frame, receipt)
            return receipt

        def write_many(
            self, asset: str, frames: Mapping[str, pl.DataFrame], inputs: Mapping[str, str]
        ) -> dict[str, Receipt]:
            return {key: self.write(asset, key, frame, inputs.get(key, "")) for key, frame in frames.items()}

        def remove(self, asset: str, key: str) -> None:
            self.stored.get(asset, {}).pop(key, None)

    workspace = open_house(Path(folder))
    files, memory = workspace.lake, MemoryLake(workspace.lake.root)
    asset = f"readings/{SOURCE}"
    began = time.perf_counter()
    for key in files.keys(asset):
        rows = files.read(asset, [key])
        assert rows is not None
        memory.write(asset, key, rows)
    reading_s = time.perf_counter() - began
    workspace.lake = memory
    began = time.perf_counter()
    bring_up_to_date(workspace)
    return {"wall_s": time.perf_counter() - began, "reading_s": reading_s}


def profile(folder: str) -> list[tuple[str, float, int]]:
    """The functions of the pipeline that most of the time is spent in (callees included)."""
    profiler = cProfile.Profile()
    profiler.enable()
    make(folder)
    profiler.disable()
    found = []
    for (file, _, name), (_, calls, _, seconds, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        parts = Path(file).parts
        if "hp_pipeline" in parts and not name.startswith("<"):
            module = ".".join(parts[len(parts) - parts[::-1].index("hp_pipeline") :]).removesuffix(".py")
            found.append((f"{module}.{name}", round(seconds, 2), calls))
    return sorted(found, key=lambda row: -row[1])[:_SHOWN_FUNCTIONS]
