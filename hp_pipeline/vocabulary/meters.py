"""How far a meter may be from the truth, by its class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ELECTRICAL_MPE: Final[Mapping[str, float]] = {"A": 0.035, "B": 0.02, "C": 0.01, "device": 0.10, "calculated": 0.20}
"""Maximum permissible error by class under rated operating conditions at 5 to 30 °C (directive 2014/32/EU, Annex V,
table 2), from the least current on: A 3.5 %, B 2 %, C 1 % (0.7 % from the transitional current on). The 2, 1 and 0.5 %
by which the classes are known hold at reference conditions and at higher loads only (EN 50470-3). A machine's own word
is within 10 % as a rule; what is reckoned from modulation is within 20 %."""

FLOW_MPE_CAP: Final = 0.05
"""A flow sensor of any class is not off by more (EN 1434-1, MID Annex VI)."""


@dataclass(frozen=True)
class MeterError:
    """The maximum permissible error of a meter as a share of what it counts.

    Attributes:
        share: what holds at any load.
        flow_base, flow_share: of the flow sensor: this, and this times nominal flow ÷ flow, up to `FLOW_MPE_CAP`.
        spread_share: times least spread ÷ spread of flow and return temperature.
        nominal_flow_l_per_h, least_spread_k: of the meter's plate.
    """

    share: float
    flow_base: float = 0.0
    flow_share: float = 0.0
    spread_share: float = 0.0
    nominal_flow_l_per_h: float = 1.0
    least_spread_k: float = 1.0

    @property
    def at_plate(self) -> float:
        """At the flow and the spread on the plate."""
        return self.share + min(self.flow_base + self.flow_share, FLOW_MPE_CAP) + self.spread_share


def heat_meter(accuracy: str, nominal_flow_l_per_h: float = 1500.0, least_spread_k: float = 3.0) -> MeterError:
    """The error of a heat meter by its class (EN 1434-1, MID Annex VI): flow sensor + temperature pair + calculator.

    Class 2: (2 + 0.02 qp/q) + (0.5 + 3 dmin/d) + (0.5 + dmin/d) %; class 1 has 1 + 0.01 qp/q, class 3 3 + 0.05 qp/q
    for the flow, each at most 5 %. A machine's own heat (`device`) is within 15 %, reckoned heat (`calculated`) within
    20 %.
    """
    if accuracy in {"device", "calculated"}:
        return MeterError(0.15 if accuracy == "device" else 0.20)
    flow_base, by_flow = {"1": (0.01, 0.0001), "2": (0.02, 0.0002), "3": (0.03, 0.0005)}[accuracy]
    return MeterError(0.01, flow_base, by_flow, 0.04, nominal_flow_l_per_h, least_spread_k)


def electricity_meter(accuracy: str) -> MeterError:
    """The error of an electricity meter by its class: A, B, C (MID), device or calculated."""
    return MeterError(ELECTRICAL_MPE[accuracy])


DEVICE_ELECTRICITY: Final = electricity_meter("device")
DEVICE_HEAT: Final = heat_meter("device")
