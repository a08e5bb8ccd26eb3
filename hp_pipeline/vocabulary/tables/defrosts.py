"""What defrosts cost, by the outdoor temperature."""

from __future__ import annotations

from hp_pipeline.vocabulary.tables.table import INTERVAL, PERIOD, Column, Table


def defrost_tables() -> tuple[Table, ...]:
    """By month and by heating season of the house's calendar."""
    columns = (
        *INTERVAL,
        *PERIOD,
        Column("outdoor_from", "DOUBLE", "°C", "Hours whose mean outdoor temperature is at least this; null: unknown"),
        Column("outdoor_to", "DOUBLE", "°C", "… and below this"),
        Column("defrosts", "BIGINT", None, "Defrosts that began"),
        Column("defrosts_per_hour", "DOUBLE", "1/h", "Defrosts ÷ hours the compressor ran"),
        Column("defrost_share", "DOUBLE", None, "Time spent defrosting ÷ time the compressor ran"),
        Column("heat_taken_net_kwh", "DOUBLE", "kWh", "Heat that defrosts took from the water, net (positive)"),
        Column("heat_from_tank_kwh", "DOUBLE", "kWh", "Of it from the hot water tank"),
        Column("electrical_energy_defrost_kwh", "DOUBLE", "kWh", "Electricity while defrosting"),
        Column("recovery_mean_s", "DOUBLE", "s", "Mean time from the end of a defrost until the flow was as warm"),
        Column("recovered", "BIGINT", None, "Defrosts of which that time is known"),
        Column("recovery_sum_s", "DOUBLE", "s", "Sum of their times"),
        Column("cop", "DOUBLE", None, "Heat ÷ electricity without cooling, defrosts included"),
        Column("cop_without_defrost", "DOUBLE", None, "The same, the time spent defrosting left out"),
        Column("cop_cost", "DOUBLE", None, "What defrosts cost: `cop_without_defrost` minus `cop`"),
        Column("cop_reason", "VARCHAR", None, "Why there is no `cop`"),
        Column("electrical_energy_kwh", "DOUBLE", "kWh", "Electricity of the heat pump without cooling"),
        Column("thermal_energy_kwh", "DOUBLE", "kWh", "Heat given to the water, net"),
        Column("compressor_s", "DOUBLE", "s", "Time the compressor ran"),
        Column("defrost_s", "DOUBLE", "s", "Time spent defrosting"),
        Column("observed_s", "DOUBLE", "s", "Time covered by frames: something was read"),
        Column("electrical_s", "DOUBLE", "s", "Time for which the electrical power is known"),
        Column("thermal_s", "DOUBLE", "s", "Time for which the thermal power is known"),
        Column("flow_temperature_mean", "DOUBLE", "°C", "Flow temperature, time-weighted mean"),
        Column("flow_temperature_s", "DOUBLE", "s", "Time for which it is known"),
        Column(
            "source_temperature_mean",
            "DOUBLE",
            "°C",
            "Temperature of what the machine draws from, else of the outdoor air, time-weighted mean",
        ),
        Column("source_temperature_s", "DOUBLE", "s", "Time for which it is known"),
    )
    return (
        Table("defrost_monthly", "Defrosts per month, by the outdoor temperature of their hour", columns, "periods"),
        Table(
            "defrost_seasonal",
            "Defrosts per heating season (July to June, or as `heating_season_starts` says), by the outdoor "
            "temperature of their hour",
            columns,
            "periods",
        ),
    )
