"""A simulated Luxtronik controller: the config interface on TCP and the answer to the discovery call on UDP.

Layout of the answers as in recordings of real controllers. Of the registers it fills those that mean something in the
house; the others are constant, or drift slowly, or flicker, in the proportions that a real unit shows
(of 1860 about 50 change fast and 130 slowly). A write request is logged and answered by nothing.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final, cast

from hp_pipeline.simulation.devices.world import Clock, Faults, LivedIn

FIRMWARE: Final = "V3.92.0"
MODEL: Final = 88
"""LP8V, an air/water unit with an inverter."""
SWITCH_OFF_CODES: Final = {"no_demand": 9, "defrost": 5, "mode_change": 16}
MODES: Final = {"heating": 0, "dhw": 1, "standby": 5}
DEFROST_MODE: Final = 4
FROZEN_BACKUP_KWH: Final = 3760.4
"""What parameter 1059 stood at when the firmware went on with parameter 1140."""
PASSWORD_DIGITS: Final = (9, 9, 9, 9, 9, 9)
ERRORS: Final = ((3, 719), (11, 717), (26, 768), (40, 715), (75, 717))
"""Errors that happened so many days before the run began, with these codes."""
SENTINEL_CALCULATIONS: Final = {15: -500, 17: 1500, 19: -500, 20: -500}
"""What registers show when their sensors are torn off."""
COUNTER_PARAMETERS: Final = (852, 854, 878, 879, 1135, 1136, 1137, 1138, 1139, 1140)
COUNTER_CALCULATIONS: Final = (56, 57, 60, 63, 64, 65, 151, 152, 153, 154)
SECONDS_PER_HOUR: Final = 3600
_PARAMETERS, _CALCULATIONS, _VISIBILITIES = 3003, 3004, 3005


class LuxtronikFault(StrEnum):
    """What can go wrong with a controller; in brackets what the value of the fault means."""

    stall = "stall"
    """a request (command, default any) is not answered"""
    stall_midway = "stall_midway"
    """the answer to a request (command) stops in its middle"""
    fragment = "fragment"
    """answers come in pieces (of so many bytes)"""
    close = "close"
    """the connection is closed in the middle of the answer to a request (command)"""
    reset = "reset"
    """the connection is reset as soon as it is made"""
    refuse = "refuse"
    """no connection is accepted; see `refuse_connections`"""
    busy = "busy"
    """the calculations come with a status (default 1)"""
    garbage = "garbage"
    """the answer to a request (command) is noise"""
    stray_byte = "stray_byte"
    """a byte that does not belong there comes before the calculations"""
    too_many = "too_many"
    """the parameters announce a billion values"""
    none_at_all = "none_at_all"
    """the visibilities announce no value"""
    short = "short"
    """the answer to a request (command) has one value less than announced"""
    long = "long"
    """the answer to a request (command) has one value more than announced"""
    sentinel = "sentinel"
    """sensors are torn off"""
    counter_reset = "counter_reset"
    """all counters start again from nothing, and stay so"""
    rollback = "rollback"
    """counters go back to what they were (so many seconds) ago, and stay so much behind"""
    clock_offset = "clock_offset"
    """the controller's clock is ahead (by so many seconds)"""
    fewer_values = "fewer_values"
    """an old firmware: 1086, 200 and 336 values"""


@dataclass
class _Offsets:
    """What is taken from the counters, by index."""

    parameters: dict[int, int] = field(default_factory=dict)
    calculations: dict[int, int] = field(default_factory=dict)


