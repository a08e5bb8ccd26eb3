"""How well the whole way finds what happened: device server → client → collector → landing → lake → figures.

A house is simulated, its devices answer over their real protocols on loopback, and the real collector asks them with
the real clients; what comes is recorded in the real landing, brought into the lake and made into all tables. Only the
waiting is left out: a clock whose sleeps pass at once drives both the collector and the device.

What a device can tell is what it is measured by: counters of heat do not turn back while a defrost takes heat (gross),
and some meters do not see the backup heater. Targets: the gates of each source (`simulation.scoring`).
"""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Final, Literal

import polars as pl

from benchmarks.report import Line, Report
from hp_pipeline.assets.landed import bring
from hp_pipeline.assets.stages import stages
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.landing.collector import SourceTask
from hp_pipeline.landing.ledger import CallLedger
from hp_pipeline.landing.recorder import Recorder
from hp_pipeline.landing.service import live_source
from hp_pipeline.landing.store import Landing
from hp_pipeline.settings import load_settings
from hp_pipeline.simulation.devices.luxtronik import LuxtronikServer
from hp_pipeline.simulation.devices.modbus import Fault, SimulatedModbus, StiebelIsg
from hp_pipeline.simulation.devices.shelly import ShellyServer
from hp_pipeline.simulation.devices.viessmann import ViessmannCloudServer
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.simulation.house import Trajectory
from hp_pipeline.simulation.parameters import NOVELAN_HELOX, STIEBEL_HPA, VIESSMANN_VITOCAL, Parameters
from hp_pipeline.simulation.scenarios import SCENARIOS
from hp_pipeline.simulation.scoring import (
    BUDGETS,
    ISG_GOALS,
    LUXTRONIK_GOALS,
    VIESSMANN_GOALS,
    EnergyScore,
    ErrorBudget,
    EventScore,
    Goals,
    score_events,
    score_periods,
    unbiased_edges,
)
from hp_pipeline.simulation.truth import run_bounds, truth_energy, truth_events
from hp_pipeline.transforms.schema import conform

PUMP: Final = "pump"
HEAT: Final = "thermal_energy_kwh"
ELECTRICITY: Final = "electrical_energy_kwh"
GROSS: Final = "thermal_energy_gross_kwh"
BACKUP: Final = "backup_heater_energy_kwh"
TABLES: Final = ("sessions", "cycles", "defrosts", "daily", "monthly", "all_time", "counter_ledger")
ENOUGH: Final = 8
"""From so many sessions on the mean square of their errors says something."""
DAYS: Final = 3
"""Of each scenario; what is seen of them grows with their number, and so does the time."""
TRIED: Final = ("deep_frost", "humid_defrost", "april_cycling")
PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "accuracy_whole_way.md"
MOST_WAITING: Final = 64
"""Polls that may wait for the disk before the virtual time goes on: memory is bounded as in real life."""
SECRETS: Final = {"VIESSMANN_CLIENT_ID": "client", "VIESSMANN_PASSWORD": "secret"}


