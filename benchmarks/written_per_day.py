"""What the whole running system writes to the disk in a day, as the kernel counts it, process by process.

`hp-pipeline run` with the default settings: collector, code server, pages, daemon and the runs that it asks for, while
the collector polls a Luxtronik controller, a Stiebel Eltron over Modbus and two Shelly meters over their real
protocols. After a while of settling it is watched over whole beats; the full run, which comes every few hours only, is
asked for once and counted by itself.

What is counted: `write_bytes` of `/proc/<process>/io`, of every process that the supervisor started. The kernel adds to
a process what its children had written when they ended, so nothing that was short-lived is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import psutil

from benchmarks.report import Line, Report

MINUTES: Final = float(os.environ.get("HP_MINUTES", "20"))
"""How long it is watched: whole beats."""
SETTLING_MINUTES: Final = float(os.environ.get("HP_SETTLING_MINUTES", "4"))
BEAT: Final = os.environ.get("HP_BEAT", "10min")
_DAY_MINUTES: Final = 24 * 60
_TARGET_MB: Final = 500.0


def measure(runs: int) -> Report:
    """One life of it, watched once: the figures of a minute more or less differ by little."""
    report = Report("written_per_day", "what the running system writes to the disk, by process")
    with _devices() as (folder, settings):
        data = folder / "data"
        life = _started(folder, settings)
        try:
            url = _until_ready(life, folder)
            time.sleep(60 * SETTLING_MINUTES)
            before, cpu_before, began = written(life.pid), _cpu_s(life.pid), time.monotonic()
            runs_before = _runs(url)
            time.sleep(60 * MINUTES)
            after, cpu_after, took = written(life.pid), _cpu_s(life.pid), time.monotonic() - began
            beats = _runs(url) - runs_before
        finally:
            life.send_signal(signal.SIGTERM)
            life.wait(30)
        if os.environ.get("HP_KEEP"):
            shutil.copytree(data, os.environ["HP_KEEP"], dirs_exist_ok=True)
    a_day = _DAY_MINUTES * 60 / took
    total = 0.0
    for name in sorted({*before, *after}):
        mb = (after.get(name, 0) - before.get(name, 0)) * a_day / 1e6
        total += mb
        report.lines.append(Line(name, round(mb, 1), "MB a day"))
    report.lines.append(Line("all of it", round(total, 1), "MB a day", at_most=_TARGET_MB))
    report.lines.append(
        Line("processor", round(100 * (cpu_after - cpu_before) / took, 2), "% of a core", note="runs included")
    )
    report.notes.append(f"Watched for {took / 60:.0f} minutes, in which {beats} runs began.")
    return report


def written(supervisor: int) -> dict[str, int]:
    """Bytes written to the disk so far, by name of the service; runs are in the code server's once they have ended."""
    found: dict[str, int] = {}
    parent = psutil.Process(supervisor)
    for process in [parent, *parent.children(recursive=True)]:
        with contextlib.suppress(psutil.Error, OSError):
            fields = dict(line.split(": ") for line in Path(f"/proc/{process.pid}/io").read_text().splitlines())
            name = _name(process, parent)
            found[name] = found.get(name, 0) + int(fields["write_bytes"]) - int(fields["cancelled_write_bytes"])
    return found


_NAMES: Final = {
    "collect": "collector",
    "services.daemon": "daemon",
    "dagster_webserver": "pages",
    "api": "code server, with the runs",
    "multiprocessing": "code server, with the runs",
}


def _name(process: psutil.Process, supervisor: psutil.Process) -> str:
    if process.pid == supervisor.pid:
        return "supervisor"
    words = " ".join(process.cmdline())
    return next((name for word, name in _NAMES.items() if word in words), words[:60])


