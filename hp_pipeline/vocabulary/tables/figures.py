"""The columns that every table of figures shares: ratios, energies, durations, counts, statistics."""

from __future__ import annotations

from functools import cache

from hp_pipeline.vocabulary.signals import signals, summary_signals
from hp_pipeline.vocabulary.tables.table import Column
from hp_pipeline.vocabulary.ways import WAYS

_PARTS: dict[str, str] = {
    "": "in all modes",
    "heating": "in mode heating (a swimming pool that the machine heats is in it)",
    "dhw": "in mode dhw (domestic hot water)",
    "cooling": "in mode cooling",
    "standby": "in mode standby",
    "defrost": "while defrosting, in any mode",
    "heating_defrost": "while defrosting in mode heating",
    "dhw_defrost": "while defrosting in mode dhw",
}


METERED_PARTS: dict[str, str] = {
    "circulation_pump": "pumps of the building",
    "brine_pump": "brine or well pump",
    "fan": "fan of the heat source",
    "crankcase_heater": "crankcase heater",
}
"""Consumers that are part of the heat pump's electricity and may have a meter of their own."""

METERED_APART_PARTS: dict[str, str] = {
    "immersion": "immersion heater",
    "backup_heater": "backup heater",
    **METERED_PARTS,
}
"""Every consumer that may have a meter of its own, by the word in `electrical_energy_<word>_kwh`."""

_WAYS: dict[str, str] = {
    "counter": " as its counter tells, where one does",
    "integral": " as the integral of its power tells, where that is known",
    "residual": ": counter minus integral, over the time for which both are known",
    "unobserved": " that a counter counted over silences of its source: part of the whole, of no mode and no session",
}


def _named(prefix: str, part: str, unit: str) -> str:
    return "_".join(word for word in (prefix, part, unit) if word)


@cache
def energy_columns() -> tuple[Column, ...]:
    """The energies that stand in every table of figures; each is a sum, so rows can be added."""
    electrical = [
        Column(_named("electrical_energy", part, "kwh"), "DOUBLE", "kWh", f"Electricity of the heat pump {when}")
        for part, when in _PARTS.items()
    ]
    thermal = [
        Column(
            _named("thermal_energy", part, "kwh"),
            "DOUBLE",
            "kWh",
            "Heat taken from the house in mode cooling (positive)"
            if part == "cooling"
            else f"Heat given to the water {when}, net: heat taken from it by defrosts is subtracted"
            + (" (cooling is not in it)" if part == "" else ""),
        )
        for part, when in _PARTS.items()
    ]
    ways = [
        Column(f"{kind}_energy_{name}_kwh", "DOUBLE", "kWh", f"{what}{meaning}")
        for kind, what in (("electrical", "Electricity of the heat pump"), ("thermal", "Heat given to the water"))
        for name, meaning in _WAYS.items()
    ]
    extra = [
        Column(
            "electrical_energy_immersion_kwh",
            "DOUBLE",
            "kWh",
            "Electricity of the immersion heater by a meter of its own; its heat is equal to it",
        ),
        Column(
            "electrical_energy_backup_heater_kwh", "DOUBLE", "kWh", "Electricity of the backup heater, where metered"
        ),
        *(
            Column(f"electrical_energy_{part}_kwh", "DOUBLE", "kWh", f"Electricity of the {words}, where metered")
            for part, words in METERED_PARTS.items()
        ),
        *(
            Column(
                _named("electrical_energy_least", part, "kwh"),
                "DOUBLE",
                "kWh",
                f"Least electricity for which any machine could have given its heat {_PARTS[part]} (Carnot), without "
                "the heat of electric heaters that have a meter of their own",
            )
            for part in ("", "heating", "dhw")
        ),
        Column(
            "electrical_meter_error_kwh",
            "DOUBLE",
            "kWh",
            "Maximum permissible error of the electricity, by the way that each part of it is made in",
        ),
        Column(
            "thermal_meter_error_kwh",
            "DOUBLE",
            "kWh",
            "Maximum permissible error of the heat, by the way that each part of it is made in; of a heat meter by its "
            "class, at the flow and spread of each frame (cooling is not in it)",
        ),
        *(
            Column(f"thermal_meter_error_{use}_kwh", "DOUBLE", "kWh", f"Of it that of the heat {_PARTS[use]}")
            for use in ("heating", "dhw")
        ),
        Column(
            "heat_taken_kwh", "DOUBLE", "kWh", "Heat that defrosts took from the water (positive): gross less net heat"
        ),
        Column("heat_from_tank_kwh", "DOUBLE", "kWh", "Of it from the hot water tank"),
    ]
    return (*electrical, *thermal, *ways, *extra)


