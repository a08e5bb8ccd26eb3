"""A week, month, season or year beside an earlier one, and what the running season and year will come to.

Made from rows of `monthly` and, where a month is not over, of `daily`: how much history there is does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Literal

import polars as pl

from hp_pipeline.transforms.calendar import (
    SEASON_MONTH,
    PeriodName,
    day_start,
    first_day,
    local_date,
    next_period,
    period_label,
)
from hp_pipeline.transforms.costs import Charge, charged
from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.figures import exact, merge, shown
from hp_pipeline.transforms.floors import Known
from hp_pipeline.transforms.schema import UTC, conform
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline.vocabulary.tables.outlook import BEFORE, COMPARED

DEGREE_DAY_SHARES = (0.170, 0.150, 0.130, 0.080, 0.040, 0.040 / 3, 0.040 / 3, 0.040 / 3, 0.030, 0.080, 0.120, 0.160)
"""Share of a year's heating that each month has, January first: the degree-day numbers of VDI 2067 (in thousandths 170,
150, 130, 80, 40, 40 for June to August, 30, 80, 120, 160), by which heating costs are split in Germany. For a heating
season that begins in another month than July, as many months later."""

_PERIODS: Mapping[str, PeriodName] = {"week": "weekly", "month": "monthly", "season": "seasonal", "year": "yearly"}

_WEEKS_A_YEAR = 52

SPAN_COLUMNS = ["start", "end", "electrical_s", "thermal_s"]
"""What is read of the days to tell for which of them the energies are known."""


def year_before(day: date) -> date:
    """The same day of the year before; 28 February for the 29th."""
    if (day.month, day.day) == (2, 29):
        return date(day.year - 1, 2, 28)
    return day.replace(year=day.year - 1)


def period_before(name: PeriodName, first: date) -> date:
    """The first day of the week, month, season or year before the one that begins with `first`."""
    if name in {"seasonal", "yearly"}:
        return year_before(first)
    return first_day(name, first - timedelta(days=1))


Against = Literal["year before", "period before"]


@dataclass(frozen=True)
class _Pair:
    """Two stretches of local days, [first, until) and [first_before, until_before), that are compared."""

    kind: str
    against: Against
    first: date
    until: date
    first_before: date
    until_before: date

    def day_before(self, day: date) -> date | None:
        """The day that a day of the later stretch is compared with; None where the earlier has none such."""
        if self.kind == "week":
            return day - (self.first - self.first_before)
        if self.against == "period before":
            found = self.first_before + timedelta(days=day.day - 1)
        elif (day.month, day.day) == (2, 29):
            return None
        else:
            found = year_before(day)
        return found if found < self.until_before else None


def pairs(month: date, newest: date, season_starts: int = SEASON_MONTH) -> Iterator[_Pair]:
    """What is compared in a month whose newest day is known: it, and season and year up to that day, with the same days
    of the year before; the month also with the one before; each ISO week that begins in it (from days of the next month
    too) with the week before and with that 52 weeks before.

    A period that is over is compared with the whole of the earlier one, one that is running with as many days of it.
    """
    for kind in ("month", "season", "year"):
        name = _PERIODS[kind]
        first = first_day(name, month, season_starts)
        until = min(newest + timedelta(days=1), next_period("monthly", month))
        before = year_before(first)
        whole = until == next_period(name, first)
        until_before = (
            next_period(name, before) if whole else year_before(until - timedelta(days=1)) + timedelta(days=1)
        )
        yield _Pair(kind, "year before", first, until, before, until_before)
        if kind == "month":
            before = period_before(name, first)
            until_before = first if whole else min(before + (until - first), first)
            yield _Pair(kind, "period before", first, until, before, until_before)
    week = first_day("weekly", month + timedelta(days=6))
    while week < next_period("monthly", month) and week <= newest:
        until = min(newest + timedelta(days=1), next_period("weekly", week))
        for against, weeks in (("year before", _WEEKS_A_YEAR), ("period before", 1)):
            back = timedelta(weeks=weeks)
            yield _Pair("week", against, week, until, week - back, until - back)  # type: ignore[arg-type]
        week = next_period("weekly", week)


def days_wanted(month: date, is_over: bool) -> list[tuple[date, date]]:
    """The stretches of local days [first, until) whose rows of `daily` the comparisons of a month are made from."""
    until = next_period("monthly", month)
    before = year_before(month)
    week = timedelta(days=7)
    return [
        # Of a month before, the month's own row will do where all of it is compared.
        (month - week if is_over else period_before("monthly", month), until + week),
        (before - week, next_period("monthly", before) + week),
    ]


def comparisons(
    months: pl.DataFrame,
    days: pl.DataFrame,
    spans: pl.DataFrame,
    month: date,
    time_zone: str,
    rules: Rules,
    known: Known,
    season_starts: int = SEASON_MONTH,
) -> pl.DataFrame:
    """Table `comparisons` of one month: see `pairs`.

    Energies are compared per day for which they are known: a leap year's 366 days are no more heating. That the two
    stretches are known for the same of their days is looked at day by day, for each energy by itself; what a counter
    counted over a silence is known.

    Args:
        months: rows of `monthly` of one heat pump; of the two years up to this month (more do not matter).
        days: rows of `daily` of the days of `days_wanted`.
        spans: `SPAN_COLUMNS` of all days of the two years up to this month.
        month: first day of the month.
    """
    dated = _dated(days, time_zone)
    in_month = [day for day in dated if month <= day < next_period("monthly", month)]
    if not in_month:
        return conform(None, "comparisons")
    coverage = _coverage(pl.concat([spans.select(SPAN_COLUMNS), days.select(SPAN_COLUMNS)]), time_zone)
    newest = max(day for day in dated if day < next_period("monthly", month) + timedelta(days=7))
    wanted = list(pairs(month, newest, season_starts))
    stretches = [(pair.first, pair.until) for pair in wanted]
    stretches += [(pair.first_before, pair.until_before) for pair in wanted]
    figures = _figures(months, days, stretches, time_zone, rules, known)
    found = []
    for pair in wanted:
        now, then = (
            figures[stretch] | _days_known(coverage, *stretch)
            for stretch in ((pair.first, pair.until), (pair.first_before, pair.until_before))
        )
        row = {
            "heat_pump": days["heat_pump"][0],
            "start": day_start(pair.first, time_zone),
            "end": day_start(pair.until, time_zone),
            "kind": pair.kind,
            "against": pair.against,
            "period": period_label(_PERIODS[pair.kind], pair.first),
            "start_before": day_start(pair.first_before, time_zone),
            "end_before": day_start(pair.until_before, time_zone),
            **now,
            **{f"{name}_before": value for name, value in then.items()},
        }
        found.append(row | _changes(row, pair, coverage, rules))
    return conform(pl.DataFrame(found, infer_schema_length=None), "comparisons")


_ENERGIES = {"electrical": "electricity", "thermal": "heat"}

_Coverage = Mapping[date, tuple[float, float]]
"""By local day the shares of it for which electricity and heat are known."""


def _dated(days: pl.DataFrame, time_zone: str) -> list[date]:
    return [local_date(start, time_zone) for start in days["start"]]


def _coverage(spans: pl.DataFrame, time_zone: str) -> _Coverage:
    length = divided((pl.col("end") - pl.col("start")).dt.total_microseconds(), 1e6)
    shares = spans.select(*((pl.col(f"{kind}_s").fill_null(0) / length).clip(0, 1) for kind in _ENERGIES))
    return dict(zip(_dated(spans, time_zone), shares.iter_rows(), strict=True))


def _days_known(coverage: _Coverage, first: date, until: date) -> dict[str, float]:
    within = [coverage.get(first + timedelta(days=count), (0.0, 0.0)) for count in range((until - first).days)]
    return {f"{kind}_days": sum(shares[place] for shares in within) for place, kind in enumerate(_ENERGIES)}


_Stretch = tuple[date, date]
"""Local days: the first, and the day after the last."""


def _figures(
    months: pl.DataFrame,
    days: pl.DataFrame,
    stretches: Sequence[_Stretch],
    time_zone: str,
    rules: Rules,
    known: Known,
) -> dict[_Stretch, dict[str, Any]]:
    """The compared figures of stretches of days: of the whole months that `months` has from there, else from `days`."""
    names = [*(column.name for column in COMPARED if not column.name.endswith("_days")), "cop_reason"]
    found: dict[_Stretch, dict[str, Any]] = {stretch: dict.fromkeys(names) for stretch in stretches}
    whole, single = (
        exact(rows).with_columns(first=pl.Series(_dated(rows, time_zone), dtype=pl.Date)) for rows in (months, days)
    )
    told = set(whole["first"])
    cut = [
        {"first": day, "stretch": place, "whole": is_whole}
        for place, stretch in enumerate(found)
        for day, is_whole in _cut(*stretch, told)
    ]
    places = pl.DataFrame(cut, schema={"first": pl.Date, "stretch": pl.Int64, "whole": pl.Boolean})
    parts = [
        rows.join(places.filter(pl.col("whole") == is_whole).drop("whole"), on="first")
        for rows, is_whole in ((whole, True), (single, False))
    ]
    # All at once: a merge has more than a hundred columns, and costs as much for one stretch as for many.
    merged = merge(pl.concat(parts), "stretch")
    if merged.is_empty():
        return found
    chosen = [list(found)[place] for place in merged["stretch"]]
    bounds = [
        pl.Series(name, [day_start(stretch[end], time_zone) for stretch in chosen], dtype=UTC)
        for end, name in enumerate(("start", "end"))
    ]
    rows = shown(merged.with_columns(bounds), rules, known).select(names)
    return found | dict(zip(chosen, rows.iter_rows(named=True), strict=True))


def _cut(first: date, until: date, months: Set[date]) -> Iterator[tuple[date, bool]]:
    """A stretch in parts: the first days of its whole months, as far as these are told, and all other days; each with
    whether it stands for a month."""
    while first < until:
        is_month = first in months and next_period("monthly", first) <= until
        yield first, is_month
        first = next_period("monthly", first) if is_month else first + timedelta(days=1)


def _changes(row: Mapping[str, Any], pair: _Pair, coverage: _Coverage, rules: Rules) -> dict[str, Any]:
    """How much more or less the later stretch has, of each energy per day, and why that is not said."""
    before = BEFORE[pair.against]
    reasons = {kind: _unlike(place, pair, coverage, rules) for place, kind in enumerate(_ENERGIES)}
    if not row["electrical_days_before"] and not row["thermal_days_before"]:
        reasons = dict.fromkeys(_ENERGIES, f"no figures of {before}")

    def share(kind: str) -> float | None:
        energies = row[f"{kind}_energy_kwh"], row[f"{kind}_energy_kwh_before"]
        if reasons[kind] or None in energies or not energies[1]:
            return None
        return float(energies[0] / row[f"{kind}_days"] / (energies[1] / row[f"{kind}_days_before"]) - 1)

    cops = row["cop"], row["cop_before"]
    told = dict.fromkeys(reason for reason in reasons.values() if reason)
    return {
        "electrical_energy_change": share("electrical"),
        "thermal_energy_change": share("thermal"),
        "cop_change": None if told or None in cops else cops[0] - cops[1],
        "comparison_reason": "; ".join(told) or None,
    }


def _unlike(place: int, pair: _Pair, coverage: _Coverage, rules: Rules) -> str | None:
    """Why one of the energies is not known for the same days of both stretches; None where it is.

    The days on which it is known in one of them only are to be no more than `maximum_coverage_mismatch` of all.
    """
    days = [pair.first + timedelta(days=count) for count in range((pair.until - pair.first).days)]
    both = [(day, before) for day in days if (before := pair.day_before(day)) is not None]
    shares = [(coverage.get(day, (0.0, 0.0))[place], coverage.get(then, (0.0, 0.0))[place]) for day, then in both]
    now, ago = (sum(share[which] for share in shares) for which in (0, 1))
    what, earlier = list(_ENERGIES.values())[place], BEFORE[pair.against]
    least = rules.maximum_coverage_mismatch * max(now, ago)
    if not now and not ago:
        return f"{what} known on no day"
    if abs(now - ago) > least:
        return f"{what} known for {now:.3g} days, {earlier} for {ago:.3g}"
    if sum(abs(share[0] - share[1]) for share in shares) > least:
        return f"{what} known on other days than {earlier}"
    return None


LEAST_DAYS = 30
"""With figures of fewer days nothing is estimated."""

LEAST_WEIGHT = 0.25
"""Nor while the days known stand for less of a year's heating than this, as until about December: a mild or a cold
autumn says little of a winter."""

MONTH_SPREAD = 0.03
"""How far a month's part of a year's heating is from its share (standard deviation, as a part of the year's heating).
Months of central Europe are 2 K warmer or colder than their mean, which is about the same heat in each of them, 2.5 %
of a year's; and a house's own shares are not those of an average house."""

REST_SPREAD = 0.2
"""How far the heat for hot water in the time that lacks is from what it was so far (standard deviation as a share)."""

COOLING_SPREAD = 0.5
"""How far the cooling that is expected is from what a summer brings (standard deviation as a share)."""

COLDNESS = (0.5, 2.0)
"""A month is taken to be no less and no more cold than this, beside the same months of other years."""

_TAIL = 1.2816
"""Standard deviations within which 80 % of a normal distribution lie."""


@dataclass(frozen=True)
class _Part:
    """What is known of one energy in a month (kWh).

    Attributes:
        days: for so many it is known, also from a counter that counted over a silence.
        silent_days: of them those of silences.
        heating: in mode heating.
        cooling: in mode cooling.
        rest: in the other modes.
        silent: counted over silences, of no mode.
    """

    days: float
    silent_days: float
    heating: float
    cooling: float
    rest: float
    silent: float


@dataclass(frozen=True)
class _Month:
    """One month as far as it is known.

    Attributes:
        parts: its energies, by kind.
        degree_days: its heating degree days; None where its weather is not known for nearly all of the days known.
    """

    first: date
    length: int
    parts: Mapping[str, _Part]
    degree_days: float | None = None


WEATHER_COLUMNS = ["start", "heating_degree_days"]
"""What is read of `degree_days`."""

COST_COLUMNS = ["start", "cost", "priced_kwh", "co2_kg", "co2_known_kwh"]
"""What is read of `costs_monthly` and `costs_daily`."""


def outlook(
    months: pl.DataFrame,
    days: pl.DataFrame,
    time_zone: str,
    rules: Rules,
    known: Known,
    *,
    weather: pl.DataFrame | None = None,
    costs: pl.DataFrame | None = None,
    charges: Sequence[Charge] = (),
    season_starts: int = SEASON_MONTH,
) -> pl.DataFrame:
    """Table `outlook`: the heating season and the calendar year in which the newest day lies.

    Where the readings begin within one of them, it is looked at from then on: an estimate is what the table of its
    kind will say when it is over.

    Heating is spread over the months as in the heat pump's own full years where all months of one are known, else as
    the degree days of the house's own weather, where those of all months are, else by those of an average year
    (`DEGREE_DAY_SHARES`); hot water, standby and the rest by days; cooling is expected as in the same months of other
    years, and none where they do not tell. Where the weather of the months known is known, and that of the same months
    of other years, a cold or a mild one counts for as much more or less. What is known of the period, divided by the
    share of the year that it stands for, tells what lacks, for each energy by itself. The bounds hold the truth in 8 of
    10 cases: months differ from their shares by `MONTH_SPREAD`, and what is known tells the level of the year the worse
    the less of its heating that is. Costs and CO2 follow the electricity at what a kWh cost so far, the standing charge
    the tariffs that are known by their days.

    Args:
        months: rows of `monthly` of one heat pump: of the running season and year, and of up to two years before.
        days: rows of `daily` of the newest month.
        weather: `WEATHER_COLUMNS` of the days of all these months.
        costs: `COST_COLUMNS` of the running season's and year's months, and of the days of the newest month.
        charges: the standing charges of the heat pump, also of days to come.
    """
    if days.is_empty():
        return conform(None, "outlook")
    newest = local_date(days["start"].max(), time_zone)  # type: ignore[arg-type]
    month = newest.replace(day=1)
    until = newest + timedelta(days=1)
    before = months.filter(pl.col("start") < day_start(month, time_zone))
    running = days.filter(pl.col("start") >= day_start(month, time_zone))
    table = [_month(before.filter(pl.col("start") == start), time_zone) for start in before["start"].sort()]
    table = _settled([*table, _month(running, time_zone, 1)])
    table = _with_degree_days(table, weather, until, time_zone)
    shares, method = _shares(table[:-1], season_starts)
    found = []
    for kind in ("season", "year"):
        first = first_day(_PERIODS[kind], newest, season_starts)
        end = next_period(_PERIODS[kind], first)
        so_far = _figures(months, running, [(first, until)], time_zone, rules, known)[first, until]
        since = first if known.since is None else max(first, local_date(known.since, time_zone))
        estimate = _estimate(table, shares, since, end, so_far)
        found.append(
            {
                "heat_pump": days["heat_pump"][0],
                "start": day_start(first, time_zone),
                "end": day_start(end, time_zone),
                "kind": kind,
                "period": period_label(_PERIODS[kind], first),
                "known_since": day_start(since, time_zone),
                "known_until": day_start(until, time_zone),
                "days_left": (end - until).days,
                **{name: so_far[name] for name in ("electrical_energy_kwh", "thermal_energy_kwh", "cop", "cop_reason")},
                **estimate,
                **_costs(costs, charges, first, until, end, time_zone, estimate),
                "method": method,
            }
        )
    return conform(pl.DataFrame(found, infer_schema_length=None), "outlook")


def _month(rows: pl.DataFrame, time_zone: str, days_of_row: int | None = None) -> _Month:
    """A month from its row of `monthly`, or from the days of it: rows of so many days each (None: of the month)."""
    first = local_date(rows["start"].min(), time_zone).replace(day=1)  # type: ignore[arg-type]
    length = (next_period("monthly", first) - first).days
    energies = [name for name in rows.columns if name.endswith("_kwh")]
    sums = rows.select(pl.col(energies).fill_null(0).sum()).row(0, named=True)
    span_s = divided((pl.col("end") - pl.col("start")).dt.total_microseconds(), 1e6)

    def days(name: str) -> float:
        shares = rows.select((pl.col(name).fill_null(0) / span_s).clip(0, 1).sum()).item()
        return float(shares) * (days_of_row or length)

    def part(kind: str) -> _Part:
        total, heating, silent = (sums[f"{kind}_energy{use}_kwh"] for use in ("", "_heating", "_unobserved"))
        cooling = sums["electrical_energy_cooling_kwh"] if kind == "electrical" else 0.0
        known = days(f"{kind}_s")
        silent_days = max(known - days("observed_s"), 0.0) if silent else 0.0
        return _Part(known, silent_days, heating, cooling, total - cooling - heating - silent, silent)

    return _Month(first, length, {kind: part(kind) for kind in _ENERGIES})


def _settled(table: Sequence[_Month]) -> list[_Month]:
    """The months with what was counted over silences booked: as much of it to the rest as a day has elsewhere, what is
    more to heating."""
    for kind in _ENERGIES:
        parts = [entry.parts[kind] for entry in table]
        seen = sum(part.days - part.silent_days for part in parts)
        a_day = sum(part.rest for part in parts) / seen if seen > 0 else 0.0
        booked = []
        for entry, part in zip(table, parts, strict=True):
            rest = min(max(a_day * part.silent_days, 0.0), max(part.silent, 0.0))
            settled = replace(part, rest=part.rest + rest, heating=part.heating + part.silent - rest, silent=0.0)
            booked.append(replace(entry, parts={**entry.parts, kind: settled}))
        table = booked
    return list(table)


def _with_degree_days(
    table: Sequence[_Month], weather: pl.DataFrame | None, until: date, time_zone: str
) -> list[_Month]:
    """The months with their degree days; those of a month of which some days lack, or are yet to come, as for all of
    its days."""
    found: dict[date, list[float]] = {}
    if weather is not None:
        known = weather.filter(pl.col("heating_degree_days").is_not_null())
        for start, amount in known.select(WEATHER_COLUMNS).iter_rows():
            found.setdefault(local_date(start, time_zone).replace(day=1), []).append(amount)

    def of(entry: _Month) -> float | None:
        amounts = found.get(entry.first, [])
        passed = min((until - entry.first).days, entry.length)
        return sum(amounts) / len(amounts) * entry.length if len(amounts) >= _NEARLY_ALL * passed > 0 else None

    return [replace(entry, degree_days=of(entry)) for entry in table]


_NEARLY_ALL = 0.95


def _shares(table: Sequence[_Month], season_starts: int) -> tuple[list[float], str]:
    """The share of each month in a year's heating, January first, and where it is from."""
    whole = [entry for entry in table if entry.parts["thermal"].days >= _NEARLY_ALL * entry.length]
    own = _normalised([(entry.first.month, entry.parts["thermal"].heating) for entry in whole])
    if own:
        return own, "own months of the years before"
    weather = [(entry.first.month, entry.degree_days) for entry in table if entry.degree_days is not None]
    own = _normalised(weather)
    if own:
        return own, "own degree days of the years before"
    later = season_starts - SEASON_MONTH
    return [DEGREE_DAY_SHARES[(place - later) % 12] for place in range(12)], "degree days of an average year"


def _normalised(amounts: Sequence[tuple[int, float]]) -> list[float] | None:
    """The mean amount of each month of the year, as a share of all; None where a month has none, or all are 0."""
    by_month = [[amount for number, amount in amounts if number == month] for month in range(1, 13)]
    if not all(by_month):
        return None
    means = [max(sum(found) / len(found), 0.0) for found in by_month]
    return [mean / sum(means) for mean in means] if sum(means) > 0 else None


def _coldness(entry: _Month, table: Sequence[_Month]) -> float:
    """How cold a month was beside the same months of other years; 1 where that is not known."""
    others = [
        other.degree_days
        for other in table
        if other.first.month == entry.first.month and other.first != entry.first and other.degree_days is not None
    ]
    if entry.degree_days is None or not others:
        return 1.0
    usual = (sum(others) + entry.degree_days) / (len(others) + 1)
    return min(max(entry.degree_days / usual, COLDNESS[0]), COLDNESS[1]) if usual > 0 else 1.0


def _estimate(
    table: Sequence[_Month], shares: Sequence[float], since: date, end: date, so_far: Mapping[str, Any]
) -> dict[str, Any]:
    """What the days [since, end) will come to.

    Args:
        table: all months known.
        shares: of each month in a year's heating.
        so_far: the figures of what is known of these days.
    """
    within = [entry for entry in table if since < next_period("monthly", entry.first)]
    there = _parts_of_months(since, end)
    share_of_all = sum(shares[month.month - 1] * part for month, part in there.items())
    length = (end - since).days
    found: dict[str, Any] = {}
    reasons: dict[str, str | None] = {}
    for kind in _ENERGIES:
        name, known = f"{kind}_energy", so_far[f"{kind}_energy_kwh"]
        parts = [entry.parts[kind] for entry in within]
        days_known = sum(part.days for part in parts)
        found[f"{kind}_days"] = days_known
        if known is not None and days_known >= 1:
            found[f"{name}_plain_kwh"] = known + known / days_known * (length - days_known)
        usual = [
            shares[entry.first.month - 1] * part.days / entry.length for entry, part in zip(within, parts, strict=True)
        ]
        weights = [weight * _coldness(entry, table) for entry, weight in zip(within, usual, strict=True)]
        reasons[kind] = _not_estimated(known, days_known, sum(usual))
        if reasons[kind]:
            continue
        heating, rest = sum(part.heating for part in parts), sum(part.rest for part in parts)
        of_heating = heating / sum(weights) * max(share_of_all - sum(usual), 0.0)
        of_rest = rest / days_known * max(length - days_known, 0.0)
        of_cooling = _cooling_to_come(table, kind, there)
        found[f"{name}_cooling_estimate_kwh"] = sum(part.cooling for part in parts) + of_cooling
        spread = _spread(
            {entry.first: part.days / entry.length for entry, part in zip(within, parts, strict=True)},
            sum(usual),
            share_of_all,
            {month: part for month, part in there.items() if shares[month.month - 1] > _HEATED},
        )
        reach = _TAIL * math.hypot(spread * of_heating, REST_SPREAD * of_rest, COOLING_SPREAD * of_cooling)
        total = known + of_heating + of_rest + of_cooling
        found[f"{name}_estimate_kwh"] = total
        found[f"{name}_estimate_low_kwh"] = max(total - reach, known)
        found[f"{name}_estimate_high_kwh"] = total + reach
    found["days_known"] = round(min(found["electrical_days"], found["thermal_days"]))
    if so_far["cop"] is not None and not any(reasons.values()):
        electricity = found["electrical_energy_estimate_kwh"] - found["electrical_energy_cooling_estimate_kwh"]
        if electricity > 0:
            found["cop_estimate"] = found["thermal_energy_estimate_kwh"] / electricity
    return found | {"estimate_reason": _both(reasons)}


def _parts_of_months(since: date, end: date) -> dict[date, float]:
    """The months of the days [since, end), by their first day, with how much of each lies in them."""
    found = {}
    month = since.replace(day=1)
    while month < end:
        following = next_period("monthly", month)
        found[month] = (min(end, following) - max(since, month)).days / (following - month).days
        month = following
    return found


def _cooling_to_come(table: Sequence[_Month], kind: str, there: Mapping[date, float]) -> float:
    """What is expected for cooling in what is not known of the months `there`: as in the same months of other years."""
    known = {entry.first: entry.parts[kind] for entry in table}
    found = 0.0
    for month, part in there.items():
        length = (next_period("monthly", month) - month).days
        lacks = part - (known[month].days / length if month in known else 0.0)
        others = [
            entry.parts[kind].cooling
            for entry in table
            if entry.first.month == month.month
            and entry.first != month
            and entry.parts[kind].days >= _NEARLY_ALL * entry.length
        ]
        if others:
            found += max(lacks, 0.0) * sum(others) / len(others)
    return found


def _not_estimated(known: float | None, days_known: float, weight: float) -> str | None:
    if known is None:
        return "nothing known"
    if days_known < LEAST_DAYS:
        return f"figures of only {round(days_known)} days"
    if weight < LEAST_WEIGHT:
        return f"the days known stand for only {weight:.0%} of a year's heating"
    return None


def _both(reasons: Mapping[str, str | None]) -> str | None:
    """One reason for both energies, or each with its name."""
    electrical, thermal = reasons["electrical"], reasons["thermal"]
    if electrical == thermal:
        return electrical
    return "; ".join(f"{_ENERGIES[kind]}: {reason}" for kind, reason in reasons.items() if reason)


_HEATED = 0.01
"""Share of a year's heating above which a month counts as one with heating."""


def _spread(known: Mapping[date, float], weight: float, share_of_all: float, heated: Mapping[date, float]) -> float:
    """Standard deviation of the heating that lacks, as a share of it.

    It has two parts: the weather of the months that lack, and the level of the year, which is told by months that had
    weather as well, and the worse the less of the heating they are.

    Args:
        known: how much of each month is known.
        weight: share of a year's heating that this stands for.
        share_of_all: the same of all that is estimated.
        heated: how much of each month with heating is estimated.
    """
    months = sum(known.get(month, 0.0) for month in heated)
    lacks = share_of_all - weight
    level = lacks / weight * MONTH_SPREAD * math.sqrt(months)
    weather = MONTH_SPREAD * math.sqrt(max(sum(heated.values()) - months, 0.0))
    return math.hypot(level, weather) / max(lacks, 0.01)


def _costs(
    costs: pl.DataFrame | None,
    charges: Sequence[Charge],
    first: date,
    until: date,
    end: date,
    time_zone: str,
    estimate: Mapping[str, Any],
) -> dict[str, float | None]:
    """Costs and CO2 so far and of the whole period; nothing where no tariff tells them."""
    found: dict[str, float | None] = {
        "standing_charge": charged(charges, first, until),
        "standing_charge_estimate": charged(charges, first, end),
    }
    rows = None if costs is None else costs.filter(pl.col("start") >= day_start(first, time_zone))
    if rows is None or rows.is_empty():
        return found
    whole = estimate.get("electrical_energy_estimate_kwh")
    for name, known_kwh, estimated in (
        ("cost", "priced_kwh", "cost_estimate"),
        ("co2_kg", "co2_known_kwh", "co2_estimate_kg"),
    ):
        if rows[name].count():
            amount, used = (float(rows[column].sum()) for column in (name, known_kwh))
            found[name] = amount
            found[estimated] = None if whole is None or not used else amount / used * whole
    return found
