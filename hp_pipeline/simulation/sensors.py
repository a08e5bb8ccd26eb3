"""What the pipeline gets to see of a run: readings as ESPAltherma and Home Assistant write them into InfluxDB.

One poll every `interval_s` (with a phase of its own and jitter) reads the unit's registers; a power meter reports at
its own phase. Numbers are rounded to the register's resolution and reported only when they change, as Home
Assistant's recorder does; texts are attributes of one entity and come with every poll. Names, units and tags are
those of a recorded Daikin Altherma (25 measures).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hp_pipeline.simulation.house import BoolArray, Operation, Trajectory
from hp_pipeline.simulation.weather import FloatArray, IntArray

READINGS_SCHEMA: Final = pl.Schema(
    {"point": pl.String(), "time": pl.Datetime("us", "UTC"), "value": pl.Float64(), "text": pl.String()}
)
MAINS_VOLT: Final = 230.0


class PowerReport(StrEnum):
    """What a reading of the power meter stands for."""

    HELD = "held"
    """The mean over the time until its next report, during which it will be held: energy is conserved exactly."""
    ONE_MINUTE = "one_minute"
    """The mean of the minute before it, reported once a minute: it lags the states, as in the recordings."""


@dataclass(frozen=True)
class SensorModel:
    """How the readings come about; the defaults are right sensors with real resolutions.

    Errors are drawn once per run from normal distributions around 0 (offset) and 1 (gain) and are reported in
    `truth_sensors`.
    """

    interval_s: float = 30.0
    jitter_s: float = 0.5
    """A poll is late by up to this much."""
    drift_s: float = 0.013
    """Each poll of the unit comes so much later than the interval says, since reading takes its time. It makes the
    phase wander, so that schedules on the full minute are not always seen at the same delay."""
    temperature_step_k: float = 0.1
    flow_step_l_per_min: float = 0.1
    power_step_w: float = 1.0
    rest_noise_w: float = 0.35
    """Noise (standard deviation) of the immersion heater's meter: at rest it shows 1 to 3 W, another number every few
    minutes, as the recordings do."""
    power: PowerReport = PowerReport.HELD
    pair_offset_sd_k: float = 0.0
    """Spread of the offset between flow and return sensor (0.15 K is common)."""
    flow_gain_sd: float = 0.0
    """Spread of the flow sensor's gain (0.02 is common)."""
    power_gain_sd: float = 0.0
    counter_step_kwh: float = 0.0
    """Resolution of the counter of the meter of electricity, `COUNTER_POINT`; 0: it shows none."""
    text_repeat_s: float = 0.0
    """Unchanged texts are repeated after this long; 0 = with every poll, as ESPAltherma does."""


@dataclass(frozen=True)
class Observation:
    """Readings of a run, and what is true about the sensors."""

    readings: pl.DataFrame
    """point, time, value, text; sorted and unique by (point, time)."""
    truth_sensors: pl.DataFrame
    """One row per point: point, signal, offset, gain, step (resolution), interval_s, phase_s."""


def _escape(text: str) -> str:
    """Line protocol's escapes of commas, spaces and equals signs in tags and field names."""
    return re.sub(r"([,= ])", r"\\\1", text)


def _number_point(unit: str, entity_id: str, friendly_name: str) -> str:
    """Home Assistant's series of a numeric sensor whose friendly name is a tag."""
    return (
        f"{_escape(unit)},domain=sensor,entity_id={_escape(entity_id)},"
        f"friendly_name={_escape(friendly_name)},source=HA value"
    )


def _text_point(label: str) -> str:
    """Home Assistant's text field of an attribute of ESPAltherma's one entity."""
    return f"sensor.althermasensors,domain=sensor,entity_id=althermasensors,source=HA {_escape(label)}_str"


def _espaltherma(name: str, unit: str = "°C") -> str:
    return _number_point(unit, "espaltherma_" + name.lower().replace(" ", "_"), f"ESPAltherma - {name}")


