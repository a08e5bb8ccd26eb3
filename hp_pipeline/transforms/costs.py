"""Energies per quarter of an hour × prices → costs and CO2 per day, week, month, heating season, year and all time.

A price is put on the energy of each quarter of an hour, and costs are added; a price is never put on the total of a
day. Money is added as whole billionths of the currency and CO2 as whole micrograms, so that a month is the sum of its
days to the last bit. The standing charge alone is not a matter of what was read: it runs by the calendar, and a day
without readings is a row with nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise

import polars as pl

from hp_pipeline.transforms.boundaries import immersion_heater
from hp_pipeline.transforms.calendar import (
    PeriodName,
    day_start,
    local_date,
    local_iso,
    next_period,
    period_label,
    wanted_period,
    with_period,
)
from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.floors import Known, elapsed_s, lack, percent
from hp_pipeline.transforms.schema import UTC, conform
from hp_pipeline.transforms.sums import MJ_PER_KWH, known_sum
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline.vocabulary.tables.costs import PRICED_USES, cost_sum_columns, quarter_energy_columns

QUARTER = timedelta(minutes=15)

PRICES = pl.Schema({"start": UTC, "end": UTC, "price": pl.Float64(), "co2": pl.Float64()})
"""Dated prices: from when (UTC) until when, currency per kWh, g CO2 per kWh (null where unknown); sorted, apart."""

_US_PER_S = 1_000_000
_PARTS = 1_000_000_000
"""Money is added in billionths of the currency, CO2 (kg) in billionths of a kilogram."""

_MONEY = [column.name for column in cost_sum_columns() if column.unit in {"currency", "kg"}]
_ENERGY = [column.name for column in cost_sum_columns() if column.unit == "kWh"]
_TIME = [column.name for column in cost_sum_columns() if column.unit == "s"]
_KNOWN_TIME = [name for name in _TIME if name != "standing_charge_s"]

UNPRICED_SHARE = 0.01
"""With a larger share of the electricity without a price, a cost per kWh of heat is not shown."""


@dataclass(frozen=True)
class Tariff:
    """Prices from a local day on, until the next tariff.

    Attributes:
        valid_from: first local day.
        by_quarter: currency per kWh for each quarter of an hour of the local clock, 96 of them; None where `dated`
            has the prices.
        dated: see `PRICES`; only those count that begin within the tariff's days.
        standing_charge_per_day: currency, of the house.
        co2_g_per_kwh: where `dated` tells none; None when unknown.
    """

    valid_from: date
    by_quarter: tuple[float, ...] | None
    dated: pl.DataFrame | None = None
    standing_charge_per_day: float = 0.0
    co2_g_per_kwh: float | None = None


ReadDays = Mapping[str, tuple[date, date]]
"""By heat pump of a house, in a fixed order, the local days of its first and of its newest reading; of one that never
told anything there are none."""

STOPPED_AFTER = timedelta(days=28)
"""A heat pump that lags so far behind the newest reading of its house has stopped: it shares no charge of the days
after its own newest reading. Less may be a logger that fails or a summer holiday of its owner."""


@dataclass(frozen=True)
class Charge:
    """What is charged on each of the local days [first, until), whatever is read of them, in billionths of the
    currency."""

    per_day: int
    first: date
    until: date

    def days_within(self, first: date, until: date) -> int:
        """How many of the local days [first, until) it is for."""
        return max((min(self.until, until) - max(self.first, first)).days, 0)


def standing_charges(tariffs: Sequence[Tariff], read: ReadDays, heat_pump: str) -> list[Charge]:
    """A heat pump's part of the standing charge of its house, ascending and apart; none before the first tariff. The
    last goes on for ever.

    A day is shared evenly by the heat pumps that were read by then, first to newest reading; see `STOPPED_AFTER` for
    what lags. A day that lies in none of these stretches, such as one between an old heat pump and the new one in its
    place, is shared by those that shared the day before. So each day from the first reading of the house on is charged
    once, to the last billionth, and a heat pump that joins changes nothing of what was before.
    """
    found = []
    for first, until, sharing in _sharing(read):
        if heat_pump not in sharing:
            continue
        place, count = sharing.index(heat_pump), len(sharing)
        for house in _house_charges(tariffs, first, until):
            # What cannot be parted evenly goes to one or the other, so that the parts are the whole.
            part = house.per_day * (place + 1) // count - house.per_day * place // count
            found.append(Charge(part, house.first, house.until))
    return found


def _sharing(read: ReadDays) -> Iterator[tuple[date, date, tuple[str, ...]]]:
    """Stretches of local days [first, until) from the first reading of the house on, with who shares each of them."""
    newest = max((last for _, last in read.values()), default=date.min)
    spans = {
        heat_pump: (first, date.max if newest - last < STOPPED_AFTER else last + timedelta(days=1))
        for heat_pump, (first, last) in read.items()
    }
    sharing: tuple[str, ...] = ()
    for first, until in pairwise(sorted({border for span in spans.values() for border in span})):
        sharing = tuple(own for own, (begin, end) in spans.items() if begin <= first < end) or sharing
        yield first, until, sharing


def _house_charges(tariffs: Sequence[Tariff], first: date, until: date) -> list[Charge]:
    """The charges of the tariffs on the local days [first, until)."""
    ordered = sorted(tariffs, key=lambda tariff: tariff.valid_from)
    borders = [*(tariff.valid_from for tariff in ordered), date.max]
    charges = (
        Charge(round(tariff.standing_charge_per_day * _PARTS), max(begin, first), min(end, until))
        for tariff, begin, end in zip(ordered, borders, borders[1:], strict=False)
    )
    return [charge for charge in charges if charge.first < charge.until]


def charge_of_day(charges: Sequence[Charge], day: date) -> int | None:
    """Billionths of the currency; None where no charge is told."""
    return next((charge.per_day for charge in charges if charge.first <= day < charge.until), None)


def charged(charges: Sequence[Charge], first: date, until: date) -> float | None:
    """What is charged on the local days [first, until), currency; None where no charge is told of any of them."""
    parts = [(charge.per_day, days) for charge in charges if (days := charge.days_within(first, until))]
    return sum(per_day * days for per_day, days in parts) / _PARTS if parts else None


def quarter_hourly(energies: pl.DataFrame, heat_pump: str) -> pl.DataFrame:
    """Table `quarter_hourly`: the sums of each quarter of an hour.

    Args:
        energies: stretches that lie within a quarter: `start`, `end` (UTC), `mode`, and in whole millijoules, null
            where unknown, `electrical`, `thermal`, `immersion`.
    """
    span = (pl.col("end") - pl.col("start")).dt.total_microseconds()
    electrical, thermal, mode = pl.col("electrical"), pl.col("thermal"), pl.col("mode")

    def of_mode(amount: pl.Expr, use: str, name: str) -> pl.Expr:
        return pl.when(amount.count() > 0).then(amount.filter((mode == use).fill_null(False)).sum()).alias(name)

    heat = thermal.filter(mode.ne_missing("cooling"))
    sums = (
        energies.group_by(pl.col("start").dt.truncate(QUARTER).alias("quarter"))
        .agg(
            known_sum(electrical).alias("electrical_energy_kwh"),
            *(
                of_mode(electrical, use, f"electrical_energy_{use}_kwh")
                for use in ("heating", "dhw", "cooling", "standby")
            ),
            known_sum(pl.col("immersion")).alias("electrical_energy_immersion_kwh"),
            pl.when(thermal.count() > 0).then(heat.sum()).alias("thermal_energy_kwh"),
            *(of_mode(thermal, use, f"thermal_energy_{use}_kwh") for use in ("heating", "dhw")),
            span.filter(electrical.is_not_null()).sum().alias("electrical_s"),
            span.filter(thermal.is_not_null()).sum().alias("thermal_s"),
        )
        .sort("quarter")
    )
    names = [column.name for column in quarter_energy_columns()]
    shown = sums.with_columns(
        pl.lit(heat_pump).alias("heat_pump"),
        pl.col("quarter").alias("start"),
        (pl.col("quarter") + QUARTER).alias("end"),
        *(divided(pl.col(name), MJ_PER_KWH).alias(name) for name in names),
        *(divided(pl.col(name), _US_PER_S).alias(name) for name in ("electrical_s", "thermal_s")),
    )
    return conform(shown, "quarter_hourly")


def priced(quarters: pl.DataFrame, tariffs: Sequence[Tariff], time_zone: str) -> pl.DataFrame:
    """The quarters with `price` (currency per kWh) and `co2` (g per kWh), null where no tariff tells one.

    Where prices are for less than a quarter, the quarter's is their mean over the time; where one is missing in a part
    of the quarter, the quarter has none.
    """
    local = pl.col("start").dt.convert_time_zone(time_zone)
    rows = quarters.with_columns(
        local_day=local.dt.date(),
        clock=local.dt.hour().cast(pl.Int64) * 4 + local.dt.minute().cast(pl.Int64) // 15,
    )
    ordered = sorted(tariffs, key=lambda tariff: tariff.valid_from)
    borders = [tariff.valid_from for tariff in ordered]
    day = pl.col("local_day")
    parts = [rows.filter(day < min(borders, default=date.max)).with_columns(_unknown())]
    for tariff, until in zip(ordered, [*borders[1:], date.max], strict=False):
        parts.append(_at(rows.filter(day >= tariff.valid_from, day < until), tariff))
    return pl.concat(parts).drop("local_day", "clock").sort("start")


def _unknown() -> list[pl.Expr]:
    return [pl.lit(None, pl.Float64).alias(name) for name in ("price", "co2")]


def _at(rows: pl.DataFrame, tariff: Tariff) -> pl.DataFrame:
    flat_co2 = pl.lit(tariff.co2_g_per_kwh, pl.Float64)
    if tariff.by_quarter is not None:
        clock = pl.DataFrame({"clock": list(range(96)), "price": list(tariff.by_quarter)})
        return rows.join(clock, on="clock", how="left", maintain_order="left").with_columns(co2=flat_co2)
    if tariff.dated is None or tariff.dated.is_empty() or rows.is_empty():
        return rows.with_columns(_unknown()[0], flat_co2.alias("co2"))
    means = _quarter_means(tariff.dated, rows["start"])
    return rows.join(means, on="start", how="left", maintain_order="left").with_columns(
        co2=pl.coalesce("co2", flat_co2)
    )


def _quarter_means(prices: pl.DataFrame, quarters: pl.Series) -> pl.DataFrame:
    """`start`, `price`, `co2` for the quarters, by the time that each price holds within them."""
    first, last = quarters.min(), quarters.max()
    near = prices.filter(pl.col("end") > first, pl.col("start") <= pl.lit(last, UTC) + QUARTER)
    borders = pl.concat([quarters, quarters.dt.offset_by("15m"), near["start"], near["end"]]).unique().sort()
    slices = pl.DataFrame({"at": borders, "until": borders.shift(-1)}).drop_nulls()
    held = slices.join_asof(near, left_on="at", right_on="start", check_sortedness=False).filter(
        pl.col("at") < pl.col("end")
    )
    span = (pl.col("until") - pl.col("at")).dt.total_microseconds()
    whole = QUARTER // timedelta(microseconds=1)

    def mean(name: str) -> pl.Expr:
        known = span.filter(pl.col(name).is_not_null()).sum()
        same = pl.col(name).min() == pl.col(name).max()
        weighted = (pl.col(name) * span).sum() / whole
        return pl.when(known == whole).then(pl.when(same).then(pl.col(name).min()).otherwise(weighted)).alias(name)

    return held.group_by(pl.col("at").dt.truncate(QUARTER).alias("start")).agg(mean("price"), mean("co2")).sort("start")


def costs_daily(
    quarters: pl.DataFrame,
    heat_pump: str,
    tariffs: Sequence[Tariff],
    charges: Sequence[Charge],
    days: Sequence[date],
    time_zone: str,
    rules: Rules,
    known: Known,
) -> pl.DataFrame:
    """Table `costs_daily`: a row for each of the local days that has a quarter, or a standing charge to pay.

    Args:
        quarters: table `quarter_hourly` of the heat pump over these days (more do not matter).
        charges: see `standing_charges`.
        known: the time in which there are readings at all.
    """
    rows = priced(quarters, tariffs, time_zone)
    exact = rows.with_columns(*((pl.col(name) * MJ_PER_KWH).round().cast(pl.Int64).alias(name) for name in _UNPRICED))
    used = pl.col("electrical_energy_kwh")
    booked = exact.with_columns(
        *(_cost(use) for use in PRICED_USES),
        *(_co2(use) for use in PRICED_USES),
        pl.when(pl.col("price").is_not_null()).then(used).alias("priced_kwh"),
        pl.when(pl.col("co2").is_not_null()).then(used).alias("co2_known_kwh"),
        **{name: (pl.col(name) * _US_PER_S).round().cast(pl.Int64) for name in _KNOWN_TIME},
        first=pl.col("start").dt.convert_time_zone(time_zone).dt.date(),
    ).filter(pl.col("first").is_in(list(days)))
    charged_rows = _charge_rows(heat_pump, charges, days, set(booked["first"]), time_zone)
    added = _added(pl.concat([booked, charged_rows], how="diagonal"))
    return _placed(added, "costs_daily", "daily", time_zone, rules, known)


def _charge_rows(
    heat_pump: str, charges: Sequence[Charge], days: Sequence[date], read: set[date], time_zone: str
) -> pl.DataFrame:
    """The standing charges of days in whole numbers, to be added to what else the days have: of days with readings
    (`read`) and of those on which there is something to pay."""
    told = [(day, charge_of_day(charges, day)) for day in days]
    wanted = [(day, charge) for day, charge in told if day in read or charge]
    starts = [day_start(day, time_zone) for day, _ in wanted]
    lengths = [
        0 if charge is None else (day_start(day + timedelta(days=1), time_zone) - start) // timedelta(microseconds=1)
        for (day, charge), start in zip(wanted, starts, strict=True)
    ]
    return pl.DataFrame(
        {
            "heat_pump": pl.Series([heat_pump] * len(wanted), dtype=pl.String),
            "first": pl.Series([day for day, _ in wanted], dtype=pl.Date),
            "start": pl.Series(starts, dtype=UTC),
            "standing_charge": pl.Series([charge for _, charge in wanted], dtype=pl.Int64),
            "standing_charge_s": pl.Series(lengths, dtype=pl.Int64),
            **{name: pl.Series([0] * len(wanted), dtype=pl.Int64) for name in _KNOWN_TIME},
        }
    )


_UNPRICED = [column.name for column in quarter_energy_columns()]


def _named(*words: str) -> str:
    return "_".join(word for word in words if word)


def _cost(use: str) -> pl.Expr:
    amount = divided(pl.col(_named("electrical_energy", use, "kwh")) * pl.col("price"), MJ_PER_KWH) * _PARTS
    return amount.round().cast(pl.Int64).alias(_named("cost", use))


def _co2(use: str) -> pl.Expr:
    amount = divided(pl.col(_named("electrical_energy", use, "kwh")) * pl.col("co2"), MJ_PER_KWH * 1000) * _PARTS
    return amount.round().cast(pl.Int64).alias(_named("co2", use, "kg"))


def _added(rows: pl.DataFrame, by: str = "first") -> pl.DataFrame:
    """Rows in whole numbers added per period; what nothing is known of stays null."""
    return (
        rows.sort("start")
        .group_by("heat_pump", by, maintain_order=True)
        .agg(known_sum(pl.col(n)).alias(n) for n in [*_MONEY, *_ENERGY, *_TIME])
    )


def _exact(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows as they are stored → whole numbers, so that they can be added."""
    return rows.with_columns(
        *((pl.col(column) * _PARTS).round().cast(pl.Int64).alias(column) for column in _MONEY),
        *((pl.col(column) * MJ_PER_KWH).round().cast(pl.Int64).alias(column) for column in _ENERGY),
        *((pl.col(column) * _US_PER_S).round().cast(pl.Int64).alias(column) for column in _TIME),
    )


