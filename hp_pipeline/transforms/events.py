"""Pieces of a day → segments; segments of neighbouring days → sessions, cycles and defrosts.

A segment is a stretch of one mode, state and defrost within a UTC day. A session over midnight is the merge of its
segments, however many days it lasts; the cost of a day is its own segments and those of the events that it continues.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.figures import exact, in_units, merge, shown
from hp_pipeline.transforms.floors import Known
from hp_pipeline.transforms.schema import UTC, conform
from hp_pipeline.vocabulary.rules import Rules

_EXTRA_SUMS = ["valve_dhw_s", "valve_space_s", "confidence_s"]


def segments(rows: pl.DataFrame) -> pl.DataFrame:
    """Table `segments` from `pieces`: those that only an hour had cut are put together again, midnight (UTC) cuts."""
    if rows.is_empty():
        return conform(None, "segments")
    begins = pl.col("gap") | pl.col("session_start") | pl.col("cycle_start") | pl.col("defrost_start")
    begins |= pl.col("start").dt.date() != pl.col("start").shift(1).dt.date()
    for name in ("mode", "state", "defrost"):
        begins |= pl.col(name).ne_missing(pl.col(name).shift(1))
    merged = merge(
        rows.sort("start").with_columns(segment=begins.fill_null(True).cum_sum()),
        "segment",
        pl.col("start", "mode", "state", "defrost", "gap", "unseen_s", "unread_s").first(),
        pl.col("session_start", "cycle_start", "defrost_start").first(),
        pl.col("end", "provisional").last(),
        pl.col(_EXTRA_SUMS).sum(),
    )
    return conform(in_units(merged).with_columns(divided(pl.col(_EXTRA_SUMS), 1e6)), "segments")


@dataclass(frozen=True)
class Links:
    """How a day hangs together with its neighbours.

    Attributes:
        continues: the session of the day before goes on into it.
        session_start: begin of the last session that begins on it; none of before goes on behind that.
        cycle_starts: whether a cycle begins on it.
        starts: whether a session, cycle or defrost begins on it, which may go on into the next day.
    """

    continues: bool
    session_start: datetime | None
    cycle_starts: bool
    starts: bool


LINK_COLUMNS = ["start", "mode", "session_start", "cycle_start", "defrost_start"]
"""What `links` reads of the segments."""


def links(segments_of_day: pl.DataFrame) -> Links:
    """How the segments (`LINK_COLUMNS`) of a UTC day hang together with those of its neighbours.

    Through a day without a known mode no session goes on: it is longer than any `session_gap`.
    """
    known = segments_of_day.filter(pl.col("mode").is_not_null()).sort("start")
    if known.is_empty():
        return Links(continues=False, session_start=None, cycle_starts=False, starts=False)
    begins = known.filter("session_start")["start"]
    return Links(
        continues=not known["session_start"][0],
        session_start=begins[-1] if len(begins) else None,
        cycle_starts=bool(known["cycle_start"].any()),
        starts=bool(known.select(pl.any_horizontal("session_start", "cycle_start", "defrost_start").any()).item()),
    )


def sessions(rows: pl.DataFrame, start: datetime, end: datetime, rules: Rules) -> pl.DataFrame:
    """Table `sessions`: those that begin within [start, end), from the segments of that day and of those they last."""
    return _events(rows.filter(pl.col("mode").is_not_null()), "session_start", "sessions", start, end, rules)


def cycles(
    rows: pl.DataFrame, start: datetime, end: datetime, rules: Rules, session_began: datetime | None = None
) -> pl.DataFrame:
    """Table `cycles`: those that begin within [start, end).

    Args:
        session_began: begin of the session that goes on at the begin of `rows`.
    """
    began = pl.when(pl.col("session_start")).then(pl.col("start")).forward_fill()
    known = (
        rows.filter(pl.col("mode").is_not_null())
        .sort("start")
        .with_columns(session_began=began.fill_null(pl.lit(session_began, UTC)), **_AFTER)
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
    flagged = rows.filter(pl.col("mode").is_not_null()).sort("start").with_columns(**_AFTER)
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


_AFTER: Final = {f"{what}_after": pl.col(f"{what}_s").shift(-1) for what in ("unseen", "unread")}
"""How uncertain the edge is at which a segment ends: that of the next one."""


def _confidence() -> pl.Expr:
    """The time-weighted mean of the frames' confidence, from sums of whole microseconds."""
    return ((pl.col("confidence_s") * 1e6).round().cast(pl.Int64).sum() / pl.col("observed_s").sum()).alias(
        "confidence"
    )


def _events(
    rows: pl.DataFrame, begins: str, table: str, start: datetime, end: datetime, rules: Rules, *keep: pl.Expr
) -> pl.DataFrame:
    """Islands of segments that the flag `begins` starts, merged; those that begin within [start, end)."""
    rows = rows.sort("start").with_columns(event=pl.col(begins).cast(pl.Int32).cum_sum())
    if "unseen_after" not in rows.columns:
        rows = rows.with_columns(**_AFTER)
    rows = rows.filter(pl.col("event") > 0)
    if rows.is_empty():
        return conform(None, table)
    merged = merge(
        exact(rows),
        "event",
        pl.col("start", "mode", "state").first(),
        pl.col("unseen_s").first().alias("start_uncertainty_s"),
        pl.col("unseen_after").last().alias("end_uncertainty_s"),
        pl.col("unread_after").last().alias("end_unread_s"),
        _confidence(),
        pl.col("end", "provisional").last(),
        *keep,
    ).filter(pl.col("start") >= start, pl.col("start") < end)
    return conform(shown(merged, rules, Known()), table)
