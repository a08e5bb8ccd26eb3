"""States → runs of the compressor, each with the pause before it → how it cycles, day by day.

A start is a compressor that runs and was known to rest just before, whatever the mode: a change from heating to hot
water with a running compressor is none. A restart behind the pause of a defrost is a start, which the device's counter
counts too, but no cycle that the control chose.

Short cycling is a conjunction: many starts within 60 minutes and a short median time from start to start, days running.
Either alone is normal for a third of the machines in the field (alepee/hass-hitachi_yutaki, pull request 441, of whose
14 machines the conjunction finds one, the worst).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import polars as pl

from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.floors import percent
from hp_pipeline.transforms.schema import conform
from hp_pipeline.transforms.states import DayLinks, day_links
from hp_pipeline.vocabulary.rules import Rules

SIGNALS = ("compressor_running", "mode", "believed_defrost")
"""What is read of the states."""

STATE_COLUMNS = [
    *("heat_pump", "start", "end", "signal", "state", "since", "begin_seen", "since_uncertainty_s", "state_before"),
    *("before_s", "gap_after", "provisional"),
]

HOUR = timedelta(minutes=60)
_DAY = timedelta(days=1)


def is_read() -> pl.Expr:
    """Whether a row of the states is read here."""
    return pl.col("signal").is_in(SIGNALS)


def run_links(states: pl.DataFrame, day: date) -> DayLinks:
    """How the runs of a UTC day hang together with its neighbours, by its states (`STATE_COLUMNS`)."""
    return day_links(states, day, "compressor_running", lambda state: state == "on")


def runs(states: pl.DataFrame, start: datetime, end: datetime, rules: Rules) -> pl.DataFrame:
    """Table `compressor_runs`: those that begin within [start, end), whole UTC days.

    Args:
        states: `STATE_COLUMNS` of `SIGNALS`, of the day before `start` and of the days up to where the last run ends.
    """
    stretches = _stretches(states)
    compressor = stretches.filter(pl.col("signal") == "compressor_running").with_columns(
        ended=pl.col("begin_seen").shift(-1),
        end_uncertainty_s=pl.when(pl.col("begin_seen").shift(-1)).then(pl.col("since_uncertainty_s").shift(-1)),
        rested_by_s=pl.when("begin_seen").then(pl.col("since_uncertainty_s").shift(1)),
        ran_before_s=pl.when("begin_seen").then(pl.col("before_s").shift(1)),
    )
    found = compressor.filter(pl.col("state") == "on", pl.col("since") >= start, pl.col("since") < end)
    if found.is_empty():
        return conform(None, "compressor_runs")
    defrosts = stretches.filter(pl.col("signal") == "believed_defrost", pl.col("state") == "on")
    found = found.select(
        "heat_pump",
        "end",
        "provisional",
        start="since",
        run_s=_seconds(pl.col("end") - pl.col("since")),
        pause_s="before_s",
        period_s=pl.col("before_s") + pl.col("ran_before_s"),
        start_seen=pl.col("begin_seen") & (pl.col("state_before") == "off").fill_null(False),
        end_seen=pl.col("ended").fill_null(False),
        start_uncertainty_s="since_uncertainty_s",
        end_uncertainty_s="end_uncertainty_s",
        longest_pause_s=pl.col("before_s") + pl.col("rested_by_s").fill_null(0),
    )
    found = _with_defrosts(_with_modes(found, stretches), defrosts, rules)
    starts = compressor.filter(pl.col("state") == "on", "begin_seen")["since"]
    # A compressor that is told by its current or power runs in every frame in which it ran at all.
    short = pl.col("longest_pause_s") + rules.frame_interval.total_seconds() < rules.minimum_off.total_seconds()
    found = found.with_columns(
        pause_too_short=pl.when(~pl.col("after_defrost")).then(short),
        starts_60min=pl.when("start_seen").then(_within_60_minutes(found["start"], starts)),
    )
    return conform(found.sort("start"), "compressor_runs")


def _stretches(states: pl.DataFrame) -> pl.DataFrame:
    """The stretches of each signal, put together over midnights, sorted by begin."""
    return (
        states.sort("start")
        .group_by("signal", "since", maintain_order=True)
        .agg(
            pl.col("heat_pump", "state", "begin_seen", "since_uncertainty_s", "state_before", "before_s").first(),
            pl.col("end", "provisional").last(),
        )
        .sort("signal", "since")
    )


def _seconds(duration: pl.Expr) -> pl.Expr:
    return divided(duration.dt.total_microseconds(), 1e6)


def _with_modes(found: pl.DataFrame, stretches: pl.DataFrame) -> pl.DataFrame:
    """Add how long each run was in each mode, and in which the longest."""
    modes = stretches.filter(pl.col("signal") == "mode").select("state", since="since", until="end")
    overlap = pl.min_horizontal("end", "until") - pl.max_horizontal("start", "since")
    shares = (
        found.select("start", "end")
        .join_where(modes, pl.col("since") < pl.col("end"), pl.col("until") > pl.col("start"))
        .with_columns(overlap_s=_seconds(overlap))
    )
    names = ("heating", "dhw", "cooling")
    sums = shares.group_by("start").agg(
        *(pl.col("overlap_s").filter(pl.col("state") == name).sum().alias(f"{name}_s") for name in names),
        standby_s=pl.col("overlap_s").filter(pl.col("state") == "standby").sum(),
    )
    longest = pl.max_horizontal(*(f"{name}_s" for name in (*names, "standby")))
    mode = pl.when(longest > 0).then(
        pl.coalesce(*(pl.when(pl.col(f"{name}_s") == longest).then(pl.lit(name)) for name in (*names, "standby")))
    )
    return found.join(sums, on="start", how="left", maintain_order="left").with_columns(mode=mode)


def _with_defrosts(found: pl.DataFrame, defrosts: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Add how many defrosts began during each run, and whether one lay in the pause before it, or up to `quarantine`
    before that: the flag and the compressor are not read at once."""
    began = defrosts["since"].sort()
    inside = began.search_sorted(found["end"], side="left").cast(pl.Int64) - began.search_sorted(
        found["start"], side="left"
    ).cast(pl.Int64)
    last = (
        found.select("start", rested=pl.col("start") - pl.duration(microseconds=(pl.col("pause_s") * 1e6).round()))
        .sort("start")
        .join_asof(
            defrosts.select(defrost_start="since", defrost_end="end").sort("defrost_start"),
            left_on="start",
            right_on="defrost_start",
            tolerance=_DAY,
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .select("start", after_defrost=(pl.col("defrost_end") + rules.quarantine >= pl.col("rested")).fill_null(False))
    )
    return found.with_columns(defrosts=inside).join(last, on="start", how="left", maintain_order="left")


def _within_60_minutes(moments: pl.Series, starts: pl.Series) -> pl.Series:
    """How many of the starts (sorted) lie within the 60 minutes up to each moment, itself among them."""
    until = starts.search_sorted(moments, side="right").cast(pl.Int64)
    return until - starts.search_sorted(moments - HOUR, side="right").cast(pl.Int64)


DEVICE_COUNTERS = ("compressor_starts_total", "compressor_hours_total")
"""The device's own counters of what is counted here."""

COUNTER_COLUMNS = ["signal", "precedence", "end", "increment", "over_gap"]
"""What is read of `counters`."""

STOOD_COLUMNS = ["signal", "time"]
"""What is read of `counter_states`."""


def cycling_daily(
    compressor_runs: pl.DataFrame,
    state_daily: pl.DataFrame,
    counters: pl.DataFrame,
    counter_states: pl.DataFrame,
    days: Sequence[date],
    time_zone: str,
    rules: Rules,
) -> pl.DataFrame:
    """Table `cycling_daily`: those of the local days for which a state of the compressor is known.

    Args:
        compressor_runs: of these days, of as many before them as `short_cycling_days`, and of another hour.
        state_daily: of these days.
        counters, counter_states: `COUNTER_COLUMNS`, `STOOD_COLUMNS` of the UTC days that these days touch.
        days: neighbours.
    """
    compressor = state_daily.filter(pl.col("signal") == "compressor_running").with_columns(
        known_us=(pl.col("known_s") * 1e6).round().cast(pl.Int64)
    )
    known = compressor.group_by("heat_pump", "start", "end", "period", "local_start").agg(
        known_us=pl.col("known_us").sum(), running_us=pl.col("known_us").filter(pl.col("state") == "on").sum()
    )
    local_day = pl.col("start").dt.convert_time_zone(time_zone).dt.date()
    rows = compressor_runs.sort("start").with_columns(day=local_day)
    known = known.with_columns(day=local_day).filter(pl.col("day").is_in(list(days)))
    if known.is_empty():
        return conform(None, "cycling_daily")
    joined = (
        known.join(_of_runs(rows), on="day", how="left")
        .join(_judged(rows, days, rules), on="day", how="left")
        .join(_of_device(counters, counter_states, time_zone), on="day", how="left")
        .sort("start")
        .with_columns(pl.col(_COUNTS).fill_null(0))
    )
    day_us = (pl.col("end") - pl.col("start")).dt.total_microseconds()
    share = pl.col("known_us") / day_us
    judged = pl.col("short_cycling_day") | (share >= rules.minimum_coverage)
    hours = divided(pl.col("known_us"), 3.6e9)
    return conform(
        joined.with_columns(
            known_s=divided(pl.col("known_us"), 1e6),
            running_s=divided(pl.col("running_us"), 1e6),
            starts_per_hour=pl.when(hours > 0).then(pl.col("starts") / hours),
            starts_difference=pl.col("starts") - pl.col("device_starts"),
            running_difference_s=divided(pl.col("running_us"), 1e6) - pl.col("device_running_s"),
            device_reason=_device_reason(),
            short_cycling_day=pl.when(judged).then("short_cycling_day"),
            short_cycling=pl.when(judged).then(_verdict(rules)),
            short_cycling_reason=pl.when(judged)
            .then(_reason(rules))
            .otherwise(
                pl.format(
                    "it is known for only {} % of the day whether the compressor ran",
                    percent(share),
                )
            ),
        ),
        "cycling_daily",
    )


_COUNTS = [
    *("starts", "starts_heating", "starts_dhw", "starts_after_defrost", "runs", "pauses_too_short"),
    "most_starts_60min",
]


def _is_cycle() -> pl.Expr:
    """Whether a start is one of heating or cooling that the control chose."""
    return pl.col("start_seen") & ~pl.col("after_defrost") & pl.col("mode").ne_missing("dhw")


def _of_runs(rows: pl.DataFrame) -> pl.DataFrame:
    """By local `day` the counts of the runs that began on it, and the spread of runs and pauses."""
    seen = pl.col("start_seen")
    of_defrost = pl.col("after_defrost")
    whole = seen & pl.col("end_seen")
    return rows.group_by("day").agg(
        starts=seen.sum().cast(pl.Int64),
        starts_heating=_is_cycle().sum().cast(pl.Int64),
        starts_dhw=(seen & ~of_defrost & (pl.col("mode") == "dhw")).sum().cast(pl.Int64),
        starts_after_defrost=(seen & of_defrost).sum().cast(pl.Int64),
        runs=whole.sum().cast(pl.Int64),
        pauses_too_short=(seen & pl.col("pause_too_short").fill_null(False)).sum().cast(pl.Int64),
        **_spread("run", pl.col("run_s").filter(whole)),
        **_spread("pause", pl.col("pause_s").filter(seen & ~of_defrost)),
    )


def _spread(name: str, seconds: pl.Expr) -> dict[str, pl.Expr]:
    shares = {"least": 0.0, "p10": 0.1, "median": 0.5, "p90": 0.9}
    return {f"{name}_{word}_s": seconds.quantile(share, interpolation="linear") for word, share in shares.items()}


def _judged(rows: pl.DataFrame, days: Sequence[date], rules: Rules) -> pl.DataFrame:
    """By local `day` both parts of the conjunction, whether it holds, and for how many days running."""
    cycles = rows.filter(_is_cycle())
    starts = cycles["start"]
    count = _within_60_minutes(starts, starts)
    first = starts.gather(pl.int_range(cycles.height, eager=True) - count + 1)
    of_days = (
        cycles.with_columns(count=count, first=first)
        .group_by("day")
        .agg(
            most_starts_60min=pl.col("count").max(),
            most_starts_from=pl.col("first").gather(pl.col("count").arg_max()).first(),
            period_median_s=pl.col("period_s").median(),
        )
    )
    back = rules.short_cycling_days - 1
    wanted = pl.DataFrame({"day": pl.date_range(min(days) - back * _DAY, max(days), eager=True)})
    every = wanted.join(of_days, on="day", how="left", maintain_order="left").with_columns(
        short_cycling_day=(pl.col("most_starts_60min") >= rules.short_cycling_starts).fill_null(False)
        & (pl.col("period_median_s") <= rules.short_cycling_period.total_seconds()).fill_null(False)
    )
    short = pl.col("short_cycling_day")
    running = [
        pl.all_horizontal(short.shift(ago, fill_value=False) for ago in range(number + 1))
        for number in range(rules.short_cycling_days)
    ]
    return every.with_columns(days_running=pl.sum_horizontal(each.cast(pl.Int64) for each in running))


def _of_device(counters: pl.DataFrame, counter_states: pl.DataFrame, time_zone: str) -> pl.DataFrame:
    """By local `day` what the device counted, 0 where its counter was read and stood still, and over which gaps."""
    own = pl.col("signal").is_in(DEVICE_COUNTERS)
    read_at = counter_states.filter(own).select("signal", "time")
    # The last reading of a UTC day may lie on the next day of the house: the counter was read on both.
    read = pl.concat(
        [
            read_at.select("signal", day=pl.col("time").dt.date()),
            read_at.select("signal", day=pl.col("time").dt.convert_time_zone(time_zone).dt.date()),
        ]
    ).unique()
    counted = (
        counters.filter(own)
        .with_columns(day=pl.col("end").dt.convert_time_zone(time_zone).dt.date())
        .filter(pl.col("precedence") == pl.col("precedence").min().over("day", "signal"))
        .sort("end")
        .group_by("day", "signal")
        .agg(pl.col("increment").sum(), pl.col("over_gap").any())
    )
    rows = read.join(counted, on=["day", "signal"], how="full", coalesce=True).with_columns(
        pl.col("increment").fill_null(0.0), pl.col("over_gap").fill_null(False)
    )
    is_starts = pl.col("signal") == DEVICE_COUNTERS[0]
    return rows.group_by("day").agg(
        device_starts=pl.col("increment").filter(is_starts).first(),
        device_running_s=pl.col("increment").filter(~is_starts).first() * 3600,
        starts_over_gap=pl.col("over_gap").filter(is_starts).any(),
        hours_over_gap=pl.col("over_gap").filter(~is_starts).any(),
    )


def _device_reason() -> pl.Expr:
    gap = "counted while nothing was read"
    return (
        pl.when(pl.all_horizontal(pl.col("device_starts", "device_running_s").is_null()))
        .then(pl.lit("no counter of starts or of running time was read"))
        .when(pl.col("starts_over_gap") & pl.col("hours_over_gap"))
        .then(pl.lit(f"starts and running time {gap}"))
        .when(pl.col("starts_over_gap"))
        .then(pl.lit(f"starts {gap}"))
        .when(pl.col("hours_over_gap"))
        .then(pl.lit(f"running time {gap}"))
    )


def _verdict(rules: Rules) -> pl.Expr:
    return (
        pl.when(pl.col("days_running") >= rules.short_cycling_days)
        .then(pl.lit("alarm"))
        .when(pl.col("short_cycling_day"))
        .then(pl.lit("watch"))
        .otherwise(pl.lit("none"))
    )


def _reason(rules: Rules) -> pl.Expr:
    minutes = (pl.col("period_median_s") / 60).round(1).cast(pl.String)
    limit = f"{rules.short_cycling_period / timedelta(minutes=1):g}"
    days = pl.when("short_cycling_day").then(pl.format(", {} days running", "days_running")).otherwise(pl.lit(""))
    return (
        pl.when(pl.col("most_starts_60min") == 0)
        .then(pl.lit("no start for heating or cooling"))
        .otherwise(
            pl.format(
                "starts within 60 min: {} (short cycling from {}); median from start to start: {} (up to {} min){}",
                pl.col("most_starts_60min"),
                pl.lit(rules.short_cycling_starts),
                pl.when(minutes.is_not_null()).then(pl.format("{} min", minutes)).otherwise(pl.lit("unknown")),
                pl.lit(limit),
                days,
            )
        )
    )
