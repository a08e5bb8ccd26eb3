"""The Dagster assets of one heat pump: a thin asset around each stage, with the checks of what it stored."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl

from hp_pipeline.assets.checks import MADE, check_results, check_specs
from hp_pipeline.assets.describe import PREVIEW_COLUMNS, asset_key, picture, preview, spec
from hp_pipeline.assets.partitions import BEAT, around, range_of
from hp_pipeline.assets.stages import (
    AllTimeStage,
    ComparisonsStage,
    CompressorRunsStage,
    CostsAllTimeStage,
    CostsDailyStage,
    CostsMonthlyStage,
    CostsSeasonalStage,
    CostsWeeklyStage,
    CostsYearlyStage,
    CountersStage,
    CyclingDailyStage,
    DailyStage,
    DefrostMonthlyStage,
    DefrostSeasonalStage,
    EfficiencyStage,
    EventsStage,
    FaultsStage,
    FiguresStage,
    FilledDailyStage,
    FramesStage,
    HeatLossStage,
    MonthlyStage,
    OperationStage,
    Outcome,
    OutlookStage,
    PerformanceStage,
    SeasonalStage,
    SeasonStage,
    SensorOffsetsStage,
    Stage,
    StateDailyStage,
    StatesStage,
    WeeklyStage,
    YearlyStage,
)
from hp_pipeline.assets.workspace import Plant
from hp_pipeline.outputs.picture import day_picture
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.tables import tables
from hp_pipeline.vocabulary.tables.standstill import OFFSET_DAYS

_Result = Iterator[dg.MaterializeResult[Any]]

_LAST = ("all_time", "house_yearly")
"""The tables of a plant's last step in a run over everything: of a heat pump, and of a solar heating."""

PLOTTED: Mapping[str, Sequence[str]] = {
    "daily": ("cop", "electrical_energy_kwh", "thermal_energy_kwh", "electrical_coverage", "thermal_coverage"),
    "solar_daily": ("solar_kwh", "immersion_kwh", "pellet_kwh", "draw_kwh", "stored_energy_last", "coverage"),
}
"""What the UI plots over the days."""

POOL = "figures"
"""Two runs that make the same partition would both be right, and one of them would be for nothing."""


def heat_pump_assets(plant: Plant, days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """All assets of a heat pump behind its readings, in the order of the data's way."""
    own = plant.id

    def after(table: str, before: int = 0, behind: int = 0) -> dg.AssetDep:
        return dg.AssetDep(asset_key(table, own), partition_mapping=around(before, behind))

    measured = [
        "frames",
        "operation",
        "counters",
        "counter_states",
        *(["sensor_offsets"] if plant.unzeroed_because is None else []),
    ]
    readings = [dg.AssetDep(asset_key(*asset.split("/")), partition_mapping=around(1, 1)) for asset in plant.readings]
    fresh = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=2), warn_window=timedelta(hours=6))
    return [
        daily_step(plant, FramesStage, [spec("frames", own, about("frames"), deps=readings, partitions=days)]),
        daily_step(
            plant,
            OperationStage,
            [
                spec(table, own, about(table), deps=[after("frames", 1, 1)], partitions=days)
                for table in OperationStage.tables
            ],
        ),
        daily_step(
            plant,
            SensorOffsetsStage,
            [
                spec(
                    "sensor_offsets",
                    own,
                    about("sensor_offsets"),
                    deps=[after("standstills", OFFSET_DAYS - 1)],
                    partitions=days,
                )
            ],
        ),
        daily_step(
            plant,
            CountersStage,
            [spec(table, own, about(table), deps=readings, partitions=days) for table in CountersStage.tables],
        ),
        daily_step(
            plant,
            FiguresStage,
            [
                spec(table, own, about(table), deps=[after(above, 1, 1) for above in measured], partitions=days)
                for table in FiguresStage.tables
            ],
        ),
        daily_step(
            plant,
            PerformanceStage,
            [
                spec(
                    "performance_5min",
                    own,
                    about("performance_5min"),
                    deps=[after("frames"), after("operation"), after("counters", 0, 1)],
                    partitions=days,
                )
            ],
        ),
        daily_step(
            plant,
            EventsStage,
            [
                spec(table, own, about(table), deps=[after("segments", 1, 1)], partitions=days)
                for table in EventsStage.tables
            ],
        ),
        daily_step(
            plant,
            StatesStage,
            [
                spec(
                    "state_intervals",
                    own,
                    about("state_intervals"),
                    deps=[after("frames"), after("operation")],
                    partitions=days,
                )
            ],
        ),
        daily_step(
            plant,
            StateDailyStage,
            [spec("state_daily", own, about("state_daily"), deps=[after("state_intervals", 1, 1)], partitions=days)],
        ),
        daily_step(
            plant,
            CompressorRunsStage,
            [
                spec(
                    "compressor_runs",
                    own,
                    about("compressor_runs"),
                    deps=[after("state_intervals", 1, 1)],
                    partitions=days,
                )
            ],
        ),
        daily_step(
            plant,
            CyclingDailyStage,
            [
                spec(
                    "cycling_daily",
                    own,
                    about("cycling_daily"),
                    deps=[after("state_daily"), after("compressor_runs", 4, 1), after("counters", 1, 1)],
                    partitions=days,
                )
            ],
        ),
        daily_step(
            plant,
            FaultsStage,
            [spec("faults", own, about("faults"), deps=[*readings, after("state_intervals", 1, 1)], partitions=days)],
        ),
        daily_step(
            plant,
            DailyStage,
            [spec("daily", own, about("daily"), deps=[after("hourly", 1, 1)], partitions=days, freshness=fresh)],
        ),
        daily_step(
            plant,
            CostsDailyStage,
            [spec("costs_daily", own, about("costs_daily"), deps=[after("quarter_hourly", 1, 1)], partitions=days)],
        ),
        periods_step(
            plant,
            "defrosts",
            [DefrostMonthlyStage, DefrostSeasonalStage],
            {"defrost_monthly": "defrosts", "defrost_seasonal": "defrost_monthly"},
        ),
        periods_step(
            plant,
            "costs",
            [CostsWeeklyStage, CostsMonthlyStage, CostsSeasonalStage, CostsYearlyStage, CostsAllTimeStage],
            {
                "costs_weekly": "costs_daily",
                "costs_monthly": "costs_daily",
                "costs_seasonal": "costs_monthly",
                "costs_yearly": "costs_monthly",
                "costs_all_time": "costs_yearly",
            },
        ),
        periods_step(
            plant,
            "efficiency",
            [EfficiencyStage, SeasonStage, HeatLossStage],
            {
                "heat_by_temperature_monthly": "heat_by_temperature",
                "efficiency": "heat_by_temperature",
                "degree_days": "daily",
                **dict.fromkeys(SeasonStage.tables, "degree_days"),
                "heat_loss_all_time": "heat_loss_bins",
            },
        ),
        periods_step(plant, "filled", [FilledDailyStage], {"filled_daily": "degree_days"}),
        periods_step(
            plant,
            "outlook",
            [ComparisonsStage, OutlookStage],
            {
                "comparisons": ("monthly", "degree_days"),
                "outlook": ("monthly", "degree_days", "costs_monthly"),
            },
        ),
        periods_step(
            plant,
            "periods",
            [WeeklyStage, MonthlyStage, SeasonalStage, YearlyStage, AllTimeStage],
            {
                "weekly": "daily",
                "monthly": "daily",
                "seasonal": "monthly",
                "yearly": "monthly",
                "all_time": "yearly",
            },
        ),
    ]


