"""The instance stays small and forgets nothing that exists: a real instance, real runs."""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from hp_pipeline.services.instance import open_instance, prepare_instance
from hp_pipeline.services.maintenance import ARCHIVED_FROM_RUN, Limits, maintain_instance

DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-11")
READINGS, FRAMES, LATEST = dg.AssetKey("readings"), dg.AssetKey("frames"), dg.AssetKey("latest")
A_MONTH_LATER = timedelta(days=31)


@dg.asset(partitions_def=DAYS)
def readings(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    version = dg.DataVersion(f"content of {context.partition_key}")
    return dg.MaterializeResult(metadata={"dagster/row_count": 8640, "run": context.run.run_id}, data_version=version)


@dg.asset(partitions_def=DAYS, deps=[readings])
def frames(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"day": context.partition_key})


@dg.asset
def latest() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": 1})


@dg.asset_check(asset=latest)
def plausible() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose instance has seen 10 days, two of them twice, and an asset without partitions."""
    data = tmp_path_factory.mktemp("used")
    prepare_instance(data)
    with open_instance(data) as instance:
        for day in [*DAYS.get_partition_keys(), "2026-01-02", "2026-01-03"]:
            dg.materialize([readings, frames], partition_key=day, instance=instance)
        for _ in range(3):
            dg.materialize([latest, plausible], instance=instance)
    return data


@pytest.fixture
def data(used: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(used, tmp_path / "data"))


@pytest.fixture
def instance(data: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(data) as instance:
        yield instance


def materialisations(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str | None, tuple[int, float, object]]:
    """The newest event per partition: storage id, time and metadata."""
    found: dict[str | None, tuple[int, float, object]] = {}
    for record in instance.fetch_materializations(key, limit=1000).records:  # the newest first
        assert record.asset_materialization is not None
        found.setdefault(
            record.partition_key, (record.storage_id, record.timestamp, record.asset_materialization.metadata)
        )
    return found


def test_old_runs_go_and_every_partition_stays_as_it_was(instance: dg.DagsterInstance, data: Path) -> None:
    home = data / "dagster"
    keys = (READINGS, FRAMES, LATEST)
    before = {key: (materialisations(instance, key), instance.get_materialized_partitions(key)) for key in keys}
    assert before[READINGS][1] == set(DAYS.get_partition_keys())
    newest = instance.get_run_records(limit=1)[0].dagster_run.run_id
    versions = instance.get_latest_storage_id_by_partition(READINGS, dg.DagsterEventType.ASSET_MATERIALIZATION)

    report = maintain_instance(instance, home, now=datetime.now(UTC) + A_MONTH_LATER)

    assert report.runs_deleted == 14
    assert [run.run_id for run in instance.get_runs()] == [newest]
    assert {key: (materialisations(instance, key), instance.get_materialized_partitions(key)) for key in keys} == before
    assert instance.get_latest_storage_id_by_partition(READINGS, dg.DagsterEventType.ASSET_MATERIALIZATION) == versions
    # 10 days of two assets; the unpartitioned one belongs to the newest run, which stays.
    assert report.events_archived == 20
    assert report.bytes_after < report.bytes_before
    # All runs share a database, in which the newest one is left.
    with contextlib.closing(sqlite3.connect(home / "history" / "runs" / "events.db")) as events:
        assert events.execute("SELECT DISTINCT run_id FROM event_logs").fetchall() == [(newest,)]


def test_an_archived_event_keeps_its_data_version_and_names_its_run(instance: dg.DagsterInstance, data: Path) -> None:
    run_of_day = {
        run.tags["dagster/partition"]: run.run_id
        for run in instance.get_runs()[::-1]
        if run.tags.get("dagster/partition")
    }
    maintain_instance(instance, data / "dagster", now=datetime.now(UTC) + A_MONTH_LATER)
    for day in ("2026-01-01", "2026-01-03"):
        filters = dg.AssetRecordsFilter(asset_key=READINGS, asset_partitions=[day])
        (record,) = instance.fetch_materializations(filters, limit=10).records
        assert record.asset_materialization is not None
        tags = record.asset_materialization.tags or {}
        assert record.run_id == ""
        assert tags[ARCHIVED_FROM_RUN] == run_of_day[day]
        assert tags["dagster/data_version"] == f"content of {day}"
    last = instance.get_latest_materialization_event(READINGS)
    assert last is not None and last.run_id == ""


def test_followers_of_materialisations_see_nothing_twice(instance: dg.DagsterInstance, data: Path) -> None:
    @dg.asset_sensor(asset_key=READINGS, job_name="whatever")
    def follower(context: dg.SensorEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest()

    seen = instance.fetch_materializations(READINGS, limit=1000)
    now = datetime.now(UTC) + A_MONTH_LATER
    maintain_instance(instance, data / "dagster", now=now)
    new = dg.AssetRecordsFilter(asset_key=READINGS, after_storage_id=seen.records[0].storage_id)
    assert instance.fetch_materializations(new, limit=10).records == []

    # What comes later is seen: no storage id is given out a second time.
    dg.materialize([readings], partition_key="2026-01-07", instance=instance)
    (record,) = instance.fetch_materializations(new, limit=10).records
    assert record.partition_key == "2026-01-07"


def test_downstream_partitions_do_not_become_stale(instance: dg.DagsterInstance, data: Path) -> None:
    @dg.asset(
        partitions_def=DAYS,
        key="frames",
        deps=[READINGS],
        automation_condition=dg.AutomationCondition.any_deps_updated(),
    )
    def following() -> None: ...

    definitions = dg.Definitions([readings, following])
    first = dg.evaluate_automation_conditions(definitions, instance)
    assert first.total_requested == 0
    maintain_instance(instance, data / "dagster", now=datetime.now(UTC) + A_MONTH_LATER)
    second = dg.evaluate_automation_conditions(definitions, instance, cursor=first.cursor)
    assert second.total_requested == 0
    dg.materialize([readings], partition_key="2026-01-09", instance=instance)
    third = dg.evaluate_automation_conditions(definitions, instance, cursor=second.cursor)
    assert third.get_requested_partitions(FRAMES) == {"2026-01-09"}


def test_last_results_of_checks_stay(instance: dg.DagsterInstance, data: Path) -> None:
    key = dg.AssetCheckKey(LATEST, "plausible")
    dg.materialize([readings], partition_key="2026-01-05", instance=instance)  # the newest run is another one
    before = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    maintain_instance(instance, data / "dagster", now=datetime.now(UTC) + A_MONTH_LATER)
    after = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    assert (len(before), len(after)) == (3, 1)
    assert after[0].id == before[0].id and after[0].status.value == "SUCCEEDED"


def test_young_runs_stay_unless_the_size_asks_for_them(instance: dg.DagsterInstance, data: Path) -> None:
    home = data / "dagster"
    assert maintain_instance(instance, home).runs_deleted == 0
    small = Limits(max_bytes=1_000)
    too_young = maintain_instance(instance, home, small)
    assert (too_young.runs_deleted, too_young.within_limit) == (0, False)
    a_week_later = datetime.now(UTC) + timedelta(days=7)
    assert maintain_instance(instance, home, now=a_week_later).runs_deleted == 0
    by_size = maintain_instance(instance, home, small, now=a_week_later)
    assert by_size.runs_deleted == 14
    assert not by_size.within_limit  # the databases themselves are larger
    assert instance.get_materialized_partitions(READINGS) == set(DAYS.get_partition_keys())


def test_files_of_runs_deleted_elsewhere_are_removed(instance: dg.DagsterInstance, data: Path) -> None:
    home = data / "dagster"
    victim = instance.get_runs()[-1].run_id
    folder = home / "storage" / victim
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stdout").write_text("…")
    (home / "history/runs" / f"{victim}.db").touch()  # as runs of earlier versions have one
    instance.delete_run(victim)
    assert list((home / "history/runs").glob(f"{victim}.db*"))
    report = maintain_instance(instance, home)
    assert report.files_removed >= 2
    assert not list((home / "history/runs").glob(f"{victim}.db*"))
    assert not folder.exists()


def test_events_without_a_run_do_not_pile_up(instance: dg.DagsterInstance, data: Path) -> None:
    key = dg.AssetKey("landed")
    for count in range(50):
        event = dg.AssetMaterialization(key, partition="2026-01-01", metadata={"rows": count})
        instance.report_runless_asset_event(event)
    maintain_instance(instance, data / "dagster", now=datetime.now(UTC) + A_MONTH_LATER)
    (record,) = instance.fetch_materializations(key, limit=100).records
    assert record.asset_materialization is not None
    assert record.asset_materialization.metadata["rows"].value == 49
