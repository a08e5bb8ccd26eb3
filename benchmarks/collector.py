"""The collector as a process: start, memory, idle processor time, and lateness beside dead and stalled devices.

It polls simulated devices over their real protocols, on the loopback, by a settings file: three controllers every 10 s,
beside one that refuses connections and one that never answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from benchmarks.report import Line, Report, of_runs

SECONDS = 60.0
HEALTHY = 3


def measure(runs: int) -> Report:
    """Start it several times, then watch one for a minute."""
    report = Report("collector", "the collector's process")
    imports = [_seconds("import hp_pipeline.landing.service") for _ in range(max(3, runs))]
    with _street() as (folder, settings):
        starts = []
        for _ in range(max(3, runs)):
            process, took = _started(folder, settings)
            starts.append(took)
            _ended(process)
        process, _ = _started(folder, settings)
        try:
            watched = psutil.Process(process.pid)
            time.sleep(5)
            before, began = watched.cpu_times(), time.monotonic()
            time.sleep(SECONDS)
            after, elapsed = watched.cpu_times(), time.monotonic() - began
            memory = watched.memory_info().rss
            answer = _health(folder)
        finally:
            ending = time.monotonic()
            _ended(process)
            ending = time.monotonic() - ending
    report.lines += [
        of_runs("import", imports, "s", at_most=0.5, note="a new Python each"),
        of_runs("from its start to its first health answer", starts, "s", note="as `hp-pipeline collect`"),
        Line("memory", round(memory / 1e6, 1), "MB", at_most=60.0, note=f"resident, after {SECONDS:.0f} s"),
        Line(
            "processor",
            round(100 * (after.user + after.system - before.user - before.system) / elapsed, 2),
            "% of a core",
            at_most=1.0,
            note=f"{HEALTHY} controllers of 1,860 registers every 10 s, one dead, one stalled",
        ),
        Line("SIGTERM to end", round(ending, 3), "s", at_most=2.0),
    ]
    late = [source["late_ms"]["p99"] for source in answer["sources"] if source["id"].startswith("healthy")]
    report.lines.append(Line("lateness of healthy polls, p99", max(late), "ms", at_most=200.0, note="the worst source"))
    good = sum(source["outcomes"].get("ok", 0) for source in answer["sources"])
    failed = sum(sum(source["outcomes"].values()) for source in answer["sources"]) - good
    report.notes.append(f"{good} good and {failed} failed polls were watched.")
    return report


def _seconds(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


@contextlib.contextmanager
def _street() -> Iterator[tuple[Path, Path]]:
    """Devices that answer in a thread of this process; a data folder and the settings."""
    from hp_pipeline.simulation.devices.luxtronik import LuxtronikServer
    from hp_pipeline.simulation.devices.world import Clock, House
    from hp_pipeline.simulation.house import simulate
    from hp_pipeline.simulation.parameters import DAIKIN_ALTHERMA
    from hp_pipeline.simulation.weather import simulate_weather

    start, settling = datetime(2025, 1, 15, tzinfo=UTC), timedelta(hours=6)
    weather = simulate_weather(start - settling, start + timedelta(hours=12), step_s=10, seed=3)
    house = House(simulate(DAIKIN_ALTHERMA, weather, 3, settling=settling))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    servers = [LuxtronikServer(house, Clock(start + timedelta(hours=1))) for _ in range(HEALTHY)]
    for server in servers:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    stalled, dead = socket.create_server(("127.0.0.1", 0)), socket.socket()
    dead.bind(("127.0.0.1", 0))
    ports = {f"healthy_{number}": server.port for number, server in enumerate(servers)}
    ports |= {"dead": dead.getsockname()[1], "stalled": stalled.getsockname()[1]}
    folder = Path(tempfile.mkdtemp(prefix="hp_bench_"))
    sources = "\n".join(
        f"  - {{id: {name}, kind: luxtronik, host: 127.0.0.1, port: {port}, every: 10s, timeout: 5s}}"
        for name, port in ports.items()
    )
    settings = folder / "hp.yaml"
    settings.write_text(
        "site: {name: Bench, time_zone: Europe/Berlin, start: 2024-01-01}\n"
        "heat_pumps: [{id: pump, inputs: [{source: healthy_0, profile: espaltherma_home_assistant}]}]\n"
        f"sources:\n{sources}\n",
        encoding="utf-8",
    )
    try:
        yield folder / "data", settings
    finally:
        for server in servers:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        stalled.close()
        dead.close()
        shutil.rmtree(folder)


def _health(folder: Path) -> dict[str, list[dict[str, dict[str, float]]]]:
    from hp_pipeline.landing.health import ask

    answer = ask(folder)
    assert answer is not None
    return answer


def _started(folder: Path, settings: Path) -> tuple[subprocess.Popen[bytes], float]:
    from hp_pipeline.landing.health import ask

    began = time.perf_counter()
    command = [sys.executable, "-m", "hp_pipeline.cli", "collect", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--settings", str(settings), "--data", str(folder)], stderr=subprocess.DEVNULL
    )
    while ask(folder) is None:
        assert process.poll() is None and time.perf_counter() - began < 30, "the collector does not start"
        time.sleep(0.005)
    return process, time.perf_counter() - began


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(10)