def about(table: str) -> str:
    return tables()[table].description


def daily_step(plant: Plant, stage_type: type[Stage], specs: Sequence[dg.AssetSpec]) -> dg.AssetsDefinition:
    """The assets of one stage that are partitioned by UTC day, as one step."""

    @dg.multi_asset(
        name=f"{plant.id}__{'_'.join(stage_type.tables)}",
        specs=specs,
        check_specs=[check for table in stage_type.tables for check in check_specs(table, plant.id)],
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
    )
    def step(context: dg.AssetExecutionContext) -> _Result:
        keys = context.partition_keys
        first, last = date.fromisoformat(keys[0]), date.fromisoformat(keys[-1])
        yield from _run(context, plant, [stage_type], first, last, frozenset(keys))

    return step


def periods_step(
    plant: Plant, name: str, stage_types: Sequence[type[Stage]], below: Mapping[str, str | Sequence[str]]
) -> dg.AssetsDefinition:
    """Weeks, months, seasons, years, all time: rows of their own calendar, hence without the graph's partitions.

    Args:
        below: for each table of the stages the one that it is merged from, or those that it is made from.
    """
    own = plant.id

    def deps(tables: str | Sequence[str]) -> list[dg.AssetDep]:
        names = [tables] if isinstance(tables, str) else tables
        return [dg.AssetDep(asset_key(table, own)) for table in names]

    @dg.multi_asset(
        name=f"{own}__{name}",
        specs=[spec(table, own, about(table), deps=deps(shorter)) for table, shorter in below.items()],
        check_specs=[check for table in below for check in check_specs(table, own)],
        pool=POOL,
    )
    def step(context: dg.AssetExecutionContext) -> _Result:
        first, last = range_of(context.run.tags)
        yield from _run(context, plant, stage_types, first, last, frozenset())

    return step


