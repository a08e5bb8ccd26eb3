"""Readings: what every source yields, made regular, and the report of what was not believed.

A *reading* is one value of one point at one time. The frame of readings has the columns

| column | type | meaning |
|---|---|---|
| `point` | String | the source's own name of the series |
| `time` | Datetime("us", "UTC") | when it was read |
| `value` | Float64 | the number, null if it is text |
| `text` | String | the text, null if it is a number |

Exactly one of `value` and `text` is set. Rows are sorted by (point, time) and unique by it. NaN and infinities never
appear. Whatever is turned away is counted, by reason, in `Rejects`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

READINGS_SCHEMA = pl.Schema(
    {"point": pl.String(), "time": pl.Datetime("us", "UTC"), "value": pl.Float64(), "text": pl.String()}
)
"""Columns and types of every frame of readings."""

FUTURE_TOLERANCE = timedelta(minutes=10)
"""How far a device's clock may run ahead before its readings are turned away."""

NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
"""What counts as a number, in the notation that every program reads."""

_NOT_FINITE = r"(?i)^[+-]?(?:nan|inf|infinity)$"
_KEPT_PER_REASON = 5


@dataclass(frozen=True, slots=True)
class Reject:
    """One reading, or one line, that was turned away.

    Attributes:
        reason: why, without the particulars.
        line: line of the file (1 is its first line) or row of a table; None when there is none.
        point: native name of the series, when it was known.
        time: when it was read, as far as it was understood.
        found: what stood there, shortened.
    """

    reason: str
    line: int | None = None
    point: str | None = None
    time: datetime | str | None = None
    found: str | None = None

    def __str__(self) -> str:
        parts = [f"line {self.line}" if self.line is not None else None, self.point]
        parts.append(self.time.isoformat(sep=" ") if isinstance(self.time, datetime) else self.time)
        where = ", ".join(part for part in parts if part)
        found = f" (found: {self.found})" if self.found is not None else ""
        return f"{where}: {self.reason}{found}" if where else f"{self.reason}{found}"


class Rejects:
    """What was turned away: every one is counted, the first ones are kept as examples.

    The memory it takes is bounded: `keep` examples in all, and the first five of each reason.

    Attributes:
        counts: number of rejects by reason.
        kept: the examples.
        conflicts: how often one point had several different readings at one time (one of them was kept).
    """

    def __init__(self, keep: int = 100) -> None:
        self.keep = keep
        self.counts: Counter[str] = Counter()
        self.kept: list[Reject] = []
        self.conflicts = 0
        self._kept_by_reason: Counter[str] = Counter()

    def __len__(self) -> int:
        return self.counts.total()

    def __bool__(self) -> bool:
        return bool(self.counts)

    def add(self, reject: Reject) -> None:
        """Count one reject and keep it if it is among the first."""
        self.counts[reject.reason] += 1
        self._keep(reject)

    def extend(self, other: Rejects) -> None:
        """Take over what another report counted and kept."""
        self.counts.update(other.counts)
        self.conflicts += other.conflicts
        for reject in other.kept:
            self._keep(reject)

    def add_rows(self, rows: pl.DataFrame, reason: str, found: str | None = None) -> None:
        """Count the rows of a frame that may have the columns `line`, `point` and `time`.

        Args:
            rows: the rows turned away.
            reason: why.
            found: the column that holds what was found.
        """
        if rows.is_empty():
            return
        self.counts[reason] += rows.height
        for row in rows.head(max(self.keep - len(self.kept), _KEPT_PER_REASON)).iter_rows(named=True):
            self._keep(
                Reject(
                    reason,
                    line=row.get("line"),
                    point=row.get("point"),
                    time=row.get("time"),
                    found=None if found is None else _shortened(row.get(found)),
                )
            )

    def _keep(self, reject: Reject) -> None:
        if len(self.kept) < self.keep or self._kept_by_reason[reject.reason] < _KEPT_PER_REASON:
            self.kept.append(reject)
            self._kept_by_reason[reject.reason] += 1

    def summary(self) -> str:
        """One line: how many, and why, the most frequent reason first."""
        if not self.counts:
            return "nothing rejected"
        reasons = "; ".join(f"{count:,} × {reason}" for reason, count in self.counts.most_common())
        return f"{len(self):,} rejected: {reasons}"

    def lines(self) -> list[str]:
        """The examples as text, in the order of the file."""
        by_line = sorted(self.kept, key=lambda reject: (reject.line is None, reject.line or 0))
        return [str(reject) for reject in by_line]


