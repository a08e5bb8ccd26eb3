"""Days filled up: counters exactly, estimates within what is stated, and nothing where nothing tells it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms import filling
from hp_pipeline.transforms.calendar import day_start, next_period
from hp_pipeline.transforms.figures import Known
from hp_pipeline.transforms.schema import conform

ZONE = "Europe/Berlin"
FIRST, UNTIL = date(2024, 1, 1), date(2026, 1, 1)
KNOWN = Known(day_start(FIRST, ZONE), day_start(UNTIL, ZONE))
KINDS = ("electrical", "thermal")
MJ = 3_600_000_000

KNOWN_WEATHER, WEATHER_AROUND = 0.05, 0.25
"""How far the estimate of a cold week is from the truth on average, as a share of it: where the outdoor temperature of
its days is known, and where it is taken from the days around. The page of operations states it."""


@cache
def truth(seed: int) -> pl.DataFrame:
    """Two years of days of a house: weather with cold spells, heating with a tenth of whim, hot water as it comes."""
    source = random.Random(seed)
    rows = []
    spell = 0.0
    for count in range((UNTIL - FIRST).days):
        day = FIRST + timedelta(days=count)
        spell = 0.8 * spell + source.gauss(0, 1.8)
        outdoor = 9.5 - 9.3 * math.cos(2 * math.pi * (day.timetuple().tm_yday - 20) / 365.25) + spell
        heating = max(0.0, 15.0 - outdoor) * 4.8 * source.gauss(1, 0.1)
        tank = max(source.gauss(5, 1.5), 0.5)
        begin, end = day_start(day, ZONE), day_start(day + timedelta(days=1), ZONE)
        seconds = (end - begin).total_seconds()
        rows.append(
            {
                "heat_pump": "a", "start": begin, "end": end, "outdoor_temperature_mean": outdoor,
                "thermal_energy_kwh": heating + tank,
                "electrical_energy_kwh": heating / (3.6 + 0.08 * outdoor) + tank / 2.5 + 0.5,
                "electrical_s": seconds, "thermal_s": seconds,
            }
        )  # fmt: skip
    return conform(pl.DataFrame(rows), "degree_days").select(filling.DAY_COLUMNS)


def within(first: date, until: date) -> pl.Expr:
    return (pl.col("start") >= day_start(first, ZONE)) & (pl.col("start") < day_start(until, ZONE))


def silent(days: pl.DataFrame, first: date, until: date) -> pl.DataFrame:
    """The days without those of a silence, of which nothing is known."""
    return days.filter(~within(first, until))


def counted_over(days: pl.DataFrame, first: date, until: date) -> pl.DataFrame:
    """The days with a silence over which both counters counted: what they counted is spread by time."""
    gap = within(first, until)
    span = (pl.col("end") - pl.col("start")).dt.total_microseconds()
    spread = {
        name: pl.when(gap).then(
            (pl.col(name).filter(gap).sum() * MJ * span / span.filter(gap).sum()).round() / MJ
        )
        for name in (f"{kind}_energy_kwh" for kind in KINDS)
    }  # fmt: skip
    return days.with_columns(
        *(pl.coalesce(amount, name).alias(name) for name, amount in spread.items()),
        *(amount.alias(name.replace("_kwh", "_unobserved_kwh")) for name, amount in spread.items()),
        pl.when(~gap).then("outdoor_temperature_mean").alias("outdoor_temperature_mean"),
        pl.when(gap).then(pl.lit("known for only 0 % of the day")).alias("degree_days_reason"),
    )


def filled(days: pl.DataFrame, months: Iterable[date] | None = None, known: Known = KNOWN) -> pl.DataFrame:
    """All months, each made from no more than what it reads."""
    if months is None:
        months, month = [], FIRST
        while month < UNTIL:
            months.append(month)
            month = next_period("monthly", month)
    made = []
    for month in months:
        read = filling.months_read(month)
        near = days.filter(within(read[0], next_period("monthly", read[-1])))
        made.append(filling.filled_daily(near, month, "a", ZONE, known))
    return pl.concat(made).sort("start")


def millijoules(rows: pl.DataFrame, name: str) -> int:
    return int(rows.select((pl.col(name) * MJ).round().cast(pl.Int64).sum()).item())


def test_a_year_that_was_read_is_as_it_was_read() -> None:
    days = truth(1)
    rows = filled(days)
    assert rows.height == days.height == 731
    for kind in KINDS:
        assert rows[f"{kind}_energy_filled_up_kwh"].to_list() == days[f"{kind}_energy_kwh"].to_list()
        assert set(rows[f"{kind}_filling"]) == {"read"}
        assert set(rows[f"{kind}_filled_share"]) == {0.0}
    assert not rows["outdoor_temperature_read"].not_().any()


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.integers(400, 715), st.integers(1, 14))
def test_what_a_counter_counted_is_filled_in_to_the_last_millijoule(seed: int, begin: int, length: int) -> None:
    """In each month of it by itself, and shared out nearer to the truth than by time."""
    first = FIRST + timedelta(days=begin)
    until = first + timedelta(days=length)
    days = counted_over(truth(seed), first, until)
    rows = filled(days, sorted({first.replace(day=1), (until - timedelta(days=1)).replace(day=1)}))
    gap = rows.filter(within(first, until))
    assert gap.height == length
    for kind in KINDS:
        assert set(gap[f"{kind}_filling"]) <= {"counted, by temperature", "counted, by time"}
        for month in gap["period"].str.slice(0, 7).unique():
            own = gap.filter(pl.col("period").str.starts_with(month))
            counted = days.filter(within(first, until), pl.col("start").is_in(own["start"].implode()))
            for name in (f"{kind}_energy_counted_kwh", f"{kind}_energy_filled_up_kwh"):
                assert millijoules(own, name) == millijoules(counted, f"{kind}_energy_unobserved_kwh")
        assert (gap[f"{kind}_filled_share"] == 1.0).all()
        assert (gap[f"{kind}_energy_estimated_kwh"] == 0.0).all()
    outside = rows.filter(~within(first, until))
    assert set(outside["electrical_filling"]) <= {"read"}


def test_what_was_counted_is_shared_out_by_the_weather() -> None:
    """A week in which it grew cold, with the temperature known throughout: the heat meter alone was silent."""
    errors: dict[str, list[float]] = {"filled": [], "by time": []}
    for seed in (1, 2, 3):
        for begin in range(420, 720, 30):
            first = FIRST + timedelta(days=begin)
            until = first + timedelta(days=7)
            true = truth(seed)
            days = counted_over(true, first, until).with_columns(
                true["outdoor_temperature_mean"], degree_days_reason=pl.lit(None, pl.String)
            )
            rows = filled(days, sorted({first.replace(day=1), (until - timedelta(days=1)).replace(day=1)}))
            really = true.filter(within(first, until))["thermal_energy_kwh"]
            for name, found in (
                ("filled", rows.filter(within(first, until))["thermal_energy_filled_up_kwh"]),
                ("by time", days.filter(within(first, until))["thermal_energy_kwh"]),
            ):
                errors[name].append(float((found - really).abs().sum()))
    assert sum(errors["filled"]) < 0.6 * sum(errors["by time"])


@pytest.mark.parametrize(
    ("weather", "filling_said", "on_average", "in_all"),
    [
        ("known", "estimated, by temperature", KNOWN_WEATHER, 0.02),
        ("around", "estimated, by the temperature around", WEATHER_AROUND, 0.06),
    ],
)
def test_an_estimate_of_a_week_is_within_what_is_stated(
    weather: str, filling_said: str, on_average: float, in_all: float
) -> None:
    """Weeks that no counter counted over: one by one, and all of them together."""
    errors, sums = [], [0.0, 0.0]
    for seed in range(1, 7):
        for begin in range(380, 715, 25):
            first = FIRST + timedelta(days=begin)
            until = first + timedelta(days=7)
            true, gap = truth(seed), within(first, until)
            without_heat = true.with_columns(
                pl.when(~gap).then("thermal_energy_kwh").alias("thermal_energy_kwh"),
                pl.when(gap).then(0.0).otherwise("thermal_s").alias("thermal_s"),
            )
            days = without_heat if weather == "known" else silent(true, first, until)
            months = sorted({first.replace(day=1), (until - timedelta(days=1)).replace(day=1)})
            found = filled(days, months).filter(gap)
            assert set(found["thermal_filling"]) == {filling_said}
            assert found["outdoor_temperature_read"].all() == (weather == "known")
            told, really = (
                float(energies.sum())
                for energies in (found["thermal_energy_filled_up_kwh"], true.filter(gap)["thermal_energy_kwh"])
            )
            sums = [sums[0] + told, sums[1] + really]
            if really > 7 * 20:
                errors.append(abs(told / really - 1))
    assert sum(errors) / len(errors) < on_average
    assert abs(sums[0] / sums[1] - 1) < in_all


def test_part_of_a_day_lacks_its_part() -> None:
    day = date(2025, 2, 10)
    half = truth(1).with_columns(
        pl.when(within(day, day + timedelta(days=1))).then(pl.col(name) * 0.5).otherwise(name).alias(name)
        for name in ("thermal_energy_kwh", "thermal_s")
    )
    (row,) = filled(half, [day.replace(day=1)]).filter(within(day, day + timedelta(days=1))).iter_rows(named=True)
    assert row["thermal_filling"] == "read; estimated, by temperature"
    assert row["electrical_filling"] == "read"
    assert row["thermal_filled_share"] == pytest.approx(0.5, abs=0.1)
    whole = row["thermal_energy_seen_kwh"] + row["thermal_energy_estimated_kwh"]
    assert row["thermal_energy_filled_up_kwh"] == pytest.approx(whole)


def reason(days: pl.DataFrame, day: date, known: Known = KNOWN) -> dict[str, Any]:
    rows = filled(days, [day.replace(day=1)], known).filter(within(day, day + timedelta(days=1)))
    return rows.row(0, named=True)


def test_where_nothing_tells_it_nothing_is_filled_in() -> None:
    days = truth(1)
    long = silent(days, date(2025, 3, 1), date(2025, 4, 1))
    row = reason(long, date(2025, 3, 15))
    assert row["thermal_energy_filled_up_kwh"] is None and row["thermal_filling"] is None
    assert row["thermal_filling_reason"] == "the outdoor temperature is unknown"
    few = silent(days, date(2024, 1, 10), date(2024, 2, 1))
    assert reason(few, date(2024, 1, 11))["electrical_filling_reason"] == "only 9 days known to tell it by, of 20"
    frost = days.with_columns(
        outdoor_temperature_mean=pl.when(within(date(2025, 2, 10), date(2025, 2, 11)))
        .then(-30.0)
        .otherwise("outdoor_temperature_mean"),
        thermal_s=pl.when(within(date(2025, 2, 10), date(2025, 2, 11))).then(0.0).otherwise("thermal_s"),
        thermal_energy_kwh=pl.when(~within(date(2025, 2, 10), date(2025, 2, 11))).then("thermal_energy_kwh"),
    )
    row = reason(frost, date(2025, 2, 10))
    assert row["thermal_filling_reason"] == "-30 °C outdoors: no day known was like it"
    assert row["electrical_filling"] == "read"


def test_days_before_the_first_and_after_the_newest_reading_are_none() -> None:
    moments = [day_start(date(2025, 2, day), ZONE) + timedelta(hours=12) for day in (5, 20)]
    rows = filled(truth(1), [date(2025, 2, 1)], Known(*moments))
    assert rows["period"].to_list() == [f"2025-02-{day:02d}" for day in range(5, 21)]
    assert isinstance(rows["start"][0], datetime)
    assert rows["thermal_energy_estimated_kwh"].to_list() == [0.0] * 16
