"""The whole way of a house's readings: device server → real client → collector → landing → lake → all tables.

A house is simulated, its devices answer over their real protocols on loopback, and the real collector asks them (or
listens to them) with the real clients. Only the waiting is left out: a clock whose sleeps pass at once drives both the
collector and the device. A house whose readings come as files has them dropped into its folder and taken in.
"""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl

from hp_pipeline.assets.landed import bring
from hp_pipeline.assets.readings import files_that_wait, take_in_files
from hp_pipeline.assets.stages import stages
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.landing.collector import LiveSource, SourceTask
from hp_pipeline.landing.ledger import CallLedger
from hp_pipeline.landing.recorder import Recorder
from hp_pipeline.landing.service import live_source
from hp_pipeline.landing.store import Landing
from hp_pipeline.settings import load_settings
from hp_pipeline.settings.sources import FilesSource
from hp_pipeline.simulation.devices.broker import running_broker
from hp_pipeline.simulation.devices.luxtronik import LuxtronikServer
from hp_pipeline.simulation.devices.modbus import Fault, SimulatedModbus, StiebelIsg
from hp_pipeline.simulation.devices.mqtt import EspAltherma, HeishaMon, MqttDevice, Publisher
from hp_pipeline.simulation.devices.shelly import ShellyServer
from hp_pipeline.simulation.devices.viessmann import ViessmannCloudServer
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.simulation.house import Trajectory
from hp_pipeline.simulation.parameters import (
    DAIKIN_ALTHERMA,
    NOVELAN_HELOX,
    STIEBEL_HPA,
    VIESSMANN_VITOCAL,
    Parameters,
)
from hp_pipeline.simulation.scoring import (
    BUDGETS,
    ESPALTHERMA_GOALS,
    ISG_GOALS,
    LUXTRONIK_GOALS,
    VIESSMANN_GOALS,
    ErrorBudget,
    Goals,
    unbiased_edges,
)
from hp_pipeline.simulation.sensors import SensorModel, observe
from hp_pipeline.simulation.truth import run_bounds, truth_energy, truth_events
from hp_pipeline.transforms.schema import conform

PUMP: Final = "pump"
HEAT: Final = "thermal_energy_kwh"
ELECTRICITY: Final = "electrical_energy_kwh"
NET: Final = "thermal_energy_net_kwh"
GROSS: Final = "thermal_energy_gross_kwh"
COMPRESSOR: Final = "thermal_energy_compressor_kwh"
BACKUP: Final = "backup_heater_energy_kwh"
TABLES: Final = ("sessions", "cycles", "defrosts", "daily", "monthly", "all_time", "counters", "counter_ledger")
MOST_WAITING: Final = 64
"""Polls that may wait for the disk before the virtual time goes on: memory is bounded as in real life."""
SECRETS: Final = {"VIESSMANN_CLIENT_ID": "client", "VIESSMANN_PASSWORD": "secret"}
WHOLE: Final = ("compressor", "fan", "controls", "circulation_pump", "backup_heater")
"""What the electricity of a heat pump includes at its supply."""


@dataclass
class Served:
    """A device that answers.

    Attributes:
        clock: what time it is there.
        address: lines of its source's settings that say where it is.
        server: the server, to make faults with.
        house: what its device sees, to make faults with.
        device: the device behind the server, where it is another object.
        doing: what was begun and goes on by itself.
    """

    clock: Clock
    address: Mapping[str, object]
    server: object
    house: House
    device: object = None
    doing: list[Any] = field(default_factory=list)


Serve = Callable[[House, Clock], AbstractAsyncContextManager[Served]]


