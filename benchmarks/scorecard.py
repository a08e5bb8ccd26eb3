"""The score card: every goal beside what was seen last, as the page `docs/scorecard.md`.

The goals are those that the project has set itself. What was seen is in `benchmarks/seen.json`, of each goal the newest
figure with the day and the machine: a benchmark that is run alone changes its own rows. A goal that nothing was seen of
says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks import fault_days
from benchmarks.report import Line, Report, machine, shown

SEEN: Final = Path(__file__).resolve().parent / "seen.json"
PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "scorecard.md"


@dataclass(frozen=True)
class Goal:
    """One goal, and the line of a benchmark that tells how near it is.

    Attributes:
        what: in words, for people.
        unit: of the figure.
        benchmark, line: where the figure is from: a benchmark's name and `what` of its line. With `*` behind, all its
            lines that begin so and have a gate of their own: the figure is the share of them that are met.
        at_most, at_least: the goal.
    """

    what: str
    unit: str
    benchmark: str
    line: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def key(self) -> str:
        """Under which it is remembered."""
        return f"{self.benchmark}: {self.line}"

    def seen_in(self, lines: Sequence[Line]) -> float | None:
        """The figure that lines of its benchmark tell; None when they do not."""
        if self.line.endswith("*"):
            gates = [line.is_met for line in lines if line.what.startswith(self.line[:-1]) and line.is_met is not None]
            return round(100 * sum(gates) / len(gates), 1) if gates else None
        return next((line.value for line in lines if line.what == self.line), None)

    def with_value(self, value: float) -> Line:
        """A figure beside the goal."""
        return Line(self.what, value, self.unit, at_most=self.at_most, at_least=self.at_least)


def _found(events: str, line: str, interval: int, at_least: float) -> Goal:
    return Goal(f"{events}, every {interval} s", "", "accuracy", f"{interval} s · {line}", at_least=at_least)


def _error(what: str, line: str, interval: int, at_most: float) -> Goal:
    return Goal(f"{what}, every {interval} s", "%", "accuracy", f"{interval} s · {line}", at_most=at_most)


def _metered(interval: int) -> tuple[Goal, ...]:
    """Those of figures that a meter's counter of electricity makes better."""
    at = f"{interval} s, a meter's counter"
    return tuple(
        Goal(f"COP of a {words} session, 95 % within, every {at}", "%", "accuracy", f"{at} · {line}", at_most=at_most)
        for words, line, at_most in (
            ("heating", "heating session: COP, 95 %", 2),
            ("hot water", "dhw session: COP, 95 %", 3),
        )
    )


def _accuracy(interval: int) -> tuple[Goal, ...]:
    return (
        _found("Heating sessions found, F1", "heating sessions: F1", interval, 0.995),
        _found("Hot water sessions found, F1", "dhw sessions: F1", interval, 0.995),
        _found("Compressor cycles found, F1", "cycles: F1", interval, 0.995),
        _found("Defrosts found", "defrosts: found", interval, 0.99),
        _error("Heat of a heating session, 95 % of them within", "heating session: heat, 95 %", interval, 1),
        _error("COP of a heating session, 95 % within", "heating session: COP, 95 %", interval, 2),
        _error("Heat of a hot water session, 95 % within", "dhw session: heat, 95 %", interval, 2),
        _error("COP of a hot water session, 95 % within", "dhw session: COP, 95 %", interval, 3),
        _error("Heat of a day, 95 % within", "day: heat, 95 %", interval, 0.5),
        _error("Electricity of a day, worst", "day: electricity, worst", interval, 0.05),
        _error("JAZ", "all of it: JAZ", interval, 0.1),
    )


