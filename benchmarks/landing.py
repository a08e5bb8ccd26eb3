"""The landing under a Luxtronik's day: 2,880 polls of 1,860 registers, as a simulated house's controller tells them.

Targets: a poll is on the disk within a millisecond (median), a day takes at most 1 MB in the landing and 75 kB in the
lake, one temperature of a year comes in 100 ms by SQL. What a process hands to the disk is more than what it keeps:
each durable poll costs a page or two of the log, and every beat writes the day's partition anew; both are given.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.child import in_child
from benchmarks.report import Line, Report, of_runs

START = datetime(2025, 1, 15, tzinfo=UTC)
EVERY = timedelta(seconds=30)
POLLS = 2880
BEAT = 20  # polls in ten minutes
SOURCE = "luxtronik"

SETTINGS = """\
site: {name: Bench, time_zone: Europe/Berlin, start: 2024-01-01}
heat_pumps: [{id: pump, inputs: [{source: luxtronik, profile: espaltherma_home_assistant}]}]
sources: [{id: luxtronik, kind: luxtronik, host: 127.0.0.1}]
"""


def measure(runs: int) -> Report:
    """Append a day in a process of its own, bring it to the lake at every beat, ask for a year."""
    report = Report("landing", "a Luxtronik's day in the landing and in the lake")
    answers = [in_child("landing:day").answer for _ in range(max(1, min(runs, 3)))]

    def line(what: str, key: str, unit: str, at_most: float | None = None, note: str = "") -> None:
        report.lines.append(of_runs(what, [answer[key] for answer in answers], unit, at_most=at_most, note=note))

    line("append of a poll, median", "append_ms", "ms", 1.0, "one durable transaction each")
    line("append of a poll, p99", "append_p99_ms", "ms")
    line("landing: kept of a day", "kept_mb", "MB", 1.0)
    line("landing: handed to the disk in a day", "written_mb", "MB", note="log and checkpoints; a page is 4 kB")
    line("lake: partition of the day", "lake_kb", "kB", 75.0)
    line("lake: written in a day at a beat of 10 min", "beats_mb", "MB", note="144 times the day so far")
    line("a beat at the end of the day", "beat_s", "s")
    line("the day brought at once", "bring_s", "s")
    line("one temperature of a year by SQL", "sql_ms", "ms", 100.0, "365 partitions, the catalogue's view")
    changes = answers[0]["changes"]
    report.notes.append(
        f"{POLLS} polls of {answers[0]['points']} points, {changes} of {POLLS * answers[0]['points']} values changed "
        f"({changes / POLLS:.1f} a poll)."
    )
    report.lines.append(Line("changed values", float(changes), "a day"))
    return report


def polls() -> Iterator[Any]:
    """The day's polls, as the collector hands them to the landing."""
    from hp_pipeline.landing.store import Attempt
    from hp_pipeline.simulation.devices.luxtronik import LuxtronikDevice
    from hp_pipeline.simulation.devices.world import House
    from hp_pipeline.simulation.house import simulate
    from hp_pipeline.simulation.parameters import DAIKIN_ALTHERMA
    from hp_pipeline.simulation.weather import simulate_weather
    from hp_pipeline.sources.live import Outcome, Polled, Reading

    settling = timedelta(hours=6)
    weather = simulate_weather(START - settling, START + timedelta(days=1, hours=1), step_s=10, seed=3)
    device = LuxtronikDevice(House(simulate(DAIKIN_ALTHERMA, weather, 3, settling=settling)))
    groups = ("parameter", "calculation", "visibility")
    names = [[f"{group}/{index}" for index in range(count)] for group, count in zip(groups, device.counts, strict=True)]
    for number in range(POLLS):
        time_ = START + number * EVERY
        readings = [
            Reading(name, float(value))
            for group, values in zip(names, device.values(time_), strict=True)
            for name, value in zip(group, values, strict=True)
        ]
        took = timedelta(seconds=0.1)
        yield Attempt(SOURCE, time_, took, Outcome.ok, Polled(readings), due=time_, time=time_)


