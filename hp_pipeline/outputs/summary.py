"""Figures as people read them in a terminal, and as JSON and CSV for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl
from rich.table import Table

Format = Literal["text", "json", "csv"]

_HEADERS: Mapping[str, str] = {
    "heat_pump": "heat pump",
    "period": "period",
    "start": "from",
    "end": "to",
    "mode": "mode",
    "state": "state",
    "electrical_energy_kwh": "electricity kWh",
    "thermal_energy_kwh": "heat kWh",
    "cop": "COP",
    "cop_heating": "heating",
    "cop_dhw": "hot water",
    "compressor_starts": "starts",
    "defrosts": "defrosts",
    "electrical_coverage": "known",
    "outdoor_temperature_mean": "outdoor °C",
    "flow_temperature_mean": "flow °C",
    "flow_temperature_last": "flow at end °C",
    "flow_setpoint_last": "set-point °C",
    "room_temperature_last": "room °C",
    "outdoor_from": "outdoor from °C",
    "outdoor_to": "to °C",
    "hours": "hours",
    "provisional": "",
    "cop_reason": "no COP because",
}

PERIOD_VIEW = (
    *("heat_pump", "period", "electrical_energy_kwh", "thermal_energy_kwh", "cop", "cop_heating", "cop_dhw"),
    *("compressor_starts", "defrosts", "outdoor_temperature_mean", "electrical_coverage", "cop_reason"),
)
SESSION_VIEW = (
    *("heat_pump", "start", "end", "mode", "electrical_energy_kwh", "thermal_energy_kwh", "cop", "compressor_starts"),
    *("defrosts", "outdoor_temperature_mean", "flow_temperature_mean", "provisional"),
)
CYCLE_VIEW = (
    *("heat_pump", "start", "end", "mode", "state", "electrical_energy_kwh", "thermal_energy_kwh", "cop"),
    *("outdoor_temperature_mean", "flow_temperature_last", "flow_setpoint_last", "room_temperature_last"),
)
TEMPERATURE_VIEW = (
    *("heat_pump", "outdoor_from", "outdoor_to", "hours", "electrical_energy_kwh", "thermal_energy_kwh", "cop"),
    "flow_temperature_mean",
)
"""Which columns a person is shown; JSON and CSV have all of them."""


def text_table(rows: pl.DataFrame, view: Sequence[str], time_zone: str, title: str) -> Table:
    """The rows as a table for the terminal: local time, figures rounded, unknown is –."""
    zone = ZoneInfo(time_zone)
    names = [name for name in view if name in rows.columns and (name != "cop_reason" or rows[name].count())]
    if rows.select(pl.col("heat_pump").n_unique()).item() <= 1:
        names = [name for name in names if name != "heat_pump"]
    table = Table(title=title, title_justify="left", header_style="bold", show_edge=False, pad_edge=False)
    for name in names:
        table.add_column(_HEADERS[name], justify="right" if rows.schema[name].is_numeric() else "left")
    for row in rows.select(names).iter_rows():
        table.add_row(*(_cell(name, value, zone) for name, value in zip(names, row, strict=True)))
    return table


def _cell(name: str, value: object, zone: ZoneInfo) -> str:
    if name == "provisional":
        return "provisional" if value else ""
    if name == "cop_reason":
        return str(value or "")
    if value is None:
        return "–"
    if name.endswith("_coverage") and isinstance(value, float):
        return f"{value:.0%}"
    if isinstance(value, datetime):
        return f"{value.astimezone(zone):%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:.2f}" if name.startswith("cop") or name.endswith("_kwh") else f"{value:.1f}"
    return str(value)


def as_json(rows: pl.DataFrame) -> str:
    """The rows as a JSON array of objects; times are ISO 8601 in UTC, unknown is null."""
    return json.dumps(
        [{name: _plain(value) for name, value in row.items()} for row in rows.iter_rows(named=True)], ensure_ascii=False
    )


def _plain(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else value


def as_csv(rows: pl.DataFrame) -> str:
    """The rows as CSV; times are ISO 8601 in UTC, unknown is empty."""
    times = [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.Datetime)]
    return rows.with_columns(pl.col(times).dt.to_string("%Y-%m-%dT%H:%M:%SZ")).write_csv()
