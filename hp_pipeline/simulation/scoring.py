"""How well a pipeline found what happened: events matched one to one, edges, energies, and what could be expected.

An event counts as found when both its edges lie within a collar of the true ones (the event-based score of sound
event detection, sed_eval). Energy errors are taken on matched pairs; what is not matched is reported as a share of
the true energy, so that nothing can hide. The tolerance of a single session is the budget of its source, not a flat
percentage: a session of 0.3 kWh cannot be right to 2 % with a counter of 0.1 kWh.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from hp_pipeline.simulation.weather import FloatArray

THERMAL: Final = "thermal_energy_kwh"
ELECTRICAL: Final = "electrical_energy_kwh"


@dataclass(frozen=True)
class EnergyScore:
    """Errors of an energy (or a COP) against the truth, in percent of the truth; NaN without pairs.

    `bias_percent` compares the sums, so that it is what a year's figure would be off by.
    """

    pairs: int
    p50_percent: float
    p95_percent: float
    worst_percent: float
    bias_percent: float
    rms_kwh: float
    worst_kwh: float


@dataclass(frozen=True)
class EventScore:
    """Score of one kind of event. Times in seconds, positive = found too late."""

    true: int
    found: int
    matched: int
    excused: int
    """Unmatched events, true or found, with an edge in a gap of the readings, and true ones too short to be seen;
    they count for nothing."""
    precision: float
    recall: float
    f1: float
    start_mae_s: float
    start_bias_s: float
    start_worst_s: float
    end_mae_s: float
    end_bias_s: float
    end_worst_s: float
    thermal: EnergyScore
    electrical: EnergyScore
    cop: EnergyScore
    missed_thermal_percent: float
    """Heat of true events that were not found, in percent of all true heat."""
    invented_thermal_percent: float
    """Heat of found events that never were, in percent of all true heat."""
    pairs: list[tuple[int, int]]
    """Rows of the true and the found frame (each in order of start) that belong together."""


def unbiased_edges(events: pl.DataFrame) -> pl.DataFrame:
    """Found events with their edges in the middle of the time in which they may lie.

    A table says an edge at the first reading that shows it, and how long before (`start_uncertainty_s`,
    `end_uncertainty_s`) it may have been; the edge is as likely anywhere in between.
    """

    def middle(edge: str) -> pl.Expr:
        half_us = (pl.col(f"{edge}_uncertainty_s").fill_null(0.0) * 5e5).cast(pl.Int64)
        return (pl.col(edge) - pl.duration(microseconds=half_us)).alias(edge)

    return events.with_columns(middle("start"), middle("end"))


def match_events(true: pl.DataFrame, found: pl.DataFrame, collar: timedelta) -> list[tuple[int, int]]:
    """Pairs (row of true, row of found), one to one in time order, both edges within the collar.

    Rows are counted in order of `start`; the events of a frame must not overlap. Taking the earliest partner that
    fits is then also a largest matching.
    """
    reach = round(collar.total_seconds() * 1e6)
    true_edges, found_edges = _edges_us(true), _edges_us(found)
    pairs: list[tuple[int, int]] = []
    first = 0
    for row, (start, end) in enumerate(found_edges):
        while first < len(true_edges) and true_edges[first][1] < start - reach:
            first += 1
        candidate = first
        while candidate < len(true_edges) and true_edges[candidate][0] <= end + reach:
            true_start, true_end = true_edges[candidate]
            if abs(true_start - start) <= reach and abs(true_end - end) <= reach:
                pairs.append((candidate, row))
                first = candidate + 1
                break
            candidate += 1
    return pairs


def score_events(
    true: pl.DataFrame,
    found: pl.DataFrame,
    *,
    collar: timedelta,
    gaps: pl.DataFrame | None = None,
    shortest: timedelta = timedelta(0),
    least_kwh: float = 0.1,
) -> EventScore:
    """Scores found events against true ones.

    Both frames have columns start, end (Datetime, exclusive end) and, if energies are to be scored,
    thermal_energy_kwh and electrical_energy_kwh. Pairs whose true energy is below `least_kwh` are left out of the
    percentiles (not of the bias). `gaps` (start, end) are stretches without readings: an edge inside them or
    within the collar of them is unknowable, and an unmatched event that has one is excused. A true event shorter than
    `shortest` (the polling interval: it may fall between two samples) is excused when it is missed.
    """
    true, found = true.sort("start"), found.sort("start")
    pairs = match_events(true, found, collar)
    true_rows = np.array([row for row, _ in pairs], dtype=np.int64)
    found_rows = np.array([row for _, row in pairs], dtype=np.int64)
    missed = np.setdiff1d(np.arange(true.height), true_rows)
    invented = np.setdiff1d(np.arange(found.height), found_rows)
    excused_missed = _in_gaps(true, missed, gaps, collar) | _shorter(true, missed, shortest)
    excused_invented = _in_gaps(found, invented, gaps, collar)
    expected = true.height - int(excused_missed.sum())
    claimed = found.height - int(excused_invented.sum())
    matched = len(pairs)

    true_times, found_times = np.array(_edges_us(true)), np.array(_edges_us(found))
    late = (found_times[found_rows] - true_times[true_rows]) / 1e6 if matched else np.full((1, 2), math.nan)
    heat_true, heat_found = _column(true, THERMAL), _column(found, THERMAL)
    power_true, power_found = _column(true, ELECTRICAL), _column(found, ELECTRICAL)
    pair = (true_rows, found_rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        cop_true, cop_found = heat_true / power_true, heat_found / power_found
    total_heat = float(np.nansum(heat_true))

    return EventScore(
        true=true.height,
        found=found.height,
        matched=matched,
        excused=int(excused_missed.sum() + excused_invented.sum()),
        precision=_ratio(matched, claimed),
        recall=_ratio(matched, expected),
        f1=_ratio(2 * matched, claimed + expected),
        start_mae_s=float(np.abs(late[:, 0]).mean()),
        start_bias_s=float(late[:, 0].mean()),
        start_worst_s=float(np.abs(late[:, 0]).max()),
        end_mae_s=float(np.abs(late[:, 1]).mean()),
        end_bias_s=float(late[:, 1].mean()),
        end_worst_s=float(np.abs(late[:, 1]).max()),
        thermal=_energy_score(heat_true[pair[0]], heat_found[pair[1]], least_kwh),
        electrical=_energy_score(power_true[pair[0]], power_found[pair[1]], least_kwh),
        cop=_energy_score(
            np.where(heat_true[pair[0]] >= least_kwh, cop_true[pair[0]], np.nan), cop_found[pair[1]], 0.0
        ),
        missed_thermal_percent=_percent(float(np.nansum(heat_true[missed])), total_heat),
        invented_thermal_percent=_percent(float(np.nansum(heat_found[invented])), total_heat),
        pairs=pairs,
    )


def score_periods(
    true: pl.DataFrame, found: pl.DataFrame, column: str, *, key: str = "period", least_kwh: float = 0.1
) -> EnergyScore:
    """Errors of an energy column per day, month or year; rows are joined on `key`, periods of one side are left out."""
    both = true.select(key, pl.col(column).alias("_true")).join(
        found.select(key, pl.col(column).alias("_found")), on=key, how="inner"
    )
    return _energy_score(_column(both, "_true"), _column(both, "_found"), least_kwh)


@dataclass(frozen=True)
class ErrorBudget:
    """What the sensors and the polling of a source allow, for one session.

    A counter of resolution r read at both ends errs by a triangular distribution on (-r, r), σ = r/√6. A power P
    sampled every dt at a random phase adds P·dt/√12 per edge, P·dt/√6 per session. A flag's edge placed in the
    middle between two samples errs evenly within ± dt/2.
    """

    interval_s: float
    thermal_step_kwh: float = 0.0
    """Resolution of the heat counter; 0 = heat is integrated from flow rate and spread."""
    electrical_step_kwh: float = 0.0
    peak_thermal_kw: float = 9.0
    peak_electrical_kw: float = 3.0

    def thermal_sigma_kwh(self, power_kw: float | None = None) -> float:
        """Standard deviation of a session's heat whose edges have this power (default: the peak)."""
        return self._sigma(self.thermal_step_kwh, self.peak_thermal_kw if power_kw is None else power_kw)

    def electrical_sigma_kwh(self, power_kw: float | None = None) -> float:
        """The same for electricity."""
        return self._sigma(self.electrical_step_kwh, self.peak_electrical_kw if power_kw is None else power_kw)

    @property
    def thermal_bound_kwh(self) -> float:
        """No session's heat may be further off."""
        return self.thermal_step_kwh + 2 * self.peak_thermal_kw * self.interval_s / 3600

    @property
    def electrical_bound_kwh(self) -> float:
        """No session's electricity may be further off."""
        return self.electrical_step_kwh + 2 * self.peak_electrical_kw * self.interval_s / 3600

    @property
    def edge_bound_s(self) -> float:
        """No edge of a state may be further off, if it is placed in the middle between two samples."""
        return self.interval_s / 2

    @property
    def edge_mae_s(self) -> float:
        """Expected mean error of such an edge."""
        return self.interval_s / 4

    def recall(self, durations_s: FloatArray) -> float:
        """Share of events of these durations that a sample falls into, if only their state is sampled."""
        return float(np.minimum(1.0, np.asarray(durations_s) / self.interval_s).mean())

    def _sigma(self, step_kwh: float, power_kw: float) -> float:
        return math.sqrt(step_kwh**2 / 6 + (power_kw * self.interval_s / 3600) ** 2 / 6)


