"""A tiny device on the loopback, the source that asks it, and collectors as processes to be killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import multiprocessing
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from hp_pipeline.landing.collector import LiveSource, Patience
from hp_pipeline.landing.health import ask
from hp_pipeline.landing.service import Service, run_collector
from hp_pipeline.landing.store import Attempt, Landing
from hp_pipeline.sources.live import Outcome, Polled, PollError, Reading

STEADY = 12
"""Points of the tiny device that hardly ever change."""


class TinyDevice:
    """Answers each line with its values as a line of JSON: `n` counts the answers, so that each is another one."""

    def __init__(self, mode: str = "healthy") -> None:
        self.mode = mode
        self.answers = 0
        self._lock = threading.Lock()
        device = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    if self.rfile.readline():
                        device.answer(self.wfile.write)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, write: Callable[[bytes], Any]) -> None:
        if self.mode == "slow":
            time.sleep(30)
            return
        if self.mode == "garbage":
            write(os.urandom(200) + b"\n")
            return
        if self.mode == "torn":
            write(b'{"n": 1, "a')
            return
        with self._lock:
            self.answers += 1
            number = self.answers
        write(json.dumps(values_of(number)).encode() + b"\n")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def values_of(number: int) -> dict[str, float | str]:
    """What the device tells in its answer with this number."""
    steady = {f"steady/{index}": float(index + number // 40 * (index == 3)) for index in range(STEADY)}
    return {
        "n": float(number),
        "power": 1000.0 + 10 * (number % 7),
        "flow": 35.0 + number // 9 % 3,
        "return": 30.0,
        "rate": 1200.0,
        "mode": "heating" if number // 25 % 2 else "standby",
        **steady,
    }


class TinySource:
    """Asks a tiny device."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def poll(self) -> Polled:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError as error:
            raise PollError(Outcome.refused, "no connection", "Is it on?", retry=True) from error
        try:
            writer.write(b"?\n")
            line = await reader.readline()
        finally:
            writer.close()
        try:
            values = json.loads(line)
        except ValueError as error:
            raise PollError(Outcome.broken, "garbage") from error
        return Polled(
            [
                Reading(point, None, value) if isinstance(value, str) else Reading(point, value)
                for point, value in values.items()
            ]
        )

    async def close(self) -> None:
        pass


class MadSource:
    """Does everything that a source must not do, in turn."""

    def __init__(self) -> None:
        self.turn = 0

    async def poll(self) -> Polled:
        self.turn += 1
        match self.turn % 5:
            case 0:
                raise ZeroDivisionError("secret-in-a-message")
            case 1:
                return "not readings"  # type: ignore[return-value]
            case 2:
                return Polled([Reading("p", 1.0)] * 210_000)
            case 3:
                raise asyncio.CancelledError
        while True:  # does not end when it is told to
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    async def close(self) -> None:
        raise RuntimeError("not even that")


def live(id_: str, opened: Callable[[], Any], every: float = 0.02, timeout: float = 1.0) -> LiveSource:
    """A source as the collector takes it."""
    return LiveSource(
        id_, "tiny", timedelta(seconds=every), timedelta(seconds=timeout), lambda: None, opened, settings=(id_, every)
    )


def closed_port() -> int:
    """A port of the loopback at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def collect(folder: str, sources: dict[str, tuple[str, int, float]], acknowledged: str | None = None) -> None:
    """A collector's process. Each poll of a tiny device that is said to be stored is named in a file afterwards."""
    logging.basicConfig(filename=Path(folder) / "collector.log", level=logging.INFO)
    if acknowledged is not None:
        descriptor = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        record = Landing.record

        def noted(self: Landing, attempts: list[Attempt]) -> list[int]:
            numbers = record(self, attempts)
            lines = [
                f"{attempt.source} {attempt.polled.readings[0].value:.0f}\n" for attempt in attempts if attempt.polled
            ]
            os.write(descriptor, "".join(lines).encode())
            return numbers

        Landing.record = noted  # type: ignore[method-assign, assignment]

    def chosen(landing: Landing, ledgers: Any) -> list[LiveSource]:
        opened = {"tiny": TinySource, "mad": lambda _: MadSource()}
        return [live(id_, partial(opened[kind], port), every) for id_, (kind, port, every) in sources.items()]

    patience = Patience(retry_first=0.05, failures=1000)
    service = Service(Path(folder), chosen, port=0, patience=patience, gather=0.0)
    raise SystemExit(run_collector(service))


_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def start(folder: Path, sources: dict[str, tuple[str, int, float]], acknowledged: Path | None = None) -> BaseProcess:
    """Start a collector; it is up within some milliseconds."""
    folder.mkdir(exist_ok=True)
    process = _CONTEXT.Process(
        target=collect, args=(str(folder), sources, str(acknowledged) if acknowledged else None), daemon=True
    )
    process.start()
    return process


def healthy(folder: Path, seconds: float = 10) -> dict[str, Any]:
    """The health answer, once there is one."""
    deadline = time.monotonic() + seconds
    while (answer := ask(folder)) is None:
        assert time.monotonic() < deadline, "no health answer"
        time.sleep(0.02)
    return answer


def wait_for(look: Callable[[], Any], what: str, seconds: float = 15) -> Any:
    """Look until the answer is true."""
    deadline = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s; last {answer!r}"
        time.sleep(0.02)
    return answer
