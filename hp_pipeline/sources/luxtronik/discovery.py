"""Finding Luxtronik controllers in the local network, by the broadcast that the maker's own programs send."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

CALL: Final = b"2000;111;1;\0"
ANSWER: Final = b"2500;111;"
PORTS: Final = (4444, 47808)
"""Controllers listen on one or the other."""


@dataclass(frozen=True, order=True)
class FoundController:
    """A controller that answered: its address, and the TCP port that it told (None: old firmware, try 8888)."""

    host: str
    port: int | None


class _Listener(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.found: set[FoundController] = set()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        controller = parse_answer(data, addr[0])
        if controller:
            self.found.add(controller)


def parse_answer(data: bytes, host: str) -> FoundController | None:
    """The controller that sent this answer, None if it is something else (such as the call itself)."""
    if not data.startswith(ANSWER):
        return None
    told = data.removeprefix(ANSWER).split(b";")[0]
    port = int(told) if told.isdigit() and len(told) <= 5 else 0
    return FoundController(host, port if 0 < port < 65536 else None)


async def discover(
    *,
    wait: timedelta = timedelta(seconds=2),
    address: str = "255.255.255.255",
    ports: tuple[int, ...] = PORTS,
) -> list[FoundController]:
    """Call into the network and collect who answers, in the order of addresses.

    Args:
        wait: how long to wait for answers.
        address: whom to call; a broadcast address.
        ports: UDP ports to call.

    Raises:
        OSError: the network cannot be called.
    """
    loop = asyncio.get_running_loop()
    transports, listeners = [], []
    try:
        for port in ports:
            transport, listener = await loop.create_datagram_endpoint(_Listener, sock=_socket(port))
            transports.append(transport)
            listeners.append(listener)
            transports[-1].sendto(CALL, (address, port))
        await asyncio.sleep(wait.total_seconds())
    finally:
        for transport in transports:
            transport.close()
    return sorted(set().union(*(listener.found for listener in listeners)), key=lambda one: (one.host, one.port or 0))


def _socket(port: int) -> socket.socket:
    """Controllers answer to the port that they listen on; if it is taken here, any port has to do."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setblocking(False)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    try:
        udp.bind(("", port))
    except OSError:
        udp.bind(("", 0))
    return udp