BUDGETS: Final[dict[str, ErrorBudget]] = {
    "luxtronik": ErrorBudget(30, thermal_step_kwh=0.1, electrical_step_kwh=1e-5),
    "isg": ErrorBudget(60, thermal_step_kwh=1.0, electrical_step_kwh=1e-5),
    "espaltherma": ErrorBudget(30),
    "viessmann": ErrorBudget(300, electrical_step_kwh=1e-5),
}
"""Budget of each source of the demo street at its usual polling."""


@dataclass(frozen=True)
class Goals:
    """What a pipeline with right sensors must reach; percentages are 95th percentiles of absolute errors."""

    collar: timedelta
    event_f1: float
    edge_mae_s: float
    edge_bias_s: float
    defrost_recall: float
    defrost_precision: float
    heating_heat_percent: float
    dhw_heat_percent: float
    day_heat_percent: float
    month_heat_percent: float
    day_electricity_percent: float
    heating_cop_percent: float
    dhw_cop_percent: float


ESPALTHERMA_GOALS: Final = Goals(
    collar=timedelta(seconds=60),
    event_f1=0.995,
    edge_mae_s=20.0,
    edge_bias_s=5.0,
    defrost_recall=0.99,
    defrost_precision=0.99,
    heating_heat_percent=1.0,
    dhw_heat_percent=2.0,
    day_heat_percent=0.5,
    month_heat_percent=0.1,
    day_electricity_percent=0.05,
    heating_cop_percent=2.0,
    dhw_cop_percent=3.0,
)
"""Goals for 30 to 60 s sampling with state flags, heat from flow rate and spread."""

