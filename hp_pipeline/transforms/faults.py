"""Events of controllers' rings and words of the signal `fault` → one table of what went wrong, with what ran.

An event of a ring is a reading with its own time: however often the ring is read, it is there once, under the day on
which it happened. Its time is the controller's; how far that clock was ahead of ours is taken off before it is joined
with what ran, since a clock that is off by an hour would else blame another session.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

import polars as pl

from hp_pipeline.transforms.schema import UTC, conform
from hp_pipeline.transforms.states import DayLinks, day_links
from hp_pipeline.vocabulary.faults import RING_KINDS, RING_POINT, RING_TIMES, is_fault, ring_text

READING_COLUMNS = ["source", "point", "time", "value"]
"""What is read of the readings of a source that tells events."""

STATE_COLUMNS = [
    *("heat_pump", "start", "end", "signal", "state", "since", "state_before", "provisional"),
]
"""What is read of the states."""

LINK_COLUMNS = ["start", "end", "signal", "state", "since", "gap_after"]
"""What `fault_links` reads of the states."""

DRIFT_POINT = "@clock_drift"

MOST_DRIFT = timedelta(days=1)
"""A clock that is further off was never set: it says nothing of when."""

STOP_BEFORE, STOP_AFTER = timedelta(minutes=2), timedelta(minutes=5)
"""A stop of the compressor so near to an event came with it."""

MOST_DAYS = 31
"""For so many days the end of a fault is looked for."""

_RING_REGISTERS = {f"calculation/{at}": ring for ring, times in RING_TIMES.items() for at in times}


def is_event_reading() -> pl.Expr:
    """Whether a reading tells of events, of when they were first read, or of the device's clock."""
    point = pl.col("point")
    return point.str.starts_with("event/") | point.is_in([*_RING_REGISTERS, DRIFT_POINT])


def is_read() -> pl.Expr:
    """Whether a row of the states is read here."""
    return pl.col("signal").is_in(["fault", "compressor_running", "mode"])


def fault_links(states: pl.DataFrame, day: date) -> DayLinks:
    """How the faults of a UTC day hang together with its neighbours, by its states (`LINK_COLUMNS`)."""
    return day_links(states, day, "fault", is_fault)


def faults(
    heat_pump: str,
    readings: pl.DataFrame,
    states: pl.DataFrame,
    teller: str | None,
    start: datetime,
    end: datetime,
) -> pl.DataFrame:
    """Table `faults`: those whose `time` lies within [start, end), whole UTC days, sorted by time.

    Args:
        readings: `READING_COLUMNS` of the sources that tell events, of the day before, of these days and the next one.
        states: `STATE_COLUMNS`, of the day before, of these days and the next one, and of the days up to where the
            last fault ends.
        teller: the source that tells the signal `fault`; None when several do.
    """
    rows = pl.concat([_of_rings(readings, start, end), _of_signal(states, teller, start, end)], how="diagonal")
    if rows.is_empty():
        return conform(None, "faults")
    found = _with_what_ran(rows.sort("time", "kind", "machine", "code"), states)
    return conform(found.with_columns(heat_pump=pl.lit(heat_pump)), "faults")


