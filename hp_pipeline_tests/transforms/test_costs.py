"""Costs: every quarter of an hour at its own price, added without loss."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms import costs
from hp_pipeline.transforms.calendar import day_start, local_date
from hp_pipeline.transforms.floors import Known
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.rules import Rules

BERLIN = "Europe/Berlin"
QUARTER = timedelta(minutes=15)


def flat(price: float, since: date = date(2020, 1, 1), standing: float = 0.0, co2: float | None = None) -> costs.Tariff:
    return costs.Tariff(since, (price,) * 96, None, standing, co2)


def night(day_price: float, night_price: float) -> costs.Tariff:
    """Cheap from 22:00 to 06:00 of the house's clock."""
    return costs.Tariff(
        date(2020, 1, 1), tuple(night_price if not 24 <= quarter < 88 else day_price for quarter in range(96))
    )


def quarters(first: date, days: int, kwh: float = 0.25, heat: float = 1.0) -> pl.DataFrame:
    """The same energies in each quarter of local days."""
    start, end = day_start(first, BERLIN), day_start(first + timedelta(days=days), BERLIN)
    count = (end - start) // QUARTER
    starts = [start + i * QUARTER for i in range(count)]
    return conform(
        pl.DataFrame(
            {
                "heat_pump": "a",
                "start": starts,
                "end": [moment + QUARTER for moment in starts],
                "electrical_energy_kwh": kwh,
                "electrical_energy_heating_kwh": kwh,
                "electrical_energy_cooling_kwh": 0.0,
                "electrical_energy_dhw_kwh": 0.0,
                "thermal_energy_kwh": heat,
                "thermal_energy_heating_kwh": heat,
                "thermal_energy_dhw_kwh": 0.0,
                "electrical_s": 900.0,
                "thermal_s": 900.0,
            }
        ),
        "quarter_hourly",
    )


NOBODY_KNOWS = Known()


def daily(rows: pl.DataFrame, *tariffs: costs.Tariff, days: list[date], known: Known = NOBODY_KNOWS) -> pl.DataFrame:
    """Of the only heat pump of a house, read from the first of the days to the last where `known` does not say."""
    since = days[0] if known.since is None else local_date(known.since, BERLIN)
    charges = costs.standing_charges(tariffs, {"a": (since, days[-1])}, "a")
    return costs.costs_daily(rows, "a", tariffs, charges, days, BERLIN, Rules(), known)


def by_calendar(  # type: ignore[no-untyped-def]
    rows: pl.DataFrame, name, periods: list[date], known: Known = NOBODY_KNOWS
) -> pl.DataFrame:
    return costs.costs_by_calendar(rows, name, periods, BERLIN, Rules(), known)


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 1, 5), 24)])
def test_a_day_costs_its_own_hours(day: date, hours: int) -> None:
    """23 and 25 hours: the night's price holds from 22:00 to 06:00 of the clock on the wall, whatever that lasts."""
    (row,) = daily(quarters(day, 1), night(0.4, 0.2), days=[day]).iter_rows(named=True)
    night_hours = 8 + hours - 24
    assert row["electrical_energy_kwh"] == pytest.approx(hours, abs=1e-9)
    assert row["cost"] == pytest.approx(16 * 0.4 + night_hours * 0.2, abs=1e-8)
    assert row["cost_per_kwh_heat"] == pytest.approx(row["cost"] / (4 * hours), rel=1e-12)
    assert row["cost_reason"] is None


def test_each_tariff_holds_from_its_day_of_the_house() -> None:
    days = [date(2026, 3, 28) + timedelta(days=i) for i in range(4)]
    rows = daily(
        quarters(days[0], 4), flat(0.3, days[1], 0.4, 400.0), flat(0.5, days[3], 0.6), days=days
    )  # fmt: skip
    assert rows["cost"].to_list() == pytest.approx([None, 23 * 0.3, 24 * 0.3, 24 * 0.5])
    assert rows["standing_charge"].to_list() == [None, 0.4, 0.4, 0.6]
    assert rows["co2_kg"].to_list() == pytest.approx([None, 9.2, 9.6, None])
    assert rows["cost_reason"][0] == "no price for 100 % of the electricity"
    assert rows["cost_per_kwh_heat"][0] is None


