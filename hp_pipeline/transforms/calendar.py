"""The house's calendar: local hours, days, weeks, months and years as stretches of UTC.

A local day may have 23 or 25 hours (on Lord Howe 23.5 or 24.5); an hour of a zone with a half-hour offset begins at
half past in UTC. Where clocks are put by part of an hour, or in the middle of one, the change cuts the hour in two.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl

from hp_pipeline.transforms import schema

PeriodName = Literal["daily", "weekly", "monthly", "seasonal", "yearly"]
Grouping = Literal["all", "year", "season", "month", "week", "day"]

SEASON_MONTH = 7
"""The month in which a heating season's year begins where the settings name no other (`site.heating_season_starts`):
July, when least is heated in the northern hemisphere."""


def day_start(day: date, time_zone: str) -> datetime:
    """The instant (UTC) at which a local day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(time_zone)).astimezone(UTC)


def local_date(moment: datetime, time_zone: str) -> date:
    """The local date of an instant."""
    return moment.astimezone(ZoneInfo(time_zone)).date()


_QUARTER = timedelta(minutes=15)
"""Every zone's offset is a multiple of it, and so is every moment at which one changes (since 1972)."""


def hour_start(time: str, time_zone: str) -> pl.Expr:
    """The instant at which the local hour of column `time` (UTC) began."""
    return pl.col(time).map_batches(lambda moments: _hour_starts(moments, time_zone), return_dtype=schema.UTC)


def _hour_starts(moments: pl.Series, time_zone: str) -> pl.Series:
    quarters = moments.dt.truncate(_QUARTER).alias("quarter")
    hours = quarters.unique().to_frame()
    quarter = pl.col("quarter")
    into = (quarter + _offset(quarter, time_zone)).dt.epoch("us") % (3600 * 1_000_000)
    hours = hours.with_columns(hour=quarter - pl.duration(microseconds=into))
    candidates = [pl.col("hour") + count * _QUARTER for count in range(4)]
    same_clock = [
        pl.when(_offset(moment, time_zone) == _offset(quarter, time_zone)).then(moment) for moment in candidates
    ]
    hours = hours.with_columns(hour=pl.coalesce(same_clock))
    return quarters.to_frame().join(hours, on="quarter", how="left", maintain_order="left")["hour"]


def _offset(moment: pl.Expr, time_zone: str) -> pl.Expr:
    return moment.dt.convert_time_zone(time_zone).dt.replace_time_zone(None) - moment.dt.replace_time_zone(None)


def hour_end(start: datetime, time_zone: str) -> datetime:
    """The instant at which the local hour that began at `start` (of `hour_start`) ends."""
    zone = ZoneInfo(time_zone)
    local = start.astimezone(zone)
    end = start + _QUARTER
    while end.astimezone(zone).utcoffset() == local.utcoffset() and end.astimezone(zone).minute:
        end += _QUARTER
    return end


def local_iso(moments: Iterable[datetime], time_zone: str) -> list[str]:
    """Instants as ISO 8601 in the house's time with its offset, to the minute."""
    zone = ZoneInfo(time_zone)
    return [moment.astimezone(zone).isoformat(timespec="minutes") for moment in moments]


def first_day(name: PeriodName, day: date, season_starts: int = SEASON_MONTH) -> date:
    """The first day of the period that a local day lies in; heating seasons begin with the month `season_starts`."""
    match name:
        case "daily":
            return day
        case "weekly":
            return day - timedelta(days=day.weekday())
        case "monthly":
            return day.replace(day=1)
        case "seasonal":
            return season_of(day, season_starts)
        case "yearly":
            return day.replace(month=1, day=1)


def next_period(name: PeriodName, first: date) -> date:
    """The first day of the period after the one that begins with `first`."""
    match name:
        case "daily":
            return first + timedelta(days=1)
        case "weekly":
            return first + timedelta(days=7)
        case "monthly":
            return (first + timedelta(days=32)).replace(day=1)
        case "seasonal" | "yearly":
            return first.replace(year=first.year + 1)


def wanted_period(name: PeriodName, periods: Sequence[date], day: date) -> date | None:
    """Which of the periods, by their first days in ascending order, a local day lies in; None when in none."""
    place = bisect_right(periods, day) - 1
    return periods[place] if place >= 0 and day < next_period(name, periods[place]) else None


def period_label(name: PeriodName, first: date) -> str:
    """How a period is called: 2026-03-29, 2026-W13, 2026-03, 2025/26 (a heating season over two years), 2026."""
    match name:
        case "daily":
            return first.isoformat()
        case "weekly":
            year, week, _ = first.isocalendar()
            return f"{year}-W{week:02d}"
        case "monthly":
            return f"{first:%Y-%m}"
        case "seasonal" if first.month > 1:
            return f"{first.year}/{(first.year + 1) % 100:02d}"
        case "seasonal" | "yearly":
            return f"{first:%Y}"


def season_of(day: date, season_starts: int = SEASON_MONTH) -> date:
    """The first day of the heating season that a local day lies in."""
    year = day.year if day.month >= season_starts else day.year - 1
    return date(year, season_starts, 1)


def grouped(grouping: Grouping, day: date, season_starts: int = SEASON_MONTH) -> tuple[date, date, str]:
    """For a way to group days: the first day of the group, the day after its last, and its label.

    `all` is one group; its bounds are those of the calendar.
    """
    if grouping == "all":
        return date.min, date.max, "all"
    names: dict[str, PeriodName] = {
        "year": "yearly",
        "season": "seasonal",
        "month": "monthly",
        "week": "weekly",
        "day": "daily",
    }
    name = names[grouping]
    first = first_day(name, day, season_starts)
    return first, next_period(name, first), period_label(name, first)


def has_part_hours(time_zone: str, day: date) -> bool:
    """Whether an hour of the zone crosses midnight (UTC) at the end of a UTC day."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    offset = midnight.astimezone(ZoneInfo(time_zone)).utcoffset() or timedelta()
    return bool(offset % timedelta(hours=1))


def with_period(rows: pl.DataFrame, first: date, until: date, label: str, time_zone: str) -> pl.DataFrame:
    """The rows with `start`, `end`, `period`, `local_start` of the period of local days [first, until)."""
    start = day_start(first, time_zone)
    return rows.with_columns(
        start=pl.lit(start, schema.UTC),
        end=pl.lit(day_start(until, time_zone), schema.UTC),
        period=pl.lit(label),
        local_start=pl.lit(local_iso([start], time_zone)[0]),
    )
