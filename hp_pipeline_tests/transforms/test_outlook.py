"""Comparisons with the year before, and estimates of the running year and season."""

from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms import outlook
from hp_pipeline.transforms.calendar import day_start, next_period
from hp_pipeline.transforms.costs import Tariff, standing_charges
from hp_pipeline.transforms.floors import Known
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline_tests.transforms.seasons import NOBODY_KNOWS, ZONE, daily, monthly, of_month


def all_compared(days: pl.DataFrame, month: date) -> pl.DataFrame:
    """The comparisons of a month, made from no more than what they ask for."""
    period = pl.col("period").str.to_date()
    newest = days.filter(period >= month)["period"].max()
    is_over = newest >= (next_period("monthly", month) - timedelta(days=1)).isoformat()  # type: ignore[operator]
    wanted = [(period >= first) & (period < until) for first, until in outlook.days_wanted(month, is_over)]
    spans = days.filter(period < next_period("monthly", month)).select(outlook.SPAN_COLUMNS)
    near = days.filter(pl.any_horizontal(wanted))
    return outlook.comparisons(monthly(days), near, spans, month, ZONE, Rules(), NOBODY_KNOWS)


def compared(days: pl.DataFrame, month: date) -> dict[str, dict[str, object]]:
    """Those with the year before, by kind: of weeks the last."""
    rows = all_compared(days, month).filter(pl.col("against") == "year before")
    return {row["kind"]: row for row in rows.iter_rows(named=True)}


def test_the_same_days_are_compared_and_ratios_are_made_of_sums() -> None:
    """Till 10 February 2026: 10 days of the month, 41 of the year, 225 of the season, and as many the year before."""
    before = daily(date(2024, 7, 1), date(2025, 7, 1), lambda day: 20.0)
    now = daily(date(2025, 7, 1), date(2026, 2, 11), lambda day: 30.0, cop=5.0)
    found = compared(pl.concat([before, now]), date(2026, 2, 1))
    for kind, days in (("month", 10), ("year", 41), ("season", 225)):
        row = found[kind]
        assert row["thermal_energy_kwh"] == pytest.approx(35 * days)
        assert row["thermal_energy_kwh_before"] == pytest.approx(25 * days)
        assert row["electrical_energy_change"] == pytest.approx(8.5 / 7.5 - 1)
        assert row["cop"] == pytest.approx(35 / 8.5)
        assert row["cop_change"] == pytest.approx(35 / 8.5 - 25 / 7.5)
        assert row["comparison_reason"] is None
    assert (found["season"]["period"], found["year"]["period"], found["month"]["period"]) == (
        "2025/26",
        "2026",
        "2026-02",
    )
    assert found["month"]["end"] == datetime(2026, 2, 10, 23, tzinfo=UTC)
    assert found["month"]["end_before"] == datetime(2025, 2, 10, 23, tzinfo=UTC)


def test_nothing_is_compared_with_days_that_are_not_there() -> None:
    found = compared(daily(date(2025, 12, 20), date(2026, 2, 11), lambda day: 30.0), date(2026, 2, 1))
    assert found["month"]["comparison_reason"] == "no figures of the year before"
    assert found["month"]["cop_change"] is None
    partly = pl.concat(
        [
            daily(date(2025, 1, 25), date(2025, 3, 1), lambda day: 20.0),
            daily(date(2026, 1, 1), date(2026, 2, 11), lambda day: 30.0),
        ]
    )
    found = compared(partly, date(2026, 2, 1))
    assert found["month"]["comparison_reason"] is None
    reason = "electricity known for 41 days, the year before for 17; heat known for 41 days, the year before for 17"
    assert found["year"]["comparison_reason"] == reason
    assert found["year"]["electrical_energy_change"] is None
    assert found["year"]["electrical_energy_kwh_before"] == pytest.approx(17 * 7.5)


def test_the_leap_day_is_compared_with_the_28th() -> None:
    days = pl.concat([daily(date(y, 2, 1), date(y, 3, 1), lambda day: 20.0) for y in (2023, 2024)])
    found = compared(days, date(2024, 2, 1))
    assert found["month"]["end_before"] == datetime(2023, 2, 28, 23, tzinfo=UTC)
    assert found["month"]["thermal_energy_kwh_before"] == pytest.approx(28 * 25)


