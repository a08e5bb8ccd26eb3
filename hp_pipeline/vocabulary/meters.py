"""How far a meter may be from the truth, by its class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ELECTRICAL_MPE: Final[Mapping[str, float]] = {"A": 0.02, "B": 0.01, "C": 0.005, "device": 0.10, "calculated": 0.20}
"""Maximum permissible error by class (MID Annex V: active energy at the reference conditions): A 2 %, B 1 %, C 0.5 %.
A machine's own word is within 10 % as a rule; what is reckoned from modulation is within 20 %."""


@dataclass(frozen=True)
class MeterError:
    """The maximum permissible error of a meter as a share of what it counts.

    Attributes:
        share: what holds at any load.
        flow_share: times nominal flow ÷ flow.
        spread_share: times least spread ÷ spread of flow and return temperature.
        nominal_flow_l_per_h, least_spread_k: of the meter's plate.
    """

    share: float
    flow_share: float = 0.0
    spread_share: float = 0.0
    nominal_flow_l_per_h: float = 1.0
    least_spread_k: float = 1.0

    @property
    def at_plate(self) -> float:
        """At the flow and the spread on the plate."""
        return self.share + self.flow_share + self.spread_share


def heat_meter(accuracy: str, nominal_flow_l_per_h: float = 1500.0, least_spread_k: float = 3.0) -> MeterError:
    """The error of a heat meter by its class (EN 1434-1, MID Annex VI): flow sensor + temperature pair + calculator.

    Class 2: (2 + 0.02 qp/q) + (0.5 + 3 dmin/d) + (0.5 + dmin/d) %; class 1 has 1 + 0.01 qp/q, class 3 3 + 0.05 qp/q
    for the flow. A machine's own heat (`device`) is within 15 %, reckoned heat (`calculated`) within 20 %.
    """
    if accuracy in {"device", "calculated"}:
        return MeterError(0.15 if accuracy == "device" else 0.20)
    share, by_flow = {"1": (0.01, 0.0001), "2": (0.02, 0.0002), "3": (0.03, 0.0005)}[accuracy]
    return MeterError(share + 0.01, by_flow, 0.04, nominal_flow_l_per_h, least_spread_k)


def electricity_meter(accuracy: str) -> MeterError:
    """The error of an electricity meter by its class: A, B, C (MID), device or calculated."""
    return MeterError(ELECTRICAL_MPE[accuracy])


DEVICE_ELECTRICITY: Final = electricity_meter("device")
DEVICE_HEAT: Final = heat_meter("device")