def costs_by_calendar(
    rows: pl.DataFrame,
    name: PeriodName,
    periods: Sequence[date],
    time_zone: str,
    rules: Rules,
    known: Known,
) -> pl.DataFrame:
    """Table `costs_weekly`, `costs_monthly`, `costs_seasonal` or `costs_yearly`: rows of shorter periods added.

    Args:
        rows: rows of costs that lie within the periods (more do not matter).
        periods: first local days of the periods wanted.
        known: the time in which there are readings at all.
    """
    table = f"costs_{name}"
    if rows.is_empty():
        return conform(None, table)
    wanted = sorted(periods)
    firsts = [wanted_period(name, wanted, local_date(start, time_zone)) for start in rows["start"]]
    exact = _exact(rows).with_columns(first=pl.Series(firsts, dtype=pl.Date)).filter(pl.col("first").is_not_null())
    return _placed(_added(exact), table, name, time_zone, rules, known)


def costs_all_time(
    years: pl.DataFrame, first: date, last: date, time_zone: str, rules: Rules, known: Known
) -> pl.DataFrame:
    """Table `costs_all_time`: one row over the rows of `costs_yearly`, whose days are those from the local day `first`
    to `last`."""
    if years.is_empty():
        return conform(None, "costs_all_time")
    added = _added(_exact(years).with_columns(first=pl.lit(first)))
    placed = with_period(added, first, last + timedelta(days=1), "all", time_zone)
    return conform(_with_ratios(_in_units(placed), rules, known), "costs_all_time")


