"""How well heat is made, and what the house needs, by outdoor temperature: grade, bins, heating curve, heat loss."""

from __future__ import annotations

from hp_pipeline.vocabulary.tables.table import INTERVAL, PERIOD, Column, Table

WEIGHED = ("flow", "return", "outdoor", "source")
"""Temperatures that are weighed with heat; the source is what the machine draws from, else the outdoor air."""

FOLLOWED = ("flow_temperature", "flow_setpoint", "return_temperature", "return_setpoint")
"""What a heating curve is made of: means over the time for which the compressor runs."""

_BIN = Column(
    "outdoor_from", "BIGINT", "°C", "Outdoor temperature from here to one kelvin more; null when it is unknown"
)
_MODE = Column("mode", "VARCHAR", None, "standby, heating, dhw or cooling; null when unknown")

_CYCLE = "; without electric heaters that have a meter of their own"

SUMS = (
    Column("observed_us", "BIGINT", "µs", "Time"),
    Column("known_us", "BIGINT", "µs", "Time for which electricity and heat are both known"),
    Column("running_us", "BIGINT", "µs", "Of that, time for which the compressor ran"),
    Column("electrical_mj", "BIGINT", "mJ", "Electricity while both are known"),
    Column("thermal_mj", "BIGINT", "mJ", "Heat while both are known, net of defrosts"),
    Column("running_electrical_mj", "BIGINT", "mJ", f"Electricity while the compressor ran{_CYCLE}"),
    Column("running_thermal_mj", "BIGINT", "mJ", f"Heat while the compressor ran, net of defrosts{_CYCLE}"),
    *(
        column
        for name in WEIGHED
        for column in (
            Column(f"{name}_heat_mj", "BIGINT", "mJ", f"Heat (where positive) at a known {name} temperature{_CYCLE}"),
            Column(f"{name}_heat_mj_c", "BIGINT", "mJ °C", f"That heat × {name} temperature"),
        )
    ),
    *(
        column
        for name in FOLLOWED
        for column in (
            Column(f"{name}_us", "BIGINT", "µs", f"Time for which the compressor ran and {name} is known"),
            Column(f"{name}_us_c", "BIGINT", "µs °C", f"That time × {name}"),
        )
    ),
)
"""Sums in whole numbers: added in any order they give the same."""

_MADE = (
    Column(
        "coverage",
        "DOUBLE",
        None,
        "Share of the time for which electricity and heat are both known, 0…1: of the period where the row is one, or "
        "of the row's own time where that is less",
    ),
    Column("hours", "DOUBLE", "h", "Time for which electricity and heat are both known"),
    Column("running_hours", "DOUBLE", "h", "Of that, time for which the compressor ran"),
    Column("electrical_energy_kwh", "DOUBLE", "kWh", "Electricity in these hours"),
    Column("thermal_energy_kwh", "DOUBLE", "kWh", "Heat in these hours, net of defrosts"),
    Column("running_electrical_energy_kwh", "DOUBLE", "kWh", f"Electricity while the compressor ran{_CYCLE}"),
    Column("running_thermal_energy_kwh", "DOUBLE", "kWh", f"Heat while the compressor ran, net of defrosts{_CYCLE}"),
    Column("cop_running", "DOUBLE", None, f"Heat ÷ electricity while the compressor ran, defrosts included{_CYCLE}"),
    *(
        Column(f"{name}_temperature_weighted", "DOUBLE", "°C", f"{what}, each moment weighed with its heat")
        for name, what in (
            ("flow", "Flow temperature"),
            ("return", "Return temperature"),
            ("outdoor", "Outdoor temperature"),
            ("source", "Temperature of the source (what the machine draws from, else the outdoor air)"),
        )
    ),
    Column("carnot_cop", "DOUBLE", None, "COP of an ideal machine between the weighed temperatures of source and flow"),
    Column("carnot_grade", "DOUBLE", None, "`cop_running` ÷ `carnot_cop`"),
    Column("efficiency_reason", "VARCHAR", None, "Why there is no `cop_running` or no `carnot_grade`"),
)

