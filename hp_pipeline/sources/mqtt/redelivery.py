"""Which deliveries of a broker are stored already: what tells a message that comes again from a new one.

A message of QoS 1 is acknowledged once its readings are on the disk. Where the connection, the broker or this process
ends in between, the broker delivers it again, with the same packet number, content and the mark DUP. It cannot know
that the readings are stored; we do, because what is remembered here is committed in the transaction of the readings.

What remains: a broker that numbers anew from the lowest free number, and breaks down while a message is on its way to
us that says what the one before with its number said (the same topic, the same content), sends that again with DUP. It
is passed over, although it is new: its value was just told.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from hp_pipeline.sources.mqtt.messages import Message

MOST_UNACKNOWLEDGED: Final = 64
"""Messages that a broker of MQTT 5 may send ahead of acknowledgements (mosquitto sends 20, EMQX 32): of so many, the
newest, it may not know that they are stored. So many are kept over the end of the process: 700 bytes per commit."""
MOST_REMEMBERED: Final = 2000
"""Deliveries that are remembered while the process lives: a broker that was killed goes back to what it last wrote, and
delivers again what was acknowledged long ago."""

_NUMBER_BYTES: Final = 2
_DIGEST_BYTES: Final = 6


class StoredDeliveries:
    """The newest deliveries of a session that are stored, by packet number.

    Args:
        text: what `text` gave, at any earlier time; anything else is as if nothing was remembered.
    """

    def __init__(self, text: object = None) -> None:
        self._digests: dict[int, bytes] = {}
        try:
            data = b64decode(text, validate=True) if isinstance(text, str) else b""
        except ValueError:
            data = b""
        size = _NUMBER_BYTES + _DIGEST_BYTES
        for start in range(0, len(data) - size + 1, size):
            number = int.from_bytes(data[start : start + _NUMBER_BYTES], "big")
            self._digests[number] = data[start + _NUMBER_BYTES : start + size]

    def text(self) -> str:
        """The newest of them, to be kept over the end of the process."""
        newest = list(self._digests.items())[-MOST_UNACKNOWLEDGED:]
        return b64encode(b"".join(number.to_bytes(_NUMBER_BYTES, "big") + digest for number, digest in newest)).decode()

    def taken(self, messages: Iterable[Message]) -> tuple[list[Message], StoredDeliveries]:
        """Those of the messages that are new, and what is to be remembered once they are stored."""
        new = []
        after = StoredDeliveries()
        after._digests = digests = dict(self._digests)
        for message in messages:
            if message.qos > 0:
                digest = _digest(message)
                known = digests.pop(message.number, None)  # at the end again: it is the newest
                digests[message.number] = digest
                # Without DUP the number is used anew: the broker has seen the acknowledgement of its last message.
                if message.repeated and known == digest:
                    continue
            new.append(message)
        for number in list(digests)[:-MOST_REMEMBERED]:
            del digests[number]
        return new, after


def _digest(message: Message) -> bytes:
    content = message.topic.encode("utf-8", "surrogatepass") + b"\0" + message.payload  # no topic has a NUL
    return blake2b(content, digest_size=_DIGEST_BYTES).digest()
