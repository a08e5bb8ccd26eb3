"""What is known of a counter before it is read: its steps, how fast it can count, when it begins again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

Resets = Literal["any", "daily", "yearly", "never"]
"""When a counter begins again at 0: `daily` and `yearly` at the house's midnight (and otherwise as `any`), `never` of
its own accord, `any` when nothing is known of it."""

RESETS: tuple[str, ...] = get_args(Resets)


@dataclass(frozen=True)
class CounterRule:
    """What a counter can do, in the signal's unit.

    Attributes:
        most_per_hour: what it can at most count in an hour.
        resolution: its smallest step; None when it is not known.
        resets: when it begins again at 0.
        counts_negative: a heat counter that falls while a defrost takes heat from the water. Most only count up, and
            what defrosts take is subtracted from what they counted.
        rolls_over_at: the number behind which it begins again at 0; None when it has none, or it is not known.
    """

    most_per_hour: float
    resolution: float | None = None
    resets: Resets = "any"
    rolls_over_at: float | None = None
    counts_negative: bool = False


Verdict = Literal["doubt", "reset", "skip", "count"]
"""What the owner says of readings: `doubt`: they are not believed; of the first reading from a moment on, `reset`: it
has begun again at 0, what it shows is taken; `skip`: it goes on from what it shows, nothing is taken for the step;
`count`: it has counted all of the rise."""

VERDICTS: tuple[str, ...] = get_args(Verdict)


@dataclass(frozen=True)
class OwnersWord:
    """What the owner says of the readings of a counter, in place of what would be made of them.

    Attributes:
        verdict: what they are.
        at: the moment (UTC) from which on they are.
        until: the last moment of those that are doubted.
    """

    verdict: Verdict
    at: datetime
    until: datetime