_AT_REFERENCE = (
    Column(
        "cop_at_reference",
        "DOUBLE",
        None,
        "COP that the same `carnot_grade` gives with the flow at `reference_flow_temperature_c` of the rules",
    ),
    Column("reference_reason", "VARCHAR", None, "Why there is no `cop_at_reference`"),
)

_SLOPES = (
    Column("slope", "DOUBLE", "K/K", "By how much the temperature rises per kelvin that it is colder outdoors"),
    Column("level_c", "DOUBLE", "°C", "The temperature at 20 °C outdoors, on the same line"),
)


def _curve(subject: str) -> tuple[Column, ...]:
    found = []
    for which, what in (("", f"Actual {subject} temperature"), ("_set", f"Set-point of the {subject} temperature")):
        found += [
            Column(f"{subject}{which}_{column.name}", column.type, column.unit, f"{what}: {column.description}")
            for column in _SLOPES
        ]
    above = f"How far the {subject} temperature was above its set-point while the compressor ran, on average"
    return (*found, Column(f"{subject}_above_setpoint_k", "DOUBLE", "K", above))


_FIT = (
    Column("days", "BIGINT", None, "Days that the line is made of"),
    Column(
        "heat_loss_w_per_k",
        "DOUBLE",
        "W/K",
        "Slope of the line of daily heat over the day's mean outdoor temperature (Theil–Sen: median of the slopes of "
        "all pairs of days). Sun makes it steeper (it shines more on mild days), by 5 to 15 %; it is not the "
        "building's own heat loss",
    ),
    Column(
        "heat_loss_low_w_per_k",
        "DOUBLE",
        "W/K",
        "Lower bound of the slope (95 %, Sen; days that follow each other count for less than one each)",
    ),
    Column("heat_loss_high_w_per_k", "DOUBLE", "W/K", "Upper bound of the slope (95 %)"),
    Column(
        "base_temperature", "DOUBLE", "°C", "Outdoor temperature from which on the line says that no heat is needed"
    ),
    Column("base_temperature_low", "DOUBLE", "°C", "The same, with the upper bound of the slope"),
    Column("base_temperature_high", "DOUBLE", "°C", "The same, with the lower bound of the slope"),
    Column("heat_at_minus_10_w", "DOUBLE", "W", "What the line says for -10 °C"),
    Column("spread_w", "DOUBLE", "W", "How far days are from the line (1.48 × median absolute deviation)"),
    Column(
        "heat_loss_room_w_per_k",
        "DOUBLE",
        "W/K",
        "The same slope over room minus outdoor temperature, where the room is known: without what a setback or a "
        "warmer room does to the line",
    ),
    Column("heat_loss_reason", "VARCHAR", None, "Why there is no line"),
)


