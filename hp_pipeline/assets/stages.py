"""The stages between readings and figures, each bringing partitions of its tables up to date.

A partition is *due* when the fingerprint of its inputs (the content of the partitions it is made from, the rules and
profiles that shape it, the version of the code) is not the one in its receipt. Making it again gives the same content,
so the order in which days arrive, repeats, late readings and deleted partitions all end in the same tables; and where
the content does not change, nothing further down is due.
"""

from __future__ import annotations

import bisect
import hashlib
import logging
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import ClassVar

import polars as pl

from hp_pipeline.assets.workspace import Plant, Workspace
from hp_pipeline.lake import DamagedPartitionError, Lake, Receipt
from hp_pipeline.transforms import calendar, events, figures, frames, operation, periods, told
from hp_pipeline.transforms.calendar import PeriodName
from hp_pipeline.transforms.decode import Decoded, decode
from hp_pipeline.transforms.schema import UTC as UTC_TIME
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.profiles import Profile

log = logging.getLogger(__name__)

STRETCH_DAYS = 31
"""How many days are computed at once: it bounds the memory, not the result."""

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
    """One step of a heat pump's way from readings to figures.

    A subclass says its tables, which partitions they have, what each is made from, and how. An instance looks at the
    tables before it once: make a new one each time that a stage is to be brought up to date. The stages of one time
    share a listing.
    """

    tables: ClassVar[tuple[str, ...]]
    version: ClassVar[int] = 1
    """Raised when the code makes something else from the same inputs."""

    def __init__(self, plant: Plant, listing: Listing | None = None) -> None:
        self.plant = plant
        self.lake = plant.lake
        self._listing = listing or Listing(plant.lake)
        self._receipts: dict[tuple[str, str], Receipt | None] = {}

    def listed(self, asset: str) -> list[str]:
        """The stored partitions of an asset, ascending."""
        return self._listing.keys(asset)

    def receipt(self, asset: str, key: str) -> Receipt | None:
        """The receipt of a partition that this stage is made from, as it was when first asked for."""
        if (asset, key) not in self._receipts:
            self._receipts[asset, key] = self.lake.receipt(asset, key)
        return self._receipts[asset, key]

    @cached_property
    def stored(self) -> list[str]:
        """The partitions that this stage has made before, ascending, as they were when first asked for."""
        return sorted({key for table in self.tables for key in self.listed(self.asset(table))})

    @cached_property
    def reach(self) -> int:
        """How many days on a reading may still be held, or may tell that one before it was a spike."""
        mappings = self.plant.mappings.values()
        longest = max((mapping.max_age for mapping in mappings), default=timedelta())
        return max(1, -(-longest // timedelta(days=1)))

    @cached_property
    def known(self) -> figures.Known:
        """From the start of the heat pump's oldest frame to the end of its newest."""
        asset = self.asset("frames")
        return figures.Known(
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

    def known_within(self, start: datetime, end: datetime) -> figures.Known:
        """As `known`, without the ends that do not lie within the period: they do not matter to it."""
        since, until = self.known.since, self.known.until
        return figures.Known(
            since if since is not None and since > start else None,
            until if until is not None and until < end else None,
        )

    def known_in_period(self, name: PeriodName, key: str) -> figures.Known:
        """As `known_within`, for a local day, week, month or year by its first day."""
        zone = self.plant.time_zone
        until = calendar.next_period(name, _day(key))
        return self.known_within(calendar.day_start(_day(key), zone), calendar.day_start(until, zone))

    def asset(self, table: str) -> str:
        """The lake's path of this heat pump's part of a table."""
        return f"{table}/{self.plant.id}"

    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """The partitions to look at, ascending: those that there are to have, and those stored that there are not
        any more. When `first` and `last` are given, those only that readings of these UTC days can touch."""
        if first is None or last is None:
            return sorted(self.candidates(None, None) | set(self.stored))
        chosen = self.candidates(first, last) | self._ends(first, last)
        return sorted(key for key in chosen if self.is_wanted(key) or key in self._stored_set)

    @cached_property
    def _stored_set(self) -> frozenset[str]:
        return frozenset(self.stored)

    def _ends(self, first: date, last: date) -> set[str]:
        """The first and the last partitions made before, and the one after them. That they were the first or the last
        is in them (the newest frame is short, nothing before the oldest is missed), and newer or older readings, from
        however far off, change it."""
        ends = {*self.stored[:2], *self.stored[-2:]}
        return ends | {_shift(key, 1) for key in self.stored[-1:]}

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
            day = date.fromisoformat(key)
            if stretch and (day - date.fromisoformat(stretch[-1]) != timedelta(days=1) or len(stretch) >= STRETCH_DAYS):
                yield stretch
                stretch = []
            stretch.append(key)
        if stretch:
            yield stretch

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
            if (not self._is_current(key, self.fingerprint(key)) if self.is_wanted(key) else key in self._stored_set)
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
        for stretch in self.stretches(due):
            self._make_and_store(stretch, fingerprints, outcome)
            progress(len(stretch))
        return outcome

    def _remove(self, key: str, outcome: Outcome) -> None:
        for table in self.tables:
            if self.lake.receipt(self.asset(table), key) is not None:
                outcome.changed.add(key)
            self.lake.remove(self.asset(table), key)
            self._listing.removed(self.asset(table), key)

    def _make_and_store(self, stretch: Sequence[str], fingerprints: Mapping[str, str], outcome: Outcome) -> None:
        try:
            made = self.make(stretch, outcome)
        except Exception as error:
            if len(stretch) > 1:
                for key in stretch:
                    self._make_and_store([key], fingerprints, outcome)
                return
            log.exception("%s of %s cannot be made", self.asset(self.tables[0]), stretch[0])
            outcome.failed[stretch[0]] = error
            return
        for table in self.tables:
            before = {key: self.lake.receipt(self.asset(table), key) for key in stretch}
            parts = {key: frame for key, frame in made.get(table, {}).items() if key in fingerprints}
            stored = self.lake.write_many(self.asset(table), parts, fingerprints)
            outcome.stored.setdefault(table, {}).update(stored)
            self._listing.stored(self.asset(table), stored)
            for key in stretch:
                old, new = before[key], stored.get(key)
                if new is None and old is not None:
                    self.lake.remove(self.asset(table), key)
                    self._listing.removed(self.asset(table), key)
                if (old.content if old else None) != (new.content if new else None):
                    outcome.changed.add(key)


def _day(key: str) -> date:
    return date.fromisoformat(key)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _shift(key: str, days: int) -> str:
    return (_day(key) + timedelta(days=days)).isoformat()


def _between(keys: Iterable[str], first: date | None, last: date | None, margin: int) -> set[str]:
    """The keys within the days and `margin` around them; all when no days are given."""
    if first is None or last is None:
        return set(keys)
    low, high = (first - timedelta(days=margin)).isoformat(), (last + timedelta(days=margin)).isoformat()
    return {key for key in keys if low <= key <= high}


def _by_day(frame: pl.DataFrame, keys: Sequence[str]) -> dict[str, pl.DataFrame]:
    """The rows that start on each of the days."""
    frame = frame.sort("start")
    midnights = pl.Series([_midnight(_day(key)) for key in keys], dtype=UTC_TIME)
    starts = frame.get_column("start")
    first = starts.search_sorted(midnights, side="left")
    behind = starts.search_sorted(midnights.dt.offset_by("1d"), side="left")
    return {key: frame.slice(low, high - low) for key, low, high in zip(keys, first, behind, strict=True)}


class FramesStage(Stage):
    """Readings of all inputs → table `frames`."""

    tables = ("frames",)
    version = 2

    @cached_property
    def _reading_keys(self) -> set[str]:
        return {key for asset in self.plant.readings for key in self.listed(asset)}

    @cached_property
    def _newest_key(self) -> str:
        return max(self._reading_keys, default="")

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with readings, and the day after one, into which its last frame may reach."""
        following = {_shift(key, 1) for key in self._reading_keys}
        return {key for key in _between(self._reading_keys | following, first, last, self.reach) if self.is_wanted(key)}

    def is_wanted(self, key: str) -> bool:
        return key in self._reading_keys or (_shift(key, -1) in self._reading_keys and key < self._newest_key)

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(asset, _shift(key, days)) for asset in self.plant.readings for days in range(-self.reach, 2)]

    def shape(self, key: str) -> str:
        profiles = [line for _, profile in self.plant.inputs for line in profile.fingerprint_data()]
        return repr((profiles, self.plant.rules, self._more_follows(key)))

    def _more_follows(self, key: str) -> bool:
        return self._newest_key > key

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        start, end = _midnight(_day(keys[0])), _midnight(_day(keys[-1]) + timedelta(days=1))
        decoded = self._decoded(start, end)
        newest = decoded.times.filter(decoded.times < end).max()
        built = frames.build_frames(
            decoded,
            dict(self.plant.mappings),
            self.plant.id,
            start,
            end,
            self.plant.rules,
            isinstance(newest, datetime) and self._more_follows(newest.date().isoformat()),
        )
        outcome.doubts += decoded.doubts
        outcome.ambiguous |= decoded.ambiguous
        return {"frames": _by_day(built, keys)}

    def _decoded(self, start: datetime, end: datetime) -> Decoded:
        first = (start - timedelta(days=self.reach)).date()
        days = [(first + timedelta(days=i)).isoformat() for i in range((end.date() - first).days + 1)]
        beyond = end + max([self.plant.rules.hold, *self._spike_windows])
        inputs = []
        for source, profile in self.plant.inputs:
            rows = self.lake.read(
                f"readings/{source}",
                days,
                columns=["point", "time", "value", "text", "origin"],
                where=pl.col("time") < beyond,
            )
            if rows is not None:
                inputs.append((told.full_series(conform(rows, "readings"), _known_to(profile)), profile))
        return decode(inputs)

    @property
    def _spike_windows(self) -> list[timedelta]:
        return [mapping.spike.within for mapping in self.plant.mappings.values() if mapping.spike]


def _known_to(profile: Profile) -> Callable[[str], bool]:
    selectors = profile.selectors()
    return lambda point: any(selector.matches(point) for selector in selectors)


class OperationStage(Stage):
    """Table `frames` → table `operation`: modes by the session rule."""

    tables = ("operation",)

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with frames."""
        return _between(self.listed(self.asset("frames")), first, last, self.reach + 1)

    def is_wanted(self, key: str) -> bool:
        return key in self._framed

    @cached_property
    def _framed(self) -> frozenset[str]:
        return frozenset(self.listed(self.asset("frames")))

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(self.asset("frames"), _shift(key, days)) for days in (-1, 0, 1)]

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self._more_follows(_shift(key, 1))))

    def _more_follows(self, key: str) -> bool:
        return self._newest_framed > key

    @cached_property
    def _newest_framed(self) -> str:
        filled = (key for key in reversed(self.listed(self.asset("frames"))) if self._has_frames(key))
        return next(filled, "")

    def _has_frames(self, key: str) -> bool:
        receipt = self.receipt(self.asset("frames"), key)
        return receipt is not None and receipt.rows > 0

    def _ends(self, first: date, last: date) -> set[str]:
        """Also those around the last that is not empty: there the newest frame lies."""
        return super()._ends(first, last) | self._around_filled(self.stored[::-1])

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        start, end = _midnight(_day(keys[0])), _midnight(_day(keys[-1]) + timedelta(days=1))
        rows = self.lake.read(self.asset("frames"), [_shift(keys[0], -1), *keys, _shift(keys[-1], 1)])
        seen = conform(rows, "frames").select(operation.FRAME_COLUMNS)
        within = seen.filter(pl.col("start") >= start - operation.MARGIN, pl.col("start") < end + operation.MARGIN)
        beyond = seen.filter(pl.col("start") >= end + operation.MARGIN).height > 0
        more_follows = beyond or self._more_follows(_shift(keys[-1], 1))
        modes = operation.operation(within, start, end, self.plant.rules, more_follows)
        return {"operation": _by_day(modes, keys)}


