"""How often the bands around a figure hold the truth: many houses whose meters have errors of their class.

Each draw reads the same simulated winter days through meters of its own: a heat meter of class 2, whose flow sensor and
temperature pair are off by amounts drawn as wide as their class permits, and an electricity meter of class B; every
minute or every five, with a fifth of the time missing, and by counters that count whole kWh (`CASES`). What the
pipeline makes of it is compared with the truth, and the page `docs/uncertainty.md` shows at which level of confidence
how many days and sessions were held.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import NormalDist
from typing import Final

import numpy as np
import polars as pl

from benchmarks import house
from benchmarks.report import Line, Report
from hp_pipeline.assets.stages import (
    CountersStage,
    DailyStage,
    EventsStage,
    FiguresStage,
    FramesStage,
    OperationStage,
)
from hp_pipeline.simulation.demo import SETTLING
from hp_pipeline.simulation.house import Trajectory, simulate
from hp_pipeline.simulation.parameters import DAIKIN_ALTHERMA
from hp_pipeline.simulation.sensors import SensorModel, observe
from hp_pipeline.simulation.truth import truth_energy, truth_events
from hp_pipeline.simulation.weather import simulate_weather
from hp_pipeline.transforms.uncertainty import LEVEL

DAYS: Final = 5
LEVELS: Final = (0.5, 0.68, 0.8, 0.9, 0.95, 0.99)
FIRST: Final = datetime(2025, 1, 12, 23, tzinfo=UTC)
"""Midnight of the house."""

METERS: Final = """\
  - {id: heat, heat_pump: daikin, measures: thermal, signal: thermal_power, includes: [compressor, backup_heater],
     accuracy: "2", nominal_flow_l_per_h: 2500, least_spread_k: 3}
"""

SENSORS: Final = {"flow_gain_sd": 0.01, "pair_offset_sd_k": 0.06, "power_gain_sd": 0.01}
"""Half of what the classes permit as standard deviation: 2 % of the flow, 2.3 % of a spread of 5 K, 2 % of the
electricity. A meter of the class is beyond its limits in 1 case of 20 then, more often than one that was tested."""

COUNTERS: Final = """\
        signals:
          thermal_energy_total: {select: {point: counted heat}, unit: kWh, resolution: 1}
          electrical_energy_total: {select: {point: counted electricity}, unit: kWh, resolution: 1}
