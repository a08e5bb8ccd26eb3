"""Pieces of a day → segments; segments of neighbouring days → sessions, cycles and defrosts.

A segment is a stretch of one mode, state and defrost within a UTC day. A session over midnight is the merge of its
segments, however many days it lasts; the cost of a day is its own segments and those of the events that it continues.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from hp_pipeline.transforms.figures import Known, exact, in_units, merge, shown
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.rules import Rules

_EXTRA_SUMS = ["valve_dhw_s", "valve_space_s"]


def segments(rows: pl.DataFrame) -> pl.DataFrame:
    """Table `segments` from the `pieces` of a day: those that only an hour had cut are put together again."""
    if rows.is_empty():
        return conform(None, "segments")
    begins = pl.col("gap") | pl.col("session_start") | pl.col("cycle_start") | pl.col("defrost_start")
    for name in ("mode", "state", "defrost"):
        begins |= pl.col(name).ne_missing(pl.col(name).shift(1))
    merged = merge(
        rows.sort("start").with_columns(segment=begins.fill_null(True).cum_sum()),
        "segment",
        pl.col("start", "mode", "state", "defrost", "gap", "unseen_s").first(),
        pl.col("session_start", "cycle_start", "defrost_start").first(),
        pl.col("end", "provisional").last(),
        pl.col(_EXTRA_SUMS).sum(),
    )
    return conform(in_units(merged).with_columns(pl.col(_EXTRA_SUMS) / 1e6), "segments")


def continues(segments_of_day: pl.DataFrame) -> bool:
    """Whether the session of the day before may go on into this day: no session begins with its first known mode."""
    known = segments_of_day.filter(pl.col("mode").is_not_null())
    return known.is_empty() or not known["session_start"][0]


def has_session_start(segments_of_day: pl.DataFrame) -> bool:
    """Whether a session begins on this day, so that none of before goes on behind it."""
    return bool(segments_of_day["session_start"].any())


def sessions(rows: pl.DataFrame, start: datetime, end: datetime, rules: Rules) -> pl.DataFrame:
    """Table `sessions`: those that begin within [start, end), from the segments of that day and of those they last."""
    return _events(rows.filter(pl.col("mode").is_not_null()), "session_start", "sessions", start, end, rules)


def cycles(rows: pl.DataFrame, start: datetime, end: datetime, rules: Rules) -> pl.DataFrame:
    """Table `cycles`: those that begin within [start, end); `rows` must reach back to the begin of their session."""
    known = rows.filter(pl.col("mode").is_not_null()).with_columns(
        session_began=pl.when(pl.col("session_start")).then(pl.col("start")).forward_fill()
    )
    return _events(
        known.filter(pl.col("state").is_not_null()),
        "cycle_start",
        "cycles",
        start,
        end,
        rules,
        pl.col("session_began").first().alias("session_start"),
    )


def defrosts(rows: pl.DataFrame, start: datetime, end: datetime, rules: Rules) -> pl.DataFrame:
    """Table `defrosts`: those that begin within [start, end)."""
    flagged = rows.filter(pl.col("mode").is_not_null()).with_columns(unseen_after=pl.col("unseen_s").shift(-1))
    flagged = flagged.filter(pl.col("defrost"))
    tank, space = pl.col("valve_dhw_s").sum() > 0, pl.col("valve_space_s").sum() > 0
    kind = (
        pl.when(tank & space)
        .then(pl.lit("both"))
        .when(tank)
        .then(pl.lit("tank"))
        .when(space)
        .then(pl.lit("space"))
        .alias("kind")
    )
    return _events(flagged, "defrost_start", "defrosts", start, end, rules, kind)


def _events(
    rows: pl.DataFrame, begins: str, table: str, start: datetime, end: datetime, rules: Rules, *keep: pl.Expr
) -> pl.DataFrame:
    """Islands of segments that the flag `begins` starts, merged; those that begin within [start, end)."""
    rows = rows.sort("start").with_columns(event=pl.col(begins).cast(pl.Int32).cum_sum())
    if "unseen_after" not in rows.columns:
        rows = rows.with_columns(unseen_after=pl.col("unseen_s").shift(-1))
    rows = rows.filter(pl.col("event") > 0)
    if rows.is_empty():
        return conform(None, table)
    merged = merge(
        exact(rows),
        "event",
        pl.col("start", "mode", "state").first(),
        pl.col("unseen_s").first().alias("start_uncertainty_s"),
        pl.col("unseen_after").last().alias("end_uncertainty_s"),
        pl.col("end", "provisional").last(),
        *keep,
    ).filter(pl.col("start") >= start, pl.col("start") < end)
    return conform(shown(merged, rules, Known()), table)
