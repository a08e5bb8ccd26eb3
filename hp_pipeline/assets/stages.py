"""The stages between readings and figures, each bringing partitions of its tables up to date.

A partition is *due* when the fingerprint of its inputs (the content of the partitions it is made from, the rules and
profiles that shape it, the version of the code) is not the one in its receipt. Making it again gives the same content,
so the order in which days arrive, repeats, late readings and deleted partitions all end in the same tables; and where
the content does not change, nothing further down is due.
"""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import ClassVar

import polars as pl

from hp_pipeline.assets.workspace import Plant, Workspace
from hp_pipeline.lake import Receipt
from hp_pipeline.transforms import calendar, events, figures, frames, operation, periods
from hp_pipeline.transforms.calendar import PeriodName
from hp_pipeline.transforms.decode import Decoded, decode
from hp_pipeline.transforms.schema import conform

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


class Stage(ABC):
    """One step of a heat pump's way from readings to figures.

    A subclass says its tables, which partitions they have, what each is made from, and how. An instance lists the
    partitions of the tables before it once: make a new one each time that a stage is to be brought up to date.
    """

    tables: ClassVar[tuple[str, ...]]
    version: ClassVar[int] = 1
    """Raised when the code makes something else from the same inputs."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.lake = plant.lake
        self._listed: dict[str, list[str]] = {}

    def listed(self, asset: str) -> list[str]:
        """The stored partitions of an asset, ascending, as they were when first asked for."""
        if asset not in self._listed:
            self._listed[asset] = self.lake.keys(asset)
        return self._listed[asset]

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
            rows = self.lake.read(asset, [key], columns=[column])
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

    @abstractmethod
    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """The partitions that there are to have, ascending; those only that readings of the UTC days from `first`
        to `last` can touch, when these are given."""

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
            receipt = self.lake.receipt(asset, part)
            digest.update(f"\n{asset} {part} {receipt.content if receipt else '-'}".encode())
        return digest.hexdigest()[:32]

    def due(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys that must be made (again)."""
        return [key for key in keys if not self._is_current(key, self.fingerprint(key))]

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
        fingerprints = {key: self.fingerprint(key) for key in keys}
        due = [key for key in keys if force or not self._is_current(key, fingerprints[key])]
        outcome.kept = len(keys) - len(due)
        progress(outcome.kept)
        for stretch in self.stretches(due):
            self._make_and_store(stretch, fingerprints, outcome)
            progress(len(stretch))
        return outcome

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
            for key in stretch:
                old, new = before[key], stored.get(key)
                if new is None and old is not None:
                    self.lake.remove(self.asset(table), key)
                if (old.content if old else None) != (new.content if new else None):
                    outcome.changed.add(key)


def _day(key: str) -> date:
    return date.fromisoformat(key)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _shift(key: str, days: int) -> str:
    return (_day(key) + timedelta(days=days)).isoformat()


def _between(keys: Iterable[str], first: date | None, last: date | None, margin: int) -> list[str]:
    """The keys within the days and `margin` around them, and the one before those: it may have been the newest."""
    ordered = sorted(keys)
    if first is None or last is None:
        return ordered
    low, high = (first - timedelta(days=margin)).isoformat(), (last + timedelta(days=margin)).isoformat()
    within = [key for key in ordered if low <= key <= high]
    before = [key for key in ordered if key < low][-1:]
    return before + within


def _by_day(frame: pl.DataFrame, keys: Sequence[str], table: str) -> dict[str, pl.DataFrame]:
    parts = {
        str(day[0]): part.drop("_day")
        for day, part in frame.with_columns(_day=pl.col("start").dt.date())
        .partition_by("_day", as_dict=True, maintain_order=True)
        .items()
    }
    return {key: conform(parts.get(key), table) for key in keys}


