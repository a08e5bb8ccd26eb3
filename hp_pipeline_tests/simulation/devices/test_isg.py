"""The counters of a simulated ISG: the compressor's heat and electricity apart from the backup heater's."""

from datetime import timedelta

import pytest

from hp_pipeline.simulation.devices.modbus import StiebelIsg
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.simulation.house import Trajectory
from hp_pipeline.simulation.parameters import STIEBEL_HPA
from hp_pipeline.simulation.scenarios import SCENARIOS
from hp_pipeline.simulation.truth import truth_energy


@pytest.fixture(scope="module")
def run() -> Trajectory:
    """Ten days with two Sundays on which the backup heater lifts the hot water."""
    return SCENARIOS["legionella"].run(STIEBEL_HPA)


def shown(house: House, *pairs: int) -> float:
    """Sum of the day's counter and the total (kWh, MWh) that begin at these registers, at the end of the run."""
    clock = Clock(house.end - timedelta(seconds=1), 0)
    words = StiebelIsg(house, clock).registers()["input"]
    return sum(words[day] + words[day + 1] + 1000 * words[day + 2] for day in pairs)


def test_an_isg_counts_the_backup_heater_apart(run: Trajectory) -> None:
    true = truth_energy(run, "all").row(0, named=True)
    backup = true["backup_heater_energy_kwh"]
    assert backup > 2, "nothing is tested without it"
    house = House(run)
    # Two counters of whole kWh, each behind by less than one.
    for registers, kwh in (
        ((3500, 3503), true["thermal_energy_compressor_kwh"]),
        ((3510, 3513), true["electrical_energy_kwh"] - backup),
    ):
        assert kwh - 2 < shown(house, *registers) <= kwh
    words = StiebelIsg(house, Clock(house.end - timedelta(seconds=1), 0)).registers()["input"]
    assert words[3506] + 1000 * words[3507] == 0, "it heated no rooms"
    assert words[3508] + 1000 * words[3509] == int(backup)
    assert true["thermal_energy_compressor_kwh"] == pytest.approx(true["thermal_energy_gross_kwh"] - backup, rel=1e-3)