@dataclass(frozen=True)
class Device:
    """A device and the source that reads it.

    Attributes:
        kind: of the source.
        profile: by which it is read.
        every: how often.
        serve: lets it answer.
        settings: more of the source's settings.
        signals: the owner's mapping over the profile's.
    """

    kind: str
    profile: str
    every: timedelta
    serve: Serve
    settings: Mapping[str, object] = field(default_factory=dict)
    signals: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Way:
    """A house's devices and what they can tell.

    Attributes:
        name: for people.
        parameters: the house.
        devices: by the id of the source, in order of precedence.
        goals: what must be reached.
        own: the paces that the goals are made for; finer ones must reach them, too.
        budget: what the sensors allow.
        heat: the true heat that its counters count (which do not turn back for defrosts), or that flow and spread show.
        sees_backup: whether its electricity includes the backup heater.
        electrical, thermal: what its meters include, for the settings.
        rules: of the heat pump in the settings.
        untold: kinds of events that the device does not tell apart, and that have no gates therefore.
    """

    name: str
    parameters: Parameters
    devices: Mapping[str, Device]
    goals: Goals
    own: timedelta
    budget: ErrorBudget
    heat: str = GROSS
    sees_backup: bool = True
    electrical: Sequence[str] = WHOLE
    thermal: Sequence[str] = ("compressor", "backup_heater")
    rules: Mapping[str, str] = field(default_factory=dict)
    untold: frozenset[str] = frozenset()

    @property
    def slowest(self) -> timedelta:
        """The interval at which states are seen."""
        return max(device.every for device in self.devices.values())

    def polled_every(self, every: timedelta, *, only: str | None = None) -> Way:
        """The same, asked as often as this by all its sources, or by one of them."""
        devices = {
            id_: replace(device, every=every) if only in (None, id_) else device for id_, device in self.devices.items()
        }
        # What is heard so seldom must be believed until it is heard again.
        rules = {**self.rules, "hold": "10min"} if every >= timedelta(minutes=5) else self.rules
        way = replace(self, devices=devices, rules=rules)
        return replace(way, budget=replace(self.budget, interval_s=way.slowest.total_seconds()))


@asynccontextmanager
async def _luxtronik(house: House, clock: Clock) -> AsyncIterator[Served]:
    async with LuxtronikServer(house, clock) as server:
        yield Served(clock, {"host": "127.0.0.1", "port": server.port}, server, house)


@asynccontextmanager
async def _stiebel(
    house: House, clock: Clock, holes: Literal["illegal", "padded"] = "illegal"
) -> AsyncIterator[Served]:
    device = StiebelIsg(house, clock, missing=MISSING if holes == "illegal" else ())
    async with SimulatedModbus({1: device.unit(holes)}) as server:
        address = {"host": "127.0.0.1", "port": server.port, "map": "stiebel_eltron_wpm"}
        yield Served(clock, address, server, house, device)


@asynccontextmanager
async def _shelly(house: House, clock: Clock) -> AsyncIterator[Served]:
    async with ShellyServer(house, clock) as server:
        yield Served(clock, {"host": "127.0.0.1", "port": server.port}, server, house)


@asynccontextmanager
async def _viessmann(house: House, clock: Clock) -> AsyncIterator[Served]:
    with ViessmannCloudServer(house, clock) as server:
        yield Served(clock, {"base_url": server.base_url, "login_url": server.login_url}, server, house)


@asynccontextmanager
async def published(house: House, clock: Clock, make: Callable[[House], Any], topic: str) -> AsyncIterator[Served]:
    """A device that publishes to a broker of its own."""
    device: MqttDevice = make(house)
    with tempfile.TemporaryDirectory() as folder:
        async with running_broker(Path(folder)) as broker:
            publisher = Publisher(device, clock, broker.host, broker.port)
            address = {
                "host": broker.host,
                "port": broker.port,
                "version": broker.version,
                "topics": [{"topic": topic}],
            }
            try:
                yield Served(clock, address, publisher, house, device)
            finally:
                await asyncio.to_thread(publisher.disconnect)


@asynccontextmanager
async def _archived(house: House, clock: Clock) -> AsyncIterator[Served]:
    """Nothing answers: its readings come as files."""
    columns = {name: name for name in ("time", "point", "value", "text")}
    yield Served(clock, {"format": "parquet", "columns": columns}, None, house)


MISSING: Final = frozenset({508, 2505, *range(3689, 3734)})
"""Registers that the ISG refuses, between others that are wanted."""
MINUTE: Final = timedelta(minutes=1)
SHELLY: Final = Device("shelly", "shelly_3em", MINUTE, _shelly)
DRIFT_S: Final = 0.013
MQTT: Final = {"gather": "0s", "silence": "7d"}
"""Virtual time waits for every message: nothing has to be gathered, and no silence is one."""