class FramesStage(Stage):
    """Readings of all inputs → table `frames`."""

    tables = ("frames",)

    @cached_property
    def _reading_keys(self) -> set[str]:
        return {key for asset in self.plant.readings for key in self.listed(asset)}

    @cached_property
    def _reach(self) -> int:
        """How many days back a reading may still be held."""
        longest = max((mapping.max_age for mapping in self.plant.mappings.values()), default=timedelta())
        return max(1, -(-longest // timedelta(days=1)))

    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """Days with readings, and the day after one, into which its last frame may reach."""
        read = self._reading_keys
        newest = max(read, default="")
        following = {after for after in (_shift(key, 1) for key in read) if after < newest}
        return _between(read | following, first, last, self._reach)

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(asset, _shift(key, days)) for asset in self.plant.readings for days in range(-self._reach, 2)]

    def shape(self, key: str) -> str:
        profiles = [line for _, profile in self.plant.inputs for line in profile.fingerprint_data()]
        return repr((profiles, self.plant.rules, self._more_follows(key)))

    def _more_follows(self, key: str) -> bool:
        return max(self._reading_keys, default="") > key

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        start, end = _midnight(_day(keys[0])), _midnight(_day(keys[-1]) + timedelta(days=1))
        decoded = self._decoded(start, end)
        built = frames.build_frames(
            decoded,
            dict(self.plant.mappings),
            self.plant.id,
            start,
            end,
            self.plant.rules,
            self._more_follows(keys[-1]),
        )
        outcome.doubts += decoded.doubts
        outcome.ambiguous |= decoded.ambiguous
        return {"frames": _by_day(built, keys, "frames")}

    def _decoded(self, start: datetime, end: datetime) -> Decoded:
        first = (start - timedelta(days=self._reach)).date()
        days = [(first + timedelta(days=i)).isoformat() for i in range((end.date() - first).days + 1)]
        beyond = end + max([self.plant.rules.hold, *self._spike_windows])
        inputs = []
        for source, profile in self.plant.inputs:
            rows = self.lake.read(
                f"readings/{source}", days, columns=["point", "time", "value", "text"], where=pl.col("time") < beyond
            )
            if rows is not None:
                inputs.append((conform(rows, "readings").drop("source").sort("point", "time"), profile))
        return decode(inputs)

    @property
    def _spike_windows(self) -> list[timedelta]:
        return [mapping.spike.within for mapping in self.plant.mappings.values() if mapping.spike]


class OperationStage(Stage):
    """Table `frames` → table `operation`: modes by the session rule."""

    tables = ("operation",)

    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """Days with frames."""
        return _between(self.listed(self.asset("frames")), first, last, 2)

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(self.asset("frames"), _shift(key, days)) for days in (-1, 0, 1)]

    def shape(self, key: str) -> str:
        return repr((self.plant.rules, self._more_follows(_shift(key, 1))))

    def _more_follows(self, key: str) -> bool:
        return max(self.listed(self.asset("frames")), default="") > key

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        start, end = _midnight(_day(keys[0])), _midnight(_day(keys[-1]) + timedelta(days=1))
        rows = self.lake.read(self.asset("frames"), [_shift(keys[0], -1), *keys, _shift(keys[-1], 1)])
        seen = conform(rows, "frames").select(operation.FRAME_COLUMNS)
        within = seen.filter(pl.col("start") >= start - operation.MARGIN, pl.col("start") < end + operation.MARGIN)
        beyond = seen.filter(pl.col("start") >= end + operation.MARGIN).height > 0
        more_follows = beyond or self._more_follows(_shift(keys[-1], 1))
        modes = operation.operation(within, start, end, self.plant.rules, more_follows)
        return {"operation": _by_day(modes, keys, "operation")}


class FiguresStage(Stage):
    """Tables `frames` and `operation` → `segments` and `hourly`: the sums that everything else is merged from."""

    tables = ("segments", "hourly")

    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """Days with operation."""
        return _between(self.listed(self.asset("operation")), first, last, 2)

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
        pieces = figures.pieces(seen, modes, calendar.hour_start("start", zone)).with_columns(
            day=pl.col("start").dt.date()
        )
        parts = {str(day[0]): part for day, part in pieces.partition_by("day", as_dict=True).items()}
        none = pieces.clear()
        result: dict[str, dict[str, pl.DataFrame]] = {"segments": {}, "hourly": {}}
        for key in keys:
            start, end = _midnight(_day(key)), _midnight(_day(key) + timedelta(days=1))
            result["segments"][key] = events.segments(parts.get(key, none))
            around = pl.concat([parts.get(day, none) for day in self._days(key)])
            result["hourly"][key] = periods.hourly(around, start, end, zone, self.plant.rules, self._known(key))
        return result


class EventsStage(Stage):
    """Table `segments` → `sessions`, `cycles`, `defrosts`, each under the UTC day on which it begins."""

    tables = ("sessions", "cycles", "defrosts")

    def __init__(self, plant: Plant) -> None:
        super().__init__(plant)
        self._seen: dict[str, tuple[str, bool, bool]] = {}

    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """Days with segments; within a range, also those whose sessions reach into it or begin in it."""
        days = self.listed(self.asset("segments"))
        chosen = _between(days, first, last, 2)
        if first is None or not chosen:
            return chosen
        window = self._window(chosen[0]) | self._window(chosen[-1]) | set(chosen)
        return [day for day in days if day in window]

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        return [(self.asset("segments"), day) for day in sorted(self._window(key))]

    def shape(self, key: str) -> str:
        return repr(self.plant.rules)

    def _links(self, key: str) -> tuple[bool, bool] | None:
        """Whether the day's begin continues a session, and whether a session begins on it; None without segments."""
        receipt = self.lake.receipt(self.asset("segments"), key)
        if receipt is None:
            return None
        if key not in self._seen or self._seen[key][0] != receipt.content:
            rows = conform(self.lake.read(self.asset("segments"), [key]), "segments")
            self._seen[key] = (receipt.content, events.continues(rows), events.has_session_start(rows))
        return self._seen[key][1:]

    def _window(self, key: str) -> set[str]:
        """The days that the events beginning on this day need: back to the begin of the session that goes on at its
        begin, forward to where the last session of the day has ended."""
        window = {key}
        back = key
        while (links := self._links(back)) is not None and links[0]:
            back = _shift(back, -1)
            if self._links(back) is None:
                break
            window.add(back)
            if self._has_start(back):
                break
        ahead = _shift(key, 1)
        while (links := self._links(ahead)) is not None:
            window.add(ahead)
            if not links[0] or links[1]:
                break
            ahead = _shift(ahead, 1)
        return window

    def _has_start(self, key: str) -> bool:
        links = self._links(key)
        return links is not None and links[1]

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        days = sorted({day for key in (keys[0], keys[-1]) for day in self._window(key)} | set(keys))
        rows = conform(self.lake.read(self.asset("segments"), days), "segments")
        start, end = _midnight(_day(keys[0])), _midnight(_day(keys[-1]) + timedelta(days=1))
        rules = self.plant.rules
        made = {
            "sessions": events.sessions(rows, start, end, rules),
            "cycles": events.cycles(rows, start, end, rules),
            "defrosts": events.defrosts(rows, start, end, rules),
        }
        return {table: _by_day(frame, keys, table) for table, frame in made.items()}


