"""A listener in a test: started, stopped, and what it delivered."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any

from hp_pipeline.settings.sources import MqttSource
from hp_pipeline.sources.live import Polled, PollError, Reading
from hp_pipeline.sources.mqtt import MqttListener, open_source


def source(port: int, *topics: str | dict[str, Any], **settings: Any) -> MqttSource:
    """Settings of a listener that gathers only briefly."""
    entries = [{"topic": topic} if isinstance(topic, str) else topic for topic in topics]
    return MqttSource.model_validate(
        {
            "id": "broker",
            "host": "127.0.0.1",
            "port": port,
            "topics": entries,
            "gather": timedelta(milliseconds=50),
            "timeout": timedelta(seconds=5),
            **settings,
        }
    )


class Listening:
    """A listener that runs, and what it delivered."""

    def __init__(self, settings: MqttSource) -> None:
        self.listener: MqttListener = open_source(settings)
        self.polled: list[Polled] = []
        self.task: asyncio.Task[None] | None = None

    async def deliver(self, polled: Polled) -> None:
        """Keep what was delivered."""
        self.polled.append(polled)

    @property
    def readings(self) -> list[Reading]:
        """All that was delivered."""
        return [reading for polled in self.polled for reading in polled.readings]

    @property
    def said(self) -> list[tuple[str, float | str | None]]:
        """Point and value of all that was delivered."""
        return [(reading.point, reading.value if reading.text is None else reading.text) for reading in self.readings]

    async def until(self, condition: Callable[[], object], within: float = 8) -> None:
        """Wait for something; fail when listening ends before."""
        deadline = time.monotonic() + within
        while not condition():
            assert self.task is not None
            if self.task.done():
                self.task.result()
                raise AssertionError("it stopped listening")
            assert time.monotonic() < deadline, (len(self.said), self.said[-5:], self.listener.reader.rejected)
            await asyncio.sleep(0.01)

    async def values(self, *expected: tuple[str, float | str | None]) -> None:
        """Wait until exactly this was delivered, in any order of the points."""
        await self.until(lambda: len(self.said) >= len(expected))
        assert sorted(self.said, key=str) == sorted(expected, key=str)


@contextlib.asynccontextmanager
async def listening(settings: MqttSource) -> AsyncIterator[Listening]:
    """Listen while the block runs; it begins once the broker has granted the subscriptions."""
    running = Listening(settings)
    running.task = asyncio.create_task(running.listener.listen(running.deliver))
    try:
        await running.until(lambda: running.listener.is_listening)
        yield running
    finally:
        running.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, PollError):
            await running.task
        await running.listener.close()


async def failure(settings: MqttSource, within: float = 10) -> PollError:
    """How listening fails."""
    running = Listening(settings)
    try:
        async with asyncio.timeout(within):
            await running.listener.listen(running.deliver)
    except PollError as error:
        return error
    raise AssertionError("it did not fail")


def texts(values: Sequence[Any], topic: str) -> list[tuple[str, str]]:
    """Messages of one topic."""
    return [(topic, str(value)) for value in values]


def asynchronous(test: Callable[..., Any]) -> Callable[..., None]:
    """Run a test in an event loop of its own."""

    @functools.wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        asyncio.run(test(*arguments, **fixtures))

    return run
