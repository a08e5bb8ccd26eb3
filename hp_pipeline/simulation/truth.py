"""The truth about a run: what a pipeline that sees only the sensors should find.

The words are those of the tables: a session is a stretch of one operation (a defrost belongs to the session that it
interrupts, pump overrun to the session before it), a cycle is a stretch of one state (on, off, defrost) inside a
session, energies are in kWh, ends are exclusive, times are UTC and exact to the step.

Net heat counts the heat that defrosts take as negative; gross heat leaves it out (a counter that ignores it reads
1.2 … 1.5 % more in a year). The compressor's heat is the gross one without the backup heater's.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hp_pipeline.simulation.house import BoolArray, Operation, Trajectory
from hp_pipeline.simulation.weather import FloatArray, IntArray

MODES: Final = ("standby", "heating", "dhw")
"""Name of each `Operation`."""
STATES: Final = ("off", "on", "defrost")
ENERGIES: Final = (
    "thermal_energy_kwh",
    "thermal_energy_gross_kwh",
    "thermal_energy_compressor_kwh",
    "electrical_energy_kwh",
    "compressor_energy_kwh",
    "auxiliary_energy_kwh",
    "backup_heater_energy_kwh",
    "immersion_energy_kwh",
)
"""Energy columns of events and periods. Electrical = compressor + auxiliary + backup heater; immersion is apart."""
Period = Literal["all", "year", "month", "day"]


def _datetimes(unix_s: IntArray) -> pl.Series:
    return pl.Series(unix_s * 1_000_000).cast(pl.Datetime("us", "UTC"))


def _powers_kw(run: Trajectory) -> dict[str, FloatArray]:
    """The power behind each of `ENERGIES`, per step."""
    return {
        "thermal_energy_kwh": run.heat_kw,
        "thermal_energy_gross_kwh": np.clip(run.heat_kw, 0.0, None),
        "thermal_energy_compressor_kwh": compressor_heat_kw(run),
        "electrical_energy_kwh": run.electrical_kw,
        "compressor_energy_kwh": run.compressor_kw,
        "auxiliary_energy_kwh": run.auxiliary_kw,
        "backup_heater_energy_kwh": run.backup_kw,
        "immersion_energy_kwh": run.immersion_kw,
    }


def compressor_heat_kw(run: Trajectory) -> FloatArray:
    """Gross heat without the backup heater's, per step: what a counter of the compressor's heat alone counts."""
    heat_kw: FloatArray = np.clip(run.heat_kw - run.backup_kw, 0.0, None)
    return heat_kw


def _begins(flag: BoolArray) -> BoolArray:
    """Steps in which the flag comes on; a flag that is on from the start does not begin."""
    edges = np.zeros(len(flag), dtype=np.bool_)
    edges[1:] = flag[1:] & ~flag[:-1]
    return edges


def cycle_states(run: Trajectory) -> NDArray[np.int8]:
    """Index into `STATES` per step: defrost while the flag is on, else on while the compressor turns, else off."""
    return np.where(run.defrost, 2, (run.compressor_hz > 0).astype(np.int8)).astype(np.int8)


def truth_states(run: Trajectory) -> pl.DataFrame:
    """One row per step: `time` (its begin, UTC), mode, state, flags, temperatures (°C), powers (kW), flow rate.

    Columns: time, mode, state, valve_dhw, defrost, thermostat, legionella, freeze_protection, backup_step,
    compressor_hz, frost, flow_temperature, return_temperature, flow_rate_l_per_min, outdoor_temperature,
    room_temperature, room_setpoint, flow_setpoint, dhw_upper, dhw_lower, heat_kw, electrical_kw, compressor_kw,
    auxiliary_kw, backup_kw, immersion_kw.
    """
    return pl.DataFrame(
        {
            "time": _datetimes(run.unix_s),
            "mode": pl.Series(np.array(MODES)[run.operation]),
            "state": pl.Series(np.array(STATES)[cycle_states(run)]),
            "valve_dhw": run.valve_dhw,
            "defrost": run.defrost,
            "thermostat": run.thermostat,
            "legionella": run.legionella,
            "freeze_protection": run.freeze_protection,
            "backup_step": run.backup_step,
            "compressor_hz": run.compressor_hz,
            "frost": run.frost,
            "flow_temperature": run.flow_temperature_c,
            "return_temperature": run.return_temperature_c,
            "flow_rate_l_per_min": run.flow_rate_l_per_min,
            "outdoor_temperature": run.outdoor_temperature_c,
            "room_temperature": run.room_temperature_c,
            "room_setpoint": run.room_setpoint_c,
            "flow_setpoint": run.flow_setpoint_c,
            "dhw_upper": run.dhw_upper_c,
            "dhw_lower": run.dhw_lower_c,
            "heat_kw": run.heat_kw,
            "electrical_kw": run.electrical_kw,
            "compressor_kw": run.compressor_kw,
            "auxiliary_kw": run.auxiliary_kw,
            "backup_kw": run.backup_kw,
            "immersion_kw": run.immersion_kw,
        }
    )


class _Integrals:
    """Running sums over a run, so that any number of events costs one subtraction each."""

    def __init__(self, run: Trajectory) -> None:
        self.run = run
        self.energy = {name: self._sum(power) for name, power in _powers_kw(run).items()}
        took = np.where(run.defrost, np.clip(run.heat_kw, None, 0.0), 0.0)
        self.taken = self._sum(-took)
        self.taken_from_tank = self._sum(np.where(run.valve_dhw, -took, 0.0))
        self.starts = np.concatenate(((0,), np.cumsum(_begins(run.compressor_hz > 0))))
        self.defrosts = np.concatenate(((0,), np.cumsum(_begins(run.defrost))))
        self.temperatures = {
            "flow_temperature": run.flow_temperature_c,
            "return_temperature": run.return_temperature_c,
            "outdoor_temperature": run.outdoor_temperature_c,
        }
        self.temperature_sums = {
            name: np.concatenate(((0.0,), np.cumsum(series))) for name, series in self.temperatures.items()
        }

    def _sum(self, power_kw: FloatArray) -> FloatArray:
        return np.concatenate(((0.0,), np.cumsum(power_kw))) * (self.run.step_s / 3600)

    def events(self, kind: str, first: IntArray, stop: IntArray, state: IntArray | None = None) -> pl.DataFrame:
        """The rows of `truth_events` for the stretches of steps [first, stop)."""
        run, step_s = self.run, self.run.step_s
        columns: dict[str, object] = {
            "kind": pl.Series([kind] * len(first), dtype=pl.String),
            "mode": pl.Series(np.array(MODES)[run.operation[first]], dtype=pl.String),
            "state": pl.Series(np.array(STATES)[state], dtype=pl.String)
            if state is not None
            else pl.Series([None] * len(first), dtype=pl.String),
            "start": _datetimes(run.start_s + first * step_s),
            "end": _datetimes(run.start_s + stop * step_s),
            "complete": (first > 0) & (stop < run.steps),
        }
        columns |= {name: sums[stop] - sums[first] for name, sums in self.energy.items()}
        columns["defrost_heat_taken_kwh"] = self.taken[stop] - self.taken[first]
        columns["defrost_heat_from_tank_kwh"] = self.taken_from_tank[stop] - self.taken_from_tank[first]
        columns["compressor_starts"] = self.starts[stop] - self.starts[first]
        columns["defrosts"] = self.defrosts[stop] - self.defrosts[first]
        bounds = np.stack((first, stop), axis=1).ravel()
        for name, series in self.temperatures.items():
            sums = self.temperature_sums[name]
            padded = np.concatenate((series, series[-1:]))
            columns[f"{name}_min"] = (
                np.minimum.reduceat(padded, bounds)[::2] if len(first) else np.empty(0, dtype=np.float64)
            )
            columns[f"{name}_mean"] = (sums[stop] - sums[first]) / np.maximum(stop - first, 1)
            columns[f"{name}_max"] = (
                np.maximum.reduceat(padded, bounds)[::2] if len(first) else np.empty(0, dtype=np.float64)
            )
        return pl.DataFrame(columns)


def _stretches(flag: BoolArray) -> tuple[IntArray, IntArray]:
    """First step and step after the last of every stretch in which the flag holds."""
    edges = np.diff(np.concatenate(((0,), flag.astype(np.int8), (0,))))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _islands(code: IntArray) -> tuple[IntArray, IntArray]:
    """First step and step after the last of every stretch of one value."""
    changes = np.flatnonzero(np.diff(code)) + 1
    return np.concatenate(((0,), changes)), np.concatenate((changes, (len(code),)))


def truth_events(run: Trajectory) -> pl.DataFrame:
    """Everything that happened, one row per event, sorted by kind and start.

    `kind` is one of: heating_session, dhw_session, standby_session (together they tile the run), cycle (stretch of
    one `state` inside a session; they tile the run too), compressor_run (from start to stop, a defrost's pause ends
    it), defrost (the controller's flag), legionella, backup, immersion. `mode` is the session's that it begins in.
    `complete` is false where an event touches the edge of the run. Then `ENERGIES`, defrost_heat_taken_kwh,
    defrost_heat_from_tank_kwh (both positive), compressor_starts and defrosts that begin inside, and min / mean /
    max of flow, return and outdoor temperature.
    """
    integrals = _Integrals(run)
    operation = run.operation.astype(np.int64)
    first, stop = _islands(operation)
    frames = []
    for mode in Operation:
        own = operation[first] == mode
        frames.append(integrals.events(f"{MODES[mode]}_session", first[own], stop[own]))
    states = cycle_states(run).astype(np.int64)
    first, stop = _islands(operation * len(STATES) + states)
    frames.append(integrals.events("cycle", first, stop, states[first]))
    for kind, flag in (
        ("compressor_run", run.compressor_hz > 0),
        ("defrost", run.defrost),
        ("legionella", run.legionella),
        ("backup", run.backup_step > 0),
        ("immersion", run.immersion_kw > run.parameters.hot_water.immersion_idle_kw),
    ):
        frames.append(integrals.events(kind, *_stretches(flag)))
    return pl.concat(frames).sort("kind", "start")


def truth_energy(run: Trajectory, period: Period = "day", time_zone: str | None = None) -> pl.DataFrame:
    """Energies per local calendar day, month or year, or of the whole run, one row per period that the run touches.

    Columns: period (Date, its first local day; null for "all"), start, end (UTC, of the whole period), hours (of
    the run inside it), complete (the run covers it), `ENERGIES`, electrical and thermal energy per purpose
    (`electrical_energy_heating_kwh`, `_dhw`, `_standby`, and `thermal_…`; a defrost counts for the purpose that it
    interrupts), electrical_energy_defrost_kwh and defrost_heat_taken_kwh (both inside the purposes), `cop`
    (net heat / electrical energy), compressor_starts, defrosts, heating_sessions, dhw_sessions that begin inside.

    `time_zone` defaults to the house's. Days of a change of clock have their 23 or 25 hours.
    """
    zone = time_zone or run.parameters.time_zone
    hours = run.step_s / 3600
    columns: dict[str, object] = {"time": _datetimes(run.unix_s)}
    columns |= {name: power * hours for name, power in _powers_kw(run).items()}
    for mode in Operation:
        own = run.operation == mode
        columns[f"electrical_energy_{MODES[mode]}_kwh"] = np.where(own, run.electrical_kw, 0.0) * hours
        columns[f"thermal_energy_{MODES[mode]}_kwh"] = np.where(own, run.heat_kw, 0.0) * hours
    columns["electrical_energy_defrost_kwh"] = np.where(run.defrost, run.electrical_kw, 0.0) * hours
    columns["defrost_heat_taken_kwh"] = np.where(run.defrost, -np.clip(run.heat_kw, None, 0.0), 0.0) * hours
    columns["compressor_starts"] = _begins(run.compressor_hz > 0).astype(np.int64)
    columns["defrosts"] = _begins(run.defrost).astype(np.int64)
    columns["heating_sessions"] = _begins(run.operation == Operation.HEATING).astype(np.int64)
    columns["dhw_sessions"] = _begins(run.operation == Operation.DHW).astype(np.int64)
    summed = [name for name in columns if name != "time"]

    local = pl.col("time").dt.convert_time_zone(zone).dt.date()
    first_day = {
        "day": local,
        "month": local.dt.month_start(),
        "year": pl.date(local.dt.year(), 1, 1),
        "all": pl.lit(None, dtype=pl.Date),
    }[period]
    table = (
        pl.DataFrame(columns)
        .group_by(first_day.alias("period"))
        .agg(
            pl.col("time").min().alias("first"),
            (pl.col("time").max() + timedelta(seconds=run.step_s)).alias("last"),
            (pl.len() * hours).alias("hours"),
            *(pl.col(name).sum() for name in summed),
        )
        .sort("period")
    )
    if period == "all":
        bounds = table.with_columns(pl.col("first").alias("start"), pl.col("last").alias("end"))
    else:
        step = {"day": "1d", "month": "1mo", "year": "1y"}[period]

        def midnight(day: pl.Expr) -> pl.Expr:
            return day.cast(pl.Datetime("us")).dt.replace_time_zone(zone).dt.convert_time_zone("UTC")

        bounds = table.with_columns(
            midnight(pl.col("period")).alias("start"), midnight(pl.col("period").dt.offset_by(step)).alias("end")
        )
    return bounds.select(
        "period",
        "start",
        "end",
        "hours",
        ((pl.col("first") <= pl.col("start")) & (pl.col("last") >= pl.col("end"))).alias("complete"),
        *summed,
        (pl.col("thermal_energy_kwh") / pl.col("electrical_energy_kwh")).alias("cop"),
    )


def run_bounds(run: Trajectory) -> tuple[datetime, datetime]:
    """Begin and end (exclusive) of a run in UTC."""
    start = datetime.fromtimestamp(run.start_s, UTC)
    return start, start + timedelta(seconds=run.steps * run.step_s)
