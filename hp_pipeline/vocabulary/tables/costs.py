"""What the electricity costs, in money and in CO2."""

from __future__ import annotations

from functools import cache

from hp_pipeline.vocabulary.tables.table import INTERVAL, PERIOD, Column, Table

PRICED_USES = ("", "heating", "dhw", "cooling", "standby", "immersion")
"""What electricity is for; the first is all that the heat pump's meter includes, which may be the immersion heater."""

_USES = {
    "": "in all modes",
    "heating": "in mode heating",
    "dhw": "in mode dhw (domestic hot water)",
    "cooling": "in mode cooling",
    "standby": "in mode standby",
    "immersion": "of the immersion heater",
}


def _named(*words: str) -> str:
    return "_".join(word for word in words if word)


@cache
def quarter_energy_columns() -> tuple[Column, ...]:
    """The energies of a quarter of an hour."""
    electrical = (
        Column(_named("electrical_energy", use, "kwh"), "DOUBLE", "kWh", f"Electricity {when}")
        for use, when in _USES.items()
    )
    thermal = (
        Column(_named("thermal_energy", use, "kwh"), "DOUBLE", "kWh", f"Heat given to the water {_USES[use]}, net")
        for use in ("", "heating", "dhw")
    )
    return (*electrical, *thermal)


@cache
def cost_sum_columns() -> tuple[Column, ...]:
    """The columns of costs that are sums, so that rows can be added."""
    costs = (
        Column(_named("cost", use), "DOUBLE", "currency", f"Electricity {when} at the price of its quarter of an hour")
        for use, when in _USES.items()
    )
    co2 = (
        Column(
            _named("co2", use, "kg"),
            "DOUBLE",
            "kg",
            f"CO2 of the electricity {when} at the intensity of its quarter of an hour",
        )
        for use, when in _USES.items()
    )
    return (
        *costs,
        Column(
            "standing_charge",
            "DOUBLE",
            "currency",
            "The heat pump's part of the house's standing charge for the days of the row, whatever was read of them",
        ),
        Column("standing_charge_s", "DOUBLE", "s", "Length of the days that `standing_charge` is for"),
        *co2,
        Column("priced_kwh", "DOUBLE", "kWh", "Electricity of the heat pump for which a price is known"),
        Column("co2_known_kwh", "DOUBLE", "kWh", "Electricity of the heat pump for which a CO2 intensity is known"),
        *quarter_energy_columns(),
        Column("electrical_s", "DOUBLE", "s", "Time for which the electricity is known"),
        Column("thermal_s", "DOUBLE", "s", "Time for which the heat is known"),
    )


COST_RATIOS = (
    Column("electrical_coverage", "DOUBLE", None, "Share of the time for which the electricity is known, 0…1"),
    Column("thermal_coverage", "DOUBLE", None, "Share of the time for which the heat is known, 0…1"),
    Column(
        "cost_with_immersion",
        "DOUBLE",
        "currency",
        "Electricity of the heat pump and the immersion heater, each kWh once",
    ),
    Column("co2_with_immersion_kg", "DOUBLE", "kg", "CO2 of the electricity of both, each kWh once"),
    Column("price_per_kwh", "DOUBLE", "currency/kWh", "Price paid: `cost` ÷ `priced_kwh`"),
    Column(
        "cost_per_kwh_heat", "DOUBLE", "currency/kWh", "`cost` without cooling ÷ heat, standby and defrosts included"
    ),
    Column("cost_per_kwh_heating", "DOUBLE", "currency/kWh", "`cost_heating` ÷ heat in mode heating"),
    Column("cost_per_kwh_dhw", "DOUBLE", "currency/kWh", "`cost_dhw` ÷ heat in mode dhw"),
    Column(
        "cost_per_kwh_heat_with_standing_charge",
        "DOUBLE",
        "currency/kWh",
        "As `cost_per_kwh_heat`, with the standing charge of the time for which the heat is known",
    ),
    Column("co2_g_per_kwh_heat", "DOUBLE", "g/kWh", "CO2 ÷ heat; cooling is in neither"),
    Column("co2_g_per_kwh_heating", "DOUBLE", "g/kWh", "`co2_heating_kg` ÷ heat in mode heating"),
    Column("co2_g_per_kwh_dhw", "DOUBLE", "g/kWh", "`co2_dhw_kg` ÷ heat in mode dhw"),
    Column("cost_reason", "VARCHAR", None, "Why there is no `cost_per_kwh_heat`"),
)


def cost_tables() -> tuple[Table, ...]:
    """`quarter_hourly`, which prices are put on, and costs from the day to all time."""
    columns = (*INTERVAL, *PERIOD, *COST_RATIOS, *cost_sum_columns())
    return (
        Table(
            "quarter_hourly",
            "Energies per quarter of an hour: the finest resolution of prices. By UTC day",
            (
                *INTERVAL,
                *quarter_energy_columns(),
                Column("electrical_s", "DOUBLE", "s", "Time for which the electricity is known"),
                Column("thermal_s", "DOUBLE", "s", "Time for which the heat is known"),
            ),
        ),
        Table(
            "costs_daily",
            "Cost and CO2 per day of the house's calendar, by dated tariffs; a day without readings has its standing "
            "charge alone",
            columns,
        ),
        Table("costs_weekly", "Cost and CO2 per ISO week of the house's calendar", columns, "periods"),
        Table("costs_monthly", "Cost and CO2 per month of the house's calendar", columns, "periods"),
        Table(
            "costs_seasonal",
            "Cost and CO2 per heating season (July to June, or as `heating_season_starts` says)",
            columns,
            "periods",
        ),
        Table("costs_yearly", "Cost and CO2 per year of the house's calendar", columns, "periods"),
        Table("costs_all_time", "Cost and CO2 over all that is stored", columns, "none"),
    )
