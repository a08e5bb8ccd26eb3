"""Frames and operation → since when each state holds, and for how long of each day.

A state is held over silences up to `session_gap`, as the session rule holds a mode, and ends at a longer one. Stretches
are cut at midnight, of UTC because they are stored by UTC day, and of the house because they are counted by its days.
What a day must know of all days before it stands in the last row of each signal of the day before (`carried`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from hp_pipeline.transforms import calendar
from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.schema import UTC, conform
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline.vocabulary.signals import signals
from hp_pipeline.vocabulary.tables import RECOGNISED_STATES

OPERATION_COLUMNS = ["start", *RECOGNISED_STATES.values(), "provisional"]
"""What is read of the operation."""

CARRIED = [
    *("signal", "state", "since", "begin_seen", "since_uncertainty_s", "state_before", "before_s", "mode", "last_read"),
]
"""What a day hands on to the next one, per signal."""


def told_states(names: Sequence[str]) -> list[str]:
    """Those of the signals that are states or words, in the vocabulary's order."""
    return [name for name, signal in signals().items() if name in set(names) and signal.kind in ("state", "text")]


def frame_columns(names: Sequence[str]) -> list[str]:
    """What is read of the frames, for the signals `names`."""
    return ["heat_pump", "start", "end", "last_read", "states_read", "changed_after", *told_states(names)]


def carried(rows: pl.DataFrame) -> pl.DataFrame:
    """`CARRIED` of a day's rows (`state_intervals`): what the next day goes on from, sorted by signal."""
    return rows.sort("start").group_by("signal").agg(pl.col(CARRIED[1:]).last()).select(CARRIED).sort("signal")


def state_intervals(
    frames: pl.DataFrame,
    operation: pl.DataFrame,
    before: pl.DataFrame,
    time_zone: str,
    rules: Rules,
    newest: bool,
) -> pl.DataFrame:
    """Table `state_intervals` of neighbouring UTC days.

    Args:
        frames: of the days, `frame_columns` of the signals wanted, sorted by start.
        operation: `OPERATION_COLUMNS` for the same frames.
        before: `CARRIED` of the day before the first; empty where nothing is stored of it.
        newest: whether no frame follows these days.
    """
    if frames.is_empty():
        return conform(None, "state_intervals")
    told = [name for name in frames.columns if name in signals()]
    recognised = operation.select(
        "start", *(pl.col(column).alias(f"recognised {name}") for name, column in RECOGNISED_STATES.items()),
        "provisional",
    )  # fmt: skip
    local_day = pl.col("start").dt.convert_time_zone(time_zone).dt.date()
    day = pl.col("start").dt.date()
    rows = frames.join(recognised, on="start", how="left", maintain_order="left").with_columns(
        midnight=((local_day != local_day.shift(1)) | (day != day.shift(1))).fill_null(True).cum_sum(),
        span=(pl.col("end") - pl.col("start")).dt.total_microseconds(),
        begun_in=pl.col("recognised mode"),
    )
    read_last: datetime | None = rows["last_read"][-1] if newest else None
    handed = {row["signal"]: row for row in before.iter_rows(named=True)}
    columns = {name: name for name in told} | {name: f"recognised {name}" for name in RECOGNISED_STATES}
    parts = [
        part
        for name, column in columns.items()
        if (part := _of_signal(rows, name, column, handed.get(name), rules, read_last)) is not None
    ]
    if not parts:
        return conform(None, "state_intervals")
    heat_pump = pl.lit(frames["heat_pump"][0])
    return conform(pl.concat(parts).with_columns(heat_pump=heat_pump).sort("start", "signal"), "state_intervals")


