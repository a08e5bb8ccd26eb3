"""The tables that people query: every column's name, type, unit and meaning, said once.

The polars schemas, the comments in the DuckDB catalogue and the data dictionary in `docs/` all come from here.
Types are DuckDB's names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from hp_pipeline.vocabulary.signals import signals, summary_signals

MODES = ("standby", "heating", "dhw", "cooling")
"""What a heat pump does for the house; a defrost is an overlay."""

CYCLE_STATES = ("on", "off", "defrost")

TIME = "TIMESTAMP WITH TIME ZONE"


@dataclass(frozen=True)
class Column:
    """One column: name, DuckDB type, unit (None where there is none), meaning."""

    name: str
    type: str
    unit: str | None
    description: str


@dataclass(frozen=True)
class Table:
    """One table: what a row is, and its columns."""

    name: str
    description: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """The columns' names in order."""
        return [column.name for column in self.columns]


_HEAT_PUMP = Column("heat_pump", "VARCHAR", None, "Heat pump, by its id in the settings")
_INTERVAL = (
    _HEAT_PUMP,
    Column("start", TIME, None, "Begin (UTC)"),
    Column("end", TIME, None, "End (UTC), exclusive"),
)

_PARTS: dict[str, str] = {
    "": "in all modes",
    "heating": "in mode heating",
    "dhw": "in mode dhw (domestic hot water)",
    "cooling": "in mode cooling",
    "standby": "in mode standby",
    "defrost": "while defrosting, in any mode",
    "heating_defrost": "while defrosting in mode heating",
    "dhw_defrost": "while defrosting in mode dhw",
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
    extra = [
        Column(
            "electrical_energy_immersion_kwh",
            "DOUBLE",
            "kWh",
            "Electricity of the immersion heater, metered apart from the heat pump; its heat is equal to it",
        ),
        Column(
            "electrical_energy_backup_heater_kwh", "DOUBLE", "kWh", "Electricity of the backup heater, where metered"
        ),
        Column(
            "heat_from_tank_kwh",
            "DOUBLE",
            "kWh",
            "Heat that defrosts took from the hot water tank (positive; part of the negative heat of the defrosts)",
        ),
    ]
    return (*electrical, *thermal, *extra)


DURATION_COLUMNS = (
    Column("observed_s", "DOUBLE", "s", "Time covered by frames: something was read"),
    Column("electrical_s", "DOUBLE", "s", "Time for which the electrical power is known"),
    Column("thermal_s", "DOUBLE", "s", "Time for which the thermal power is known"),
    Column("heating_s", "DOUBLE", "s", "Time in mode heating"),
    Column("dhw_s", "DOUBLE", "s", "Time in mode dhw"),
    Column("cooling_s", "DOUBLE", "s", "Time in mode cooling"),
    Column("standby_s", "DOUBLE", "s", "Time in mode standby"),
    Column("defrost_s", "DOUBLE", "s", "Time spent defrosting, in any mode"),
    Column("compressor_s", "DOUBLE", "s", "Time the compressor ran"),
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


RATIO_COLUMNS = (
    Column("electrical_coverage", "DOUBLE", None, "Share of the time for which the electrical power is known, 0…1"),
    Column("thermal_coverage", "DOUBLE", None, "Share of the time for which the thermal power is known, 0…1"),
    Column(
        "cop", "DOUBLE", None, "Heat ÷ electricity, all of the heat pump but cooling: standby and defrosts included"
    ),
    Column("cop_reason", "VARCHAR", None, "Why there is no `cop`"),
    Column("cop_heating", "DOUBLE", None, "Heat ÷ electricity in mode heating, defrosts included"),
    Column("cop_dhw", "DOUBLE", None, "Heat ÷ electricity in mode dhw, defrosts included"),
    Column("cop_without_defrost", "DOUBLE", None, "As `cop`, the time spent defrosting left out"),
    Column("cop_heating_without_defrost", "DOUBLE", None, "As `cop_heating`, the time spent defrosting left out"),
    Column("cop_dhw_without_defrost", "DOUBLE", None, "As `cop_dhw`, the time spent defrosting left out"),
    Column(
        "cop_with_immersion", "DOUBLE", None, "As `cop`, the immersion heater added to the heat and to the electricity"
    ),
    Column("cop_dhw_with_immersion", "DOUBLE", None, "As `cop_dhw`, the immersion heater added to both"),
)


@cache
def figure_columns() -> tuple[Column, ...]:
    """The columns that every table of figures shares, ratios first, so that people see what they look for."""
    return (*RATIO_COLUMNS, *energy_columns(), *DURATION_COLUMNS, *COUNT_COLUMNS, *statistic_columns())


_PERIOD = (
    Column(
        "period", "VARCHAR", None, "The period in the house's calendar, such as 2026-03-29, 2026-W13, 2026-03, 2026"
    ),
    Column("local_start", "VARCHAR", None, "Begin in the house's time, with its offset from UTC"),
)
_PROVISIONAL = Column("provisional", "BOOLEAN", None, "Later readings may still change it")


def _frame_columns() -> Iterable[Column]:
    for signal in signals().values():
        kind = "DOUBLE" if signal.kind in {"gauge", "counter"} else "BOOLEAN" if signal.is_flag else "VARCHAR"
        yield Column(signal.name, kind, signal.unit, signal.description)


@cache
def tables() -> dict[str, Table]:
    """All tables by name."""
    figures = figure_columns()
    periods = (*_INTERVAL, *_PERIOD)
    listed = [
        Table(
            "readings",
            "What the sources said, as they said it: one row per source, point and time. Of live sources a row where a "
            "value changed, and each UTC day's first; at every time of the point `@poll` all points of a set were told",
            (
                Column("source", "VARCHAR", None, "Source, by its id in the settings"),
                Column("point", "VARCHAR", None, "The source's own name of the series"),
                Column("time", TIME, None, "When it was read or written (UTC)"),
                Column("value", "DOUBLE", None, "The reading, when it is a number (in the source's own unit)"),
                Column("text", "VARCHAR", None, "The reading, when it is words"),
                Column("origin", "VARCHAR", None, "history: asked for later, out of the source's memory; else unknown"),
            ),
        ),
        Table(
            "frames",
            "Canonical signals of a heat pump at the times when something was read: gauges are time-weighted means "
            "over the frame, states hold from its start, unknown is null",
            (
                *_INTERVAL,
                Column("last_read", TIME, None, "Last time that something was read, before its end"),
                Column(
                    "states_read", TIME, None, "Last time that a state was read before its start; null if too long ago"
                ),
                *_frame_columns(),
            ),
        ),
        Table(
            "operation",
            "What the heat pump does in each frame, by the session rule",
            (
                *_INTERVAL,
                Column(
                    "unseen_s",
                    "DOUBLE",
                    "s",
                    "Time between the reading before it and its start, in which an edge may lie",
                ),
                Column("raw_mode", "VARCHAR", None, "Mode that the machine and its valve tell"),
                Column("mode", "VARCHAR", None, "Mode by the session rule: standby, heating, dhw, cooling"),
                Column("state", "VARCHAR", None, "State of the cycle: on, off, defrost; null when unknown"),
                Column("defrost", "BOOLEAN", None, "Whether it lies in a believable defrost"),
                Column("compressor_running", "BOOLEAN", None, "Whether the compressor runs; null when unknown"),
                Column("gap", "BOOLEAN", None, "Whether a silence longer than `session_gap` lies before it"),
                Column("session_start", "BOOLEAN", None, "Whether a session begins with it"),
                Column("cycle_start", "BOOLEAN", None, "Whether a cycle begins with it"),
                Column("defrost_start", "BOOLEAN", None, "Whether a defrost begins with it"),
                Column("compressor_start", "BOOLEAN", None, "Whether the compressor starts with it"),
                _PROVISIONAL,
            ),
        ),
        Table(
            "segments",
            "Pieces of sessions and cycles, cut at midnight (UTC): sessions, cycles and defrosts are merged from them",
            (
                *_INTERVAL,
                Column("mode", "VARCHAR", None, "Mode by the session rule; null when unknown"),
                Column("state", "VARCHAR", None, "State of the cycle: on, off, defrost; null when unknown"),
                Column("defrost", "BOOLEAN", None, "Whether it lies in a believable defrost"),
                Column("session_start", "BOOLEAN", None, "Whether a session begins with it"),
                Column("cycle_start", "BOOLEAN", None, "Whether a cycle begins with it"),
                Column("defrost_start", "BOOLEAN", None, "Whether a defrost begins with it"),
                Column("gap", "BOOLEAN", None, "Whether a silence longer than `session_gap` lies before it"),
                Column("unseen_s", "DOUBLE", "s", "Time before its start in which the edge may lie"),
                Column("valve_dhw_s", "DOUBLE", "s", "Time for which the three-way valve led to the tank"),
                Column("valve_space_s", "DOUBLE", "s", "Time for which the three-way valve led to the house"),
                _PROVISIONAL,
                *figures[len(RATIO_COLUMNS) :],
            ),
        ),
        Table(
            "sessions",
            "Stretches of one mode (heating, dhw, cooling, standby), kept whole over the defrosts within them",
            (
                *_INTERVAL,
                Column("mode", "VARCHAR", None, "standby, heating, dhw or cooling"),
                _PROVISIONAL,
                Column("start_uncertainty_s", "DOUBLE", "s", "The begin lies between `start` minus this and `start`"),
                Column("end_uncertainty_s", "DOUBLE", "s", "The end lies between `end` minus this and `end`"),
                *figures,
            ),
        ),
        Table(
            "cycles",
            "Stretches of one state of the compressor within a session: on, off, defrost",
            (
                *_INTERVAL,
                Column("mode", "VARCHAR", None, "Mode of the session"),
                Column("state", "VARCHAR", None, "on, off or defrost"),
                Column("session_start", TIME, None, "Begin of the session it belongs to (UTC)"),
                _PROVISIONAL,
                Column("start_uncertainty_s", "DOUBLE", "s", "The begin lies between `start` minus this and `start`"),
                Column("end_uncertainty_s", "DOUBLE", "s", "The end lies between `end` minus this and `end`"),
                *figures,
            ),
        ),
        Table(
            "defrosts",
            "Defrosts of the evaporator",
            (
                *_INTERVAL,
                Column("mode", "VARCHAR", None, "Mode of the session that it interrupts and that is charged for it"),
                Column("kind", "VARCHAR", None, "Where its heat came from: tank, space, or both; null when unknown"),
                _PROVISIONAL,
                Column("start_uncertainty_s", "DOUBLE", "s", "The begin lies between `start` minus this and `start`"),
                Column("end_uncertainty_s", "DOUBLE", "s", "The end lies between `end` minus this and `end`"),
                *figures,
            ),
        ),
        Table("hourly", "Figures per hour of the house's clock", (*periods, *figures)),
        Table("daily", "Figures per day of the house's calendar (a day may have 23 or 25 hours)", (*periods, *figures)),
        Table("weekly", "Figures per ISO week of the house's calendar", (*periods, *figures)),
        Table("monthly", "Figures per month of the house's calendar", (*periods, *figures)),
        Table(
            "yearly",
            "Figures per year of the house's calendar; `cop` is the JAZ (seasonal performance factor)",
            (*periods, *figures),
        ),
        Table("all_time", "Figures over all that is stored", (*periods, *figures)),
    ]
    return {table.name: table for table in listed}