class FiguresStage(Stage):
    """Tables `frames` and `operation` → `segments` and `hourly`: the sums that everything else is merged from."""

    tables = ("segments", "hourly")

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with operation, and the day before one when its last hour goes on into it."""
        days = self._operated | {_shift(key, -1) for key in self._operated}
        return {key for key in _between(days, first, last, self.reach + 1) if self.is_wanted(key)}

    def is_wanted(self, key: str) -> bool:
        return any(day in self._operated for day in self._days(key))

    @cached_property
    def _operated(self) -> frozenset[str]:
        return frozenset(self.listed(self.asset("operation")))

    def _ends(self, first: date, last: date) -> set[str]:
        """Also those around the first and the last that is not empty: there the oldest and the newest frame lie."""
        filled = self._around_filled(self.stored) | self._around_filled(self.stored[::-1])
        return super()._ends(first, last) | filled

    def _days(self, key: str) -> list[str]:
        part_hours = calendar.has_part_hours(self.plant.time_zone, _day(key))
        return [key, _shift(key, 1)] if part_hours else [key]

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(self.asset(table), day) for day in self._days(key) for table in ("frames", "operation")]

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.time_zone, self._known(key)))

    def _known(self, key: str) -> figures.Known:
        # The hours of a UTC day reach an hour beyond it, where the zone is off by part of one.
        return self.known_within(_midnight(_day(key)), _midnight(_day(key)) + timedelta(hours=25))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        days = list(dict.fromkeys(day for key in keys for day in self._days(key)))
        seen = conform(self.lake.read(self.asset("frames"), days), "frames").sort("start")
        modes = conform(self.lake.read(self.asset("operation"), days), "operation").sort("start")
        zone = self.plant.time_zone
        pieces = figures.pieces(seen, modes, calendar.hour_start("start", zone))
        start, end = _midnight(_day(keys[0])), _midnight(_day(keys[-1]) + timedelta(days=1))
        hours = periods.hourly(pieces, start, end, zone, self.plant.rules, self.known)
        return {
            "segments": _by_day(events.segments(pieces), keys),
            "hourly": _by_day(hours, keys),
        }


class EventsStage(Stage):
    """Table `segments` → `sessions`, `cycles`, `defrosts`, each under the UTC day on which it begins."""

    tables = ("sessions", "cycles", "defrosts")

    def __init__(self, plant: Plant, listing: Listing | None = None) -> None:
        super().__init__(plant, listing)
        self._links_by_day: dict[str, events.Links | None] = {}

    @cached_property
    def _segmented(self) -> frozenset[str]:
        return frozenset(self.listed(self.asset("segments")))

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with segments."""
        return _between(self._segmented, first, last, self.reach + 1)

    def is_wanted(self, key: str) -> bool:
        return key in self._segmented

    def _ends(self, first: date, last: date) -> set[str]:
        """Also those around the last segments before these days: until now they may have been the newest."""
        days = self.listed(self.asset("segments"))
        before = days[: bisect_left(days, (first - timedelta(days=self.reach + 1)).isoformat())]
        for index in reversed(range(len(before))):
            receipt = self.receipt(self.asset("segments"), before[index])
            if receipt is not None and receipt.rows:
                return super()._ends(first, last) | set(before[max(index - 1, 0) :][:3])
        return super()._ends(first, last)

    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """Within a range, also the days back to the begin of a session that reaches into it, and on to the end of one
        that reaches out of it."""
        chosen = super().keys(first, last)
        if first is None:
            return chosen
        days = set(chosen)
        for key in chosen:
            back = key
            while self._continues(back) and (back := _shift(back, -1)) not in days:
                days.add(back)
            ahead = key
            while self._continues(ahead := _shift(ahead, 1)) and ahead not in days:
                days.add(ahead)
        return sorted(day for day in days if self.is_wanted(day) or day in self._stored_set)

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(self.asset("segments"), day) for day in self._window(key)]

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self._session_began(key)))

    def _links(self, key: str) -> events.Links | None:
        """How a day hangs together with its neighbours; None when it has no segments that can be read."""
        if key not in self._links_by_day:
            self._links_by_day[key] = self._read_links(key) if key in self._segmented else None
        return self._links_by_day[key]

    def _read_links(self, key: str) -> events.Links | None:
        try:
            rows = self.lake.read(self.asset("segments"), [key], columns=events.LINK_COLUMNS)
        except DamagedPartitionError:
            return None
        return events.links(conform(None, "segments") if rows is None else rows)

    def _continues(self, key: str) -> bool:
        found = self._links(key)
        return found is not None and found.continues

    def _session_began(self, key: str) -> datetime | None:
        """Begin of the session that goes on at the begin of a day."""
        while self._continues(key):
            key = _shift(key, -1)
            before = self._links(key)
            if before is not None and before.session_start is not None:
                return before.session_start
        return None

    def _window(self, key: str) -> list[str]:
        """The days that the events beginning on this day need: on to where the last of them has ended."""
        window = [key]
        own = self._links(key)
        if own is None or not own.starts:
            return window
        while (found := self._links(_shift(window[-1], 1))) is not None:
            window.append(_shift(window[-1], 1))
            ended = found.session_start is not None or (own.session_start is None and found.cycle_starts)
            if ended or not found.continues:
                break
        return window

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        days = sorted({day for key in keys for day in self._window(key)})
        rows = conform(self.lake.read(self.asset("segments"), days), "segments")
        start, end = _midnight(_day(keys[0])), _midnight(_day(keys[-1]) + timedelta(days=1))
        rules = self.plant.rules
        made = {
            "sessions": events.sessions(rows, start, end, rules),
            "cycles": events.cycles(rows, start, end, rules, self._session_began(keys[0])),
            "defrosts": events.defrosts(rows, start, end, rules),
        }
        return {table: _by_day(frame, keys) for table, frame in made.items()}


