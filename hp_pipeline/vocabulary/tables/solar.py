"""What a tank with a solar collector, an immersion heater, a pellet stove and heat pumps gained, gave and lost."""

from __future__ import annotations

from functools import cache

from hp_pipeline.vocabulary.tables.table import PERIOD, PROVISIONAL, TIME, Column, Table

_INTERVAL = (
    Column("solar_system", "VARCHAR", None, "Solar heating, by its id in the settings"),
    Column("start", TIME, None, "Begin (UTC)"),
    Column("end", TIME, None, "End (UTC), exclusive"),
)

TANK_LAYERS = tuple(f"tank_layer_{number}_temperature" for number in range(1, 9))

DEVICE_COUNTERS = {
    "solar": "solar_energy_today",
    "immersion": "immersion_heater_energy_today",
    "pellet": "pellet_energy_today",
}
"""What heats the tank → the device's own counter of the day."""

SOLAR_ENERGY_COLUMNS = (
    Column("stored_change_kwh", "DOUBLE", "kWh", "Change of what the tank holds, over the time that is covered"),
    Column(
        "solar_kwh",
        "DOUBLE",
        "kWh",
        "Heat of the collector: as metered, else what the tank gains and nothing else "
        "gave it while the pump ran and the collector was warmer than the lowest layer",
    ),
    Column(
        "immersion_kwh",
        "DOUBLE",
        "kWh",
        "Heat of the immersion heater: its meter, else rated power × time on, over the time that is covered",
    ),
    Column(
        "pellet_kwh",
        "DOUBLE",
        "kWh",
        "Heat of the pellet stove into the water: its power (else rated power × time on) × share of the water, over "
        "the time that is covered",
    ),
    Column(
        "heat_pump_kwh",
        "DOUBLE",
        "kWh",
        "Heat of the heat pumps of the settings into the tank (mode dhw, as they tell), over the time that is covered; "
        "null where there is none, or one of them tells nothing",
    ),
    Column(
        "unexplained_kwh",
        "DOUBLE",
        "kWh",
        "What the tank gained and nothing measured gave it (such as a heat pump that is not known), "
        "and changes within the dead band, which may be negative",
    ),
    Column(
        "draw_kwh",
        "DOUBLE",
        "kWh",
        "What was taken from the tank: drawn, and lost where no loss is known. It hides "
        "what was gained at the same moment",
    ),
    Column("standby_loss_kwh", "DOUBLE", "kWh", "Loss through the insulation by the settings' W/K; 0 without it"),
    Column(
        "legacy_solar_kwh",
        "DOUBLE",
        "kWh",
        "For comparison: solar by the old split (every rise of the level, by "
        "weights), which the noise of the sensors ratchets up",
    ),
    Column("legacy_immersion_kwh", "DOUBLE", "kWh", "For comparison: immersion heater by the old split"),
    Column(
        "legacy_pellet_kwh", "DOUBLE", "kWh", "For comparison: pellet stove by the old split: all that was not else"
    ),
    Column("device_solar_kwh", "DOUBLE", "kWh", "For comparison: solar as the device reckons it; null when not told"),
    Column("device_immersion_kwh", "DOUBLE", "kWh", "For comparison: immersion heater as the device reckons it"),
    Column("device_pellet_kwh", "DOUBLE", "kWh", "For comparison: pellet stove as the device reckons it"),
    Column("idle_loss_kwh", "DOUBLE", "kWh", "What the tank lost in hours in which nothing gave or took"),
    Column(
        "immersion_electrical_kwh",
        "DOUBLE",
        "kWh",
        "Electricity of the immersion heater: its meter, else rated power × time on, over all the time for which that "
        "is known, also while a layer is not; null when it never is",
    ),
)
"""The energies; each is a sum, so rows can be added. The first eight balance to the last bit."""

SOLAR_DURATION_COLUMNS = (
    Column("covered_s", "DOUBLE", "s", "Time for which all layers are known; longer gaps are not bridged"),
    Column("heaters_s", "DOUBLE", "s", "Covered time for which each heater of the settings is known, too"),
    Column(
        "heat_pump_s",
        "DOUBLE",
        "s",
        "Covered time for which the heat pumps' heat into the tank is known, too (in any other mode than dhw it is 0); "
        "all of it where the settings name none",
    ),
    Column(
        "all_known_s",
        "DOUBLE",
        "s",
        "Covered time for which all that heats the tank is known: the heaters of the settings, and the heat pumps",
    ),
    Column(
        "immersion_known_s",
        "DOUBLE",
        "s",
        "Time for which the electricity of the immersion heater is known, also while a layer is not",
    ),
    Column(
        "pump_s", "DOUBLE", "s", "Time the solar pump ran, of all for which that is known, also while a layer is not"
    ),
    Column("immersion_s", "DOUBLE", "s", "Time the immersion heater was on, also while a layer is not known"),
    Column("pellet_s", "DOUBLE", "s", "Time the pellet stove burned, also while a layer is not known"),
    Column(
        "stagnation_s",
        "DOUBLE",
        "s",
        "Time the collector was at its stagnation temperature with the pump off, also while a layer is not known",
    ),
    Column("idle_s", "DOUBLE", "s", "Covered time in hours in which nothing gave or took"),
)

