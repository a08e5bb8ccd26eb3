"""From the wire to the figures: real protocols, clients, collector, landing, lake and stages, against the truth.

One winter day of each house; longer runs are `python -m benchmarks whole_way`.
"""

from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.whole_way import ISG, LUXTRONIK, VIESSMANN, Walked, Way, lines, walk
from hp_pipeline.simulation.house import Trajectory, simulate
from hp_pipeline.simulation.weather import simulate_weather

MIDNIGHT = datetime(2024, 1, 15, 23, tzinfo=UTC)
"""Of the local day of 16 January."""
SETTLING = timedelta(hours=12)
WAYS = {"luxtronik": LUXTRONIK, "isg": ISG, "viessmann": VIESSMANN}


def winter_day(way: Way) -> Trajectory:
    """A local day and half an hour."""
    stop = MIDNIGHT + timedelta(hours=24, minutes=30)
    weather = simulate_weather(MIDNIGHT - SETTLING, stop, step_s=10, seed=2)
    return simulate(way.parameters, weather, 2, settling=SETTLING)


@pytest.fixture(scope="module", params=WAYS)
def walked(request: pytest.FixtureRequest) -> Walked:
    way = WAYS[request.param]
    return walk(way, winter_day(way))


def test_the_figures_are_inside_the_gates(walked: Walked) -> None:
    found = lines([walked])
    assert len(found) > 15
    assert [f"{line.what}: {line.value} (target {line.target})" for line in found if line.is_met is False] == []


def test_every_poll_came_and_no_counter_was_corrected(walked: Walked) -> None:
    length = timedelta(hours=24, minutes=30)
    expected = sum(length // device.every for device in walked.way.devices.values())
    assert walked.polls == {"ok": pytest.approx(expected, abs=2 * len(walked.way.devices))}
    assert walked.tables["counter_ledger"].is_empty()


def test_energies_of_parts_add_up(walked: Walked) -> None:
    daily, sessions = walked.tables["daily"], walked.tables["sessions"]
    for column in ("thermal_energy_kwh", "electrical_energy_kwh"):
        # Seconds at the begin are in no session: the meter answered before the heat pump told its mode.
        assert 0 <= daily[column].sum() - sessions[column].sum() + 1e-9 <= 0.01
        assert daily[column].sum() == pytest.approx(walked.tables["all_time"][column].item(), rel=1e-9)