def _cpu_s(supervisor: int) -> float:
    total = 0.0
    parent = psutil.Process(supervisor)
    for process in [parent, *parent.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _runs(url: str) -> int:
    from hp_pipeline.services.supervisor import query

    return len(
        query(url, "{ runsOrError { ... on Runs { results { runId } } } }", timeout=30)["runsOrError"]["results"]
    )


def _started(folder: Path, settings: Path) -> subprocess.Popen[bytes]:
    from hp_pipeline.services.supervisor import free_port

    command = [sys.executable, "-m", "hp_pipeline.cli", "run", "--port", str(free_port(24000))]
    with (folder / "terminal").open("wb") as terminal:
        return subprocess.Popen(
            [*command, "--settings", str(settings), "--data", str(folder / "data")],
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _until_ready(life: subprocess.Popen[bytes], folder: Path) -> str:
    import json

    for _ in range(1200):
        said = (folder / "terminal").read_text()
        if "Ready after" in said:
            return str(json.loads((folder / "data" / "dagster" / "services.json").read_text())["pages"])
        if life.poll() is not None:
            raise RuntimeError(f"it ended: {said[-2000:]}")
        time.sleep(0.1)
    raise RuntimeError("it was not ready within two minutes")


@contextlib.contextmanager
def _devices() -> Iterator[tuple[Path, Path]]:
    """Devices that answer in a thread of this process; a folder and the settings in it."""
    from hp_pipeline.simulation.devices.luxtronik import LuxtronikServer
    from hp_pipeline.simulation.devices.modbus import SimulatedModbus, StiebelIsg
    from hp_pipeline.simulation.devices.shelly import ShellyServer
    from hp_pipeline.simulation.devices.world import Clock, House
    from hp_pipeline.simulation.house import simulate
    from hp_pipeline.simulation.parameters import PRESETS
    from hp_pipeline.simulation.weather import simulate_weather

    start, settling = datetime(2025, 1, 15, tzinfo=UTC), timedelta(hours=6)
    weather = simulate_weather(start - settling, start + timedelta(hours=12), step_s=10, seed=3)
    clock = Clock(start + timedelta(hours=1))
    novelan, stiebel = (
        House(simulate(PRESETS[preset], weather, number, settling=settling))
        for number, preset in enumerate(("novelan_helox", "stiebel_hpa"))
    )
    controller = LuxtronikServer(novelan, clock)
    meters = [ShellyServer(novelan, clock), ShellyServer(stiebel, clock)]
    gateway = SimulatedModbus({1: StiebelIsg(stiebel, clock).unit()})
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start_all() -> None:
        await gateway.__aenter__()
        for server in (controller, *meters):
            await server.start()

    async def stop_all() -> None:
        for server in (controller, *meters):
            await server.stop()
        await gateway.__aexit__(None, None, None)

    asyncio.run_coroutine_threadsafe(start_all(), loop).result(20)
    folder = Path(tempfile.mkdtemp(prefix="hp_bench_"))
    settings = folder / "hp.yaml"
    settings.write_text(
        f"automation: {{beat: {BEAT}}}\n"
        "site: {name: Bench, time_zone: Europe/Berlin, start: 2026-01-01}\n"
        "heat_pumps:\n"
        "  - id: novelan\n"
        "    inputs: [{source: controller, profile: luxtronik}, {source: meter, profile: shelly_3em}]\n"
        "  - id: stiebel\n"
        "    inputs: [{source: gateway, profile: stiebel_eltron_wpm}, {source: other_meter, profile: shelly_3em}]\n"
        "sources:\n"
        f"  - {{id: controller, kind: luxtronik, host: 127.0.0.1, port: {controller.port}}}\n"
        f"  - {{id: gateway, kind: modbus, map: stiebel_eltron_wpm, host: 127.0.0.1, port: {gateway.port}}}\n"
        f"  - {{id: meter, kind: shelly, host: 127.0.0.1, port: {meters[0].port}}}\n"
        f"  - {{id: other_meter, kind: shelly, host: 127.0.0.1, port: {meters[1].port}}}\n",
        encoding="utf-8",
    )
    try:
        yield folder, settings
    finally:
        asyncio.run_coroutine_threadsafe(stop_all(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        shutil.rmtree(folder)