NUMBER_POINTS: Final[dict[str, str]] = {
    "electrical_power": _number_point("W", "heat_pump_7_1min", "Heat Pump 7 1MIN"),
    "immersion_heater_power": _number_point("W", "immersion_3_1min", "Immersion 3 1MIN"),
    "flow_rate": _espaltherma("Flow Sensor", "l/min"),
    "flow_temperature": _espaltherma("Leaving Water Temperature After BUH"),
    "return_temperature": _espaltherma("Inlet Water Temperature"),
    "delta_t": _number_point("°C", "espaltherma_heat_pump_delta_t", "ESPAltherma - Heat Pump Delta T"),
    "outdoor_temperature": _espaltherma("Outdoor Air Temperature"),
    "room_temperature": _espaltherma("Indoor Temperature"),
    "dhw_temperature": _espaltherma("Hot Water Tank Temp"),
    "flow_setpoint": _espaltherma("LW Setpoint (main)"),
    "room_setpoint": _espaltherma("RT Setpoint"),
    "dhw_setpoint": _espaltherma("DHW Setpoint"),
    "delta_t_setpoint": _espaltherma("Target Delta T"),
    "inverter_primary_current": _espaltherma("INV Primary Current", "A"),
    "compressor_current": _espaltherma("INV Secondary Current", "A"),
}
"""Point of each numeric signal."""
COUNTER_NAME: Final = "Heat Pump 7 Energy"
COUNTER_POINT: Final = _number_point("kWh", "heat_pump_7_energy", COUNTER_NAME)
"""Point of the counter of the meter of electricity."""
TEXT_POINTS: Final[dict[str, str]] = {
    "operating_mode": _text_point("Operation Mode"),
    "three_way_valve": _text_point("3way valve(On:DHW_Off:Space)"),
    "thermostat": _text_point("Thermostat ON/OFF"),
    "defrost": _text_point("Defrost Operation"),
    "backup_heater_step1": _text_point("BUH Step1"),
    "backup_heater_step2": _text_point("BUH Step2"),
    "freeze_protection": _text_point("Freeze Protection"),
    "freeze_protection_piping": _text_point("Freeze Protection for water piping"),
    "low_noise": _text_point("Low noise control"),
    "silent_mode": _text_point("Silent Mode"),
}
"""Point of each text signal."""
_METERS: Final = ("electrical_power", "electrical_energy_total", "immersion_heater_power")
_COUNTED_BEFORE_KWH: Final = 4321.0
"""What the counter shows at the begin of a run."""


def _poll_times(
    run: Trajectory, interval_s: float, jitter_s: float, rng: np.random.Generator, drift_s: float = 0.0
) -> tuple[FloatArray, float]:
    """Seconds after the run's start of every poll, strictly ascending, in milliseconds; and the phase."""
    length = run.steps * run.step_s
    phase = float(np.round(rng.uniform(0.0, interval_s), 3))
    times = np.arange(phase, length, interval_s + drift_s)
    times = np.round(times + rng.uniform(0.0, jitter_s, len(times)), 3)
    return times[times < length], phase


def _energy(power_kw: FloatArray, step_s: int, until_s: FloatArray) -> FloatArray:
    """What a power that is constant per step amounts to from the begin on, in kWs."""
    edges = np.arange(len(power_kw) + 1) * float(step_s)
    energy: FloatArray = np.interp(until_s, edges, np.concatenate(((0.0,), np.cumsum(power_kw))) * step_s)
    return energy


def _mean_power(power_kw: FloatArray, step_s: int, first_s: FloatArray, last_s: FloatArray) -> FloatArray:
    """Mean over [first, last) of a power that is constant per step, in W."""
    taken = _energy(power_kw, step_s, last_s) - _energy(power_kw, step_s, first_s)
    mean: FloatArray = 1000 * taken / np.maximum(last_s - first_s, 1e-9)
    return mean


def _rounded(series: FloatArray, step: float) -> FloatArray:
    """Rounded to the register's resolution, without the dust of binary fractions and without -0."""
    rounded: FloatArray = np.round(np.round(series / step) * step, 6) + 0.0
    return rounded


def _changes(series: NDArray[np.float64] | BoolArray) -> BoolArray:
    """Where a value differs from the one before; the first always does."""
    changed = np.ones(len(series), dtype=np.bool_)
    changed[1:] = series[1:] != series[:-1]
    return changed


def _texts(run: Trajectory, at: IntArray) -> dict[str, tuple[BoolArray, str, str]]:
    """Per text signal: the flag at each poll, its word when it is set and when not."""
    off = np.zeros(len(at), dtype=np.bool_)
    flags = {
        "three_way_valve": run.valve_dhw[at],
        "thermostat": run.thermostat[at],
        "defrost": run.defrost[at],
        "backup_heater_step1": run.backup_step[at] >= 1,
        "backup_heater_step2": run.backup_step[at] >= 2,
        "freeze_protection": off,
        "freeze_protection_piping": run.freeze_protection[at],
        "low_noise": off,
        "silent_mode": run.silent[at],
    }
    texts = {name: (flag, "ON", "OFF") for name, flag in flags.items()}
    texts["operating_mode"] = (run.operation[at] != Operation.STANDBY, "Heating", "Fan Only")
    return texts