def _of_signal(
    rows: pl.DataFrame, name: str, column: str, handed: dict[str, Any] | None, rules: Rules, read_last: datetime | None
) -> pl.DataFrame | None:
    """The stretches of one signal; None when it is never known."""
    value = pl.col(column)
    known = rows.filter(value.is_not_null()) if rows[column].null_count() else rows
    if known.is_empty():
        return None
    word = value
    if known.schema[column] == pl.Boolean:
        word = pl.when(value).then(pl.lit("on")).otherwise(pl.lit("off"))
    before = handed or dict.fromkeys(CARRIED)
    read_before = pl.col("last_read").shift(1, fill_value=pl.lit(before["last_read"], UTC))
    flagged = known.select(
        *("start", "end", "last_read", "states_read", "midnight", "span", "provisional", "begun_in"),
        value.alias("value"),
        changed_after=_changed_after(rows, name),
        read_before=read_before,
        silent=(pl.col("start") - read_before > rules.session_gap).fill_null(True),
    ).with_columns(known_us=pl.col("span").cum_sum())
    first_word = known.select(word.first()).item()
    changes = pl.col("value").ne_missing(pl.col("value").shift(1))
    # The first row has none before it here: what it was before was handed on.
    is_first = pl.int_range(pl.len()) == 0
    begins = pl.col("silent") | pl.when(is_first).then(pl.lit(first_word != before["state"])).otherwise(changes)
    flagged = flagged.with_columns(begins=begins).with_columns(
        cut=pl.col("begins") | (pl.col("midnight") != pl.col("midnight").shift(1)).fill_null(True)
    )
    heads = flagged.filter("cut").select(
        *("start", "begins", "silent", "value", "begun_in", "read_before"),
        seen_us=(pl.col("start") - pl.coalesce("changed_after", "states_read", "read_before")).dt.total_microseconds(),
    )
    tails = flagged.filter(pl.col("cut").shift(-1, fill_value=True)).select(
        "end", "last_read", "provisional", "known_us"
    )
    return _completed(pl.concat([heads, tails], how="horizontal"), name, before, rules, read_last)


def _changed_after(rows: pl.DataFrame, name: str) -> pl.Expr:
    """Since when the state that changes with a frame may have, as its source tells; of a text no source does, and a
    solar heating has no such source."""
    is_told = "changed_after" in rows.columns and (name not in signals() or signals()[name].kind == "state")
    return pl.col("changed_after") if is_told else pl.lit(None, UTC)


def _completed(
    pieces: pl.DataFrame, name: str, before: dict[str, Any], rules: Rules, read_last: datetime | None
) -> pl.DataFrame:
    """The columns of `state_intervals`, from the cut stretches of one signal and what was handed on."""
    if pieces.schema["value"] == pl.Boolean:
        pieces = pieces.with_columns(value=pl.when("value").then(pl.lit("on")).otherwise(pl.lit("off")))
    row = pl.int_range(pl.len())
    pieces = pieces.with_columns(
        signal=pl.lit(name),
        state=pl.col("value").cast(pl.String),
        at_begin=pl.when("begins").then(row).forward_fill(),
        seen=pl.col("begins") & ~pl.col("silent"),
        known_s=divided(pl.col("known_us") - pl.col("known_us").shift(1, fill_value=0), 1e6),
    ).with_columns(
        since=_of_begin(pl.col("start"), before["since"]), begin_seen=_of_begin(pl.col("seen"), before["begin_seen"])
    )
    since_before = pl.col("since").shift(1, fill_value=pl.lit(before["since"], UTC))
    whole_before = pl.col("begin_seen").shift(1, fill_value=pl.lit(before["begin_seen"], pl.Boolean))
    seen = pl.col("seen")
    state_before = pl.when(seen).then(pl.col("state").shift(1, fill_value=pl.lit(before["state"], pl.String)))
    before_us = (pl.col("start") - since_before).dt.total_microseconds()
    pieces = pieces.with_columns(
        state_before=_of_begin(state_before, before["state_before"]),
        before_s=_of_begin(pl.when(seen & whole_before).then(divided(before_us, 1e6)), before["before_s"]),
        since_uncertainty_s=_of_begin(
            pl.when(seen).then(divided(pl.col("seen_us"), 1e6)), before["since_uncertainty_s"]
        ),
        mode=_of_begin(pl.col("begun_in"), before["mode"]),
    )
    day = pl.col("start").dt.date()
    same_day = (day == day.shift(-1)).fill_null(False)
    until = pl.col("start").dt.truncate("1d") + timedelta(days=1)
    if read_last is not None:
        until = pl.min_horizontal(until, pl.lit(read_last, UTC))
    silent_after = pl.col("begins").shift(-1) & pl.col("silent").shift(-1)
    is_open = (
        (pl.col("last_read") == pl.lit(read_last, UTC)) & (row == pl.len() - 1)
        if read_last is not None
        else pl.lit(False)
    )
    return pieces.with_columns(
        gap_after=pl.when(same_day)
        .then(silent_after)
        .when(until - pl.col("last_read") > rules.session_gap)
        .then(pl.lit(True)),
        open=is_open,
        provisional=pl.col("provisional") if name in RECOGNISED_STATES else is_open,
    ).select(
        *("start", "end", "signal", "state", "since", "begin_seen", "since_uncertainty_s", "state_before", "before_s"),
        *("mode", "known_s", "last_read", "gap_after", "open", "provisional"),
    )