LUXTRONIK: Final = Way(
    "Luxtronik",
    NOVELAN_HELOX,
    {"luxtronik": Device("luxtronik", "luxtronik", timedelta(seconds=30), _luxtronik)},
    LUXTRONIK_GOALS,
    timedelta(seconds=30),
    replace(BUDGETS["luxtronik"], electrical_step_kwh=0.01),
    sees_backup=False,
    electrical=WHOLE[:-1],
)
ISG: Final = Way(
    "Stiebel ISG + Shelly",
    STIEBEL_HPA,
    {"shelly": SHELLY, "isg": Device("modbus", "stiebel_eltron_wpm", MINUTE, _stiebel)},
    ISG_GOALS,
    MINUTE,
    BUDGETS["isg"],
    heat=COMPRESSOR,
    thermal=WHOLE[:1],
)
ISG_PADDED: Final = replace(
    ISG,
    name="Stiebel ISG that says “not available” + Shelly",
    devices={**ISG.devices, "isg": replace(ISG.devices["isg"], serve=partial(_stiebel, holes="padded"))},
)
ISG_ALONE: Final = replace(
    ISG,
    name="Stiebel ISG alone",
    devices={"isg": ISG.devices["isg"]},
    budget=replace(BUDGETS["isg"], electrical_step_kwh=1.0),
    sees_backup=False,
    electrical=WHOLE[:-1],
)
VIESSMANN: Final = Way(
    "Viessmann + Shelly",
    VIESSMANN_VITOCAL,
    {
        "shelly": SHELLY,
        "vicare": Device(
            "viessmann",
            "viessmann",
            timedelta(minutes=5),
            _viessmann,
            {
                "client_id": "${VIESSMANN_CLIENT_ID}",
                "username": "me@example.org",
                "password": "${VIESSMANN_PASSWORD}",
            },
        ),
    },
    VIESSMANN_GOALS,
    timedelta(minutes=5),
    replace(BUDGETS["viessmann"], thermal_step_kwh=0.1),
    rules={"hold": "10min"},
)
ESPALTHERMA: Final = Way(
    "ESPAltherma by MQTT + Shelly",
    DAIKIN_ALTHERMA,
    {
        "shelly": SHELLY,
        "espaltherma": Device(
            "mqtt",
            "espaltherma_mqtt",
            timedelta(seconds=30),
            partial(published, make=EspAltherma, topic="espaltherma/ATTR"),
            MQTT,
        ),
    },
    ESPALTHERMA_GOALS,
    MINUTE,
    replace(BUDGETS["espaltherma"], electrical_step_kwh=1e-5),
    heat=HEAT,
)
HEISHAMON: Final = replace(
    ESPALTHERMA,
    name="HeishaMon by MQTT + Shelly",
    devices={
        "shelly": SHELLY,
        "heishamon": Device(
            "mqtt",
            "heishamon",
            timedelta(seconds=30),
            partial(published, make=HeishaMon, topic="panasonic_heat_pump/main/+"),
            MQTT,
            {"electrical_power": None},
        ),
    },
    untold=frozenset({"heating", "dhw", "cycles"}),
)
ARCHIVE: Final = replace(
    ESPALTHERMA,
    name="ESPAltherma, Home Assistant's archive",
    devices={"archive": Device("files", "espaltherma_home_assistant", timedelta(seconds=30), _archived)},
    budget=BUDGETS["espaltherma"],
)


@dataclass(frozen=True)
class Event:
    """Something that is done to a device at a virtual time, before anything else happens then.

    Attributes:
        time: when.
        source: to which source's device.
        do: what.
    """

    time: datetime
    source: str
    do: Callable[[Served], None]


def fault(hour: float, source: str, name: str, start: datetime, *, times: int = 1, value: float = 0.0) -> Event:
    """A fault that a device makes from an hour after `start` on, the next `times` times that there is an occasion."""

    def do(served: Served) -> None:
        if isinstance(served.server, ViessmannCloudServer):
            served.server.inject(name, times=times)
        elif isinstance(served.server, LuxtronikServer | ShellyServer | Publisher):
            served.server.faults.inject(name, times=times, value=value)
        elif isinstance(served.server, SimulatedModbus):
            served.server.inject(Fault(name), times)

    return Event(start + timedelta(hours=hour), source, do)


