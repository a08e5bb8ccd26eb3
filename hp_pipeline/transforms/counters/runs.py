"""Readings of one counter, compressed to runs of one number."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Whole = npt.NDArray[np.int64]
Real = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]

PER_UNIT = 1_000_000
"""Numbers are counted in whole millionths of the signal's unit."""


@dataclass(frozen=True)
class Mark:
    """How a counter stood, as believed.

    Attributes:
        read: last reading that was believed, in microseconds since 1970.
        since: first reading that showed this number.
        shown: the number that it showed, in millionths.
        scale: factor by which it is read since its unit changed.
        device: number of the device that was read; 0 when it is unknown; and of the owner's words before (`WORD`).
        begun: the instant of its schedule (local midnight, new year) at which it last began again; None when it never
            did.
    """

    read: int
    since: int
    shown: int
    scale: float = 1.0
    device: int = 0
    begun: int | None = None


@dataclass(frozen=True)
class Runs:
    """Neighbouring readings of one number as one row each, ascending.

    Attributes:
        first, last: times of the first and the last of the readings, in microseconds.
        count: number of readings.
        shown: the number in millionths.
        device: number of the device that was read.
    """

    first: Whole
    last: Whole
    count: Whole
    shown: Whole
    device: Whole

    @property
    def size(self) -> int:
        """Number of runs."""
        return int(self.first.size)

    def take(self, which: Whole | Truth) -> Runs:
        """Some of the runs."""
        return Runs(*(column[which] for column in (self.first, self.last, self.count, self.shown, self.device)))


def runs_of(time: Whole, shown: Whole, device: Whole, cuts: Whole, mark: Mark | None) -> Runs:
    """Compress readings, those that `mark` stands for before them.

    A run also ends with the first reading at or after each of `cuts`, at which a counter is due to begin again.
    """
    if time.size == 0:
        empty = np.zeros(0, np.int64)
        runs = Runs(empty, empty, empty, empty, empty)
    else:
        begins = np.empty(time.size, np.bool_)
        begins[0] = True
        begins[1:] = (shown[1:] != shown[:-1]) | (device[1:] != device[:-1])
        if cuts.size:
            due = np.searchsorted(cuts, time, side="right")
            begins[1:] |= due[1:] != due[:-1]
        start = np.flatnonzero(begins)
        stop = np.append(start[1:], time.size)
        runs = Runs(time[start], time[stop - 1], stop - start, shown[start], device[start])
    if mark is None:
        return runs
    return _behind(mark, runs, cuts)


def _behind(mark: Mark, runs: Runs, cuts: Whole) -> Runs:
    joins = (
        runs.size > 0
        and runs.shown[0] == mark.shown
        and runs.device[0] == mark.device
        and np.searchsorted(cuts, mark.read, side="right") == np.searchsorted(cuts, runs.first[0], side="right")
    )
    if joins:
        first = runs.first.copy()
        first[0] = mark.since
        return replace(runs, first=first)
    return Runs(
        _prepended(mark.since, runs.first),
        _prepended(mark.read, runs.last),
        _prepended(1, runs.count),
        _prepended(mark.shown, runs.shown),
        _prepended(mark.device, runs.device),
    )


def _prepended(value: int, column: Whole) -> Whole:
    return np.concatenate([np.array([value], np.int64), column])
