"""What it takes to read a Stiebel Eltron over Modbus: requests, time, CPU, over loopback by a real server."""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import UTC, datetime, timedelta

from benchmarks.report import Line, Report
from hp_pipeline.settings.sources import ModbusSource
from hp_pipeline.simulation.devices.modbus import Fault, SimulatedModbus, StiebelIsg
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.simulation.house import simulate
from hp_pipeline.simulation.parameters import PRESETS
from hp_pipeline.simulation.weather import simulate_weather
from hp_pipeline.sources.live import PollError
from hp_pipeline.sources.modbus import RegisterSource, open_source
from hp_pipeline.sources.modbus.wire import Lines

POLLS = 200


def measure(runs: int) -> Report:
    """Read an ISG in both policies for holes, and beside a dead neighbour."""
    start = datetime(2024, 1, 15, tzinfo=UTC)
    weather = simulate_weather(start - timedelta(days=1), start + timedelta(days=1), step_s=60, seed=2)
    house = House(simulate(PRESETS["stiebel_hpa"], weather, settling=timedelta(days=1)))
    lines = []
    for holes in ("illegal", "padded"):
        lines += asyncio.run(_healthy(house, holes, max(1, runs)))
    lines += asyncio.run(_beside_a_dead_one(house))
    return Report("modbus", "Reading a Stiebel Eltron WPMsystem over Modbus TCP", lines)


def _isg(house: House) -> StiebelIsg:
    return StiebelIsg(house, Clock(house.start + timedelta(hours=12), 0))


def _source(server: SimulatedModbus, **more: object) -> RegisterSource:
    settings = ModbusSource.model_validate(
        {"id": "pump", "map": "stiebel_eltron_wpm", "host": "127.0.0.1", "port": server.port, **more}
    )
    return open_source(settings, lines=Lines())


async def _healthy(house: House, holes: str, runs: int) -> list[Line]:
    device = _isg(house)
    if holes == "illegal":
        # What a machine may lack of the documented registers, between others that are wanted.
        device.missing = {508, 2505, *range(583, 602), *range(3689, 3734)}
    async with SimulatedModbus({1: device.unit("illegal" if holes == "illegal" else "padded")}) as server:
        source = _source(server)
        await source.poll()
        learning = source.report.requests
        took, cpu, requests, points = [], [], 0, 0
        for _ in range(runs):
            begun, used = time.perf_counter(), time.process_time()
            for _ in range(POLLS):
                polled = await source.poll()
                requests, points = source.report.requests, len(polled.readings)
            took.append((time.perf_counter() - begun) / POLLS * 1000)
            cpu.append((time.process_time() - used) / POLLS * 1000)
        await source.close()
    where = f"holes {holes}"
    return [
        Line(f"requests of a fast poll, {where}", requests, "requests", at_most=6, note=f"{points} points"),
        Line(f"requests of the first poll, {where}", learning, "requests", note="slow registers and finding the holes"),
        Line(f"a fast poll, {where}", statistics.median(took), "ms", low=min(took), high=max(took)),
        Line(f"CPU of a fast poll, {where}", statistics.median(cpu), "ms", note="with the server in the same process"),
    ]


async def _beside_a_dead_one(house: House) -> list[Line]:
    async with (
        SimulatedModbus({1: _isg(house).unit()}) as dead,
        SimulatedModbus({1: _isg(house).unit()}) as alive,
    ):
        dead.always(Fault.STALL)
        silent, healthy = _source(dead, answer_timeout="500ms"), _source(alive)
        await healthy.poll()
        late = []

        async def ask_the_dead() -> None:
            while True:
                try:
                    await silent.poll()
                except PollError:
                    await asyncio.sleep(0)

        asking = asyncio.create_task(ask_the_dead())
        for _ in range(POLLS):
            due = time.perf_counter()
            await healthy.poll()
            late.append((time.perf_counter() - due) * 1000)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await silent.close()
        await healthy.close()
    late.sort()
    return [Line("a poll beside a dead device, p99", late[round(0.99 * len(late)) - 1], "ms", at_most=200)]
