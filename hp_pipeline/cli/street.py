"""What was found in the demo street beside what was true, and what became of the faults of its devices."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from hp_pipeline.lake import Lake
from hp_pipeline.landing.store import FILE, Landing, micros
from hp_pipeline.settings import Settings
from hp_pipeline.simulation.scoring import SOLAR_GOALS, SUNNY_KWH, score_solar
from hp_pipeline.simulation.street.plan import load_plan
from hp_pipeline.simulation.street.server import solar_house
from hp_pipeline.simulation.street.trouble import EXPECTED, troubles
from hp_pipeline.simulation.street.truth import compare, true_energy, true_solar

ELECTRICAL: Final = "electrical_energy_kwh"
THERMAL: Final = "thermal_energy_kwh"
SOLAR_SYSTEM: Final = "solar"
_COVERED: Final = 0.9
"""Hours and days of which less is known are partial, and not compared."""
_WITHOUT_BACKUP: Final = pl.col(ELECTRICAL) - pl.col("backup_heater_energy_kwh")
_COMPRESSOR: Final = pl.col(THERMAL) - pl.col("backup_heater_energy_kwh")
TRUTH: Final[dict[str, tuple[pl.Expr, pl.Expr, pl.Expr, pl.Expr]]] = {
    "novelan": (_WITHOUT_BACKUP, _WITHOUT_BACKUP, pl.col(THERMAL), pl.col(THERMAL)),
    "stiebel": (_WITHOUT_BACKUP, _WITHOUT_BACKUP, _COMPRESSOR, pl.col(THERMAL)),
    "stiebel_neighbour": (_WITHOUT_BACKUP, _WITHOUT_BACKUP, _COMPRESSOR, pl.col(THERMAL)),
    "viessmann": (pl.col(ELECTRICAL), pl.col(ELECTRICAL), pl.col(THERMAL), pl.col(THERMAL)),
    "daikin": (pl.col(ELECTRICAL), pl.col(ELECTRICAL), pl.col(THERMAL), pl.col(THERMAL)),
}
"""By house what its devices measure of what happened: electricity by counter, by power, heat by counter, by power (or
flow and spread). Some leave the backup heater out; what defrosts take is subtracted, whatever tells the heat."""


def score_street(settings: Settings, data: Path, lake: Lake) -> tuple[list[tuple[str, ...]], list[str]]:
    """The energies (kWh) of the whole days of every house with a heat pump, found and true; and what became of the
    faults, a line each.

    The truth is what the house's meters include, in the way in which the day's figure was made.
    """
    rows: list[tuple[str, ...]] = []
    for id_, truth in TRUTH.items():
        daily = lake.read(f"daily/{id_}", lake.keys(f"daily/{id_}"))
        if daily is None or daily.is_empty():
            rows.append((id_, "0", "", "", "", "", "", ""))
            continue
        days = compare(true_energy(data, id_), daily, {ELECTRICAL: truth[:2], THERMAL: truth[2:]}).drop_nulls()
        electricity, heat = (
            (float(days[name].sum()), float(days[f"{name}_true"].sum())) for name in (ELECTRICAL, THERMAL)
        )
        cops = (heat[0] / electricity[0], heat[1] / electricity[1]) if days.height else (float("nan"),) * 2
        numbers = (f"{number:.2f}" for number in (*electricity, *heat, *cops))
        rows.append((id_, str(days.height), *numbers))
    return rows, _lines(score_faults(data, settings))


def score_solar_heating(data: Path, lake: Lake) -> tuple[list[tuple[str, ...]], str | None]:
    """The energies (kWh) of the solar heating's whole hours and days, found and true; and what they may be off by.

    Returns:
        A row for each energy: found, true, how far the hours (95 %), the worst hour and the worst day are off, and
        how many days are off by more than usual; and a sentence. Nothing and None where there is no solar heating.
    """
    plan = load_plan(data)
    id_ = f"solar_hourly/{SOLAR_SYSTEM}"
    if plan is None or plan.mqtt is None or not lake.keys(id_):
        return [], None
    whole = (pl.col("coverage") >= _COVERED) & ~pl.col("provisional")
    tables = [lake.read(table, lake.keys(table)) for table in (id_, f"solar_daily/{SOLAR_SYSTEM}")]
    hours, days = (rows.filter(whole).sort("start") for rows in tables if rows is not None)
    if hours.is_empty():
        return [], None
    house = solar_house(plan, hours["end"][-1] + timedelta(hours=1))
    # What was told before the street answered came every five minutes, and later ones more often.
    told_before = pl.col("end") <= plan.began
    pace = 300.0 if hours.filter(told_before).height else 60.0
    # The first day is known from its first reading on: it is not whole.
    whole_days = days.filter(told_before | (pace == 60), pl.col("start") >= hours["start"][0])
    by_hour, by_day = (score_solar(true_solar(house, rows), rows, SOLAR_GOALS[pace]) for rows in (hours, whole_days))
    rows = [
        (
            hour["energy"].removesuffix("_kwh"),
            str(hour["periods"]),
            *(f"{hour[name]:.2f}" for name in ("found", "true", "p95_kwh", "worst_kwh")),
            f"{day['worst_kwh']:.2f}" if day["periods"] else "",
            f"{day['beyond']} of {day['periods']}",
        )
        for hour, day in zip(by_hour.iter_rows(named=True), by_day.iter_rows(named=True), strict=True)
    ]
    goals = SOLAR_GOALS[pace]
    return rows, (
        f"Usual with readings every {pace / 60:g} min, of a day: solar {goals.solar_percent:g} % "
        f"(below {SUNNY_KWH:g} kWh {goals.poor_percent:g} %), draw {goals.draw_percent:g} %, "
        f"immersion heater {goals.immersion_kwh:g} kWh, pellet stove {goals.pellet_kwh:g} kWh."
    )


def _lines(troubles: pl.DataFrame) -> list[str]:
    if troubles.is_empty():
        return ["No faults were made."]
    counted = troubles.group_by("verdict").len().sort("verdict")
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counted.iter_rows())
    wrong = troubles.filter(pl.col("verdict") == "wrong").sort("time")
    return [
        f"Faults: {summary}.",
        *(
            f"{row['time']:%Y-%m-%d %H:%M:%S} {row['source']}: {row['fault']} should be {row['expected']}, was "
            f"{', '.join(row['outcomes'])}"
            for row in wrong.iter_rows(named=True)
        ),
    ]


def score_faults(data: Path, settings: Settings) -> pl.DataFrame:
    """What became of every fault.

    Returns:
        `time`, `house`, `source`, `fault`, `expected` (outcome), `outcomes` (of the polls that may have met it, in
        order), `verdict`: right: one of them ended as expected, and none otherwise than so or well; healed: the poll
        asked again and all went well; wrong: a poll ended in another way; unseen: no poll since.
    """
    rows = []
    if not (data / FILE).exists():
        return pl.DataFrame(schema=_SCORED)
    with Landing(data, read_only=True) as landing:
        for trouble in troubles(data):
            source = settings.source(trouble.source)
            timeout: timedelta = getattr(source, "timeout", timedelta(seconds=10))
            met = _outcomes(landing, trouble.source, trouble.time, timeout)
            expected = EXPECTED[trouble.kind][trouble.fault]
            if not met:
                verdict = "unseen"
            elif any(outcome not in (expected, "ok") for outcome in met):
                verdict = "wrong"
            else:
                verdict = "right" if expected in met else "healed"
            rows.append(
                {
                    "time": trouble.time,
                    "house": trouble.house,
                    "source": trouble.source,
                    "fault": trouble.fault,
                    "expected": expected,
                    "outcomes": met,
                    "verdict": verdict,
                }
            )
    return pl.DataFrame(rows, schema=_SCORED)


_SCORED: Final = {
    "time": pl.Datetime("us", "UTC"),
    **dict.fromkeys(("house", "source", "fault", "expected"), pl.String()),
    "outcomes": pl.List(pl.String()),
    "verdict": pl.String(),
}
_SLACK: Final = timedelta(milliseconds=100)
"""A server notes a fault a little before or after the poll that meets it."""


def _outcomes(landing: Landing, source: str, moment: datetime, timeout: timedelta) -> list[str]:
    """How the polls of a source ended that went on at a moment."""
    rows = landing.rows(
        "SELECT polls.outcome FROM polls JOIN sources ON sources.id = polls.source WHERE sources.name = ? "
        "AND started BETWEEN ? AND ? AND started + took >= ? ORDER BY sequence",
        (source, micros(moment - timeout - _SLACK), micros(moment + _SLACK), micros(moment - _SLACK)),
    )
    return [str(row[0]) for row in rows]
