"""Standstills, and the offset between the sensors of flow and return that they tell."""

from __future__ import annotations

from hp_pipeline.vocabulary.tables.table import INTERVAL, Column, Table

OFFSET_DAYS = 30
"""From the standstills of so many days an offset is told."""


def standstill_tables() -> tuple[Table, ...]:
    """`standstills` and `sensor_offsets`, by UTC day."""
    return (
        Table(
            "standstills",
            "Stretches in which water flows though nothing has heated for 20 min, cut at midnight (UTC): what flow and "
            "return then differ by is the offset of their sensors",
            (
                *INTERVAL,
                Column("offset_k", "DOUBLE", "K", "Flow minus return temperature, time-weighted mean"),
                Column("spread_k", "DOUBLE", "K", "How far single frames are from it (standard deviation)"),
                Column("flow_rate_mean", "DOUBLE", "l/h", "Volume flow, time-weighted mean"),
            ),
        ),
        Table(
            "sensor_offsets",
            "By UTC day, how far the sensor of the flow reads above that of the return, told by the standstills of "
            f"this day and the {OFFSET_DAYS - 1} before it",
            (
                *INTERVAL,
                Column("standstills", "BIGINT", None, "Standstills of the day"),
                Column("offset_day_k", "DOUBLE", "K", "Median of the standstills of the day"),
                Column("standstills_in_all", "BIGINT", None, f"Standstills of the {OFFSET_DAYS} days"),
                Column("offset_k", "DOUBLE", "K", f"Median of the standstills of the {OFFSET_DAYS} days"),
                Column("spread_k", "DOUBLE", "K", "How far they are from it (1.48 × median absolute deviation)"),
                Column("offset_reason", "VARCHAR", None, "Why there is no offset, or why it is not taken off the heat"),
                Column(
                    "applied",
                    "BOOLEAN",
                    None,
                    "Whether it is taken off the spread from which heat is made, and heat at a standstill is 0 "
                    "(`auto_zero` of the heat pump)",
                ),
            ),
        ),
    )
