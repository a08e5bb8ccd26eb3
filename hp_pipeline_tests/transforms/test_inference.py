"""Mode and defrost where nothing tells them: against the truth of the simulation, with the flags taken away."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.simulation.scoring import score_events
from hp_pipeline.simulation.sensors import NUMBER_POINTS, TEXT_POINTS
from hp_pipeline.simulation.truth import run_bounds, truth_events
from hp_pipeline.transforms import inference
from hp_pipeline.transforms.operation import compressor_running, operation
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline_tests.transforms.simulated import beside_truth, days_of, frames_of

RULES = Rules()
FLAGS = ("operating_mode", "three_way_valve", "defrost", "thermostat")
DAYS = 4
CASES = [
    ("daikin_altherma", "humid_defrost", 30.0),
    ("daikin_altherma", "april_cycling", 60.0),
    ("novelan_helox", "humid_defrost", 60.0),
    ("viessmann_vitocal", "humid_defrost", 30.0),
    ("stiebel_hpa", "april_cycling", 30.0),
]


@cache
def judged(preset: str, scenario: str, interval_s: float, without: tuple[str, ...] = FLAGS) -> pl.DataFrame:
    """Table `operation` with the frames and the truth beside it."""
    return judge(preset, scenario, interval_s, without, RULES)


def judge(preset: str, scenario: str, interval_s: float, without: tuple[str, ...], rules: Rules) -> pl.DataFrame:
    """The same by other rules."""
    run = days_of(preset, scenario, DAYS)
    frames = frames_of(run, rules, interval_s, without)
    start, end = run_bounds(run)
    modes = operation(frames, start, end, rules, more_follows=False, tells_dhw=False)
    return beside_truth(frames.drop("defrost").join(modes.drop("heat_pump", "end"), on="start"), run)


def heat(rows: pl.DataFrame, *where: pl.Expr) -> float:
    """Heat of the frames for which all conditions hold, kWh."""
    return float(rows.filter(*where).select((pl.col("thermal_power") * pl.col("hours")).sum() / 1000).item())


@pytest.mark.parametrize(("preset", "scenario", "interval_s"), CASES)
def test_heat_is_booked_to_whom_it_is_for(preset: str, scenario: str, interval_s: float) -> None:
    rows = judged(preset, scenario, interval_s)
    assert set(rows["mode_source"].unique()) == {"inferred"}
    true, found = pl.col("true_mode") == "dhw", pl.col("mode") == "dhw"
    of_tank, all_of_it = heat(rows, true), heat(rows)
    assert of_tank > 15
    assert abs(heat(rows, found) / of_tank - 1) <= 0.05
    assert heat(rows, found, ~true) <= 0.06 * of_tank, "taken from heating"
    assert heat(rows, ~found, true) <= 0.06 * of_tank, "given to heating"
    wrong = rows.filter(found != true)["hours"].sum()
    assert wrong <= 0.01 * rows["hours"].sum()
    # Water that is turned over while nothing heats is nobody's heating.
    assert abs(heat(rows, pl.col("mode") == "heating") / heat(rows, pl.col("true_mode") == "heating") - 1) <= 0.03
    assert all_of_it == pytest.approx(sum(heat(rows, pl.col("mode") == mode) for mode in ("heating", "dhw", "standby")))


@pytest.mark.parametrize(("preset", "scenario", "interval_s"), CASES)
def test_charges_are_found_whole(preset: str, scenario: str, interval_s: float) -> None:
    run = days_of(preset, scenario, DAYS)
    rows = judged(preset, scenario, interval_s).with_columns(number=pl.col("session_start").cum_sum())
    sessions = rows.group_by("number", maintain_order=True).agg(pl.col("mode", "start").first(), pl.col("end").last())
    true = truth_events(run).filter(kind="dhw_session").select("start", "end")
    found = sessions.filter(mode="dhw").select("start", "end")
    score = score_events(true, found, collar=timedelta(minutes=11))
    assert score.recall >= 0.8 and score.precision >= 0.8, score
    assert abs(score.start_bias_s) <= 180 and abs(score.end_bias_s) <= 180, score


@pytest.mark.parametrize(("preset", "interval_s"), [("daikin_altherma", 30.0), ("novelan_helox", 60.0)])
def test_defrosts_without_a_flag(preset: str, interval_s: float) -> None:
    """Each true one overlaps a found one, and the other way round: recall ≥ 0.97, precision ≥ 0.97."""
    rows = judged(preset, "humid_defrost", interval_s)
    assert set(rows["defrost_source"].unique()) == {"inferred"}

    def episodes(flag: str) -> pl.DataFrame:
        numbered = rows.with_columns(number=pl.col(flag).rle_id())
        return (
            numbered.filter(flag)
            .group_by("number", maintain_order=True)
            .agg(pl.col("start").first(), pl.col("end").last())
        )

    true, found = episodes("true_defrost"), episodes("defrost")
    both = true.join_where(found, pl.col("start") < pl.col("end_right"), pl.col("end") > pl.col("start_right"))
    assert true.height > 20
    assert both["number"].n_unique() >= 0.97 * true.height
    assert both["number_right"].n_unique() >= 0.97 * found.height


def test_confidence_tells_the_sure_from_the_doubtful() -> None:
    rows = pl.concat([judged(*case).select("raw_mode", "true_mode", "hours", "mode_confidence") for case in CASES])
    heated = rows.filter(pl.col("raw_mode").is_in(["heating", "dhw"]), pl.col("true_mode") != "standby")
    right = pl.col("raw_mode") == pl.col("true_mode")
    shares = (
        heated.group_by(sure=pl.col("mode_confidence") >= 0.85)
        .agg(wrong=pl.col("hours").filter(~right).sum() / pl.col("hours").sum(), hours=pl.col("hours").sum())
        .sort("sure")
    )
    doubtful, sure = shares["wrong"].to_list()
    assert sure < 0.01
    assert doubtful > 2 * sure
    assert heated["mode_confidence"].is_between(0.5, 1).mean() > 0.95  # type: ignore[operator]


def test_what_is_told_is_believed() -> None:
    rows = judged("daikin_altherma", "humid_defrost", 30.0, without=())
    assert set(rows["mode_source"].unique()) == {"told", "valve"}
    assert set(rows["defrost_source"].unique()) == {"told"}
    assert rows.filter(pl.col("mode_source") == "valve")["raw_mode"].unique().to_list() == ["dhw"]


def test_a_valve_alone_tells_heating_from_hot_water() -> None:
    rows = judged("novelan_helox", "humid_defrost", 30.0, without=("operating_mode", "defrost", "thermostat"))
    heated = rows.filter(pl.col("raw_mode") != "standby")
    assert heated["mode_source"].unique().to_list() == ["valve"]
    assert (heated["mode_confidence"] == 0.95).all()
    of_tank = heat(rows, pl.col("true_mode") == "dhw")
    assert heat(rows, pl.col("mode") == "dhw") == pytest.approx(of_tank, rel=0.01)


def test_a_word_that_cannot_say_dhw_is_asked_what_it_means() -> None:
    without = ("three_way_valve", "defrost")
    rows = judged("daikin_altherma", "april_cycling", 60.0, without=without)
    assert set(rows["mode_source"].unique()) == {"told", "inferred"}
    # Where the compressor stands through a long pause nothing can tell: the word is taken as it is.
    guessed = rows.filter(pl.col("mode_source") == "told", pl.col("raw_mode") == "heating")
    assert (guessed["mode_confidence"] == 0.5).all() and not guessed["compressor_running"].any()
    of_tank = heat(rows, pl.col("true_mode") == "dhw")
    assert heat(rows, pl.col("mode") == "dhw") == pytest.approx(of_tank, rel=0.08)


def test_the_flow_rate_tells_with_a_hysteresis() -> None:
    """23 l/min lies between what the pump of this house gives for heating (21.6) and for hot water (24)."""
    rules = replace(RULES, dhw_flow_rate_l_per_min=23.5, dhw_flow_rate_hysteresis_l_per_min=0.3)
    bare = (*FLAGS, "dhw_temperature", "flow_setpoint")
    rows = judge("novelan_helox", "humid_defrost", 30.0, bare, rules)
    of_tank = heat(rows, pl.col("true_mode") == "dhw")
    assert heat(rows, pl.col("mode") == "dhw") == pytest.approx(of_tank, rel=0.03)
    sure = rows.filter(pl.col("raw_mode") == "dhw")["mode_confidence"]
    assert sure.mean() > 0.95  # type: ignore[operator]


TWO_METERS = tuple(
    {*NUMBER_POINTS, *TEXT_POINTS}
    - {"electrical_power", "flow_rate", "flow_temperature", "return_temperature", "outdoor_temperature"}
)
"""All signals but those of a meter of electricity and one of heat, and the outdoor temperature."""
METERED_CASES = [*CASES, ("daikin_altherma", "summer_dhw", 60.0), ("novelan_helox", "summer_dhw", 30.0)]


@pytest.mark.parametrize(("preset", "scenario", "interval_s"), METERED_CASES)
def test_two_meters_tell_heating_from_hot_water(preset: str, scenario: str, interval_s: float) -> None:
    rows = judged(preset, scenario, interval_s, TWO_METERS)
    assert set(rows["mode_source"].drop_nulls()) == {"inferred"}
    # Where nothing at all has changed for half an hour, the power is not known before it changes.
    assert rows.filter(pl.col("mode").is_null())["hours"].sum() <= 0.06 * rows["hours"].sum()
    true, found = pl.col("true_mode") == "dhw", pl.col("mode") == "dhw"
    of_tank = heat(rows, true)
    assert of_tank > 15
    assert heat(rows, found, ~true) <= 0.04 * of_tank, "taken from heating"
    assert heat(rows, ~found, true) <= 0.09 * of_tank, "given to heating"


def test_a_radiator_of_the_deep_frost_is_not_taken_for_hot_water() -> None:
    """Its flow is as hot as that of a charge, and its pump has no speed of its own: nobody can tell them apart."""
    rows = judged("daikin_altherma", "deep_frost", 30.0, TWO_METERS)
    wrong = heat(rows, pl.col("mode") == "dhw", pl.col("true_mode") == "heating")
    assert wrong <= 0.005 * heat(rows, pl.col("true_mode") == "heating")
    assert rows.filter(pl.col("true_mode") == "dhw", pl.col("mode") == "heating")["mode_confidence"].median() < 0.85  # type: ignore[operator]


@pytest.mark.parametrize("scenario", ["humid_defrost", "april_cycling"])
def test_heat_alone_tells_that_the_compressor_runs(scenario: str) -> None:
    """A meter of heat beside a counter of electricity, which tells no power. It sees a stop some minutes late, and a
    start where warm water is turned over: both give heat."""
    rows = judged("novelan_helox", scenario, 30.0, (*TWO_METERS, "electrical_power"))
    runs = (pl.col("true_state") != "off").fill_null(False)
    assert rows["compressor_running"].null_count() == 0
    assert rows.filter(pl.col("compressor_running") != runs)["hours"].sum() <= 0.04 * rows["hours"].sum()
    starts = truth_events(days_of("novelan_helox", scenario, DAYS)).filter(kind="compressor_run").height
    assert abs(rows["compressor_start"].sum() - starts) <= starts / 3
    of_tank = heat(rows, pl.col("true_mode") == "dhw")
    assert heat(rows, pl.col("mode") == "dhw") == pytest.approx(of_tank, rel=0.08)


def test_without_a_flow_temperature_it_is_unknown() -> None:
    """What a meter of electricity alone tells is that the machine runs, never what for."""
    rows = judged("novelan_helox", "humid_defrost", 30.0, (*TWO_METERS, "flow_temperature"))
    assert set(rows["raw_mode"].unique()) == {None, "standby"}
    assert rows.filter(pl.col("raw_mode").is_null())["mode_source"].null_count() > 0


def test_the_owner_can_switch_it_off() -> None:
    rows = judge("novelan_helox", "humid_defrost", 30.0, FLAGS, replace(RULES, infer_modes=False))
    assert rows["raw_mode"].null_count() == rows.height
    assert not rows["defrost"].any()


def test_water_that_is_cooled_for_long_is_cooling() -> None:
    frames = frames_of(days_of("novelan_helox", "april_cycling", DAYS), RULES, without=FLAGS).with_columns(
        compressor_running=pl.lit(True), delta_t=pl.lit(-4.0), flow_rate=pl.lit(1000.0)
    )
    cooled = inference.with_modes(frames.head(200), RULES, False)
    assert cooled.tail(190)["raw_mode"].unique().to_list() == ["cooling"]
    assert not cooled["defrost"].any()
    short = inference.with_modes(frames.head(20), RULES, False)
    assert short["defrost"].any()


@settings(max_examples=16, deadline=None)
@given(
    st.integers(0, DAYS * 24 * 60 - 1),
    st.integers(1, 12 * 60),
    st.sampled_from(CASES),
    st.sampled_from([FLAGS, TWO_METERS]),
)
def test_a_window_with_its_reach_gives_what_the_whole_gives(
    first_minute: int, minutes: int, case: tuple[str, str, float], without: tuple[str, ...]
) -> None:
    whole, frames = _whole(*case, without)
    first: datetime = frames["start"].min() + timedelta(minutes=first_minute)  # type: ignore[operator]
    last = first + timedelta(minutes=minutes)
    inside = (pl.col("start") >= first) & (pl.col("start") < last)
    reach = inference.reach(frames)
    near = (pl.col("start") >= first - reach) & (pl.col("start") < last + reach)
    cut = inference.with_modes(frames.filter(near), RULES, False)
    assert cut.filter(inside).equals(whole.filter(inside))


@settings(max_examples=12, deadline=None)
@given(st.integers(1, DAYS * 24 * 60 - 1), st.sampled_from(CASES))
def test_what_later_readings_change_was_provisional(minute: int, case: tuple[str, str, float]) -> None:
    _, frames = _whole(*case, TWO_METERS)
    start, end = run_bounds(days_of(case[0], case[1], DAYS))
    known = frames.filter(pl.col("start") < start + timedelta(minutes=minute))
    whole, early = (operation(rows, start, end, RULES, False, False) for rows in (frames, known))
    told = early.filter(~pl.col("provisional")).select("start", "mode", "defrost")
    assert told.equals(whole.head(told.height).select(told.columns))


@cache
def _whole(
    preset: str, scenario: str, interval_s: float, without: tuple[str, ...]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    frames = frames_of(days_of(preset, scenario, DAYS), RULES, interval_s, without)
    frames = frames.with_columns(compressor_running=compressor_running(RULES))
    return inference.with_modes(frames, RULES, False), frames
