"""A house whose counters lie: what its devices show of them is altered on the way, whatever protocol they speak.

The truth of the run stays what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from hp_pipeline.simulation.devices.world import House, State
from hp_pipeline.simulation.house import Trajectory

SPIKE_KWH: Final = 777.0
"""How far off a spike is."""
NO_VALUE: Final = -1.0
"""What a counter shows where its sensor is gone, when the device has no word for it."""
FACTOR: Final = 10.0
"""Between two generations of controllers a counter's unit changed by this much."""


class CounterTrouble(StrEnum):
    """What can happen to the energy counters of a house, each seen in the field."""

    late_start = "late start"
    """They stand still until the end of the trouble, and count from there."""
    spike = "spike"
    """They show far too much."""
    sentinel = "sentinel"
    """They show a number that stands for no value."""
    reset = "counter reset"
    """They begin again at 0, and go on from there for good."""
    roll_over = "roll-over"
    """They pass their greatest number at the begin of the trouble, which nobody knows, and begin again at 0."""
    frozen = "frozen counter"
    """They stand still, and then show all that was counted meanwhile."""
    factor = "factor ×10"
    """They go on in another unit for good."""


@dataclass(frozen=True)
class Trouble:
    """One thing that happens to the counters.

    Attributes:
        kind: what.
        start, end: from when until when (UTC); a reset, a roll-over and a factor go on for good.
    """

    kind: CounterTrouble
    start: datetime
    end: datetime


BEFORE_KWH: Final[Mapping[str, float]] = {
    "electrical_energy_total": 1400.0,
    "electrical_energy_heating_total": 1000.0,
    "electrical_energy_dhw_total": 400.0,
    "thermal_energy_total": 4300.0,
    "thermal_energy_heating_total": 3200.0,
    "thermal_energy_dhw_total": 1100.0,
    "compressor_heat_heating_total": 3190.0,
    "compressor_heat_dhw_total": 1080.0,
    "backup_heater_energy_total": 30.0,
    "backup_heater_energy_dhw_total": 20.0,
}
"""What was counted before the run, in the year of its begin."""


class TroubledHouse(House):
    """A house as its devices see it, with troubles of its energy counters, one after the other.

    Some devices show a difference of two counters (what is apart from the backup heater): numbers that are wrong for a
    moment are those of the others, so that they do not cancel out.

    Args:
        run: what happened.
        troubles: in order of time.
    """

    def __init__(self, run: Trajectory, troubles: Sequence[Trouble]) -> None:
        super().__init__(run, BEFORE_KWH)
        self._troubles = tuple(troubles)
        self._lying = frozenset(BEFORE_KWH)

    def at(self, moment: datetime) -> State:
        """What the devices see at a moment."""
        state = super().at(moment)
        altered: Mapping[str, float] = {
            name: self._altered(name, state.number(name), moment) for name in self._lying if name in state
        }
        return State({**state, **altered})

    def counter(self, name: str, moment: datetime) -> float:
        """What a counter shows at a moment; the year before the run began with 0."""
        if moment <= self.start:
            return 0.0
        true = super().counter(name, moment)
        return self._altered(name, true, moment) if name in self._lying else true

    def _altered(self, name: str, shown: float, moment: datetime, before: int | None = None) -> float:
        """What is shown, after the first `before` troubles (all of them without it)."""
        for number, trouble in enumerate(self._troubles[:before]):
            begun, inside = moment >= trouble.start, trouble.start <= moment < trouble.end

            def at(then: datetime, number: int = number) -> float:
                return self._altered(name, super(TroubledHouse, self).counter(name, then), then, number)

            match trouble.kind:
                case CounterTrouble.late_start:
                    before_kwh = BEFORE_KWH[name]
                    shown = before_kwh + (shown - at(trouble.end) if moment >= trouble.end else 0.0)
                case CounterTrouble.spike if not name.startswith("backup"):
                    shown += SPIKE_KWH if inside else 0.0
                case CounterTrouble.sentinel if not name.startswith("backup"):
                    shown = NO_VALUE if inside else shown
                case CounterTrouble.reset | CounterTrouble.roll_over:
                    shown -= at(trouble.start) if begun else 0.0
                case CounterTrouble.frozen:
                    shown = at(trouble.start) if inside else shown
                case CounterTrouble.factor:
                    shown *= FACTOR if begun else 1.0
        return shown
