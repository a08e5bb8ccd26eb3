"""The process of the street: all devices of all houses answer on loopback, at the present of the wall clock."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from hp_pipeline.simulation.devices.broker import running_broker
from hp_pipeline.simulation.devices.luxtronik import LuxtronikServer
from hp_pipeline.simulation.devices.modbus import Fault, SimulatedModbus, StiebelIsg
from hp_pipeline.simulation.devices.mqtt import Publisher, SolarHeating, SolarHouse
from hp_pipeline.simulation.devices.shelly import ShellyServer
from hp_pipeline.simulation.devices.viessmann import ViessmannCloudServer
from hp_pipeline.simulation.devices.world import Clock
from hp_pipeline.simulation.parameters import PRESETS
from hp_pipeline.simulation.street.history import of_daikin, of_solar, solar_before, write, write_life
from hp_pipeline.simulation.street.houses import (
    ACCOUNT,
    BEFORE,
    HOME_ASSISTANT,
    HOUSES,
    SECRETS,
    SHELLY,
    SOLAR,
    WEATHER_SEED,
    StreetHouse,
    house,
)
from hp_pipeline.simulation.street.life import Life
from hp_pipeline.simulation.street.plan import FOLDER, Plan, exported
from hp_pipeline.simulation.street.trouble import Faults, Troublemaker, Victim
from hp_pipeline.simulation.street.truth import write_truth
from hp_pipeline.simulation.weather import simulate_weather

log = logging.getLogger(__name__)

AHEAD: Final = timedelta(hours=3)
"""So far beyond the present every house is lived at least."""
GROWTH_EVERY: Final = 60.0
TRUTH_EVERY: Final = 600.0
DAIKIN_EVERY: Final = timedelta(minutes=10)
"""How often the house with the files exports what is new: each file costs a run."""
SOLAR_AHEAD: Final = timedelta(days=2)
SOLAR_EVERY: Final = timedelta(minutes=1)
"""How often the solar heating publishes; those that stand in houses do it every five minutes."""
_SOLAR_STEP_S: Final = 60


class WallClock(Clock):
    """The wall clock itself: the street's devices live in the present."""

    def __init__(self) -> None:
        super().__init__(datetime.now(UTC))

    def now(self) -> datetime:
        """The present, in UTC."""
        return datetime.now(UTC)


def life_of(house: StreetHouse, plan: Plan, data: Path) -> Life:
    """The life of a house with a heat pump, as far as it is made."""
    path = data / FOLDER / "lives" / f"{house.id}.json"
    return Life(PRESETS[house.preset], WEATHER_SEED, house.seed, path, plan.start)


def lives_of(plan: Plan, data: Path) -> dict[str, Life]:
    """The lives of all houses with a heat pump, by their ids."""
    return {one.id: life_of(one, plan, data) for one in HOUSES if one.preset}


def solar_house(plan: Plan, until: datetime) -> SolarHouse:
    """The house with the solar heating, from the begin of the street on. It knows one speed only."""
    weather = simulate_weather(solar_before(plan.start), until, step_s=_SOLAR_STEP_S, seed=WEATHER_SEED)
    return SolarHouse(weather, seed=house("solar").seed)


def grow(lives: dict[str, Life], until: datetime, speed: int) -> None:
    """Let all houses live until a moment at least."""
    for life in lives.values():
        for _ in life.grow(until, speed):
            pass


