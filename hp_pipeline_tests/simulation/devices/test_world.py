"""The house at a moment agrees with the truth about the run; the clock runs as fast as it is told."""

from datetime import UTC, datetime, timedelta

import pytest

from hp_pipeline.simulation.devices.world import Clock, House, State
from hp_pipeline.simulation.house import Trajectory
from hp_pipeline.simulation.truth import truth_energy, truth_events
from hp_pipeline_tests.simulation.devices.conftest import START


def test_counters_are_the_energies_of_the_truth(house: House, winter_run: Trajectory) -> None:
    end = house.end - timedelta(microseconds=1)
    first, last = house.at(house.start), house.at(end)
    truth = truth_energy(winter_run, "all").row(0, named=True)

    def counted(name: str) -> float:
        return last.number(name) - first.number(name)

    assert counted("electrical_energy_total") == pytest.approx(truth["electrical_energy_kwh"], rel=1e-6)
    assert counted("thermal_energy_total") == pytest.approx(truth["thermal_energy_gross_kwh"], rel=1e-6)
    assert counted("thermal_energy_net_total") == pytest.approx(truth["thermal_energy_kwh"], rel=1e-6)
    assert counted("electrical_energy_heating_total") + counted("electrical_energy_dhw_total") == pytest.approx(
        truth["electrical_energy_kwh"], rel=1e-6
    )
    assert counted("compressor_starts_total") == truth["compressor_starts"]
    assert counted("defrosts_total") == truth["defrosts"]
    assert truth["defrosts"] > 0


def test_counters_grow_inside_a_step(house: House) -> None:
    moment = START + timedelta(hours=10)
    one, two = (house.at(moment + timedelta(seconds=s)).number("electrical_energy_total") for s in (5, 20))
    assert two - one == pytest.approx(house.at(moment).number("electrical_power") * 15 / 3.6e6)
    assert house.mean_power("electrical_energy_total", moment, moment + timedelta(seconds=30)) == pytest.approx(
        house.at(moment).number("electrical_power")
    )


def test_states_are_those_of_the_run(house: House, winter_run: Trajectory) -> None:
    defrost = truth_events(winter_run).filter(kind="defrost").row(0, named=True)
    during = house.at(defrost["start"] + timedelta(seconds=31))
    assert during.flag("defrost")
    assert during.word("operating_mode") == defrost["mode"]
    after = house.at(defrost["end"])
    assert not after.flag("defrost")
    assert after.number("last_defrost") == defrost["end"].timestamp()


def test_stops_are_the_newest_ends_of_compressor_runs(house: House, winter_run: Trajectory) -> None:
    runs = truth_events(winter_run).filter(kind="compressor_run", complete=True)
    moment = START + timedelta(days=2)
    ends = [end for end in runs["end"].sort(descending=True) if end <= moment][:5]
    stops = house.stops(moment, 5)
    assert [datetime.fromtimestamp(stop.time, UTC) for stop in stops] == ends
    assert {stop.reason for stop in house.stops(house.end - timedelta(seconds=1), 100)} >= {"defrost", "no_demand"}


def test_outside_of_the_run_there_is_no_house(house: House) -> None:
    with pytest.raises(ValueError, match="Simulate the house for longer"):
        house.at(house.end)
    with pytest.raises(ValueError, match="outside of the simulated run"):
        house.at(house.start - timedelta(seconds=1))


def test_a_state_keeps_words_and_numbers_apart(house: House) -> None:
    state = house.at(START)
    assert dict(state) and isinstance(state, State)
    with pytest.raises(TypeError, match="is the word"):
        state.number("operating_mode")
    with pytest.raises(TypeError, match="is the number"):
        state.word("flow_temperature")


def test_a_clock_runs_at_its_speed_and_can_be_moved() -> None:
    wall = [100.0]
    clock = Clock(START, 60.0, monotonic=lambda: wall[0])
    wall[0] += 2
    assert clock.now() == START + timedelta(minutes=2)
    clock.move(timedelta(hours=1))
    assert clock.now() == START + timedelta(hours=1, minutes=2)
    with pytest.raises(ValueError, match="no time zone"):
        Clock(datetime(2024, 1, 1))