class PassingClock:
    """The collector's clock whose sleeps pass at once, and the device's with it. At the end time stands still.

    Args:
        clock: the device's.
        end: when it ends.
        recorder: is waited for when too much waits for the disk.
        events: what happens on the way.
    """

    def __init__(self, clock: Clock, end: datetime, recorder: Recorder, events: Iterator[Callable[[], None]]) -> None:
        self._clock, self._end, self._recorder, self._events = clock, end, recorder, events
        self.over = asyncio.Event()

    def now(self) -> datetime:
        """The virtual time."""
        return self._clock.now()

    def wall(self) -> float:
        """The virtual time in unix seconds."""
        return self._clock.now().timestamp()

    def monotonic(self) -> float:
        """The same: virtual time only grows."""
        return self.wall()

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        step = timedelta(microseconds=max(1, math.ceil(seconds * 1e6)))
        if self.now() + step >= self._end:
            self.over.set()
            await asyncio.Event().wait()
        if self._recorder.waiting >= MOST_WAITING:
            await self._recorder.flush(60)
        self._clock.move(step)
        next(self._events)()
        await asyncio.sleep(0)


def settings_of(way: Way, start: datetime, served: Mapping[str, Served]) -> str:
    """The settings file of a house whose devices are served."""
    pump = {
        "id": PUMP,
        "frame_interval": "30s",
        "consumers": ["backup_heater"],
        "inputs": [
            {"source": id_, "profile": device.profile, "signals": dict(device.signals)}
            for id_, device in way.devices.items()
        ],
        "rules": dict(way.rules),
    }
    sources = [
        {"id": id_, "kind": device.kind}
        | ({} if device.kind in ("mqtt", "files") else {"every": f"{device.every.total_seconds():g}s"})
        | {**served[id_].address, **device.settings}
        for id_, device in way.devices.items()
    ]
    meters = [
        {"id": kind, "heat_pump": PUMP, "measures": kind, "signal": f"{kind}_power", "includes": list(includes)}
        for kind, includes in (("electrical", way.electrical), ("thermal", way.thermal))
    ]
    site = {"name": "Whole way", "time_zone": way.parameters.time_zone}
    # JSON is YAML; a date is not quoted there.
    return (
        f"site: {json.dumps(site)[:-1]}, start: {start:%Y-%m-%d}}}\n"
        f"heat_pumps: {json.dumps([pump])}\nsources: {json.dumps(sources)}\nmeters: {json.dumps(meters)}\n"
    )


async def _walk(way: Way, house: House, folder: Path, events: Sequence[Event]) -> Workspace:
    """Serve the devices, ask them for the whole run, and keep what they tell in the landing."""
    start, end = house.start, house.end
    async with AsyncExitStack() as stack:
        served = {
            id_: await stack.enter_async_context(device.serve(house, Clock(start, 0)))
            for id_, device in way.devices.items()
        }
        (folder / "hp.yaml").write_text(settings_of(way, start, served), encoding="utf-8")
        workspace = Workspace(load_settings(folder / "hp.yaml", SECRETS), folder / "data")
        with Landing(workspace.data) as landing:
            recorder = Recorder(landing, gather=0.0)
            writing = asyncio.create_task(recorder.run())
            for source in workspace.settings.sources:
                if isinstance(source, FilesSource):
                    _take_in(workspace, source, house, way.devices[source.id].every)
                    continue
                own = sorted((event for event in events if event.source == source.id), key=lambda event: event.time)
                clock = PassingClock(served[source.id].clock, end, recorder, _happening(own, served[source.id]))
                ledgers: dict[str, list[CallLedger]] = {}
                live = live_source(
                    source,
                    workspace.settings,
                    landing,
                    ledgers,
                    clocks={"now": clock.now, "wall": clock.wall, "monotonic": clock.monotonic},
                )
                device = served[source.id].server
                if isinstance(device, Publisher):
                    await _hear(live, recorder, clock, device, way.devices[source.id].every)
                else:
                    await _until_over(SourceTask(live, recorder, clock), clock.over.wait())
            if not await recorder.flush(60) or recorder.given_up:
                raise RuntimeError(f"the landing did not take everything: {recorder.problem}")
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            recorder.close()
    return workspace


