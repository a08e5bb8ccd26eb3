"""The wire format of Luxtronik's config interface: three reads, all integers big-endian, no authentication.

| group | request | answer |
|---|---|---|
| parameters | int32 3003, int32 0 | 3003, n, n x int32 |
| calculations | int32 3004, int32 0 | 3004, status, n, n x int32 |
| visibilities | int32 3005, int32 0 | 3005, n, n x int8 |

A status above 0 says that the controller is busy; what follows it is not known, so the connection is given up.
Answers come in pieces of any size. The echo is the only thing that shows a stream that is out of step, so one
that is not as expected makes the whole read void. Layout as in recordings of a V1.80 controller (coolchip/luxtronik2).

Nothing but these three requests can be sent: some firmwares restart at any write.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hp_pipeline.vocabulary.luxtronik import Group

MOST_VALUES: Final = 10_000
"""More than any controller sends (about 1200): a longer answer is garbage."""

_REQUESTS: Final = {Group.parameter: 3003, Group.calculation: 3004, Group.visibility: 3005}


class NotUnderstoodError(Exception):
    """The answer is not one: wrong echo, impossible length, more bytes than announced, closed early."""


class BusyError(Exception):
    """The controller says that it cannot answer now."""


@dataclass(frozen=True, slots=True)
class Picture:
    """All values of a controller as raw integers; the index is the place in the sequence.

    Attributes:
        parameters: settings and lasting counters.
        calculations: what is measured.
        visibilities: which menu entries are shown.
    """

    parameters: Sequence[int]
    calculations: Sequence[int]
    visibilities: Sequence[int]

    def values(self, group: Group) -> Sequence[int]:
        """The values of one group."""
        return {
            Group.parameter: self.parameters,
            Group.calculation: self.calculations,
            Group.visibility: self.visibilities,
        }[group]

    @property
    def firmware(self) -> str:
        """Version of the firmware, such as `V3.90.4`; empty if the controller does not tell."""
        return "".join(chr(code) for code in self.calculations[81:91] if 32 < code < 127)

    @property
    def identity(self) -> str:
        """Firmware, model code and numbers of values: if one of them changes, registers may mean something else."""
        model = self.calculations[78] if len(self.calculations) > 78 else "?"
        counts = "/".join(str(len(self.values(group))) for group in Group)
        return f"{self.firmware or 'unknown firmware'} model {model} {counts}"


def request(group: Group) -> bytes:
    """The bytes that ask for a group."""
    return struct.pack(">ii", _REQUESTS[group], 0)


async def receive(reader: asyncio.StreamReader, group: Group) -> tuple[int, ...]:
    """Read one answer.

    Raises:
        NotUnderstoodError: it is none.
        BusyError: the controller says so.
    """
    echo = await _integer(reader)
    if echo != _REQUESTS[group]:
        raise NotUnderstoodError(f"the answer begins with {echo} instead of {_REQUESTS[group]}")
    if group is Group.calculation:
        status = await _integer(reader)
        if status > 0:
            raise BusyError(f"status {status}")
        if status < 0:
            raise NotUnderstoodError(f"the status is {status}")
    count = await _integer(reader)
    if not 0 < count <= MOST_VALUES:
        raise NotUnderstoodError(f"{count} values of group {group} announced, allowed: 1 to {MOST_VALUES}")
    code, width = ("b", 1) if group is Group.visibility else ("i", 4)
    return struct.unpack(f">{count}{code}", await _exactly(reader, count * width))


async def read_picture(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Picture:
    """Ask for the three groups, one after the other.

    Raises:
        NotUnderstoodError: the answers are not in order; nothing of them is to be used.
        BusyError: the controller says so.
    """
    found: dict[Group, tuple[int, ...]] = {}
    for group in Group:
        writer.write(request(group))
        await writer.drain()
        found[group] = await receive(reader, group)
    if await _waiting(reader):
        raise NotUnderstoodError("more bytes came than were announced")
    return Picture(found[Group.parameter], found[Group.calculation], found[Group.visibility])


async def _integer(reader: asyncio.StreamReader) -> int:
    (number,) = struct.unpack(">i", await _exactly(reader, 4))
    return int(number)


async def _exactly(reader: asyncio.StreamReader, count: int) -> bytes:
    try:
        return await reader.readexactly(count)
    except asyncio.IncompleteReadError as error:
        raise NotUnderstoodError(f"closed after {len(error.partial)} of {count} bytes") from error


async def _waiting(reader: asyncio.StreamReader) -> bool:
    """Whether bytes have come that nobody asked for."""
    try:
        async with asyncio.timeout(0):
            return bool(await reader.read(1))
    except TimeoutError:
        return False


def parse_recording(content: bytes, group: Group) -> tuple[int, ...]:
    """The values of one recorded answer.

    Raises:
        NotUnderstoodError: it is none, or incomplete, or has something behind it.
        BusyError: the controller was.
    """

    async def parse() -> tuple[int, ...]:
        reader = asyncio.StreamReader()
        reader.feed_data(content)
        reader.feed_eof()
        values = await receive(reader, group)
        if await reader.read(1):
            raise NotUnderstoodError("more bytes came than were announced")
        return values

    return asyncio.run(parse())