@dataclass
class Served:
    """A device that answers.

    Attributes:
        clock: what time it is there.
        address: lines of its source's settings that say where it is.
        server: the server, to make faults with.
    """

    clock: Clock
    address: Mapping[str, str | int]
    server: object


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
    """

    kind: str
    profile: str
    every: timedelta
    serve: Serve
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Way:
    """A house's devices and what they can tell.

    Attributes:
        name: for people.
        parameters: the house.
        devices: by the id of the source, in order of precedence.
        heat: the true heat that its counters count.
        sees_backup: whether its electricity includes the backup heater.
        budget: what the sensors allow.
        goals: what must be reached.
        rules: of the heat pump in the settings.
        tells_times: whether the device says itself when a state changed, so that edges are where the tables have them.
    """

    name: str
    parameters: Parameters
    devices: Mapping[str, Device]
    budget: ErrorBudget
    goals: Goals
    heat: str = GROSS
    sees_backup: bool = True
    rules: Mapping[str, str] = field(default_factory=dict)
    tells_times: bool = False

    @property
    def rms_kwh(self) -> float | None:
        """The most that the heat of sessions may be off in the mean square, where there is a gate."""
        return {"luxtronik": round(1.2 * 0.1 / math.sqrt(6), 3), "modbus": 0.5}.get(
            list(self.devices.values())[-1].kind
        )

    @property
    def slowest(self) -> timedelta:
        """The interval at which states are seen."""
        return max(device.every for device in self.devices.values())

    def polled_every(self, every: timedelta) -> Way:
        """The same, asked as often as this by all its sources."""
        devices = {id_: replace(device, every=every) for id_, device in self.devices.items()}
        interval_s = every.total_seconds()
        return replace(self, devices=devices, budget=replace(self.budget, interval_s=interval_s))


@asynccontextmanager
async def _luxtronik(house: House, clock: Clock) -> AsyncIterator[Served]:
    async with LuxtronikServer(house, clock) as server:
        yield Served(clock, {"host": "127.0.0.1", "port": server.port}, server)


@asynccontextmanager
async def _stiebel(
    house: House, clock: Clock, holes: Literal["illegal", "padded"] = "illegal"
) -> AsyncIterator[Served]:
    device = StiebelIsg(house, clock, missing=MISSING if holes == "illegal" else ())
    async with SimulatedModbus({1: device.unit(holes)}) as server:
        yield Served(clock, {"host": "127.0.0.1", "port": server.port, "map": "stiebel_eltron_wpm"}, server)


@asynccontextmanager
async def _shelly(house: House, clock: Clock) -> AsyncIterator[Served]:
    async with ShellyServer(house, clock) as server:
        yield Served(clock, {"host": "127.0.0.1", "port": server.port}, server)


@asynccontextmanager
async def _viessmann(house: House, clock: Clock) -> AsyncIterator[Served]:
    with ViessmannCloudServer(house, clock) as server:
        yield Served(clock, {"base_url": server.base_url, "login_url": server.login_url}, server)


MISSING: Final = frozenset({508, 2505, *range(3689, 3734)})
"""Registers that the ISG refuses, between others that are wanted."""
SHELLY: Final = Device("shelly", "shelly_3em", timedelta(seconds=60), _shelly)

LUXTRONIK: Final = Way(
    "Luxtronik 30 s",
    NOVELAN_HELOX,
    {"luxtronik": Device("luxtronik", "luxtronik", timedelta(seconds=30), _luxtronik)},
    replace(BUDGETS["luxtronik"], electrical_step_kwh=0.01),
    LUXTRONIK_GOALS,
    sees_backup=False,
)
ISG: Final = Way(
    "Stiebel ISG 60 s, Shelly 60 s",
    STIEBEL_HPA,
    {"shelly": SHELLY, "isg": Device("modbus", "stiebel_eltron_wpm", timedelta(seconds=60), _stiebel)},
    BUDGETS["isg"],
    ISG_GOALS,
)
ISG_PADDED: Final = replace(
    ISG,
    name="Stiebel ISG 60 s that says of what it lacks that it is not available",
    devices={**ISG.devices, "isg": replace(ISG.devices["isg"], serve=partial(_stiebel, holes="padded"))},
)
VIESSMANN: Final = Way(
    "Viessmann 5 min, Shelly 60 s",
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
    replace(BUDGETS["viessmann"], thermal_step_kwh=0.1),
    VIESSMANN_GOALS,
    rules={"hold": "10min"},
    tells_times=True,
)
WAYS: Final = (LUXTRONIK, ISG, VIESSMANN)


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
        elif isinstance(served.server, LuxtronikServer | ShellyServer):
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
        """Seconds since 1970."""
        return self._clock.now().timestamp()

    def monotonic(self) -> float:
        """The same: nobody sets this clock."""
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
        "inputs": [{"source": id_, "profile": device.profile} for id_, device in way.devices.items()],
        "rules": dict(way.rules),
    }
    sources = [
        {
            "id": id_,
            "kind": device.kind,
            "every": f"{device.every.total_seconds():g}s",
            **served[id_].address,
            **device.settings,
        }
        for id_, device in way.devices.items()
    ]
    site = {"name": "Whole way", "time_zone": way.parameters.time_zone}
    # JSON is YAML; a date is not quoted there.
    return (
        f"site: {json.dumps(site)[:-1]}, start: {start:%Y-%m-%d}}}\n"
        f"heat_pumps: {json.dumps([pump])}\nsources: {json.dumps(sources)}\n"
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
                asking = asyncio.create_task(SourceTask(live, recorder, clock).run())
                over = asyncio.create_task(clock.over.wait())
                done, _ = await asyncio.wait({asking, over}, return_when=asyncio.FIRST_COMPLETED)
                over.cancel()
                asking.cancel()
                await asyncio.gather(asking, over, return_exceptions=True)
                if asking in done:
                    asking.result()
            if not await recorder.flush(60) or recorder.given_up:
                raise RuntimeError(f"the landing did not take everything: {recorder.problem}")
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            recorder.close()
    return workspace


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
        tables: the tables by name, in whole.
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
        """True and found events of a kind: heating, dhw (sessions), cycles, defrosts."""
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
        placed = found if self.way.tells_times else unbiased_edges(found)
        return true.filter(inside).select(columns), placed.filter(inside).select(columns)

    def periods(self, period: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        """True and found figures of the whole local days or months, by their first day."""
        true = self._seen(truth_energy(self.run, "day" if period == "daily" else "month").filter("complete"))
        first = pl.col("period") if period == "daily" else pl.col("period") + "-01"
        return true, self.tables[period].with_columns(first.str.to_date().alias("period"))

    def total(self, column: str) -> tuple[float, float]:
        """True and found sum of an energy over the whole local days."""
        true, found = self.periods("daily")
        both = true.select("period", column).join(found.select("period", column), on="period", suffix="_found")
        return float(both[column].sum()), float(both[f"{column}_found"].sum())


def walk(way: Way, run: Trajectory, events: Sequence[Event] = ()) -> Walked:
    """Let a house's devices be asked for a whole run, and make all tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace = asyncio.run(_walk(way, House(run), folder, events))
        polls: dict[str, int] = {}
        for source in workspace.settings.sources:
            with Landing(workspace.data) as landing:
                for poll in landing.polls(source.id):
                    polls[poll.outcome] = polls.get(poll.outcome, 0) + 1
            bring(workspace, source.id)
        for stage in stages(workspace.plant(PUMP)):
            stage.bring_up_to_date(stage.keys()).raise_failures()
        return Walked(way, run, {name: _table(workspace, name) for name in TABLES}, polls)