class DailyStage(Stage):
    """Table `hourly` → `daily`: local days, each from the UTC days around it."""

    tables = ("daily",)

    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """Local days that have an hour in a UTC day with hours."""
        zone = self.plant.time_zone
        hours = _between(self.listed(self.asset("hourly")), first, last, 2)
        days = set()
        for key in hours:
            start = _midnight(_day(key))
            days |= {
                calendar.local_date(start, zone),
                calendar.local_date(start + timedelta(hours=24, seconds=-1), zone),
            }
        return sorted(day.isoformat() for day in days)

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
        zone, rules = self.plant.time_zone, self.plant.rules
        made = {key: periods.daily(hours, _day(key), zone, rules, self.known_in_period("daily", key)) for key in keys}
        return {"daily": {key: row for key, row in made.items() if row.height}}


class PeriodStage(Stage):
    """A table of shorter periods → `weekly`, `monthly` or `yearly`, under the first local day of each."""

    name: ClassVar[PeriodName]
    below: ClassVar[PeriodName]

    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """Periods that have a shorter period in them."""
        days = _between(self.listed(self.asset(self.below)), *self._reach(first, last), 0)
        return sorted({calendar.first_day(self.name, _day(key)).isoformat() for key in days})

    def _reach(self, first: date | None, last: date | None) -> tuple[date | None, date | None]:
        if first is None or last is None:
            return None, None
        low, high = first - timedelta(days=3), last + timedelta(days=3)
        return calendar.first_day(self.below, low), high

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
        """Each by itself."""
        return ([key] for key in keys)

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        made = {}
        for key in keys:
            rows = conform(self.lake.read(self.asset(self.below), [part for _, part in self.inputs(key)]), self.below)
            known = self.known_in_period(self.name, key)
            row = periods.period(rows, self.name, _day(key), self.plant.time_zone, self.plant.rules, known)
            if row.height:
                made[key] = row
        return {self.name: made}


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

    def keys(self, first: date | None = None, last: date | None = None) -> list[str]:
        """The one partition, once there is a year."""
        return [""] if self.listed(self.asset("yearly")) else []

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
    return [stage(plant) for stage in STAGES]


def store_readings(workspace: Workspace, source: str, readings: pl.DataFrame) -> dict[str, Receipt]:
    """Merge readings of a source into its partitions, by point and time. Repeating it, late or in another order,
    changes nothing that is already right.

    Args:
        readings: `point`, `time`, `value`, `text`.

    Returns:
        The receipts of the partitions whose content has changed, by key.
    """
    asset, lake = f"readings/{source}", workspace.lake
    changed = {}
    days = readings.with_columns(_day=pl.col("time").dt.date()).partition_by("_day", as_dict=True)
    for (day,), part in sorted(days.items()):
        key = str(day)
        new = conform(part.with_columns(source=pl.lit(source)), "readings")
        with lake.locked(asset, key):
            before = lake.receipt(asset, key)
            stored = lake.read(asset, [key]) if lake.path(asset, key).exists() else None
            merged = merge_readings(new if stored is None else pl.concat([conform(stored, "readings"), new]))
            if stored is not None and merged.equals(conform(stored, "readings")):
                continue
            receipt = lake.write(asset, key, merged)
            if before is None or before.content != receipt.content:
                changed[key] = receipt
    return changed


def merge_readings(readings: pl.DataFrame) -> pl.DataFrame:
    """One reading per source, point and time. Where several disagree the choice does not depend on their order: a
    number rather than words, then the greater."""
    return readings.sort(
        ["source", "point", "time", "value", "text"],
        descending=[False, False, False, True, True],
        nulls_last=[False, False, False, True, True],
    ).unique(["source", "point", "time"], keep="first", maintain_order=True)
