"""Days with what nobody measured filled in: an extra beside the figures, which never hold it."""

from __future__ import annotations

from hp_pipeline.vocabulary.tables.table import INTERVAL, PERIOD, Column, Table

_WHAT = {"electrical": "Electricity of the heat pump", "thermal": "Heat given to the water, net, cooling left out"}


def _of(kind: str) -> tuple[Column, ...]:
    what = _WHAT[kind]
    return (
        Column(f"{kind}_energy_filled_up_kwh", "DOUBLE", "kWh", f"{what}: what is known and what is filled in"),
        Column(f"{kind}_energy_seen_kwh", "DOUBLE", "kWh", f"{what}: as known from readings"),
        Column(f"{kind}_energy_counted_kwh", "DOUBLE", "kWh", "Filled in: what a counter counted over a silence"),
        Column(f"{kind}_energy_estimated_kwh", "DOUBLE", "kWh", "Filled in: estimated, where no counter tells it"),
        Column(f"{kind}_filled_share", "DOUBLE", None, "Share of it that is filled in, 0…1"),
        Column(
            f"{kind}_filling",
            "VARCHAR",
            None,
            "How it is known: read; counted, by temperature or by time; estimated, by temperature (of the day) or by "
            "the temperature around (of the days before and behind it)",
        ),
        Column(f"{kind}_filling_reason", "VARCHAR", None, "Why what lacks cannot be filled in"),
    )


def filled_tables() -> tuple[Table, ...]:
    """`filled_daily`, by month."""
    return (
        Table(
            "filled_daily",
            "Every day of the house's calendar from the first reading to the newest, what nobody measured filled in: "
            "scaled to the counters where they counted on, else estimated. In no other figure",
            (
                *INTERVAL,
                *PERIOD,
                *_of("electrical"),
                *_of("thermal"),
                Column(
                    "outdoor_temperature_mean",
                    "DOUBLE",
                    "°C",
                    "Mean outdoor temperature of the day; where it is not known, between those of the days around",
                ),
                Column("outdoor_temperature_read", "BOOLEAN", None, "Whether it was read on the day"),
            ),
            "periods",
        ),
    )