def day() -> dict[str, float]:
    """The figures of one day."""
    import duckdb

    from hp_pipeline.assets.landed import bring
    from hp_pipeline.assets.workspace import Workspace
    from hp_pipeline.landing.store import Landing
    from hp_pipeline.settings import load_settings

    folder = Path(tempfile.mkdtemp(prefix="hp_bench_"))
    try:
        (folder / "hp.yaml").write_text(SETTINGS, encoding="utf-8")
        settings = load_settings(folder / "hp.yaml")
        workspace, at_once = Workspace(settings, folder / "data"), Workspace(settings, folder / "at_once")
        attempts = list(polls())
        took = []
        with Landing(workspace.data) as landing:
            before = _written()
            for attempt in attempts:
                began = time.perf_counter()
                landing.record([attempt])
                took.append(time.perf_counter() - began)
            written = _written() - before
            changes = sum(poll.changed for poll in landing.polls(SOURCE))
            landing.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        kept = workspace.data.joinpath("landing.sqlite").stat().st_size
        at_once.data.mkdir(parents=True)
        shutil.copy(workspace.data / "landing.sqlite", at_once.data / "landing.sqlite")
        began = time.perf_counter()
        bring(at_once, SOURCE)
        bring_s = time.perf_counter() - began
        lake_bytes = at_once.lake.path(f"readings/{SOURCE}", "2025-01-15").stat().st_size
        written_by_beats, beat_s = _beats(folder, settings, attempts)
        return {
            "append_ms": 1000 * sorted(took)[len(took) // 2],
            "append_p99_ms": 1000 * sorted(took)[int(len(took) * 0.99)],
            "kept_mb": kept / 1e6,
            "written_mb": written / 1e6,
            "lake_kb": lake_bytes / 1e3,
            "beats_mb": written_by_beats / 1e6,
            "beat_s": beat_s,
            "bring_s": bring_s,
            "sql_ms": 1000 * _year_by_sql(at_once, duckdb),
            "changes": changes,
            "points": len(attempts[0].polled.readings),
        }
    finally:
        shutil.rmtree(folder)


def _written() -> int:
    """Bytes that this process has handed to the disk."""
    for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
        if line.startswith("wchar"):
            return int(line.split()[1])
    return 0


def _beats(folder: Path, settings: Any, attempts: list[Any]) -> tuple[int, float]:
    """Bytes of partitions written when the day is brought every ten minutes, and how long the last time took."""
    from hp_pipeline.assets.landed import bring
    from hp_pipeline.assets.workspace import Workspace
    from hp_pipeline.landing.store import Landing

    workspace = Workspace(settings, folder / "beats")
    total, took = 0, 0.0
    with Landing(workspace.data) as landing:
        for begin in range(0, POLLS, BEAT):
            landing.record(attempts[begin : begin + BEAT])
            began = time.perf_counter()
            changed = bring(workspace, SOURCE).changed
            took = time.perf_counter() - began
            total += sum(workspace.lake.path(f"readings/{SOURCE}", key).stat().st_size for key in changed)
    return total, took


def _year_by_sql(workspace: Any, duckdb: Any) -> float:
    """Seconds for all changes of one temperature over 365 days as a table; the best of five, as by an open session."""
    first = workspace.lake.path(f"readings/{SOURCE}", "2025-01-15")
    for number in range(1, 365):
        path = workspace.lake.path(f"readings/{SOURCE}", f"{START + number * timedelta(days=1):%Y-%m-%d}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(first)
    workspace.publish()
    query = f"SELECT time, value FROM readings WHERE source = '{SOURCE}' AND point = 'calculation/10'"
    best = float("inf")
    with duckdb.connect(str(workspace.database), read_only=True) as connection:
        for _ in range(5):
            began = time.perf_counter()
            rows = connection.sql(query).to_arrow_table().num_rows
            best = min(best, time.perf_counter() - began)
    assert rows > 365 * 100
    return best
