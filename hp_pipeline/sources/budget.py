"""Budgets of metered interfaces: how many calls an account may make, and who counts them.

The landing keeps the count (`hp_pipeline.landing.ledger`), durably and for all processes; a source only knows what it
asks of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Window:
    """A rule of a metered API.

    Attributes:
        name: for people, such as `day`.
        limit: how many calls it allows.
        length: how long it is.
        opens_at_first_call: it opens with the first call after the one before has ended; a sliding window without.
        reserve: so many calls are never used.
    """

    name: str
    limit: int
    length: timedelta
    opens_at_first_call: bool = False
    reserve: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left of a window.

    Attributes:
        window: the rule.
        used: calls counted in it.
        left: calls that may still be made, the reserve taken off.
        resets: when a used-up window allows a call again; for one that is not used up, when it gives the next call
            back; None when nothing is used.
    """

    window: Window
    used: int
    left: int
    resets: datetime | None


class BudgetSpentError(Exception):
    """A call must not be sent now.

    Attributes:
        account: whose calls they are.
        until: when it may be tried again.
        why: which rule says so.
    """

    def __init__(self, account: str, until: datetime, why: str) -> None:
        super().__init__(f"no more calls for {account} until {until:%Y-%m-%d %H:%M:%S} UTC: {why}")
        self.account = account
        self.until = until
        self.why = why


class CallLedger(Protocol):
    """Counts the calls of one account over all processes and restarts. May be called from any thread."""

    def take(self, what: str, now: datetime) -> None:
        """Count one call, durably, before it is sent. It counts whatever becomes of it.

        Raises:
            BudgetSpentError: it must not be sent; nothing was counted.
        """
        ...

    def block(self, until: datetime, why: str) -> None:
        """Allow no call before a time, such as the one that the API named in its refusal."""
        ...

    def blocked(self, now: datetime) -> tuple[datetime, str] | None:
        """Until when no call is allowed, and why; None when there is no such block."""
        ...

    def budget(self, now: datetime) -> Sequence[Budget]:
        """What is left of each window."""
        ...


class OpensLedger(Protocol):
    """Gives the ledger of an account; the landing's does (`partial(CallLedger, landing)`)."""

    def __call__(self, account: str, windows: Sequence[Window], /) -> CallLedger:
        """The ledger of this account (a name without any secret) with these rules."""
        ...
