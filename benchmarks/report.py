"""What a benchmark found: lines of figures with their targets, as a table, as JSON and as Markdown."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

RESULTS: Final = Path(__file__).resolve().parent / "results"
CACHE: Final = RESULTS / "cache"
"""What is built once and measured often, by the parameters it was built with."""

console = Console(soft_wrap=False)


@dataclass(frozen=True)
class Line:
    """One figure.

    Attributes:
        what: what was measured.
        value: the figure (of several runs their median).
        unit: its unit.
        at_most, at_least: the target, if there is one.
        low, high: least and greatest of several runs.
        note: what one must know to read it.
    """

    what: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None without one. A figure that is not a number meets none."""
        if self.at_most is None and self.at_least is None:
            return None
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)

    @property
    def target(self) -> str:
        """The target in words."""
        parts = [] if self.at_least is None else [f"≥ {self.at_least:g}"]
        return " ".join([*parts, *([] if self.at_most is None else [f"≤ {self.at_most:g}"])])

    @property
    def verdict(self) -> str:
        """met, missed, or nothing."""
        return {True: "met", False: "MISSED", None: ""}[self.is_met]


@dataclass
class Report:
    """What one benchmark found.

    Attributes:
        name: name of the benchmark.
        title: what it measures, in a sentence.
        lines: the figures.
        notes: sentences that belong to them.
    """

    name: str
    title: str
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def show(self) -> None:
        """Print it as a table."""
        table = Table(title=f"{self.name}: {self.title}", title_justify="left")
        for heading in ("what", "median", "min … max", "unit", "target", "", "note"):
            table.add_column(heading, justify="right" if heading in {"median", "target"} else "left")
        for line in self.lines:
            spread = "" if line.low is None or line.high is None else f"{shown(line.low)} … {shown(line.high)}"
            table.add_row(line.what, shown(line.value), spread, line.unit, line.target, line.verdict, line.note)
        console.print(table)
        for note in self.notes:
            console.print(f"  {note}", highlight=False)

    def save(self) -> Path:
        """Write it as JSON, beside the machine it was measured on; the newest result of a benchmark is kept."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        content = {
            "benchmark": self.name,
            "title": self.title,
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "lines": [{**asdict(line), "met": line.is_met} for line in self.lines],
            "notes": self.notes,
        }
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    def markdown(self) -> str:
        """It as a Markdown table."""
        rows = ["| what | value | unit | target | |", "|---|--:|---|--:|---|"]
        rows += [
            f"| {line.what}{f' ({line.note})' if line.note else ''} | {shown(line.value)} | {line.unit} "
            f"| {line.target} | {line.verdict} |"
            for line in self.lines
        ]
        return "\n".join([*rows, "", *self.notes])


def shown(value: float) -> str:
    """A figure as people read it."""
    if math.isnan(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def of_runs(
    what: str, values: Sequence[float], unit: str, *, at_most: float | None = None, note: str = "", digits: int = 4
) -> Line:
    """The line of a figure that was measured several times."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    several = len(ordered) > 1
    return Line(
        what,
        round(median, digits),
        unit,
        at_most=at_most,
        low=round(ordered[0], digits) if several else None,
        high=round(ordered[-1], digits) if several else None,
        note=note,
    )


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
    }