async def _until_over(task: SourceTask, over: Any) -> None:
    """Let a source's task run until something else is over."""
    asking, ending = asyncio.create_task(task.run()), asyncio.ensure_future(over)
    done, _ = await asyncio.wait({asking, ending}, return_when=asyncio.FIRST_COMPLETED)
    for each in (ending, asking):
        each.cancel()
    results = await asyncio.gather(asking, ending, return_exceptions=True)
    for each, result in zip((asking, ending), results, strict=True):
        if each in done and isinstance(result, BaseException):
            raise result


async def _hear(live: LiveSource, recorder: Recorder, clock: PassingClock, device: Publisher, pace: timedelta) -> None:
    """Let a device publish at a pace, and the source hear each message before the time goes on."""
    heard, taken = 0, 0
    listeners: list[Any] = []

    def opened() -> Any:
        """The listener, whose messages are counted once what they say was handed over at the present time."""
        listener: Any = live.open()
        read, listen = listener.reader.read, listener.listen

        def counted(messages: Any, *arguments: Any, **named: Any) -> Any:
            nonlocal heard, taken
            those = list(messages)
            polled = read(those, *arguments, **named)
            if polled.readings:
                taken = len(those)
            else:
                heard += len(those)
            return polled

        async def listening(deliver: Callable[[Any], Any]) -> None:
            async def delivered(polled: Any) -> None:
                nonlocal heard
                count = taken
                await deliver(polled)
                heard += count

            await listen(delivered)

        listener.reader.read, listener.listen = counted, listening
        listeners.append(listener)
        return listener

    def _has_heard(due: int) -> bool:
        return heard >= due

    async def publish() -> None:
        await _until(lambda: bool(listeners) and listeners[0].is_listening)
        device.connect()
        await _until(lambda: device.is_connected)
        due, before = 0, 0
        # At a time of its own within the pace, which wanders: reading takes its time.
        await clock.sleep(0.37 * pace.total_seconds())
        while True:
            due += len(device.publish())
            if due > before:
                await _until(partial(_has_heard, due))
                before = due
            await clock.sleep(pace.total_seconds() + DRIFT_S)

    await _until_over(SourceTask(replace(live, open=opened), recorder, clock), _first(publish(), clock.over.wait()))


async def _first(*works: Any) -> None:
    """Do some things until the first of them is done."""
    tasks = [asyncio.ensure_future(work) for work in works]
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for task in done:
        task.result()


async def _until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait in real time until something holds.

    Raises:
        TimeoutError: it does not.
    """
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.0003)


def _take_in(workspace: Workspace, source: FilesSource, house: House, pace: timedelta) -> None:
    """Drop the readings of a run into a source's folder as a file, and take it in."""
    readings = observe(house.run, SensorModel(interval_s=pace.total_seconds())).readings
    folder = workspace.drop_folder(source)
    folder.mkdir(parents=True, exist_ok=True)
    readings.select("time", "point", "value", "text").sort("time").write_parquet(folder / "readings.parquet")
    later = datetime.now(house.end.tzinfo) + timedelta(hours=1)  # a file that was just written may still be written
    paths = [file.path for file in files_that_wait(workspace, source, later)]
    if len(paths) != 1:
        raise RuntimeError(f"{len(paths)} files wait in {folder}")
    for taken, _ in take_in_files(workspace, source, paths, later):
        if taken.outcome != "stored":
            raise RuntimeError(f"the file was not stored: {taken}")


def _happening(events: Sequence[Event], served: Served) -> Iterator[Callable[[], None]]:
    """At each step of the clock what is to happen by now."""
    waiting = list(events)

    def happen() -> None:
        while waiting and waiting[0].time <= served.clock.now():
            waiting.pop(0).do(served)

    while True:
        yield happen


