"""How assets look in the UI: keys, groups, column schemas, previews, pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import dagster as dg
import polars as pl

from hp_pipeline.vocabulary.tables import tables

OWNERS = ["team:house"]

GROUPS: Mapping[str, str] = {
    "readings": "1_readings",
    "frames": "2_frames",
    "operation": "3_operation",
    "counters": "3_operation",
    "counter_ledger": "3_operation",
    "counter_states": "3_operation",
    "counter_freezes": "3_operation",
    "segments": "3_operation",
    "standstills": "3_operation",
    "sensor_offsets": "3_operation",
    "sessions": "4_events",
    "cycles": "4_events",
    "defrosts": "4_events",
    "state_intervals": "4_events",
    "state_daily": "4_events",
    "compressor_runs": "4_events",
    "cycling_daily": "4_events",
    "faults": "4_events",
    "defrost_monthly": "5_performance",
    "defrost_seasonal": "5_performance",
    "hourly": "5_performance",
    "daily": "5_performance",
    "weekly": "5_performance",
    "monthly": "5_performance",
    "seasonal": "5_performance",
    "yearly": "5_performance",
    "all_time": "5_performance",
    "comparisons": "5_performance",
    "outlook": "5_performance",
    "filled_daily": "5_performance",
    "quarter_hourly": "5_performance",
    "heat_by_temperature": "5_performance",
    "heat_by_temperature_monthly": "6_efficiency",
    "efficiency": "6_efficiency",
    "degree_days": "6_efficiency",
    "efficiency_seasonal": "6_efficiency",
    "temperature_bins": "6_efficiency",
    "heating_curve": "6_efficiency",
    "heat_loss": "6_efficiency",
    "heat_loss_bins": "6_efficiency",
    "heat_loss_all_time": "6_efficiency",
    "performance_5min": "5_performance",
    "costs_daily": "6_costs",
    "costs_weekly": "6_costs",
    "costs_monthly": "6_costs",
    "costs_seasonal": "6_costs",
    "costs_yearly": "6_costs",
    "costs_all_time": "6_costs",
    "solar_frames": "2_frames",
    "solar_hourly": "6_solar",
    "solar_daily": "6_solar",
    "solar_monthly": "6_solar",
    "solar_yearly": "6_solar",
    "house_hourly": "6_solar",
    "house_daily": "6_solar",
    "house_monthly": "6_solar",
    "house_yearly": "6_solar",
    "daily_csv": "7_outputs",
    "weekly_csv": "7_outputs",
}

PREVIEW_COLUMNS: Mapping[str, Sequence[str]] = {
    "sessions": ("start", "end", "mode", "electrical_energy_kwh", "thermal_energy_kwh", "cop", "provisional"),
    "cycles": ("start", "end", "mode", "state", "electrical_energy_kwh", "thermal_energy_kwh", "cop"),
    "counters": ("start", "end", "source", "signal", "increment", "total", "kind"),
    "counter_ledger": ("time", "source", "signal", "kind", "before", "after", "increment_taken"),
    "counter_states": ("time", "source", "signal", "shown"),
    "counter_freezes": ("start", "end", "source", "signal", "since", "moved", "verdict", "told_kwh"),
    "defrosts": ("start", "end", "mode", "kind", "electrical_energy_kwh", "thermal_energy_kwh", "heat_from_tank_kwh"),
    "state_intervals": ("start", "end", "signal", "state", "since", "open"),
    "compressor_runs": ("start", "end", "mode", "run_s", "pause_s", "starts_60min"),
    "cycling_daily": ("period", "starts", "run_median_s", "pause_median_s", "short_cycling", "short_cycling_reason"),
    **dict.fromkeys(
        ("defrost_monthly", "defrost_seasonal"),
        ("period", "outdoor_from", "outdoor_to", "defrosts", "defrost_share", "recovery_mean_s", "cop", "cop_cost"),
    ),
    "faults": ("start", "kind", "code", "text", "mode", "session_start"),
    "state_daily": ("period", "signal", "state", "begins", "known_s", "share"),
    "performance_5min": ("start", "mode", "electrical_power_mean", "cop_modulation", "cop_delta_t"),
    "sensor_offsets": ("start", "offset_k", "spread_k", "standstills_in_all", "applied", "offset_reason"),
    **dict.fromkeys(
        ("hourly", "daily", "weekly", "monthly", "seasonal", "yearly", "all_time"),
        ("period", "electrical_energy_kwh", "thermal_energy_kwh", "cop", "cop_heating", "cop_dhw", "cop_reason",
         "electrical_coverage"),
    ),
    **dict.fromkeys(
        ("costs_daily", "costs_weekly", "costs_monthly", "costs_seasonal", "costs_yearly", "costs_all_time"),
        ("period", "electrical_energy_kwh", "cost", "price_per_kwh", "cost_per_kwh_heat", "standing_charge", "co2_kg",
         "cost_reason"),
    ),
    "efficiency": ("period", "kind", "mode", "cop_running", "carnot_grade", "flow_temperature_weighted",
                   "outdoor_temperature_weighted", "efficiency_reason"),
    "degree_days": ("period", "outdoor_temperature_mean", "heating_degree_days", "degree_day_number",
                    "thermal_energy_heating_kwh"),
    "efficiency_seasonal": ("period", "mode", "cop_running", "carnot_grade", "cop_normalised", "normalised_reason"),
    "temperature_bins": ("period", "mode", "outdoor_from", "hours", "thermal_energy_kwh", "cop_running",
                         "cop_at_reference"),
    "heating_curve": ("period", "flow_slope", "flow_level_c", "flow_set_slope", "flow_set_level_c", "curve_reason"),
    **dict.fromkeys(
        ("heat_loss", "heat_loss_all_time"),
        ("period", "days", "heat_loss_w_per_k", "heat_loss_low_w_per_k", "heat_loss_high_w_per_k", "base_temperature",
         "heat_loss_reason"),
    ),
    "comparisons": ("kind", "against", "period", "cop", "cop_before", "electrical_energy_kwh",
                    "electrical_energy_kwh_before", "electrical_energy_change", "comparison_reason"),
    "outlook": ("kind", "period", "cop", "electrical_energy_kwh", "electrical_energy_estimate_kwh", "cop_estimate",
                "days_left", "estimate_reason"),
    "filled_daily": ("period", "electrical_energy_filled_up_kwh", "electrical_filled_share", "electrical_filling",
                     "thermal_energy_filled_up_kwh", "thermal_filled_share", "thermal_filling"),
    **dict.fromkeys(
        ("solar_hourly", "solar_daily", "solar_monthly", "solar_yearly"),
        ("period", "solar_kwh", "immersion_kwh", "pellet_kwh", "heat_pump_kwh", "draw_kwh", "unexplained_kwh",
         "stored_change_kwh", "coverage"),
    ),
    **dict.fromkeys(
        ("house_hourly", "house_daily", "house_monthly", "house_yearly"),
        ("period", "heat_pump_kwh", "solar_kwh", "immersion_kwh", "pellet_kwh", "draw_kwh", "closure_error_kwh",
         "closure"),
    ),
}  # fmt: skip


def asset_key(table: str, whose: str) -> dg.AssetKey:
    """The key of one heat pump's (or source's) part of a table: the graph shows the last part of a key only, and is to
    say both."""
    return dg.AssetKey([f"{whose}_{table}"])


def column_schema(table: str) -> dg.TableSchema:
    """The table's columns for the UI."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type.lower(),
                description=f"{column.description} [{column.unit}]" if column.unit else column.description,
            )
            for column in tables()[table].columns
        ]
    )