def _table(workspace: Workspace, name: str) -> pl.DataFrame:
    asset = f"{name}/{PUMP}"
    rows = conform(workspace.lake.read(asset, workspace.lake.keys(asset)), name)
    return rows.sort("start" if "start" in rows.columns else "time")


def score(walked: Sequence[Walked], name: str) -> EventScore:
    """Score of a kind of events over runs of one way, pooled."""
    way, pairs = walked[0].way, [each.events(name) for each in walked]
    return score_events(
        pl.concat([true for true, _ in pairs]),
        pl.concat([found for _, found in pairs]),
        collar=max(way.goals.collar, way.slowest),
        shortest=way.slowest,
    )


def score_days(walked: Sequence[Walked], column: str) -> EnergyScore:
    """Errors of an energy per whole local day over runs of one way, pooled."""
    pairs = [each.periods("daily") for each in walked]
    return score_periods(
        pl.concat([true.select("period", column) for true, _ in pairs]),
        pl.concat([found.select("period", column) for _, found in pairs]),
        column,
    )


def lines(walked: Sequence[Walked]) -> list[Line]:
    """What is found over runs of one way, with its gates."""
    way = walked[0].way
    goals, budget = way.goals, way.budget
    found = []
    for name, words in (("heating", "heating sessions"), ("dhw", "hot water sessions"), ("cycles", "cycles")):
        events = score(walked, name)
        excused = f", {events.excused} too short to be seen" if events.excused else ""
        note = f"{events.matched} of {events.true} true, {events.found} found{excused}"
        found.append(Line(f"{words}: F1", round(events.f1, 4), "", at_least=goals.event_f1, note=note))
    found += [
        Line("edges: mean error", round(max(events.start_mae_s, events.end_mae_s), 1), "s", at_most=goals.edge_mae_s),
        Line(
            "edges: bias",
            round(max(abs(events.start_bias_s), abs(events.end_bias_s)), 1),
            "s",
            at_most=goals.edge_bias_s,
        ),
    ]
    defrosts = score(walked, "defrosts")
    if defrosts.true:
        found += [
            Line(
                "defrosts: found",
                round(defrosts.recall, 4),
                "",
                at_least=goals.defrost_recall,
                note=f"{defrosts.matched} of {defrosts.true}",
            ),
            Line("defrosts: true", round(defrosts.precision, 4), "", at_least=goals.defrost_precision),
        ]
    for name, heat, cop in (
        ("heating", goals.heating_heat_percent, goals.heating_cop_percent),
        ("dhw", goals.dhw_heat_percent, goals.dhw_cop_percent),
    ):
        events = score(walked, name)
        if not events.thermal.pairs:
            continue
        bound = round(budget.thermal_bound_kwh, 3)
        found += [
            Line(
                f"{name} session: heat, worst",
                round(events.thermal.worst_kwh, 3),
                "kWh",
                at_most=bound,
                note="r + 2 P dt",
            ),
            Line(f"{name} session: heat, 95 %", round(events.thermal.p95_percent, 2), "%", at_most=_gate(heat)),
            Line(f"{name} session: electricity, 95 %", round(events.electrical.p95_percent, 2), "%"),
            Line(f"{name} session: COP, 95 %", round(events.cop.p95_percent, 2), "%", at_most=_gate(cop)),
        ]
    both = [score(walked, name).thermal for name in ("heating", "dhw")]
    sessions = sum(each.pairs for each in both)
    squares = sum(each.pairs * each.rms_kwh**2 for each in both if each.pairs)
    found.append(
        Line(
            "session: heat, rms",
            round(math.sqrt(squares / sessions), 4) if sessions else math.nan,
            "kWh",
            at_most=way.rms_kwh if sessions >= ENOUGH else None,
            note=f"{sessions} sessions",
        )
    )
    days, power = score_days(walked, HEAT), score_days(walked, ELECTRICITY)
    (true_heat, heat_kwh), (true_power, used) = (
        tuple(map(sum, zip(*(each.total(column) for each in walked), strict=True))) for column in (HEAT, ELECTRICITY)
    )
    # A counter is read at the begin and at the end of each run; a month is longer than these together.
    step = 100 * budget.thermal_step_kwh * len(walked) / true_heat
    most = round(goals.month_heat_percent + step, 3)
    note = f"{goals.month_heat_percent:g} % and the counter's step"
    found += [
        Line(
            "day: heat, 95 %",
            round(days.p95_percent, 3),
            "%",
            at_most=goals.day_heat_percent,
            note=f"{days.pairs} days",
        ),
        Line(
            "day: electricity, worst",
            round(power.worst_percent, 4),
            "%",
            at_most=round(
                goals.day_electricity_percent + 100 * budget.electrical_step_kwh * days.pairs / true_power, 3
            ),
            note=f"{goals.day_electricity_percent:g} % and the counter's step",
        ),
        Line("all of it: heat", round(abs(100 * (heat_kwh / true_heat - 1)), 3), "%", at_most=most, note=note),
        Line(
            "all of it: electricity",
            round(abs(100 * (used / true_power - 1)), 4),
            "%",
            at_most=round(0.01 + 100 * budget.electrical_step_kwh * len(walked) / true_power, 4),
            note="0.01 % and the counter's step",
        ),
        Line(
            "all of it: JAZ",
            round(abs(100 * (heat_kwh / used / (true_heat / true_power) - 1)), 3),
            "%",
            at_most=most,
            note=f"{heat_kwh / used:.3f}",
        ),
    ]
    return [replace(line, what=f"{way.name} · {line.what}") for line in found]