SOLAR_COUNT_COLUMNS = (
    Column(
        "pump_starts",
        "BIGINT",
        None,
        "Starts of the solar pump that were seen, in the hour up to whose end it was off, "
        "also while a layer is not known",
    ),
)

SOLAR_MEANS = {
    "tank": ("°C", "Mean temperature of the tank"),
    "tank_top": ("°C", "Temperature of the highest layer"),
    "tank_bottom": ("°C", "Temperature of the lowest layer"),
}
"""Mean temperatures over the covered time."""

SOLAR_LEVELS = {
    "stored_energy": ("kWh", "What the tank holds above cold water"),
    "usable_litres": ("l", "Hot water that could be drawn: of the layers that are warm enough, mixed down"),
}
"""Levels with first, last, min, max."""


@cache
def solar_sum_columns() -> tuple[Column, ...]:
    """What can be added."""
    return (*SOLAR_ENERGY_COLUMNS, *SOLAR_DURATION_COLUMNS, *SOLAR_COUNT_COLUMNS)


def _level_columns() -> tuple[Column, ...]:
    words = {"first": "first known", "last": "last known", "min": "least", "max": "greatest"}
    levels = [
        Column(f"{name}_{statistic}", "DOUBLE", unit, f"{about}: {word}")
        for name, (unit, about) in SOLAR_LEVELS.items()
        for statistic, word in words.items()
    ]
    means = [
        Column(f"{name}_temperature_mean", "DOUBLE", unit, f"{about}: time-weighted mean")
        for name, (unit, about) in SOLAR_MEANS.items()
    ]
    collector = Column("solar_collector_temperature_max", "DOUBLE", "°C", "Temperature of the collector: greatest")
    idle = Column(
        "idle_excess_mean", "DOUBLE", "K", "Tank above ambient: mean over the time with nothing given or taken"
    )
    return (*levels, *means, collector, idle)


_CONTENT = Column(
    "content",
    "VARCHAR",
    None,
    "Hash of the row without `provisional`: the same content has the same one, and a row that is restated another",
)

SOLAR_RATIOS = (
    Column(
        "coverage",
        "DOUBLE",
        None,
        "Share of the period for which all layers, and the heat of the heat pumps that heat the tank, are known, 0…1; "
        "below 0.9 it is partial, and nothing is scaled up",
    ),
    Column(
        "collected_kwh",
        "DOUBLE",
        "kWh",
        "Solar + immersion heater + pellet stove; null when one that the settings name is not known at all: "
        "`heaters_s` says for how much of the time all are",
    ),
    Column("stored_energy_rate_kw", "DOUBLE", "kW", "Change of what the tank holds ÷ covered time"),
    Column("stratification_k", "DOUBLE", "K", "Highest minus lowest layer, mean"),
    Column(
        "stratification_k_per_m", "DOUBLE", "K/m", "The same over the height between the sensors, where it is known"
    ),
    Column(
        "standby_loss_w_per_k",
        "DOUBLE",
        "W/K",
        "What the tank seems to lose through its insulation, from hours in "
        "which nothing gave or took; null with less than six of them",
    ),
    Column("solar_kwh_per_m2", "DOUBLE", "kWh/m²", "Solar heat ÷ area of the collector, where it is known"),
    Column("solar_difference_kwh", "DOUBLE", "kWh", "The device's own reckoning of solar heat minus `solar_kwh`"),
    Column("immersion_difference_kwh", "DOUBLE", "kWh", "The same for the immersion heater"),
    Column("pellet_difference_kwh", "DOUBLE", "kWh", "The same for the pellet stove"),
    PROVISIONAL,
    _CONTENT,
)


