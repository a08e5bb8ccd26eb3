"""Faults of devices and transports: no invented numbers, sums within the stated coverage, other days untouched."""

from dataclasses import fields, replace
from datetime import date, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from benchmarks.accuracy import ELECTRICITY, HEAT, TABLES, Examined, ScoreCard, examine_readings, percent
from hp_pipeline.simulation.faults import FaultPlan, FaultyReadings, inject_faults
from hp_pipeline.simulation.house import Trajectory
from hp_pipeline.simulation.scoring import BUDGETS, score_events
from hp_pipeline.simulation.scoring import ESPALTHERMA_GOALS as GOALS
from hp_pipeline.simulation.sensors import observe
from hp_pipeline.vocabulary.tables import COUNT_COLUMNS, DURATION_COLUMNS, RATIO_COLUMNS, energy_columns

SCENARIO = "humid_defrost"
PEAK_KW = {HEAT: BUDGETS["espaltherma"].peak_thermal_kw, ELECTRICITY: 9.0}
HOLD_H = 5 / 60
_COUNTS = (
    "outages",
    "unavailable",
    "spikes",
    "glitches",
    "sentinels",
    "frozen",
    "type_changes",
    "clock_offsets",
    "duplicated",
    "out_of_order",
)
QUIET = replace(FaultPlan(), **dict.fromkeys(_COUNTS, 0.0))