def _of_begin(what: pl.Expr, handed: object) -> pl.Expr:
    """What holds of a stretch because of its begin: of the row in which it began, or what was handed on."""
    here = what.gather(pl.col("at_begin").fill_null(0))
    return pl.when(pl.col("at_begin").is_null()).then(pl.lit(handed)).otherwise(here)


def state_daily(rows: pl.DataFrame, days: Sequence[date], time_zone: str) -> pl.DataFrame:
    """Table `state_daily` of local days, from the rows of `state_intervals` of the UTC days that they touch.

    Sorted by day, signal and state. Sums are of whole microseconds.
    """
    day = pl.col("start").dt.convert_time_zone(time_zone).dt.date()
    within = rows.with_columns(day=day).filter(pl.col("day").is_in(list(days)))
    if within.is_empty():
        return conform(None, "state_daily")
    lasts = (pl.col("end").max() - pl.col("start").min()).dt.total_microseconds()
    stretches = within.group_by("heat_pump", "day", "signal", "state", "since").agg(
        known_us=(pl.col("known_s") * 1e6).round().cast(pl.Int64).sum(),
        lasts_us=lasts,
        begins=((pl.col("start") == pl.col("since")) & pl.col("begin_seen")).any(),
    )
    sums = (
        stretches.group_by("heat_pump", "day", "signal", "state")
        .agg(
            pl.col("known_us").sum(),
            pl.col("begins").sum().cast(pl.Int64),
            longest_s=divided(pl.col("lasts_us").max(), 1e6),
            last_start=pl.col("since").max(),
        )
        .sort("day", "signal", "state")
        .with_columns(all_us=pl.col("known_us").sum().over("day", "signal"))
    )
    starts = [calendar.day_start(day, time_zone) for day in days]
    of_days = pl.DataFrame(
        {
            "day": list(days),
            "start": starts,
            "end": [calendar.day_start(day + timedelta(days=1), time_zone) for day in days],
            "period": [day.isoformat() for day in days],
            "local_start": calendar.local_iso(starts, time_zone),
        },
        schema_overrides={"start": UTC, "end": UTC},
    )
    return conform(
        sums.join(of_days, on="day", maintain_order="left").with_columns(
            known_s=divided(pl.col("known_us"), 1e6),
            share=pl.when(pl.col("all_us") > 0).then(pl.col("known_us") / pl.col("all_us")),
        ),
        "state_daily",
    )


@dataclass(frozen=True)
class DayLinks:
    """How the stretches of a UTC day in which a signal is in a state hang together with the days beside it.

    Attributes:
        since: begin of the stretch that goes on at the day's begin; None without one.
        goes_on: whether there is one at its end, so that the next day must tell how long.
        throughout: whether that is the one which went on at its begin.
    """

    since: datetime | None
    goes_on: bool
    throughout: bool


def day_links(states: pl.DataFrame, day: date, signal: str, is_in_it: Callable[[str], bool]) -> DayLinks:
    """The links of a day.

    Args:
        states: rows of `state_intervals` of the day: `start`, `signal`, `state`, `since`, `gap_after`.
        is_in_it: whether a word of `state` is the one that is looked for.
    """
    rows = states.filter(pl.col("signal") == signal).sort("start")
    if rows.is_empty():
        return DayLinks(None, goes_on=False, throughout=False)
    first, last = rows.row(0, named=True), rows.row(-1, named=True)
    since = first["since"] if is_in_it(first["state"]) and first["since"].date() < day else None
    goes_on = is_in_it(last["state"]) and not last["gap_after"]
    return DayLinks(since, goes_on, goes_on and since is not None and last["since"] == since)