@dataclass
class Street:
    """All houses, served.

    Attributes:
        plan: what was decided.
        data: the data folder; files are laid into its `drop`.
        speed: how fast the houses live.
        faults: what goes wrong.
        clock: what time it is.
    """

    plan: Plan
    data: Path
    speed: int = 1
    faults: Faults = field(default_factory=Faults)
    clock: Clock = field(default_factory=WallClock)

    def __post_init__(self) -> None:
        self.lives = lives_of(self.plan, self.data)
        self.luxtronik: LuxtronikServer
        self.modbus: dict[str, SimulatedModbus] = {}
        self.cloud: ViessmannCloudServer
        self.shelly: ShellyServer
        self.publisher: Publisher | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Let the houses live until the present and a little further; from now on at this street's speed."""
        now = self.clock.now()
        for life in self.lives.values():
            # Whatever passed while the street was away was lived as slowly as the wall clock goes.
            if life.end < now:
                for _ in life.grow(now):
                    pass
            if life.stretches[-1].speed != self.speed:
                life.cut(now)
            for _ in life.grow(now + AHEAD, self.speed):
                pass

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Street]:
        """Serve while the block runs.

        Raises:
            OSError: a port is taken.
        """
        port = self.plan.ports
        await asyncio.to_thread(self.begin)
        async with contextlib.AsyncExitStack() as stack:
            life = self.lives
            self.luxtronik = LuxtronikServer(life["novelan"], self.clock, port=port["luxtronik"])
            await stack.enter_async_context(self.luxtronik)
            policies: tuple[tuple[str, str, Literal["illegal", "padded"]], ...] = (
                ("stiebel", "isg", "illegal"),
                ("stiebel_neighbour", "isg_neighbour", "padded"),
            )
            for id_, source, holes in policies:
                unit = StiebelIsg(life[id_], self.clock).unit(holes)
                self.modbus[source] = SimulatedModbus({1: unit}, port=port[source])
                await stack.enter_async_context(self.modbus[source])
            self.cloud = ViessmannCloudServer(
                life["viessmann"],
                self.clock,
                username=ACCOUNT,
                password=SECRETS["STREET_VIESSMANN_PASSWORD"],
                client_id=SECRETS["STREET_VIESSMANN_CLIENT_ID"],
                port=port["vicare"],
            )
            stack.enter_context(self.cloud)
            self.shelly = ShellyServer(
                life["viessmann"], self.clock, password=SECRETS["STREET_SHELLY_PASSWORD"], port=port[SHELLY]
            )
            await stack.enter_async_context(self.shelly)
            if self.plan.mqtt:
                folder = self.data / FOLDER / "broker"
                broker = await stack.enter_async_context(running_broker(folder, port=port[SOLAR]))
                solar = await asyncio.to_thread(solar_house, self.plan, self.clock.now() + SOLAR_AHEAD)
                device = SolarHeating(solar)
                device.interval = SOLAR_EVERY
                self.publisher = Publisher(device, self.clock, broker.host, broker.port)
                self._start(self.publisher.run())
                self._start(self._renew_solar(device))
            self._start(self._grow())
            self._start(self._export())
            self._start(self._tell_truth())
            self._start(self._make_trouble())
            try:
                yield self
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Any) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    async def _grow(self) -> None:
        while True:
            await asyncio.sleep(GROWTH_EVERY)
            await asyncio.to_thread(grow, self.lives, self.clock.now() + AHEAD, self.speed)

    async def _renew_solar(self, device: SolarHeating) -> None:
        while True:
            await asyncio.sleep((SOLAR_AHEAD / 2).total_seconds())
            renewed = await asyncio.to_thread(solar_house, self.plan, self.clock.now() + SOLAR_AHEAD)
            device.move_into(renewed)

    async def _export(self) -> None:
        """The files of the house that has files, once its history is there."""
        while not exported(self.data).exists():
            await asyncio.sleep(1.0)
        while True:
            await asyncio.to_thread(self.export_daikin, self.clock.now())
            await asyncio.sleep(DAIKIN_EVERY.total_seconds())

    def write_history(self) -> None:
        """Lay what was told before the street began to answer into the drop folders, once."""
        if exported(self.data).exists():
            return
        drop = self.data / "drop"
        for one in HOUSES:
            if one.preset:
                count = write_life(one, self.lives[one.id], drop, self.plan.began)
                log.info("%s: history in %d files", one.id, count)
        if self.plan.mqtt:
            solar = solar_house(self.plan, self.plan.began)
            write([of_solar(solar, self.plan.start, self.plan.began)], drop / BEFORE, SOLAR)
        exported(self.data).write_text(self.plan.began.isoformat(), encoding="utf-8")

    def export_daikin(self, now: datetime) -> Path | None:
        """Lay what the house with files told since the last time into its drop folder; nothing is left out when the
        street was away, for its logger was not."""
        since = datetime.fromisoformat(exported(self.data).read_text(encoding="utf-8"))
        frames = [
            of_daikin(stretch, max(since, stretch.start), min(now, stretch.end))
            for stretch in self.lives["daikin"].houses(since, now)
        ]
        path = (
            write(frames, self.data / "drop" / HOME_ASSISTANT, f"{HOME_ASSISTANT}_{since:%Y%m%dT%H%M%S}")
            if frames
            else None
        )
        exported(self.data).write_text(now.isoformat(), encoding="utf-8")
        return path

    async def _tell_truth(self) -> None:
        while True:
            now = self.clock.now()
            for id_, life in self.lives.items():
                await asyncio.to_thread(write_truth, self.data, id_, life, now)
            await asyncio.sleep(TRUTH_EVERY)

    # ---- what goes wrong

    def victims(self) -> list[Victim]:
        """All servers that can be told to make faults."""
        found = [
            self._faulty("novelan", "luxtronik", "luxtronik", self.luxtronik),
            self._faulty("viessmann", SHELLY, "shelly", self.shelly),
            self._modbus_victim("stiebel", "isg"),
            self._modbus_victim("stiebel_neighbour", "isg_neighbour"),
            Victim(
                "viessmann",
                "vicare",
                "viessmann",
                self.cloud.inject,
                lambda: [(made.time, made.fault, made.place) for made in self.cloud.injected],
            ),
        ]
        if self.publisher is not None:
            found.append(self._faulty("solar", SOLAR, "mqtt", self.publisher))
        return found

    def _modbus_victim(self, id_: str, source: str) -> Victim:
        bus = self.modbus[source]

        def made() -> Sequence[tuple[datetime, str, str]]:
            return [(one.time, str(one.fault), f"request {one.request}") for one in bus.injected]

        return Victim(id_, source, "modbus", lambda fault: bus.inject(Fault(fault)), made)

    @staticmethod
    def _faulty(id_: str, source: str, kind: str, server: LuxtronikServer | ShellyServer | Publisher) -> Victim:
        values = {"clock_offset": 7200.0, "rollback": 3600.0, "fragment": 7.0}

        def made() -> Sequence[tuple[datetime, str, str]]:
            return [(one.time, one.fault, one.detail) for one in server.faults.injected]

        return Victim(id_, source, kind, lambda fault: server.faults.inject(fault, value=values.get(fault, 0.0)), made)

    async def _make_trouble(self) -> None:
        maker = Troublemaker(self.data, self.faults, self.victims())
        passed = 0.0
        while True:
            await asyncio.sleep(1.0)
            passed += 1.0
            if maker.every is not None and passed >= maker.every.total_seconds():
                passed = 0.0
                chosen = maker.make()
                if chosen:
                    log.info("%s: %s at the next occasion", *chosen)
            await asyncio.to_thread(maker.log)


async def serve(street: Street) -> None:
    """Serve until a signal comes."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with street.serving():
        log.info("the street answers at the ports %s", ", ".join(map(str, street.plan.ports.values())))
        await stopping.wait()
