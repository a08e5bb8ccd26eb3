"""Histories of counters of which it is known what was counted, and what befell them."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    """

    step: float
    time: list[int] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)
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
    return classify(time, shown, np.zeros(time.size, np.int64), bounds, views, None)


def total(found: Classified) -> int:
    """What was counted, in millionths."""
    return sum(int(part["increment"].sum()) for part in found.increments)


def kinds(found: Classified) -> list[str]:
    """What the ledger says, in order of time."""
    entries = sorted(found.ledger, key=lambda entry: int(str(entry["time"])))
    return [str(entry["kind"]) for entry in entries]


PASSING = ("dip", "dip_to_zero", "spike", "sentinel", "torn_read")
LASTING = ("reset", "rollback", "jump", "outage")


@st.composite
def histories(draw: st.DrawFn, events: tuple[str, ...]) -> tuple[History, CounterRule]:
    """A counter that counts at any pace up to its most, and to which some things happen, at least twelve readings
    apart, and farther than the horizon from what lasts."""
    step = draw(st.sampled_from([0.001, 0.01, 0.1, 1.0]))
    pace = draw(st.sampled_from([30, 60, 300]))
    most = 40.0
    rule = CounterRule(most, step, rolls_over_at=1e8)
    history = History(step)
    can = int(most * pace / 3600 / step)  # whole steps between two readings
    level = draw(st.integers(int(60 / step), int(9000 / step)))

    def count_on(readings: int, after: int = pace, apart: int = pace) -> int:
        nonlocal level
        before = level
        for place in range(readings):
            if place > 4:  # until then it is not sure what has happened
                level += draw(st.integers(0, can)) if draw(st.booleans()) else 0
            history.read(after if not place else apart, level)
        return level - before

    history.counted += count_on(draw(st.integers(12, 16)))
    for _ in range(draw(st.integers(1, 4))):
        event = draw(st.sampled_from(events))
        if event in {"reset", "rollback"} and level * step < 5:
            continue  # what falls from so little by so little may be anything
        if history.befell and {event, history.befell[-1]} & {*LASTING}:
            history.counted += count_on(14, 1800, 1800)
        history.befell.append("dip" if event == "dip_to_zero" else event)
        after = pace
        lasts = draw(st.integers(1, 3))
        high = int(1.5 * most * max(history.time[-1], 3600) / 3600 / step) + 10
        if event == "dip":
            low = level - draw(st.integers(2, max(level // 3, 3)))
            for _ in range(lasts):
                history.read(pace, low)
        elif event == "dip_to_zero":
            for _ in range(lasts):
                history.read(pace, 0)
        elif event == "spike":
            for _ in range(lasts):
                history.read(pace, level + high + draw(st.integers(0, 1000)))
        elif event == "sentinel":
            for _ in range(draw(st.integers(1, 8))):
                history.read(pace, round(32768 / min(step, 1)))
        elif event == "torn_read":
            for _ in range(lasts):
                history.read(pace, (level + round(1000 / step)))
        elif event == "reset":
            level = draw(st.integers(0, max(int(0.3 / step), 1)))
            history.counted += level
        elif event == "rollback":
            after = draw(st.integers(100, 180)) * 60
            level -= draw(st.integers(2, max(level // 3, 3)))
        elif event == "jump":
            before = level
            level = max(history.shown) + high + draw(st.integers(0, 1000))  # beyond what a dip could return to
            while any(0.9 * factor < level / max(before, 1) < 1.1 * factor for factor in (3, 10, 100, 1000)):
                level += before // 2 + 1  # that would be another unit
        elif event == "outage":
            after = draw(st.integers(2, 200)) * pace
            counted = draw(st.integers(0, int(most * after / 3600 / step)))
            level += counted
            history.counted += counted
        history.counted += count_on(draw(st.integers(12, 16)), after)
    return history, rule
