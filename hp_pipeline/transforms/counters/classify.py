"""Counters day by day: the calm stretches all at once, the others through `path`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hp_pipeline.transforms.counters.path import (
    FACTOR,
    HANDOVER,
    HORIZON,
    JUMP,
    NEVER,
    RESET,
    ROLL_OVER,
    ROLLBACK,
    SCHEDULED,
    STEP,
    WORD,
    Bounds,
    Way,
    best_path,
    other_device,
)
from hp_pipeline.transforms.counters.runs import PER_UNIT, Mark, Real, Runs, Truth, Whole, runs_of
from hp_pipeline.vocabulary.counters import Verdict

_BACK = 3
"""How many runs before one that cannot follow are weighed with it: what made it so may be one of them."""
_WITNESSES = 5
"""How many runs after it are weighed with it at least."""
_FEW_RUNS = 20
_MOST_RUNS = 250
"""How many at most; fewer are looked at first, and do where nothing has to be believed that counters seldom do."""
_CALM = 4
"""After so many steps in a row that count on, what lies before them is settled."""


@dataclass(frozen=True)
class Day:
    """One day of a counter.

    Attributes:
        start, end: in microseconds; increments that end in [start, end) are its own.
        until: end of the readings that are looked at for it, those that can tell that one of the day was wrong.
        more_follows: whether the readings up to `until` are all that are ever looked at; if not, the newest verdicts
            are provisional.
    """

    start: int
    end: int
    until: int
    more_follows: bool


@dataclass
class Classified:
    """What a counter counted, column by column; times in microseconds, numbers in millionths.

    Attributes:
        increments: `start`, `last_unchanged`, `end`, `increment`, `total`, `kind`, `provisional`; an increment of 0
            where it fell, leapt or began again and nothing can be taken of that.
        ledger: `time`, `until`, `kind`, `before`, `after`, `readings`, `increment_taken`, `provisional`, `factor`,
            `by_owner`.
        marks: for each day how the counter stood at its end; None before it was first read.
    """

    increments: list[dict[str, Whole | Truth]] = field(default_factory=list)
    ledger: list[dict[str, object]] = field(default_factory=list)
    marks: list[Mark | None] = field(default_factory=list)


INCREMENT_WORDS = (
    "step",
    "late",
    "scheduled",
    "reset",
    "roll_over",
    "factor",
    "owner",
    "rollback",
    "jump",
    "handover",
)
_STEP, _LATE, _SCHEDULED, _RESET, _ROLL_OVER, _FACTOR, _OWNER, _ROLLBACK, _JUMP, _HANDOVER = range(10)
_OF_KIND = {
    STEP: _STEP,
    SCHEDULED: _SCHEDULED,
    RESET: _RESET,
    ROLL_OVER: _ROLL_OVER,
    FACTOR: _FACTOR,
    ROLLBACK: _ROLLBACK,
    JUMP: _JUMP,
    HANDOVER: _HANDOVER,
}
_NOTHING_TAKEN = (SCHEDULED, RESET, ROLLBACK, JUMP, HANDOVER)
"""The kinds that tell nothing of what was counted meanwhile, where nothing is taken."""
_LEDGER_WORDS = {
    SCHEDULED: "scheduled",
    RESET: "reset",
    ROLL_OVER: "roll_over",
    ROLLBACK: "rollback",
    FACTOR: "factor",
    HANDOVER: "handover",
    JUMP: "jump",
}


def classify(
    time: Whole, shown: Whole, device: Whole, bounds: Bounds, days: Sequence[Day], mark: Mark | None
) -> Classified:
    """What a counter counted on each of the days.

    Args:
        time, shown, device: its readings in order of time, from the first day's start to the last one's `until`.
        days: in order. What is found on one depends on the mark before it and on its readings up to its `until`, and
            on nothing else, so that days may be done one by one or all at once.
        mark: how it stood before the first of the days.
    """
    found = Classified()
    whole = runs_of(time, shown, device, _cuts(bounds), mark)
    calm, due = bounds.is_calm(whole, whole.shown, _begun(mark))
    wild = np.flatnonzero(~calm) + 1
    for day in days:
        seen = np.searchsorted(time, [day.start, day.end])
        if seen[0] == seen[1]:
            found.marks.append(mark)
            continue
        mark = _calm_day(found, whole, due, wild, time, bounds, day, mark) or _any_day(
            found, time, shown, device, bounds, day, mark
        )
        found.marks.append(mark)
    return found


def _begun(mark: Mark | None) -> int:
    return NEVER if mark is None or mark.begun is None else mark.begun


def _cuts(bounds: Bounds) -> Whole:
    """Where a run ends although the number stays: from there on a counter has begun again, if it was to."""
    return bounds.schedule + bounds.late


def _calm_day(
    found: Classified,
    whole: Runs,
    due: Truth,
    wild: Whole,
    time: Whole,
    bounds: Bounds,
    day: Day,
    mark: Mark | None,
) -> Mark | None:
    """Do a day in which, up to its `until`, every run follows from the one before it; None when it is no such day."""
    begin, middle, stop = np.searchsorted(whole.first, [day.start, day.end, day.until]).tolist()
    base = max(begin - 1, 0)
    if middle <= base or (mark is None and begin > 0):
        return None
    if mark is not None and (
        begin == 0 or mark.scale != 1 or whole.shown[base] != mark.shown or whole.device[base] != mark.device
    ):
        return None
    if np.searchsorted(wild, base + 1) != np.searchsorted(wild, stop):
        return None
    moments = bounds.moment(whole.last[base : stop - 1], whole.first[base + 1 : stop])
    if (moments[due[base : stop - 1]] <= _begun(mark)).any():
        return None
    runs = whole.take(np.arange(base, middle))
    if mark is not None:
        runs.first[0] = mark.since
    kind = np.where(due[base : middle - 1], SCHEDULED, STEP)
    unsettled = middle - base if day.more_follows else max(stop - _BACK - base, 0)
    path = _Path(runs, runs.shown, np.concatenate([[STEP], kind]), np.ones(runs.size), unsettled, [])
    return _tell(found, path, time, bounds, day, mark)


@dataclass
class _Path:
    """The believed runs of a view.

    Attributes:
        runs: those that are believed.
        level: what they show in the unit of the first, in millionths.
        kind: how each follows from the one before it.
        scale: by which each is read.
        unsettled: from this run on later readings may change it.
        doubted: what was not believed, as ledger entries.
    """

    runs: Runs
    level: Whole
    kind: Whole
    scale: Real
    unsettled: int
    doubted: list[dict[str, object]]


def _any_day(
    found: Classified, time: Whole, shown: Whole, device: Whole, bounds: Bounds, day: Day, mark: Mark | None
) -> Mark | None:
    """Do a day by all its readings up to its `until`, weighing what cannot follow."""
    low, high = np.searchsorted(time, [day.start, day.until]).tolist()
    runs = runs_of(time[low:high], shown[low:high], device[low:high], _cuts(bounds), mark)
    if not runs.size:
        return mark
    if high - low > 1:
        bounds = replace(bounds, pace=int(np.median(np.diff(time[low:high]))))
    path = _Weighing(runs, bounds, mark).path(day.more_follows)
    return _tell(found, path, time, bounds, day, mark)


class _Weighing:
    """Finds the path through the runs of a view, stretch by stretch."""

    def __init__(self, runs: Runs, bounds: Bounds, mark: Mark | None) -> None:
        self.runs = runs
        self.bounds = bounds
        self.anchored = mark is not None
        self.begun = _begun(mark)
        self.start_scale = 1.0 if mark is None else mark.scale
        self.scale = np.full(runs.size, self.start_scale)
        self.kind = np.full(runs.size, STEP)
        self.weighed = np.zeros(runs.size, np.bool_)
        self.doubted: list[dict[str, object]] = []

    @property
    def level(self) -> Whole:
        """What the runs show, in the unit of the first."""
        return _level(self.runs.shown, self.scale)

    def path(self, more_follows: bool) -> _Path:
        """Weigh all there is to weigh."""
        self._drop_flutter()
        done = 0 if self.anchored else -1
        open_from = None
        while open_from is None:
            calm, due = self.bounds.is_calm(self.runs, self.level, self.begun)
            wild = np.flatnonzero(~calm) + 1
            wild = wild[wild > done]
            if not wild.size:
                break
            done, open_from = self._weigh(int(wild[0]), done, due)
        _, due = self.bounds.is_calm(self.runs, self.level, self.begun)
        self.kind[1:][due & ~self.weighed[1:]] = SCHEDULED
        unsettled = self.runs.size
        if not more_follows:
            newest = max(self.runs.size - _BACK, 0)
            unsettled = newest if open_from is None else min(open_from, newest)
        return _Path(self.runs, self.level, self.kind, self.scale, unsettled, self.doubted)

    def _begun_at(self, run: int, due: Truth) -> int:
        """The instant at which the counter had last begun again at a run."""
        again = np.where(self.weighed[1 : run + 1], self.kind[1 : run + 1] == SCHEDULED, due[:run])
        last = np.flatnonzero(again)[-1:]
        moments = self.bounds.moment(self.runs.last[last], self.runs.first[last + 1])
        return int(moments[0]) if moments.size else self.begun

    def _weigh(self, wild: int, done: int, due: Truth) -> tuple[int, int | None]:
        """Weigh the stretch around a run that cannot follow.

        Args:
            done: the last run that is settled.
            due: for each run but the first whether it is a reset that was due, if it is not weighed.

        Returns:
            The last run that is settled now; and where the weighing began, if it went on to the last of the readings.
        """
        runs = self.runs
        start = max(done, wild - 1 - _BACK, 0)
        reach = int(np.searchsorted(runs.first, runs.first[wild] + HORIZON, side="right"))
        most = min(max(reach, wild + 1 + _WITNESSES), wild + _MOST_RUNS, runs.size)
        anchored = self.anchored or done >= 0 or start > 0
        begun = self._begun_at(start, due)
        for stop in sorted({min(wild + _FEW_RUNS, most), most}):
            ways = best_path(runs, self.bounds, start, stop, float(self.scale[start]), begun, anchored)
            calm = _calm_again(ways, wild)
            if calm is not None and all(way.kind == STEP for way in ways[:calm]):
                break  # it only lied for a while: what comes later does not matter
        to_end = stop == runs.size
        if not to_end:
            ways = ways[: _halfway(ways, wild) if calm is None else calm]
            if not ways or ways[-1].run < wild:
                # All that follows within the horizon is doubted: this one is, and the next is asked anew.
                self._keep(np.delete(np.arange(runs.size), wild), [(wild, wild + 1)])
                return wild - 1, None
        last = ways[-1].run if ways else start
        for way in ways:
            self.kind[way.run] = way.kind
            self.weighed[way.run] = True
            self.scale[way.run :] = way.scale
        believed = {start} if anchored else set()
        believed |= {way.run for way in ways}
        end = stop if to_end else last + 1
        kept = np.array([run for run in range(runs.size) if run < start or run >= end or run in believed], np.int64)
        self._keep(kept, _holes(believed, start, end))
        return last - (last - start + 1 - len(believed)), start if to_end else None

    def _keep(self, kept: Whole, holes: list[tuple[int, int]]) -> None:
        for low, high in holes:
            self._doubt(low, high)
        self.runs = self.runs.take(kept)
        self.scale, self.kind, self.weighed = self.scale[kept], self.kind[kept], self.weighed[kept]

    def _doubt(self, low: int, high: int) -> None:
        """Write down that the runs [low, high) are not believed."""
        runs, level = self.runs, self.level
        before = int(level[low - 1]) if low > 0 else None
        after = int(level[high]) if high < runs.size else None
        for run in range(low, high):
            self.doubted.append(
                {
                    "time": int(runs.first[run]),
                    "until": int(runs.last[run]),
                    "kind": self._name(int(runs.shown[run]), int(level[run]), before, after),
                    "before": before,
                    "after": int(runs.shown[run]),
                    "readings": int(runs.count[run]),
                    "increment_taken": 0,
                    "factor": None,
                    "by_owner": False,
                }
            )

    def _name(self, shown: int, level: int, before: int | None, after: int | None) -> str:
        near = [mark for mark in (before, after) if mark is not None]
        if shown in self.bounds.stand_ins:
            return "sentinel"
        words = [PER_UNIT * factor for factor in (1, 1000)]
        if self.bounds.rule.resolution is not None:
            words.append(round(65536 * self.bounds.rule.resolution * PER_UNIT))
        for word in words:
            if word > 10 * self.bounds.fine and any(
                abs(abs(level - mark) - word) <= max(10 * self.bounds.fine, word / 1000) for mark in near
            ):
                return "torn_read"
        return "dip" if near and level < max(near) and (before is None or level < before) else "spike"

    def _drop_flutter(self) -> None:
        """Leave out the runs that fall behind the greatest number by no more than one step."""
        runs, level = self.runs, self.level
        if runs.size < 2:
            return
        calm, due = self.bounds.is_calm(runs, level, self.begun)
        fall = level[:-1] - level[1:]
        parts = (
            due | (~calm & (fall <= 0)) | (fall > self.bounds.flutter) | other_device(runs.device[:-1], runs.device[1:])
        )
        part = np.concatenate([[0], np.cumsum(parts)])
        low = int(level.min())
        span = int(level.max()) - low + 1
        highest = np.maximum.accumulate(level - low + part * span) - part * span + low
        flutters = (level < highest) & (highest - level <= self.bounds.flutter)
        if not flutters.any():
            return
        for run in np.flatnonzero(flutters).tolist():
            self.doubted.append(
                {
                    "time": int(runs.first[run]),
                    "until": int(runs.last[run]),
                    "kind": "dip",
                    "before": int(highest[run]),
                    "after": int(runs.shown[run]),
                    "readings": int(runs.count[run]),
                    "increment_taken": 0,
                    "factor": None,
                    "by_owner": False,
                }
            )
        kept = np.flatnonzero(~flutters)
        following = np.append(kept[1:], runs.size)
        last = runs.last[following - 1]
        self.runs = Runs(runs.first[kept], last, runs.count[kept], runs.shown[kept], runs.device[kept])
        self.scale, self.kind, self.weighed = self.scale[kept], self.kind[kept], self.weighed[kept]


def _level(shown: Whole, scale: Real) -> Whole:
    return shown if (scale == 1).all() else np.rint(shown * scale).astype(np.int64)


def _calm_again(ways: list[Way], wild: int) -> int | None:
    """How many of the ways lead to where the run that cannot follow is explained and calm has come back."""
    for place in range(_explained(ways, wild), len(ways) - _CALM):
        following = ways[place + 1 : place + 1 + _CALM]
        if all(way.kind == STEP and way.run == ways[place].run + ahead for ahead, way in enumerate(following, start=1)):
            return place + 1
    return None


def _halfway(ways: list[Way], wild: int) -> int:
    return max(len(ways) // 2, _explained(ways, wild) + 1)


def _explained(ways: list[Way], wild: int) -> int:
    return next((place for place, way in enumerate(ways) if way.run >= wild), len(ways))


def _holes(believed: set[int], start: int, end: int) -> list[tuple[int, int]]:
    """The stretches between the believed runs of [start, end)."""
    holes = []
    low = None
    for run in range(start, end + 1):
        if run < end and run not in believed:
            low = run if low is None else low
        elif low is not None:
            holes.append((low, run))
            low = None
    return holes


def _tell(found: Classified, path: _Path, time: Whole, bounds: Bounds, day: Day, mark: Mark | None) -> Mark | None:
    """Add what was counted on the day; returns how the counter stands at its end."""
    runs, level, kind = path.runs, path.level, path.kind
    if not runs.size:
        return mark
    increment = np.zeros(runs.size, np.int64)
    words = _words(runs, kind, bounds)
    increment[1:] = _counted(level, kind, words, bounds)
    kind_of = np.full(runs.size, -1)
    for way, word in _OF_KIND.items():
        kind_of[kind == way] = word
    kind_of[list(words)] = _OWNER
    silent = runs.first[1:] - runs.last[:-1]
    kind_of[1:][(kind[1:] == STEP) & (increment[1:] > bounds.reachable(silent))] = _LATE
    changed = (increment != 0) | (kind != STEP)
    changed[0] = False
    since = runs.first[np.maximum.accumulate(np.where(changed, np.arange(runs.size), 0))]
    own = (runs.first >= day.start) & (runs.first < day.end)
    own[0] = False
    untaken = np.isin(kind, _NOTHING_TAKEN)
    untaken[[run for run, word in words.items() if word == "count"]] = False
    rows = np.flatnonzero(own & ((increment > 0) | untaken))
    found.increments.append(
        {
            "start": since[rows - 1],
            "last_unchanged": runs.last[rows - 1],
            "end": runs.first[rows],
            "increment": increment[rows],
            "total": level[rows],
            "kind": kind_of[rows],
            "provisional": rows >= path.unsettled,
        }
    )
    open_from = int(runs.first[path.unsettled]) if path.unsettled < runs.size else day.until
    entries = [entry for entry in path.doubted if day.start <= int(entry["time"]) < day.end]  # type: ignore[call-overload]
    for run in np.flatnonzero(own & (kind != STEP)).tolist():
        entries.append(
            {
                "time": int(runs.first[run]),
                "until": int(runs.first[run]),
                "kind": _named(int(kind[run]), words.get(run), int(level[run] - level[run - 1])),
                "before": int(level[run - 1]),
                "after": int(runs.shown[run]),
                "readings": 0,
                "increment_taken": int(increment[run]),
                "factor": float(path.scale[run] / path.scale[run - 1]) if kind[run] == FACTOR else None,
                "by_owner": run in words,
            }
        )
    found.ledger += [
        entry | {"provisional": not day.more_follows and int(entry["time"]) >= open_from}  # type: ignore[call-overload]
        for entry in entries
    ]
    last = int(np.searchsorted(runs.first, day.end)) - 1
    if last < 0:
        return mark
    read = int(runs.last[last])
    if read >= day.end:
        read = int(time[int(np.searchsorted(time, day.end)) - 1])
    again = np.flatnonzero(kind[: last + 1] == SCHEDULED)[-1:]
    moments = bounds.moment(runs.last[again - 1], runs.first[again])
    begun = int(moments[0]) if moments.size else None if mark is None else mark.begun
    return Mark(read, int(since[last]), int(runs.shown[last]), float(path.scale[last]), int(runs.device[last]), begun)


def _words(runs: Runs, kind: Whole, bounds: Bounds) -> dict[int, Verdict]:
    """The runs of which the owner has said how they follow."""
    numbers = runs.device // WORD
    told = np.flatnonzero((kind[1:] == HANDOVER) & (numbers[1:] != numbers[:-1])) + 1
    return {run: bounds.words[int(numbers[run]) - 1] for run in told.tolist()}


def _named(kind: int, word: Verdict | None, rise: int) -> str:
    if word is None:
        return _LEDGER_WORDS[kind]
    return {"reset": "reset", "count": "counted"}.get(word, "jump" if rise > 0 else "rollback")


def _counted(level: Whole, kind: Whole, words: Mapping[int, Verdict], bounds: Bounds) -> Whole:
    """What was counted with each run but the first."""
    rise = level[1:] - level[:-1]
    begun = (kind[1:] == SCHEDULED) | (kind[1:] == RESET)
    counted = np.where(begun, level[1:], np.where(kind[1:] == STEP, rise, 0))
    counted = np.where(kind[1:] == FACTOR, np.maximum(rise, 0), counted)
    for run in np.flatnonzero(kind[1:] == ROLL_OVER).tolist():
        rests = [limit + int(rise[run]) for limit, _, _ in bounds.roll_overs]
        counted[run] = min(rest for rest in rests if rest >= 0)
    for run, word in words.items():
        counted[run - 1] = {"reset": level[run], "count": max(rise[run - 1], 0)}.get(word, 0)
    return counted
