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
from hp_pipeline.vocabulary.counters import CounterRule, Verdict

_SECOND = 1_000_000
_HOUR = 3600 * _SECOND

NEVER = -(2**62)
"""Stands for the instant at which a counter last began again, where it never did."""

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
_COST_FACTOR_OF_TEN = 1.9
"""Less than a rollback behind a silence: new firmware counts in another unit, and comes with one."""
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
_NEAR_ROLL_OVER = 1000
"""A roll-over is guessed where the counter was nearer to its end than this part of it."""
FACTORS = (1000.0, 100.0, 10.0, 3.0)
_RESTART = PER_UNIT // 2
"""A counter that begins again may show this much at once (they were seen to begin at 0.3)."""
_LONGEST_RESET = 24 * _HOUR
"""Over a longer silence a fall to what could have been counted since says little."""
_SILENCE = 3
"""A silence is this many times longer than the readings are usually apart, and two minutes at least."""


WORD = 2**32
"""Numbers of devices are less; readings behind the owner's n-th word have n of it added to theirs."""


@dataclass(frozen=True)
class Bounds:
    """What a counter can do, in millionths of its unit and microseconds.

    Attributes:
        rule: as the profile says it.
        schedule: the instants at which it is due to begin again, ascending.
        late: how far from them it does.
        words: what the owner says of it at some of its readings, in order (`WORD`).
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
    words: tuple[Verdict, ...] = ()
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
    def roll_overs(self) -> tuple[tuple[int, float, int], ...]:
        """The numbers behind which it may begin again at 0, what that costs to believe, and how much it may at most
        have counted meanwhile for that."""
        told = self.rule.rolls_over_at
        if told is not None:
            limit = round(told * PER_UNIT)
            return ((limit, _COST_ROLL_OVER, limit),)
        guessed = [10.0**digits for digits in range(4, 9)]
        if self.rule.resolution is not None:
            guessed += [self.rule.resolution * 2**bits for bits in (16, 31, 32)]
        guessed = [limit for limit in guessed if limit >= _LEAST_ROLL_OVER]
        numbers = [round(limit * PER_UNIT) for limit in guessed]
        return tuple((limit, _COST_ROLL_OVER_GUESSED, limit // _NEAR_ROLL_OVER) for limit in numbers)

    @property
    def silence(self) -> int:
        """A longer time between two readings is a silence."""
        return max(_SILENCE * self.pace, 120 * _SECOND)

    def reachable(self, microseconds: Whole) -> Real:
        """How much can be counted in a time, in millionths: its rate, and one step that was nearly full before."""
        return self.rate * np.maximum(microseconds, 0) + self.step

    def is_calm(self, runs: Runs, level: Whole, begun: int) -> tuple[Truth, Truth]:
        """For each run but the first: whether it needs no weighing after the one before it, and whether it is a reset
        that was due.

        Args:
            begun: the instant of the schedule at which it last began again, before the runs.
        """
        rise = level[1:] - level[:-1]
        calm = (rise >= 0) & (rise <= self.reachable(runs.first[1:] - runs.first[:-1]))
        same = ~other_device(runs.device[:-1], runs.device[1:])
        calm &= same
        if not self.schedule.size:
            return calm, np.zeros(calm.shape, np.bool_)
        due, missed = self.due(runs, np.arange(runs.size - 1), np.arange(1, runs.size), level[:-1], level[1:])
        again = due & ((rise < 0) | (missed & (rise > 0))) & same
        # Once for each instant: a fall to 0 soon after that is something else.
        moment = self.moment(runs.last[:-1], runs.first[1:])
        used = np.maximum.accumulate(np.concatenate([[begun], np.where(again, moment, begun)]))[:-1]
        again &= moment > used
        return calm | again, again

    def moment(self, left: Whole, came: Whole) -> Whole:
        """The instant of the schedule at which a counter that was read at `left` and then at `came` can have begun
        again, or `NEVER`.

        Where nobody looked over one instant and up to the next, it is that one: at the next it may still do so.
        """
        if not self.schedule.size:
            return np.full(np.broadcast(left, came).shape, NEVER)
        at = np.searchsorted(self.schedule, came + self.late, side="right") - 1
        last, one = np.maximum(at, 0), np.maximum(at - 1, 0)
        slept = (at > 0) & (came < self.schedule[last] + self.late) & (left < self.schedule[one])
        return np.where(at < 0, NEVER, np.where(slept, self.schedule[one], self.schedule[last]))

    def due(
        self, runs: Runs, before: Whole, after: Whole, mark: Whole | Real, level: Whole | Real
    ) -> tuple[Truth, Truth]:
        """Whether a counter can have begun again as it was due between two runs, from `mark` to `level`, if it has not
        yet; and whether it must have, for nobody was looking: neither before it was due, nor behind that while it
        still showed more than can have been counted since."""
        if not self.schedule.size:
            nothing = np.zeros(np.broadcast(before, after).shape, np.bool_)
            return nothing, nothing
        left, came = runs.last[before], runs.first[after]
        moment = self.moment(left, came)
        since = np.where(moment > NEVER, came - moment, 0)
        may = (moment > NEVER) & (left <= moment + self.late)
        may &= level <= self.reachable(since + self.late) + _RESTART
        not_yet = (left < moment) | (mark > self.reachable(np.where(moment > NEVER, left - moment, 0)) + _RESTART)
        return may, may & not_yet & (came >= moment + self.late) & (came - left >= self.late)


def other_device(before: Whole | np.int64, after: Whole) -> Truth:
    """Whether two known devices are not the same (0 is an unknown one), or the owner says how the second follows."""
    told = before // WORD != after // WORD
    others: Truth = told | ((before != after) & (before % WORD != 0) & (after % WORD != 0))
    return others


@dataclass(frozen=True)
class Way:
    """One believed run of a path: which, how it follows from the one before it, and the scale from there on."""

    run: int
    kind: int
    scale: float


def best_path(runs: Runs, bounds: Bounds, start: int, stop: int, scale: float, begun: int, anchored: bool) -> list[Way]:
    """The cheapest path through the runs [start, stop).

    Args:
        scale: by which the first is read.
        begun: the instant of the schedule at which the counter had last begun again at the first.
        anchored: whether the first of them is believed already; if not, the path may begin with any.

    Returns:
        The believed runs after the anchor (all of them when there is none), in order.
    """
    size = stop - start
    # A run may be two nodes: as a number of another unit, and of the one so far, where the next belies the other unit.
    room = 2 * size
    at, cost, scales = np.zeros(room, np.int64), np.full(room, np.inf), np.full(room, scale)
    came_from, came_by, used = np.full(room, -1), np.zeros(room, np.int64), np.full(room, begun)
    between = np.full((room, size + 1), np.inf)
    cost[0] = 0.0
    doubted = np.cumsum([runs.count[start], *_says(runs, bounds, start, stop, scale)], dtype=np.float64)
    between[0, 1:] = _doubt_behind(runs, bounds, start, stop, scale)
    known = 1
    for place in range(1, size):
        before = start + at[:known]
        moment = bounds.moment(runs.last[before], runs.first[start + place])
        costs, changed = _steps(runs, bounds, before, start + place, scales[:known], moment <= used[:known])
        so_far = cost[:known] + between[:known, place]
        as_begin = np.inf if anchored else _doubt(doubted[place - 1 : place], np.inf)[0]
        in_other_unit = so_far + costs[FACTOR]
        costs[FACTOR] = np.inf
        kinds = np.argmin(costs, axis=0)
        in_same_unit = so_far + costs[kinds, np.arange(kinds.size)]
        nodes = [(in_same_unit, scales, kinds, as_begin)]
        if min(in_same_unit.min(), as_begin) >= in_other_unit.min() < np.inf:
            belied = _is_belied(runs, bounds, start + place, stop, changed[_last_least(in_other_unit)])
            in_other = in_other_unit, changed, np.full(kinds.size, FACTOR), np.inf
            nodes = [*nodes, in_other] if belied else [in_other]
        for node, (total, after, by, least) in enumerate(nodes, start=known):
            chosen = _last_least(total)
            at[node], cost[node] = place, min(total[chosen], least)
            if total[chosen] <= least:
                came_from[node], came_by[node], scales[node] = chosen, by[chosen], after[chosen]
                used[node] = moment[chosen] if by[chosen] == SCHEDULED else used[chosen]
            between[node, place + 1 :] = _doubt_behind(runs, bounds, start + place, stop, float(scales[node]))
        known += len(nodes)
    total = cost[:known] + between[:known, size]
    node = _last_least(total)
    ways: list[Way] = []
    while node >= 0 and not (anchored and node == 0):
        ways.append(Way(start + int(at[node]), int(came_by[node]), float(scales[node])))
        node = int(came_from[node])
    return ways[::-1]


def _last_least(costs: Real) -> int:
    """Of the least the last."""
    return costs.size - 1 - int(np.argmin(costs[::-1]))


def _is_belied(runs: Runs, bounds: Bounds, run: int, stop: int, scale: float) -> bool:
    """Whether the run behind one cannot follow it, both read by a scale."""
    if run + 1 == stop:
        return False
    rise = (runs.shown[run + 1] - runs.shown[run]) * scale
    return not 0 <= rise <= bounds.reachable(runs.first[run + 1] - runs.first[run])


def _says(runs: Runs, bounds: Bounds, start: int, stop: int, scale: float) -> Whole:
    """How many readings speak for each of the runs behind `start`, read by a scale: none for a number that stands for
    no value, where the counter leaps to it."""
    rise = np.diff(runs.shown[start:stop]) * scale
    leaps = rise > bounds.reachable(np.diff(runs.first[start:stop]))
    leaps &= np.isin(runs.shown[start + 1 : stop], bounds.stand_ins)
    return np.where(leaps, 0, runs.count[start + 1 : stop])


def _doubt_behind(runs: Runs, bounds: Bounds, start: int, stop: int, scale: float) -> Real:
    """What it costs not to believe the runs between `start`, read by a scale, and each later one, and its end.

    What could not follow it anyway is doubted together, what could is doubted run by run: it speaks for `start`. What
    another device shows could follow in any case.
    """
    level, first = runs.shown[start:stop] * scale, runs.first[start:stop]
    costs = np.zeros(stop - start)
    if level.size == 1:
        return costs
    says = _says(runs, bounds, start, stop, scale)
    rise, since = np.diff(level), level[1:] - level[0]
    follows = (since >= 0) & (since <= bounds.reachable(first[1:] - first[0]))
    follows |= other_device(runs.device[start], runs.device[start + 1 : stop])
    own = np.minimum(_DOUBT_OF_WHAT_FOLLOWS + 0.5 * (says - 1), _MOST_DOUBT_OF_WHAT_FOLLOWS)
    by_run = np.cumsum(np.where(follows & (says > 0), own, 0.0))
    together = np.cumsum(np.where(follows, 0, says).astype(np.float64))
    lasts = np.where(follows | (says == 0), 0, runs.last[start + 1 : stop] - first[1:])
    counts_on = ~follows & (rise > 0) & (rise <= bounds.reachable(np.diff(first)))
    counting = np.where(np.cumsum(counts_on) >= _COUNTS_ON, _DOUBT_OF_COUNTING, 0.0)
    besides = by_run + _DOUBT_BY_TIME * np.cumsum(lasts) / HORIZON + counting
    costs[1:] = besides + _doubt(together, _MOST_DOUBT)
    last = together[-1:]
    costs[-1] = (besides[-1] + _doubt(last, np.inf).clip(max=_DOUBT_AT_END + _MORE_DOUBT_AT_END * last))[0]
    return costs


def _doubt(readings: Real, most: float) -> Real:
    """What it costs not to believe a number of readings."""
    return np.where(readings > 0, np.minimum(1 + 0.5 * (readings - 1), most), 0.0)


def _steps(runs: Runs, bounds: Bounds, before: Whole, after: int, scale: Real, is_used: Truth) -> tuple[Real, Real]:
    """From each of the runs `before`, read by its scale, to the run `after`: the cost by kind, and the scale of the
    other unit.

    Args:
        is_used: whether the counter has begun again already at the instant at which it would be due.
    """
    mark = runs.shown[before] * scale
    level = runs.shown[after] * scale
    rise = level - mark
    silent = runs.first[after] - runs.last[before]
    waited = runs.first[after] - runs.first[before]
    reachable = bounds.reachable(waited)
    soon = bounds.reachable(silent)
    there = np.full(before.shape, after)
    due, missed = (so & ~is_used for so in bounds.due(runs, before, there, mark, level))
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
    for limit, price, most in bounds.roll_overs:
        rest = limit - mark + level
        over = fell & (mark <= limit) & (rest >= 0) & (rest <= np.minimum(reachable, most))
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
            costs[FACTOR] = np.where(fits, _COST_FACTOR if factor == 3 else _COST_FACTOR_OF_TEN, costs[FACTOR])
            then = np.where(fits, changed, then)
    other = other_device(runs.device[before], runs.device[after])
    costs[:, other] = np.inf
    costs[HANDOVER] = np.where(other, 0.0, np.inf)
    return costs, np.where(np.abs(then - 1) < 1e-9, 1.0, then)
