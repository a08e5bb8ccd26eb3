"""How well the whole way finds what happened: device server → client → collector → landing → lake → figures.

Each source is asked at several paces (`walking`), and what the tables say is compared with the truth. What a device can
tell is what it is measured by: counters of heat do not turn back while a defrost takes heat (gross), some count the
compressor's heat alone, and some meters do not see the backup heater. Targets: the gates of each source
(`simulation.scoring`) at the paces that they are made for and finer ones; at coarser ones what sampling allows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from benchmarks import fault_days
from benchmarks.report import Line, Report, shown
from benchmarks.walking import (
    ARCHIVE,
    BACKUP,
    ELECTRICITY,
    ESPALTHERMA,
    HEAT,
    HEISHAMON,
    ISG,
    ISG_ALONE,
    ISG_PADDED,
    LUXTRONIK,
    MINUTE,
    NET,
    VIESSMANN,
    Walked,
    Way,
    walk,
)
from hp_pipeline.simulation.house import Trajectory, simulate
from hp_pipeline.simulation.scenarios import SCENARIOS, SETTLING
from hp_pipeline.simulation.scoring import EnergyScore, EventScore, at_pace, score_events, score_periods
from hp_pipeline.simulation.truth import truth_energy
from hp_pipeline.simulation.weather import FloatArray, simulate_weather

ENOUGH: Final = 8
"""From so many sessions on the mean square of their errors and their 95th percentile say something."""
TRIED: Final = ("deep_frost", "humid_defrost", "april_cycling")
PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "accuracy_whole_way.md"
SAMPLED_DAY_PERCENT: Final = 5.0
"""How far off 95 of 100 days are whose heat is reckoned from flow and spread every 5 min: besides the edges of the
cycles, what modulates and recovers from defrosts in between."""
LONG: Final = 30
"""From so many days on a run is there for its sums."""
SECONDS_10, SECONDS_30, MINUTES_5 = timedelta(seconds=10), timedelta(seconds=30), timedelta(minutes=5)


@dataclass(frozen=True)
class Cell:
    """One way at one pace.

    Attributes:
        way: polled at the pace.
        pace: in words.
        scenarios: golden scenarios whose first days it lives.
        days: whole local days of each.
    """

    way: Way
    pace: str
    scenarios: Sequence[str] = TRIED
    days: int = 1

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.way.name}, {self.pace}"

    def walk(self) -> list[Walked]:
        """Live it."""
        return [walk(self.way, scenario_run(self.way, name, self.days)) for name in self.scenarios]


def cell(way: Way, pace: timedelta, scenarios: Sequence[str] = TRIED, days: int = 1) -> Cell:
    """A way whose sources are all asked at one pace."""
    seconds = pace.total_seconds()
    words = f"{seconds / 60:g} min" if seconds > 60 else f"{seconds:g} s"
    return Cell(way.polled_every(pace), words, scenarios, days)


_HUMID: Final = ("humid_defrost",)
CELLS: Final = (
    cell(LUXTRONIK, SECONDS_10, _HUMID),
    cell(LUXTRONIK, SECONDS_30, days=2),
    cell(LUXTRONIK, MINUTE, _HUMID),
    cell(LUXTRONIK, MINUTES_5),
    cell(ISG, SECONDS_10, _HUMID),
    cell(ISG, SECONDS_30, _HUMID),
    cell(ISG, MINUTE),
    cell(ISG, MINUTES_5),
    cell(ISG_PADDED, MINUTE, ("deep_frost",)),
    cell(ISG_ALONE, MINUTE, ("legionella",), 2),
    Cell(VIESSMANN, "5 min, Shelly 60 s", days=2),
    Cell(VIESSMANN.polled_every(MINUTES_5), "5 min, Shelly 5 min"),
    cell(ESPALTHERMA, SECONDS_10, _HUMID),
    cell(ESPALTHERMA, SECONDS_30, _HUMID),
    cell(ESPALTHERMA, MINUTE),
    cell(ESPALTHERMA, MINUTES_5),
    cell(HEISHAMON, SECONDS_10, _HUMID),
    cell(HEISHAMON, SECONDS_30, _HUMID),
    cell(HEISHAMON, MINUTE, _HUMID),
    cell(HEISHAMON, MINUTES_5),
    cell(ARCHIVE, SECONDS_10),
    cell(ARCHIVE, SECONDS_30),
    cell(ARCHIVE, MINUTE, days=5),
    cell(ARCHIVE, MINUTES_5, days=4),
)
"""The matrix. A Viessmann's quota allows 5 min at best; what MQTT and an archive tell is pushed at the pace."""
MONTHS: Final = tuple(cell(way, MINUTES_5, ("april_cycling",), LONG) for way in (LUXTRONIK, ISG, VIESSMANN))
"""A month of the sources that count: its sums do not depend on the pace. (`accuracy` has 60 days of the archive.)"""