@dataclass(frozen=True)
class Walked:
    """A run, and what the pipeline made of it from the wire to the figures.

    Attributes:
        way: the house's devices.
        run: what happened.
        tables: the tables by name, in whole; heat is what the device can tell (`Way.heat`), net heat stands as `NET`.
        polls: by outcome how many polls ended so.
    """

    way: Way
    run: Trajectory
    tables: Mapping[str, pl.DataFrame]
    polls: Mapping[str, int]

    def _seen(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Truth with the energies that the devices can tell."""
        unseen = pl.lit(0.0) if self.way.sees_backup else pl.col(BACKUP)
        return rows.with_columns(
            pl.col(self.way.heat).alias(HEAT),
            (pl.col(ELECTRICITY) - unseen).alias(ELECTRICITY),
        )

    @cached_property
    def truth(self) -> pl.DataFrame:
        """See `truth_events`."""
        return self._seen(truth_events(self.run))

    def events(self, name: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        """True and found events of a kind: heating, dhw (sessions), cycles, defrosts. Edges of those found are in the
        middle of where they may lie."""
        true, found = {
            "cycles": (
                self.truth.filter(pl.col("kind") == "cycle", pl.col("mode") != "standby"),
                self.tables["cycles"].filter(pl.col("mode") != "standby"),
            ),
            "defrosts": (self.truth.filter(kind="defrost"), self.tables["defrosts"]),
        }.get(name, (self.truth.filter(kind=f"{name}_session"), self.tables["sessions"].filter(mode=name)))
        start, end = run_bounds(self.run)
        edge = max(timedelta(minutes=2), 2 * self.way.slowest)
        inside = (pl.col("start") > start + edge) & (pl.col("end") < end - edge)
        columns = ("start", "end", HEAT, ELECTRICITY)
        return true.filter(inside).select(columns), unbiased_edges(found).filter(inside).select(columns)

    def periods(self, period: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        """True and found figures of the whole local days or months, by their first day."""
        true = self._seen(truth_energy(self.run, "day" if period == "daily" else "month").filter("complete"))
        first = pl.col("period") if period == "daily" else pl.col("period") + "-01"
        return true, self.tables[period].with_columns(first.str.to_date().alias("period"))

    def net_heat(self) -> tuple[float, float]:
        """True and found net heat over the whole local days: what the device can tell, less what defrosts took. (Water
        that cools a little in a machine at rest is heat taken, too, but no counter turns back for it.)"""
        true = truth_energy(self.run, "day").filter("complete")
        net = (pl.col(self.way.heat) - pl.col("defrost_heat_taken_kwh")).alias("true")
        found = self.periods("daily")[1]
        both = true.select("period", net).join(found.select("period", NET), on="period")
        return float(both["true"].sum()), float(both[NET].sum())

    def least(self, column: str) -> float:
        """The least true energy of a whole local day."""
        return min((float(kwh) for kwh in self.periods("daily")[0][column]), default=math.inf)

    def total(self, column: str) -> tuple[float, float]:
        """True and found sum of an energy over the whole local days."""
        true, found = self.periods("daily")
        both = true.select("period", column).join(found.select("period", column), on="period", suffix="_found")
        return float(both[column].sum()), float(both[f"{column}_found"].sum())


def walk(way: Way, run: Trajectory, events: Sequence[Event] = (), house: House | None = None) -> Walked:
    """Let a house's devices be asked for a whole run, and make all tables.

    Args:
        way: the devices.
        run: what happens.
        events: what is done to the devices.
        house: what the devices see of the run; without it the run itself.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace = asyncio.run(_walk(way, house or House(run), folder, events))
        polls: dict[str, int] = {}
        for source in workspace.settings.sources:
            with Landing(workspace.data) as landing:
                for poll in landing.polls(source.id):
                    polls[poll.outcome] = polls.get(poll.outcome, 0) + 1
            bring(workspace, source.id)
        for stage in stages(workspace.plant(PUMP)):
            stage.bring_up_to_date(stage.keys()).raise_failures()
        return Walked(way, run, {name: _as_told(way, _table(workspace, name)) for name in TABLES}, polls)


def _as_told(way: Way, rows: pl.DataFrame) -> pl.DataFrame:
    """A table of figures with heat as the device tells it: where that is gross, what defrosts took is in it again."""
    if HEAT not in rows.columns:
        return rows
    rows = rows.with_columns(pl.col(HEAT).alias(NET))
    if way.heat == HEAT:
        return rows
    return rows.with_columns(pl.col(HEAT) + pl.col("heat_taken_kwh").fill_null(0.0), cop="cop_gross")


def _table(workspace: Workspace, name: str) -> pl.DataFrame:
    asset = f"{name}/{PUMP}"
    rows = conform(workspace.lake.read(asset, workspace.lake.keys(asset)), name)
    return rows.sort("start" if "start" in rows.columns else "time")
