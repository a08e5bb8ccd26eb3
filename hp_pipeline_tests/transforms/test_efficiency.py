"""Grade, weighed temperatures, bins and heating curve: against the simulation's truth, and the same in any order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.simulation.house import Operation, Trajectory, simulate
from hp_pipeline.simulation.parameters import NOVELAN_HELOX
from hp_pipeline.simulation.scenarios import SCENARIOS, SETTLING
from hp_pipeline.simulation.truth import run_bounds
from hp_pipeline.simulation.weather import simulate_weather
from hp_pipeline.transforms import efficiency
from hp_pipeline.transforms.energy import Energies
from hp_pipeline.transforms.floors import Known
from hp_pipeline.transforms.operation import operation
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.boundaries import Metering
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline.vocabulary.tables.efficiency import SUMS
from hp_pipeline_tests.transforms.simulated import days_of, frames_of

RULES = Rules()
ZONE = "Europe/Berlin"
DAYS = 4


def _seen(run: Trajectory, interval_s: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    frames = frames_of(run, RULES, interval_s)
    start, end = run_bounds(run)
    return frames, operation(frames, start, end, RULES, more_follows=False, tells_dhw=False)


@cache
def seen(preset: str, interval_s: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Frames and `operation` of some days of frost."""
    return _seen(days_of(preset, "humid_defrost", DAYS), interval_s)


