"""Preparing Dagster's home, and telling orphaned runs from those that still have a worker."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterEventType, DagsterRunStatus
from dagster._core.events import EngineEventData
from dagster._core.test_utils import create_run_for_test

from hp_pipeline.services.environment import dagster_environment
from hp_pipeline.services.instance import configuration, open_instance, prepare_instance, reap_orphans


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    prepare_instance(tmp_path)
    with open_instance(tmp_path) as instance:
        yield instance


def run(instance: dg.DagsterInstance, status: DagsterRunStatus, worker: int | None = None) -> str:
    """A run in `status`; `worker`: the process that said it executes the run."""
    created = create_run_for_test(instance, job_name="job", status=DagsterRunStatus.NOT_STARTED)
    if worker is not None:
        instance.report_engine_event("Started process for run", created, EngineEventData.in_process(worker))
    if status is not DagsterRunStatus.NOT_STARTED:
        kind = {
            DagsterRunStatus.STARTING: DagsterEventType.RUN_STARTING,
            DagsterRunStatus.STARTED: DagsterEventType.RUN_START,
            DagsterRunStatus.CANCELING: DagsterEventType.RUN_CANCELING,
        }[status]
        instance.report_dagster_event(dg.DagsterEvent(kind.value, "job"), run_id=created.run_id)
    return created.run_id


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_before_a_start_every_run_without_a_living_worker_is_an_orphan(instance: dg.DagsterInstance, gone: int) -> None:
    lost = {
        run(instance, DagsterRunStatus.STARTED, gone),
        run(instance, DagsterRunStatus.CANCELING, gone),
        run(instance, DagsterRunStatus.STARTING),
    }
    at_work = run(instance, DagsterRunStatus.STARTED, os.getpid())  # say, of a command in another terminal
    waiting = run(instance, DagsterRunStatus.NOT_STARTED)
    assert set(reap_orphans(instance, services_down=True)) == lost
    assert reap_orphans(instance, services_down=True) == []
    statuses = {found.run_id: found.status for found in instance.get_runs()}
    assert {statuses[run_id] for run_id in lost} == {DagsterRunStatus.FAILURE}
    assert (statuses[at_work], statuses[waiting]) == (DagsterRunStatus.STARTED, DagsterRunStatus.NOT_STARTED)


def test_in_the_midst_of_life_only_runs_whose_worker_is_known_to_be_gone(
    instance: dg.DagsterInstance, gone: int
) -> None:
    lost = run(instance, DagsterRunStatus.STARTED, gone)
    run(instance, DagsterRunStatus.STARTING)  # its worker is just being started
    assert reap_orphans(instance, services_down=False) == [lost]


def test_slots_of_finished_runs_are_freed(instance: dg.DagsterInstance, gone: int) -> None:
    lost = run(instance, DagsterRunStatus.STARTED, gone)
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default("writer")
    assert storage.claim_concurrency_slot("writer", lost, "step").is_claimed
    reap_orphans(instance, services_down=True)
    assert storage.get_concurrency_info("writer").claimed_slots == []


def test_the_home_follows_the_shipped_settings_and_keeps_its_memory(tmp_path: Path) -> None:
    home = prepare_instance(tmp_path)
    assert (home / "dagster.yaml").read_bytes() == configuration(tmp_path)
    with open_instance(tmp_path) as instance:
        kept = run(instance, DagsterRunStatus.NOT_STARTED)
    (home / "dagster.yaml").write_text("telemetry: {enabled: true}\n")
    (home / "prepared_for").write_text("1.0.0")  # made by an older Dagster
    assert prepare_instance(tmp_path) == home
    assert (home / "dagster.yaml").read_bytes() == configuration(tmp_path)
    with open_instance(tmp_path) as instance:
        assert [found.run_id for found in instance.get_runs()] == [kept]


def test_a_deleted_home_is_made_anew(tmp_path: Path) -> None:
    home = prepare_instance(tmp_path)
    (home / "history" / "runs" / "index.db").unlink()
    prepare_instance(tmp_path)
    with open_instance(tmp_path) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("nothing")) == set()


def test_the_environment_of_the_services(tmp_path: Path) -> None:
    environment = dagster_environment(tmp_path, tmp_path / "hp.yaml")
    assert environment["DAGSTER_HOME"] == str(tmp_path / "dagster")
    assert environment["HP_DATA"] == str(tmp_path)
    assert environment["HP_SETTINGS"] == str(tmp_path / "hp.yaml")
    assert "HP_SETTINGS" not in dagster_environment(tmp_path, None)
