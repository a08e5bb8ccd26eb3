"""Figures per hour, day, week, month and year of the house's calendar, and over all time."""

from __future__ import annotations

from hp_pipeline.vocabulary.tables.figures import figure_columns
from hp_pipeline.vocabulary.tables.table import INTERVAL, PERIOD, Table


def period_tables() -> tuple[Table, ...]:
    """From the shortest to the longest."""
    columns = (*INTERVAL, *PERIOD, *figure_columns())
    return (
        Table("hourly", "Figures per hour of the house's clock", columns),
        Table("daily", "Figures per day of the house's calendar (a day may have 23 or 25 hours)", columns),
        Table("weekly", "Figures per ISO week of the house's calendar", columns, "periods"),
        Table("monthly", "Figures per month of the house's calendar", columns, "periods"),
        Table(
            "seasonal",
            "Figures per heating season (July to June, or as `heating_season_starts` says)",
            columns,
            "periods",
        ),
        Table(
            "yearly",
            "Figures per year of the house's calendar; `cop` is the JAZ (seasonal performance factor)",
            columns,
            "periods",
        ),
        Table("all_time", "Figures over all that is stored", columns, "none"),
    )
