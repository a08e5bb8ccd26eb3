"""The server that jobs ask."""

from hp_pipeline_tests.sources.conftest import influx_server

__all__ = ["influx_server"]