@settings(max_examples=25, deadline=None)
@given(st.dates(date(2023, 1, 3), date(2026, 1, 31)) | st.dates(date(2024, 2, 24), date(2024, 3, 3)), st.booleans())
def test_the_same_heat_each_day_is_no_change_on_any_date(newest: date, steady: bool) -> None:
    """Whatever the calendar does: leap days, months of 28 to 31 days, days of 23 and 25 hours, 53 weeks."""
    days = daily(date(2021, 7, 1), newest + timedelta(days=1), lambda day: 20.0 if steady else 25.0)
    rows = all_compared(days, newest.replace(day=1))
    assert {("year", "year before"), ("month", "period before")} < set(rows.select("kind", "against").iter_rows())
    for row in rows.iter_rows(named=True):
        assert row["comparison_reason"] is None, row
        for name in ("electrical_energy_change", "thermal_energy_change", "cop_change"):
            assert row[name] == pytest.approx(0, abs=1e-9), (name, row)
        assert row["end_before"] <= row["start"]


@given(st.dates(date(2021, 1, 1), date(2029, 12, 31)), st.integers(1, 12))
def test_what_is_compared_is_as_long_and_ends_on_the_same_day(newest: date, season_starts: int) -> None:
    for pair in outlook.pairs(newest.replace(day=1), newest, season_starts):
        assert pair.first <= newest.replace(day=1) or pair.kind == "week"
        lengths = (pair.until - pair.first).days, (pair.until_before - pair.first_before).days
        assert abs(lengths[0] - lengths[1]) <= (3 if pair.against == "period before" else 1)
        assert pair.until_before <= pair.first
        if (pair.kind, pair.against) == ("month", "year before") and (newest.month, newest.day) != (2, 29):
            last = pair.until_before - timedelta(days=1)
            over = newest + timedelta(days=1) == next_period("monthly", pair.first)
            assert (last.month, last.day) == (newest.month, newest.day) or (over and last.day == 29)


def test_a_week_is_compared_with_the_week_before_and_with_that_of_52_weeks_before() -> None:
    days = daily(date(2024, 12, 1), date(2026, 2, 12), lambda day: 10.0 + day.isocalendar().week)
    rows = all_compared(days, date(2026, 2, 1)).filter(pl.col("kind") == "week").sort("start", "against")
    assert rows["period"].to_list() == ["2026-W06"] * 2 + ["2026-W07"] * 2
    last, before = rows.tail(2).iter_rows(named=True)
    assert (last["against"], before["against"]) == ("period before", "year before")
    assert last["thermal_energy_change"] == pytest.approx((15 + 7) / (15 + 6) - 1)
    assert before["thermal_energy_change"] == pytest.approx(0)
    assert before["end"] - before["start"] == before["end_before"] - before["start_before"] == timedelta(days=3)
    assert before["start_before"] == datetime(2025, 2, 9, 23, tzinfo=UTC)
    january = all_compared(days, date(2026, 1, 1)).filter(pl.col("kind") == "week")
    assert january["period"].unique().sort().to_list() == [f"2026-W0{number}" for number in (2, 3, 4, 5)]
    assert january["electrical_days"].to_list() == [7.0] * 8, "with the days of February"


def unknown(days: pl.DataFrame, first: str, until: str, kind: str = "thermal") -> pl.DataFrame:
    """The days with nothing known of one energy on those from `first` on, before `until`."""
    lacking = (pl.col("period") >= first) & (pl.col("period") < until)
    names = [name for name in days.columns if name.startswith(f"{kind}_energy")]
    return days.with_columns(
        *(pl.when(~lacking).then(name).alias(name) for name in names),
        pl.when(lacking).then(0.0).otherwise(f"{kind}_s").alias(f"{kind}_s"),
    )


def counted_over(days: pl.DataFrame, first: str, until: str) -> pl.DataFrame:
    """The days as a counter tells them that counted over a silence: both energies whole, of no mode."""
    silent = (pl.col("period") >= first) & (pl.col("period") < until)
    uses = [f"{kind}_energy_{use}_kwh" for kind in ("thermal", "electrical") for use in ("heating", "dhw", "standby")]
    return days.with_columns(
        *(pl.when(silent).then(f"{kind}_energy_kwh").otherwise(0.0).alias(f"{kind}_energy_unobserved_kwh")
          for kind in ("thermal", "electrical")),
        *(pl.when(~silent).then(name).alias(name) for name in [*uses, "electrical_energy_cooling_kwh"]),
        *(pl.when(silent).then(0.0).otherwise(name).alias(name) for name in ("observed_s", "heating_s")),
    )  # fmt: skip