def energies_of(frames: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
    """The energies of frames of a machine without counters."""
    none = conform(None, "counter_states").with_columns(day=pl.lit(None, pl.Date))
    return Energies(frames, modes, conform(None, "counters"), none).of_frames()


def sums_of(frames: pl.DataFrame, modes: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Their sums."""
    energies = energies_of(frames, modes)
    return efficiency.sums_of(frames, modes, energies, zone, RULES.metering)


def by_use(frames: pl.DataFrame, modes: pl.DataFrame) -> dict[str, dict[str, float]]:
    """What is shown of all of it, by use."""
    rows = efficiency.shown(efficiency.by_use(sums_of(frames, modes, ZONE)), RULES)
    return {row["mode"]: row for row in rows.iter_rows(named=True)}


def truth(run: Trajectory, use: Operation) -> dict[str, float]:
    """The same of the simulation's own steps."""
    own = run.operation == use
    on = own & (run.compressor_hz > 0)
    weight = np.where(own, np.clip(run.heat_kw, 0, None), 0)
    flow, outdoor = (
        float((weight * series).sum() / weight.sum()) for series in (run.flow_temperature_c, run.outdoor_temperature_c)
    )
    cop = float(run.heat_kw[on].sum() / run.electrical_kw[on].sum())
    return {"cop": cop, "flow": flow, "outdoor": outdoor, "grade": cop / ((flow + 273.15) / (flow - outdoor))}


@pytest.mark.parametrize("interval_s", [30.0, 60.0])
@pytest.mark.parametrize("preset", ["daikin_altherma", "novelan_helox"])
@pytest.mark.parametrize("use", [Operation.HEATING, Operation.DHW])
def test_as_in_the_simulation(preset: str, interval_s: float, use: Operation) -> None:
    found = by_use(*seen(preset, interval_s))[use.name.lower()]
    true = truth(days_of(preset, "humid_defrost", DAYS), use)
    room = 0.01 if use is Operation.HEATING else 0.03  # charges are few, and short against a minute
    assert found["efficiency_reason"] is None
    assert found["cop_running"] == pytest.approx(true["cop"], rel=room)
    assert found["flow_temperature_weighted"] == pytest.approx(true["flow"], abs=0.15)
    assert found["outdoor_temperature_weighted"] == pytest.approx(true["outdoor"], abs=0.1)
    assert found["source_temperature_weighted"] == found["outdoor_temperature_weighted"]
    assert found["carnot_grade"] == pytest.approx(true["grade"], rel=room)


@pytest.mark.parametrize(
    ("electrical", "thermal"), [(True, True), (True, False), (False, True)], ids=["both", "electricity", "heat"]
)
def test_a_rod_in_the_main_meters_does_not_change_what_is_said_of_the_compressor(
    electrical: bool, thermal: bool
) -> None:
    """A rod that gives 6 kW in every other half hour, in some of them alone, and is in the meters that include it."""
    frames, modes = seen("daikin_altherma", 60.0)
    energies = energies_of(frames, modes)
    span = (pl.col("end") - pl.col("start")).dt.total_microseconds()
    rod = pl.when(pl.col("start").dt.minute() < 30).then(span * 6).otherwise(0)
    heated = energies.with_columns(
        backup=rod,
        electrical=pl.col("electrical") + (rod if electrical else 0),
        thermal=pl.col("thermal") + (rod if thermal else 0),
    )
    included = {True: ("compressor", "backup_heater"), False: ("compressor",)}
    apart = {"backup_heater": "electrical_energy_backup_heater_kwh"}
    metering = Metering(electrical=included[electrical], thermal=included[thermal], apart=apart)
    with_rod = efficiency.sums_of(frames, modes, heated, ZONE, metering)
    without = efficiency.sums_of(frames, modes, energies, ZONE, metering=Metering())
    whole = {"electrical_mj": electrical, "thermal_mj": thermal}
    assert with_rod.drop(whole).equals(without.drop(whole))
    for column, includes_rod in whole.items():
        assert (with_rod[column].sum() > without[column].sum()) == includes_rod
    # Where nothing tells the rod apart, its heat is in the figures.
    unknown = efficiency.sums_of(frames, modes, heated, ZONE, metering=Metering())
    grades = [
        {row["mode"]: row["cop_running"] for row in efficiency.shown(efficiency.by_use(sums), RULES).to_dicts()}
        for sums in (with_rod, unknown)
    ]
    assert grades[0]["heating"] != pytest.approx(grades[1]["heating"], rel=0.05)


@pytest.mark.parametrize("interval_s", [30.0, 60.0])
def test_the_grade_of_a_machine_without_losses_is_its_carnot_factor(interval_s: float) -> None:
    """No approach temperatures, no auxiliaries, no frost: what is left of the model is factor × Carnot."""
    ideal = replace(
        NOVELAN_HELOX,
        heat_pump=replace(
            NOVELAN_HELOX.heat_pump,
            condenser_approach_k=0.0,
            evaporator_approach_k=0.0,
            evaporator_offset_k=0.0,
            fixed_power_kw=0.0,
            standby_kw=0.0,
            fan_kw=0.0,
            crankcase_kw=0.0,
            condenser_kj_per_k=5.0,
        ),
        defrost=replace(NOVELAN_HELOX.defrost, frost_rate=0.0),
        hydraulics=replace(NOVELAN_HELOX.hydraulics, pump_idle_kw=0.0, pump_kw_at_30_l_per_min=0.0),
    )
    chosen = SCENARIOS["humid_defrost"]
    weather = simulate_weather(
        chosen.start - SETTLING, chosen.start + timedelta(days=3), step_s=10, seed=1, climate=chosen.climate
    )
    found = by_use(*_seen(simulate(ideal, weather, 1, settling=SETTLING), interval_s))
    assert found["heating"]["carnot_grade"] == pytest.approx(ideal.heat_pump.carnot_efficiency, rel=0.01)


def test_sums_are_those_of_the_frames_in_which_both_are_known() -> None:
    frames, modes = seen("daikin_altherma", 30.0)
    lacking = pl.col("start").dt.minute() == 7
    frames = frames.with_columns(electrical_power=pl.when(~lacking).then("electrical_power"))
    sums = sums_of(frames, modes, ZONE)
    hours = (pl.col("end") - pl.col("start")).dt.total_microseconds() / 3.6e9
    both = frames.filter(pl.col("electrical_power").is_not_null(), pl.col("thermal_power").is_not_null())
    for name, power in (("electrical_mj", "electrical_power"), ("thermal_mj", "thermal_power")):
        whole = both.select((pl.col(power) * hours).sum() / 1000).item()
        assert sums[name].sum() / 3.6e9 == pytest.approx(whole, abs=1e-6)
    assert (
        sums["observed_us"].sum()
        == frames.select((pl.col("end") - pl.col("start")).sum().dt.total_microseconds()).item()
    )
    assert sums["known_us"].sum() < sums["observed_us"].sum()
    assert set(sums["period"]) == {f"2024-01-{day}" for day in range(22, 27)}


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, DAYS * 1440), max_size=6), st.randoms(use_true_random=False))
def test_merged_in_any_parts_and_order_it_is_the_same_to_the_last_bit(cuts: list[int], random) -> None:  # type: ignore[no-untyped-def]
    frames, modes = seen("daikin_altherma", 60.0)
    start = run_bounds(days_of("daikin_altherma", "humid_defrost", DAYS))[0]
    edges = [
        start - timedelta(days=1),
        *(start + timedelta(minutes=cut) for cut in sorted(cuts)),
        start + timedelta(days=9),
    ]
    parts = []
    for first, last in pairwise(edges):
        inside = (pl.col("start") >= first) & (pl.col("start") < last)
        parts.append(sums_of(frames.filter(inside), modes.filter(inside), ZONE))
    random.shuffle(parts)
    whole = sums_of(frames, modes, ZONE)
    for by in ((), ("mode", "outdoor_from"), ("period", "mode")):
        expected = efficiency.merged(whole, *by)
        assert efficiency.merged(pl.concat(parts), *by).equals(expected)
    halves = [efficiency.merged(part, "period", "mode", "outdoor_from") for part in parts if part.height]
    assert efficiency.merged(pl.concat(halves), "mode").equals(efficiency.merged(whole, "mode"))