def _run(
    context: dg.AssetExecutionContext,
    plant: Plant,
    stage_types: Iterable[Callable[[Plant], Stage]],
    first: date | None,
    last: date | None,
    named: frozenset[str],
) -> _Result:
    """Bring stages up to date over the days that a run names and those that these touch, and tell what was done.

    A partition that cannot be made keeps no other one from being made, also not those of the steps behind this one:
    the check `made` says it, and the heat pump's last step in the run fails with all that could not be made.

    Raises:
        dagster.Failure: partitions could not be made, and no step of the heat pump follows in this run.
    """
    results = []
    for stage_type in stage_types:
        stage = stage_type(plant)
        keys = stage.keys(first, last)
        outcome = stage.bring_up_to_date(keys, force=BEAT not in context.run.tags)
        plant.workspace.publish()
        for table in stage.tables:
            _tell(context, plant, table, outcome, named)
            results.append(_result(plant, table, outcome, keys))
        context.log.info(f"{', '.join(stage.tables)}: {_sentence(stage, outcome)}")
    yield from results
    in_run = context.job_def.asset_layer.selected_asset_keys
    finals = {asset_key(table, plant.id) for table in _LAST}
    if not finals & set(in_run) or finals & {result.asset_key for result in results}:
        _raise_failures(context, plant)


def _raise_failures(context: dg.AssetExecutionContext, plant: Plant) -> None:
    """Fail with what the checks `made` of this heat pump said in this run."""
    told = context.instance.get_records_for_run(context.run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    own = {asset_key(table, plant.id): f"{table}/{plant.id}" for table in tables()}
    missing = []
    count = 0
    for record in told.records:
        event = record.event_log_entry.dagster_event
        verdict = event.asset_check_evaluation_data if event else None
        if verdict and verdict.check_name == MADE and not verdict.passed and verdict.asset_key in own:
            count += int(str(verdict.metadata["failed"].value))
            missing.append(f"{own[verdict.asset_key]} {verdict.metadata['reasons'].value}")
    if missing:
        raise dg.Failure(f"{count} partitions could not be made, all others were. {' | '.join(missing)}")


def _sentence(stage: Stage, outcome: Outcome) -> str:
    made = sum(len(parts) for parts in outcome.stored.values()) // len(stage.tables)
    return (
        f"{made} partitions made, {len(outcome.changed)} of them changed, {outcome.kept} were up to date, "
        f"{len(outcome.failed)} failed"
    )


def _tell(context: dg.AssetExecutionContext, plant: Plant, table: str, outcome: Outcome, named: frozenset[str]) -> None:
    """Metadata per partition; partitions beyond those that the run names are reported one by one."""
    key = asset_key(table, plant.id)
    figures = daily_figures(plant, sorted(outcome.stored.get(table, {}))) if table == plant.days else {}
    for part, receipt in outcome.stored.get(table, {}).items():
        metadata: dict[str, Any] = {"dagster/partition_row_count": receipt.rows, "content": receipt.content}
        metadata |= figures.get(part, {})
        if part in named:
            context.add_asset_metadata(metadata, asset_key=key, partition_key=part)
        elif named and part in outcome.changed:
            context.log_event(dg.AssetMaterialization(key, partition=part, metadata=metadata))


def _result(plant: Plant, table: str, outcome: Outcome, keys: Sequence[str]) -> dg.MaterializeResult[Any]:
    stored = outcome.stored.get(table, {})
    metadata: dict[str, Any] = {}
    asset = f"{table}/{plant.id}"
    # Where all was up to date, that is what is shown and checked: a warning does not vanish by looking again.
    rows = plant.lake.read(asset, sorted(stored) or list(keys))
    shown = conform(rows, table)
    if table in PREVIEW_COLUMNS and shown.height:
        metadata["preview"] = preview(table, shown)
    if table == "daily" and shown.height:
        metadata |= _last_day(plant, shown)
    metadata |= {
        "partitions_made": len(stored),
        "partitions_changed": len(outcome.changed),
        "partitions_up_to_date": outcome.kept,
    }
    return dg.MaterializeResult(
        asset_key=asset_key(table, plant.id),
        metadata=metadata,
        check_results=check_results(table, plant.id, shown, outcome),
    )


def _last_day(plant: Plant, rows: pl.DataFrame) -> dict[str, Any]:
    """The picture of the newest day that was made."""
    last = rows.sort("start").row(-1, named=True)
    around_it = sorted({last["start"].date().isoformat(), last["end"].date().isoformat()})
    within = (pl.col("start") >= last["start"]) & (pl.col("start") < last["end"])
    frames = conform(plant.lake.read(f"frames/{plant.id}", around_it), "frames").filter(within)
    modes = conform(plant.lake.read(f"operation/{plant.id}", around_it), "operation").filter(within)
    title = f"{plant.name}, {last['period']}"
    return {"picture": picture(day_picture(frames, modes, plant.time_zone, title))}


def daily_figures(plant: Plant, keys: Sequence[str]) -> dict[str, dict[str, float]]:
    """By day the figures of each, as numbers that the UI plots over the days."""
    names = PLOTTED[plant.days]
    rows = conform(plant.lake.read(f"{plant.days}/{plant.id}", list(keys)), plant.days)
    return {
        row["period"]: {name: row[name] for name in names if row[name] is not None}
        for row in rows.iter_rows(named=True)
    }