"""


@dataclass(frozen=True)
class Case:
    """A way in which the days are read.

    Attributes:
        draws: sets of meters.
        interval_s: between two readings.
        missing: share of the time without readings, in silences of 40 min to 2 h.
        counted: whether counters of whole kWh tell both energies, without errors but their steps.
        sessions: whether sessions are compared, too.
    """

    draws: int
    interval_s: float
    missing: float = 0.0
    counted: bool = False
    sessions: bool = True


CASES: Final = {
    "every minute": Case(60, 60.0),
    "every 5 min": Case(40, 300.0),
    "every minute, a fifth of the time missing": Case(20, 60.0, missing=0.2, sessions=False),
    "every minute, counters of 1 kWh": Case(10, 60.0, counted=True),
}
MAIN: Final = "every minute"

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "uncertainty.md"
PLOT: Final = PAGE.with_name("uncertainty.svg")
FIGURES: Final = {"electricity": "electrical_energy_kwh", "heat": "thermal_energy_kwh", "COP": "cop"}


def read(case: Case) -> pl.DataFrame:
    """For each draw, `kind` (days, heating, dhw) and figure how far the truth is from what was found, in standard
    deviations of its band; nothing where what was not measured would have to be."""
    end = FIRST + timedelta(days=DAYS)
    run = simulate(DAIKIN_ALTHERMA, simulate_weather(FIRST - SETTLING, end, step_s=10, seed=4), 4, settling=SETTLING)
    names = list(FIGURES.values())
    truth = truth_energy(run, "day").select("start", *(pl.col(name).alias(f"{name}_true") for name in names))
    found = []
    for seed in range(case.draws):
        sensors = {} if case.counted else SENSORS
        readings = observe(run, SensorModel(interval_s=case.interval_s, **sensors), seed).readings
        if case.counted:
            readings = pl.concat([readings, _counted(run, readings)]).sort("point", "time")
        with tempfile.TemporaryDirectory() as folder:
            tables = _tables(Path(folder), _with_silences(readings, case.missing, seed), case.counted)
        rows = tables["daily"].join(truth, on="start").with_columns(kind=pl.lit("days"))
        parts = [rows]
        if case.sessions:
            parts += [_sessions(run, tables["sessions"], mode) for mode in ("heating", "dhw")]
        kept = ["kind", *names, *(f"{name}_true" for name in names), *(_ends(name)[0] for name in names),
                *(_ends(name)[1] for name in names)]  # fmt: skip
        found += [part.select(kept).with_columns(draw=pl.lit(seed)) for part in parts]
    table = pl.concat(found)
    return table.select("draw", "kind", *(_off(name).alias(figure) for figure, name in FIGURES.items()))


def _ends(name: str) -> tuple[str, str]:
    return (
        ("cop_low", "cop_high")
        if name == "cop"
        else (name.replace("_kwh", "_low_kwh"), name.replace("_kwh", "_high_kwh"))
    )


def _off(name: str) -> pl.Expr:
    """How far the truth is off, in standard deviations of that side of the band on which it lies."""
    low, high = _ends(name)
    off = pl.col(f"{name}_true") - pl.col(name)
    side = pl.when(off > 0).then(pl.col(high) - pl.col(name)).otherwise(pl.col(name) - pl.col(low))
    return off / (side / LEVEL)


def _sessions(run: Trajectory, found: pl.DataFrame, mode: str) -> pl.DataFrame:
    """Sessions of a mode beside the true ones that begin and end with them."""
    heat, used = FIGURES["heat"], FIGURES["electricity"]
    true = truth_events(run).filter(pl.col("kind") == f"{mode}_session", "complete")
    true = true.select("start", true_end="end", **{f"{heat}_true": heat, f"{used}_true": used})
    near = timedelta(minutes=6)
    pairs = (
        found.filter(pl.col("mode") == mode, pl.col("cop").is_not_null())
        .sort("start")
        .join_asof(true.sort("start"), on="start", strategy="nearest", tolerance=near)
        .filter((pl.col("end") - pl.col("true_end")).abs() <= near)
    )
    return pairs.with_columns(kind=pl.lit(mode), cop_true=pl.col(f"{heat}_true") / pl.col(f"{used}_true"))


def _counted(run: Trajectory, readings: pl.DataFrame) -> pl.DataFrame:
    """Readings of counters that count whole kWh of net heat and electricity, beside each reading of the unit."""
    hours = run.step_s / 3600
    times = readings.filter(pl.col("text").is_not_null())["time"].unique().sort()
    steps = np.clip((times.dt.epoch("s").to_numpy() - run.unix_s[0]) // run.step_s, 0, len(run.unix_s) - 1).astype(int)
    parts = []
    # Heat counters only count up; what defrosts take is seen by flow and spread.
    for point, power in {
        "counted heat": np.clip(run.heat_kw, 0.0, None),
        "counted electricity": run.electrical_kw,
    }.items():
        value = np.floor(1000 + np.cumsum(power * hours))[steps]
        parts.append(
            pl.DataFrame({"point": point, "time": times, "value": value}).with_columns(text=pl.lit(None, pl.String))
        )
    return pl.concat(parts).select(readings.columns)


def _with_silences(readings: pl.DataFrame, missing: float, seed: int) -> pl.DataFrame:
    if not missing:
        return readings
    random = np.random.default_rng(seed)
    silent, total = [], DAYS * 86_400 * missing
    while total > 0:
        length = float(random.uniform(2400, 7200))
        start = FIRST + timedelta(seconds=float(random.uniform(0, DAYS * 86_400 - length)))
        silent.append(pl.col("time").is_between(start, start + timedelta(seconds=length)))
        total -= length
    return readings.filter(~pl.any_horizontal(silent))


def _tables(folder: Path, readings: pl.DataFrame, counted: bool) -> dict[str, pl.DataFrame]:
    workspace = house.open_house(folder, FIRST.date())
    settings = folder / house.SETTINGS
    text = settings.read_text(encoding="utf-8")
    if counted:
        profile = "        profile: espaltherma_home_assistant\n"
        text = text.replace(profile, profile + COUNTERS, 1)
        text = text.replace("signal: electrical_power\n", "signal: electrical_energy_total\n", 1)
    text = text.replace("backup_heater]\n", "backup_heater]\n    accuracy: B\n", 1)
    meters = METERS.replace("thermal_power", "thermal_energy_total") if counted else METERS
    settings.write_text(text.replace("tariffs:", meters + "tariffs:"), encoding="utf-8")
    workspace = house.open_house(folder)
    house.take_in(workspace, readings)
    plant = workspace.plant(house.HEAT_PUMP)
    for stage_type in (FramesStage, OperationStage, CountersStage, FiguresStage, EventsStage, DailyStage):
        stage = stage_type(plant)
        stage.bring_up_to_date(stage.keys()).raise_failures()
    days = house.table(workspace, "daily").filter(pl.col("cop").is_not_null())
    return {"daily": days, "sessions": house.table(workspace, "sessions")}


def held(table: pl.DataFrame, figure: str, level: float) -> float:
    """Share of the rows whose truth lies in a figure's band of a level."""
    reach = NormalDist().inv_cdf(0.5 + level / 2)
    share = table.select((pl.col(figure).abs() <= reach).mean()).item()
    return float(share)


