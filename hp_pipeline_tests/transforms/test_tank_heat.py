"""A heat pump's heat into a tank: to the last millijoule what its quarters say, when it ran, however it is cut."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms.schema import UTC as UTC_TIME
from hp_pipeline.transforms.tank_heat import ChargingHeatPump, with_heat_pumps

FIRST = datetime(2026, 10, 24, tzinfo=UTC)
DAY, QUARTER = timedelta(days=1), timedelta(minutes=15)
MJ_PER_KWH = 3_600_000_000

SEGMENT = {
    "start": UTC_TIME,
    "end": UTC_TIME,
    "mode": pl.String(),
    "state": pl.String(),
    "observed_s": pl.Float64(),
    "thermal_s": pl.Float64(),
}
Segment = tuple[float, float, str | None, str | None, float]
"""From and until which minute, mode, state, share of the time for which its heat is known."""


Power = tuple[float, float, float | None]
"""From and until which minute, W."""


def charging(
    segments: list[Segment], quarters: dict[int, float | None], powers: list[Power] | None = None
) -> ChargingHeatPump:
    """A heat pump of these segments and powers, and by the number of the quarter (of `FIRST`) its heat in mode dhw,
    kWh."""
    rows = [
        (
            FIRST + timedelta(minutes=begin),
            FIRST + timedelta(minutes=stop),
            mode,
            state,
            60 * (stop - begin),
            60 * (stop - begin) * share,
        )
        for begin, stop, mode, state, share in segments
    ]
    powered = [
        (FIRST + timedelta(minutes=begin), FIRST + timedelta(minutes=stop), power)
        for begin, stop, power in powers or []
    ]
    told = [(FIRST + number * QUARTER, heat) for number, heat in quarters.items()]
    return ChargingHeatPump(
        pl.DataFrame(rows, schema=SEGMENT, orient="row"),
        pl.DataFrame(powered, schema={"start": UTC_TIME, "end": UTC_TIME, "thermal_power": pl.Float64()}, orient="row"),
        pl.DataFrame(told, schema={"start": UTC_TIME, "thermal_energy_dhw_kwh": pl.Float64()}, orient="row"),
    )


def frames(minutes: float, every: float = 1.0, begin: float = 0.0) -> pl.DataFrame:
    """Frames without a gap, cut at quarters."""
    borders = {begin + every * step for step in range(round((minutes - begin) / every) + 1)}
    borders |= {15.0 * step for step in range(int(begin // 15) + 1, int(minutes // 15) + 1)}
    at = [FIRST + timedelta(minutes=border) for border in sorted(borders) if begin <= border <= minutes]
    return pl.DataFrame({"start": at[:-1], "end": at[1:]}, schema={"start": UTC_TIME, "end": UTC_TIME})


def kwh(made: pl.DataFrame) -> list[float | None]:
    return [None if heat is None else heat / MJ_PER_KWH for heat in made["heat_pump"]]


def test_heat_is_given_while_it_ran_for_the_tank() -> None:
    one = charging(
        [(0, 6, "standby", "off", 1), (6, 12, "dhw", "on", 1), (12, 30, "heating", "on", 0)], {0: 1.5, 1: None}
    )
    made = with_heat_pumps(frames(30, 3), [one])
    # In mode heating nothing is known of its heat, but that it is none of the tank's.
    assert kwh(made) == [0, 0, 0.75, 0.75, 0, 0, 0, 0, 0, 0]
    assert made["heat_pump_known"].to_list() == [180_000_000] * 10


def test_heat_follows_the_power_in_mode_dhw() -> None:
    """As much as the quarter says, whatever the power alone would say; what it gives the house does not count."""
    one = charging(
        [(0, 10, "dhw", "on", 1), (10, 15, "heating", "on", 1)],
        {0: 1.5},
        [(0, 5, 1000.0), (5, 10, 4000.0), (10, 15, 9000.0)],
    )
    assert kwh(with_heat_pumps(frames(15, 2.5), [one])) == pytest.approx([0.15, 0.15, 0.6, 0.6, 0, 0])


def test_what_is_not_known_is_not_zero() -> None:
    one = charging([(0, 10, "dhw", "on", 0), (10, 20, None, None, 1), (25, 30, "standby", "off", 1)], {0: None})
    made = with_heat_pumps(frames(40, 5), [one])
    assert kwh(made) == [None] * 5 + [0, None, None]
    assert made["heat_pump_known"].to_list() == [0] * 5 + [300_000_000, 0, 0]


def test_heat_of_which_half_is_known() -> None:
    made = with_heat_pumps(frames(15, 5), [charging([(0, 15, "dhw", "on", 0.5)], {0: 0.6})])
    assert kwh(made) == pytest.approx([0.2] * 3)
    assert made["heat_pump_known"].to_list() == [150_000_000] * 3


def test_heat_while_the_compressor_rests_is_spread_over_the_quarter() -> None:
    made = with_heat_pumps(frames(15, 5), [charging([(0, 15, "dhw", "off", 1)], {0: 0.3})])
    assert kwh(made) == pytest.approx([0.1] * 3)


def test_the_heat_of_several_is_known_where_that_of_each_is() -> None:
    whole = charging([(0, 30, "dhw", "on", 1)], {0: 1.0, 1: 1.0})
    half = charging([(15, 30, "standby", "off", 1)], {1: 0.0})
    made = with_heat_pumps(frames(30, 15), [whole, half])
    assert kwh(made) == [None, 1]
    assert made["heat_pump_known"].to_list() == [0, 900_000_000]


def test_without_a_heat_pump_nothing_is_lacking() -> None:
    made = with_heat_pumps(frames(15, 5), [])
    assert made["heat_pump"].to_list() == [None] * 3
    assert made["heat_pump_known"].to_list() == [300_000_000] * 3


@given(seed=st.integers(0, 2**32), every=st.sampled_from([0.5, 1.25, 5.0]))
@settings(max_examples=40, deadline=None)
def test_quarters_are_whole_and_days_can_be_made_alone(seed: int, every: float) -> None:
    chance = Random(seed)
    edges = sorted({0.0, 1440.0, 2880.0, *(chance.uniform(0, 2880) for _ in range(chance.randint(0, 60)))})
    segments: list[Segment] = [
        (begin, stop, chance.choice(["dhw", "dhw", "heating", "standby"]), chance.choice(["on", "off", "defrost"]), 1)
        for begin, stop in pairwise(edges)
    ]
    quarters: dict[int, float | None] = {number: chance.uniform(-0.2, 3) for number in range(192)}
    powers: list[Power] = [
        (2.0 * at, 2.0 * at + chance.uniform(1, 2), chance.choice([None, -900.0, chance.uniform(0, 9000)]))
        for at in range(1440)
        if at % 720 > chance.choice([0, 300])
    ]
    made = with_heat_pumps(frames(2880, every), [charging(segments, quarters, powers)])
    by_quarter = made.group_by(pl.col("start").dt.truncate("15m"), maintain_order=True).agg(pl.col("heat_pump").sum())
    assert by_quarter["heat_pump"].to_list() == [round((heat or 0) * MJ_PER_KWH) for heat in quarters.values()]
    days = [
        with_heat_pumps(
            frames(1440 * (day + 1), every, 1440 * day),
            [
                charging(
                    [segment for segment in segments if 1440 * day <= segment[0] < 1440 * (day + 1)],
                    {number: heat for number, heat in quarters.items() if number // 96 == day},
                    [power for power in powers if 1440 * day <= power[0] < 1440 * (day + 1)],
                )
            ],
        )
        for day in (0, 1)
    ]
    assert pl.concat(days).equals(made)
