"""Readings of the counters of one source → tables `counters`, `counter_ledger`, `counter_states`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from hp_pipeline.transforms import calendar
from hp_pipeline.transforms.counters.classify import INCREMENT_WORDS, Classified, Day, classify
from hp_pipeline.transforms.counters.path import LATE, WORD, Bounds
from hp_pipeline.transforms.counters.runs import PER_UNIT, Mark, Whole
from hp_pipeline.transforms.decode import assigned
from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.schema import UTC as UTC_TIME
from hp_pipeline.transforms.schema import conform, schema
from hp_pipeline.vocabulary.counters import CounterRule, OwnersWord
from hp_pipeline.vocabulary.profiles import Profile, SignalMapping
from hp_pipeline.vocabulary.tables import LEDGER_KINDS

DEVICE_POINT = "device.mac"
"""The point in which a source says whose counters these are; where its word changes, another device is read."""

_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Counter:
    """One counter of a heat pump.

    Attributes:
        source: that reads it.
        mapping: what the profile says of it.
        point: the source's own name of it.
        precedence: see table `counters`.
        rule: what it can do.
        words: what the owner says of it, in order of time.
    """

    source: str
    mapping: SignalMapping
    point: str
    precedence: int
    rule: CounterRule
    words: tuple[OwnersWord, ...] = ()


def counters_of(
    source: str,
    profile: Profile,
    before: Mapping[str, int],
    points: Iterable[str],
    words_of: Callable[[str, str], tuple[OwnersWord, ...]] = lambda signal, point: (),
) -> list[Counter]:
    """The counters among the points of a source.

    Args:
        words_of: what the owner says of the counter of a signal and point.
        before: by signal, how many places of precedence the inputs before this one take.
    """
    pairs = assigned(profile, points, {})
    found = []
    for mapping, point in pairs:
        if mapping.counter is None:
            continue
        place = 0 if mapping.summed else next(i for i, one in enumerate(mapping.selectors) if one.matches(point))
        precedence = before.get(mapping.signal.name, 0) + place
        words = words_of(mapping.signal.name, point)
        found.append(Counter(source, mapping, point, precedence, mapping.counter, words))
    return found


@dataclass(frozen=True)
class View:
    """The days to do, and how far their readings are looked at.

    Attributes:
        keys: the days.
        until: for each the end (UTC) of the readings that can tell that one of the day was wrong.
        more_follows: for each whether that is all that is ever looked at.
        time_zone: of the house.
        session_gap: a longer silence of the source is a gap.
    """

    keys: Sequence[date]
    until: Sequence[datetime]
    more_follows: Sequence[bool]
    time_zone: str
    session_gap: timedelta

    def days(self) -> list[Day]:
        """The days in microseconds."""
        return [
            Day(_midnight(key), _midnight(key) + _DAY_US, _us(until), more)
            for key, until, more in zip(self.keys, self.until, self.more_follows, strict=True)
        ]


@dataclass(frozen=True)
class Counted:
    """Tables `counters`, `counter_ledger` and, with a column `day`, `counter_states`, without `heat_pump`."""

    increments: pl.DataFrame
    ledger: pl.DataFrame
    states: pl.DataFrame


def count(
    counters: Iterable[Counter], readings: pl.DataFrame, read: pl.Series, states: pl.DataFrame, view: View
) -> Counted:
    """What the counters of one source counted on some days.

    Args:
        counters: of one source.
        readings: `point`, `time`, `value`, `text` of the counters and the `DEVICE_POINT`, from the first day to the
            last one's `until`.
        read: every time that anything of the source was read, ascending.
        states: table `counter_states` at the end of the day before the first.
    """
    devices, names = _devices(readings, states)
    known = {(row["signal"], row["point"]): row for row in states.iter_rows(named=True)}
    parts: list[tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]] = []
    days = view.days()
    for counter in counters:
        own = _numbers(readings.filter(pl.col("point") == counter.point).sort("time"), counter.mapping)
        own = own.with_columns(doubted=_doubted(counter))
        believed = own.filter(pl.col("believed") & ~pl.col("doubted"))
        state = known.get((counter.mapping.signal.name, counter.point))
        bounds = _bounds(counter, view)
        times = believed["time"].to_physical().to_numpy()
        device = _device_at(believed["time"], devices, 0 if state is None else names.get(state["device"], 0))
        device += _words_before(counter, times)
        found = classify(times, believed["shown"].to_numpy(), device, bounds, days, _mark(counter, state, names))
        silences = _Silences(read, state, view)
        parts.append(
            (
                _increments(counter, found, silences),
                _ledger(counter, found, own, silences, view),
                _states(counter, found, silences, view, {number: name for name, number in names.items()}),
            )
        )
    if not parts:
        return Counted(conform(None, "counters"), conform(None, "counter_ledger"), _no_states())
    increments, ledger, ends = (pl.concat(column, how="vertical") for column in zip(*parts, strict=True))
    return Counted(conform(increments, "counters"), conform(ledger, "counter_ledger"), ends)


def _no_states() -> pl.DataFrame:
    return pl.DataFrame(schema={**schema("counter_states"), "day": pl.Date()})


def _us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _midnight(day: date) -> int:
    return (day - date(1970, 1, 1)).days * _DAY_US


def _numbers(readings: pl.DataFrame, mapping: SignalMapping) -> pl.DataFrame:
    """`time`, `shown` (millionths) and whether it is `believed`: within the signal's range and not on the reject
    list. Words that are no numbers are left out."""
    value = pl.coalesce("value", pl.col("text").cast(pl.Float64, strict=False)) * mapping.factor + mapping.offset
    numbers = readings.select("time", value=value).filter(pl.col("value").is_finite())
    believed = ~pl.col("value").is_in(mapping.reject)
    low, high = mapping.signal.minimum, mapping.signal.maximum
    if low is not None and high is not None:
        believed &= pl.col("value").is_between(low, high)
    within = pl.col("value").clip(-9e12, 9e12)
    return numbers.select("time", shown=(within * PER_UNIT).round().cast(pl.Int64), believed=believed)


def _devices(readings: pl.DataFrame, states: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """`time`, `device` (number) where the device tells its name; and the numbers by name."""
    told = readings.filter(pl.col("point") == DEVICE_POINT, pl.col("text").is_not_null()).sort("time")
    series = told.select("time", name="text")
    known = dict.fromkeys([*states["device"].drop_nulls().sort(), *series["name"]])
    numbers = {name: number for number, name in enumerate(known, start=1)}
    return series.select(
        "time", device=pl.col("name").replace_strict(numbers, default=0, return_dtype=pl.Int64)
    ), numbers


def _device_at(times: pl.Series, devices: pl.DataFrame, before: int) -> Whole:
    if devices.is_empty():
        return np.full(times.len(), before, np.int64)
    joined = pl.DataFrame({"time": times}).join_asof(devices, on="time", check_sortedness=False)
    return joined["device"].fill_null(before).to_numpy().astype(np.int64)


def _doubted(counter: Counter) -> pl.Expr:
    """Whether the owner does not believe a reading."""
    told = [pl.col("time").is_between(word.at, word.until) for word in counter.words if word.verdict == "doubt"]
    return pl.any_horizontal(told) if told else pl.lit(False)


def _steps_told(counter: Counter) -> list[OwnersWord]:
    return [word for word in counter.words if word.verdict != "doubt"]


def _words_before(counter: Counter, times: Whole) -> Whole:
    """`WORD` times how many of the owner's words on how it goes on lie before each reading, or at it."""
    return WORD * np.searchsorted([_us(word.at) for word in _steps_told(counter)], times, side="right").astype(np.int64)


