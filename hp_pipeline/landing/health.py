"""How the collector does: one document for people and machines, given out on the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hp_pipeline.landing.collector import Collector, SourceTask
from hp_pipeline.sources.budget import Budget
from hp_pipeline.sources.live import Outcome

ADDRESS_FILE: Final = "collector.json"
"""In the data folder: process and port of the collector that runs on it."""

_LOOPBACK: Final = "127.0.0.1"
_QUIET: Final = 3  # a source is late when nothing came for so many of its intervals

Budgets = Mapping[str, Sequence[Budget]]


def of_source(task: SourceTask, budgets: Sequence[Budget], now: datetime) -> dict[str, Any]:
    """What is said of one source.

    Returns:
        `state` is `good` (the last poll went well), `failing` (it did not), `late` (too long ago), `waiting` (nothing
        yet). `age_s`: seconds since the last good poll. `late_ms`, `took_ms`: of the last thousand polls. `rejected`:
        how often something that it was told was not taken, by reason.
    """
    life, every = task.life, task.source.every
    age = None if life.last_good is None else (now - life.last_good).total_seconds()
    state = "good"
    if life.last_outcome is None:
        state = "waiting"
    elif life.last_outcome is not Outcome.ok:
        state = "failing"
    elif age is not None and every is not None and age > _QUIET * every.total_seconds() + 5:
        state = "late"
    return {
        "id": task.source.id,
        "kind": task.source.kind,
        "state": state,
        "last_good": life.last_good and life.last_good.isoformat(),
        "age_s": None if age is None else round(age, 1),
        "outcome": life.last_outcome and str(life.last_outcome),
        "error": life.what,
        "remedy": life.remedy,
        "failures_in_a_row": life.failures,
        "every_s": every and every.total_seconds(),
        "next_due": task.grid and datetime.fromtimestamp(task.grid.next_time, UTC).isoformat(),
        "outcomes": dict(life.outcomes),
        "retries": life.retries,
        "missed": life.missed,
        "paused": life.paused,
        "readings": life.readings,
        "rejected": task.rejected(),
        "points": len(life.newest),
        "clock_drift_s": None if life.drift is None else round(life.drift, 1),
        "late_ms": _spread(life.late),
        "took_ms": _spread(life.took),
        "budget": [
            {
                "window": budget.window.name,
                "used": budget.used,
                "limit": budget.window.limit,
                "left": budget.left,
                "resets": budget.resets and budget.resets.isoformat(),
            }
            for budget in budgets
        ],
    }


def _spread(seconds: Sequence[float] | Any) -> dict[str, float] | None:
    ordered = sorted(seconds)
    if not ordered:
        return None
    return {
        name: round(1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1)
        for name, share in (("median", 0.5), ("p99", 0.99))
    }


def of_all(
    collector: Collector, problems: Sequence[str], budgets: Budgets, now: datetime, started: datetime
) -> dict[str, Any]:
    """The whole answer. `ok` is false while something needs the owner: a source fails, nothing can be stored."""
    sources = [of_source(task, budgets.get(id_, ()), now) for id_, task in sorted(collector.tasks.items())]
    recorder = collector.recorder
    said = list(problems)
    if recorder.problem is not None:
        said.append(f"{recorder.problem} ({recorder.waiting} polls wait in memory)")
    if recorder.given_up:
        said.append(f"{recorder.given_up} polls were lost because nothing could be stored for too long")
    return {
        "ok": not said and all(source["state"] in {"good", "waiting"} for source in sources),
        "pid": os.getpid(),
        "started": started.isoformat(),
        "now": now.isoformat(),
        "stored": recorder.stored,
        "waiting": recorder.waiting,
        "problems": said,
        "sources": sources,
    }


def live_values(collector: Collector) -> dict[str, dict[str, Any]]:
    """By source, by point: the newest value and its time."""
    return {
        id_: {point: {"value": value, "time": time.isoformat()} for point, (value, time) in task.life.newest.items()}
        for id_, task in collector.tasks.items()
    }


def status_line(answer: Mapping[str, Any]) -> str:
    """The answer in one line, for a terminal and for systemd."""
    parts = []
    for source in answer["sources"]:
        age = "never" if source["age_s"] is None else f"{source['age_s']:.0f} s ago"
        word = age if source["state"] == "good" else f"{source['outcome'] or 'waiting'} (good: {age})"
        parts.append(f"{source['id']} {word}")
    return " · ".join([*parts, *answer["problems"]]) or "no live source"


class HealthServer:
    """Answers `GET /health` and `GET /live` on the loopback, as JSON.

    Args:
        answers: by path what makes the document.
    """

    def __init__(self, answers: Mapping[str, Callable[[], Mapping[str, Any]]]) -> None:
        self._answers = answers
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen at a port of 127.0.0.1, or at the next one that is free (0: any).

        Raises:
            OSError: none of the next hundred is free.
        """
        for candidate in [port] if port == 0 else range(port, min(port + 100, 65536)):
            with contextlib.suppress(OSError):
                self._server = await asyncio.start_server(self._answer, _LOOPBACK, candidate, limit=16_384)
                self.port = int(self._server.sockets[0].getsockname()[1])
                return
        raise OSError(f"No free port on {_LOOPBACK} from {port} on: name another one with --port.")

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
                status, body = self._document(head.decode("latin-1"))
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                    "Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked is gone, or talks something else
        finally:
            writer.close()

    def _document(self, head: str) -> tuple[str, bytes]:
        request, *lines = head.split("\r\n")
        words = request.split(" ")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        # A page in a browser must not read this by a name of its own that points to the loopback.
        if headers.get("host", "").rpartition(":")[0] not in {_LOOPBACK, "localhost"}:
            return "403 Forbidden", b'{"error": "ask by the address 127.0.0.1"}'
        if len(words) != 3 or words[0] != "GET":
            return "405 Method Not Allowed", b'{"error": "only GET"}'
        make = self._answers.get(words[1].partition("?")[0])
        if make is None:
            return "404 Not Found", json.dumps({"paths": sorted(self._answers)}).encode()
        answer = make()
        status = "503 Service Unavailable" if answer.get("ok") is False else "200 OK"
        return status, json.dumps(answer, ensure_ascii=False, indent=1).encode()


def write_address(folder: Path, port: int) -> None:
    """Say in the data folder where the collector answers."""
    beside = folder / f".{ADDRESS_FILE}"
    beside.write_text(json.dumps({"pid": os.getpid(), "port": port}), encoding="utf-8")
    beside.replace(folder / ADDRESS_FILE)


def ask(folder: Path, path: str = "/health", timeout: float = 3.0) -> dict[str, Any] | None:
    """Ask the collector that runs on a data folder; None when none answers."""
    import http.client

    try:
        address = json.loads((folder / ADDRESS_FILE).read_text(encoding="utf-8"))
        connection = http.client.HTTPConnection(_LOOPBACK, int(address["port"]), timeout=timeout)
        try:
            connection.request("GET", path)
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return None
    return dict(answer) if isinstance(answer, dict) else None