def _of_rings(readings: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """The events of controllers' rings."""
    events = readings.filter(
        pl.col("point").str.contains(f"^(?:{RING_POINT.pattern})$"), pl.col("time") >= start, pl.col("time") < end
    ).unique(["source", "point", "time"])
    if events.is_empty():
        return pl.DataFrame()
    told = [
        {"point": point, "ring": match[1], "code": str(int(match[2])), "text": ring_text(match[1], int(match[2]))}
        for point in events["point"].unique().sort()
        if (match := RING_POINT.fullmatch(point))
    ]
    kinds = {ring: kind for ring, (kind, _, _) in RING_KINDS.items()}
    machines = {ring: machine for ring, (_, machine, _) in RING_KINDS.items()}
    events = events.select("source", "point", "time").join(pl.DataFrame(told), on="point").with_columns(
        kind=pl.col("ring").replace_strict(kinds), machine=pl.col("ring").replace_strict(machines)
    )  # fmt: skip
    drifts = readings.filter(pl.col("point") == DRIFT_POINT).select("source", "time", clock_drift_s="value")
    events = events.sort("time").join_asof(
        drifts.sort("time"), on="time", by="source", strategy="nearest", tolerance=MOST_DRIFT, check_sortedness=False
    )
    drift_us = (pl.col("clock_drift_s") * 1e6).round().cast(pl.Int64)
    believed = drift_us.abs() < MOST_DRIFT // timedelta(microseconds=1)
    drift = pl.duration(microseconds=pl.when(believed).then(drift_us).otherwise(0).fill_null(0))
    seen = (
        readings.filter(pl.col("point").is_in(list(_RING_REGISTERS)), pl.col("value") > 0)
        .select(
            "source",
            ring=pl.col("point").replace_strict(_RING_REGISTERS),
            told=pl.from_epoch((pl.col("value") * 1e6).cast(pl.Int64), time_unit="us").dt.replace_time_zone("UTC"),
            first_seen="time",
        )
        .group_by("source", "ring", "told")
        .agg(pl.col("first_seen").min())
    )
    return (
        events.join(seen, left_on=["source", "ring", "time"], right_on=["source", "ring", "told"], how="left")
        .with_columns(start=(pl.col("time") - drift).cast(UTC), provisional=pl.lit(False))
        .drop("point", "ring")
    )


def _of_signal(states: pl.DataFrame, teller: str | None, start: datetime, end: datetime) -> pl.DataFrame:
    """The stretches in which the signal `fault` told one."""
    told = states.filter(pl.col("signal") == "fault")
    words = [word for word in told["state"].unique() if word is not None and is_fault(word)]
    if not words:
        return pl.DataFrame()
    stretches = (
        told.sort("start")
        .group_by("since", maintain_order=True)
        .agg(pl.col("state", "state_before").first(), pl.col("end", "provisional").last())
        .sort("since")
        .with_columns(ended=pl.col("state_before").shift(-1).is_not_null())
        .filter(pl.col("state").is_in(words), pl.col("since") >= start, pl.col("since") < end)
    )
    return stretches.select(
        time="since",
        start="since",
        end=pl.when("ended").then("end"),
        kind=pl.lit("fault"),
        machine=pl.lit(1, pl.Int64),
        code=pl.col("state"),
        text=pl.col("state"),
        first_seen="since",
        provisional=pl.col("provisional"),
        source=pl.lit(teller, pl.String),
    )


def _with_what_ran(rows: pl.DataFrame, states: pl.DataFrame) -> pl.DataFrame:
    """Add the stop that came with each, and what was done just before."""
    compressor = states.filter(pl.col("signal") == "compressor_running")
    stops = (
        compressor.filter(pl.col("state") == "off", pl.col("state_before") == "on", pl.col("start") == pl.col("since"))
        .select(stop=pl.col("since"), stopped=pl.col("since"))
        .sort("stop")
    )
    rows = (
        rows.with_columns(number=pl.int_range(pl.len()), from_here=pl.col("start") - STOP_BEFORE)
        .sort("from_here")
        .join_asof(
            stops,
            left_on="from_here",
            right_on="stop",
            strategy="forward",
            tolerance=STOP_BEFORE + STOP_AFTER,
            check_sortedness=False,
        )
        .with_columns(
            at=pl.min_horizontal("start", pl.col("stopped") - timedelta(microseconds=1)).fill_null(pl.col("start"))
        )
        .sort("at")
    )
    modes = _held(states.filter(pl.col("signal") == "mode"), "mode", "session_start")
    running = _held(compressor, "running", "compressor_since")
    for held in (modes, running):
        rows = rows.join_asof(held, left_on="at", right_on="begins", check_sortedness=False)
        ended = (pl.col("until") <= pl.col("at")).fill_null(True)
        names = [name for name in held.columns if name not in ("begins", "until")]
        rows = rows.with_columns(pl.when(~ended).then(pl.col(name)).alias(name) for name in names).drop(
            "until", "begins", strict=False
        )
    return rows.with_columns(compressor_running=pl.col("running") == "on").sort("number")


def _held(rows: pl.DataFrame, name: str, since: str) -> pl.DataFrame:
    """A state by the begin of its rows, for the moments in them."""
    return rows.select(pl.col("state").alias(name), pl.col("since").alias(since), begins="start", until="end").sort(
        "begins"
    )
