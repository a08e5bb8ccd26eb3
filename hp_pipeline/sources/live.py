"""Live sources: what a device that is polled, or that speaks by itself, hands to the collector.

Light on purpose: the collector imports this, and nothing here or in what it imports may need polars, DuckDB or Dagster.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Reading:
    """One value that a source told.

    Attributes:
        point: the source's own name of the series.
        value: the number, None if it is text.
        text: the text, None if it is a number.
        time: when the device says that it was so; None: the time of the poll.
    """

    point: str
    value: float | None = None
    text: str | None = None
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A raw answer worth keeping, such as the JSON of a cloud.

    Attributes:
        kind: what it is, for people and importers, such as `features`.
        content: the bytes as they came, without any secret.
    """

    kind: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll, or one message of a source that speaks by itself, brought.

    Attributes:
        readings: every value that was asked for and told, changed or not.
        documents: raw answers that are kept.
        device_time: what the device's clock says (with zone), when it tells.
        identity: firmware, MAC, profile: a change means that a full picture must be kept.
        state: small things (JSON by key) that are kept for the source in the same transaction: they are kept when the
            readings are, and only then. The source is given them when it is opened again.
    """

    readings: Sequence[Reading]
    documents: Sequence[Document] = ()
    device_time: datetime | None = None
    identity: str | None = None
    state: Mapping[str, Any] = field(default_factory=dict)


class Outcome(StrEnum):
    """How a poll ended."""

    ok = "ok"
    timeout = "timeout"
    """no answer in time"""
    refused = "refused"
    """no connection"""
    busy = "busy"
    """the device says that it cannot answer now"""
    broken = "broken"
    """garbage, a wrong length, closed early"""
    denied = "denied"
    """401, 403: the credentials are not accepted"""
    limited = "limited"
    """429, or the budget of calls is used up"""
    offline = "offline"
    """a cloud answers, the device behind it is away"""
    unsupported = "unsupported"
    """the device does not know an address or function"""
    error = "error"
    """anything else"""


class PollError(Exception):
    """A poll that brought nothing.

    Attributes:
        outcome: the class of it.
        what: what is wrong, without any secret.
        remedy: what to do about it; empty when it passes by itself.
        retry: whether asking again within this poll is worth it.
        wait: do not ask again before this has passed; None: at the next regular time.
    """

    def __init__(
        self,
        outcome: Outcome,
        what: str,
        remedy: str = "",
        *,
        retry: bool = False,
        wait: timedelta | None = None,
    ) -> None:
        super().__init__(f"{what}. {remedy}" if remedy else what)
        self.outcome = outcome
        self.what = what
        self.remedy = remedy
        self.retry = retry
        self.wait = wait


@runtime_checkable
class PolledSource(Protocol):
    """A source that answers when it is asked."""

    async def poll(self) -> Polled:
        """One poll. Never blocks the loop, honours cancellation, leaves no socket behind.

        Raises:
            PollError: it brought nothing.
        """
        ...

    async def close(self) -> None:
        """Close what is open; may be called at any time, and twice."""
        ...


@runtime_checkable
class ListeningSource(Protocol):
    """A source that speaks by itself."""

    async def listen(self, deliver: Callable[[Polled], Awaitable[None]]) -> None:
        """Hand over what comes, until cancelled; `deliver` returns once it is committed durably.

        Raises:
            PollError: the connection is gone; the collector calls again after a while.
        """
        ...

    async def close(self) -> None:
        """Close what is open; may be called at any time, and twice."""
        ...


@runtime_checkable
class CountsRejected(Protocol):
    """A source that takes not everything it is told."""

    @property
    def rejected(self) -> Mapping[str, int]:
        """How often something was not taken since it was opened, by reason (no reason has what was found)."""
        ...


@runtime_checkable
class RemembersHistory(Protocol):
    """A source whose device or cloud itself remembers readings."""

    def history(self, start: datetime, stop: datetime) -> Iterator[Polled] | AsyncIterator[Polled]:
        """What it remembers of [start, stop), in chunks; each reading has its `time`.

        Raises:
            PollError: it cannot be asked.
        """
        ...
