"""Power by a counter: what it counted, where its steps are small beside what five minutes took, and else nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms.counted_power import COARSEST, with_counted_power
from hp_pipeline.transforms.performance import FRAME_COLUMNS, WINDOW
from hp_pipeline.transforms.schema import conform

DAY = datetime(2026, 1, 22, tzinfo=UTC)
READ = timedelta(seconds=30)
TOTAL, HEATING, DHW = (f"electrical_energy_{name}total" for name in ("", "heating_", "dhw_"))
GAP = timedelta(minutes=30)


def at(place: int) -> datetime:
    return DAY + place * READ


def frames(count: int) -> pl.DataFrame:
    rows = pl.DataFrame({"start": [at(i) for i in range(count)], "end": [at(i + 1) for i in range(count)]})
    return conform(rows, "frames").select(FRAME_COLUMNS)


def counted(watts: list[float], step_wh: float, signal: str = TOTAL, unread: range = range(0)) -> list[dict[str, Any]]:
    """The rows of a counter that is read every 30 s and shows whole steps."""
    shown = [int(wh / step_wh) for wh in accumulate(watts, lambda wh, power: wh + power / 120, initial=0.0)]
    rows, since, last = [], 0, 0
    for place in range(1, len(shown)):
        if place in unread:
            continue
        if shown[place] > shown[last]:
            rows.append(
                {"source": "s", "signal": signal, "point": signal, "precedence": 0,
                 "start": at(since), "end": at(place), "over_gap": at(place) - at(last) > GAP,
                 "increment": (shown[place] - shown[last]) * step_wh / 1000}
            )  # fmt: skip
            since = place
        last = place
    return rows


def powers(rows: list[dict[str, Any]], count: int, *signals: str) -> pl.DataFrame:
    """By window: `power` (W), and for how many of its frames it is known."""
    table = conform(pl.DataFrame(rows), "counters")
    told = with_counted_power(frames(count), table, dict.fromkeys(signals or (TOTAL,), 0), WINDOW)
    power = pl.col("electrical_power")
    return told.group_by(pl.col("start").dt.truncate(WINDOW), maintain_order=True).agg(
        power=power.mean(), known=power.is_not_null().sum()
    )


def test_small_steps_tell_the_power_and_large_ones_nothing() -> None:
    watts = [2000.0] * 100
    fine = powers(counted(watts, 10.0), 90)
    assert fine["power"].to_list() == pytest.approx([2000.0] * 9, rel=0.1) and set(fine["known"]) == {10}
    assert powers(counted(watts, 100.0), 90)["known"].sum() == 0, "0.1 kWh of 0.167"


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 400.0, 1500.0, 3000.0]), st.integers(1, 60)), min_size=2, max_size=12),
    st.sampled_from([1.0, 10.0, 50.0]),
)
def test_it_is_off_by_no_more_than_the_steps_at_both_ends(pattern: list[tuple[float, int]], step_wh: float) -> None:
    watts = [power for power, count in pattern for _ in range(count)]
    count = len(watts) // 10 * 10
    for row in powers(counted([*watts, *[3000.0] * 10], step_wh), count).to_dicts():
        if row["known"]:
            assert row["known"] == 10
            place = (row["start"] - DAY) // READ
            truth = sum(watts[place : place + 10]) / 10
            assert abs(row["power"] - truth) <= 2 * COARSEST * row["power"] + 1e-6


def test_purposes_are_added_and_a_silence_is_not_known() -> None:
    heating, dhw = [1800.0] * 200 + [0.0] * 200, [0.0] * 200 + [2400.0] * 200
    rows = counted(heating, 10.0, HEATING) + counted(dhw, 10.0, DHW)
    both = powers(rows, 390, HEATING, DHW)
    assert both["power"].drop_nulls().to_list() == pytest.approx([1800.0] * 20 + [2400.0] * 19, rel=0.15)
    silent = powers(counted([1800.0] * 400, 10.0, unread=range(100, 180)), 390)
    assert silent["known"].to_list() == [10] * 9 + [0] * 9 + [10] * 21


def test_a_day_alone_is_the_day_among_many() -> None:
    watts = ([2000.0] * 900 + [0.0] * 2000) * 5
    rows = conform(pl.DataFrame(counted(watts, 10.0)), "counters")
    whole = with_counted_power(frames(4 * 2880), rows, {TOTAL: 0}, WINDOW)
    for number in range(4):
        start = DAY + timedelta(days=number)
        own = pl.col("start").is_between(start, start + timedelta(days=1), closed="left")
        near = pl.col("end").is_between(start, start + timedelta(days=2), closed="left")
        alone = with_counted_power(frames(4 * 2880).filter(own), rows.filter(near), {TOTAL: 0}, WINDOW)
        assert alone.equals(whole.filter(own))