def scenario_run(way: Way, name: str, days: int) -> Trajectory:
    """Whole local days of a golden scenario in the house of a way, with some hours around them.

    The truth has steps of 2 s: edges must lie between samples as real ones do, and a poll at a fixed second would see
    steps of 10 s with the same few delays. Of a month only sums are looked at.
    """
    scenario = SCENARIOS[name]
    start = scenario.start - timedelta(hours=2)
    stop = start + timedelta(days=days, hours=3)
    step_s = 2 if days < LONG else 10
    weather = simulate_weather(start - SETTLING, stop, step_s=step_s, seed=scenario.seed, climate=scenario.climate)
    return simulate(way.parameters, weather, scenario.seed, settling=SETTLING)


def score(walked: Sequence[Walked], name: str) -> EventScore:
    """Score of a kind of events over runs of one way, pooled."""
    way, pairs = walked[0].way, [each.events(name) for each in walked]
    true = pl.concat([true for true, _ in pairs])
    return score_events(
        true,
        pl.concat([found for _, found in pairs]),
        collar=max(way.goals.collar, way.slowest),
        gaps=_unseen(walked) if name == "cycles" else None,
        shortest=way.slowest,
    )


def _unseen(walked: Sequence[Walked]) -> pl.DataFrame | None:
    """Cycles so short that no sample need have fallen into them: those beside them cannot be told apart."""
    shorter = pl.concat([each.events("cycles")[0] for each in walked]).filter(
        pl.col("end") - pl.col("start") < walked[0].way.slowest
    )
    return shorter.select("start", "end") if shorter.height else None


def score_days(walked: Sequence[Walked], column: str) -> EnergyScore:
    """Errors of an energy per whole local day over runs of one way, pooled."""
    pairs = [each.periods("daily") for each in walked]
    return score_periods(
        pl.concat([true.select("period", column) for true, _ in pairs]),
        pl.concat([found.select("period", column) for _, found in pairs]),
        column,
    )


def lines(walked: Sequence[Walked], name: str | None = None) -> list[Line]:
    """What is found over runs of one way, with its gates."""
    way = walked[0].way
    found = [*_sum_lines(walked)]
    if score_days(walked, HEAT).pairs < LONG - 1:
        found = [*_event_lines(walked), *_session_lines(walked), *found]
    return [replace(line, what=f"{name or way.name} · {line.what}") for line in found]


def _is_own(way: Way) -> bool:
    return way.slowest <= way.own


