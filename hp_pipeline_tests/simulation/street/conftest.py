"""A street with a day of its past, on a winter's day."""

import contextlib
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hp_pipeline.simulation.street.houses import PORTS, SECRETS
from hp_pipeline.simulation.street.making import prepare_street
from hp_pipeline.simulation.street.plan import Plan, load_plan
from hp_pipeline.simulation.street.server import Street

DAYS = 1


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a street that lives since a day and is served until now; read it only."""
    data = tmp_path_factory.mktemp("street")
    prepare_street(data, data / "hp.yaml", datetime.now(UTC), DAYS)
    plan = with_own_ports(data)
    Street(plan, data).begin()
    return data


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the street's servers let in, as the command line sets it."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)


def with_own_ports(data: Path) -> Plan:
    """The plan of a street, at ports that the system chose: several tests may run at once."""
    plan = load_plan(data)
    assert plan is not None
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in PORTS]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        ports = {name: int(probe.getsockname()[1]) for name, probe in zip(PORTS, probes, strict=True)}
    plan = replace(plan, ports=ports)
    plan.save(data)
    return plan


def minute_ago(hours: float = 0.0) -> datetime:
    """A whole minute in the past; an even one, at which the cloud was asked."""
    moment = datetime.now(UTC) - timedelta(hours=hours, minutes=1)
    return moment.replace(minute=moment.minute // 2 * 2, second=0, microsecond=0)
