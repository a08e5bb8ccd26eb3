"""Servers that the tests of the sources talk to."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hp_pipeline_tests.sources.influx_server import MISSING, InfluxServer, is_installed, running_influx_server


@pytest.fixture(scope="session")
def influx_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    """A real InfluxDB 1 with authentication."""
    if not is_installed():
        if os.environ.get("HP_REQUIRE_SERVERS") == "1":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with running_influx_server(tmp_path_factory.mktemp("influxdb")) as server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was not tested."""
    skipped = [report for report in terminalreporter.stats.get("skipped", ()) if MISSING in str(report.longrepr)]
    if skipped:
        terminalreporter.write_sep("!", "NOT TESTED AGAINST A REAL SERVER", red=True, bold=True)
        terminalreporter.write_line(f"{MISSING}. {len(skipped)} tests that need it were skipped.", red=True)
