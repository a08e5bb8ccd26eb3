"""Polling a Luxtronik controller: all its values as raw integers by group and index.

Points: `parameter/<index>`, `calculation/<index>`, `visibility/<index>` (raw integers; `vocabulary.luxtronik` says
what they mean) and `event/<kind>/<code>` (see `events`). The digits of the web server's password are left out.

One connection a poll, requests one after the other, never two polls at once: old firmwares crash when they are
asked in parallel or connected to in haste.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache
from typing import Final

from hp_pipeline.settings.sources import LuxtronikSource
from hp_pipeline.sources.live import Outcome, Polled, PollError, Reading
from hp_pipeline.sources.luxtronik import wire
from hp_pipeline.sources.luxtronik.events import Event, clock_of, events_of
from hp_pipeline.sources.luxtronik.wire import Picture
from hp_pipeline.vocabulary.luxtronik import SECRET_PARAMETERS, Group

BUSY_PAUSE: Final = timedelta(seconds=5)
"""Other clients of these controllers wait so long after a busy answer, and it serves."""


class LuxtronikPoller:
    """A controller that is polled; a `PolledSource`.

    Args:
        settings: the source.
    """

    def __init__(self, settings: LuxtronikSource) -> None:
        self._host, self._port = settings.host, settings.port
        self._timeout = settings.timeout.total_seconds()
        self._where = f"the Luxtronik controller at {settings.host}:{settings.port}"
        self._one_at_a_time = asyncio.Lock()
        self._told: set[Event] = set()

    async def poll(self) -> Polled:
        """Read all values once.

        Raises:
            PollError: timeout, refused, busy, broken; nothing of the answer is kept.
        """
        async with self._one_at_a_time:
            picture = await self.read()
        events = events_of(picture)
        fresh = [event.reading for event in events if event not in self._told]
        self._told = set(events)
        return Polled(
            readings=[*readings_of(picture), *fresh], device_time=clock_of(picture), identity=picture.identity
        )

    async def read(self) -> Picture:
        """All values once, as they came.

        Raises:
            PollError: as `poll`.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._read()
        except TimeoutError as error:
            raise PollError(
                Outcome.timeout,
                f"{self._where} did not answer completely within {self._timeout:g} s",
                "If it is switched on and in reach, raise `timeout`, or look for another program that reads it",
                retry=True,
            ) from error

    async def close(self) -> None:
        """Nothing is open between polls."""

    async def _read(self) -> Picture:
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        except socket.gaierror as error:
            raise PollError(
                Outcome.refused, f"the name {self._host!r} is not known in this network", "Check `host`"
            ) from error
        except OSError as error:
            raise PollError(
                Outcome.refused,
                f"{self._where} cannot be connected to: {error.strerror or error}",
                "Check `host` and `port` (8889; 8888 with firmware before 1.76) and that it is switched on",
                retry=True,
            ) from error
        try:
            return await wire.read_picture(reader, writer)
        except wire.BusyError as error:
            raise PollError(Outcome.busy, f"{self._where} is busy ({error})", retry=True, wait=BUSY_PAUSE) from error
        except wire.NotUnderstoodError as error:
            raise PollError(
                Outcome.broken,
                f"{self._where} answered wrongly: {error}",
                "If it lasts: is this the port of the config interface, and does nothing else read it?",
                retry=True,
            ) from error
        except OSError as error:
            raise PollError(
                Outcome.broken, f"{self._where} broke the connection off: {error.strerror or error}", retry=True
            ) from error
        finally:
            writer.transport.abort()  # closed at once, whatever is still on its way


@lru_cache(maxsize=64)
def _points(group: Group, count: int) -> tuple[str, ...]:
    return tuple(f"{group}/{index}" for index in range(count))


@lru_cache(maxsize=8192)
def _reading(point: str, raw: int) -> Reading:
    """Most values stay as they are from poll to poll: their readings are made once."""
    return Reading(point, float(raw))


def readings_of(picture: Picture) -> Iterator[Reading]:
    """Every value of a picture as a reading, but those that are secret."""
    for group in Group:
        values = picture.values(group)
        for index, (point, value) in enumerate(zip(_points(group, len(values)), values, strict=True)):
            if group is not Group.parameter or index not in SECRET_PARAMETERS:
                yield _reading(point, value)


def open_source(settings: LuxtronikSource) -> LuxtronikPoller:
    """The controller that the settings name."""
    return LuxtronikPoller(settings)