def _event_lines(walked: Sequence[Walked]) -> Iterator[Line]:
    way = walked[0].way
    goals = way.goals if _is_own(way) else at_pace(way.goals, way.slowest.total_seconds())
    for name, words in (("heating", "heating sessions"), ("dhw", "hot water sessions"), ("cycles", "cycles")):
        events = score(walked, name)
        if not events.true:
            continue
        excused = f", {events.excused} too short to be seen or beside one" if events.excused else ""
        note = f"{events.matched} of {events.true} true, {events.found} found{excused}"
        gate = None if name in way.untold else goals.event_f1
        yield Line(f"{words}: F1", round(events.f1, 4), "", at_least=gate, note=note)
        if name != "cycles":
            continue
        gated = name not in way.untold
        bias_s = goals.edge_bias_s
        # Of few edges the mean is off by chance: each lies evenly within ± dt/2.
        bias_s = max(bias_s, 3 * way.slowest.total_seconds() / math.sqrt(12 * max(events.matched, 1)))
        yield from _edge_lines("edges", events, goals.edge_mae_s, bias_s, gated=gated)
    defrosts = score(walked, "defrosts")
    if defrosts.true:
        seen = _recall(walked)
        yield Line(
            "defrosts: found",
            round(defrosts.matched / defrosts.true, 4),
            "",
            at_least=goals.defrost_recall or seen,
            note=f"{defrosts.matched} of {defrosts.true}",
        )
        yield Line("defrosts: true", round(defrosts.precision, 4), "", at_least=goals.defrost_precision)


def _edge_lines(words: str, events: EventScore, mae_s: float, bias_s: float, *, gated: bool) -> Iterator[Line]:
    mae = max(events.start_mae_s, events.end_mae_s)
    bias = max(abs(events.start_bias_s), abs(events.end_bias_s))
    yield Line(f"{words}: mean error", round(mae, 1), "s", at_most=mae_s if gated else None)
    yield Line(f"{words}: bias", round(bias, 1), "s", at_most=round(bias_s, 1) if gated else None)


def _recall(walked: Sequence[Walked]) -> float:
    """The share of the defrosts that a sample falls into, less three standard deviations of chance."""
    true = pl.concat([each.events("defrosts")[0] for each in walked])
    durations = (true["end"] - true["start"]).dt.total_seconds().to_numpy()
    share = walked[0].way.budget.recall(durations)
    return round(max(0.0, share - 3 * math.sqrt(share * (1 - share) / max(len(durations), 1))), 3)


def _session_lines(walked: Sequence[Walked]) -> Iterator[Line]:
    way = walked[0].way
    goals = way.goals if _is_own(way) else at_pace(way.goals, way.slowest.total_seconds())
    budget = way.budget
    for name, heat, cop in (
        ("heating", goals.heating_heat_percent, goals.heating_cop_percent),
        ("dhw", goals.dhw_heat_percent, goals.dhw_cop_percent),
    ):
        events = score(walked, name)
        if not events.thermal.pairs or name in way.untold:
            continue
        yield Line(
            f"{name} session: heat, worst",
            round(events.thermal.worst_kwh, 3),
            "kWh",
            at_most=round(budget.thermal_bound_kwh, 3),
            note="r + 2 P dt",
        )
        yield Line(
            f"{name} session: heat, 95 %",
            round(events.thermal.p95_percent, 2),
            "%",
            at_most=_gate(heat, events.thermal.pairs),
        )
        yield Line(f"{name} session: electricity, 95 %", round(events.electrical.p95_percent, 2), "%")
        yield Line(
            f"{name} session: COP, 95 %", round(events.cop.p95_percent, 2), "%", at_most=_gate(cop, events.cop.pairs)
        )
    both = [score(walked, name).thermal for name in ("heating", "dhw") if name not in way.untold]
    sessions = sum(each.pairs for each in both)
    squares = sum(each.pairs * each.rms_kwh**2 for each in both if each.pairs)
    yield Line(
        "session: heat, rms",
        round(math.sqrt(squares / sessions), 4) if sessions else math.nan,
        "kWh",
        at_most=_rms(way) if sessions >= ENOUGH else None,
        note=f"{sessions} sessions",
    )


