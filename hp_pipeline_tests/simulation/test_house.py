"""The house: balances that close, certificates met, years that a heat pump engineer would believe."""

import dataclasses
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from hp_pipeline.simulation.house import Operation, Trajectory, hot_water_draws, local_seconds, simulate
from hp_pipeline.simulation.parameters import DAIKIN_ALTHERMA, PRESETS, ZERO_CELSIUS_K, Control, Parameters
from hp_pipeline.simulation.weather import Climate, simulate_weather

FEBRUARY = datetime(2024, 2, 1, tzinfo=UTC)
ARRAYS = [f.name for f in dataclasses.fields(Trajectory) if "Array" in str(f.type)]


def _run(days: float, step_s: int = 30, parameters: Parameters = DAIKIN_ALTHERMA, seed: int = 7) -> Trajectory:
    weather = simulate_weather(FEBRUARY, FEBRUARY + timedelta(days=days), step_s=step_s, seed=4)
    return simulate(parameters, weather, seed)


def _certificate(parameters: Parameters, heat_kw: float, outdoor_c: float, flow_c: float) -> float:
    """COP of the steady heat pump with its fan, as on a test bench."""
    hp = parameters.heat_pump
    share = heat_kw / hp.full_load_kw
    condensing = flow_c + hp.condenser_approach_k * share + ZERO_CELSIUS_K
    evaporating = outdoor_c - hp.evaporator_offset_k - hp.evaporator_approach_k * share + ZERO_CELSIUS_K
    power = hp.fixed_power_kw + heat_kw * (condensing - evaporating) / (hp.carnot_efficiency * condensing)
    return heat_kw / power


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    one, same, other = _run(3), _run(3), _run(3, seed=8)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    assert one.balance == same.balance
    assert not np.array_equal(one.dhw_upper_c, other.dhw_upper_c)


@pytest.mark.parametrize("name", PRESETS)
def test_heat_balances_close(name: str) -> None:
    run = _run(10, parameters=PRESETS[name])
    balance = run.balance
    made = balance.condenser + balance.backup
    assert made > 200
    assert made == pytest.approx(balance.hydraulic + balance.flow_node_stored + balance.flow_node_lost, abs=1e-6)
    assert balance.tank_charged + balance.tank_immersion == pytest.approx(
        balance.tank_drawn + balance.tank_lost + balance.tank_stored, abs=1e-6
    )
    # What is logged is what was balanced: flow rate times spread is the heat, the node keeps little of it.
    assert run.heat_kw.sum() * run.step_s / 3600 == pytest.approx(balance.hydraulic, rel=1e-6)
    assert run.condenser_kw.sum() * run.step_s / 3600 == pytest.approx(balance.condenser, rel=1e-5)
    assert balance.hydraulic == pytest.approx(made, rel=0.02)


@pytest.mark.parametrize(
    ("name", "heat_kw", "outdoor_c", "flow_c", "cop"),
    [
        ("novelan_helox", 3.45, 7, 35, 5.04),
        ("novelan_helox", 9.42, -7, 34, 3.07),
        ("stiebel_hpa", 4.68, 7, 35, 4.23),
        ("stiebel_hpa", 6.80, -7, 34, 2.49),
        ("viessmann_vitocal", 7.31, 7, 35, 5.31),
        ("viessmann_vitocal", 8.70, -7, 34, 3.30),
    ],
)
def test_presets_meet_their_certificates(
    name: str, heat_kw: float, outdoor_c: float, flow_c: float, cop: float
) -> None:
    assert _certificate(PRESETS[name], heat_kw, outdoor_c, flow_c) == pytest.approx(cop, rel=0.11)


