"""What the devices of a simulated house would say at a moment, and the clock they go by.

A `House` looks a moment up in a simulated run: levels as they hold in that step, counters integrated exactly up to
the moment. A `Clock` gives the virtual time; history and live are one trajectory, read at different times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hp_pipeline.simulation.house import BoolArray, Operation, Trajectory
from hp_pipeline.simulation.truth import MODES, compressor_heat_kw
from hp_pipeline.simulation.weather import FloatArray, IntArray

WATT_PER_KW: Final = 1000.0
SECONDS_PER_HOUR: Final = 3600.0


class State(Mapping[str, "float | str | bool"]):
    """What holds in the house at one moment, by name; numbers in the units of the canonical signals.

    The names are those of the canonical signals where there is one (°C, W, kWh, l/h, Hz, h), and besides:
    `time` (unix s), `compressor_power`, `auxiliary_power` (W), `dhw_lower_temperature`, `outdoor_temperature_24h`
    (mean of the day before), `heat_pump_hours_total`, `heating_hours_total`, `dhw_hours_total`,
    `backup_heater_hours_total` (h), `backup_heater_energy_dhw_total` (kWh, its part for hot water),
    `outdoor_degree_hours_total` (°C times h), `compressor_heat_heating_total`, `compressor_heat_dhw_total` (kWh, heat
    without that of the backup heater), `thermal_energy_net_total` (kWh, falls while a defrost takes heat, as
    the truth counts), `defrosts_total`, `last_defrost` (unix s of the end of the newest one, 0 before the first),
    `mode_since`, `compressor_since` (unix s of the newest change), `legionella`.
    """

    def __init__(self, values: Mapping[str, float | str | bool]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> float | str | bool:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def number(self, name: str) -> float:
        """The number of this name; a flag is 0 or 1. Raises TypeError for a word."""
        value = self._values[name]
        if isinstance(value, str):
            raise TypeError(f"{name} is the word {value!r}")
        return float(value)

    def flag(self, name: str) -> bool:
        """Whether it holds."""
        return bool(self.number(name))

    def word(self, name: str) -> str:
        """The word of this name. Raises TypeError for a number."""
        value = self._values[name]
        if not isinstance(value, str):
            raise TypeError(f"{name} is the number {value!r}")
        return value


class Clock:
    """Virtual time: starts at `start` and runs `speed` times as fast as the wall. Speed 0 stands until it is moved.

    Args:
        start: the virtual time now.
        speed: virtual seconds per second.
        monotonic: the clock it goes by, in seconds.
    """

    def __init__(self, start: datetime, speed: float = 1.0, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        if start.tzinfo is None:
            raise ValueError("the start of a clock has no time zone")
        self._start = start.astimezone(UTC)
        self._monotonic = monotonic
        self._began = monotonic()
        self.speed = speed

    def now(self) -> datetime:
        """The virtual time, in UTC."""
        return self._start + timedelta(seconds=(self._monotonic() - self._began) * self.speed)

    def move(self, by: timedelta) -> None:
        """Let `by` pass at once."""
        self._start += by


@dataclass(frozen=True)
class Stop:
    """The compressor stopped: when (unix s), why (no_demand, defrost, mode_change), as the how manieth of the run."""

    time: int
    reason: str
    number: int


@dataclass(frozen=True)
class Injected:
    """A fault that a server made: when (virtual time), which, and what exactly."""

    time: datetime
    fault: str
    detail: str = ""


class Faults:
    """The faults that a server is told to make, and the log of those that it made.

    Args:
        clock: the time of the log.
        known: the faults that this server can make.
    """

    def __init__(self, clock: Clock, known: Iterable[str]) -> None:
        self._clock = clock
        self._known = frozenset(str(name) for name in known)
        self._left: dict[str, tuple[int | None, float]] = {}
        self.injected: list[Injected] = []

    def inject(self, fault: str, *, times: int | None = 1, value: float = 0.0) -> None:
        """Make a fault the next `times` times that there is an occasion (None: until it is cleared).

        Raises:
            ValueError: this server cannot make it.
        """
        if str(fault) not in self._known:
            raise ValueError(f"unknown fault {fault!r}; allowed: {', '.join(sorted(self._known))}")
        self._left[str(fault)] = (times, value)

    def clear(self, fault: str | None = None) -> None:
        """Make this fault, or any, no longer."""
        for name in [str(fault)] if fault else list(self._left):
            self._left.pop(name, None)

    def value(self, fault: str) -> float | None:
        """The value of a fault that would be made now; None if it would not."""
        return self._left[str(fault)][1] if str(fault) in self._left else None

    def take(self, fault: str, detail: str = "") -> float | None:
        """The value of a fault that is to be made now, which is logged; None if it is not."""
        if str(fault) not in self._left:
            return None
        times, value = self._left[str(fault)]
        if times is not None:
            if times <= 1:
                del self._left[str(fault)]
            else:
                self._left[str(fault)] = (times - 1, value)
        self.injected.append(Injected(self._clock.now(), str(fault), detail))
        return value


class LivedIn(Protocol):
    """A house as its devices see it: what happens in it at any moment of its life, one run or several.

    Attributes:
        start: begin of its life.
    """

    @property
    def start(self) -> datetime:
        """Begin of its life."""
        ...

    def at(self, moment: datetime) -> State:
        """What holds at a moment."""
        ...

    def counter(self, name: str, moment: datetime) -> float:
        """What an energy or time counter (kWh, h) shows at a moment."""
        ...

    def stops(self, moment: datetime, count: int) -> list[Stop]:
        """The newest `count` stops of the compressor before a moment, the newest first."""
        ...

    def mean_power(self, name: str, start: datetime, stop: datetime) -> float:
        """Mean of a counter's rate in [start, stop), in W."""
        ...


