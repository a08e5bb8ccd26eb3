"""A simulated house behind a simulated cloud, and accounts that read it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hp_pipeline.landing.ledger import CallLedger
from hp_pipeline.landing.store import Landing
from hp_pipeline.settings import ViessmannSource
from hp_pipeline.settings.model import EnvironmentText
from hp_pipeline.simulation.devices.viessmann import ViessmannCloudServer
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.simulation.house import simulate
from hp_pipeline.simulation.parameters import NOVELAN_HELOX
from hp_pipeline.simulation.weather import simulate_weather
from hp_pipeline.sources.live import Outcome, Polled, PollError
from hp_pipeline.sources.viessmann import ViessmannCloud, open_source

START = datetime(2024, 1, 15, tzinfo=UTC)
MORNING = START + timedelta(days=2, hours=7)


@pytest.fixture(scope="session")
def house() -> House:
    """Five days in January at 30 s."""
    weather = simulate_weather(START - timedelta(days=1), START + timedelta(days=5), step_s=30, seed=2)
    return House(simulate(NOVELAN_HELOX, weather, settling=timedelta(days=1)))


@pytest.fixture
def clock() -> Clock:
    """Stands on a January morning until it is moved."""
    return Clock(MORNING, 0)


@pytest.fixture
def cloud(house: House, clock: Clock) -> Iterator[ViessmannCloudServer]:
    """The cloud with a newer device."""
    with ViessmannCloudServer(house, clock) as server:
        yield server


class Account:
    """An owner's account in a data folder: its source can be opened again and again, as after a restart."""

    def __init__(self, folder: Path, cloud: ViessmannCloudServer, **settings: Any) -> None:
        self.folder = folder
        self.cloud = cloud
        given = {
            "id": "viessmann",
            "client_id": EnvironmentText("client"),
            "username": "me@example.org",
            "password": EnvironmentText("secret"),
            "base_url": cloud.base_url,
            "login_url": cloud.login_url,
            "timeout": "5s",
        }
        self.settings = ViessmannSource(**{**given, **settings})
        self.landing = Landing(folder)

    @property
    def token_file(self) -> Path:
        """Where the login is kept."""
        return self.folder / "viessmann_viessmann.json"

    def open(self) -> ViessmannCloud:
        """The source, as after a restart."""
        return open_source(
            self.settings,
            folder=self.folder,
            open_ledger=partial(CallLedger, self.landing),
            time_zone="Europe/Berlin",
            now=self.cloud.clock.now,
        )

    def run(self, *steps: Callable[[ViessmannCloud], Coroutine[Any, Any, Any]]) -> list[Any]:
        """Run steps with one source in one loop; a poll's error is its result."""

        async def all_steps() -> list[Any]:
            source = self.open()
            results: list[Any] = []
            for step in steps:
                try:
                    results.append(await step(source))
                except PollError as error:
                    results.append(error)
            await source.close()
            return results

        return asyncio.run(all_steps())

    def poll(self) -> Polled:
        """One poll after a restart, which goes well."""
        (polled,) = self.run(ViessmannCloud.poll)
        if isinstance(polled, PollError):
            raise polled
        assert isinstance(polled, Polled)
        return polled

    def fail(self, outcome: Outcome) -> PollError:
        """One poll after a restart, which ends so."""
        (error,) = self.run(ViessmannCloud.poll)
        assert isinstance(error, PollError), error
        assert error.outcome is outcome, error
        return error

    def places(self) -> list[str]:
        """What the cloud was asked since this was last called."""
        places = [call.place for call in self.cloud.calls]
        self.cloud.calls.clear()
        return places

    def counted(self) -> int:
        """Calls in the ledger."""
        return int(self.landing.rows("SELECT count(*) FROM calls")[0][0])


@pytest.fixture
def account(tmp_path: Path, cloud: ViessmannCloudServer) -> Iterator[Account]:
    """An account with user name and password."""
    made = Account(tmp_path, cloud)
    yield made
    made.landing.close()


def values_of(polled: Polled) -> dict[str, float | str]:
    """Point → value."""
    return {
        reading.point: reading.text if reading.text is not None else reading.value or 0.0 for reading in polled.readings
    }
