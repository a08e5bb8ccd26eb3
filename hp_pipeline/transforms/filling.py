"""Days with what nobody measured filled in: an extra series, flagged, of which no other figure is made.

Two things can be filled in. What a counter counted over a silence is known, and only how it is spread over the days is
not: it is shared out as the house needs it at each day's temperature, and its sum stays what was counted. Where no
counter tells, what lacks is estimated: as much as the house's own days of about the same outdoor temperature had.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl

from hp_pipeline.transforms.calendar import day_start, first_day, local_date, local_iso, next_period
from hp_pipeline.transforms.floors import Known
from hp_pipeline.transforms.heat_loss import LEAST_COVERAGE, LEAST_DAYS
from hp_pipeline.transforms.schema import conform
from hp_pipeline.transforms.sums import MJ_PER_KWH

DAY_COLUMNS = [
    *("heat_pump", "start", "end", "outdoor_temperature_mean", "degree_days_reason"),
    *(f"{kind}_{name}" for kind in ("electrical", "thermal") for name in ("energy_kwh", "energy_unobserved_kwh", "s")),
]
"""What is read of `degree_days`."""

MONTHS_BACK = 11
"""The house's own days of so many months before a month, and of itself, tell what it needs."""

LIKE_DAYS = 8
"""So many days, those nearest in temperature, tell what a day needs."""

BEYOND_K = 3.0
"""A day so much colder or warmer than every day known is not estimated."""

BETWEEN_DAYS = 7
"""The temperature of a day is taken between those of the days around where these are no further away."""

WHOLE = 0.995
"""A day known for such a share of it lacks nothing."""

_KINDS = ("electrical", "thermal")


@dataclass(frozen=True)
class _Need:
    """What the house's own days had of an energy: by outdoor temperature, ascending, kWh per whole day."""

    temperatures: Sequence[float]
    energies: Sequence[float]

    def at(self, temperature: float | None) -> tuple[float | None, str | None]:
        """What a day of this temperature needs (kWh), or why that cannot be told."""
        if len(self.temperatures) < LEAST_DAYS:
            return None, f"only {len(self.temperatures)} days known to tell it by, of {LEAST_DAYS}"
        if temperature is None:
            return None, "the outdoor temperature is unknown"
        if not self.temperatures[0] - BEYOND_K <= temperature <= self.temperatures[-1] + BEYOND_K:
            return None, f"{temperature:.0f} °C outdoors: no day known was like it"
        low = high = bisect_left(self.temperatures, temperature)
        while high - low < LIKE_DAYS:
            colder = temperature - self.temperatures[low - 1] if low else float("inf")
            warmer = self.temperatures[high] - temperature if high < len(self.temperatures) else float("inf")
            low, high = (low - 1, high) if colder <= warmer else (low, high + 1)
        return sum(self.energies[low:high]) / LIKE_DAYS, None


def filled_daily(days: pl.DataFrame, month: date, heat_pump: str, time_zone: str, known: Known) -> pl.DataFrame:
    """Table `filled_daily` of a month: a row for each local day from the first reading to the newest.

    A silence over the end of a month is shared out in each of both by itself, as much to each as its time is.

    Args:
        days: `DAY_COLUMNS` of the days of this month, of `MONTHS_BACK` before, and of the one after it, which tells the
            temperature of its last days.
        known: the time in which there are readings at all.
    """
    by_day = {local_date(row["start"], time_zone): row for row in days.iter_rows(named=True)}
    wanted = _days(month, time_zone, known)
    if not wanted:
        return conform(None, "filled_daily")
    outdoor = {day: row["outdoor_temperature_mean"] for day, row in by_day.items() if row["degree_days_reason"] is None}
    temperatures = {day: _between(day, outdoor) for day in wanted}
    starts = [day_start(day, time_zone) for day in wanted]
    rows: list[dict[str, Any]] = [
        {
            "heat_pump": heat_pump,
            "start": start,
            "end": day_start(day + timedelta(days=1), time_zone),
            "period": day.isoformat(),
            "local_start": local,
            "outdoor_temperature_mean": temperatures[day],
            "outdoor_temperature_read": day in outdoor,
        }
        for day, start, local in zip(wanted, starts, local_iso(starts, time_zone), strict=True)
    ]
    for kind in _KINDS:
        need = _need(by_day, outdoor, kind, until=next_period("monthly", month))
        shares = _shared_out(wanted, by_day, temperatures, need, kind)
        for row, day in zip(rows, wanted, strict=True):
            row.update(_filled(row, by_day.get(day), temperatures[day], need, shares.get(day), kind, known))
    return conform(pl.DataFrame(rows, infer_schema_length=None), "filled_daily")


def _days(month: date, time_zone: str, known: Known) -> list[date]:
    first, until = month, next_period("monthly", month)
    if known.since is not None:
        first = max(first, local_date(known.since, time_zone))
    if known.until is not None:
        until = min(until, local_date(known.until - timedelta(microseconds=1), time_zone) + timedelta(days=1))
    return [first + timedelta(days=count) for count in range((until - first).days)]