def two_januaries() -> tuple[pl.DataFrame, pl.DataFrame]:
    return tuple(daily(date(y, 1, 1), date(y, 2, 1), lambda day: 20.0) for y in (2025, 2026))  # type: ignore[return-value]


def test_an_energy_is_not_compared_where_it_is_known_for_other_days() -> None:
    before, now = two_januaries()
    found = compared(pl.concat([before, unknown(now, "2026-01-01", "2026-01-16")]), date(2026, 1, 1))["month"]
    assert found["comparison_reason"] == "heat known for 16 days, the year before for 31"
    assert found["thermal_energy_change"] is None and found["cop_change"] is None
    assert found["electrical_energy_change"] == pytest.approx(0), "of the electricity all is known"
    halves = [unknown(before, "2025-01-16", "2025-02-01"), unknown(now, "2026-01-01", "2026-01-17")]
    found = compared(pl.concat(halves), date(2026, 1, 1))["month"]
    assert found["comparison_reason"] == "heat known on other days than the year before"
    assert found["thermal_energy_change"] is None


def test_halves_of_a_month_long_past_are_not_taken_for_each_other() -> None:
    """October to date, in a season that is looked at in January."""
    years = daily(date(2024, 7, 1), date(2026, 1, 20), lambda day: 20.0)
    halves = unknown(unknown(years, "2024-10-01", "2024-10-17"), "2025-10-16", "2025-11-01")
    found = compared(halves, date(2026, 1, 1))
    assert found["season"]["comparison_reason"] == "heat known on other days than the year before"
    assert found["year"]["comparison_reason"] is None


def test_a_silence_that_the_counter_counted_over_is_compared() -> None:
    before, now = two_januaries()
    found = compared(pl.concat([before, counted_over(now, "2026-01-01", "2026-01-11")]), date(2026, 1, 1))["month"]
    assert found["comparison_reason"] is None
    assert found["thermal_energy_change"] == pytest.approx(0)


def weather(seed: int):  # type: ignore[no-untyped-def]
    """Heating by day as a house of 0.2 kW/K has it, in a year of its own: seasons, cold spells, mild winters."""
    source = random.Random(seed)
    mild = source.gauss(0, 0.8)
    monthly_anomaly = [source.gauss(0, 1.7) for _ in range(60)]
    spell = 0.0
    temperatures: dict[date, float] = {}
    day = date(2024, 1, 1)
    while day < date(2027, 7, 1):
        spell = 0.8 * spell + source.gauss(0, 1.5)
        season = 9.5 - 9.3 * math.cos(2 * math.pi * (day.timetuple().tm_yday - 20) / 365.25)
        temperatures[day] = season + mild + monthly_anomaly[(day.year - 2024) * 12 + day.month - 1] + spell
        day += timedelta(days=1)
    return lambda day: max(0.0, 15.0 - temperatures[day]) * 0.2 * 24 if temperatures[day] < 15 else 0.0


def estimated(days: pl.DataFrame, known: Known = NOBODY_KNOWS, **more: Any) -> dict[str, dict[str, Any]]:
    newest = date.fromisoformat(days["period"].max())  # type: ignore[arg-type]
    rows = outlook.outlook(monthly(days), of_month(days, newest), ZONE, Rules(), known, **more)
    return {row["kind"]: row for row in rows.iter_rows(named=True)}


def test_estimates_hold_the_truth_in_about_eight_of_ten_cases_and_beat_the_mean_day() -> None:
    """Many winters of random weather, looked at from December to March: the bounds hold, the mean day is worse."""
    inside, cases = 0, 0
    errors, plain_errors = [], []
    for seed in range(25):
        heating = weather(seed)
        season = daily(date(2025, 7, 1), date(2026, 7, 1), heating)
        truth = season["thermal_energy_kwh"].sum()
        for until in (date(2025, 12, 20), date(2026, 1, 10), date(2026, 2, 10), date(2026, 3, 20)):
            row = estimated(season.filter(pl.col("period") < until.isoformat()))["season"]
            assert row["estimate_reason"] is None
            low, high = row["thermal_energy_estimate_low_kwh"], row["thermal_energy_estimate_high_kwh"]
            inside += low <= truth <= high  # type: ignore[operator]
            errors.append(abs(row["thermal_energy_estimate_kwh"] / truth - 1))  # type: ignore[operator]
            plain_errors.append(abs(row["thermal_energy_plain_kwh"] / truth - 1))  # type: ignore[operator]
            cases += 1
    assert 0.70 <= inside / cases <= 0.95
    assert sum(errors) < 0.5 * sum(plain_errors)