def test_a_bin_is_the_ratio_of_its_sums() -> None:
    frames, modes = seen("novelan_helox", 30.0)
    bins = efficiency.temperature_bins(sums_of(frames, modes, ZONE), RULES)
    known = pl.col("electrical_power").is_not_null() & pl.col("thermal_power").is_not_null()
    joined = frames.filter(known).join(modes.select("start", "mode", "compressor_running"), on="start")
    hours = (pl.col("end") - pl.col("start")).dt.total_microseconds() / 3.6e9
    for row in bins.filter(mode="heating").iter_rows(named=True):
        own = joined.filter(pl.col("mode") == "heating", pl.col("outdoor_temperature").floor() == row["outdoor_from"])
        heat, power = (
            own.select((pl.col(name) * hours).sum() / 1000).item() for name in ("thermal_power", "electrical_power")
        )
        assert row["thermal_energy_kwh"] == pytest.approx(heat, abs=1e-6)
        assert row["electrical_energy_kwh"] == pytest.approx(power, abs=1e-6)
        if row["cop_running"] is not None:
            assert row["cop_running"] == pytest.approx(
                row["running_thermal_energy_kwh"] / row["running_electrical_energy_kwh"]
            )
            lift = 35.0 - row["source_temperature_weighted"]
            assert row["cop_at_reference"] == pytest.approx(row["carnot_grade"] * 308.15 / lift)
    assert bins.filter(mode="standby")["cop_running"].null_count() == bins.filter(mode="standby").height
    assert bins.filter(mode="standby")["efficiency_reason"].null_count() == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (pl.lit(None, pl.Float64).alias("electrical_power"), "never known together"),
        (pl.lit(0.1).alias("electrical_power"), "less than 0.05 kWh"),
        (pl.lit(-100.0).alias("thermal_power"), "no heat given"),
        (pl.col("thermal_power") * 20, "above the Carnot limit"),
        (pl.lit(None, pl.Float64).alias("flow_temperature"), "no temperature of flow or source"),
        ((pl.col("outdoor_temperature") + 2).alias("flow_temperature"), "less than 5.0 K above"),
    ],
)
def test_what_the_data_do_not_bear_is_null_with_its_reason(change: pl.Expr, reason: str) -> None:
    frames, modes = seen("novelan_helox", 60.0)
    row = by_use(frames.head(600).with_columns(change), modes.head(600))["heating"]
    assert row["carnot_grade"] is None
    assert reason in str(row["efficiency_reason"])