def spec(
    table: str,
    whose: str,
    description: str,
    *,
    deps: Sequence[dg.AssetDep] = (),
    partitions: dg.PartitionsDefinition[str] | None = None,
    freshness: dg.FreshnessPolicy | None = None,
    kinds: frozenset[str] = frozenset({"polars", "parquet"}),
) -> dg.AssetSpec:
    """The specification of one heat pump's (or source's) part of a table."""
    return dg.AssetSpec(
        asset_key(table, whose),
        description=description,
        deps=deps,
        partitions_def=partitions,
        group_name=GROUPS[table],
        owners=OWNERS,
        kinds=set(kinds),
        freshness_policy=freshness,
        metadata={
            "dagster/table_name": table,
            **({"dagster/column_schema": column_schema(table)} if table in tables() else {}),
        },
    )


_SHOWN_AT_ONCE = 1000
"""Markdown shorter than this is shown by the UI as it is, longer one behind a link."""


def preview(table: str, rows: pl.DataFrame) -> dg.MetadataValue:
    """The newest rows of a table as Markdown, as many as are shown without a click, the newest first."""
    names = [name for name in PREVIEW_COLUMNS[table] if name in rows.columns and rows[name].null_count() < rows.height]
    text = "| " + " | ".join(_HEADERS.get(name, name) for name in names) + " |\n|" + "---|" * len(names)
    for row in rows.sort("start" if "start" in rows.columns else "time", descending=True).select(names).iter_rows():
        line = "\n| " + " | ".join(_cell(name, value) for name, value in zip(names, row, strict=True)) + " |"
        if len(text) + len(line) >= _SHOWN_AT_ONCE:
            break
        text += line
    return dg.MetadataValue.md(text)


_HEADERS = {
    "start": "from (UTC)",
    "time": "at (UTC)",
    "end": "to (UTC)",
    "electrical_energy_kwh": "electricity kWh",
    "thermal_energy_kwh": "heat kWh",
    "cop": "COP",
    "cop_heating": "COP heating",
    "cop_dhw": "COP dhw",
    "cop_reason": "no COP because",
    "electrical_coverage": "known",
    "heat_from_tank_kwh": "from the tank kWh",
}


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.0%}" if name.endswith(("coverage", "closure")) or name == "share" else f"{value:.2f}"
    return f"{value:%Y-%m-%d %H:%M}" if hasattr(value, "strftime") else str(value)


def picture(png: bytes) -> dg.MetadataValue:
    """A PNG as Markdown."""
    return dg.MetadataValue.md(f"![day](data:image/png;base64,{base64.b64encode(png).decode()})")