def _rms(way: Way) -> float | None:
    """The most that the heat of sessions may be off in the mean square, where a counter gives it."""
    if not _is_own(way):
        return round(1.2 * way.budget.thermal_sigma_kwh(), 3) if way.budget.thermal_step_kwh else None
    return {"luxtronik": round(1.2 * 0.1 / math.sqrt(6), 3), "modbus": 0.5}.get(list(way.devices.values())[-1].kind)


def _sum_lines(walked: Sequence[Walked]) -> Iterator[Line]:
    way = walked[0].way
    goals, budget = way.goals, way.budget
    days, power = score_days(walked, HEAT), score_days(walked, ELECTRICITY)
    if not days.pairs:
        return
    (true_heat, heat_kwh), (true_power, used) = (
        tuple(map(sum, zip(*(each.total(column) for each in walked), strict=True))) for column in (HEAT, ELECTRICITY)
    )
    by_day = goals.day_heat_percent if _is_own(way) else max(goals.day_heat_percent, _day_percent(walked))
    yield Line(
        "day: heat, 95 %",
        round(days.p95_percent, 3),
        "%",
        at_most=round(by_day, 2),
        note=f"{days.pairs} days",
    )
    step = budget.electrical_step_kwh
    metered = next(iter(way.devices.values())).every
    edge = 0.0 if metered <= MINUTE else _edge_kwh(true_power, power.pairs, metered)
    least = min(each.least(ELECTRICITY) for each in walked)
    words = " + 1.96 · P · dt / √6"
    yield Line(
        "day: electricity, worst",
        round(power.worst_percent, 4),
        "%",
        at_most=round(goals.day_electricity_percent + 100 * (step + edge) / least, 3),
        note=f"{goals.day_electricity_percent:g} % and the counter's step" + (words if edge else ""),
    )
    # A counter is read at the begin and at the end of each run; a month is longer than these together. What is
    # integrated has an edge for each cycle, which do not cancel as well in few days as in a month.
    whole = 100 * budget.thermal_step_kwh * len(walked) / true_heat
    note = f"{goals.month_heat_percent:g} % and the counter's step"
    if not budget.thermal_step_kwh:
        whole, note = _sampling_percent(walked), f"{goals.month_heat_percent:g} % and the edges of the cycles"
    elif not _is_own(way):
        # There are two counters, of heating and of hot water, and both are read so much from midnight.
        whole = 2 * whole + 100 * _edge_kwh(true_heat, days.pairs, way.slowest) * len(walked) / true_heat
        note = f"{goals.month_heat_percent:g} % and the counters' steps{words}"
    most = round(goals.month_heat_percent + whole, 3)
    electricity = 0.01 + 100 * (step + edge) * len(walked) / true_power
    yield Line("all of it: heat", round(abs(100 * (heat_kwh / true_heat - 1)), 3), "%", at_most=most, note=note)
    yield Line(
        "all of it: electricity",
        round(abs(100 * (used / true_power - 1)), 4),
        "%",
        at_most=round(electricity, 4),
        note="0.01 % and the counter's step" + (words if edge else ""),
    )
    if way.heat != HEAT:
        yield _net_line(walked, most)
    yield Line(
        "all of it: JAZ",
        round(abs(100 * (heat_kwh / used / (true_heat / true_power) - 1)), 3),
        "%",
        at_most=round(most + electricity - 0.01, 3),
        note=f"{heat_kwh / used:.3f}",
    )
    if "backup_heater" not in way.thermal:
        yield from _boundary_lines(walked)


def _net_line(walked: Sequence[Walked], counted_percent: float) -> Line:
    """Net heat: what was counted, less what flow and spread show of the defrosts."""
    true, found = (sum(column) for column in zip(*(each.net_heat() for each in walked), strict=True))
    off = np.concatenate([_sampled_defrosts(each) for each in walked])
    sampled = 100 * 1.96 * float(np.sqrt((off**2).sum())) / true
    return Line(
        "all of it: net heat",
        round(abs(100 * (found / true - 1)), 3),
        "%",
        at_most=round(counted_percent + sampled, 3),
        note=f"the gate above and 1.96 · σ of {off.size} defrosts that are sampled",
    )


