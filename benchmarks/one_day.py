"""What a new day, and ten new minutes, cost after a week and after ten years.

Target: the same (ratio ≤ 1.1): the cost of new readings must not depend on how much history there is. Measured as a
run of the pipeline does it: the new readings are stored, then every stage is brought up to date over the days that
they touch. Days follow one another on one data folder; so do the ten minutes on the day that is going on. The check
of everything that is stored (the nightly sweep, `hp-pipeline materialize`) must look at every partition and is given
apart.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benchmarks.child import in_child
from benchmarks.history import HISTORY_END, YEAR_DAYS, YEAR_START, linked_copy, past, year
from benchmarks.report import Line, Report, of_runs

WEEK = 7
TWO_YEARS = 731
TEN_YEARS = 3652
RATIO = 1.1
BATCH = timedelta(minutes=10)
_NOON = timedelta(hours=12)


def measure(runs: int) -> Report:
    """Update both houses by as many days and batches as runs are asked for, after one that warms up."""
    report = Report("one_day", "update after one new day, and after ten minutes, by length of the history")
    # Alternating, so that whatever else the machine does falls on both.
    rounds = max(2, -(-runs // 3))
    pasts = {days: past(days) for days in (WEEK, TWO_YEARS, TEN_YEARS)}
    took: dict[int, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for days, folder in pasts.items():
            copy = linked_copy(folder, f"one_day_{days}")
            answer = in_child("one_day:update", str(copy), str(year()), max(3, runs)).answer
            for name, values in answer.items():
                took.setdefault(days, {}).setdefault(name, []).extend(values)
    words = {WEEK: "after a week", TWO_YEARS: "after two years", TEN_YEARS: "after ten years"}
    what = {"day": "one day", "batch": "ten minutes", "nothing": "nothing new", "sweep": "check of everything"}
    for name, label in what.items():
        for days, when in words.items():
            report.lines.append(of_runs(f"{label}, {when}", took[days][f"{name}_cpu"], "s of CPU"))
            report.lines.append(of_runs(f"{label}, {when}", took[days][f"{name}_wall"], "s"))
        if name in {"day", "batch"}:
            for days, short in {WEEK: "a week", TWO_YEARS: "two years"}.items():
                ratio = min(took[TEN_YEARS][f"{name}_cpu"]) / min(took[days][f"{name}_cpu"])
                report.lines.append(
                    Line(f"{label}: ten years ÷ {short}", round(ratio, 3), "", at_most=RATIO, note="least CPU of each")
                )
    report.notes.append(
        f"{rounds} rounds of {max(3, runs)}, taken in turns; {TEN_YEARS} days are 11 tables of each day."
    )
    return report


def update(folder: str, year_folder: str, runs: int) -> dict[str, list[float]]:
    """Add days and then batches of ten minutes; seconds of each, the first (which loads code) left out."""
    import polars as pl

    from benchmarks.house import SOURCE, bring_up_to_date, open_house, take_in

    source = open_house(Path(year_folder))
    took: dict[str, list[float]] = {}
    day = HISTORY_END

    def timed(name: str, readings: pl.DataFrame | None, first: date | None, last: date | None) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        workspace = open_house(Path(folder), today=lambda: day)
        if readings is not None:
            take_in(workspace, readings)
        bring_up_to_date(workspace, first, last)
        if name:
            took.setdefault(f"{name}_wall", []).append(time.perf_counter() - wall)
            took.setdefault(f"{name}_cpu", []).append(time.process_time() - cpu)

    def readings_of(day: date) -> pl.DataFrame:
        true_day = YEAR_START.date() + timedelta(days=(day - YEAR_START.date()).days % YEAR_DAYS)
        rows = source.lake.read(f"readings/{SOURCE}", [true_day.isoformat()])
        assert rows is not None
        return rows.select("point", pl.col("time") + (day - true_day), "value", "text")

    for number in range(runs + 1):
        timed("day" if number else "", readings_of(day), day, day)
        day += timedelta(days=1)
    live = readings_of(day)
    now = datetime(day.year, day.month, day.day, tzinfo=UTC) + _NOON
    timed("", live.filter(pl.col("time") < now), day, day)
    for _ in range(runs):
        batch = live.filter(pl.col("time").is_between(now, now + BATCH, closed="left"))
        timed("batch", batch, day, day)
        now += BATCH
        timed("nothing", None, day, day)
    timed("sweep", None, None, None)
    return took