class DailyStage(Stage):
    """Table `hourly` → `daily`: local days, each from the UTC days around it."""

    tables = ("daily",)

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Local days that have an hour of figures."""
        zone = self.plant.time_zone
        days = set()
        for key in _between(self.listed(self.asset("hourly")), first, last, self.reach + 2):
            start = _midnight(_day(key))
            days |= {
                calendar.local_date(start, zone),
                calendar.local_date(start + timedelta(hours=24, seconds=-1), zone),
            }
        return {day.isoformat() for day in days if self.is_wanted(day.isoformat())}

    def is_wanted(self, key: str) -> bool:
        zone = self.plant.time_zone
        start = calendar.day_start(_day(key), zone)
        end = calendar.day_start(calendar.next_period("daily", _day(key)), zone)
        for asset, part in self.inputs(key):
            receipt = self.receipt(asset, part)
            if receipt is None or not receipt.rows:
                continue
            if receipt.rows >= 24:
                return True
            try:
                hours = self.lake.read(asset, [part], columns=["start"])
            except DamagedPartitionError:
                return True  # making it will say so
            if hours is not None and not hours.filter(pl.col("start") >= start, pl.col("start") < end).is_empty():
                return True
        return False

    def _ends(self, first: date, last: date) -> set[str]:
        """The days of the house that a first or last UTC day touches."""
        return super()._ends(first, last) | {*self.stored[:3], *self.stored[-3:]}

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        zone = self.plant.time_zone
        start = calendar.day_start(_day(key), zone)
        last = calendar.day_start(_day(key) + timedelta(days=1), zone) - timedelta(seconds=1)
        days = (last.date() - start.date()).days
        return [(self.asset("hourly"), (start.date() + timedelta(days=count)).isoformat()) for count in range(days + 1)]

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.time_zone, self.known_in_period("daily", key)))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        days = sorted({part for key in keys for _, part in self.inputs(key)})
        hours = conform(self.lake.read(self.asset("hourly"), days), "hourly")
        return {"daily": _by_period(self, "daily", hours, keys)}


def _by_period(stage: Stage, name: PeriodName, rows: pl.DataFrame, keys: Sequence[str]) -> dict[str, pl.DataFrame]:
    """Rows of the next shorter period merged into those of the keys; a period without any is left out."""
    plant = stage.plant
    merged = periods.by_calendar(rows, name, [_day(key) for key in keys], plant.time_zone, plant.rules, stage.known)
    firsts = [calendar.local_date(start, plant.time_zone).isoformat() for start in merged["start"]]
    return {key: merged[index : index + 1] for index, key in enumerate(firsts)}


class PeriodStage(Stage):
    """A table of shorter periods → `weekly`, `monthly` or `yearly`, under the first local day of each."""

    name: ClassVar[PeriodName]
    below: ClassVar[PeriodName]

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Periods that have a shorter period in them."""
        days = _between(self._below, *self._touched(first, last), 0)
        return {calendar.first_day(self.name, _day(key)).isoformat() for key in days}

    @cached_property
    def _below(self) -> list[str]:
        return self.listed(self.asset(self.below))

    def _touched(self, first: date | None, last: date | None) -> tuple[date | None, date | None]:
        if first is None or last is None:
            return None, None
        margin = timedelta(days=self.reach + 3)
        return calendar.first_day(self.below, first - margin), last + margin

    def is_wanted(self, key: str) -> bool:
        until = calendar.next_period(self.name, _day(key)).isoformat()
        index = bisect_left(self._below, key)
        is_first_day = calendar.first_day(self.name, _day(key)) == _day(key)
        return is_first_day and index < len(self._below) and self._below[index] < until

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        until = calendar.next_period(self.name, _day(key)).isoformat()
        asset = self.asset(self.below)
        part = _day(key)
        while part.isoformat() < until:
            yield asset, part.isoformat()
            part = calendar.next_period(self.below, part)

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.time_zone, self.known_in_period(self.name, key)))

    def stretches(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """As many as lie within the days that are computed at once, at least one."""
        days_of_one = (calendar.next_period(self.name, date(2001, 1, 1)) - date(2001, 1, 1)).days
        count = max(1, 12 * STRETCH_DAYS // days_of_one)
        return (list(keys[first : first + count]) for first in range(0, len(keys), count))

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        parts = [part for key in keys for _, part in self.inputs(key)]
        rows = conform(self.lake.read(self.asset(self.below), parts), self.below)
        return {self.name: _by_period(self, self.name, rows, keys)}


class WeeklyStage(PeriodStage):
    """Table `daily` → `weekly`."""

    tables = ("weekly",)
    name = "weekly"
    below = "daily"


class MonthlyStage(PeriodStage):
    """Table `daily` → `monthly`."""

    tables = ("monthly",)
    name = "monthly"
    below = "daily"


class YearlyStage(PeriodStage):
    """Table `monthly` → `yearly`."""

    tables = ("yearly",)
    name = "yearly"
    below = "monthly"


class AllTimeStage(Stage):
    """Table `yearly` → `all_time`: one row, one file."""

    tables = ("all_time",)

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """The one partition, once there is a year."""
        return {""} if self.is_wanted("") else set()

    def is_wanted(self, key: str) -> bool:
        return bool(self.listed(self.asset("yearly")))

    def _ends(self, first: date, last: date) -> set[str]:
        return set()

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(self.asset("yearly"), part) for part in self.listed(self.asset("yearly"))]

    def _days(self) -> tuple[str, str]:
        days = self.listed(self.asset("daily"))
        return days[0], days[-1]

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self.plant.time_zone, self._days(), self.known))

    def stretches(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """The one."""
        return ([key] for key in keys)

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        years = conform(self.lake.read(self.asset("yearly"), [part for _, part in self.inputs("")]), "yearly")
        first, last = (_day(day) for day in self._days())
        row = periods.all_time(years, first, last, self.plant.time_zone, self.plant.rules, self.known)
        return {"all_time": {"": row}}


STAGES: tuple[type[Stage], ...] = (
    FramesStage,
    OperationStage,
    FiguresStage,
    EventsStage,
    DailyStage,
    WeeklyStage,
    MonthlyStage,
    YearlyStage,
    AllTimeStage,
)
"""In the order in which they follow from each other."""


def stages(plant: Plant) -> list[Stage]:
    """All stages of a heat pump, in order."""
    listing = Listing(plant.lake)
    return [stage(plant, listing) for stage in STAGES]


def store_readings(workspace: Workspace, source: str, readings: pl.DataFrame) -> dict[str, Receipt]:
    """Merge readings of a source into its partitions, by point and time. Repeating it, late or in another order,
    changes nothing that is already right.

    Args:
        readings: `point`, `time`, `value`, `text` and, where it is known, `origin`.

    Returns:
        The receipts of the partitions whose content has changed, by key.

    Raises:
        DamagedPartitionError: a partition cannot be read, so nothing was merged into it; all others are stored.
    """
    asset, lake = f"readings/{source}", workspace.lake
    changed: dict[str, Receipt] = {}
    damaged: list[DamagedPartitionError] = []
    days = readings.with_columns(_day=pl.col("time").dt.date()).partition_by("_day", as_dict=True)
    for (day,), part in sorted(days.items()):
        key = str(day)
        new = conform(part.with_columns(source=pl.lit(source)), "readings")
        try:
            receipt = _merge_into(lake, asset, key, new)
        except DamagedPartitionError as error:
            damaged.append(error)
            continue
        if receipt is not None:
            changed[key] = receipt
    for other in damaged[1:]:
        damaged[0].add_note(str(other))
    if damaged:
        raise damaged[0]
    return changed


def _merge_into(lake: Lake, asset: str, key: str, new: pl.DataFrame) -> Receipt | None:
    """Merge readings into one partition; its receipt when its content has changed."""
    with lake.locked(asset, key):
        if not lake.path(asset, key).exists():
            return lake.write(asset, key, merge_readings(new))
        stored = conform(lake.read(asset, [key]), "readings")
        merged = merge_readings(pl.concat([stored, new]))
        return None if merged.equals(stored) else lake.write(asset, key, merged)


def merge_readings(readings: pl.DataFrame) -> pl.DataFrame:
    """One reading per source, point and time. Where several disagree the choice does not depend on their order: a
    what was told at once rather than what was asked for later, a number rather than words, then the greater."""
    return readings.sort(
        ["source", "point", "time", "origin", "value", "text"],
        descending=[False, False, False, False, True, True],
        nulls_last=[False, False, False, False, True, True],
    ).unique(["source", "point", "time"], keep="first", maintain_order=True)
