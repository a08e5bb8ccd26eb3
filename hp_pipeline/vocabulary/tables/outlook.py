"""A period beside an earlier one, and what the running year and heating season will come to."""

from __future__ import annotations

from hp_pipeline.vocabulary.tables.table import INTERVAL, TIME, Column, Table

COMPARED = (
    Column("observed_s", "DOUBLE", "s", "Time in which something was read"),
    Column(
        "electrical_days",
        "DOUBLE",
        "d",
        "Days for which the electricity is known, parts of days as parts, and what a counter counted over a silence",
    ),
    Column("thermal_days", "DOUBLE", "d", "The same of the heat"),
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
"""What is compared; of the earlier period the same columns stand with `_before` behind."""

BEFORE = {"year before": "the year before", "period before": "the period before"}
"""What a period is compared with."""


def _before(column: Column) -> Column:
    return Column(f"{column.name}_before", column.type, column.unit, f"{column.description}: of the earlier period")


def _estimate(name: str, what: str) -> tuple[Column, ...]:
    return (
        Column(f"{name}_estimate_kwh", "DOUBLE", "kWh", f"{what} from `known_since` to the end, estimated"),
        Column(f"{name}_estimate_low_kwh", "DOUBLE", "kWh", "The same: lower bound (80 %)"),
        Column(f"{name}_estimate_high_kwh", "DOUBLE", "kWh", "The same: upper bound (80 %)"),
    )


def outlook_tables() -> tuple[Table, ...]:
    """`comparisons` by month, `outlook` as one file."""
    return (
        Table(
            "comparisons",
            "Each month, and year and heating season up to its end (or to the newest day), beside the same days of the "
            "year before; the month also beside the one before; each ISO week that begins in it beside the week before "
            "and that of 52 weeks before",
            (
                *INTERVAL,
                Column("kind", "VARCHAR", None, "week, month, season (heating season) or year; the last two to date"),
                Column("against", "VARCHAR", None, "What it is compared with: year before, or period before"),
                Column("period", "VARCHAR", None, "The period, such as 2026-W13, 2026-03, 2025/26, 2026"),
                Column("start_before", TIME, None, "Begin of what it is compared with (UTC)"),
                Column("end_before", TIME, None, "Its end (UTC), exclusive"),
                Column(
                    "electrical_energy_change", "DOUBLE", None, "Electricity of a day more (+) or less (-), as a share"
                ),
                Column("thermal_energy_change", "DOUBLE", None, "Heat of a day more (+) or less (-), as a share"),
                Column("cop_change", "DOUBLE", None, "COP more (+) or less (-)"),
                Column("comparison_reason", "VARCHAR", None, "Why something is not compared"),
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
                Column("kind", "VARCHAR", None, "season (heating season) or year"),
                Column("period", "VARCHAR", None, "The season or year, such as 2025/26, 2026"),
                Column(
                    "known_since",
                    TIME,
                    None,
                    "Begin of the period, or of the day with the first reading where that lies in it (UTC): so far and "
                    "the estimates are from then on",
                ),
                Column("known_until", TIME, None, "End of the newest day with figures (UTC)"),
                Column("days_known", "BIGINT", None, "Days for which both energies are known"),
                Column("electrical_days", "DOUBLE", "d", "Days for which the electricity is known"),
                Column("thermal_days", "DOUBLE", "d", "Days for which the heat is known"),
                Column("days_left", "BIGINT", None, "Days after the newest one with figures"),
                Column("electrical_energy_kwh", "DOUBLE", "kWh", "Electricity so far"),
                Column("thermal_energy_kwh", "DOUBLE", "kWh", "Heat so far"),
                Column("cop", "DOUBLE", None, "JAZ so far"),
                Column("cop_reason", "VARCHAR", None, "Why there is no JAZ so far"),
                *_estimate("electrical_energy", "Electricity"),
                *_estimate("thermal_energy", "Heat"),
                Column(
                    "electrical_energy_cooling_estimate_kwh", "DOUBLE", "kWh", "Of that electricity what is for cooling"
                ),
                Column("cop_estimate", "DOUBLE", None, "JAZ from `known_since` to the end, estimated"),
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
                Column("cost", "DOUBLE", "currency", "Electricity of the heat pump so far, at its prices"),
                Column("cost_estimate", "DOUBLE", "currency", "The same to the end, at what a kWh cost so far"),
                Column("standing_charge", "DOUBLE", "currency", "Standing charge so far"),
                Column("standing_charge_estimate", "DOUBLE", "currency", "The same to the end"),
                Column("co2_kg", "DOUBLE", "kg", "CO2 so far"),
                Column("co2_estimate_kg", "DOUBLE", "kg", "The same to the end, estimated"),
                Column("method", "VARCHAR", None, "How heating is spread over the months: own months, or degree days"),
                Column("estimate_reason", "VARCHAR", None, "Why there is no estimate"),
            ),
            "none",
        ),
    )