HOUSE_SUM_COLUMNS = (
    Column(
        "heat_pump_kwh", "DOUBLE", "kWh", "Heat of the heat pumps in mode dhw, as they tell; null when one does not"
    ),
    Column("heat_pump_heating_kwh", "DOUBLE", "kWh", "Heat of the heat pumps in mode heating, beside the tank"),
    Column("solar_kwh", "DOUBLE", "kWh", "Heat of the collector"),
    Column("immersion_kwh", "DOUBLE", "kWh", "Heat of the immersion heater in the tank"),
    Column("pellet_kwh", "DOUBLE", "kWh", "Heat of the pellet stove into the water"),
    Column("stored_change_kwh", "DOUBLE", "kWh", "Change of what the tank holds"),
    Column("draw_kwh", "DOUBLE", "kWh", "What was taken from the tank"),
    Column("standby_loss_kwh", "DOUBLE", "kWh", "What the tank lost through its insulation"),
    Column(
        "balanced_input_kwh",
        "DOUBLE",
        "kWh",
        "What came into the tank in the hours that are balanced (tank, heaters and heat pumps are known together for "
        "0.9 of the time for which the tank is): solar + immersion + pellet + heat pumps (mode dhw), of the time for "
        "which the tank is known",
    ),
    Column(
        "balanced_output_kwh",
        "DOUBLE",
        "kWh",
        "What is accounted for of the same time: stored change + draw + standby loss",
    ),
    Column(
        "closure_error_kwh",
        "DOUBLE",
        "kWh",
        "What came in minus what is accounted for, in the hours that are balanced; null where there is none",
    ),
    Column(
        "heat_pump_electrical_kwh",
        "DOUBLE",
        "kWh",
        "Electricity of the heat pumps, in all modes, as they tell; null when one does not",
    ),
    Column(
        "immersion_electrical_kwh",
        "DOUBLE",
        "kWh",
        "Electricity of the immersion heater, also while a layer of the tank is not known; null when it is not known",
    ),
    Column(
        "electrical_kwh",
        "DOUBLE",
        "kWh",
        "Electricity of the heat pumps, in all modes, and of the immersion heater, once: of the hours in which that of "
        "all of them is known",
    ),
    Column("covered_s", "DOUBLE", "s", "Time for which the tank is known"),
    Column("heat_pump_s", "DOUBLE", "s", "Time for which the heat pumps' heat is known (of the one known least)"),
    Column(
        "electrical_s",
        "DOUBLE",
        "s",
        "Time for which the electricity of the heat pumps and of an immersion heater that the settings name is known "
        "(in each hour, of the one known least)",
    ),
    Column(
        "balanced_s",
        "DOUBLE",
        "s",
        "Time for which tank, heaters of the settings and heat pumps are all known, in the hours that are balanced",
    ),
)

HOUSE_RATIOS = (
    Column(
        "coverage",
        "DOUBLE",
        None,
        "Share of the period that the balance is of: tank, heaters of the settings and heat pumps are all known, 0…1",
    ),
    Column("closure", "DOUBLE", None, "Closure error ÷ all that came in; null below 0.05 kWh"),
    Column("electrical_coverage", "DOUBLE", None, "Share of the period for which `electrical_kwh` is known, 0…1"),
    PROVISIONAL,
    _CONTENT,
)


def solar_tables() -> tuple[Table, ...]:
    """`solar_frames` by UTC day, and the figures per hour, day, month and year."""
    figures = (*_INTERVAL, *PERIOD, *SOLAR_RATIOS, *solar_sum_columns(), *_level_columns())
    house = (*_INTERVAL, *PERIOD, *HOUSE_RATIOS, *HOUSE_SUM_COLUMNS)
    return (
        Table(
            "solar_frames",
            "The tank between readings, cut at quarters of an hour: what it held at both ends, and what drove it",
            (
                *_INTERVAL,
                Column("stored_energy_start_kwh", "DOUBLE", "kWh", "What the tank held at `start`; null when unknown"),
                Column("stored_energy_end_kwh", "DOUBLE", "kWh", "What the tank held at `end`; null when unknown"),
                Column("tank_temperature", "DOUBLE", "°C", "Mean temperature of the tank in the middle of the frame"),
                *(
                    Column(name, "DOUBLE", "°C", f"Layer {place}, from below, at `end`")
                    for place, name in enumerate(TANK_LAYERS, 1)
                ),
                Column("usable_litres", "DOUBLE", "l", "Hot water that could be drawn at `end`"),
                Column(
                    "states_read",
                    TIME,
                    None,
                    "Last time before `start` that pump, immersion heater or stove was told (UTC); null when longer "
                    "ago than any of them is held",
                ),
                Column("solar_collector_temperature", "DOUBLE", "°C", "Collector, as last told at `start`"),
                Column("reference_temperature", "DOUBLE", "°C", "Buffer as the device tells it, for the old split"),
                Column("solar_pump", "BOOLEAN", None, "Whether the solar pump runs"),
                Column("solar_pump_next", "BOOLEAN", None, "Whether it runs at `end`"),
                Column("solar_power", "DOUBLE", "W", "Heat of the collector as metered; null when it is not"),
                Column("immersion_heater_on", "BOOLEAN", None, "Whether the immersion heater is on"),
                Column("immersion_heater_power", "DOUBLE", "W", "Its metered power, else rated power while it is on"),
                Column("pellet_stove_on", "BOOLEAN", None, "Whether the pellet stove burns"),
                Column("pellet_stove_power", "DOUBLE", "W", "Heat of the stove into the water"),
                *(
                    Column(f"device_{what}_kwh", "DOUBLE", "kWh", f"What the device's own counter {name} grew by")
                    for what, name in DEVICE_COUNTERS.items()
                ),
            ),
        ),
        Table("solar_hourly", "Solar heating per hour of the house's clock: a balance of the tank", figures),
        Table("solar_daily", "Solar heating per day of the house's calendar", figures),
        Table("solar_monthly", "Solar heating per month of the house's calendar", figures, "periods"),
        Table("solar_yearly", "Solar heating per year of the house's calendar", figures, "periods"),
        Table("house_hourly", "Balance of a tank and all that heats it, the heat pumps too, per hour", house),
        Table("house_daily", "Balance of a tank and all that heats it, the heat pumps too, per day", house),
        Table("house_monthly", "Balance of a tank and all that heats it, per month", house, "periods"),
        Table("house_yearly", "Balance of a tank and all that heats it, per year", house, "periods"),
    )