def test_prices_of_parts_of_a_quarter_count_by_their_time_and_a_missing_one_is_unknown() -> None:
    start = datetime(2026, 1, 5, 10, tzinfo=UTC)
    steps = [(0, 5, 0.30), (5, 15, 0.60), (15, 45, 0.20)]
    dated = pl.DataFrame(
        [(start + timedelta(minutes=a), start + timedelta(minutes=b), price, None) for a, b, price in steps],
        schema=costs.PRICES,
        orient="row",
    )
    rows = quarters(date(2026, 1, 5), 1).filter(pl.col("start").is_between(start, start + timedelta(hours=1)))
    found = costs.priced(rows, [costs.Tariff(date(2020, 1, 1), None, dated)], BERLIN)["price"].to_list()
    assert found == pytest.approx([0.5, 0.2, 0.2, None, None])


def test_a_day_partly_without_prices_tells_its_cost_and_no_ratio() -> None:
    day = date(2026, 1, 5)
    start = day_start(day, BERLIN)
    dated = pl.DataFrame([(start, start + timedelta(hours=18), 0.3, 100.0)], schema=costs.PRICES, orient="row")
    (row,) = daily(quarters(day, 1), costs.Tariff(day, None, dated), days=[day]).iter_rows(named=True)
    assert row["priced_kwh"] == pytest.approx(18)
    assert row["cost"] == pytest.approx(18 * 0.3)
    assert row["price_per_kwh"] == pytest.approx(0.3)
    assert row["cost_per_kwh_heat"] is None
    assert row["cost_reason"] == "no price for 25 % of the electricity"
    assert row["co2_g_per_kwh_heat"] is None


