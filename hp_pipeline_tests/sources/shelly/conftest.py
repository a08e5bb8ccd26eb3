"""The simulated house whose electricity the meters measure."""

from hp_pipeline_tests.simulation.devices.conftest import house, winter_run

__all__ = ["house", "winter_run"]
