"""Runs of the compressor and the verdict on a day, for compressors of which each start is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from hp_pipeline.transforms import calendar, cycling, states
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.rules import Rules

ZONE = "Europe/Berlin"
RULES = Rules()
MINUTE = timedelta(minutes=1)
FIRST = date(2024, 1, 10)


def _frames(stretches: Sequence[tuple[int, bool, str, bool]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Frames of a minute from the begin of `FIRST` (local): minutes, whether it runs, mode, whether it defrosts."""
    rows: list[dict[str, Any]] = []
    start = calendar.day_start(FIRST, ZONE)
    for minutes, runs, mode, defrosts in stretches:
        for _ in range(minutes):
            rows.append({"start": start, "compressor_running": runs, "mode": mode, "defrost": defrosts})
            start += MINUTE
    frame = pl.DataFrame(rows).with_columns(
        end=pl.col("start") + MINUTE, heat_pump=pl.lit("house"), last_read="start",
        states_read=pl.col("start").shift(1), state=pl.lit("on"), provisional=pl.lit(False),
    )  # fmt: skip
    return conform(frame, "frames").select(states.frame_columns([])), frame.select(states.OPERATION_COLUMNS)


def _judged(
    stretches: Sequence[tuple[int, bool, str, bool]],
    counters: pl.DataFrame | None = None,
    stood: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`compressor_runs` and `cycling_daily` of the days that the stretches touch."""
    frames, operation = _frames(stretches)
    nothing = states.carried(conform(None, "state_intervals"))
    rows = states.state_intervals(frames, operation, nothing, ZONE, RULES, newest=True)
    low, high = datetime(2024, 1, 9, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
    runs = cycling.runs(rows.select(cycling.STATE_COLUMNS), low, high, RULES)
    last = calendar.local_date(frames["start"][-1], ZONE)
    days = [FIRST + timedelta(days=number) for number in range((last - FIRST).days + 1)]
    told = conform(counters, "counters"), conform(stood, "counter_states")
    return runs, cycling.cycling_daily(runs, states.state_daily(rows, days, ZONE), *told, days, ZONE, RULES)


def _cycles(count: int, run: int, pause: int, mode: str = "heating") -> list[tuple[int, bool, str, bool]]:
    return [(pause, False, "standby", False), (run, True, mode, False)] * count


def test_many_starts_and_short_periods_three_days_running_are_an_alarm() -> None:
    _, daily = _judged(_cycles(4 * 144, run=4, pause=6))
    assert daily["short_cycling"].to_list() == ["watch", "watch", "alarm", "alarm"]
    assert daily["most_starts_60min"].to_list() == [6, 6, 6, 6]
    assert daily["period_median_s"].to_list() == [600.0] * 4
    assert daily["starts"].sum() == 4 * 144
    assert "3 days running" in daily["short_cycling_reason"][2]


@pytest.mark.parametrize(
    "day",
    [
        pytest.param(_cycles(72, run=10, pause=10), id="short periods, but only three starts an hour"),
        pytest.param(_cycles(8, run=4, pause=4) + _cycles(18, run=40, pause=36), id="a burst on a calm day"),
        pytest.param(_cycles(144, run=4, pause=6, mode="dhw"), id="hot water"),
        pytest.param([(4, False, "heating", True), (6, True, "heating", False)] * 144, id="pauses of defrosts"),
    ],
)
def test_either_alone_is_no_short_cycling(day: list[tuple[int, bool, str, bool]]) -> None:
    _, daily = _judged(day * 3)
    assert daily.filter(pl.col("known_s") > 80_000)["short_cycling"].to_list() == ["none"] * 3


def test_a_day_of_which_little_is_known_is_not_judged() -> None:
    _, daily = _judged(_cycles(20, run=10, pause=20))
    assert daily["short_cycling"].to_list() == [None]
    assert daily["short_cycling_reason"][0].startswith("it is known for only 42 %")
    assert daily["starts"].item() == 20


def test_a_change_of_mode_is_no_start_and_a_run_over_midnight_is_one() -> None:
    until_midnight = 24 * 60 - 30
    runs, daily = _judged(
        [
            (until_midnight, False, "standby", False),
            (20, True, "heating", False),
            (60, True, "dhw", False),
            (60, False, "standby", False),
        ]
    )
    run = runs.row(0, named=True)
    assert runs.height == 1
    assert (run["run_s"], run["heating_s"], run["dhw_s"], run["mode"]) == (4800.0, 1200.0, 3600.0, "dhw")
    assert run["pause_s"] is None, "nobody saw when it began to rest"
    assert daily["starts"].to_list() == [1, 0]
    assert daily["running_s"].to_list() == [1800.0, 3000.0]


def test_a_pause_is_too_short_only_if_that_is_sure() -> None:
    def pauses(minutes: int, defrosts: bool = False) -> list[bool | None]:
        runs, _ = _judged(
            [
                (30, False, "standby", False),
                (30, True, "heating", False),
                (minutes, False, "heating", defrosts),
                (30, True, "heating", False),
                (5, False, "standby", False),
            ]
        )
        return runs["pause_too_short"].to_list()

    assert pauses(3) == [None, True]
    assert pauses(4) == [None, False], "the minute in which the stop was not seen may have been a pause"
    assert pauses(3, defrosts=True) == [None, None]


def test_what_the_device_counts_stands_beside() -> None:
    def at(day: int, hour: int) -> datetime:
        return datetime(2024, 1, day, hour, 30, tzinfo=UTC)

    starts, hours = cycling.DEVICE_COUNTERS
    counters = pl.DataFrame(
        {
            "signal": [starts, starts, hours, starts, starts],
            "precedence": [0, 0, 0, 1, 0],
            # The last one is of the next day of the house, though not of the next UTC day.
            "end": [at(10, 1), at(10, 22), at(10, 5), at(10, 6), at(10, 23)],
            "increment": [20.0, 22.0, 7.0, 99.0, 41.0],
            "over_gap": [False, False, True, False, False],
        }
    )
    stood = pl.DataFrame({"signal": [starts, hours, starts], "time": [at(10, 23), at(10, 23), at(11, 23)]})
    _, daily = _judged(_cycles(3 * 48, run=10, pause=20), counters, stood)
    assert daily["starts"].to_list() == [48, 48, 48]
    assert daily["device_starts"].to_list() == [42.0, 41.0, 0.0]
    assert daily["starts_difference"].to_list() == [6.0, 7.0, 48.0]
    assert daily["device_running_s"].to_list() == [7 * 3600.0, 0.0, None]
    assert daily["running_difference_s"].to_list() == [28_800.0 - 25_200.0, 28_800.0, None]
    assert daily["device_reason"].to_list() == ["running time counted while nothing was read", None, None]
    _, without = _judged(_cycles(48, run=10, pause=20))
    assert without["device_starts"].to_list() == [None]
    assert without["device_reason"].to_list() == ["no counter of starts or of running time was read"]