@pytest.mark.parametrize("first", [date(2025, 2, 10), date(2025, 9, 1), date(2025, 10, 17)])
def test_what_was_before_the_first_reading_is_not_expected(first: date) -> None:
    """Looked at on 20 December: the year comes to what its row will say, not to what a whole year would have been."""
    read = Known(since=day_start(first, ZONE) + timedelta(hours=9))
    inside, errors, plain_errors = 0, [], []
    for seed in range(12):
        whole = daily(first, date(2026, 1, 1), weather(seed))
        row = estimated(whole.filter(pl.col("period") < "2025-12-20"), read)["year"]
        assert row["known_since"] == day_start(first, ZONE)
        for kind in ("thermal", "electrical"):
            truth = whole[f"{kind}_energy_kwh"].sum()
            low, high = (row[f"{kind}_energy_estimate_{bound}_kwh"] for bound in ("low", "high"))
            inside += low <= truth <= high
            errors.append(abs(row[f"{kind}_energy_estimate_kwh"] / truth - 1))
            plain_errors.append(abs(row[f"{kind}_energy_plain_kwh"] / truth - 1))
        assert row["cop_estimate"] == pytest.approx(
            whole["thermal_energy_kwh"].sum() / whole["electrical_energy_kwh"].sum(), rel=0.02
        )
    assert inside / 24 >= 0.70
    assert max(errors) < 0.1
    assert sum(errors) < sum(plain_errors)


def test_a_season_read_from_autumn_on_holds_the_truth_as_one_read_from_its_begin() -> None:
    first = date(2025, 9, 20)
    inside, cases = 0, 0
    for seed in range(12):
        season = daily(first, date(2026, 7, 1), weather(seed))
        truth = season["thermal_energy_kwh"].sum()
        for until in ("2026-01-10", "2026-02-10", "2026-03-20"):
            row = estimated(season.filter(pl.col("period") < until), Known(since=day_start(first, ZONE)))["season"]
            inside += row["thermal_energy_estimate_low_kwh"] <= truth <= row["thermal_energy_estimate_high_kwh"]
            cases += 1
    assert 0.70 <= inside / cases <= 0.95


def cooled(days: pl.DataFrame, by_day: float) -> pl.DataFrame:
    """The days with this much electricity for cooling on each from June to August."""
    summer = pl.col("period").str.to_date().dt.month().is_in([6, 7, 8])
    used = pl.when(summer).then(by_day).otherwise(0.0)
    return days.with_columns(
        electrical_energy_cooling_kwh=used, electrical_energy_kwh=pl.col("electrical_energy_kwh") + used
    )


def test_cooling_is_expected_as_in_other_summers_and_left_out_of_the_cop() -> None:
    heats = lambda day: 40.0 if day.month in (11, 12, 1, 2, 3) else 0.0  # noqa: E731
    whole = cooled(daily(date(2025, 1, 1), date(2026, 1, 1), heats), 6.0)
    before = cooled(daily(date(2024, 1, 1), date(2025, 1, 1), heats), 6.0)
    true_cop = whole["thermal_energy_kwh"].sum() / (whole["electrical_energy_kwh"].sum() - 6.0 * 92)
    for until in ("2025-05-20", "2025-07-10", "2025-10-10"):
        row = estimated(pl.concat([before, whole.filter(pl.col("period") < until)]))["year"]
        assert row["electrical_energy_estimate_kwh"] == pytest.approx(whole["electrical_energy_kwh"].sum(), rel=0.01)
        assert row["electrical_energy_cooling_estimate_kwh"] == pytest.approx(6.0 * 92, rel=0.01)
        assert row["cop_estimate"] == pytest.approx(true_cop, rel=0.01)
    first_summer = whole.filter(pl.col("period") < "2025-07-10")
    row = estimated(first_summer)["year"]
    assert row["electrical_energy_cooling_estimate_kwh"] == pytest.approx(6.0 * 39), "no other summer tells of it"
    assert row["cop_estimate"] == pytest.approx(true_cop, rel=0.05)