@pytest.mark.parametrize("name", PRESETS)
def test_a_year_is_plausible(years: dict[str, Trajectory], name: str) -> None:
    run = years[name]
    hours = run.step_s / 3600
    heat, power = run.heat_kw.sum() * hours, run.electrical_kw.sum() * hours
    assert 2.6 < heat / power < 5.4, "JAZ of the field studies of Fraunhofer ISE"
    assert 9_000 < heat < 17_000
    starts = np.count_nonzero(np.diff((run.compressor_hz > 0).astype(int)) == 1)
    assert 2 < starts / 366 < 10
    defrosts = np.count_nonzero(np.diff(run.defrost.astype(int)) == 1)
    assert 400 < defrosts < 1500
    taken = -np.clip(run.heat_kw[run.defrost], None, 0).sum() * hours
    assert 0.005 < taken / heat < 0.04
    assert 0.008 < np.clip(run.heat_kw, 0, None).sum() * hours / heat - 1 < 0.035, "gross against net heat"
    dhw = run.operation == Operation.DHW
    charges = np.count_nonzero(np.diff(dhw.astype(int)) == 1)
    assert 1 < charges / 366 < 3
    assert 5 < run.heat_kw[dhw].sum() * hours / 366 < 9, "kWh of hot water per day"
    winter = np.r_[0 : 80 * 1440, 320 * 1440 : run.steps]
    assert run.room_temperature_c[winter].min() > 16.5
    assert 18.5 < run.room_temperature_c[winter].mean() < 23
    assert run.flow_temperature_c.max() < 66
    assert run.return_temperature_c.min() > 10
    assert run.dhw_upper_c.max() < 63
    assert run.compressor_hz.max() <= run.parameters.heat_pump.maximum_hz
    running = (run.compressor_hz > 0) & ~run.defrost & (run.flow_rate_l_per_min > 0)
    carnot = (run.flow_temperature_c + 273.15) / np.maximum(run.flow_temperature_c - run.outdoor_temperature_c, 12)
    assert (run.condenser_kw[running] <= carnot[running] * run.compressor_kw[running]).all()


def test_the_step_hardly_matters() -> None:
    coarse, middle, fine = _run(14, 60), _run(14, 30), _run(14, 10)

    def figures(run: Trajectory) -> tuple[float, float, int]:
        hours = run.step_s / 3600
        heat, power = run.heat_kw.sum() * hours, run.electrical_kw.sum() * hours
        defrosts = np.count_nonzero(np.diff(run.defrost.astype(int)) == 1)
        return float(heat), float(heat / power), int(defrosts)

    heat, cop, defrosts = figures(fine)
    for other in (figures(coarse), figures(middle)):
        assert other[0] == pytest.approx(heat, rel=0.02)
        assert other[1] == pytest.approx(cop, rel=0.02)
        assert other[2] == pytest.approx(defrosts, rel=0.15)


def test_a_year_at_30_s_takes_less_than_ten_cpu_seconds() -> None:
    code = (
        "import time; from hp_pipeline_tests.simulation.test_house import _run; began = time.process_time(); "
        "assert _run(30).steps == 86_400; print(time.process_time() - began)"
    )
    # In a process of its own, where nobody counts which lines run.
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert min(float(run.stdout) for run in runs) * 366 / 30 < 10


def test_defrosts_out_of_the_tank_turn_the_valve_around_the_flag(scenarios: dict[str, Trajectory]) -> None:
    run = scenarios["humid_defrost"]
    excursion = run.valve_dhw & (run.operation == Operation.HEATING)
    first = np.flatnonzero(np.diff(excursion.astype(int)) == 1) + 1
    stop = np.flatnonzero(np.diff(excursion.astype(int)) == -1) + 1
    assert len(first) >= 10
    leads, lags = [], []
    for begin, end in zip(first, stop, strict=True):
        flag = np.flatnonzero(run.defrost[begin : end + 30]) + begin
        leads.append((flag[0] - begin) * run.step_s)
        flag_end = flag[0] + np.flatnonzero(~run.defrost[flag[0] :])[0]
        lags.append((flag_end - end) * run.step_s)
        assert run.heat_kw[flag[0] : flag_end].min() < -2
    assert min(leads) == 0 or max(leads) > 30, "the valve leads by 0 to 2 samples of 30 s"
    assert min(leads) >= 0 and max(leads) <= 70
    assert len(set(leads)) > 2
    assert min(lags) >= 0 and max(lags) <= 70, "back with the flag or shortly before it clears"
    tank_only = run.defrost & ~run.valve_dhw & (run.operation == Operation.HEATING)
    assert tank_only.any(), "other defrosts take their heat from the room"


def test_legionella_by_immersion_follows_the_charge() -> None:
    run = _run(7, 30)
    heats = run.immersion_kw > 1
    assert heats.any()
    assert run.legionella[heats].all()
    assert run.dhw_upper_c.max() == pytest.approx(61.0, abs=0.5)
    assert not (heats & (run.compressor_hz > 0) & (run.operation == Operation.DHW)).any()
    sunday = datetime.fromtimestamp(int(run.unix_s[np.flatnonzero(run.legionella)[0]]), UTC)
    assert (sunday.weekday(), sunday.hour) == (6, 12), "13:00 in Berlin"


def test_legionella_by_the_heat_pump_uses_the_backup_heater() -> None:
    run = _run(7, 30, PRESETS["novelan_helox"])
    assert run.legionella.any()
    assert (run.backup_step[run.legionella] == 2).any()
    assert run.immersion_kw.max() == 0


