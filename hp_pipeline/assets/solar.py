"""The Dagster assets of one solar heating: a thin asset around each stage."""

from datetime import timedelta

import dagster as dg

from hp_pipeline.assets.describe import asset_key, spec
from hp_pipeline.assets.heat_pump import about, daily_step, periods_step
from hp_pipeline.assets.partitions import around
from hp_pipeline.assets.stages import (
    HEAT_TABLES,
    HouseDailyStage,
    HouseHourlyStage,
    HouseMonthlyStage,
    HouseYearlyStage,
    SolarDailyStage,
    SolarFramesStage,
    SolarHourlyStage,
    SolarMonthlyStage,
    SolarStatesStage,
    SolarYearlyStage,
    Stage,
    StateDailyStage,
)
from hp_pipeline.assets.workspace import SolarPlant


def solar_assets(plant: SolarPlant, days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """All assets of a solar heating behind its readings, in the order of the data's way."""

    def dep(table: str, whose: str, before: int = 0, behind: int = 0) -> dg.AssetDep:
        return dg.AssetDep(asset_key(table, whose), partition_mapping=around(before, behind))

    def step(
        stage: type[Stage], *deps: dg.AssetDep, freshness: dg.FreshnessPolicy | None = None
    ) -> dg.AssetsDefinition:
        (table,) = stage.tables
        described = spec(table, plant.id, about(table), deps=deps, partitions=days, freshness=freshness)
        return daily_step(plant, stage, [described])

    own = plant.id
    fresh = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=2), warn_window=timedelta(hours=6))
    return [
        step(SolarFramesStage, *(dep("readings", asset.partition("/")[2], 1, 1) for asset in plant.readings)),
        step(SolarStatesStage, dep("solar_frames", own)),
        step(StateDailyStage, dep("state_intervals", own, 1, 1)),
        step(
            SolarHourlyStage,
            dep("solar_frames", own, 0, 1),
            *(dep(table, heat_pump.id, 0, 1) for heat_pump in plant.heat_pumps for table in HEAT_TABLES),
        ),
        step(SolarDailyStage, dep("solar_hourly", own, 1, 1), freshness=fresh),
        periods_step(
            plant,
            "solar_periods",
            [SolarMonthlyStage, SolarYearlyStage],
            {"solar_monthly": "solar_daily", "solar_yearly": "solar_monthly"},
        ),
        step(
            HouseHourlyStage, dep("solar_hourly", own), *(dep("hourly", heat_pump.id) for heat_pump in plant.heat_pumps)
        ),
        step(HouseDailyStage, dep("house_hourly", own, 1, 1)),
        periods_step(
            plant,
            "house_periods",
            [HouseMonthlyStage, HouseYearlyStage],
            {"house_monthly": "house_daily", "house_yearly": "house_monthly"},
        ),
    ]
