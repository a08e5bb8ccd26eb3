"""How far a figure may be from the truth: a band per figure, from the meter, its steps, the sampling and the coverage.

Bands hold the truth in 95 of 100 cases. Parts that have nothing to do with each other are added as squares:

- the meter: its maximum permissible error, within which every true value is as likely (standard deviation MPE / √3);
- meters of consumers of their own, whose energy is added or taken off: their maximum permissible errors, each in kWh;
- quantisation: an energy that is the difference of two readings of a counter with steps of r has r / √6;
- sampling: an edge that is seen up to dt late is off by P · dt / √3 in the mean square, P being the power while
  running; that the edge at the other end is late, too, makes up for it only where the power there is the same;
- edges within a silence of a counter: what of its increment lies before one, only the machine says, or nobody; the
  lesser of what lies before and behind it is off by up to the permissible error of that word, or all of it (/ √3);
- defrosts: where nothing shows what they take from the water, the lower end lacks as much as is given in that time;
- coverage: energy of the time in which nothing is known is not in the figure; the band's upper end has it, at up to
  twice the mean power of the time known, or at that of the running machine where it is less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import polars as pl

from hp_pipeline.transforms.division import divided
from hp_pipeline.vocabulary.meters import FLOW_MPE_CAP, MeterError

LEVEL: Final = 1.96
"""Standard deviations within which 95 % of a normal distribution lie."""


def permissible_error(meter: MeterError, flow: pl.Expr, spread: pl.Expr) -> pl.Expr:
    """The maximum permissible error, as a share, at a volume flow (l/h) and a spread (K).

    Where one of them is unknown, as at the value on the meter's plate."""
    if not meter.flow_share and not meter.spread_share:
        return pl.lit(meter.share)
    by_flow = meter.nominal_flow_l_per_h / pl.max_horizontal(flow.fill_null(meter.nominal_flow_l_per_h), pl.lit(1.0))
    by_spread = meter.least_spread_k / pl.max_horizontal(
        spread.abs().fill_null(meter.least_spread_k), pl.lit(meter.least_spread_k / 10)
    )
    of_flow = (meter.flow_base + meter.flow_share * by_flow).clip(upper_bound=FLOW_MPE_CAP)
    return meter.share + of_flow + meter.spread_share * by_spread


def fixed_deviation(quantum: pl.Expr, edges: pl.Expr) -> pl.Expr:
    """The standard deviation (kWh) of what is off by the same amount whatever the energy.

    Args:
        quantum: the step of the counter that it is counted with; 0 for an integral of power.
        edges: sum of the squares of what each edge may hide, (kWh)²: power while running × delay; and of what the
            machine may have put on its wrong side.
    """
    return (divided(quantum**2, 6) + divided(edges, 3)).sqrt()


@dataclass(frozen=True)
class Error:
    """What the band of an energy is made of, as expressions over rows of figures (kWh).

    Attributes:
        energy: the figure.
        meter: the maximum permissible error.
        fixed: see `fixed_deviation`.
        lacking: energy that the time without readings had if it was as the time known.
        most_lacking: so many times that it may have had.
        surplus: energy that the figure may hold too much, because nothing showed it being taken back.
    """

    energy: pl.Expr
    meter: pl.Expr
    fixed: pl.Expr
    lacking: pl.Expr
    most_lacking: pl.Expr
    surplus: pl.Expr

    @property
    def deviation(self) -> pl.Expr:
        """The standard deviation, kWh, of what is known."""
        return (divided(self.meter**2, 3) + self.fixed**2).sqrt()

    @property
    def low(self) -> pl.Expr:
        """The lower end of the band, kWh. What is not negative cannot have been."""
        low = self.energy - LEVEL * self.deviation - self.surplus.fill_null(0)
        return pl.when(self.energy >= 0).then(low.clip(0)).otherwise(low)

    @property
    def high(self) -> pl.Expr:
        """The upper end of the band, kWh."""
        return self.energy + LEVEL * self.deviation + (self.lacking * self.most_lacking).fill_null(0)


@dataclass(frozen=True)
class Apart:
    """A consumer whose own meter adds its energy to a ratio's heat or electricity, or takes it off.

    Attributes:
        meter: the maximum permissible error of that meter, kWh.
        in_heat, in_electricity: the sign with which its energy is in each: 1, -1, or 0 where it is not.
    """

    meter: pl.Expr
    in_heat: int
    in_electricity: int


def ratio_band(heat: Error, electricity: Error, apart: Iterable[Apart] = ()) -> tuple[pl.Expr, pl.Expr]:
    """The band of heat ÷ electricity. The time without readings widens it by what the ratio may have been otherwise in
    it: half as much again or less, for its share of the electricity.

    What a consumer's own meter is off by moves both sides at once, in part against each other. The errors of `heat` and
    `electricity` are those of the main meters, in kWh: what is taken off makes them no smaller."""
    ratio = heat.energy / electricity.energy
    squares = (heat.deviation / heat.energy) ** 2 + (electricity.deviation / electricity.energy) ** 2
    for part in apart:
        moved = part.in_heat / heat.energy - part.in_electricity / electricity.energy
        squares = squares + divided(part.meter**2, 3) * moved**2
    relative = squares.sqrt()
    missing = pl.max_horizontal(heat.lacking / heat.energy, electricity.lacking / electricity.energy).fill_null(0)
    reach = LEVEL * relative + missing / 2 / (1 + missing)
    taken = (heat.surplus / heat.energy).fill_null(0)
    return ratio * (1 - reach - taken).clip(0), ratio * (1 + reach)
