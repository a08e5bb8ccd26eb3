"""Costs: every quarter of an hour at its own price, added without loss."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms import costs
from hp_pipeline.transforms.calendar import day_start
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


def daily(rows: pl.DataFrame, *tariffs: costs.Tariff, days: list[date]) -> pl.DataFrame:
    return costs.costs_daily(rows, tariffs, days, BERLIN, Rules())


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
    monthly = costs.costs_by_calendar(found, "monthly", months, BERLIN, Rules())
    season = costs.costs_by_calendar(monthly, "seasonal", [date(2025, 7, 1)], BERLIN, Rules())
    straight = costs.costs_by_calendar(found, "seasonal", [date(2025, 7, 1)], BERLIN, Rules())
    assert season.equals(straight)
    assert season["period"].to_list() == ["2025/26"]
    assert season["cost"].sum() == pytest.approx(found["cost"].sum(), abs=1e-12)
    assert season["standing_charge"].sum() == pytest.approx(0.25 * found.height)


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
    assert tariff.standing_charge_per_day == 0.5
    assert house.tariffs[0].price_at(time(10, 4)) == 0.3
