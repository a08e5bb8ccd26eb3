"""The golden scenarios through the whole pipeline, once per session."""

import pytest

from benchmarks.accuracy import INTERVALS, Examined, ScoreCard, examine
from hp_pipeline.simulation.house import Trajectory
from hp_pipeline.simulation.scenarios import SCENARIOS


@pytest.fixture(scope="session")
def runs() -> dict[str, Trajectory]:
    """What happened in each scenario."""
    return {name: scenario.run() for name, scenario in SCENARIOS.items()}


@pytest.fixture(scope="session")
def examined(runs: dict[str, Trajectory]) -> dict[tuple[str, float], Examined]:
    """What the pipeline made of each scenario, by its name and the polling interval in seconds."""
    return {(name, interval_s): examine(run, interval_s) for name, run in runs.items() for interval_s in INTERVALS}


@pytest.fixture(scope="session")
def cards(examined: dict[tuple[str, float], Examined]) -> dict[float, ScoreCard]:
    """Scores over all scenarios together, by polling interval."""
    return {
        interval_s: ScoreCard([each for (_, own), each in examined.items() if own == interval_s])
        for interval_s in INTERVALS
    }
