"""One thread that writes: what was gathered for a moment goes to the disk in one transaction.

So a source waits for nobody's disk, polls that end about the same time share one transaction (which is two pages on
the disk and an fsync, whatever is in it), and a disk that is full for a while
loses nothing as long as the memory for what waits suffices; what is given up then is counted and said.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from hp_pipeline.landing.store import Attempt, Landing, LandingError
from hp_pipeline.sources.live import Outcome

log = logging.getLogger(__name__)

MOST_WAITING: Final = 300_000
"""Readings that may wait for the disk; about 50 MB."""

GATHER: Final = 3.0
"""Seconds for which polls are gathered, unless somebody waits for one of them to be on the disk."""

_BATCH: Final = 256
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 15.0


class Recorder:
    """Brings attempts to the landing, in their order.

    Attributes:
        problem: why nothing can be stored at present; None when all is well.
        given_up: polls that were lost because too many waited for the disk.
        stored: polls stored since the start.
    """

    def __init__(self, landing: Landing, most_waiting: int = MOST_WAITING, gather: float = GATHER) -> None:
        self._landing = landing
        self._gather = gather
        self._urgent = asyncio.Event()
        self._most = most_waiting
        self._queue: deque[tuple[Attempt, asyncio.Future[int] | None]] = deque()
        self._readings = 0
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="landing")
        self.problem: LandingError | None = None
        self.given_up = 0
        self.stored = 0

    @property
    def waiting(self) -> int:
        """Polls that are not on the disk yet."""
        return len(self._queue)

    def put(self, attempt: Attempt) -> None:
        """Store an attempt as soon as may be."""
        self._add(attempt, None)

    async def stored_durably(self, attempt: Attempt) -> int:
        """Store an attempt; returns its number once it is on the disk."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._add(attempt, future)
        return await future

    def _add(self, attempt: Attempt, future: asyncio.Future[int] | None) -> None:
        self._queue.append((attempt, future))
        self._readings += _weight(attempt)
        if self._readings > self._most and len(self._queue) > _BATCH:
            # The oldest stay, some of which are being written: what is new is not kept then, as if not asked.
            given_up, waiter = self._queue.pop()
            self._readings -= _weight(given_up)
            self.given_up += 1
            if waiter is not None and not waiter.done():
                waiter.set_exception(self.problem or LandingError("too much waits for the disk", "Make room on it"))
        self._idle.clear()
        self._arrived.set()
        if future is not None or len(self._queue) >= _BATCH:
            self._urgent.set()

    async def run(self) -> None:
        """Write until cancelled."""
        wait = _FIRST_WAIT
        while True:
            await self._arrived.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._urgent.wait(), self._gather)
            self._arrived.clear()
            self._urgent.clear()
            while self._queue:
                if await self._write():
                    wait = _FIRST_WAIT
                else:
                    await asyncio.sleep(wait)
                    wait = min(2 * wait, _LONGEST_WAIT)
            self._idle.set()

    async def _write(self) -> bool:
        batch = [self._queue[index] for index in range(min(_BATCH, len(self._queue)))]
        try:
            running = asyncio.get_running_loop().run_in_executor(
                self._thread, self._record, [item[0] for item in batch]
            )
            # Shielded: a transaction that has begun ends, also when the task is cancelled.
            numbers = await asyncio.shield(running)
        except LandingError as error:
            if self.problem is None or str(self.problem) != str(error):
                log.error("%s; %d polls wait", error, len(self._queue))
            self.problem = error
            return False
        if self.problem is not None:
            log.warning("the landing can be written to again; %d polls waited", len(self._queue))
            self.problem = None
        for (attempt, future), number in zip(batch, numbers, strict=True):
            self._queue.popleft()
            self._readings -= _weight(attempt)
            if future is not None and not future.done():
                future.set_result(number)
        self.stored += len(batch)
        return True

    def _record(self, attempts: list[Attempt]) -> list[int]:
        if self.problem is not None:
            self._landing.reopen()
        try:
            return self._landing.record(attempts)
        except LandingError:
            raise
        except Exception:
            # A source gave something that cannot be stored: that is its own matter, and nobody else's.
            return [self._record_one(attempt) for attempt in attempts]

    def _record_one(self, attempt: Attempt) -> int:
        try:
            return self._landing.record([attempt])[0]
        except LandingError:
            raise
        except Exception as error:
            log.exception("what %s told cannot be stored", attempt.source)
            what = f"what it told cannot be stored ({type(error).__name__})"
            return self._landing.record([replace(attempt, polled=None, outcome=Outcome.error, what=what)])[0]

    async def flush(self, seconds: float) -> bool:
        """Write all that waits, at once; wait for it, at most so long. Returns whether it is on the disk."""
        self._urgent.set()
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Start no further write."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _weight(attempt: Attempt) -> int:
    return 1 + (len(attempt.polled.readings) if attempt.polled else 0)
