"""A simulated Shelly meter of the second generation: RPC over HTTP with the digest login, counters and records.

It measures a heat pump's electricity. Three-phase meters (Pro 3EM, 3EM Gen3) split it evenly; a Pro EM has two
channels (the second one idle), a 1PM one relay. Records cover what was measured since the run began, less the
stretches in which the meter had no power.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from hp_pipeline.simulation.devices.world import Clock, Faults, LivedIn

KEYS: Final = (
    "total_act_energy", "fund_act_energy", "total_act_ret_energy", "fund_act_ret_energy", "lag_react_energy",
    "lead_react_energy", "max_act_power", "min_act_power", "max_aprt_power", "min_aprt_power", "max_voltage",
    "min_voltage", "avg_voltage", "max_current", "min_current", "avg_current",
)  # fmt: skip
MAINS_VOLT: Final = 230.0
POWER_FACTOR: Final = 0.97
COUNTED: Final = "electrical_energy_total"
FIRST_MAC: Final = "A8032AB1C2D0"
SECOND_MAC: Final = "A8032AB1C2D1"


class Model(StrEnum):
    """Meters that it can be."""

    pro_3em = "SPEM-003CEBEU"
    gen3_3em = "S3EM-003CXCEU63"
    pro_em = "SPEM-002CEBEU50"
    plus_1pm = "SNSW-001P16EU"


class ShellyFault(StrEnum):
    """What can go wrong with a meter; in brackets what the value of the fault means."""

    stall = "stall"
    """a request is not answered"""
    close = "close"
    """the connection is closed in the middle of an answer"""
    fragment = "fragment"
    """an answer comes in pieces (of so many bytes)"""
    reset = "reset"
    """the connection is reset when a request comes"""
    refuse = "refuse"
    """no connection is accepted; see `refuse_connections`"""
    garbage = "garbage"
    """an answer is noise"""
    html = "html"
    """an answer is a page for people"""
    not_a_number = "not_a_number"
    """an answer has a NaN in it"""
    wrong_length = "wrong_length"
    """an answer is shorter than its Content-Length"""
    status = "status"
    """an answer has another status (such as 401, 429, 500, 503)"""
    starting = "starting"
    """a meter that has just started: its components are empty"""
    counter_reset = "counter_reset"
    """the counters begin from nothing, and stay so"""
    rollback = "rollback"
    """the counters go on from (so many seconds) ago, and stay so much behind"""
    swap = "swap"
    """another meter takes its place, with counters of its own, and stays"""
    clock_offset = "clock_offset"
    """its clock is ahead (by so many seconds)"""
    no_clock = "no_clock"
    """its clock was not set"""
    same_page = "same_page"
    """a page of records says that the next one begins where it began itself"""
    duplicate = "duplicate"
    """a page of records has its blocks twice"""
    out_of_order = "out_of_order"
    """a page of records has its blocks in the wrong order"""
    unnamed = "unnamed"
    """a page of records does not name its columns"""
    torn_row = "torn_row"
    """a record misses its last value"""


class ShellyServer:
    """A meter on the loopback.

    Args:
        house: what it measures.
        clock: what time it is there.
        model: which meter it is.
        password: that of its user admin; None: it asks for none.
        without_power: stretches [begin, end) in which it had no power itself.
        page: records that one answer holds at most.
        period: seconds of one record.
        port: TCP port, 0 for a free one.
    """

    def __init__(
        self,
        house: LivedIn,
        clock: Clock,
        *,
        model: Model = Model.pro_3em,
        password: str | None = None,
        without_power: Sequence[tuple[datetime, datetime]] = (),
        page: int = 360,
        period: int | None = None,
        port: int = 0,
    ) -> None:
        self.house, self.clock, self.model, self.password = house, clock, model, password
        self.faults = Faults(clock, ShellyFault)
        self.port = port
        self.mac = FIRST_MAC
        self.profile = "monophase" if model is Model.pro_em else "triphase"
        self.period = period or (300 if model is Model.gen3_3em else 60)
        self.requests: list[str] = []
        self.unauthorised = 0
        self._page = page
        self._without_power = sorted(without_power)
        self._taken_wh = 0.0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._nonce = 1700000000

    async def __aenter__(self) -> ShellyServer:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Accept connections, on `port`."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        server, self._server = self._server, None
        if server:
            server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await server.wait_closed()

    async def refuse_connections(self) -> None:
        """Stop listening, until `start`; connections that are open are cut."""
        self.faults.inject(ShellyFault.refuse)
        self.faults.take(ShellyFault.refuse)
        await self.stop()

    # -- HTTP

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *headers = head.split("\r\n")
                target = line.split(" ")[1]
                fields = {key.lower(): value.strip() for key, _, value in (entry.partition(":") for entry in headers)}
                self.requests.append(target)
                if self.faults.take(ShellyFault.reset, target) is not None:
                    connection = writer.get_extra_info("socket")
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.transport.abort()
                    return
                if self.faults.take(ShellyFault.stall, target) is not None:
                    await asyncio.sleep(3600)
                if not await self._answer(target, fields.get("authorization", ""), writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or this server ends: either way there is nobody to answer
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, target: str, authorization: str, writer: asyncio.StreamWriter) -> bool:
        """Send the answer; False where the connection is to be closed."""
        parts = urlsplit(target)
        extra, kind = "", "application/json"
        forced = self.faults.take(ShellyFault.status, target)
        if forced is not None:
            status, body = int(forced), b'{"code":-1,"message":"no"}'
        elif parts.path != "/shelly" and not self._authorised(authorization, target):
            self.unauthorised += 1
            self._nonce += 1
            status, body = 401, b""
            extra = (
                f'WWW-Authenticate: Digest qop="auth", realm="shelly-{self.mac.lower()}", nonce="{self._nonce}", '
                "algorithm=SHA-256\r\n"
            )
        elif parts.path.startswith("/emdata/"):
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            status, body, kind = 200, self._csv(query).encode(), "text/csv"
        else:
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            told = self._told(parts.path, query)
            status = 404 if told is None else 200
            body = json.dumps(told if told is not None else {"code": 404, "message": "No handler"}).encode()
        length = len(body)
        if self.faults.take(ShellyFault.garbage, target) is not None:
            body = bytes((place * 7919 + 13) % 256 for place in range(length))
        if self.faults.take(ShellyFault.html, target) is not None:
            body, kind = b"<html><body>Sign in to the network</body></html>", "text/html"
            length = len(body)
        if self.faults.take(ShellyFault.not_a_number, target) is not None:
            body = re.sub(rb'("total_act_power": )[-0-9.]+', rb"\1NaN", body)
            length = len(body)
        if self.faults.take(ShellyFault.wrong_length, target) is not None:
            length += 500
        head = f"HTTP/1.1 {status} X\r\n{extra}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()
        answer = head + body
        if self.faults.take(ShellyFault.close, target) is not None or length > len(body):
            writer.write(answer[: len(head) + len(body) // 2])
            await writer.drain()
            return False
        size = self.faults.take(ShellyFault.fragment, target)
        step = len(answer) if size is None else int(size) or 7
        for place in range(0, len(answer), step):
            writer.write(answer[place : place + step])
            await asyncio.sleep(0)
        await writer.drain()
        return True

    def _authorised(self, authorization: str, target: str) -> bool:
        if self.password is None:
            return True
        told = dict(re.findall(r'(\w+)="?([^",]+)"?', authorization))
        if not {"nonce", "nc", "cnonce", "qop", "response", "uri"} <= set(told):
            return False
        one = _sha256(f"admin:shelly-{self.mac.lower()}:{self.password}")
        two = _sha256(f"GET:{target}")
        expected = _sha256(f"{one}:{told['nonce']}:{told['nc']}:{told['cnonce']}:{told['qop']}:{two}")
        return (told["uri"], told["nonce"], told["response"]) == (target, str(self._nonce), expected)

    # -- what it tells

    def _told(self, path: str, query: dict[str, str]) -> dict[str, Any] | None:
        if path == "/shelly":
            return {
                "id": f"shelly-{self.mac.lower()}",
                "mac": self.mac,
                "model": self.model.value,
                "gen": 3 if self.model is Model.gen3_3em else 2,
                "ver": "1.4.4",
                "app": self.model.name,
                "auth_en": self.password is not None,
                "profile": self.profile if self.model is not Model.plus_1pm else "switch",
            }
        kind = "EM1Data" if self.profile == "monophase" else "EMData"
        match path.removeprefix("/rpc/"):
            case "Shelly.GetStatus":
                return self.status()
            case method if self.model is Model.plus_1pm:
                return None
            case method if method == f"{kind}.GetRecords":
                blocks = [
                    {"ts": int(begin.timestamp()), "period": self.period, "records": count}
                    for begin, count in self._blocks()
                ]
                return {"data_blocks": blocks}
            case method if method == f"{kind}.GetData":
                return self._page_of_records(query)
            case _:
                return None

    def status(self) -> dict[str, Any]:
        """The answer to Shelly.GetStatus, at the present of the clock."""
        now = self.clock.now()
        offset = self.faults.take(ShellyFault.clock_offset) or 0.0
        unixtime = None if self.faults.take(ShellyFault.no_clock) is not None else int(now.timestamp() + offset)
        uptime = (now - self.house.start).total_seconds()
        system = {"mac": self.mac, "unixtime": unixtime, "uptime": int(uptime), "restart_required": False}
        wh = self._counter_wh(now)
        if self.faults.take(ShellyFault.swap) is not None:
            self.mac = SECOND_MAC if self.mac == FIRST_MAC else FIRST_MAC
            self._taken_wh -= 2_500_000.0  # it was in use elsewhere before: its counters are higher
        back = self.faults.take(ShellyFault.rollback)
        if back is not None:
            self._taken_wh += wh - self._counter_wh(now - timedelta(seconds=back))
        if self.faults.take(ShellyFault.counter_reset) is not None:
            self._taken_wh += wh
        system["mac"], wh = self.mac, self._counter_wh(now)
        empty = self.faults.take(ShellyFault.starting) is not None
        watt = round(self.house.at(now).number("electrical_power"), 1)
        return {"sys": system, "cloud": {"connected": False}} | {
            component: {} if empty else fields for component, fields in self._components(watt, round(wh, 2)).items()
        }

    def _components(self, watt: float, wh: float) -> dict[str, dict[str, Any]]:
        if self.model is Model.plus_1pm:
            meter = {
                "id": 0, "source": "init", "output": True, "apower": watt, "voltage": MAINS_VOLT, "pf": POWER_FACTOR,
                "current": round(watt / MAINS_VOLT / POWER_FACTOR, 3), "freq": 50.0,
                "aenergy": {"total": wh, "by_minute": [1.0, 2.0, 3.0], "minute_ts": 1},
                "temperature": {"tC": 41.2, "tF": 106.2},
            }  # fmt: skip
            return {"switch:0": meter}
        if self.profile == "monophase":
            return {
                component: fields
                for channel, share in ((0, 1.0), (1, 0.0))
                for component, fields in (
                    (f"em1:{channel}", {"id": channel} | _phase("", watt * share) | {"calibration": "factory"}),
                    (
                        f"em1data:{channel}",
                        {
                            "id": channel,
                            "total_act_energy": round(wh * share, 2),
                            "total_act_ret_energy": 0.0,
                        },
                    ),
                )
            }
        live: dict[str, Any] = {"id": 0, "n_current": None, "user_calibrated_phase": []}
        counted: dict[str, Any] = {"id": 0}
        for phase in "abc":
            live |= _phase(f"{phase}_", watt / 3)
            counted |= {f"{phase}_total_act_energy": round(wh / 3, 2), f"{phase}_total_act_ret_energy": 0.0}
        live |= {
            "total_current": round(watt / MAINS_VOLT / POWER_FACTOR, 3),
            "total_act_power": watt,
            "total_aprt_power": round(watt / POWER_FACTOR, 1),
        }
        return {"em:0": live, "emdata:0": counted | {"total_act": wh, "total_act_ret": 0.0}}

    def _counter_wh(self, now: datetime) -> float:
        return self.house.counter(COUNTED, now) * 1000 - self._taken_wh

    # -- what it recorded

    def _blocks(self) -> list[tuple[datetime, int]]:
        """Begin and number of records of every block that is complete by now."""
        step = timedelta(seconds=self.period)
        blocks, begin = [], _aligned(self.house.start, self.period)
        for off, on in [*self._without_power, (self.clock.now(), self.clock.now())]:
            count = (off - begin) // step
            if count > 0:
                blocks.append((begin, count))
            begin = _aligned(on, self.period)
        return blocks

    def _rows(self, first: float, last: float) -> Iterator[tuple[int, datetime]]:
        """Number of the block and begin of each record in [first, last) (unix seconds)."""
        for number, (begin, count) in enumerate(self._blocks()):
            start = int(begin.timestamp())
            skipped = max(0, -int((start - first) // self.period)) if first > start else 0
            for place in range(skipped, count):
                if start + place * self.period >= last:
                    break
                yield number, begin + timedelta(seconds=place * self.period)

    def _values(self, begin: datetime) -> list[float]:
        watt = self.house.mean_power(COUNTED, begin, begin + timedelta(seconds=self.period))
        if self.profile == "monophase":
            return _recorded(watt, self.period)
        return [*(value for _ in "abc" for value in _recorded(watt / 3, self.period)), 0.0, 0.0, 0.0]

    def _page_of_records(self, query: dict[str, str]) -> dict[str, Any]:
        first, last = float(query.get("ts", 0)), float(query.get("end_ts", 2**40))
        data: list[dict[str, Any]] = []
        following, block = None, -1
        for taken, (number, begin) in enumerate(self._rows(first, last)):
            if taken == self._page:
                following = int(begin.timestamp())
                break
            if number != block:
                data.append({"ts": int(begin.timestamp()), "period": self.period, "values": []})
                block = number
            data[-1]["values"].append(self._values(begin))
        if self.faults.take(ShellyFault.torn_row) is not None and data:
            data[-1]["values"][-1] = data[-1]["values"][-1][:-1]
        if self.faults.take(ShellyFault.duplicate) is not None:
            data = [*data, *data]
        if self.faults.take(ShellyFault.out_of_order) is not None:
            data = [
                {"ts": block["ts"] + place * self.period, "period": self.period, "values": [row]}
                for block in data
                for place, row in enumerate(block["values"])
            ][::-1]
        if self.faults.take(ShellyFault.same_page) is not None:
            following = int(first)
        answer: dict[str, Any] = {"data": data}
        if self.faults.take(ShellyFault.unnamed) is None and query.get("add_keys") == "true":
            answer["keys"] = self._names()
        return answer if following is None else answer | {"next_record_ts": following}

    def _names(self) -> list[str]:
        if self.profile == "monophase":
            return list(KEYS)
        return [
            *(f"{phase}_{key}" for phase in "abc" for key in KEYS),
            "n_max_current",
            "n_min_current",
            "n_avg_current",
        ]

    def _csv(self, query: dict[str, str]) -> str:
        first, last = float(query.get("ts", 0)), float(query.get("end_ts", 2**40))
        lines = [",".join(["timestamp", *self._names()])] if query.get("add_keys") == "true" else []
        for _, begin in self._rows(first, last):
            lines.append(",".join([str(int(begin.timestamp())), *map(str, self._values(begin))]))
        return "\r\n".join(lines) + "\r\n"


def _phase(prefix: str, watt: float) -> dict[str, float]:
    return {
        f"{prefix}current": round(watt / MAINS_VOLT / POWER_FACTOR, 3),
        f"{prefix}voltage": MAINS_VOLT,
        f"{prefix}act_power": round(watt, 1),
        f"{prefix}aprt_power": round(watt / POWER_FACTOR, 1),
        f"{prefix}pf": POWER_FACTOR,
        f"{prefix}freq": 50.0,
    }


def _recorded(watt: float, period: int) -> list[float]:
    """One phase of a record, in the order of `KEYS`."""
    wh, current = round(watt * period / 3600, 4), round(watt / MAINS_VOLT / POWER_FACTOR, 3)
    apparent = round(watt / POWER_FACTOR, 1)
    return [
        wh, wh, 0.0, 0.0, 0.0, 0.0, round(watt, 1), round(watt, 1), apparent, apparent,
        MAINS_VOLT, MAINS_VOLT, MAINS_VOLT, current, current, current,
    ]  # fmt: skip


def _aligned(moment: datetime, period: int) -> datetime:
    """The first full period from a moment on."""
    late = moment.timestamp() % period
    return moment + timedelta(seconds=period - late if late else 0)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
