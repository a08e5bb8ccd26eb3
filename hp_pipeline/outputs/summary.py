"""Figures as people read them in a terminal, and as JSON and CSV for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl

Format = Literal["text", "json", "csv"]

_HEADERS: Mapping[str, str] = {
    "heat_pump": "heat pump",
    "period": "period",
    "start": "from",
    "end": "to",
    "mode": "mode",
    "state": "state",
    "electrical_energy_kwh": "electr.\nkWh",
    "thermal_energy_kwh": "heat\nkWh",
    "cop": "COP",
    **{f"spf_h{boundary}": f"SPF\nH{boundary}" for boundary in (1, 2, 3, 4)},
    "cop_heating": "COP\nheating",
    "cop_dhw": "COP\ndhw",
    "compressor_starts": "starts",
    "defrosts": "de-\nfrosts",
    "electrical_coverage": "electr.\nknown",
    "thermal_coverage": "heat\nknown",
    "outdoor_temperature_mean": "outdoor\n°C",
    "flow_temperature_mean": "flow\n°C",
    "flow_temperature_last": "flow at\nend °C",
    "flow_setpoint_last": "set-\npoint °C",
    "room_temperature_last": "room\n°C",
    "outdoor_from": "outdoor\nfrom °C",
    "outdoor_to": "to\n°C",
    "hours": "hours",
    "solar_system": "solar\nheating",
    "solar_kwh": "solar\nkWh",
    "immersion_kwh": "immers.\nkWh",
    "pellet_kwh": "pellet\nkWh",
    "heat_pump_kwh": "heat\npump kWh",
    "unexplained_kwh": "unex-\nplained",
    "draw_kwh": "drawn\nkWh",
    "standby_loss_kwh": "lost\nkWh",
    "stored_change_kwh": "stored\nkWh",
    "solar_difference_kwh": "device\nsays more",
    "closure_error_kwh": "closure\nerror",
    "closure": "of what\ncame",
    "coverage": "known",
    "provisional": "",
    "confidence": "mode\nsure",
    "starts": "starts",
    "device_starts": "device\ncounts",
    "run_s": "run\nmin",
    "pause_s": "pause\nmin",
    "period_s": "period\nmin",
    "run_median_s": "run\nmin",
    "pause_median_s": "pause\nmin",
    "pauses_too_short": "pauses\ntoo short",
    "most_starts_60min": "most in\n60 min",
    "starts_60min": "starts in\n60 min",
    "period_median_s": "period\nmin",
    "short_cycling": "short\ncycling",
    "heat_taken_kwh": "taken\nkWh",
    "heat_taken_net_kwh": "taken\nkWh",
    "heat_from_tank_kwh": "from the\ntank kWh",
    "electrical_energy_defrost_kwh": "electr.\nkWh",
    "recovery_s": "as warm\nafter min",
    "recovery_mean_s": "as warm\nafter min",
    "defrost_share": "share of\nrunning",
    "cop_cost": "cost\nCOP",
    "code": "code",
    "text": "meaning",
    "session_start": "session\nfrom",
    "stopped": "compressor\nstopped",
    "signal": "signal",
    "begins": "begins",
    "known_s": "min",
    "share": "share",
    "longest_s": "longest\nmin",
    "cop_reason": "no COP because",
    "cost": "cost",
    "standing_charge": "standing\ncharge",
    "cost_heating": "cost\nheating",
    "cost_dhw": "cost\ndhw",
    "price_per_kwh": "per kWh\nelectr.",
    "cost_per_kwh_heat": "per kWh\nheat",
    "cost_per_kwh_heating": "per kWh\nheating",
    "cost_per_kwh_dhw": "per kWh\ndhw",
    "co2_kg": "CO2\nkg",
    "co2_g_per_kwh_heat": "CO2 g/kWh\nheat",
    "cost_reason": "no cost of heat because",
    "kind": "of",
    "days_known": "days\nknown",
    "days_left": "days\nleft",
    "electrical_energy_filled_up_kwh": "electr.\nkWh",
    "electrical_filled_share": "filled\nin",
    "electrical_filling": "how",
    "thermal_energy_filled_up_kwh": "heat\nkWh",
    "thermal_filled_share": "filled\nin",
    "thermal_filling": "how",
    "cop_estimate": "COP\nestimate",
    "cost_estimate": "cost\nestimate",
    "electrical_energy_estimate_kwh": "electr.\nestimate",
    "electrical_energy_estimate_low_kwh": "at\nleast",
    "electrical_energy_estimate_high_kwh": "at\nmost",
    "thermal_energy_estimate_kwh": "heat\nestimate",
    "thermal_energy_estimate_low_kwh": "at\nleast",
    "thermal_energy_estimate_high_kwh": "at\nmost",
    "electrical_energy_plain_kwh": "electr.\nby mean day",
    "estimate_reason": "no estimate because",
    "electrical_energy_kwh_before": "electr.\nbefore",
    "electrical_energy_change": "\nchange",
    "thermal_energy_kwh_before": "heat\nbefore",
    "thermal_energy_change": "\nchange",
    "cop_before": "COP\nbefore",
    "cop_change": "\nchange",
    "outdoor_temperature_mean_before": "before\n°C",
    "comparison_reason": "not compared because",
}

PERIOD_VIEW = (
    *("heat_pump", "period", "electrical_energy_kwh", "thermal_energy_kwh", "cop", "cop_heating", "cop_dhw"),
    *("spf_h1", "spf_h2", "spf_h3", "spf_h4", "compressor_starts", "defrosts", "outdoor_temperature_mean"),
    *("electrical_coverage", "thermal_coverage", "cop_reason"),
)
SESSION_VIEW = (
    *("heat_pump", "start", "end", "mode", "electrical_energy_kwh", "thermal_energy_kwh", "cop", "compressor_starts"),
    *("defrosts", "outdoor_temperature_mean", "flow_temperature_mean", "confidence", "provisional", "cop_reason"),
)
CYCLE_VIEW = (
    *("heat_pump", "start", "end", "mode", "state", "electrical_energy_kwh", "thermal_energy_kwh", "cop"),
    *("outdoor_temperature_mean", "flow_temperature_last", "flow_setpoint_last", "room_temperature_last"),
)
COST_VIEW = (
    *("heat_pump", "period", "electrical_energy_kwh", "cost", "price_per_kwh", "cost_heating", "cost_dhw"),
    *("standing_charge", "cost_per_kwh_heat", "cost_per_kwh_heating", "cost_per_kwh_dhw", "co2_kg"),
    *("co2_g_per_kwh_heat", "cost_reason"),
)
OUTLOOK_VIEW = (
    *("heat_pump", "kind", "period", "days_known", "days_left", "electrical_energy_kwh", "thermal_energy_kwh", "cop"),
    *("electrical_energy_estimate_kwh", "electrical_energy_estimate_low_kwh", "electrical_energy_estimate_high_kwh"),
    *("thermal_energy_estimate_kwh", "thermal_energy_estimate_low_kwh", "thermal_energy_estimate_high_kwh"),
    *("cop_estimate", "cost_estimate", "electrical_energy_plain_kwh", "cop_reason", "estimate_reason"),
)
FILLED_VIEW = (
    *("heat_pump", "period", "outdoor_temperature_mean", "electrical_energy_filled_up_kwh", "electrical_filled_share"),
    *("electrical_filling", "thermal_energy_filled_up_kwh", "thermal_filled_share", "thermal_filling"),
)
COMPARISON_VIEW = (
    *("heat_pump", "kind", "period", "electrical_energy_kwh", "electrical_energy_kwh_before"),
    *("electrical_energy_change", "thermal_energy_kwh", "thermal_energy_kwh_before", "thermal_energy_change"),
    *("cop", "cop_before", "cop_change", "outdoor_temperature_mean_before", "comparison_reason"),
)
SOLAR_VIEW = (
    *("solar_system", "period", "solar_kwh", "immersion_kwh", "pellet_kwh", "heat_pump_kwh", "unexplained_kwh"),
    *("draw_kwh", "standby_loss_kwh", "stored_change_kwh", "solar_difference_kwh", "coverage"),
)
HOUSE_VIEW = (
    *("solar_system", "period", "heat_pump_kwh", "solar_kwh", "immersion_kwh", "pellet_kwh", "draw_kwh"),
    *("standby_loss_kwh", "stored_change_kwh", "closure_error_kwh", "closure", "coverage"),
)
CYCLING_VIEW = (
    *("heat_pump", "period", "starts", "device_starts", "run_median_s", "pause_median_s", "pauses_too_short"),
    *("most_starts_60min", "period_median_s", "short_cycling"),
)
RUN_VIEW = ("heat_pump", "start", "end", "mode", "run_s", "pause_s", "period_s", "starts_60min", "provisional")
DEFROST_VIEW = (
    *("heat_pump", "start", "end", "mode", "kind", "electrical_energy_kwh", "heat_taken_kwh", "heat_from_tank_kwh"),
    *("recovery_s", "outdoor_temperature_mean"),
)
DEFROST_BIN_VIEW = (
    *("heat_pump", "period", "outdoor_from", "outdoor_to", "defrosts", "defrost_share", "heat_taken_net_kwh"),
    *("electrical_energy_defrost_kwh", "recovery_mean_s", "cop", "cop_cost"),
)
FAULT_VIEW = ("heat_pump", "start", "kind", "code", "text", "mode", "session_start", "stopped")
STATE_VIEW = ("heat_pump", "period", "signal", "state", "begins", "known_s", "share", "longest_s")
TEMPERATURE_VIEW = (
    *("heat_pump", "outdoor_from", "outdoor_to", "hours", "electrical_energy_kwh", "thermal_energy_kwh", "cop"),
    *("flow_temperature_mean", "cop_reason"),
)
"""Which columns a person is shown; JSON and CSV have all of them."""

_LEFT_OUT_FIRST = (
    *(
        "spf_h1",
        "spf_h2",
        "spf_h3",
        "spf_h4",
        "room_temperature_last",
        "flow_setpoint_last",
        "thermal_coverage",
        "outdoor_temperature_mean",
        "defrosts",
    ),
    *("flow_temperature_last", "flow_temperature_mean", "compressor_starts", "electrical_coverage", "cop_dhw"),
    *("cop_heating", "provisional", "confidence", "end", "electrical_energy_plain_kwh", "cost_estimate", "days_known"),
    "standing_charge",
    *("cost_heating", "cost_dhw", "co2_kg", "co2_g_per_kwh_heat", "outdoor_temperature_mean_before"),
    *("thermal_energy_estimate_low_kwh", "thermal_energy_estimate_high_kwh", "thermal_energy_kwh_before"),
    *("thermal_energy_change", "cost_per_kwh_heating", "cost_per_kwh_dhw", "thermal_energy_estimate_kwh"),
    "thermal_energy_kwh",
    *("session_start", "stopped", "longest_s", "period_s", "starts_60min", "pauses_too_short", "most_starts_60min"),
    *("period_median_s", "heat_from_tank_kwh", "recovery_s", "recovery_mean_s", "electrical_energy_defrost_kwh"),
)
"""What is left out, one after the other, while a table is wider than the terminal."""

_GAP = 2
"""Blanks between two columns."""


def text_table(rows: pl.DataFrame, view: Sequence[str], time_zone: str, title: str, width: int | None = None) -> str:
    """The rows as a table for the terminal: local time, figures rounded, unknown is –, no cell is cut.

    Args:
        rows: of one of the tables, with at least some of the view's columns.
        view: the columns to show, in order; those that nobody knows anything of are left out.
        time_zone: the house's.
        title: the line above.
        width: of the terminal: the least important columns are left out until the table fits. None: no limit.
    """
    zone = ZoneInfo(time_zone)
    names = [name for name in view if name in rows.columns and (name not in _IF_KNOWN or _says_something(rows[name]))]
    if names and names[0] in {"heat_pump", "solar_system"} and rows[names[0]].n_unique() <= 1:
        names = names[1:]
    cells = {
        name: [*_HEADERS[name].split("\n"), *(_cell(name, row, zone) for row in rows.iter_rows(named=True))]
        for name in names
    }
    widths = {name: max(map(len, column)) for name, column in cells.items()}

    def total() -> int:
        return sum(widths[name] + _GAP for name in names) - _GAP

    notes: list[str] = []
    for name in [name for name in names if name.endswith("_reason")][::-1]:
        if width is not None and total() > width:
            names.remove(name)
            counted = rows[name].drop_nulls().value_counts(sort=True, name="rows")
            lacks = _HEADERS[name].removesuffix(" because").capitalize().replace("cop", "COP")
            notes += [f"{lacks} in {count} of {rows.height} rows: {reason}" for reason, count in counted.iter_rows()]
    left_out = []
    for name in _LEFT_OUT_FIRST:
        if width is None or total() <= width:
            break
        if name in names:
            names.remove(name)
            left_out.append(" ".join(_HEADERS[name].replace("-\n", "").split()) or name)
    if left_out:
        notes.append(f"A wider terminal shows more: {', '.join(left_out)}.")
    lines = [title]
    for header in range(2):
        # Headers of one line stand on the lower one.
        parts = [_header(name, header).rjust(widths[name]) if _is_number(rows, name)
                 else _header(name, header).ljust(widths[name]) for name in names]  # fmt: skip
        if any(part.strip() for part in parts):
            lines.append((" " * _GAP).join(parts).rstrip())
    lines.append((" " * _GAP).join("─" * widths[name] for name in names))
    body = {name: column[-rows.height :] if rows.height else [] for name, column in cells.items()}
    for number in range(rows.height):
        parts = [body[name][number].rjust(widths[name]) if _is_number(rows, name)
                 else body[name][number].ljust(widths[name]) for name in names]  # fmt: skip
        lines.append((" " * _GAP).join(parts).rstrip())
    return "\n".join([*lines, *notes])


_IF_KNOWN = frozenset(
    {
        *("provisional", "confidence", "room_temperature_last", "flow_setpoint_last", "standing_charge", "co2_kg"),
        "heat_pump_kwh",
        *("co2_g_per_kwh_heat", "spf_h1", "spf_h2", "spf_h3", "spf_h4"),
        *(name for name in _HEADERS if name.endswith(("_reason", "_before", "_change")) or "_estimate" in name),
    }
)
"""Columns that are shown only when they say something."""


def _says_something(column: pl.Series) -> bool:
    if column.name == "confidence":
        return bool((column < 1).any())  # that the machine tells its mode need not be said
    return bool(column.any()) if column.dtype == pl.Boolean else column.null_count() < column.len()


def _is_number(rows: pl.DataFrame, name: str) -> bool:
    return rows.schema[name].is_numeric()


def _header(name: str, line: int) -> str:
    parts = _HEADERS[name].split("\n")
    return parts[line] if len(parts) == 2 else ("", parts[0])[line]


_TWO_PLACES = ("cop", "spf", "cost", "standing_charge")


def _cell(name: str, row: Mapping[str, object], zone: ZoneInfo) -> str:
    value = row[name]
    if name == "provisional":
        return "provisional" if value else ""
    if name.endswith("_reason"):
        return str(value or "")
    if value is None:
        return "–"
    if name == "confidence" and isinstance(value, float):
        return f"{min(value, 0.99):.0%}" if value < 1 else ""
    if name.endswith(("coverage", "closure")) and isinstance(value, float):
        return "100%" if value >= 0.9995 else f"{min(value, 0.99):.0%}"  # 100 % is to mean all of it
    if name.endswith("_change") and isinstance(value, float):
        return f"{value:+.2f}" if name.startswith("cop") else f"{value:+.1%}"
    if "per_kwh" in name and isinstance(value, float):
        return f"{value:.1f}" if name.startswith("co2") else f"{value:.4f}"
    if name.endswith("share") and isinstance(value, float):
        return f"{value:.1%}"
    if name == "device_starts":
        return f"{value:g}"
    if name.endswith("_s") and isinstance(value, float):
        return f"{value / 60:.1f}"  # for people, in minutes
    if isinstance(value, datetime):
        local = value.astimezone(zone)
        start = row.get("start")
        if name == "end" and isinstance(start, datetime):
            days = (local.date() - start.astimezone(zone).date()).days
            return f"{local:%H:%M}" + (f" +{days}d" if days else "")
        return f"{local:%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return (
            f"{value:.2f}" if name.startswith(_TWO_PLACES) or name.endswith(("_kwh", "_kwh_before")) else f"{value:.1f}"
        )
    return str(value)


def as_json(rows: pl.DataFrame) -> str:
    """The rows as a JSON array of objects; times are ISO 8601 with their offset, NaN and infinities are null."""
    return json.dumps(
        [{name: _plain(value) for name, value in row.items()} for row in rows.iter_rows(named=True)],
        ensure_ascii=False,
        allow_nan=False,
    )


def _plain(value: object) -> object:
    """A value as JSON knows it; whatever it does not know is told in words."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, pl.Series):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    return str(value)


def as_csv(rows: pl.DataFrame) -> str:
    """The rows as CSV; times are ISO 8601 in UTC, unknown is empty, lists and structures are JSON."""
    columns = []
    for name, dtype in rows.schema.items():
        column = pl.col(name)
        if isinstance(dtype, pl.Datetime):
            column = column.dt.convert_time_zone("UTC") if dtype.time_zone else column
            columns.append(column.dt.to_string("%Y-%m-%dT%H:%M:%SZ" if dtype.time_zone else "%Y-%m-%dT%H:%M:%S"))
        elif dtype.is_nested() or dtype in {pl.Binary, pl.Duration, pl.Object}:
            texts = [None if value is None else json.dumps(_plain(value)) for value in rows[name].to_list()]
            columns.append(pl.lit(pl.Series(name, texts, pl.String)))
        else:
            columns.append(column)
    return rows.select(columns).write_csv()
