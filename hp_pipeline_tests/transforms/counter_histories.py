"""Histories of counters of which it is known what was counted, and what befell them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np
from hypothesis import strategies as st

from hp_pipeline.transforms.counters import PER_UNIT, Bounds, Classified, Day, classify
from hp_pipeline.vocabulary.counters import CounterRule

SECOND = 1_000_000
DAY = 86_400 * SECOND
EPOCH = 20_000 * DAY


@dataclass
class History:
    """Readings of a counter, and the truth about them.

    Attributes:
        time: in seconds from midnight.
        shown: in steps of the counter.
        counted: what was counted, as far as readings show it, in steps.
        befell: what happened, in order, by the words of the ledger.
        step: of the counter, in its unit.
        device: number of the device that was read, with each reading; empty where it does not tell itself apart.
    """

    step: float
    time: list[int] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)
    device: list[int] = field(default_factory=list)
    counted: int = 0
    befell: list[str] = field(default_factory=list)

    def read(self, after: int, shown: int) -> None:
        """A reading so many seconds after the last."""
        self.time.append((self.time[-1] if self.time else 0) + after)
        self.shown.append(shown)


def told(history: History, rule: CounterRule, schedule: tuple[int, ...] = (), days: int = 4) -> Classified:
    """What the classifier says of a history, which begins on the first day."""
    time = np.array(history.time, np.int64) * SECOND + EPOCH
    shown = np.rint(np.array(history.shown) * history.step * PER_UNIT).astype(np.int64)
    bounds = Bounds(rule, np.array(schedule, np.int64) * SECOND + EPOCH, 15 * 60 * SECOND)
    views = [
        Day(EPOCH + number * DAY, EPOCH + (number + 1) * DAY, EPOCH + (number + 2) * DAY, True)
        for number in range(days)
    ]
    device = np.array(history.device or [0] * len(history.time), np.int64)
    return classify(time, shown, device, bounds, views, None)


def total(found: Classified) -> int:
    """What was counted, in millionths."""
    return sum(int(part["increment"].sum()) for part in found.increments)


def kinds(found: Classified) -> list[str]:
    """What the ledger says, in order of time."""
    entries = sorted(found.ledger, key=lambda entry: int(str(entry["time"])))
    return [str(entry["kind"]) for entry in entries]


PASSING = ("dip", "dip_to_zero", "spike", "sentinel", "torn_read", "freeze")
"""What lies for some readings, or not at all, and costs nothing."""
LASTING = ("reset", "rollback", "jump", "outage", "roll_over", "factor", "handover", "pair_lag")
"""What stays, or lies for long."""

MOST = 40.0
FACTORS = (10, 100, 1000)


class Counting:
    """A counter that counts at any pace up to its most, to which things happen.

    What is counted is in steps; what is shown in thousandths of them, so that another unit can be shown exactly.
    """

    def __init__(self, random: Random, with_units: bool) -> None:
        self.random = random
        self.fine = 1000 if with_units else 1
        self.step = random.choice([0.001, 0.01, 0.1, 1.0])
        self.pace = random.choice([30, 60, 300])
        self.history = History(self.step / self.fine)
        self.rule = CounterRule(MOST, self.history.step, rolls_over_at=1e9)
        self.level = random.randint(int(60 / self.step), int(9000 / self.step))
        self.ratio = self.fine
        self.device = 1
        self.after = self.pace

    def show(self, level: int, times: int = 1) -> None:
        """Readings of a number."""
        for _ in range(times):
            self.history.read(self.after, level * self.ratio)
            self.history.device.append(self.device)
            self.after = self.pace

    def count(self, steps: int) -> None:
        """It counts."""
        self.level += steps
        self.history.counted += steps

    def can(self, seconds: int, most: float = MOST) -> int:
        """How many whole steps it can count in a time."""
        return int(most * seconds / 3600 / self.step)

    def count_on(self, readings: int) -> None:
        """Readings of a counter that counts, for the first five of which it stands still: until then it is not sure
        what has happened."""
        for place in range(readings):
            if place > 4 and self.random.random() < 0.5:
                self.count(self.random.randint(0, self.can(self.pace)))
            self.show(self.level)

    def rest(self) -> None:
        """Readings for longer than the horizon, so that what was before has been decided."""
        for _ in range(14):
            self.after = 1800
            self.show(self.level)

    def is_possible(self, event: str) -> bool:
        """Whether an event can be told from others here."""
        if event in {"reset", "rollback"}:
            left = round(self.rule.rolls_over_at / self.step) - self.level
            if "roll_over" in self.history.befell and 0 <= left <= self.can(8 * 3600):
                return False  # it may have rolled over again
            return self.level * self.step >= 5  # what falls from so little by so little may be anything
        if event == "pair_lag":
            return self.level * self.step >= 1200
        if event == "roll_over":
            told = self.rule.rolls_over_at != 1e9 or "factor" in self.history.befell
            return not told and self.level * self.step >= 1000 and self.can(self.pace) > 0
        if event == "factor":
            return self.fine > 1 and self.level * self.step >= 1.1 * 20 * (MOST * 1200 / 3600 + self.step)
        return True

    def befall(self, event: str) -> None:
        """Something happens."""
        happens: dict[str, Callable[[], object]] = {
            "dip": lambda: self.show(self.level - self._some(), self.random.randint(1, 3)),
            "dip_to_zero": lambda: self.show(0, self.random.randint(1, 3)),
            "spike": lambda: self.show(self.level + self._beyond(), self.random.randint(1, 3)),
            "sentinel": lambda: self.show(round(32768 / min(self.step, 1)), self.random.randint(1, 8)),
            "torn_read": lambda: self.show(self.level + round(1000 / self.step), self.random.randint(1, 3)),
            "pair_lag": lambda: self.show(self.level - round(1000 / self.step), self.random.randint(1, 20)),
            "freeze": self._freeze,
            "reset": self._reset,
            "rollback": self._roll_back,
            "jump": self._jump,
            "outage": self._outage,
            "roll_over": self._roll_over,
            "factor": self._factor,
            "handover": self._handover,
        }
        happens[event]()

    def _some(self) -> int:
        return self.random.randint(2, max(self.level // 3, 3))

    def _beyond(self) -> int:
        """More than it can have counted since it was first read."""
        return self.can(max(self.history.time[-1], 3600), 1.5 * MOST) + 10 + self.random.randint(0, 1000)

    def _freeze(self) -> None:
        readings = self.random.randint(5, 60)
        self.show(self.level, readings)
        self.count(self.random.randint(0, self.can(self.pace * readings)))

    def _reset(self) -> None:
        self.level = 0
        self.count(self.random.randint(0, max(int(0.3 / self.step), self.fine == 1)))

    def _roll_back(self) -> None:
        self.after = self.random.randint(100, 180) * 60
        self.level -= self._some()

    def _jump(self) -> None:
        before = self.level
        # Beyond what a dip could return to, and not to where another unit would be.
        self.level = max(self.history.shown) // self.ratio + self._beyond()
        while any(0.9 * factor < self.level / max(before, 1) < 1.1 * factor for factor in (3, *FACTORS)):
            self.level += before // 2 + 1

    def _outage(self) -> None:
        self.after = self.random.randint(2, 200) * self.pace
        self.count(self.random.randint(0, self.can(self.after)))

    def _roll_over(self) -> None:
        """Where it is told, its end is where it happens to be."""
        left = self.random.randint(1, self.can(self.pace))
        limit = self.level + left
        self.rule = replace(self.rule, rolls_over_at=limit * self.step)
        self.count(left + self.random.randint(0, self.can(self.pace) - left))
        self.level -= limit

    def _factor(self) -> None:
        """It goes on in another unit, or comes back to the one before; behind a silence of up to 20 minutes, too."""
        others = [self.fine * up for up in FACTORS] + [self.fine // down for down in FACTORS]
        self.ratio = self.random.choice(others) if self.ratio == self.fine else self.fine
        self.after = self.random.choice([self.pace, self.random.randint(self.pace, 1200)])
        self.count(self.random.randint(0, self.can(self.after)))

    def _handover(self) -> None:
        self.device += 1
        self.level = self.random.randint(0, int(9000 / self.step))


def history_of(random: Random, events: tuple[str, ...], apart: tuple[int, int], rests: str) -> Counting:
    """A counter to which some things happen.

    Args:
        apart: how many readings of it as it is lie between two events, at least and at most.
        rests: where longer than the horizon lies between two events: around what lasts, between what lasts, never.
    """
    made = Counting(random, with_units="factor" in events)
    befell = made.history.befell
    made.count_on(12)
    made.history.counted = made.level - made.history.shown[0] // made.fine
    for _ in range(random.randint(1, 4)):
        event = random.choice(events)
        if not made.is_possible(event):
            continue
        near = befell if rests == "between what lasts" else befell[-1:]
        both = event in LASTING and bool({*near} & {*LASTING})
        if (rests == "around what lasts" and befell and {event, *near} & {*LASTING}) or (rests != "never" and both):
            made.rest()
        befell.append("dip" if event == "dip_to_zero" else event)
        made.befall(event)
        made.count_on(random.randint(*apart))
    return made


def histories(events: tuple[str, ...], apart: tuple[int, int] = (12, 16)) -> st.SearchStrategy[Counting]:
    """Counters to which some things happen, what lasts farther than the horizon from other events."""
    return st.integers(0, 10**9).map(lambda seed: history_of(Random(seed), events, apart, "around what lasts"))


DAILY = CounterRule(40, 0.1, "daily")
MIDNIGHTS = tuple(number * 86_400 for number in range(-1, 6))


def day_counter(random: Random, event: str) -> History:
    """Three days and some hours of a counter of the day, and what happens to it near one of its midnights: not within
    `LATE` before it (a lie that ends just before it begins again may be that already), and not so that it shows the
    same number before and after.

    Args:
        event: a lie, a silence or a freeze, or `missed`: once it does not begin again. `plain`: none.
    """
    history = History(0.1)
    pace = random.choice([60, 300])
    lateness = random.choice([0, 60, random.randint(0, 600)])
    now, shown, day = 60_000, random.randint(20, 150), 0
    around = 86_400 * random.randint(1, 2)
    at = around + random.choice([random.randint(-6000, -2700), lateness + random.randint(2 * pace, 6000)])
    happened = False
    history.read(now, shown)
    while now < 3.3 * 86_400:
        step = pace
        if not happened and now + pace >= at:
            happened = True
            step = {
                "silence": random.randint(1, 6) * 3600,
                "silent_day": random.randint(25, 40) * 3600,
                "freeze": random.randint(600, 2000 if at < around else 7200),
            }.get(event, pace)
            lie = {"dip": shown - random.randint(2, max(shown // 2, 2)), "zero": 0, "spike": shown + 9000}.get(event)
            if lie is not None and (event != "dip" or shown > 10):
                for _ in range(random.randint(1, 3)):
                    history.read(pace, lie)
                    now += pace
            if event == "freeze":
                for _ in range(step // pace):
                    history.read(pace, shown)
                    now += pace
                step = pace
        now += step
        today = (now - lateness) // 86_400
        most = 4 * 10 / 3600  # 4 kW, in steps
        if today > day and not (event == "missed" and today * 86_400 == around):
            before, shown = shown, int((now - today * 86_400) * most * random.random())
            shown += 1 if shown == before else 0
            history.counted += shown
        else:
            counted = int(step * most * random.random() + random.random() / 2)
            shown += counted
            history.counted += counted
        day = today
        history.read(step, shown)
    return history
