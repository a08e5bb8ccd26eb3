"""Landed polls → rows of readings: small, and still the whole truth.

A live source that tells 1,860 points every 30 s tells five million readings a day, nearly all of them unchanged. The
lake keeps of each point a row where its value changed, and the first one of each UTC day; besides, for each source:

| point | what its rows say |
|---|---|
| `@poll` | at this time the points of a set were told, changed or not; the number (`value`) is the set's |
| `@told/<number>` | the points of that set (`text`, one a line), on each day before its first `@poll` |
| `@clock_drift` | how far the device's clock is ahead of ours, in seconds |

A point of a set has, at each time of the set, the value of its newest row; `transforms.told` gives the full series
back. Readings that have their own time, and those of sources that speak by themselves in small deliveries, are rows as
they are. Each UTC day can be read by itself.

The rows follow from the polls alone, in the order of their numbers: however the polls are cut into drains, and however
often they are drained, the same rows come out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from hp_pipeline.landing.store import Landing, Recorded, Value

POLL_POINT: Final = "@poll"
TOLD_POINT: Final = "@told/"

FUTURE_TOLERANCE: Final = 600_000_000
"""Microseconds by which a reading's own time may lie after the poll that told it; beyond, the time is not believed."""

_DAY: Final = 86_400_000_000
_CHUNK_ROWS: Final = 400_000


@dataclass(slots=True)
class Drained:
    """Rows of readings, in columns, and how far they reach.

    Attributes:
        points, times, values, texts: a row each; times in microseconds since 1970; one of value and text is None.
        through: number of the last poll that is in them.
        polls: how many good polls they are from.
        refused: how many readings were left out because their own time lies in the future.
    """

    points: list[str] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    through: int = 0
    polls: int = 0
    refused: int = 0

    def add(self, point: str, time: int, value: Value) -> None:
        """One row."""
        self.points.append(point)
        self.times.append(time)
        number = None if isinstance(value, str) else value
        self.values.append(number)
        self.texts.append(value if isinstance(value, str) else None)


class _Series:
    """What has been told and what has become rows so far, in the order of the polls."""

    def __init__(self, landing: Landing) -> None:
        self._landing = landing
        self._state: dict[int, Value] = {}
        self._day = -1
        self._rows: dict[int, Value] = {}
        self._announced: set[int] = set()

    def follow(self, poll: Recorded, into: Drained) -> None:
        """Take in the next good poll, and add its rows."""
        if poll.whole:
            self._state.clear()
        day = poll.time // _DAY
        if day != self._day:
            self._day = day
            self._rows.clear()
            self._announced.clear()
        into.through = poll.sequence
        into.polls += 1
        changed = []
        for point, value, time in poll.body:
            if time is not None and time > poll.time + FUTURE_TOLERANCE:
                into.refused += 1
                continue
            if time is not None:
                into.add(self._landing.point(point), time, value)
                continue
            self._state[point] = value
            changed.append(point)
            if poll.told is None:
                self._rows[point] = value
                into.add(self._landing.point(point), poll.time, value)
        if poll.told is not None:
            self._set(poll, poll.told, changed, into)

    def _set(self, poll: Recorded, told: int, changed: list[int], into: Drained) -> None:
        points = self._landing.point_set(told)
        if told not in self._announced:
            self._announced.add(told)
            into.add(f"{TOLD_POINT}{told}", poll.time, "\n".join(self._landing.point(point) for point in points))
            looked_at = list(points)  # some of them may not have a row of this day yet
        else:
            looked_at = changed
        into.add(POLL_POINT, poll.time, float(told))
        for point in looked_at:
            value = self._state[point]
            if point not in self._rows or repr(self._rows[point]) != repr(value):
                self._rows[point] = value
                into.add(self._landing.point(point), poll.time, value)


def drain(landing: Landing, source: str, after: int, until: int | None = None) -> Iterator[Drained]:
    """The rows of a source's polls with a number in (after, until], in pieces.

    Where polls up to `after` were removed already, what is there is drained.

    Raises:
        LandingError: the landing cannot be read.
    """
    first = landing.whole_before(source, after, least=2)
    series = _Series(landing)
    passed = Drained()
    piece = Drained(through=after)
    for poll in landing.polls(source, (first or after + 1) - 1, until, good=True):
        if poll.sequence <= after:
            series.follow(poll, passed)
            passed = Drained()
            continue
        series.follow(poll, piece)
        if len(piece.points) >= _CHUNK_ROWS:
            yield piece
            piece = Drained(through=piece.through)
    if piece.polls:
        yield piece
