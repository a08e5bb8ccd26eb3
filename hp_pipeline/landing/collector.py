"""The collector: one small process that asks each source at its own pace, and listens to those that speak themselves.

Each source has a task of its own. What it does wrong (stalls, dies, talks nonsense, does not end when told) is counted
and recorded, and is nobody else's matter. What a source told goes to the landing and is not touched on the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any, Final

from hp_pipeline.landing.pace import Clock, Grid, MachineClock, phase_of
from hp_pipeline.landing.recorder import Recorder
from hp_pipeline.landing.store import MOST_READINGS, Attempt
from hp_pipeline.sources.live import CountsRejected, ListeningSource, Outcome, Polled, PolledSource, PollError

log = logging.getLogger(__name__)

ON_TIME: Final = 1.0
"""A poll that was answered within so many seconds of its due time has read at its due time: what lies between is the
way through the network, and times on the grid are what makes years of readings small."""

_GRACE: Final = 0.5  # seconds that a poll is given to end once it was told to


@dataclass(frozen=True, slots=True)
class Patience:
    """How the collector deals with what fails. Seconds.

    Attributes:
        retry_first, retry_most: wait before asking again within a poll, doubling, each moved by up to a half at random.
        failures: so many failures in a row open the circuit: the source is then asked less and less often.
        pause_most: the longest pause of an open circuit (the source's interval, if that is longer).
        denied: pause after credentials were not accepted: a login that is wrong stays wrong.
        reconnect_most: the longest pause before a connection of a listening source is made again.
    """

    retry_first: float = 0.5
    retry_most: float = 4.0
    failures: int = 5
    pause_most: float = 120.0
    denied: float = 900.0
    reconnect_most: float = 60.0


@dataclass(frozen=True, slots=True)
class LiveSource:
    """What the collector is to know of a source.

    Attributes:
        id: its id.
        kind: its kind, for people.
        every: how often it is asked; None where it speaks by itself.
        timeout: how long one poll may take, with all its retries.
        load: imports what it needs; called in a thread, because that may take a second.
        open: opens it, once loaded.
        settings: compared to know whether anything was changed.
    """

    id: str
    kind: str
    every: timedelta | None
    timeout: timedelta
    load: Callable[[], object]
    open: Callable[[], PolledSource | ListeningSource]
    settings: object = None


@dataclass
class Life:
    """What became of one source since the collector was started, for the health answer."""

    outcomes: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    missed: int = 0
    paused: int = 0
    readings: int = 0
    failures: int = 0
    last_outcome: Outcome | None = None
    last_good: datetime | None = None
    last_try: datetime | None = None
    what: str | None = None
    remedy: str | None = None
    pause_until: float | None = None
    drift: float | None = None
    late: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
    took: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
    newest: dict[str, tuple[float | str, datetime]] = field(default_factory=dict)

    def good(self, polled: Polled, at: datetime) -> None:
        """Something came."""
        self.outcomes[Outcome.ok] += 1
        self.failures = 0
        self.last_outcome, self.last_good, self.what, self.remedy = Outcome.ok, at, None, None
        self.readings += len(polled.readings)
        if polled.device_time is not None:
            self.drift = (polled.device_time - at).total_seconds()
        for reading in polled.readings:
            value = reading.text if reading.value is None else reading.value
            if value is not None:
                self.newest[reading.point] = (value, reading.time or at)

    def bad(self, error: PollError) -> None:
        """Nothing came."""
        self.outcomes[error.outcome] += 1
        self.failures += 1
        self.last_outcome, self.what, self.remedy = error.outcome, error.what, error.remedy or None


class SourceTask:
    """One source's task.

    Attributes:
        source: what it is about.
        life: what became of it.
    """

    def __init__(
        self, source: LiveSource, recorder: Recorder, clock: Clock | None = None, patience: Patience | None = None
    ) -> None:
        self.source = source
        self.life = Life()
        self._recorder = recorder
        self._clock = clock or MachineClock()
        self._patience = patience or Patience()
        self._random = random.Random(source.id)
        self._stuck: asyncio.Task[Polled] | None = None
        self._opened: PolledSource | ListeningSource | None = None
        self._newest_due = 0.0
        self.grid: Grid | None = None

    def rejected(self) -> dict[str, int]:
        """How often something that the source was told was not taken since it was opened, by reason."""
        return dict(self._opened.rejected) if isinstance(self._opened, CountsRejected) else {}

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.wall(), UTC)

    async def run(self) -> None:
        """Ask, or listen, until cancelled."""
        try:
            opened = await self._open()
            if isinstance(opened, ListeningSource):
                await self._listen(opened)
            else:
                await self._ask(opened)
        finally:
            await self._close()

    async def _close(self) -> None:
        if self._opened is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._opened.close(), _GRACE)

    async def _open(self) -> PolledSource | ListeningSource:
        """Open the source; what cannot be opened now is tried again, ever later."""
        wait = 1.0
        while True:
            started = self._now()
            try:
                await asyncio.to_thread(self.source.load)
                self._opened = self.source.open()
                return self._opened
            except PollError as error:
                self._failed(error, started, None)
            except Exception as error:
                self._failed(_unexpected(error, "it cannot be opened"), started, None)
            await self._clock.sleep(wait)
            wait = min(2 * wait, self._patience.reconnect_most)

    async def _ask(self, source: PolledSource) -> None:
        every = self.source.every or timedelta(seconds=30)
        self.grid = Grid(every, phase_of(self.source.id, every), self._clock)
        while True:
            due = await self.grid.next()
            self.life.missed += due.missed
            if self.life.pause_until is not None and self._clock.monotonic() < self.life.pause_until:
                self.life.paused += 1
                continue
            started = self._now()
            self.life.last_try = started
            self.life.late.append(self._clock.wall() - due.time)
            due_time = datetime.fromtimestamp(due.time, UTC)
            began = self._clock.monotonic()
            try:
                polled = await self._poll(source)
            except PollError as error:
                self._failed(error, started, due_time)
                continue
            took = self._clock.monotonic() - began
            self.life.took.append(took)
            self.life.pause_until = None
            time = self._reading_time(due.time)
            self.life.good(polled, time)
            self._recorder.put(
                Attempt(
                    self.source.id,
                    started,
                    timedelta(seconds=took),
                    Outcome.ok,
                    polled,
                    due=due_time,
                    time=time,
                    whole=due.again,
                )
            )

    def _reading_time(self, due: float) -> datetime:
        """The due time, when the answer came on time; else the time of the answer, in whole milliseconds.

        A due time is used once: where the wall clock was set back, readings keep their true times.
        """
        now = self._clock.wall()
        if 0 <= now - due <= ON_TIME and due > self._newest_due:
            self._newest_due = due
            return datetime.fromtimestamp(due, UTC)
        return datetime.fromtimestamp(round(now, 3), UTC)

    async def _poll(self, source: PolledSource) -> Polled:
        """One poll, with retries where they are worth it, within the time limit.

        Raises:
            PollError: it brought nothing.
        """
        if self._stuck is not None and not self._stuck.done():
            raise PollError(Outcome.timeout, "the poll before this one has not ended yet")
        deadline = self._clock.monotonic() + self.source.timeout.total_seconds()
        wait = self._patience.retry_first
        told: PollError | None = None
        while True:
            try:
                return await self._once(source, deadline - self._clock.monotonic())
            except _CutShortError as error:
                # Asking again was cut short by the time limit: what the device said before is what is known of it.
                raise told or error from None
            except PollError as error:
                told = error
                pause = wait * self._random.uniform(0.5, 1.5)
                if not error.retry or error.wait or self._clock.monotonic() + pause >= deadline:
                    raise
                self.life.retries += 1
                await self._clock.sleep(pause)
                wait = min(2 * wait, self._patience.retry_most)

    async def _once(self, source: PolledSource, limit: float) -> Polled:
        task: asyncio.Task[Polled] = asyncio.ensure_future(source.poll())
        try:
            done, _ = await asyncio.wait({task}, timeout=limit)
        except asyncio.CancelledError:
            await self._end(task)
            raise
        if not done:
            await self._end(task)
            raise _CutShortError(
                Outcome.timeout,
                f"no answer within {self.source.timeout.total_seconds():g} s",
                "Is the device on, and in the network? A slow one needs a longer `timeout`",
            )
        if task.cancelled():
            raise PollError(Outcome.error, "the poll cancelled itself")
        failure = task.exception()
        if isinstance(failure, PollError):
            raise failure
        if failure is not None:
            raise _unexpected(failure, "the poll failed") from failure
        return _checked(task.result())

    async def _end(self, task: asyncio.Task[Polled]) -> None:
        task.cancel()
        await asyncio.wait({task}, timeout=_GRACE)
        if task.done():
            if not task.cancelled():
                task.exception()  # looked at, so that nothing is logged when it is thrown away
        else:
            self._stuck = task

    async def _listen(self, source: ListeningSource) -> None:
        async def deliver(polled: Polled) -> None:
            now = self._now()
            checked = _checked(polled)
            await self._recorder.stored_durably(
                Attempt(self.source.id, now, timedelta(), Outcome.ok, checked, time=now)
            )
            self.life.good(checked, now)

        wait = 1.0
        while True:
            started, before = self._now(), self.life.outcomes[Outcome.ok]
            self.life.last_try = started
            try:
                await source.listen(deliver)
                error = PollError(Outcome.broken, "it stopped speaking")
            except PollError as failure:
                error = failure
            except Exception as failure:
                error = _unexpected(failure, "listening failed")
            if self.life.outcomes[Outcome.ok] > before:
                wait = 1.0
            self._failed(error, started, None)
            pause = error.wait.total_seconds() if error.wait else wait * self._random.uniform(0.5, 1.5)
            await self._clock.sleep(pause)
            wait = min(2 * wait, self._patience.reconnect_most)

    def _failed(self, error: PollError, started: datetime, due: datetime | None) -> None:
        before = self.life.last_outcome
        self.life.bad(error)
        self.life.pause_until = self._pause(error)
        took = max(timedelta(), self._now() - started)
        self._recorder.put(Attempt(self.source.id, started, took, error.outcome, due=due, what=error.what))
        if before != error.outcome:
            log.warning("%s: %s: %s", self.source.id, error.outcome, error)

    def _pause(self, error: PollError) -> float | None:
        """Until when (monotonic) the source is not asked; None: it is asked at the next time of its grid."""
        patience = self._patience
        seconds = error.wait.total_seconds() if error.wait else 0.0
        if error.outcome is Outcome.denied:
            seconds = max(seconds, patience.denied)
        beyond = self.life.failures - patience.failures
        if beyond >= 0 and self.source.every is not None:
            every = self.source.every.total_seconds()
            seconds = max(seconds, min(every * 2 ** min(beyond + 1, 20), max(every, patience.pause_most)))
        return self._clock.monotonic() + seconds if seconds else None


class _CutShortError(PollError):
    """The time limit of the poll was over before an answer came."""


def _checked(polled: object) -> Polled:
    if not isinstance(polled, Polled):
        raise PollError(Outcome.error, f"the source gave {type(polled).__name__} instead of readings")
    if len(polled.readings) > MOST_READINGS:
        raise PollError(Outcome.broken, f"{len(polled.readings)} readings at once: nobody has that many")
    return polled


def _unexpected(error: BaseException, what: str) -> PollError:
    """An error that no source should raise; its text is left out, because it may hold a secret."""
    if isinstance(error, ImportError):
        return PollError(Outcome.error, f"{what} ({error})", "Install what is missing")
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(f"{PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
        trace = trace.tb_next
    where = f" at {frames[-1]}" if frames else ""
    return PollError(Outcome.error, f"{what} ({type(error).__name__}{where})", "This is a defect: please report it")


class Collector:
    """All sources at once.

    Attributes:
        tasks: by id of the source its task.
    """

    def __init__(self, recorder: Recorder, clock: Clock | None = None, patience: Patience | None = None) -> None:
        self.recorder = recorder
        self._clock = clock
        self._patience = patience
        self.tasks: dict[str, SourceTask] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    async def use(self, sources: list[LiveSource]) -> tuple[list[str], list[str]]:
        """Ask exactly these sources from now on; those that are as before go on undisturbed.

        Returns:
            Ids of the sources that were begun (or begun anew), and of those that were ended.
        """
        wanted = {source.id: source for source in sources}
        ended = [
            id_
            for id_, task in self.tasks.items()
            if id_ not in wanted or wanted[id_].settings != task.source.settings or wanted[id_].kind != task.source.kind
        ]
        await self._stop(ended)
        if ended:
            # What they handed over last is on the disk, with what is kept of them, before they are opened anew.
            await self.recorder.flush(_GRACE)
        begun = [id_ for id_ in wanted if id_ not in self.tasks]
        for id_ in begun:
            task = SourceTask(wanted[id_], self.recorder, self._clock, self._patience)
            self.tasks[id_] = task
            self._running[id_] = asyncio.create_task(self._kept(task), name=id_)
        return begun, [id_ for id_ in ended if id_ not in wanted]

    async def _kept(self, task: SourceTask) -> None:
        """Run a source's task for ever: also a defect of the collector itself ends no source for long."""
        while True:
            try:
                await task.run()
            except Exception:
                log.exception("%s: the collector itself failed; it goes on in 10 s", task.source.id)
            await asyncio.sleep(10)

    async def _stop(self, ids: list[str]) -> bool:
        running = [self._running.pop(id_) for id_ in ids]
        for id_ in ids:
            del self.tasks[id_]
        for task in running:
            task.cancel()
        if not running:
            return True
        _, pending = await asyncio.wait(running, timeout=2 * _GRACE + 0.1)
        return not pending

    async def stop(self) -> bool:
        """End all tasks. Returns whether they did."""
        return await self._stop(list(self.tasks))

    def lives(self) -> dict[str, Any]:
        """By source its `Life`."""
        return {id_: task.life for id_, task in self.tasks.items()}