GOALS: Final[Mapping[str, Sequence[Goal]]] = {
    "Accuracy against the truth of the simulation": (
        *_accuracy(30),
        *_metered(30),
        *_accuracy(60),
        *_metered(60),
        Goal("JAZ of 60 days", "%", "accuracy", "60 days · JAZ", at_most=0.1),
        *(
            Goal(
                f"Solar heating, a week, every {interval} s: gates met",
                "%",
                "accuracy",
                f"solar week, every {interval} s · *",
                at_least=100,
            )
            for interval in (60, 300)
        ),
    ),
    "Bands around the figures of a day": tuple(
        Goal(f"{figure}: days held by the band of 95 %", "%", "calibration", f"{figure}: days held at 95%", at_least=95)
        for figure in ("electricity", "heat", "COP")
    ),
    "Accuracy of the whole way: device, collector, landing, lake, figures": tuple(
        Goal(f"{way}: gates met", "%", "whole_way", f"{name}*", at_least=100)
        for way, name in (
            ("Luxtronik, every 10 s to 5 min, and a month", "Luxtronik, "),
            ("Stiebel ISG with a Shelly, every 10 s to 5 min, and a month", "Stiebel ISG + Shelly, "),
            ("Stiebel ISG with its own electricity, every 60 s", "Stiebel ISG alone, "),
            ("Viessmann, every 5 min, with a Shelly, and a month", "Viessmann + Shelly, "),
            ("ESPAltherma by MQTT with a Shelly, every 10 s to 5 min", "ESPAltherma by MQTT + Shelly, "),
            ("HeishaMon by MQTT with a Shelly, every 10 s to 5 min", "HeishaMon by MQTT + Shelly, "),
            ("ESPAltherma from Home Assistant's archive, every 10 s to 5 min", "ESPAltherma, Home Assistant's archive"),
        )
    ),
    "A fault a day, protocol by protocol": tuple(
        Goal(f"{protocol}: gates met", "%", "whole_way", f"Faults of {protocol} · *", at_least=100)
        for protocol in fault_days.FORTNIGHTS
    ),
    "Speed": (
        Goal("A year at 30 s, from readings to all tables", "s", "year", "all tables", at_most=3),
        Goal("Memory for it", "MB", "year", "peak memory", at_most=1000),
        Goal(
            "A new day: cost after ten years ÷ after a week", "", "one_day", "one day: ten years ÷ a week", at_most=1.1
        ),
        Goal(
            "Ten new minutes: cost after ten years ÷ after a week",
            "",
            "one_day",
            "ten minutes: ten years ÷ a week",
            at_most=1.1,
        ),
        Goal("One point of a year's readings by SQL", "ms", "landing", "one temperature of a year by SQL", at_most=100),
        Goal(
            "One temperature of a year of frames by SQL",
            "ms",
            "year",
            "one temperature of all frames by SQL",
            at_most=100,
        ),
        Goal("COP of every day of a year by SQL", "ms", "year", "the COP of every day by SQL", at_most=100),
    ),
    "Collector and landing": (
        Goal("Import of the collector", "s", "collector", "import", at_most=0.5),
        Goal("Its memory", "MB", "collector", "memory", at_most=60),
        Goal("Its processor time, a street polled every 10 s", "% of a core", "collector", "processor", at_most=1),
        Goal("From SIGTERM to its end", "s", "collector", "SIGTERM to end", at_most=2),
        Goal(
            "Lateness of healthy polls beside a dead and a stalled device, p99",
            "ms",
            "collector",
            "lateness of healthy polls, p99",
            at_most=200,
        ),
        Goal("Append of a Luxtronik's poll, median", "ms", "landing", "append of a poll, median", at_most=1),
        Goal("Kept of its day in the landing", "MB", "landing", "landing: kept of a day", at_most=1),
        Goal("Its day in the lake", "kB", "landing", "lake: partition of the day", at_most=75),
        Goal(
            "Requests for the 29 fast registers of a Stiebel Eltron whose ISG refuses holes",
            "",
            "modbus",
            "requests of a fast poll, holes illegal",
            at_most=6,
        ),
        Goal(
            "Requests, whose ISG answers them",
            "",
            "modbus",
            "requests of a fast poll, holes padded",
            at_most=6,
        ),
        Goal("Polls lost, doubled or torn by kill -9, 200 times: failures", "", "kills", "failures", at_most=0),
        Goal("Written to the disk in a day by all processes", "MB", "written_per_day", "all of it", at_most=500),
    ),
}
"""By heading."""

_HEAD: Final = """\
# Score card

Written by `make bench`: each goal beside what was seen last. One benchmark alone (`make bench ARGS=year`) renews its
own rows. More of [accuracy](accuracy.md): why some goals are missed, and all figures.
"""


def remember(reports: Sequence[Report]) -> dict[str, Any]:
    """Keep the figures of these reports that belong to goals; all others stay. Returns what was seen of every goal."""
    seen: dict[str, Any] = json.loads(SEEN.read_text(encoding="utf-8")) if SEEN.exists() else {}
    lines = {report.name: report.lines for report in reports}
    told = {"measured": datetime.now(UTC).date().isoformat(), "machine": _words(machine())}
    for goal in goals():
        if goal.benchmark not in lines:
            continue
        value = goal.seen_in(lines[goal.benchmark])
        if value is None:
            raise LookupError(f"the benchmark {goal.benchmark} has no line {goal.line!r}, which a goal is measured by")
        seen[goal.key] = {"value": value, **told}
    known = {goal.key for goal in goals()}
    seen = {key: seen[key] for key in sorted(seen) if key in known}
    SEEN.write_text(json.dumps(seen, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return seen


def page(seen: Mapping[str, Any]) -> str:
    """The page, from what was seen of each goal."""
    parts = [_HEAD]
    for heading, group in GOALS.items():
        rows = [
            "| what | goal | seen | | when, on what |",
            "|---|--:|--:|---|---|",
            *(_row(goal, seen) for goal in group),
        ]
        parts.append(f"## {heading}\n\n" + "\n".join(rows) + "\n")
    lines = [goal.with_value(seen[goal.key]["value"]) for goal in goals() if goal.key in seen]
    met = sum(line.is_met is True for line in lines)
    parts.insert(1, f"Of {len(goals())} goals {met} are met, {len(lines) - met} missed, "
                    f"{len(goals()) - len(lines)} not measured.\n")  # fmt: skip
    return "\n".join(parts)


def write(reports: Sequence[Report]) -> Path:
    """Keep what was seen, and write the page."""
    PAGE.write_text(page(remember(reports)), encoding="utf-8")
    return PAGE


def goals() -> list[Goal]:
    """All goals, in the order of the page."""
    return [goal for group in GOALS.values() for goal in group]


def _row(goal: Goal, seen: Mapping[str, Any]) -> str:
    last = seen.get(goal.key)
    if last is None:
        target = goal.with_value(0.0).target
        return f"| {goal.what} | {_united(target, goal.unit)} | – | | not measured on this machine |"
    line = goal.with_value(last["value"])
    where = ", ".join(told for told in (last["measured"], last["machine"]) if told)
    return (
        f"| {goal.what} | {_united(line.target, goal.unit)} | {_united(shown(line.value), goal.unit)} "
        f"| {line.verdict} | {where} |"
    )


def _united(number: str, unit: str) -> str:
    return f"{number} {unit}".strip()


def _words(found: Mapping[str, Any]) -> str:
    load = found.get("load")
    busy = f", load {load[0]:g}" if load else ""
    return f"{found['processors']} processors, {found['architecture']}, Python {found['python']}{busy}"
