"""Listening to a broker: gather messages, hand their readings over, and acknowledge them when that is durable."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from hp_pipeline.settings.sources import MqttSource
from hp_pipeline.sources.live import Outcome, Polled, PollError
from hp_pipeline.sources.mqtt.connection import Connection, utc_now
from hp_pipeline.sources.mqtt.messages import BESIDE, Message, MessageReader
from hp_pipeline.sources.mqtt.redelivery import StoredDeliveries

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
_KEPT: Final = "stored_deliveries"  # key of the source's state


class MqttListener:
    """The topics of one broker; a `ListeningSource`.

    Messages are acknowledged once `deliver` has returned. What the broker delivers again although it is stored, it
    stores no second time, whoever was killed when: which deliveries are stored is committed with their readings (see
    `redelivery`, also for what remains). Messages of QoS 0 are lost with the connection.

    Args:
        settings: the source.
        directory: the folder that certificates are relative to: that of the settings file.
        state: what was kept with earlier deliveries (`Polled.state`), by key.
        now: what time it is (UTC).

    Attributes:
        reader: makes the readings; counts what it rejects, and knows which devices are away.
        repeated: messages that the broker delivered again although they are stored.
        sessions_lost: how often the broker no longer had the session, with what had waited there.
        is_listening: whether it is connected, with everything subscribed to.
    """

    def __init__(
        self,
        settings: MqttSource,
        directory: Path | None = None,
        state: Mapping[str, Any] | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._now = now
        self._connection: Connection | None = None
        self._stored = StoredDeliveries((state or {}).get(_KEPT))
        self._handed = datetime.min.replace(tzinfo=UTC)
        self._had_session = False
        self._identity = sha256(settings.model_dump_json(include={"topics"}).encode()).hexdigest()[:16]
        self.reader = MessageReader(settings)
        self.repeated = 0
        self.sessions_lost = 0
        self.is_listening = False

    @property
    def rejected(self) -> Mapping[str, int]:
        """How many messages were not taken since it was opened, by reason."""
        return self.reader.rejected

    async def listen(self, deliver: Callable[[Polled], Awaitable[None]]) -> None:
        """Hand over what comes, until cancelled. What has arrived when the connection is lost is handed over before.

        Raises:
            PollError: the broker cannot be reached, does not let us in or has gone; or nothing came for `silence`.
        """
        connection = Connection(self._settings, self._directory, self._now)
        self._connection = connection
        try:
            await self._open(connection)
            self.is_listening = True
            await self._hand_over(connection, deliver)
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
        if not session:
            self._stored = StoredDeliveries()  # packet numbers begin anew
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

    async def _hand_over(self, connection: Connection, deliver: Callable[[Polled], Awaitable[None]]) -> None:
        while True:
            count = await self._gathered(connection)
            messages = connection.take(count)
            new, stored = self._stored.taken(messages)
            self.repeated += len(messages) - len(new)
            now = self._now()
            polled = self.reader.read(
                map(self._after_the_last, new), now, clocks=now - connection.opened > _WAITED_LONG
            )
            if polled.readings:
                handed = replace(polled, identity=self._identity, state={_KEPT: stored.text()})
                handing = asyncio.ensure_future(deliver(handed))
                # Runs right after `deliver` has taken its time: what arrived until then is later all the same.
                asyncio.get_running_loop().call_soon(self._mark_handed)
                try:
                    await asyncio.shield(handing)
                except asyncio.CancelledError:
                    # What is being stored is nearly stored: acknowledged now, it does not come again.
                    done, _ = await asyncio.wait({handing}, timeout=_GRACE)
                    if done and not handing.cancelled() and handing.exception() is None:
                        self._stored = stored
                        connection.acknowledge(messages)
                    handing.cancel()
                    raise
            self._stored = stored
            connection.acknowledge(messages)
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
            now = self._now()
            # When the connection is lost, nothing more comes that a message could wait for.
            if connection.lost is not None:
                return min(len(waiting), MOST_TOGETHER)
            count = self.reader.ready(list(waiting)[:MOST_TOGETHER], now)
            if count:
                return count
            await connection.wait(max(0.001, (BESIDE - (now - waiting[0].arrived)).total_seconds()))

    def _after_the_last(self, message: Message) -> Message:
        """A message that came in the moment between the taking of a delivery and its time, at that time."""
        between = timedelta() < self._handed - message.arrived < PAUSE
        return replace(message, arrived=self._handed) if between else message

    def _mark_handed(self) -> None:
        self._handed = self._now()


def open_source(
    settings: MqttSource,
    *,
    directory: Path | None = None,
    state: Mapping[str, Any] | None = None,
    now: Callable[[], datetime] = utc_now,
) -> MqttListener:
    """The source that the settings name; nothing is connected yet.

    Args:
        settings: the source.
        directory: the folder of the settings file, for certificates; the working directory without it.
        state: what was kept with earlier deliveries.
        now: what time it is (UTC).
    """
    return MqttListener(settings, directory, state, now)