def _placed(
    merged: pl.DataFrame,
    table: str,
    name: PeriodName,
    time_zone: str,
    rules: Rules,
    known: Known,
) -> pl.DataFrame:
    spans = [(first, next_period(name, first)) for first in merged["first"]]
    starts: list[datetime] = [day_start(first, time_zone) for first, _ in spans]
    placed = merged.with_columns(
        start=pl.Series(starts, dtype=UTC),
        end=pl.Series([day_start(until, time_zone) for _, until in spans], dtype=UTC),
        period=pl.Series([period_label(name, first) for first, _ in spans], dtype=pl.String),
        local_start=pl.Series(local_iso(starts, time_zone), dtype=pl.String),
    )
    return conform(_with_ratios(_in_units(placed), rules, known), table)


def _in_units(merged: pl.DataFrame) -> pl.DataFrame:
    return merged.with_columns(
        *(divided(pl.col(column), _PARTS).alias(column) for column in _MONEY),
        *(divided(pl.col(column), MJ_PER_KWH).alias(column) for column in _ENERGY),
        *(divided(pl.col(column), _US_PER_S).alias(column) for column in _TIME),
    )


def _with_ratios(rows: pl.DataFrame, rules: Rules, known: Known) -> pl.DataFrame:
    """Add coverages and what a kWh cost, which obeys the floors of `cop`, and needs a price.

    The standing charge of a kWh of heat is that of the time for which the heat is known: a day of which an hour was
    read has the charge of a whole day, and an hour's heat.
    """
    # Of days after the newest reading of the heat pump, charged as others of the house are read, nothing is known.
    elapsed = elapsed_s(known)
    coverage = pl.when(elapsed > 0).then((pl.col(_KNOWN_TIME) / elapsed).clip(0, 1)).otherwise(0.0)
    rows = rows.with_columns(coverage.name.replace("_s$", "_coverage"))
    used, heat = pl.col("electrical_energy_kwh"), pl.col("thermal_energy_kwh")
    unpriced, uncounted = (
        pl.when(used != 0).then(1 - pl.col(name).fill_null(0) / used).otherwise(0.0)
        for name in ("priced_kwh", "co2_known_kwh")
    )
    reason = pl.coalesce(
        lack(used, heat, pl.col("electrical_coverage"), pl.col("thermal_coverage"), rules),
        pl.when(unpriced > UNPRICED_SHARE).then(pl.format("no price for {} % of the electricity", percent(unpriced))),
    )
    rows = rows.with_columns(cost_reason=reason)
    bears = pl.col("cost_reason").is_null()

    def per_kwh(amount: pl.Expr, energy: pl.Expr) -> pl.Expr:
        return pl.when(bears & (energy >= rules.minimum_electrical_energy_kwh)).then(amount / energy)

    def co2_per_kwh(amount: pl.Expr, energy: pl.Expr) -> pl.Expr:
        return pl.when(uncounted <= UNPRICED_SHARE).then(per_kwh(amount * 1000, energy))

    cost = pl.col("cost") - pl.col("cost_cooling").fill_null(0)
    charge = pl.col("standing_charge") * pl.col("thermal_s") / pl.col("standing_charge_s")
    heating, dhw = (pl.col(f"thermal_energy_{use}_kwh") for use in ("heating", "dhw"))
    return rows.with_columns(
        cost_with_immersion=_with_immersion("cost", "cost_immersion", rules),
        co2_with_immersion_kg=_with_immersion("co2_kg", "co2_immersion_kg", rules),
        price_per_kwh=pl.when(pl.col("priced_kwh") > 0).then(pl.col("cost") / pl.col("priced_kwh")),
        cost_per_kwh_heat=per_kwh(cost, heat),
        cost_per_kwh_heating=per_kwh(pl.col("cost_heating"), heating),
        cost_per_kwh_dhw=per_kwh(pl.col("cost_dhw"), dhw),
        cost_per_kwh_heat_with_standing_charge=per_kwh(cost + charge, heat),
        co2_g_per_kwh_heat=co2_per_kwh(pl.col("co2_kg") - pl.col("co2_cooling_kg").fill_null(0), heat),
        co2_g_per_kwh_heating=co2_per_kwh(pl.col("co2_heating_kg"), heating),
        co2_g_per_kwh_dhw=co2_per_kwh(pl.col("co2_dhw_kg"), dhw),
    )


def _with_immersion(whole: str, immersion: str, rules: Rules) -> pl.Expr:
    """What heat pump and immersion heater cost, each kWh once: the heat pump's meter may include the other."""
    rod = immersion_heater(rules.metering)
    if not rod.electrical:
        return pl.col(whole)
    if rod.is_metered:
        return pl.col(whole) + pl.col(immersion)
    return pl.col(whole) if rod.is_known else pl.lit(None, pl.Float64)