KWH_MJ, HOUR_US = 3_600_000_000, 3_600_000_000
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


def sums_row(
    hours: float,
    electrical_kwh: float,
    cop: float,
    *,
    mode: str = "heating",
    outdoor: int = 2,
    flow: float | None = 35.0,
) -> dict[str, object]:
    """Sums of hours in which the compressor ran and all was known."""
    heat = round(electrical_kwh * cop * KWH_MJ)
    us = round(hours * HOUR_US)
    row: dict[str, object] = {column.name: 0 for column in SUMS}
    row |= dict.fromkeys(("observed_us", "known_us", "running_us"), us)
    for part in ("", "running_"):
        row |= {f"{part}electrical_mj": round(electrical_kwh * KWH_MJ), f"{part}thermal_mj": heat}
    row |= {"source_heat_mj": heat, "source_heat_mj_c": round(heat * (outdoor + 0.5))}
    if flow is not None:
        row |= {"flow_heat_mj": heat, "flow_heat_mj_c": round(heat * flow)}
    return row | {
        "heat_pump": "a", "mode": mode, "outdoor_from": outdoor, "period": "2024-01-01",
        "start": BEGIN, "end": BEGIN + timedelta(hours=hours),
    }  # fmt: skip


@pytest.mark.parametrize(("hours", "borne"), [(1 / 3, False), (11.5, False), (12.5, True), (24.0, True)])
def test_a_day_known_for_less_than_half_of_it_has_no_cop(hours: float, borne: bool) -> None:
    """Whatever was made of the time that is known: it is not the day."""
    day = pl.DataFrame({"heat_pump": ["a"], "start": [BEGIN], "end": [BEGIN + timedelta(days=1)]})
    found = efficiency.of_periods(pl.DataFrame([sums_row(hours, hours, 4.0)]), day, RULES, Known())
    for row in found.iter_rows(named=True):
        assert row["coverage"] == pytest.approx(hours / 24)
        assert (row["cop_running"] is None, row["carnot_grade"] is None) == (not borne, not borne)
        assert (row["efficiency_reason"] or "").startswith("" if borne else "known for only ")
    newest = Known(until=BEGIN + timedelta(hours=hours))
    of_now = efficiency.of_periods(pl.DataFrame([sums_row(hours, hours, 4.0)]), day, RULES, newest)
    assert of_now["cop_running"].to_list() == [4.0, 4.0], "what is yet to come is not missed"


@pytest.mark.parametrize(
    ("cop", "flow", "borne"),
    [(9.0, 35.0, True), (9.6, 35.0, False), (500.0, None, False), (15.0, None, True), (17.5, None, False)],
)
def test_no_cop_is_above_what_carnot_allows_even_where_the_flow_is_unknown(
    cop: float, flow: float | None, borne: bool
) -> None:
    """From 2.5 °C to 35 °C 9.5, and to the 20 °C of a room, below which no water heats it, 16.8."""
    (row,) = efficiency.shown(pl.DataFrame([sums_row(24, 24, cop, flow=flow)]), RULES).iter_rows(named=True)
    assert (row["cop_running"] is not None) == borne
    assert borne or "Carnot" in row["efficiency_reason"]


def test_a_grade_is_not_carried_to_temperatures_far_from_those_that_it_was_seen_at() -> None:
    """Hot water at 52 °C says nothing of a flow of 35 °C, and least of all 5 K above the summer's air."""
    tank = pl.DataFrame([sums_row(24, 24, 3.0, mode="dhw", outdoor=place, flow=52.0) for place in (-5, 10, 29)])
    rows = efficiency.temperature_bins(tank, RULES)
    assert rows["carnot_grade"].null_count() == 0
    assert rows["cop_at_reference"].null_count() == 3
    assert rows["reference_reason"].to_list() == ["the flow was 52.0 to 52.0 °C, too far from 35.0 °C to tell"] * 3
    hot = pl.DataFrame([sums_row(24, 24, 3.0, mode="dhw", outdoor=place, flow=20.0 + place) for place in (15, 28)])
    rows = efficiency.temperature_bins(hot, RULES)
    assert [cop is None for cop in rows["cop_at_reference"]] == [False, True]
    assert "too far from 6.5 K" in rows["reference_reason"][1]