EDGE_ERROR_COLUMNS = tuple(
    Column(
        f"{kind}_{edge}_error_kwh",
        "DOUBLE",
        "kWh",
        f"{what} that may belong to the other side of the row's {edge}: it lies in a silence, of which the counter "
        "says how much, and the machine or nobody when. Not a sum: added rows have that of the "
        + ("first" if edge == "begin" else "last"),
    )
    for kind, what in (("electrical", "Electricity"), ("thermal", "Heat"))
    for edge in ("begin", "end")
)

DURATION_COLUMNS = (
    Column("observed_s", "DOUBLE", "s", "Time covered by frames: something was read"),
    Column("electrical_s", "DOUBLE", "s", "Time for which the electrical power is known"),
    Column("thermal_s", "DOUBLE", "s", "Time for which the thermal power is known"),
    Column(
        "electrical_cooling_s", "DOUBLE", "s", "Of `electrical_s` what is in mode cooling, which no COP is asked of"
    ),
    Column("thermal_cooling_s", "DOUBLE", "s", "Of `thermal_s` what is in mode cooling, which no COP is asked of"),
    *(
        Column(f"{part}_s", "DOUBLE", "s", f"Time for which the electricity of the {words} is known")
        for part, words in METERED_APART_PARTS.items()
    ),
    Column("heating_s", "DOUBLE", "s", "Time in mode heating"),
    Column("dhw_s", "DOUBLE", "s", "Time in mode dhw"),
    Column("cooling_s", "DOUBLE", "s", "Time in mode cooling"),
    Column("standby_s", "DOUBLE", "s", "Time in mode standby"),
    Column("defrost_s", "DOUBLE", "s", "Time spent defrosting, in any mode"),
    Column(
        "defrost_unmeasured_s",
        "DOUBLE",
        "s",
        "Time of defrosts for which nothing shows the heat that they took: it is not subtracted",
    ),
    Column("compressor_s", "DOUBLE", "s", "Time the compressor ran"),
    Column(
        "edge_uncertainty_s2",
        "DOUBLE",
        "s²",
        "Sum of the squares of the times between readings at the edges of the compressor's cycles: what sampling costs",
    ),
)

COUNT_COLUMNS = (
    Column("compressor_starts", "BIGINT", None, "Starts of the compressor (off to on)"),
    Column("defrosts", "BIGINT", None, "Defrosts that began"),
    Column("heating_sessions", "BIGINT", None, "Heating sessions that began"),
    Column("dhw_sessions", "BIGINT", None, "Domestic hot water sessions that began"),
)

STATISTICS = {
    "min": "least",
    "max": "greatest",
    "mean": "time-weighted mean",
    "first": "first known",
    "last": "last known",
}


@cache
def statistic_columns() -> tuple[Column, ...]:
    """For every summary signal its statistics, and the time for which it is known (the weight of the mean)."""
    columns = []
    for name in summary_signals():
        signal = signals()[name]
        for statistic, word in STATISTICS.items():
            columns.append(Column(f"{name}_{statistic}", "DOUBLE", signal.unit, f"{signal.description}: {word}"))
        columns.append(Column(f"{name}_s", "DOUBLE", "s", f"Time for which {name} is known"))
    return tuple(columns)