def observe(run: Trajectory, model: SensorModel | None = None, seed: int = 11) -> Observation:
    """Polls the run's sensors. Deterministic for (run, model, seed).

    The step of the run must be finer than the polling interval if edges are to be scored: otherwise samples
    coincide with them and look perfect.
    """
    model = model or SensorModel()
    rng = np.random.default_rng((seed, 303))
    hp = run.parameters.heat_pump
    poll_s, phase = _poll_times(run, model.interval_s, model.jitter_s, rng, model.drift_s)
    at = (poll_s // run.step_s).astype(np.int64)
    meter_interval = 60.0 if model.power is PowerReport.ONE_MINUTE else model.interval_s
    meter_s, meter_phase = _poll_times(run, meter_interval, model.jitter_s, rng)
    pair_offset = float(rng.normal(0.0, 1.0)) * model.pair_offset_sd_k
    flow_gain = 1.0 + float(rng.normal(0.0, 1.0)) * model.flow_gain_sd
    power_gain = 1.0 + float(rng.normal(0.0, 1.0)) * model.power_gain_sd

    # The controller shows the compressor's input, scaled to the recordings: idle electronics are not in it, and
    # the motor's current follows the pressure difference rather than the power.
    share = np.clip(run.condenser_kw[at] / hp.full_load_kw, 0.0, 1.5)
    turns = run.compressor_hz[at] > 0
    lift = np.clip(run.flow_temperature_c[at] - run.outdoor_temperature_c[at], 5.0, None)
    primary = np.where(turns, np.clip(run.compressor_kw[at] * 1000 / MAINS_VOLT, 0.5, None), 0.0)
    secondary = np.where(turns, 4.0 + 0.1 * lift + 2.5 * share, 0.0)

    offsets = {"flow_temperature": pair_offset / 2, "return_temperature": -pair_offset / 2}
    gains = {"flow_rate": flow_gain, "electrical_power": power_gain}
    steps = {
        "flow_rate": model.flow_step_l_per_min,
        "electrical_power": model.power_step_w,
        "immersion_heater_power": model.power_step_w,
    }
    if model.power is PowerReport.HELD:
        first_s, last_s = meter_s, np.append(meter_s[1:], float(run.steps * run.step_s))
    else:
        first_s, last_s = np.clip(meter_s - 60.0, 0.0, None), np.clip(meter_s, 1.0, None)
    true = {
        "flow_rate": run.flow_rate_l_per_min[at],
        "flow_temperature": run.flow_temperature_c[at],
        "return_temperature": run.return_temperature_c[at],
        "outdoor_temperature": run.outdoor_temperature_c[at],
        "room_temperature": run.room_temperature_c[at],
        "dhw_temperature": run.dhw_upper_c[at],
        "flow_setpoint": run.flow_setpoint_c[at],
        "room_setpoint": run.room_setpoint_c[at],
        "dhw_setpoint": run.dhw_setpoint_c[at],
        "delta_t_setpoint": np.full(len(at), run.parameters.hydraulics.target_spread_k or 5.0),
        "inverter_primary_current": primary,
        "compressor_current": secondary,
        "electrical_power": _mean_power(run.electrical_kw, run.step_s, first_s, last_s),
        "immersion_heater_power": _mean_power(run.immersion_kw, run.step_s, first_s, last_s),
    }
    noise = np.random.default_rng((seed, 304)).normal(0.0, model.rest_noise_w, len(meter_s))
    true["immersion_heater_power"] = np.clip(true["immersion_heater_power"] + noise, 0.0, None)
    points = NUMBER_POINTS
    if model.counter_step_kwh:
        counter = "electrical_energy_total"
        points = {**points, counter: COUNTER_POINT}
        gains[counter], steps[counter] = power_gain, model.counter_step_kwh
        true[counter] = _COUNTED_BEFORE_KWH + _energy(run.electrical_kw, run.step_s, meter_s) / 3600
    seen = {
        name: _rounded(
            series * gains.get(name, 1.0) + offsets.get(name, 0.0), steps.get(name, model.temperature_step_k)
        )
        for name, series in true.items()
    }
    seen["delta_t"] = np.round(seen["flow_temperature"] - seen["return_temperature"], 6)

    epoch_us = run.start_s * 1_000_000
    frames = []
    for name, point in points.items():
        times = meter_s if name in _METERS else poll_s
        keep = _changes(seen[name])
        frames.append(_frame(point, epoch_us, times[keep], value=seen[name][keep]))
    repeat = max(1, round(model.text_repeat_s / model.interval_s))
    heartbeat = np.arange(len(at)) % repeat == 0
    for name, (flag, word, other) in _texts(run, at).items():
        keep = heartbeat | _changes(flag)
        text = pl.Series(flag[keep]).replace_strict({True: word, False: other}, return_dtype=pl.String)
        frames.append(_frame(TEXT_POINTS[name], epoch_us, poll_s[keep], text=text))

    truth_sensors = pl.DataFrame(
        [
            {
                "point": point,
                "signal": name,
                "offset": offsets.get(name, 0.0),
                "gain": gains.get(name, 1.0),
                "step": steps.get(name, model.temperature_step_k),
                "interval_s": meter_interval if name in _METERS else model.interval_s,
                "phase_s": meter_phase if name in _METERS else phase,
            }
            for name, point in points.items()
        ]
    )
    return Observation(pl.concat(frames).sort("point", "time"), truth_sensors)


def _frame(
    point: str,
    epoch_us: int,
    times_s: FloatArray,
    *,
    value: FloatArray | None = None,
    text: pl.Series | None = None,
) -> pl.DataFrame:
    """Readings of one point."""
    time = pl.Series(epoch_us + np.round(times_s * 1e6).astype(np.int64)).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"time": time}).select(
        pl.lit(point).alias("point"),
        "time",
        (pl.lit(None, dtype=pl.Float64) if value is None else pl.Series(value)).alias("value"),
        (pl.lit(None, dtype=pl.String) if text is None else text).alias("text"),
    )
