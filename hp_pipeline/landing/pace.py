"""When a source is polled: on a grid of the wall clock, with waits by a clock that never jumps.

The grid of a source is every whole multiple of its interval since 1970, moved by its phase. It knows nothing of time
zones, so daylight saving changes nothing. When the wall clock is set, no time of the grid is polled twice and none
that comes is left out: forward, the times jumped over are gone (nothing was asked then); a little back, the next one
comes later; far back, the grid is begun anew from there.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

LOOK_AGAIN = 5.0
"""Seconds after which a waiting task looks at the wall clock again: it may have been set, or the machine slept."""


class Clock(Protocol):
    """The clocks of a machine; tests have their own."""

    def wall(self) -> float:
        """Seconds since 1970 (UTC), as the machine believes."""
        ...

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait by the monotonic clock."""
        ...


class MachineClock:
    """The clocks of this machine."""

    def wall(self) -> float:
        """Seconds since 1970 (UTC)."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def phase_of(source: str, every: timedelta) -> timedelta:
    """How far a source's grid is moved, so that sources do not all ask in the same moment: whole tenths of a second,
    below the interval and below five seconds, always the same for the same id."""
    tenths = max(1, min(every, timedelta(seconds=5)) // timedelta(milliseconds=100))
    return zlib.crc32(source.encode()) % tenths * timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True)
class Due:
    """A time of the grid that has come.

    Attributes:
        time: seconds since 1970.
        number: how many intervals since 1970.
        missed: times of the grid since the last one that passed unused.
        again: the wall clock was set back so far that the grid was begun anew.
    """

    time: float
    number: int
    missed: int
    again: bool


class Grid:
    """The times at which one source is polled.

    Args:
        every: the interval.
        phase: how far it is moved.
        clock: the clocks.
    """

    def __init__(self, every: timedelta, phase: timedelta, clock: Clock) -> None:
        self._every = every.total_seconds()
        self._phase = phase.total_seconds()
        self._clock = clock
        self._next = self._following(clock.wall())

    @property
    def next_time(self) -> float:
        """The next time of the grid, seconds since 1970."""
        return self._time(self._next)

    def _time(self, number: int) -> float:
        return round(number * self._every + self._phase, 6)

    def _following(self, wall: float) -> int:
        number = int((wall - self._phase) // self._every)
        while self._time(number) <= wall:
            number += 1
        return number

    async def next(self) -> Due:
        """Wait for the next time of the grid. One that has passed while the source was busy is used at once, if it
        is not older than half the interval."""
        again, missed = False, 0
        while True:
            wall = self._clock.wall()
            remaining = self._time(self._next) - wall
            if remaining > 2 * self._every:
                self._next, again = self._following(wall), True
                continue
            if remaining > 0:
                await self._clock.sleep(min(remaining, LOOK_AGAIN))
                continue
            latest = self._following(wall) - 1
            missed += latest - self._next
            self._next = latest + 1
            if wall - self._time(latest) <= self._every / 2:
                return Due(self._time(latest), latest, missed, again)
            missed += 1  # it is half over: the one after it is nearer
