"""Brokers that the tests of MQTT talk to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hp_pipeline_tests.sources.mqtt.mosquitto import MISSING, Mosquitto, is_installed

MakeBroker = Callable[..., Mosquitto]


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[MakeBroker]:
    """Starts real brokers, which end with the test."""
    if not is_installed():
        if os.environ.get("HP_REQUIRE_SERVERS") == "1":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    started: list[Mosquitto] = []

    def make(**options: Any) -> Mosquitto:
        started.append(Mosquitto(tmp_path / f"broker{len(started)}", **options))
        return started[-1].start()

    yield make
    for broker in started:
        broker.stop()


@pytest.fixture
def broker(make_broker: MakeBroker) -> Mosquitto:
    """A broker that lets everybody in."""
    return make_broker()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was not tested."""
    skipped = [report for report in terminalreporter.stats.get("skipped", ()) if MISSING in str(report.longrepr)]
    if skipped:
        terminalreporter.write_sep("!", "NOT TESTED AGAINST A REAL BROKER", red=True, bold=True)
        terminalreporter.write_line(f"{MISSING}. {len(skipped)} tests that need it were skipped.", red=True)
