"""Sums in which unknown is not 0, and the whole numbers that they are made of."""

from __future__ import annotations

from typing import Final

import polars as pl

MJ_PER_KWH: Final = 3_600_000_000
"""Energies are added as whole millijoules, so that no order and no grouping gives another sum."""


def known_sum(amount: pl.Expr) -> pl.Expr:
    """The sum of what is known, under the same name; null where nothing is."""
    return pl.when(amount.count() > 0).then(amount.sum())