def _between(day: date, outdoor: Mapping[date, float]) -> float | None:
    """The day's temperature, or that on the line between the nearest days around of which it is known."""
    if day in outdoor:
        return outdoor[day]
    reach = [timedelta(days=count) for count in range(1, BETWEEN_DAYS + 1)]
    before = next((back for back in reach if day - back in outdoor), None)
    behind = next((on for on in reach if day + on in outdoor), None)
    if before is None or behind is None:
        return None
    share = before / (before + behind)
    return outdoor[day - before] * (1 - share) + outdoor[day + behind] * share


def _need(by_day: Mapping[date, Mapping[str, Any]], outdoor: Mapping[date, float], kind: str, until: date) -> _Need:
    """Of the days before `until` that are read nearly whole, what they had."""
    found = []
    for day, temperature in outdoor.items():
        row = by_day[day]
        energy, silent = row[f"{kind}_energy_kwh"], row[f"{kind}_energy_unobserved_kwh"] or 0.0
        share = (row[f"{kind}_s"] or 0.0) / (row["end"] - row["start"]).total_seconds()
        if day < until and energy is not None and not silent and share >= LEAST_COVERAGE:
            found.append((temperature, energy / min(share, 1.0)))
    found.sort()
    return _Need([temperature for temperature, _ in found], [energy for _, energy in found])


def _shared_out(
    wanted: Sequence[date],
    by_day: Mapping[date, Mapping[str, Any]],
    temperatures: Mapping[date, float | None],
    need: _Need,
    kind: str,
) -> dict[date, tuple[float, str]]:
    """What counters counted over silences, kWh, by day, and how it was shared out: each silence by itself.

    The days' own part, which is by time, is weighed with what a day of their temperature needs where that is known of
    all of them, in whole millijoules, so that the sum stays what was counted.
    """
    found: dict[date, tuple[float, str]] = {}
    silence: list[tuple[date, float]] = []
    for day in [*wanted, None]:
        row = by_day.get(day) if day is not None else None
        counted = row[f"{kind}_energy_unobserved_kwh"] if row is not None else None
        if day is not None and counted:
            silence.append((day, counted))
            continue
        if silence:
            found |= _of_one_silence(silence, temperatures, need)
        silence = []
    return found


def _of_one_silence(
    silence: Sequence[tuple[date, float]], temperatures: Mapping[date, float | None], need: _Need
) -> dict[date, tuple[float, str]]:
    needs = [need.at(temperatures[day])[0] for day, _ in silence]
    weights = [counted * (wanted or 0.0) for (_, counted), wanted in zip(silence, needs, strict=True)]
    if any(wanted is None or wanted < 0 for wanted in needs) or sum(weights) <= 0:
        return {day: (counted, "counted, by time") for day, counted in silence}
    total = sum(round(counted * MJ_PER_KWH) for _, counted in silence)
    found, taken, weighed = {}, 0, 0.0
    for place, ((day, _), weight) in enumerate(zip(silence, weights, strict=True)):
        weighed += weight
        reached = total if place == len(silence) - 1 else round(total * weighed / sum(weights))
        found[day] = ((reached - taken) / MJ_PER_KWH, "counted, by temperature")
        taken = reached
    return found


def _filled(
    placed: Mapping[str, Any],
    row: Mapping[str, Any] | None,
    temperature: float | None,
    need: _Need,
    shared: tuple[float, str] | None,
    kind: str,
    known: Known,
) -> dict[str, Any]:
    """The columns of one energy of a day."""
    begin = placed["start"] if known.since is None else max(placed["start"], known.since)
    end = placed["end"] if known.until is None else min(placed["end"], known.until)
    length = (placed["end"] - placed["start"]).total_seconds()
    elapsed = (end - begin).total_seconds()
    energy = row[f"{kind}_energy_kwh"] if row is not None else None
    silent = (row[f"{kind}_energy_unobserved_kwh"] or 0.0) if row is not None else 0.0
    lacking = max(elapsed - ((row[f"{kind}_s"] or 0.0) if row is not None else 0.0), 0.0)
    seen = None if energy is None or (silent and abs(energy - silent) < 1 / MJ_PER_KWH) else energy - silent
    counted = shared[0] if shared else 0.0
    estimated: float | None = 0.0
    reason = None
    if lacking > (1 - WHOLE) * elapsed:
        a_day, reason = need.at(temperature)
        estimated = None if a_day is None else a_day * lacking / length
    ways = [
        *(["read"] if seen is not None else []),
        *([shared[1]] if shared else []),
        *([_ESTIMATED[placed["outdoor_temperature_read"]]] if estimated else []),
    ]
    whole = None if estimated is None else (seen or 0.0) + counted + estimated
    return {
        f"{kind}_energy_filled_up_kwh": whole,
        f"{kind}_energy_seen_kwh": seen,
        f"{kind}_energy_counted_kwh": counted,
        f"{kind}_energy_estimated_kwh": estimated,
        f"{kind}_filled_share": (counted + (estimated or 0.0)) / whole if whole else None,
        f"{kind}_filling": "; ".join(ways) or None,
        f"{kind}_filling_reason": reason,
    }


_ESTIMATED = {True: "estimated, by temperature", False: "estimated, by the temperature around"}


def months_read(month: date) -> list[date]:
    """The first days of the months whose days `filled_daily` is made from."""
    found = [next_period("monthly", month), month]
    for _ in range(MONTHS_BACK):
        found.append(first_day("monthly", found[-1] - timedelta(days=1)))
    return found[::-1]
