"""A period beside the same one of the year before, and what the running year and heating season will come to."""

from __future__ import annotations

from hp_pipeline.vocabulary.tables.table import INTERVAL, TIME, Column, Table

COMPARED = (
    Column("observed_s", "DOUBLE", "s", "Time in which something was read"),
    Column("electrical_energy_kwh", "DOUBLE", "kWh", "Electricity of the heat pump"),
    Column("thermal_energy_kwh", "DOUBLE", "kWh", "Heat given to the water, net of defrosts, cooling left out"),
    Column("thermal_energy_heating_kwh", "DOUBLE", "kWh", "Heat in mode heating"),
    Column("thermal_energy_dhw_kwh", "DOUBLE", "kWh", "Heat in mode dhw"),
    Column("cop", "DOUBLE", None, "Heat ÷ electricity, standby and defrosts included: the JAZ so far"),
    Column("cop_heating", "DOUBLE", None, "Heat ÷ electricity in mode heating"),
    Column("cop_dhw", "DOUBLE", None, "Heat ÷ electricity in mode dhw"),
    Column("outdoor_temperature_mean", "DOUBLE", "°C", "Outdoor temperature, time-weighted mean"),
    Column("flow_temperature_mean", "DOUBLE", "°C", "Flow temperature, time-weighted mean"),
    Column("compressor_starts", "BIGINT", None, "Starts of the compressor"),
)
"""What is compared; of the year before the same columns stand with `_before` behind."""

KINDS = ("month", "season", "year")

_KIND = Column("kind", "VARCHAR", None, "month, season (heating season, July to June) or year; the last two to date")


def _before(column: Column) -> Column:
    return Column(f"{column.name}_before", column.type, column.unit, f"{column.description}: a year before")


def _estimate(name: str, what: str) -> tuple[Column, ...]:
    return (
        Column(f"{name}_estimate_kwh", "DOUBLE", "kWh", f"{what} of the whole period, estimated"),
        Column(f"{name}_estimate_low_kwh", "DOUBLE", "kWh", f"{what} of the whole period: lower bound (80 %)"),
        Column(f"{name}_estimate_high_kwh", "DOUBLE", "kWh", f"{what} of the whole period: upper bound (80 %)"),
    )


def outlook_tables() -> tuple[Table, ...]:
    """`comparisons` by month, `outlook` as one file."""
    return (
        Table(
            "comparisons",
            "Each month, and year and heating season up to its end (or to the newest day), beside the same days of the "
            "year before",
            (
                *INTERVAL,
                _KIND,
                Column("period", "VARCHAR", None, "The month, season or year, such as 2026-03, 2025/26, 2026"),
                Column("start_before", TIME, None, "Begin of the same days of the year before (UTC)"),
                Column("end_before", TIME, None, "Their end (UTC), exclusive"),
                Column("electrical_energy_change", "DOUBLE", None, "Electricity more (+) or less (-), as a share"),
                Column("thermal_energy_change", "DOUBLE", None, "Heat more (+) or less (-), as a share"),
                Column("cop_change", "DOUBLE", None, "COP more (+) or less (-)"),
                Column("comparison_reason", "VARCHAR", None, "Why nothing is compared"),
                *COMPARED,
                *(_before(column) for column in COMPARED),
            ),
            "periods",
        ),
        Table(
            "outlook",
            "What the running year and the running heating season come to: so far, and estimated to their end",
            (
                *INTERVAL,
                _KIND,
                Column("period", "VARCHAR", None, "The season or year, such as 2025/26, 2026"),
                Column("known_until", TIME, None, "End of the newest day with figures (UTC)"),
                Column("days_known", "BIGINT", None, "Days with figures"),
                Column("days_left", "BIGINT", None, "Days after the newest one with figures"),
                Column("electrical_energy_kwh", "DOUBLE", "kWh", "Electricity so far"),
                Column("thermal_energy_kwh", "DOUBLE", "kWh", "Heat so far"),
                Column("cop", "DOUBLE", None, "JAZ so far"),
                Column("cop_reason", "VARCHAR", None, "Why there is no JAZ so far"),
                *_estimate("electrical_energy", "Electricity"),
                *_estimate("thermal_energy", "Heat"),
                Column("cop_estimate", "DOUBLE", None, "JAZ of the whole period, estimated"),
                Column(
                    "electrical_energy_plain_kwh",
                    "DOUBLE",
                    "kWh",
                    "So far plus mean of a day × days that lack or are left",
                ),
                Column(
                    "thermal_energy_plain_kwh",
                    "DOUBLE",
                    "kWh",
                    "So far plus mean of a day × days that lack or are left",
                ),
                Column("method", "VARCHAR", None, "How heating is spread over the months: own months, or degree days"),
                Column("estimate_reason", "VARCHAR", None, "Why there is no estimate"),
            ),
            "none",
        ),
    )