def _mark(counter: Counter, state: dict[str, Any] | None, names: Mapping[str, int]) -> Mark | None:
    if state is None:
        return None
    shown = round(state["shown"] * PER_UNIT)
    begun = None if state["begun"] is None else _us(state["begun"])
    read = _us(state["time"])
    device = names.get(state["device"], 0) + int(_words_before(counter, np.array([read]))[0])
    return Mark(read, _us(state["since"]), shown, state["scale"], device, begun)


def _bounds(counter: Counter, view: View) -> Bounds:
    resets = counter.rule.resets
    first, last = view.keys[0], max(view.until).date()
    if resets == "daily":
        days = [first + timedelta(days=number) for number in range(-1, (last - first).days + 2)]
    elif resets == "yearly":
        days = [date(year, 1, 1) for year in range(first.year - 1, last.year + 2)]
    else:
        days = []
    schedule = np.array([_us(calendar.day_start(day, view.time_zone)) for day in days], np.int64)
    words = tuple(word.verdict for word in _steps_told(counter))
    return Bounds(counter.rule, schedule, LATE if resets == "daily" else LATE + _DAY_US, words)


class _Silences:
    """When the source was silent for longer than `session_gap`."""

    def __init__(self, read: pl.Series, state: dict[str, Any] | None, view: View) -> None:
        times = read.to_physical().to_numpy().astype(np.int64)
        self._state = None if state is None else (_us(state["time"]), _us(state["last_read"]), bool(state["silent"]))
        if self._state is not None:
            times = np.concatenate([[self._state[1]], times])
        long = np.flatnonzero(np.diff(times) > view.session_gap // timedelta(microseconds=1))
        self._from, self._to, self._times = times[long], times[long + 1], times

    def between(self, start: Whole, end: Whole) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Whether a silence lies between two readings."""
        silent = np.zeros(start.size, np.bool_)
        if self._from.size:
            at = np.searchsorted(self._from, start)
            inside = at < self._from.size
            silent = inside & (self._to[np.minimum(at, self._from.size - 1)] <= end)
        if self._state is not None and self._state[2]:
            silent |= start <= self._state[0]
        return silent

    def last_read(self, before: int) -> int:
        """The last time before a moment that anything of the source was read."""
        return int(self._times[int(np.searchsorted(self._times, before)) - 1])


def _joined(found: Classified, name: str, dtype: type) -> np.ndarray[Any, Any]:
    return np.concatenate([np.zeros(0, dtype), *(part[name] for part in found.increments)]).astype(dtype)


def _increments(counter: Counter, found: Classified, silences: _Silences) -> pl.DataFrame:
    columns = {name: _joined(found, name, np.int64) for name in ("start", "last_unchanged", "end")}
    numbers = {name: _joined(found, name, np.int64) for name in ("increment", "total")}
    frame = pl.DataFrame(
        {
            **columns,
            **numbers,
            "word": _joined(found, "kind", np.int64),
            "over_gap": silences.between(columns["last_unchanged"], columns["end"]),
            "provisional": _joined(found, "provisional", np.bool_),
        },
        schema_overrides={"word": pl.Int64()},
    )
    word = pl.col("word").replace_strict(dict(enumerate(INCREMENT_WORDS)), return_dtype=pl.String)
    kind = (
        pl.when(word.is_in(["step", "late"]) & pl.col("over_gap"))
        .then(pl.lit("outage"))
        .when(word == "scheduled")
        .then(pl.lit(_scheduled(counter)))
        .otherwise(word)
    )
    # Between readings that follow each other closely, what was not taken is not worth a word.
    told = frame.filter((pl.col("increment") > 0) | pl.col("over_gap"))
    return told.select(
        *_whose(counter),
        pl.lit(counter.precedence, pl.Int64).alias("precedence"),
        *(pl.col(name).cast(UTC_TIME) for name in ("start", "last_unchanged", "end")),
        *(divided(pl.col(name), PER_UNIT).alias(name) for name in ("increment", "total")),
        kind.alias("kind"),
        "over_gap",
        "provisional",
    )


def _scheduled(counter: Counter) -> str:
    return "year_reset" if counter.rule.resets == "yearly" else "day_reset"


def _whose(counter: Counter) -> list[pl.Expr]:
    words = {"source": counter.source, "signal": counter.mapping.signal.name, "point": counter.point}
    return [pl.lit(None, pl.String).alias("heat_pump"), *(pl.lit(word).alias(name) for name, word in words.items())]


_ENTRY = {
    "time": pl.Int64(),
    "until": pl.Int64(),
    "kind": pl.String(),
    "before": pl.Int64(),
    "after": pl.Int64(),
    "readings": pl.Int64(),
    "increment_taken": pl.Int64(),
    "factor": pl.Float64(),
    "provisional": pl.Boolean(),
    "by_owner": pl.Boolean(),
}


def _ledger(
    counter: Counter, found: Classified, numbers: pl.DataFrame, silences: _Silences, view: View
) -> pl.DataFrame:
    entries = pl.DataFrame(found.ledger, schema=_ENTRY, orient="row")
    entries = entries.with_columns(reversible=pl.lit(True))
    rows = pl.concat([entries, _unreadable(numbers, view), _outages(found, silences)])
    kind = pl.col("kind").replace({"scheduled": _scheduled(counter)})
    unseen = kind.is_in(["day_reset", "year_reset", "reset", "rollback", "jump", "handover"]) & ~pl.col("by_owner")
    meaning = kind.replace_strict(LEDGER_KINDS, return_dtype=pl.String)
    note = (
        pl.when(pl.col("factor").is_not_null())
        .then(pl.format("{} (what it shows times {})", meaning, pl.col("factor")))
        .when(pl.col("readings") > 1)
        .then(pl.format("{} ({} readings)", meaning, pl.col("readings")))
        .otherwise(meaning)
    )
    return rows.sort("time", "kind").select(
        *_whose(counter),
        pl.col("time").cast(UTC_TIME),
        pl.col("until").cast(UTC_TIME),
        kind.alias("kind"),
        divided(pl.col("before"), PER_UNIT).alias("before"),
        divided(pl.col("after"), PER_UNIT).alias("after"),
        "readings",
        divided(pl.col("increment_taken"), PER_UNIT).alias("increment_taken"),
        (~unseen).alias("exact"),
        "reversible",
        "by_owner",
        note.alias("note"),
        "provisional",
    )


def _unreadable(numbers: pl.DataFrame, view: View) -> pl.DataFrame:
    """Entries for the numbers that are outside the range or on the reject list, or that the owner does not believe, one
    for each number and day."""
    first, behind = (_midnight(day) for day in (view.keys[0], view.keys[-1] + timedelta(days=1)))
    return (
        numbers.filter(~pl.col("believed") | pl.col("doubted"))
        .with_columns(pl.col("time").to_physical())
        .filter(pl.col("time") >= first, pl.col("time") < behind)
        .group_by(pl.col("time") // _DAY_US, "shown", "believed", maintain_order=True)
        .agg(first=pl.col("time").min(), last=pl.col("time").max(), readings=pl.len().cast(pl.Int64))
        .select(
            time="first",
            until="last",
            kind=pl.when("believed").then(pl.lit("doubted")).otherwise(pl.lit("sentinel")),
            before=pl.lit(None, pl.Int64),
            after="shown",
            readings="readings",
            increment_taken=pl.lit(0, pl.Int64),
            factor=pl.lit(None, pl.Float64),
            provisional=pl.lit(False),
            by_owner="believed",
            reversible="believed",
        )
    )


def _outages(found: Classified, silences: _Silences) -> pl.DataFrame:
    """Entries for what was counted on over a silence."""
    end, increment = _joined(found, "end", np.int64), _joined(found, "increment", np.int64)
    total, kind = _joined(found, "total", np.int64), _joined(found, "kind", np.int64)
    over = silences.between(_joined(found, "last_unchanged", np.int64), end) & (kind <= 1)
    return pl.DataFrame(
        {
            "time": end[over],
            "until": end[over],
            "kind": ["outage"] * int(over.sum()),
            "before": (total - increment)[over],
            "after": total[over],
            "readings": np.zeros(int(over.sum()), np.int64),
            "increment_taken": increment[over],
            "factor": [None] * int(over.sum()),
            "provisional": _joined(found, "provisional", np.bool_)[over],
            "by_owner": np.zeros(int(over.sum()), np.bool_),
        },
        schema=_ENTRY,
    ).with_columns(reversible=pl.lit(True))


def _states(
    counter: Counter, found: Classified, silences: _Silences, view: View, names: Mapping[int, str]
) -> pl.DataFrame:
    rows = []
    for key, mark in zip(view.keys, found.marks, strict=True):
        if mark is None:
            continue
        last_read = max(silences.last_read(_midnight(key) + _DAY_US), mark.read)
        silent = bool(silences.between(np.array([mark.read]), np.array([last_read]))[0])
        device = names.get(mark.device % WORD)
        rows.append((mark.read, mark.since, mark.shown, mark.scale, device, mark.begun, last_read, silent, key))
    types = {
        **dict.fromkeys(("time", "since", "shown"), pl.Int64()),
        "scale": pl.Float64(),
        "device": pl.String(),
        **dict.fromkeys(("begun", "last_read"), pl.Int64()),
        "silent": pl.Boolean(),
        "day": pl.Date(),
    }
    frame = pl.DataFrame(rows, schema=types, orient="row")
    return frame.select(
        *_whose(counter),
        pl.lit(counter.precedence, pl.Int64).alias("precedence"),
        *(pl.col(name).cast(UTC_TIME) for name in ("time", "since")),
        divided(pl.col("shown"), PER_UNIT).alias("shown"),
        "scale",
        "device",
        *(pl.col(name).cast(UTC_TIME) for name in ("begun", "last_read")),
        "silent",
        "day",
    )