def measure(runs: int) -> Report:
    """The figures are the same in every run."""
    tables = {name: read(case) for name, case in CASES.items()}
    report = Report("calibration", f"bands around figures, {sum(case.draws for case in CASES.values())} sets of meters")
    main = tables[MAIN].filter(kind="days")
    for level in LEVELS:
        for figure in FIGURES:
            report.lines.append(
                Line(
                    f"{figure}: days held at {level:.0%}",
                    round(100 * held(main, figure, level), 1),
                    "%",
                    at_least=100 * level if level >= 0.9 else None,
                )
            )
    for name, table in tables.items():
        for (kind,), rows in table.group_by("kind", maintain_order=True):
            words = {"days": "days", "heating": "heating sessions", "dhw": "hot water sessions"}[str(kind)]
            for figure in FIGURES:
                report.lines.append(
                    Line(
                        f"{name} · {words} · {figure}: held at 95%",
                        round(100 * held(rows, figure, 0.95), 1),
                        "%",
                        at_least=95,
                        note=f"{rows.height} {words}",
                    )
                )
    _draw(tables)
    return report


def _draw(tables: dict[str, pl.DataFrame]) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "hp_pipeline"
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    levels = [index / 50 for index in range(5, 50)]
    for axes in (left, right):
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, label="as told")
        axes.set_xlabel("level of the band")
    days = tables[MAIN].filter(kind="days")
    for name in FIGURES:
        left.plot(levels, [held(days, name, level) for level in levels], label=name)
    left.set_title(f"days, {MAIN}", fontsize="medium")
    for case, table in tables.items():
        for kind, style in {"days": "-", "heating": "--"}.items():
            if (rows := table.filter(kind=kind)).height and not (case == MAIN and kind == "days"):
                words = "days" if kind == "days" else "heating sessions"
                right.plot(levels, [held(rows, "heat", level) for level in levels], style, label=f"{words}, {case}")
    right.set_title("heat, other ways", fontsize="medium")
    left.set_ylabel("share whose truth it holds")
    left.legend(fontsize="small")
    right.legend(fontsize="x-small")
    figure.savefig(PLOT, metadata={"Date": None, "Creator": None})


def write(report: Report) -> Path:
    """The page of the documentation."""
    PAGE.write_text(f"{_PAGE}\n{report.markdown().rstrip()}\n", encoding="utf-8")
    return PAGE


_PAGE = """\
# How far a figure may be from the truth

`*_low_kwh`, `*_high_kwh`, `cop_low` and `cop_high` are the ends of a band that holds the truth in 95 of 100 cases. What
it is made of, and from which standards, is in `hp_pipeline/transforms/uncertainty.py` and `vocabulary/meters.py`; the
class of a meter is stated under `meters` in the settings, and holds for what that meter tells. A machine's own word has
a band of ±10 % (electricity) and ±15 % (heat), as nobody vouches for it; heat that is calculated has [wider
ones](figures.md#the-ways-to-an-energy).

![share of days held over the level of the band](uncertainty.svg)

A curve above the grey line holds the truth more often than it says. It does for heat and COP: a meter's permissible
error is the sum of its parts' (EN 1434), and parts that are off in the same direction at once are rare.

A session's bands are wide where its edges are seen late: what the machine takes in one interval is then a good part of
what it took at all. A source that dates its changes makes the edges exact, not what was taken until its power was read
([why](decisions/0019-edges-that-are-told.md)). A day's are widened by the time without readings, which may have had up
to twice its share.

Over a silence of a meter alone its counter says how much, and the machine when: whatever holds all of the silence is as
exact as the meter, and what begins or ends in it is wider by the machine's error of what may be on the other side.

Made by `python -m benchmarks calibration --write`: simulated winter days, read through heat meters of class 2 and
electricity meters of class B whose errors were drawn as wide as their classes permit (as two standard deviations);
every minute or every five, with silences, and by counters of whole kWh.
"""