LUXTRONIK_GOALS: Final = Goals(
    collar=timedelta(seconds=60),
    event_f1=0.995,
    edge_mae_s=10.0,
    edge_bias_s=3.0,
    defrost_recall=0.99,
    defrost_precision=0.99,
    heating_heat_percent=math.inf,
    dhw_heat_percent=math.inf,
    day_heat_percent=1.0,
    month_heat_percent=0.1,
    day_electricity_percent=0.05,
    heating_cop_percent=2.5,
    dhw_cop_percent=4.0,
)
"""Goals for 30 s with state flags and counters; the heat of a session has its budget (`ErrorBudget`) instead."""

ISG_GOALS: Final = Goals(
    collar=timedelta(seconds=60),
    event_f1=0.995,
    edge_mae_s=20.0,
    edge_bias_s=5.0,
    defrost_recall=0.99,
    defrost_precision=0.99,
    heating_heat_percent=math.inf,
    dhw_heat_percent=math.inf,
    day_heat_percent=10.0,
    month_heat_percent=0.2,
    day_electricity_percent=0.05,
    heating_cop_percent=math.inf,
    dhw_cop_percent=25.0,
)
"""Goals for 60 s with state flags and counters of whole kWh."""

VIESSMANN_GOALS: Final = Goals(
    collar=timedelta(minutes=5),
    event_f1=0.99,
    edge_mae_s=90.0,
    edge_bias_s=20.0,
    defrost_recall=0.70,
    defrost_precision=0.95,
    heating_heat_percent=12.0,
    dhw_heat_percent=35.0,
    day_heat_percent=1.0,
    month_heat_percent=0.3,
    day_electricity_percent=0.05,
    heating_cop_percent=math.inf,
    dhw_cop_percent=math.inf,
)
"""Goals for a cloud that is asked every 5 min, with a meter of the electricity that is asked more often."""