def efficiency_tables() -> tuple[Table, ...]:
    """From the sums of a UTC day to the heat loss of all time."""
    period = (*INTERVAL, *PERIOD)
    heat_loss = (*period, *_FIT)
    return (
        Table(
            "heat_by_temperature",
            "Sums by local day, mode and kelvin of outdoor temperature, in whole numbers: grade, bins, curve are made "
            "of them (not for people)",
            (*INTERVAL, PERIOD[0], _MODE, _BIN, *SUMS),
        ),
        Table(
            "heat_by_temperature_monthly",
            "The same sums by month of the house's calendar (not for people)",
            (*INTERVAL, PERIOD[0], _MODE, _BIN, *SUMS),
            "periods",
        ),
        Table(
            "efficiency",
            "For each day and month, in heating, in dhw and in all: temperatures weighed with heat, COP while the "
            "compressor runs, and what share of the ideal that is",
            (
                *period,
                Column("kind", "VARCHAR", None, "day or month"),
                Column("mode", "VARCHAR", None, "heating, dhw, or all (cooling left out)"),
                *_MADE,
            ),
            "periods",
        ),
        Table(
            "degree_days",
            "For each day of the house's calendar, how much heating its weather asked for",
            (
                *period,
                Column("outdoor_temperature_mean", "DOUBLE", "°C", "Mean outdoor temperature of the day"),
                Column("outdoor_coverage", "DOUBLE", None, "Share of the day for which it is known, 0…1"),
                Column(
                    "heating_degree_days",
                    "DOUBLE",
                    "K d",
                    "By how much the mean is below `degree_day_limit_c` of the rules, × length of the day",
                ),
                Column(
                    "degree_day_number",
                    "DOUBLE",
                    "K d",
                    "Below that limit, by how much the mean is below `degree_day_room_c`, × length of the day "
                    "(Gradtagzahl, VDI 3807)",
                ),
                Column("room_temperature_mean", "DOUBLE", "°C", "Mean room temperature of the day"),
                Column("thermal_energy_heating_kwh", "DOUBLE", "kWh", "Heat in mode heating, net of its defrosts"),
                Column("thermal_coverage", "DOUBLE", None, "Share of the day for which heat is known, 0…1"),
                Column("electrical_energy_kwh", "DOUBLE", "kWh", "Electricity of the heat pump"),
                Column("thermal_energy_kwh", "DOUBLE", "kWh", "Heat given to the water, net, cooling left out"),
                Column(
                    "electrical_energy_unobserved_kwh", "DOUBLE", "kWh", "Electricity that was counted over silences"
                ),
                Column("thermal_energy_unobserved_kwh", "DOUBLE", "kWh", "Heat that was counted over silences"),
                Column("electrical_s", "DOUBLE", "s", "Time for which electricity is known"),
                Column("thermal_s", "DOUBLE", "s", "Time for which heat is known"),
                Column("degree_days_reason", "VARCHAR", None, "Why there are no degree days"),
            ),
            "periods",
        ),
        Table(
            "efficiency_seasonal",
            "As `efficiency`, by heating season; heating also at a fixed flow temperature in a fixed climate",
            (
                *period,
                Column("mode", "VARCHAR", None, "heating, dhw, or all (cooling left out)"),
                *_MADE,
                Column(
                    "cop_normalised",
                    "DOUBLE",
                    None,
                    "Heating's COP with the flow at `reference_flow_temperature_c` in the average climate of EN 14825: "
                    "heat of each of its bins ÷ `cop_at_reference` of the bin. To compare years and settings by",
                ),
                Column("normalised_share", "DOUBLE", None, "Share of that climate's heat whose bins were seen, 0…1"),
                Column("normalised_reason", "VARCHAR", None, "Why there is no `cop_normalised`"),
            ),
            "periods",
        ),
        Table(
            "temperature_bins",
            "By heating season, mode and kelvin of outdoor temperature: hours, energies, COP",
            (
                *period,
                _MODE,
                _BIN,
                *_MADE,
                *_AT_REFERENCE,
                *(
                    Column(f"{name}_running", "DOUBLE", "°C", f"Mean of {name} while the compressor ran")
                    for name in FOLLOWED
                ),
            ),
            "periods",
        ),
        Table(
            "heating_curve",
            "By heating season, the lines of actual and set flow and return temperature over the outdoor temperature",
            (
                *period,
                Column("bins", "BIGINT", None, "Bins of the outdoor temperature with enough hours"),
                *_curve("flow"),
                *_curve("return"),
                Column("curve_reason", "VARCHAR", None, "Why there is no line"),
            ),
            "periods",
        ),
        Table(
            "heat_loss",
            "By heating season, the line of daily heat over the outdoor temperature, with its 95 % interval",
            heat_loss,
            "periods",
        ),
        Table(
            "heat_loss_bins",
            "By heating season and kelvin of the day's mean outdoor temperature: days and their heat",
            (
                *period,
                _BIN,
                Column("days", "BIGINT", None, "Days"),
                Column("day_us", "BIGINT", "µs", "Their length"),
                Column("heat_mj", "BIGINT", "mJ", "Their heat in mode heating, as for days known whole"),
                Column("outdoor_us_c", "BIGINT", "µs °C", "Length × mean outdoor temperature"),
                Column("heat_mean_w", "DOUBLE", "W", "Mean heat"),
                Column("outdoor_temperature_mean", "DOUBLE", "°C", "Mean outdoor temperature"),
            ),
            "periods",
        ),
        Table(
            "heat_loss_all_time",
            "The line over all heating seasons, made from `heat_loss_bins`",
            heat_loss,
            "none",
        ),
    )
