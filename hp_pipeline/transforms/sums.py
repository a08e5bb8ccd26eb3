"""Sums in which unknown is not 0."""

from __future__ import annotations

import polars as pl


def known_sum(amount: pl.Expr) -> pl.Expr:
    """The sum of what is known, under the same name; null where nothing is."""
    return pl.when(amount.count() > 0).then(amount.sum())
