"""The landing: one SQLite file that holds what live sources told, until it is stored in the lake.

What is promised, and tested with processes that are killed:

- A poll that `Landing.record` has returned for is on the disk (WAL, `synchronous=FULL`), whole, or it never was.
- Readings are kept *change-only*: a poll's body holds the values that differ from what the source told before, and
  names the set of points that it told, so "unchanged" and "not asked" stay different things, point by point. At each
  UTC midnight, after a failure, after a start and when the device's identity changes, the body holds everything.
  `Landing.series` gives back exactly what every poll told.
- Several processes may read and write; one process writes the polls of one source.
- It is drained, not kept: `Landing.prune` removes what the lake has and what is older than the retention, never more.

All times in the tables are whole microseconds since 1970 (UTC).
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from hp_pipeline.landing.schema import NEWEST, migrate, version_of
from hp_pipeline.sources.live import Outcome, Polled, Reading

FILE: Final = "landing.sqlite"
DRIFT_POINT: Final = "@clock_drift"
"""Point of how far a device's clock is ahead of ours, seconds, kept by the landing for devices that tell their time."""

MOST_READINGS: Final = 200_000
"""A poll with more is taken for a mistake of the source, not for readings."""

_DAY: Final = 86_400_000_000
_FEW: Final = 8  # so few readings are written whole: naming a set of points would cost as much
_MOST_SETS: Final = 500  # of a source; beyond, its deliveries are written whole
_MOST_SHAPES: Final = 16  # orders of points that are remembered, for speed alone
_DRIFT_STEP: Final = 2.0  # seconds; a smaller change of the drift is jitter of the network

Value = float | str
Told = tuple[str, int, Value]
"""A point, its time (microseconds since 1970), and what it told."""


