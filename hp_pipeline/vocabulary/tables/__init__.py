"""The tables that people query: every column's name, type, unit and meaning, said once.

The polars schemas, the comments in the DuckDB catalogue and the data dictionary in `docs/` all come from here.
Types are DuckDB's names. One module for each family of tables.
"""

from __future__ import annotations

from functools import cache

from hp_pipeline.vocabulary.tables.costs import cost_tables
from hp_pipeline.vocabulary.tables.counters import INCREMENT_KINDS, LEDGER_KINDS, counter_tables
from hp_pipeline.vocabulary.tables.cycling import SHORT_CYCLING, cycling_tables
from hp_pipeline.vocabulary.tables.defrosts import defrost_tables
from hp_pipeline.vocabulary.tables.efficiency import efficiency_tables
from hp_pipeline.vocabulary.tables.events import event_tables
from hp_pipeline.vocabulary.tables.faults import FAULT_KINDS, fault_tables
from hp_pipeline.vocabulary.tables.figures import (
    BANDED_RATIOS,
    COUNT_COLUMNS,
    DURATION_COLUMNS,
    METERED_APART_PARTS,
    METERED_PARTS,
    RATIO_COLUMNS,
    STATISTICS,
    energy_columns,
    figure_columns,
    statistic_columns,
)
from hp_pipeline.vocabulary.tables.filled import filled_tables
from hp_pipeline.vocabulary.tables.operation import CYCLE_STATES, MODES, operation_tables
from hp_pipeline.vocabulary.tables.outlook import outlook_tables
from hp_pipeline.vocabulary.tables.performance import performance_tables
from hp_pipeline.vocabulary.tables.periods import period_tables
from hp_pipeline.vocabulary.tables.solar import (
    DEVICE_COUNTERS,
    HOUSE_SUM_COLUMNS,
    SOLAR_COUNT_COLUMNS,
    SOLAR_DURATION_COLUMNS,
    SOLAR_ENERGY_COLUMNS,
    SOLAR_LEVELS,
    SOLAR_MEANS,
    TANK_LAYERS,
    solar_tables,
)
from hp_pipeline.vocabulary.tables.standstill import standstill_tables
from hp_pipeline.vocabulary.tables.states import RECOGNISED_STATES, state_tables
from hp_pipeline.vocabulary.tables.table import TIME, Column, Partitions, Table

__all__ = [
    "BANDED_RATIOS",
    "COUNT_COLUMNS",
    "CYCLE_STATES",
    "DEVICE_COUNTERS",
    "DURATION_COLUMNS",
    "FAULT_KINDS",
    "HOUSE_SUM_COLUMNS",
    "INCREMENT_KINDS",
    "LEDGER_KINDS",
    "METERED_APART_PARTS",
    "METERED_PARTS",
    "MODES",
    "RATIO_COLUMNS",
    "RECOGNISED_STATES",
    "SHORT_CYCLING",
    "SOLAR_COUNT_COLUMNS",
    "SOLAR_DURATION_COLUMNS",
    "SOLAR_ENERGY_COLUMNS",
    "SOLAR_LEVELS",
    "SOLAR_MEANS",
    "STATISTICS",
    "TANK_LAYERS",
    "TIME",
    "Column",
    "Partitions",
    "Table",
    "energy_columns",
    "figure_columns",
    "statistic_columns",
    "tables",
]


@cache
def tables() -> dict[str, Table]:
    """All tables by name, in the order of the data's way."""
    families = (
        operation_tables(),
        standstill_tables(),
        counter_tables(),
        event_tables(),
        state_tables(),
        cycling_tables(),
        fault_tables(),
        defrost_tables(),
        performance_tables(),
        period_tables(),
        efficiency_tables(),
        cost_tables(),
        outlook_tables(),
        filled_tables(),
        solar_tables(),
    )
    return {table.name: table for family in families for table in family}