@dataclass(frozen=True)
class SolarGoals:
    """What the energies of a tank's day may be off by; where none of its sources has a heat meter."""

    solar_percent: float
    poor_percent: float
    """The same on days with less than `SUNNY_KWH`, on which the pump runs for minutes at a time."""
    immersion_kwh: float
    pellet_kwh: float
    draw_percent: float


SUNNY_KWH: Final = 5.0
SOLAR_GOALS: Final[dict[float, SolarGoals]] = {
    60.0: SolarGoals(8.0, 8.0, 0.1, 1.0, 8.0),
    300.0: SolarGoals(24.0, 37.0, 1.2, 1.2, 26.0),
}
"""By the time between two readings, s: what 95 of 100 days were within (`docs/decisions/0012-solar-hours.md`). The
stove is furthest off when the tank is full, and its heat goes to the water for minutes at a time."""
SOLAR_ENERGIES: Final = ("solar_kwh", "immersion_kwh", "pellet_kwh", "draw_kwh")
_LEAST_SOLAR_KWH: Final = 1.0


def score_solar(true: pl.DataFrame, found: pl.DataFrame, goals: SolarGoals) -> pl.DataFrame:
    """Errors of a tank's energies, a row for each of `SOLAR_ENERGIES`.

    Args:
        true, found: periods (hours or days) by their `start`, with the energies; those of one side are left out.
        goals: of a day.

    Returns:
        energy, periods, found, true (kWh, sums), p95_kwh, worst_kwh, most (the worst as a share of what it may be off
        by on its day: 1 is just met), beyond (periods in which it is off by more).
    """
    both = found.select("start", *SOLAR_ENERGIES).join(true, on="start", suffix="_true")
    rows = []
    for energy in SOLAR_ENERGIES:
        of, told = _column(both, f"{energy}_true"), _column(both, energy)
        off = np.abs(told - of)
        may = {
            "solar_kwh": np.where(of >= SUNNY_KWH, goals.solar_percent, goals.poor_percent)
            / 100
            * np.maximum(of, _LEAST_SOLAR_KWH),
            "immersion_kwh": np.full(len(of), goals.immersion_kwh),
            "pellet_kwh": np.full(len(of), goals.pellet_kwh),
            "draw_kwh": goals.draw_percent / 100 * of,
        }[energy]
        rows.append(
            {
                "energy": energy,
                "periods": len(of),
                "found": float(told.sum()),
                "true": float(of.sum()),
                "p95_kwh": float(np.percentile(off, 95)) if len(of) else math.nan,
                "worst_kwh": float(off.max()) if len(of) else math.nan,
                "most": float((off / np.maximum(may, 1e-9)).max()) if len(of) else math.nan,
                "beyond": int((off > may).sum()),
            }
        )
    return pl.DataFrame(rows)


