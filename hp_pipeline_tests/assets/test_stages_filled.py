"""Days filled up in a house: from what the other tables hold, which stay as they are."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.assets.stages import FilledDailyStage, stages, store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.transforms.schema import conform
from hp_pipeline_tests.assets.small_house import house_with_readings, make_all, readings, write_house


def table(workspace: Workspace, name: str) -> pl.DataFrame:
    asset = f"{name}/daikin"
    return conform(workspace.lake.read(asset, workspace.lake.keys(asset)), name).sort("start")


def test_the_days_are_those_of_daily_and_what_lacks_is_told(tmp_path: Path) -> None:
    house_with_readings(tmp_path, ("files_a",))
    workspace = write_house(tmp_path)
    make_all(workspace)
    daily, filled = table(workspace, "daily"), table(workspace, "filled_daily")
    assert filled["period"].to_list() == daily["period"].to_list()
    for kind in ("electrical", "thermal"):
        assert filled[f"{kind}_energy_seen_kwh"].to_list() == pytest.approx(daily[f"{kind}_energy_kwh"].to_list())
        assert filled[f"{kind}_filling"].to_list() == ["read"] * 3
    plant = workspace.plant("daikin")
    assert all(stage.due(stage.keys()) == [] for stage in stages(plant))


def test_a_silent_day_has_a_row_of_its_own_and_changes_no_figure(tmp_path: Path) -> None:
    workspace = write_house(tmp_path)
    begin, end = datetime(2025, 1, 13, 20, tzinfo=UTC), datetime(2025, 1, 15, 2, tzinfo=UTC)
    store_readings(workspace, "files_a", readings().filter(~pl.col("time").is_between(begin, end)))
    make_all(workspace)
    assert table(workspace, "daily")["period"].to_list() == ["2025-01-13", "2025-01-15"]
    filled = table(workspace, "filled_daily")
    assert filled["period"].to_list() == ["2025-01-13", "2025-01-14", "2025-01-15"]
    silent = filled.row(1, named=True)
    assert silent["thermal_energy_seen_kwh"] is None and silent["thermal_energy_filled_up_kwh"] is None
    assert silent["thermal_filling_reason"] == "only 0 days known to tell it by, of 20"
    stage = FilledDailyStage(workspace.plant("daikin"))
    assert stage.keys() == ["2025-01-01"] and stage.due(stage.keys()) == []


def test_a_silence_of_months_is_found_from_its_ends(tmp_path: Path) -> None:
    """Readings that come after months of silence are looked at alone, and make the months of it too."""
    workspace = write_house(tmp_path)
    later = readings().with_columns(pl.col("time").dt.offset_by("120d"))
    for rows in (readings(), later):
        store_readings(workspace, "files_a", rows)
        first, last = (moment.date() for moment in (rows["time"].min(), rows["time"].max()))  # type: ignore[union-attr]
        for stage in stages(workspace.plant("daikin")):
            stage.bring_up_to_date(stage.keys(first, last)).raise_failures()
    filled = table(workspace, "filled_daily")
    assert filled.height == 123
    read = filled.filter(pl.col("thermal_energy_filled_up_kwh").is_not_null())["period"].to_list()
    assert read == ["2025-01-13", "2025-01-14", "2025-05-14", "2025-05-15"], "of two days the silence took a part"
    for stage in stages(workspace.plant("daikin")):
        assert stage.due(stage.keys()) == [], stage.tables
