"""How often the bands around a day's figures hold the truth: many houses whose meters have errors of their class.

Each draw reads the same simulated winter days through meters of its own: a heat meter of class 2, whose flow sensor and
temperature pair are off by amounts drawn as wide as their class permits, and an electricity meter of class B. What the
pipeline makes of it is compared with the truth, and the page `docs/uncertainty.md` shows at which level of confidence
how many days were held.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import NormalDist
from typing import Final

import polars as pl

from benchmarks import house
from benchmarks.report import Line, Report
from hp_pipeline.assets.stages import DailyStage, FiguresStage, FramesStage, OperationStage
from hp_pipeline.simulation.demo import SETTLING
from hp_pipeline.simulation.house import simulate
from hp_pipeline.simulation.parameters import DAIKIN_ALTHERMA
from hp_pipeline.simulation.sensors import SensorModel, observe
from hp_pipeline.simulation.truth import truth_energy
from hp_pipeline.simulation.weather import simulate_weather
from hp_pipeline.transforms.uncertainty import LEVEL

DRAWS: Final = 60
DAYS: Final = 5
LEVELS: Final = (0.5, 0.68, 0.8, 0.9, 0.95, 0.99)
FIRST: Final = datetime(2025, 1, 12, 23, tzinfo=UTC)
"""Midnight of the house."""

METERS: Final = """\
  - {id: heat, heat_pump: daikin, measures: thermal, signal: thermal_power, includes: [compressor, backup_heater],
     accuracy: "2", nominal_flow_l_per_h: 2500, least_spread_k: 3}
"""

SENSORS: Final = {"interval_s": 60.0, "flow_gain_sd": 0.01, "pair_offset_sd_k": 0.06, "power_gain_sd": 0.005}
"""Half of what the classes permit as standard deviation: 2 % of the flow, 2.3 % of a spread of 5 K, 1 % of the
electricity. A meter of the class is beyond its limits in 1 case of 20 then, more often than one that was tested."""

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "uncertainty.md"
PLOT: Final = PAGE.with_name("uncertainty.svg")
FIGURES: Final = {"electricity": "electrical_energy_kwh", "heat": "thermal_energy_kwh", "COP": "cop"}


def days() -> pl.DataFrame:
    """For each draw, day and figure how far the truth is from what was found, in standard deviations of its band."""
    end = FIRST + timedelta(days=DAYS)
    run = simulate(DAIKIN_ALTHERMA, simulate_weather(FIRST - SETTLING, end, step_s=10, seed=4), 4, settling=SETTLING)
    truth = truth_energy(run, "day").select("start", *(pl.col(name).alias(f"{name}_true") for name in FIGURES.values()))
    found = []
    for seed in range(DRAWS):
        with tempfile.TemporaryDirectory() as folder:
            rows = _day_rows(Path(folder), observe(run, SensorModel(**SENSORS), seed).readings)
        found.append(rows.join(truth, on="start").with_columns(draw=pl.lit(seed)))
    table = pl.concat(found)
    return table.select(
        "draw",
        "period",
        *(
            ((pl.col(f"{name}_true") - pl.col(name)) / _deviation(figure, name)).alias(figure)
            for figure, name in FIGURES.items()
        ),
    )


def _deviation(figure: str, name: str) -> pl.Expr:
    low = "cop_low" if figure == "COP" else name.replace("_kwh", "_low_kwh")
    return (pl.col(name) - pl.col(low)) / LEVEL


def _day_rows(folder: Path, readings: pl.DataFrame) -> pl.DataFrame:
    workspace = house.open_house(folder, FIRST.date())
    settings = folder / house.SETTINGS
    text = settings.read_text(encoding="utf-8").replace("backup_heater]\n", "backup_heater]\n    accuracy: B\n", 1)
    settings.write_text(text.replace("tariffs:", METERS + "tariffs:"), encoding="utf-8")
    workspace = house.open_house(folder)
    house.take_in(workspace, readings)
    plant = workspace.plant(house.HEAT_PUMP)
    for stage_type in (FramesStage, OperationStage, FiguresStage, DailyStage):
        stage = stage_type(plant)
        stage.bring_up_to_date(stage.keys()).raise_failures()
    return house.table(workspace, "daily").filter(pl.col("cop").is_not_null())


def held(table: pl.DataFrame, figure: str, level: float) -> float:
    """Share of the days whose truth lies in a figure's band of a level."""
    reach = NormalDist().inv_cdf(0.5 + level / 2)
    share = table.select((pl.col(figure).abs() <= reach).mean()).item()
    return float(share)


def measure(runs: int) -> Report:
    """The figures are the same in every run."""
    table = days()
    report = Report("calibration", f"bands around the figures of {table.height} days, {DRAWS} sets of meters")
    for level in LEVELS:
        for figure in FIGURES:
            report.lines.append(
                Line(
                    f"{figure}: days held at {level:.0%}",
                    round(100 * held(table, figure, level), 1),
                    "%",
                    at_least=100 * level if level >= 0.9 else None,
                )
            )
    _draw(table)
    return report


def _draw(table: pl.DataFrame) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "hp_pipeline"
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    levels = [index / 50 for index in range(5, 50)]
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, label="as told")
    for name in FIGURES:
        axes.plot(levels, [held(table, name, level) for level in levels], label=name)
    axes.set_xlabel("level of the band")
    axes.set_ylabel("share of days whose truth it holds")
    axes.legend()
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

Made by `python -m benchmarks calibration --write`: simulated winter days, read through heat meters of class 2 and
electricity meters of class B whose errors were drawn as wide as their classes permit (as two standard deviations).
"""