class LandingError(OSError):
    """The landing cannot be read or written. What was committed is untouched.

    Attributes:
        what: what is wrong.
        remedy: what to do about it.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}. {remedy}")
        self.what = what
        self.remedy = remedy


def micros(time: datetime) -> int:
    """A time with zone → whole microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def moment(time: int) -> datetime:
    """Whole microseconds since 1970 → a time in UTC."""
    return _EPOCH + timedelta(microseconds=time)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One poll, or one delivery of a source that speaks by itself, whatever came of it.

    Attributes:
        source: id of the source.
        started: when it began (with zone).
        took: how long it took.
        outcome: how it ended.
        polled: what it brought; None unless it went well.
        due: when it was to happen; None where a source speaks by itself.
        time: the time of its readings that have none of their own; when it was answered, without it.
        what: what was wrong.
        whole: keep everything that it told, changed or not.
    """

    source: str
    started: datetime
    took: timedelta
    outcome: Outcome
    polled: Polled | None = None
    due: datetime | None = None
    time: datetime | None = None
    what: str | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """A row of the polls as it is stored.

    Attributes:
        sequence: its number; later ones are greater, and none is ever used again.
        source: id of the source.
        due, started, time: microseconds since 1970; `due` is None where a source speaks by itself.
        took: microseconds.
        outcome, what: how it ended, and what was wrong.
        points: number of readings that it told.
        changed: how many of them are stored with it.
        whole: 1 when nothing later relies on anything earlier, 2 when it is its UTC day's first besides.
        told: id of the set of points that it told at `time`; None: those of the body.
        oldest, newest: of readings that have their own time; None without such.
        body: changed readings: (id of the point, value, own time or None).
    """

    sequence: int
    source: str
    due: int | None
    started: int
    took: int
    time: int
    outcome: str
    what: str | None
    points: int
    changed: int
    whole: int
    told: int | None
    oldest: int | None
    newest: int | None
    body: tuple[tuple[int, Value, int | None], ...]


@dataclass(slots=True)
class _Writer:
    """What the writing process knows of a source: what was told last, so that only changes are written."""

    points: dict[str, int]
    sets: dict[tuple[int, ...], int]
    told: dict[int, tuple[Value, int | None]] = field(default_factory=dict)
    shapes: dict[tuple[str, ...], tuple[list[int], int]] = field(default_factory=dict)
    day: int | None = None
    time: int | None = None
    identity: str | None = None
    drift: float | None = None
    broken: bool = True  # what the next good poll tells is written whole


class Landing:
    """The landing of a data folder.

    Args:
        folder: the data folder; the store is its `landing.sqlite`.
        read_only: open what is there, change nothing.

    Attributes:
        path: the file.
        identity: another one when the file was moved away and begun anew; the numbers of its polls begin anew then.

    Raises:
        LandingError: it cannot be opened, or it is of a newer version than this program.
    """

    identity: str

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.path = folder / FILE
        self._lock = threading.RLock()
        self._writers: dict[str, _Writer] = {}
        self._points: dict[int, str] = {}
        self._sets: dict[int, tuple[int, ...]] = {}
        self._read_only = read_only
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        with self._explained("open"):
            if self._read_only and not self.path.exists():
                raise LandingError(f"there is no {self.path}", "Start `hp-pipeline collect` (or `run`): it makes it")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            uri = f"{self.path.absolute().as_uri()}?mode={'ro' if self._read_only else 'rwc'}"
            connection = sqlite3.connect(
                uri, uri=True, timeout=15, isolation_level=None, check_same_thread=False, cached_statements=64
            )
            try:
                self._set_up(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        if not self._read_only:
            if version_of(connection) == 0:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_size_limit = 8000000")
            migrate(connection)
        version = version_of(connection)
        if version != NEWEST:
            newer = version > NEWEST
            raise LandingError(
                f"{self.path} is of version {version}, this program knows version {NEWEST}",
                "Update hp_pipeline" if newer else "Start the collector or the pipeline once: it brings it up to date",
            )
        (self.identity,) = connection.execute("SELECT value FROM landing WHERE key = 'identity'").fetchone()

    def reopen(self) -> None:
        """Close it and open it anew: a folder that could not be written to, or was changed for another one, may be
        there again.

        Raises:
            LandingError: it cannot be opened.
        """
        with self._lock:
            self._connection.close()
            self._writers.clear()
            self._points.clear()
            self._sets.clear()
            self._connection = self._open()

    def close(self) -> None:
        """Close it; what was recorded stays."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Landing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- writing

    def record(self, attempts: Sequence[Attempt]) -> list[int]:
        """Store polls in one transaction. When it returns they are on the disk.

        NaN and infinities are no readings and are left out; `Recorded.points` does not count them. -0 is 0.

        Returns:
            Their sequence numbers.

        Raises:
            LandingError: nothing of it was stored.
        """
        with self.writing() as connection:
            return [self._record(connection, attempt) for attempt in attempts]

    def _record(self, connection: sqlite3.Connection, attempt: Attempt) -> int:
        source = self._source_id(connection, attempt.source)
        writer = self._writer(connection, attempt.source, source)
        started, took = micros(attempt.started), attempt.took // timedelta(microseconds=1)
        time = started + took if attempt.time is None else micros(attempt.time)
        due = None if attempt.due is None else micros(attempt.due)
        row: dict[str, Any] = {"source": source, "due": due, "started": started, "took": took, "time": time}
        row |= {"outcome": str(attempt.outcome), "what": attempt.what}
        if attempt.polled is None:
            writer.broken = True
        else:
            row |= self._told(connection, source, writer, attempt, time)
        columns = ", ".join(row)
        cursor = connection.execute(
            f"INSERT INTO polls (sequence, {columns}) VALUES (coalesce((SELECT max(sequence) FROM polls),"
            f" (SELECT value FROM landing WHERE key = 'numbered')) + 1, {', '.join('?' * len(row))})",
            tuple(row.values()),
        )
        sequence = cursor.lastrowid
        assert sequence is not None
        for key, value in attempt.polled.state.items() if attempt.polled else ():
            _keep(connection, attempt.source, key, value)
        for document in attempt.polled.documents if attempt.polled else ():
            connection.execute(
                "INSERT INTO documents VALUES (?, ?, ?)", (sequence, document.kind, zlib.compress(document.content, 6))
            )
        return sequence

    def _told(
        self, connection: sqlite3.Connection, source: int, writer: _Writer, attempt: Attempt, time: int
    ) -> dict[str, Any]:
        """The columns of a good poll: what changed, and which points it told. Brings the writer up to date."""
        polled = attempt.polled
        assert polled is not None
        readings: Sequence[Reading] = polled.readings
        drift = None
        if polled.device_time is not None:
            drift = (polled.device_time - moment(time)) / timedelta(seconds=1)
            if writer.drift is None or abs(drift - writer.drift) >= _DRIFT_STEP:
                writer.drift = float(round(drift))
            readings = [*readings, Reading(DRIFT_POINT, writer.drift)]
        day = time // _DAY
        goes_back = writer.time is not None and time < writer.time
        whole = attempt.whole or writer.broken or goes_back or polled.identity != writer.identity
        first_of_day = day != writer.day
        if whole or first_of_day:
            writer.told.clear()
        writer.day, writer.time, writer.identity, writer.broken = day, time, polled.identity, False
        told, body, own, count = self._changes(connection, source, writer, readings, attempt.due is not None)
        return {
            "points": count,
            "changed": len(body),
            "whole": 2 if first_of_day else int(whole),
            "told": told,
            "oldest": min(own, default=None),
            "newest": max(own, default=None),
            "drift": None if drift is None else round(drift * 1000),
            "body": _encode(body) if body else None,
        }

    def _changes(
        self,
        connection: sqlite3.Connection,
        source: int,
        writer: _Writer,
        readings: Sequence[Reading],
        asked: bool,
    ) -> tuple[int | None, list[tuple[int, Value, int | None]], list[int], int]:
        """The set of points that were told, what changed of them, the readings' own times, and how many they are."""
        names = tuple(reading.point for reading in readings)
        shape = writer.shapes.get(names)
        if shape is not None:
            # The same points in the same order as in an earlier poll: nothing to look up but what changed.
            found = _changed(readings, shape[0], writer.told)
            if found is not None:
                return shape[1], found, [], len(readings)
        # A point that is told twice for one moment has told what it said last.
        by_key = {(reading.point, reading.time): reading for reading in readings if _is_reading(reading)}
        readings = list(by_key.values())
        ids = self._point_ids(connection, source, writer, [reading.point for reading in readings])
        own = [micros(reading.time) for reading in readings if reading.time is not None]
        at_poll = sorted({point for point, reading in zip(ids, readings, strict=True) if reading.time is None})
        told = None
        if at_poll and (asked or len(at_poll) > _FEW):
            told = self._set_id(connection, source, writer, tuple(at_poll))
        body: list[tuple[int, Value, int | None]] = []
        for point, reading in zip(ids, readings, strict=True):
            value: Value = reading.text or "" if reading.value is None else float(reading.value) + 0.0
            time_of = None if reading.time is None else micros(reading.time)
            changed = writer.told.get(point) != (value, time_of)
            writer.told[point] = (value, time_of)
            # Without a set of points the body is what says which points were told.
            if changed or (told is None and time_of is None):
                body.append((point, value, time_of))
        if told is not None and not own and len(ids) == len(names):
            if len(writer.shapes) >= _MOST_SHAPES:
                writer.shapes.clear()
            writer.shapes[names] = (ids, told)
        return told, body, own, len(readings)

    def _source_id(self, connection: sqlite3.Connection, name: str) -> int:
        found = connection.execute("SELECT id FROM sources WHERE name = ?", (name,)).fetchone()
        if found is not None:
            return int(found[0])
        return int(connection.execute("INSERT INTO sources (name) VALUES (?)", (name,)).lastrowid or 0)

    def _writer(self, connection: sqlite3.Connection, name: str, source: int) -> _Writer:
        writer = self._writers.get(name)
        if writer is None:
            points = dict(connection.execute("SELECT name, id FROM points WHERE source = ?", (source,)))
            sets = {
                _decode_ids(body): number
                for number, body in connection.execute("SELECT id, points FROM point_sets WHERE source = ?", (source,))
            }
            writer = self._writers[name] = _Writer(points, sets)
            last = connection.execute(
                "SELECT time FROM polls WHERE source = ? AND outcome = 'ok' ORDER BY sequence DESC LIMIT 1", (source,)
            ).fetchone()
            if last is not None:
                writer.time, writer.day = last[0], last[0] // _DAY
        return writer

    @staticmethod
    def _point_ids(connection: sqlite3.Connection, source: int, writer: _Writer, names: Sequence[str]) -> list[int]:
        known = writer.points
        for name in names:
            if name not in known:
                cursor = connection.execute("INSERT INTO points (source, name) VALUES (?, ?)", (source, name))
                known[name] = int(cursor.lastrowid or 0)
        return [known[name] for name in names]

    @staticmethod
    def _set_id(connection: sqlite3.Connection, source: int, writer: _Writer, points: tuple[int, ...]) -> int | None:
        number = writer.sets.get(points)
        if number is None:
            if len(writer.sets) >= _MOST_SETS:
                return None
            cursor = connection.execute(
                "INSERT INTO point_sets (source, points) VALUES (?, ?)", (source, _encode_ids(points))
            )
            number = writer.sets[points] = int(cursor.lastrowid or 0)
        return number

    # ---- reading

    def newest(self) -> dict[str, int]:
        """By source the sequence number of its newest poll."""
        return dict(
            self.rows(
                "SELECT sources.name, max(polls.sequence) FROM polls JOIN sources ON sources.id = polls.source"
                " GROUP BY polls.source"
            )
        )

    def days_since(self, source: str, after: int, until: int) -> set[date]:
        """UTC days that readings of polls with a number in (after, until] are about.

        Where readings have their own times, every day between the oldest and the newest of a poll counts.
        """
        rows = self.rows(
            "SELECT DISTINCT time / ?, oldest / ?, newest / ? FROM polls WHERE source = (SELECT id FROM sources"
            " WHERE name = ?) AND sequence > ? AND sequence <= ? AND outcome = 'ok' AND points > 0",
            (_DAY, _DAY, _DAY, source, after, until),
        )
        days: set[int] = set()
        for at, oldest, newest in rows:
            days.add(at)
            if oldest is not None:
                days.update(range(oldest, newest + 1))
        return {(_EPOCH + timedelta(days=day)).date() for day in days}

    def good_since(self, source: str, after: int) -> int:
        """How many good polls of a source have a number above `after`."""
        rows = self.rows(
            "SELECT count(*) FROM polls WHERE source = (SELECT id FROM sources WHERE name = ?) AND sequence > ?"
            " AND outcome = 'ok'",
            (source, after),
        )
        return int(rows[0][0])

    def whole_before(self, source: str, sequence: int, least: int = 1) -> int | None:
        """Number of the last poll up to `sequence` that relies on nothing earlier (`least` 2: a day's first)."""
        rows = self.rows(
            "SELECT max(sequence) FROM polls WHERE source = (SELECT id FROM sources WHERE name = ?)"
            " AND sequence <= ? AND whole >= ? AND whole > 0",
            (source, sequence, least),
        )
        return rows[0][0] if rows else None

    def before(self, source: str, time: datetime) -> int:
        """Number such that every good poll of a source with readings from `time` on has a greater one."""
        rows = self.rows(
            "SELECT min(sequence) FROM polls WHERE source = (SELECT id FROM sources WHERE name = ?) AND outcome = 'ok'"
            " AND max(time, coalesce(newest, time)) >= ?",
            (source, micros(time)),
        )
        return int(rows[0][0]) - 1 if rows[0][0] is not None else self.newest().get(source, 0)

    def polls(self, source: str, after: int = 0, until: int | None = None, *, good: bool = False) -> Iterator[Recorded]:
        """The stored polls of a source with a number in (after, until], ascending."""
        where = "AND outcome = 'ok'" if good else ""
        with self._lock, self._explained("read"):
            (number,) = self._connection.execute("SELECT id FROM sources WHERE name = ?", (source,)).fetchone() or (0,)
        page = after
        while True:
            rows = self.rows(
                "SELECT sequence, due, started, took, time, outcome, what, points, changed, whole, told, oldest,"
                f" newest, body FROM polls WHERE source = ? AND sequence > ? AND sequence <= ? {where}"
                " ORDER BY sequence LIMIT 500",
                (number, page, until if until is not None else 1 << 62),
            )
            for sequence, *columns, body in rows:
                decoded = _decode(body) if body is not None else ()
                yield Recorded(*[sequence, source, *columns, decoded])
            if len(rows) < 500:
                return
            page = rows[-1][0]

    def series(self, source: str, start: datetime, stop: datetime) -> Iterator[tuple[Recorded, list[Told]]]:
        """Everything that every good poll of a source told at a time in [start, stop), unchanged values included.

        Yields:
            Each poll with its readings, in the order of the polls. A reading that has its own time is told once.
        """
        first, last = micros(start), micros(stop)
        earliest = self.rows(
            "SELECT sequence FROM polls WHERE source = (SELECT id FROM sources WHERE name = ?) AND outcome = 'ok'"
            " AND time >= ? ORDER BY sequence LIMIT 1",
            (source, first),
        )
        if not earliest:
            return
        begin = self.whole_before(source, earliest[0][0]) or 1
        state: dict[int, Value] = {}
        for poll in self.polls(source, begin - 1, good=True):
            readings = self._readings_of(poll, state)
            if first <= poll.time < last:
                yield poll, readings

    def _readings_of(self, poll: Recorded, state: dict[int, Value]) -> list[Told]:
        """What a poll told, with what was told before it; brings the state up to date."""
        if poll.whole:
            state.clear()
        own: list[Told] = []
        for point, value, time in poll.body:
            if time is None:
                state[point] = value
            if time is not None or poll.told is None:
                own.append((self.point(point), poll.time if time is None else time, value))
        at_poll = [] if poll.told is None else self.point_set(poll.told)
        return [*((self.point(point), poll.time, state[point]) for point in at_poll), *own]

    def point(self, number: int) -> str:
        """The name of a point by its id."""
        if number not in self._points:
            self._points.update(self.rows("SELECT id, name FROM points WHERE id >= ?", (number,)))
        return self._points[number]

    def point_set(self, number: int) -> tuple[int, ...]:
        """The ids of a set of points, ascending."""
        if number not in self._sets:
            rows = self.rows("SELECT id, points FROM point_sets WHERE id >= ?", (number,))
            self._sets.update({row[0]: _decode_ids(row[1]) for row in rows})
        return self._sets[number]

    def documents(self, source: str, after: int = 0) -> Iterator[tuple[int, str, bytes]]:
        """Raw answers of a source since the poll `after`: number of the poll, kind, content."""
        for sequence, kind, content in self.rows(
            "SELECT documents.sequence, documents.kind, documents.content FROM documents JOIN polls USING (sequence)"
            " WHERE polls.source = (SELECT id FROM sources WHERE name = ?) AND sequence > ? ORDER BY sequence",
            (source, after),
        ):
            yield sequence, kind, zlib.decompress(content)

    def gaps(self, source: str, longer: timedelta, since: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
        """Stretches of [since, until) without a good poll that are longer than `longer`, each between the last good
        poll before it and the first one after it. Before the first poll of all there is no gap."""
        times = sorted(
            row[0]
            for row in self.rows(
                "SELECT time FROM polls WHERE source = (SELECT id FROM sources WHERE name = ?) AND outcome = 'ok'"
                " AND time < ?",
                (source, micros(until)),
            )
        )
        found = []
        for before, after in zip(times, [*times[1:], micros(until)], strict=False):
            if after - before > longer // timedelta(microseconds=1) and after > micros(since):
                found.append((moment(before), moment(after)))
        return found

    # ---- small things that must survive

    def state(self, source: str) -> dict[str, Any]:
        """What is kept of a source, by key (see `keep`)."""
        return {
            key: json.loads(text) for key, text in self.rows("SELECT key, value FROM state WHERE source = ?", (source,))
        }

    def keep(self, source: str, key: str, value: Any) -> None:
        """Keep a small thing (JSON) for a source, such as which registers its device does not know; null forgets it."""
        with self.writing() as connection:
            _keep(connection, source, key, value)

    def note(self, text: str, *, kind: str = "note", source: str | None = None, time: datetime | None = None) -> int:
        """Write down what happened, for people. Returns the note's number."""
        with self.writing() as connection:
            cursor = connection.execute(
                "INSERT INTO notes (time, source, kind, text) VALUES (?, ?, ?, ?)",
                (micros(time or datetime.now(UTC)), source, kind, text),
            )
            return int(cursor.lastrowid or 0)

    def notes(self, after: int = 0) -> list[tuple[int, datetime, str | None, str, str]]:
        """Notes since the number `after`: number, time, source, kind, text."""
        rows = self.rows("SELECT id, time, source, kind, text FROM notes WHERE id > ? ORDER BY id", (after,))
        return [(number, moment(time), source, kind, text) for number, time, source, kind, text in rows]

    def post(self, channel: str, body: bytes) -> int:
        """Lay a message into the outbox; it stays until `sent`. Returns its number."""
        with self.writing() as connection:
            now = micros(datetime.now(UTC))
            cursor = connection.execute(
                "INSERT INTO outbox (channel, created, body, due) VALUES (?, ?, ?, ?)", (channel, now, body, now)
            )
            return int(cursor.lastrowid or 0)

    def waiting(self, channel: str, now: datetime, limit: int = 100) -> list[tuple[int, bytes, int]]:
        """Messages of the outbox that are to be sent now, the oldest first: number, body, earlier attempts."""
        return self.rows(
            "SELECT id, body, attempts FROM outbox WHERE channel = ? AND due <= ? ORDER BY id LIMIT ?",
            (channel, micros(now), limit),
        )

    def sent(self, number: int) -> None:
        """A message has arrived: take it out of the outbox."""
        with self.writing() as connection:
            connection.execute("DELETE FROM outbox WHERE id = ?", (number,))

    def not_sent(self, number: int, problem: str, again: datetime) -> None:
        """A message could not be sent: try it again at a time."""
        with self.writing() as connection:
            connection.execute(
                "UPDATE outbox SET attempts = attempts + 1, problem = ?, due = ? WHERE id = ?",
                (problem, micros(again), number),
            )

    # ---- what the lake has, and what may go

    def drained(self, source: str) -> int:
        """Number of the last poll of a source that is in the lake; 0 before the first."""
        rows = self.rows("SELECT sequence FROM drained WHERE source = ?", (source,))
        return int(rows[0][0]) if rows else 0

    def set_drained(self, source: str, sequence: int) -> None:
        """All polls of a source up to this number are in the lake, durably."""
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO drained VALUES (?, ?) ON CONFLICT DO UPDATE SET sequence ="
                " max(sequence, excluded.sequence)",
                (source, sequence),
            )

    def repaired(self, source: str) -> dict[int, tuple[str, int, int]]:
        """Gaps that were asked for again, by their begin: outcome, readings, attempts."""
        rows = self.rows("SELECT start, outcome, readings, attempts FROM repairs WHERE source = ?", (source,))
        return {start: (outcome, readings, attempts) for start, outcome, readings, attempts in rows}

    def set_repaired(self, source: str, start: datetime, stop: datetime, outcome: str, readings: int) -> None:
        """A gap was asked for again: how that ended, and how many readings it gave."""
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO repairs VALUES (?, ?, ?, ?, ?, 1, ?) ON CONFLICT DO UPDATE SET stop = excluded.stop,"
                " outcome = excluded.outcome, readings = excluded.readings, attempts = attempts + 1,"
                " tried = excluded.tried",
                (source, micros(start), micros(stop), outcome, readings, micros(datetime.now(UTC))),
            )

    def prune(self, before: datetime) -> int:
        """Remove polls of the days before a time that are in the lake, with their documents. Returns how many.

        Whole days go, so that what stays relies on nothing that went.
        """
        removed = 0
        limit = micros(before)
        for source, watermark in self.rows("SELECT source, sequence FROM drained"):
            bound = self.rows(
                "SELECT max(sequence) FROM polls WHERE source = (SELECT id FROM sources WHERE name = ?) AND whole = 2"
                " AND sequence <= ? AND time <= ?",
                (source, watermark, limit),
            )[0][0]
            while bound is not None:
                # In pieces: a long transaction would keep the polls waiting.
                with self.writing() as connection:
                    chosen = (
                        "SELECT sequence FROM polls WHERE source = (SELECT id FROM sources WHERE name = ?)"
                        " AND sequence < ? LIMIT 2000"
                    )
                    connection.execute(f"DELETE FROM documents WHERE sequence IN ({chosen})", (source, bound))
                    count = connection.execute(
                        f"DELETE FROM polls WHERE sequence IN ({chosen})", (source, bound)
                    ).rowcount
                removed += count
                if count < 2000:
                    break
        if removed:
            self._shrink()
        return removed

    def thin_documents(self, before: datetime) -> int:
        """Remove raw answers from before a time, except the newest of each source and kind. Returns how many."""
        with self.writing() as connection:
            count = connection.execute(
                "DELETE FROM documents WHERE sequence IN (SELECT sequence FROM polls WHERE time < ?)"
                " AND (sequence, kind) NOT IN (SELECT max(documents.sequence), documents.kind FROM documents"
                " JOIN polls USING (sequence) GROUP BY polls.source, documents.kind)",
                (micros(before),),
            ).rowcount
        if count:
            self._shrink()
        return count

    def thin_failures(self, before: datetime) -> int:
        """Remove failed polls from before a time that the lake's watermark has passed. Returns how many.

        They bear no readings; the good polls around them still tell that there was a gap.
        """
        with self.writing() as connection:
            count = connection.execute(
                "DELETE FROM polls WHERE outcome <> 'ok' AND time < ? AND sequence <= coalesce((SELECT drained.sequence"
                " FROM drained JOIN sources ON sources.name = drained.source WHERE sources.id = polls.source), 0)"
                " AND sequence < (SELECT max(sequence) FROM polls)",  # the next number follows from the newest one
                (micros(before),),
            ).rowcount
        if count:
            self._shrink()
        return count

    def _shrink(self) -> None:
        """Give pages that became free back to the disk, as many as do not keep the polls waiting for long."""
        with self._lock, self._explained("shrink"):
            # As a script: `execute` takes one step of it, which is one page.
            self._connection.executescript("PRAGMA incremental_vacuum(5000)")

    def size(self) -> int:
        """Bytes on the disk, the log included."""
        files = (self.path, self.path.with_name(f"{FILE}-wal"))
        return sum(path.stat().st_size for path in files if path.exists())

    def problems(self) -> list[str]:
        """What SQLite's own check of the whole file finds; empty when it is sound."""
        return [row[0] for row in self.rows("PRAGMA integrity_check") if row[0] != "ok"]

    # ---- SQLite

    def rows(self, query: str, values: Iterable[Any] = ()) -> list[Any]:
        """The rows that a query gives.

        Raises:
            LandingError: the store cannot be read.
        """
        with self._lock, self._explained("read"):
            return self._connection.execute(query, tuple(values)).fetchall()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all that is written in it is on the disk when it ends, or nothing of it.

        Raises:
            LandingError: nothing of it was stored.
        """
        with self._lock, self._explained("write"):
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                self._writers.clear()  # what they know may include rows that are now rolled back
                with contextlib.suppress(sqlite3.Error):
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except LandingError:
            raise
        except (sqlite3.Error, OSError) as error:
            raise LandingError(f"cannot {doing} {self.path} ({error})", _remedy(error)) from error


def _remedy(error: Exception) -> str:
    text = str(error).lower()
    if "full" in text or "no space" in text or "too large" in text:
        return "Make room on that disk; what was committed is safe, and it goes on by itself"
    if "readonly" in text or "read-only" in text or "permission" in text or "unable to open" in text:
        return "Give this user the right to write to that folder, or name another one with --data"
    if "malformed" in text or "not a database" in text:
        return "Move the file away: a new one is begun, and what the lake has stays; keep the old one for a repair"
    if "locked" in text or "busy" in text:
        return "Another program holds it for long; close it"
    return "Mend the disk, or name another data folder with --data"


def _keep(connection: sqlite3.Connection, source: str, key: str, value: Any) -> None:
    if value is None:
        connection.execute("DELETE FROM state WHERE source = ? AND key = ?", (source, key))
        return
    connection.execute(
        "INSERT INTO state VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value,"
        " changed = excluded.changed",
        (source, key, json.dumps(value, ensure_ascii=False), micros(datetime.now(UTC))),
    )


def _is_reading(reading: Reading) -> bool:
    """Whether it says exactly one thing of one point, and that is a text or a number."""
    if not isinstance(reading.point, str):
        return False
    if reading.text is not None:
        return isinstance(reading.text, str) and reading.value is None
    number = isinstance(reading.value, int | float) and not isinstance(reading.value, bool)
    return number and math.isfinite(reading.value or 0.0)


def _changed(
    readings: Sequence[Reading], ids: Sequence[int], told: dict[int, tuple[Value, int | None]]
) -> list[tuple[int, Value, int | None]] | None:
    """What differs from what was told before, which is brought up to date; None, and nothing is, when one of the
    readings is none, or has its own time."""
    found: list[tuple[int, Value, int | None]] = []
    for point, reading in zip(ids, readings, strict=True):
        value = reading.value if reading.text is None else reading.text
        if (value, None) != told.get(point):
            if value is None or not _is_reading(reading):
                return None
            found.append((point, value if isinstance(value, str) else float(value) + 0.0, None))
        if reading.time is not None:
            return None
    for point, value, _ in found:
        told[point] = (value, None)
    return found


def _plain(value: Value) -> Value | int:
    """The shortest JSON that reads back as the same: 21 instead of 21.0."""
    if isinstance(value, str) or not value.is_integer() or abs(value) > 1e15:
        return value
    return int(value)


def _encode(body: Sequence[tuple[int, Value, int | None]]) -> bytes:
    """zlib of JSON: ids (each as the difference to the one before), values, own times (left out where none has one)."""
    columns: list[Any] = [_differences([item[0] for item in body]), [_plain(item[1]) for item in body]]
    if any(item[2] is not None for item in body):
        columns.append([item[2] for item in body])
    return zlib.compress(json.dumps(columns, ensure_ascii=False, separators=(",", ":")).encode(), 6)


def _decode(data: bytes) -> tuple[tuple[int, Value, int | None], ...]:
    columns: list[list[Any]] = json.loads(zlib.decompress(data))
    ids, values = _sums(columns[0]), columns[1]
    times = columns[2] if len(columns) > 2 else [None] * len(ids)
    return tuple(
        (point, value if isinstance(value, str) else float(value), time)
        for point, value, time in zip(ids, values, times, strict=True)
    )


def _encode_ids(ids: Sequence[int]) -> bytes:
    return zlib.compress(json.dumps(_differences(ids), separators=(",", ":")).encode(), 9)


def _decode_ids(data: bytes) -> tuple[int, ...]:
    return tuple(_sums(json.loads(zlib.decompress(data))))


def _differences(ids: Sequence[int]) -> list[int]:
    return [now - before for before, now in zip((0, *ids), ids, strict=False)]


def _sums(differences: Sequence[int]) -> list[int]:
    total, result = 0, []
    for step in differences:
        total += step
        result.append(total)
    return result
