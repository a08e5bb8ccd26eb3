"""How far a figure may be from the truth: a band per figure, from the meter, its steps, the sampling and the coverage.

Bands hold the truth in 95 of 100 cases. Parts that have nothing to do with each other are added as squares:

- the meter: its maximum permissible error, within which every true value is as likely (standard deviation MPE / √3);
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

from dataclasses import dataclass
from typing import Final

import polars as pl

from hp_pipeline.transforms.division import divided
from hp_pipeline.vocabulary.meters import MeterError

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
    return meter.share + meter.flow_share * by_flow + meter.spread_share * by_spread


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


def ratio_band(heat: Error, electricity: Error) -> tuple[pl.Expr, pl.Expr]:
    """The band of heat ÷ electricity. The time without readings widens it by what the ratio may have been otherwise in
    it: half as much again or less, for its share of the electricity."""
    ratio = heat.energy / electricity.energy
    relative = ((heat.deviation / heat.energy) ** 2 + (electricity.deviation / electricity.energy) ** 2).sqrt()
    missing = pl.max_horizontal(heat.lacking / heat.energy, electricity.lacking / electricity.energy).fill_null(0)
    reach = LEVEL * relative + missing / 2 / (1 + missing)
    taken = (heat.surplus / heat.energy).fill_null(0)
    return ratio * (1 - reach - taken).clip(0), ratio * (1 + reach)