@dataclass(frozen=True)
class Ending:
    """What a house shows at the end of a run, so that the next run's house goes on from there.

    Attributes:
        counters: energies (kWh), times (h) and counts, by name.
        running, defrost, operation: of the last step.
        moments: unix s since which the mode and the compressor are as they are, and of the last defrost's end.
        stops: how often the compressor has stopped.
    """

    counters: Mapping[str, float]
    running: bool
    defrost: bool
    operation: int
    moments: Mapping[str, int]
    stops: int


def _running_sum(per_step: FloatArray) -> FloatArray:
    """Sum before each step and, last, of all."""
    return np.concatenate(((0.0,), np.cumsum(per_step)))


def _newest(flag: BoolArray, unix_s: IntArray, before: int) -> IntArray:
    """For each step the begin of the newest step in which the flag holds, `before` where there was none."""
    return np.maximum.accumulate(np.where(flag, unix_s, before))


def _changed(series: IntArray | BoolArray, before: int | None) -> BoolArray:
    """Steps whose value differs from the one before, the first from what was `before` (None: from nothing)."""
    changed = np.zeros(len(series), dtype=np.bool_)
    changed[1:] = series[1:] != series[:-1]
    changed[0] = before is not None and int(series[0]) != before
    return changed


class House:
    """A simulated run, asked for one moment at a time.

    Args:
        run: what happened.
        initial: what counters (kWh, h, count) showed at the begin of the run; 0 for those that are not named.
        before: how the run before ended, when this one goes on from there; its counters are the initial ones.
    """

    def __init__(
        self, run: Trajectory, initial: Mapping[str, float] | None = None, before: Ending | None = None
    ) -> None:
        self.run = run
        self.start = datetime.fromtimestamp(run.start_s, UTC)
        self.end = self.start + timedelta(seconds=run.steps * run.step_s)
        self._initial = dict(before.counters if before else initial or {})
        turns = run.compressor_hz > 0
        heating, dhw = (run.operation == operation for operation in (Operation.HEATING, Operation.DHW))
        gross_kw = np.clip(run.heat_kw, 0.0, None)
        source_kw = run.condenser_kw - run.compressor_kw
        self._levels: dict[str, FloatArray] = {
            "flow_temperature": run.flow_temperature_c,
            "return_temperature": run.return_temperature_c,
            "delta_t": run.flow_temperature_c - run.return_temperature_c,
            "outdoor_temperature": run.outdoor_temperature_c,
            "room_temperature": run.room_temperature_c,
            "room_setpoint": run.room_setpoint_c,
            "flow_setpoint": run.flow_setpoint_c,
            "dhw_temperature": run.dhw_upper_c,
            "dhw_lower_temperature": run.dhw_lower_c,
            "dhw_setpoint": run.dhw_setpoint_c,
            "source_in_temperature": run.outdoor_temperature_c,
            "source_out_temperature": run.outdoor_temperature_c - 0.6 * np.clip(source_kw, 0.0, None),
            "hot_gas_temperature": np.where(turns, run.flow_temperature_c + 25.0, run.outdoor_temperature_c + 8.0),
            "flow_rate": run.flow_rate_l_per_min * 60,
            "compressor_frequency": run.compressor_hz,
            "electrical_power": run.electrical_kw * WATT_PER_KW,
            "compressor_power": run.compressor_kw * WATT_PER_KW,
            "auxiliary_power": run.auxiliary_kw * WATT_PER_KW,
            "backup_heater_power": run.backup_kw * WATT_PER_KW,
            "immersion_heater_power": run.immersion_kw * WATT_PER_KW,
            "thermal_power": run.heat_kw * WATT_PER_KW,
        }
        self._flags: dict[str, BoolArray] = {
            "compressor_on": turns,
            "defrost": run.defrost,
            "thermostat": run.thermostat,
            "backup_heater_step1": run.backup_step >= 1,
            "backup_heater_step2": run.backup_step >= 2,
            "freeze_protection": run.freeze_protection,
            "silent_mode": run.silent,
            "legionella": run.legionella,
        }
        hours = run.step_s / SECONDS_PER_HOUR
        per_step: dict[str, FloatArray] = {
            "electrical_energy_total": run.electrical_kw * hours,
            "electrical_energy_heating_total": np.where(dhw, 0.0, run.electrical_kw) * hours,
            "electrical_energy_dhw_total": np.where(dhw, run.electrical_kw, 0.0) * hours,
            "backup_heater_energy_total": run.backup_kw * hours,
            "backup_heater_energy_dhw_total": np.where(dhw, run.backup_kw, 0.0) * hours,
            "immersion_heater_energy_total": run.immersion_kw * hours,
            "thermal_energy_total": gross_kw * hours,
            "thermal_energy_heating_total": np.where(dhw, 0.0, gross_kw) * hours,
            "thermal_energy_dhw_total": np.where(dhw, gross_kw, 0.0) * hours,
            "compressor_heat_heating_total": np.where(dhw, 0.0, compressor_heat_kw(run)) * hours,
            "compressor_heat_dhw_total": np.where(dhw, compressor_heat_kw(run), 0.0) * hours,
            "thermal_energy_net_total": run.heat_kw * hours,
            "compressor_hours_total": np.where(turns, hours, 0.0),
            "heat_pump_hours_total": np.where(heating | dhw, hours, 0.0),
            "heating_hours_total": np.where(heating, hours, 0.0),
            "dhw_hours_total": np.where(dhw, hours, 0.0),
            "backup_heater_hours_total": np.where(run.backup_step >= 1, hours, 0.0),
            "outdoor_degree_hours_total": run.outdoor_temperature_c * hours,
        }
        self._counters = {name: _running_sum(series) for name, series in per_step.items()}
        unix_s = run.unix_s
        switched = _changed(turns, int(before.running) if before else None)
        defrosted = _changed(run.defrost, int(before.defrost) if before else None)
        modes = _changed(run.operation.astype(np.int64), before.operation if before else None)
        self._counts = {
            "compressor_starts_total": np.cumsum(switched & turns),
            "defrosts_total": np.cumsum(defrosted & run.defrost),
        }
        moments = before.moments if before else {"last_defrost": 0}
        self._moments = {
            "last_defrost": _newest(defrosted & ~run.defrost, unix_s, moments["last_defrost"]),
            "mode_since": _newest(modes, unix_s, moments.get("mode_since", run.start_s)),
            "compressor_since": _newest(switched, unix_s, moments.get("compressor_since", run.start_s)),
        }
        self._outdoor_sum = _running_sum(run.outdoor_temperature_c)
        self._stops = np.flatnonzero(switched & ~turns)
        self._stopped_before = before.stops if before else 0
        self._operation_before = before.operation if before else Operation.STANDBY

    def at(self, moment: datetime) -> State:
        """What holds at a moment.

        Raises:
            ValueError: the moment lies outside of the simulated run.
        """
        run = self.run
        step, share = self._step(moment)
        day = max(1, round(86_400 / run.step_s))
        first = max(0, step + 1 - day)
        values: dict[str, float | str | bool] = {name: float(series[step]) for name, series in self._levels.items()}
        values |= {name: bool(series[step]) for name, series in self._flags.items()}
        for name, sums in self._counters.items():
            until = sums[step] + (sums[step + 1] - sums[step]) * share
            values[name] = float(until) + self._initial.get(name, 0.0)
        for name, counts in self._counts.items():
            values[name] = float(counts[step]) + self._initial.get(name, 0.0)
        values |= {name: float(series[step]) for name, series in self._moments.items()}
        values["outdoor_temperature_24h"] = float(
            (self._outdoor_sum[step + 1] - self._outdoor_sum[first]) / (step + 1 - first)
        )
        values["operating_mode"] = MODES[run.operation[step]]
        values["three_way_valve"] = "dhw" if run.valve_dhw[step] else "space"
        values["fault"] = ""
        values["time"] = run.start_s + (step + share) * run.step_s
        return State(values)

    def stops(self, moment: datetime, count: int) -> list[Stop]:
        """The newest `count` stops of the compressor before a moment, the newest first."""
        run = self.run
        step, _ = self._step(moment)
        found = []
        until = int(np.searchsorted(self._stops, step, side="right"))
        for number in range(until - 1, max(-1, until - 1 - count), -1):
            at = int(self._stops[number])
            served = run.operation[at - 1] if at else self._operation_before
            if run.defrost[at]:
                reason = "defrost"
            elif run.operation[at] not in (served, Operation.STANDBY):
                reason = "mode_change"
            else:
                reason = "no_demand"
            found.append(Stop(run.start_s + at * run.step_s, reason, self._stopped_before + number))
        return found

    def counter(self, name: str, moment: datetime) -> float:
        """What an energy or time counter (kWh, h) shows at a moment; the end of the run is one, too.

        Raises:
            ValueError: the moment lies outside of the simulated run.
        """
        sums = self._counters[name]
        initial = self._initial.get(name, 0.0)
        if moment == self.end:
            return float(sums[-1]) + initial
        step, share = self._step(moment)
        return float(sums[step] + (sums[step + 1] - sums[step]) * share) + initial

    def mean_power(self, name: str, start: datetime, stop: datetime) -> float:
        """Mean of a counter's rate in [start, stop), in W: what a meter's record of a minute says.

        Args:
            name: an energy counter, such as `electrical_energy_total`.
            start: begin.
            stop: end; what lies after the end of the run counts for nothing.
        """
        stop = min(stop, self.end)
        seconds = (stop - start).total_seconds()
        if seconds <= 0:
            return 0.0
        return (self.counter(name, stop) - self.counter(name, start)) * SECONDS_PER_HOUR / seconds * WATT_PER_KW

    def ending(self) -> Ending:
        """What it shows at its end, for the house of the run that goes on from there."""
        run = self.run
        counters = {name: float(sums[-1]) + self._initial.get(name, 0.0) for name, sums in self._counters.items()}
        counters |= {name: float(counts[-1]) + self._initial.get(name, 0.0) for name, counts in self._counts.items()}
        return Ending(
            counters=counters,
            running=bool(run.compressor_hz[-1] > 0),
            defrost=bool(run.defrost[-1]),
            operation=int(run.operation[-1]),
            moments={name: int(series[-1]) for name, series in self._moments.items()},
            stops=self._stopped_before + len(self._stops),
        )

    def over(self, unix_s: IntArray) -> Mapping[str, NDArray[Any]]:
        """What holds at many moments (unix s), by the names of `State`, but for `outdoor_temperature_24h`.

        Raises:
            ValueError: a moment lies outside of the simulated run.
        """
        run = self.run
        if (
            len(unix_s)
            and not run.start_s <= int(unix_s.min()) <= int(unix_s.max()) < run.start_s + run.steps * run.step_s
        ):
            raise ValueError("some moments lie outside of the simulated run. Simulate the house for longer.")
        step, rest = np.divmod(unix_s - run.start_s, run.step_s)
        share = rest / run.step_s
        found: dict[str, NDArray[Any]] = {name: series[step] for name, series in self._levels.items()}
        found |= {name: series[step] for name, series in self._flags.items()}
        for name, sums in self._counters.items():
            found[name] = sums[step] + (sums[step + 1] - sums[step]) * share + self._initial.get(name, 0.0)
        for name, counts in self._counts.items():
            found[name] = counts[step] + self._initial.get(name, 0.0)
        found |= {name: series[step] for name, series in self._moments.items()}
        found["operating_mode"] = np.array(MODES)[run.operation[step]]
        found["three_way_valve"] = np.where(run.valve_dhw[step], "dhw", "space")
        found["time"] = unix_s
        return found

    def _step(self, moment: datetime) -> tuple[int, float]:
        """The step that a moment lies in, and the share of the step that has passed."""
        if not self.start <= moment < self.end:
            raise ValueError(
                f"{moment.isoformat()} lies outside of the simulated run ({self.start.isoformat()} to "
                f"{self.end.isoformat()}). Simulate the house for longer."
            )
        steps = (moment - self.start).total_seconds() / self.run.step_s
        step = min(int(steps), self.run.steps - 1)
        return step, min(steps - step, 1.0)
