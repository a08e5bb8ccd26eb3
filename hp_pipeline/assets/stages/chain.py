"""A stage whose days hand something on: each day is made from its inputs and from what the day before it ends with.

So a state that has lasted for months costs a new day no more than one that began in it. What is handed on is a part of
the day's fingerprint; a late reading changes the days behind it as far as what they are handed changes, and no further.
"""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from datetime import date

import polars as pl

from hp_pipeline.assets.stages.stage import Outcome, Progress, Stage, shifted
from hp_pipeline.lake import DamagedPartitionError

log = logging.getLogger(__name__)


class ChainStage(Stage):
    """A `Stage` partitioned by UTC day whose partitions are made one after the other."""

    _handed: dict[str, tuple[str, pl.DataFrame]]

    @abstractmethod
    def handed_on(self, rows: pl.DataFrame | None) -> pl.DataFrame:
        """What a day's rows of the first table (None: it has none) hand on to the next day, sorted."""

    def handed_to(self, key: str) -> pl.DataFrame:
        """What a day is handed by the one before it."""
        return self._handed_by(shifted(key, -1))[1]

    def fingerprint(self, key: str) -> str:
        """The fingerprint of the inputs, then that of what the day is handed."""
        return self._of_inputs(key) + self._handed_by(shifted(key, -1))[0]

    def _of_inputs(self, key: str) -> str:
        return super().fingerprint(key)

    def _handed_by(self, key: str) -> tuple[str, pl.DataFrame]:
        if not hasattr(self, "_handed"):
            self._handed = {}
        if key not in self._handed:
            try:
                rows = self.lake.read(self.asset(self.tables[0]), [key]) if self.is_stored(key) else None
            except DamagedPartitionError:
                rows = None  # it is made anew when it is due; until then nothing is known of it
            self._remember(key, rows)
        return self._handed[key]

    def _remember(self, key: str, rows: pl.DataFrame | None) -> None:
        handed = self.handed_on(rows)
        # Of the values, not of the file: only what the next day is made from is to make it due.
        self._handed[key] = (hashlib.sha256(repr(handed.rows()).encode()).hexdigest()[:16], handed)

    def bring_up_to_date(
        self, keys: Sequence[str], force: bool = False, progress: Progress = lambda count: None
    ) -> Outcome:
        """As `Stage.bring_up_to_date`, and also the days behind them, as far as what they are handed has changed."""
        outcome = Outcome()
        asked = set(keys)
        waiting = sorted(asked)
        self._handed = {}
        while waiting:
            stretch = self._next_stretch(waiting, asked if force else set())
            if not stretch:
                key = waiting.pop(0)
                if self.is_wanted(key):
                    outcome.kept += 1
                else:
                    self._remove(key, outcome)
                    self._changed(key, None, waiting)
            else:
                del waiting[: len(stretch)]
                self._make_stretch(stretch, waiting, outcome)
            progress(len(asked & set(stretch or [key])))
        return outcome

    def _next_stretch(self, waiting: Sequence[str], forced: set[str]) -> list[str]:
        """The first of the waiting days, if it is due, and its neighbours that are due whatever they are handed."""
        first = waiting[0]
        if not self.is_wanted(first) or not (first in forced or not self._is_current(first, self.fingerprint(first))):
            return []
        stretch = [first]
        for key in waiting[1:]:
            if not self.belongs(key, stretch) or not self.is_wanted(key):
                break
            if key not in forced and not self._is_due_by_inputs(key):
                break
            stretch.append(key)
        return stretch

    def _is_due_by_inputs(self, key: str) -> bool:
        wanted = self._of_inputs(key)
        receipts = [self.lake.receipt(self.asset(table), key) for table in self.tables]
        return any(receipt is None or not receipt.inputs.startswith(wanted) for receipt in receipts)

    def _make_stretch(self, stretch: Sequence[str], waiting: list[str], outcome: Outcome) -> None:
        try:
            made = self.make(stretch, outcome)
        except Exception as error:
            if len(stretch) > 1:
                for key in stretch:
                    self._make_stretch([key], waiting, outcome)
                return
            log.exception("%s of %s cannot be made", self.asset(self.tables[0]), stretch[0])
            outcome.failed[stretch[0]] = error
            return
        fingerprints = {}
        for key in stretch:
            fingerprints[key] = self.fingerprint(key)
            self._changed(key, made[self.tables[0]].get(key), waiting)
        self._store(stretch, made, fingerprints, outcome)

    def _changed(self, key: str, rows: pl.DataFrame | None, waiting: list[str]) -> None:
        """Remember what a day hands on, and have the next one looked at."""
        self._remember(key, rows)
        behind = shifted(key, 1)
        place = bisect_left(waiting, behind)
        if waiting[place : place + 1] != [behind] and self.is_stored(behind):
            insort(waiting, behind)


AHEAD = 14
"""So many stored days behind a range are looked at: what is handed on may leave some of them as they were."""


class BehindChainStage(Stage):
    """A stage that is made from one whose days hand something on: within a range, that reaches further than it."""

    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """Within a range, also the stored days behind it that are due: of the next `AHEAD`, and on while they are."""
        chosen = super().keys(first, last)
        if last is None:
            return chosen
        days = set(chosen)
        behind = self.stored[bisect_right(self.stored, last.isoformat()) :]
        for number, key in enumerate(behind):
            if key in days:
                continue
            if self.due([key]):
                days.add(key)
            elif number >= AHEAD:
                break
        return sorted(days)
