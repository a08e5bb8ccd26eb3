"""What a stage is: which partitions are due, how they are made and stored, and what is told of it."""

from __future__ import annotations

import bisect
import hashlib
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import chain, islice
from typing import ClassVar

import polars as pl

from hp_pipeline.assets.workspace import Plant
from hp_pipeline.lake import DamagedPartitionError, Lake, Receipt
from hp_pipeline.transforms import calendar
from hp_pipeline.transforms.calendar import PeriodName
from hp_pipeline.transforms.floors import Known
from hp_pipeline.transforms.schema import UTC as UTC_TIME
from hp_pipeline.vocabulary.tables.standstill import OFFSET_DAYS

log = logging.getLogger(__name__)

STRETCH_MONTHS = 1
"""How many months are computed at once: it bounds the memory, not the result. They end where months do, as files do."""

MADE_AT_ONCE = 2
"""How many stretches are computed beside each other, while one is stored: what Python does between the calls of polars
leaves a processor idle, as do encoding and the disk. A year's tables take a tenth less time, and 100 MB more."""

Made = Mapping[str, Mapping[str, pl.DataFrame]]
"""The rows of partitions, by table and key."""

Progress = Callable[[int], None]
"""Called with the number of partitions that have just been dealt with."""


@dataclass
class Outcome:
    """What bringing a stage up to date did.

    Attributes:
        stored: partitions written, by table and key, with their receipts.
        changed: keys of the partitions whose content is another than before.
        kept: number of partitions that were up to date already.
        failed: partitions that could not be made, with the reason; the others are done all the same.
        doubts: readings that were not believed or not understood (see `transforms.decode.Decoded`).
        ambiguous: signals for which one selector finds several points, with those points.
    """

    stored: dict[str, dict[str, Receipt]] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    kept: int = 0
    failed: dict[str, Exception] = field(default_factory=dict)
    doubts: list[tuple[str, str, str, str, int]] = field(default_factory=list)
    ambiguous: dict[str, list[str]] = field(default_factory=dict)

    def add(self, other: Outcome) -> None:
        """What was told elsewhere of other partitions of the stage."""
        for table, receipts in other.stored.items():
            self.stored.setdefault(table, {}).update(receipts)
        self.changed |= other.changed
        self.kept += other.kept
        self.failed |= other.failed
        self.doubts += other.doubts
        self.ambiguous |= other.ambiguous

    def raise_failures(self) -> None:
        """Raise what failed, all of it by name.

        Raises:
            StageError: when a partition could not be made.
        """
        if self.failed:
            raise StageError(self.failed)


class StageError(RuntimeError):
    """Partitions that could not be made; every other one was."""

    def __init__(self, failed: Mapping[str, Exception]) -> None:
        listed = "; ".join(f"{key}: {error}" for key, error in list(failed.items())[:5])
        more = f" (and {len(failed) - 5} more)" if len(failed) > 5 else ""
        super().__init__(f"{len(failed)} partitions could not be made, all others were. {listed}{more}")
        self.failed = dict(failed)


