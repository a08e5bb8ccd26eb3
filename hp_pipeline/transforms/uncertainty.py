"""How far a figure may be from the truth: a band per figure, from the meter, its steps, the sampling and the coverage.

Bands hold the truth in 95 of 100 cases. Parts that have nothing to do with each other are added as squares:

- the meter: its maximum permissible error, within which every true value is as likely (standard deviation MPE / √3);
- quantisation: an energy that is the difference of two readings of a counter with steps of r has r / √6;
- sampling: an edge seen with a delay of up to dt has P · dt / √12, P being the power while running;
- coverage: energy of the time in which nothing is known is not in the figure; the band's upper end has it, at the mean
  power of the time known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

LEVEL: Final = 1.96
"""Standard deviations within which 95 % of a normal distribution lie."""

_RECTANGULAR: Final = 3**0.5

Accuracy = Literal["A", "B", "C", "1", "2", "3", "device", "calculated"]

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

    def at(self, flow: pl.Expr, spread: pl.Expr) -> pl.Expr:
        """The error at a volume flow (l/h) and a spread (K); as at the plate's values where one is unknown."""
        by_flow = self.nominal_flow_l_per_h / pl.max_horizontal(flow.fill_null(self.nominal_flow_l_per_h), pl.lit(1.0))
        by_spread = self.least_spread_k / pl.max_horizontal(
            spread.abs().fill_null(self.least_spread_k), pl.lit(self.least_spread_k / 10)
        )
        return self.share + self.flow_share * by_flow + self.spread_share * by_spread


def heat_meter(accuracy: Accuracy, nominal_flow_l_per_h: float = 1500.0, least_spread_k: float = 3.0) -> MeterError:
    """The error of a heat meter by its class (EN 1434-1, MID Annex VI): flow sensor + temperature pair + calculator.

    Class 2: (2 + 0.02 qp/q) + (0.5 + 3 dmin/d) + (0.5 + dmin/d) %; class 1 has 1 + 0.01 qp/q, class 3 3 + 0.05 qp/q
    for the flow. A machine's own heat is within 15 %, reckoned heat within 20 %.
    """
    if accuracy in {"device", "calculated"}:
        return MeterError(0.15 if accuracy == "device" else 0.20)
    share, by_flow = {"1": (0.01, 0.0001), "2": (0.02, 0.0002), "3": (0.03, 0.0005)}[accuracy]
    return MeterError(share + 0.01, by_flow, 0.04, nominal_flow_l_per_h, least_spread_k)


def electricity_meter(accuracy: Accuracy) -> MeterError:
    """The error of an electricity meter by its class."""
    return MeterError(ELECTRICAL_MPE[accuracy])


@dataclass(frozen=True)
class Error:
    """What the band of an energy is made of, as expressions over rows of figures (kWh).

    Attributes:
        energy: the figure.
        meter: the maximum permissible error.
        quantum: the step of the counter that the energy is counted with; 0 for an integral of power.
        sampling: the standard deviation due to sampling.
        lacking: energy that the time without readings may have had.
    """

    energy: pl.Expr
    meter: pl.Expr
    quantum: pl.Expr
    sampling: pl.Expr
    lacking: pl.Expr

    @property
    def deviation(self) -> pl.Expr:
        """The standard deviation, kWh, of what is known."""
        parts = (self.meter / _RECTANGULAR, self.quantum / 6**0.5, self.sampling)
        return pl.sum_horizontal(part.fill_null(0) ** 2 for part in parts).sqrt()

    @property
    def low(self) -> pl.Expr:
        """The lower end of the band, kWh."""
        return self.energy - LEVEL * self.deviation

    @property
    def high(self) -> pl.Expr:
        """The upper end of the band, kWh."""
        return self.energy + LEVEL * self.deviation + self.lacking.fill_null(0)


def ratio_band(heat: Error, electricity: Error) -> tuple[pl.Expr, pl.Expr]:
    """The band of heat ÷ electricity. The time without readings widens it by what the ratio may have been otherwise in
    it: half as much again or less, for its share of the electricity."""
    ratio = heat.energy / electricity.energy
    relative = ((heat.deviation / heat.energy) ** 2 + (electricity.deviation / electricity.energy) ** 2).sqrt()
    missing = pl.max_horizontal(heat.lacking / heat.energy, electricity.lacking / electricity.energy).fill_null(0)
    reach = LEVEL * relative + missing / 2 / (1 + missing)
    return ratio * (1 - reach).clip(0), ratio * (1 + reach)
