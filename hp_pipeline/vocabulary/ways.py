"""The ways to an energy of electricity or heat, the best first, and how far each may be from the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hp_pipeline.vocabulary.meters import DEVICE_ELECTRICITY, DEVICE_HEAT, MeterError, heat_meter

METER_COUNTER: Final = "meter counter"
METER_POWER: Final = "meter power"
DEVICE_COUNTER: Final = "device counter"
DEVICE_POWER: Final = "device power"
FLOW: Final = "flow rate × spread"
MODULATION: Final = "modulation × rated power"
ASSUMED_FLOW: Final = "assumed flow rate × spread"


@dataclass(frozen=True)
class Way:
    """One way to an energy.

    Attributes:
        word: how it is called in `electrical_method`, `thermal_method` and everywhere else.
        meaning: what it is.
        electrical, thermal: its permissible error where the settings do not say a meter's; None: it tells none.
    """

    word: str
    meaning: str
    electrical: MeterError | None
    thermal: MeterError | None

    def tells(self, kind: str) -> bool:
        """Whether it is a way to this kind of energy, `electrical` or `thermal`."""
        return self._error(kind) is not None

    def error(self, kind: str) -> MeterError:
        """Its permissible error for a kind of energy that it tells. Raises `LookupError` for another."""
        found = self._error(kind)
        if found is None:
            raise LookupError(f"{self.word} tells no {kind} energy")
        return found

    def _error(self, kind: str) -> MeterError | None:
        return self.electrical if kind == "electrical" else self.thermal


WAYS: Final = (
    Way(METER_COUNTER, "counter of a meter of its own", DEVICE_ELECTRICITY, DEVICE_HEAT),
    Way(METER_POWER, "power that a meter of its own tells, times time", DEVICE_ELECTRICITY, DEVICE_HEAT),
    Way(DEVICE_COUNTER, "the machine's own counter", DEVICE_ELECTRICITY, DEVICE_HEAT),
    Way(DEVICE_POWER, "power that the machine tells itself, times time", DEVICE_ELECTRICITY, DEVICE_HEAT),
    Way(FLOW, "flow rate × density × specific heat × (flow − return)", None, heat_meter("calculated")),
    Way(MODULATION, "compressor modulation × rated thermal power while it runs", None, MeterError(0.60)),
    Way(ASSUMED_FLOW, "assumed flow rate × density × specific heat × (flow − return)", None, MeterError(0.30)),
)
"""In the order in which they are chosen for each moment: the first that is known. A meter's integral of power is better
than what a machine reckons of itself. Heat that is calculated without a flow rate (the last two) is made only where a
heat pump has no better way at all: over a year of the reference simulation, modulation × rated power was 36 % too high,
and 54 % on one day in twenty."""

BITS: Final[Mapping[str, int]] = {way.word: 1 << rank for rank, way in enumerate(WAYS)}
"""Each way as a bit: the ways of a sum are the bits of its parts, put together in any order."""

_BETWEEN: Final = ", "


def words_of(bits: int) -> str:
    """The ways of a set of bits, the best first, separated by commas."""
    return _BETWEEN.join(word for word, bit in BITS.items() if bits & bit)


_COUNTS: Final = BITS[METER_COUNTER] | BITS[DEVICE_COUNTER]

WORDS: Final = tuple(words_of(bits) or None for bits in range(1 << len(WAYS)))
"""By set of bits the list of its words; None of none."""

COUNTED: Final = tuple(words for bits, words in enumerate(WORDS) if words and not bits & ~_COUNTS)
"""The lists of nothing but counters."""