def _sampled_defrosts(walked: Walked) -> FloatArray:
    """By how much chance lets the heat that each defrost took be off (σ, kWh), when what is taken at each poll is held
    until the next: over all moments at which the first of the polls may fall into it."""
    run, pace = walked.run, round(walked.way.slowest.total_seconds() / walked.run.step_s)
    edges = walked.truth.filter(kind="defrost").select(
        (pl.col(edge).dt.epoch("s") - run.start_s) // run.step_s for edge in ("start", "end")
    )
    taken = np.clip(-run.heat_kw, 0, None) * pace * run.step_s / 3600
    return np.array(
        [np.std([taken[first + late : end : pace].sum() for late in range(pace)]) for first, end in edges.iter_rows()]
    )


def _edge_kwh(kwh: float, days: int, pace: timedelta) -> float:
    """How far off a sum is (95 %) whose ends lie anywhere between two readings: 1.96 · P · dt / √6, P the mean."""
    return 1.96 * kwh / (24 * days) * (pace / timedelta(hours=1)) / math.sqrt(6)


def _day_percent(walked: Sequence[Walked]) -> float:
    """What sampling allows for 95 of 100 days: a counter read around midnight, or what the best simple estimator was
    seen to reach from flow and spread (`SAMPLED_DAY_PERCENT`)."""
    budget = walked[0].way.budget
    if budget.thermal_step_kwh:
        return 100 * 1.96 * budget.thermal_sigma_kwh() / min(each.least(HEAT) for each in walked)
    return SAMPLED_DAY_PERCENT * walked[0].way.slowest / MINUTES_5


def _sampling_percent(walked: Sequence[Walked]) -> float:
    """How far off an integral may be by chance (95 %): each cycle has an edge at both ends, P · dt / √6 (kWh)."""
    cycles = pl.concat([each.events("cycles")[0] for each in walked])
    hours = (cycles["end"] - cycles["start"]).dt.total_seconds().to_numpy() / 3600
    edges = cycles[HEAT].to_numpy() / hours * walked[0].way.slowest.total_seconds() / 3600 / math.sqrt(6)
    whole = sum(each.total(HEAT)[0] for each in walked)
    return float(100 * 1.96 * np.sqrt((edges**2).sum()) / whole) if whole else math.nan


def _boundary_lines(walked: Sequence[Walked]) -> Iterator[Line]:
    """SPF H4 where the device counts the backup heater apart: its heat and electricity belong to it."""
    true, found, weights = 0.0, 0.0, 0.0
    backup = 0.0
    for each in walked:
        truth = truth_energy(each.run, "day").filter("complete")
        heat = float((truth[each.way.heat] + truth[BACKUP]).sum())
        used = float(truth[ELECTRICITY].sum())
        days = each.tables["daily"].filter(pl.col("period").str.to_date().is_in(truth["period"].implode()))
        apart, told_heat, told_used = (
            float(days[column].fill_null(0.0).sum())
            for column in ("electrical_energy_backup_heater_kwh", HEAT, ELECTRICITY)
        )
        more = 0.0 if each.way.sees_backup else apart
        true, weights = true + heat, weights + used
        found += (told_heat + apart) / (told_used + more) * used
        backup += float(truth[BACKUP].sum())
        told = days.filter(pl.col("spf_h4").is_not_null())
        for row in told.iter_rows(named=True):
            kwh = row["electrical_energy_backup_heater_kwh"] or 0.0
            h4 = (row[NET] + kwh) / (row[ELECTRICITY] + (0.0 if each.way.sees_backup else kwh))
            if abs(row["spf_h4"] / h4 - 1) > 1e-9:
                raise AssertionError(f"SPF H4 of {row['period']} is not that of its energies")
    budget = walked[0].way.budget
    steps = 100 * (
        2 * budget.thermal_step_kwh * len(walked) / true + budget.electrical_step_kwh * len(walked) / weights
    )
    yield Line(
        "all of it: SPF H4",
        round(abs(100 * (found / true - 1)), 3),
        "%",
        at_most=round(walked[0].way.goals.month_heat_percent + steps, 3),
        note=f"with the backup heater, which is counted apart ({backup:.1f} kWh)",
    )