def test_in_frost_the_backup_heater_helps_and_standing_pipes_are_guarded(
    scenarios: dict[str, Trajectory],
) -> None:
    run = scenarios["deep_frost"]
    assert run.outdoor_temperature_c.mean() < -8
    assert run.backup_kw.sum() * run.step_s / 3600 > 5
    assert run.freeze_protection.any()
    assert not run.freeze_protection[run.outdoor_temperature_c > 1].any()
    assert run.flow_rate_l_per_min[run.freeze_protection].min() > 5
    idle = (run.operation == Operation.STANDBY) & ~run.freeze_protection
    assert run.flow_rate_l_per_min[idle].max() == 0


def test_hot_water_has_priority_and_the_pump_runs_on_after_the_compressor() -> None:
    run = _run(14, 10)
    heating = run.operation == Operation.HEATING
    dhw = run.operation == Operation.DHW
    assert np.count_nonzero(heating[:-1] & dhw[1:]) > 3, "hot water interrupts heating"
    assert np.count_nonzero(dhw[:-1] & heating[1:]) > 3, "which goes on after it"
    ends = np.flatnonzero((run.operation[:-1] > 0) & (run.operation[1:] == 0))
    assert len(ends) > 5
    for end in ends:
        assert run.flow_rate_l_per_min[end] > 0
        assert run.compressor_hz[end] == 0


def test_states_agree_with_each_other(years: dict[str, Trajectory]) -> None:
    for run in years.values():
        runs = run.compressor_hz > 0
        assert (run.flow_rate_l_per_min[runs] > 0).all(), "no compressor without flow"
        assert ((run.compressor_kw > 0) == runs).all()
        assert run.valve_dhw[run.operation == Operation.DHW].all()
        assert (run.operation[run.defrost] != Operation.STANDBY).all()
        assert not run.valve_dhw[run.operation == Operation.STANDBY].any()
        assert run.thermostat[runs].all()
        if run.parameters.heating.kind is not Control.ROOM_THERMOSTAT:
            overrun = run.parameters.hydraulics.overrun_s + run.parameters.heat_pump.start_delay_s
            off = (run.operation > 0) & ~runs & ~run.defrost
            edges = np.diff(np.concatenate(([0], off.astype(int), [0])))
            lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
            assert lengths.max() * run.step_s <= overrun + 2 * run.step_s


def test_hot_water_draws_do_not_depend_on_window_or_step() -> None:
    long = simulate_weather(FEBRUARY, FEBRUARY + timedelta(days=60), step_s=60)
    short = simulate_weather(FEBRUARY + timedelta(days=5), FEBRUARY + timedelta(days=8), step_s=30)
    litres = hot_water_draws(long, 135.0, "Europe/Berlin", seed=1)
    part = hot_water_draws(short, 135.0, "Europe/Berlin", seed=1)
    np.testing.assert_allclose(part.reshape(-1, 2).sum(axis=1), litres[5 * 1440 : 8 * 1440], atol=1e-6)
    assert litres.sum() / 60 == pytest.approx(135.0, rel=0.1)
    hour = ((np.arange(len(litres)) / 60) + 1) % 24
    assert litres[(hour > 6) & (hour < 9)].sum() > 4 * litres[(hour > 1) & (hour < 4)].sum()


def test_local_time_follows_both_changes_of_the_clock() -> None:
    for change, before, after in (
        (datetime(2024, 3, 31, 1, tzinfo=UTC), 3600, 7200),
        (datetime(2024, 10, 27, 1, tzinfo=UTC), 7200, 3600),
    ):
        at = int(change.timestamp())
        unix = np.arange(at - 3 * 86_400, at + 3 * 86_400, 60)
        offset = local_seconds(unix, "Europe/Berlin") - unix
        np.testing.assert_array_equal(offset, np.where(unix < at, before, after))


def test_settling_is_left_out() -> None:
    weather = simulate_weather(FEBRUARY, FEBRUARY + timedelta(days=3), step_s=60, seed=4)
    whole = simulate(DAIKIN_ALTHERMA, weather)
    settled = simulate(DAIKIN_ALTHERMA, weather, settling=timedelta(days=1))
    assert settled.start_s == whole.start_s + 86_400
    assert settled.steps == 2 * 1440
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(settled, name), getattr(whole, name)[1440:])


def test_a_mild_climate_needs_no_heating() -> None:
    weather = simulate_weather(FEBRUARY, FEBRUARY + timedelta(days=4), step_s=60, climate=Climate(mean_c=35.0))
    run = simulate(DAIKIN_ALTHERMA, weather)
    assert not (run.operation == Operation.HEATING).any()
    assert (run.operation == Operation.DHW).any()
    assert not run.defrost.any()
