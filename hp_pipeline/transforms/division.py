"""Division that gives the same bits for one row and for many."""

from __future__ import annotations

import polars as pl


def divided(amount: pl.Expr, by: float) -> pl.Expr:
    """`amount / by`, correctly rounded.

    Polars multiplies a column by the reciprocal of a constant but divides a single row by it, so that the last digit
    would depend on how many rows are done at once. Column by column it always divides.
    """
    return amount / (amount * 0 + by)