def _gate(percent: float, pairs: int) -> float | None:
    """The gate of a 95th percentile, where there is one: of few it would be that of the worst."""
    return None if math.isinf(percent) or pairs < ENOUGH else percent


def measure(runs: int) -> Report:
    """All cells, the months and the faults. The figures are the same in every run."""
    report = Report("whole_way", "from the wire to the figures, against the truth of the simulation")
    for each in (*CELLS, *MONTHS):
        began = time.process_time()
        name = f"{each.name}, a month" if each.days >= LONG else each.name
        report.lines += lines(each.walk(), name)
        report.notes.append(
            f"{name}: {', '.join(each.scenarios)}, {each.days} {'day' if each.days == 1 else 'days'} each, "
            f"{time.process_time() - began:.0f} s of CPU."
        )
    for protocol in fault_days.FORTNIGHTS:
        report.lines += fault_days.suffer(protocol).lines()
    return report


COLUMNS: Final[Mapping[str, Sequence[str]]] = {
    "heating F1": ("heating sessions: F1",),
    "hot water F1": ("hot water sessions: F1",),
    "cycles F1": ("cycles: F1",),
    "edges, mean error / bias, s": ("edges: mean error", "edges: bias"),
    "defrosts found / true": ("defrosts: found", "defrosts: true"),
    "heat of a session, worst, kWh (heating / hot water)": (
        "heating session: heat, worst",
        "dhw session: heat, worst",
    ),
    "day: heat, 95 %, %": ("day: heat, 95 %",),
    "day: electricity, worst, %": ("day: electricity, worst",),
    "all of it: heat / electricity / JAZ, %": ("all of it: heat", "all of it: electricity", "all of it: JAZ"),
}
"""Columns of the page: the lines that each shows."""


def matrix(report: Report) -> str:
    """Ways and paces as a table: the figure and its gate, and how many gates of all are met."""
    cells: dict[str, dict[str, Line]] = {}
    for line in report.lines:
        name, _, what = line.what.partition(" · ")
        if not name.startswith(fault_days.PREFIX):
            cells.setdefault(name, {})[what] = line
    rows = [
        "| " + " | ".join(["source, pace", "gates met", *COLUMNS]) + " |",
        "|" + "---|" * (2 + len(COLUMNS)),
    ]
    for name, found in cells.items():
        gates = [line.is_met for line in found.values() if line.is_met is not None]
        shown_cells = [
            " / ".join(_shown(found[what]) for what in whats if what in found) or "–" for whats in COLUMNS.values()
        ]
        rows.append("| " + " | ".join([name, f"{sum(gates)} of {len(gates)}", *shown_cells]) + " |")
    return "\n".join(rows)


def _shown(line: Line) -> str:
    words = f"{shown(line.value)} {line.target}".strip()
    return f"**{words}**" if line.is_met is False else words


def missed(report: Report) -> str:
    """The gates that are missed, a line each."""
    found = [line for line in report.lines if line.is_met is False]
    return (
        "\n".join(
            f"- {line.what}: {shown(line.value)} {line.unit}, {line.target}{f' ({line.note})' if line.note else ''}"
            for line in found
        )
        or "None."
    )