def test_a_house_with_a_year_of_its_own_is_measured_by_it() -> None:
    """A passive house heats from December to February only: its own months tell that, degree days do not."""
    heating = lambda day: 10.0 if day.month in (12, 1, 2) else 0.0  # noqa: E731
    days = daily(date(2024, 7, 1), date(2026, 1, 16), heating)
    row = estimated(days)["season"]
    assert row["method"] == "own months of the years before"
    assert row["thermal_energy_estimate_kwh"] == pytest.approx(900 + 365 * 5, rel=0.01)
    assert row["cop_estimate"] == pytest.approx((900 + 1825) / (225 + 912.5), rel=0.01)
    assert row["days_known"] == 199
    assert row["days_left"] == 166


@pytest.mark.parametrize("newest", [date(2026, 1, 30), date(2026, 1, 31), date(2026, 2, 28), date(2026, 12, 31)])
def test_what_was_so_far_is_told_on_the_last_day_of_a_month_too(newest: date) -> None:
    """The month that runs has no row of its own there, whole or not."""
    days = daily(date(2025, 11, 10), newest + timedelta(days=1), winter)
    month = newest.replace(day=1)
    before = monthly(days.filter(pl.col("period") < month.isoformat()))
    found = outlook.outlook(before, of_month(days, newest), ZONE, Rules(), NOBODY_KNOWS)
    for row in found.iter_rows(named=True):
        within = days.filter(pl.col("start") >= row["start"])
        assert row["electrical_energy_kwh"] == pytest.approx(within["electrical_energy_kwh"].sum()), row["kind"]
        assert row["days_known"] == within.height


def test_what_is_too_little_is_said() -> None:
    few = estimated(daily(date(2025, 12, 1), date(2025, 12, 21), lambda day: 30.0))
    assert few["season"]["estimate_reason"] == "figures of only 20 days"
    assert few["season"]["thermal_energy_estimate_kwh"] is None
    assert few["season"]["thermal_energy_plain_kwh"] == pytest.approx(365 * 35, rel=0.01)
    autumn = estimated(daily(date(2025, 7, 1), date(2025, 11, 1), lambda day: 10.0))
    assert autumn["season"]["estimate_reason"] == "the days known stand for only 14% of a year's heating"


WINTER = date(2025, 7, 1), date(2026, 2, 1)


def winter(day: date) -> float:
    return 40.0 if day.month in (11, 12, 1) else 15.0


def test_what_a_counter_counted_over_a_silence_is_not_missed_a_second_time() -> None:
    """Two months of silence, whose energy the counters tell: the estimates are those of a house that was read."""
    read = daily(*WINTER, winter)
    seen, silent = (estimated(days)["season"] for days in (read, counted_over(read, "2025-11-01", "2026-01-01")))
    assert silent["days_known"] == seen["days_known"] == 215
    for name in ("electrical_energy", "thermal_energy"):
        for end in ("estimate_kwh", "estimate_low_kwh", "estimate_high_kwh", "plain_kwh"):
            assert silent[f"{name}_{end}"] == pytest.approx(seen[f"{name}_{end}"], rel=0.005), (name, end)
    assert silent["cop_estimate"] == pytest.approx(seen["cop_estimate"], rel=0.005)


def test_each_energy_is_estimated_from_the_days_for_which_it_is_known() -> None:
    """A heat meter that came in December: what is left of the year is not all that there is."""
    shaped = lambda day: outlook.DEGREE_DAY_SHARES[day.month - 1] * 6000 / 30.4  # noqa: E731
    truth = sum(shaped(date(2025, 7, 1) + timedelta(days=n)) for n in range(365)) + 5 * 365
    whole = daily(*WINTER, shaped)
    row = estimated(unknown(whole, "2025-07-01", "2025-12-01"))["season"]
    assert row["estimate_reason"] is None
    assert row["thermal_days"] == pytest.approx(62) and row["electrical_days"] == pytest.approx(215)
    assert row["thermal_energy_estimate_kwh"] == pytest.approx(truth, rel=0.03)
    assert row["thermal_energy_plain_kwh"] == pytest.approx(row["thermal_energy_kwh"] / 62 * 365)
    assert row["electrical_energy_estimate_kwh"] == pytest.approx(
        estimated(whole)["season"]["electrical_energy_estimate_kwh"]
    )
    assert row["cop_estimate"] is None, "of other times"
    late = estimated(unknown(whole, "2025-07-01", "2026-01-15"))["season"]
    assert late["estimate_reason"] == "heat: figures of only 17 days"
    assert late["thermal_energy_estimate_kwh"] is None and late["electrical_energy_estimate_kwh"] is not None


