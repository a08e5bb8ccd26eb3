"""A street with a day of its past, on a winter's day."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hp_pipeline.simulation.street.houses import SECRETS
from hp_pipeline.simulation.street.making import prepare_street
from hp_pipeline.simulation.street.server import Street

DAYS = 1


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a street that lives since a day and is served until now; read it only."""
    data = tmp_path_factory.mktemp("street")
    plan = prepare_street(data, data / "hp.yaml", datetime.now(UTC), DAYS)
    Street(plan, data).begin()
    return data


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the street's servers let in, as the command line sets it."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)


def minute_ago(hours: float = 0.0) -> datetime:
    """A whole minute in the past; an even one, at which the cloud was asked."""
    moment = datetime.now(UTC) - timedelta(hours=hours, minutes=1)
    return moment.replace(minute=moment.minute // 2 * 2, second=0, microsecond=0)
