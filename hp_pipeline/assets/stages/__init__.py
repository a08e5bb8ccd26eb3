"""The stages between readings and figures, each bringing partitions of its tables up to date.

A partition is *due* when the fingerprint of its inputs (the content of the partitions it is made from, the rules and
profiles that shape it, the version of the code) is not the one in its receipt. Making it again gives the same content,
so the order in which days arrive, repeats, late readings and deleted partitions all end in the same tables; and where
the content does not change, nothing further down is due.
"""

from collections.abc import Iterator, Sequence

from hp_pipeline.assets.stages.costs import (
    CostsAllTimeStage,
    CostsDailyStage,
    CostsMonthlyStage,
    CostsSeasonalStage,
    CostsWeeklyStage,
    CostsYearlyStage,
)
from hp_pipeline.assets.stages.counters import CountersStage
from hp_pipeline.assets.stages.cycling import CompressorRunsStage, CyclingDailyStage
from hp_pipeline.assets.stages.defrosts import DefrostMonthlyStage, DefrostSeasonalStage
from hp_pipeline.assets.stages.efficiency import EfficiencyStage, FilledDailyStage, HeatLossStage, SeasonStage
from hp_pipeline.assets.stages.events import EventsStage
from hp_pipeline.assets.stages.faults import FaultsStage
from hp_pipeline.assets.stages.figures import FiguresStage
from hp_pipeline.assets.stages.operation import FramesStage, OperationStage
from hp_pipeline.assets.stages.outlook import ComparisonsStage, OutlookStage
from hp_pipeline.assets.stages.performance import PerformanceStage
from hp_pipeline.assets.stages.periods import (
    AllTimeStage,
    DailyStage,
    MonthlyStage,
    SeasonalStage,
    WeeklyStage,
    YearlyStage,
)
from hp_pipeline.assets.stages.readings import merge_readings, store_readings
from hp_pipeline.assets.stages.solar import (
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
)
from hp_pipeline.assets.stages.stage import Listing, Outcome, Progress, Stage, StageError
from hp_pipeline.assets.stages.standstill import SensorOffsetsStage
from hp_pipeline.assets.stages.states import StateDailyStage, StatesStage
from hp_pipeline.assets.workspace import Plant, SolarPlant

__all__ = [
    "HEAT_TABLES",
    "SOLAR_STAGES",
    "STAGES",
    "AllTimeStage",
    "ComparisonsStage",
    "CompressorRunsStage",
    "CostsAllTimeStage",
    "CostsDailyStage",
    "CostsMonthlyStage",
    "CostsSeasonalStage",
    "CostsWeeklyStage",
    "CostsYearlyStage",
    "CountersStage",
    "CyclingDailyStage",
    "DailyStage",
    "DefrostMonthlyStage",
    "DefrostSeasonalStage",
    "EfficiencyStage",
    "EventsStage",
    "FaultsStage",
    "FiguresStage",
    "FilledDailyStage",
    "FramesStage",
    "HeatLossStage",
    "HouseDailyStage",
    "HouseHourlyStage",
    "HouseMonthlyStage",
    "HouseYearlyStage",
    "Listing",
    "MonthlyStage",
    "OperationStage",
    "Outcome",
    "OutlookStage",
    "PerformanceStage",
    "Progress",
    "SeasonStage",
    "SeasonalStage",
    "SensorOffsetsStage",
    "SolarDailyStage",
    "SolarFramesStage",
    "SolarHourlyStage",
    "SolarMonthlyStage",
    "SolarStatesStage",
    "SolarYearlyStage",
    "Stage",
    "StageError",
    "StateDailyStage",
    "StatesStage",
    "WeeklyStage",
    "YearlyStage",
    "in_rounds",
    "merge_readings",
    "stage_types",
    "stages",
    "store_readings",
    "tables_of",
]

STAGES: tuple[type[Stage], ...] = (
    FramesStage,
    OperationStage,
    SensorOffsetsStage,
    CountersStage,
    FiguresStage,
    PerformanceStage,
    EventsStage,
    StatesStage,
    StateDailyStage,
    CompressorRunsStage,
    CyclingDailyStage,
    FaultsStage,
    DailyStage,
    WeeklyStage,
    MonthlyStage,
    SeasonalStage,
    YearlyStage,
    AllTimeStage,
    DefrostMonthlyStage,
    DefrostSeasonalStage,
    CostsDailyStage,
    CostsWeeklyStage,
    CostsMonthlyStage,
    CostsSeasonalStage,
    CostsYearlyStage,
    CostsAllTimeStage,
    EfficiencyStage,
    SeasonStage,
    HeatLossStage,
    FilledDailyStage,
    ComparisonsStage,
    OutlookStage,
)
"""Of a heat pump, in the order in which they follow from each other."""

SOLAR_STAGES: tuple[type[Stage], ...] = (
    SolarFramesStage,
    SolarStatesStage,
    StateDailyStage,
    SolarHourlyStage,
    SolarDailyStage,
    SolarMonthlyStage,
    SolarYearlyStage,
    HouseHourlyStage,
    HouseDailyStage,
    HouseMonthlyStage,
    HouseYearlyStage,
)
"""Of a solar heating; from the hours on they also follow from what the heat pumps that heat its tank gave."""


def stage_types(plant: Plant) -> tuple[type[Stage], ...]:
    """The stages that a plant has, in the order in which they follow from each other."""
    return SOLAR_STAGES if isinstance(plant, SolarPlant) else STAGES


def tables_of(plant: Plant) -> list[str]:
    """The tables that follow from a plant's readings, in the order of its stages."""
    return [table for stage in stage_types(plant) for table in stage.tables]


def stages(plant: Plant) -> list[Stage]:
    """All stages of a plant, in order."""
    listing = Listing(plant.lake)
    return [stage(plant, listing) for stage in stage_types(plant)]


def in_rounds(plants: Sequence[Plant]) -> Iterator[tuple[Plant, list[Stage]]]:
    """The stages of plants, each once, behind what they follow from also where that is another plant's: the frames of
    all heat pumps, which say who shares a standing charge, then the others of each. To be brought up to date as they
    come.
    """
    for plant in plants:
        if not isinstance(plant, SolarPlant):
            yield plant, [FramesStage(plant)]
    for plant in plants:
        yield plant, [stage for stage in stages(plant) if not isinstance(stage, FramesStage)]