def degree_days(first: date, until: date, heating) -> pl.DataFrame:  # type: ignore[no-untyped-def]
    """Those of the weather that makes a house of 0.2 kW/K heat so much."""
    days = [first + timedelta(days=count) for count in range((until - first).days)]
    return pl.DataFrame(
        {"start": [day_start(day, ZONE) for day in days], "heating_degree_days": [heating(day) / 4.8 for day in days]}
    )


def test_a_mild_autumn_is_not_taken_for_a_mild_winter() -> None:
    """Where the house's weather is known, a month counts by how cold it was beside the same month of other years."""

    def usual(day: date) -> float:
        return outlook.DEGREE_DAY_SHARES[day.month - 1] * 6000 / 30.4

    def mild(day: date) -> float:
        return usual(day) * (0.7 if date(2025, 9, 1) <= day < date(2026, 1, 1) else 1.0)

    season = date(2025, 7, 1), date(2026, 7, 1)
    truth = daily(*season, mild)["thermal_energy_kwh"].sum()
    days = daily(date(2023, 7, 1), date(2026, 1, 1), mild)
    known = degree_days(date(2023, 7, 1), date(2026, 1, 1), mild)
    blind, seeing = (estimated(days, weather=weather)["season"] for weather in (None, known))
    errors = [abs(row["thermal_energy_estimate_kwh"] / truth - 1) for row in (blind, seeing)]
    assert errors[1] < 0.5 * errors[0]
    new = days.filter(pl.col("period") >= "2025-07-01")
    row = estimated(new, weather=known)["season"]
    assert row["method"] == "degree days of an average year", "no month of the house before is read"
    older = daily(date(2024, 7, 1), date(2025, 7, 1), mild)
    older = unknown(older, "2024-07-01", "2025-07-01")
    row = estimated(pl.concat([older, new]), weather=known)["season"]
    assert row["method"] == "own degree days of the years before"
    assert row["thermal_energy_estimate_kwh"] == pytest.approx(truth, rel=0.06)


def test_in_the_south_the_season_is_the_calendar_year_and_winter_is_in_july() -> None:
    north = lambda day: outlook.DEGREE_DAY_SHARES[day.month - 1] * 6000 / 30.4  # noqa: E731
    south = lambda day: outlook.DEGREE_DAY_SHARES[(day.month + 5) % 12] * 6000 / 30.4  # noqa: E731
    truth = daily(date(2025, 1, 1), date(2026, 1, 1), south)["thermal_energy_kwh"].sum()
    row = estimated(daily(date(2025, 1, 1), date(2025, 8, 1), south), season_starts=1)["season"]
    assert row["period"] == "2025" and row["days_left"] == 153
    assert row["thermal_energy_estimate_kwh"] == pytest.approx(truth, rel=0.01)
    mirrored = estimated(daily(date(2025, 7, 1), date(2026, 2, 1), north))["season"]
    assert row["thermal_energy_estimate_kwh"] == pytest.approx(mirrored["thermal_energy_estimate_kwh"], rel=0.01)


def test_cost_and_co2_of_the_whole_period_follow_the_electricity() -> None:
    days = daily(*WINTER, winter)
    used = pl.col("electrical_energy_kwh")
    costs = days.select(
        "start",
        cost=used * 0.3,
        priced_kwh=used,
        co2_kg=pl.lit(None, pl.Float64),
        co2_known_kwh=pl.lit(None, pl.Float64),
    )
    tariffs = [
        Tariff(date(2020, 1, 1), (0.3,) * 96, None, 0.5),
        Tariff(date(2025, 10, 1), (0.3,) * 96, None, 1.0),
    ]
    charges = standing_charges(tariffs, {"daikin": (date(2025, 6, 1), date(2026, 1, 31))}, "daikin")
    row = estimated(days, costs=costs, charges=charges)["season"]
    assert row["cost"] == pytest.approx(0.3 * row["electrical_energy_kwh"])
    assert row["cost_estimate"] == pytest.approx(0.3 * row["electrical_energy_estimate_kwh"])
    assert row["standing_charge"] == pytest.approx(92 * 0.5 + 123)
    assert row["standing_charge_estimate"] == pytest.approx(92 * 0.5 + 273)
    assert row["co2_kg"] is None and row["co2_estimate_kg"] is None
    assert estimated(days)["season"]["standing_charge"] is None