def _bins(cops: dict[int, float]) -> pl.DataFrame:
    return pl.DataFrame(
        {"mode": ["heating"] * len(cops), "outdoor_from": list(cops), "cop_at_reference": list(cops.values())}
    ).with_columns(pl.lit(None, pl.String).alias(name) for name in ("efficiency_reason", "reference_reason"))


def test_the_normalised_cop_is_the_ratio_of_heat_to_electricity_in_one_climate() -> None:
    everywhere = range(-11, 16)
    assert efficiency.normalised(_bins(dict.fromkeys(everywhere, 4.0))) == (pytest.approx(4.0), 1.0, None)
    half = {place: 2.0 if place < 2 else 4.0 for place in everywhere}
    cop, share, _ = efficiency.normalised(_bins(half))
    assert share == 1.0
    assert cop is not None and 2 < cop < 3  # a harmonic mean, and the cold half needs more heat
    cop, share, reason = efficiency.normalised(_bins(dict.fromkeys(range(5, 16), 4.0)))
    assert cop is None and 0 < share < 0.5 and "average climate" in str(reason)
    assert sum(efficiency.AVERAGE_CLIMATE_HOURS) == 4910


def test_a_heating_curve_is_the_line_that_it_was_made_of() -> None:
    outdoor = [-5.5, -2.5, 0.5, 3.5, 6.5, 9.5]
    bins = pl.DataFrame(
        {
            "mode": ["heating"] * 6,
            "running_hours": [3.0] * 6,
            "outdoor_temperature_weighted": outdoor,
            "flow_temperature_running": [24.0 + 0.5 * (20 - place) + 1.5 for place in outdoor],
            "flow_setpoint_running": [24.0 + 0.5 * (20 - place) for place in outdoor],
            "return_temperature_running": [22.0 + 0.4 * (20 - place) for place in outdoor],
            "return_setpoint_running": pl.Series([None] * 6, dtype=pl.Float64),
        }
    )
    found = efficiency.heating_curve(bins)
    assert found["flow_slope"] == pytest.approx(0.5) and found["flow_level_c"] == pytest.approx(25.5)
    assert found["flow_set_slope"] == pytest.approx(0.5) and found["flow_set_level_c"] == pytest.approx(24.0)
    assert found["flow_above_setpoint_k"] == pytest.approx(1.5)
    assert found["return_slope"] == pytest.approx(0.4)
    assert found["return_set_slope"] is None and found["return_above_setpoint_k"] is None
    few = efficiency.heating_curve(bins.with_columns(running_hours=pl.Series([3.0, 3, 3, 3, 1, 1])))
    assert few["flow_slope"] is None and few["bins"] == 4 and "only 4 bins" in str(few["curve_reason"])


def test_the_set_curve_of_a_house_is_found() -> None:
    """Set-point of the house: 22.5 °C + 0.38 per kelvin below 20 °C, smoothed over 3 h, more where the room is cold."""
    frames, modes = seen("novelan_helox", 30.0)
    bins = efficiency.temperature_bins(sums_of(frames, modes, ZONE), RULES)
    found = efficiency.heating_curve(bins)
    assert found["bins"] == bins.filter(pl.col("mode") == "heating", pl.col("running_hours") >= 2).height
    at_two = float(found["flow_set_level_c"]) + float(found["flow_set_slope"]) * 18  # type: ignore[arg-type]
    assert at_two == pytest.approx(22.5 + 0.38 * 18, abs=2.0)
    assert datetime(2024, 1, 22, tzinfo=UTC) == run_bounds(days_of("novelan_helox", "humid_defrost", DAYS))[0]
