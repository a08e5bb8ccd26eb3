"""The assets of heat pumps, run by Dagster in this process over a small simulated house."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from hp_pipeline.assets.checks import check_results
from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.partitions import BEAT
from hp_pipeline.assets.stages import Outcome, store_readings, tables_of
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.definitions import build_definitions
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.tables import tables
from hp_pipeline_tests.assets.small_house import (
    DAYS,
    FIRST,
    LAST,
    contents,
    house_with_readings,
    make_all,
    readings,
    run_job,
    write_house,
)

DUE_ONLY = {BEAT: "test"}
DAILY = {name for name, table in tables().items() if table.partitions == "days" and name != "readings"}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def newest(instance: dg.DagsterInstance, asset: str, partition: str | None = None) -> dg.AssetMaterialization:
    """The newest materialisation of an asset (and partition)."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(
            asset_key(*asset.split("/")), asset_partitions=[partition] if partition is not None else None
        ),
        limit=1,
    ).records
    assert records, f"{asset} {partition} was never materialised"
    event = records[0].asset_materialization
    assert event is not None
    return event


def failed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    """The checks that did not pass, as `asset name`."""
    return {
        f"{check.asset_key.to_user_string()} {check.check_name}"
        for check in result.get_asset_check_evaluations()
        if not check.passed
    }


