"""What a table and a column are, and the columns that many tables share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TIME = "TIMESTAMP WITH TIME ZONE"


@dataclass(frozen=True)
class Column:
    """One column: name, DuckDB type, unit (None where there is none), meaning."""

    name: str
    type: str
    unit: str | None
    description: str


Partitions = Literal["days", "periods", "none"]
"""How an asset of a table is stored: by UTC or local day, as Dagster's partitions; by the first local day of longer
periods, of which Dagster knows nothing; or as one file."""


@dataclass(frozen=True)
class Table:
    """One table: what a row is, its columns, how it is partitioned, and whether what comes is merged into what there is
    of a day, rather than the day made anew."""

    name: str
    description: str
    columns: tuple[Column, ...]
    partitions: Partitions = "days"
    merged: bool = False

    @property
    def by_month(self) -> bool:
        """Whether the days of a month that is over are one file."""
        return self.partitions == "days" and not self.merged

    @property
    def names(self) -> list[str]:
        """The columns' names in order."""
        return [column.name for column in self.columns]


HEAT_PUMP = Column("heat_pump", "VARCHAR", None, "Heat pump, by its id in the settings")
INTERVAL = (
    HEAT_PUMP,
    Column("start", TIME, None, "Begin (UTC)"),
    Column("end", TIME, None, "End (UTC), exclusive"),
)

PERIOD = (
    Column(
        "period",
        "VARCHAR",
        None,
        "The period in the house's calendar, such as 2026-03-29, 2026-W13, 2026-03, 2025/26, 2026",
    ),
    Column("local_start", "VARCHAR", None, "Begin in the house's time, with its offset from UTC"),
)
PROVISIONAL = Column("provisional", "BOOLEAN", None, "Later readings may still change it")