class Listing:
    """The stored partitions of the assets, listed once and kept as stages write and remove: thousands of folders are
    not looked through again for each stage."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._keys: dict[str, list[str]] = {}

    def keys(self, asset: str) -> list[str]:
        """The stored partitions of an asset, ascending."""
        if asset not in self._keys:
            self._keys[asset] = self._lake.keys(asset)
        return self._keys[asset]

    def stored(self, asset: str, keys: Iterable[str]) -> None:
        """Partitions were written."""
        if asset not in self._keys:
            return
        listed = self._keys[asset]
        for key in keys:
            place = bisect.bisect_left(listed, key)
            if listed[place : place + 1] != [key]:
                listed.insert(place, key)

    def removed(self, asset: str, key: str) -> None:
        """A partition was taken away."""
        if key in self._keys.get(asset, ()):
            self._keys[asset].remove(key)


class Stage(ABC):
    """One step of a plant's way from readings to figures.

    A subclass says its tables, which partitions they have, what each is made from, and how. An instance looks at the
    tables before it once: make a new one each time that a stage is to be brought up to date. The stages of one time
    share a listing.
    """

    tables: ClassVar[tuple[str, ...]]
    version: ClassVar[int] = 1
    """Raised when the code makes something else from the same inputs."""
    stretch_factor: ClassVar[int] = 1
    """So many times `STRETCH_MONTHS` are computed at once: more where a day is a few rows."""

    def __init__(self, plant: Plant, listing: Listing | None = None) -> None:
        self.plant = plant
        self.lake = plant.lake
        self._listing = listing or Listing(plant.lake)
        self._receipts: dict[tuple[str, str], Receipt | None] = {}

    def listed(self, asset: str) -> list[str]:
        """The stored partitions of an asset, ascending."""
        return self._listing.keys(asset)

    def has(self, asset: str, key: str) -> bool:
        """Whether a partition is stored."""
        listed = self.listed(asset)
        place = bisect.bisect_left(listed, key)
        return place < len(listed) and listed[place] == key

    def receipt(self, asset: str, key: str) -> Receipt | None:
        """The receipt of a partition that this stage is made from, as it was when first asked for."""
        if (asset, key) not in self._receipts:
            self._receipts[asset, key] = self.lake.receipt(asset, key)
        return self._receipts[asset, key]

    @cached_property
    def stored(self) -> list[str]:
        """The partitions that this stage has made before, ascending, as they were when first asked for."""
        first, *others = (self.listed(self.asset(table)) for table in self.tables)
        return list(first) if all(other == first for other in others) else sorted({*first, *chain(*others)})

    @cached_property
    def reach(self) -> int:
        """How many days on a reading may still change a figure: it may be held, and it may tell an offset."""
        return self.held_days + (OFFSET_DAYS if self.plant.unzeroed_because is None else 0)

    @cached_property
    def held_days(self) -> int:
        """How many days on a reading may still be held, or may tell that one before it was a spike."""
        mappings = chain.from_iterable(profile.mappings.values() for _, profile in self.plant.inputs)
        longest = max((mapping.max_age for mapping in mappings), default=timedelta())
        return max(1, -(-longest // timedelta(days=1)))

    @cached_property
    def known(self) -> Known:
        """From the start of the plant's oldest frame to the end of its newest."""
        asset = self.asset(self.plant.frames)
        return Known(
            since=self._frame_time(asset, self.listed(asset), "start"),
            until=self._frame_time(asset, reversed(self.listed(asset)), "end"),
        )

    def _frame_time(self, asset: str, keys: Iterable[str], column: str) -> datetime | None:
        for key in keys:
            try:
                rows = self.lake.read(asset, [key], columns=[column])
            except DamagedPartitionError:
                continue  # it fails whatever is made from it, and that alone
            if rows is not None and rows.height:
                moment: datetime = rows[column].min() if column == "start" else rows[column].max()  # type: ignore[assignment]
                return moment
        return None

    def known_within(self, start: datetime, end: datetime) -> Known:
        """As `known`, without the ends that do not lie within the period: they do not matter to it."""
        since, until = self.known.since, self.known.until
        return Known(
            since if since is not None and since > start else None,
            until if until is not None and until < end else None,
        )

    def first_day(self, name: PeriodName, day: date) -> date:
        """The first day of the period of the house's calendar that a local day lies in."""
        return calendar.first_day(name, day, self.plant.season_starts)

    def known_in_period(self, name: PeriodName, key: str) -> Known:
        """As `known_within`, for a local day, week, month or year by its first day."""
        zone = self.plant.time_zone
        until = calendar.next_period(name, day_of(key))
        return self.known_within(calendar.day_start(day_of(key), zone), calendar.day_start(until, zone))

    def more_frames_follow(self, key: str) -> bool:
        """Whether there is a frame on a later day."""
        return self._newest_framed > key

    @cached_property
    def _newest_framed(self) -> str:
        asset = self.asset(self.plant.frames)
        receipts = ((key, self.receipt(asset, key)) for key in reversed(self.listed(asset)))
        return next((key for key, receipt in receipts if receipt is not None and receipt.rows), "")

    def asset(self, table: str) -> str:
        """The lake's path of this plant's part of a table."""
        return f"{table}/{self.plant.id}"

    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """The partitions to look at, ascending: those that there are to have, and those stored that there are not
        any more. When `first` and `last` are given, those only that readings of these UTC days can touch."""
        if first is None or last is None:
            return sorted(self.candidates(None, None) | set(self.stored))
        chosen = self.candidates(first, last) | self._ends(first, last)
        return sorted(key for key in chosen if self.is_wanted(key) or self.is_stored(key))

    def is_stored(self, key: str) -> bool:
        """Whether the stage has made this partition before."""
        return any(self.has(self.asset(table), key) for table in self.tables)

    def _ends(self, first: date, last: date) -> set[str]:
        """The first and the last partitions made before, and the one after them. That they were the first or the last
        is in them (the newest frame is short, nothing before the oldest is missed), and newer or older readings, from
        however far off, change it."""
        ends = {*self.stored[:2], *self.stored[-2:]}
        return ends | {shifted(key, 1) for key in self.stored[-1:]}

    def _around_filled(self, keys: Sequence[str]) -> set[str]:
        """The first of the keys whose partition of the stage's first table has rows, and those beside it."""
        asset = self.asset(self.tables[0])
        for index, key in enumerate(keys):
            receipt = self.lake.receipt(asset, key)
            if receipt is not None and receipt.rows:
                return set(keys[max(index - 1, 0) : index + 2])
        return set()

    @abstractmethod
    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """At least all partitions that there are to have; within a range, those that its readings touch directly."""

    @abstractmethod
    def is_wanted(self, key: str) -> bool:
        """Whether there is such a partition to have."""

    @abstractmethod
    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        """The partitions (asset, key) that a partition is made from."""

    @abstractmethod
    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        """Compute neighbouring partitions: by table, by key. A partition that is left out is not stored."""

    def shape(self, key: str) -> str:
        """What besides the inputs decides the content of a partition."""
        return ""

    def stretches(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """The keys cut into the runs of neighbours that are computed at once."""
        stretch: list[str] = []
        for key in keys:
            if stretch and not self.belongs(key, stretch):
                yield stretch
                stretch = []
            stretch.append(key)
        if stretch:
            yield stretch

    def belongs(self, key: str, stretch: Sequence[str]) -> bool:
        """Whether a day may be computed at once with the days of a stretch: it is the next one, of its months."""
        months = STRETCH_MONTHS * self.stretch_factor
        return key == shifted(stretch[-1], 1) and _month(key) // months == _month(stretch[0]) // months

    def fingerprint(self, key: str) -> str:
        """What a partition's receipt says of its inputs when it is up to date."""
        digest = hashlib.sha256(f"{type(self).__name__} {self.version} {self.shape(key)}".encode())
        for asset, part in self.inputs(key):
            receipt = self.receipt(asset, part)
            digest.update(f"\n{asset} {part} {receipt.content if receipt else '-'}".encode())
        return digest.hexdigest()[:32]

    def due(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys that must be made (again), or be taken away."""
        return [
            key
            for key in keys
            if (not self._is_current(key, self.fingerprint(key)) if self.is_wanted(key) else self.is_stored(key))
        ]

    def _is_current(self, key: str, fingerprint: str) -> bool:
        for table in self.tables:
            receipt = self.lake.receipt(self.asset(table), key)
            if receipt is None or receipt.inputs != fingerprint:
                return False
        return True

    def bring_up_to_date(
        self, keys: Sequence[str], force: bool = False, progress: Progress = lambda count: None
    ) -> Outcome:
        """Make those of the partitions that are due, or all of them if forced.

        A partition that cannot be made does not keep the others from it; it is in `Outcome.failed`.
        """
        outcome = Outcome()
        wanted = [key for key in keys if self.is_wanted(key)]
        for key in sorted(set(keys) - set(wanted)):
            self._remove(key, outcome)
        fingerprints = {key: self.fingerprint(key) for key in wanted}
        due = [key for key in wanted if force or not self._is_current(key, fingerprints[key])]
        outcome.kept = len(wanted) - len(due)
        progress(len(keys) - len(due))
        stretches = list(self.stretches(due))
        if len(stretches) == 1:
            self._make_and_store(stretches[0], fingerprints, outcome)
            progress(len(stretches[0]))
        elif stretches:
            self._make_ahead(stretches, fingerprints, outcome, progress)
        return outcome

    def _make_ahead(
        self,
        stretches: Sequence[Sequence[str]],
        fingerprints: Mapping[str, str],
        outcome: Outcome,
        progress: Progress,
    ) -> None:
        """Make the next stretches while one is stored, and tell of each in its order."""
        waiting = iter(stretches)
        with ThreadPoolExecutor(max_workers=MADE_AT_ONCE, thread_name_prefix="make") as making:

            def begun(
                stretch: Sequence[str],
            ) -> tuple[Sequence[str], Outcome, Future[list[tuple[Sequence[str], Made]]]]:
                told = Outcome()
                return stretch, told, making.submit(self._made, stretch, told)

            under_way = deque(begun(stretch) for stretch in islice(waiting, MADE_AT_ONCE))
            while under_way:
                stretch, told, made = under_way.popleft()
                tables = made.result()
                under_way.extend(begun(following) for following in islice(waiting, 1))
                outcome.add(told)
                self._store_all(tables, fingerprints, outcome)
                progress(len(stretch))

    def _remove(self, key: str, outcome: Outcome) -> None:
        for table in self.tables:
            if self.lake.receipt(self.asset(table), key) is not None:
                outcome.changed.add(key)
            self.lake.remove(self.asset(table), key)
            self._listing.removed(self.asset(table), key)

    def _make_and_store(self, stretch: Sequence[str], fingerprints: Mapping[str, str], outcome: Outcome) -> None:
        self._store_all(self._made(stretch, outcome), fingerprints, outcome)

    def _made(self, stretch: Sequence[str], outcome: Outcome) -> list[tuple[Sequence[str], Made]]:
        """What the partitions of a stretch hold; one by one where they cannot be made at once, without those that
        cannot be made at all."""
        try:
            return [(stretch, self.make(stretch, outcome))]
        except Exception as error:
            if len(stretch) > 1:
                return [part for key in stretch for part in self._made([key], outcome)]
            log.exception("%s of %s cannot be made", self.asset(self.tables[0]), stretch[0])
            outcome.failed[stretch[0]] = error
            return []

    def _store_all(
        self, made: Iterable[tuple[Sequence[str], Made]], fingerprints: Mapping[str, str], outcome: Outcome
    ) -> None:
        for stretch, tables in made:
            self._store(stretch, tables, fingerprints, outcome)

    def _store(
        self,
        stretch: Sequence[str],
        made: Made,
        fingerprints: Mapping[str, str],
        outcome: Outcome,
    ) -> None:
        for table in self.tables:
            before = self.lake.receipts(self.asset(table), stretch)
            parts = {key: frame for key, frame in made.get(table, {}).items() if key in fingerprints}
            stored = self.lake.write_many(self.asset(table), parts, fingerprints)
            outcome.stored.setdefault(table, {}).update(stored)
            self._listing.stored(self.asset(table), stored)
            for key in stretch:
                old, new = before.get(key), stored.get(key)
                if new is None and old is not None:
                    self.lake.remove(self.asset(table), key)
                    self._listing.removed(self.asset(table), key)
                if (old.content if old else None) != (new.content if new else None):
                    outcome.changed.add(key)


def _month(key: str) -> int:
    """Months since the year 0."""
    return 12 * int(key[:4]) + int(key[5:7]) - 1


def day_of(key: str) -> date:
    return date.fromisoformat(key)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def shifted(key: str, days: int) -> str:
    return (day_of(key) + timedelta(days=days)).isoformat()


def between(keys: Sequence[str], first: date | None, last: date | None, margin: int) -> Sequence[str]:
    """Of keys in ascending order those within the days and `margin` around them; all when no days are given."""
    if first is None or last is None:
        return keys
    low, high = (first - timedelta(days=margin)).isoformat(), (last + timedelta(days=margin)).isoformat()
    return keys[bisect.bisect_left(keys, low) : bisect.bisect_right(keys, high)]


def by_day(frame: pl.DataFrame, keys: Sequence[str], time: str = "start") -> dict[str, pl.DataFrame]:
    """The rows whose `time` lies on each of the days, sorted by it."""
    frame = frame.sort(time, maintain_order=True)
    midnights = pl.Series([midnight(day_of(key)) for key in keys], dtype=UTC_TIME)
    starts = frame.get_column(time)
    first = starts.search_sorted(midnights, side="left")
    behind = starts.search_sorted(midnights.dt.offset_by("1d"), side="left")
    return {key: frame.slice(low, high - low) for key, low, high in zip(keys, first, behind, strict=True)}
