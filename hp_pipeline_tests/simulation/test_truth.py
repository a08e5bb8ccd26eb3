"""Truth tables: events tile the run and sum to its totals, local days are as long as they are."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from hp_pipeline.simulation.house import Trajectory
from hp_pipeline.simulation.truth import ENERGIES, run_bounds, truth_energy, truth_events, truth_states

SUMMED = [*ENERGIES, "defrosts", "compressor_starts"]
PURPOSES = ("heating", "dhw", "standby")


def _kinds(events: pl.DataFrame, *kinds: str) -> pl.DataFrame:
    return events.filter(pl.col("kind").is_in(kinds)).sort("start")


SESSIONS = ("heating_session", "dhw_session", "standby_session")


def test_sessions_and_cycles_tile_the_run_and_sum_to_its_totals(scenarios: dict[str, Trajectory]) -> None:
    for run in scenarios.values():
        events = truth_events(run)
        total = truth_energy(run, "all")
        start, end = run_bounds(run)
        for tiles in (_kinds(events, *SESSIONS), _kinds(events, "cycle")):
            assert tiles["start"][0] == start
            assert tiles["end"][-1] == end
            assert (tiles["start"][1:] == tiles["end"][:-1]).all()
            for name in SUMMED:
                assert tiles[name].sum() == pytest.approx(total[name][0], abs=1e-6)


def test_the_parts_of_the_electricity_and_the_purposes_sum_up(scenarios: dict[str, Trajectory]) -> None:
    for run in scenarios.values():
        events, days = truth_events(run), truth_energy(run, "day")
        for table in (events, days):
            parts = table.select(
                pl.col("compressor_energy_kwh")
                + pl.col("auxiliary_energy_kwh")
                + pl.col("backup_heater_energy_kwh")
                - pl.col("electrical_energy_kwh")
            ).to_series()
            assert parts.abs().max() < 1e-9  # type: ignore[operator]
        for energy in ("electrical", "thermal"):
            off = days.select(
                pl.sum_horizontal(f"{energy}_energy_{purpose}_kwh" for purpose in PURPOSES)
                - pl.col(f"{energy}_energy_kwh")
            ).to_series()
            assert off.abs().max() < 1e-9  # type: ignore[operator]
        gross = events["thermal_energy_gross_kwh"] - events["thermal_energy_kwh"]
        assert gross.min() >= -1e-9  # type: ignore[operator]


def test_a_defrost_belongs_to_the_session_that_it_interrupts(scenarios: dict[str, Trajectory]) -> None:
    run = scenarios["humid_defrost"]
    events = truth_events(run)
    defrosts, sessions = _kinds(events, "defrost"), _kinds(events, *SESSIONS)
    assert defrosts.height > 30
    hosts = defrosts.join_asof(sessions.select("start", host_end="end", host="mode"), on="start")
    assert (hosts["end"] <= hosts["host_end"]).all()
    assert (hosts["host"] == hosts["mode"]).all()
    out_of_tank = defrosts.filter(mode="heating").filter(pl.col("defrost_heat_from_tank_kwh") > 0.05)
    assert out_of_tank.height >= 10
    assert (out_of_tank["defrost_heat_from_tank_kwh"] <= out_of_tank["defrost_heat_taken_kwh"] + 1e-9).all()
    assert sessions["defrosts"].sum() == defrosts.filter("complete").height
    assert sessions["defrost_heat_taken_kwh"].sum() == pytest.approx(defrosts["defrost_heat_taken_kwh"].sum())


@pytest.mark.parametrize(
    ("name", "day", "hours"),
    [("spring_clock_change", date(2024, 3, 31), 23), ("autumn_clock_change", date(2024, 10, 27), 25)],
)
def test_days_of_a_clock_change_have_their_hours(
    scenarios: dict[str, Trajectory], name: str, day: date, hours: int
) -> None:
    run = scenarios[name]
    days = truth_energy(run, "day")
    changed = days.filter(pl.col("period") == day)
    assert changed["hours"][0] == pytest.approx(hours)
    assert changed["end"][0] - changed["start"][0] == timedelta(hours=hours)
    whole = days.filter("complete")
    assert whole.height == 6
    assert set(whole["hours"].round(6)) == {24.0, float(hours)}
    assert (days["start"][1:] == days["end"][:-1]).all()
    own = truth_states(run).filter(pl.col("time").is_between(changed["start"][0], changed["end"][0], closed="left"))
    assert own["heat_kw"].sum() * run.step_s / 3600 == pytest.approx(changed["thermal_energy_kwh"][0])


def test_months_and_years_are_the_sums_of_their_days(years: dict[str, Trajectory]) -> None:
    run = years["daikin_altherma"]
    days = truth_energy(run, "day")
    assert days.filter("complete").height == 365, "the first and the last local day are cut by UTC's new year"
    for period, key in (("month", pl.col("period").dt.month_start()), ("year", pl.col("period").dt.truncate("1y"))):
        table = truth_energy(run, period)  # type: ignore[arg-type]
        summed = days.group_by(key.alias("period")).agg(pl.col("hours", *SUMMED).sum()).sort("period")
        assert_frame_equal(table.select("period", "hours", *SUMMED), summed, abs_tol=1e-6)
    months = truth_energy(run, "month").filter("complete")
    assert months["period"].to_list() == [date(2024, month, 1) for month in range(2, 13)]
    assert months["hours"][1] == 743
    assert months["start"][0] == datetime(2024, 1, 31, 23, tzinfo=UTC)
    everything = truth_energy(run, "all")
    assert everything["period"][0] is None
    assert everything["cop"][0] == pytest.approx(
        everything["thermal_energy_kwh"][0] / everything["electrical_energy_kwh"][0]
    )


def test_the_calendar_is_the_one_of_the_zone(scenarios: dict[str, Trajectory]) -> None:
    run = scenarios["summer_dhw"]
    utc = truth_energy(run, "day", "UTC")
    assert utc.height == 14
    assert (utc["hours"] == 24).all()
    kolkata = truth_energy(run, "day", "Asia/Kolkata")
    assert kolkata["start"][1].minute == 30
    assert kolkata["thermal_energy_kwh"].sum() == pytest.approx(utc["thermal_energy_kwh"].sum())


def test_states_and_events_say_the_same(scenarios: dict[str, Trajectory]) -> None:
    run = scenarios["april_cycling"]
    states, events = truth_states(run), truth_events(run)
    assert states.height == run.steps
    on = states.filter(pl.col("state") == "on").height * run.step_s
    cycles = _kinds(events, "cycle").filter(pl.col("state") == "on")
    assert cycles.select((pl.col("end") - pl.col("start")).sum().dt.total_seconds()).item() == on
    runs = _kinds(events, "compressor_run").filter("complete")
    assert events.filter(pl.col("kind").is_in(SESSIONS))["compressor_starts"].sum() >= runs.height
    for event in _kinds(events, "heating_session").filter("complete").head(5).iter_rows(named=True):
        inside = states.filter(pl.col("time").is_between(event["start"], event["end"], closed="left"))
        assert (inside["mode"] == "heating").all()
        assert inside["flow_temperature"].max() == pytest.approx(event["flow_temperature_max"])
        assert inside["return_temperature"].min() == pytest.approx(event["return_temperature_min"])
        assert inside["outdoor_temperature"].mean() == pytest.approx(event["outdoor_temperature_mean"])


def test_kinds_of_events_that_never_happened_are_absent(scenarios: dict[str, Trajectory]) -> None:
    events = truth_events(scenarios["summer_dhw"])
    assert set(events["kind"]) == {
        "standby_session",
        "dhw_session",
        "cycle",
        "compressor_run",
        "legionella",
        "immersion",
    }
    immersion = events.filter(kind="immersion")
    assert immersion.height == 2
    assert (immersion["immersion_energy_kwh"] > 0.8).all()
    assert events["start"].dtype == pl.Datetime("us", "UTC")
