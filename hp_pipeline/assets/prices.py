"""The tariffs of a house with the prices that its files tell."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import time
from pathlib import Path

import polars as pl

from hp_pipeline.settings import Settings
from hp_pipeline.settings.tariffs import PriceFiles
from hp_pipeline.settings.tariffs import Tariff as TariffSettings
from hp_pipeline.transforms.costs import PRICES, Tariff

log = logging.getLogger(__name__)

_OFFSET = r"(Z|[+-]\d{2}:?\d{2})$"


class PriceFileError(ValueError):
    """A file of prices that cannot be understood; the message names it, the line and what to do."""


def tariffs_of(settings: Settings, *, charges_alone: bool = False) -> tuple[Tariff, ...]:
    """All tariffs.

    A file of prices that cannot be read is logged and left out: what it tells is unknown, and nothing else. With
    `charges_alone` no file is read: the standing charges are all that is wanted.
    """
    return tuple(_tariff(settings, tariff, charges_alone) for tariff in settings.tariffs)


def _tariff(settings: Settings, tariff: TariffSettings, charges_alone: bool) -> Tariff:
    files = () if charges_alone else settings.price_files(tariff)
    return Tariff(
        valid_from=tariff.valid_from,
        by_quarter=tuple(_by_quarter(tariff)) if tariff.prices is None else None,
        dated=None if tariff.prices is None else _dated(files, tariff.prices),
        standing_charge_per_day=tariff.standing_charge_per_day,
        co2_g_per_kwh=tariff.co2_g_per_kwh,
    )


def _by_quarter(tariff: TariffSettings) -> Iterator[float]:
    """The price of each quarter of an hour of the local clock: the mean over its minutes."""
    for quarter in range(96):
        minutes = range(15 * quarter, 15 * quarter + 15)
        prices = [price for m in minutes if (price := tariff.price_at(time(m // 60, m % 60))) is not None]
        yield prices[0] if len(set(prices)) == 1 else sum(prices) / len(prices)


def _dated(files: tuple[Path, ...], layout: PriceFiles) -> pl.DataFrame:
    parts = []
    for path in files:
        try:
            parts.append(read_prices(path, layout))
        except PriceFileError as error:
            log.error("%s; the prices of this file are unknown until then", error)
    if not parts:
        return pl.DataFrame(schema=PRICES)
    # Where files tell the same time twice, the later name counts: a corrected file is added, not edited.
    prices = pl.concat(parts).unique("start", keep="last", maintain_order=True).sort("start")
    return prices.with_columns(end=pl.min_horizontal("end", pl.col("start").shift(-1).fill_null(pl.col("end"))))


def read_prices(path: Path, layout: PriceFiles) -> pl.DataFrame:
    """The prices of a CSV file: `start`, `end` (UTC), `price` (currency per kWh), `co2` (g per kWh).

    A price holds until the next one, at most for the step of the prices around it: a missing hour has none, and a file
    may go from hours to quarters of an hour.

    Raises:
        PriceFileError: it cannot be read, lacks a column, or a cell is no time with an offset or no number.
    """
    wanted = [layout.start, layout.price, *([layout.co2] if layout.co2 else [])]
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PriceFileError(f"{path} cannot be read ({reason}); expected is a CSV file with a header") from error
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        found = ", ".join(table.columns)
        raise PriceFileError(f"{path} has no column {missing[0]!r}; it has {found}. Name the right one under `prices`")
    start = pl.col(layout.start).str.strip_chars()
    moment = pl.when(start.str.contains(_OFFSET)).then(start)
    rows = table.with_row_index("line", offset=2).select(
        "line",
        text=start,
        start=moment.str.replace("Z$", "+00:00").str.to_datetime(time_unit="us", time_zone="UTC", strict=False),
        price=pl.col(layout.price).str.strip_chars().cast(pl.Float64, strict=False),
        co2=pl.col(layout.co2).str.strip_chars().cast(pl.Float64, strict=False) if layout.co2 else None,
    )
    untimed = rows.filter(pl.col("start").is_null())
    if untimed.height:
        line, text = untimed.row(0)[:2]
        raise PriceFileError(f"{path}, line {line}: {text!r} is no time with an offset, such as 2026-01-31T13:00+01:00")
    unpriced = rows.filter(pl.col("price").is_null() | pl.col("price").is_nan())
    if unpriced.height:
        raise PriceFileError(f"{path}, line {unpriced['line'][0]}: the price is no number, such as 0.31")
    ordered = rows.unique("start", keep="last").sort("start")
    return ordered.select(
        "start",
        (pl.col("start") + _held()).cast(PRICES["end"]).alias("end"),
        price=pl.col("price") * layout.factor + layout.surcharge_per_kwh,
        co2=pl.col("co2").cast(pl.Float64),
    )


_NEAR = 3
"""The step around a price is told by so many prices on each side."""


def _held() -> pl.Expr:
    """How long each of the prices, sorted by `start`, holds.

    The shortest of the distances near a price on one side is the step there: longer ones are holes. Where the step
    changes it is another on each side, and the longer one holds up to the next price. One distance alone, at the end
    of a file, is no step.
    """
    to_next = pl.col("start").shift(-1) - pl.col("start")
    before = pl.min_horizontal(to_next.shift(count) for count in range(1, _NEAR + 1))
    nearest = pl.min_horizontal(to_next.shift(-count) for count in range(_NEAR))
    behind = pl.when(to_next.shift(-1).is_not_null()).then(nearest)
    return pl.coalesce(pl.min_horizontal(to_next, pl.max_horizontal(before, behind)), before, pl.duration(hours=1))
