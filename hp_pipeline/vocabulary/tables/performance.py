"""Heat reckoned in two ways from what a machine without a heat meter tells, in short stretches while it runs."""

from __future__ import annotations

from hp_pipeline.vocabulary.tables.table import INTERVAL, Column, Table

_METHODS = {
    "modulation": "compressor modulation × rated thermal power (`rated_power_kw`), which takes part load for "
    "proportional: over a year it may be off by a third; not known while cooling or defrosting",
    "delta_t": "flow rate × density × specific heat (1.163 Wh/(l·K) for water) × spread, as the sensors read",
}
"""The methods by name."""


def _method(name: str, meaning: str) -> tuple[Column, ...]:
    return (
        Column(f"thermal_power_{name}_mean", "DOUBLE", "W", f"Heat by {meaning}; mean over the time of `{name}_s`"),
        Column(f"{name}_s", "DOUBLE", "s", "Time for which this heat and the electrical power are both known"),
        Column(
            f"cop_{name}",
            "DOUBLE",
            None,
            f"`thermal_power_{name}_mean` × its time ÷ the electricity of the same time: a COP of this method only",
        ),
        Column(f"cop_{name}_reason", "VARCHAR", None, f"Why there is no `cop_{name}`"),
    )


def performance_tables() -> tuple[Table, ...]:
    """`performance_5min`, by UTC day."""
    return (
        Table(
            "performance_5min",
            "Heat by two named methods against the electrical power averaged over the same five minutes, only while "
            "the compressor runs: to compare the methods; no other table is made of it",
            (
                *INTERVAL,
                Column("mode", "VARCHAR", None, "Mode while the compressor ran; null when it changed or is unknown"),
                Column("running_s", "DOUBLE", "s", "Time the compressor ran"),
                Column(
                    "electrical_power_mean",
                    "DOUBLE",
                    "W",
                    "Electrical power, time-weighted mean; where no power is told, as the electricity counter tells it",
                ),
                Column("compressor_modulation_mean", "DOUBLE", "%", "Compressor modulation, time-weighted mean"),
                Column("flow_rate_mean", "DOUBLE", "l/h", "Volume flow, time-weighted mean"),
                Column("flow_temperature_mean", "DOUBLE", "°C", "Flow temperature, time-weighted mean"),
                Column("return_temperature_mean", "DOUBLE", "°C", "Return temperature, time-weighted mean"),
                Column("source_in_temperature_mean", "DOUBLE", "°C", "Heat source inlet, time-weighted mean"),
                Column("outdoor_temperature_mean", "DOUBLE", "°C", "Outdoor temperature, time-weighted mean"),
                *(column for name, meaning in _METHODS.items() for column in _method(name, meaning)),
            ),
        ),
    )