energies = st.lists(
    st.tuples(
        st.integers(0, 15 * 60 - 1),
        st.sampled_from(["heating", "dhw", "cooling", "standby", None]),
        st.one_of(st.none(), st.integers(0, 10**9)),
        st.one_of(st.none(), st.integers(-(10**9), 4 * 10**9)),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(energies, st.integers(0, 10**6), st.lists(st.floats(-0.5, 1.5), min_size=96, max_size=96), st.randoms())
def test_cost_is_the_sum_of_energy_times_price_in_any_order(rows, seed, prices, random) -> None:  # type: ignore[no-untyped-def]
    """Against plain arithmetic on fractions; shuffled stretches, and months added from days, give the same bits."""
    first = datetime(2026, 3, 27, tzinfo=UTC)
    spread = [
        (first + timedelta(seconds=(i * 7919 + seed) % (5 * 86400) // 900 * 900 + second), mode, electrical, thermal)
        for i, (second, mode, electrical, thermal) in enumerate(rows)
    ]
    random.shuffle(spread)
    stretches = pl.DataFrame(
        {
            "start": pl.Series([row[0] for row in spread], dtype=pl.Datetime("us", "UTC")),
            "end": pl.Series([row[0] + timedelta(milliseconds=1) for row in spread], dtype=pl.Datetime("us", "UTC")),
            "mode": pl.Series([row[1] for row in spread], dtype=pl.String),
            "electrical": pl.Series([row[2] for row in spread], dtype=pl.Int64),
            "thermal": pl.Series([row[3] for row in spread], dtype=pl.Int64),
            "immersion": pl.Series([None] * len(spread), dtype=pl.Int64),
        }
    )
    tariff = costs.Tariff(date(2020, 1, 1), tuple(prices), None, 0.25, 300.0)
    by_quarter = costs.quarter_hourly(stretches, "a")
    days = [date(2026, 3, 26) + timedelta(days=i) for i in range(8)]
    found = daily(by_quarter, tariff, days=days)
    zone = ZoneInfo(BERLIN)
    for name, mode in (("cost", None), ("cost_heating", "heating"), ("cost_dhw", "dhw")):
        expected = sum(
            Fraction(electrical, 3_600_000_000)
            * Fraction(prices[(local := moment.astimezone(zone)).hour * 4 + local.minute // 15])
            for moment, what, electrical, _ in spread
            if electrical is not None and mode in (None, what)
        )
        assert found[name].sum() == pytest.approx(float(expected), abs=1e-9 * len(spread))
    again = daily(costs.quarter_hourly(stretches.sort("start"), "a"), tariff, days=days)
    assert again.equals(found)
    months = [date(2026, 3, 1), date(2026, 4, 1)]
    monthly = by_calendar(found, "monthly", months)
    season = by_calendar(monthly, "seasonal", [date(2025, 7, 1)])
    straight = by_calendar(found, "seasonal", [date(2025, 7, 1)])
    assert season.equals(straight)
    assert season["period"].to_list() == ["2025/26"]
    for name in ("cost", "co2_kg", "co2_heating_kg", "co2_dhw_kg"):
        assert season[name].sum() == pytest.approx(found[name].sum(), abs=1e-12)
    years = by_calendar(monthly, "yearly", [date(2026, 1, 1)])
    whole = costs.costs_all_time(years, days[0], days[-1], BERLIN, Rules(), NOBODY_KNOWS)
    assert whole["cost"].to_list() == season["cost"].to_list()
    assert whole["standing_charge"].to_list() == pytest.approx([0.25 * 8])


HOUR_KNOWN = quarters(date(2026, 1, 5), 1).head(4)


def test_a_day_of_which_an_hour_is_known_tells_no_cost_of_a_kwh() -> None:
    (row,) = daily(HOUR_KNOWN, flat(0.3, standing=0.5, co2=400.0), days=[date(2026, 1, 5)]).iter_rows(named=True)
    assert row["cost"] == pytest.approx(0.3) and row["standing_charge"] == 0.5
    assert row["cost_reason"] == "known for only 4 % of the time"
    assert [name for name in row if "per_kwh_heat" in name and row[name] is not None] == []
    newest = Known(until=day_start(date(2026, 1, 5), BERLIN) + timedelta(hours=1))
    (row,) = daily(HOUR_KNOWN, flat(0.3, standing=0.5), days=[date(2026, 1, 5)], known=newest).iter_rows(named=True)
    assert row["cost_per_kwh_heat"] == pytest.approx(0.075), "the rest of the day is yet to come"
    assert row["cost_per_kwh_heat_with_standing_charge"] == pytest.approx(0.075 + 0.5 / 24 / 4)


def test_electricity_and_heat_of_different_times_tell_no_cost_of_a_kwh() -> None:
    rows = quarters(date(2026, 1, 5), 1).with_row_index()
    for energy, known_s, known in (("electrical", "electrical_s", 80), ("thermal", "thermal_s", 70)):
        lacking = rows.with_columns(
            pl.when(pl.col("index") < known).then(cs.starts_with(f"{energy}_energy")).name.keep(),
            pl.when(pl.col("index") < known).then(known_s).otherwise(0.0).alias(known_s),
        )
        (row,) = daily(conform(lacking, "quarter_hourly"), flat(0.3), days=[date(2026, 1, 5)]).iter_rows(named=True)
        assert row["cost_reason"] == "electricity and heat are known for different times"
        assert row["cost_per_kwh_heat"] is None


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.integers(1, 31), min_size=16, max_size=31),
    st.lists(st.tuples(st.integers(1, 31), st.integers(0, 200)), max_size=3, unique_by=lambda pair: pair[0]),
    st.integers(1, 10),
    st.integers(20, 31),
)
def test_the_standing_charge_runs_by_the_calendar(
    read: set[int], changes: list[tuple[int, int]], first: int, last: int
) -> None:
    """From the first reading of the house to the newest, at each day's tariff, whichever days were read."""
    tariffs = [flat(0.3, date(2026, 1, day), standing=cents / 100) for day, cents in changes]
    rows = pl.concat([quarters(date(2026, 1, day), 1) for day in sorted(read)])
    known = Known(
        day_start(date(2026, 1, first), BERLIN) + timedelta(hours=9),
        day_start(date(2026, 1, last), BERLIN) + timedelta(hours=9),
    )
    # Nothing is read before the first reading, and nothing is looked at behind the newest one.
    rows = rows.filter(pl.col("start") >= day_start(date(2026, 1, first), BERLIN), pl.col("start") < known.until)
    days = daily(rows, *tariffs, days=[date(2026, 1, day) for day in range(1, last + 1)], known=known)
    month = by_calendar(days, "monthly", [date(2026, 1, 1)], known=known)
    if month.is_empty():
        assert not any(cents for _, cents in changes)
        return
    (row,) = month.iter_rows(named=True)
    held = {day: max(((d, c) for d, c in changes if d <= day), default=None) for day in range(first, last + 1)}
    charges = [pair[1] / 100 for pair in held.values() if pair]
    assert row["standing_charge"] == (pytest.approx(sum(charges)) if charges else None)
    if charges and row["cost_reason"] is None:
        whole = row["cost_per_kwh_heat_with_standing_charge"] - row["cost_per_kwh_heat"]
        assert whole == pytest.approx(sum(charges) / len(charges) / 96), "a mean day's charge over a day's heat"


BEGIN = date(2025, 1, 1)
spans = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120)).map(sorted), min_size=1, max_size=5)


def day_of(number: int) -> date:
    return BEGIN + timedelta(days=number)


def read_days(pumps: list[list[int]]) -> dict[str, tuple[date, date]]:
    return {f"pump{place}": (day_of(first), day_of(last)) for place, (first, last) in enumerate(pumps)}


def charge_by_pump(read: dict[str, tuple[date, date]], day: date, *tariffs: costs.Tariff) -> dict[str, int | None]:
    """Billionths of the currency."""
    return {heat_pump: costs.charge_of_day(costs.standing_charges(tariffs, read, heat_pump), day) for heat_pump in read}


@settings(max_examples=60, deadline=None)
@given(spans, st.floats(0, 3), st.floats(0, 3), st.integers(0, 120))
def test_each_day_from_the_first_reading_of_the_house_on_is_charged_once(
    pumps: list[list[int]], early: float, late: float, change: int
) -> None:
    """Whichever heat pumps are read from when to when: to the last billionth, and as evenly as that can be."""
    tariffs = [flat(0.3, day_of(-10), early), flat(0.3, day_of(change), late)]
    read = read_days(pumps)
    begin = min(first for first, _ in read.values())
    for number in range(-1, 160):
        day = day_of(number)
        parts = charge_by_pump(read, day, *tariffs)
        told = [part for part in parts.values() if part is not None]
        assert sum(told) == (round((late if number >= change else early) * 1e9) if day >= begin else 0)
        assert bool(told) == (day >= begin)
        assert not told or max(told) - min(told) <= 1
        assert all(part is None or day >= read[heat_pump][0] for heat_pump, part in parts.items())


@settings(max_examples=60, deadline=None)
@given(spans, st.integers(0, 120), st.integers(0, 20))
def test_a_heat_pump_that_joins_changes_nothing_before(pumps: list[list[int]], first: int, days: int) -> None:
    """As far as the others go on: whether they have stopped may be told by what joins."""
    before = read_days([[begin, 120] for begin, _ in pumps])
    after = before | {"new": (day_of(first), day_of(min(first + days, 120)))}
    for number in range(first):
        parts = charge_by_pump(after, day_of(number), flat(0.3, BEGIN, 1.0))
        assert parts.pop("new") is None
        assert parts == charge_by_pump(before, day_of(number), flat(0.3, BEGIN, 1.0))


def test_who_stops_hands_its_part_on_after_its_newest_reading() -> None:
    silent = costs.STOPPED_AFTER.days

    def parts(read: dict[str, tuple[date, date]], number: int) -> list[float | None]:
        found = charge_by_pump(read, day_of(number), flat(0.3, BEGIN, 1.0)).values()
        return [None if part is None else part / 1e9 for part in found]

    lagging = {"old": (day_of(0), day_of(50)), "new": (day_of(20), day_of(50 + silent - 1))}
    assert parts(lagging, 50 + silent - 1) == [0.5, 0.5], "it may come back"
    stopped = {"old": (day_of(0), day_of(50)), "new": (day_of(20), day_of(50 + silent))}
    assert [parts(stopped, number) for number in (19, 20, 50, 51)] == [[1, None], [0.5, 0.5], [0.5, 0.5], [None, 1]]
    replaced = {"old": (day_of(0), day_of(50)), "new": (day_of(90), day_of(120))}
    assert [parts(replaced, number) for number in (50, 51, 89, 90)] == [[1, None]] * 3 + [[None, 1]]


def test_days_months_and_years_have_the_same_charges_whatever_was_read_of_them() -> None:
    """Three stretches of readings, months of silence between: what was paid is the sum of any of them."""
    stretches = [(date(2025, 1, 30), 4), (date(2025, 4, 10), 2), (date(2026, 2, 1), 3)]
    rows = pl.concat([quarters(first, days) for first, days in stretches])
    days = [date(2025, 1, 30) + timedelta(days=count) for count in range(370)]
    found = daily(rows, flat(0.3, standing=1.1), days=days)
    assert found.height == 370
    months = by_calendar(
        found, "monthly", [date(2025, month, 1) for month in range(1, 13)] + [date(2026, 1, 1), date(2026, 2, 1)]
    )
    years = by_calendar(months, "yearly", [date(2025, 1, 1), date(2026, 1, 1)])
    weeks = by_calendar(found, "weekly", sorted({day - timedelta(days=day.weekday()) for day in days}))
    whole = costs.costs_all_time(years, days[0], days[-1], BERLIN, Rules(), NOBODY_KNOWS)
    for table in (found, weeks, months, years, whole):
        assert table["standing_charge"].sum() == pytest.approx(370 * 1.1, abs=1e-9)
        assert table["cost"].sum() == pytest.approx(9 * 24 * 0.3, abs=1e-6)
    silent = months.filter(pl.col("period") == "2025-03").row(0, named=True)
    assert silent["standing_charge"] == pytest.approx(31 * 1.1)
    assert silent["standing_charge_s"] == (31 * 24 - 1) * 3600
    assert silent["cost"] is None and silent["electrical_energy_kwh"] is None
    assert silent["electrical_coverage"] == silent["thermal_coverage"] == silent["electrical_s"] == 0
    assert silent["cost_reason"] == "no electricity known"


def test_a_day_after_the_newest_reading_of_a_heat_pump_is_paid_and_tells_nothing_else() -> None:
    known = Known(day_start(date(2026, 1, 5), BERLIN), day_start(date(2026, 1, 6), BERLIN))
    rows = daily(
        quarters(date(2026, 1, 5), 1), flat(0.3, standing=1.0), days=[date(2026, 1, 5), date(2026, 1, 7)], known=known
    )
    assert rows["standing_charge"].to_list() == [1.0, 1.0]
    assert rows["electrical_coverage"].to_list() == rows["thermal_coverage"].to_list() == [1.0, 0.0]
    assert rows["cost"].to_list() == [pytest.approx(24 * 0.3), None]
    assert daily(quarters(date(2026, 1, 5), 1), flat(0.3), days=[date(2026, 1, 5), date(2026, 1, 7)]).height == 1


def test_the_co2_of_heat_is_that_of_its_hours() -> None:
    """Cooling at noon with the sun's electricity, heating and hot water at night with another."""
    day = date(2026, 7, 1)
    noon = pl.col("start").dt.hour().is_between(10, 15)
    tank = pl.col("start").dt.hour() == 3
    rows = quarters(day, 1).with_columns(
        electrical_energy_cooling_kwh=pl.when(noon).then(0.25).otherwise(0.0),
        electrical_energy_heating_kwh=pl.when(noon | tank).then(0.0).otherwise(0.25),
        electrical_energy_dhw_kwh=pl.when(tank).then(0.25).otherwise(0.0),
        electrical_energy_immersion_kwh=pl.when(tank).then(0.5),
        thermal_energy_kwh=pl.when(noon).then(0.0).otherwise(1.0),
        thermal_energy_heating_kwh=pl.when(noon | tank).then(0.0).otherwise(1.0),
        thermal_energy_dhw_kwh=pl.when(tank).then(1.0).otherwise(0.0),
    )
    intensity = rows.select(pl.when(noon).then(50.0).when(tank).then(800.0).otherwise(400.0).alias("co2"))["co2"]
    dated = rows.select("start", "end", price=pl.lit(0.3), co2=intensity)
    (row,) = daily(rows, costs.Tariff(date(2020, 1, 1), None, dated), days=[day]).iter_rows(named=True)
    assert row["co2_g_per_kwh_heating"] == pytest.approx(100.0)
    assert row["co2_g_per_kwh_dhw"] == pytest.approx(200.0)
    assert row["co2_g_per_kwh_heat"] == pytest.approx((68 * 100 + 4 * 200) / 72)
    assert row["co2_immersion_kg"] == pytest.approx(4 * 0.5 * 0.8)
    assert row["co2_cooling_kg"] == pytest.approx(24 * 0.25 * 0.05)
    assert row["co2_kg"] == pytest.approx(sum(row[f"co2_{use}_kg"] for use in ("heating", "dhw", "cooling")), abs=1e-12)


def test_a_window_that_ends_within_a_quarter() -> None:
    from hp_pipeline.assets.prices import tariffs_of
    from hp_pipeline.settings import Settings

    house = Settings.model_validate(
        {
            "site": {"name": "x", "time_zone": BERLIN, "start": "2024-01-01"},
            "heat_pumps": [
                {"id": name, "inputs": [{"source": "f", "profile": "espaltherma_home_assistant"}]} for name in "ab"
            ],
            "sources": [{"id": "f", "kind": "files"}],
            "tariffs": [
                {
                    "name": "t", "from": "2024-01-01", "price_per_kwh": 0.3, "standing_charge_per_day": 1.0,
                    "windows": [{"from": "10:05", "to": "11:00", "price_per_kwh": 0.6}],
                }
            ],
        }
    )  # fmt: skip
    (tariff,) = tariffs_of(house)
    assert tariff.by_quarter is not None
    assert tariff.by_quarter[39:45] == pytest.approx((0.3, 0.5, 0.6, 0.6, 0.6, 0.3))
    assert tariff.standing_charge_per_day == 1.0, "of the house, however many heat pumps share it"
    assert house.tariffs[0].price_at(time(10, 4)) == 0.3
