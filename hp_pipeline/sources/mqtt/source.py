"""Listening to a broker: gather messages, hand their readings over, and acknowledge them when that is durable."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from hp_pipeline.settings.sources import MqttSource
from hp_pipeline.sources.live import Outcome, Polled, PollError
from hp_pipeline.sources.mqtt.connection import Connection
from hp_pipeline.sources.mqtt.messages import BESIDE, Message, MessageReader

log = logging.getLogger(__name__)

MOST_TOGETHER: Final = 1000
"""Messages that are handed over at once."""
FEW: Final = 10
"""Brokers send so many messages ahead of acknowledgements, at least: when that many wait and no more come, waiting
longer would only hold them up."""
PAUSE: Final = timedelta(milliseconds=50)
"""A pause in the stream of messages: a device has said what it had to say."""

_AVAILABILITY_FIRST: Final = 0.3  # seconds that retained availability messages may take
_GRACE: Final = 0.3  # seconds that storing may take once listening was cancelled
_WAITED_LONG: Final = timedelta(seconds=10)  # after connecting: messages that waited at the broker have come by then
_MOST_REMEMBERED: Final = 2000

_Identity = tuple[int, str, bytes]


class MqttListener:
    """The topics of one broker; a `ListeningSource`.

    Messages are acknowledged once `deliver` has returned. Killed before, the broker delivers them again: a reading
    with a time of its own is then the same reading again. One without is booked when it comes: just once, unless the
    process was killed between storing and acknowledging, and then again in the right order, before all newer ones.

    Args:
        settings: the source.
        directory: the folder that certificates are relative to: that of the settings file.

    Attributes:
        reader: makes the readings; counts what it rejects, and knows which devices are away.
        repeated: messages that the broker delivered again although they are stored.
        sessions_lost: how often the broker no longer had the session, with what had waited there.
        is_listening: whether it is connected, with everything subscribed to.
    """

    def __init__(self, settings: MqttSource, directory: Path | None = None) -> None:
        self._settings = settings
        self._directory = directory
        self._connection: Connection | None = None
        self._stored: dict[_Identity, None] = {}
        self._had_session = False
        self._identity = sha256(settings.model_dump_json(include={"topics"}).encode()).hexdigest()[:16]
        self.reader = MessageReader(settings)
        self.repeated = 0
        self.sessions_lost = 0
        self.is_listening = False

    async def listen(self, deliver: Callable[[Polled], Awaitable[None]]) -> None:
        """Hand over what comes, until cancelled. What has arrived when the connection is lost is handed over before.

        Raises:
            PollError: the broker cannot be reached, does not let us in or has gone; or nothing came for `silence`.
        """
        connection = Connection(self._settings, self._directory)
        self._connection = connection
        try:
            stored_before, self._stored = self._stored, {}
            await self._open(connection)
            self.is_listening = True
            await self._hand_over(connection, deliver, stored_before)
        finally:
            self.is_listening = False
            connection.close()
            self._connection = None

    async def close(self) -> None:
        """Close the connection; the broker keeps the session. May be called at any time, and twice."""
        if self._connection is not None:
            self._connection.close()

    async def _open(self, connection: Connection) -> None:
        session = await connection.open()
        if self._had_session and not session:
            self.sessions_lost += 1
            log.warning(
                "%s: the broker has forgotten the session, and what was sent meanwhile. Does it keep sessions over "
                "its own restart (mosquitto: persistence true), and is session_expiry long enough?",
                self._settings.id,
            )
        self._had_session = True
        availability, topics = self.reader.filters()
        refused = await connection.subscribe(availability)
        if availability:
            await self._first_word(connection, {topic for topic, _ in availability} - set(refused))
        refused += await connection.subscribe(topics)
        for topic in refused:
            self.reader.reject("the broker does not let this user read it", topic)

    @staticmethod
    async def _first_word(connection: Connection, topics: set[str]) -> None:
        """Wait for who is away, before retained messages of devices come; not for long: who never said it is there."""
        deadline = time.monotonic() + _AVAILABILITY_FIRST
        while (left := deadline - time.monotonic()) > 0 and connection.lost is None:
            if topics <= {message.topic for message in connection.peek()}:
                return
            await connection.wait(left)

    async def _hand_over(
        self,
        connection: Connection,
        deliver: Callable[[Polled], Awaitable[None]],
        stored_before: dict[_Identity, None],
    ) -> None:
        while True:
            count = await self._gathered(connection)
            messages = connection.take(count)
            fresh = [message for message in messages if not self._is_stored(message, stored_before)]
            now = datetime.now(UTC)
            polled = self.reader.read(fresh, now, clocks=now - connection.opened > _WAITED_LONG)
            if polled.readings:
                handing = asyncio.ensure_future(
                    deliver(Polled(polled.readings, device_time=polled.device_time, identity=self._identity))
                )
                try:
                    await asyncio.shield(handing)
                except asyncio.CancelledError:
                    # What is being stored is nearly stored: acknowledged now, it does not come again.
                    done, _ = await asyncio.wait({handing}, timeout=_GRACE)
                    if done and not handing.cancelled() and handing.exception() is None:
                        self._store(connection, messages)
                    handing.cancel()
                    raise
            self._store(connection, messages)
            if connection.lost is not None and not connection.peek():
                raise connection.lost

    async def _gathered(self, connection: Connection) -> int:
        """Wait for messages; how many of those that wait belong together."""
        silence = self._settings.silence.total_seconds()
        waiting = connection.peek()
        began = time.monotonic()
        while not waiting:
            if connection.lost is not None:
                return 0
            left = began + silence - time.monotonic()
            if left <= 0:
                raise PollError(
                    Outcome.timeout,
                    f"no message came within {silence:g} s",
                    "Are the devices on, and do `topics` say what they publish? Longer pauses need a longer `silence`",
                )
            await connection.wait(left)
        until = time.monotonic() + self._settings.gather.total_seconds()
        while connection.lost is None and len(waiting) < MOST_TOGETHER:
            before = len(waiting)
            left = until - time.monotonic()
            if left <= 0:
                break
            await connection.wait(min(left, PAUSE.total_seconds()))
            if len(waiting) == before and sum(message.qos > 0 for message in waiting) >= FEW:
                break
        while True:
            now = datetime.now(UTC)
            # When the connection is lost, nothing more comes that a message could wait for.
            if connection.lost is not None:
                return min(len(waiting), MOST_TOGETHER)
            count = self.reader.ready(list(waiting)[:MOST_TOGETHER], now)
            if count:
                return count
            await connection.wait(max(0.001, (BESIDE - (now - waiting[0].arrived)).total_seconds()))

    def _is_stored(self, message: Message, stored_before: dict[_Identity, None]) -> bool:
        """Whether a message is one that was stored before the connection was lost, and comes again."""
        if message.repeated and (message.number, message.topic, message.payload) in stored_before:
            self.repeated += 1
            return True
        return False

    def _store(self, connection: Connection, messages: list[Message]) -> None:
        """Messages are stored: acknowledge them, and know them again."""
        connection.acknowledge(messages)
        for message in messages:
            if message.qos > 0:
                self._stored[(message.number, message.topic, message.payload)] = None
        while len(self._stored) > _MOST_REMEMBERED:
            del self._stored[next(iter(self._stored))]


def open_source(settings: MqttSource, *, directory: Path | None = None) -> MqttListener:
    """The source that the settings name; nothing is connected yet.

    Args:
        settings: the source.
        directory: the folder of the settings file, for certificates; the working directory without it.
    """
    return MqttListener(settings, directory)
