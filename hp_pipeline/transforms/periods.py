"""Figures per hour, day, week, month and year of the house's calendar, each merged from the one below."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import polars as pl

from hp_pipeline.transforms.calendar import (
    SEASON_MONTH,
    Grouping,
    PeriodName,
    day_start,
    grouped,
    hour_end,
    local_date,
    local_iso,
    next_period,
    period_label,
    wanted_period,
    with_period,
)
from hp_pipeline.transforms.figures import exact, merge, shown, unobserved_pieces
from hp_pipeline.transforms.floors import Known
from hp_pipeline.transforms.schema import UTC, conform
from hp_pipeline.vocabulary.rules import Rules


def hourly(
    pieces: pl.DataFrame,
    unobserved: pl.DataFrame,
    start: datetime,
    end: datetime,
    time_zone: str,
    rules: Rules,
    known: Known,
) -> pl.DataFrame:
    """Table `hourly`: the local hours that begin within the UTC days [start, end).

    Args:
        pieces: `figures.pieces`, cut at local hours, of these days and of the rest of the last hour.
        unobserved: `energy.Energies.unobserved` of the same time.
        known: the time in which there are readings at all.
    """
    if pieces.is_empty() and unobserved.is_empty():
        return conform(None, "hourly")
    if not unobserved.is_empty():
        pieces = pl.concat([pieces, unobserved_pieces(unobserved, rules)], how="diagonal")
    rows = merge(pieces, "cut").rename({"cut": "start"}).filter(pl.col("start") >= start, pl.col("start") < end)
    rows = rows.with_columns(end=pl.Series([hour_end(begin, time_zone) for begin in rows["start"]], dtype=UTC))
    local = pl.Series("local_start", local_iso(rows["start"], time_zone), pl.String)
    return conform(shown(rows.with_columns(local, period=local.alias("period")), rules, known), "hourly")


def by_calendar(
    rows: pl.DataFrame, name: PeriodName, periods: Sequence[date], time_zone: str, rules: Rules, known: Known
) -> pl.DataFrame:
    """Table `daily`, `weekly`, `monthly`, `seasonal` or `yearly`: a row for each period in which something was read.

    Args:
        rows: rows of the next shorter period that lie within the periods (more do not matter).
        periods: first local days of the periods wanted.
        known: the time in which there are readings at all.
    """
    if rows.is_empty():
        return conform(None, name)
    wanted = sorted(periods)
    firsts = [wanted_period(name, wanted, local_date(start, time_zone)) for start in rows["start"]]
    placed = rows.with_columns(first=pl.Series(firsts, dtype=pl.Date)).filter(pl.col("first").is_not_null())
    merged = merge(exact(placed), "first")
    starts = [day_start(first, time_zone) for first in merged["first"]]
    dated = merged.with_columns(
        start=pl.Series(starts, dtype=UTC),
        end=pl.Series([day_start(next_period(name, first), time_zone) for first in merged["first"]], dtype=UTC),
        period=pl.Series([period_label(name, first) for first in merged["first"]], dtype=pl.String),
        local_start=pl.Series(local_iso(starts, time_zone), dtype=pl.String),
    )
    return conform(shown(dated, rules, known), name)


def all_time(years: pl.DataFrame, first: date, last: date, time_zone: str, rules: Rules, known: Known) -> pl.DataFrame:
    """Table `all_time`: one row over the `yearly` rows; something was read from the local day `first` to `last`."""
    if years.is_empty():
        return conform(None, "all_time")
    placed = with_period(merge(exact(years), None), first, last + timedelta(days=1), "all", time_zone)
    return conform(shown(placed, rules, known), "all_time")


def regrouped(
    rows: pl.DataFrame,
    grouping: Grouping,
    table: str,
    time_zone: str,
    rules: Rules,
    known: Known,
    season_starts: int = SEASON_MONTH,
) -> pl.DataFrame:
    """Rows of `daily` or `monthly` merged by year, heating season, month, week, day, or all together.

    A group holds only what is in `rows`: of a month that these begin in the midst of, the days from there on; its
    `start` and `end` are those of its first and last row.

    Args:
        rows: of one heat pump or of several.
        table: name of the table that `rows` are of.

    Returns:
        The columns of `daily`, `period` naming the group; `season` is named by its years, such as 2025/26.
    """
    rows = conform(rows, table)
    if rows.is_empty():
        return conform(None, "daily")
    labels = [grouped(grouping, local_date(start, time_zone), season_starts)[2] for start in rows["start"]]
    merged = merge(
        exact(rows.with_columns(period=pl.Series(labels, dtype=pl.String))),
        "period",
        pl.col("start", "local_start").first(),
        pl.col("end").last(),
    )
    return conform(shown(merged, rules, known), "daily")
