"""The controller's rings of the last five errors and switch-offs, as events without end.

A ring holds five pairs of time and code; its first slot is not always the newest. An event is a reading of its own:

* point `event/<kind>/<code>`, such as `event/error/716`; kinds: error, switch_off, switch_off_2 (second machine)
* time: when it happened, by the controller's clock
* value: the same time in unix seconds, so that the next event of the same code is a change

Point and time make it unique: however often a ring is read, an event is there once. Its text comes from the register
table when it is read (`vocabulary.faults`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from hp_pipeline.sources.live import Reading
from hp_pipeline.sources.luxtronik.wire import Picture
from hp_pipeline.vocabulary.faults import RING_POINT, RING_TIMES, ring_text
from hp_pipeline.vocabulary.luxtronik import moment

CODES_UNTIL: Final = 10_000
"""Greater codes were never seen but in answers that were out of step."""
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""An earlier time is a clock that was not set."""
AHEAD: Final = timedelta(days=1)
"""An event may be so much later than the controller's clock says: it is set back now and then."""
CLOCK: Final = 134
"""Calculation that holds the controller's clock."""


@dataclass(frozen=True)
class _Ring:
    """Where a ring stands among the calculations: the first of its codes; its times are those of the vocabulary."""

    kind: str
    codes: int
    least_code: int


RINGS: Final = (
    _Ring("error", codes=100, least_code=1),
    _Ring("switch_off", codes=106, least_code=0),
    _Ring("switch_off_2", codes=217, least_code=0),
)


@dataclass(frozen=True, order=True)
class Event:
    """An error or switch-off: when, of which kind and with which code."""

    time: datetime
    kind: str
    code: int

    @property
    def text(self) -> str:
        """What the code means, in plain words."""
        return ring_text(self.kind, self.code)

    @property
    def reading(self) -> Reading:
        """The event as a reading."""
        return Reading(f"event/{self.kind}/{self.code}", value=self.time.timestamp(), time=self.time)


def clock_of(picture: Picture) -> datetime | None:
    """What the controller's clock says, None if it does not tell or was never set."""
    told = moment(picture.calculations[CLOCK]) if len(picture.calculations) > CLOCK else None
    return told if told is not None and told >= EARLIEST else None


def events_of(picture: Picture) -> list[Event]:
    """The events in the rings, the oldest first. Slots that are empty or cannot be true are left out."""
    return sorted(set(_believable(picture)))


def _believable(picture: Picture) -> Iterator[Event]:
    values, clock = picture.calculations, clock_of(picture)
    for ring in RINGS:
        for slot, at in enumerate(RING_TIMES[ring.kind]):
            if max(ring.codes + slot, at) >= len(values):
                break
            code, time = values[ring.codes + slot], moment(values[at])
            if time is None or time < EARLIEST or not ring.least_code <= code < CODES_UNTIL:
                continue
            if clock is None or time <= clock + AHEAD:
                yield Event(time, ring.kind, code)


def event_of(point: str, time: datetime) -> Event | None:
    """The event that a reading of this point and time is, None for any other point."""
    found = RING_POINT.fullmatch(point)
    return Event(time, found.group(1), int(found.group(2))) if found else None
