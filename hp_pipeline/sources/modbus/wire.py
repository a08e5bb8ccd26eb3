"""Modbus on the wire: requests that read, and nothing else, over TCP, RTU and RTU over TCP.

The wire read is our own because of what happens on a bad day. A general client takes an answer to another function
or of another length for the answer, waits out its whole time limit when the connection is already closed, and does
not tell garbage from silence. Here every byte of an answer has to be the expected one, and there is no code that
could write: the only request that can be built is one of the four that read.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

from hp_pipeline.sources.live import Outcome
from hp_pipeline.vocabulary.registers import MOST_BITS, MOST_WORDS, Table

if TYPE_CHECKING:
    from serial import Serial

READ_FUNCTIONS: Final[dict[Table, int]] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
"""The function code that reads each table: all that this module can ask a device to do."""

_EXCEPTION: Final = 0x80
_MOST_STALE: Final = 4
"""Answers to earlier requests that are skipped before the right one; a device that sends more is mad."""

_SETTLING: Final = 0.2
"""Seconds of silence after a failure on a serial line. Its frames have no number, so that an answer that comes late
would be taken for that of the next request to the same unit, if it is as long."""


class WireError(Exception):
    """The connection failed, or what came over it is not the answer.

    Attributes:
        outcome: timeout, refused or broken.
        closed: the other side had closed the connection before it began to answer.
    """

    def __init__(self, outcome: Outcome, what: str, *, closed: bool = False) -> None:
        super().__init__(what)
        self.outcome = outcome
        self.closed = closed


class DeviceError(Exception):
    """The device answers that it cannot: `code` by the protocol (1 illegal function, 2 illegal address, …)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code} ({EXCEPTIONS.get(code, 'unknown')})")
        self.code = code


EXCEPTIONS: Final = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target failed to respond",
}


@dataclass(frozen=True)
class LineAddress:
    """One cable, or one TCP connection: whoever asks at the same address shares it.

    Attributes:
        transport: how the frames travel.
        host, port: of a TCP connection.
        device: of a serial line, such as `/dev/ttyUSB0`.
        baud_rate, parity, stop_bits, data_bits: of a serial line.
        pause: seconds of silence before each request.
    """

    transport: Literal["tcp", "rtu", "rtu_over_tcp"]
    host: str = ""
    port: int = 502
    device: str = ""
    baud_rate: int = 9600
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: int = 1
    data_bits: int = 8
    pause: float = 0.0

    @property
    def place(self) -> tuple[str, int]:
        """What can be open only once."""
        return (self.device, 0) if self.transport == "rtu" else (self.host.lower(), self.port)

    def __str__(self) -> str:
        return self.device if self.transport == "rtu" else f"{self.host}:{self.port}"


def request_of(table: Table, address: int, count: int) -> bytes:
    """The request that reads `count` registers (or bits) of a table.

    Raises:
        ValueError: more than the protocol can ask for, or addresses beyond its last one.
    """
    most = MOST_BITS if table in ("coil", "discrete") else MOST_WORDS
    if not 1 <= count <= most or address < 0 or address + count > 0x10000:
        raise ValueError(f"cannot ask for {count} of {table} from {address} on")
    return struct.pack(">BHH", READ_FUNCTIONS[table], address, count)