class Trial:
    """A scenario whose readings one kind of fault has spoiled."""

    def __init__(self, run: Trajectory, clean: Examined, plan: FaultPlan) -> None:
        readings = observe(run).readings
        delivery = inject_faults(readings, plan)
        self.delivery = replace(delivery, readings=_with_states_anew(readings, delivery))
        self.clean = clean
        self.found = examine_readings(run, self.delivery.readings)

    @property
    def spoiled(self) -> set[date]:
        """Local days that a fault comes near."""
        local = [
            pl.col(edge).dt.offset_by(by).dt.convert_time_zone("Europe/Berlin").dt.date().alias(edge)
            for edge, by in (("start", "-20m"), ("end", "20m"))
        ]
        days = set()
        for first, last in self.delivery.faults.filter(pl.col("kind") != "missing_field").select(local).iter_rows():
            days |= {first + timedelta(days=number) for number in range((last - first).days + 1)}
        return days

    def days(self, *, spoiled: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows of `daily` of the untouched readings and of the spoiled ones, for days with or without faults."""
        chosen = pl.col("period").str.to_date().is_in(list(self.spoiled))
        chosen = chosen if spoiled else ~chosen
        return self.clean.tables["daily"].filter(chosen), self.found.tables["daily"].filter(chosen)

    def assert_other_days_are_the_same(self) -> None:
        clean, found = self.days(spoiled=False)
        assert clean.height > 0, "every day has a fault: nothing is tested"
        # A reading put right again is heard anew, and where its maximum age ends a frame is cut: sums stay the same,
        # the last digit of a mean need not. What was silent for days may even be known for longer.
        columns = (*RATIO_COLUMNS, *energy_columns(), *DURATION_COLUMNS, *COUNT_COLUMNS)
        figures = ["period", *(column.name for column in columns if "immersion" not in column.name)]
        assert_frame_equal(found.select(figures), clean.select(figures), rel_tol=1e-9, abs_tol=1e-9)


def _with_states_anew(readings: pl.DataFrame, delivery: FaultyReadings) -> pl.DataFrame:
    """What is delivered, with every number said again at the end of an outage, as Home Assistant does when a device
    comes back. (Where nobody does, a number that changed in the outage is wrong until it changes again.)"""
    again = [
        readings.filter(pl.col("time") < end, pl.col("value").is_not_null())
        .group_by("point", maintain_order=True)
        .last()
        .with_columns(pl.lit(end).cast(readings.schema["time"]).alias("time"))
        for (end,) in delivery.faults.filter(kind="outage").select("end").iter_rows()
    ]
    return pl.concat([delivery.readings, *(rows.select(delivery.readings.columns) for rows in again)])


@pytest.fixture(scope="module")
def clean(examined: dict[tuple[str, float], Examined]) -> Examined:
    return examined[SCENARIO, 30.0]


def _trial(runs: dict[str, Trajectory], clean: Examined, **plan: float) -> Trial:
    return Trial(runs[SCENARIO], clean, replace(QUIET, **plan))


def test_the_quiet_plan_knows_every_kind_of_fault() -> None:
    rates = {field.name for field in fields(FaultPlan)} - {"missing_fields"}
    durations = {name for name in rates if name.endswith(("_minutes", "_s", "_value"))}
    assert set(_COUNTS) == rates - durations


def test_rows_delivered_twice_and_in_disorder_change_nothing(runs: dict[str, Trajectory], clean: Examined) -> None:
    trial = _trial(runs, clean, duplicated=3.0, out_of_order=3.0)
    assert trial.delivery.faults.height > 20
    for name in TABLES:
        assert trial.found.tables[name].equals(clean.tables[name]), name


def test_numbers_as_text_are_read(runs: dict[str, Trajectory], clean: Examined) -> None:
    trial = _trial(runs, clean, type_changes=1.0)
    assert trial.delivery.faults.height > 2
    for name in TABLES:
        assert trial.found.tables[name].equals(clean.tables[name]), name


def test_an_outage_is_not_bridged(runs: dict[str, Trajectory], clean: Examined) -> None:
    trial = _trial(runs, clean, outages=0.5, outage_minutes=60.0)
    gaps = trial.delivery.faults.with_columns(hours=(pl.col("end") - pl.col("start")).dt.total_seconds() / 3600)
    assert gaps.height > 1
    assert gaps["hours"].max() > 0.5
    trial.assert_other_days_are_the_same()
    _, days = trial.days(spoiled=True)
    true, _ = trial.found.periods("daily")
    both = days.with_columns(pl.col("period").str.to_date()).join(true, on="period", suffix="_true")
    for row in both.iter_rows(named=True):
        for column, share in ((HEAT, "thermal_coverage"), (ELECTRICITY, "electrical_coverage")):
            unknown_h = (1 - row[share]) * row["hours"]
            off = row[column] - row[f"{column}_true"]
            room = PEAK_KW[column] * (unknown_h + HOLD_H * gaps.height)
            assert abs(off) <= room + 0.005 * row[f"{column}_true"], (row["period"], column)
    # What is missing is what nothing was heard of, but for the five minutes that a reading may be held.
    unheard_h = gaps.filter(pl.col("hours") > HOLD_H).select((pl.col("hours") - HOLD_H).sum()).item()
    whole = clean.tables["all_time"]["observed_s"].item() - trial.found.tables["all_time"]["observed_s"].item()
    assert abs(whole / 3600 - unheard_h) <= gaps.height * 60 / 3600
    for kind in ("heating", "dhw", "defrosts", "cycles"):
        actual, found = trial.found.events(kind)
        score = score_events(actual, found, collar=GOALS.collar, gaps=gaps, shortest=timedelta(seconds=30))
        assert score.f1 >= GOALS.event_f1, (kind, score)


@pytest.mark.parametrize("kind", ["spikes", "glitches", "sentinels"])
def test_wrong_readings_do_not_reach_the_energies(runs: dict[str, Trajectory], clean: Examined, kind: str) -> None:
    trial = _trial(runs, clean, **{kind: 1.0})
    assert trial.delivery.faults.height > 2
    trial.assert_other_days_are_the_same()
    before, after = trial.days(spoiled=True)
    for column in (HEAT, ELECTRICITY):
        for true, found in zip(before[column], after[column], strict=True):
            assert abs(percent(found, true)) <= 0.01, column
    assert (
        trial.found.tables["sessions"].select("start", "mode").equals(clean.tables["sessions"].select("start", "mode"))
    )


def test_a_glitch_is_not_believed(runs: dict[str, Trajectory], clean: Examined) -> None:
    trial = _trial(runs, clean, glitches=2.0)
    before, after = trial.days(spoiled=True)
    for name in ("outdoor_temperature_min", "outdoor_temperature_max"):
        off = (before[name] - after[name]).abs()
        assert off.max() <= 0.3, name


def test_a_frozen_sensor_harms_its_own_days_only(runs: dict[str, Trajectory], clean: Examined) -> None:
    trial = _trial(runs, clean, frozen=0.4, frozen_minutes=90.0)
    assert trial.delivery.faults.height
    trial.assert_other_days_are_the_same()
    total, own = trial.found.tables["all_time"], clean.tables["all_time"]
    assert total[ELECTRICITY].item() == pytest.approx(own[ELECTRICITY].item(), rel=1e-6)


def test_a_point_that_falls_silent_makes_nothing_up(runs: dict[str, Trajectory], clean: Examined) -> None:
    trial = _trial(runs, clean, unavailable=1.0, unavailable_minutes=90.0)
    assert trial.delivery.faults.height > 3
    days = trial.found.tables["daily"]
    known = pl.sum_horizontal("heating_s", "dhw_s", "standby_s", "cooling_s")
    assert days.filter(known > pl.col("observed_s") + 1e-3).is_empty()
    parts = pl.sum_horizontal(*(f"electrical_energy_{mode}_kwh" for mode in ("heating", "dhw", "standby", "cooling")))
    assert days.filter(parts > pl.col(ELECTRICITY) + 1e-6).is_empty()
    for name in ("sessions", "cycles", "defrosts"):
        assert trial.found.tables[name].filter(pl.col("start") >= pl.col("end")).is_empty()
    score = ScoreCard([trial.found]).events("dhw")
    assert score.invented_thermal_percent <= 5


def test_a_meter_with_a_wrong_clock_keeps_its_energy(runs: dict[str, Trajectory], clean: Examined) -> None:
    trial = _trial(runs, clean, clock_offsets=0.4)
    assert trial.delivery.faults.height
    trial.assert_other_days_are_the_same()
    shifted, true = trial.found.tables["all_time"], clean.tables["all_time"]
    assert abs(percent(shifted[ELECTRICITY].item(), true[ELECTRICITY].item())) <= 0.5
    assert shifted[HEAT].item() == pytest.approx(true[HEAT].item(), rel=1e-6)


def test_an_ordinary_bad_week(runs: dict[str, Trajectory], clean: Examined) -> None:
    """All faults at once, as often as a careless installation has them."""
    trial = Trial(runs[SCENARIO], clean, FaultPlan(outages=0.5, unavailable=0.2))
    true, days = trial.found.periods("daily")
    both = true.join(days, on="period", suffix="_found")
    for row in both.iter_rows(named=True):
        for column, share in ((HEAT, "thermal_coverage"), (ELECTRICITY, "electrical_coverage")):
            missing = (1 - row[share]) * row["hours"] * PEAK_KW[column]
            assert row[f"{column}_found"] <= row[column] * 1.03 + PEAK_KW[column] * HOLD_H, (row["period"], column)
            assert row[f"{column}_found"] >= row[column] * 0.97 - missing - PEAK_KW[column] * HOLD_H
    cops = days.filter(pl.col("cop").is_not_null())
    assert cops["cop"].max() < 6
    assert cops["cop"].min() > 1