def at_pace(goals: Goals, interval_s: float) -> Goals:
    """Goals for a pace that is coarser than those that they were made for: what sampling allows there.

    An edge in the middle between two samples errs by dt/4 on average; the goals of the known paces leave a third more
    (dt/3), and a bias of dt/10. What sessions and days may be off by is an energy then (`ErrorBudget`), not a share of
    them: those shares, and the recall of defrosts, are infinite and 0 here. Sums of months do not depend on the pace.
    """
    return replace(
        goals,
        collar=max(goals.collar, timedelta(seconds=interval_s)),
        edge_mae_s=interval_s / 3,
        edge_bias_s=interval_s / 10,
        defrost_recall=0.0,
        heating_heat_percent=math.inf,
        dhw_heat_percent=math.inf,
        day_heat_percent=math.inf,
        heating_cop_percent=math.inf,
        dhw_cop_percent=math.inf,
    )


def _edges_us(events: pl.DataFrame) -> list[tuple[int, int]]:
    ordered = events.sort("start").select(
        pl.col("start").dt.epoch("us").alias("start"), pl.col("end").dt.epoch("us").alias("end")
    )
    return [(start, end) for start, end in ordered.iter_rows()]


def _column(frame: pl.DataFrame, name: str) -> FloatArray:
    """A column as floats, unknown = NaN; all NaN if the frame does not have it."""
    if name not in frame.columns:
        return np.full(frame.height, math.nan)
    return np.asarray(frame[name].cast(pl.Float64).to_numpy(), dtype=np.float64)


def _in_gaps(
    events: pl.DataFrame,
    rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    gaps: pl.DataFrame | None,
    collar: timedelta,
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which of the rows have an edge within the collar of a gap."""
    excused = np.zeros(len(rows), dtype=np.bool_)
    if gaps is None or gaps.is_empty() or not len(rows):
        return excused
    reach = collar.total_seconds() * 1e6
    edges = np.array(_edges_us(events))[rows]
    for start, end in _edges_us(gaps):
        excused |= ((edges >= start - reach) & (edges <= end + reach)).any(axis=1)
    return excused


def _shorter(
    events: pl.DataFrame, rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]], shortest: timedelta
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which of the rows last less than `shortest`."""
    edges = np.array(_edges_us(events), dtype=np.int64).reshape(-1, 2)[rows]
    return np.asarray(edges[:, 1] - edges[:, 0] < shortest.total_seconds() * 1e6)


def _energy_score(true: FloatArray, found: FloatArray, least_kwh: float) -> EnergyScore:
    known = np.isfinite(true) & np.isfinite(found)
    true, found = true[known], found[known]
    counted = np.abs(true) >= max(least_kwh, 1e-12)
    if not counted.any():
        return EnergyScore(0, *([math.nan] * 6))
    percent = 100 * np.abs(found[counted] / true[counted] - 1)
    error = found - true
    p50, p95 = np.percentile(percent, [50, 95])
    return EnergyScore(
        pairs=int(counted.sum()),
        p50_percent=float(p50),
        p95_percent=float(p95),
        worst_percent=float(percent.max()),
        bias_percent=_percent(float(error.sum()), float(true.sum())),
        rms_kwh=float(np.sqrt((error**2).mean())),
        worst_kwh=float(np.abs(error).max()),
    )


def _ratio(part: int, whole: int) -> float:
    """Part of the whole; 1 where nothing was due and nothing came."""
    return part / whole if whole else 1.0


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else math.nan
