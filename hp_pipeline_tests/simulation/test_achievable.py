"""The goals can be reached: a plain reader of the sensors, written here, meets them on the golden scenarios.

It stands in for no part of the product. It shows that sensors, truth and scoring agree about what an event is, so
that a pipeline that misses a goal has itself to blame.
"""

from datetime import timedelta

import polars as pl
import pytest

from hp_pipeline.simulation.house import Trajectory
from hp_pipeline.simulation.parameters import WATER_KJ_PER_KG_K
from hp_pipeline.simulation.scenarios import SCENARIOS
from hp_pipeline.simulation.scoring import ESPALTHERMA_GOALS as GOALS
from hp_pipeline.simulation.scoring import EventScore, score_events, score_periods
from hp_pipeline.simulation.sensors import NUMBER_POINTS, TEXT_POINTS, observe
from hp_pipeline.simulation.truth import run_bounds, truth_energy, truth_events

SIGNALS = ("electrical_power", "flow_rate", "flow_temperature", "return_temperature")
STATES = ("operating_mode", "three_way_valve", "defrost")
QUARANTINE = timedelta(seconds=90)


def _frames(run: Trajectory) -> pl.DataFrame:
    """One row per moment at which anything was read, valid until the next: held signals, kWh, and the mode.

    An excursion of the valve that lies within 90 s of one defrost keeps the mode of before.
    """
    points = {NUMBER_POINTS[name]: name for name in SIGNALS} | {TEXT_POINTS[name]: name for name in STATES}
    readings = observe(run).readings.filter(pl.col("point").is_in(list(points)))
    wide = (
        readings.with_columns(pl.col("point").replace_strict(points))
        .with_columns(pl.coalesce(pl.col("value").cast(pl.String), "text").alias("shown"))
        .pivot(on="point", index="time", values="shown")
        .sort("time")
        .with_columns(pl.when(pl.col("operating_mode").is_not_null()).then(pl.col("time")).alias("polled"))
        .fill_null(strategy="forward")
        .drop_nulls()
        .with_columns(pl.col(name).cast(pl.Float64) for name in SIGNALS)
    )
    hours = (pl.col("time").shift(-1).fill_null(run_bounds(run)[1]) - pl.col("time")).dt.total_microseconds() / 3.6e9
    spread = pl.col("flow_temperature") - pl.col("return_temperature")
    raw = (
        pl.when(pl.col("operating_mode") != "Heating")
        .then(pl.lit("standby"))
        .when(pl.col("three_way_valve") == "ON")
        .then(pl.lit("dhw"))
        .otherwise(pl.lit("heating"))
    )
    frames = wide.with_columns(
        (pl.col("electrical_power") / 1000 * hours).alias("electrical_energy_kwh"),
        (pl.col("flow_rate") / 60 * WATER_KJ_PER_KG_K * spread * hours).alias("thermal_energy_kwh"),
        (pl.col("defrost") == "ON").alias("defrost"),
        raw.alias("raw"),
    )
    runs = _islands(frames, pl.col("raw"))
    defrosts = _islands(frames, pl.col("defrost")).filter("value")
    modes: list[str] = []
    for start, end, mode in runs.select("start", "end", "value").iter_rows():
        excursion = mode != "standby" and any(
            start >= begin - QUARANTINE and end <= stop + QUARANTINE
            for begin, stop in defrosts.select("start", "end").iter_rows()
        )
        modes.append(modes[-1] if excursion and modes and modes[-1] != "standby" else mode)
    effective = runs.select("island").with_columns(pl.Series("mode", modes))
    numbered = frames.with_columns(pl.col("raw").rle_id().alias("island"))
    return numbered.join(effective, on="island", maintain_order="left")


def _islands(frames: pl.DataFrame, value: pl.Expr) -> pl.DataFrame:
    """Stretches of one value: start, end, value and energies.

    An edge lies in the middle between the two polls that show it; what the meter says in between is no poll.
    """
    polls = frames.with_columns(value.alias("value"), value.rle_id().alias("island"))
    middle = pl.col("time") - (pl.col("time") - pl.col("polled").shift(1)) / 2
    return (
        polls.with_columns(middle.fill_null(pl.col("time")).alias("edge"))
        .group_by("island", maintain_order=True)
        .agg(
            pl.col("edge").first().alias("start"),
            pl.col("value").first(),
            pl.col("electrical_energy_kwh", "thermal_energy_kwh").sum(),
            pl.col("time").last().alias("last"),
        )
        .with_columns(pl.col("start").shift(-1).fill_null(pl.col("last")).alias("end"))
    )


def _score(run: Trajectory, kind: str, found: pl.DataFrame) -> EventScore:
    """Scores events that do not touch the run's edges."""
    start, end = run_bounds(run)
    inside = (pl.col("start") > start + timedelta(minutes=2)) & (pl.col("end") < end - timedelta(minutes=2))
    return score_events(truth_events(run).filter(kind=kind).filter(inside), found.filter(inside), collar=GOALS.collar)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_plain_reader_meets_the_goals(scenarios: dict[str, Trajectory], name: str) -> None:
    run = scenarios[name]
    frames = _frames(run)
    sessions = _islands(frames, pl.col("mode"))
    for mode in ("heating", "dhw"):
        score = _score(run, f"{mode}_session", sessions.filter(pl.col("value") == mode))
        assert score.f1 >= GOALS.event_f1, (mode, score)
        if score.true:
            assert score.start_mae_s <= GOALS.edge_mae_s
            assert score.end_mae_s <= GOALS.edge_mae_s
            assert abs(score.start_bias_s) <= GOALS.edge_bias_s
            assert abs(score.end_bias_s) <= GOALS.edge_bias_s
            assert abs(score.thermal.bias_percent) <= 1.0
            assert abs(score.electrical.bias_percent) <= 1.0
    defrosts = _score(run, "defrost", _islands(frames, pl.col("defrost")).filter("value"))
    assert defrosts.recall >= GOALS.defrost_recall
    assert defrosts.precision >= GOALS.defrost_precision
    local = pl.col("time").dt.convert_time_zone("Europe/Berlin").dt.date()
    days = frames.group_by(local.alias("period")).agg(pl.col("thermal_energy_kwh", "electrical_energy_kwh").sum())
    true = truth_energy(run, "day").filter("complete")
    assert score_periods(true, days, "electrical_energy_kwh").p95_percent <= 0.5
    assert score_periods(true, days, "thermal_energy_kwh").p95_percent <= 2 * GOALS.day_heat_percent