def answer_of(request: bytes, answer: bytes) -> list[int]:
    """The registers (or bits, 0 and 1) in an answer to a request.

    Raises:
        WireError: it is none (another function, another length, unreadable).
        DeviceError: the device refuses.
    """
    function, _, count = struct.unpack(">BHH", request)
    if len(answer) == 2 and answer[0] == function | _EXCEPTION:
        raise DeviceError(answer[1])
    if not answer or answer[0] != function:
        raise WireError(Outcome.broken, f"an answer to another function ({answer[:1].hex() or 'none'})")
    bits = function in (READ_FUNCTIONS["coil"], READ_FUNCTIONS["discrete"])
    expected = (count + 7) // 8 if bits else 2 * count
    if len(answer) != 2 + expected or answer[1] != expected:
        raise WireError(Outcome.broken, f"an answer of {len(answer) - 2} bytes instead of {expected}")
    if bits:
        return [answer[2 + index // 8] >> index % 8 & 1 for index in range(count)]
    return list(struct.unpack(f">{count}H", answer[2:]))


def crc16(frame: bytes) -> bytes:
    """Check sum of an RTU frame, low byte first."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc.to_bytes(2, "little")


class _Inbox:
    """What has arrived and was not read yet."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._end: Exception | None = None
        self._news = asyncio.Event()

    def arrived(self, data: bytes) -> None:
        """More bytes."""
        self._bytes += data
        self._news.set()

    def ended(self, error: Exception | None) -> None:
        """No more will come."""
        self._end = self._end or error or EOFError("closed by the other side")
        self._news.set()

    def forget(self) -> None:
        """Drop what came without being asked for."""
        self._bytes.clear()

    async def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises EOFError or OSError if the connection ends before."""
        while len(self._bytes) < count:
            if self._end is not None:
                raise self._end
            self._news.clear()
            await self._news.wait()
        taken = bytes(self._bytes[:count])
        del self._bytes[:count]
        return taken

    @property
    def begun(self) -> bool:
        """Whether something waits to be read."""
        return bool(self._bytes)


class _Stream(Protocol):
    """Bytes to and from the other side."""

    inbox: _Inbox

    async def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class _TcpStream(asyncio.Protocol):
    """A TCP connection."""

    def __init__(self) -> None:
        self.inbox = _Inbox()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, address: LineAddress) -> _TcpStream:
        """Connect. Raises OSError."""
        _, stream = await asyncio.get_running_loop().create_connection(cls, address.host, address.port)
        return stream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.inbox.arrived(data)

    def eof_received(self) -> None:
        self.inbox.ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.inbox.ended(exc)

    async def write(self, data: bytes) -> None:
        """Send a request: so small that it never has to wait."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Reset the connection: a stalled device would keep one that is closed politely for minutes."""
        if self._transport is not None:
            self._transport.abort()


class _SerialStream:
    """A serial port in the event loop. POSIX only: the loops of other systems cannot wait for a port."""

    def __init__(self, port: Serial) -> None:
        self.inbox = _Inbox()
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(port.fileno(), self._readable)

    @classmethod
    async def open(cls, address: LineAddress) -> _SerialStream:
        """Open the port. Raises OSError or ValueError (settings that the port does not know)."""
        import serial

        # Opened here and not in a thread, as it never waits (the port is opened non-blocking): a thread that is given
        # up would leave the port open behind it.
        port = serial.Serial(
            address.device,
            baudrate=address.baud_rate,
            bytesize=address.data_bits,
            parity={"none": "N", "even": "E", "odd": "O"}[address.parity],
            stopbits=address.stop_bits,
            timeout=0,
            exclusive=True,
        )
        return cls(port)

    def _readable(self) -> None:
        try:
            data = os.read(self._port.fileno(), 4096)
        except BlockingIOError:
            return
        except OSError as error:
            self._loop.remove_reader(self._port.fileno())
            self.inbox.ended(error)
            return
        if data:
            self.inbox.arrived(data)
        else:
            self._loop.remove_reader(self._port.fileno())
            self.inbox.ended(None)

    async def write(self, data: bytes) -> None:
        """Send a request."""
        while data:
            try:
                data = data[os.write(self._port.fileno(), data) :]
            except BlockingIOError:
                await asyncio.sleep(0.01)

    def close(self) -> None:
        """Close the port."""
        if self._port.is_open:
            self._loop.remove_reader(self._port.fileno())
            self._port.close()


class Line:
    """One cable, or one TCP connection: one request at a time, whoever asks.

    Opened by the first request and kept open. After any failure it is closed, so that no late answer can be taken
    for the next one.
    """

    def __init__(self, address: LineAddress) -> None:
        self.address = address
        self.requests = 0
        """Requests sent so far."""
        self.users = 0
        self._turn = asyncio.Lock()
        self._stream: _Stream | None = None
        self._transaction = 0
        self._quiet_until = 0.0
        self._begun = False

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._stream is not None

    async def read(self, unit: int, table: Table, address: int, count: int, timeout: float) -> list[int]:
        """Ask one unit for registers (0 to 65535 each) or bits (0 or 1 each).

        Args:
            unit: which device on the line.
            table, address, count: what is asked for.
            timeout: seconds for the connection, and again for the answer.

        Raises:
            WireError: no connection, no answer, or something else than the answer.
            DeviceError: the device refuses.
        """
        request = request_of(table, address, count)
        async with self._turn:
            fresh = self._stream is None
            try:
                return await self._exchange(unit, request, timeout)
            except WireError as error:
                # A connection kept open since the last poll may have been closed meanwhile; reading twice harms no one.
                if fresh or not error.closed:
                    raise
            return await self._exchange(unit, request, timeout)

    async def close(self) -> None:
        """Close the connection; the next request opens it again."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    async def _exchange(self, unit: int, request: bytes, timeout: float) -> list[int]:
        silence = max(self.address.pause, self._silence())
        try:
            stream = self._stream = self._stream or await self._open(timeout)
            pause = self._quiet_until - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            self.requests += 1
            return answer_of(request, await self._ask(stream, unit, request, timeout))
        except DeviceError:
            raise
        except BaseException:
            await self.close()
            if self.address.transport != "tcp":
                silence = max(silence, _SETTLING)
            raise
        finally:
            self._quiet_until = time.monotonic() + silence

    def _silence(self) -> float:
        """Seconds that separate two frames of a serial line: three and a half characters, at least 1.75 ms."""
        if self.address.transport == "tcp":
            return 0.0
        if self.address.transport == "rtu_over_tcp":
            return 0.002
        return max(0.00175, 3.5 * 11 / self.address.baud_rate)

    async def _open(self, timeout: float) -> _Stream:
        try:
            async with asyncio.timeout(timeout):
                if self.address.transport == "rtu":
                    return await _SerialStream.open(self.address)
                return await _TcpStream.open(self.address)
        except TimeoutError:
            raise WireError(Outcome.timeout, f"no connection to {self.address} within {timeout:g} s") from None
        except (OSError, ValueError) as error:
            raise WireError(Outcome.refused, f"no connection to {self.address}: {_said(error)}") from None

    async def _ask(self, stream: _Stream, unit: int, request: bytes, timeout: float) -> bytes:
        inbox = stream.inbox
        inbox.forget()
        tcp = self.address.transport == "tcp"
        self._begun = False
        try:
            async with asyncio.timeout(timeout):
                if tcp:
                    self._transaction = self._transaction % 0xFFFF + 1
                    await stream.write(struct.pack(">HHHB", self._transaction, 0, len(request) + 1, unit) + request)
                    return await self._receive_tcp(inbox, unit)
                frame = bytes([unit]) + request
                await stream.write(frame + crc16(frame))
                return await self._receive_rtu(inbox, unit, request)
        except TimeoutError:
            if self._begun or inbox.begun:
                raise WireError(Outcome.broken, f"the answer of {self.address} broke off") from None
            raise WireError(Outcome.timeout, f"no answer from {self.address} within {timeout:g} s") from None
        except (EOFError, OSError) as error:
            begun = self._begun or inbox.begun
            what = "in the middle of an answer" if begun else "without an answer"
            raise WireError(
                Outcome.broken, f"{self.address} ended the connection {what} ({_said(error)})", closed=not begun
            ) from None

    async def _receive_tcp(self, inbox: _Inbox, unit: int) -> bytes:
        for _ in range(_MOST_STALE):
            header = await inbox.take(7)
            transaction, protocol, length, answered = struct.unpack(">HHHB", header)
            if protocol != 0 or not 3 <= length <= 254:
                raise WireError(Outcome.broken, f"{self.address} sent what is no Modbus frame ({header.hex()})")
            self._begun = True
            answer = await inbox.take(length - 1)
            if transaction == self._transaction:
                if answered != unit:
                    raise WireError(Outcome.broken, f"unit {answered} of {self.address} answered for unit {unit}")
                return answer
            self._begun = False
        raise WireError(Outcome.broken, f"{self.address} answers other requests than the one that was sent")

    async def _receive_rtu(self, inbox: _Inbox, unit: int, request: bytes) -> bytes:
        head = await inbox.take(3)
        self._begun = True
        function, count = request[0], int.from_bytes(request[3:5], "big")
        expected = 2 * count if function in (3, 4) else (count + 7) // 8
        if head[0] != unit:
            raise WireError(Outcome.broken, f"unit {head[0]} of {self.address} answered for unit {unit}")
        if head[1] not in (function, function | _EXCEPTION) or (head[1] == function and head[2] != expected):
            raise WireError(Outcome.broken, f"{self.address} sent what is no answer to the request ({head.hex()})")
        frame = head + await inbox.take(2 + (expected if head[1] == function else 0))
        if crc16(frame[:-2]) != frame[-2:]:
            raise WireError(Outcome.broken, f"the check sum of an answer of {self.address} is wrong")
        return frame[1:-2]


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class Lines:
    """The lines that are in use, so that sources at the same place share one."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, int], Line] = {}

    def take(self, address: LineAddress) -> Line:
        """The line at an address, a new one if nobody uses it yet. To be given back.

        Raises:
            ValueError: somebody uses that place in another way.
        """
        line = self._lines.get(address.place)
        if line is None:
            line = self._lines[address.place] = Line(address)
        elif line.address != address:
            raise ValueError(f"{address} is already used in another way: {line.address!r}")
        line.users += 1
        return line

    async def give_back(self, line: Line) -> None:
        """Close the line if nobody uses it any more."""
        line.users -= 1
        if line.users <= 0:
            if self._lines.get(line.address.place) is line:
                del self._lines[line.address.place]
            await line.close()


LINES: Final = Lines()
"""The lines of this process."""
