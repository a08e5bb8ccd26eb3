"""Heating by outdoor temperature, and the floors that its COP obeys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from hp_pipeline.transforms.schema import conform
from hp_pipeline.transforms.temperature import FRAME_COLUMNS, bins_of, merged_bins
from hp_pipeline.vocabulary.rules import Rules

START = datetime(2026, 1, 5, tzinfo=UTC)


def found(**columns: Any) -> dict[str, Any]:
    """The bin of ten minutes of heating at 1 °C with 2 kW of electricity and 6 kW of heat, and what differs."""
    told = {
        "outdoor_temperature": 1.5, "flow_temperature": 33.0, "electrical_power": 2000.0, "thermal_power": 6000.0
    } | columns  # fmt: skip
    rows = pl.DataFrame({name: value if isinstance(value, list) else [value] * 10 for name, value in told.items()})
    starts = [START + timedelta(minutes=number) for number in range(10)]
    rows = rows.with_columns(start=pl.Series(starts), end=pl.Series(starts) + timedelta(minutes=1))
    modes = rows.select("start", mode=pl.lit("heating"))
    parts = [bins_of(conform(part, "frames").select(FRAME_COLUMNS), modes) for part in (rows.head(4), rows.tail(6))]
    (row,) = merged_bins(parts, Rules()).iter_rows(named=True)
    return dict(row)


def test_a_bin_is_the_ratio_of_its_sums() -> None:
    row = found()
    assert row["cop"] == 3.0 and row["cop_reason"] is None and row["coverage"] == 1.0
    assert row["thermal_energy_kwh"] == pytest.approx(1.0) and row["hours"] == pytest.approx(1 / 6)
    assert (row["outdoor_from"], row["outdoor_to"], row["flow_temperature_mean"]) == (1.0, 2.0, 33.0)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"electrical_power": [2000.0] * 4 + [None] * 6}, "known for only 40 % of the time"),
        ({"electrical_power": 200.0}, "less than 0.05 kWh of electricity"),
        ({"thermal_power": -600.0}, "no heat given"),
        ({"thermal_power": 20_000.0}, "above the Carnot limit: a sensor is wrong"),
        ({"thermal_power": 200_000.0, "flow_temperature": None}, "above the Carnot limit: a sensor is wrong"),
    ],
)
def test_what_the_data_do_not_bear_is_null_with_its_reason(columns: dict[str, Any], reason: str) -> None:
    row = found(**columns)
    assert (row["cop"], row["cop_reason"]) == (None, reason)


def test_a_machine_in_the_ground_is_bound_by_the_ground() -> None:
    assert found(thermal_power=20_000.0, source_in_temperature=10.0)["cop"] == pytest.approx(10.0)