def scenario_run(way: Way, name: str, days: int = DAYS) -> Trajectory:
    """The first days of a golden scenario, in the house of a way."""
    return replace(SCENARIOS[name], days=days).run(way.parameters)


def measure(runs: int) -> Report:
    """All ways through days of the golden scenarios. The figures are the same in every run."""
    report = Report("whole_way", "from the wire to the figures, against the truth of the simulation")
    for way in (LUXTRONIK, ISG, ISG_PADDED, VIESSMANN):
        names = TRIED if way is not ISG_PADDED else TRIED[:1]
        began, used = time.perf_counter(), time.process_time()
        report.lines += lines([walk(way, scenario_run(way, name)) for name in names])
        report.notes.append(
            f"{way.name}: {DAYS * len(names)} days in {time.perf_counter() - began:.0f} s "
            f"({time.process_time() - used:.0f} s of CPU)."
        )
    return report


_PAGE: Final = """\
# Accuracy of the whole way

How well the pipeline finds what happened, from the wire to the figures: simulated houses answer over the real
protocols on loopback, the real collector asks them with the real clients, and what comes goes through the landing and
the lake into all tables. Only the waiting is left out. Written by `python -m benchmarks whole_way --write`;
`hp_pipeline_tests/accuracy/test_whole_way.py` asserts a day of it. [Accuracy](accuracy.md) scores the tables alone.

{days} days of each of these: {scenarios}.

- **What is true** is what the devices can tell. Counters of heat do not turn back while a defrost takes heat, so they
  are compared with the heat without what defrosts took (gross), and a Luxtronik's own electricity with that without
  the backup heater.
- **Counters' steps.** A counter of 1 kWh (ISG) read at both ends of a stretch may be off by one; that is in the gate
  of short sums, and vanishes in a month's.
- **Edges** are taken in the middle of the time in which the tables say that they may lie; a Viessmann tells itself
  when a state changed, so there they are where the tables have them. (`start_uncertainty_s` is then greater than need
  be: it does not know that the device tells exact times.)
- **Faults.** With every fault of a Luxtronik, and of a Viessmann and its Shelly, over a day, energies stay within
  0.25 % but for what was counted between the last reading and a reset, which nobody saw: at most one interval each.
  Every reset, fall and swap of a counter of energy is found, and none is invented (asserted by the same tests).

{table}
"""


def write(report: Report) -> Path:
    """The figures as a page of the documentation."""
    scenarios = ", ".join(f"`{name}`" for name in TRIED)
    page = _PAGE.format(days=DAYS, scenarios=scenarios, table=report.markdown().rstrip())
    PAGE.write_text(page, encoding="utf-8")
    return PAGE


def _gate(percent: float) -> float | None:
    return None if math.isinf(percent) else percent
