"""The house's calendar: hours tile days, days tile weeks, in every kind of zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms import calendar

ZONES = [
    *("UTC", "Europe/Berlin", "Europe/London", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia"),
    *("Australia/Lord_Howe", "Pacific/Chatham", "America/Asuncion", "Africa/Cairo", "Atlantic/Azores", "Etc/GMT+12"),
]


@pytest.mark.parametrize("time_zone", ZONES)
def test_hours_tile_a_year_and_never_cross_a_change_of_the_clock(time_zone: str) -> None:
    zone = ZoneInfo(time_zone)
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
    quarters = pl.datetime_range(start, end, "15m", time_zone="UTC", eager=True, closed="left").to_frame("time")
    hours = quarters.with_columns(hour=calendar.hour_start("time", time_zone))["hour"].unique().sort().to_list()
    ends = [calendar.hour_end(begin, time_zone) for begin in hours]
    assert ends[:-1] == hours[1:]
    for begin, until in zip(hours, ends, strict=True):
        first, last = begin.astimezone(zone), (until - timedelta(microseconds=1)).astimezone(zone)
        assert (first.date(), first.hour, first.utcoffset()) == (last.date(), last.hour, last.utcoffset())
    assert sum(until - begin != timedelta(hours=1) for begin, until in zip(hours, ends, strict=True)) <= 4


@settings(max_examples=100, deadline=None)
@given(st.dates(date(2000, 1, 1), date(2040, 1, 1)), st.sampled_from(ZONES))
def test_a_day_begins_with_its_date(day: date, time_zone: str) -> None:
    begin = calendar.day_start(day, time_zone)
    assert calendar.local_date(begin - timedelta(microseconds=1), time_zone) < day
    if day != date(2011, 12, 30) or time_zone != "Pacific/Apia":  # a day that Samoa left out
        assert calendar.local_date(begin, time_zone) == day


@given(
    st.dates(date(2000, 1, 1), date(2040, 1, 1)),
    st.sampled_from(["daily", "weekly", "monthly", "seasonal", "yearly"]),
    st.integers(1, 12),
)
def test_periods_tile_the_days(day: date, name: calendar.PeriodName, season_starts: int) -> None:
    first = calendar.first_day(name, day, season_starts)
    following = calendar.next_period(name, first)
    assert first <= day < following
    assert calendar.first_day(name, following, season_starts) == following
    assert calendar.first_day(name, following - timedelta(days=1), season_starts) == first
    assert calendar.wanted_period(name, [first, following], day) == first
    assert calendar.wanted_period(name, [first], following) is None
    assert calendar.wanted_period(name, [following], day) is None


def test_weeks_are_called_as_iso_says() -> None:
    labels = [
        calendar.period_label("weekly", calendar.first_day("weekly", date(2024, 12, 29) + timedelta(days=n)))
        for n in (0, 1, 3)
    ]
    assert labels == ["2024-W52", "2025-W01", "2025-W01"]


def test_a_heating_season_holds_one_winter() -> None:
    assert calendar.grouped("season", date(2024, 1, 15)) == (date(2023, 7, 1), date(2024, 7, 1), "2023/24")
    assert calendar.grouped("season", date(2024, 12, 15))[2] == "2024/25"
    assert calendar.grouped("season", date(2024, 7, 15), 1) == (date(2024, 1, 1), date(2025, 1, 1), "2024")
    assert calendar.grouped("season", date(2024, 3, 15), 4)[2] == "2023/24"


def test_both_hours_of_an_autumn_night_have_their_own_name() -> None:
    hours = [datetime(2024, 10, 26, 23, tzinfo=UTC) + timedelta(hours=count) for count in range(4)]
    named = calendar.local_iso(hours, "Europe/Berlin")
    assert named == [
        "2024-10-27T01:00+02:00",
        "2024-10-27T02:00+02:00",
        "2024-10-27T02:00+01:00",
        "2024-10-27T03:00+01:00",
    ]
    assert all(first < second for first, second in pairwise(hours))