METHOD_COLUMNS = tuple(
    Column(
        f"{kind}_method",
        "VARCHAR",
        None,
        f"Ways that `{kind}_energy_kwh` is made of, the best first: "
        + ", ".join(way.word for way in WAYS if way.tells(kind)),
    )
    for kind in ("electrical", "thermal")
)

BANDED_RATIOS = (
    *("cop", "cop_heating", "cop_dhw", "cop_without_standby", "cop_gross", "cop_with_immersion"),
    *("spf_h1", "spf_h2", "spf_h3", "spf_h4"),
)
"""The ratios that have a band. The others leave out defrosts, or take in the immersion heater for hot water alone: they
are off by the same shares as the banded ones that they are like, and another pair of columns each would say no more."""

RATIO_COLUMNS = (
    Column("electrical_coverage", "DOUBLE", None, "Share of the time for which the electrical power is known, 0…1"),
    Column("thermal_coverage", "DOUBLE", None, "Share of the time for which the thermal power is known, 0…1"),
    *METHOD_COLUMNS,
    Column(
        "cop", "DOUBLE", None, "Heat ÷ electricity, all of the heat pump but cooling: standby and defrosts included"
    ),
    Column("cop_reason", "VARCHAR", None, "Why there is no `cop`"),
    Column("cop_heating", "DOUBLE", None, "Heat ÷ electricity in mode heating, defrosts included"),
    Column("cop_dhw", "DOUBLE", None, "Heat ÷ electricity in mode dhw, defrosts included"),
    Column("cop_uses_reason", "VARCHAR", None, "Why there is no `cop_heating` or no `cop_dhw`"),
    Column("cop_without_defrost", "DOUBLE", None, "As `cop`, the time spent defrosting left out"),
    Column("cop_heating_without_defrost", "DOUBLE", None, "As `cop_heating`, the time spent defrosting left out"),
    Column("cop_dhw_without_defrost", "DOUBLE", None, "As `cop_dhw`, the time spent defrosting left out"),
    Column("cop_without_standby", "DOUBLE", None, "Heat ÷ electricity in the modes heating and dhw, standby left out"),
    Column("cop_gross", "DOUBLE", None, "As `cop`, with gross heat: what defrosts took back is not subtracted"),
    *(
        Column(f"spf_h{boundary}", "DOUBLE", None, f"Seasonal performance factor in the boundary H{boundary}: {what}")
        for boundary, what in {
            1: "the heat pump alone",
            2: "with fan or brine pump",
            3: "with the electric heaters, their heat as well as their electricity",
            4: "with the pumps of the building",
        }.items()
    ),
    Column("spf_reason", "VARCHAR", None, "Why a boundary has no figure"),
    Column("electrical_energy_low_kwh", "DOUBLE", "kWh", "Lower end of the band (95 %) around `electrical_energy_kwh`"),
    Column("electrical_energy_high_kwh", "DOUBLE", "kWh", "Its upper end; the time without readings widens it"),
    Column("thermal_energy_low_kwh", "DOUBLE", "kWh", "Lower end of the band (95 %) around `thermal_energy_kwh`"),
    Column("thermal_energy_high_kwh", "DOUBLE", "kWh", "Its upper end; the time without readings widens it"),
    *(
        Column(f"{ratio}_{end}", "DOUBLE", None, f"{words} end of the band (95 %) around `{ratio}`")
        for ratio in BANDED_RATIOS
        for end, words in (("low", "Lower"), ("high", "Upper"))
    ),
    Column(
        "cop_with_immersion",
        "DOUBLE",
        None,
        "As `cop`, the immersion heater once in the heat and once in the electricity",
    ),
    Column("cop_dhw_with_immersion", "DOUBLE", None, "As `cop_dhw`, the immersion heater added to both"),
)


@cache
def figure_columns() -> tuple[Column, ...]:
    """The columns that every table of figures shares, ratios first, so that people see what they look for."""
    return (
        *RATIO_COLUMNS,
        *energy_columns(),
        *EDGE_ERROR_COLUMNS,
        *DURATION_COLUMNS,
        *COUNT_COLUMNS,
        *statistic_columns(),
    )