def test_a_run_over_a_range_makes_every_table_and_shows_it(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = house_with_readings(tmp_path / "dagster")
    result = run_job(workspace, "figures", instance, first=FIRST, last=LAST, tags=DUE_ONLY)
    assert result.success
    plain = house_with_readings(tmp_path / "plain")
    make_all(plain)
    assert contents(workspace.lake) == contents(plain.lake), "Dagster makes what the command line makes"

    for pump in ("daikin", "annex"):
        for table in tables_of(workspace.plant(pump)):
            asset = asset_key(table, pump)
            partitions = instance.get_materialized_partitions(asset)
            assert partitions == (set(DAYS) if table in DAILY else set()), asset
            for day in DAYS if table in DAILY else ():
                shown = newest(instance, f"{table}/{pump}", day).metadata
                receipt = workspace.lake.receipt(f"{table}/{pump}", day)
                if table == "faults":
                    assert receipt is None, "these heat pumps tell no faults: there is nothing to store"
                    continue
                assert receipt is not None
                assert shown["dagster/partition_row_count"].value == receipt.rows
                assert shown["content"].value == receipt.content
    sessions = newest(instance, "sessions/daikin").metadata
    assert "| heating |" in str(sessions["preview"].value)
    assert len(str(sessions["preview"].value)) < 1000, "longer ones are hidden behind a link"
    today = newest(instance, "daily/daikin").metadata
    assert str(today["picture"].value).startswith("![day](data:image/png;base64,")
    assert len(str(today["picture"].value)) < 80_000, "pictures are kept for ever"
    rows = conform(workspace.lake.read("daily/daikin", DAYS), "daily")
    for day, energy in rows.select("period", "electrical_energy_kwh").iter_rows():
        assert newest(instance, "daily/daikin", day).metadata["electrical_energy_kwh"].value == energy
    assert {"settled", "made", "below_carnot"} <= {
        check.check_name
        for check in result.get_asset_check_evaluations()
        if check.asset_key.path[-1].endswith("_sessions")
    }
    assert all(check.passed for check in result.get_asset_check_evaluations())
    assert workspace.database.exists()


def test_a_second_run_makes_nothing_unless_a_person_asks(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = house_with_readings(tmp_path, ["files_a"])
    daikin = [asset_key(table, "daikin") for table in ("frames", "operation", "standstills")]
    run_job(workspace, "figures", instance, first=FIRST, last=LAST, tags=DUE_ONLY, selection=daikin)
    assert newest(instance, "frames/daikin").metadata["partitions_made"].value == 3
    before = contents(workspace.lake)
    run_job(workspace, "figures", instance, first=FIRST, last=LAST, tags=DUE_ONLY, selection=daikin)
    assert newest(instance, "frames/daikin").metadata["partitions_made"].value == 0
    assert newest(instance, "frames/daikin").metadata["partitions_up_to_date"].value == 3
    run_job(workspace, "figures", instance, first=FIRST, last=LAST, selection=daikin)
    assert newest(instance, "frames/daikin").metadata["partitions_made"].value == 3
    assert contents(workspace.lake) == before


def test_neighbours_that_change_are_reported(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    """Readings of one day change frames of the day before: the partition of that day is told, too."""
    workspace, midnight = write_house(tmp_path), datetime(2025, 1, 14, tzinfo=UTC)
    # Nothing is told just before midnight, or the last frame would end there either way.
    told = readings().filter(~pl.col("time").is_between(midnight - timedelta(minutes=2), midnight, closed="left"))
    store_readings(workspace, "files_a", told.filter(pl.col("time") < midnight))
    pump = [asset_key(table, "daikin") for table in tables_of(workspace.plant("daikin"))]
    assert run_job(workspace, "figures", instance, first=FIRST, last=FIRST, tags=DUE_ONLY, selection=pump).success
    store_readings(workspace, "files_a", told)
    run_job(workspace, "figures", instance, first=LAST, last=LAST, tags=DUE_ONLY, selection=pump)
    assert instance.get_materialized_partitions(asset_key("frames", "daikin")) == set(DAYS)
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key("frames", "daikin"), asset_partitions=["2025-01-13"]), limit=5
    ).records
    assert len(records) == 2, "its last frame ends where the first one of the next day begins"
    plain = write_house(tmp_path / "plain")
    store_readings(plain, "files_a", told)
    make_all(plain)
    assert contents(workspace.lake) == contents(plain.lake)


def test_partitions_that_fail_stop_neither_other_days_nor_the_other_heat_pump(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    workspace = house_with_readings(tmp_path / "broken")
    plain = house_with_readings(tmp_path / "plain")
    make_all(plain)
    whole = contents(plain.lake)
    damaged = workspace.lake.path("readings/files_a", "2025-01-13")
    sound = damaged.read_bytes()
    damaged.write_bytes(sound[:-200] + b"\0" * 200)

    result = run_job(workspace, "figures", instance, first=FIRST, last=LAST, tags=DUE_ONLY)
    assert not result.success
    assert {event.step_key for event in result.get_step_failure_events()} == {"daikin__periods"}
    message = str(result.get_step_failure_events()[0].step_failure_data.error)
    assert str(damaged) in message
    assert "import the files of that day again or restore it from a backup" in message
    assert failed_checks(result) >= {"daikin_frames made"}
    made = contents(workspace.lake)
    for asset, parts in whole.items():
        if asset.endswith("/annex"):
            assert made[asset] == parts, asset
    # The day after the next one does not need what is damaged.
    assert made["frames/daikin"]["2025-01-15"] == whole["frames/daikin"]["2025-01-15"]
    assert {"hourly/daikin", "sessions/daikin", "monthly/daikin"} <= made.keys()

    alone = run_job(workspace, "figures", instance, first=FIRST, last=LAST, selection=[asset_key("frames", "daikin")])
    assert not alone.success, "who asks for one asset is told by that run"

    damaged.write_bytes(sound)
    assert run_job(workspace, "figures", instance, first=FIRST, last=LAST, tags=DUE_ONLY).success
    assert contents(workspace.lake) == whole


def test_the_sweep_goes_on_after_a_failure_and_says_it(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = house_with_readings(tmp_path)
    damaged = workspace.lake.path("readings/files_b", "2025-01-15")
    sound = damaged.read_bytes()
    damaged.write_bytes(b"")
    result = run_job(workspace, "sweep", instance)
    assert not result.success
    message = str(result.get_step_failure_events()[0].step_failure_data.error)
    assert "frames/annex" in message
    assert str(damaged) in message
    assert instance.get_materialized_partitions(asset_key("daily", "daikin")) == set(DAYS)
    damaged.write_bytes(sound)
    assert run_job(workspace, "sweep", instance).success
    assert instance.get_materialized_partitions(asset_key("daily", "annex")) == set(DAYS)


def test_a_wrong_unit_or_word_is_said_by_a_check(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = write_house(tmp_path)
    mode = pl.col("point").str.contains("Operation.*Mode")
    assert readings().filter(mode).height > 0
    odd = readings().with_columns(text=pl.when(mode).then(pl.lit("Turbo")).otherwise("text"))
    store_readings(workspace, "files_a", odd)
    frames = asset_key("frames", "daikin")
    result = run_job(workspace, "figures", instance, first=FIRST, last=LAST, tags=DUE_ONLY, selection=[frames])
    assert result.success, "a word that is not known is a warning, all else is made"
    (told,) = [check for check in result.get_asset_check_evaluations() if check.check_name == "understood"]
    assert not told.passed
    assert told.severity == dg.AssetCheckSeverity.WARN
    assert "Turbo" in str(told.metadata["doubts"].value)


def test_a_point_that_changes_its_type_is_said_by_a_check(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = write_house(tmp_path)
    late = (pl.col("time") > datetime(2025, 1, 14, 6, tzinfo=UTC)) & pl.col("point").str.contains(
        "outdoor_air_temperature"
    )
    assert readings().filter(late).height > 0
    changed = readings().with_columns(
        text=pl.when(late).then(pl.lit("warm")).otherwise("text"),
        value=pl.when(late).then(None).otherwise("value"),
    )
    store_readings(workspace, "files_a", changed)
    frames = asset_key("frames", "daikin")
    result = run_job(workspace, "figures", instance, first=FIRST, last=LAST, tags=DUE_ONLY, selection=[frames])
    (told,) = [check for check in result.get_asset_check_evaluations() if check.check_name == "understood"]
    assert not told.passed
    assert "not a number" in str(told.metadata["doubts"].value)
    rows = conform(workspace.lake.read("frames/daikin", DAYS), "frames")
    before = rows.filter(pl.col("start") < datetime(2025, 1, 14, 6, tzinfo=UTC))
    assert before["outdoor_temperature"].null_count() < before.height
    assert rows["flow_temperature"].null_count() < rows.height * 0.1, "the other points go on"


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = house_with_readings(tmp_path_factory.mktemp("house"), ["files_a"])
    make_all(workspace)
    return workspace


def verdicts(table: str, rows: pl.DataFrame) -> dict[str, bool]:
    """What the checks of a table say of its rows."""
    return {str(result.check_name): result.passed for result in check_results(table, "daikin", rows, Outcome())}


@pytest.mark.parametrize(
    ("table", "change", "fails"),
    [
        ("daily", pl.col("electrical_energy_kwh") + 0.5, "parts_and_whole"),
        ("daily", pl.lit(-4.0).alias("thermal_energy_residual_kwh"), "ways_agree"),
        ("daily", pl.col("thermal_energy_heating_kwh") * 1.001, "parts_and_whole"),
        ("daily", pl.lit(0.94).alias("thermal_coverage"), "coverage"),
        ("daily", pl.lit(None, pl.Float64).alias("electrical_coverage"), "coverage"),
        ("sessions", pl.lit(40.0).alias("cop"), "below_carnot"),
        ("sessions", pl.lit("above what Carnot allows").alias("cop_reason"), "below_carnot"),
        ("sessions", pl.lit(True).alias("provisional"), "settled"),
        ("monthly", pl.lit(40.0).alias("cop"), "below_carnot"),
        ("monthly", pl.col("electrical_energy_dhw_kwh") + 1, "parts_and_whole"),
    ],
)
def test_a_corrupted_figure_fails_its_check(figures: Workspace, table: str, change: pl.Expr, fails: str) -> None:
    keys = figures.lake.keys(f"{table}/daikin")
    rows = conform(figures.lake.read(f"{table}/daikin", keys), table)
    if table == "daily":
        rows = rows.head(2)  # the third one is not over
    assert set(verdicts(table, rows).values()) == {True}
    corrupted = verdicts(table, rows.with_columns(change))
    assert [name for name, passed in corrupted.items() if not passed] == [fails]


def test_running_time_is_compared_with_the_devices_own_over_all_days(figures: Workspace) -> None:
    """A counter of whole hours is an hour off on any day; one that counts a tenth less is another machine's."""
    table = "cycling_daily"
    rows = conform(figures.lake.read(f"{table}/daikin", figures.lake.keys(f"{table}/daikin")), table).head(2)
    assert rows["running_s"].sum() > 10 * 3600, "they run for long"

    def found(counted_s: pl.Expr) -> bool:
        told = rows.with_columns(device_running_s=counted_s, device_reason=pl.lit(None, pl.String))
        told = told.with_columns(running_difference_s=pl.col("running_s") - pl.col("device_running_s"))
        return verdicts(table, told)["runs_as_the_device_counts"]

    whole_hours = (pl.col("running_s").cum_sum() / 3600).floor().diff(null_behavior="ignore")
    assert found(pl.coalesce(whole_hours, (pl.col("running_s") / 3600).floor()) * 3600)
    assert not found(0.8 * pl.col("running_s"))
    assert found(pl.lit(None, pl.Float64)), "nothing is told"


def test_daily_and_weekly_files(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = house_with_readings(tmp_path, ["files_a"])
    make_all(workspace)
    result = run_job(workspace, "daily_csv", instance, first=date(2025, 1, 12), last=date(2025, 1, 14))
    assert result.success
    folder = workspace.exports / "daikin" / "daily"
    assert sorted(path.name for path in folder.iterdir()) == ["2025-01-13.csv", "2025-01-14.csv"]
    rows = pl.read_csv(folder / "2025-01-14.csv")
    assert rows.columns[0].startswith("heat_pump")
    assert rows["start"][0] == "2025-01-14T00:00:00+01:00"
    assert rows["end"][-1] == "2025-01-15T00:00:00+01:00"
    assert {"flow_temperature [°C]", "electrical_power [W]", "mode", "state"} <= set(rows.columns)
    assert newest(instance, "daily_csv/daikin").metadata["files"].value == 2

    assert run_job(workspace, "weekly_csv", instance, first=date(2025, 1, 13), last=date(2025, 1, 19)).success
    (week,) = (workspace.exports / "daikin" / "weekly").iterdir()
    assert week.name == "2025-W03.csv"
    hours = pl.read_csv(week)
    assert "electrical_energy_kwh [kWh]" in hours.columns or "electrical_energy_kwh" in hours.columns
    assert hours.height == 24 + 24 + 13


def test_assets_without_any_readings_are_empty_and_right(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    workspace = write_house(tmp_path)
    assert run_job(workspace, "figures", instance, first=FIRST, last=LAST, tags=DUE_ONLY).success
    assert run_job(workspace, "sweep", instance).success
    assert contents(workspace.lake) == {}
    assert not list(workspace.data.glob("exports/**/*.csv"))


def test_every_asset_is_materialised_by_a_plain_call(tmp_path: Path) -> None:
    """As the UI's "Materialize all" over all partitions does, without tags of the pipeline's own."""
    workspace = house_with_readings(tmp_path, ["files_a"])
    assets = [asset for asset in build_definitions(workspace).assets or () if isinstance(asset, dg.AssetsDefinition)]
    chosen = [asset for asset in assets if any(key.path[-1].startswith("daikin_") for key in asset.keys)]
    result = dg.materialize(
        chosen,
        tags={
            "dagster/asset_partition_range_start": DAYS[0],
            "dagster/asset_partition_range_end": DAYS[-1],
        },
    )
    assert result.success
    assert workspace.lake.keys("all_time/daikin") == [""]
    assert len(list((workspace.exports / "daikin" / "daily").iterdir())) == 3