_PAGE: Final = """\
# Accuracy of the whole way

How well the pipeline finds what happened, from the wire to the figures: simulated houses answer over the real
protocols on loopback, the real collector asks them (or listens) with the real clients, and what comes goes through the
landing and the lake into all tables. Only the waiting is left out. Written by
`python -m benchmarks whole_way --write`; `hp_pipeline_tests/accuracy/test_whole_way.py` and `test_fault_days.py` assert
a part of it. [Accuracy](accuracy.md) scores the tables alone, on all golden scenarios.

- **What is true** is what the devices can tell. Counters of heat do not turn back while a defrost takes heat, so what
  the tables subtract for it is added again before the two are compared (gross); *net heat* has a line of its own. An
  ISG counts the compressor's heat, and the backup heater apart; a Luxtronik's and an ISG's own electricity are without
  the backup heater. Flow and spread show net heat.
- **Gates.** Each source has those of the pace that it is usually asked at (Luxtronik 30 s, ISG 60 s, ESPAltherma 30 to
  60 s, Viessmann 5 min), and has to reach them at finer paces, too. At coarser ones the gates are what sampling allows:
  edges dt/3 off on average with a bias of dt/10, the heat of a session r + 2 · P · dt, that of a day
  1.96 · σ of a counter, or 5 % from flow and spread every 5 min. Where edges are few, a bias of 3 · σ of chance is let
  pass at every pace. Months have the same gates at every pace. A counter's step is read at both ends of a sum: it is in
  the gate of short sums, and vanishes in a month's. Net heat may be off by 1.96 · σ of what is true at the polls of a
  defrost and held until the next, over all moments of the first.
- **Edges** are taken in the middle of the time in which the tables say that they may lie (`start_uncertainty_s`,
  `end_uncertainty_s`): since the states were last read, or since anything was heard of HeishaMon, which publishes what
  changes, or within a second of the time that Viessmann's cloud tells.
- **Pace of 5 min.** `hold` is 10 min there: what is heard so seldom must be believed until it is heard again.
- **Too short to be seen.** A true cycle shorter than the pace that was missed counts for nothing, nor do the cycles
  beside it, which look like one. Of defrosts a sample falls into as many as 3 · σ of chance allow.
- **HeishaMon** does not say what the machine is doing: a pause of the compressor looks like the end of a session, and
  its stop ends one while the pump still carries heat. Sessions and cycles are shown there, and have no gate.

## Sources and paces

The figure and its gate; **bold** where it is missed.

{matrix}

## What is missed

{missed}

{reasons}
## Faults

A fortnight for each protocol, polled every 5 min and every 30 s, in which something else goes wrong each local day: how
far the day's heat and electricity are off (kWh), and as far as they may be: the gate of a day without faults and a step
of each counter, and for resets what was counted between the last reading and the reset, which nobody saw. COP in % of
the truth. In the ledger stand what was made of the counters' readings. What a protocol does not know is left out.

{faults}

- **Late start.** A counter that stands still cannot be told from one that has nothing to count: what happened before
  is missing in the day, as long as no power beside it tells otherwise.
- **0x8000.** What an ISG says of a register that is not available is no reading; the counters are read on behind it,
  nothing is lost, and nothing stands in the ledger. A number that no counter can show stands there as a sentinel.
- **A spike of an ISG's counter** is held back by its source, which waits whether a second poll says the same.

{notes}
"""


def write(report: Report) -> Path:
    """The figures as a page of the documentation."""
    page = _PAGE.format(
        matrix=matrix(report),
        missed=missed(report),
        reasons=_REASONS,
        faults=fault_days.table(report),
        notes="\n".join(report.notes),
    )
    PAGE.write_text(page.rstrip() + "\n", encoding="utf-8")
    return PAGE


_REASONS: Final = """\
- **Archive at 60 s.** See [accuracy](accuracy.md): the error of a session is P · dt / √6 at its edges, so it doubles
  from 30 s to 60 s. If nothing is wrong but that what is true at each poll is held until the next, 95 of 100 sessions
  of the golden scenarios are off by 1.6 %, whoever reckons them.
"""
"""Why gates are missed."""