def _shortened(found: object, length: int = 120) -> str | None:
    if found is None:
        return None
    text = str(found)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def start_of_day(day: date) -> datetime:
    """Midnight UTC of a date."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def normalise(
    readings: pl.DataFrame,
    rejects: Rejects,
    *,
    start: date,
    now: datetime,
    tolerance: timedelta = FUTURE_TOLERANCE,
) -> pl.DataFrame:
    """Readings as they may be stored: finite, in time, exclusive, sorted and unique.

    Text that is a number becomes a number; any other text stays as it was given. A row with neither value nor text
    says nothing and is dropped without a word. The result does not depend on the order of the rows.

    Args:
        readings: columns `point`, `time`, `value`, `text`, and `line` where the origin has lines.
        rejects: where what is turned away is reported.
        start: the first UTC day that may hold readings; clocks that were never set say 1970.
        now: the present; readings later than `now + tolerance` are turned away.
        tolerance: how far a device's clock may run ahead.

    Returns:
        A frame of `READINGS_SCHEMA`.
    """
    if "line" not in readings.columns:
        readings = readings.with_columns(line=pl.lit(None, pl.Int64))
    text = pl.col("text").str.strip_chars()
    is_number = text.str.contains(NUMBER)
    readings = readings.select(
        "line",
        pl.col("point").cast(pl.String),
        pl.col("time").cast(READINGS_SCHEMA["time"]),
        pl.col("value").cast(pl.Float64),
        pl.when(text.str.len_bytes() > 0).then(pl.col("text")).alias("text"),
    ).with_columns(
        value=pl.coalesce("value", pl.when(is_number).then(text).cast(pl.Float64, strict=False)),
        text=pl.when(pl.col("value").is_null() & ~is_number).then(pl.col("text")),
    )
    # -0.0 and 0.0 are the same reading, and must be the same bytes.
    readings = readings.with_columns(value=pl.when(pl.col("value") == 0).then(0.0).otherwise("value")).filter(
        pl.col("value").is_not_null() | pl.col("text").is_not_null()
    )

    first, last = start_of_day(start), now + tolerance
    finite = pl.col("value").is_finite().fill_null(~pl.col("text").str.strip_chars().str.contains(_NOT_FINITE))
    in_time = pl.col("time").is_between(first, last)
    named = pl.col("point").str.len_bytes() > 0
    good = (named & finite & in_time).fill_null(False)
    bad = readings.filter(~good)
    if not bad.is_empty():
        found = bad.with_columns(found=pl.coalesce(pl.col("value").cast(pl.String), "text"))
        reason = (
            pl.when(~named.fill_null(False))
            .then(pl.lit("no name of a point"))
            .when(pl.col("time").is_null())
            .then(pl.lit("no time"))
            .when(pl.col("time") < first)
            .then(pl.lit(f"time before the site's start {start.isoformat()}"))
            .when(pl.col("time") > last)
            .then(pl.lit("time in the future"))
            .otherwise(pl.lit("not a finite number"))
        )
        for (why,), rows in found.with_columns(reason=reason).group_by("reason", maintain_order=True):
            rejects.add_rows(rows.with_columns(_representable_time()), str(why), "found")
        readings = readings.filter(good)
    readings, conflicts = deduplicate(readings.select(READINGS_SCHEMA.names()))
    rejects.conflicts += conflicts
    return readings


def _representable_time() -> pl.Expr:
    """Times outside of the years 1 to 9999 cannot be shown: null."""
    shown = pl.col("time").is_between(datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))
    return pl.when(shown).then(pl.col("time")).alias("time")


def deduplicate(readings: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Readings sorted by (point, time) with one row for each, whatever the order they came in.

    Of several readings of one point at one time a number is kept before a text, and the larger number or text before
    the smaller. The rule is a maximum: it may be applied to parts and again to their union.

    Returns:
        The readings, and for how many (point, time) there were different ones.
    """
    names = pl.Enum(readings["point"].unique().sort())
    coded = readings.with_columns(pl.col("point").cast(names)).sort("point", "time")
    repeated = ((pl.col("point") == pl.col("point").shift()) & (pl.col("time") == pl.col("time").shift())).fill_null(
        False
    )
    conflicts = 0
    if coded.select(repeated.any()).item():
        kept = coded.group_by("point", "time").agg(
            value=pl.col("value").max(),
            text=pl.col("text").max(),
            different=pl.struct("value", "text").n_unique() > 1,
        )
        conflicts = int(kept["different"].sum())
        coded = kept.with_columns(text=pl.when(pl.col("value").is_null()).then(pl.col("text"))).sort("point", "time")
    return coded.select(pl.col("point").cast(pl.String), "time", "value", "text"), conflicts


def concatenated(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Several frames of readings as one, sorted and unique."""
    readings, _ = deduplicate(pl.concat([READINGS_SCHEMA.to_frame(), *frames]))
    return readings