class LuxtronikDevice:
    """What the controller of a house holds at a moment, as raw integers.

    Args:
        house: what happens.
        counts: numbers of parameters, calculations and visibilities.
        seed: of the registers that mean nothing in the house.
    """

    def __init__(self, house: LivedIn, counts: tuple[int, int, int] = (1187, 275, 398), seed: int = 1) -> None:
        self._house = house
        self.counts = counts
        self._base = [
            [_noise(seed, group, index) % 40 * 5 for index in range(count)] for group, count in enumerate(counts)
        ]
        self._base[2] = [int(value > 60) for value in self._base[2]]
        self._slow = [index for index in range(130, 668) if _noise(seed, 7, index) % 5 == 0][:90]
        self._fast = [244, 245, 246, 247, 248, 249, 250, 251, 252, 253, 259, 260]
        self._seed = seed
        self._newest: tuple[object, tuple[list[int], list[int], list[int]]] = (None, ([], [], []))

    def values(
        self, moment: datetime, clock_offset: timedelta = timedelta(0)
    ) -> tuple[list[int], list[int], list[int]]:
        """Parameters, calculations and visibilities at a moment."""
        if self._newest[0] != (moment, clock_offset):  # one poll asks three times
            self._newest = ((moment, clock_offset), self._made(moment, clock_offset))
        parameters, calculations, visibilities = (list(values) for values in self._newest[1])
        return parameters, calculations, visibilities

    def _made(self, moment: datetime, clock_offset: timedelta) -> tuple[list[int], list[int], list[int]]:
        parameters, calculations, visibilities = (list(values) for values in self._base)
        unix_s = int(moment.timestamp())
        for index in self._slow:
            period = 3000 + _noise(self._seed, 8, index) % 6000
            _put(parameters, index, 200 + _noise(self._seed, index, unix_s // period) % 20)
        for index in self._fast:
            _put(calculations, index, 1000 + _noise(self._seed, index, unix_s // 30) % 3)
        self._fill(moment, unix_s + int(clock_offset.total_seconds()), parameters, calculations)
        return parameters, calculations, visibilities

    def _fill(self, moment: datetime, clock_s: int, parameters: list[int], calculations: list[int]) -> None:
        state = self._house.at(moment)
        number = state.number
        mode = DEFROST_MODE if state.flag("defrost") else MODES[state.word("operating_mode")]
        runs = state.flag("compressor_on")
        since_mode = number("time") - number("mode_since")
        since_compressor = number("time") - number("compressor_since")
        backup_dhw = number("backup_heater_energy_dhw_total")
        backup_heating = number("backup_heater_energy_total") - backup_dhw
        for index, name in {
            10: "flow_temperature",
            11: "return_temperature",
            12: "flow_setpoint",
            13: "return_temperature",
            14: "hot_gas_temperature",
            15: "outdoor_temperature",
            16: "outdoor_temperature_24h",
            17: "dhw_temperature",
            18: "dhw_setpoint",
            19: "source_in_temperature",
            20: "source_out_temperature",
            151: "thermal_energy_heating_total",
            152: "thermal_energy_dhw_total",
            154: "thermal_energy_total",
            227: "room_temperature",
            228: "room_setpoint",
            243: "delta_t",
        }.items():
            # Energy counts down to the last whole unit, temperatures are rounded.
            raw = number(name) * 10
            _put(calculations, index, int(raw + 1e-6) if index in COUNTER_CALCULATIONS else round(raw))
        for index, value in {
            **dict.fromkeys((21, 26, 28), 50),
            **dict.fromkeys((24, 25), 750),
            22: 250,
            23: 0,
            27: 1500,
            **dict.fromkeys((29, 31, 33), 1),
            37: state.flag("defrost"),
            38: state.word("three_way_valve") == "dhw",
            39: number("flow_rate") > 0 and state.word("three_way_valve") == "space",
            43: runs,
            44: runs,
            45: 0,
            46: 0,
            48: state.flag("backup_heater_step1"),
            49: state.flag("backup_heater_step2"),
            56: number("compressor_hours_total") * SECONDS_PER_HOUR,
            57: number("compressor_starts_total"),
            **dict.fromkeys((58, 59, 61, 62, 66), 0),
            60: number("backup_heater_hours_total") * SECONDS_PER_HOUR,
            63: number("heat_pump_hours_total") * SECONDS_PER_HOUR,
            64: number("heating_hours_total") * SECONDS_PER_HOUR,
            65: number("dhw_hours_total") * SECONDS_PER_HOUR,
            67: since_compressor if runs else 0,
            71: 0 if runs else max(0.0, 1200 - since_compressor),
            72: max(0.0, 1200 - since_compressor),
            73: 0 if runs else since_compressor,
            78: MODEL,
            79: 1,
            80: mode,
            105: len(ERRORS),
            117: 4 if mode == DEFROST_MODE else 0 if runs else 1,
            118: 0,
            119: {0: 0, 1: 5, DEFROST_MODE: 7}.get(mode, 1),
            120: since_mode,
            134: clock_s,
            141: max(0.0, 4500 - (number("time") - number("last_defrost"))),
            153: 0,
            155: round(number("flow_rate")),
            156: 50 if runs else 0,
            158: 0,
            173: 0,
            180: round(1400 + number("flow_temperature") * 25) if runs else 950,
            181: round(700 + number("outdoor_temperature") * 12) if runs else 950,
            183: 65 if number("flow_rate") else 0,
            184: 415 if runs else 0,
            231: round(number("compressor_frequency")),
            236: round(number("compressor_frequency")),
            237: 20,
            238: 120,
            254: round(number("flow_rate")),
            257: round(max(0.0, number("thermal_power"))),
            258: 0,
            268: round(number("electrical_power") - number("backup_heater_power")),
        }.items():
            _put(calculations, index, int(value))
        for place, character in enumerate(FIRMWARE.ljust(10, "\0")):
            _put(calculations, 81 + place, ord(character))
        for slot, (time, code) in enumerate(self._errors()):
            _put(calculations, 95 + slot, time)
            _put(calculations, 100 + slot, code)
        for slot, (time, code) in enumerate(self._switch_offs(moment)):
            _put(calculations, 106 + slot, code)
            _put(calculations, 111 + slot, time)
            _put(parameters, 716 + slot, code)
            _put(parameters, 721 + slot, time)
        for index in range(217, 227):
            _put(calculations, index, 0)
        for index, kwh in {
            852: number("thermal_energy_total"),
            854: number("thermal_energy_heating_total"),
            878: number("thermal_energy_dhw_total"),
            1136: number("electrical_energy_heating_total") - backup_heating,
            1137: number("electrical_energy_dhw_total") - backup_dhw,
            1140: backup_heating + backup_dhw,
            **dict.fromkeys((879, 1135, 1138, 1139), 0.0),
        }.items():
            _put(parameters, index, int(kwh * 100 + 1e-6))
        for index, raw in {
            1: 0,
            2: round(number("dhw_setpoint") * 10),
            3: 0,
            4: 0,
            11: 330,
            12: 220,
            668: int(number("heat_pump_hours_total") * SECONDS_PER_HOUR),
            669: int(number("compressor_hours_total") * SECONDS_PER_HOUR),
            674: int(number("compressor_starts_total")),
            700: 155,
            728: int(number("heating_hours_total") * SECONDS_PER_HOUR),
            729: int(number("dhw_hours_total") * SECONDS_PER_HOUR),
            880: int(self._house.start.timestamp()),
            1059: round(FROZEN_BACKUP_KWH * 10),
            1119: int(number("last_defrost")),
            **{755 + place: digit for place, digit in enumerate(PASSWORD_DIGITS)},
        }.items():
            _put(parameters, index, raw)

    def _errors(self) -> list[tuple[int, int]]:
        return [(int(self._house.start.timestamp()) - days * 86_400 - 4711, code) for days, code in ERRORS]

    def _switch_offs(self, moment: datetime) -> list[tuple[int, int]]:
        """The ring of five: the slot that is written next is the one after the newest."""
        ring = [(int(self._house.start.timestamp()) - (5 - slot) * 7200, 9) for slot in range(5)]
        for stop in self._house.stops(moment, 5):
            ring[stop.number % 5] = (stop.time, SWITCH_OFF_CODES[stop.reason])
        return ring


class LuxtronikServer:
    """The controller of a house on the loopback.

    Args:
        house: what happens.
        clock: what time it is there.
        counts: numbers of parameters, calculations and visibilities.
        recorded: answers to send instead, by command (3003, 3004, 3005).
        port: TCP port, 0 for a free one.
    """

    def __init__(
        self,
        house: LivedIn,
        clock: Clock,
        *,
        counts: tuple[int, int, int] = (1187, 275, 398),
        recorded: dict[int, bytes] | None = None,
        port: int = 0,
    ) -> None:
        self.device = LuxtronikDevice(house, counts)
        self.clock = clock
        self.faults = Faults(clock, LuxtronikFault)
        self.port = port
        self.requests: list[int] = []
        self.connections = 0
        self.most_at_once = 0
        self._open = 0
        self._recorded = recorded
        self._offsets = _Offsets()
        self._server: asyncio.Server | None = None
        self._discovery: asyncio.DatagramTransport | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> LuxtronikServer:
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
        if self._discovery:
            self._discovery.close()
        await self.refuse_connections(log=False)

    async def refuse_connections(self, *, log: bool = True) -> None:
        """Stop listening, until `start`; connections that are open are cut."""
        if log:
            self.faults.inject(LuxtronikFault.refuse)
            self.faults.take(LuxtronikFault.refuse)
        if self._server:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def answer_discovery(self, port: int = 0) -> int:
        """Answer the broadcast on a UDP port of the loopback; returns the port."""
        server = self

        class Responder(asyncio.DatagramProtocol):
            transport: asyncio.DatagramTransport

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = cast(asyncio.DatagramTransport, transport)

            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                if data.startswith(b"2000;111;1;"):
                    self.transport.sendto(f"2500;111;{server.port};\0".encode(), addr)

        self._discovery, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            Responder, local_addr=("127.0.0.1", port)
        )
        told: int = self._discovery.get_extra_info("sockname")[1]
        return told

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open += 1
        self.most_at_once = max(self.most_at_once, self._open)
        self._writers.add(writer)
        try:
            if self.faults.take(LuxtronikFault.reset) is not None:
                _reset(writer)
                return
            while len(head := await reader.read(8)) == 8:
                command, _ = struct.unpack(">ii", head)
                self.requests.append(command)
                if command not in (_PARAMETERS, _CALCULATIONS, _VISIBILITIES):
                    return
                if not await self._answer(command, writer):
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client is gone, or this server ends: either way there is nobody to answer
        finally:
            self._open -= 1
            self._writers.discard(writer)
            writer.close()

    def _meant(self, fault: LuxtronikFault, command: int) -> bool:
        """Whether the fault is to be made for this command; its value names one, 0 any."""
        wanted = self.faults.value(fault)
        if wanted is None or wanted not in (0, command):
            return False
        return self.faults.take(fault, f"command {command}") is not None

    async def _answer(self, command: int, writer: asyncio.StreamWriter) -> bool:
        """Send the answer; False where the connection is to be closed."""
        if self._meant(LuxtronikFault.stall, command):
            await asyncio.sleep(SECONDS_PER_HOUR)
        frame = self._frame(command)
        if self._meant(LuxtronikFault.garbage, command):
            frame = bytes(_noise(3, command, place) % 256 for place in range(len(frame)))
        if self._meant(LuxtronikFault.short, command):
            frame = frame[: -1 if command == _VISIBILITIES else -4]
        if self._meant(LuxtronikFault.long, command):
            frame += b"\x01" if command == _VISIBILITIES else b"\0\0\0\x01"
        for fault in (LuxtronikFault.close, LuxtronikFault.stall_midway):
            if self._meant(fault, command):
                writer.write(frame[: len(frame) // 2])
                await writer.drain()
                if fault is LuxtronikFault.stall_midway:
                    await asyncio.sleep(SECONDS_PER_HOUR)
                return False
        size = self.faults.take(LuxtronikFault.fragment, f"command {command}")
        if size is None:
            writer.write(frame)
        else:
            for place in range(0, len(frame), int(size) or 3):
                writer.write(frame[place : place + (int(size) or 3)])
                await asyncio.sleep(0)
        await writer.drain()
        return True

    def _frame(self, command: int) -> bytes:
        if self._recorded is not None:
            return self._recorded[command]
        parameters, calculations, visibilities = self._values(command)
        if command == _PARAMETERS:
            count = 10**9 if self.faults.take(LuxtronikFault.too_many) is not None else len(parameters)
            return struct.pack(f">ii{len(parameters)}i", command, count, *parameters)
        if command == _CALCULATIONS:
            status = self.faults.take(LuxtronikFault.busy)
            if status is not None:
                return struct.pack(">ii", command, int(status) or 1)
            stray = b"\0" if self.faults.take(LuxtronikFault.stray_byte) is not None else b""
            return stray + struct.pack(f">iii{len(calculations)}i", command, 0, len(calculations), *calculations)
        if self.faults.take(LuxtronikFault.none_at_all) is not None:
            return struct.pack(">ii", command, 0)
        return struct.pack(f">ii{len(visibilities)}b", command, len(visibilities), *visibilities)

    def _values(self, command: int) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        ahead = self.faults.value(LuxtronikFault.clock_offset) or 0.0
        now = self.clock.now()
        parameters, calculations, visibilities = self.device.values(now, timedelta(seconds=ahead))
        if ahead and command == _CALCULATIONS:
            self.faults.take(LuxtronikFault.clock_offset, f"{ahead:g} s")
        back = self.faults.take(LuxtronikFault.rollback)
        if back is not None:
            earlier = self.device.values(now - timedelta(seconds=back))
            behind = self._offsets
            self._offsets = _Offsets(
                {
                    index: behind.parameters.get(index, 0) + parameters[index] - earlier[0][index]
                    for index in COUNTER_PARAMETERS
                },
                {
                    index: behind.calculations.get(index, 0) + calculations[index] - earlier[1][index]
                    for index in COUNTER_CALCULATIONS
                },
            )
        if self.faults.take(LuxtronikFault.counter_reset) is not None:
            self._offsets = _Offsets(
                {index: parameters[index] for index in COUNTER_PARAMETERS},
                {index: calculations[index] for index in COUNTER_CALCULATIONS},
            )
        for values, offsets in ((parameters, self._offsets.parameters), (calculations, self._offsets.calculations)):
            for index, offset in offsets.items():
                if index < len(values):
                    values[index] -= offset
        if command == _CALCULATIONS and self.faults.take(LuxtronikFault.sentinel) is not None:
            for index, raw in SENTINEL_CALCULATIONS.items():
                _put(calculations, index, raw)
        if self.faults.value(LuxtronikFault.fewer_values) is not None:
            if command == _VISIBILITIES:  # the last one of a poll
                self.faults.take(LuxtronikFault.fewer_values)
            return parameters[:1086], calculations[:200], visibilities[:336]
        return parameters, calculations, visibilities


def _put(values: list[int], index: int, value: int) -> None:
    if index < len(values):
        values[index] = value


@lru_cache(maxsize=4096)
def _noise(*numbers: int) -> int:
    """A number that depends on these alone and looks like chance."""
    mixed = 0x9E3779B97F4A7C15
    for number in numbers:
        mixed = (mixed ^ (number & 0xFFFF_FFFF_FFFF_FFFF)) * 0xBF58476D1CE4E5B9 & 0xFFFF_FFFF_FFFF_FFFF
        mixed ^= mixed >> 29
    return mixed >> 8


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset instead of an orderly end."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
