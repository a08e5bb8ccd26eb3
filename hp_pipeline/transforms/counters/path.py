"""The least far-fetched explanation of a stretch of readings that are not those of a counter that only counts up.

Each run of readings is believed or not, and each step from one believed run to the next is something that counters do.
Not to believe costs the more, the more readings say it; what counters do costs the more, the rarer it is. The cheapest
path through the stretch is the verdict; among equals the one that believes the later readings. Costs are in units of
one reading that is not believed; see `docs/decisions` for how they were chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hp_pipeline.transforms.counters.runs import PER_UNIT, Real, Runs, Truth, Whole
from hp_pipeline.vocabulary.counters import CounterRule

_SECOND = 1_000_000
_HOUR = 3600 * _SECOND

HORIZON = 6 * _HOUR
"""How long after it a reading can still tell that one before it was wrong, in microseconds."""

LATE = 15 * 60 * _SECOND
"""How far from local midnight a counter of the day begins again, at most (a year's: a day and LATE)."""

FIRM = 5
"""From this number of readings on more of them say no more."""

KINDS = ("step", "scheduled", "reset", "roll_over", "rollback", "factor", "handover", "jump")
STEP, SCHEDULED, RESET, ROLL_OVER, ROLLBACK, FACTOR, HANDOVER, JUMP = range(len(KINDS))

_COST_LATE = 0.9
_COST_SCHEDULED = 0.1
_COST_UNSCHEDULED = 3.0
"""That a counter of the day went on over midnight."""
_COST_RESET = 2.25
_COST_RESET_NEVER = 2.75
_COST_ROLL_OVER = 0.5
_COST_ROLL_OVER_GUESSED = 2.0
_COST_ROLLBACK_BEHIND_SILENCE = 2.0
_COST_ROLLBACK = 3.5
_COST_FACTOR = 2.1
_COST_JUMP = 2.9
_MOST_DOUBT = 1 + 0.5 * (FIRM - 1)
"""What it costs not to believe any number of readings between two that are believed."""
_DOUBT_BY_TIME = 3.0
"""What it costs besides, when they say it for as long as `HORIZON`."""
_COUNTS_ON = 10
_DOUBT_OF_COUNTING = 1.2
"""What it costs besides, when they count on among themselves through so many numbers: a counter that lies stands still
or comes back soon, one that fell back counts on. Without this a fall by less than an hour would be a dip, and lost."""
_DOUBT_OF_WHAT_FOLLOWS = 2.1
_MOST_DOUBT_OF_WHAT_FOLLOWS = 4.3
"""What it costs not to believe one and any number of readings of a number to which the counter can have counted."""
_DOUBT_AT_END = 3.5
_MORE_DOUBT_AT_END = 0.1
"""What it costs not to believe the last readings, at once and for each: in the end more than any explanation."""

_STAND_INS = (32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1, 0x7FFF7FFF)
"""Raw numbers that devices send when they know nothing; a counter can pass through them, but does not leap to them."""
_LEAST_ROLL_OVER = 1000
"""Nearer to 0 a counter that begins again is guessed to do so of its own accord."""
FACTORS = (1000.0, 100.0, 10.0, 3.0)
_RESTART = PER_UNIT // 2
"""A counter that begins again may show this much at once (they were seen to begin at 0.3)."""
_LONGEST_RESET = 24 * _HOUR
"""Over a longer silence a fall to what could have been counted since says little."""
_SILENCE = 3
"""A silence is this many times longer than the readings are usually apart, and two minutes at least."""


@dataclass(frozen=True)
class Bounds:
    """What a counter can do, in millionths of its unit and microseconds.

    Attributes:
        rule: as the profile says it.
        schedule: the instants at which it is due to begin again, ascending.
        late: how far from them it does.
        pace: how far apart its readings usually are.
        rate: what it can at most count in a microsecond.
        step: its smallest step (one unit, when that is not known), by which every reading may be ahead of its time.
        fine: its smallest step, a hundredth of a unit when that is not known.
        flutter: a fall of at most this says nothing: one step, a tenth of a unit when that is not known.
        stand_ins: numbers that may stand for no value.
    """

    rule: CounterRule
    schedule: Whole
    late: int
    pace: int = 0
    rate: float = field(init=False)
    step: int = field(init=False)
    fine: float = field(init=False)
    flutter: int = field(init=False)
    stand_ins: Whole = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        resolution = self.rule.resolution
        object.__setattr__(self, "rate", self.rule.most_per_hour * PER_UNIT / _HOUR)
        object.__setattr__(self, "step", round((1.0 if resolution is None else resolution) * PER_UNIT))
        object.__setattr__(self, "fine", (resolution or 0.01) * PER_UNIT)
        object.__setattr__(self, "flutter", round((resolution or 0.1) * PER_UNIT))
        units = {resolution or 1.0, 1.0, 0.1, 0.01, 0.001}
        numbers = {round(number * unit * PER_UNIT) for number in _STAND_INS for unit in units}
        object.__setattr__(self, "stand_ins", np.array(sorted(numbers), np.int64))

    @cached_property
    def roll_overs(self) -> tuple[tuple[int, float, int | None], ...]:
        """The numbers behind which it may begin again at 0, what that costs to believe, and the longest silence over
        which it is believed."""
        told = self.rule.rolls_over_at
        if told is not None:
            return ((round(told * PER_UNIT), _COST_ROLL_OVER, None),)
        guessed = [10.0**digits for digits in range(4, 9)]
        if self.rule.resolution is not None:
            guessed += [self.rule.resolution * 2**bits for bits in (16, 31, 32)]
        guessed = [limit for limit in guessed if limit >= _LEAST_ROLL_OVER]
        return tuple((round(limit * PER_UNIT), _COST_ROLL_OVER_GUESSED, _HOUR // 6) for limit in guessed)

    @property
    def silence(self) -> int:
        """A longer time between two readings is a silence."""
        return max(_SILENCE * self.pace, 120 * _SECOND)

    def reachable(self, microseconds: Whole) -> Real:
        """How much can be counted in a time, in millionths: its rate, and one step that was nearly full before."""
        return self.rate * np.maximum(microseconds, 0) + self.step

    def is_calm(self, runs: Runs, level: Whole) -> tuple[Truth, Truth]:
        """For each run but the first: whether it needs no weighing after the one before it, and whether it is a reset
        that was due."""
        rise = level[1:] - level[:-1]
        calm = (rise >= 0) & (rise <= self.reachable(runs.first[1:] - runs.first[:-1]))
        same = ~other_device(runs.device[:-1], runs.device[1:])
        calm &= same
        if not self.schedule.size:
            return calm, np.zeros(calm.shape, np.bool_)
        due, missed = self.due(runs, np.arange(runs.size - 1), np.arange(1, runs.size), level[1:])
        begun = due & ((rise < 0) | (missed & (rise > 0))) & same
        return calm | begun, begun

    def due(self, runs: Runs, before: Whole, after: Whole, level: Whole | Real) -> tuple[Truth, Truth]:
        """Whether a counter can have begun again as it was due between two runs, so that it now shows `level`; and
        whether it must have, for nobody was looking."""
        if not self.schedule.size:
            nothing = np.zeros(np.broadcast(before, after).shape, np.bool_)
            return nothing, nothing
        at = np.searchsorted(self.schedule, runs.first[after] + self.late, side="right") - 1
        moment = self.schedule[np.maximum(at, 0)]
        left, came = runs.last[before], runs.first[after]
        may = (at >= 0) & (left <= moment + self.late) & (level <= self.reachable(came - moment + self.late) + _RESTART)
        return may, may & (left < moment) & (came >= moment + self.late)


def other_device(before: Whole, after: Whole) -> Truth:
    """Whether two known devices are not the same; 0 is an unknown one."""
    others: Truth = (before != after) & (before != 0) & (after != 0)
    return others


@dataclass(frozen=True)
class Way:
    """One believed run of a path: which, how it follows from the one before it, and the scale from there on."""

    run: int
    kind: int
    scale: float


def best_path(runs: Runs, bounds: Bounds, start: int, stop: int, scale: float, anchored: bool) -> list[Way]:
    """The cheapest path through the runs [start, stop).

    Args:
        anchored: whether the first of them is believed already; if not, the path may begin with any.

    Returns:
        The believed runs after the anchor (all of them when there is none), in order.
    """
    size = stop - start
    # A number that stands for no value says nothing, however often, where the counter leaps to it.
    leaps = np.zeros(size, np.bool_)
    rise = (runs.shown[start + 1 : stop] - runs.shown[start : stop - 1]) * scale
    leaps[1:] = rise > bounds.reachable(runs.first[start + 1 : stop] - runs.first[start : stop - 1])
    says = np.where(leaps & np.isin(runs.shown[start:stop], bounds.stand_ins), 0, runs.count[start:stop])
    doubted = np.concatenate([[0.0], np.cumsum(says.astype(np.float64))])
    between = _doubt_between(runs, bounds, start, stop, says, scale)
    cost = np.full(size, np.inf)
    came_from = np.full(size, -1)
    came_by = np.zeros(size, np.int64)
    scales = np.full(size, scale)
    cost[0] = 0.0
    for place in range(1, size):
        if not anchored:
            cost[place] = _doubt(doubted[place : place + 1], np.inf)[0]
        earlier = np.arange(place)
        steps, kinds, after = _steps(runs, bounds, start + earlier, start + place, scales[:place])
        total = cost[:place] + steps + between[:place, place]
        chosen = place - 1 - int(np.argmin(total[::-1]))
        if total[chosen] <= cost[place]:
            cost[place], came_from[place], came_by[place] = total[chosen], chosen, kinds[chosen]
            scales[place] = after[chosen]
    total = cost + between[:, size]
    place = size - 1 - int(np.argmin(total[::-1]))
    ways: list[Way] = []
    while place >= 0 and not (anchored and place == 0):
        ways.append(Way(start + place, int(came_by[place]), float(scales[place])))
        place = int(came_from[place])
    return ways[::-1]


def _doubt_between(runs: Runs, bounds: Bounds, start: int, stop: int, says: Whole, scale: float) -> Real:
    """What it costs not to believe the runs between each (row) and each later one (column) of the stretch, and between
    each and its end (last column).

    What could not follow the row anyway is doubted together, what could is doubted run by run: it speaks for the row.
    """
    level, first = runs.shown[start:stop] * scale, runs.first[start:stop]
    rise = level[None, :] - level[:, None]
    follows = (rise >= 0) & (rise <= bounds.reachable(first[None, :] - first[:, None]))
    own = np.where(says > 0, np.minimum(_DOUBT_OF_WHAT_FOLLOWS + 0.5 * (says - 1), _MOST_DOUBT_OF_WHAT_FOLLOWS), 0.0)
    size = stop - start
    later = np.triu(np.ones((size, size), np.bool_), 1)
    by_run = np.cumsum(np.where(follows & later, own[None, :], 0.0), axis=1)
    together = np.cumsum(np.where(~follows & later, says[None, :], 0).astype(np.float64), axis=1)
    lasts = np.where(says > 0, runs.last[start:stop] - first, 0)
    by_time = _DOUBT_BY_TIME * np.cumsum(np.where(~follows & later, lasts[None, :], 0), axis=1) / HORIZON
    on = np.zeros(size, np.int64)
    on[1:] = (level[1:] > level[:-1]) & (level[1:] - level[:-1] <= bounds.reachable(first[1:] - first[:-1]))
    counting = np.cumsum(np.where(~follows & later, on[None, :], 0), axis=1) >= _COUNTS_ON
    besides = by_time + np.where(counting, _DOUBT_OF_COUNTING, 0.0)
    costs = np.zeros((size, size + 1))
    costs[:, 1:size] = by_run[:, :-1] + _doubt(together[:, :-1], _MOST_DOUBT) + besides[:, :-1]
    last = together[:, -1]
    costs[:, size] = by_run[:, -1] + _doubt(last, np.inf).clip(max=_DOUBT_AT_END + _MORE_DOUBT_AT_END * last)
    return costs


def _doubt(readings: Real, most: float) -> Real:
    """What it costs not to believe a number of readings."""
    return np.where(readings > 0, np.minimum(1 + 0.5 * (readings - 1), most), 0.0)


def _steps(runs: Runs, bounds: Bounds, before: Whole, after: int, scale: Real) -> tuple[Real, Whole, Real]:
    """From each of the runs `before`, read by its scale, to the run `after`: least cost, its kind, the scale then."""
    mark = runs.shown[before] * scale
    level = runs.shown[after] * scale
    rise = level - mark
    silent = runs.first[after] - runs.last[before]
    waited = runs.first[after] - runs.first[before]
    reachable = bounds.reachable(waited)
    soon = bounds.reachable(silent)
    there = np.full(before.shape, after)
    due, missed = bounds.due(runs, before, there, level)
    costs = np.full((len(KINDS), before.size), np.inf)
    counted = (rise >= 0) & (rise <= reachable)
    costs[STEP] = np.where(
        counted,
        np.where(rise > soon, _COST_LATE, 0.0) + np.where(missed & (rise > 0), _COST_UNSCHEDULED, 0.0),
        np.inf,
    )
    costs[SCHEDULED] = np.where(due & ((rise < 0) | (missed & (rise > 0))), _COST_SCHEDULED, np.inf)
    fell = rise < 0
    near_zero = (level <= bounds.reachable(np.minimum(silent, _LONGEST_RESET)) + _RESTART) & (level <= mark / 2)
    never = bounds.rule.resets == "never"
    costs[RESET] = np.where(fell & near_zero, _COST_RESET_NEVER if never else _COST_RESET, np.inf)
    for limit, price, longest in bounds.roll_overs:
        rest = limit - mark + level
        most = reachable if longest is None else bounds.reachable(np.minimum(silent, longest))
        over = fell & (mark <= limit) & (rest >= 0) & (rest <= most)
        costs[ROLL_OVER] = np.where(over, np.minimum(costs[ROLL_OVER], price), costs[ROLL_OVER])
    price_of_fall = np.where(silent > bounds.silence, _COST_ROLLBACK_BEHIND_SILENCE, _COST_ROLLBACK)
    costs[ROLLBACK] = np.where(fell, price_of_fall, np.inf)
    costs[JUMP] = np.where(rise > reachable, _COST_JUMP, np.inf)
    then = scale.copy()
    for factor in FACTORS:
        for changed in (scale * factor, scale / factor):
            rough = bounds.fine * np.maximum(changed / scale, 1.0)
            left = runs.shown[after] * changed - mark
            fits = (rough <= mark / 50) & (soon <= mark / 20) & (left >= -rough) & (left <= soon + rough)
            fits &= ~counted & (costs[FACTOR] == np.inf)
            costs[FACTOR] = np.where(fits, _COST_FACTOR, costs[FACTOR])
            then = np.where(fits, changed, then)
    other = other_device(runs.device[before], runs.device[after])
    costs[:, other] = np.inf
    costs[HANDOVER] = np.where(other, 0.0, np.inf)
    kinds = np.argmin(costs, axis=0)
    least = costs[kinds, np.arange(before.size)]
    scales = np.where(kinds == FACTOR, then, scale)
    scales = np.where(np.abs(scales - 1) < 1e-9, 1.0, scales)
    return least, kinds, scales
